"""Reading runs: whole and partial folders, damage in one sentence, and the numbers that summarise curves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from icl_core.errors import StoreError, UnknownNameError
from icl_core.pretraining.lab.config import DataKnobs, LabConfig
from icl_core.pretraining.lab.runs import (
    LabRun,
    PhaseMarkers,
    chance,
    chance_band,
    find_run,
    list_runs,
    phase_markers,
    read_run,
    transience_index,
)
from tests.support.made_up_lab import made_up_curves, write_made_up_run


def run_with(config: LabConfig | None = None, **curves: list[float]) -> LabRun:
    length = len(next(iter(curves.values())))
    flat = {name: np.full(length, 0.5) for name in ("icl", "ciwl", "flip")}
    flat |= {name: np.array(values) for name, values in curves.items()}
    flat["step"] = np.arange(length) * 100.0
    return LabRun(config or LabConfig(), "", Path(), False, "complete", flat, np.empty(0, dtype=np.int64), np.empty(0))


def test_a_whole_and_a_partial_run_are_read(tmp_path: Path) -> None:
    config = LabConfig(n_layers=3)
    whole = read_run(write_made_up_run(tmp_path, config))
    part = read_run(write_made_up_run(tmp_path, LabConfig(), complete=False, steps=(0, 10, 20)))
    assert (whole.state, part.state) == ("complete", "partial")
    assert (whole.last_step, part.last_step) == (5000, 20)
    assert np.array_equal(whole.curves["flip"], made_up_curves(config)["flip"])
    assert whole.curves["induction_by_head"].shape == (17, 3, 8)
    assert whole.attention.shape == (7, 3, 8, 5, 5) and list(part.attention_steps) == [0, 10]
    assert whole.grafts is not None and part.grafts is None and part.manifest == {}
    assert whole.manifest["cpu_seconds"] == 40.0 and "grafts" not in whole.manifest


def test_lists_prefer_whole_runs_and_pass_over_what_is_no_run(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    write_made_up_run(one, LabConfig(), complete=False)
    write_made_up_run(two, LabConfig())
    write_made_up_run(two, LabConfig(init_seed=2, data_seed=2), complete=False)
    broken = write_made_up_run(one, LabConfig(init_seed=3))
    (broken / "curves.parquet").write_text("no table")
    runs = list_runs([one, two, tmp_path / "none"])
    assert [(run.config.init_seed, run.state, run.path.parent) for run in runs] == [
        (1, "complete", two),
        (2, "partial", two),
    ]
    found = find_run(LabConfig(), [one, two])
    assert found is not None and found.state == "complete"
    assert find_run(LabConfig(init_seed=9), [one, two]) is None
    with pytest.raises(StoreError, match="no readable lab run"):
        read_run(broken)


def test_a_folder_under_another_name_is_refused(tmp_path: Path) -> None:
    path = write_made_up_run(tmp_path)
    with pytest.raises(StoreError, match="not named after its configuration"):
        read_run(path.rename(tmp_path / "other"))


def test_chance_follows_the_context() -> None:
    run = run_with(LabConfig(DataKnobs(n_pairs=8, burstiness=3)), icl=[0.5])
    assert chance(run, "icl") == chance(run, "flip") == chance(run, "train") == 1 / 4
    assert chance(run, "ciwl") == 1 / 8
    assert chance(run, "iwl") == chance(run, "tl") == 1 / 32
    assert chance(run, "context_mass") == 4 / 32
    assert chance_band(run, "ciwl") == pytest.approx(3 * np.sqrt(1 / 8 * 7 / 8 / 1000))
    with pytest.raises(UnknownNameError, match="no chance level"):
        chance(run, "induction")


def test_phase_markers_of_a_rise_and_fall() -> None:
    run = run_with(
        icl=[0.5, 0.62, 0.9, 0.8, 0.6],
        flip=[0.5, 0.6, 0.7, 0.4, 0.1],
        ciwl=[0.55, 0.5, 0.6, 0.85, 0.95],
    )
    assert phase_markers(run) == PhaseMarkers(icl_emerges=100, flip_peak=200, flip_half=300, ciwl_over_icl=300)


def test_what_does_not_happen_has_no_marker() -> None:
    run = run_with(icl=[0.5, 0.9, 0.99], flip=[0.5, 0.53, 0.5], ciwl=[0.6, 0.5, 0.5])
    assert phase_markers(run) == PhaseMarkers(icl_emerges=100, flip_peak=None, flip_half=None, ciwl_over_icl=None)
    rising = run_with(icl=[0.5, 0.6, 0.7], flip=[0.5, 0.7, 0.9], ciwl=[0.5, 0.5, 0.5])
    assert phase_markers(rising) == PhaseMarkers(200, 200, None, None)
    assert phase_markers(run_with(icl=[])) == PhaseMarkers(None, None, None, None)


@pytest.mark.parametrize(
    ("curve", "expected"),
    [([0.5, 0.9, 0.9], 0.0), ([0.5, 0.9, 0.5], 1.0), ([0.5, 0.9, 0.7], 0.5), ([0.5, 0.9, 0.1], 2.0)],
)
def test_the_transience_index(curve: list[float], expected: float) -> None:
    assert transience_index(run_with(icl=curve)) == pytest.approx(expected)


def test_without_a_peak_there_is_no_transience() -> None:
    assert transience_index(run_with(icl=[0.5, 0.54, 0.4])) is None
    assert transience_index(run_with(icl=[])) is None


def test_titles_and_names_tell_runs_apart() -> None:
    configs = [LabConfig(), LabConfig(init_seed=2), LabConfig(width=32), replace(LabConfig(), data_seed=2)]
    runs = [run_with(config, icl=[0.5]) for config in configs]
    assert len({run.title for run in runs}) == len({run.name for run in runs}) == 4
    assert all(" " not in run.name and "," not in run.name for run in runs)
