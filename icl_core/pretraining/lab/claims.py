"""Claims of two papers about in-context learning in small transformers, tested on the lab's runs.

It trains nothing and holds no outcome: every verdict is computed from the given runs. The lab's exemplars are Gaussian
and its runs are short. So a claim that fails here is not refuted for the papers' settings, and one that holds is not
proven. Sources: arXiv 2503.05631 (coopetition), arXiv 2501.06256 (repetition), arXiv 2312.03002.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from icl_core.pretraining.lab.config import DataKnobs, LabConfig, without_seeds
from icl_core.pretraining.lab.runs import LabRun, chance, transience_index

__all__ = ["CLAIMS", "Claim", "Verdict", "judge", "judge_all"]

Roles = Mapping[str, LabRun]
Outcome = Literal["reproduced", "not reproduced", "not tested"]
COOPETITION, REPETITION, REDDY = "arXiv 2503.05631", "arXiv 2501.06256", "arXiv 2312.03002"


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim and how the lab tests it.

    Attributes:
        key: short and unique.
        says: what the paper says, in one sentence.
        source: the paper.
        test: what is computed from each seed's runs, in words.
        configs: the runs that are compared, by role, whatever their seeds. Empty if the lab has no test.
        statistic: computes one seed's number from its runs by role.
        at_least, at_most: bounds; the claim counts as reproduced if every seed's number is within them.
    """

    key: str
    says: str
    source: str
    test: str
    configs: Mapping[str, LabConfig] = field(default_factory=dict)
    statistic: Callable[[Roles], float] | None = None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def bound(self) -> str:
        """The bounds in words, such as ``at least 0.4``."""
        bounds = (("at least", self.at_least), ("at most", self.at_most))
        return " and ".join(f"{words} {value:g}" for words, value in bounds if value is not None)

    def holds(self, value: float) -> bool:
        """Whether one seed's number is within the bounds."""
        low = -np.inf if self.at_least is None else self.at_least
        high = np.inf if self.at_most is None else self.at_most
        return bool(low <= value <= high)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a claim.

    Attributes:
        claim: the claim.
        outcome: ``reproduced`` if every seed's number is within the bounds, ``not reproduced`` if one is not, ``not
            tested`` if no seed has all the runs.
        values: the number of each seed, by seed of the weights, ascending.
    """

    claim: Claim
    outcome: Outcome
    values: Mapping[int, float]

    @property
    def n_seeds(self) -> int:
        """Seeds that have all the runs."""
        return len(self.values)

    @property
    def mean(self) -> float | None:
        """Mean over the seeds, None if there are none."""
        return float(np.mean(list(self.values.values()))) if self.values else None


def judge(claim: Claim, runs: Iterable[LabRun]) -> Verdict:
    """Computes the claim's number for each seed that has all runs, and compares it with the bounds."""
    by_seed: dict[int, dict[str, LabRun]] = {}
    wanted = {without_seeds(config): role for role, config in claim.configs.items()}
    for run in runs:
        role = wanted.get(without_seeds(run.config))
        if role is not None and run.state == "complete":
            by_seed.setdefault(run.config.init_seed, {})[role] = run
    values = {
        seed: claim.statistic(roles)
        for seed, roles in sorted(by_seed.items())
        if claim.statistic is not None and len(roles) == len(claim.configs)
    }
    if not values:
        return Verdict(claim, "not tested", {})
    holds = all(claim.holds(value) for value in values.values())
    return Verdict(claim, "reproduced" if holds else "not reproduced", values)


def judge_all(runs: Iterable[LabRun]) -> tuple[Verdict, ...]:
    """The verdicts on all claims, in their order."""
    known = tuple(runs)
    return tuple(judge(claim, known) for claim in CLAIMS)


# Statistics of one seed

_STRETCH = 300


def _final(name: str, role: str = "run") -> Callable[[Roles], float]:
    return lambda roles: float(roles[role].curves[name][-1])


def _gap(name: str, high: str, low: str) -> Callable[[Roles], float]:
    return lambda roles: _final(name, high)(roles) - _final(name, low)(roles)


def _from_chance(name: str) -> Callable[[Roles], float]:
    return lambda roles: abs(_final(name)(roles) - chance(roles["run"], name))


