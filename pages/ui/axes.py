"""Axes of the charts: which ticks stand where, and how far labels are moved apart.

It turns values into display choices and draws nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import altair as alt

__all__ = ["Quantity", "ScaleName", "XAxis", "apart", "percent_domain", "x_axis"]

Quantity = Literal["step", "tokens", "share"]
ScaleName = Literal["symlog", "linear"]

_TITLES = {"step": "Optimizer step", "tokens": "Training tokens", "share": "Share of training"}
_LABELS = {
    "step": "datum.value < 1000 ? format(datum.value, '~f') : format(datum.value, '~s')",
    "tokens": "replace(format(datum.value, '~s'), 'G', ' B')",
    "share": "format(datum.value, '.0%')",
}


@dataclass(frozen=True, slots=True)
class XAxis:
    """A horizontal axis over training.

    Attributes:
        quantity: what the values count.
        scale: symlog (step 0 exists) or linear.
        constant: where symlog turns from linear to logarithmic; the smallest positive value.
        domain: smallest and largest value drawn.
        ticks: explicit tick values, since symlog's own are 1.0, 1.4, 1.8.
    """

    quantity: Quantity
    scale: ScaleName
    constant: float
    domain: tuple[float, float]
    ticks: tuple[float, ...]

    def encode(self, field: str = "x", *, title: bool = True, labels: bool = True) -> alt.X:
        """The axis for Altair; without labels for a panel that stands above another one."""
        scale = alt.Scale(type=self.scale, domain=list(self.domain), nice=False)
        if self.scale == "symlog":
            scale = alt.Scale(type="symlog", constant=self.constant, domain=list(self.domain), nice=False)
        axis = alt.Axis(
            values=list(self.ticks),
            labelExpr=_LABELS[self.quantity],
            labels=labels,
            ticks=labels,
            labelOverlap="greedy",
        )
        return alt.X(f"{field}:Q", title=_TITLES[self.quantity] if title else None, scale=scale, axis=axis)


def x_axis(values: Sequence[float], *, quantity: Quantity = "step", scale: ScaleName = "symlog") -> XAxis:
    """The axis for the given values (steps, tokens or shares, 0 allowed)."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    high = high if high > low else low + 1.0
    positive = [value for value in values if value > 0]
    constant = float(min(positive)) if positive else 1.0
    ticks = _even_ticks(low, high) if scale == "linear" else _log_ticks(low, high, constant)
    if scale == "symlog" and high < 100 * constant:
        ticks = tuple(sorted(float(value) for value in set(values)))
    return XAxis(quantity, scale, constant, (float(low), float(high)), ticks)


def _even_ticks(low: float, high: float) -> tuple[float, ...]:
    raw = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw)
    first = math.ceil(low / step)
    return tuple(index * step for index in range(first, math.floor(high / step + 1e-9) + 1))


def _log_ticks(low: float, high: float, constant: float) -> tuple[float, ...]:
    """0, then 1-2-5 (or powers of ten over many decades) from the first positive value to the last."""
    start = math.floor(math.log10(max(constant, 1e-9)))
    stop = math.ceil(math.log10(max(high, constant)))
    factors = (1, 2, 5) if stop - start <= 3 else (1,)
    ticks = [factor * 10.0**power for power in range(start, stop + 1) for factor in factors]
    kept = [tick for tick in ticks if max(low, constant * 0.99) <= tick <= high]
    return (0.0, *kept) if low <= 0 else tuple(kept)


def percent_domain(lows: Sequence[float], highs: Sequence[float]) -> tuple[float, float]:
    """A range of fractions that holds all values, rounded outwards to 5 %, within 0 and 1."""
    low, high = min(lows, default=0.0), max(highs, default=1.0)
    return max(0.0, math.floor(low * 20 - 0.2) / 20), min(1.0, math.ceil(high * 20 + 0.2) / 20)


def apart(values: Sequence[float], *, gap: float, low: float = -math.inf) -> list[float]:
    """The values moved by as little as needed so that neighbours differ by ``gap``, none below ``low``; order is kept.

    >>> [round(value, 3) for value in apart([0.5, 0.51, 0.9], gap=0.04)]
    [0.485, 0.525, 0.9]
    >>> [round(value, 3) for value in apart([0.01, 0.02, 0.03], gap=0.04, low=0.0)]
    [0.0, 0.04, 0.08]
    """
    order = sorted(range(len(values)), key=lambda index: values[index])
    groups: list[list[int]] = []
    for index in order:
        groups.append([index])
        while len(groups) > 1 and _low(groups[-1], values, gap) < _high(groups[-2], values, gap) + gap:
            groups[-2:] = [groups[-2] + groups[-1]]
    placed = [0.0] * len(values)
    lowest = low
    for group in groups:
        for offset, index in enumerate(group):
            placed[index] = max(_low(group, values, gap) + offset * gap, lowest)
            lowest = placed[index] + gap
    return placed


def _low(group: Sequence[int], values: Sequence[float], gap: float) -> float:
    return sum(values[index] for index in group) / len(group) - gap * (len(group) - 1) / 2


def _high(group: Sequence[int], values: Sequence[float], gap: float) -> float:
    return _low(group, values, gap) + gap * (len(group) - 1)
