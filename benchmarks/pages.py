"""How long the pages take with as many results as arXiv 2406.14022 has: each first draw, and each interaction after it.

It fills a store with made-up predictions (12 models x 17 checkpoints x 16 tasks x 5 seeds x 3 settings x 1,000
queries, and the development sets of two models), opens the pages in Streamlit's own test runner, moves epsilon, changes
task and model, opens the panels of the paper page, and moves w between two models on the fusion page. Browser time is
not in it. Run ``python -m benchmarks.pages [--examples 100] [--models 3] [--store FOLDER]``; it fails when an
interaction after the first draw takes more than 1 s.

docs/BENCHMARKS.md has what it gave.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from streamlit.testing.v1 import AppTest

from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study, study_cells
from icl_core.records import LABEL_SETTINGS, CheckpointRef
from icl_core.registry.families import MODELS
from icl_core.registry.paper import PAPER_MODELS
from icl_core.registry.tasks import TASKS
from icl_core.settings import DEFAULT_DEMO_SEEDS, project_path
from icl_core.threads import take_one_thread
from pages.ui.server.early import import_pages
from tests.support.made_up import CURVES, made_up_record

MOST_SECONDS = 1.0
N_CHECKPOINTS = 17
PREFIX = "made-up-"
N_FUSED = 2
"""Models whose development sets are stored too."""
_PAGES = {name: f"pages/{name}/page.py" for name in ("competition", "dynamics", "paper", "fusion")}

Timings = dict[str, tuple[float, float]]
"""Wall and processor seconds by name."""


def paper_study(*, n_models: int, n_checkpoints: int, n_tasks: int, n_seeds: int, n_examples: int) -> Study:
    """The paper's grid with its first models, tasks and seeds."""
    refs = tuple(
        CheckpointRef(family, name, f"step{1000 * at}", "hub", f"made-up/{name}", 1000 * at, 1000 * at * 2_097_152)
        for family, name in [(MODELS[model].family, PREFIX + model) for model in list(PAPER_MODELS)[:n_models]]
        for at in range(n_checkpoints)
    )
    seeds = DEFAULT_DEMO_SEEDS[:n_seeds]
    return Study(refs, tuple(TASKS)[:n_tasks], LABEL_SETTINGS, seeds, n_test=n_examples)


