"""The minimal mathematical model of strategy coopetition, as eight exact scalars, for many seeds at once.

Two strategies share the factors b and c: L1 (ICL) needs a, L2 (CIWL) needs d, and a large K makes it costly to learn
both a and d. It trains no network and knows no data. Source: arXiv 2503.05631, the minimal model of its last section;
the reduction of gradient descent on the vectors to eight scalars is this project's, and is exact.

Notation: u_v = <v*, v>, s_v = |v|^2, z_v = |v*|^2 for each vector v of a, b, c, d with target v* and n_v entries, all
three divided by n_v throughout. Then
    L1 = (z_a z_b z_c - 2 u_a u_b u_c + s_a s_b s_c) / 2, L2 the same with d for a, K = s_a s_d / 2,
    L = (L1 + mu1)(L2 + mu2) + alpha K,
and one step of gradient descent on every entry with the rate r_v = learning_rate / n_v is
    g = 1 - r_v q_v, p = r_v p_v, u <- g u + p z, s <- g (g s + p u) + p u_new, with
    p_a = (L2 + mu2) u_b u_c, q_a = (L2 + mu2) s_b s_c + alpha s_d, d likewise with L1 + mu1 and s_a,
    p_b = ((L2 + mu2) u_a + (L1 + mu1) u_d) u_c, q_b the same of s, c as b with b and c exchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from icl_core.errors import StudyError

__all__ = [
    "EMERGED_BELOW",
    "FADED_ABOVE",
    "LEARNED_BELOW",
    "OUTCOMES",
    "MinimalKnobs",
    "MinimalRun",
    "Outcome",
    "draw_vectors",
    "outcome_shares",
    "quantiles",
    "simulate",
]

Array = npt.NDArray[np.float64]
Outcome = Literal["stuck", "transient", "persistent", "left out"]
OUTCOMES: tuple[Outcome, ...] = ("stuck", "transient", "persistent", "left out")
"""L1 never learned; learned and lost again; learned and kept; overflowed, which no share includes."""

EMERGED_BELOW = 0.05
"""A seed's ICL has emerged once L1 is below this."""
FADED_ABOVE = 0.15
"""A seed whose ICL has emerged is transient if L1 ends above this."""
LEARNED_BELOW = 0.02
"""CIWL is learned if L2 ends below this."""


@dataclass(frozen=True, slots=True)
class MinimalKnobs:
    """What is simulated.

    Attributes:
        alpha: price of having both a and d, 0 to 10.
        mu1, mu2: the part of each loss that remains when it is learned, 0 to 10; mu1 = 0 lets ICL persist.
        dims: entries of a, b, c and d, 1 to 1,000 each.
        learning_rate: of gradient descent, above 0, at most 10.
        n_steps: of gradient descent, 1 to 200,000.
        n_seeds: independent draws of targets and starts, 1 to 512.
        seed: of the draws; draw i is the same for any number of draws.
        freeze_d: whether d keeps its start, so that CIWL can only be learned through b and c.
        record_every: steps between two recorded points.
    """

    alpha: float = 0.1
    mu1: float = 0.1
    mu2: float = 0.0
    dims: tuple[int, int, int, int] = (20, 20, 20, 160)
    learning_rate: float = 1.0
    n_steps: int = 16_000
    n_seeds: int = 16
    seed: int = 0
    freeze_d: bool = False
    record_every: int = 50


@dataclass(frozen=True, slots=True)
class MinimalRun:
    """The results, seed by seed.

    Attributes:
        knobs: of the simulation.
        steps: (n_points,) recorded steps, from 0 to n_steps.
        l1, l2: (n_seeds, n_points) losses at these steps; not finite if a seed overflowed.
        outcome: of each seed, from its recorded points.
        emergence_step: (n_seeds,) first recorded step with L1 below EMERGED_BELOW; NaN if there is none.
    """

    knobs: MinimalKnobs
    steps: npt.NDArray[np.int64]
    l1: Array
    l2: Array
    outcome: tuple[Outcome, ...]
    emergence_step: Array

    @property
    def n_left_out(self) -> int:
        """Number of seeds that overflowed."""
        return self.outcome.count("left out")

    @property
    def n_kept(self) -> int:
        """How many seeds did not overflow; only these are in any count or share."""
        return len(self.outcome) - self.n_left_out

    @property
    def n_emerged(self) -> int:
        """In how many seeds ICL emerged, whether it stayed or faded."""
        return self.outcome.count("transient") + self.outcome.count("persistent")

    def share_of(self, outcome: Outcome) -> float:
        """The share of an outcome among the seeds that did not overflow; 0 if all overflowed."""
        return self.outcome.count(outcome) / self.n_kept if self.n_kept else 0.0

    @property
    def median_emergence(self) -> float:
        """Step by which ICL has emerged in half of the seeds; infinite if in fewer, NaN if all overflowed."""
        steps = [step for step, outcome in zip(self.emergence_step, self.outcome, strict=True) if outcome != "left out"]
        return float(np.median(np.nan_to_num(steps, nan=np.inf))) if steps else float("nan")

    @property
    def learned_l2(self) -> npt.NDArray[np.bool_]:
        """(n_seeds,) whether L2 ends below LEARNED_BELOW."""
        return self.l2[:, -1] < LEARNED_BELOW

    @property
    def n_learned(self) -> int:
        """Number of seeds in which CIWL is learned."""
        return int(self.learned_l2.sum())


