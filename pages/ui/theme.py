"""Colours, fonts and the Altair configuration of every chart, light and dark.

It knows no data. One colour per ability holds on all pages: ICL neutral, TR blue, TL vermillion (Okabe and Ito's
colour-blind safe set, https://jfly.uni-koeln.de/color/); models differ by facet, dash and label, never by colour.
"""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ParamSpec

import altair as alt
import streamlit as st
from altair.utils.schemapi import debug_mode

__all__ = [
    "ABILITIES",
    "ABILITY_BY_SETTING",
    "DARK",
    "LIGHT",
    "Figure",
    "Palette",
    "configured",
    "named_rows",
    "palette_for",
    "remembered",
    "with_rows",
]

ABILITIES = ("ICL", "TR", "TL")
"""The order of every legend, sort and table."""

ABILITY_BY_SETTING = MappingProxyType({"gold": "ICL", "random": "TR", "abstract": "TL"})
"""Which ability a label setting measures (arXiv 2305.09731)."""

P = ParamSpec("P")

Figure = dict[str, Any]
"""A Vega-Lite specification."""

_LATEST = threading.local()
"""Rows by the name under which the layers of a chart refer to them, of each thread's last charts."""
MOST_NAMED = 256


def remembered(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Keeps the figures drawn last: building one takes Altair some hundredths of a second, and its rows say all of it.

    Altair's own checks are left out; the tests validate every kind of chart.
    """

    @functools.wraps(draw)
    def unchecked(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with debug_mode(False):
            return draw(*args, **kwargs)

    kept: Callable[P, Figure] = st.cache_data(max_entries=256, show_spinner=False)(unchecked)
    return kept


def named_rows(rows: Iterable[Mapping[str, Any]]) -> alt.NamedData:
    """Rows as the data of one chart, by name: Altair copies what is inline again with every step of building."""
    values = [dict(row) for row in rows]
    name = f"rows-{hashlib.sha256(repr(values).encode()).hexdigest()[:20]}"
    known: dict[str, list[dict[str, Any]]] = _LATEST.__dict__.setdefault("rows", {})
    known[name] = known.pop(name, values)
    while len(known) > MOST_NAMED:
        del known[next(iter(known))]
    return alt.NamedData(name)


def with_rows(figure: Figure, rows: Iterable[Mapping[str, Any]]) -> Figure:
    """A figure of one data set, drawn without rows and kept, with the rows in it: none of it is built again."""
    (name,) = figure["datasets"]
    return {**figure, "datasets": {name: [dict(row) for row in rows]}}


def _names(specification: Mapping[str, Any]) -> Iterator[str]:
    """The names of the data of a chart and of all its layers."""
    name = specification.get("data", {}).get("name")
    if name is not None:
        yield name
    for part in (*specification.get("layer", ()), *specification.get("vconcat", ()), *specification.get("hconcat", ())):
        yield from _names(part)
    if "spec" in specification:
        yield from _names(specification["spec"])


FONT = '"Source Sans", "Source Sans Pro", system-ui, sans-serif'


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of one theme; all of them reach a contrast of 3:1 on its background where they carry meaning."""

    name: str
    background: str
    ink: str
    soft: str
    grid: str
    icl: str
    tr: str
    tl: str
    shade: str
    states: tuple[str, ...]
    labels: tuple[str, ...]
    ramp: tuple[str, str]

    @property
    def abilities(self) -> list[str]:
        """Colours in the order of ABILITIES."""
        return [self.icl, self.tr, self.tl]


LIGHT = Palette(
    name="light",
    background="#FDFCFA",
    ink="#22262B",
    soft="#6B7076",
    grid="#E9E6E0",
    icl="#2B2F36",
    tr="#0072B2",
    tl="#D55E00",
    shade="#B8860B",
    states=("#2F6F4F", "#C9A227", "#B9BDC2", "#B3261E"),
    labels=("#4C6A92", "#CC79A7", "#009E73", "#A6761D", "#7A68A6", "#8C8C8C", "#66A61E", "#1B6F8F"),
    ramp=("#F1EEE8", "#7A4A00"),
)
DARK = Palette(
    name="dark",
    background="#14161A",
    ink="#ECE8E1",
    soft="#A3A7AD",
    grid="#2B2F36",
    icl="#ECE8E1",
    tr="#56B4E9",
    tl="#FF8A4C",
    shade="#E3B341",
    states=("#6CC39A", "#E3B341", "#4B5058", "#FF8A80"),
    labels=("#8FB3E0", "#E29AC4", "#3CC29A", "#D9B26A", "#B3A4DD", "#A8A8A8", "#A5D86A", "#63BBD6"),
    ramp=("#22252B", "#F2C14E"),
)


def palette_for(theme_type: str | None) -> Palette:
    """The palette of Streamlit's theme name; light where the browser has not said it yet."""
    return DARK if theme_type == "dark" else LIGHT


def configured(chart: Any, palette: Palette) -> Figure:
    """The Vega-Lite specification with the app's fonts and lines, drawn as SVG so that marks can be read aloud.

    Args:
        chart: layers without any configuration of their own.
        palette: colours of the theme.
    """
    axis = {
        "labelFont": FONT,
        "titleFont": FONT,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelColor": palette.soft,
        "titleColor": palette.soft,
        "gridColor": palette.grid,
        "domainColor": palette.grid,
        "tickColor": palette.grid,
        "labelPadding": 6,
        "titlePadding": 10,
    }
    config: dict[str, Any] = {
        "background": "transparent",
        "font": FONT,
        "view": {"stroke": None},
        "axis": axis,
        "axisX": {"grid": False},
        "text": {"font": FONT, "fontSize": 12},
        "title": {
            "font": FONT,
            "fontSize": 13,
            "fontWeight": 600,
            "color": palette.ink,
            "anchor": "start",
            "offset": 8,
        },
        "legend": {"labelFont": FONT, "titleFont": FONT, "labelColor": palette.soft, "titleColor": palette.soft},
    }
    placed: Any = chart.properties(
        autosize=alt.AutoSizeParams(type="fit-x", contains="padding"),  # the height is the plot's, without its axes
        padding={"left": 2, "right": 8, "top": 6, "bottom": 4},
        usermeta={"embedOptions": {"renderer": "svg"}},
    )
    placed.config = alt.Config(**config)
    specification: dict[str, Any] = placed.to_dict(validate=False)  # validated by the tests, which takes its time
    known = _LATEST.__dict__.get("rows", {})
    named = {name: known[name] for name in _names(specification) if name in known}
    return specification | ({"datasets": specification.get("datasets", {}) | named} if named else {})
