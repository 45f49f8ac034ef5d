"""The sentences of the fusion page: computed values in words, whichever way they come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from icl_core.analysis.fusion.comparison import EntryKind, EntryScore, Gain
from icl_core.analysis.fusion.gains import Diversity, GainRow, QueryDifference
from pages.fusion.computed import Asked, Comparison
from pages.ui.controls.analysis import MEASURE_TITLES
from pages.ui.words.written import (
    checkpoint_name,
    count,
    legible,
    p_value,
    percent,
    plain,
    points,
    signed,
    task_title,
)

__all__ = [
    "agreement",
    "all_pairs",
    "at_weight",
    "below_chart",
    "compared_gains",
    "equal_for_want",
    "finding",
    "first_listed",
    "gain_text",
    "gained_and_lost",
    "group_of",
    "how_computed",
    "level_label",
    "mark_name",
    "tests_text",
    "without_dev",
]


def gain_text(row: GainRow) -> str:
    """A gain with its interval: ``+1.2 points (−0.3 to +2.7)``."""
    return f"{points(row.gain)} ({signed(row.low)} to {signed(row.high)})"


def tests_text(row: GainRow) -> str:
    """Both p-values with their n."""
    parts = []
    if row.p_seeds is not None:
        parts.append(f"{p_value(row.p_seeds)} over {count(row.n_seeds, 'seed')}")
    if row.p_examples is not None:
        parts.append(f"{p_value(row.p_examples)} over {row.n_examples:,} queries")
    return ", ".join(parts)


def finding(asked: Asked, found: Comparison, against: Mapping[EntryKind, Mapping[str, Gain]]) -> str:
    """What the fusion reaches, and what it gains over the best single checkpoint and over plain ensembling."""
    *firsts, last = [
        f"{plain(each.checkpoint.model)} {plain(checkpoint_name(each.checkpoint))} ({each.role})"
        for each in found.members
    ]
    members = f"{', '.join(firsts)} and {last}"
    how = "adaptive weights" if found.main.entry.weight_kind == "adaptive" else "equal weights"
    value = f"**{percent(found.main.value)}** {MEASURE_TITLES[asked.measure].lower()}"
    first = f"{members}, fused with {how}, reach {value}"
    words: dict[EntryKind, str] = {
        "best gold": "the best single checkpoint under true labels",
        "control": "the equal ensemble of two",
    }
    parts = []
    for kind, by_measure in against.items():
        row = by_measure[asked.measure].mean
        parts.append(f"against {words[kind]} **{gain_text(row)}**; {tests_text(row)}")
    if not parts:
        lines = found.of_kind("gold")
        alone = " and ".join(f"{percent(line.value)} ({plain(line.entry.title)})" for line in lines)
        return f"{first}{f'; single checkpoints reach {alone}' if alone else ''}."
    other = "balanced_accuracy" if asked.measure != "balanced_accuracy" else "accuracy"
    gains = " and ".join(signed(by_measure[other].mean.gain) for by_measure in against.values())
    also = f"the gain{'s are' if len(against) > 1 else ' is'} {gains} points"
    verdict = _verdict([by_measure[asked.measure].mean for by_measure in against.values()])
    return f"{first}: {'; '.join(parts)}. Under {MEASURE_TITLES[other].lower()} {also}. {verdict}"


def _verdict(rows: list[GainRow]) -> str:
    """One sentence that follows from the intervals alone."""
    if all(row.low > 0 for row in rows):
        return "Fusion helps beyond plain ensembling here." if len(rows) > 1 else "Fusion helps here."
    if rows[0].low > 0:
        return "It beats the best single checkpoint, but not by more than plain ensembling."
    if rows[0].high < 0:
        return "Fusion is worse than the best single checkpoint here."
    return "No gain over the best single checkpoint is clear of its 95 % interval."


def at_weight(found: Comparison, weight: float, value: float, *, task: str | None) -> str:
    """The live line under the chart."""
    where = "" if task is None else f" on {plain(task_title(task))}"
    parts = [f"At **w = {weight:.2f}**{where}: **{percent(value)}**"]
    words: dict[EntryKind, str] = {"best gold": "the best single checkpoint", "control": "the equal ensemble"}
    for line in found.of_kind("best gold", "control"):
        parts.append(f"{points(line.lead_of(value, task=task))} against {words[line.entry.kind]}")
    return ", ".join(parts) + "."


def group_of(line: EntryScore) -> str:
    """The colour group of a line if every line is drawn."""
    kind, (role, *_) = line.entry.kind, line.entry.roles
    if kind == "member":
        return role if role in ("TR", "TL") else "single, gold"
    groups = {"gold": "single, gold", "best gold": "single, gold", "other model": "single, gold"}
    return {**groups, "control": "equal ensemble"}.get(kind, kind)


def mark_name(line: EntryScore) -> str:
    """A fusion's title, with its mean weight."""
    mean = None if line.weights is None else line.weights.mean_w
    return line.entry.title if mean is None else f"{line.entry.title}, mean w {mean:.2f}"


