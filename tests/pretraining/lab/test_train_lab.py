"""Training: learning, repeatable, the same when interrupted, and complete only where the manifest stands."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from icl_core.errors import StudyError
from icl_core.pretraining.lab import train as train_module
from icl_core.pretraining.lab.config import LabConfig
from icl_core.pretraining.lab.model import build_model
from icl_core.pretraining.lab.runs import LabRun, find_run, folder_name, list_runs, read_run
from icl_core.pretraining.lab.train import evaluation_steps, kept_steps, load_weights, train_run

pytestmark = pytest.mark.usefixtures("small_sets")


def train(config: LabConfig, root: Path, should_stop: Callable[[], bool] | None = None) -> LabRun:
    path = root / folder_name(config)
    train_run(config, path, should_stop=should_stop)
    return read_run(path)


def stop_after(n: int) -> Callable[[], bool]:
    asked = iter([False] * n)
    return lambda: next(asked, True)


def assert_equal_runs(one: LabRun, other: LabRun) -> None:
    assert set(one.curves) == set(other.curves)
    for name in one.curves:
        assert np.array_equal(one.curves[name], other.curves[name], equal_nan=True), name
    assert np.array_equal(one.attention, other.attention)
    assert one.kept_steps == other.kept_steps
    for step in one.kept_steps:
        files = [(run.path / f"step-{step}" / "model.safetensors").read_bytes() for run in (one, other)]
        assert files[0] == files[1]
    assert json.dumps(one.manifest["n_parameters"]) == json.dumps(other.manifest["n_parameters"])


def test_a_run_learns_and_leaves_what_the_reader_expects(small_config: LabConfig, tmp_path: Path) -> None:
    told: list[tuple[int, int, float]] = []
    config = replace(small_config, n_steps=300)
    path = tmp_path / folder_name(config)
    manifest = train_run(config, path, on_progress=lambda *news: told.append(news))
    run = read_run(path)
    assert manifest is not None and run.state == "complete" and run.config == config
    assert [news[:2] for news in told] == [(step, 300) for step in range(1, 301)]
    assert tuple(run.curves["step"]) == evaluation_steps(config)
    assert tuple(run.attention_steps) == run.kept_steps == kept_steps(config)
    assert run.curves["loss"][-1] < 0.5 * run.curves["loss"][1] and np.isnan(run.curves["loss"][0])
    assert run.curves["train"][-1] > 0.75 > run.curves["train"][0]
    assert run.attention.shape == (len(run.kept_steps), 2, 2, 5, 5)
    assert np.allclose(run.attention.sum(axis=-1), 1.0, atol=5e-3)
    assert run.grafts is not None and np.array_equal(run.grafts["step"], run.kept_steps)
    assert run.grafts["early_first"]["icl"][-1] == run.grafts["early_second"]["icl"][-1]
    assert run.grafts["early_first"]["icl"][-1] == pytest.approx(run.curves["icl"][-1], abs=0.03)
    assert not list(path.glob(".*")) and not (path / "state.safetensors").exists()
    assert find_run(config, [tmp_path]) is not None and len(list_runs([tmp_path])) == 1


def test_equal_configurations_give_equal_runs_and_other_seeds_do_not(small_config: LabConfig, tmp_path: Path) -> None:
    one, again = (train(small_config, tmp_path / name) for name in ("a", "b"))
    assert_equal_runs(one, again)
    for seed in ("init_seed", "data_seed"):
        other = train(replace(small_config, **{seed: 2}), tmp_path / "c")  # type: ignore[arg-type]
        assert not np.array_equal(one.curves["loss"][1:], other.curves["loss"][1:])


@pytest.mark.parametrize("stops", [(1,), (17, 20), (59,)])
@pytest.mark.parametrize("decay_kind", ["loss", "decoupled"])
def test_a_run_taken_up_again_is_the_unbroken_one(
    small_config: LabConfig, tmp_path: Path, stops: tuple[int, ...], decay_kind: str
) -> None:
    config = replace(small_config, weight_decay=0.1, decay_kind=decay_kind)  # type: ignore[arg-type]
    whole = train(config, tmp_path / "whole")
    for n in stops:
        part = train(config, tmp_path / "parts", stop_after(n))
        assert part.state == "partial" and not part.manifest
    assert_equal_runs(whole, train(config, tmp_path / "parts"))


def test_a_killed_run_goes_on_from_its_last_whole_state(
    small_config: LabConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(small_config, tmp_path / "whole")
    real, calls = train_module.save_file, iter(range(1000))

    def dies(*args: object, **options: object) -> None:
        if next(calls) == 9:
            raise KeyboardInterrupt
        real(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(train_module, "save_file", dies)
    with pytest.raises(KeyboardInterrupt):
        train(small_config, tmp_path / "killed")
    monkeypatch.setattr(train_module, "save_file", real)
    path = tmp_path / "killed" / folder_name(small_config)
    assert read_run(path).state == "partial" and not list(path.rglob(".*"))
    assert_equal_runs(whole, train(small_config, tmp_path / "killed"))


def test_a_run_killed_after_its_last_step_is_finished(
    small_config: LabConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(small_config, tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train_module, "_grafts", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        train(small_config, tmp_path / "killed")
    finished = train(small_config, tmp_path / "killed")
    assert_equal_runs(whole, finished)
    assert finished.grafts is not None and whole.grafts is not None
    assert all(np.array_equal(finished.grafts["early_first"][n], v) for n, v in whole.grafts["early_first"].items())


def test_a_complete_run_is_left_alone(small_config: LabConfig, tmp_path: Path) -> None:
    run = train(small_config, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    assert train_run(small_config, run.path, should_stop=lambda: True) is not None
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before


def test_the_switch_changes_the_data_from_its_step_on(small_config: LabConfig, tmp_path: Path) -> None:
    second = replace(small_config.data, mapping="random")
    config = replace(small_config, second_data=second, switch_step=40)
    one, other = train(small_config, tmp_path), train(config, tmp_path)
    before = [step for step in np.intersect1d(one.curves["step"], other.curves["step"]) if step < 40]
    rows = [np.isin(run.curves["step"], before) for run in (one, other)]
    assert len(before) > 5 and 40 in other.kept_steps
    assert np.array_equal(one.curves["flip"][rows[0]], other.curves["flip"][rows[1]])
    assert other.curves["loss_train"][-1] > one.curves["loss_train"][-1]


def test_half_precision_weights_answer_as_the_trained_ones(small_config: LabConfig, tmp_path: Path) -> None:
    run = train(small_config, tmp_path)
    stored = load_file(run.path / "step-0" / "model.safetensors")
    expected = dict(build_model(small_config).named_parameters())
    assert set(stored) == set(expected)
    assert all(torch.equal(stored[name], expected[name].half()) for name in stored)
    loaded = load_weights(small_config, run.path / "step-0")
    assert all(p.dtype == torch.float32 for p in loaded.parameters())


def test_a_training_that_diverges_is_one_sentence(small_config: LabConfig, tmp_path: Path) -> None:
    config = replace(small_config, learning_rate=1e-2)
    path = tmp_path / folder_name(config)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StudyError, match="diverged at step 1"):
        patch.setattr(train_module, "training_step", lambda *_: float("nan"))
        train_run(config, path)


def test_values_out_of_range_train_nothing(small_config: LabConfig, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="Heads"):
        train_run(replace(small_config, n_heads=9), tmp_path / "x")
    assert not (tmp_path / "x").exists()
