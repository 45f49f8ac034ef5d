"""The options of the analysis as one frozen value. A new option is added here, and so is part of every cache key."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Self

from icl_core.analysis.predictions import Normalisation
from icl_core.analysis.statistics import Measure

__all__ = ["View"]


@dataclass(frozen=True, slots=True)
class View:
    """What is looked at, and how it is scored.

    Attributes:
        measure: by which answers are counted.
        normalisation: how the scores of labels of several tokens are compared.
        task: the one that is shown, None for the mean over all tasks.
    """

    measure: Measure = "accuracy"
    normalisation: Normalisation = "sum"
    task: str | None = None

    @property
    def of_all_tasks(self) -> Self:
        """The same over all tasks."""
        return dataclasses.replace(self, task=None)
