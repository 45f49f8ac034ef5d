"""What stands around every page: the style sheet, and in the sidebar the current study in five lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import streamlit as st

from icl_core.errors import ObservatoryError
from icl_core.evaluation.coverage import cell_counts
from pages.ui.charts.theme import Palette, palette_for
from pages.ui.controls import kept, selection
from pages.ui.data import cached
from pages.ui.panels import jobs
from pages.ui.words import study_words
from pages.ui.words.written import end_page, joined, plain, reported, task_title

__all__ = ["draw", "heading", "palette", "say_troubles"]

STYLE = Path(__file__).with_name("style.css")


def palette() -> Palette:
    """The colours of the theme that the browser shows."""
    return palette_for(st.context.theme.type)


def heading(title: str, question: str) -> None:
    """A page's title and the question that it answers."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="heading"):
        st.title(title, anchor=False, width="content")
        st.caption(question, width="content")


@contextmanager
def _line(name: str, value: str) -> Iterator[None]:
    with st.expander(f"**{name}**  {plain(value)}", type="compact", key=f"line-{name.lower()}"):
        yield


def draw(page: str) -> tuple[str, ...]:
    """The style sheet and the study's five lines; every page has every picker.

    Args:
        page: name of the page that is drawn.

    Returns:
        What it has said about the store, for ``say_troubles`` after the page.
    """
    st.html(STYLE)
    with reported():
        cached.store()  # before the sidebar, so that the page itself says what takes time when it is first opened
    with st.sidebar:
        try:
            kept.keep_in_url(page)
            models = st.session_state.get("model", ()) or _models_in_url()
            selection.note_models(models)
            with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
                st.header("Study", anchor=False, width="content")
                room = st.container(width="content")
            _pickers(selection.defaults_for(models))
            kept.remember(page)
            with room:
                kept.undo_button()
            jobs.line(_completeness)
            return say_troubles()
        except ObservatoryError as error:
            st.error(plain(str(error)))
    end_page()


def say_troubles(said: Sequence[str] = ()) -> tuple[str, ...]:
    """Says in the sidebar what is wrong with the store, unless it was said before; gives all of it."""
    found = cached.troubles()
    for words in found:
        if words not in said:
            st.sidebar.warning(plain(words))
    return found


def _models_in_url() -> Sequence[str]:
    known = set(selection.model_options())
    return [name for name in st.query_params.get_all("model") if name in known]


def _pickers(defaults: selection.Defaults) -> None:
    held = {name: st.session_state.get(name, getattr(defaults, name)) for name in selection.KEYS}
    models = [*held["model"], *([Path(held["local"]).name] if held["local"].strip() else [])]
    with _line("Models", joined(models, most=2) or "none"):
        for name in ("model", "local", "name", "order"):
            selection.field(name, "sidebar", defaults)
    with _line("Checkpoints", held["checkpoints"]):
        selection.field("checkpoints", "sidebar", defaults)
    tasks = [task_title(name) for name in held["task"]]
    with _line("Tasks", joined(tasks, most=1) or "none"):
        selection.field("task", "sidebar", defaults)
    words = f"{'/'.join(held['setting'])}, {held['shots']} shots"
    with _line("Settings", words if len(held["setting"]) < 3 else f"all three, {held['shots']} shots"):
        for name in ("setting", "seeds", "shots", "examples", *selection.MORE):
            selection.field(name, "sidebar", defaults)
    if any(list(_many(st.session_state[name])) != list(_many(held[name])) for name in selection.KEYS):
        st.rerun()  # a first visit by URL: the lines above were labelled before their pickers had read it


def _many(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else [value]


def _completeness() -> None:
    try:
        counts = cell_counts(cached.completeness(selection.study_of(selection.current_choice())))
    except ObservatoryError as error:
        with _line("Results", "not a study yet"):
            st.warning(plain(str(error)))
        return
    with _line("Results", study_words.stored_cells(counts)):
        st.progress(counts.share_stored)
        st.caption(study_words.complete_checkpoints(counts))
        if counts.n_missing:
            st.page_link("pages/evaluate/page.py", label="Evaluate what is missing")
