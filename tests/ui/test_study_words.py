"""What every page says of how much of its study is stored, and under which options there are results."""

from __future__ import annotations

import pytest

from icl_core.evaluation.coverage import CellCounts
from pages.ui.words import study_words
from tests.support.said import after, assert_well_formed, numbers


@pytest.mark.parametrize(
    ("counts", "is_one"),
    [(CellCounts(120, 180, 1, 10), True), (CellCounts(0, 1, 0, 1), False), (CellCounts(2040, 2040, 17, 17), False)],
    ids=["some", "none of one", "all"],
)
def test_cells_and_complete_checkpoints_are_told_of_all(counts: CellCounts, is_one: bool) -> None:
    assert numbers(study_words.stored_cells(counts)) == [counts.n_stored, counts.n_cells]
    said = study_words.complete_checkpoints(counts)
    assert numbers(said) == [counts.n_complete, counts.n_checkpoints] and (" is complete" in said) == is_one
    assert_well_formed(f"So {said}")
    nothing = study_words.nothing_computed(counts)
    assert numbers(nothing) == [counts.n_cells] and nothing.endswith("cell.") == (counts.n_cells == 1)
    assert_well_formed(nothing)


def test_other_options_are_named_with_their_numbers() -> None:
    said = study_words.other_options(["sst", "mrpc"], n_shots=16, seeds="13, 21", n_examples=1000)
    assert_well_formed(said)
    assert numbers(said) == [16, 13, 21, 1000] and "sst, mrpc;" in said
    assert after(study_words.other_options(["task"] * 5, n_shots=1, seeds="13", n_examples=1), "and") == [2]


def test_the_sentences_read_whole() -> None:
    cell = "A cell is one checkpoint, task, label setting and demonstration seed."
    one, many = CellCounts(1, 1, 1, 1), CellCounts(1200, 4080, 10, 1020)
    assert study_words.stored_cells(one) == "1 of 1 cell" and study_words.stored_cells(many) == "1,200 of 4,080 cells"
    assert study_words.complete_checkpoints(one) == f"1 of 1 checkpoint is complete. {cell}"
    assert study_words.complete_checkpoints(many) == f"10 of 1,020 checkpoints are complete. {cell}"
    none = "Nothing of this study is computed yet: it has"
    assert study_words.nothing_computed(one) == f"{none} 1 cell."
    assert study_words.nothing_computed(many) == f"{none} 4,080 cells."
    others = "There are results under other options:"
    assert study_words.other_options(["*x*", "file:/a/b.csv", "sst2"], n_shots=1, seeds="13", n_examples=1) == (
        rf"{others} \*x\*, b\.csv, sst2; 1 demonstration, seeds 13, at most 1 test row per task."
    )
    assert study_words.other_options(list("abcd"), n_shots=16, seeds="13, 21", n_examples=1000) == (
        f"{others} a, b, c and 1 more; 16 demonstrations, seeds 13, 21, at most 1,000 test rows per task."
    )
