"""The first screen of the fusion page: members, the sentence, and accuracy against w with all that has to be beaten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from icl_core.analysis.fusion.comparison import EntryScore
from icl_core.analysis.fusion.members import ROLE_BY_SETTING
from icl_core.analysis.fusion.weights import WeightKind
from icl_core.errors import StudyError
from icl_core.evaluation.study import Study
from icl_core.records import LABEL_SETTINGS, CheckpointRef
from pages.fusion import compute, wording
from pages.fusion.compute import Asked, Comparison, Further, Menu
from pages.ui import blocks, charts_fusion, controls, frame, selection
from pages.ui.facts import Facts, who
from pages.ui.pickers import one_of, several_of
from pages.ui.sheet import Panel
from pages.ui.theme import Palette
from pages.ui.words import checkpoint_name, count, end_page, legible, percent, plain, task_title

__all__ = [
    "TasksDrawn",
    "ask",
    "chart",
    "curve_rows",
    "drawn",
    "facts_of",
    "finding",
    "keep_members",
    "missing",
    "notes",
    "tasks_and_weight",
    "value_rows",
]

BEST, BY_HAND = "Best on dev", "By hand"
MOST_FURTHER = 2
LAST_MEMBERS = "last_members"


@dataclass(frozen=True, slots=True)
class TasksDrawn:
    """Which tasks the chart draws: the mean or one task, and whether each task has a line beside the mean."""

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
    return Asked(study, tr_model, tl_model, tr, tl, measure, normalisation, further)


def _further(found: dict[str, Menu], pair: tuple[str, str], *, by_hand: bool) -> tuple[Further, ...]:
    """A third and a fourth member, in any role; chosen on dev, a model can play a role once."""
    options = {
        f"{legible(model)} ({role})": (model, setting)
        for model, menu in found.items()
        for setting, role in ROLE_BY_SETTING.items()
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


def keep_members(found: Comparison) -> None:
    """Keeps which checkpoints are shown, so that choosing by hand begins with them."""
    at = zip(("tr_at", "tl_at", *(f"further_at_{i}" for i in range(MOST_FURTHER))), found.members, strict=False)
    st.session_state[LAST_MEMBERS] = {key: checkpoint_name(member.checkpoint) for key, member in at}


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


def tasks_and_weight(found: Comparison) -> tuple[TasksDrawn, float | None]:
    """Which tasks are drawn, and the chosen w; no w with more than two members."""
    if found.curve is None:
        return TasksDrawn(controls.task_control(found.tasks), every_task=False), None
    left, middle, right = st.columns([5, 3, 2], vertical_alignment="bottom")
    with left:
        weight = _weight_slider()
    with middle:
        task = controls.task_control(found.tasks)
    with right:
        every = st.toggle("Each task", key="each", bind="query-params", disabled=task is not None)
    return TasksDrawn(task, every and task is None), weight


def finding(asked: Asked, found: Comparison) -> None:
    """The page's sentence."""
    against = {
        line.entry.kind: compute.gains(asked, found.main.entry, line.entry)
        for line in found.of_kind("best gold", "control")
    }
    blocks.finding(wording.finding(asked, found, against))


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


def chart(asked: Asked, found: Comparison, view: TasksDrawn, *, weight: float | None) -> None:
    """The measure against w, or by line for more than two members."""
    title = controls.MEASURE_TITLES[asked.measure]
    ((_, figure),) = drawn(asked, found, view, weight=weight, palette=frame.palette())
    if weight is None:
        blocks.chart(figure, key="values", alt=f"{title} of fusions, members and baselines")
        _weights_table(asked, found)
        return
    blocks.chart(figure, key="weights", alt=f"{title} against w, with members, fusions and what has to be beaten")
    assert found.curve is not None
    st.markdown(wording.at_weight(found, weight, found.curve.at(weight, task=view.task), task=view.task))


