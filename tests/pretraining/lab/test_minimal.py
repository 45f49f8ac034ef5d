"""The minimal model: exact against descent on the vectors, and what arXiv 2503.05631 says of it, over 64 seeds."""

from __future__ import annotations

import dataclasses
import functools
import time

import numpy as np
import pytest

from icl_core.errors import StudyError
from icl_core.pretraining.lab.minimal import (
    EMERGED_BELOW,
    FADED_ABOVE,
    MinimalKnobs,
    MinimalRun,
    draw_vectors,
    outcome_shares,
    quantiles,
    simulate,
)

SEEDS = MinimalKnobs(n_seeds=64)
"""The setting of the acceptance: 64 seeds, 16,000 steps at rate 1."""


@functools.cache
def run(**changed: object) -> MinimalRun:
    return simulate(dataclasses.replace(SEEDS, **changed))


def among(found: MinimalRun, outcome: str) -> np.ndarray:
    return np.array([each == outcome for each in found.outcome])


def emerged(found: MinimalRun) -> float:
    """The share in which ICL emerged, kept or not."""
    return found.share_of("transient") + found.share_of("persistent")


def test_t1_by_default_icl_emerges_and_fades_into_ciwl():
    found = run()
    transient = among(found, "transient")
    assert emerged(found) >= 0.6
    assert transient.sum() / (emerged(found) * 64) >= 0.9
    assert found.learned_l2[transient].all()


def test_t2_without_mu1_icl_persists():
    found = run(mu1=0.0)
    assert found.share_of("transient") == 0
    assert found.share_of("persistent") >= 0.6


def test_t3_without_alpha_both_are_learned():
    found = run(alpha=0.0)
    assert found.share_of("transient") == 0
    assert ((found.l1[:, -1] < EMERGED_BELOW) & found.learned_l2).mean() >= 0.75


def test_t4_icl_needs_the_growth_of_d():
    free, frozen = run(), run(freeze_d=True)
    assert frozen.median_emergence > 1.2 * free.median_emergence
    assert frozen.share_of("stuck") > free.share_of("stuck")


def descend_vectors(knobs: MinimalKnobs) -> tuple[np.ndarray, np.ndarray]:
    """The same descent on the vectors themselves, with the residual tensors written out: the plain twin, slow.

    Returns:
        L1 and L2, each (n_seeds, n_steps + 1), at every step from 0.
    """
    drawn = draw_vectors(knobs)
    per_seed = [_descend_one([(t[i], v[i]) for t, v in drawn], knobs) for i in range(knobs.n_seeds)]
    return np.array([l1 for l1, _ in per_seed]), np.array([l2 for _, l2 in per_seed])


def _descend_one(drawn: list[tuple[np.ndarray, np.ndarray]], knobs: MinimalKnobs) -> tuple[list[float], list[float]]:
    target_a, target_b, target_c, target_d = (target for target, _ in drawn)
    a, b, c, d = (start.copy() for _, start in drawn)
    goal_1, goal_2 = (np.einsum("i,j,k", x, target_b, target_c) for x in (target_a, target_d))
    rate = knobs.learning_rate
    first, second = [], []
    for _ in range(knobs.n_steps + 1):
        miss_1, miss_2 = np.einsum("i,j,k", a, b, c) - goal_1, np.einsum("i,j,k", d, b, c) - goal_2
        l1, l2 = (miss_1**2).mean() / 2, (miss_2**2).mean() / 2
        first.append(float(l1))
        second.append(float(l2))
        f1, f2 = (l2 + knobs.mu2) / miss_1.size, (l1 + knobs.mu1) / miss_2.size
        both = knobs.alpha / (a.size * d.size)
        step_a = f1 * np.einsum("ijk,j,k->i", miss_1, b, c) + both * a * (d @ d)
        step_d = f2 * np.einsum("ijk,j,k->i", miss_2, b, c) + both * d * (a @ a)
        step_b = f1 * np.einsum("ijk,i,k->j", miss_1, a, c) + f2 * np.einsum("ijk,i,k->j", miss_2, d, c)
        step_c = f1 * np.einsum("ijk,i,j->k", miss_1, a, b) + f2 * np.einsum("ijk,i,j->k", miss_2, d, b)
        a, b, c = a - rate * step_a, b - rate * step_b, c - rate * step_c
        d = d if knobs.freeze_d else d - rate * step_d
    return first, second


