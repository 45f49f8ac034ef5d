"""Summaries of several lab runs: repeats of one configuration, sweeps over two knobs, the time of a run.

It reads no folder and trains nothing; :mod:`icl_core.pretraining.lab.runs` reads the runs. Two runs are repeats if only
their seeds differ.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from icl_core.pretraining.lab.config import DataKnobs, LabConfig, config_digest, describe, without_seeds
from icl_core.pretraining.lab.runs import LabRun, chance, chance_band, phase_markers, transience_index

__all__ = [
    "SWEEPS",
    "Final",
    "Group",
    "Marker",
    "Spread",
    "Sweep",
    "SweepCell",
    "SweepKnob",
    "expected_seconds",
    "final_of",
    "group_runs",
    "marker_spread",
    "spread",
    "sweeps",
    "transience_spread",
    "who_decides",
]

FloatArray = npt.NDArray[np.float64]
SweepKnob = Literal["noise", "copy_probability"]
SWEEPS: tuple[SweepKnob, ...] = ("noise", "copy_probability")
"""The knobs that are swept against the number of classes."""

_SECONDS_A_STEP = 0.016
"""For the default configuration on two CPU cores; used until a run has been timed."""


@dataclass(frozen=True, slots=True)
class Group:
    """Runs that differ only in their seeds, all complete or all partial.

    Attributes:
        title: what differs from the default configuration, without seeds.
        config: the shared configuration, with the default seeds.
        runs: by initial seed; never empty.
    """

    title: str
    config: LabConfig
    runs: tuple[LabRun, ...]

    @property
    def state(self) -> str:
        """``complete`` or ``partial``."""
        return self.runs[0].state


@dataclass(frozen=True, slots=True)
class Spread:
    """A curve over the repeats of a group.

    Attributes:
        steps: (n_points,) steps that every repeat has reached.
        mean, low, high: (n_points,) mean, lowest and highest value of the repeats.
        n: number of repeats; with 1, low and high equal the value.
    """

    steps: FloatArray
    mean: FloatArray
    low: FloatArray
    high: FloatArray
    n: int


def group_runs(runs: Iterable[LabRun]) -> tuple[Group, ...]:
    """The runs by configuration, titles unique, complete groups first, then by number of classes and title."""
    found: dict[tuple[str, LabConfig], list[LabRun]] = {}
    for run in runs:
        found.setdefault((run.state, without_seeds(run.config)), []).append(run)
    groups = []
    taken: set[str] = set()
    for (state, config), mine in sorted(found.items(), key=lambda item: _order(*item[0])):
        title = describe(config).removesuffix(f", seed {config.init_seed}")
        title = f"{title} (partial)" if state == "partial" else title
        title = f"{title} #{config_digest(config)[:6]}" if title in taken else title
        taken.add(title)
        groups.append(Group(title, config, tuple(sorted(mine, key=_seeds))))
    return tuple(groups)


def _order(state: str, config: LabConfig) -> tuple[bool, int, int, str]:
    title = describe(config)
    return state == "partial", config.data.n_classes, len(title), title


def _seeds(run: LabRun) -> tuple[int, int, int, str]:
    config = run.config
    return config.init_seed, config.data_seed, config.evaluation_seed, run.digest


def spread(runs: Sequence[LabRun], name: str) -> Spread:
    """One curve over repeats, at the steps that all of them have; empty if a repeat lacks the curve."""
    if not all(name in run.curves for run in runs):
        empty = np.empty(0)
        return Spread(empty, empty, empty, empty, len(runs))
    steps = runs[0].curves["step"]
    for run in runs[1:]:
        steps = np.intersect1d(steps, run.curves["step"])
    values = np.array([run.curves[name][np.isin(run.curves["step"], steps)] for run in runs])
    return Spread(steps, values.mean(axis=0), values.min(axis=0), values.max(axis=0), len(runs))


_FADED_BY = 0.1
"""A curve has faded if its mean ends more than this below its peak, accuracy fraction."""


@dataclass(frozen=True, slots=True)
class Final:
    """The end of a curve over repeats: its last step, mean, lowest and highest last value, and the mean's peak."""

    step: int
    mean: float
    low: float
    high: float
    peak: float
    n: int

    @property
    def has_faded(self) -> bool:
        """Whether the mean ends clearly below its highest value."""
        return self.peak - self.mean > _FADED_BY


def final_of(runs: Sequence[LabRun], name: str) -> Final | None:
    """The end of a curve; None before the first evaluation."""
    found = spread(runs, name)
    if not len(found.steps):
        return None
    mean, low, high = (float(edge[-1]) for edge in (found.mean, found.low, found.high))
    return Final(int(found.steps[-1]), mean, low, high, peak=float(found.mean.max()), n=found.n)


def who_decides(runs: Sequence[LabRun]) -> Literal["ICL", "CIWL", "neither"] | None:
    """The strategy that wins if the two disagree: final Flip clearly above or below chance in every repeat."""
    flip = final_of(runs, "flip")
    if flip is None:
        return None
    level, band = chance(runs[0], "flip"), chance_band(runs[0], "flip")
    return "ICL" if flip.low > level + band else "CIWL" if flip.high < level - band else "neither"


