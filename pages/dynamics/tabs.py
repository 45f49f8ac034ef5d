"""What stands below the curves: a small chart per task, predicted labels, one checkpoint, the table."""

from __future__ import annotations

from typing import Any

import streamlit as st

from icl_core.analysis.drilldown import confusion
from icl_core.analysis.drilldown import label_shares as shares_of
from icl_core.analysis.predictions import Predictions, predicted_labels
from icl_core.evaluation.study import Study
from icl_core.records import ABILITY_BY_SETTING, LABEL_SETTINGS, CheckpointRef, LabelSetting
from pages.dynamics import sentences
from pages.dynamics.chart import layout_of
from pages.dynamics.computed import ShownCurves
from pages.dynamics.vega import confusion_chart, label_share_chart
from pages.ui.charts.curves import Style, ability_chart
from pages.ui.controls.pickers import one_of
from pages.ui.data import cached, rows
from pages.ui.data.view import View
from pages.ui.files.facts import Facts, of_view, who
from pages.ui.panels import blocks, frame
from pages.ui.panels.tabs import Tab
from pages.ui.words.written import checkpoint_name, legible, plain, task_title

__all__ = ["TABS"]

MOST_ROWS = 400
MOST_BESIDE = 3
"""So many models have their small charts below one another; of more models, one is shown at a time."""


def small_multiples(shown: ShownCurves) -> None:
    """One small chart per task, on shared axes; those first whose ICL ends farthest above chance."""
    view, style = shown.view, shown.style
    models = list(shown.found.predictions)
    for model in models if len(models) <= MOST_BESIDE else [_model(shown.found)]:
        curves = cached.curves(shown.study, model, view.of_all_tasks)
        if "gold" not in curves.curves:
            continue
        if 1 < len(models) <= MOST_BESIDE:
            st.markdown(f"**{plain(model)}**")
        st.caption("ICL, TR and TL on each task. Tasks whose ICL ends farthest above chance (dotted) come first.")
        columns = st.columns(3)
        places = rows.positions(shown.found.predictions[model].checkpoints, style.quantity)
        for index, task in enumerate(curves.farthest_above_chance("gold")):
            part = rows.curve_rows(curves, places, task=task)
            figure = ability_chart(
                part,
                rows.training_axis([places], quantity=style.quantity, scale=style.scale),
                frame.palette(),
                style=Style(height=150, bands=style.bands, labels=False, domain=(0.0, 1.0), title=""),
                references=[{"value": curves.chance_by_task[task], "text": ""}],
            )
            with columns[index % 3]:
                st.markdown(f"**{plain(task_title(task))}**")
                blocks.chart(figure, key=f"small-{model}-{task}", alt=f"ICL, TR and TL of {model} on {task}")


def _model(found: cached.Collected) -> str:
    models = list(found.predictions)
    return models[0] if len(models) == 1 else one_of("Model", models, key="who")


def _task(predictions: Predictions, view: View) -> str:
    if view.task is not None and view.task in predictions.tasks:
        return view.task
    return one_of("Task", predictions.tasks, format_func=task_title, key="task_shown")


def label_shares(shown: ShownCurves) -> None:
    """How often each label is predicted in each setting, beside the gold shares."""
    view = shown.view
    predictions = cached.predicted(shown.study, _model(shown.found), view)
    task = _task(predictions, view)
    columns = st.columns(3)
    for column, setting in zip(columns, LABEL_SETTINGS, strict=True):
        if (task, setting) not in predictions.settings:
            continue
        shares = shares_of(predictions, task=task, label_setting=setting, normalisation=view.normalisation)
        if not shares.checkpoints:
            continue
        with column:
            st.markdown(f"**{ABILITY_BY_SETTING[setting]}** ({setting} labels)")
            blocks.chart(
                label_share_chart(rows.share_rows(shares), frame.palette(), title=rows.short_title(shares.checkpoints)),
                key=f"shares-{setting}",
                alt=f"Share of predictions by label on {task} in the {setting} setting",
            )
            st.caption(sentences.evenness(shares))
    st.caption(
        "A model that names one label for nearly everything can score above chance if that label is common. Compare "
        "with the majority line and with balanced accuracy. Symbols are shown as the labels that they stand for."
    )


