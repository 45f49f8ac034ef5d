"""Parts that several pages share: a finding, a chart with its words, a table with downloads, the empty state."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

import streamlit as st

from icl_core.errors import ObservatoryError
from icl_core.evaluation.coverage import cell_counts
from icl_core.evaluation.study import Study, study_to_json
from pages.ui.charts.marks import PICK
from pages.ui.charts.theme import Figure
from pages.ui.controls import selection
from pages.ui.data import cached
from pages.ui.files import exports
from pages.ui.files.deferred import keep
from pages.ui.files.facts import Facts
from pages.ui.files.sheet import PAPER, Draw, sheet
from pages.ui.words import study_words
from pages.ui.words.written import count, end_page, joined, plain

__all__ = [
    "chart",
    "download",
    "finding",
    "grid",
    "left_out",
    "models_or_stop",
    "offer_results",
    "remarks",
    "results_or_stop",
    "study_or_stop",
    "table",
]

MOST_REMARKS = 3


def finding(sentence: str) -> None:
    """What the numbers say, in a sentence above the main chart."""
    with st.container(key="finding"):
        st.markdown(sentence)


def chart(
    figure: Figure,
    *,
    key: str,
    alt: str,
    on_pick: Callable[[], None] | None = None,
    width: Literal["stretch", "content"] = "stretch",
) -> None:
    """A chart with its takeaway for screen readers, as wide as there is room; a click on a mark calls ``on_pick``.

    The browser builds a chart anew if its specification or its ``alt`` changes; otherwise it puts new rows into the
    chart that is there. So what a slider changes belongs into the rows alone.
    """
    options: dict[str, Any] = {"width": width, "theme": None, "key": key, "alt": alt}
    if on_pick is not None:
        options |= {"on_select": on_pick, "selection_mode": [PICK]}
    with st.container(key=f"chart-{key}"):
        st.vega_lite_chart(None, figure, **options)


def study_or_stop() -> Study:
    """The current study; if the pickers make none, the page says why and ends."""
    try:
        return selection.study_of(selection.current_choice())
    except ObservatoryError as error:
        st.info(plain(str(error)))
        end_page()


def models_or_stop(study: Study) -> tuple[str, ...]:
    """The models with results of the study, none of which is read; without any, the page says what to do and ends."""
    models = cached.models_with_results(study)
    if not models:
        results_or_stop(study)
    return models


def results_or_stop(study: Study, *, model: str | None = None) -> cached.Collected:
    """The study's results, or those of one model alone; if there are none, the page says what to do and ends.

    Of the other models it says only what the index knows: which of them have no results.
    """
    found = cached.collected(study if model is None else cached.of_model(study, model))
    unread = () if model is None else (name for name in cached.models_with_results(study) if name != model)
    for model, problem in found.problems.items():
        st.warning(f"**{plain(model)}** is not shown. {plain(problem)}")
    is_offered = _say_without(study, [*found.predictions, *found.problems, *unread])
    if not found.predictions:
        if not is_offered:
            offer_results(list(found.problems))
        if st.button("Evaluate this study", type="primary", key="evaluate-study"):
            st.switch_page("pages/evaluate/page.py", query_params={})
        end_page()
    remarks(found.told)
    return found


def _say_without(study: Study, having: Sequence[str]) -> bool:
    """Names the study's models without results, and options under which they have some; False if all have results."""
    models = list(dict.fromkeys(ref.model for ref in study.checkpoints))
    without = [model for model in models if model not in having]
    if without and having:
        st.info(f"No results under these options, so not shown: **{plain(joined(without, most=6))}**.")
    elif without:
        st.info(study_words.nothing_computed(cell_counts(cached.completeness(study))))
    if without:
        offer_results(models)
    return bool(without)


def offer_results(models: Sequence[str]) -> None:
    """Under which options these models have results, with a button that takes them; nothing if there are none."""
    better = selection.better_options(models)
    if better is None:
        return
    st.markdown(
        study_words.other_options(better.task, n_shots=better.shots, seeds=better.seeds, n_examples=better.examples)
    )
    st.button("Take the options with results", key="take-options", on_click=selection.take, args=(better,))


def remarks(sentences: Sequence[str]) -> None:
    """What a reader should know of rows, texts and files behind the page; many remarks are folded away."""
    many = len(sentences) > MOST_REMARKS
    with st.expander(f"{len(sentences)} remarks on rows, texts and files") if many else nullcontext():
        for sentence in sentences:
            st.caption(plain(sentence))


