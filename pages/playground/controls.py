"""The controls of the playground: two checkpoints, demonstrations, labels, the sentence, and w."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from icl_core.analysis.predictions import Normalisation
from icl_core.errors import ObservatoryError, StudyError
from icl_core.evaluation.playground import (
    MAX_DEMONSTRATIONS,
    OWN_NAME,
    Question,
    strongest_checkpoint,
    task_demonstrations,
)
from icl_core.evaluation.study import MAX_SEED
from icl_core.models.listing import embedded_members
from icl_core.records import CheckpointRef, LabelSetting
from icl_core.registry.tasks import get_task, list_tasks
from pages.ui.controls.analysis import normalisation_control
from pages.ui.controls.pickers import one_of
from pages.ui.data import cached
from pages.ui.words.written import checkpoint_name, plain, task_title

__all__ = ["Demonstrations", "demonstrations", "members", "question", "weight_control", "weight_shown"]

TASK, OWN, NONE = "A task's", "My own", "None"
START_WEIGHT = 0.5


@dataclass(frozen=True, slots=True)
class Demonstrations:
    """The demonstrations and what keys their random labels and symbols."""

    name: str
    seed: int
    labels: tuple[str, ...]
    rows: tuple[tuple[str, str], ...]


def _models() -> list[str]:
    """Models whose checkpoints can be listed without a network, those of the study first."""
    named = [*st.session_state["model"], *embedded_members(), *cached.stored_models()]
    return [name for name in dict.fromkeys(named) if cached.checkpoints_of(name)]


def members() -> tuple[CheckpointRef, CheckpointRef]:
    """The two checkpoints.

    Raises:
        StudyError: there is no model to choose.
    """
    names = _models()
    if not names:
        raise StudyError("There is no model to ask: pick one under Models in the sidebar.")
    tr_column, tl_column = st.columns(2)
    with tr_column:
        tr = _member("TR", "play_tr", "random", names=names)
    with tl_column:
        tl = _member("TL", "play_tl", "abstract", names=names)
    return tr, tl


def _member(role: str, key: str, setting: LabelSetting, *, names: list[str]) -> CheckpointRef:
    left, right = st.columns(2)
    model = one_of(
        f"{role} model", names, key=key, at=left,
        help="Asked under random labels: it has to recognise the task." if role == "TR"
        else "Asked under symbols: it has to learn the task from the demonstrations.",
    )  # fmt: skip
    refs = {checkpoint_name(ref): ref for ref in cached.checkpoints_of(model)}
    best = strongest_checkpoint(cached.summaries(), model, setting)
    start = next((at for at, ref in enumerate(refs.values()) if ref == best), len(refs) - 1)
    place = f"{key}_at"
    chosen = one_of(
        f"{role} checkpoint", list(refs), default=list(refs)[start], key=place, at=right,
        help=f"The default is the checkpoint with the highest {role} accuracy in the store.",
    )  # fmt: skip
    return refs[chosen]


def demonstrations() -> Demonstrations:
    """A task's demonstrations as the evaluation draws them, the user's own in a table, or none.

    Raises:
        ObservatoryError: the task's rows are not on this machine.
    """
    way = st.segmented_control(
        "Demonstrations", [TASK, OWN, NONE], default=TASK, required=True, key="demos", bind="query-params"
    )
    if way == TASK:
        return _of_task()
    start = _usual_task(_single_text_tasks())
    left, right = st.columns([1, 3])
    with left:
        labels = _labels(start)
        seed = _seed()
    with right:
        rows = _own_rows(start, labels) if way == OWN else ()
        if way == NONE:
            st.caption("Without demonstrations the TL checkpoint cannot know what the symbols stand for.")
    return Demonstrations(OWN_NAME, seed, labels, rows)


def _single_text_tasks() -> list[str]:
    return [name for name, task in list_tasks().items() if not task.is_pair]


def _usual_task(names: list[str]) -> str:
    """The study's first task that is one of these, else the first of them."""
    return next((name for name in st.session_state["task"] if name in names), names[0])


