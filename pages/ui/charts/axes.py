"""Axes of the charts: where ticks stand, how far labels are moved apart, and where there is room for words.

Values become choices of display; nothing is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import altair as alt

from icl_core.registry.step_units import UNIT_WORDS, StepUnit

__all__ = [
    "ORDER_TITLE",
    "STEP_LABEL",
    "Quantity",
    "ScaleName",
    "Spot",
    "XAxis",
    "apart",
    "free_spots",
    "percent_domain",
    "round_values",
    "x_axis",
]

Quantity = Literal["step", "tokens", "share"]
ScaleName = Literal["symlog", "linear"]

_TITLES: Mapping[Quantity, str] = {"tokens": "Training tokens", "share": "Share of training"}
ORDER_TITLE = "Order of training"
"""The title if it is not known what the checkpoints' numbers count: they are places in an order that was given."""
STEP_LABEL = "format(datum.value, datum.value < 1000 ? '~f' : '~s')"
"""Steps at an axis: ``500``, ``1.5k``."""
_TOKENS_LABEL = "replace(replace(format(datum.value, '~s'), 'G', ' B'), 'M', ' M')"
_LABELS: Mapping[Quantity | StepUnit, str] = {
    "tokens": _TOKENS_LABEL,
    "share": "format(datum.value, '~%')",
    "token": _TOKENS_LABEL,
    "billion tokens": "format(datum.value, ',')",
}


@dataclass(frozen=True, slots=True)
class XAxis:
    """A horizontal axis over training.

    Attributes:
        quantity: what the values count.
        scale: symlog (step 0 exists) or linear.
        constant: the value at which symlog turns from linear to logarithmic, the smallest positive one.
        domain: smallest and largest value drawn.
        ticks: explicit tick values, since symlog's own are 1.0, 1.4, 1.8.
        unit: what a step counts, None if that is not known; not used for tokens and shares.
    """

    quantity: Quantity
    scale: ScaleName
    constant: float
    domain: tuple[float, float]
    ticks: tuple[float, ...]
    unit: StepUnit | None = "step"

    @property
    def title(self) -> str:
        """What the axis counts."""
        if self.quantity != "step":
            return _TITLES[self.quantity]
        return ORDER_TITLE if self.unit is None else UNIT_WORDS[self.unit].title

    def encode(self, field: str = "x", *, title: bool = True, labels: bool = True) -> alt.X:
        """The axis for Altair; without labels if the panel stands above another one with the same axis."""
        scale = alt.Scale(type=self.scale, domain=list(self.domain), nice=False)
        if self.scale == "symlog":
            scale = alt.Scale(type="symlog", constant=self.constant, domain=list(self.domain), nice=False)
        axis = alt.Axis(
            values=list(self.ticks),
            labelExpr=_LABELS.get((self.unit or "step") if self.quantity == "step" else self.quantity, STEP_LABEL),
            labels=labels,
            ticks=labels,
            labelOverlap="greedy",
            labelSeparation=10,
        )
        return alt.X(f"{field}:Q", title=self.title if title else None, scale=scale, axis=axis)

    def share(self, value: float) -> float:
        """How far along the axis a value stands, 0 to 1."""
        low, high = (self._scaled(edge) for edge in self.domain)
        return (self._scaled(value) - low) / (high - low)

    def _scaled(self, value: float) -> float:
        if self.scale == "linear":
            return value
        return math.copysign(math.log1p(abs(value) / self.constant), value)


def x_axis(
    values: Sequence[float],
    *,
    quantity: Quantity = "step",
    scale: ScaleName = "symlog",
    unit: StepUnit | None = "step",
) -> XAxis:
    """The axis for the given values (steps, tokens or shares, 0 allowed); of a single one, it begins at 0.

    Of checkpoints, ``rows.training_axis`` makes it with their own unit.
    """
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if low == high:
        low, high = 0.0, high or 1.0
    positive = [value for value in values if value > 0]
    constant = float(min(positive)) if positive else 1.0
    ticks = () if scale == "linear" else _log_ticks(low, high, constant)
    if len(ticks) < 3:
        ticks = _even_ticks(low, high)
    return XAxis(quantity, scale, constant, (float(low), float(high)), ticks, unit)


def _even_ticks(low: float, high: float) -> tuple[float, ...]:
    raw = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw)
    first = math.ceil(low / step)
    return tuple(index * step for index in range(first, math.floor(high / step + 1e-9) + 1))


def _log_ticks(low: float, high: float, constant: float) -> tuple[float, ...]:
    """0, then 1-2-5 (or powers of ten over many decades) from about the first positive value to the last."""
    kept = round_values(max(low, constant * 0.8), high) if high > 0 else []
    return (0.0, *kept) if low <= 0 else tuple(kept)


def round_values(low: float, high: float) -> list[float]:
    """1-2-5, or powers of ten over many decades, between two positive numbers.

    >>> round_values(80, 1100), round_values(3, 90_000)
    ([100.0, 200.0, 500.0, 1000.0], [10.0, 100.0, 1000.0, 10000.0])
    """
    start, stop = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if stop - start <= 3 else (1,)
    values = [float(f"{factor}e{power}") for power in range(start, stop + 1) for factor in factors]
    return [value for value in values if low <= value <= high]


