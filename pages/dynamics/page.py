"""Dynamics: how do ICL, TR and TL develop over pre-training?"""

from __future__ import annotations

import streamlit as st

from pages.dynamics import details, parts
from pages.ui import blocks, facts, frame, rows
from pages.ui.words import reported

frame.heading("Dynamics", "How do ICL, TR and TL develop over pre-training?")
with reported():
    study = blocks.study_or_stop()
    found = blocks.results_or_stop(study)
    room = st.container()
    with st.container(horizontal=True, vertical_alignment="bottom", key="dynamics-controls"):
        view = parts.view_controls(found)
        look = parts.look_controls(found)
    drawn = parts.curves_of(study, found, view)
    if drawn:
        with room:
            parts.finding(drawn, view)
        draw, chart_rows = parts.main_chart(study, found, drawn, view, look)
        parts.notes_below(found, drawn, study)
        tabs = st.tabs(
            ["Tasks", "Predicted labels", "One checkpoint", "Table and downloads"],
            key="tab",
            on_change="rerun",
            bind="query-params",
        )
        with tabs[0]:
            if tabs[0].open:
                details.small_multiples(found, study, view, look)
        with tabs[1]:
            if tabs[1].open:
                details.label_shares(found, study, view)
        with tabs[2]:
            details.pick_checkpoint(found)
            if tabs[2].open:
                details.checkpoint(found, study, view)
        with tabs[3]:
            if tabs[3].open:
                of = facts.Facts(
                    study, {**facts.of_view(view), "axis": rows.axis_column(parts.checkpoints_of(found), look.quantity)}
                )
                blocks.table(chart_rows, name="curves", of=of, draw=draw)
        parts.how_computed(drawn, view)
    else:
        parts.nothing_complete(found, study)
