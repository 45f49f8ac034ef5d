"""How a run stands."""

from __future__ import annotations

from dataclasses import replace

import pytest

from icl_core.errors import CheckpointError
from icl_core.evaluation.run_progress import Progress, ProgressInfo
from icl_core.records import CellSpec, CheckpointRef

FIRST, SECOND = (CheckpointRef("local", "m", f"step{step}", "folder", "/m", step) for step in (1, 2))
CELLS = [CellSpec(ref, "sst2", "test", "gold", seed, 16, 100) for ref in (FIRST, SECOND) for seed in (1, 2)]


def begun(said: list[tuple[int, int, ProgressInfo]]) -> Progress:
    progress = Progress(
        len(CELLS), size_of=lambda spec: 10.0, on_progress=lambda done, total, info: said.append((done, total, info))
    )
    progress.expect(CELLS[1:])
    return progress


def test_cells_are_counted_by_what_became_of_them() -> None:
    said: list[tuple[int, int, ProgressInfo]] = []
    progress = begun(said)
    progress.finish(CELLS[:1], "stored")
    progress.finish(CELLS[1:2], "computed")
    progress.fail("m step2", CheckpointError("It is damaged."), CELLS[2:])
    assert [(done, total) for done, total, _ in said] == [(1, 4), (2, 4), (4, 4)]
    last = said[-1][2]
    assert (last.n_stored, last.n_computed, last.n_failed, last.eta_seconds) == (1, 1, 2, 0.0)
    assert [(failure.what, failure.n_cells) for failure in progress.failures] == [("m step2", 2)]
    assert progress.unfinished(CELLS) == []


def test_the_time_left_is_that_of_cells_and_of_checkpoints_to_load() -> None:
    said: list[tuple[int, int, ProgressInfo]] = []
    progress = begun(said)
    progress.finish(CELLS[:1], "stored")
    assert said[-1][2].eta_seconds is None
    progress.loaded = FIRST
    progress.started(7.0)
    progress.took(CELLS[1], 3.0)
    progress.finish(CELLS[1:2], "computed")
    assert said[-1][2].eta_seconds == pytest.approx(2 * 3.0 + 7.0)
    progress.waits = True
    progress.report("waiting")
    assert said[-1][2].eta_seconds is None


def test_work_is_expected_once() -> None:
    said: list[tuple[int, int, ProgressInfo]] = []
    progress = begun(said)
    progress.expect(CELLS[1:])
    progress.loaded = SECOND
    progress.started(0.0)
    progress.took(replace(CELLS[1]), 1.0)
    progress.report("looking")
    assert said[-1][2].eta_seconds == pytest.approx(3.0)
