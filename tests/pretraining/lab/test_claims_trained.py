"""What came out: the recorded verdicts of the shipped runs, and fresh runs that have to agree with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from icl_core.pretraining.lab.claims import CLAIMS, Verdict, judge_all
from icl_core.pretraining.lab.config import PRESETS, DataKnobs, LabConfig
from icl_core.pretraining.lab.runs import LabRun, find_run, folder_name, list_runs, read_run
from icl_core.pretraining.lab.train import train_run
from icl_core.settings import lab_runs_path

pytestmark = pytest.mark.lab

RECORDED = {
    "abrupt": "reproduced",
    "strong": "reproduced",
    "asymptote": "reproduced",
    "asymptote-flip": "reproduced",
    "no-iwl": "not reproduced",
    "transience": "not reproduced",
    "one-layer": "reproduced",
    "icl-only": "reproduced",
    "copies": "reproduced",
    "half-copies": "reproduced",
    "classes": "reproduced",
    "many-classes": "reproduced",
    "swapping": "reproduced",
    "curriculum": "reproduced",
    "curriculum-loss": "reproduced",
}
"""Outcomes over three or more seeds; the bounds stand with the claims."""


@pytest.fixture(scope="module")
def verdicts() -> dict[str, Verdict]:
    return {verdict.claim.key: verdict for verdict in judge_all(list_runs([lab_runs_path()]))}


@pytest.mark.parametrize("key", RECORDED)
def test_the_shipped_runs_give_the_recorded_verdict(key: str, verdicts: dict[str, Verdict]) -> None:
    assert verdicts[key].n_seeds >= 3
    assert verdicts[key].outcome == RECORDED[key], dict(verdicts[key].values)


def trained(config: LabConfig, root: Path) -> LabRun:
    path = root / folder_name(config)
    train_run(config, path)
    return read_run(path)


def test_abrupt_emergence_trained_again_gives_the_shipped_curve(tmp_path: Path) -> None:
    config = next(claim.configs["run"] for claim in CLAIMS if claim.key == "abrupt")
    shipped = find_run(config, [lab_runs_path()])
    assert shipped is not None
    run = trained(config, tmp_path)
    for name in ("icl", "flip", "train"):
        assert run.curves[name][-1] == pytest.approx(shipped.curves[name][-1], abs=0.03), name


def test_copies_make_icl_win_from_a_seed_that_was_not_looked_at_before(tmp_path: Path) -> None:
    plain = LabConfig(DataKnobs(), init_seed=11, data_seed=11, n_steps=1500)
    copied = replace(plain, data=DataKnobs(copy_probability=1.0))
    flips = [trained(config, tmp_path).curves["flip"][-1] for config in (plain, copied)]
    assert flips[1] - flips[0] >= 0.4


@pytest.mark.usefixtures("small_sets")
def test_every_preset_trains(tmp_path: Path) -> None:
    for config in PRESETS.values():
        switch = None if config.switch_step is None else 20
        assert trained(replace(config, n_steps=40, switch_step=switch), tmp_path).state == "complete"
