"""Repeats, sweeps and expected times, from made-up runs whose curves are known."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from icl_core.pretraining.lab.config import DataKnobs, LabConfig, without_seeds
from icl_core.pretraining.lab.runs import LabRun, list_runs, read_run
from icl_core.pretraining.lab.summary import (
    Final,
    expected_seconds,
    final_of,
    group_runs,
    marker_spread,
    spread,
    sweeps,
    transience_spread,
    who_decides,
)
from tests.support.made_up_lab import write_made_up_run

Write = Callable[..., LabRun]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(config: LabConfig, **kind: object) -> LabRun:
        return read_run(write_made_up_run(tmp_path, config, **kind))

    return written


def seeded(seed: int, **changed: object) -> LabConfig:
    return dataclasses.replace(LabConfig(), init_seed=seed, data_seed=seed, **changed)


def shifted(run: LabRun, name: str, by: float) -> LabRun:
    return dataclasses.replace(run, curves={**run.curves, name: run.curves[name] + by})


def test_repeats_are_runs_that_differ_in_seeds_alone(write: Write, tmp_path: Path) -> None:
    for config in (seeded(3), seeded(1), seeded(1, n_layers=1), seeded(2, n_steps=4000)):
        write(config)
    write(seeded(4, n_steps=4000), complete=False, steps=(0, 10))
    groups = group_runs(list_runs([tmp_path]))
    assert [[run.config.init_seed for run in group.runs] for group in groups] == [[1, 3], [1], [2], [4]]
    assert [group.state for group in groups] == ["complete"] * 3 + ["partial"]
    titles = [group.title for group in groups]
    assert titles[0] == "K 512" and len(set(titles)) == 4 and titles[3].endswith("(partial)")
    assert groups[0].config == LabConfig() == without_seeds(seeded(7))


def test_a_spread_holds_the_steps_that_all_repeats_have(write: Write) -> None:
    first, second = write(seeded(1)), write(seeded(2), steps=(0, 10, 300, 5000))
    found = spread([first, shifted(second, "icl", 0.1)], "icl")
    assert found.steps.tolist() == [0, 10, 300, 5000]
    at = np.isin(first.curves["step"], found.steps)
    np.testing.assert_allclose(found.low, first.curves["icl"][at])
    np.testing.assert_allclose(found.high - found.low, 0.1)
    np.testing.assert_allclose(found.mean, (found.low + found.high) / 2)
    assert found.n == 2
    assert not len(spread([first], "no such curve").steps)


def test_final_values_and_who_decides(write: Write) -> None:
    run = write(seeded(1))
    end = final_of([run, shifted(run, "flip", 0.02)], "flip")
    assert end is not None
    assert end.high - end.low == pytest.approx(0.02) and end.mean == pytest.approx((end.low + end.high) / 2)
    assert end.peak > 0.7 and end.n == 2
    assert who_decides([run]) == "CIWL"
    assert who_decides([shifted(run, "flip", 0.7)]) == "ICL"
    assert who_decides([shifted(run, "flip", 0.4)]) == "neither"
    assert who_decides([run, shifted(run, "flip", 0.7)]) == "neither"
    empty = dataclasses.replace(run, curves={"step": np.empty(0)})
    assert final_of([empty], "flip") is None and who_decides([empty]) is None


def test_markers_count_the_repeats_that_have_them(write: Write) -> None:
    run = write(seeded(1))
    never = dataclasses.replace(run, curves={**run.curves, "icl": np.full_like(run.curves["icl"], 0.5)})
    both = marker_spread([run, never])
    assert both["icl_emerges"].step == 300 and (both["icl_emerges"].n_found, both["icl_emerges"].n) == (1, 2)
    assert "icl_emerges" not in marker_spread([run, never, never])
    indices = transience_spread([run, never], "icl")
    assert indices[0] == pytest.approx(0.5, abs=0.05) and indices[1] is None


def test_a_sweep_holds_finished_runs_that_differ_in_its_two_knobs(write: Write, tmp_path: Path) -> None:
    for seed in (1, 2):
        write(seeded(seed))
    for n_classes, noise in ((1024, 1.0), (1024, 0.5), (256, 0.5)):
        write(LabConfig(data=DataKnobs(n_classes=n_classes, noise=noise)))
    write(LabConfig(data=DataKnobs(n_classes=64)), complete=False, steps=(0, 10))
    write(LabConfig(data=DataKnobs(n_classes=128), n_layers=1))
    (by_noise,) = sweeps(group_runs(list_runs([tmp_path])), "noise")
    assert [(c.n_classes, c.value, c.n) for c in by_noise.cells] == [
        (256, 0.5, 1), (512, 1.0, 2), (1024, 0.5, 1), (1024, 1.0, 1)
    ]  # fmt: skip
    assert by_noise.cells[1].flip == pytest.approx(read_run(next(tmp_path.glob("*"))).curves["flip"][-1])
    by_copy = {each.title: each.cells for each in sweeps(group_runs(list_runs([tmp_path])), "copy_probability")}
    assert {title: [(c.n_classes, c.value) for c in cells] for title, cells in by_copy.items()} == {
        "default knobs": [(512, 0.0), (1024, 0.0)],
        "noise 0.5": [(256, 0.0), (1024, 0.0)],
    }


def test_expected_time_follows_the_runs_that_were_timed(write: Write) -> None:
    run = write(seeded(1))
    assert expected_seconds(run.config, [run]) == pytest.approx(run.manifest["cpu_seconds"])
    assert expected_seconds(seeded(1, n_steps=2500), [run]) == pytest.approx(run.manifest["cpu_seconds"] / 2)
    assert expected_seconds(seeded(1, batch_size=256), [run]) > run.manifest["cpu_seconds"]
    assert expected_seconds(run.config, [run], n_runs=3) == pytest.approx(3 * run.manifest["cpu_seconds"])
    guess = expected_seconds(LabConfig())
    assert guess is not None and 20 < guess < 200


def test_no_time_is_told_for_steps_of_far_more_work_than_was_timed(write: Write) -> None:
    run = write(seeded(1))
    assert expected_seconds(seeded(1, width=256, n_layers=4), [run]) is not None
    assert expected_seconds(seeded(1, width=256, n_layers=4, batch_size=256), [run]) is None
    assert expected_seconds(seeded(1, width=256, n_layers=4, batch_size=256)) is None


@pytest.mark.parametrize(("mean", "has_faded"), [(0.9, False), (0.81, False), (0.79, True), (0.1, True)])
def test_a_curve_has_faded_if_it_ends_ten_points_below_its_peak(mean: float, has_faded: bool) -> None:
    assert Final(5000, mean, 0.0, 1.0, peak=0.9, n=1).has_faded is has_faded