def percent_domain(lows: Sequence[float], highs: Sequence[float]) -> tuple[float, float]:
    """A range of fractions that holds all values, rounded outwards to 5 %, within 0 and 1."""
    low, high = min(lows, default=0.0), max(highs, default=1.0)
    return max(0.0, math.floor(low * 20 - 0.2) / 20), min(1.0, math.ceil(high * 20 + 0.2) / 20)


def apart(values: Sequence[float], *, gap: float, low: float = -math.inf, high: float = math.inf) -> list[float]:
    """The values moved by as little as needed so that neighbours differ by ``gap``; order is kept.

    None is below ``low``, and none above ``high`` while there is room for all of them.

    >>> [round(value, 3) for value in apart([0.5, 0.51, 0.9], gap=0.04)]
    [0.485, 0.525, 0.9]
    >>> [round(value, 3) for value in apart([0.01, 0.02, 0.03], gap=0.04, low=0.0)]
    [0.0, 0.04, 0.08]
    >>> [round(value, 3) for value in apart([0.99, 1.0], gap=0.04, high=1.0)]
    [0.96, 1.0]
    """
    order = sorted(range(len(values)), key=lambda index: values[index])
    groups: list[list[int]] = []
    for index in order:
        groups.append([index])
        while len(groups) > 1 and _low(groups[-1], values, gap) < _high(groups[-2], values, gap) + gap:
            groups[-2:] = [groups[-2] + groups[-1]]
    placed = [0.0] * len(values)
    for group in groups:
        for offset, index in enumerate(group):
            placed[index] = _low(group, values, gap) + offset * gap
    highest = high
    for index in reversed(order):
        placed[index] = min(placed[index], highest)
        highest = placed[index] - gap
    lowest = low
    for index in order:
        placed[index] = max(placed[index], lowest)
        lowest = placed[index] + gap
    return placed


def _low(group: Sequence[int], values: Sequence[float], gap: float) -> float:
    return sum(values[index] for index in group) / len(group) - gap * (len(group) - 1) / 2


def _high(group: Sequence[int], values: Sequence[float], gap: float) -> float:
    return _low(group, values, gap) + gap * (len(group) - 1)


@dataclass(frozen=True, slots=True)
class Spot:
    """The place of a word beside its mark: ``align`` of the text, and how far its middle is off, pixels (down is +)."""

    align: Literal["left", "center", "right"]
    dx: float
    dy: float


_SIDES: tuple[tuple[Literal["left", "center", "right"], float], ...] = (("center", 0), ("left", 9), ("right", -9))
_SPOTS = (
    Spot("left", 9, 0),
    Spot("right", -9, 0),
    *(Spot(align, dx, side * far) for far in (13.0, 23.0, 33.0) for align, dx in _SIDES for side in (-1, 1)),
)
LETTER, LINE, NEAR = 6.4, 14.0, 6.0
"""Pixels: about how wide a letter of 12 pixels is, how high its line, and how near a word comes to a mark."""


def free_spots(
    anchors: Sequence[tuple[float, float]],
    names: Sequence[str],
    *,
    obstacles: Sequence[tuple[float, float]],
    size: tuple[float, float],
) -> list[Spot | None]:
    """A place for each name at which it covers no mark and no other name, the nearest one; None if no place is free.

    In a plot wider than ``size`` they stay free, since only the distances along x grow.

    Args:
        anchors: of the marks with names, as shares of the plot's width and height (0 at the left and the top).
        names: one for each anchor.
        obstacles: of every mark that must stay free, those with names too.
        size: of the plot, pixels.
    """
    width, height = size
    marks = [(x * width, y * height) for x, y in obstacles]
    taken: list[tuple[float, float, float, float]] = []
    found: list[Spot | None] = []
    for (x, y), name in zip(anchors, names, strict=True):
        found.append(None)
        for spot in _SPOTS:
            box = _box(x * width + spot.dx, y * height + spot.dy, len(name) * LETTER, align=spot.align)
            inside = box[0] >= 0 and box[2] <= width and box[1] >= 0 and box[3] <= height
            if (
                inside
                and not any(_holds(box, mark) for mark in marks)
                and not any(_meet(box, other) for other in taken)
            ):
                taken.append(box)
                found[-1] = spot
                break
    return found


def _box(x: float, y: float, width: float, *, align: str) -> tuple[float, float, float, float]:
    left = x - width * {"left": 0.0, "center": 0.5, "right": 1.0}[align]
    return left, y - LINE / 2, left + width, y + LINE / 2


def _holds(box: tuple[float, float, float, float], mark: tuple[float, float]) -> bool:
    return box[0] - NEAR < mark[0] < box[2] + NEAR and box[1] - NEAR / 2 < mark[1] < box[3] + NEAR / 2


def _meet(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
