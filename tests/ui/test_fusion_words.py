"""The sentences of the fusion page say what the gains say, whichever way these come out."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from icl_core.analysis.fusion import WeightCurve
from icl_core.analysis.fusion_report import EntryScore, Gain
from icl_core.analysis.gains import GainRow
from icl_core.records import CheckpointRef
from pages.fusion import parts, wording
from pages.fusion.compute import Asked, Line, Shown
from tests.support.said import after, assert_well_formed, numbers

BEST, CONTROL = "best gold", "control"
HELPS_BEYOND = re.compile(r"helps beyond")
HELPS = re.compile(r"Fusion helps here")
BEATS_BEST_ONLY = re.compile(r"beats the best single checkpoint, but not\b")
WORSE = re.compile(r"worse than the best single checkpoint")
UNCLEAR = re.compile(r"\bNo gain over the best single checkpoint is clear")
VERDICTS = (HELPS_BEYOND, HELPS, BEATS_BEST_ONLY, WORSE, UNCLEAR)
MEASURES: dict[str, str] = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro f1",
}
TR = CheckpointRef("hub", "tr-model", "step440", "hub", "a/tr-model", 440)
TL = CheckpointRef("hub", "tl-model", "step880", "hub", "a/tl-model", 880)
THIRD = CheckpointRef("hub", "icl-model", "step660", "hub", "a/icl-model", 660)
UP, BETWEEN, DOWN = (0.0123, 0.0041, 0.0272), (0.0087, -0.0033, 0.0191), (-0.0145, -0.0256, -0.0062)


def row(
    gain: tuple[float, float, float] = UP, *, p_seeds: float | None = 0.031, p_examples: float | None = 0.0042
) -> GainRow:
    value, low, high = gain
    return GainRow(None, 0.7, 0.7 - value, value, low, high, p_seeds, p_examples, 5, 1736)


def gain_of(kind: Any, by_measure: Mapping[str, GainRow]) -> dict[str, Gain]:
    return {name: Gain("x", kind, name, each, ()) for name, each in by_measure.items()}  # type: ignore[arg-type]


def line(name: str, kind: str, value: float, *refs: CheckpointRef, task: float = 0.5) -> Line:
    score = EntryScore(value, value - 0.01, value + 0.01, {"sst2": (task, task - 0.01, task + 0.01)})
    return Line(name, kind, refs or (TR,), score, None, {}, None)


ADAPTIVE, FIXED = line("fusion, adaptive", "fusion", 0.7321), line("fusion, fixed", "fusion", 0.7213)


def shown_of(*lines: Line, members: Sequence[tuple[str, CheckpointRef]] = (("TR", TR), ("TL", TL))) -> Shown:
    weight = np.linspace(0, 1, 101)
    value = 0.6 + 0.1 * weight
    return Shown(
        members=tuple(members),
        tasks=("sst2",),
        curve=WeightCurve(weight, value, value, value, {"sst2": value - 0.2}) if len(members) == 2 else None,
        lines=lines,
        equal_for_want=(),
        chance=0.417,
        n_seeds=5,
        n_examples=1736,
        has_dev=True,
    )


def asked_of(measure: Any = "accuracy") -> Asked:
    return Asked("{}", TR.model, TL.model, None, None, measure, "sum")


def finding(against: Mapping[str, Mapping[str, Gain]], *, measure: str = "accuracy", best: Line = ADAPTIVE) -> str:
    return wording.finding(asked_of(measure), shown_of(best), best, against)


def both_measures(kind: str, main: GainRow, other: GainRow | None = None) -> dict[str, Gain]:
    return gain_of(kind, {"accuracy": main, "balanced_accuracy": other or row(BETWEEN)})


def points(*fractions: float) -> list[float]:
    return [round(100 * each, 1) for each in fractions]


@pytest.mark.parametrize(
    ("best", "control", "verdict"),
    [
        (UP, UP, HELPS_BEYOND),
        (UP, BETWEEN, BEATS_BEST_ONLY),
        (UP, DOWN, BEATS_BEST_ONLY),
        (BETWEEN, UP, UNCLEAR),
        (BETWEEN, BETWEEN, UNCLEAR),
        (BETWEEN, DOWN, UNCLEAR),
        (DOWN, UP, WORSE),
        (DOWN, BETWEEN, WORSE),
        (DOWN, DOWN, WORSE),
        (UP, None, HELPS),
        (BETWEEN, None, UNCLEAR),
        (DOWN, None, WORSE),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), UNCLEAR),  # the same answers: the intervals touch 0
        ((0.01, 0.0, 0.02), UP, UNCLEAR),
        ((-0.01, -0.02, 0.0), None, UNCLEAR),
    ],
)
def test_the_verdict_follows_from_both_intervals(best: Any, control: Any, verdict: re.Pattern[str]) -> None:
    against = {BEST: both_measures(BEST, row(best))}
    if control is not None:
        against[CONTROL] = both_measures(CONTROL, row(control))
    said = finding(against)
    assert_well_formed(f"X{said}")
    assert [each.pattern for each in VERDICTS if each.search(said)] == [verdict.pattern]


def test_the_verdict_is_one_of_the_measure_that_is_shown() -> None:
    """A gain under accuracy that is gone under balanced accuracy must not be called a help there."""
    against = {kind: both_measures(kind, row(UP), row(DOWN)) for kind in (BEST, CONTROL)}
    assert HELPS_BEYOND.search(finding(against, measure="accuracy"))
    assert WORSE.search(finding(against, measure="balanced_accuracy"))


def test_gains_stand_with_their_intervals_and_tests_against_their_own_baseline() -> None:
    other = (0.0311, 0.01, 0.05), (0.0222, 0.01, 0.05)
    against = {
        BEST: both_measures(BEST, row(UP, p_seeds=0.031, p_examples=0.0042), row(other[0])),
        CONTROL: both_measures(CONTROL, row(DOWN, p_seeds=0.17, p_examples=0.21), row(other[1])),
    }
    said = finding(against)
    assert after(said, "best single checkpoint", 7) == [*points(*UP), 0.031, 5, 0.0042, 1736]
    assert after(said, "equal ensemble of two", 7) == [*points(*DOWN), 0.17, 5, 0.21, 1736]
    assert after(said, "Under balanced accuracy", 2) == points(other[0][0], other[1][0])
    assert re.search(r"points, [+−]", said) and re.search(r" queries; against ", said)
    assert re.search(r"against the best single checkpoint [a-z ]+\*\*.* against the equal ensemble [a-z ]+\*\*", said)
    said_before = said.partition("against")[0]
    assert sorted(numbers(said_before)) == [73.2, 440, 880]


@pytest.mark.parametrize("measure", list(MEASURES))
def test_the_sentence_has_the_measure_asked_for_and_the_other_one(measure: str) -> None:
    rows = {name: row((0.01 * at, 0.001, 0.09)) for at, name in enumerate(MEASURES, 1)}
    said = finding({BEST: gain_of(BEST, rows)}, measure=measure)
    other = "balanced_accuracy" if measure != "balanced_accuracy" else "accuracy"
    assert f"**73.2 %** {MEASURES[measure]}" in said
    assert after(said, "best single checkpoint") == points(rows[measure].gain)
    assert after(said, f"Under {MEASURES[other]}") == points(rows[other].gain)


def test_members_have_their_own_step_and_role_and_the_weights_are_named() -> None:
    against = {BEST: both_measures(BEST, row())}
    said = finding(against)
    assert re.search(r"tr\W+model \w+ 440 \(TR\) and tl\W+model \w+ 880 \(TL\)", said)
    assert " with adaptive weights," in said and "equal weights" not in said
    assert " with equal weights," in finding(against, best=FIXED) and "**72.1 %**" in finding(against, best=FIXED)
    three = shown_of(ADAPTIVE, members=[("TR", TR), ("TL", TL), ("ICL", THIRD)])
    said = wording.finding(asked_of(), three, ADAPTIVE, against)
    assert re.search(r"440 \(TR\), tl\W+model \w+ 880 \(TL\) and icl\W+model \w+ 660 \(ICL\)", said)


def test_without_development_results_single_checkpoints_are_told_and_nothing_is_claimed() -> None:
    lines = [
        FIXED,
        line("one gold", "gold", 0.6543, TR),
        line("other gold", "gold", 0.7012, TL),
        line("TR alone", "member", 0.31),
    ]
    said = wording.finding(asked_of(), shown_of(*lines), FIXED, {})
    assert sorted(numbers(said)) == [65.4, 70.1, 72.1, 440, 880]
    assert_well_formed(f"X{said}")
    assert re.search(r"65\.4 % \(one gold\) and 70\.1 % \(other gold\)", said)
    alone = wording.finding(asked_of(), shown_of(FIXED), FIXED, {})
    assert sorted(numbers(alone)) == [72.1, 440, 880]
    assert "single checkpoint" not in alone and alone.endswith("accuracy.")
    for sentence in (said, alone):
        assert not any(each.search(sentence) for each in VERDICTS), "without a gain there is no verdict"


@pytest.mark.parametrize(
    ("p_seeds", "p_examples", "told"),
    [
        (0.031, 0.0042, [0.031, 5, 0.0042, 1736]),
        (None, 0.0042, [0.0042, 1736]),
        (0.031, None, [0.031, 5]),
        (None, None, []),
    ],
    ids=["both", "one seed", "macro F1", "neither"],
)
def test_each_p_value_has_the_number_of_its_own_pairs(
    p_seeds: float | None, p_examples: float | None, told: list[float]
) -> None:
    text = wording.tests_text(row(p_seeds=p_seeds, p_examples=p_examples))
    assert numbers(text) == told
    assert text.count(" seeds, p = ") == (len(told) == 4)
    assert ("seeds" in text, "queries" in text) == (p_seeds is not None, p_examples is not None)


@pytest.mark.parametrize("gain", [UP, BETWEEN, DOWN])
def test_a_gain_has_its_sign_and_both_ends(gain: tuple[float, float, float]) -> None:
    said = wording.gain_text(row(gain))
    assert numbers(said) == points(*gain)
    assert [sign for sign in re.findall(r"[+−]", said)] == ["−" if round(100 * x, 1) < 0 else "+" for x in gain]


@pytest.mark.parametrize("weight", [0.0, 0.37, 1.0])
@pytest.mark.parametrize("task", [None, "sst2"])
def test_the_line_below_the_chart_compares_at_this_w(weight: float, task: str | None) -> None:
    lines = [line("a", BEST, 0.655, task=0.4444), line("b", CONTROL, 0.7111, task=0.6), line("c", "gold", 0.1)]
    value = 0.6 + 0.1 * weight - (0.2 if task else 0)
    shown = shown_of(*lines)
    assert parts.value_at(shown, weight, task) == pytest.approx(value)
    said = wording.at_weight(shown, weight, parts.value_at(shown, weight, task), task)
    best, control = (0.4444, 0.6) if task else (0.655, 0.7111)
    assert_well_formed(said)
    told = said.replace("sst2", "")
    assert numbers(told) == [weight, *points(value), *points(value - best, value - control)]
    assert said.startswith(f"At **w = {weight:.2f}**" + (" on sst2:" if task else ":"))
    assert said.endswith("against the equal ensemble.")
    assert re.search(r"single checkpoint, .*equal ensemble", said)
    without = wording.at_weight(shown_of(lines[1]), weight, value, task)
    assert "single checkpoint" not in without and "ensemble" in without
    assert numbers(wording.at_weight(shown_of(), weight, value, None)) == [weight, *points(value)]


def test_the_result_is_adaptive_where_there_are_development_results() -> None:
    assert wording.best_of(shown_of(FIXED, ADAPTIVE)) is ADAPTIVE
    assert wording.best_of(shown_of(FIXED)) is FIXED


def noted(monkeypatch: pytest.MonkeyPatch, shown: Shown) -> str:
    said: list[str] = []
    monkeypatch.setattr("pages.fusion.parts.st.caption", said.append)
    parts.notes(shown)
    return "\n".join(said)


def test_notes_say_seeds_queries_chance_and_where_weights_are_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    two = shown_of(FIXED, ADAPTIVE)
    said = noted(monkeypatch, two)
    assert set(numbers(said)) == {95, 5, 1736, 41.7} and "adaptive" in said
    assert after(said, "chance is") == [41.7]
    assert "adaptive" not in noted(monkeypatch, dataclasses.replace(two, has_dev=False))
    equal = noted(monkeypatch, dataclasses.replace(two, equal_for_want=("boolq", "rte")))
    assert "boolq, rte" in equal and "1/2" in equal and "1/2" not in said
    three = shown_of(ADAPTIVE, members=[("TR", TR), ("TL", TL), ("ICL", THIRD)])
    said = noted(monkeypatch, dataclasses.replace(three, equal_for_want=("rte",)))
    assert numbers(said.partition("\n")[0]) == [3, 95, 5, 1736, 41.7] and "1/3" in said


def test_lines_are_named_for_what_they_are() -> None:
    groups = {
        "fusion": ADAPTIVE,
        "TR": line("TR alone: x", "member", 0.5),
        "TL": line("TL alone: x", "member", 0.5),
        "single, gold": line("ICL alone: x", "member", 0.5),
        "equal ensemble": line("x", CONTROL, 0.5),
        "parameter fusion": line("x", "parameter fusion", 0.5),
    }
    assert {wording.group_of(each): each for each in groups.values()} == groups
    for kind in ("gold", BEST, "other model"):
        assert wording.group_of(line("x", kind, 0.5)) == "single, gold"


def test_horizontal_lines_are_what_has_to_be_beaten() -> None:
    labels = {kind: wording.level_label(line("x", kind, 0.5, THIRD)) for kind in (BEST, CONTROL, "gold", "other model")}
    assert len(set(labels.values())) == 4 and None not in labels.values()
    assert "660" in str(labels["gold"]) and "icl-model" in str(labels["other model"])
    assert str(labels[BEST]).startswith("best single") and str(labels[CONTROL]).split() == [
        "equal",
        "ensemble,",
        "gold",
    ]
    assert str(labels[BEST]).endswith("gold")
    assert [wording.level_label(line("x", kind, 0.5)) for kind in ("fusion", "member", "upper bound")] == [None] * 3


@pytest.mark.parametrize("weight", [None, 0.0, 0.327])
def test_a_fusions_full_name_has_its_weight(weight: float | None) -> None:
    named = wording.mark_name(dataclasses.replace(ADAPTIVE, weight=weight))
    assert named.startswith(ADAPTIVE.name) and (named == ADAPTIVE.name) == (weight is None)
    assert numbers(named) == ([] if weight is None else [round(weight, 2)])
