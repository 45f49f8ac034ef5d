"""What the lab page shows of the runs in their folders, which are read again only if a file of them has changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from icl_core.errors import StoreError
from icl_core.pretraining.lab.claims import Verdict, judge_all
from icl_core.pretraining.lab.config import LabConfig
from icl_core.pretraining.lab.runs import (
    CONFIG_NAME,
    CURVES_NAME,
    MANIFEST_NAME,
    LabRun,
    default_roots,
    find_run,
    list_runs,
)
from icl_core.pretraining.lab.summary import Group, group_runs, spread
from pages.ui.charts.axes import ScaleName, XAxis, x_axis
from pages.ui.files.sheet import Draw

__all__ = [
    "CURVES",
    "HEADS",
    "ChosenRuns",
    "DrawnRuns",
    "all_runs",
    "axis_of",
    "curve_rows",
    "groups",
    "head_scores",
    "run_of",
    "verdicts",
]

CURVES = {
    "Train": "train",
    "ICL": "icl",
    "ICL novel": "icl_novel",
    "CIWL": "ciwl",
    "Flip": "flip",
    "IWL": "iwl",
    "ICL copy": "icl_copy",
    "Flip copy": "flip_copy",
}
"""Title of each evaluator's curve, and its name in a run."""
HEADS = {"Previous token": "previous_token", "Induction": "induction", "Self": "self_attention"}
"""Title of each head score, and its name in a run."""

# Runs in their folders

_State = tuple[tuple[str, float], ...]


def _state() -> _State:
    """Names what the folders hold: every file that a run is read from, and when it was written."""
    names = (CONFIG_NAME, CURVES_NAME, MANIFEST_NAME)
    files = [path for root in default_roots() for name in names for path in sorted(root.glob(f"*/{name}"))]
    return tuple((str(path), _written(path)) for path in files)


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # a run that is being written replaces its files
        return 0.0


@st.cache_resource(max_entries=2, show_spinner="Reading the lab's runs")
def _groups(state: _State) -> tuple[Group, ...]:
    """Shared, not copied: a run's attention maps are large."""
    return group_runs(list_runs())


def groups() -> tuple[Group, ...]:
    """All runs, repeats of one configuration together."""
    return _groups(_state())


@st.cache_resource(max_entries=2, show_spinner=False)
def _verdicts(state: _State) -> tuple[Verdict, ...]:
    return judge_all(run for group in _groups(state) for run in group.runs)


def verdicts() -> tuple[Verdict, ...]:
    """What the runs say of every claim of the papers."""
    return _verdicts(_state())


def all_runs() -> list[LabRun]:
    """All runs, one by one."""
    return [run for group in groups() for run in group.runs]


def run_of(config: LabConfig) -> LabRun | None:
    """The run of a configuration as it stands now, None if none can be read yet."""
    try:
        return find_run(config)
    except StoreError:
        return None


# What is chosen of them


@dataclass(frozen=True, slots=True)
class ChosenRuns:
    """What is chosen: configurations, the axis they share, and which curves."""

    groups: list[Group]
    axis: XAxis
    titles: list[str]


@dataclass(frozen=True, slots=True)
class DrawnRuns:
    """What every tab below the curves draws from.

    Attributes:
        shown: the chosen runs.
        groups: all runs.
        drawn: draws the curves in other colours, None if there are none.
        rows: of the curves.
    """

    shown: ChosenRuns
    groups: tuple[Group, ...]
    drawn: Draw | None
    rows: list[dict[str, Any]]


def axis_of(groups: Sequence[Group], scale: ScaleName = "symlog") -> XAxis:
    """One axis of steps for all of them."""
    steps = {float(step) for group in groups for run in group.runs for step in run.curves["step"]}
    return x_axis(sorted(steps), scale=scale)


def curve_rows(group: Group, titles: Sequence[str], names: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """One row for each curve and step, over the repeats of a configuration."""
    rows = []
    for title in titles:
        curve = spread(group.runs, (names or CURVES)[title])
        for step, mean, low, high in zip(curve.steps, curve.mean, curve.low, curve.high, strict=True):
            if mean == mean:  # the training loss has none at step 0
                point = {"value": float(mean), "low": float(low), "high": float(high), "n": curve.n}
                rows.append({"run": group.title, "series": title, "x": float(step)} | point)
    return rows


def head_scores(run: LabRun, step: int) -> dict[str, float]:
    """The best head's score of each kind at a step, by its title."""
    at = int((run.curves["step"] == step).argmax())
    return {title: float(run.curves[name][at]) for title, name in HEADS.items() if name in run.curves}
