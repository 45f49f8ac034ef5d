"""The controls of the competition page: the model, the tasks and the measure, the axis of training."""

from __future__ import annotations

from collections.abc import Sequence

from icl_core.analysis.predictions import Predictions
from pages.ui import controls
from pages.ui.axes import Quantity, ScaleName
from pages.ui.controls import View
from pages.ui.pickers import one_of

__all__ = ["axis_control", "model_control", "view_control"]


def model_control(models: Sequence[str]) -> str:
    """Whose trajectories."""
    return models[0] if len(models) == 1 else one_of("Model", list(models), key="who")


def view_control(predictions: Predictions) -> View:
    """Over which tasks, under which measure."""
    task = controls.task_control(predictions.tasks)
    measure, normalisation = controls.measure_controls()
    return View(measure, normalisation, task)


def axis_control(predictions: Predictions) -> tuple[Quantity, ScaleName]:
    """The axis of training."""
    return controls.axis_controls(predictions.checkpoints)
