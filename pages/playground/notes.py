"""What the playground says around its bars: the first demonstrations, and which words a model cannot read."""

from __future__ import annotations

import streamlit as st

from icl_core.data.unknown import ReadWord
from icl_core.evaluation.playground import Question, Reply, Role, Scored
from pages.playground import sentences
from pages.playground.controls import Demonstrations
from pages.ui.words.written import legible, plain

__all__ = ["ROLES", "first_of", "unknown_words"]

ROLES: tuple[Role, ...] = ("TR", "TL")
MOST_SHOWN = 3


def first_of(shown: Demonstrations) -> None:
    """The first demonstrations, and how many follow."""
    for text, label in shown.rows[:MOST_SHOWN]:
        st.text(f"{legible(text)}  →  {legible(label)}")
    if further := shown.rows[MOST_SHOWN:]:
        st.caption(f"and {len(further)} more")


def unknown_words(question: Question, reply: Reply) -> None:
    """Which words of the sentence, the labels and the demonstrations a model cannot read, and what follows."""
    by_words: dict[tuple[ReadWord, ...], list[Scored]] = {}
    for role in ROLES:
        scored = reply.role(role)
        by_words.setdefault(scored.words[0], []).append(scored)
    for words, readers in by_words.items():
        who = plain(" and ".join(dict.fromkeys(scored.checkpoint.model for scored in readers)))
        warning, named = sentences.unknown_words(words, who)
        if warning:
            st.warning(warning)
        if named:
            st.markdown(named)
        for said in dict.fromkeys(
            each for scored in readers for each in sentences.unknown_labels(question, scored, who)
        ):
            st.warning(said)