def _between(roles: Roles) -> float:
    """How far the middle run's final Flip lies between the other two's; negative if outside."""
    low, middle, high = (_final("flip", role)(roles) for role in ("none", "half", "all"))
    return min(middle - low, high - middle)


def _largest_jump(roles: Roles) -> float:
    """The largest rise of ICL between two points at most ``_STRETCH`` steps apart."""
    steps, icl = roles["run"].curves["step"], roles["run"].curves["icl"]
    apart = steps[None, :] - steps[:, None]
    rises = np.where((apart >= 0) & (apart <= _STRETCH), icl[None, :] - icl[:, None], 0.0)
    return float(rises.max())


def _icl_by_step(step: int) -> Callable[[Roles], float]:
    return lambda roles: float(roles["run"].curves["icl"][roles["run"].curves["step"] <= step].max())


def _transience(roles: Roles) -> float:
    return transience_index(roles["run"], "icl") or 0.0


def _fall_after_switch(roles: Roles) -> float:
    """Share of the Flip accuracy at the switch that is lost by the end."""
    run = roles["run"]
    at_switch = run.curves["flip"][run.curves["step"] == run.config.switch_step][0]
    return float((at_switch - run.curves["flip"][-1]) / at_switch)


def _loss_after_switch(roles: Roles) -> float:
    """Final loss on Train sequences of the second phase, divided by the loss right after the switch."""
    run = roles["run"]
    after = run.curves["loss_train"][run.curves["step"] > (run.config.switch_step or 0)]
    return float(after[-1] / after[0])


# The claims


def _attention_only(*, n_layers: int = 2, n_steps: int = 5000, **data: float) -> LabConfig:
    return LabConfig(DataKnobs(**data), has_mlp=False, n_layers=n_layers, n_steps=n_steps)  # type: ignore[arg-type]


def _with_mlp(**data: float) -> LabConfig:
    return LabConfig(DataKnobs(**data))  # type: ignore[arg-type]


