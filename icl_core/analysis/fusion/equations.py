"""Eqs. 5 and 6 of arXiv 2406.14022 on arrays: label probabilities, their weighted sum, and the adaptive weights.

It knows no checkpoints, tasks or stored results. Column i of every score belongs to natural label i in every setting,
so the probabilities of abstract symbols are already those of their labels. Where the paper leaves a gap: an accuracy
below chance counts as no excess, and if no member has any excess, all weights are equal.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import special

from icl_core.analysis.predictions import Normalisation, SettingScores, normalised_scores
from icl_core.errors import StudyError

__all__ = ["adaptive_weights", "fuse", "label_probs", "no_excess", "weighted_sum"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


def adaptive_weights(accuracies: npt.ArrayLike, chance: npt.ArrayLike) -> FloatArray:
    """Eq. 6: each member's share of the summed excess over chance.

    Args:
        accuracies: (..., n_members) fractions, on the development set.
        chance: accuracy of guessing, one number or (...,).

    Returns:
        (..., n_members) weights, not negative, summing to 1. An accuracy below chance has no excess; if no
        member has any, all weights are equal (``no_excess`` tells where).

    >>> adaptive_weights([0.6, 0.4], 0.3).round(3).tolist()
    [0.75, 0.25]
    >>> adaptive_weights([0.2, 0.3], 0.5).tolist()
    [0.5, 0.5]
    """
    excess = _excess(accuracies, chance)
    total = excess.sum(axis=-1, keepdims=True)
    equal = np.full(excess.shape, 1 / excess.shape[-1])
    return np.asarray(np.divide(excess, total, out=equal, where=total > 0))


def no_excess(accuracies: npt.ArrayLike, chance: npt.ArrayLike) -> BoolArray:
    """Where no member is above chance, so that ``adaptive_weights`` are equal: (...,) bool.

    >>> no_excess([[0.2, 0.3], [0.6, 0.3]], 0.5).tolist()
    [True, False]
    """
    return np.asarray(_excess(accuracies, chance).sum(axis=-1) <= 0)


def _excess(accuracies: npt.ArrayLike, chance: npt.ArrayLike) -> FloatArray:
    values = np.asarray(accuracies, dtype=np.float64)
    if values.ndim == 0 or values.shape[-1] == 0 or not bool(np.all((values >= 0) & (values <= 1))):
        raise StudyError("Fusion weights need one accuracy for each member, a fraction between 0 and 1.")
    guessing = np.asarray(chance, dtype=np.float64)
    if guessing.shape not in ((), values.shape[:-1]) or not bool(np.all((guessing >= 0) & (guessing <= 1))):
        raise StudyError("Fusion weights need one chance accuracy for each task, a fraction between 0 and 1.")
    above = values - guessing[..., None]
    # An accuracy that equals chance must not gain a weight from binary rounding (1 - 2/3 against 1/3).
    return np.where(above > 1e-12, above, 0.0)


def fuse(label_probs: Sequence[npt.ArrayLike], weights: npt.ArrayLike) -> FloatArray:
    """Eq. 5 before the argmax: the weighted sum of the members' label_probs.

    Args:
        label_probs: n_members arrays (..., n_choices) in one order of queries and labels; rows sum to 1.
        weights: (n_members,) not negative, summing to 1; a weight of 1 gives exactly that member.

    Returns:
        (..., n_choices); rows sum to 1. The prediction is the argmax, ties to the lowest index.

    Raises:
        StudyError: shapes differ, rows or weights do not sum to 1, or a weight is negative.

    >>> fuse([[[0.9, 0.1]], [[0.5, 0.5]]], [0.25, 0.75]).round(3).tolist()
    [[0.6, 0.4]]
    """
    members = [np.asarray(member, dtype=np.float64) for member in label_probs]
    checked = _checked(weights, len(members))
    shapes = {member.shape for member in members}
    if len(shapes) > 1:
        raise StudyError(f"Members have label probabilities of shapes {sorted(shapes)}; they need the same queries.")
    if any(not np.allclose(member.sum(axis=-1), 1, atol=1e-6) for member in members):
        raise StudyError("A member's label probabilities do not sum to 1 over the labels.")
    return weighted_sum(members, checked)


def weighted_sum(members: Sequence[FloatArray], weights: FloatArray) -> FloatArray:
    """The sum without checks; members of weight 0 are left out, so that a weight of 1 is exact."""
    used = [(weight, member) for weight, member in zip(weights, members, strict=True) if weight > 0]
    return np.asarray(sum(weight * member for weight, member in used))


def _checked(weights: npt.ArrayLike, n_members: int) -> FloatArray:
    checked = np.asarray(weights, dtype=np.float64)
    if checked.shape != (n_members,) or n_members == 0:
        raise StudyError(f"{checked.size} fusion weights for {n_members} members; each member needs one.")
    if not (bool(np.all(checked >= 0)) and abs(float(checked.sum()) - 1) < 1e-9):
        raise StudyError(f"Fusion weights {checked.tolist()} must not be negative and must sum to 1.")
    return checked


def label_probs(scores: SettingScores, *, normalisation: Normalisation = "sum") -> FloatArray:
    """Softmax over the candidates' normalised scores, same shape as the log-likelihoods.

    ``calibrated`` divides the probabilities by those for the content-free query and renormalises.
    """
    return np.asarray(special.softmax(normalised_scores(scores, normalisation=normalisation), axis=-1))
