"""Competition compared across models and factors: mean intensity against final ICL, fewer checkpoints.

It summarises trajectories; curves with bands and the noise floor of one model are elsewhere. Source: arXiv
2406.14022, Figs. 2-6 and Table 7. Values are computed once per model, so that moving epsilon costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from icl_core.analysis.competition import Competition, competition
from icl_core.analysis.predictions import Normalisation, Predictions
from icl_core.analysis.statistics import Measure, PearsonResult, pearson
from icl_core.analysis.trajectories import setting_values
from icl_core.errors import StudyError
from icl_core.records import LABEL_SETTINGS, CheckpointRef

__all__ = [
    "FamilyOccurrence",
    "ModelSummary",
    "ModelTrajectory",
    "SeedGroup",
    "evenly_spread",
    "family_occurrence",
    "intensity_against_icl",
    "mean_over_runs",
    "model_trajectory",
    "seed_groups",
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
        icl: gold value, by checkpoint, of the checkpoints that are also complete in gold.
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


def model_trajectory(
    predictions: Predictions,
    *,
    measure: Measure = "accuracy",
    normalisation: Normalisation = "sum",
    task: str | Sequence[str] | None = None,
    demo_seeds: Sequence[int] | None = None,
) -> ModelTrajectory:
    """The values from which everything here is computed; arguments as in ``trajectories.ability_curves``.

    Raises:
        StudyError: fewer than two checkpoints are complete in both TR and TL.
    """
    gold, tr, tl = (
        setting_values(
            predictions, setting, measure=measure, normalisation=normalisation, task=task, demo_seeds=demo_seeds
        )
        for setting in LABEL_SETTINGS
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
    """n_intervals + 1 positions among n_points, with the first and the last, as evenly spread as possible.

    Raises:
        StudyError: there are too few points, or fewer than one interval is asked for.

    >>> evenly_spread(17, 4)
    (0, 4, 8, 12, 16)
    """
    if not 1 <= n_intervals < n_points:
        raise StudyError(f"{n_intervals} intervals need {n_intervals + 1} checkpoints, there are {n_points}.")
    # Halves are rounded up: round() would round them to even numbers.
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
        checkpoints: the ends of the intervals, in the order of training.
        competition: Eqs. 1-4 on the mean trajectory.
        final_icl: gold value at the last checkpoint; None if that is not complete in gold.
    """

    model: str
    family: str
    checkpoints: tuple[CheckpointRef, ...]
    competition: Competition
    final_icl: float | None

    @property
    def n_intervals(self) -> int:
        """Number of intervals."""
        return len(self.checkpoints) - 1

    @property
    def final_checkpoint(self) -> CheckpointRef:
        """The last checkpoint."""
        return self.checkpoints[-1]

    @property
    def cumulative(self) -> dict[CheckpointRef, float]:
        """R (Eq. 4) at each checkpoint; empty if there is no competition, since R is then undefined."""
        values = self.competition.cumulative_by_checkpoint
        return {} if values is None else dict(zip(self.checkpoints, values.tolist(), strict=True))


def summarise(trajectory: ModelTrajectory, *, epsilon: float) -> ModelSummary:
    """Competition on the mean trajectory, and the ICL value at the end of training.

    Raises:
        StudyError: epsilon outside [0, 1].
    """
    return ModelSummary(
        model=trajectory.model,
        family=trajectory.family,
        checkpoints=trajectory.checkpoints,
        competition=competition(trajectory.tr, trajectory.tl, epsilon=epsilon),
        final_icl=trajectory.icl.get(trajectory.checkpoints[-1]),
    )


@dataclass(frozen=True, slots=True, eq=False)
class SeedGroup:
    """Training runs that differ only in their seed, as one model; most models have one run.

    Attributes:
        name: what the runs share.
        runs: at least one.
    """

    name: str
    runs: tuple[ModelSummary, ...]

    @property
    def ratio(self) -> float:
        """Competition ratio, mean over runs."""
        return float(np.mean([run.competition.ratio for run in self.runs]))

    @property
    def mean_intensity(self) -> float:
        """Mean competition intensity, mean over runs."""
        return float(np.mean([run.competition.mean_intensity for run in self.runs]))

    @property
    def final_icl(self) -> float | None:
        """ICL at the end of training, mean over the runs that have it."""
        known = [run.final_icl for run in self.runs if run.final_icl is not None]
        return float(np.mean(known)) if known else None


def seed_groups(summaries: Sequence[ModelSummary], groups: Mapping[str, str]) -> tuple[SeedGroup, ...]:
    """The runs in groups, in the order in which the groups first occur.

    Args:
        summaries: one per run.
        groups: by model, the name of its group; a model that is absent is a group by itself.
    """
    runs: dict[str, list[ModelSummary]] = {}
    for summary in summaries:
        runs.setdefault(groups.get(summary.model, summary.model), []).append(summary)
    return tuple(SeedGroup(name, tuple(found)) for name, found in runs.items())


def mean_over_runs(curves: Sequence[Mapping[CheckpointRef, float]]) -> dict[CheckpointRef, float]:
    """The mean of several runs' curves at the steps that all of them have, keyed by the first run's checkpoints.

    Empty curves (R without any competition) are left out.
    """
    known = [{ref.step: value for ref, value in curve.items()} for curve in curves if curve]
    first = next((curve for curve in curves if curve), {})
    shared = [ref for ref in first if all(ref.step in values for values in known)]
    return {ref: float(np.mean([values[ref.step] for values in known])) for ref in shared}


def intensity_against_icl(groups: Sequence[SeedGroup], *, seed: int = 0) -> PearsonResult:
    """Fig. 2 right: Pearson's r of mean intensity and final ICL over models, each the mean of its training runs.

    Models without final ICL are left out.
    """
    points = [(group.mean_intensity, group.final_icl) for group in groups if group.final_icl is not None]
    return pearson([x for x, _ in points], [y for _, y in points], seed=seed)


@dataclass(frozen=True, slots=True)
class FamilyOccurrence:
    """Fig. 2 left: how often competition occurs in a family.

    Attributes:
        family: name.
        ratio: mean competition ratio of its models.
        models: which models were averaged.
        runs: the ratio of every training run, by model name.
    """

    family: str
    ratio: float
    models: tuple[str, ...]
    runs: Mapping[str, float]


def family_occurrence(
    groups: Sequence[SeedGroup], *, families: Mapping[str, str] | None = None
) -> tuple[FamilyOccurrence, ...]:
    """Competition ratio averaged over the models of each family, in the order in which families first occur.

    Args:
        groups: models, each the mean of its training runs.
        families: by group, the family under which it counts, if that is not its own.
    """
    given = families or {}
    grouped: dict[str, list[SeedGroup]] = {}
    for group in groups:
        grouped.setdefault(given.get(group.name, group.runs[0].family), []).append(group)
    return tuple(
        FamilyOccurrence(
            family=family,
            ratio=float(np.mean([member.ratio for member in members])),
            models=tuple(member.name for member in members),
            runs={run.model: run.competition.ratio for member in members for run in member.runs},
        )
        for family, members in grouped.items()
    )
