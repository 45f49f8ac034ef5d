"""What the competition page says beside its charts and in its tabs is what was computed, whichever way it comes out."""

from __future__ import annotations

import dataclasses
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from icl_core.analysis.competition import NoiseFloor
from icl_core.analysis.drilldown import PredictionChange
from icl_core.records import CheckpointRef
from pages.competition import chart, notes, sentences, tabs
from tests.support.said import after, assert_well_formed, numbers

STEPS = tuple(CheckpointRef("hub", "someone", f"step{step}", "hub", "a/someone", step) for step in (0, 110, 220))
FLOOR = NoiseFloor(
    epsilon=0.01,
    observed_ratio=0.3333,
    null_ratio=np.zeros(777),
    p_ratio=0.0213,
    observed_mean_intensity=0.6182,
    p_mean_intensity=0.418,
    interval_certainty=np.array([0.97, 0.2]),
    standard_error=0.0234,
    n_seeds=3,
)
NONE = dataclasses.replace(FLOOR, observed_ratio=0.0, p_ratio=1.0, observed_mean_intensity=0.0, p_mean_intensity=1.0)


@pytest.mark.parametrize(
    ("floor", "ratio", "intensity"), [(FLOOR, [33.3, 0.021], [0.62, 0.42]), (NONE, [0.0, 1.0], [0.0, 1.0])]
)
def test_each_measure_at_epsilon_has_its_own_value_and_p(
    floor: NoiseFloor, ratio: list[float], intensity: list[float]
) -> None:
    of_ratio, of_intensity = (
        sentences.at_epsilon("Competition ratio", floor),
        sentences.at_epsilon("Mean intensity", floor),
    )
    assert numbers(of_ratio) == ratio and of_ratio.startswith("Competition ratio") and "%" in of_ratio
    assert numbers(of_intensity) == intensity and of_intensity.startswith("Mean intensity") and "%" not in of_intensity
    for said in (of_ratio, of_intensity):
        assert_well_formed(said)


def test_what_is_grey_names_its_range_and_one_standard_error() -> None:
    said = sentences.noise_range(0.0234)
    assert_well_formed(said)
    assert numbers(said) == [95, 2.3]
    assert after(said, "standard error") == [2.3]


@pytest.mark.parametrize(("n", "most", "told"), [(0, 500, []), (1, 500, []), (500, 500, []), (501, 500, [500])])
def test_changed_answers_are_counted_and_the_listed_ones_if_not_all_are(n: int, most: int, told: list[float]) -> None:
    said = sentences.changed(n, "step 110 to step 1,200", most=most)
    assert_well_formed(f"Of all, {said}")
    assert numbers(said) == [n, 110, 1200, *told]
    assert ("answers " in said) == (n != 1)


@pytest.mark.parametrize(("share", "told"), [(0.0, 0), (0.953, 95), (0.996, 100)])
def test_a_shaded_interval_says_in_how_many_resamples_it_competes(share: float, told: int) -> None:
    said = sentences.certainty("step 110 to step 220", share)
    assert numbers(said) == [110, 220, told]


def test_the_words_below_the_panels_name_the_certainty_that_is_called_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    assert numbers(re.sub(r"Eq\. \d", "", sentences.shading())) == [95]
    monkeypatch.setattr("pages.competition.sentences.CLEAR_CERTAINTY", 0.8)
    assert numbers(re.sub(r"Eq\. \d", "", sentences.shading())) == [80]
    assert after(sentences.how_computed(FLOOR), "is clear if it competes in") == [80]


def test_how_it_is_computed_has_draws_and_standard_error() -> None:
    said = sentences.how_computed(FLOOR)
    assert_well_formed(said)
    assert after(said, "resampled") == [777]
    assert after(said, "standard error of a change is") == [2.3]
    assert after(said, "is clear if it competes in") == [95]


@pytest.mark.parametrize(("n", "told"), [(0, "0 checkpoints"), (1, "1 checkpoint.")])
def test_too_few_checkpoints_are_counted(n: int, told: str) -> None:
    said = sentences.too_few("someone", n)
    assert told in said and "at least two" in said


def test_gained_and_lost_answers_stand_under_their_own_task_and_ability() -> None:
    gained, lost, other = (1, 0, 1), (1, 1, 0), (1, 0, 2)  # gold, before, after
    changes = [
        PredictionChange(task, setting, "row", 13, *outcome)  # type: ignore[arg-type]
        for task, setting, outcomes in (("sst2", "random", (gained, gained, lost)), ("mrpc", "abstract", (other, lost)))
        for outcome in outcomes
    ]
    assert tabs.balance_rows(changes) == [
        {"task": "sst2", "ability": "TR", "gained": 2, "lost": 1, "changed": 3},
        {"task": "mrpc", "ability": "TL", "gained": 0, "lost": 1, "changed": 2},
    ]


