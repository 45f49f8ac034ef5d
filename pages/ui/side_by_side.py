"""Drawing several models side by side; the paper page and the competition page share it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from icl_core.analysis.comparison import ModelSummary, family_occurrence, intensity_against_icl
from icl_core.analysis.statistics import PearsonResult
from icl_core.errors import ObservatoryError
from pages.ui import blocks, charts, charts_compared, charts_competition, compared, frame, rows, selection
from pages.ui.axes import Quantity, ScaleName, XAxis, percent_domain, x_axis
from pages.ui.compared import Compared
from pages.ui.words import count, plain

__all__ = [
    "SideBySide",
    "abilities",
    "accumulated",
    "correlation_words",
    "multiples",
    "occurrence",
    "scatter",
    "summary_table",
]

SMALL = 3
"""Small multiples in a row."""


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Models side by side at one epsilon.

    Attributes:
        found: their trajectories.
        summaries: Eqs. 1-4 of each.
        look: axis of training.
        names: what a model is called in charts, where that is not its name.
    """

    found: Compared
    summaries: Mapping[str, ModelSummary]
    look: tuple[Quantity, ScaleName]
    names: Mapping[str, str]

    def name(self, model: str) -> str:
        """A model as it is called in charts."""
        return self.names.get(model, model)

    @property
    def correlation(self) -> PearsonResult:
        """Mean intensity against final ICL over the models."""
        return intensity_against_icl(list(self.summaries.values()))


def correlation_words(result: PearsonResult) -> str:
    """Pearson's r with its interval and n, or why there is none."""
    if result.r is None or result.low is None or result.high is None:
        return f"no correlation can be given over {count(result.n, 'model')} (three that differ are needed)"
    words = f"r = **{result.r:.2f}** ({result.low:.2f} to {result.high:.2f}, 95 % bootstrap over n = {result.n} models)"
    return words.replace("-", "−")


def _axis(side: SideBySide, models: Sequence[str]) -> XAxis:
    quantity, scale = side.look
    places = [
        place
        for model in models
        for place in rows.positions(side.found.trajectories[model].checkpoints, quantity).values()
    ]
    return x_axis(places, quantity=quantity, scale=scale)


def _phases(side: SideBySide, model: str) -> list[dict[str, Any]]:
    quantity = side.look[0]
    return rows.phase_rows(model, rows.positions(side.found.trajectories[model].checkpoints, quantity), quantity)


def scatter(side: SideBySide) -> None:
    """Fig. 2 right: mean intensity against final ICL."""
    points = compared.point_rows(side.summaries, side.names)
    if not points:
        st.info("No model has TR, TL and ICL results under these options.")
        return
    blocks.chart(
        charts_compared.scatter_chart(points, frame.palette()),
        key="scatter",
        alt=f"Mean competition intensity against final ICL of {count(len(points), 'model')}",
    )


def occurrence(side: SideBySide) -> None:
    """Fig. 2 left: how often TR and TL compete, by family."""
    found = compared.occurrence_rows(family_occurrence(list(side.summaries.values())))
    figure = charts_compared.occurrence_chart(found, frame.palette())
    blocks.chart(figure, key="occurrence", alt="Share of intervals in which TR and TL compete, by family")


def summary_table(side: SideBySide, choice: selection.Choice) -> None:
    """Everything that is compared, a row a model, with downloads."""
    points = compared.point_rows(side.summaries, side.names)
    try:
        study = compared.study_of_model(choice, next(iter(side.summaries)))
    except ObservatoryError as error:
        st.info(plain(str(error)))
        return
    figure = charts_compared.scatter_chart(points, frame.palette())
    blocks.table(compared.summary_rows(side.found, side.summaries), name="models", figure=figure, study=study)


def abilities(side: SideBySide, models: Sequence[str], *, title: str) -> None:
    """ICL, TR and TL of each model, one below the other with one vertical scale, without bands."""
    by_model = {model: compared.ability_rows(side.found.trajectories[model], side.look[0]) for model in models}
    values = [row["value"] for part in by_model.values() for row in part]
    style = charts.Style(height=190, bands=False, domain=percent_domain(values, values), title=title)
    for model, part in by_model.items():
        st.markdown(f"**{plain(side.name(model))}**")
        figure = charts.ability_chart(
            part, _axis(side, [model]), frame.palette(), style=style, phases=_phases(side, model)
        )
        blocks.chart(figure, key=f"abilities-{model}", alt=f"ICL, TR and TL of {model} over training")


def multiples(side: SideBySide, models: Sequence[str]) -> None:
    """Fig. 3: R as an area and ICL as a line, one small chart a model."""
    columns = st.columns(SMALL)
    for index, model in enumerate(models):
        trajectory, summary = side.found.trajectories[model], side.summaries[model]
        drawn = compared.accumulated_rows(trajectory, summary, side.look[0])
        icl = compared.icl_rows(trajectory, side.look[0])
        figure = charts_competition.accumulation_chart(drawn, icl, _axis(side, [model]), frame.palette(), height=130)
        with columns[index % SMALL]:
            st.markdown(f"**{plain(side.name(model))}**")
            blocks.chart(figure, key=f"r-{model}", alt=f"R and ICL of {model} over training")
            if not drawn:
                st.caption("No competition at this epsilon: R is 0/0 and is not drawn.")


def accumulated(side: SideBySide, models: Sequence[str], *, key: str, phases_of: str | None = None) -> None:
    """Figs. 4 to 6: R of the models on one axis, and their mean intensities; the phases are those of one model."""
    drawn: list[dict[str, Any]] = []
    said = []
    for model in models:
        summary = side.summaries[model]
        part = compared.accumulated_rows(side.found.trajectories[model], summary, side.look[0], name=side.name(model))
        drawn += part
        undefined = "" if part else " (no competition at this epsilon: R is 0/0 and is not drawn)"
        said.append(
            f"{plain(side.name(model))} {summary.competition.mean_intensity:.2f} over "
            f"{count(summary.n_intervals, 'interval')}{undefined}"
        )
    if drawn:
        shades = _phases(side, phases_of) if phases_of else []
        figure = charts_compared.accumulated_chart(drawn, _axis(side, models), frame.palette(), phases=shades)
        blocks.chart(figure, key=key, alt=f"Accumulated intensity R of {', '.join(models)}")
    st.caption(f"Mean intensity: {'; '.join(said)}.")
