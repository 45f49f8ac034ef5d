"""What stands below the bars: the prompts as they were sent, and a file of sentences."""

from __future__ import annotations

from dataclasses import dataclass, replace

import streamlit as st

from icl_core.evaluation.playground import MAX_BATCH_TEXTS, Question, Reply, Role
from icl_core.registry.table_files import SUFFIXES
from pages.playground import sentences, vega, worker
from pages.playground.controls import weight_shown
from pages.playground.file_of_sentences import read_texts, rows_of
from pages.playground.notes import ROLES
from pages.ui.files.facts import Facts, who
from pages.ui.panels import blocks, frame
from pages.ui.panels.tabs import Tab
from pages.ui.words.written import count, plain, reported, task_title

__all__ = ["TABS", "Conversation"]

MOST_TOKENS = 1500
PROMPTS: dict[str, Role] = {
    "TR: random labels": "TR",
    "TL: symbols": "TL",
    "ICL: true labels": "ICL of the TR checkpoint",
}


@dataclass(frozen=True, slots=True, eq=False)
class Conversation:
    """What the tabs are drawn from: the question, and the reply if there is one."""

    question: Question
    reply: Reply | None


def prompts(asked: Conversation) -> None:
    """The three prompts, token by token."""
    if asked.reply is None:
        return
    chosen = st.segmented_control(
        "Prompt", list(PROMPTS), default="TR: random labels", required=True, key="play_prompt", bind="query-params"
    )
    sent = asked.reply.role(PROMPTS[str(chosen)]).prompt
    n = len(sent.token_ids)
    st.caption(sentences.prompt_tokens(n, sent.n_shared, most=MOST_TOKENS))
    rows = vega.token_rows(sent.pieces, sent.token_ids, n_shared=sent.n_shared, most=MOST_TOKENS)
    blocks.chart(
        vega.token_chart(rows, frame.palette()),
        key="tokens",
        alt=f"The prompt with its {count(n, 'token')}; the text is below",
        width="content",
    )
    with st.expander("The same as plain text"):
        st.code("".join(sent.pieces), language=None, wrap_lines=True)


def batch(asked: Conversation) -> None:
    """Many sentences at once, and what came back as a file."""
    uploaded = st.file_uploader(
        "A table with a column called text, or a .txt file with one sentence per line; at most "
        f"{MAX_BATCH_TEXTS} sentences",
        type=[*(each.removeprefix(".") for each in SUFFIXES), "txt"],
        key="play_file",
    )
    if uploaded is None:
        return
    with reported():
        found = read_texts(uploaded.getvalue(), uploaded.name)
        st.caption(f"{count(len(found.texts), 'sentence')} in {plain(uploaded.name)}.")
        blocks.remarks(found.notes)
        question = replace(asked.question, texts=found.texts)
        if st.button(f"Ask all {len(found.texts)}", key="play_batch", type="primary"):
            bar = st.progress(0.0, text="Asking")

            def show(done: int, total: int) -> None:
                bar.progress(done / total, text=f"{done} of {total}")

            replies = worker.answer_batch(question, on_progress=show)
            bar.empty()
            st.session_state["play_answered"] = (question, replies)
    answered = st.session_state.get("play_answered")
    if answered is not None and answered[0] == question:
        _batch_table(*answered)


@st.fragment
def _batch_table(question: Question, replies: list[Reply]) -> None:
    """The answers to all sentences, at the w and the label score of the bars."""
    weight, normalisation = weight_shown()
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
    rows = rows_of(question, replies, weight=weight, normalisation=normalisation)
    blocks.grid(rows, name="playground", of=of, height=320, alt="Answers to all sentences")
    for role in ROLES:
        if said := sentences.unknown_in_file([reply.role(role) for reply in replies], role):
            st.warning(said)


TABS: tuple[Tab[Conversation], ...] = (Tab("Prompts", prompts), Tab("A file of sentences", batch))
"""In their order."""
