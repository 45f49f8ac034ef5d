"""The sentences that pages begin with: what the numbers say, with their uncertainty, in the words of the paper.

They only put computed values into words.
"""

from __future__ import annotations

from icl_core.analysis.competition import CLEAR_CERTAINTY, Competition, EpsilonCurves, NoiseFloor, count_intervals
from icl_core.analysis.moments import Moment
from icl_core.analysis.trajectories import AbilityCurves
from icl_core.records import ABILITY_BY_SETTING
from icl_core.registry.names import training_order
from pages.ui.words.written import checkpoint_name, count, interval, p_value, percent, plain, task_title

__all__ = ["PASSED_OVER", "band_sentence", "competition_sentence", "curves_sentence", "moment_words"]

PASSED_OVER = "cells of TR or TL are missing, so the interval runs from the checkpoint before it to the one after."
"""Why a checkpoint is not in a trajectory of TR and TL."""

_VERBS = {"tr_rise": "rises", "tl_jump": "jumps", "tr_fall": "falls"}


def moment_words(moment: Moment) -> str:
    """One clear change as a clause: ``TR rises from 36.0 % to 62.1 % by step 440``."""
    ability = ABILITY_BY_SETTING[moment.label_setting]
    span = f"from {percent(moment.before)} to {percent(moment.after)}"
    end = plain(checkpoint_name(moment.end))
    if moment.kind == "tl_jump":
        return f"{ability} jumps {span} between {plain(checkpoint_name(moment.start))} and {end}"
    return f"{ability} {_VERBS[moment.kind]} {span} by {end}"


def curves_sentence(curves: AbilityCurves, found: tuple[Moment, ...], *, task: str | None = None) -> str:
    """Where the three abilities end, and what clearly happened on the way."""
    ends = []
    for setting, curve in curves.curves.items():
        band = interval(float(curve.low[-1]), float(curve.high[-1]))
        ends.append(f"{ABILITY_BY_SETTING[setting]} **{percent(float(curve.value[-1]))}** ({band})")
    last = max((curve.checkpoints[-1] for curve in curves.curves.values()), key=training_order)
    model, chance = plain(curves.model), percent(curves.chance)
    at = plain(checkpoint_name(last))
    start = f"At {at}" if task is None else f"On {plain(task_title(task))}, at {at}"
    end = f"{start}, **{model}** has {', '.join(ends)}; chance is {chance}."
    if not found:
        return f"{end} No change of TR or TL is clear of its 95 % bands."
    return f"{end} On the way, {'; '.join(moment_words(moment) for moment in found)}."


def band_sentence(curves: AbilityCurves) -> str:
    """What a band is, with its numbers."""
    sizes = sorted(set(curves.n_examples.values()))
    rows = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    is_one = len(curves.demo_seeds) == 1
    unknown = " With one seed the spread between seeds is unknown, so the bands leave it out." if is_one else ""
    return (
        f"Bands: 95 %, bootstrap ({curves.n_replicates:,} draws) over {count(len(curves.demo_seeds), 'seed')} and "
        f"{rows} queries per task; {count(len(curves.tasks), 'task')}.{unknown}"
    )


def competition_sentence(result: Competition, floor: NoiseFloor, at_epsilon: EpsilonCurves) -> str:
    """In how many intervals TR and TL compete, and in how many they would by noise alone."""
    of = count_intervals(result, floor, at_epsilon)
    certain = f"{of.clear} {'is' if of.clear == 1 else 'are'} clear" if of.clear else "none of these intervals is clear"
    inside = (
        f" This epsilon is inside noise: one standard error of a change is {percent(floor.standard_error)}."
        if floor.inside_noise
        else ""
    )
    if not of.competing:
        none = f"TR and TL move in opposite directions by more than that in none of {count(of.total, 'interval')}"
        return f"**No competition** at epsilon {result.epsilon:g}: {none}.{inside}"
    return (
        f"TR and TL compete in **{of.competing} of {count(of.total, 'interval')}** at epsilon {result.epsilon:g}; "
        f"noise alone gives {of.null_low} to {of.null_high} (95 %), {p_value(floor.p_ratio)}; {certain} in "
        f"{percent(CLEAR_CERTAINTY, 0)} of resamples.{inside}"
    )
