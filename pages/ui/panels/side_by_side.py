"""Drawing several models side by side; the paper page and the competition page share it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import streamlit as st

from icl_core.analysis.comparison import (
    ModelSummary,
    SeedGroup,
    family_occurrence,
    intensity_against_icl,
    seed_groups,
)
from icl_core.analysis.statistics import PearsonResult
from icl_core.errors import ObservatoryError, StudyError
from pages.ui.charts import several
from pages.ui.charts.axes import Quantity, ScaleName, XAxis, percent_domain
from pages.ui.charts.curves import Style, ability_chart
from pages.ui.charts.several import accumulation_chart
from pages.ui.charts.theme import Figure
from pages.ui.controls import selection
from pages.ui.data import compared, rows, suite
from pages.ui.data.compared import Compared
from pages.ui.data.view import View
from pages.ui.files.facts import Facts, of_view, points_of
from pages.ui.files.sheet import Draw, together
from pages.ui.panels import blocks, frame
from pages.ui.words.written import count, decimal, joined, plain

__all__ = [
    "SideBySide",
    "abilities",
    "accumulated",
    "by_factor",
    "correlation_words",
    "multiples",
    "occurrence",
    "scatter",
    "seeds_caption",
    "summary_table",
]

SMALL = 2
"""Small multiples in a row; with two axes each, three leave no room for their curves at 1024 px."""


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Models side by side at one epsilon.

    Attributes:
        found: their trajectories.
        summaries: Eqs. 1-4 of each.
        look: axis of training.
        names: what a model is called in charts, if not by its own name.
    """

    found: Compared
    summaries: Mapping[str, ModelSummary]
    look: tuple[Quantity, ScaleName]
    names: Mapping[str, str]

    def name(self, model: str) -> str:
        """A model as it is called in charts."""
        return self.names.get(model, model)

    def groups_of(self, models: Iterable[str]) -> tuple[SeedGroup, ...]:
        """These models, training seeds of one member of the suite together; a run alone keeps its own name."""
        found = [self.summaries[model] for model in dict.fromkeys(models)]
        alone = seed_groups(found, {model.model: suite.group_of(model.model) for model in found})
        return tuple(group if len(group.runs) > 1 else SeedGroup(group.runs[0].model, group.runs) for group in alone)

    @property
    def groups(self) -> tuple[SeedGroup, ...]:
        """All models."""
        return self.groups_of(self.summaries)

    @property
    def correlation(self) -> PearsonResult:
        """Mean intensity against final ICL over the models."""
        return intensity_against_icl(self.groups)

    @property
    def points(self) -> list[dict[str, Any]]:
        """The points of Fig. 2 right."""
        return compared.point_rows(self.groups, {group.name: self.name(group.name) for group in self.groups})


def correlation_words(result: PearsonResult) -> str:
    """Pearson's r with its interval and n, or why there is none."""
    if result.r is None or result.low is None or result.high is None:
        return f"no correlation can be given over {count(result.n, 'model')} (at least three different ones are needed)"
    r, low, high = (decimal(value, 2) for value in (result.r, result.low, result.high))
    return f"r = **{r}** ({low} to {high}, 95 % bootstrap over n = {result.n} models)"


def _axis(side: SideBySide, models: Sequence[str]) -> tuple[XAxis, str]:
    """The axis of a chart of these models, and why it does not count what was asked for, "" if it does.

    Raises:
        StudyError: there is no axis for all of them.
    """
    wanted, scale = side.look
    checkpoints = [side.found.trajectories[model].checkpoints for model in models]
    quantity, instead = rows.settled([ref for refs in checkpoints for ref in refs], wanted)
    places = [rows.positions(refs, quantity) for refs in checkpoints]
    return rows.training_axis(places, quantity=quantity, scale=scale), instead


def _say(instead: str) -> None:
    if instead:
        st.caption(plain(instead))


def _phases(side: SideBySide, model: str, quantity: Quantity) -> list[dict[str, Any]]:
    return rows.phase_rows(model, rows.positions(side.found.trajectories[model].checkpoints, quantity), quantity)