def _of_task() -> Demonstrations:
    names = _single_text_tasks()
    left, middle, right = st.columns([2, 1, 1])
    name = one_of("Task", names, default=_usual_task(names), format_func=task_title, key="play_task", at=left)
    with middle:
        seed = _seed()
    n_shots = right.number_input(
        "How many", 0, MAX_DEMONSTRATIONS, value=min(int(st.session_state["shots"]), MAX_DEMONSTRATIONS),
        key="play_shots", bind="query-params",
    )  # fmt: skip
    try:
        rows = _drawn(name, int(n_shots), seed)
    except ObservatoryError as error:
        raise StudyError(f"The rows of {name} are not on this machine, so they cannot be shown: {error}") from error
    return Demonstrations(name, seed, get_task(name).words(), rows)


@st.cache_data(max_entries=64, show_spinner="Reading the task")
def _drawn(name: str, n_shots: int, seed: int) -> tuple[tuple[str, str], ...]:
    return task_demonstrations(name, n_shots=n_shots, demo_seed=seed)


def _seed() -> int:
    return int(
        st.number_input(
            "Seed", 0, MAX_SEED, value=13, key="play_seed", bind="query-params",
            help="Decides which demonstrations, random labels and symbols are drawn.",
        )
    )  # fmt: skip


def _labels(task: str) -> tuple[str, ...]:
    text_of_labels = st.text_area(
        "Labels, one per line",
        "\n".join(get_task(task).words()),
        height=120,
        key="play_labels",
        persist_state="session",
    )
    return tuple(line.strip() for line in text_of_labels.splitlines() if line.strip())


def _own_rows(task: str, labels: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """The rows of the table; empty ones are passed over."""
    try:
        start = _drawn(task, 2, 13)
    except ObservatoryError:
        start = (("", ""),)
    edited = st.data_editor(
        [{"text": text, "label": label} for text, label in start],
        num_rows="dynamic",
        hide_index=True,
        height=190,
        key="play_rows",
        column_config={
            "text": st.column_config.TextColumn("Text", width="large"),
            "label": st.column_config.SelectboxColumn("Label", options=list(labels)),
        },
        alt="Your own demonstrations",
    )
    rows: list[dict[str, Any]] = list(edited)
    pairs = [(str(row.get("text") or ""), str(row.get("label") or "")) for row in rows]
    return tuple(pair for pair in pairs if any(pair))


def _text(found: Demonstrations) -> str:
    """The sentence; a first one comes from the task's test rows."""
    start = next(iter(cached.texts(found.name, None, "test").values()), "") if found.name != OWN_NAME else ""
    return str(
        st.text_area(
            "Your sentence", start, height=80, key="say", persist_state="session",
            help="Line breaks become spaces, as in the evaluation.",
        )
    )  # fmt: skip


def _network(refs: tuple[CheckpointRef, ...]) -> bool:
    """Whether only this machine may be used: the Hub is asked for nothing until the user allows it."""
    if all(ref.source in ("embedded", "folder", "gguf") for ref in refs):
        return True
    return not st.toggle(
        "Download what is not on this machine", key="play_download", bind="query-params",
        help=f"From the Hub: {plain(', '.join(dict.fromkeys(ref.location for ref in refs if ref.source == 'hub')))}.",
    )  # fmt: skip


def question(tr: CheckpointRef, tl: CheckpointRef, found: Demonstrations) -> Question:
    """The sentence, and all of it as one value."""
    sentence = _text(found)
    return Question(
        tr=tr,
        tl=tl,
        texts=(sentence,),
        labels=found.labels,
        demonstrations=found.rows,
        name=found.name,
        demo_seed=found.seed,
        offline=_network((tr, tl)),
    )


def weight_control() -> tuple[float, Normalisation]:
    """The weight of TR in the fusion, and the label score."""
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    weight = left.slider(
        "w: weight of TR in the fusion", 0.0, 1.0, START_WEIGHT, step=0.01, format="%.2f", key="play_w",
        bind="query-params", help="fused = w · TR + (1 − w) · TL. Moving w does not ask the models again.",
    )  # fmt: skip
    with right:
        return float(weight), normalisation_control()


def weight_shown() -> tuple[float, Normalisation]:
    """Both as they stand beside the bars, or their first values if no bars are drawn."""
    return float(st.session_state.get("play_w", START_WEIGHT)), st.session_state.get("norm", "sum")