def left_out(reasons: Mapping[str, str]) -> None:
    """The checkpoints that are not in the curves, each with its reason."""
    if reasons:
        with st.expander(f"{count(len(reasons), 'checkpoint')} left out"):
            for name, reason in reasons.items():
                st.markdown(f"- **{plain(name)}**: {plain(reason)}")


_PERCENT = ("value", "low", "high", "delta_tr", "delta_tl", "certainty", "ratio", "final_icl")


def table(
    rows: Sequence[Mapping[str, Any]],
    *,
    name: str,
    of: Facts,
    draw: Draw | None,
    columns: int = 1,
    files: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """The rows behind a chart with their downloads; fractions are shown in percent.

    Args:
        rows: with equal columns.
        name: of the files, and of the buttons' keys.
        of: what decides the numbers; its study can be downloaded too.
        draw: gives the charts on the screen in other colours; a file holds all of them, light whatever the theme;
            None if nothing is drawn.
        columns: charts in a row of that file.
        files: further texts in JSON to download, by the words on their buttons.
    """
    config = {column: st.column_config.NumberColumn(format="percent") for column in _PERCENT}
    st.dataframe(list(rows), hide_index=True, column_config=config, height=320, alt=f"Rows of {name}")
    with st.container(horizontal=True):
        download("CSV", lambda: exports.as_csv(of.beside(rows)), name, suffix=".csv", of=of)
        if draw is not None:
            _charts(draw, columns, name, of=of)
        if of.study is not None:
            study = partial(_indented, study_to_json(of.study))
            download("Study as JSON", study, "", suffix=".json", of=Facts(of.study), key=f"{name}-study")
        for title, text in files.items():
            first = title.split()[0].lower()
            download(title, partial(_indented, text), first, suffix=".json", of=of, key=f"{name}-{first}")


def _charts(draw: Draw, columns: int, name: str, *, of: Facts) -> None:
    """The charts on the screen as files; they are drawn when one is asked for."""

    def figure() -> Figure:
        whole = sheet(draw(PAPER), columns=columns)
        return {**whole, "usermeta": {**whole.get("usermeta", {}), "decided by": of.columns}}

    title = "; ".join([name, *(f"{key}: {value}" for key, value in of.columns.items())])
    download("Chart as JSON", lambda: exports.as_json(figure()), name, suffix=".vl.json", of=of)
    if not exports.can_draw():
        st.caption(
            "Charts as HTML and SVG need more packages: `pip install 'icl-observatory[export]'`.", width="content"
        )
        return
    download("Chart as HTML", lambda: exports.as_html(figure(), PAPER, title=title), name, suffix=".html", of=of)
    download("SVG", lambda: exports.as_svg(figure()), name, suffix=".svg", of=of)


def _indented(text: str) -> bytes:
    return json.dumps(json.loads(text), indent=1).encode()


def grid(rows: Sequence[Mapping[str, Any]], *, name: str, of: Facts, **options: Any) -> None:
    """Rows as a table with their CSV file; it replaces the table's own, which a spreadsheet might run as formulas.

    Args:
        rows: with equal columns.
        name: of the file and of the button's key.
        of: what decides the numbers.
        options: of ``st.dataframe``.
    """
    st.dataframe(list(rows), hide_index=True, **options)
    download("CSV", lambda: exports.as_csv(of.beside(rows)), name, suffix=".csv", of=of)


_MEDIA = {"csv": "text/csv", "json": "application/json", "html": "text/html", "svg": "image/svg+xml"}


def download(
    label: str, build: Callable[[], bytes], name: str, *, suffix: str, of: Facts, key: str | None = None
) -> None:
    """A button that gives a file, built when it is clicked; every click finds it, also while the page is drawn anew.

    Args:
        label: of the button.
        build: gives the file's content.
        name: of the file, before what decides its numbers; without ``key`` it keys the button with the suffix, so no
            two on a page are equal.
        suffix: the file's ending, which says what it is.
        of: what decides the numbers.
        key: of the button.
    """
    kind = suffix.rpartition(".")[2]
    key = key or f"{name}-{kind}"
    file_name = of.file_stem(name) + suffix
    st.download_button(label, build, file_name=file_name, mime=_MEDIA[kind], key=key, on_click="ignore")
    keep(build, key)
