"""docs/RESULTS.md against the core: its code runs as it stands there and gives the core's numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

from icl_core.analysis.predictions import collect_predictions
from icl_core.analysis.trajectories import ability_curves
from icl_core.evaluation.segments import SCHEMA
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study, study_cells
from tests.support.made_up import CURVES, made_up_record, refs_of

DOC = (Path(__file__).resolve().parents[2] / "docs" / "RESULTS.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", DOC, flags=re.DOTALL)
STUDY = Study(refs_of("tiny-base")[:4], ("sst2", "trec", "mrpc"), ("gold", "random", "abstract"), (13, 21), n_test=100)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store in ``cache/`` of the present folder, with files of one checkpoint and of several, and half a file."""
    opened = Store.open(tmp_path / "cache")
    at = {ref: index for index, ref in enumerate(STUDY.checkpoints)}
    wanted = [(spec, CURVES[spec.label_setting][at[spec.checkpoint]]) for spec in study_cells(STUDY)]
    opened.put_many(made_up_record(spec, wanted=accuracy) for spec, accuracy in wanted[::2])
    for spec, accuracy in wanted[1::2]:
        opened.put(made_up_record(spec, wanted=accuracy))
    opened.join(STUDY.checkpoints[0])
    (opened.results / "tiny-base" / f".{'0' * 64}.parquet.1-1.tmp").write_bytes(b"half")
    monkeypatch.chdir(tmp_path)
    return opened


def run(block: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(block, "docs/RESULTS.md", "exec"), names)
    return names


def test_ten_lines_of_pandas_give_the_icl_curve_of_the_core(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(BLOCKS[0].strip().splitlines()) <= 10
    curve = run(BLOCKS[0])["icl_curve"]
    (predictions,) = collect_predictions(store.find_many(study_cells(STUDY)).values()).values()
    icl = ability_curves(predictions, n_replicates=1).curves["gold"]
    assert curve.index.tolist() == [ref.step for ref in icl.checkpoints] and len(curve) == 4
    np.testing.assert_allclose(curve.to_numpy(), icl.value, rtol=1e-12)


def test_duckdb_gives_the_accuracies_of_the_core(store: Store) -> None:
    names = ["step", "task", "label_setting", "demo_seed"]
    found = run(BLOCKS[1])["accuracies"].set_index(names)["accuracy"]
    expected = {tuple(getattr(each, name) for name in names): each.accuracy for each in store.summaries()}
    assert found.to_dict() == pytest.approx(expected, abs=1e-12) and len(expected) == 72


def test_pandas_and_duckdb_read_every_value_alike(store: Store) -> None:
    frame = pd.read_parquet("cache/results").sort_values("sha256").reset_index(drop=True)
    by_duck = duckdb.sql("SELECT * FROM read_parquet('cache/results/*/*.parquet') ORDER BY sha256").df()
    assert list(frame.columns) == list(by_duck.columns) == SCHEMA.names and len(frame) == len(by_duck) == 72
    for name in SCHEMA.names:
        for ours, theirs in zip(frame[name], by_duck[name], strict=True):
            is_missing = np.ndim(ours) == 0 and pd.isna(ours)
            assert pd.isna(theirs) if is_missing else np.array_equal(ours, theirs)


def test_the_doc_names_every_column_once() -> None:
    table = DOC.partition("## Columns")[2].partition("## Names")[0]
    listed = [
        name for row in table.splitlines() if row.startswith("| `") for name in re.findall("`(.*?)`", row.split("|")[1])
    ]
    assert listed == [name for name in listed if name in SCHEMA.names] and sorted(listed) == sorted(SCHEMA.names)