def competing(indicator: list[bool]) -> Any:
    return SimpleNamespace(
        model="someone",
        result=SimpleNamespace(indicator=np.array(indicator), mean_intensity=0.4567, cumulative_by_checkpoint=None),
        instead="",
    )


@pytest.mark.parametrize("indicator", [[False, False], [True, False], [True, True]])
def test_charts_say_how_many_intervals_are_shaded_and_the_mean_intensity(
    indicator: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    alts: dict[str, str] = {}
    monkeypatch.setattr("pages.competition.chart.drawn", lambda competing, palette: [("", None)] * 3)
    monkeypatch.setattr("pages.competition.chart.frame.palette", lambda: None)
    monkeypatch.setattr("pages.competition.chart.blocks.chart", lambda figure, *, key, alt: alts.update({key: alt}))
    monkeypatch.setattr("pages.competition.chart.st.caption", lambda words: None)
    chart.panels(competing(indicator))
    assert numbers(alts["trajectories"]) == [sum(indicator)]
    assert ("intervals" in alts["trajectories"]) == (sum(indicator) != 1)
    assert numbers(alts["intensity"]) == [0.46]


def test_each_checkpoint_left_out_has_its_own_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[dict[str, str]] = []
    monkeypatch.setattr("pages.ui.panels.blocks.left_out", said.append)
    notes.left_out(
        SimpleNamespace(  # type: ignore[arg-type]
            model="someone",
            pair=SimpleNamespace(partial=(STEPS[1],)),
            curves=SimpleNamespace(excluded={STEPS[2]: "Its weights are those of another."}),
        )
    )
    (reasons,) = said
    assert list(reasons) == ["someone step 110", "someone step 220"]
    assert (
        "missing" in reasons["someone step 110"] and reasons["someone step 220"] == "Its weights are those of another."
    )


# In whole sentences


@pytest.mark.parametrize(("n", "told"), [(0, "0 checkpoints"), (1, "1 checkpoint")])
def test_too_few_checkpoints_say_what_to_do(n: int, told: str) -> None:
    assert sentences.too_few("someone", n) == (
        f"someone has TR and TL results at {told}. Competition is computed between checkpoints, so it needs at least "
        "two. Evaluate more checkpoints."
    )


def test_words_beside_the_charts_read_whole() -> None:
    assert sentences.certainty("step 110 to step 220", 0.953) == ("step 110 to step 220: competes in 95 % of resamples")
    assert sentences.shading() == (
        "Shaded: TR and TL move in opposite directions, both by more than epsilon. The shade is stronger if the "
        "interval competes in 95 % of resamples or more. Bars: fall over rise (Eq. 3). R: share of the summed "
        "intensity so far (Eq. 4)."
    )
    assert sentences.at_epsilon("Competition ratio", FLOOR) == "Competition ratio at this epsilon: 33.3 %, p = 0.021."
    assert sentences.at_epsilon("Mean intensity", FLOOR) == "Mean intensity at this epsilon: 0.62, p = 0.42."
    assert sentences.noise_range(0.0234) == (
        "Grey: median and 95 % range under noise alone. One standard error of a change is 2.3 %. An epsilon below it "
        "is inside noise. The p-values are not corrected for looking at many epsilons."
    )


@pytest.mark.parametrize(
    ("n", "told"),
    [
        (0, "0 answers changed from *a* to b."),
        (1, "1 answer changed from *a* to b."),
        (1000, "1,000 answers changed from *a* to b."),
        (1001, "1,001 answers changed from *a* to b. The first 1,000 are listed."),
    ],
)
def test_changed_answers_read_whole(n: int, told: str) -> None:
    assert sentences.changed(n, "*a* to b", most=1000) == told.replace("*", r"\*")


def test_how_it_is_computed_reads_whole() -> None:
    many = dataclasses.replace(FLOOR, null_ratio=np.zeros(2000), standard_error=0.0456)
    assert sentences.how_computed(many) == (
        "Equations 1 to 4 of arXiv 2406.14022 on the mean trajectory: averaged over tasks and seeds first, then "
        "compared. Comparisons are strict, and a difference that equals epsilon up to rounding does not exceed it. "
        "**Noise alone**: each example's change of correctness is centred within its task. Seeds and examples are "
        "resampled 2,000 times, with one draw for both abilities and all intervals, and the equations are computed "
        "on every draw; p is the share of draws with at least the observed ratio. An interval is **clear** if it "
        "competes in 95 % of draws without centring. One standard error of a change is 4.6 %. **What p does not "
        "tell**: the null is that nothing changes at all. If one ability really moves and the other only wavers by "
        "chance, an interval competes whenever the chance change goes the other way, and the intensity then divides "
        "a real change by noise. So check that both curves move."
    )
