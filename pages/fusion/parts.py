"""The first screen of the fusion page: members, the sentence, and accuracy against w with all that has to be beaten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from icl_core.analysis.fusion_report import ROLES
from icl_core.errors import StudyError
from icl_core.evaluation.study import Study, study_from_json, study_to_json
from icl_core.records import LABEL_SETTINGS, CheckpointRef
from pages.fusion import compute, wording
from pages.fusion.compute import Asked, Further, Line, Menu, Shown
from pages.ui import blocks, charts_fusion, controls, frame, selection
from pages.ui.facts import Facts, who
from pages.ui.pickers import one_of, several_of
from pages.ui.sheet import Panel
from pages.ui.theme import Palette
from pages.ui.words import checkpoint_name, count, end_page, legible, percent, plain, task_title

__all__ = [
    "Look",
    "ask",
    "chart",
    "curve_rows",
    "drawn",
    "facts_of",
    "finding",
    "keep_members",
    "look",
    "missing",
    "notes",
    "value_at",
    "value_rows",
]

BEST, BY_HAND = "Best on dev", "By hand"
MOST_FURTHER = 2
LAST_MEMBERS = "last_members"


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
        blocks.offer_results(list(dict.fromkeys(ref.model for ref in study.checkpoints)))
        st.page_link("pages/evaluate/page.py", label="Evaluate this study", width="content")
        end_page()
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
                on_change=_begin_with_shown,
                help="Best on dev: the checkpoints with the highest TR and TL accuracy on the development set; "
                "nothing is chosen on the test set.",
            )  # fmt: skip
            by_hand = way == BY_HAND
        tr = _checkpoint("TR checkpoint", "tr_at", found[tr_model].tr) if by_hand else None
        tl = _checkpoint("TL checkpoint", "tl_at", found[tl_model].tl) if by_hand else None
        measure, normalisation = controls.measure_controls()
        further = _further(found, (tr_model, tl_model), by_hand=by_hand)
    if not has_dev:
        _offer_dev(tr_model, tl_model, found)
    return Asked(study_to_json(study), tr_model, tl_model, tr, tl, measure, normalisation, further)


def _further(found: dict[str, Menu], pair: tuple[str, str], *, by_hand: bool) -> tuple[Further, ...]:
    """A third and a fourth member, in any role; chosen on dev, a model can play a role once."""
    options = {
        f"{legible(model)} ({role})": (model, setting)
        for model, menu in found.items()
        for setting, role in ROLES.items()
        if menu.by_setting[setting] and (menu.has_dev or by_hand)
        if by_hand or (model, role) not in ((pair[0], "TR"), (pair[1], "TL"))
    }
    if not options:
        return ()
    names = several_of(
        "Further members",
        list(options),
        max_selections=MOST_FURTHER,
        placeholder="None: two members",
        key="further_members",
        help="A third and a fourth member; adaptive weights go over all of them. The curve over w is for two.",
    )
    chosen = []
    for index, name in enumerate(names):
        model, setting = options[name]
        refs = found[model].by_setting[setting]
        ref = _checkpoint(f"{name} checkpoint", f"further_at_{index}", refs) if by_hand else None
        chosen.append(Further(model, setting, ref))
    return tuple(chosen)


def _model(label: str, key: str, names: list[str]) -> str:
    if len(names) == 1:
        return names[0]
    return one_of(label, names, key=key)


def _checkpoint(label: str, key: str, refs: tuple[CheckpointRef, ...]) -> CheckpointRef:
    names = {checkpoint_name(ref): ref for ref in refs}
    return names[one_of(label, list(names), default=list(names)[-1], key=key)]


def keep_members(shown: Shown) -> None:
    """Keeps which checkpoints are shown, so that choosing by hand begins with them."""
    at = zip(("tr_at", "tl_at", *(f"further_at_{i}" for i in range(MOST_FURTHER))), shown.members, strict=False)
    st.session_state[LAST_MEMBERS] = {key: checkpoint_name(ref) for key, (_, ref) in at}


def _begin_with_shown() -> None:
    """Writes the checkpoints on the screen into the boxes, and so into the address."""
    if st.session_state["members"] == BY_HAND:
        last = st.session_state.get(LAST_MEMBERS, {})
        st.query_params.update(last)  # a box that is not drawn yet does not write its own
        selection.show(members=BY_HAND, **last)  # the browser then adds this one to the address that it is told


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


def look(shown: Shown) -> tuple[Look, float | None]:
    """The mean or one task, whether each task has its own line, and the chosen w; no w with more than two members."""
    if shown.curve is None:
        return Look(controls.task_control(shown.tasks), every_task=False), None
    left, middle, right = st.columns([5, 3, 2], vertical_alignment="bottom")
    with left:
        weight = _weight_slider()
    with middle:
        task = controls.task_control(shown.tasks)
    with right:
        every = st.toggle("Each task", key="each", bind="query-params", disabled=task is not None)
    return Look(task, every and task is None), weight


def finding(asked: Asked, shown: Shown) -> None:
    """The page's sentence."""
    best = wording.best_of(shown)
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


