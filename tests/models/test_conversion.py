"""A GGUF file is converted once, and that once is no measure of how long its loads take."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from icl_core.evaluation.rates import read_loads
from icl_core.evaluation.run import run_study
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study
from icl_core.models.listing import local_checkpoints
from tests.support.tiny_models import save_task_file


def test_a_load_that_converts_is_not_noted(
    tiny_gguf: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ICL_OBSERVATORY_STORE", str(tmp_path / "store"))
    store = Store.open()
    task = f"file:{save_task_file(tmp_path / 'own.jsonl')}"
    study = Study(local_checkpoints(tiny_gguf[0]), (task,), ("gold",), (13,), n_shots=2, n_test=4)
    for seed, n_noted in ((13, 0), (21, 1)):
        report = run_study(dataclasses.replace(study, demo_seeds=(seed,)), store, device="cpu", offline=True)
        assert report.n_computed == 1
        assert len(read_loads(store.path)) == n_noted
