"""The sentences of the fusion page: computed values in words, whichever way they come out."""

from __future__ import annotations

from collections.abc import Mapping

from icl_core.analysis.fusion.comparison import EntryKind, EntryScore, Gain
from icl_core.analysis.fusion.gains import GainRow
from pages.fusion.computed import Asked, Comparison
from pages.ui.controls.analysis import MEASURE_TITLES
from pages.ui.words.written import checkpoint_name, legible, p_value, percent, plain, points, signed, task_title

__all__ = ["at_weight", "finding", "gain_text", "group_of", "level_label", "mark_name", "tests_text"]


def gain_text(row: GainRow) -> str:
    """A gain with its interval: ``+1.2 points (−0.3 to +2.7)``."""
    return f"{points(row.gain)} ({signed(row.low)} to {signed(row.high)})"


def tests_text(row: GainRow) -> str:
    """Both p-values with their n."""
    parts = []
    if row.p_seeds is not None:
        parts.append(f"{p_value(row.p_seeds)} over {row.n_seeds} seeds")
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
    also = ", ".join(f"{points(by_measure[other].mean.gain)}" for by_measure in against.values())
    verdict = _verdict([by_measure[asked.measure].mean for by_measure in against.values()])
    return f"{first}: {'; '.join(parts)}. Under {MEASURE_TITLES[other].lower()} {also}. {verdict}"


def _verdict(rows: list[GainRow]) -> str:
    """One clause that follows from the intervals alone."""
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
    """The short name of a horizontal line, on two lines if it is long; None for what is none."""
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
