"""What the evaluate page says of a study, its checkpoints, its cost and its files, whichever way they come out."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from icl_core.evaluation.cost import Estimate
from icl_core.evaluation.coverage import CellCounts
from icl_core.evaluation.study import Study, n_cells, study_cells
from icl_core.records import CheckpointRef
from pages.evaluate import computed, sentences
from tests.support.jobs import job
from tests.support.said import after, assert_well_formed, numbers

EARLY = CheckpointRef("hub", "early", "step440", "hub", "a/early", 440)
LATE = CheckpointRef("hub", "early", "step880", "hub", "a/early", 880)


def study(**change: Any) -> Study:
    base = Study((EARLY, LATE), ("sst2", "mrpc", "trec"), ("gold", "random"), (13, 21, 42, 87, 100))
    return dataclasses.replace(base, **change)


# The study and its checkpoints


@pytest.mark.parametrize("splits", [("test",), ("dev", "test")])
@pytest.mark.parametrize("seeds", [(13,), (13, 21, 42, 87, 100)])
def test_a_study_in_words_is_the_product_that_its_cells_are(splits: Any, seeds: tuple[int, ...]) -> None:
    asked = study(splits=splits, demo_seeds=seeds)
    *factors, said = numbers(sentences.study_as_product(asked, n_cells(asked)))
    assert factors == [2, 3, 2, len(seeds), *([2] if len(splits) > 1 else [])]
    assert np.prod(factors) == said == n_cells(asked)


LIVE, ENDED = job(id=4, state="running"), job(id=5, state="failed", message="Out of memory.")


@pytest.mark.parametrize(
    ("n_stored", "of", "flagged", "expected"),
    [
        (0, None, "", [0, 12]),
        (12, None, "", [12, 12]),
        (3, LIVE, "", [4, 3, 12]),
        (3, ENDED, "", [5, 3, 12]),
        (3, None, "Its weights are those of step 880.", [880, 3, 12]),
    ],
    ids=["missing", "stored", "in work", "ended without it", "flagged"],
)
def test_a_checkpoint_says_what_is_stored_after_its_job_or_its_fault(
    n_stored: int, of: Any, flagged: str, expected: list[float]
) -> None:
    said = sentences.of_checkpoint(n_stored, 12, job=of, flagged=flagged)
    assert numbers(said) == expected
    assert ("is running" in said) == (of is LIVE)
    assert ("Out of memory. " in said) == (of is ENDED)
    assert said.startswith("Its weights") == bool(flagged) and said == said.strip() and said.endswith(" stored.")


@pytest.mark.parametrize(
    ("stored", "asked", "current", "flagged", "state"),
    [
        ((6, 6), (LIVE,), "", False, "stored"),
        ((6, 6), (), "", True, "flagged"),
        ((2, 6), (), "", False, "partial"),
        ((0, 6), (), "", False, "missing"),
        ((2, 6), (LIVE,), "early step 880, sst2", False, "queued"),
        ((2, 6), (LIVE, ENDED), "early step 440, sst2", False, "running"),
        ((2, 6), (ENDED,), "", False, "failed"),
        ((2, 6), (job(id=6, state="cancelled"),), "", False, "partial"),
    ],
)
def test_the_state_of_a_checkpoint_follows_from_its_cells_and_jobs(
    stored: tuple[int, int],
    asked: tuple[Any, ...],
    current: str,
    flagged: bool,
    state: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at = "pages.evaluate.computed"
    monkeypatch.setattr(f"{at}.cached.store", lambda: None)
    monkeypatch.setattr(f"{at}.cached.completeness", lambda _: {EARLY: stored})
    monkeypatch.setattr(f"{at}.excluded_checkpoints", lambda store, refs: {EARLY: "A copy."} if flagged else {})
    monkeypatch.setattr(f"{at}.jobs.listed", lambda **_: [dataclasses.replace(each, current=current) for each in asked])
    monkeypatch.setattr(f"{at}.study_of_job", lambda _: study())
    monkeypatch.setattr(f"{at}.full_name", lambda ref: f"{ref.model} step {ref.step}")
    (found,) = computed.states(study()).values()
    assert found[0] == state
    assert numbers(found[1])[-2:] == list(stored)
    assert computed.is_in_work(study()) == any(each.is_live for each in asked)


def test_the_chart_of_checkpoints_is_counted_by_state() -> None:
    n_by_state = {"stored": 9, "partial": 0, "missing": 2, "not chosen": 143}
    said = sentences.chosen(11, n_by_state, "No axis of tokens, since *one* model has none.")
    assert_well_formed(said.replace("11", "Eleven", 1))
    assert numbers(said) == [11, 9, 2, 143] and "partial" not in said and r"\*one\*" in said
    assert [after(said, "chosen")[0], after(sentences.by_state(n_by_state), "stored")[0]] == [9, 2]
    assert numbers(sentences.chosen(1, {"stored": 1}, "")) == [1, 1]


# The cost

COST = Estimate(
    n_cells=90, n_stored=30, n_new=60, n_prompts=3000, tokens=2_500_000, tokens_per_prompt=833, flops=3.4e15,
    flops_per_prompt=1.13e12, download_bytes=2_100_000_000, disk_bytes=1_230_000, memory_bytes=4_500_000_000,
    seconds=7800, time_words="from cells measured here", is_calibrated=True, basis=(),
)  # fmt: skip
SOME = CellCounts(n_stored=30, n_cells=90, n_complete=0, n_checkpoints=2)


def test_the_cost_is_a_short_list_of_its_numbers() -> None:
    said = sentences.cost(SOME, COST)
    lines = [numbers(line) for line in said.split("\n")]
    assert lines[0] == [60, 30]
    assert lines[1] == [2, 10] and "measured here" in said  # hours and minutes
    assert numbers(said.split("\n")[2])[:1] == [3000]
    assert after(said, "prompts,") == [2.5] and after(said, "tokens,") == [3.4] and "(1.13 per" in said
    assert [after(said, what)[0] for what in ("memory", "disk", "download")] == [4.5, 1.23, 2.1]


@pytest.mark.parametrize(
    ("change", "said", "unsaid"),
    [
        ({"download_bytes": None}, "not asked", ()),
        ({"flops": 0.0}, "not known", (3.4, 4.5)),
        ({"seconds": None, "time_words": "It cannot be told."}, "cannot be told", ()),
    ],
)
def test_what_is_not_known_of_the_cost_is_said_so(change: dict[str, Any], said: str, unsaid: tuple[float, ...]) -> None:
    text = sentences.cost(SOME, dataclasses.replace(COST, **change)).replace("\\", "")
    assert said in text and not set(unsaid) & set(numbers(text))


def test_nothing_to_compute_has_no_cost_and_an_unknown_one_has_counts_alone() -> None:
    assert not numbers(sentences.cost(CellCounts(90, 90, 2, 2), COST))
    assert numbers(sentences.cost(SOME, None)) == [60, 30]


@pytest.mark.parametrize("n_missing", [0, 1, 60])
def test_the_button_says_how_many_cells_it_evaluates(n_missing: int) -> None:
    label = sentences.start_label(n_missing)
    assert numbers(label) == ([n_missing] if n_missing else [])
    assert label.endswith("cell") == (n_missing == 1)


def test_the_development_rows_are_those_of_its_cells() -> None:
    said = sentences.development_rows()
    assert_well_formed(f"It takes {said}")
    assert {cell.n_examples for cell in study_cells(study(splits=("dev",)))} == set(numbers(said))


# Files


def test_what_is_said_of_files_and_models_names_them() -> None:
    labels = [f"label {name}" for name in "abcdefghijk"]
    added = sentences.task_added("rows.csv", labels)
    assert numbers(added) == [3] and "label h" in added and "label i" not in added  # eight are named
    assert sentences.either_way("Is it one?").startswith("Is it one? ")
    for said in (sentences.not_listed("Own-model"), sentences.study_opened("My study")):
        assert_well_formed(said)
    assert r"Own\-model" in sentences.not_listed("Own-model")


# In whole sentences


@pytest.mark.parametrize(
    ("of", "flagged", "before"),
    [
        (None, "", ""),
        (None, "A copy of step 440.", "A copy of step 440. "),
        (LIVE, "A copy of step 440.", "Job 4 is running. "),
        (ENDED, "A copy of step 440.", "Job 5 ended without it: Out of memory. "),
    ],
)
def test_a_checkpoint_reads_whole(of: Any, flagged: str, before: str) -> None:
    assert sentences.of_checkpoint(0, 1, job=of, flagged=flagged) == f"{before}0 of 1 cell stored."
    assert sentences.of_checkpoint(1100, 4080, job=of, flagged=flagged) == f"{before}1,100 of 4,080 cells stored."


def test_the_chosen_checkpoints_read_whole() -> None:
    n_by_state = {"stored": 1, "partial": 0, "missing": 1200}
    assert sentences.by_state(n_by_state) == "1 stored, 1,200 missing"
    assert sentences.chosen(1, n_by_state, "") == "1 checkpoint chosen. 1 stored, 1,200 missing."
    assert sentences.chosen(1201, n_by_state, "No *axis*.") == (
        r"1,201 checkpoints chosen. 1 stored, 1,200 missing. No \*axis\*\."
    )


def test_the_product_reads_whole() -> None:
    both = study(splits=("test", "dev"))
    assert sentences.study_as_product(both, 120) == (
        "**2 checkpoints × 3 tasks × 2 settings × 5 seeds × 2 splits (test and dev)** = 120 cells"
    )
    one = study(checkpoints=(EARLY,), tasks=("sst2",), label_settings=("gold",), demo_seeds=(13,))
    assert sentences.study_as_product(one, 1) == "**1 checkpoint × 1 task × 1 setting × 1 seed** = 1 cell"


def test_the_cost_reads_whole() -> None:
    head, prompts = "- **60** to compute, 30 stored already\n", "- 3,000 prompts, 2.5 M tokens,"
    assert sentences.cost(SOME, COST) == (
        f"{head}- **2 h 10 min**, from cells measured here\n{prompts} 3.4k TFLOPs (1.13 per prompt)\n"
        "- memory 4.5 GB, disk 1.23 MB, download 2.1 GB"
    )
    unknown: dict[str, Any] = {"flops": 0.0, "seconds": None, "time_words": "*None*.", "download_bytes": None}
    assert sentences.cost(SOME, dataclasses.replace(COST, **unknown, n_prompts=1, tokens=2.4)) == (
        f"{head}- \\*None\\*\\.\n- 1 prompt, 2 tokens, operations not known\n"
        "- memory not known, disk 1.23 MB, download not asked"
    )
    many = CellCounts(n_stored=1200, n_cells=5280, n_complete=0, n_checkpoints=2)
    assert sentences.cost(many, None) == "- **4,080** to compute, 1,200 stored already"
    assert sentences.cost(CellCounts(90, 90, 2, 2), COST) == "Every cell is stored already: nothing to compute."


def test_short_words_of_the_page_read_whole() -> None:
    assert sentences.start_label(0) == "Nothing to evaluate"
    assert [sentences.start_label(n) for n in (1, 4080)] == ["Evaluate 1 cell", "Evaluate 4,080 cells"]
    assert sentences.not_listed("*x*") == (r"The checkpoints of \*x\* are not fully documented; ask the Hub for them.")
    assert sentences.task_added("a.csv", list("abcdefghi")) == (
        "a.csv is a task now, with the labels a, b, c, d, e, f, g, h and 1 more."
    )
    assert sentences.either_way("One?") == "One? You can pick either reading under Own files."
    assert sentences.study_opened("a.json") == "a.json is open: every page shows its study."
    assert sentences.development_rows() == (
        "300 further rows per task, from which checkpoints and fusion weights are chosen."
    )
