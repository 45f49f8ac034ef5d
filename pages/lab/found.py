"""The lab's runs as they lie in their folders, read again only when a file of them has changed."""

from __future__ import annotations

from pathlib import Path

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
from icl_core.pretraining.lab.summary import Group, group_runs

__all__ = ["all_runs", "groups", "run_of", "verdicts"]

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
    """The run of a configuration as it stands now, None where there is none that can be read yet."""
    try:
        return find_run(config)
    except StoreError:
        return None
