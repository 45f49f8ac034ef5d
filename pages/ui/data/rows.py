"""From curves and measures of the core to the plain rows that charts draw, tables show and CSV files hold.

Values are copied as they are; only steps are turned into tokens or shares of training for the horizontal axis.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from icl_core.analysis.competition import Competition, EpsilonCurve
from icl_core.analysis.drilldown import LabelShares, confusion_shares
from icl_core.analysis.trajectories import AbilityCurves
from icl_core.errors import StudyError
from icl_core.records import ABILITY_BY_SETTING, CheckpointRef
from icl_core.registry.families import counted_in, units_counted
from icl_core.registry.names import label_of
from icl_core.registry.step_units import UNIT_WORDS, StepUnit
from pages.ui.charts.axes import Quantity, ScaleName, XAxis, x_axis
from pages.ui.data import suite
from pages.ui.words.written import checkpoint_name, joined, percent, short_number

__all__ = [
    "axis_column",
    "common_unit",
    "confusion_rows",
    "curve_rows",
    "epsilon_rows",
    "interval_rows",
    "phase_rows",
    "positions",
    "quantities",
    "quantity_words",
    "reference_rows",
    "settled",
    "share_rows",
    "short_title",
    "training_axis",
]

Row = dict[str, Any]
_UNKNOWN: Mapping[Quantity, str] = {"tokens": "Training tokens are", "share": "The share of training is"}


def common_unit(refs: Iterable[CheckpointRef]) -> StepUnit | None:
    """What the steps of all these checkpoints count; None if they count different things, or have only an order."""
    units = {unit for found in units_counted(refs).values() for unit in found or {None}}
    return next(iter(units)) if len(units) == 1 else None


def quantities(refs: Iterable[CheckpointRef]) -> tuple[Quantity, ...]:
    """What one horizontal axis can count for these checkpoints; steps only if all count them in one unit."""
    refs = list(refs)
    found: list[Quantity] = []
    if len({unit for units in units_counted(refs).values() for unit in units or {None}}) <= 1:
        found.append("step")
    if refs and all(ref.tokens_seen is not None for ref in refs):
        found.append("tokens")
    if refs and all(ref.step is not None for ref in refs):
        found.append("share")
    return tuple(found)


def settled(refs: Iterable[CheckpointRef], wanted: Quantity) -> tuple[Quantity, str]:
    """What one axis over these checkpoints counts: what is wanted if they all have it, else what they do all have.

    A sentence says why it is not what is wanted; it is empty if it is.

    Raises:
        StudyError: there is nothing that all of them have.
    """
    refs = list(refs)
    possible = quantities(refs)
    if wanted in possible:
        return wanted, ""
    why = _differing_units(refs) if wanted == "step" else f"{_UNKNOWN[wanted]} not known of all checkpoints"
    if not possible:
        raise StudyError(f"{why}, and there is nothing else that an axis could count for all of them. Show one model.")
    return possible[0], f"{why}, so the axis shows {quantity_words(refs, possible[0])}."


def quantity_words(refs: Iterable[CheckpointRef], quantity: Quantity) -> str:
    """What an axis over these checkpoints counts, in a sentence."""
    if quantity != "step":
        return "training tokens" if quantity == "tokens" else "the share of training"
    unit = common_unit(refs)
    return "the order of training" if unit is None else UNIT_WORDS[unit].plural


def axis_column(refs: Iterable[CheckpointRef], quantity: Quantity) -> str:
    """What ``x`` counts in a table and its file: tokens, share, or the unit of these checkpoints."""
    return (common_unit(refs) or "order") if quantity == "step" else quantity


def _differing_units(refs: Iterable[CheckpointRef]) -> str:
    models: dict[str, list[str]] = {}
    for model, units in units_counted(refs).items():
        for words in sorted(UNIT_WORDS[unit].plural for unit in units) or ["places in an order"]:
            models.setdefault(words, []).append(model)
    counted = [f"{words} ({joined(names)})" for words, names in models.items()]
    return f"One axis cannot count {', '.join(counted[:-1])} and {counted[-1]}"


def training_axis(
    places: Iterable[Mapping[CheckpointRef, float]], *, quantity: Quantity, scale: ScaleName = "symlog"
) -> XAxis:
    """The axis over the places of all these checkpoints, in their own unit."""
    everywhere = {ref: place for each in places for ref, place in each.items()}
    return x_axis(list(everywhere.values()), quantity=quantity, scale=scale, unit=common_unit(everywhere))


def positions(refs: Sequence[CheckpointRef], quantity: Quantity) -> dict[CheckpointRef, float]:
    """Where each checkpoint of one model stands on the axis; by order if its name tells no step."""
    last = max((ref.step or 0 for ref in refs), default=0)
    places: dict[CheckpointRef, float] = {}
    for index, ref in enumerate(refs):
        if quantity == "tokens" and ref.tokens_seen is not None:
            places[ref] = float(ref.tokens_seen)
        elif quantity == "share" and ref.step is not None and last:
            places[ref] = ref.step / last
        else:
            places[ref] = float(index if ref.step is None else ref.step)
    return places


def curve_rows(
    curves: AbilityCurves,
    places: Mapping[CheckpointRef, float],
    *,
    task: str | None = None,
    left_out: Mapping[CheckpointRef, str] | None = None,
) -> list[Row]:
    """One row for each setting and checkpoint, of the mean over tasks or of one task.

    Args:
        curves: of one model.
        places: where each checkpoint stands.
        task: None for the mean.
        left_out: why a checkpoint is not part of a line.
    """
    reasons = left_out or {}
    rows = []
    for setting, curve in curves.curves.items():
        part: Any = curve if task is None else curve.by_task[task]
        for index, ref in enumerate(curve.checkpoints):
            rows.append(
                {
                    "model": curves.model,
                    "ability": ABILITY_BY_SETTING[setting],
                    "x": places[ref],
                    "checkpoint": checkpoint_name(ref),
                    "revision": ref.weight_file or ref.revision,
                    "value": float(part.value[index]),
                    "low": float(part.low[index]),
                    "high": float(part.high[index]),
                    "left_out": reasons.get(ref, ""),
                }
            )
    return rows


def reference_rows(curves: AbilityCurves, *, task: str | None = None) -> list[Row]:
    """Chance and majority as horizontal lines, each with its name."""
    chance = curves.chance if task is None else curves.chance_by_task[task]
    majority = curves.majority if task is None else curves.majority_by_task[task]
    return [
        {"value": chance, "text": f"chance {percent(chance)}"},
        {"value": majority, "text": f"majority {percent(majority)}"},
    ]


def phase_rows(model: str, places: Mapping[CheckpointRef, float], quantity: Quantity) -> list[Row]:
    """The curriculum phases of a model on its axis; tokens and share are taken to grow evenly between checkpoints."""
    steps = sorted((ref.step, place) for ref, place in places.items() if ref.step is not None)
    phases = suite.phases_of(model)
    if not phases or not steps:
        return []
    known, at = zip(*steps, strict=True)
    rows = []
    for index, phase in enumerate(phases):
        edges = phase.start_step, phase.end_step
        x, x2 = edges if quantity == "step" else np.interp(edges, known, at)
        rows.append(
            {
                "x": float(x),
                "x2": float(x2),
                "name": phase.name,
                "text": f"{phase.name}: {short_number(phase.start_step)} to {short_number(phase.end_step)}",
                "strength": 0.12 + 0.14 * (index % 2),
            }
        )
    return rows


def interval_rows(
    result: Competition,
    checkpoints: Sequence[CheckpointRef],
    places: Mapping[CheckpointRef, float],
    *,
    certainty: Sequence[float] | None = None,
) -> list[Row]:
    """One row for each interval between neighbouring checkpoints, with its changes and what the equations say."""
    rows = []
    for index, (first, second) in enumerate(itertools.pairwise(checkpoints)):
        rows.append(
            {
                "interval": index,
                "x": places[first],
                "x2": places[second],
                "text": f"{checkpoint_name(first)} to {checkpoint_name(second)}",
                "short": f"{_short(first)}–{_short(second)}",
                "delta_tr": float(result.delta_tr[index]),
                "delta_tl": float(result.delta_tl[index]),
                "competes": bool(result.indicator[index]),
                "intensity": float(result.intensity[index]),
                "certainty": None if certainty is None else float(certainty[index]),
            }
        )
    return rows


def epsilon_rows(epsilons: npt.NDArray[np.float64], curve: EpsilonCurve) -> list[Row]:
    """One row for each epsilon: the measure, and what noise alone gives."""
    return [
        {
            "epsilon": float(epsilons[index]),
            "observed": float(curve.observed[index]),
            "null_low": float(curve.null_low[index]),
            "null_median": float(curve.null_median[index]),
            "null_high": float(curve.null_high[index]),
            "p": float(curve.p[index]),
        }
        for index in range(len(epsilons))
    ]


def _short(ref: CheckpointRef) -> str:
    """A checkpoint in a few letters: ``1k`` of steps, ``220 B`` of tokens."""
    unit = counted_in(ref)
    if unit is None or ref.step is None:
        return label_of(ref)
    return short_number(ref.step * 10**9 if unit == "billion tokens" else ref.step)


def short_title(refs: Iterable[CheckpointRef]) -> str:
    """What the short names of these checkpoints count, over an axis that holds them as words."""
    unit = common_unit(refs)
    if unit is None:
        return "Checkpoint"
    return UNIT_WORDS["token" if unit == "billion tokens" else unit].title  # 220 B says the billions


def share_rows(shares: LabelShares) -> list[Row]:
    """How often each label is predicted at each checkpoint, mean over seeds, and how often it is the gold one."""
    rows = []
    for ref, means in zip(shares.checkpoints, shares.mean_shares.tolist(), strict=True):
        for order, (word, share) in enumerate(zip(shares.label_words, means, strict=True)):
            rows.append({"checkpoint": _short(ref), "label": word, "share": share, "order": order})
    for order, word in enumerate(shares.label_words):
        rows.append({"checkpoint": "gold", "label": word, "share": float(shares.gold_shares[order]), "order": order})
    return rows


def confusion_rows(counts: npt.NDArray[np.int64], words: Sequence[str]) -> list[Row]:
    """One row for each pair of gold and predicted label."""
    shares = confusion_shares(counts)
    return [
        {"gold": gold, "predicted": predicted, "count": int(counts[i, j]), "share": float(shares[i, j])}
        for i, gold in enumerate(words)
        for j, predicted in enumerate(words)
    ]
