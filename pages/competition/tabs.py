"""What stands below the panels: the plane of changes, epsilon's curves, tasks, changed answers, the table."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import streamlit as st

from icl_core.analysis.competition import EpsilonCurve, competition
from icl_core.analysis.drilldown import PredictionChange, changed_predictions, changes_by_task
from icl_core.errors import ObservatoryError
from icl_core.evaluation.study import Study
from icl_core.records import ABILITY_BY_SETTING
from pages.competition import compared, sentences, vega
from pages.competition.chart import drawn
from pages.competition.computed import ModelCompetition
from pages.ui.charts.marks import PICK
from pages.ui.controls import selection
from pages.ui.controls.analysis import MOST_EPSILON
from pages.ui.controls.pickers import one_of
from pages.ui.data import cached, rows
from pages.ui.files.facts import Facts, of_view, points_of
from pages.ui.panels import blocks, frame
from pages.ui.panels.tabs import Tab
from pages.ui.words.written import plain, task_title

__all__ = ["TABS"]

GRID = tuple(round(index * MOST_EPSILON / 80, 6) for index in range(81))
MOST_CHANGES = 500


def plane(competing: ModelCompetition) -> None:
    """Changes of TR against changes of TL."""
    parts = competing.intervals(competing.steps)
    figure = vega.plane_chart(parts, frame.palette(), epsilon=competing.result.epsilon)
    names = [row["text"] for row in parts]

    def pick() -> None:
        """Copies a clicked point into the picker of the interval, which is in the address."""
        if picked := st.session_state["plane"].selection.get(PICK):
            selection.show(interval=names[int(picked[0]["interval"])], part="What changed")

    left, right = st.columns([3, 2], vertical_alignment="center")
    with left:
        blocks.chart(figure, key="plane", alt="Changes of TR against changes of TL", on_pick=pick)
    with right:
        st.markdown(
            "Each point is an interval between two checkpoints. In the shaded corners one ability rises and the other "
            "falls, both by more than epsilon (the grey cross). Click a point to see which answers changed."
        )


def against_epsilon(competing: ModelCompetition) -> None:
    """Ratio and mean intensity against epsilon, with what noise alone gives."""
    curves = cached.against_epsilon(competing.study, competing.model, competing.view, epsilons=GRID)
    if curves is None:
        return
    measures: tuple[tuple[Literal["Competition ratio", "Mean intensity"], EpsilonCurve], ...] = (
        ("Competition ratio", curves.ratio),
        ("Mean intensity", curves.mean_intensity),
    )
    for column, (title, curve) in zip(st.columns(2), measures, strict=True):
        with column:
            figure = vega.epsilon_chart(
                rows.epsilon_rows(curves.epsilon, curve), frame.palette(), epsilon=competing.result.epsilon, title=title
            )
            blocks.chart(figure, key=f"epsilon-{title}", alt=f"{title} against epsilon with the range of noise alone")
            st.caption(sentences.at_epsilon(title, competing.floor))
    st.caption(sentences.noise_range(curves.standard_error))


def tasks(competing: ModelCompetition) -> None:
    """Competition on each task's own trajectories, which is not competition on their mean."""
    try:
        curves = cached.curves(competing.study, competing.model, competing.view.of_all_tasks)
    except ObservatoryError as error:
        st.info(plain(str(error)))
        return
    places = competing.steps
    lines: list[dict[str, Any]] = []
    for task in curves.tasks:
        tr, tl = (curves.curves[setting] for setting in ("random", "abstract"))
        shared = [ref for ref in tr.checkpoints if ref in tl.checkpoints]
        values = [
            [float(curve.by_task[task].value[curve.checkpoints.index(ref)]) for ref in shared] for curve in (tr, tl)
        ]
        result = competition(*values, epsilon=competing.result.epsilon)
        lines += [{**row, "task": task_title(task)} for row in rows.interval_rows(result, shared, places)]
    figure = vega.heat_map(lines, frame.palette(), counted=rows.short_title(places))
    blocks.chart(figure, key="heat", alt="Competition of each task in each interval")
    st.caption(
        "Each task's own TR and TL at this epsilon. A dot marks an interval that competes; the shade is its intensity. "
        "One task has fewer examples than all of them, so its changes are noisier and more intervals compete by noise "
        "alone."
    )


def pick_interval(competing: ModelCompetition) -> int:
    """Which interval's answers are compared."""
    parts = competing.intervals(competing.steps)
    names = [row["text"] for row in parts]
    largest = max(parts, key=lambda row: abs(row["delta_tl"]))
    return names.index(one_of("Interval", names, default=names[largest["interval"]], key="interval"))


def changed(competing: ModelCompetition, interval: int) -> None:
    """Which queries changed their answer in one interval, under TR and under TL."""
    study, view = competing.study, competing.view
    chosen = competing.intervals(competing.steps)[interval]["text"]
    before, after = competing.pair.checkpoints[interval : interval + 2]
    predictions = cached.predicted(study, competing.model, view)
    changes: list[PredictionChange] = []
    for task in [view.task] if view.task else predictions.tasks:
        for setting in ("random", "abstract"):
            changes += changed_predictions(
                predictions, before, after, task=task, label_setting=setting, normalisation=view.normalisation
            )
    of = Facts(study, {"model": competing.model, "label_score": view.normalisation, "interval": chosen})
    left, right = st.columns([2, 3])
    with left:
        blocks.grid(balance_rows(changes), name="changes-by-task", of=of, height=340, alt="Changes by task")
    with right:
        blocks.grid(
            [_change_row(change, study, predictions) for change in changes[:MOST_CHANGES]],
            name="changed-answers",
            of=of,
            height=340,
            alt="Queries whose answer changed",
        )
    st.caption(sentences.changed(len(changes), chosen, most=MOST_CHANGES))


def balance_rows(changes: Sequence[PredictionChange]) -> list[dict[str, Any]]:
    """Gained and lost answers of each task under TR and under TL."""
    return [
        {
            "task": task_title(each.task),
            "ability": ABILITY_BY_SETTING[each.label_setting],
            "gained": each.gained,
            "lost": each.lost,
            "changed": each.changed,
        }
        for each in changes_by_task(changes)
    ]


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


def table(competing: ModelCompetition) -> None:
    """The intervals as a table, with downloads of the three panels."""
    counted = rows.axis_column(competing.places, "step")
    parts = [{**row, "axis": counted} for row in competing.intervals(competing.steps)]
    settings = {"model": competing.model, **of_view(competing.view), **points_of(competing.result.epsilon)}
    of = Facts(competing.study, settings)
    blocks.table(parts, name="intervals", of=of, draw=partial(drawn, competing))


TABS: tuple[Tab[ModelCompetition], ...] = (
    Tab("Changes", plane),
    Tab("Epsilon", against_epsilon),
    Tab("Tasks", tasks),
    Tab("What changed", changed, pick=pick_interval),
    Tab("Table and downloads", table),
    Tab("Models compared", compared.models),
)
"""In their order."""