def scatter(side: SideBySide) -> Draw | None:
    """Fig. 2 right: mean intensity against final ICL."""
    points = side.points
    if not points:
        st.info("No model has TR, TL and ICL results under these options.")
        return None
    draw = partial(several.scatter_chart, points)
    blocks.chart(
        draw(frame.palette()),
        key="scatter",
        alt=f"Mean competition intensity against final ICL of {count(len(side.groups), 'model')}",
    )
    seeds_caption(side.groups)
    return lambda palette: [("Mean intensity against final ICL", draw(palette))]


def occurrence(side: SideBySide) -> Draw:
    """Fig. 2 left: how often TR and TL compete, by family; members of the suite, which differ by design, apart."""
    apart = {group.name: group.name for group in side.groups if suite.member_of(group.runs[0].model)}
    found = family_occurrence(side.groups, families=apart)
    draw = partial(several.occurrence_chart, compared.occurrence_rows(found), runs=compared.run_rows(found))
    blocks.chart(
        draw(frame.palette()), key="occurrence", alt="Share of intervals in which TR and TL compete, by family"
    )
    if any(len(item.runs) > 1 for item in found):
        st.caption("Bars: mean over models or training seeds, with their number at the right; dots: each one.")
    return lambda palette: [("How often TR and TL compete", draw(palette))]


def seeds_caption(groups: Sequence[SeedGroup]) -> None:
    """How many training runs stand behind the models, if any has several."""
    several = [group for group in groups if len(group.runs) > 1]
    if several:
        said = "; ".join(f"{plain(group.name)}: n = {len(group.runs)}" for group in several)
        st.caption(f"Means over training seeds; small marks and thin lines are single seeds. {said}.")


def summary_table(
    side: SideBySide, choice: selection.Choice, draw: Draw | None, *, view: View, columns: int = 1
) -> None:
    """Everything that is compared, a row per model, with downloads of it and of the charts that ``draw`` gives."""
    try:
        study = selection.study_of(selection.for_models(choice, side.summaries))
    except ObservatoryError as error:
        st.info(plain(str(error)))
        return
    lines = compared.summary_rows(side.found, side.summaries)
    epsilon = next(iter(side.summaries.values())).competition.epsilon
    of = Facts(study, {**of_view(view), **points_of(epsilon)})
    blocks.table(lines, name="models", of=of, draw=draw, columns=columns)
    if len(sizes := sorted(set(side.found.n_test.values()))) > 1:
        st.caption(
            f"The models were evaluated on different numbers of test rows per task (at most "
            f"{joined([f'{n:,}' for n in sizes])}; see the table). The fewer rows, the more intervals compete by noise "
            "alone."
        )


def abilities(side: SideBySide, models: Sequence[str], *, title: str) -> None:
    """ICL, TR and TL of each model, one below the other with one vertical scale, without bands."""
    axes = {model: _axis(side, [model]) for model in models}
    by_model = {
        model: compared.ability_rows(side.found.trajectories[model], axis.quantity) for model, (axis, _) in axes.items()
    }
    values = [row["value"] for part in by_model.values() for row in part]
    style = Style(height=190, bands=False, domain=percent_domain(values, values), title=title)
    for model, part in by_model.items():
        st.markdown(f"**{plain(side.name(model))}**")
        axis, instead = axes[model]
        phases = _phases(side, model, axis.quantity)
        figure = ability_chart(part, axis, frame.palette(), style=style, phases=phases)
        blocks.chart(figure, key=f"abilities-{model}", alt=f"ICL, TR and TL of {model} over training")
        _say(instead)


def multiples(side: SideBySide, groups: Sequence[SeedGroup]) -> Draw:
    """Fig. 3: R as an area and ICL as a line, one small chart per model; single training seeds as thin lines."""
    columns = st.columns(SMALL)
    drawn: list[tuple[str, Callable[..., Figure]]] = []
    for index, group in enumerate(groups):
        models = [run.model for run in group.runs]
        axis, instead = _axis(side, models)
        runs = [run.cumulative for run in group.runs]
        r = compared.accumulated_rows(runs, axis.quantity, name=group.name, what="R")
        icl = [side.found.trajectories[model].icl for model in models]
        draw = partial(
            accumulation_chart,
            r,
            compared.accumulated_rows(icl, axis.quantity, name=group.name, what="ICL"),
            axis,
            height=130,
        )
        title = side.name(group.name) + (f" (n = {len(models)})" if len(models) > 1 else "")
        drawn.append((title, draw))
        with columns[index % SMALL]:
            st.markdown(f"**{plain(title)}**")
            blocks.chart(
                draw(palette=frame.palette()), key=f"r-{group.name}", alt=f"R and ICL of {group.name} over training"
            )
            _say(instead)
            if not r:
                st.caption("No competition at this epsilon: R is 0/0 and is not drawn.")
    seeds_caption(groups)
    return lambda palette: [(title, draw(palette=palette)) for title, draw in drawn]


