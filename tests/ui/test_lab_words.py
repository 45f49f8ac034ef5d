"""The lab's sentences say what runs, claims and the minimal model came to, whichever way that is."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from icl_core.pretraining.lab.claims import CLAIMS, Verdict
from icl_core.pretraining.lab.config import DataKnobs, LabConfig, config_digest
from icl_core.pretraining.lab.minimal import LEARNED_BELOW, MinimalKnobs, MinimalRun
from icl_core.pretraining.lab.runs import LabRun
from icl_core.pretraining.lab.summary import Group, Marker, group_runs
from pages.lab import wording
from tests.support.said import after, assert_well_formed, numbers

CONTEXT, WEIGHTS, NEITHER = "the context decides", "the weights decide", "neither strategy decides"
NEVER = re.compile(r"does not emerge|never emerges")
STEPS = (0, 100, 200, 300, 5000)
HALF = (0.5, 0.5, 0.5, 0.5, 0.5)
EARLY, LATE = (0.5, 0.55, 0.71, 0.8, 0.913), (0.5, 0.5, 0.55, 0.65, 0.873)
"""ICL emerges (.6 with two labels in the context) at step 200 and at step 300."""
HIGH, LOW, PEAKED = (0.5, 0.6, 0.7, 0.8, 0.811), (0.5, 0.4, 0.3, 0.2, 0.123), (0.5, 0.7, 0.852, 0.6, 0.133)


def run(
    *, icl: Sequence[float], flip: Sequence[float], ciwl: Sequence[float] = HALF, seed: int = 1, complete: bool = True
) -> LabRun:
    config = dataclasses.replace(LabConfig(), init_seed=seed)
    n = len(icl)
    curves = {"step": np.array(STEPS[:n], float)} | {
        name: np.array(values, float) for name, values in (("icl", icl), ("flip", flip), ("ciwl", ciwl))
    }
    empty = np.zeros(0)
    return LabRun(
        config, config_digest(config), Path("x"), False, "complete" if complete else "partial", curves,
        empty.astype(int), empty,
    )  # fmt: skip


def said_of(*runs: LabRun) -> str:
    (group,) = group_runs(runs)
    return wording.group_sentence(group)


def numbers_beside(said: str) -> list[float]:
    """The numbers behind the group's title, which has some of its own."""
    return numbers(said.partition("**")[2].partition("**")[2])


@pytest.mark.parametrize(
    ("flips", "decides"),
    [
        ([HIGH], CONTEXT),
        ([LOW], WEIGHTS),
        ([HALF], NEITHER),
        ([HIGH, HIGH], CONTEXT),
        ([HIGH, HALF], NEITHER),
        ([HIGH, LOW], NEITHER),
        ([LOW, HALF], NEITHER),
        ([(0.5, 0.8, 0.8, 0.8, 0.54)], NEITHER),  # three deviations of guessing on 1,000 sequences are 4.7 points
        ([(0.5, 0.8, 0.8, 0.8, 0.55)], CONTEXT),
        ([(0.5, 0.8, 0.8, 0.8, 0.45)], WEIGHTS),
    ],
)
def test_who_decides_is_clear_of_chance_in_every_seed(flips: list[Sequence[float]], decides: str) -> None:
    said = said_of(*(run(icl=EARLY, flip=flip, seed=at) for at, flip in enumerate(flips, 1)))
    assert_well_formed(said)
    assert [words for words in (CONTEXT, WEIGHTS, NEITHER) if words in said] == [decides]


def test_the_levels_are_those_of_the_end_with_the_range_over_seeds() -> None:
    said = said_of(
        run(icl=EARLY, flip=HIGH, ciwl=LOW), run(icl=LATE, flip=(0.5, 0.5, 0.5, 0.5, 0.603), ciwl=HIGH, seed=2)
    )
    assert after(said, "(", 1) == [2], "two seeds"
    assert after(said, "emerges at", 3) == [250, 200, 300]
    assert after(said, "Flip", 4) == [70.7, 60.3, 81.1, 50.0]  # mean, lowest, highest, chance
    assert after(said, ", ICL", 3) == [89.3, 87.3, 91.3]
    assert after(said, "CIWL", 3) == [46.7, 12.3, 81.1]
    assert 5000 in numbers(said)
    alone = said_of(run(icl=EARLY, flip=HIGH, ciwl=LOW))
    assert numbers_beside(alone) == [1, 200, 5000, 81.1, 50.0, 91.3, 12.3], "one seed has no range"


