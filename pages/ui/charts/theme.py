"""Colours, fonts and the Altair configuration of every chart, light and dark.

It knows no data. One colour per ability holds on all pages: ICL neutral, TR blue, TL vermillion (Okabe and Ito's
colour-blind safe set, https://jfly.uni-koeln.de/color/); models differ by facet, dash and label, never by colour.
"""

from __future__ import annotations

import functools
import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ParamSpec

import altair as alt
import streamlit as st
from altair.utils.schemapi import debug_mode

from icl_core.records import ABILITY_BY_SETTING

__all__ = [
    "ABILITIES",
    "DARK",
    "LIGHT",
    "Figure",
    "Palette",
    "configured",
    "ink_on_ramp",
    "label_colours",
    "named_rows",
    "palette_for",
    "ramp_scale",
    "remembered",
    "with_rows",
]

ABILITIES = tuple(ABILITY_BY_SETTING.values())
"""The order of every legend, sort and table."""

P = ParamSpec("P")

Figure = dict[str, Any]
"""A Vega-Lite specification."""

_LATEST = threading.local()
"""The rows of each thread's last charts, by the name under which the layers of a chart refer to them."""
MOST_NAMED = 256


def remembered(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Keeps the figures drawn last, by their arguments: Altair takes some hundredths of a second to build one.

    Altair's own checks are left out; the tests validate every kind of chart.
    """

    @functools.wraps(draw)
    def unchecked(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with debug_mode(False):
            return draw(*args, **kwargs)

    by_text: Any = {list: repr}  # rows of plain values; Streamlit would hash them value by value
    kept: Callable[P, Figure] = st.cache_data(max_entries=256, show_spinner=False, hash_funcs=by_text)(unchecked)
    return kept


def named_rows(rows: Iterable[Mapping[str, Any]]) -> alt.NamedData:
    """Rows as the data of one chart, by name; Altair would copy inline rows again at every step of building."""
    values = [dict(row) for row in rows]
    name = f"rows-{hashlib.sha256(repr(values).encode()).hexdigest()[:20]}"
    known: dict[str, list[dict[str, Any]]] = _LATEST.__dict__.setdefault("rows", {})
    known[name] = known.pop(name, values)
    while len(known) > MOST_NAMED:
        del known[next(iter(known))]
    return alt.NamedData(name)


def with_rows(figure: Figure, rows: Iterable[Mapping[str, Any]]) -> Figure:
    """A figure of one data set that was drawn without rows, with rows in it; nothing is built again."""
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


_NAMED: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "light": {
            **{"red": "#C62828", "green": "#2E8B3D", "blue": "#1F5FBF", "yellow": "#F2C500", "orange": "#EA7600"},
            **{"purple": "#7B3FA0", "violet": "#7B3FA0", "pink": "#E377B5", "brown": "#7B4A24", "black": "#1B1B1B"},
            **{"white": "#FFFFFF", "grey": "#8A8A8A", "gray": "#8A8A8A", "turquoise": "#2AA7A0", "cyan": "#1FA3B8"},
            **{"gold": "#C9A227", "silver": "#B4B8BD", "beige": "#DCCDA8"},
        },
        "dark": {
            **{"red": "#EF5350", "green": "#4CAF5D", "blue": "#5C95F0", "yellow": "#FFD83D", "orange": "#FF9A3D"},
            **{"purple": "#B47AD6", "violet": "#B47AD6", "pink": "#F5A3CF", "brown": "#A9754A", "black": "#050505"},
            **{"white": "#FAFAFA", "grey": "#9A9A9A", "gray": "#9A9A9A", "turquoise": "#45C7BF", "cyan": "#4CC7DB"},
            **{"gold": "#D9B23C", "silver": "#C3C7CC", "beige": "#E3D6B4"},
        },
    }
)


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of one theme.

    Marks that carry meaning reach a contrast of 3:1 on its background, and words 4.5:1 (WCAG 2.2, 1.4.11 and 1.4.3):
    if the colour of a mark is too light for words, ``*_words`` is a darker one.
    """

    name: str
    background: str
    ink: str
    soft: str
    grid: str
    icl: str
    tr: str
    tl: str
    tl_words: str
    shade: str
    shade_words: str
    states: tuple[str, ...]
    labels: tuple[str, ...]
    ramp: tuple[str, str]
    ramp_turn: float

    @property
    def abilities(self) -> list[str]:
        """Colours of marks in the order of ABILITIES."""
        return [self.icl, self.tr, self.tl]

    @property
    def named(self) -> Mapping[str, str]:
        """The colours that words name, by the word."""
        return _NAMED[self.name]

    @property
    def abilities_words(self) -> list[str]:
        """Colours of words in the order of ABILITIES."""
        return [self.icl, self.tr, self.tl_words]


LIGHT = Palette(
    name="light",
    background="#FDFCFA",
    ink="#22262B",
    soft="#63686E",
    grid="#E9E6E0",
    icl="#2B2F36",
    tr="#0072B2",
    tl="#D55E00",
    tl_words="#B34700",
    shade="#B8860B",
    shade_words="#8A6300",
    states=("#2F6F4F", "#B08A14", "#B9BDC2", "#B3261E"),
    labels=("#4C6A92", "#C26B9B", "#009E73", "#A6761D", "#7A68A6", "#8C8C8C", "#5C981B", "#1B6F8F"),
    ramp=("#F1EEE8", "#7A4A00"),
    ramp_turn=0.77,
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
    tl_words="#FF8A4C",
    shade="#E3B341",
    shade_words="#E3B341",
    states=("#6CC39A", "#E3B341", "#4B5058", "#FF8A80"),
    labels=("#8FB3E0", "#E29AC4", "#3CC29A", "#D9B26A", "#B3A4DD", "#A8A8A8", "#A5D86A", "#63BBD6"),
    ramp=("#22252B", "#F2C14E"),
    ramp_turn=0.5,
)


def palette_for(theme_type: str | None) -> Palette:
    """The palette for Streamlit's name of a theme; light if the browser has not named one yet."""
    return DARK if theme_type == "dark" else LIGHT


def ramp_scale(palette: Palette, **options: Any) -> alt.Scale:
    """The colours of a share, from none to all."""
    return alt.Scale(range=list(palette.ramp), interpolate="rgb", **options)


def ink_on_ramp(palette: Palette, field: str) -> Any:
    """Black or white, whichever can be read on the ramp's colour of a share."""
    dark, light = alt.value("#000000"), alt.value("#FFFFFF")
    first, second = (dark, light) if palette.name == "light" else (light, dark)
    return alt.condition(f"datum.{field} < {palette.ramp_turn}", first, second)


def label_colours(labels: Sequence[str], palette: Palette) -> list[str]:
    """A colour for each label: if its last word names a colour, that one, else the next of the palette.

    >>> label_colours(["red", "no", "light blue"], LIGHT) == [LIGHT.named["red"], LIGHT.labels[0], LIGHT.named["blue"]]
    True
    """
    others = iter(palette.labels * len(labels))
    named = [palette.named.get((label.lower().split() or [""])[-1]) for label in labels]
    return [colour or next(others) for colour in named]


def _units(specification: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The parts of a chart that have a mark."""
    if "mark" in specification:
        yield specification
    for part in (*specification.get("layer", ()), *specification.get("vconcat", ()), *specification.get("hconcat", ())):
        yield from _units(part)


def _speak(unit: dict[str, Any]) -> None:
    """Says of each mark to a screen reader what its tooltip shows, in the same digits, and nothing of the others."""
    encoding, mark = unit.get("encoding", {}), unit["mark"]
    fields = encoding.get("tooltip")
    if mark["type"] == "text" and "field" in encoding.get("text", {}):
        encoding["description"] = {**encoding["text"], "type": "nominal"}
    elif isinstance(fields, list):
        encoding["description"] = {"value": {"expr": " + '; ' + ".join(_spoken(field) for field in fields)}}
    else:
        mark["aria"] = False


def _spoken(field: Mapping[str, Any]) -> str:
    """One field of a tooltip as a Vega expression."""
    value = f"datum[{json.dumps(field['field'])}]"
    shown = f"format({value}, {json.dumps(field['format'])})" if "format" in field else value
    title = field.get("title", field["field"]).strip()
    return f"{json.dumps(f'{title}: ')} + {shown}" if title else f"'' + {shown}"


def configured(chart: Any, palette: Palette) -> Figure:
    """The Vega-Lite specification with the app's fonts and lines, drawn as SVG so that marks can be read aloud.

    Args:
        chart: layers without any configuration of their own; it is given this one.
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
        "axisXQuantitative": {"labelOverlap": "greedy", "labelSeparation": 10},
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
    # Set, where .properties() would copy all the layers first; "fit-x": the height is the plot's, without its axes.
    chart.autosize = alt.AutoSizeParams(type="fit-x", contains="padding")
    chart.padding = {"left": 2, "right": 8, "top": 6, "bottom": 4}
    chart.usermeta = {"embedOptions": {"renderer": "svg"}}
    chart.config = alt.Config(**config)
    specification: dict[str, Any] = chart.to_dict(validate=False)  # validated by the tests, which takes its time
    for unit in _units(specification):
        _speak(unit)
    known = _LATEST.__dict__.get("rows", {})
    named = {name: known[name] for name in _names(specification) if name in known}
    return specification | ({"datasets": specification.get("datasets", {}) | named} if named else {})