def _validate(knobs: MinimalKnobs) -> None:
    bounds = {
        "alpha": (knobs.alpha, 0, 10),
        "mu1": (knobs.mu1, 0, 10),
        "mu2": (knobs.mu2, 0, 10),
        "learning_rate": (knobs.learning_rate, 1e-6, 10),
        "n_steps": (knobs.n_steps, 1, 200_000),
        "n_seeds": (knobs.n_seeds, 1, 512),
        "seed": (knobs.seed, 0, 2**32),
        "record_every": (knobs.record_every, 1, 200_000),
    } | {f"dimension {name}": (n, 1, 1000) for name, n in zip("abcd", knobs.dims, strict=True)}
    for name, (value, low, high) in bounds.items():
        if not low <= value <= high:
            raise StudyError(f"The minimal model's {name} is {value:g}; it must be from {low:g} to {high:g}.")


def draw_vectors(knobs: MinimalKnobs) -> tuple[tuple[Array, Array], ...]:
    """Targets and starts of a, b, c and d, all entries N(0, 1).

    Returns:
        For each vector (target, start), each (n_seeds, n_v).
    """
    _validate(knobs)
    streams = [np.random.default_rng([knobs.seed, index]) for index in range(knobs.n_seeds)]
    drawn = [[(rng.standard_normal(n), rng.standard_normal(n)) for n in knobs.dims] for rng in streams]
    return tuple(
        (np.array([seed[v][0] for seed in drawn]), np.array([seed[v][1] for seed in drawn]))
        for v in range(len(knobs.dims))
    )


def simulate(knobs: MinimalKnobs) -> MinimalRun:
    """Gradient descent of all seeds in eight scalars each; equal to descent on the vectors up to rounding.

    Raises:
        StudyError: a knob is out of its range.
    """
    _validate(knobs)
    steps = np.unique([*range(0, knobs.n_steps, knobs.record_every), knobs.n_steps])
    rows = _first_rows(knobs)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        losses = _descend(rows, steps, knobs)
    return _summarised(knobs, steps, losses)


_ROWS = (
    *("za", "zd", "zb", "zc", "ua", "ud", "ub", "uc", "sa", "sd", "sb", "sc"),
    *("uu", "ss", "l1", "l2", "hu", "hs", "pa", "pd", "pb", "pc", "ga", "gd", "gb", "gc"),
)
"""The rows of a simulation's memory, each with a number for every seed: z, u and s of the vectors; uu = u_b u_c and ss
= s_b s_c; l1 = 2 (L1 + mu1) and l2 = 2 (L2 + mu2); hu and hs, the common part of the pulls on b and c; p and g of the
vectors. u of a and d is stored doubled (so their z is times 4 and their p is halved): then twice a loss is a sum."""


def _at(names: str) -> npt.NDArray[np.intp]:
    """The rows with these names."""
    return np.array([_ROWS.index(name) for name in names.split()])


def _first_rows(knobs: MinimalKnobs) -> Array:
    """(n_rows, n_seeds) memory before the first step: z, u and s are filled in."""
    rows = np.zeros((len(_ROWS), knobs.n_seeds))
    for name, (target, start) in zip("abcd", draw_vectors(knobs), strict=True):
        scale = 2 if name in "ad" else 1
        rows[_at(f"z{name}")] = scale**2 * (target * target).mean(axis=1)
        rows[_at(f"u{name}")] = scale * (target * start).mean(axis=1)
        rows[_at(f"s{name}")] = (start * start).mean(axis=1)
    return rows


def _descend(rows: Array, steps: npt.NDArray[np.int64], knobs: MinimalKnobs) -> Array:
    """Runs the scalars and records the losses.

    Args:
        rows: (n_rows, n_seeds) as named by _ROWS; changed in place.
        steps: (n_points,) steps at which to record, ascending from 0.
        knobs: of the simulation.

    Returns:
        (2, n_seeds, n_points) L1 and L2.
    """
    measure, step = _measure(rows, knobs), _step(rows, knobs)
    losses, offset = rows[_ROWS.index("l1") : _ROWS.index("l2") + 1], np.array([[knobs.mu1], [knobs.mu2]])
    recorded = np.empty((2, rows.shape[1], len(steps)))
    measure()
    for point, n_steps in enumerate(np.diff(steps, prepend=0)):
        for _ in range(n_steps):
            step()
            measure()
        recorded[:, :, point] = losses / 2 - offset
    return recorded


# With a few dozen seeds, time goes with the number of numpy calls; each is three times faster on contiguous memory.
# So every call covers several rows, neighbours or gathered by ``take``, and writes into memory that already exists.


