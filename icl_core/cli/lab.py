"""``train-lab``: trains a run of the controlled lab, here or as a job, and stores its results for all pages."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from icl_core import settings
from icl_core.cli.output import ProgressLines, emit, human_seconds, table
from icl_core.errors import StudyError, UnknownNameError
from icl_core.evaluation.job_worker import JobContext, Outcome
from icl_core.evaluation.store import Store
from icl_core.pretraining.lab.config import (
    PRESETS,
    LabConfig,
    config_from_json,
    config_to_json,
    describe,
    validate_config,
)
from icl_core.pretraining.lab.runs import LabRun, find_run, folder_name, read_run

__all__ = ["add_commands", "train_job"]


def add_commands(add: Any) -> None:
    """Adds the command; ``add(name, run, help)`` gives its parser."""
    train = add("train-lab", _train, "train a run of the controlled lab and store its results for all pages")
    which = train.add_mutually_exclusive_group()
    which.add_argument("--preset", help="a setting of the papers, by title; without it and --config, all are listed")
    which.add_argument("--config", type=Path, metavar="FILE", help="JSON of a configuration; fields may be left out")
    train.add_argument("--seed", type=int, help="keys initial weights and data")
    train.add_argument("--steps", type=int, help="training steps")
    train.add_argument("--out", type=Path, metavar="DIR", help="folder of runs, lab/ in the store by default")


def _train(options: argparse.Namespace) -> int:
    if options.preset is None and options.config is None:
        presets = [{"preset": title, "config": json.loads(config_to_json(c))} for title, c in PRESETS.items()]
        emit(options, presets, table(("preset", "run"), [(title, describe(c)) for title, c in PRESETS.items()]))
        return 0
    config = _config(options)
    progress = ProgressLines()

    def show(step: int, n_steps: int, loss: float) -> None:
        progress.show(f"step {step} of {n_steps}, loss {loss:.3f} nats")

    root = None if options.out is None else options.out.expanduser().resolve()
    run = _trained(config, root or settings.store_path() / "lab", on_progress=show, use_shipped=root is None)
    if run is None:
        return 1
    n_new = 0 if root else _store_results(run, settings.store_path())
    seconds = float(run.manifest["cpu_seconds"])
    finals = {name: round(float(run.curves[name][-1]), 3) for name in run.curves if f"loss_{name}" in run.curves}
    facts = {"run": run.name, "title": run.title, "path": str(run.path), "cpu_seconds": seconds, "n_new_cells": n_new}
    words = ", ".join(f"{name} {value:.3f}" for name, value in finals.items())
    text = f"{run.title}: {words}. It took {human_seconds(seconds)} of processor time and is stored in {run.path}."
    emit(options, {**facts, "final": finals}, text)
    return 0


def _config(options: argparse.Namespace) -> LabConfig:
    """The configuration that the options name, with the given seed and number of steps."""
    if options.preset is not None:
        if options.preset not in PRESETS:
            raise UnknownNameError(f"Unknown preset {options.preset!r}; known are {', '.join(PRESETS)}.")
        config = PRESETS[options.preset]
    else:
        try:
            config = config_from_json(options.config.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise StudyError(f"{options.config} cannot be read ({error}); give the path of a JSON file.") from error
    if options.seed is not None:
        config = replace(config, init_seed=options.seed, data_seed=options.seed)
    if options.steps is not None:
        config = replace(config, n_steps=options.steps)
    validate_config(config)
    return config


def _trained(
    config: LabConfig,
    root: Path,
    *,
    on_progress: Callable[[int, int, float], None],
    should_stop: Callable[[], bool] | None = None,
    use_shipped: bool = True,
) -> LabRun | None:
    """The complete run; it is trained if it does not exist or was shipped without weights. None if stopped."""
    shipped = find_run(config, [settings.lab_runs_path()]) if use_shipped else None
    if shipped is not None and shipped.state == "complete" and shipped.kept_steps:
        return shipped
    from icl_core.pretraining.lab.train import train_run

    path = root / folder_name(config)
    manifest = train_run(config, path, on_progress=on_progress, should_stop=should_stop)
    return None if manifest is None else read_run(path)


def _store_results(run: LabRun, store_path: Path) -> int:
    """Puts the run's gold, random and abstract results into the store; the number of new cells."""
    from icl_core.pretraining.lab.bridge import bridge_records

    store = Store.open(store_path)
    try:
        return store.put_many(bridge_records(run)).n_new
    finally:
        store.close()


def train_job(payload: Mapping[str, object], context: JobContext) -> Outcome:
    """Handler of jobs of the kind train: ``{"config": ...}``; a resumed job goes on from its last state.

    Raises:
        StudyError: the payload is not a configuration, or a value is out of range.
    """
    config = config_from_json(json.dumps(payload.get("config")))
    validate_config(config)

    def report(step: int, n_steps: int, loss: float) -> None:
        context.report_alike(step, n_steps, current=f"loss {loss:.3f} nats")

    run = _trained(config, context.store_path / "lab", on_progress=report, should_stop=context.should_stop)
    if run is None:
        return Outcome(f"{describe(config)} was stopped; resume the job to go on from there.", complete=False)
    try:
        n_new = _store_results(run, context.store_path)
    except StudyError as error:
        return Outcome(f"{run.title} is trained. {error}")
    return Outcome(f"{run.title} is trained; {n_new} of its results were stored for the other pages.")
