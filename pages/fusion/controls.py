"""The controls of the fusion page: which members, under which measure, which tasks are drawn, and w."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from icl_core.analysis.fusion.members import ROLE_BY_SETTING
from icl_core.evaluation.study import Study
from icl_core.records import LABEL_SETTINGS, CheckpointRef
from pages.fusion import computed, sentences
from pages.fusion.computed import Asked, Comparison, FurtherMember, Menu
from pages.ui.controls import analysis, selection
from pages.ui.controls.pickers import one_of, several_of
from pages.ui.panels import blocks
from pages.ui.words.written import checkpoint_name, end_page, legible, plain

__all__ = ["TasksDrawn", "ask", "keep_members", "tasks_and_weight"]

BEST, BY_HAND = "Best on dev", "By hand"
MOST_FURTHER = 2
LAST_MEMBERS = "last_members"


@dataclass(frozen=True, slots=True)
class TasksDrawn:
    """Which tasks the chart draws: the mean or one task, and whether each task has a line beside the mean."""

    task: str | None
    every_task: bool


def menu_or_stop(study: Study) -> dict[str, Menu]:
    """The models that can take part; if there are none, what to do."""
    found, problems = computed.menu(study)
    for model, problem in problems.items():
        st.warning(f"**{plain(model)}** is not shown. {plain(problem)}")
    if not any(menu.tr for menu in found.values()) or not any(menu.tl for menu in found.values()):
        st.info(
            "Fusion needs a checkpoint with results under random labels (TR) and one with results under symbols (TL). "
            "This study does not have both yet."
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
        measure, normalisation = analysis.measure_controls()
        further = _further(found, (tr_model, tl_model), by_hand=by_hand)
    if not has_dev:
        _offer_dev(tr_model, tl_model, found)
    return Asked(study, tr_model, tl_model, tr, tl, measure, normalisation, further)


def _further(found: dict[str, Menu], pair: tuple[str, str], *, by_hand: bool) -> tuple[FurtherMember, ...]:
    """A third and a fourth member, in any role. If they are chosen on dev, a model can play each role only once."""
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
        help="A third and a fourth member. Adaptive weights are spread over all of them; the curve over w needs two.",
    )
    chosen = []
    for index, name in enumerate(names):
        model, setting = options[name]
        refs = found[model].by_setting[setting]
        ref = _checkpoint(f"{name} checkpoint", f"further_at_{index}", refs) if by_hand else None
        chosen.append(FurtherMember(model, setting, ref))
    return tuple(chosen)


def _model(label: str, key: str, names: list[str]) -> str:
    if len(names) == 1:
        return names[0]
    return one_of(label, names, key=key)


def _checkpoint(label: str, key: str, refs: tuple[CheckpointRef, ...]) -> CheckpointRef:
    names = {checkpoint_name(ref): ref for ref in refs}
    return names[one_of(label, list(names), default=list(names)[-1], key=key)]


def keep_members(found: Comparison) -> None:
    """Keeps which checkpoints are shown; choosing by hand begins with them."""
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
    st.info(sentences.without_dev(without))
    if st.button("Evaluate the development set", on_click=_ask_for_dev):
        st.switch_page("pages/evaluate/page.py", query_params={})  # None is refused while widgets own some


def _ask_for_dev() -> None:
    """Sets the pickers of the evaluate page."""
    st.session_state["dev"] = True
    st.session_state["setting"] = list(LABEL_SETTINGS)


def tasks_and_weight(found: Comparison) -> tuple[TasksDrawn, float | None]:
    """Which tasks are drawn, and the chosen w; no w with more than two members."""
    if found.curve is None:
        return TasksDrawn(analysis.task_control(found.tasks), every_task=False), None
    left, middle, right = st.columns([5, 3, 2], vertical_alignment="bottom")
    with left:
        weight = _weight_slider()
    with middle:
        task = analysis.task_control(found.tasks)
    with right:
        every = st.toggle("Each task", key="each", bind="query-params", disabled=task is not None)
    return TasksDrawn(task, every and task is None), weight


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
