"""The sentences of the fusion page: computed values in words, whichever way they come out."""

from __future__ import annotations

from collections.abc import Mapping

from icl_core.analysis.fusion_report import Gain
from icl_core.analysis.gains import GainRow
from pages.fusion.compute import Asked, Line, Shown
from pages.ui.controls import MEASURE_TITLES
from pages.ui.words import checkpoint_name, legible, p_value, percent, plain, points, signed, task_title

__all__ = ["at_weight", "best_of", "finding", "gain_text", "group_of", "level_label", "mark_name", "tests_text"]


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


def finding(asked: Asked, shown: Shown, best: Line, against: Mapping[str, Mapping[str, Gain]]) -> str:
    """What the fusion reaches, and what it gains over the best single checkpoint and over plain ensembling."""
    *firsts, last = [f"{plain(ref.model)} {plain(checkpoint_name(ref))} ({role})" for role, ref in shown.members]
    members = f"{', '.join(firsts)} and {last}"
    how = "adaptive weights" if best.name.endswith("adaptive") else "equal weights"
    value = f"**{percent(best.score.value)}** {MEASURE_TITLES[asked.measure].lower()}"
    first = f"{members}, fused with {how}, reach {value}"
    words = {"best gold": "the best single checkpoint under true labels", "control": "the equal ensemble of two"}
    parts = []
    for kind, by_measure in against.items():
        row = by_measure[asked.measure].mean
        parts.append(f"against {words[kind]} **{gain_text(row)}**; {tests_text(row)}")
    if not parts:
        lines = [line for line in shown.lines if line.kind == "gold"]
        alone = " and ".join(f"{percent(line.score.value)} ({plain(line.name)})" for line in lines)
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


def at_weight(shown: Shown, weight: float, value: float, task: str | None) -> str:
    """The live line under the chart."""
    where = "" if task is None else f" on {plain(task_title(task))}"
    parts = [f"At **w = {weight:.2f}**{where}: **{percent(value)}**"]
    for kind, words in (("best gold", "the best single checkpoint"), ("control", "the equal ensemble")):
        line = next(iter(shown.of_kind(kind)), None)
        if line is not None:
            base = line.score.value if task is None else line.score.by_task[task][0]
            parts.append(f"{points(value - base)} against {words}")
    return ", ".join(parts) + "."


def best_of(shown: Shown) -> Line:
    """The fusion that is the page's result: adaptive weights, or equal ones without development results."""
    line = shown.named("fusion, adaptive") or shown.named("fusion, fixed")
    assert line is not None
    return line


def group_of(line: Line) -> str:
    """The colour group of a line where every line is drawn."""
    if line.kind == "member":
        role = line.name.split(" ")[0]
        return role if role in ("TR", "TL") else "single, gold"
    groups = {"gold": "single, gold", "best gold": "single, gold", "other model": "single, gold"}
    return {**groups, "control": "equal ensemble"}.get(line.kind, line.kind)


def mark_name(line: Line) -> str:
    """A fusion's full name, with its weight."""
    weight = f", mean w {line.weight:.2f}" if line.weight is not None else ""
    return f"{line.name}{weight}"


def level_label(line: Line) -> str | None:
    """The short name of a horizontal line, on two lines where it is long; None for what is none."""
    if line.kind == "best gold":
        return "best single\n(dev), gold"
    if line.kind == "control":
        return "equal\nensemble, gold"
    if line.kind == "gold":
        ref = line.checkpoints[0]
        return f"{checkpoint_name(ref)}, gold"
    if line.kind == "other model":
        return f"{legible(line.checkpoints[0].model)},\ngold"
    return None