@dataclass(frozen=True, slots=True)
class Marker:
    """A change of phase over repeats: median, lowest and highest step, and the number of repeats that have it."""

    step: float
    low: int
    high: int
    n_found: int
    n: int


def marker_spread(runs: Sequence[LabRun]) -> dict[str, Marker]:
    """The phase markers that at least half of the repeats have, by their names in PhaseMarkers."""
    by_run = [dataclasses.asdict(phase_markers(run)) for run in runs]
    found = {name: [marks[name] for marks in by_run if marks[name] is not None] for name in by_run[0]}
    return {
        name: Marker(float(np.median(steps)), min(steps), max(steps), len(steps), len(runs))
        for name, steps in found.items()
        if 2 * len(steps) >= len(runs)
    }


def transience_spread(runs: Sequence[LabRun], evaluator: str) -> tuple[float | None, ...]:
    """The transience index of each repeat, None if it has no peak above chance."""
    return tuple(transience_index(run, evaluator) for run in runs)


# Sweeps


@dataclass(frozen=True, slots=True)
class SweepCell:
    """One field of a sweep.

    Attributes:
        n_classes, value: the two knobs.
        flip, low, high: mean, lowest and highest final Flip accuracy over the repeats.
        chance: Flip accuracy of guessing.
        n: repeats.
    """

    n_classes: int
    value: float
    flip: float
    low: float
    high: float
    chance: float
    n: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """Complete runs that differ only in the number of classes, one other knob, and their seeds.

    Attributes:
        knob: the other knob.
        title: what the runs share.
        cells: by number of classes, then value.
    """

    knob: SweepKnob
    title: str
    cells: tuple[SweepCell, ...]


def sweeps(groups: Iterable[Group], knob: SweepKnob) -> tuple[Sweep, ...]:
    """The sweeps with at least two fields that the complete runs form, the largest first."""
    families: dict[LabConfig, list[Group]] = {}
    for group in groups:
        if group.state == "complete" and group.config.second_data is None:
            families.setdefault(_rest(group.config, knob), []).append(group)
    found = [
        Sweep(knob, _rest_title(rest), tuple(sorted((_cell(group, knob) for group in mine), key=_place)))
        for rest, mine in families.items()
        if len(mine) > 1
    ]
    return tuple(sorted(found, key=_emptiness))


def _emptiness(sweep: Sweep) -> tuple[int, int, str]:
    """Sorts the largest grids first; among equal ones, those in which the knob has more values."""
    n_classes, n_values = (len({getattr(cell, name) for cell in sweep.cells}) for name in ("n_classes", "value"))
    return -n_classes * n_values, -n_values, sweep.title


def _place(cell: SweepCell) -> tuple[int, float]:
    return cell.n_classes, cell.value


def _rest(config: LabConfig, knob: SweepKnob) -> LabConfig:
    base = DataKnobs()
    data = dataclasses.replace(config.data, n_classes=base.n_classes, **{knob: getattr(base, knob)})
    return dataclasses.replace(config, data=data)


def _rest_title(rest: LabConfig) -> str:
    words = describe(rest).split(", ")[1:-1]
    return ", ".join(words) or "default knobs"


def _cell(group: Group, knob: SweepKnob) -> SweepCell:
    flip, data = final_of(group.runs, "flip"), group.config.data
    mean, low, high = (flip.mean, flip.low, flip.high) if flip else (float("nan"),) * 3
    level = chance(group.runs[0], "flip")
    return SweepCell(data.n_classes, float(getattr(data, knob)), mean, low, high, level, len(group.runs))


# Time

MOST_TIMES_THE_WORK = 30
"""A rate is used for steps of up to this many times more or less work."""


def expected_seconds(config: LabConfig, timed: Iterable[LabRun] = (), *, n_runs: int = 1) -> float | None:
    """Expected seconds of repeats of a run, one after the other.

    They follow from the processor time per step of finished runs and the work of a step.

    Args:
        config: of the run to be trained.
        timed: finished runs; those whose manifest has no ``cpu_seconds`` are ignored.
        n_runs: number of repeats.

    Returns:
        None if a step is more than ``MOST_TIMES_THE_WORK`` times more or less work than a step of every timed run.
    """
    works = [
        (_work(run.config), float(run.manifest["cpu_seconds"]) / run.config.n_steps)
        for run in timed
        if run.manifest.get("cpu_seconds")
    ] or [(_work(LabConfig()), _SECONDS_A_STEP)]
    wanted = _work(config)
    if all(max(work, wanted) > MOST_TIMES_THE_WORK * min(work, wanted) for work, _ in works):
        return None
    return float(np.median([seconds / work for work, seconds in works])) * config.n_steps * wanted * n_runs


def _work(config: LabConfig) -> float:
    """Cost of a step, in arbitrary units: multiplications of the passes, and a fixed part for each layer's calls."""
    data = config.data
    n_tokens = 2 * data.n_pairs + 1
    a_token = config.n_layers * config.width * (4 * config.width + 8 * config.width * config.has_mlp + 2 * n_tokens)
    ends = config.width * (data.n_dimensions + data.n_labels)
    return 3.0 * config.batch_size * n_tokens * (a_token + ends) + 2e7 * config.n_layers
