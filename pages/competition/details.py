"""What stands below the panels: the plane of changes, epsilon's curves, tasks, changed answers, the table."""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from icl_core.analysis.competition import competition
from icl_core.analysis.drilldown import PredictionChange, changed_predictions
from icl_core.errors import ObservatoryError
from icl_core.evaluation.study import Study
from icl_core.records import ABILITY_BY_SETTING
from pages.competition.parts import MOST_EPSILON, Seen, drawn, intervals
from pages.ui import blocks, cached, charts_competition, frame, rows, selection
from pages.ui.charts import PICK
from pages.ui.controls import View
from pages.ui.facts import Facts, of_view, points_of
from pages.ui.pickers import one_of
from pages.ui.words import count, p_value, percent, plain, task_title

__all__ = ["PARTS", "pick_interval"]

GRID = tuple(round(index * MOST_EPSILON / 80, 6) for index in range(81))
MOST_CHANGES = 500


def _places(found: cached.Collected, seen: Seen) -> dict[Any, float]:
    return rows.positions(found.predictions[seen.model].checkpoints, "step")


def _pick_interval() -> None:
    """Copies a clicked point into the picker of the interval, which is in the URL."""
    picked = st.session_state["plane"].selection.get(PICK) or []
    if picked:
        name = st.session_state["interval_names"][int(picked[0]["interval"])]
        selection.show(interval=name, part="What changed")


def plane(study: Study, found: cached.Collected, seen: Seen, view: View) -> None:
    """Changes of TR against changes of TL."""
    parts = intervals(seen, _places(found, seen))
    figure = charts_competition.plane_chart(parts, frame.palette(), epsilon=seen.result.epsilon)
    left, right = st.columns([3, 2], vertical_alignment="center")
    with left:
        blocks.chart(figure, key="plane", alt="Changes of TR against changes of TL", on_pick=_pick_interval)
    with right:
        st.markdown(
            "Each point is an interval between two checkpoints. In the shaded corners one ability rises and the other "
            "falls, both by more than epsilon (the grey cross). Click a point to see which answers changed."
        )


def against_epsilon(study: Study, found: cached.Collected, seen: Seen, view: View) -> None:
    """Ratio and mean intensity against epsilon, with what noise alone gives."""
    kind: dict[str, Any] = {"measure": view.measure, "normalisation": view.normalisation, "task": view.task}
    curves = cached.against_epsilon(study, seen.model, GRID, **kind)
    if curves is None:
        return
    columns = st.columns(2)
    measures = (
        ("Competition ratio", curves.ratio, seen.floor.observed_ratio, seen.floor.p_ratio),
        ("Mean intensity", curves.mean_intensity, seen.floor.observed_mean_intensity, seen.floor.p_mean_intensity),
    )
    for column, (title, curve, observed, p) in zip(columns, measures, strict=True):
        with column:
            figure = charts_competition.epsilon_chart(
                rows.epsilon_rows(curves.epsilon, curve), frame.palette(), epsilon=seen.result.epsilon, title=title
            )
            blocks.chart(figure, key=f"epsilon-{title}", alt=f"{title} against epsilon with the range of noise alone")
            shown = percent(observed) if title == "Competition ratio" else f"{observed:.2f}"
            st.caption(f"{title} at this epsilon: {shown}, {p_value(p)}.")
    st.caption(
        "Grey: median and 95 % range under noise alone. One standard error of a change is "
        f"{percent(curves.standard_error)}: an epsilon below it is inside noise. p-values are not corrected for "
        "looking at many epsilons."
    )


def tasks(study: Study, found: cached.Collected, seen: Seen, view: View) -> None:
    """Each task's own trajectories: another quantity than competition on the mean."""
    curves = cached.curves(study, seen.model, measure=view.measure, normalisation=view.normalisation)
    places = _places(found, seen)
    lines: list[dict[str, Any]] = []
    for task in curves.tasks:
        tr, tl = (curves.curves[setting] for setting in ("random", "abstract"))
        shared = [ref for ref in tr.checkpoints if ref in tl.checkpoints]
        values = [
            [float(curve.by_task[task].value[curve.checkpoints.index(ref)]) for ref in shared] for curve in (tr, tl)
        ]
        result = competition(*values, epsilon=seen.result.epsilon)
        lines += [{**row, "task": task_title(task)} for row in rows.interval_rows(result, shared, places)]
    figure = charts_competition.heat_map(lines, frame.palette(), counted=rows.short_title(places))
    blocks.chart(figure, key="heat", alt="Competition of each task in each interval")
    st.caption(
        "Each task's own TR and TL at this epsilon; a dot marks a competing interval, the shade its intensity. With "
        "few examples a task's changes are noisier than the mean's, so more intervals compete by noise alone."
    )


