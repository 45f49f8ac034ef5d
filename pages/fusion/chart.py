"""Accuracy against w with the baselines of a fusion, and the rows behind the chart."""

from __future__ import annotations

from typing import Any

import streamlit as st

from icl_core.analysis.fusion.comparison import EntryScore
from icl_core.analysis.fusion.weights import WeightKind
from pages.fusion import sentences, vega
from pages.fusion.computed import Asked, Comparison
from pages.fusion.controls import TasksDrawn
from pages.ui.charts.theme import Palette
from pages.ui.controls import analysis
from pages.ui.files.facts import Facts, who
from pages.ui.files.sheet import Panel
from pages.ui.panels import blocks, frame
from pages.ui.words.written import checkpoint_name, legible, plain, task_title

__all__ = ["chart", "curve_rows", "drawn", "facts_of", "value_rows"]


def chart(asked: Asked, found: Comparison, view: TasksDrawn, *, weight: float | None) -> None:
    """The measure against w; with more than two members, one line per fusion and baseline."""
    title = analysis.MEASURE_TITLES[asked.measure]
    ((_, figure),) = drawn(asked, found, view, weight=weight, palette=frame.palette())
    if weight is None:
        blocks.chart(figure, key="values", alt=f"{title} of fusions, members and baselines")
        _weights_table(asked, found)
        return
    blocks.chart(figure, key="weights", alt=f"{title} against w, with members, fusions and baselines")
    assert found.curve is not None
    st.markdown(sentences.at_weight(found, weight, found.curve.at(weight, task=view.task), task=view.task))


def drawn(asked: Asked, found: Comparison, view: TasksDrawn, *, weight: float | None, palette: Palette) -> list[Panel]:
    """The chart in the colours of a palette."""
    title = analysis.MEASURE_TITLES[asked.measure]
    if weight is None or found.curve is None:
        return [("", vega.value_chart(value_rows(found, view.task), palette, title=title))]
    figure = vega.weight_chart(
        curve_rows(found, view.task),
        [row for line in found.lines for row in _mark_rows(line, view.task)],
        [row for line in found.lines for row in _level_rows(found, line, view.task)],
        palette=palette,
        tasks=_task_rows(found) if view.every_task else [],
        title=title,
    )
    chosen = {"w": weight, "value": found.curve.at(weight, task=view.task)}
    return [("", vega.at_weight(figure, chosen))]


def facts_of(asked: Asked, found: Comparison) -> Facts:
    """What decides the numbers of the page: its study, its members, and how answers are scored."""
    scored = {"measure": asked.measure, "label_score": asked.normalisation}
    return Facts(asked.study, {**scored, **who([(each.role, each.checkpoint) for each in found.members])})


def _weights_table(asked: Asked, found: Comparison) -> None:
    """The members' weights by task."""
    title, weights = found.main.entry.title, found.main.weights
    assert weights is not None  # a fusion has them
    names = [
        f"{each.role} {legible(each.checkpoint.model)} {checkpoint_name(each.checkpoint)}" for each in found.members
    ]
    blocks.grid(
        [
            {"task": task_title(task), **dict(zip(names, of_task.tolist(), strict=True))}
            for task, of_task in weights.by_task.items()
        ],
        name="weights",
        of=facts_of(asked, found),
        column_config=dict.fromkeys(names, st.column_config.NumberColumn(format="%.2f")),
        alt=f"Weights of {title} by task",
    )
    st.caption(f"Weights of {plain(title)}; in each row they sum to 1.")


def value_rows(found: Comparison, task: str | None) -> list[dict[str, Any]]:
    """One row for each line, with its interval."""
    return [
        {"name": line.entry.title, "kind": sentences.group_of(line), **_numbers(line, task)} for line in found.lines
    ]


def curve_rows(found: Comparison, task: str | None) -> list[dict[str, Any]]:
    """The curve; a single task has no band of its own along w."""
    curve = found.curve
    assert curve is not None
    values, lows, highs = (curve.value, curve.low, curve.high) if task is None else (curve.by_task[task],) * 3
    return [
        {"w": round(float(w), 4), "value": float(value), "low": float(low), "high": float(high)}
        for w, value, low, high in zip(curve.weight, values, lows, highs, strict=True)
    ]


def _task_rows(found: Comparison) -> list[dict[str, Any]]:
    assert found.curve is not None
    return [
        {"w": round(float(w), 4), "value": float(value), "task": task_title(task)}
        for task, values in found.curve.by_task.items()
        for w, value in zip(found.curve.weight[::5], values[::5], strict=True)
    ]


def _numbers(line: EntryScore, task: str | None) -> dict[str, float]:
    return dict(zip(("value", "low", "high"), line.of(task), strict=True))


_MARK_LABELS: dict[WeightKind, str] = {"oracle": "oracle (upper bound)"}
"""Words beside a fusion's mark, if they say more than the kind of its weights."""


def _mark_rows(line: EntryScore, task: str | None) -> list[dict[str, Any]]:
    """Members, fusions and mixed parameters, which have a place on the axis of w."""
    entry = line.entry
    row = {**_numbers(line, task), "kind": entry.kind, "name": sentences.mark_name(line), "label": ""}
    if entry.kind == "member":
        (role,) = entry.roles
        return [{**row, "w": float(role == "TR"), "kind": role, "label": f"{role} alone"}]
    if line.weights is not None and entry.weight_kind is not None:
        w = line.weights.mean_w if task is None else float(line.weights.by_task[task][0])
        return [{**row, "w": w, "label": _MARK_LABELS.get(entry.weight_kind, entry.weight_kind)}]
    return [] if entry.mixed_weight is None else [{**row, "w": entry.mixed_weight}]


def _level_rows(found: Comparison, line: EntryScore, task: str | None) -> list[dict[str, Any]]:
    """A baseline as a horizontal line."""
    entry, label = line.entry, sentences.level_label(line)
    if label is None:
        return []
    best = {ref for each in found.of_kind("best gold") for ref in each.entry.checkpoints}
    if entry.kind == "gold" and best & set(entry.checkpoints):
        return []  # it is drawn as the best one
    strong = entry.kind in ("best gold", "control")
    return [{**_numbers(line, task), "name": entry.title, "label": label, "strong": strong}]
