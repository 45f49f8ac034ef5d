"""Colours, fonts and the Altair configuration of every chart, light and dark.

It knows no data. One colour per ability holds on all pages: ICL neutral, TR blue, TL vermillion (Okabe and Ito's
colour-blind safe set, https://jfly.uni-koeln.de/color/); models differ by facet, dash and label, never by colour.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import altair as alt
import streamlit as st

__all__ = [
    "ABILITIES",
    "ABILITY_BY_SETTING",
    "DARK",
    "LIGHT",
    "Figure",
    "Palette",
    "configured",
    "palette_for",
    "remembered",
]

ABILITIES = ("ICL", "TR", "TL")
"""The order of every legend, sort and table."""

ABILITY_BY_SETTING = MappingProxyType({"gold": "ICL", "random": "TR", "abstract": "TL"})
"""Which ability a label setting measures (arXiv 2305.09731)."""

Figure = dict[str, Any]
"""A Vega-Lite specification."""

remembered = st.cache_data(max_entries=128, show_spinner=False)
"""Keeps the figures drawn last: building one takes Altair a tenth of a second, and its rows say all about it."""

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
    return specification
