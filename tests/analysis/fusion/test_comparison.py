"""The comparison of a fusion with its baselines: who is in it, what each line holds, Table 1."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from icl_core.analysis.fusion.answers import Answers, answer_scores
from icl_core.analysis.fusion.answers import fused_answers as fused
from icl_core.analysis.fusion.comparison import (
    Entry,
    EntryAnswers,
    EntryScore,
    fusion_entries,
    gains_over,
    main_fusion,
    mixed_counterpart,
    prompt_tflops,
    scored_entries,
    table_1,
)
from icl_core.analysis.fusion.gains import gain_table
from icl_core.analysis.fusion.members import FusionMember, MemberResults, ModelSplits, collect_members
from icl_core.analysis.fusion.selection import choose_member, choose_members, select_checkpoint
from icl_core.analysis.fusion.weights import FusionWeights, WeightKind, development_weights
from icl_core.analysis.predictions import Normalisation, collect_predictions
from icl_core.analysis.statistics import hierarchical_band, replicate_task
from icl_core.errors import StudyError
from icl_core.records import CellRecord, CheckpointRef
from tests.support.fusion_by_hand import GOLD, ByHand, ScoresFor

Pair = tuple[MemberResults, MemberResults]


@pytest.fixture
def pair(splits: ModelSplits, make_ref: Callable[..., CheckpointRef]) -> Pair:
    return choose_members(splits, splits, tr=make_ref(10), tl=make_ref(20))


def test_every_line_is_there_and_adds_its_members(pair: Pair, make_splits: Callable[..., ModelSplits]) -> None:
    mixed = make_splits("mixed")
    by_w = dict(
        zip((0.0, 0.5, 1.0), (MemberResults(mixed, ref, "gold") for ref in mixed.test.checkpoints), strict=True)
    )
    found = fusion_entries(pair, others=(make_splits("m-2"),), mixed=by_w)
    entries = [each.entry for each in found]
    kinds = [entry.kind for entry in entries]
    assert kinds[:6] == ["fusion", "fusion", "fusion", "upper bound", "member", "member"]
    assert {kind: kinds.count(kind) for kind in set(kinds[6:])} == {
        **{"gold": 2, "best gold": 1, "control": 1, "parameter fusion": 3, "other model": 1}
    }
    assert len(set(entries)) == len(entries) == len({entry.title for entry in entries})
    assert [entry.weight_kind for entry in entries[:4]] == ["adaptive", "pooled", "fixed", "oracle"]
    assert all(
        entry.roles == ("TR", "TL") and [ref.step for ref in entry.checkpoints] == [10, 20] for entry in entries[:4]
    )
    assert [(each.entry.weight_kind, each.weights.kind) for each in found if each.weights] == [
        (kind, kind) for kind in ("adaptive", "pooled", "fixed", "oracle")
    ]
    assert [entry.mixed_weight for entry in entries if entry.kind == "parameter fusion"] == [0.0, 0.5, 1.0]
    assert main_fusion(entries) == entries[0]
    control = next(entry for entry in entries if entry.kind == "control")
    best = next(entry for entry in entries if entry.kind == "best gold")
    assert len(control.checkpoints) == 2 and control.checkpoints[0] == best.checkpoints[0]
    assert (control.weight_kind, control.roles) == ("fixed", ("ICL", "ICL"))
    assert next(entry for entry in entries if entry.kind == "other model").checkpoints[0].step == 20


def test_three_members_are_weighed_over_all(pair: Pair, splits: ModelSplits) -> None:
    third = choose_member(splits, "gold")
    assert third.checkpoint == select_checkpoint(splits, "ICL-best") and third.label_setting == "gold"
    entries = fusion_entries((*pair, third))
    assert [each.entry.kind for each in entries][:6] == ["fusion"] * 3 + [
        "member"
    ] * 3  # no oracle over several weights
    assert [each.entry.roles for each in entries[3:6]] == [("TR",), ("TL",), ("ICL",)]
    assert [each.entry.title.split(":")[0] for each in entries[3:6]] == ["TR alone", "TL alone", "ICL alone"]
    data = collect_members((*pair, third))
    expected = development_weights(data)
    assert entries[0].weights is not None and entries[0].entry.roles == ("TR", "TL", "ICL")
    for task, weights in entries[0].weights.by_task.items():
        assert (
            weights == pytest.approx(expected.by_task[task]) and len(weights) == 3 and sum(weights) == pytest.approx(1)
        )
    assert answer_scores(entries[0].answers).mean == pytest.approx(answer_scores(fused(data, expected)).mean)
    with pytest.raises(StudyError, match="takes part twice"):
        fusion_entries((*pair, pair[0]))


def test_without_development_results_nothing_is_chosen(splits: ModelSplits, pair: Pair) -> None:
    blind = dataclasses.replace(splits, dev=None)
    entries = fusion_entries([dataclasses.replace(member, model=blind) for member in pair])
    assert [each.entry.kind for each in entries] == ["fusion", "upper bound", "member", "member", "gold", "gold"]
    assert main_fusion([each.entry for each in entries]) == entries[0].entry
    assert (entries[0].entry.weight_kind, entries[0].entry.title) == ("fixed", "fusion, fixed")


def test_a_baseline_of_other_rows_is_left_out(pair: Pair, make_splits: Callable[..., ModelSplits]) -> None:
    foreign = make_splits("m-3", row_ids=tuple(f"other:{i}" for i in range(6)))
    assert not [each for each in fusion_entries(pair, others=(foreign,)) if each.entry.kind == "other model"]


def test_scores_and_table_1_are_those_of_the_answers(pair: Pair) -> None:
    entries = fusion_entries(pair)
    for entry, score in zip(entries, scored_entries(entries, n_replicates=50), strict=True):
        assert score.value == pytest.approx(answer_scores(entry.answers).mean)
        assert score.low <= score.value <= score.high
        by_task = answer_scores(entry.answers).by_task
        assert {task: triple[0] for task, triple in score.by_task.items()} == pytest.approx(by_task)
        assert score.entry == entry.entry and score.weights is entry.weights
        assert score.of("a") == score.by_task["a"] and score.of(None) == (score.value, score.low, score.high)
        assert score.lead_of(0.5, task="a") == 0.5 - score.by_task["a"][0]
    rows = {row.entry.title: row for row in table_1(entries, {"m-1": 2e12})}
    assert rows["fusion, adaptive"].tflops == pytest.approx(4.0)
    assert rows["fusion, fixed"].accuracy == pytest.approx(answer_scores(entries[2].answers).mean)
    assert rows["TR alone: m-1 step10"].tflops == pytest.approx(2.0)
    assert all(row.tflops is None for row in table_1(entries, {"m-1": 0.0}))


def test_gains_come_under_both_measures(pair: Pair) -> None:
    entries = fusion_entries(pair)
    gains = gains_over(entries[0], entries[4:6], n_replicates=20)
    assert [(gain.baseline, gain.measure) for gain in gains] == [
        (entry.entry, measure) for entry in entries[4:6] for measure in ("accuracy", "balanced_accuracy")
    ]
    first = gains[0]
    difference = answer_scores(entries[0].answers).mean - answer_scores(entries[4].answers).mean
    assert first.mean.gain == pytest.approx(difference)
    assert np.mean([row.gain for row in first.tasks]) == pytest.approx(difference)


def test_the_cost_of_a_prompt_is_that_of_all_members(make_ref: Callable[..., CheckpointRef]) -> None:
    one, other = (FusionMember(make_ref(0, name), "gold") for name in ("m-1", "m-2"))
    both = Entry("control", (one, other), "fixed")
    assert prompt_tflops(both, {"m-1": 2e12, "m-2": 3e12}) == 5.0
    assert prompt_tflops(Entry("gold", (one,)), {"m-1": 2e12}) == 2.0
    for unknown in ({"m-1": 2e12}, {"m-1": 2e12, "m-2": 0.0}, {}):
        assert prompt_tflops(both, unknown) is None


def test_two_weight_files_of_one_revision_are_two_members(splits: ModelSplits, pair: Pair) -> None:
    """Quantised files lie side by side on one revision: names alone took the second for the first."""
    files = [dataclasses.replace(pair[0].checkpoint, weight_file=f"model-{kind}.gguf") for kind in ("q4", "q8")]
    predictions = {
        split: dataclasses.replace(part, checkpoints=(*files, part.checkpoints[2]))
        for split, part in (("test", splits.test), ("dev", splits.development()))
    }
    model = ModelSplits(predictions["test"], predictions["dev"])
    members = [MemberResults(model, ref, "random") for ref in files]
    entries = [each.entry for each in fusion_entries(members)]
    assert [entry.title for entry in entries if entry.kind == "member"] == [
        f"TR alone: m-1 model-{kind}.gguf" for kind in ("q4", "q8")
    ]
    assert [entry.checkpoints for entry in entries if entry.kind == "gold"] == [(ref,) for ref in files]


@pytest.mark.parametrize(
    ("weight_kind", "stored", "found"),
    [
        ("fixed", (0.25, 0.5), 0.5),
        ("fixed", (0.25, 0.51), None),
        ("adaptive", (0.5, 0.31), 0.31),
        ("adaptive", (0.5, 0.3126), 0.3126),
        ("adaptive", (0.5, 0.32), None),
    ],
)
def test_mixed_parameters_beside_a_fusion_have_its_weight_to_two_digits(
    weight_kind: WeightKind, stored: tuple[float, ...], found: float | None, make_ref: Callable[..., CheckpointRef]
) -> None:
    member = FusionMember(make_ref(0), "gold")
    by_task = {"a": np.array([0.2, 0.8]), "b": np.array([0.425, 0.575])}  # the mean is 0.3125
    scores = [EntryScore(Entry("parameter fusion", (member,), mixed_weight=w), w, w, w, {}) for w in stored]
    assert mixed_counterpart(scores, "adaptive") is None, "no pooled fusion tells the weight"
    pooled = EntryScore(Entry("fusion", (member, member), "pooled"), 0, 0, 0, {}, FusionWeights("pooled", by_task))
    counterpart = mixed_counterpart([pooled, *scores], weight_kind)
    assert (counterpart and counterpart.entry.mixed_weight) == found


def test_titles_are_made_from_the_values(make_ref: Callable[..., CheckpointRef]) -> None:
    tr, tl, gold = (FusionMember(make_ref(10), setting) for setting in ("random", "abstract", "gold"))
    quantised = FusionMember(dataclasses.replace(make_ref(0, "m-2"), weight_file="q4.gguf"), "gold")
    titles = {
        Entry("fusion", (tr, tl), "adaptive"): "fusion, adaptive",
        Entry("upper bound", (tr, tl), "oracle"): "fusion, oracle",
        Entry("member", (tl,)): "TL alone: m-1 step10",
        Entry("gold", (gold,)): "m-1 step10 gold",
        Entry("best gold", (gold,)): "best on dev, gold: m-1 step10",
        Entry("control", (gold, quantised), "fixed"): "equal ensemble, gold: m-1 step10 + m-2 q4.gguf",
        Entry("parameter fusion", (gold,), mixed_weight=0.5): "m-1 step10",
        Entry("other model", (quantised,)): "m-2 q4.gguf gold",
    }
    assert {entry: entry.title for entry in titles} == titles


def hits_of(entry: EntryAnswers) -> dict[str, float]:
    return answer_scores(entry.answers).by_task


@pytest.mark.parametrize("normalisation", ["sum", "calibrated"])
def test_every_line_by_hand(
    pair: Pair, make_splits: Callable[..., ModelSplits], scores_for: ScoresFor, normalisation: Normalisation
) -> None:
    by_hand = ByHand(scores_for, normalisation=normalisation)
    mixed = make_splits("mixed")
    found = fusion_entries(
        pair,
        normalisation=normalisation,
        others=(make_splits("m-2"),),
        mixed={0.5: MemberResults(mixed, mixed.test.checkpoints[1], "gold")},
    )
    tr, tl = ("m-1", 10, "random"), ("m-1", 20, "abstract")
    curve = [by_hand.weighted((tr, tl), dict.fromkeys(GOLD, (w, 1 - w))) for w in np.arange(101) / 100]
    means = np.round([np.mean(list(values.values())) for values in curve], 9)
    oracle = min(np.flatnonzero(means == means.max()), key=lambda at: abs(at - 50))
    best, second, _ = (("m-1", step, "gold") for step in by_hand.ranked("m-1", "gold"))
    expected = [
        by_hand.adaptive(tr, tl),
        by_hand.pooled(tr, tl),
        by_hand.equal(tr, tl),
        curve[oracle],
        by_hand.alone(tr),
        by_hand.alone(tl),
        by_hand.alone(("m-1", 10, "gold")),
        by_hand.alone(("m-1", 20, "gold")),
        by_hand.alone(best),
        by_hand.equal(best, second),
        by_hand.alone(("mixed", 10, "gold")),
        by_hand.alone(("m-2", 20, "gold")),
    ]
    assert [hits_of(each) for each in found] == [pytest.approx(each) for each in expected]
    assert [each.answers.title for each in found[:4]] == [
        f"fusion, {k}" for k in ("adaptive", "pooled", "fixed", "oracle")
    ]


def test_two_models_are_compared_on_the_tasks_in_common(
    splits: ModelSplits, make_splits: Callable[..., ModelSplits], scores_for: ScoresFor
) -> None:
    by_hand, other = ByHand(scores_for), make_splits("m-3")
    assert other.dev is not None
    parts = [
        dataclasses.replace(part, settings={at: v for at, v in part.settings.items() if at != ("a", "abstract")})
        for part in (other.test, other.dev)
    ]
    members = [
        MemberResults(splits, splits.test.checkpoints[1], "random"),
        MemberResults(ModelSplits(*parts), other.test.checkpoints[2], "abstract"),
    ]
    found = fusion_entries(members)
    assert {tuple(each.answers.predicted) for each in found} == {("b",)}
    assert hits_of(found[0])["b"] == pytest.approx(
        by_hand.adaptive(("m-1", 10, "random"), ("m-3", 20, "abstract"))["b"]
    )
    # The best under gold labels are looked for among all six checkpoints, on the task in common (over both tasks the
    # second is another one).
    candidates = [(model, step) for model in ("m-1", "m-3") for step in (0, 10, 20)]
    accuracy = {each: round(by_hand.dev_accuracy((*each, "gold"), "b"), 9) for each in candidates}
    ranked = sorted(candidates, key=lambda each: -accuracy[each])
    control = next(each.entry for each in found if each.entry.kind == "control")
    assert [(ref.model, ref.step) for ref in control.checkpoints] == ranked[:2]


def test_what_lacks_development_results_in_part_gets_no_weights_from_them(pair: Pair, splits: ModelSplits) -> None:
    """Of the members one may have none at all, or not all seeds."""
    blind = dataclasses.replace(pair[1], model=dataclasses.replace(splits, dev=None))
    assert splits.dev is not None
    present = {
        at: dataclasses.replace(scores, present=scores.present & (np.arange(2) == 0))
        for at, scores in splits.dev.settings.items()
    }
    patchy = ModelSplits(splits.test, dataclasses.replace(splits.dev, settings=present))
    for members in ((pair[0], blind), [dataclasses.replace(each, model=patchy) for each in pair]):
        kinds = [each.entry.kind for each in fusion_entries(members)]
        assert kinds == ["fusion", "upper bound", "member", "member", "gold", "gold"]


def test_the_best_under_gold_labels_is_that_of_the_seeds_that_are_fused(
    make_record: Callable[..., CellRecord], make_ref: Callable[..., CheckpointRef]
) -> None:
    """Under the test set's two seeds step 0 is better on the development set; with a third one step 10 would be."""
    hits = {0: {13: 4, 21: 4, 42: 0}, 10: {13: 3, 21: 3, 42: 4}}
    cells = [
        make_record([0] * n + [1] * (4 - n), [0] * 4, step=step, setting=setting, demo_seed=seed, split=split)
        for step, of_seeds in hits.items()
        for seed, n in of_seeds.items()
        for setting in ("gold", "random", "abstract")
        for split in ("dev", "test")
        if (split, seed) != ("test", 42)
    ]
    model = ModelSplits(collect_predictions(cells)["m-1"], collect_predictions(cells, split="dev")["m-1"])
    entries = fusion_entries([MemberResults(model, make_ref(0), s) for s in ("random", "abstract")])
    best = next(each.entry for each in entries if each.entry.kind == "best gold")
    assert [ref.step for ref in best.checkpoints] == [0]


