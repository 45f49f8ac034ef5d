"""What the competition page shows of one model at one epsilon, computed once for the panels and the tabs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from icl_core.analysis.competition import Competition, EpsilonCurves, NoiseFloor, competition, noise_floor_of
from icl_core.analysis.predictions import Predictions
from icl_core.analysis.trajectories import AbilityCurves
from icl_core.errors import StudyError
from icl_core.evaluation.study import Study
from icl_core.records import CheckpointRef
from pages.competition import sentences
from pages.ui.charts.axes import Quantity, ScaleName, XAxis
from pages.ui.controls import analysis
from pages.ui.data import cached, rows
from pages.ui.data.view import View

__all__ = ["ModelCompetition", "compute"]


@dataclass(frozen=True, slots=True)
class ModelCompetition:
    """Competition of TR and TL in one model.

    Attributes:
        study: the one that the model is part of.
        view: tasks and measure.
        model: whose trajectories.
        curves: ICL, TR and TL.
        pair: TR and TL at the checkpoints that are complete in both.
        result: Eqs. 1-4 at the chosen epsilon.
        floor: what noise alone gives at the same epsilon.
        at_epsilon: the range that noise alone gives.
        places: of the checkpoints on the axis of training.
        steps: of the checkpoints on an axis of steps.
        axis: of training.
        title: of the measure.
        instead: why the axis does not count what was asked for, "" if it does.
    """

    study: Study
    view: View
    model: str
    curves: AbilityCurves
    pair: cached.Paired
    result: Competition
    floor: NoiseFloor
    at_epsilon: EpsilonCurves
    places: Mapping[CheckpointRef, float]
    steps: Mapping[CheckpointRef, float]
    axis: XAxis
    title: str
    instead: str

    def intervals(self, places: Mapping[CheckpointRef, float]) -> list[dict[str, Any]]:
        """One row for each interval, with its certainty."""
        certainty = self.floor.interval_certainty.tolist()
        return rows.interval_rows(self.result, self.pair.checkpoints, places, certainty=certainty)


def compute(
    study: Study, predictions: Predictions, *, view: View, axis: tuple[Quantity, ScaleName], epsilon: float
) -> ModelCompetition:
    """Everything that the page shows of a model at this epsilon.

    Raises:
        StudyError: fewer than two checkpoints have TR and TL.
    """
    model = predictions.model
    pair = cached.paired(study, model, view)
    at_epsilon = cached.against_epsilon(study, model, view, epsilons=(epsilon,))
    if pair.replicates is None or at_epsilon is None:
        raise StudyError(sentences.too_few(model, len(pair.checkpoints)))
    wanted, scale = axis
    quantity, instead = rows.settled(predictions.checkpoints, wanted)
    places = rows.positions(predictions.checkpoints, quantity)
    return ModelCompetition(
        study=study,
        view=view,
        model=model,
        curves=cached.curves(study, model, view),
        pair=pair,
        result=competition(pair.tr, pair.tl, epsilon=epsilon),
        floor=noise_floor_of(pair.replicates, epsilon=epsilon),
        at_epsilon=at_epsilon,
        places=places,
        steps=rows.positions(predictions.checkpoints, "step"),
        axis=rows.training_axis([places], quantity=quantity, scale=scale),
        title=analysis.MEASURE_TITLES[view.measure],
        instead=instead,
    )
