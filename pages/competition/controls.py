"""The control that the competition page alone has: the model."""

from __future__ import annotations

from collections.abc import Sequence

from pages.ui.controls.pickers import one_of

__all__ = ["model_control"]


def model_control(models: Sequence[str]) -> str:
    """Whose trajectories."""
    return models[0] if len(models) == 1 else one_of("Model", list(models), key="who")