def pick_interval(found: cached.Collected, seen: Seen) -> None:
    """Which interval's answers are compared; drawn while its tab is closed too, so that a click can set it."""
    parts = intervals(seen, _places(found, seen))
    names = [row["text"] for row in parts]
    st.session_state["interval_names"] = names
    largest = max(parts, key=lambda row: abs(row["delta_tl"]))
    one_of("Interval", names, default=names[largest["interval"]], key="interval")


def changed(study: Study, found: cached.Collected, seen: Seen, view: View) -> None:
    """Which queries changed their answer in one interval, under TR and under TL."""
    chosen = st.session_state["interval"]
    at = st.session_state["interval_names"].index(chosen)
    before, after = seen.pair.checkpoints[at : at + 2]
    predictions = cached.predicted(study, seen.model, normalisation=view.normalisation)
    changes: list[PredictionChange] = []
    for task in [view.task] if view.task else predictions.tasks:
        for setting in ("random", "abstract"):
            changes += changed_predictions(
                predictions, before, after, task=task, label_setting=setting, normalisation=view.normalisation
            )
    counted = [_balance(changes, task, ability) for task in predictions.tasks for ability in ("TR", "TL")]
    of = Facts(study, {"model": seen.model, "label_score": view.normalisation, "interval": chosen})
    left, right = st.columns([2, 3])
    with left:
        balance = [row for row in counted if row["changed"]]
        blocks.grid(balance, name="changes-by-task", of=of, height=340, alt="Changes by task")
    with right:
        blocks.grid(
            [_change_row(change, study, predictions) for change in changes[:MOST_CHANGES]],
            name="changed-answers",
            of=of,
            height=340,
            alt="Queries whose answer changed",
        )
    st.caption(
        f"{count(len(changes), 'answer')} changed from {plain(chosen)}"
        + (f"; the first {MOST_CHANGES} are listed." if len(changes) > MOST_CHANGES else ".")
    )


def _balance(changes: list[PredictionChange], task: str, ability: str) -> dict[str, Any]:
    mine = [c for c in changes if c.task == task and ABILITY_BY_SETTING[c.label_setting] == ability]
    gained, lost = (sum(change.outcome == outcome for change in mine) for outcome in ("gained", "lost"))
    return {"task": task_title(task), "ability": ability, "gained": gained, "lost": lost, "changed": len(mine)}


def _change_row(change: PredictionChange, study: Study, predictions: Any) -> dict[str, Any]:
    words = predictions.label_words[change.task]
    return {
        "outcome": change.outcome,
        "ability": ABILITY_BY_SETTING[change.label_setting],
        "text": cached.texts(change.task, study.data_dir, "test").get(change.row_id, change.row_id),
        "gold": words[change.gold],
        "before": words[change.before],
        "after": words[change.after],
        "task": task_title(change.task),
        "seed": change.demo_seed,
    }


def table(study: Study, found: cached.Collected, seen: Seen, view: View) -> None:
    """The intervals as a table, with downloads of the three panels."""
    counted = rows.axis_column(seen.places, "step")
    parts = [{**row, "axis": counted} for row in intervals(seen, _places(found, seen))]
    of = Facts(study, {"model": seen.model, **of_view(view), **points_of(seen.result.epsilon)})
    blocks.table(parts, name="intervals", of=of, draw=partial(drawn, seen))


def _safe_tasks(study: Study, found: cached.Collected, seen: Seen, view: View) -> None:
    try:
        tasks(study, found, seen, view)
    except ObservatoryError as error:
        st.info(plain(str(error)))


PARTS = (plane, against_epsilon, _safe_tasks, changed, table)
"""The tabs' contents, in their order."""
