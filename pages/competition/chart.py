"""The three panels of the competition page over one axis of training."""

from __future__ import annotations

from typing import Any

import streamlit as st

from pages.competition import sentences, vega
from pages.competition.computed import ModelCompetition
from pages.ui.charts.curves import Style, ability_chart
from pages.ui.charts.several import accumulation_chart
from pages.ui.charts.theme import Palette
from pages.ui.data import rows
from pages.ui.files.sheet import Panel
from pages.ui.panels import blocks, frame
from pages.ui.words.written import checkpoint_name, count, plain

__all__ = ["drawn", "panels"]


def panels(competing: ModelCompetition) -> None:
    """Trajectories with competing intervals shaded, C^S as bars, and R over ICL; one axis for all three."""
    trajectories, intensity, accumulation = (figure for _, figure in drawn(competing, frame.palette()))
    n = int(competing.result.indicator.sum())
    blocks.chart(
        trajectories, key="trajectories", alt=f"TR, TL and ICL of {competing.model}; {count(n, 'interval')} shaded"
    )
    blocks.chart(
        intensity,
        key="intensity",
        alt=f"Competition intensity of each interval, mean {competing.result.mean_intensity:.2f}",
    )
    blocks.chart(
        accumulation, key="accumulation", alt="Accumulated competition intensity R and ICL accuracy over training"
    )
    if competing.instead:
        st.caption(plain(competing.instead))
    if competing.result.cumulative_by_checkpoint is None:
        st.caption("No competition at this epsilon: R is 0/0 and is not drawn.")
    st.caption(sentences.shading())


def drawn(competing: ModelCompetition, palette: Palette) -> list[Panel]:
    """The three panels in the colours of a palette."""
    parts = competing.intervals(competing.places)
    shades = [
        {
            "x": row["x"],
            "x2": row["x2"],
            "strength": 0.85 if clear else 0.35,
            "text": sentences.certainty(row["text"], row["certainty"]),
        }
        for row, clear in zip(parts, competing.floor.clear, strict=True)
        if row["competes"]
    ]
    curve_rows = rows.curve_rows(competing.curves, competing.places)
    trajectories = ability_chart(
        curve_rows,
        competing.axis,
        palette,
        style=Style(height=240, x_labels=False, title=competing.title),
        references=rows.reference_rows(competing.curves)[:1],
        phases=shades,
        boundaries=rows.phase_rows(competing.model, competing.places, competing.axis.quantity),
    )
    accuracy = [row for row in curve_rows if row["ability"] == "ICL"]
    icl = [{"x": row["x"], "value": row["value"], "text": f"ICL at {row['checkpoint']}"} for row in accuracy]
    accumulation = accumulation_chart(accumulated(competing), icl, competing.axis, palette=palette)
    return [
        ("", trajectories),
        ("", vega.intensity_chart(parts, competing.axis, palette)),
        ("", accumulation),
    ]


def accumulated(competing: ModelCompetition) -> list[dict[str, Any]]:
    """R at each checkpoint; empty if it is undefined."""
    values = competing.result.cumulative_by_checkpoint
    if values is None:
        return []
    return [
        {"x": competing.places[ref], "value": float(value), "text": f"R at {checkpoint_name(ref)}"}
        for ref, value in zip(competing.pair.checkpoints, values, strict=True)
    ]