def accumulated(
    side: SideBySide, groups: Sequence[SeedGroup], *, key: str, phases_of: str | None = None
) -> Draw | None:
    """Figs. 4 to 6: R of the models on one axis, and their mean intensities; the phases are those of one model."""
    models = [run.model for group in groups for run in group.runs]
    try:
        axis, instead = _axis(side, models)
    except StudyError as error:
        st.info(plain(str(error)))
        return None
    drawn: list[dict[str, Any]] = []
    said = []
    for group in groups:
        name = side.name(group.name)
        drawn += compared.accumulated_rows([run.cumulative for run in group.runs], axis.quantity, name=name)
        defined, n = sum(bool(run.cumulative) for run in group.runs), len(group.runs)
        undefined = "" if defined else " (no competition at this epsilon: R is 0/0 and is not drawn)"
        seeds = f", {defined} of {n} seeds with any competition" if n > 1 else ""
        intervals = count(group.runs[0].n_intervals, "interval")
        said.append(f"{plain(name)} {group.mean_intensity:.2f} over {intervals}{seeds}{undefined}")
    intensities = f"Mean intensity: {'; '.join(said)}."
    if not drawn:
        st.caption(intensities)
        return None
    shades = _phases(side, phases_of, axis.quantity) if phases_of else []
    draw = partial(several.accumulated_chart, drawn, axis, phases=shades)
    blocks.chart(draw(frame.palette()), key=key, alt=f"Accumulated intensity R of {', '.join(models)}")
    _say(instead)
    st.caption(intensities)
    return lambda palette: [("R over training", draw(palette))]


_MEASURES: Mapping[str, Callable[[SeedGroup], float | None]] = MappingProxyType(
    {
        "Competition ratio": lambda group: group.ratio,
        "Mean intensity": lambda group: group.mean_intensity,
        "ICL at the last checkpoint": lambda group: group.final_icl,
    }
)


def by_factor(side: SideBySide, factor: suite.Factor) -> Draw | None:
    """Figs. 4 to 6 over models that differ in one factor: what competes at each level, and R over training."""
    groups = {group.name: group for group in side.groups}
    lines = suite.lines_of(factor, {name: group.runs[0].model for name, group in groups.items()})
    if not lines:
        st.info(
            f"{factor.axis}: at least two of the compared models must differ in it and in nothing else. Add some "
            "above, or import their results."
        )
    drawn: list[Draw | None] = []
    for title, found in lines.items():
        levels = [(level, groups[name]) for level, name in found]
        st.markdown(f"**{plain(title)}**, by {plain(factor.axis.lower())}")
        drawn.append(_levels(title, factor, levels))
        models = sorted((group.runs[0].model for _, group in levels), key=suite.varies)
        phased = next((model for model in models if suite.phases_of(model)), None)
        drawn.append(accumulated(side, [group for _, group in levels], key=f"factor-{title}", phases_of=phased))
        if phased is not None:
            st.caption(f"Shaded: the phases of {plain(phased)}.")
    if lines:
        st.caption(
            f"Bars: mean over the n training seeds of a level; dots: each seed. {factor.said} With one seed per "
            "level, the spread between training runs is unknown; it takes three or more to say that levels differ."
        )
    return together(*drawn)


def _levels(title: str, factor: suite.Factor, levels: Sequence[tuple[str, SeedGroup]]) -> Draw:
    """The three measures at each level of a factor, side by side."""
    drawn = {
        measure: partial(
            several.level_chart,
            compared.level_rows(levels, value),
            title=measure,
            percent=measure != "Mean intensity",
        )
        for measure, value in _MEASURES.items()
    }
    for column, (measure, draw) in zip(st.columns(len(drawn)), drawn.items(), strict=True):
        with column:
            alt = f"{measure} by {factor.axis.lower()}"
            blocks.chart(draw(frame.palette()), key=f"level-{title}-{measure}", alt=alt)
    return lambda palette: [("", draw(palette)) for draw in drawn.values()]
