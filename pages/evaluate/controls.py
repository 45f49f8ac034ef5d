"""The controls of the evaluate page: the study at large, each field a mirror of the sidebar's picker; how to run it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import streamlit as st

from icl_core.errors import ObservatoryError
from icl_core.registry.families import MODELS, way_of
from icl_core.registry.tasks import FILE_PREFIX, TASK_GROUPS, get_task, list_tasks
from pages.evaluate import sentences
from pages.evaluate.computed import RunOptions
from pages.ui.controls import selection
from pages.ui.controls.pickers import mirror, offers, several_of
from pages.ui.data import cached
from pages.ui.words.written import checkpoint_name, plain, task_title

__all__ = ["models_and_checkpoints", "run_options", "settings", "tasks"]

WAYS = {"all": "All", "paper": "The paper's grid", "even": "Evenly spaced", "log": "Log-spaced", "names": "By hand"}
MOST_AT_FIRST = 9
"""Checkpoints that a spaced choice begins with, if there are so many."""
OWN_GROUP, TINY_GROUP = "own files", "tiny suite"


def _defaults() -> selection.Defaults:
    return selection.defaults_for(st.session_state["model"])


def models_and_checkpoints() -> None:
    """Which models, which of their checkpoints, and what should be known of them before they run."""
    left, right = st.columns(2)
    with left:
        selection.field("model", "page", _defaults())
        selection.field("local", "page", _defaults())
        if st.session_state["local"].strip():
            for column, name in zip(st.columns(2), ("name", "order"), strict=True):
                with column:
                    selection.field(name, "page", _defaults())
    with right:
        _checkpoint_way()
    for model in st.session_state["model"]:
        note = MODELS[model].note if model in MODELS else ""
        if note:
            st.caption(f"{plain(model)}: {plain(note)}")
    for sentence in selection.left_out(selection.current_choice()):
        st.caption(plain(sentence))
    _unlisted([model for model in st.session_state["model"] if not cached.checkpoints_of(model)])


def _unlisted(models: Sequence[str]) -> None:
    for model in models:
        st.info(sentences.not_listed(model))
        if st.button(f"Ask the Hub about {plain(model)}", key=f"list-{model}"):
            with st.spinner("Asking the Hub"):
                cached.ask_hub(model)
            st.rerun()


def _set_way(way: str) -> None:
    models = st.session_state["model"]
    refs = cached.checkpoints_of(models[0]) if models else ()
    n = min(MOST_AT_FIRST, max(1, sum(ref.step is not None for ref in refs)))
    if way in ("all", "paper"):
        text = way
    elif way == "even":
        text = str(n)
    elif way == "log":
        text = f"log {n}"
    else:
        chosen = selection.checkpoints_for(models[0], st.session_state["checkpoints"]) if models else ()
        text = ", ".join(selection.short_name(ref) for ref in chosen)
    st.session_state["checkpoints"] = text or "all"


def _set_by_hand(names: Sequence[str]) -> None:
    st.session_state["checkpoints"] = ", ".join(names) or "paper"


def _checkpoint_way() -> None:
    """How checkpoints are chosen, and the choice itself as text."""
    way = way_of(st.session_state["checkpoints"].strip())
    st.segmented_control(
        "Choose checkpoints",
        list(WAYS),
        required=True,
        format_func=lambda name: WAYS[name],
        wrap=True,
        help="By hand: click points on the timeline, or name checkpoints.",
        **mirror("page_way", way, _set_way),
    )
    models = st.session_state["model"]
    if way == "names" and len(models) == 1:
        try:
            chosen = selection.checkpoints_for(models[0], st.session_state["checkpoints"])
        except ObservatoryError:
            chosen = ()
        names = {selection.short_name(ref): checkpoint_name(ref) for ref in cached.checkpoints_of(models[0])}
        several_of(
            "Checkpoints",
            list(names),
            bind=None,
            format_func=lambda name: names[name],
            **mirror("page_hand", [selection.short_name(ref) for ref in chosen], _set_by_hand),
        )
    else:
        selection.field("checkpoints", "page", _defaults())


def _groups() -> dict[str, list[str]]:
    own = [name for name in selection.task_options() if name.startswith(FILE_PREFIX)]
    shipped = [name for name in list_tasks() if get_task(name).group == TINY_GROUP]
    groups = {TINY_GROUP: shipped, **{group: list(names) for group, names in TASK_GROUPS.items()}, OWN_GROUP: own}
    return {group: names for group, names in groups.items() if names}


def _gather_tasks(group: str, names: Sequence[str]) -> None:
    """Takes over what is picked in one group; tasks of other groups stay as they are."""
    groups = _groups()
    kept = [name for name in st.session_state["task"] if name not in groups[group]]
    picked = {*kept, *names}
    in_groups = [name for each in groups.values() for name in each]
    st.session_state["task"] = [name for name in dict.fromkeys([*in_groups, *kept]) if name in picked]


def tasks() -> None:
    """The tasks by group."""
    st.header("Tasks", anchor=False)
    columns = st.columns(2)
    for index, (group, names) in enumerate(_groups().items()):
        picked = [name for name in names if name in st.session_state["task"]]
        with columns[index % 2]:
            st.pills(
                group.capitalize(),
                names,
                selection_mode="multi",
                format_func=lambda name: plain(task_title(name)),
                wrap=True,
                **mirror(f"page_task_{group}", picked, partial(_gather_tasks, group)),
            )
            offers(f"group-{group}", {"All": names, "None": []}, partial(_gather_tasks, group))


def settings() -> None:
    """Label settings, seeds, sizes, and the options of prompt, data and number format."""
    st.header("Settings", anchor=False)
    defaults = _defaults()
    rows: tuple[tuple[str, ...], ...] = (("setting", "seeds"), ("shots", "examples", "dtype"))
    for names in rows:
        for column, name in zip(st.columns(len(names)), names, strict=True):
            with column:
                selection.field(name, "page", defaults)
    with st.expander("Prompt, data and attention"):
        names = ("template", "words", "alphabet", "sampling", "attention")
        for column, name in zip(st.columns(len(names)), names, strict=True):
            with column:
                selection.field(name, "page", defaults)
        selection.field("data", "page", defaults)


def run_options() -> RunOptions:
    """Device, network, and the development split."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        device = st.selectbox("Device", ["auto", "cpu", "cuda"], key="device", bind="query-params", width=140)
        offline = st.toggle(
            "Keep off the network", key="offline", bind="query-params", help="Use what is on this machine only."
        )
        dev = st.toggle(
            "Also evaluate the development set, for fusion",
            key="dev",
            bind="query-params",
            help=sentences.development_rows(),
        )
    return RunOptions(device, offline, dev)