_K256, _K512, _K1024 = (_attention_only(n_classes=k) for k in (256, 512, 1024))
_ABRUPT = _attention_only(n_classes=4096, noise=0.1, n_steps=2000)
_NO_COPY, _HALF, _COPY = (_with_mlp(copy_probability=p) for p in (0.0, 0.5, 1.0))
_FIRST = DataKnobs(n_classes=256, copy_probability=1.0)
_CURRICULUM = LabConfig(_FIRST, replace(_FIRST, copy_probability=0.0), 1500)
_ICL_ONLY = LabConfig(DataKnobs(mapping="random"), n_steps=2000)

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "abrupt",
        "In-context learning emerges within a short stretch of training.",
        COOPETITION,
        "K 4,096, noise .1, attention only: largest rise of ICL within 300 of 2,000 steps.",
        {"run": _ABRUPT},
        _largest_jump,
        at_least=0.2,
    ),
    Claim(
        "strong",
        "With many classes the model becomes a nearly perfect in-context learner.",
        REDDY,
        "The same runs: ICL by step 1,500.",
        {"run": _ABRUPT},
        _icl_by_step(1500),
        at_least=0.95,
    ),
    Claim(
        "asymptote",
        "Training ends in context-constrained in-weights learning: the weights' label is looked up in the context.",
        COOPETITION,
        "K 256, attention only: final CIWL.",
        {"run": _K256},
        _final("ciwl"),
        at_least=0.9,
    ),
    Claim(
        "asymptote-flip",
        "At the end of training the model ignores the context's labels when they contradict the weights.",
        COOPETITION,
        "K 256, attention only: final Flip.",
        {"run": _K256},
        _final("flip"),
        at_most=0.1,
    ),
    Claim(
        "no-iwl",
        "The model can answer only if the label is in the context: in-weights learning alone stays at chance.",
        COOPETITION,
        "K 256, attention only: distance of final IWL from chance (1/32).",
        {"run": _K256},
        _from_chance("iwl"),
        at_most=0.02,
    ),
    Claim(
        "transience",
        "In-context learning rises and then fades although the data stay the same.",
        COOPETITION,
        "K 512, MLP: share of the rise of ICL above chance that is lost again by the end.",
        {"run": _NO_COPY},
        _transience,
        at_least=0.5,
    ),
    Claim(
        "one-layer",
        "One layer learns no in-context strategy, only CIWL.",
        COOPETITION,
        "K 512, one attention layer: distance of final ICL from chance (1/2).",
        {"run": _attention_only(n_layers=1)},
        _from_chance("icl"),
        at_most=0.05,
    ),
    Claim(
        "positions",
        "With sinusoidal positions there is no in-context phase.",
        COOPETITION,
        "K 512, attention only, sinusoidal positions: highest ICL.",
        {"run": replace(_K512, positions="sinusoidal")},
        lambda roles: float(roles["run"].curves["icl"].max()),
        at_most=0.6,
    ),
    Claim(
        "matched",
        "If the query's context item is the identical exemplar, in-context learning emerges and persists.",
        COOPETITION,
        "K 512, copies always, attention only: final Flip on copies.",
        {"run": _attention_only(copy_probability=1.0)},
        _final("flip_copy"),
        at_least=0.8,
    ),
    Claim(
        "icl-only",
        "If labels are redrawn in each sequence, only the in-context strategy is learned.",
        COOPETITION,
        "K 512, random mapping: distance of final CIWL from chance (1/2).",
        {"run": _ICL_ONLY},
        _from_chance("ciwl"),
        at_most=0.06,
    ),
    Claim(
        "copies",
        "Exact repetition of the query in the context is what makes in-context learning win.",
        REPETITION,
        "K 512, MLP: final Flip with copies always, minus final Flip without copies.",
        {"none": _NO_COPY, "all": _COPY},
        _gap("flip", "all", "none"),
        at_least=0.4,
    ),
    Claim(
        "half-copies",
        "The effect of repetition grows with its share.",
        REPETITION,
        "K 512, MLP: how far final Flip with copies in half of the sequences lies between the other two.",
        {"none": _NO_COPY, "half": _HALF, "all": _COPY},
        _between,
        at_least=0.0,
    ),
    Claim(
        "classes",
        "In-context learning needs an in-weights task that is hard enough: it grows with more classes.",
        f"{REPETITION}, {REDDY}",
        "Attention only: final Flip at K 512 minus final Flip at K 256.",
        {"few": _K256, "more": _K512},
        _gap("flip", "more", "few"),
        at_least=0.2,
    ),
    Claim(
        "many-classes",
        "With still more classes it grows further.",
        f"{REPETITION}, {REDDY}",
        "Attention only: final Flip at K 1,024 minus final Flip at K 512.",
        {"more": _K512, "many": _K1024},
        _gap("flip", "many", "more"),
        at_least=0.1,
    ),
    Claim(
        "swapping",
        "Noise on the mapping from classes to labels favours the context over the weights.",
        REPETITION,
        "K 512, MLP: final Flip with label swapping .2, minus final Flip without it.",
        {"none": _NO_COPY, "swap": _with_mlp(label_swapping=0.2)},
        _gap("flip", "swap", "none"),
        at_least=0.4,
    ),
    Claim(
        "curriculum",
        "The lab's own: removing the copies makes in-context learning fall (induced by the curriculum).",
        "none",
        "K 256, MLP, copies for 1,500 steps: share of the Flip at the switch that is lost at the end.",
        {"run": _CURRICULUM},
        _fall_after_switch,
        at_least=0.6,
    ),
    Claim(
        "curriculum-loss",
        "The lab's own: meanwhile the training loss on the new data falls.",
        "none",
        "The same runs: final training loss divided by the training loss right after the switch.",
        {"run": _CURRICULUM},
        _loss_after_switch,
        at_most=1.0,
    ),
    Claim(
        "repetition-transience",
        "Repetition makes in-context learning less transient.",
        REPETITION,
        "Not tested: without repetition, the lab's runs have no in-context phase that could fade.",
    ),
    Claim(
        "burstiness",
        "Exact repetition matters more than burstiness: one copy at low burstiness does as much as high burstiness.",
        REPETITION,
        "Not tested: the presets with eight pairs can be trained, but no repeats of them are shipped.",
    ),
    Claim(
        "long-tail",
        "Exact repetition matters more than a long tail of rare classes.",
        REPETITION,
        "Not tested: the Zipf exponent is a knob, but no repeats with it are shipped.",
    ),
)
"""The claims in the order of the table."""
