"""The page's side of the playground's workers, which all visitors share; replies are kept by their question."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import streamlit as st

from icl_core.evaluation import playground
from icl_core.evaluation.playground import Question, Reply, Workers, ask_workers, check_question, files_state

__all__ = ["answer", "answer_batch"]

CHUNK = 10
"""Texts of a batch that are asked at once; between them progress is shown."""


@st.cache_resource(show_spinner=False, on_release=lambda workers: workers.end())
def _workers() -> Workers:
    return playground.start_workers()


@st.cache_data(max_entries=64, show_spinner=False)
def _reply(question: Question, files: tuple[tuple[int, ...], ...]) -> Reply:
    """The reply to a question, computed once; everything that changes it is in the question and the files' state."""
    reply = ask_workers(_workers(), question)
    if reply.is_restarted:
        st.session_state["worker_restarted"] = True
    return reply


def answer(question: Question) -> Reply:
    """The reply; a crashed worker is started again, and the page says so.

    Raises:
        ObservatoryError: the question cannot be asked, a checkpoint cannot be loaded, or the worker has no answer.
    """
    check_question(question)
    with st.spinner("Asking the two checkpoints; loading them takes some seconds the first time"):
        reply = _reply(question, files_state(question))
    if st.session_state.pop("worker_restarted", False):
        st.warning("The worker process had stopped. It was started again, and both checkpoints were loaded again.")
    return reply


def answer_batch(question: Question, *, on_progress: Callable[[int, int], None]) -> list[Reply]:
    """The replies to all texts of a question, a few texts at a time.

    Raises:
        ObservatoryError: as ``answer``.
    """
    check_question(question)
    replies = []
    for start in range(0, len(question.texts), CHUNK):
        part = replace(question, texts=question.texts[start : start + CHUNK])
        replies.append(_reply(part, files_state(part)))
        on_progress(min(start + CHUNK, len(question.texts)), len(question.texts))
    return replies