def chart(asked: Asked, shown: Shown, view: Look, weight: float | None) -> None:
    """The measure against w, or by line for more than two members."""
    title = controls.MEASURE_TITLES[asked.measure]
    ((_, figure),) = drawn(asked, shown, view, weight, frame.palette())
    if weight is None:
        blocks.chart(figure, key="values", alt=f"{title} of fusions, members and baselines")
        _weights_table(asked, shown)
        return
    blocks.chart(figure, key="weights", alt=f"{title} against w, with members, fusions and what has to be beaten")
    st.markdown(wording.at_weight(shown, weight, value_at(shown, weight, view.task), view.task))


def drawn(asked: Asked, shown: Shown, view: Look, weight: float | None, palette: Palette) -> list[Panel]:
    """The chart in the colours of a palette."""
    title = controls.MEASURE_TITLES[asked.measure]
    if weight is None:
        return [("", charts_fusion.value_chart(value_rows(shown, view.task), palette, title=title))]
    lines = [line for line in shown.lines if view.task is None or view.task in line.score.by_task]
    figure = charts_fusion.weight_chart(
        curve_rows(shown, view.task),
        [row for line in lines for row in _mark_rows(line, view.task)],
        [row for line in lines for row in _level_rows(shown, line, view.task)],
        palette,
        tasks=_task_rows(shown) if view.every_task else [],
        title=title,
    )
    return [("", charts_fusion.at_weight(figure, {"w": weight, "value": value_at(shown, weight, view.task)}))]


def facts_of(asked: Asked, shown: Shown) -> Facts:
    """What decides the numbers of the page: its study, its members, and how they are scored."""
    scored = {"measure": asked.measure, "label_score": asked.normalisation}
    return Facts(study_from_json(asked.study), {**scored, **who(shown.members)})


def _weights_table(asked: Asked, shown: Shown) -> None:
    """The members' weights by task."""
    best = wording.best_of(shown)
    names = [f"{role} {legible(ref.model)} {checkpoint_name(ref)}" for role, ref in shown.members]
    blocks.grid(
        [
            {"task": task_title(task), **dict(zip(names, weights, strict=True))}
            for task, weights in best.weights_by_task.items()
        ],
        name="weights",
        of=facts_of(asked, shown),
        column_config=dict.fromkeys(names, st.column_config.NumberColumn(format="%.2f")),
        alt=f"Weights of {best.name} by task",
    )
    st.caption(f"Weights of {plain(best.name)}; in each row they sum to 1.")


def value_rows(shown: Shown, task: str | None) -> list[dict[str, Any]]:
    """One row a line with its interval."""
    return [
        {"name": line.name, "kind": wording.group_of(line), **_numbers(line, task)}
        for line in shown.lines
        if task is None or task in line.score.by_task
    ]


def value_at(shown: Shown, weight: float, task: str | None) -> float:
    """The measure at a w of the grid, of two members."""
    assert shown.curve is not None
    at = int(np.argmin(np.abs(shown.curve.weight - weight)))
    return float((shown.curve.value if task is None else shown.curve.by_task[task])[at])


def curve_rows(shown: Shown, task: str | None) -> list[dict[str, Any]]:
    """The curve; a single task has no band of its own along w."""
    curve = shown.curve
    assert curve is not None
    values, lows, highs = (curve.value, curve.low, curve.high) if task is None else (curve.by_task[task],) * 3
    return [
        {"w": round(float(w), 4), "value": float(value), "low": float(low), "high": float(high)}
        for w, value, low, high in zip(curve.weight, values, lows, highs, strict=True)
    ]


def _task_rows(shown: Shown) -> list[dict[str, Any]]:
    assert shown.curve is not None
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
        w = line.weight if task is None else line.weights_by_task[task][0]
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
    if shown.curve is None:
        st.caption(
            f"{len(shown.members)} members, their probabilities weighed and added; whiskers: 95 %, bootstrap over "
            f"{count(shown.n_seeds, 'seed')} and {shown.n_examples:,} queries; chance is {percent(shown.chance)}. "
            "Mixed parameters and the tables of selection are of the first two members."
        )
        _equal_for_want(shown)
        return
    adaptive = "; adaptive weights differ by task, so it need not lie on the curve" if shown.has_dev else ""
    st.caption(
        f"Diamonds: fusions of the predictions at their mean weight{adaptive}. Hollow: oracle, chosen on the test set, "
        "an upper bound and no result. Circle and square: the members alone. Triangles: mixed parameters. Dashed: "
        "single checkpoints under true labels, and the equal ensemble of the two that are best on dev, the control for "
        f"plain ensembling. Bands: 95 %, bootstrap over {count(shown.n_seeds, 'seed')} and {shown.n_examples:,} "
        f"queries; chance is {percent(shown.chance)}."
    )
    _equal_for_want(shown)


def _equal_for_want(shown: Shown) -> None:
    if shown.equal_for_want:
        st.caption(
            "No member is above chance on the development set of "
            f"{plain(', '.join(task_title(task) for task in shown.equal_for_want))}: all weigh "
            f"1/{len(shown.members)} there."
        )


def missing(error: StudyError) -> None:
    """The state in which results do not line up."""
    st.info(plain(str(error)))
    st.page_link("pages/evaluate/page.py", label="Evaluate what is missing")
