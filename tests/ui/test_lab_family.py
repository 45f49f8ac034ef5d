"""A lab run's checkpoints on the pages of the main paper: trained, stored, picked and drawn as any other family's."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from icl_core.evaluation.store import Store
from icl_core.pretraining.lab import evaluators, train
from icl_core.pretraining.lab.bridge import bridge_records
from icl_core.pretraining.lab.config import DataKnobs, LabConfig
from icl_core.pretraining.lab.runs import LabRun, folder_name, read_run


@pytest.fixture
def stored_run(store_folder: Path, monkeypatch: pytest.MonkeyPatch) -> LabRun:
    """A run of 60 steps with its results in the store."""
    monkeypatch.setattr(train, "_N_GEOMETRIC", 2)
    monkeypatch.setattr(train, "_N_LINEAR", 3)
    monkeypatch.setattr(train, "evaluation_sets", functools.partial(evaluators.evaluation_sets, n=40))
    data = DataKnobs(n_classes=32, n_dimensions=16, noise=0.2)
    config = replace(LabConfig(data=data), width=16, n_heads=2, batch_size=16, n_steps=60)
    path = store_folder / "lab" / folder_name(config)
    train.train_run(config, path)
    run = read_run(path)
    store = Store.open(store_folder)
    store.put_many(bridge_records(run))
    store.close()
    return run


def test_the_pages_draw_a_lab_run(stored_run: LabRun, open_page: Callable[..., AppTest]) -> None:
    for page in ("dynamics", "competition", "fusion"):
        app = open_page(page, model=[stored_run.name])
        assert not app.exception
        text = " ".join(str(element.value) for kind in (app.error, app.warning) for element in kind)
        assert "lab" not in text.lower(), text
        assert app.session_state["task"] == ["lab_exemplars"]
        assert app.session_state["shots"] == 2
        assert len(app.get("vega_lite_chart")) >= 1
