"""What counts as complete: against what jobs were to compute, and against what is stored of other checkpoints."""

from __future__ import annotations

import dataclasses

from icl_core.evaluation.coverage import CellCounts, cell_counts, coverage
from icl_core.evaluation.study import study_cells
from tests.support.made_up import made_up_study, refs_of


def test_a_job_that_was_cancelled_early_completes_nothing() -> None:
    study = dataclasses.replace(
        made_up_study(tasks=tuple(["sst2", "mrpc", "rte", "qqp", "cb", "boolq", "copa", "wnli"][:4])),
        checkpoints=refs_of("m", (0, 1, 2, 3)),
        splits=("dev", "test"),
    )
    cells = study_cells(study)
    assert len(cells) == 4 * 4 * 3 * 2 * 2
    first = [spec for spec in cells if spec.checkpoint == study.checkpoints[0]]
    done = [*first, *cells[len(first) : len(first) + 3]]
    found = {each.task: each for each in coverage(done, [study])}
    assert {(each.n_complete, each.n_checkpoints, each.state) for each in found.values()} == {(1, 4, "partial")}
    assert sum(each.n_cells for each in found.values()) == len(done)
    alone = coverage(first, [])
    assert {each.state for each in alone} == {"complete"}, "nobody knows what else was asked for"
    assert {each.state for each in coverage(cells, [study])} == {"complete"}


def test_what_was_asked_for_alone_is_missing() -> None:
    study = made_up_study(tasks=("sst2",))
    (each,) = coverage([], [study, study])
    assert (each.state, each.n_cells, each.n_complete, each.n_checkpoints) == ("missing", 0, 0, 10)


def test_other_options_and_other_tasks_count() -> None:
    study = made_up_study(tasks=("sst2",))
    more = dataclasses.replace(study, n_shots=4)
    some = dataclasses.replace(more, checkpoints=more.checkpoints[:2])
    (each,) = coverage([*study_cells(study), *study_cells(some)], [])
    assert (each.state, each.n_complete) == ("partial", 2)
    (other,) = coverage(study_cells(study), [more])
    assert (other.state, other.n_complete) == ("partial", 0)
    both = coverage(study_cells(study), [dataclasses.replace(study, tasks=("mrpc",))])
    assert [(each.task, each.state) for each in both] == [("sst2", "complete"), ("mrpc", "missing")]


def test_the_counts_of_a_study_add_up_over_its_checkpoints() -> None:
    first, second, third = refs_of("m", (0, 1, 2))
    found = cell_counts({first: (6, 6), second: (1, 6), third: (0, 4)})
    assert found == CellCounts(n_stored=7, n_cells=16, n_complete=1, n_checkpoints=3)
    assert (found.n_missing, found.share_stored) == (9, 7 / 16)
    assert cell_counts({}) == CellCounts(0, 0, 0, 0) and cell_counts({}).share_stored == 1