def _checkpoints(found: cached.Collected) -> dict[str, tuple[str, CheckpointRef]]:
    return {
        f"{legible(model)} {checkpoint_name(ref)}": (model, ref)
        for model, predictions in found.predictions.items()
        for ref in predictions.checkpoints
    }


def pick_checkpoint(shown: ShownCurves) -> str:
    """Which checkpoint is opened."""
    names = list(_checkpoints(shown.found))
    return one_of("Checkpoint", names, default=names[-1], key="at")


def checkpoint(shown: ShownCurves, chosen: str) -> None:
    """Confusion and single answers at the picked checkpoint."""
    study, view = shown.study, shown.view
    model, ref = _checkpoints(shown.found)[chosen]
    predictions = cached.predicted(study, model, view)
    with st.container(horizontal=True):
        task = _task(predictions, view)
        setting = st.segmented_control(
            "Labels", list(LABEL_SETTINGS), default="gold", required=True, key="labels", bind="query-params"
        )
    if (task, setting) not in predictions.settings:
        st.info(f"{plain(task_title(task))} has no results with {setting} labels.")
        return
    left, right = st.columns([2, 3])
    with left:
        counts = confusion(
            predictions, task=task, label_setting=setting, checkpoint=ref, normalisation=view.normalisation
        )
        words = predictions.label_words[task]
        figure = confusion_chart(rows.confusion_rows(counts, words), frame.palette())
        blocks.chart(figure, key="confusion", alt=f"Gold against predicted labels on {task} at {chosen}")
        st.caption("Counts over all seeds. The shade is the share of the gold label's examples.")
    with right:
        _answers(predictions, study, view, task=task, ref=ref, setting=setting)


def _answers(
    predictions: Predictions, study: Study, view: View, *, task: str, ref: CheckpointRef, setting: LabelSetting
) -> None:
    """Every query's text, gold label and answer of each seed."""
    scores = predictions.setting(task, setting)
    at = predictions.checkpoint_index(ref)
    labels = predicted_labels(scores, normalisation=view.normalisation)[at]
    words = predictions.label_words[task]
    texts = cached.texts(task, study.data_dir, "test")
    listed = []
    for index, row_id in enumerate(scores.row_ids[:MOST_ROWS]):
        row: dict[str, Any] = {"text": texts.get(row_id, row_id), "gold": words[int(scores.gold[index])]}
        for place, seed in enumerate(predictions.demo_seeds):
            answer = int(labels[place, index])
            row[f"seed {seed}"] = "" if answer < 0 else words[answer]
        row["right"] = sum(row[f"seed {seed}"] == row["gold"] for seed in predictions.demo_seeds)
        listed.append(row)
    only_wrong = st.toggle("Only queries that are wrong under some seed", key="wrong", bind="query-params")
    if only_wrong:
        listed = [row for row in listed if row["right"] < len(predictions.demo_seeds)]
    of = Facts(
        study,
        {
            "label_score": view.normalisation,
            "task": task_title(task),
            **who({"checkpoint": ref}),
            "label_setting": setting,
        },
    )
    blocks.grid(listed, name="answers", of=of, height=300, alt=f"Answers on {task}")
    if not texts:
        st.caption("The texts are not on this machine, so each row is named by its place in the dataset.")


def table(shown: ShownCurves) -> None:
    """The rows of the curves, with downloads of the charts."""
    layout = layout_of(shown)
    of = Facts(shown.study, {**of_view(shown.view), "axis": rows.axis_column(shown.checkpoints, shown.style.quantity)})
    blocks.table(layout.rows, name="curves", of=of, draw=layout.drawn)


TABS: tuple[Tab[ShownCurves], ...] = (
    Tab("Tasks", small_multiples),
    Tab("Predicted labels", label_shares),
    Tab("One checkpoint", checkpoint, pick=pick_checkpoint),
    Tab("Table and downloads", table),
)
"""In their order."""
