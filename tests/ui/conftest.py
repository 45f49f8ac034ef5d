"""A store filled with made-up records: known curves in which TR rises, TL jumps and TR falls."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from icl_core.evaluation.cells import make_cell_key
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study, study_cells
from icl_core.records import CellRecord, CellSpec, CheckpointIdentity, CheckpointRef, digest_of
from icl_core.registry.tasks import get_task
from icl_core.settings import project_path

STEPS = (0, 110, 220, 330, 440, 550, 660, 770, 880, 990)
CURVES = {
    "gold": (0.50, 0.55, 0.66, 0.75, 0.78, 0.80, 0.83, 0.85, 0.87, 0.88),
    "random": (0.50, 0.56, 0.68, 0.76, 0.80, 0.79, 0.70, 0.66, 0.62, 0.61),
    "abstract": (0.50, 0.50, 0.51, 0.50, 0.51, 0.51, 0.76, 0.80, 0.81, 0.83),
}


def refs_of(model: str = "pythia-410m", steps: Sequence[int] = STEPS) -> tuple[CheckpointRef, ...]:
    """Checkpoints of a made-up run, stored under a family that needs no files."""
    return tuple(
        CheckpointRef("hub", model, f"step{step}", "hub", f"someone/{model}", step, step * 2_097_152) for step in steps
    )


def made_up_record(spec: CellSpec, *, wanted: float) -> CellRecord:
    """A record whose accuracy is near ``wanted``: the right label wins that share of the rows."""
    task = get_task(spec.task)
    n, k = spec.n_examples, task.n_labels
    gold = np.random.default_rng(n).integers(k, size=n)
    right = np.random.default_rng([n, spec.demo_seed]).random(n) < wanted
    predicted = np.where(right, gold, (gold + 1) % k)
    scores = np.full((n, k), -2.0, dtype=np.float32)
    scores[np.arange(n), predicted] = -0.5
    row_ids = tuple(f"row:{index}" for index in range(n))
    identity = CheckpointIdentity(
        "0" * 40, ((spec.checkpoint.revision, digest_of(spec.checkpoint.revision)),), "t", 2048
    )
    key = make_cell_key(
        spec,
        identity=identity,
        task=task,
        fingerprint="made up",
        row_ids=row_ids,
        label_words=task.words(),
        template_text=task.template_text("minimal"),
    )
    return CellRecord(
        spec=spec,
        key=key,
        row_ids=row_ids,
        gold=gold.astype(np.int64),
        loglikelihoods=scores,
        n_tokens=np.ones((n, k), dtype=np.int64),
        content_free=np.full(k, -1.0, dtype=np.float32),
        content_free_n_tokens=np.ones(k, dtype=np.int64),
        choices=task.words(),
        demonstration_ids=("row:0",),
        demonstration_labels=(task.words()[0],),
        provenance={"date": "2026-01-01T00:00:00+00:00"},
    )


def fill(store: Store, study: Study, *, curves: dict[str, tuple[float, ...]] = CURVES) -> None:
    """Stores a record for every cell of the study, following the curves over its checkpoints."""
    at = {ref: index for index, ref in enumerate(study.checkpoints)}
    specs = study_cells(study)
    store.put_many(
        made_up_record(spec, wanted=curves[spec.label_setting][at[spec.checkpoint] % len(STEPS)]) for spec in specs
    )
    for spec in specs:
        assert store.find(spec) is not None


def made_up_study(*, tasks: tuple[str, ...] = ("sst2", "mrpc"), n_test: int = 200) -> Study:
    """Ten checkpoints, two tasks, two seeds, three settings."""
    return Study(refs_of("someone-model"), tasks, ("gold", "random", "abstract"), (13, 21), n_test=n_test)


@pytest.fixture
def store_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An own store for one test, with no shipped results in it."""
    monkeypatch.setenv("ICL_OBSERVATORY_STORE", str(tmp_path / "store"))
    monkeypatch.setattr("icl_core.evaluation.bundle.embedded_results_path", lambda: tmp_path / "none")
    st.cache_data.clear()
    st.cache_resource.clear()
    yield tmp_path / "store"
    st.cache_data.clear()
    st.cache_resource.clear()


@pytest.fixture
def fill_store(store_folder: Path) -> Callable[..., Study]:
    """Fills the store with a made-up study, or with its first checkpoints only, and gives the whole study."""

    def filled(*, only: int | None = None) -> Study:
        study = made_up_study()
        store = Store.open(store_folder)
        fill(store, dataclasses.replace(study, checkpoints=study.checkpoints[:only]))
        store.close()
        return study

    return filled


@pytest.fixture
def open_page(store_folder: Path) -> Callable[..., AppTest]:
    """Opens a page of the app, with a query if given."""

    def opened(name: str, **query: str | list[str]) -> AppTest:
        app = AppTest.from_file(str(project_path() / "app.py"), default_timeout=60)
        for key, value in query.items():
            app.query_params[key] = value
        app.run()
        if name != "home":
            app.switch_page(f"pages/{name}/page.py").run()
        return app

    return opened