def test_rows_that_differ_on_one_task_alone_leave_a_baseline_out(
    pair: Pair, splits: ModelSplits, make_splits: Callable[..., ModelSplits]
) -> None:
    other = make_splits("m-2").test
    changed = {
        (task, setting): dataclasses.replace(scores, row_ids=tuple("uvwxyz")) if task == "b" else scores
        for (task, setting), scores in other.settings.items()
    }
    empty = dataclasses.replace(other, checkpoints=())
    others = [ModelSplits(dataclasses.replace(other, settings=changed)), ModelSplits(empty)]
    entries = fusion_entries(pair, others=[*others, make_splits("m-3")])
    assert [e.entry.title for e in entries if e.entry.kind == "other model"] == ["m-3 step20 gold"]


def test_members_of_one_checkpoint_share_its_line_under_gold_and_gold_members_need_none(
    splits: ModelSplits, make_ref: Callable[..., CheckpointRef]
) -> None:
    members = [MemberResults(splits, make_ref(10), setting) for setting in ("random", "abstract")]
    third = MemberResults(splits, make_ref(20), "gold")
    entries = [each.entry for each in fusion_entries([*members, third])]
    assert [entry.title for entry in entries if entry.kind == "gold"] == ["m-1 step10 gold"]
    with pytest.raises(
        StudyError,
        match=r"^m-1 step20 \(gold\) takes part twice; choose another checkpoint or another role for it\.$",
    ):
        fusion_entries([*members, third, third])


