"""What the number of a checkpoint counts, and its words: ``step 1,000``, ``data chunk 356``, ``220 billion tokens``.

It knows no model and no family; ``families.counted_in`` tells the unit of a checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

__all__ = ["UNIT_WORDS", "StepUnit", "UnitWords", "number_words"]

StepUnit = Literal["step", "epoch", "data chunk", "token", "billion tokens"]


@dataclass(frozen=True, slots=True)
class UnitWords:
    """How a unit is said.

    Attributes:
        plural: what a model counts, such as ``data chunks``.
        title: of an axis or a column that holds the numbers alone.
        follows: whether the unit comes after its number.
    """

    plural: str
    title: str
    follows: bool = False


UNIT_WORDS: Mapping[StepUnit, UnitWords] = MappingProxyType(
    {
        "step": UnitWords("steps", "Optimizer step"),
        "epoch": UnitWords("epochs", "Epoch"),
        "data chunk": UnitWords("data chunks", "Data chunk"),
        "token": UnitWords("tokens", "Training tokens", follows=True),
        "billion tokens": UnitWords("billions of tokens", "Training tokens (billions)", follows=True),
    }
)


def number_words(unit: StepUnit, number: int) -> str:
    """A number with what it counts.

    >>> number_words("step", 1000), number_words("data chunk", 356), number_words("billion tokens", 2600)
    ('step 1,000', 'data chunk 356', '2,600 billion tokens')
    """
    if not UNIT_WORDS[unit].follows:
        return f"{unit} {number:,}"
    return f"{number:,} {'tokens' if unit == 'token' else unit}"