def test_when_icl_emerges_is_told_for_half_of_the_seeds_or_not_at_all() -> None:
    never = (0.5, 0.5, 0.55, 0.59, 0.6)
    assert NEVER.search(said_of(run(icl=never, flip=HALF)))
    half = said_of(run(icl=EARLY, flip=HALF), run(icl=never, flip=HALF, seed=2))
    assert not NEVER.search(half) and after(half, "emerges at", 3) == [200, 1, 2]  # in 1 of 2 seeds
    third = said_of(*(run(icl=icl, flip=HALF, seed=at) for at, icl in enumerate((EARLY, never, never), 1)))
    assert NEVER.search(third)


@pytest.mark.parametrize(
    ("flip", "peak"),
    [(PEAKED, 85.2), (HIGH, None), ((0.5, 0.7, 0.852, 0.8, 0.76), None), ((0.52, 0.51, 0.5, 0.4, 0.133), None)],
    ids=["faded", "at its peak", "less than ten points below", "never clear of chance"],
)
def test_a_peak_is_told_where_flip_faded_from_one(flip: Sequence[float], peak: float | None) -> None:
    said = said_of(run(icl=EARLY, flip=flip))
    assert ("peak" in said) == (peak is not None)
    if peak is not None:
        assert after(said, "peak") == [peak]


def test_a_run_without_evaluation_says_so() -> None:
    said = said_of(run(icl=(), flip=(), ciwl=(), complete=False))
    assert "not been evaluated" in said and numbers_beside(said) == [1]


@pytest.mark.parametrize("n_groups", [1, 3, 4, 9])
def test_three_configurations_have_a_sentence_and_the_others_are_counted(n_groups: int) -> None:
    made = []
    for at in range(n_groups):
        base = run(icl=EARLY, flip=(*HIGH[:4], 0.7 + at / 100))
        config = dataclasses.replace(base.config, data=DataKnobs(n_classes=256 + at))
        made.append(dataclasses.replace(base, config=config))
    said = wording.runs_sentence(group_runs(made)).replace("\u00a0", " ").split("\n\n")
    assert len(said) == min(n_groups, 3) + (n_groups > 3)
    for at, sentence in enumerate(said[:3]):
        assert after(sentence, "Flip") == [70 + at]
    if n_groups > 3:
        assert numbers(said[3]) == [n_groups - 3]


@pytest.mark.parametrize(("n_found", "told"), [(3, []), (2, [2, 3])])
def test_a_marker_says_in_how_many_seeds_it_is(n_found: int, told: list[int]) -> None:
    group: Group = group_runs([run(icl=EARLY, flip=HALF)])[0]
    marker = Marker(200, 100, 300, n_found, 3)
    words = wording.marker_words("flip_peak", marker, group)
    assert numbers(words) == told
    assert wording.marker_words("icl_emerges", marker, group).split(" (")[0].endswith("> .6")
    assert wording.marker_words("flip_half", marker, group).split(" (")[0].endswith("= .5")


# Claims


def verdicts(values: dict[str, dict[int, float]], missed: Sequence[str] = ()) -> list[Verdict]:
    return [
        Verdict(
            claim,
            "not tested" if claim.key not in values else "not reproduced" if claim.key in missed else "reproduced",
            values.get(claim.key, {}),
        )
        for claim in CLAIMS
    ]


def test_a_verdicts_number_is_the_mean_with_its_range() -> None:
    claim = CLAIMS[0]
    assert numbers(wording.verdict_words(Verdict(claim, "reproduced", {1: 0.31, 2: 0.55, 3: 0.4}))) == [
        0.42,
        0.31,
        0.55,
    ]
    assert numbers(wording.verdict_words(Verdict(claim, "reproduced", {1: 0.31}))) == [0.31]
    assert wording.verdict_words(Verdict(claim, "not tested", {})) == ""


OTHERS = [claim.key for claim in CLAIMS if claim.key != "transience"]