@pytest.mark.parametrize(
    "knobs",
    [
        MinimalKnobs(dims=(4, 5, 6, 9), n_seeds=3, n_steps=1500, seed=5),
        MinimalKnobs(dims=(7, 3, 2, 4), n_seeds=2, n_steps=600, alpha=0.4, mu1=0.02, mu2=0.3, learning_rate=0.3),
        MinimalKnobs(dims=(4, 5, 6, 9), n_seeds=2, n_steps=600, freeze_d=True),
        MinimalKnobs(n_seeds=2, n_steps=60),
    ],
    ids=["small", "every knob", "frozen", "default dimensions"],
)
def test_t5_eight_scalars_equal_descent_on_the_vectors(knobs):
    found = simulate(dataclasses.replace(knobs, record_every=1))
    l1, l2 = descend_vectors(knobs)
    assert np.abs(l1[:, 0] - l1[:, -1]).max() > 1e-3, "nothing moved"
    np.testing.assert_allclose(found.l1, l1, atol=1e-9, rtol=0)
    np.testing.assert_allclose(found.l2, l2, atol=1e-9, rtol=0)


def test_t6_an_easy_d_leaves_no_time_for_icl():
    assert emerged(run(dims=(20, 20, 20, 20))) < 0.5


def test_a_seed_is_the_same_alone_and_in_company():
    alone = simulate(MinimalKnobs(n_seeds=1, n_steps=300))
    many = simulate(MinimalKnobs(n_seeds=5, n_steps=300))
    np.testing.assert_array_equal(alone.l1[0], many.l1[0])
    assert not np.array_equal(many.l1[0], many.l1[1])


def test_coarser_recording_leaves_the_descent_alone():
    fine = simulate(MinimalKnobs(n_seeds=3, n_steps=1001, record_every=1))
    coarse = simulate(MinimalKnobs(n_seeds=3, n_steps=1001, record_every=250))
    assert coarse.steps.tolist() == [0, 250, 500, 750, 1000, 1001]
    np.testing.assert_array_equal(coarse.l1, fine.l1[:, coarse.steps])


def test_outcomes_follow_their_definition():
    found = run()
    for l1, outcome, step in zip(found.l1, found.outcome, found.emergence_step, strict=True):
        assert (outcome == "stuck") == (l1.min() >= EMERGED_BELOW) == np.isnan(step)
        assert (outcome == "transient") == (l1.min() < EMERGED_BELOW and l1[-1] > FADED_ABOVE)
    assert sum(outcome_shares(found).values()) == pytest.approx(1)


def test_overflowing_seeds_are_counted_and_in_no_share():
    found = simulate(MinimalKnobs(learning_rate=2.0, n_seeds=32, dims=(5, 5, 5, 10), n_steps=2000))
    assert 0 < found.n_left_out < 32
    assert found.n_kept == 32 - found.n_left_out
    assert found.n_emerged == sum(outcome in ("transient", "persistent") for outcome in found.outcome)
    assert sum(outcome_shares(found).values()) == pytest.approx(1)
    assert np.isfinite(quantiles(found.l1)).all()
    assert np.isfinite(found.median_emergence)


def test_where_every_seed_overflows_nothing_is_claimed():
    found = simulate(MinimalKnobs(learning_rate=10.0, n_seeds=4, dims=(3, 3, 3, 3), n_steps=2000, alpha=10.0))
    assert found.n_left_out == 4
    assert (found.n_kept, found.n_emerged) == (0, 0)
    assert set(outcome_shares(found).values()) == {0.0}
    assert np.isnan(quantiles(found.l1)).all() and np.isnan(found.median_emergence)


def test_draws_are_standard_normal():
    drawn = np.concatenate([part.ravel() for pair in draw_vectors(SEEDS) for part in pair])
    assert abs(drawn.mean()) < 0.03 and abs(drawn.std() - 1) < 0.03


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"alpha": -0.1}, "alpha"),
        ({"mu1": float("nan")}, "mu1"),
        ({"dims": (20, 20, 0, 20)}, "dimension c"),
        ({"n_seeds": 10_000}, "n_seeds"),
        ({"n_steps": 10**9}, "n_steps"),
        ({"learning_rate": 0.0}, "learning_rate"),
    ],
)
def test_knobs_out_of_range_are_refused_by_name(changed, named):
    with pytest.raises(StudyError, match=named):
        simulate(dataclasses.replace(MinimalKnobs(), **changed))


def test_sixteen_seeds_are_fast_enough_for_a_slider():
    best = min(_seconds() for _ in range(3))
    assert best < 0.5


def _seconds() -> float:
    start = time.process_time()
    simulate(MinimalKnobs())
    return time.process_time() - start
