"""Uploads a file as a task: checked, kept in the store's folder under the hash of its content, and picked."""

from __future__ import annotations

import hashlib
import os
from pathlib import PurePath

import streamlit as st

from icl_core.data.datasets import load_task_data
from icl_core.errors import AmbiguousLabelsError, DataError, ObservatoryError, StudyError
from icl_core.evaluation.told import row_sentences
from icl_core.registry.table_files import SUFFIXES
from icl_core.registry.task_files import parse_task_file, upload_name
from icl_core.registry.tasks import FileSource, get_task, own_file_name
from icl_core.settings import uploads_path
from pages.evaluate import sentences
from pages.ui.words.written import plain

__all__ = ["draw", "save_upload"]

MAX_UPLOAD_BYTES = 20_000_000


def draw() -> None:
    """The upload, and what was found in the file."""
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
    """Keeps the uploaded file and picks it as a task, or says why it is none."""
    uploaded = st.session_state["upload"]
    st.session_state["upload_problem"], st.session_state["upload_told"] = "", ()
    if uploaded is None:
        return
    try:
        name = save_upload(uploaded.name, uploaded.getvalue())
    except AmbiguousLabelsError as error:
        st.session_state["upload_problem"] = sentences.either_way(str(error))
        return
    except ObservatoryError as error:
        st.session_state["upload_problem"] = str(error)
        return
    st.session_state["task"] = list(dict.fromkeys([*st.session_state["task"], name]))
    data = load_task_data(get_task(name), offline=True)
    st.session_state["upload_told"] = (sentences.task_added(uploaded.name, data.task.words()), *row_sentences(data))


def save_upload(file_name: str, content: bytes) -> str:
    """Checks that the file is a task that can be evaluated, keeps it, and gives the task's name.

    Raises:
        StudyError: the file is too large.
        AmbiguousLabelsError: labels may be one; the file is kept, since both answers make it a task.
        DataError: the file cannot be used as a task; it is not kept.
    """
    if len(content) > MAX_UPLOAD_BYTES:
        raise StudyError(f"{file_name} has {len(content):,} bytes; at most {MAX_UPLOAD_BYTES:,} are allowed.")
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