@pytest.mark.parametrize(
    ("tested", "missed"),
    [
        (["transience"], []),
        (["transience"], ["transience"]),
        (["transience", *OTHERS[:3]], ["transience", OTHERS[1]]),
        (OTHERS[:2], [OTHERS[0], OTHERS[1]]),
        (OTHERS[:2], []),
        ([], []),
    ],
    ids=["fades", "does not fade", "some fail", "fading untested", "fading untested, all hold", "nothing tested"],
)
def test_what_did_not_come_out_is_listed_and_what_held_is_counted(tested: list[str], missed: list[str]) -> None:
    values = {key: {1: 0.2, 2: 0.6} for key in tested}
    said = wording.lab_and_paper(verdicts(values, missed)).replace("\\", "")
    assert said.endswith(".")
    fading = "not been tested" if "transience" not in tested else "was not" if "transience" in missed else "was repro"
    bold = re.search(r"while the data stay as they are \*\*(.*?)\*\*", said)
    assert bold is not None and fading in bold[1]
    if "transience" in tested:
        assert numbers(said.partition(bold[0])[2])[:4] == [0.4, 0.2, 0.6, 2]
    for claim in CLAIMS:
        listed = claim.says.rstrip(".") in said
        assert listed == (claim.key in missed and claim.key != "transience"), claim.key
    tail = said.rpartition(" held in every seed")[0]
    held, of = numbers(tail)[-2:]
    assert (held, of) == (len(tested) - len(missed), len(tested))


# The minimal model

FADES, STAYS = re.compile(r"fades in (\d+|all)"), re.compile(r"stays in (\d+|all)")


def minimal(outcomes: Sequence[str], emerged_at: Sequence[float], learned: Sequence[bool]) -> MinimalRun:
    last = np.where(learned, LEARNED_BELOW / 2, LEARNED_BELOW * 2)
    return MinimalRun(
        knobs=MinimalKnobs(),
        steps=np.array([0, 100]),
        l1=np.zeros((len(outcomes), 2)),
        l2=np.stack([np.ones(len(outcomes)), last], axis=1),
        outcome=tuple(outcomes),  # type: ignore[arg-type]
        emergence_step=np.array(emerged_at, float),
    )


def test_the_minimal_model_says_how_often_icl_emerged_faded_and_stayed() -> None:
    outcomes = ["transient", "transient", "persistent", "stuck", "transient", "left out"]
    found = minimal(outcomes, [1200, 1300, 1400, np.nan, 1100, np.nan], [True, True, True, False, True, False])
    said = wording.minimal_sentence(found)
    assert numbers(said.partition(";")[0]) == [4, 5, 1300]
    assert_well_formed(said)
    fades, stays = FADES.search(said), STAYS.search(said)
    assert fades is not None and stays is not None and (fades[1], stays[1]) == ("3", "1")
    assert numbers(said.partition(";")[2]) == [3, 1, 1, 4, 5, 1]  # fades, stays, stuck, learned of, overflowed
    assert after(said, "learned in", 2) == [4, 5]


@pytest.mark.parametrize(
    ("outcomes", "fades", "stays"),
    [(["transient"] * 2, "all", None), (["persistent"] * 3, None, "all"), (["transient", "persistent"], "1", "1")],
)
def test_where_all_come_out_alike_it_says_all(outcomes: list[str], fades: str | None, stays: str | None) -> None:
    said = wording.minimal_sentence(minimal(outcomes, [100] * len(outcomes), [True] * len(outcomes)))
    found = FADES.search(said), STAYS.search(said)
    assert [each and each[1] for each in found] == [fades, stays]
    assert "overflow" not in said


def test_without_emergence_or_without_a_seed_it_says_that_instead() -> None:
    said = wording.minimal_sentence(minimal(["stuck"] * 3 + ["left out"], [np.nan] * 4, [True, False, True, False]))
    assert NEVER.search(said) and numbers(said) == [3, 2, 3, 1]
    every = wording.minimal_sentence(minimal(["left out"] * 4, [np.nan] * 4, [False] * 4))
    assert "diverges" in every and not numbers(every)


def test_the_step_by_which_half_emerged_is_left_out_where_fewer_did() -> None:
    said = wording.minimal_sentence(minimal(["stuck", "stuck", "persistent"], [np.nan, np.nan, 700], [True] * 3))
    assert 700 not in numbers(said) and numbers(said)[:2] == [1, 3]