def drawn(asked: Asked, found: Comparison, view: TasksDrawn, *, weight: float | None, palette: Palette) -> list[Panel]:
    """The chart in the colours of a palette."""
    title = controls.MEASURE_TITLES[asked.measure]
    if weight is None or found.curve is None:
        return [("", charts_fusion.value_chart(value_rows(found, view.task), palette, title=title))]
    figure = charts_fusion.weight_chart(
        curve_rows(found, view.task),
        [row for line in found.lines for row in _mark_rows(line, view.task)],
        [row for line in found.lines for row in _level_rows(found, line, view.task)],
        palette=palette,
        tasks=_task_rows(found) if view.every_task else [],
        title=title,
    )
    chosen = {"w": weight, "value": found.curve.at(weight, task=view.task)}
    return [("", charts_fusion.at_weight(figure, chosen))]


def facts_of(asked: Asked, found: Comparison) -> Facts:
    """What decides the numbers of the page: its study, its members, and how they are scored."""
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
    return [{"name": line.entry.title, "kind": wording.group_of(line), **_numbers(line, task)} for line in found.lines]


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
"""What stands beside a fusion's mark, if it is more than the kind of its weights."""


def _mark_rows(line: EntryScore, task: str | None) -> list[dict[str, Any]]:
    """Members, fusions and mixed parameters: what has a place on the axis of w."""
    entry = line.entry
    row = {**_numbers(line, task), "kind": entry.kind, "name": wording.mark_name(line), "label": ""}
    if entry.kind == "member":
        (role,) = entry.roles
        return [{**row, "w": float(role == "TR"), "kind": role, "label": f"{role} alone"}]
    if line.weights is not None and entry.weight_kind is not None:
        w = line.weights.mean_w if task is None else float(line.weights.by_task[task][0])
        return [{**row, "w": w, "label": _MARK_LABELS.get(entry.weight_kind, entry.weight_kind)}]
    return [] if entry.mixed_weight is None else [{**row, "w": entry.mixed_weight}]


def _level_rows(found: Comparison, line: EntryScore, task: str | None) -> list[dict[str, Any]]:
    """What is compared with as a horizontal line."""
    entry, label = line.entry, wording.level_label(line)
    if label is None:
        return []
    best = {ref for each in found.of_kind("best gold") for ref in each.entry.checkpoints}
    if entry.kind == "gold" and best & set(entry.checkpoints):
        return []  # it is drawn as the best one
    strong = entry.kind in ("best gold", "control")
    return [{**_numbers(line, task), "name": entry.title, "label": label, "strong": strong}]


def notes(found: Comparison) -> None:
    """What the marks are, what the bands are, and where no member earned a weight."""
    if found.curve is None:
        st.caption(
            f"{len(found.members)} members, their probabilities weighed and added; whiskers: 95 %, bootstrap over "
            f"{count(found.n_seeds, 'seed')} and {found.n_examples:,} queries; chance is {percent(found.chance)}. "
            "Mixed parameters and the tables of selection are of the first two members."
        )
        _equal_for_want(found)
        return
    adaptive = "; adaptive weights differ by task, so it need not lie on the curve" if found.has_dev else ""
    st.caption(
        f"Diamonds: fusions of the predictions at their mean weight{adaptive}. Hollow: oracle, chosen on the test set, "
        "so it is an upper bound, not a result. Circle and square: the members alone. Triangles: mixed parameters. "
        "Dashed: single checkpoints under true labels, and the equal ensemble of the two that are best on dev, the "
        "control for plain ensembling. "
        f"Bands: 95 %, bootstrap over {count(found.n_seeds, 'seed')} and {found.n_examples:,} queries; chance is "
        f"{percent(found.chance)}."
    )
    _equal_for_want(found)


def _equal_for_want(found: Comparison) -> None:
    if found.equal_for_want:
        st.caption(
            "No member is above chance on the development set of "
            f"{plain(', '.join(task_title(task) for task in found.equal_for_want))}: all weigh "
            f"1/{len(found.members)} there."
        )


def missing(error: StudyError) -> None:
    """The state in which results do not line up."""
    st.info(plain(str(error)))
    st.page_link("pages/evaluate/page.py", label="Evaluate what is missing")
