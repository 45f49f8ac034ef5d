"""The shipped runs: whole, small, and with weights that answer as their curves say."""

from __future__ import annotations

import pytest

from icl_core.pretraining.lab.config import config_digest, validate_config
from icl_core.pretraining.lab.evaluators import evaluation_sets, label_logprobs, set_accuracy
from icl_core.pretraining.lab.runs import ACCURACIES, LabRun, list_runs, read_run
from icl_core.pretraining.lab.train import checkpoint_entries, load_weights
from icl_core.pretraining.lab.world import make_world
from icl_core.settings import lab_runs_path

MOST_BYTES = 13_000_000


@pytest.fixture(scope="module")
def shipped() -> tuple[LabRun, ...]:
    return list_runs([lab_runs_path()])


def test_all_folders_are_whole_runs_under_their_digest(shipped: tuple[LabRun, ...]) -> None:
    folders = [path for path in lab_runs_path().iterdir() if path.is_dir()]
    assert len(folders) == len(shipped) >= 10
    by_head = {f"{head}_by_head" for head in ("previous_token", "self_attention", "induction")}
    for path in folders:
        run = read_run(path)
        validate_config(run.config)
        assert run.state == "complete" and run.is_shipped
        assert run.manifest["digest"] == config_digest(run.config) and run.manifest["name"] == run.name
        assert run.manifest["checkpoints"] == checkpoint_entries(run.config, run.kept_steps)
        assert run.last_step == run.config.n_steps and run.curves["step"][0] == 0
        assert {*ACCURACIES, *by_head, "context_mass", "loss"} < set(run.curves)
        assert not list(path.glob("state*")) and not list(path.rglob(".*"))


def test_ten_or_more_have_weights_attention_and_grafts_and_all_are_small(shipped: tuple[LabRun, ...]) -> None:
    whole = [run for run in shipped if run.kept_steps]
    assert len(whole) >= 10
    for run in whole:
        assert run.kept_steps[0] == 0 and run.kept_steps[-1] == run.config.n_steps
        assert len(run.attention_steps) >= 15
        assert (run.grafts is None) == (run.config.n_layers == 1)
    assert sum(path.stat().st_size for path in lab_runs_path().rglob("*") if path.is_file()) <= MOST_BYTES


def test_shipped_weights_answer_as_the_curves_say(shipped: tuple[LabRun, ...]) -> None:
    run = max((run for run in shipped if run.kept_steps), key=lambda run: run.curves["flip"][-1])
    model = load_weights(run.config, run.path / f"step-{run.kept_steps[-1]}")
    sets = evaluation_sets(make_world(run.config), step=run.config.n_steps)
    for name in ("train", "icl", "ciwl", "flip", "iwl"):
        found = set_accuracy(name, label_logprobs(model, sets[name]), sets[name])
        assert found == pytest.approx(run.curves[name][-1], abs=0.02), name
