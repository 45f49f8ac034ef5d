"""Parts that several pages share: a finding, a chart with its words, a table with downloads, the empty state."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

import altair
import streamlit as st

from icl_core.errors import ObservatoryError
from icl_core.evaluation.study import Study, study_to_json
from pages.ui import cached, selection
from pages.ui.charts import PICK
from pages.ui.rows import as_csv
from pages.ui.sheet import PAPER, Draw, sheet, with_font
from pages.ui.theme import Figure
from pages.ui.words import count, plain

__all__ = ["chart", "finding", "left_out", "results_or_stop", "study_or_stop", "table"]


def finding(sentence: str) -> None:
    """The page's one sentence, computed, before its main chart."""
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

    The browser builds a chart anew when its specification or its ``alt`` changes, and otherwise moves new named rows
    into the one that is there: under a slider, what the slider changes belongs into neither.
    """
    options: dict[str, Any] = {"width": width, "theme": None, "key": key, "alt": alt}
    if on_pick is not None:
        options |= {"on_select": on_pick, "selection_mode": [PICK]}
    with st.container(key=f"chart-{key}"):
        st.vega_lite_chart(None, {**figure, "description": alt}, **options)


def study_or_stop() -> Study:
    """The current study; where it is none, the reason in a sentence, and the page ends."""
    try:
        return selection.study_of(selection.current_choice())
    except ObservatoryError as error:
        st.info(plain(str(error)))
        st.stop()


def results_or_stop(study: Study) -> cached.Collected:
    """The study's results; where there are none, what to do, with one button, and the page ends."""
    found = cached.collected(study)
    for model, problem in found.problems.items():
        st.warning(f"**{plain(model)}** is not shown. {plain(problem)}")
    if not found.predictions:
        if not found.problems:
            counts = cached.completeness(study)
            total = sum(pair[1] for pair in counts.values())
            st.info(f"Nothing of this study is computed yet: {count(total, 'cell')} are missing.")
        if st.button("Evaluate this study", type="primary", key="evaluate-study"):
            st.switch_page("pages/evaluate/page.py", query_params={})
        st.stop()
    return found


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
    draw: Draw | None,
    columns: int = 1,
    study: Study | None = None,
    files: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """The rows behind a chart with their downloads; fractions are shown in percent.

    Args:
        rows: with equal columns.
        name: of the files, and of the buttons' keys.
        draw: gives the charts on the screen in other colours; a file holds all of them, light whatever the theme;
            None where nothing is drawn.
        columns: charts in a row of that file.
        study: what the rows are of, to be downloaded beside them.
        files: further texts in JSON to download, by the words on their buttons.
    """
    config = {column: st.column_config.NumberColumn(format="percent") for column in _PERCENT}
    st.dataframe(list(rows), hide_index=True, column_config=config, height=320, alt=f"Rows of {name}")
    with st.container(horizontal=True):
        st.download_button("CSV", lambda: as_csv(rows), file_name=f"{name}.csv", mime="text/csv", key=f"{name}-csv")
        if draw is not None:
            _charts(draw, columns, name)
        texts = dict(files) if study is None else {"Study as JSON": study_to_json(study), **files}
        for title, text in texts.items():
            st.download_button(
                title,
                partial(_indented, text),
                file_name=f"{title.split()[0].lower()}.json",
                mime="application/json",
                key=f"{name}-{title.split()[0].lower()}",
            )


def _charts(draw: Draw, columns: int, name: str) -> None:
    """The charts on the screen as files; they are drawn when one is asked for."""

    def figure() -> Figure:
        return sheet(draw(PAPER), columns=columns)

    st.download_button(
        "Chart as JSON",
        lambda: json.dumps(figure()).encode(),
        file_name=f"{name}.vl.json",
        mime="application/json",
        key=f"{name}-json",
    )
    st.download_button(
        "Chart as HTML",
        lambda: altair.Chart.from_dict(figure()).to_html().encode(),
        file_name=f"{name}.html",
        mime="text/html",
        key=f"{name}-html",
    )
    st.download_button(
        "SVG",
        lambda: _svg(figure()),
        file_name=f"{name}.svg",
        mime="image/svg+xml",
        key=f"{name}-svg",
    )


def _indented(text: str) -> bytes:
    return json.dumps(json.loads(text), indent=1).encode()


def _svg(figure: Figure) -> bytes:
    import vl_convert

    return with_font(vl_convert.vegalite_to_svg(figure)).encode()
