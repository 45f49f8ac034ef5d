"""The sentences of the competition page: computed values in words, whichever way they come out."""

from __future__ import annotations

from typing import Literal

from icl_core.analysis.competition import CLEAR_CERTAINTY, NoiseFloor
from pages.ui.words.written import count, p_value, percent, plain

__all__ = ["at_epsilon", "certainty", "changed", "how_computed", "noise_range", "shading", "too_few"]


def too_few(model: str, n_checkpoints: int) -> str:
    """Why a model has no competition."""
    return (
        f"{model} has TR and TL results at {count(n_checkpoints, 'checkpoint')}. Competition is computed between "
        "checkpoints, so it needs at least two. Evaluate more checkpoints."
    )


def certainty(interval: str, share: float) -> str:
    """One shaded interval: in how many resamples it competes.

    Args:
        interval: from where to where.
        share: of resamples, fraction.
    """
    return f"{interval}: competes in {percent(share, 0)} of resamples"


def shading() -> str:
    """What the three panels show."""
    return (
        "Shaded: TR and TL move in opposite directions, both by more than epsilon. The shade is stronger if the "
        f"interval competes in {percent(CLEAR_CERTAINTY, 0)} of resamples or more. Bars: fall over rise (Eq. 3). R: "
        "share of the summed intensity so far (Eq. 4)."
    )


def at_epsilon(measure: Literal["Competition ratio", "Mean intensity"], floor: NoiseFloor) -> str:
    """A measure of competition at the chosen epsilon, with its p-value."""
    if measure == "Competition ratio":
        return f"{measure} at this epsilon: {percent(floor.observed_ratio)}, {p_value(floor.p_ratio)}."
    return f"{measure} at this epsilon: {floor.observed_mean_intensity:.2f}, {p_value(floor.p_mean_intensity)}."


def noise_range(standard_error: float) -> str:
    """What is grey in the charts against epsilon.

    Args:
        standard_error: of a change, fraction.
    """
    return (
        f"Grey: median and 95 % range under noise alone. One standard error of a change is {percent(standard_error)}. "
        "An epsilon below it is inside noise. The p-values are not corrected for looking at many epsilons."
    )


def changed(n: int, interval: str, *, most: int) -> str:
    """How many answers changed in an interval.

    Args:
        n: answers.
        interval: from where to where.
        most: answers that are listed.
    """
    listed = f" The first {most:,} are listed." if n > most else ""
    return f"{count(n, 'answer')} changed from {plain(interval)}.{listed}"


def how_computed(floor: NoiseFloor) -> str:
    """What the equations are applied to, and what the p-value tells and does not tell."""
    return (
        "Equations 1 to 4 of arXiv 2406.14022 on the mean trajectory: averaged over tasks and seeds first, then "
        "compared. Comparisons are strict, and a difference that equals epsilon up to rounding does not exceed it. "
        "**Noise alone**: each example's change of correctness is centred within its task. Seeds and examples are "
        f"resampled {len(floor.null_ratio):,} times, with one draw for both abilities and all intervals, and the "
        "equations are computed on every draw; p is the share of draws with at least the observed ratio. An interval "
        f"is **clear** if it competes in {percent(CLEAR_CERTAINTY, 0)} of draws without centring. One standard error "
        f"of a change is {percent(floor.standard_error)}. **What p does not tell**: the null is that nothing changes "
        "at all. If one ability really moves and the other only wavers by chance, an interval competes whenever the "
        "chance change goes the other way, and the intensity then divides a real change by noise. So check that both "
        "curves move."
    )