def _measure(rows: Array, knobs: MinimalKnobs) -> Callable[[], None]:
    """A function that brings uu, ss, l1 and l2 up to date."""
    n = rows.shape[1]
    take, add, subtract, multiply = rows.take, np.add, np.subtract, np.multiply
    of_b_and_c, own_and_shared = _at("ub sb uc sc"), _at("ua ud sa sd uu uu ss ss")
    four, eight, products = np.empty((4, n)), np.empty((8, n)), np.empty((4, n))
    of_b, of_c, own, both = four[:2], four[2:], eight[:4], eight[4:]
    of_u, of_s = products[:2], products[2:]
    shared = rows[_ROWS.index("uu") : _ROWS.index("ss") + 1]
    losses = rows[_ROWS.index("l1") : _ROWS.index("l2") + 1]
    constant = rows[_at("za zd")] / 4 * (rows[_at("zb")] * rows[_at("zc")]) + 2 * np.array([[knobs.mu1], [knobs.mu2]])

    def measure() -> None:
        take(of_b_and_c, 0, four, "clip")
        multiply(of_b, of_c, shared)
        take(own_and_shared, 0, eight, "clip")
        multiply(own, both, products)
        subtract(constant, of_u, losses)
        add(losses, of_s, losses)

    return measure


def _step(rows: Array, knobs: MinimalKnobs) -> Callable[[], None]:
    """A function that moves u and s by one step of gradient descent, given up-to-date uu, ss, l1 and l2."""
    n = rows.shape[1]
    rate = [0.0 if v == "d" and knobs.freeze_d else knobs.learning_rate / knobs.dims["abcd".index(v)] for v in "adbc"]
    rates = np.repeat([*(r / 4 for r in rate), *(r / 2 for r in rate)], n).reshape(8, n)
    take, add, subtract, multiply = rows.take, np.add, np.subtract, np.multiply
    crossed, held = _at("l2 l2 l1 l1 sd sa"), _at("ua sa ud sd")
    losses_of, partners = _at("l2 l1 hu hu l2 l1 hs hs"), _at("uu uu uc ub ss ss sc sb")
    pulls, pulled = (
        _at("pa pd pb pc " * 2 + "ga gd gb gc " * 2),
        _at("za zd zb zc " + "ua ud ub uc " * 2 + "sa sd sb sc"),
    )
    six, four, eight, one_side, other_side = (np.empty((k, n)) for k in (6, 4, 8, 16, 16))
    opposite, dear, a_side, d_side = six[:4], six[4:], four[:2], four[2:]
    from_p, from_g, first, second = one_side[:8], one_side[8:], eight[:4], eight[4:]
    shared = rows[_ROWS.index("hu") : _ROWS.index("hs") + 1]
    pull = rows[_ROWS.index("pa") : _ROWS.index("gc") + 1]
    u_and_s = rows[_ROWS.index("ua") : _ROWS.index("sc") + 1]
    g, g_of_a_and_d, s = pull[4:], pull[4:6], u_and_s[4:]
    price, one = np.array(2 * knobs.alpha), np.array(1.0)

    def step() -> None:
        take(crossed, 0, six, "clip")
        take(held, 0, four, "clip")
        multiply(opposite, four, four)
        add(a_side, d_side, shared)
        take(losses_of, 0, pull, "clip")
        take(partners, 0, eight, "clip")
        multiply(pull, eight, pull)
        multiply(dear, price, dear)
        add(g_of_a_and_d, dear, g_of_a_and_d)
        multiply(pull, rates, pull)
        subtract(one, g, g)  # until here q
        take(pulls, 0, one_side, "clip")
        take(pulled, 0, other_side, "clip")
        multiply(one_side, other_side, one_side)
        add(from_p, from_g, u_and_s)  # u is new; s holds g s + p u
        multiply(pull, u_and_s, eight)
        add(first, second, s)

    return step


def _summarised(knobs: MinimalKnobs, steps: npt.NDArray[np.int64], losses: Array) -> MinimalRun:
    l1, l2 = losses
    finite = np.isfinite(l1).all(axis=1) & np.isfinite(l2).all(axis=1)
    below = l1 < EMERGED_BELOW
    emerged = below.any(axis=1)
    faded = l1[:, -1] > FADED_ABOVE
    outcome: list[Outcome] = [
        "left out" if not kept else "stuck" if not rose else "transient" if fell else "persistent"
        for kept, rose, fell in zip(finite, emerged, faded, strict=True)
    ]
    emergence = np.where(emerged & finite, steps[below.argmax(axis=1)].astype(float), np.nan)
    return MinimalRun(knobs, steps, l1, l2, tuple(outcome), emergence)


def outcome_shares(run: MinimalRun) -> dict[Outcome, float]:
    """The share of each outcome among the seeds that did not overflow, fractions that sum to 1."""
    return {outcome: run.share_of(outcome) for outcome in OUTCOMES[:3]}


def quantiles(losses: Array, levels: tuple[float, ...] = (0.1, 0.5, 0.9)) -> Array:
    """(n_levels, n_points) quantiles over the seeds with finite losses; NaN if there are none."""
    kept = losses[np.isfinite(losses).all(axis=1)]
    return np.quantile(kept, levels, axis=0) if len(kept) else np.full((len(levels), losses.shape[1]), np.nan)
