"""What came back: label probabilities with w live, the prompts as they were sent, and a file of sentences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt
import streamlit as st

from icl_core.analysis.fusion.equations import fuse
from icl_core.analysis.predictions import Normalisation
from icl_core.data.unknown import ReadWord, mostly_unknown
from icl_core.errors import DataError
from icl_core.evaluation.playground import MAX_BATCH_TEXTS, Question, Reply, Role, Scored, probabilities
from icl_core.registry.table_files import SUFFIXES
from icl_core.registry.task_files import TextFile, parse_text_file
from pages.playground import vega, worker
from pages.ui.controls.analysis import normalisation_control
from pages.ui.files.facts import Facts, who
from pages.ui.panels import blocks, frame
from pages.ui.words.written import checkpoint_name, count, joined, legible, percent, plain, reported, task_title

__all__ = ["answers", "batch", "prompts"]

MOST_TOKENS = 1500
MOST_WORDS = 300
MOST_NAMED = 8
ROLES: tuple[Role, ...] = ("TR", "TL")
ICL_ROLES: tuple[Role, ...] = ("ICL of the TR checkpoint", "ICL of the TL checkpoint")
PROMPTS: dict[str, Role] = {
    "TR: random labels": "TR",
    "TL: symbols": "TL",
    "ICL: true labels": "ICL of the TR checkpoint",
}


def _weight() -> tuple[float, Normalisation]:
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    weight = left.slider(
        "w: weight of TR in the fusion", 0.0, 1.0, 0.5, step=0.01, format="%.2f", key="play_w", bind="query-params",
        help="fused = w · TR + (1 − w) · TL. Moving it asks no model again.",
    )  # fmt: skip
    with right:
        return float(weight), normalisation_control()


@st.fragment
def answers(question: Question, reply: Reply) -> None:
    """The bars of TR, TL and their fusion; the slider redraws the last of them alone."""
    _unknown_words(question, reply)
    weight, normalisation = _weight()
    tr, tl = (probabilities(reply.role(role), normalisation=normalisation)[0] for role in ROLES)
    fused = fuse([tr, tl], [weight, 1 - weight])
    symbols = reply.role("TL").choices
    columns = st.columns(3)
    shown = (
        ("TR", "TR, random labels", _who(reply.role("TR")), tr, question.labels),
        ("TL", "TL, symbols", _who(reply.role("TL")), tl, _with_symbols(question.labels, symbols)),
        ("fused", f"Fused with w = {weight:.2f}", "w · TR + (1 − w) · TL", fused, question.labels),
    )
    for column, (role, title, words, values, labels) in zip(columns, shown, strict=True):
        with column:
            st.markdown(f"**{title}**  \n:small[{plain(words)}]")
            winner = int(values.argmax())
            rows = [
                {"label": label, "probability": float(p), "winner": at == winner}
                for at, (label, p) in enumerate(zip(labels, values, strict=True))
            ]
            figure = vega.label_bars(rows, frame.palette(), role=role)
            blocks.chart(figure, key=f"bars-{role}", alt=f"Probability of each label, {role}")
    st.caption(_notes(question, reply, normalisation))


def _unknown_words(question: Question, reply: Reply) -> None:
    """Says which words of the sentence, the labels and the demonstrations a model cannot read, and what follows."""
    by_words: dict[tuple[ReadWord, ...], list[Scored]] = {}
    for role in ROLES:
        scored = reply.role(role)
        by_words.setdefault(scored.words[0], []).append(scored)
    for words, readers in by_words.items():
        who = plain(" and ".join(dict.fromkeys(scored.checkpoint.model for scored in readers)))
        unknown = [word.word for word in words if word.unknown]
        if unknown:
            how_many = f"{len(unknown)} of {count(len(words), 'word')} {'is' if len(unknown) == 1 else 'are'}"
            said = f"{how_many} unknown to the tokenizer of {who}, which reads all unknown words as one and the same"
            if mostly_unknown(words):
                rest = "Apart from the words it knows, the" if len(unknown) < len(words) else "The"
                st.warning(f"{said}. {rest} answer rests on the demonstrations and the label words alone.")
                said = "Unknown"
            named = plain(joined(list(dict.fromkeys(unknown)), most=MOST_NAMED))
            st.markdown(f":small[{said}: {named}. Your sentence, unknown words struck out:] {_struck_out(words)}")
        for sentence in dict.fromkeys(each for scored in readers for each in _unknown_beside(question, scored)):
            st.warning(f"{sentence} ({who})")


def _struck_out(words: tuple[ReadWord, ...]) -> str:
    """The words as Markdown, each unknown one struck out."""
    more = " …" if len(words) > MOST_WORDS else ""
    return " ".join(f"~~{plain(w.word)}~~" if w.unknown else plain(w.word) for w in words[:MOST_WORDS]) + more


def _unknown_beside(question: Question, scored: Scored) -> list[str]:
    """Sentences on the labels or symbols, and on the demonstrations, that a model cannot read."""
    names = question.labels if scored.role == "TR" else scored.choices
    unknown = [legible(name) for name, words in zip(names, scored.choice_words, strict=True)
               if any(word.unknown for word in words)]  # fmt: skip
    said = []
    if unknown:
        what = "Label words" if scored.role == "TR" else "Symbols"
        said.append(f"{what} unknown to the tokenizer, at least in part: {plain(', '.join(unknown))}.")
    if mostly_unknown(scored.demonstration_words):
        said.append("Most words of the demonstrations are unknown to the tokenizer too.")
    return said


def _who(scored: Scored) -> str:
    return f"{scored.checkpoint.model} {checkpoint_name(scored.checkpoint)}"


def _with_symbols(labels: tuple[str, ...], symbols: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{label} ({symbol})" for label, symbol in zip(labels, symbols, strict=True))


def _notes(question: Question, reply: Reply, normalisation: Normalisation) -> str:
    """What the checkpoints say under true labels, whether anything was cut, and how long it took."""
    parts = []
    for scored in reply.scored:
        if scored.role in ICL_ROLES and question.demonstrations:
            values = probabilities(scored, normalisation=normalisation)[0]
            best = int(values.argmax())
            parts.append(f"{_who(scored)} says {question.labels[best]} ({percent(float(values[best]))})")
    said = f"Under the true labels {', and '.join(parts)}. " if parts else ""
    cut = max(scored.n_shortened for scored in reply.scored)
    was_cut = f"{count(cut, 'text')} did not fit the context and {'was' if cut == 1 else 'were'} cut. " if cut else ""
    loaded = f", after {reply.load_seconds:.1f} s of loading" if reply.load_seconds > 0.05 else ""
    return plain(f"{said}{was_cut}Scored in {1000 * reply.score_seconds:.0f} ms{loaded}.")


def prompts(reply: Reply) -> None:
    """The three prompts, token by token."""
    chosen = st.segmented_control(
        "Prompt", list(PROMPTS), default="TR: random labels", required=True, key="play_prompt", bind="query-params"
    )
    sent = reply.role(PROMPTS[str(chosen)]).prompt
    n = len(sent.token_ids)
    rows = vega.token_rows(sent.pieces, sent.token_ids, n_shared=sent.n_shared, most=MOST_TOKENS)
    left_out = f" The first {n - MOST_TOKENS:,} are not drawn." if n > MOST_TOKENS else ""
    st.caption(
        f"{n:,} tokens, of them {sent.n_shared:,} shared demonstrations (dimmed), which are computed once. "
        f"The label follows after the last one. Point at a token for its id.{left_out}"
    )
    blocks.chart(
        vega.token_chart(rows, frame.palette()),
        key="tokens",
        alt=f"The prompt with its {n} tokens; the text is below",
        width="content",
    )
    with st.expander("The same as plain text"):
        st.code("".join(sent.pieces), language=None, wrap_lines=True)


# A file of sentences


def batch(question: Question) -> None:
    """Many sentences at once, and what came back as a file."""
    uploaded = st.file_uploader(
        f"A table with a column text, or a .txt file with a sentence on each line; at most {MAX_BATCH_TEXTS} sentences",
        type=[*(each.removeprefix(".") for each in SUFFIXES), "txt"],
        key="play_file",
    )
    if uploaded is None:
        return
    with reported():
        found = read_texts(uploaded.getvalue(), uploaded.name)
        st.caption(f"{count(len(found.texts), 'sentence')} in {plain(uploaded.name)}.")
        blocks.remarks(found.notes)
        asked = replace(question, texts=found.texts)
        if st.button(f"Ask all {len(found.texts)}", key="play_batch", type="primary"):
            bar = st.progress(0.0, text="Asking")

            def show(done: int, total: int) -> None:
                bar.progress(done / total, text=f"{done} of {total}")

            replies = worker.answer_batch(asked, on_progress=show)
            bar.empty()
            st.session_state["play_answered"] = (asked, replies)
    answered = st.session_state.get("play_answered")
    if answered is not None and answered[0] == asked:
        _batch_table(*answered)


def read_texts(content: bytes, name: str) -> TextFile:
    """The sentences of a file, read by the rules of the evaluation.

    Args:
        content: the whole file.
        name: the user's own name of it, for its kind and for messages.

    Raises:
        DataError: no text in a readable encoding, no valid table, no sentence, or too many.
    """
    found = parse_text_file(content, name, suffix=PurePath(name).suffix)
    if len(found.texts) > MAX_BATCH_TEXTS:
        raise DataError(f"{name} has {len(found.texts):,} sentences; at most {MAX_BATCH_TEXTS} can be asked at once.")
    return found


@st.fragment
def _batch_table(question: Question, replies: list[Reply]) -> None:
    normalisation: Normalisation = st.session_state.get("norm", "sum")
    weight = float(st.session_state.get("play_w", 0.5))
    rows = batch_rows(question, replies, weight=weight, normalisation=normalisation)
    of = Facts(
        None,
        {
            **who([(role, replies[0].role(role).checkpoint) for role in ROLES]),
            "label_score": normalisation,
            "w": weight,
            "demonstrations": f"{len(question.demonstrations)} of {task_title(question.name)}",
            "seed": question.demo_seed,
        },
    )
    blocks.grid(rows, name="playground", of=of, height=320, alt="Answers to all sentences")
    for role in ROLES:
        scored = [reply.role(role) for reply in replies]
        n_lost = sum(mostly_unknown(words) for each in scored for words in each.words)
        if n_lost:
            st.warning(
                f"In {n_lost} of {count(len(rows), 'sentence')} most words are unknown to the tokenizer of "
                f"{plain(scored[0].checkpoint.model)} ({role}): there the answer rests on the demonstrations and the "
                "label words alone, apart from the words it knows."
            )


def batch_rows(
    question: Question, replies: list[Reply], *, weight: float, normalisation: Normalisation
) -> list[dict[str, Any]]:
    """One row a sentence: the answers of TR, TL and fusion, and every probability."""

    def stacked(role: Role) -> npt.NDArray[np.float64]:
        return np.concatenate([probabilities(reply.role(role), normalisation=normalisation) for reply in replies])

    tr, tl = (stacked(role) for role in ROLES)
    by_role = {"TR": tr, "TL": tl, "fused": fuse([tr, tl], [weight, 1 - weight])}
    n_unknown = {
        f"unknown words {role}": [sum(w.unknown for w in words) for each in replies for words in each.role(role).words]
        for role in ROLES
    }
    rows = []
    for index, text in enumerate(question.texts):
        row: dict[str, Any] = {"text": text}
        row |= {role: question.labels[int(values[index].argmax())] for role, values in by_role.items()}
        for role, values in by_role.items():
            row |= {f"P {role} {label}": float(p) for label, p in zip(question.labels, values[index], strict=True)}
        row |= {name: counts[index] for name, counts in n_unknown.items() if any(counts)}
        rows.append(row | {"w": weight})
    return rows
