"""The bars of the playground: label probabilities of TR, of TL and of their fusion, with w live."""

from __future__ import annotations

import streamlit as st

from icl_core.evaluation.playground import Question, Reply, answers_at
from pages.playground import notes, sentences, vega
from pages.playground.controls import weight_control
from pages.ui.panels import blocks, frame
from pages.ui.words.written import plain

__all__ = ["answers"]


@st.fragment
def answers(question: Question, reply: Reply) -> None:
    """The bars of TR, TL and their fusion; the slider redraws the last of them alone."""
    notes.unknown_words(question, reply)
    weight, normalisation = weight_control()
    found = answers_at([reply], weight=weight, normalisation=normalisation)
    tr, tl = reply.role("TR"), reply.role("TL")
    shown = (
        ("TR", "TR, random labels", sentences.title_of(tr), question.labels),
        ("TL", "TL, symbols", sentences.title_of(tl), _with_symbols(question.labels, tl.choices)),
        ("fused", f"Fused with w = {weight:.2f}", "w · TR + (1 − w) · TL", question.labels),
    )
    for column, (name, title, words, labels) in zip(st.columns(len(shown)), shown, strict=True):
        with column:
            st.markdown(f"**{title}**  \n:small[{plain(words)}]")
            winner = int(found[name].best[0])
            rows = [
                {"label": label, "probability": float(p), "winner": at == winner}
                for at, (label, p) in enumerate(zip(labels, found[name].values[0], strict=True))
            ]
            figure = vega.label_bars(rows, frame.palette(), role=name)
            blocks.chart(figure, key=f"bars-{name}", alt=f"Probability of each label, {name}")
    st.caption(sentences.answered(question, reply, normalisation))


def _with_symbols(labels: tuple[str, ...], symbols: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{label} ({symbol})" for label, symbol in zip(labels, symbols, strict=True))
