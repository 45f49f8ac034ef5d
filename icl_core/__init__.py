"""ICL Observatory's headless core: how in-context learning emerges during pre-training (arXiv 2406.14022).

It holds the public names. Each is fetched from its module when it is first used
(https://scientific-python.org/specs/spec-0001/), so importing the package is light: no torch, no file, no network.
``__init__.pyi`` tells type checkers the same. It never draws; the app in app.py and pages/ does.
"""

import importlib
from typing import Any

_NAMES_BY_MODULE = {
    "analysis.competition": ("competition", "noise_floor"),
    "analysis.fusion.equations": ("adaptive_weights", "fuse"),
    "analysis.predictions": ("collect_predictions",),
    "analysis.trajectories": ("ability_curves", "paired_predictions"),
    "errors": ("ObservatoryError",),
    "evaluation.bundle": ("ensure_embedded", "export_bundle", "import_bundle"),
    "evaluation.cost": ("estimate",),
    "evaluation.run": ("run_study",),
    "evaluation.store": ("Store",),
    "evaluation.study": ("Study", "study_cells"),
    "models.listing": ("list_checkpoints",),
    "records": ("CellRecord", "CheckpointRef", "EncodedRequest", "LabelScores"),
    "registry.families": ("MODELS", "get_model"),
    "registry.tasks": ("TASKS", "get_task"),
    "scoring.engine": ("score_requests",),
}
_MODULE_BY_NAME = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}

__all__ = sorted(_MODULE_BY_NAME)


def __getattr__(name: str) -> Any:
    """Fetches a public name from its module and keeps it, so that it is fetched once."""
    if name not in _MODULE_BY_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_BY_NAME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
