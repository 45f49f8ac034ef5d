"""The form of the evaluate page: the study at large, each field a mirror of the sidebar's picker, and how to run it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from typing import Any

import streamlit as st

from icl_core.data.datasets import load_task_data
from icl_core.errors import AmbiguousLabelsError, DataError, ObservatoryError, StudyError
from icl_core.evaluation.choice import refuse_doubtful_order
from icl_core.evaluation.exclusions import excluded_checkpoints
from icl_core.evaluation.study import Study, validate_study
from icl_core.evaluation.told import row_sentences
from icl_core.registry.families import MODELS, way_of
from icl_core.registry.table_files import SUFFIXES
from icl_core.registry.task_files import parse_task_file, upload_name
from icl_core.registry.tasks import FILE_PREFIX, TASK_GROUPS, FileSource, get_task, list_tasks, own_file_name
from icl_core.settings import uploads_path
from pages.ui.controls import selection
from pages.ui.controls.pickers import mirror, offers, several_of
from pages.ui.data import cached
from pages.ui.words.written import checkpoint_name, count, joined, plain, task_title

__all__ = ["RunOptions", "models_and_checkpoints", "run_options", "settings", "study_to_run", "tasks"]

MAX_UPLOAD_BYTES = 20_000_000
WAYS = {"all": "All", "paper": "The paper's grid", "even": "Evenly spaced", "log": "Log-spaced", "names": "By hand"}
OWN_GROUP, TINY_GROUP = "own files", "tiny suite"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a study is run; none of it changes a number.

    Attributes:
        device: auto, cpu or cuda.
        offline: keep off the network.
        dev: evaluate the development split too.
    """

    device: str
    offline: bool
    dev: bool


def _defaults() -> selection.Defaults:
    return selection.defaults_for(st.session_state["model"])


def models_and_checkpoints() -> None:
    """Which models, which of their checkpoints, and what should be known about them first."""
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
        st.info(f"The checkpoints of {plain(model)} are not documented in full; the Hub has to be asked for them.")
        if st.button(f"Ask the Hub about {plain(model)}", key=f"list-{model}"):
            with st.spinner("Asking the Hub"):
                cached.ask_hub(model)
            st.rerun()


def _set_way(way: str) -> None:
    models = st.session_state["model"]
    refs = cached.checkpoints_of(models[0]) if models else ()
    steps = [ref.step for ref in refs if ref.step is not None]
    n = min(9, max(1, len(steps)))
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
    """Takes over what is picked in one group; all other tasks stay as they are."""
    groups = _groups()
    kept = [name for name in st.session_state["task"] if name not in groups[group]]
    picked = {*kept, *names}
    in_groups = [name for each in groups.values() for name in each]
    st.session_state["task"] = [name for name in dict.fromkeys([*in_groups, *kept]) if name in picked]


def tasks() -> None:
    """The tasks by group, and files of one's own."""
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
    with st.expander("A file of your own"):
        st.file_uploader(
            "CSV, TSV, JSONL or JSON with text and label, and split (demonstrations, dev, test) if you like",
            type=[suffix.removeprefix(".") for suffix in SUFFIXES],
            key="upload",
            on_change=_take_upload,
        )
        if problem := st.session_state.get("upload_problem"):
            st.error(plain(problem))
        for index, sentence in enumerate(st.session_state.get("upload_told", ())):
            (st.caption if index else st.success)(plain(sentence))


def _take_upload() -> None:
    """Keeps an uploaded file under its content hash in the store's folder and picks it as a task."""
    uploaded = st.session_state["upload"]
    st.session_state["upload_problem"], st.session_state["upload_told"] = "", ()
    if uploaded is None:
        return
    try:
        name = save_upload(uploaded.name, uploaded.getvalue())
    except AmbiguousLabelsError as error:
        st.session_state["upload_problem"] = f"{error} Both can be picked under Own files."
        return
    except ObservatoryError as error:
        st.session_state["upload_problem"] = str(error)
        return
    st.session_state["task"] = list(dict.fromkeys([*st.session_state["task"], name]))
    data = load_task_data(get_task(name), offline=True)
    first = f"{uploaded.name} is a task now, with the labels {joined(data.task.words(), most=8)}."
    st.session_state["upload_told"] = (first, *row_sentences(data))


def save_upload(file_name: str, content: bytes) -> str:
    """Checks that the file is a task that can be evaluated, keeps it, and gives the task's name.

    Raises:
        StudyError: the file is too large.
        AmbiguousLabelsError: labels may be one; the file is kept, since both answers make it a task.
        DataError: the file cannot be used as a task; it is not kept.
    """
    if len(content) > MAX_UPLOAD_BYTES:
        raise StudyError(f"The file has {len(content):,} bytes, more than the {MAX_UPLOAD_BYTES:,} allowed.")
    question = None
    try:
        parse_task_file(content, file_name, suffix=PurePath(file_name).suffix)
    except AmbiguousLabelsError as error:
        question = error
    folder = uploads_path()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / upload_name(file_name, hashlib.sha256(content).hexdigest()[:12])
    is_new = not path.exists()
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)
    if question is not None:
        raise question
    try:
        return load_task_data(get_task(own_file_name(FileSource(path))), offline=True).task.name
    except DataError:
        if is_new:
            path.unlink()
        raise


def settings() -> None:
    """Label settings, seeds, sizes, and the options of prompt and arithmetic."""
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
            help="300 further rows per task, which choose checkpoints and fusion weights.",
        )
    return RunOptions(device, offline, dev)


def study_to_run(run: RunOptions) -> Study:
    """The checked study.

    Raises:
        ObservatoryError: something cannot be run as asked; the sentence says what.
    """
    study = selection.study_of(selection.current_choice())
    if run.dev:
        splits: Any = ("dev", "test")
        study = dataclasses.replace(study, splits=splits)
    validate_study(study)
    excluded = excluded_checkpoints(cached.store(), study.checkpoints)
    refuse_doubtful_order(ref for ref in study.checkpoints if ref not in excluded)
    return study


def summary(study: Study) -> str:
    """The study as the product that its number of cells is."""
    splits = f" × {count(len(study.splits), 'split')} ({' and '.join(study.splits)})" if len(study.splits) > 1 else ""
    return (
        f"{count(len(study.checkpoints), 'checkpoint')} × {count(len(study.tasks), 'task')} × "
        f"{count(len(study.label_settings), 'setting')} × {count(len(study.demo_seeds), 'seed')}{splits}"
    )
