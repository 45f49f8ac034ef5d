"""The first screen of the fusion page: members, the sentence, and accuracy against w with all that has to be beaten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from icl_core.errors import StudyError
from icl_core.evaluation.study import Study, study_to_json
from icl_core.records import LABEL_SETTINGS, CheckpointRef
from pages.fusion import compute, wording
from pages.fusion.compute import Asked, Line, Menu, Shown
from pages.ui import blocks, charts_fusion, controls, frame, selection
from pages.ui.theme import Figure
from pages.ui.words import checkpoint_name, count, percent, plain, task_title

__all__ = ["Look", "ask", "chart", "curve_rows", "finding", "look", "missing", "notes", "value_at"]

BEST, BY_HAND = "Best on dev", "By hand"


@dataclass(frozen=True, slots=True)
class Look:
    """What of it is drawn."""

    task: str | None
    every_task: bool


def menu_or_stop(study: Study) -> dict[str, Menu]:
    """The models that can take part; where there are none, what to do."""
    found, problems = compute.menu(study)
    for model, problem in problems.items():
        st.warning(f"**{plain(model)}** is not shown. {plain(problem)}")
    if not any(menu.tr for menu in found.values()) or not any(menu.tl for menu in found.values()):
        st.info(
            "Fusion needs one checkpoint with results under random labels (TR) and one under abstract labels (TL). "
            "Nothing of this study has both yet."
        )
        st.page_link("pages/evaluate/page.py", label="Evaluate this study", width="content")
        st.stop()
    return found


def ask(study: Study) -> Asked:
    """The members, by model and checkpoint, and how they are scored."""
    found = menu_or_stop(study)
    with st.container(horizontal=True, vertical_alignment="bottom", key="fusion-members"):
        tr_model = _model("TR model", "tr", [name for name, each in found.items() if each.tr])
        tl_model = _model("TL model", "tl", [name for name, each in found.items() if each.tl])
        has_dev = found[tr_model].has_dev and found[tl_model].has_dev
        by_hand = not has_dev
        if has_dev:
            way = st.segmented_control(
                "Members", [BEST, BY_HAND], default=BEST, required=True, key="members", bind="query-params",
                help="Best on dev: the checkpoints with the highest TR and TL accuracy on the development set; "
                "nothing is chosen on the test set.",
            )  # fmt: skip
            by_hand = way == BY_HAND
        tr = _checkpoint("TR checkpoint", "tr_at", found[tr_model].tr) if by_hand else None
        tl = _checkpoint("TL checkpoint", "tl_at", found[tl_model].tl) if by_hand else None
        measure, normalisation = controls.measure_controls()
    if not has_dev:
        _offer_dev(tr_model, tl_model, found)
    return Asked(study_to_json(study), tr_model, tl_model, tr, tl, measure, normalisation)


def _model(label: str, key: str, names: list[str]) -> str:
    if len(names) == 1:
        return names[0]
    return str(st.selectbox(label, selection.known(key, names), key=key, bind="query-params"))


def _checkpoint(label: str, key: str, refs: tuple[CheckpointRef, ...]) -> CheckpointRef:
    names = {checkpoint_name(ref): ref for ref in refs}
    options = selection.known(key, list(names))
    return names[st.selectbox(label, options, index=len(options) - 1, key=key, bind="query-params")]


def _offer_dev(tr_model: str, tl_model: str, found: dict[str, Menu]) -> None:
    without = [name for name in dict.fromkeys((tr_model, tl_model)) if not found[name].has_dev]
    st.info(
        f"{plain(', '.join(without))}: the development set is not evaluated yet. Adaptive weights and the best "
        "checkpoints are chosen on it, never on the test set; until then members are chosen by hand and weigh the same."
    )
    if st.button("Evaluate the development set", on_click=_ask_for_dev):
        st.switch_page("pages/evaluate/page.py", query_params={})  # None is refused while widgets own some


def _ask_for_dev() -> None:
    """Sets the pickers of the evaluate page."""
    st.session_state["dev"] = True
    st.session_state["setting"] = list(LABEL_SETTINGS)


def look(shown: Shown) -> tuple[Look, float]:
    """The chosen w, the mean or one task, and whether each task has its own line."""
    left, middle, right = st.columns([5, 3, 2], vertical_alignment="bottom")
    with left:
        weight = _weight_slider()
    with middle:
        task = controls.task_control(list(shown.curve.by_task))
    with right:
        every = st.toggle("Each task", key="each", bind="query-params", disabled=task is not None)
    return Look(task, every and task is None), weight


def finding(asked: Asked, shown: Shown) -> None:
    """The page's sentence."""
    best = shown.named("fusion, adaptive") or shown.named("fusion, fixed")
    assert best is not None
    against = {}
    for kind in ("best gold", "control"):
        baseline = next(iter(shown.of_kind(kind)), None)
        if baseline is not None:
            against[kind] = compute.gains(asked, best.name, baseline.name)
    blocks.finding(wording.finding(asked, shown, best, against))


