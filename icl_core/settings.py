"""Paths and defaults, as functions: nothing is read, made or chosen at import.

It does not create folders and does not know the registries.
"""

from __future__ import annotations

import os
from pathlib import Path

from icl_core.errors import StoreError

__all__ = [
    "BASE_MEMBER",
    "DEFAULT_DEMO_SEEDS",
    "DEFAULT_N_SHOTS",
    "DEFAULT_N_TEST",
    "embedded_results_path",
    "is_installed",
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


_INSTALLED = "_project"
"""The folder inside icl_core into which a wheel puts what stands beside icl_core in the source (pyproject.toml)."""


def is_installed() -> bool:
    """Whether this is a copy that pip installed, and not the source."""
    return (Path(__file__).resolve().parent / _INSTALLED).is_dir()


def project_path() -> Path:
    """The folder that holds app.py, pages/ and the shipped results; in the source it holds icl_core too."""
    package = Path(__file__).resolve().parent
    return package / _INSTALLED if is_installed() else package.parent


def store_path() -> Path:
    """Where results live.

    ``ICL_OBSERVATORY_STORE`` if set; else ``cache/`` in the source. An installed copy writes nothing beside its code:
    it takes ``icl-observatory`` in the user's folder of data, which is ``XDG_DATA_HOME`` if that is an absolute path,
    else ``~/.local/share`` (https://specifications.freedesktop.org/basedir/latest/).

    Raises:
        StoreError: an installed copy runs for a user without a home folder.
    """
    if named := os.environ.get("ICL_OBSERVATORY_STORE"):
        return Path(named).resolve()
    return (_data_path() / "icl-observatory" if is_installed() else project_path() / "cache").resolve()


def _data_path() -> Path:
    named = Path(os.environ.get("XDG_DATA_HOME", ""))
    if named.is_absolute():
        return named
    try:
        return Path.home() / ".local" / "share"
    except RuntimeError as error:
        raise StoreError("This user has no home folder for results; name one in ICL_OBSERVATORY_STORE.") from error


def uploads_path() -> Path:
    """Where files that were uploaded on a page are kept."""
    return store_path() / "uploads"


def suite_path() -> Path:
    """The shipped tiny suite: one folder per member, in it one folder per checkpoint."""
    return Path(__file__).resolve().parent / "pretraining" / "suite"


def lab_runs_path() -> Path:
    """The shipped runs of the controlled lab: one folder per run."""
    return Path(__file__).resolve().parent / "pretraining" / "lab_runs"


def embedded_results_path() -> Path:
    """The shipped result bundles of the tiny suite (Parquet and manifest), one folder each."""
    return project_path() / "cache" / "embedded"
