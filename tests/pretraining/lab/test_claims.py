"""Claims are judged from runs alone: tested where a seed has them all, reproduced where every seed holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from icl_core.pretraining.lab.claims import CLAIMS, Claim, judge, judge_all
from icl_core.pretraining.lab.config import LabConfig, validate_config, without_seeds
from icl_core.pretraining.lab.runs import LabRun

STEPS = (0.0, 100.0, 1000.0, 1500.0, 1600.0, 5000.0)


def run_of(config: LabConfig, *, seed: int = 1, complete: bool = True, **curves: tuple[float, ...]) -> LabRun:
    names = ("icl", "ciwl", "flip", "iwl", "flip_copy", "loss_train")
    flat = {name: np.array(curves.get(name, (0.5,) * len(STEPS))) for name in names}
    config = replace(config, init_seed=seed, data_seed=seed)
    state = "complete" if complete else "partial"
    no_steps = np.empty(0, dtype=np.int64)
    return LabRun(config, "", Path(), True, state, {"step": np.array(STEPS), **flat}, no_steps, np.empty(0))


def claim_of(key: str) -> Claim:
    return next(claim for claim in CLAIMS if claim.key == key)


def flip_ending_at(value: float) -> tuple[float, ...]:
    return (0.5, 0.4, 0.4, 0.4, 0.4, value)


def test_every_seed_has_to_keep_the_bound() -> None:
    claim = claim_of("copies")
    none, copied = claim.configs["none"], claim.configs["all"]
    runs = [run_of(none, seed=s, flip=flip_ending_at(0.1)) for s in (1, 2, 3)]
    runs += [run_of(copied, seed=s, flip=flip_ending_at(v)) for s, v in ((1, 0.8), (2, 0.55))]
    verdict = judge(claim, runs)
    assert verdict.outcome == "reproduced" and verdict.n_seeds == 2
    assert dict(verdict.values) == pytest.approx({1: 0.7, 2: 0.45})
    assert verdict.mean == pytest.approx(0.575)
    worse = judge(claim, [*runs, run_of(copied, seed=3, flip=flip_ending_at(0.3))])
    assert worse.outcome == "not reproduced" and worse.n_seeds == 3


def test_without_complete_runs_of_all_roles_nothing_is_tested() -> None:
    claim = claim_of("copies")
    half = [run_of(claim.configs["all"], flip=flip_ending_at(0.9))]
    partial = [*half, run_of(claim.configs["none"], complete=False)]
    other_seed = [*half, run_of(claim.configs["none"], seed=2)]
    for runs in ([], half, partial, other_seed):
        verdict = judge(claim, runs)
        assert (verdict.outcome, verdict.n_seeds, verdict.mean) == ("not tested", 0, None)
    assert {verdict.outcome for verdict in judge_all([])} == {"not tested"}


@pytest.mark.parametrize(
    ("key", "curves", "expected"),
    [
        ("abrupt", {"icl": (0.5, 0.6, 0.9, 0.7, 0.95, 0.9)}, 0.25),
        ("strong", {"icl": (0.5, 0.5, 0.9, 0.96, 0.97, 0.99)}, 0.96),
        ("transience", {"icl": (0.5, 0.6, 0.9, 0.9, 0.8, 0.7)}, 0.5),
        ("one-layer", {"icl": (0.5, 0.5, 0.5, 0.5, 0.5, 0.47)}, 0.03),
        ("no-iwl", {"iwl": (0.0, 0.0, 0.0, 0.0, 0.0, 1 / 32 + 0.015)}, 0.015),
        ("positions", {"icl": (0.5, 0.7, 0.5, 0.5, 0.5, 0.47)}, 0.7),
        ("curriculum", {"flip": (0.5, 0.1, 0.1, 0.4, 0.3, 0.1)}, 0.75),
        ("curriculum-loss", {"loss_train": (3.0, 2.0, 1.0, 0.3, 0.5, 0.1)}, 0.2),
    ],
)
def test_statistics_of_known_curves(key: str, curves: dict[str, tuple[float, ...]], expected: float) -> None:
    claim = claim_of(key)
    verdict = judge(claim, [run_of(claim.configs["run"], **curves)])
    assert verdict.values[1] == pytest.approx(expected)
    assert verdict.outcome == ("reproduced" if claim.holds(expected) else "not reproduced")


def test_the_middle_share_has_to_lie_between() -> None:
    claim = claim_of("half-copies")
    finals = {"none": 0.1, "half": 0.5, "all": 0.8}
    runs = [run_of(claim.configs[role], flip=flip_ending_at(value)) for role, value in finals.items()]
    assert judge(claim, runs).values[1] == pytest.approx(0.3)
    outside = [*runs[:1], run_of(claim.configs["half"], flip=flip_ending_at(0.05)), runs[2]]
    assert judge(claim, outside).outcome == "not reproduced"


def test_claims_are_well_formed() -> None:
    assert len({claim.key for claim in CLAIMS}) == len(CLAIMS)
    for claim in CLAIMS:
        assert claim.says.endswith(".") and claim.test.endswith(".")
        assert bool(claim.configs) == (claim.statistic is not None) == bool(claim.bound)
        assert claim.configs or claim.test.startswith("Not tested: ")
        for config in claim.configs.values():
            validate_config(config)
            assert without_seeds(config) == without_seeds(replace(config, init_seed=5, data_seed=6))