def _weight_slider() -> float:
    """The chosen w."""
    return float(
        st.slider(
            "w: weight of the TR member",
            0.0,
            1.0,
            0.5,
            step=0.01,
            format="%.2f",
            key="w",
            bind="query-params",
            help="fused = w · P(label | TR member, random labels) + (1 − w) · P(label | TL member, abstract labels)",
        )
    )


def chart(asked: Asked, shown: Shown, view: Look, weight: float) -> Figure:
    """The measure against w; the figure without the movable w is given back for downloads."""
    drawn = [line for line in shown.lines if view.task is None or view.task in line.score.by_task]
    figure = charts_fusion.weight_chart(
        curve_rows(shown, view.task),
        [row for line in drawn for row in _mark_rows(line, view.task)],
        [row for line in drawn for row in _level_rows(shown, line, view.task)],
        frame.palette(),
        tasks=_task_rows(shown) if view.every_task else [],
        title=controls.MEASURE_TITLES[asked.measure],
    )
    value = value_at(shown, weight, view.task)
    blocks.chart(
        charts_fusion.at_weight(figure, {"w": weight, "value": value}),
        key="weights",
        alt=f"{controls.MEASURE_TITLES[asked.measure]} against w; at w = {weight:.2f} it is {percent(value)}",
    )
    st.markdown(wording.at_weight(shown, weight, value, view.task))
    return figure


def value_at(shown: Shown, weight: float, task: str | None) -> float:
    """The measure at a w of the grid."""
    at = int(np.argmin(np.abs(shown.curve.weight - weight)))
    return float((shown.curve.value if task is None else shown.curve.by_task[task])[at])


def curve_rows(shown: Shown, task: str | None) -> list[dict[str, Any]]:
    """The curve; a single task has no band of its own along w."""
    curve = shown.curve
    values, lows, highs = (curve.value, curve.low, curve.high) if task is None else (curve.by_task[task],) * 3
    return [
        {"w": round(float(w), 4), "value": float(value), "low": float(low), "high": float(high)}
        for w, value, low, high in zip(curve.weight, values, lows, highs, strict=True)
    ]


def _task_rows(shown: Shown) -> list[dict[str, Any]]:
    return [
        {"w": round(float(w), 4), "value": float(value), "task": task_title(task)}
        for task, values in shown.curve.by_task.items()
        for w, value in zip(shown.curve.weight[::5], values[::5], strict=True)
    ]


def _numbers(line: Line, task: str | None) -> dict[str, float]:
    value, low, high = (line.score.value, line.score.low, line.score.high) if task is None else line.score.by_task[task]
    return {"value": value, "low": low, "high": high}


_MARK_LABELS = {
    "fusion, adaptive": "adaptive",
    "fusion, pooled": "pooled",
    "fusion, fixed": "fixed",
    "fusion, oracle": "oracle (upper bound)",
}


def _mark_rows(line: Line, task: str | None) -> list[dict[str, Any]]:
    """Members, fusions and mixed parameters: what has a place on the axis of w."""
    name = line.name
    if line.kind == "member":
        role = name[:2]
        return [
            {**_numbers(line, task), "w": float(role == "TR"), "kind": role, "name": name, "label": f"{role} alone"}
        ]
    if line.weight is not None:
        w = line.weight if task is None else line.weight_by_task[task]
        label = _MARK_LABELS.get(name, "")
        return [{**_numbers(line, task), "w": w, "kind": line.kind, "name": wording.mark_name(line), "label": label}]
    if line.kind == "parameter fusion" and line.mixed_weight is not None:
        return [{**_numbers(line, task), "w": line.mixed_weight, "kind": line.kind, "name": name, "label": ""}]
    return []


def _level_rows(shown: Shown, line: Line, task: str | None) -> list[dict[str, Any]]:
    """What is compared with as a horizontal line."""
    label = wording.level_label(line)
    if label is None:
        return []
    strong = line.kind in ("best gold", "control")
    if line.kind == "gold" and any(line.checkpoints == best.checkpoints for best in shown.of_kind("best gold")):
        return []
    return [{**_numbers(line, task), "name": line.name, "label": label, "strong": strong}]


def notes(shown: Shown) -> None:
    """What the marks are, what the bands are, and where weights are equal for want of better."""
    adaptive = "; adaptive weights differ by task, so it need not lie on the curve" if shown.has_dev else ""
    st.caption(
        f"Diamonds: fusions of the predictions at their mean weight{adaptive}. Hollow: oracle, chosen on the test set, "
        "an upper bound and no result. Circle and square: the members alone. Triangles: mixed parameters. Dashed: "
        "single checkpoints under true labels, and the equal ensemble of the two that are best on dev, the control for "
        f"plain ensembling. Bands: 95 %, bootstrap over {count(shown.n_seeds, 'seed')} and {shown.n_examples:,} "
        f"queries; chance is {percent(shown.chance)}."
    )
    if shown.equal_for_want:
        st.caption(
            "Neither member is above chance on the development set of "
            f"{plain(', '.join(task_title(task) for task in shown.equal_for_want))}: both weigh 1/2 there."
        )


def missing(error: StudyError) -> None:
    """The state in which results do not line up."""
    st.info(plain(str(error)))
    st.page_link("pages/evaluate/page.py", label="Evaluate what is missing")
