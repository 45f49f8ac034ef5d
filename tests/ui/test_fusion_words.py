"""The sentences of the fusion page say what the gains say, whichever way these come out."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from icl_core.analysis.fusion.comparison import Entry, EntryKind, EntryScore, Gain
from icl_core.analysis.fusion.gains import Diversity, GainRow, QueryDifference
from icl_core.analysis.fusion.members import FusionMember
from icl_core.analysis.fusion.weights import FusionWeights, WeightCurve, WeightKind
from icl_core.records import CheckpointRef
from pages.fusion import notes, sentences, tabs
from pages.fusion.computed import Asked, Comparison
from pages.fusion.controls import TasksDrawn
from tests.support.said import after, numbers

BEST: EntryKind = "best gold"
CONTROL: EntryKind = "control"
HELPS_BEYOND = re.compile(r"helps beyond", re.IGNORECASE)
HELPS = re.compile(r"fusion helps here", re.IGNORECASE)
BEATS_BEST_ONLY = re.compile(r"beats the best single checkpoint, but not\b", re.IGNORECASE)
WORSE = re.compile(r"worse than the best single checkpoint", re.IGNORECASE)
UNCLEAR = re.compile(r"\bno gain over the best single checkpoint is clear", re.IGNORECASE)
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
    baseline = Entry(kind, (FusionMember(TR, "gold"),))
    return {name: Gain(baseline, name, each, ()) for name, each in by_measure.items()}  # type: ignore[arg-type]


def line(
    kind: EntryKind,
    value: float,
    *refs: CheckpointRef,
    setting: Any = "gold",
    weight_kind: WeightKind | None = None,
    task: float = 0.5,
) -> EntryScore:
    entry = Entry(kind, tuple(FusionMember(ref, setting) for ref in refs or (TR,)), weight_kind)
    return EntryScore(entry, value, value - 0.01, value + 0.01, {"sst2": (task, task - 0.01, task + 0.01)})


ADAPTIVE = line("fusion", 0.7321, TR, TL, weight_kind="adaptive")
FIXED = line("fusion", 0.7213, TR, TL, weight_kind="fixed")
PAIR = (FusionMember(TR, "random"), FusionMember(TL, "abstract"))
THREE = (*PAIR, FusionMember(THIRD, "gold"))


def found_of(*lines: EntryScore, members: Sequence[FusionMember] = PAIR) -> Comparison:
    weight = np.linspace(0, 1, 101)
    value = 0.6 + 0.1 * weight
    return Comparison(
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


def finding(
    against: Mapping[Any, Mapping[str, Gain]], *, measure: str = "accuracy", best: EntryScore = ADAPTIVE
) -> str:
    return sentences.finding(asked_of(measure), found_of(best), against)


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
    assert "adaptive weights" in said and "equal weights" not in said
    assert "equal weights" in finding(against, best=FIXED) and "**72.1 %**" in finding(against, best=FIXED)
    said = sentences.finding(asked_of(), found_of(ADAPTIVE, members=THREE), against)
    assert re.search(r"440 \(TR\), tl\W+model \w+ 880 \(TL\) and icl\W+model \w+ 660 \(ICL\)", said)


def test_without_development_results_single_checkpoints_are_told_and_nothing_is_claimed() -> None:
    lines = [
        FIXED,
        line("gold", 0.6543, TR),
        line("gold", 0.7012, TL),
        line("member", 0.31, setting="random"),
    ]
    said = sentences.finding(asked_of(), found_of(*lines), {})
    assert set(numbers(said)) >= {65.4, 70.1, 72.1, 440, 880}
    assert re.search(r"65\.4 % \(tr-model step440 gold\) and 70\.1 % \(tl-model step880 gold\)", said.replace("\\", ""))
    alone = sentences.finding(asked_of(), found_of(FIXED), {})
    assert sorted(numbers(alone)) == [72.1, 440, 880]
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
    text = sentences.tests_text(row(p_seeds=p_seeds, p_examples=p_examples))
    assert numbers(text) == told
    assert ("seeds" in text, "queries" in text) == (p_seeds is not None, p_examples is not None)


@pytest.mark.parametrize("gain", [UP, BETWEEN, DOWN])
def test_a_gain_has_its_sign_and_both_ends(gain: tuple[float, float, float]) -> None:
    said = sentences.gain_text(row(gain))
    assert numbers(said) == points(*gain)
    assert [sign for sign in re.findall(r"[+−]", said)] == ["−" if round(100 * x, 1) < 0 else "+" for x in gain]


@pytest.mark.parametrize("weight", [0.0, 0.37, 1.0])
@pytest.mark.parametrize("task", [None, "sst2"])
def test_the_line_below_the_chart_compares_at_this_w(weight: float, task: str | None) -> None:
    lines = [line(BEST, 0.655, task=0.4444), line(CONTROL, 0.7111, task=0.6), line("gold", 0.1)]
    value = 0.6 + 0.1 * weight - (0.2 if task else 0)
    found = found_of(*lines)
    assert found.curve is not None and found.curve.at(weight, task=task) == pytest.approx(value)
    said = sentences.at_weight(found, weight, found.curve.at(weight, task=task), task=task)
    best, control = (0.4444, 0.6) if task else (0.655, 0.7111)
    told = said.replace("sst2", "")
    assert numbers(told) == [weight, *points(value), *points(value - best, value - control)]
    assert ("sst2" in said) == (task is not None)
    assert re.search(r"single checkpoint, .*equal ensemble", said)
    without = sentences.at_weight(found_of(lines[1]), weight, value, task=task)
    assert "single checkpoint" not in without and "ensemble" in without
    assert numbers(sentences.at_weight(found_of(), weight, value, task=None)) == [weight, *points(value)]


def test_the_result_is_adaptive_where_there_are_development_results() -> None:
    assert found_of(FIXED, ADAPTIVE).main is ADAPTIVE
    assert found_of(FIXED).main is FIXED


def noted(monkeypatch: pytest.MonkeyPatch, found: Comparison) -> str:
    said: list[str] = []
    monkeypatch.setattr("pages.fusion.notes.st.caption", said.append)
    notes.below_chart(found)
    return "\n".join(said)


def test_notes_say_seeds_queries_chance_and_where_weights_are_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    two = found_of(FIXED, ADAPTIVE)
    said = noted(monkeypatch, two)
    assert set(numbers(said)) == {95, 5, 1736, 41.7} and "adaptive" in said.lower()
    assert after(said, "Chance is") == [41.7]
    assert "adaptive" not in noted(monkeypatch, dataclasses.replace(two, has_dev=False)).lower()
    equal = noted(monkeypatch, dataclasses.replace(two, equal_for_want=("boolq", "rte")))
    assert "boolq, rte" in equal and "1/2" in equal and "1/2" not in said
    three = found_of(ADAPTIVE, members=THREE)
    said = noted(monkeypatch, dataclasses.replace(three, equal_for_want=("rte",)))
    assert numbers(said.partition("\n")[0]) == [3, 95, 5, 1736, 41.7] and "1/3" in said


def test_lines_are_named_for_what_they_are() -> None:
    groups = {
        "fusion": ADAPTIVE,
        "TR": line("member", 0.5, setting="random"),
        "TL": line("member", 0.5, setting="abstract"),
        "single, gold": line("member", 0.5, setting="gold"),
        "equal ensemble": line(CONTROL, 0.5),
        "parameter fusion": line("parameter fusion", 0.5),
    }
    assert {sentences.group_of(each): each for each in groups.values()} == groups
    kinds: tuple[EntryKind, ...] = ("gold", BEST, "other model")
    for kind in kinds:
        assert sentences.group_of(line(kind, 0.5)) == "single, gold"


def test_horizontal_lines_are_what_has_to_be_beaten() -> None:
    kinds: tuple[EntryKind, ...] = (BEST, CONTROL, "gold", "other model")
    labels = {kind: sentences.level_label(line(kind, 0.5, THIRD)) for kind in kinds}
    assert len(set(labels.values())) == 4 and None not in labels.values()
    assert "660" in str(labels["gold"]) and "icl-model" in str(labels["other model"])
    assert "single" in str(labels[BEST]) and "ensemble" in str(labels[CONTROL])
    others: tuple[EntryKind, ...] = ("fusion", "member", "upper bound")
    assert [sentences.level_label(line(kind, 0.5)) for kind in others] == [None] * 3


@pytest.mark.parametrize("weight", [None, 0.0, 0.327])
def test_a_fusions_full_name_has_its_weight(weight: float | None) -> None:
    by_task = {"sst2": np.array([1 / 3] * 3 if weight is None else [weight, 1 - weight])}
    named = sentences.mark_name(dataclasses.replace(ADAPTIVE, weights=FusionWeights("adaptive", by_task)))
    assert named.startswith(ADAPTIVE.entry.title)
    assert numbers(named) == ([] if weight is None else [round(weight, 2)])


# Around the chart, and in the tabs


@pytest.mark.parametrize(("seeds", "examples"), [(1, 1), (5, 1736)])
def test_how_it_is_computed_says_seeds_queries_and_label_score(seeds: int, examples: int) -> None:
    found = dataclasses.replace(found_of(ADAPTIVE), n_seeds=seeds, n_examples=examples)
    said = sentences.how_computed(found, "per_token")
    assert numbers(said.partition("same cost.")[2]) == [seeds, examples]
    assert ("seeds," in said, "queries;" in said) == (seeds > 1, examples > 1)
    assert said.endswith("label score: per_token.")


@pytest.mark.parametrize("models", [["one"], ["one", "two"]])
def test_models_without_the_development_set_are_named(models: list[str]) -> None:
    assert sentences.without_dev(models).startswith(f"{', '.join(models)}: the development set is not evaluated yet.")


def test_gains_by_task_name_what_is_compared_and_their_interval() -> None:
    said = sentences.compared_gains("adaptive fusion", "best *single*")
    assert said.startswith(r"adaptive fusion against best \*single\*.")
    assert numbers(said) == [95]


@pytest.mark.parametrize(("n", "told"), [(1, "1 pair of"), (100, "100 pairs of")])
def test_pairs_are_counted(n: int, told: str) -> None:
    assert told in sentences.all_pairs(n)


@pytest.mark.parametrize("found", [Diversity(0.6123, 0.1042, 0.8958), Diversity(1.0, 0.0, 1.0)])
@pytest.mark.parametrize("is_only", [True, False])
def test_agreement_has_each_share_at_its_own_place(found: Diversity, is_only: bool) -> None:
    said = sentences.agreement(("one", "two"), found, is_only=is_only)
    assert said.startswith("The two members agree" if is_only else "one and two agree")
    assert numbers(said) == points(found.agreement, found.double_fault, found.either_right)
    assert after(said, "agree on") == points(found.agreement) and after(said, "reach") == points(found.either_right)
    assert after(said, "queries, and on") == points(found.double_fault)


@pytest.mark.parametrize(("gained", "lost", "other"), [(0, 0, 0), (3, 1, 2), (0, 1200, 0)])
def test_gained_and_lost_queries_are_counted_apart_and_others_not_at_all(gained: int, lost: int, other: int) -> None:
    kinds = [*[(1, 0, 1)] * gained, *[(1, 1, 0)] * lost, *[(1, 0, 2)] * other]  # gold, baseline, answer
    listed = [QueryDifference("sst2", "row", 13, *each) for each in kinds]
    said = sentences.gained_and_lost("best", listed)
    assert numbers(said) == [gained, lost]
    assert re.search(rf"{gained:,}\W+gained, \W+{lost:,}\W+lost", said)


@pytest.mark.parametrize(("n", "told"), [(0, []), (200, []), (201, [200, 201]), (1736, [200, 1736])])
def test_a_list_says_how_long_it_would_be_if_not_all_of_it_is_there(n: int, told: list[float]) -> None:
    assert numbers(sentences.first_listed(n, most=200)) == told


@pytest.mark.parametrize("measure", ["accuracy", "balanced_accuracy", "macro_f1"])
def test_the_table_of_gains_has_each_number_in_its_own_column(measure: Any) -> None:
    """One row for the mean, one per task; beside the measure that is shown stands the other one."""
    other = "accuracy" if measure == "balanced_accuracy" else "balanced_accuracy"
    name = "accuracy" if measure == "balanced_accuracy" else "balanced"
    main = dataclasses.replace(row(UP, p_seeds=0.031, p_examples=0.0042), value=0.71, baseline=0.6977)
    second = row(DOWN)
    task = dataclasses.replace(main, task="sst2", value=0.9, baseline=0.8, n_seeds=3, n_examples=872)
    baseline = Entry(BEST, (FusionMember(TR, "gold"),))
    gains = {
        measure: Gain(baseline, measure, main, (task,)),
        other: Gain(baseline, other, second, (dataclasses.replace(second, task="sst2"),)),  # type: ignore[arg-type]
    }
    weights = FusionWeights("adaptive", {"sst2": np.array([0.4, 0.6])})
    found = found_of(dataclasses.replace(ADAPTIVE, weights=weights))
    screen = tabs.Screen(asked_of(measure), found, TasksDrawn(None, every_task=False), 0.25)
    mean, of_task = tabs.gain_rows(screen, gains)
    assert (mean["task"], of_task["task"]) == ("mean", "sst2")
    assert [round(mean[key], 6) for key in ("fused", "baseline", "gain", "from", "to")] == [
        71.0,
        69.77,
        1.23,
        0.41,
        2.72,
    ]
    assert (mean["p seeds"], mean["p queries"], mean["seeds"], mean["queries"]) == (0.031, 0.0042, 5, 1736)
    assert [round(mean[f"{name} {key}"], 6) for key in ("gain", "from", "to")] == [-1.45, -2.56, -0.62]
    assert [round(of_task[key], 6) for key in ("fused", "baseline")] == [90.0, 80.0]
    assert (of_task["seeds"], of_task["queries"]) == (3, 872)
    assert (mean["w"], of_task["w"]) == (0.4, 0.4)
    assert (round(mean["at w"], 6), round(of_task["at w"], 6)) == (62.5, 42.5)
    alone = tabs.gain_rows(dataclasses.replace(screen, weight=None), gains)
    assert "w" not in alone[0] and "at w" not in alone[0]


# In whole sentences

MEMBERS = r"tr\-model step 440 (TR) and tl\-model step 880 (TL), fused with"


def test_the_finding_reads_whole() -> None:
    against = {BEST: both_measures(BEST, row(UP), row(BETWEEN)), CONTROL: both_measures(CONTROL, row(DOWN), row(UP))}
    over = "p = 0.031 over 5 seeds, p = 0.0042 over 1,736 queries"
    best = f"against the best single checkpoint under true labels **+1.2 points (+0.4 to +2.7)**; {over}"
    control = f"against the equal ensemble of two **−1.5 points (−2.6 to −0.6)**; {over}"
    assert finding(against) == (
        f"{MEMBERS} adaptive weights, reach **73.2 %** accuracy: {best}; {control}. Under balanced accuracy the gains "
        "are +0.9 and +1.2 points. It beats the best single checkpoint, but not by more than plain ensembling."
    )
    alone = {BEST: gain_of(BEST, {"accuracy": row(BETWEEN), "balanced_accuracy": row(UP)})}
    assert finding(alone, measure="balanced_accuracy", best=FIXED) == (
        f"{MEMBERS} equal weights, reach **72.1 %** balanced accuracy: {best}. Under accuracy the gain is +0.9 points. "
        "Fusion helps here."
    )
    both = {kind: both_measures(kind, row(UP)) for kind in (BEST, CONTROL)}
    worse = {BEST: both_measures(BEST, row(DOWN))}
    unclear = {BEST: both_measures(BEST, row(BETWEEN))}
    assert finding(both).endswith(" points. Fusion helps beyond plain ensembling here.")
    assert finding(worse).endswith(" points. Fusion is worse than the best single checkpoint here.")
    assert finding(unclear).endswith(" points. No gain over the best single checkpoint is clear of its 95 % interval.")


def test_the_finding_without_gains_reads_whole() -> None:
    said = sentences.finding(asked_of(), found_of(FIXED, line("gold", 0.6543, TR), line("gold", 0.7012, TL)), {})
    assert said == (
        rf"{MEMBERS} equal weights, reach **72.1 %** accuracy; single checkpoints reach 65.4 % (tr\-model step440 "
        r"gold) and 70.1 % (tl\-model step880 gold)."
    )
    assert sentences.finding(asked_of(), found_of(FIXED), {}) == (
        f"{MEMBERS} equal weights, reach **72.1 %** accuracy."
    )
    three = sentences.finding(asked_of(), found_of(FIXED, members=THREE), {})
    assert three.startswith(r"tr\-model step 440 (TR), tl\-model step 880 (TL) and icl\-model step 660 (ICL), fused")
    assert sentences.tests_text(row(p_seeds=None, p_examples=None)) == ""


def test_lines_and_marks_read_whole() -> None:
    lines = line(BEST, 0.655, task=0.444), line(CONTROL, 0.712, task=0.6)
    assert sentences.at_weight(found_of(*lines), 0.374, 0.7, task=None) == (
        "At **w = 0.37**: **70.0 %**, +4.5 points against the best single checkpoint, −1.2 points against the equal "
        "ensemble."
    )
    assert sentences.at_weight(found_of(), 1.0, 0.5, task="file:/a/*x*") == r"At **w = 1.00** on \*x\*: **50.0 %**."
    assert sentences.level_label(line(BEST, 0.5)) == "best single\n(dev), gold"
    assert sentences.level_label(line(CONTROL, 0.5)) == "equal\nensemble, gold"
    assert sentences.level_label(line("gold", 0.5, THIRD)) == "step 660, gold"
    assert sentences.level_label(line("other model", 0.5, THIRD)) == "icl-model,\ngold"
    weights = FusionWeights("adaptive", {"sst2": np.array([0.327, 0.673])})
    assert sentences.mark_name(ADAPTIVE) == ADAPTIVE.entry.title
    assert sentences.mark_name(dataclasses.replace(ADAPTIVE, weights=weights)) == (
        f"{ADAPTIVE.entry.title}, mean w 0.33"
    )


def test_words_below_the_chart_read_whole() -> None:
    two, three = found_of(FIXED, ADAPTIVE), found_of(ADAPTIVE, members=THREE)
    marks = (
        "Hollow: oracle, chosen on the test set, so it is an upper bound, not a result. Circle and square: the members "
        "alone. Triangles: mixed parameters. Dashed: single checkpoints under true labels, and the equal ensemble of "
        "the two that are best on the development set, which is what plain ensembling gives. Bands: 95 %, bootstrap "
        "over 5 seeds and 1,736 queries. Chance is 41.7 %."
    )
    diamonds = "Diamonds: fusions of the predictions at their mean weight"
    assert sentences.below_chart(two) == (
        f"{diamonds}. Adaptive weights differ by task, so the adaptive fusion need not lie on the curve. {marks}"
    )
    assert sentences.below_chart(dataclasses.replace(two, has_dev=False)) == f"{diamonds}. {marks}"
    assert sentences.below_chart(dataclasses.replace(three, n_seeds=1)) == (
        "The fusion adds the weighted probabilities of 3 members. Whiskers: 95 %, bootstrap over 1 seed and 1,736 "
        "queries. Chance is 41.7 %. Mixed parameters and the tables of selection are of the first two members."
    )
    assert sentences.equal_for_want(two) == ""
    assert sentences.equal_for_want(dataclasses.replace(three, equal_for_want=("boolq", "file:/a/*x*"))) == (
        r"No member is above chance on the development set of boolq, \*x\*. There each of them weighs 1/3."
    )
    assert sentences.without_dev(["one", "*x*"]) == (
        r"one, \*x\*: the development set is not evaluated yet. Adaptive weights and the best checkpoints are chosen "
        "on it, never on the test set. Until then you choose the members, and they weigh the same."
    )


def test_how_it_is_computed_reads_whole() -> None:
    method = (
        "Equations 5 and 6 of arXiv 2406.14022; with further members the sums run over all of them. Probabilities are "
        "the softmax over the candidates' scores; a symbol's probability belongs to the label that it stands for. The "
        "accuracies in the weights are those of the development set, per task (adaptive) or averaged first (pooled). "
        "An accuracy below chance counts as no excess. Checkpoints are chosen on the development set; ties go to the "
        "earlier one. The **equal ensemble** averages the two checkpoints that are best under true labels: it is what "
        "plain ensembling gives for the same cost."
    )
    found = found_of(ADAPTIVE)
    assert sentences.how_computed(found, "sum") == f"{method} 5 seeds, 1,736 queries; label score: sum."
    one = dataclasses.replace(found, n_seeds=1, n_examples=1)
    assert sentences.how_computed(one, "per_token") == f"{method} 1 seed, 1 query; label score: per_token."


def test_words_in_the_tabs_read_whole() -> None:
    assert sentences.compared_gains("ours*", "theirs*") == (
        r"ours\* against theirs\*. Gains in percentage points, with 95 % intervals (paired bootstrap); p over seeds "
        "(paired t-test, as in the paper) and over queries (sign flips). bal.: under balanced accuracy. A gain under "
        "accuracy that is gone under balanced accuracy is label bias."
    )
    marked = "of checkpoints. The circle marks the pair shown above."
    assert sentences.all_pairs(1) == f"Adaptive fusion of 1 pair {marked}"
    assert sentences.all_pairs(1225) == f"Adaptive fusion of 1,225 pairs {marked}"
    shares = (
        "agree on **61.2 %** of queries, and on **10.4 %** both are wrong. A perfect choice between them would reach "
        "89.6 %."
    )
    found = Diversity(0.6123, 0.1042, 0.8958)
    assert sentences.agreement(("one", "t*"), found, is_only=True) == f"The two members {shares}"
    assert sentences.agreement(("one", "t*"), found, is_only=False) == rf"one and t\* {shares}"
    changed = [QueryDifference("sst2", "row", 13, *each) for each in ((1, 0, 1), (1, 1, 0), (1, 1, 0), (1, 0, 2))]
    assert sentences.gained_and_lost("b*", changed) == r"Against b\*: **1** gained, **2** lost."
    assert sentences.first_listed(200, most=200) == ""
    assert sentences.first_listed(1736, most=200) == "The first 200 of 1,736 are listed."