def fill(folder: Path, study: Study) -> None:
    """Stores a made-up record for every cell that is missing; each model has curves of its own."""
    store = Store.open(folder)
    names = list(dict.fromkeys(ref.model for ref in study.checkpoints))
    fused = replace(study, checkpoints=tuple(ref for ref in study.checkpoints if ref.model in names[:N_FUSED]))
    wanted_cells = [*study_cells(study), *study_cells(replace(fused, splits=("dev",)))]
    specs = [spec for spec, state in store.status(wanted_cells).items() if state == "missing"]
    rng = np.random.default_rng(0)
    wobble = {model: rng.normal(0, 0.03, (3, N_CHECKPOINTS + 1)) for model in names}
    places = {ref: (ref.step or 0) // 1000 for ref in study.checkpoints}

    def records() -> Iterator[object]:
        for done, spec in enumerate(specs):
            at = places[spec.checkpoint]
            curve = CURVES[spec.label_setting]
            row = LABEL_SETTINGS.index(spec.label_setting)
            wanted = curve[at * len(curve) // N_CHECKPOINTS] + wobble[spec.checkpoint.model][row, at]
            if done % 5000 == 0:
                print(f"filled {done:,} of {len(specs):,} cells", file=sys.stderr)
            yield made_up_record(spec, wanted=float(np.clip(wanted, 0.05, 0.98)))

    store.put_many(records())  # type: ignore[arg-type]
    store.close()


@contextmanager
def _timed(timings: Timings, name: str) -> Iterator[None]:
    start, busy = time.perf_counter(), time.process_time()
    yield
    timings[name] = time.perf_counter() - start, time.process_time() - busy
    print(f"{name}: {timings[name][0]:.2f} s, {timings[name][1]:.2f} s of a processor", file=sys.stderr)


def _draw(run: Callable[[], object], app: AppTest, timings: Timings, name: str) -> None:
    with _timed(timings, name):
        run()
    if app.exception or app.error:
        raise SystemExit(f"{name}: {[item.value for item in (*app.exception, *app.error)]}")


def measure(study: Study) -> Timings:
    """Wall and processor seconds of each first draw (``first ...``) and of each interaction after it."""
    timings: Timings = {}
    import_pages()  # as the server does before it listens
    take_one_thread()
    models = list(dict.fromkeys(ref.model for ref in study.checkpoints))
    app = AppTest.from_file(str(project_path() / "app.py"), default_timeout=3600)
    app.query_params["model"] = models
    for model in models:
        app.query_params[f"as_{model.removeprefix(PREFIX)}"] = model
    _draw(app.run, app, timings, "first home")
    _draw(app.run, app, timings, "home: same again")
    page = _PAGES["competition"]
    _draw(lambda: app.switch_page(page).run(), app, timings, "first competition")
    _draw(app.slider(key="eps").set_value(0.02).run, app, timings, "competition: epsilon")
    _draw(app.slider(key="eps").set_value(0.03).run, app, timings, "competition: epsilon again")
    for task in study.tasks[:2]:
        _draw(app.selectbox(key="on").set_value(task).run, app, timings, f"competition: task {task}, new")
    _draw(app.selectbox(key="on").set_value(study.tasks[0]).run, app, timings, "competition: task, seen")
    _draw(app.selectbox(key="on").select_index(0).run, app, timings, "competition: back to the mean")
    if len(models) > 1:
        _draw(app.selectbox(key="who").set_value(models[1]).run, app, timings, "first competition of another model")
        _draw(app.selectbox(key="who").set_value(models[0]).run, app, timings, "competition: model, seen")
    _draw(lambda: app.switch_page(_PAGES["dynamics"]).run(), app, timings, "first dynamics")
    _draw(app.toggle(key="bands").set_value(False).run, app, timings, "dynamics: without bands")
    _draw(lambda: app.switch_page(_PAGES["paper"]).run(), app, timings, "first paper")
    _draw(app.slider(key="eps").set_value(0.01).run, app, timings, "paper: epsilon")
    for panel in app.segmented_control(key="panel").options:
        _draw(app.segmented_control(key="panel").set_value(panel).run, app, timings, f"first {panel} of the paper")
        epsilon = 0.02 if float(app.slider(key="eps").value) < 0.02 else 0.01  # type: ignore[arg-type]  # one handle
        _draw(app.slider(key="eps").set_value(epsilon).run, app, timings, f"paper: epsilon on {panel}")
    fusion = AppTest.from_file(str(project_path() / "app.py"), default_timeout=3600)
    fusion.query_params["model"] = models[:N_FUSED]
    fusion.run()
    _draw(lambda: fusion.switch_page(_PAGES["fusion"]).run(), fusion, timings, "first fusion")
    for step in (1, 2, 3):
        moved = fusion.slider(key="w").set_value(0.5 + step / 100)
        _draw(moved.run, fusion, timings, f"fusion: w moved, {step}")
    _draw(fusion.selectbox(key="on").set_value(study.tasks[0]).run, fusion, timings, "fusion: task")
    return timings


def main() -> int:
    """Prints the table (or JSON); exit status 1 when an interaction is too slow."""
    parser = argparse.ArgumentParser(description=__doc__)
    sizes = (("models", 12), ("checkpoints", N_CHECKPOINTS), ("tasks", 16), ("seeds", 5), ("examples", 1000))
    for name, default in sizes:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--store", type=Path, help="folder to keep the made-up store in; filled where it is not")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    study = paper_study(**{f"n_{name}": getattr(options, name) for name, _ in sizes})
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.store or Path(temporary)
        os.environ["ICL_OBSERVATORY_STORE"] = str(folder)
        os.environ["HF_HUB_OFFLINE"] = "1"
        fill(folder, study)
        timings = measure(study)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    slow = [name for name, (wall, _) in timings.items() if not name.startswith("first") and wall > MOST_SECONDS]
    if options.json:
        print(json.dumps({**timings, "cells": len(study_cells(study)), "peak_bytes": peak}))
    else:
        print(f"{len(study_cells(study)):,} cells; peak memory {peak / 1e6:,.0f} MB")
        for name, (wall, busy) in timings.items():
            print(f"{name:44s} {wall:8.2f} s  {busy:8.2f} s of a processor{'  too slow' if name in slow else ''}")
    return int(bool(slow))


if __name__ == "__main__":
    sys.exit(main())
