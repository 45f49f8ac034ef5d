"""Paths and defaults, as functions: nothing is read, made or chosen at import.

It does not create folders and does not know the registries.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = [
    "BASE_MEMBER",
    "DEFAULT_DEMO_SEEDS",
    "DEFAULT_N_SHOTS",
    "DEFAULT_N_TEST",
    "embedded_results_path",
    "lab_runs_path",
    "project_path",
    "store_path",
    "suite_path",
    "uploads_path",
]

DEFAULT_DEMO_SEEDS: tuple[int, ...] = (13, 21, 42, 87, 100)
DEFAULT_N_SHOTS = 16
DEFAULT_N_TEST = 1000
BASE_MEMBER = "tiny-base"
"""The shipped model that the app opens with; the suite's other members differ from it in one factor each."""


def project_path() -> Path:
    """The folder that holds app.py and icl_core."""
    return Path(__file__).resolve().parents[1]


def store_path() -> Path:
    """Where results live: ``ICL_OBSERVATORY_STORE`` if set, else ``cache/`` in the project."""
    return Path(os.environ.get("ICL_OBSERVATORY_STORE") or project_path() / "cache").resolve()


def uploads_path() -> Path:
    """Where files that were uploaded on a page are kept."""
    return store_path() / "uploads"


def suite_path() -> Path:
    """The shipped tiny suite: one folder a member, in it one folder a checkpoint."""
    return Path(__file__).resolve().parent / "pretraining" / "suite"


def lab_runs_path() -> Path:
    """The shipped runs of the controlled lab: one folder a run."""
    return Path(__file__).resolve().parent / "pretraining" / "lab_runs"


def embedded_results_path() -> Path:
    """The shipped result bundles of the tiny suite (Parquet and manifest), one folder each."""
    return project_path() / "cache" / "embedded"
