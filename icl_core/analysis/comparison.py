"""Competition compared across models and factors: mean intensity against final ICL, fewer checkpoints.

It summarises trajectories; curves with bands and the noise floor of one model are elsewhere. Source: arXiv
2406.14022, Figs. 2-6 and Table 7. Values are computed once a model, so that moving epsilon costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from icl_core.analysis.competition import Competition, CompetitionMeasures, competition, competition_measures
from icl_core.analysis.predictions import Normalisation, Predictions
from icl_core.analysis.statistics import Measure, PearsonResult, pearson
from icl_core.analysis.trajectories import setting_values
from icl_core.errors import StudyError
from icl_core.records import CheckpointRef

__all__ = [
    "FamilyOccurrence",
    "ModelSummary",
    "ModelTrajectory",
    "evenly_spread",
    "family_occurrence",
    "intensity_against_icl",
    "model_trajectory",
    "subsample",
    "summarise",
]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ModelTrajectory:
    """TR, TL and ICL of one model at the checkpoints that are complete in TR and TL.

    Attributes:
        model: unique name.
        family: its family.
        tasks: tasks in the mean.
        checkpoints: in the order of training.
        tr: (n_checkpoints,) mean over tasks and seeds, fraction.
        tl: (n_checkpoints,) the same under abstract labels.
        tr_by_task: (n_tasks, n_checkpoints) mean over seeds.
        tl_by_task: the same under abstract labels.
        icl: gold value of those of the checkpoints that are complete in gold.
    """

    model: str
    family: str
    tasks: tuple[str, ...]
    checkpoints: tuple[CheckpointRef, ...]
    tr: FloatArray
    tl: FloatArray
    tr_by_task: FloatArray
    tl_by_task: FloatArray
    icl: Mapping[CheckpointRef, float]

    def competition_by_task(self, *, epsilon: float) -> CompetitionMeasures:
        """Eqs. 2-3 on every task's own trajectory, (n_tasks, n_intervals): another quantity than on the mean."""
        return competition_measures(np.diff(self.tr_by_task), np.diff(self.tl_by_task), epsilon=epsilon)


def model_trajectory(
    predictions: Predictions,
    *,
    measure: Measure = "accuracy",
    normalisation: Normalisation = "sum",
    task: str | Sequence[str] | None = None,
    demo_seeds: Sequence[int] | None = None,
) -> ModelTrajectory:
    """The values that everything here is computed from; arguments as in ``trajectories.ability_curves``.

    Raises:
        StudyError: fewer than two checkpoints are complete in both TR and TL.
    """
    gold, tr, tl = (
        setting_values(
            predictions, setting, measure=measure, normalisation=normalisation, task=task, demo_seeds=demo_seeds
        )
        for setting in ("gold", "random", "abstract")
    )
    both = [ref for ref in tr.checkpoints if ref in tl.checkpoints]
    if len(both) < 2:
        raise StudyError(
            f"{predictions.model} has {len(both)} checkpoints with complete TR and TL results on the chosen tasks and "
            "seeds; competition needs two."
        )
    tr_by_task = tr.by_task[:, [tr.checkpoints.index(ref) for ref in both]].mean(axis=2)
    tl_by_task = tl.by_task[:, [tl.checkpoints.index(ref) for ref in both]].mean(axis=2)
    icl = dict(zip(gold.checkpoints, gold.value.tolist(), strict=True))
    return ModelTrajectory(
        model=predictions.model,
        family=both[0].family,
        tasks=tr.tasks,
        checkpoints=tuple(both),
        tr=tr_by_task.mean(axis=0),
        tl=tl_by_task.mean(axis=0),
        tr_by_task=tr_by_task,
        tl_by_task=tl_by_task,
        icl={ref: icl[ref] for ref in both if ref in icl},
    )


def evenly_spread(n_points: int, n_intervals: int) -> tuple[int, ...]:
    """Positions of n_intervals + 1 of n_points, first and last included, as even as whole positions allow.

    Raises:
        StudyError: there are too few points, or no interval is asked for.

    >>> evenly_spread(17, 4)
    (0, 4, 8, 12, 16)
    """
    if not 1 <= n_intervals < n_points:
        raise StudyError(f"{n_intervals} intervals need {n_intervals + 1} checkpoints, there are {n_points}.")
    # Halves go up, so that the positions do not depend on the parity that round() prefers.
    return tuple(int(np.floor(i * (n_points - 1) / n_intervals + 0.5)) for i in range(n_intervals + 1))


def subsample(trajectory: ModelTrajectory, *, n_intervals: int) -> ModelTrajectory:
    """The trajectory at fewer checkpoints, evenly spread over the list with both ends (Table 7a).

    Raises:
        StudyError: the trajectory has fewer intervals.
    """
    kept = list(evenly_spread(len(trajectory.checkpoints), n_intervals))
    checkpoints = tuple(trajectory.checkpoints[i] for i in kept)
    return replace(
        trajectory,
        checkpoints=checkpoints,
        tr=trajectory.tr[kept],
        tl=trajectory.tl[kept],
        tr_by_task=trajectory.tr_by_task[:, kept],
        tl_by_task=trajectory.tl_by_task[:, kept],
        icl={ref: trajectory.icl[ref] for ref in checkpoints if ref in trajectory.icl},
    )


@dataclass(frozen=True, slots=True, eq=False)
class ModelSummary:
    """One model as one point of Fig. 2.

    Attributes:
        model: unique name.
        family: its family.
        n_intervals: intervals that the numbers are taken over.
        competition: Eqs. 1-4 on the mean trajectory.
        final_icl: gold value at the last checkpoint; None where it is not complete.
        final_checkpoint: the last checkpoint.
    """

    model: str
    family: str
    n_intervals: int
    competition: Competition
    final_icl: float | None
    final_checkpoint: CheckpointRef


def summarise(trajectory: ModelTrajectory, *, epsilon: float) -> ModelSummary:
    """Competition on the mean trajectory, and the ICL value that training ends with.

    Raises:
        StudyError: epsilon outside [0, 1].
    """
    last = trajectory.checkpoints[-1]
    return ModelSummary(
        model=trajectory.model,
        family=trajectory.family,
        n_intervals=len(trajectory.checkpoints) - 1,
        competition=competition(trajectory.tr, trajectory.tl, epsilon=epsilon),
        final_icl=trajectory.icl.get(last),
        final_checkpoint=last,
    )


def intensity_against_icl(summaries: Sequence[ModelSummary], *, seed: int = 0) -> PearsonResult:
    """Fig. 2 right: Pearson's r of mean intensity and final ICL over models, models without final ICL left out."""
    points = [(s.competition.mean_intensity, s.final_icl) for s in summaries if s.final_icl is not None]
    return pearson([x for x, _ in points], [y for _, y in points], seed=seed)


@dataclass(frozen=True, slots=True)
class FamilyOccurrence:
    """Fig. 2 left: how often competition occurs in a family.

    Attributes:
        family: name.
        ratio: mean competition ratio of its models.
        models: which models were averaged.
    """

    family: str
    ratio: float
    models: tuple[str, ...]


def family_occurrence(summaries: Sequence[ModelSummary]) -> tuple[FamilyOccurrence, ...]:
    """Competition ratio averaged over the models of each family, in the order in which families first come."""
    grouped: dict[str, list[ModelSummary]] = {}
    for summary in summaries:
        grouped.setdefault(summary.family, []).append(summary)
    return tuple(
        FamilyOccurrence(
            family=family,
            ratio=float(np.mean([member.competition.ratio for member in members])),
            models=tuple(member.model for member in members),
        )
        for family, members in grouped.items()
    )