def test_intervals_are_those_of_one_draw_for_all_lines(pair: Pair) -> None:
    entries = fusion_entries(pair)
    scores = scored_entries(entries, measure="macro_f1", n_replicates=40, bootstrap_seed=3)
    for entry, score in zip(entries, scores, strict=True):
        alone = {
            task: replicate_task(
                entry.answers.predicted[task][None],
                entry.answers.gold[task],
                measure="macro_f1",
                n_replicates=40,
                rng=np.random.default_rng([3, at]),
            )
            for at, task in enumerate(("a", "b"))
        }
        for task, parts in ((None, list(alone.values())), *((task, [each]) for task, each in alone.items())):
            band = hierarchical_band(parts)
            assert score.of(task) == pytest.approx((band.value[0], band.low[0], band.high[0]))
    few = entries[:1]
    intervals = [
        [(each.value, each.low, each.high) for each in scored_entries(few, **options)]
        for options in ({}, {"measure": "accuracy", "n_replicates": 300, "bootstrap_seed": 0})
    ]
    assert intervals[0] == intervals[1]


def test_gains_are_those_of_the_gain_table(pair: Pair) -> None:
    ours, baseline = fusion_entries(pair)[0], fusion_entries(pair)[5]
    (gain,) = gains_over(ours, [baseline], measures=("macro_f1",), n_replicates=30)
    assert (gain.measure, [row.task for row in gain.tasks]) == ("macro_f1", ["a", "b"])
    assert (gain.mean, *gain.tasks) == gain_table(ours.answers, baseline.answers, measure="macro_f1", n_replicates=30)
    assert gains_over(ours, [baseline]) == gains_over(ours, [baseline], n_replicates=500)


def test_a_line_of_table_1_by_hand(make_ref: Callable[..., CheckpointRef]) -> None:
    entry = Entry("gold", (FusionMember(make_ref(0), "gold"),))

    def answered(*by_seed: list[int]) -> EntryAnswers:
        predicted, rows = {"t": np.array(by_seed, dtype=np.int16)}, {"t": tuple("wxyz")}
        return EntryAnswers(entry, Answers("", predicted, {"t": np.array([0, 0, 0, 1], np.int16)}, rows, (13, 21)))

    (row,) = table_1([answered([0, 0, 0, 0], [0, 0, 0, 1])], {"m-1": 3e12})
    # Accuracies .75 and 1; recalls (1, 0) and (1, 1).
    assert (row.entry, row.accuracy, row.balanced_accuracy, row.tflops) == (entry, 0.875, 0.75, 3.0)
    assert row.accuracy_spread == pytest.approx(0.25 / 2**0.5)
    (row,) = table_1([answered([0, 0, 0, 0])], {})
    assert row.accuracy_spread is None and row.tflops is None