def level_label(line: EntryScore) -> str | None:
    """The short name of a horizontal line, on two lines if it is long; None if the entry is not drawn as a line."""
    kind, ref = line.entry.kind, line.entry.checkpoints[0]
    if kind == "best gold":
        return "best single\n(dev), gold"
    if kind == "control":
        return "equal\nensemble, gold"
    if kind == "gold":
        return f"{checkpoint_name(ref)}, gold"
    if kind == "other model":
        return f"{legible(ref.model)},\ngold"
    return None


def below_chart(found: Comparison) -> str:
    """What the marks and the bands are."""
    over = f"bootstrap over {count(found.n_seeds, 'seed')} and {found.n_examples:,} queries"
    chance = f"Chance is {percent(found.chance)}."
    if found.curve is None:
        return (
            f"The fusion adds the weighted probabilities of {len(found.members)} members. Whiskers: 95 %, {over}. "
            f"{chance} Mixed parameters and the tables of selection are of the first two members."
        )
    adaptive = (
        ". Adaptive weights differ by task, so the adaptive fusion need not lie on the curve" if found.has_dev else ""
    )
    return (
        f"Diamonds: fusions of the predictions at their mean weight{adaptive}. Hollow: oracle, chosen on the test set, "
        "so it is an upper bound, not a result. Circle and square: the members alone. Triangles: mixed parameters. "
        "Dashed: single checkpoints under true labels, and the equal ensemble of the two that are best on the "
        f"development set, which is what plain ensembling gives. Bands: 95 %, {over}. {chance}"
    )


def equal_for_want(found: Comparison) -> str:
    """On which tasks all members weigh the same, since none has earned more; "" if there are none."""
    if not found.equal_for_want:
        return ""
    return (
        "No member is above chance on the development set of "
        f"{plain(', '.join(task_title(task) for task in found.equal_for_want))}. There each of them weighs "
        f"1/{len(found.members)}."
    )


def without_dev(models: Sequence[str]) -> str:
    """Why members are chosen by hand."""
    return (
        f"{plain(', '.join(models))}: the development set is not evaluated yet. Adaptive weights and the best "
        "checkpoints are chosen on it, never on the test set. Until then you choose the members, and they weigh the "
        "same."
    )


def how_computed(found: Comparison, label_score: str) -> str:
    """What the weights and the control are, and how much the numbers rest on."""
    return (
        "Equations 5 and 6 of arXiv 2406.14022; with further members the sums run over all of them. "
        "Probabilities are the softmax over the candidates' scores; a symbol's probability belongs to the label "
        "that it stands for. The accuracies in the weights are those of the development set, per task (adaptive) or "
        "averaged first (pooled). An accuracy below chance counts as no excess. Checkpoints are chosen on the "
        "development set; ties go to the earlier one. The **equal ensemble** averages the two checkpoints that are "
        "best under true labels: it is what plain ensembling gives for the same cost. "
        f"{count(found.n_seeds, 'seed')}, {count(found.n_examples, 'query', 'queries')}; label score: {label_score}."
    )


# In the tabs


def compared_gains(ours: str, theirs: str) -> str:
    """What the columns of the gains by task are."""
    return (
        f"{plain(ours)} against {plain(theirs)}. Gains in percentage points, with 95 % intervals (paired bootstrap); p "
        "over seeds (paired t-test, as in the paper) and over queries (sign flips). bal.: under balanced accuracy. A "
        "gain under accuracy that is gone under balanced accuracy is label bias."
    )


def all_pairs(n: int) -> str:
    """What the pairs of checkpoints are.

    Args:
        n: pairs.
    """
    return f"Adaptive fusion of {count(n, 'pair')} of checkpoints. The circle marks the pair shown above."


def agreement(members: tuple[str, str], found: Diversity, *, is_only: bool) -> str:
    """How often two members agree, and what a perfect choice between them would reach.

    Args:
        members: their names.
        found: shares of queries.
        is_only: whether there are no further members.
    """
    who = "The two members" if is_only else " and ".join(map(plain, members))
    return (
        f"{who} agree on **{percent(found.agreement)}** of queries, and on **{percent(found.double_fault)}** both are "
        f"wrong. A perfect choice between them would reach {percent(found.either_right)}."
    )


def gained_and_lost(baseline: str, differences: Sequence[QueryDifference]) -> str:
    """How many queries a fusion gets right and a baseline gets wrong, and the other way round."""
    outcomes = [each.outcome for each in differences]
    gained, lost = outcomes.count("gained"), outcomes.count("lost")
    return f"Against {plain(baseline)}: **{gained:,}** gained, **{lost:,}** lost."


def first_listed(n: int, *, most: int) -> str:
    """That not all rows are listed; "" if they are.

    Args:
        n: rows.
        most: rows that are listed.
    """
    return f"The first {most:,} of {n:,} are listed." if n > most else ""
