"""Summaries over models, subsampling of checkpoints, Fig. 2's points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from icl_core.analysis.comparison import (
    ModelTrajectory,
    evenly_spread,
    family_occurrence,
    intensity_against_icl,
    mean_over_runs,
    model_trajectory,
    seed_groups,
    subsample,
    summarise,
)
from icl_core.analysis.competition import competition, competition_measures
from icl_core.analysis.predictions import collect_predictions
from icl_core.errors import StudyError
from icl_core.records import CellRecord, CheckpointRef

Make = Callable[..., CellRecord]

GOLD = [0, 1, 0, 1]
HITS = {"gold": [1, 2, 3], "random": [3, 1, 2], "abstract": [0, 2, 1]}


def cells_of(make: Make, hits: dict[str, list[int]], *, model: str = "m-1", task: str = "t") -> list[CellRecord]:
    return [
        make(
            [g if i < n else 1 - g for i, g in enumerate(GOLD)],
            GOLD,
            step=10 * at,
            setting=setting,
            model=model,
            task=task,
        )
        for setting, counts in hits.items()
        for at, n in enumerate(counts)
    ]


def test_trajectory_and_summary_hand_worked(make_record: Make) -> None:
    trajectory = model_trajectory(collect_predictions(cells_of(make_record, HITS))["m-1"])
    np.testing.assert_allclose(trajectory.tr, [0.75, 0.25, 0.5])
    np.testing.assert_allclose(trajectory.tl, [0, 0.5, 0.25])
    summary = summarise(trajectory, epsilon=0.01)
    assert summary.competition.ratio == 1 and summary.competition.mean_intensity == 1  # -.5/+.5, -.25/+.25
    assert summary.final_icl == 0.75 and summary.final_checkpoint.step == 20 and summary.n_intervals == 2


# Hits of 4 at steps 0 and 10, by setting, task and seed; at step 0 calibration makes every answer label 1.
UNEVEN = {
    "random": {("a", 13): (3, 1), ("a", 21): (2, 2), ("b", 13): (4, 0), ("b", 21): (1, 1)},
    "abstract": {("a", 13): (0, 2), ("a", 21): (1, 3), ("b", 13): (2, 2), ("b", 21): (4, 1)},
    "gold": {("a", 13): (1, 2), ("a", 21): (1, 4), ("b", 13): (3, 3), ("b", 21): (1, 3)},
}
ACCURACY = (0, 0.25, 0.5, 0.75, 1)
MACRO_F1 = (0, (2 / 5 + 0) / 2, 0.5, (4 / 5 + 2 / 3) / 2, 1)
"""Of 4 answers to labels 0, 1, 0, 1, of which the first so many are right."""


@pytest.mark.parametrize(
    ("asked", "tasks", "seeds", "by_hits", "first"),
    [
        ({}, "ab", (13, 21), ACCURACY, None),
        ({"measure": "macro_f1"}, "ab", (13, 21), MACRO_F1, None),
        ({"task": "b"}, "b", (13, 21), ACCURACY, None),
        ({"demo_seeds": (21,)}, "ab", (21,), ACCURACY, None),
        ({"normalisation": "calibrated"}, "ab", (13, 21), ACCURACY, 0.5),
    ],
)
def test_a_trajectory_is_of_the_tasks_seeds_scores_and_measure_asked_for(
    make_record: Make,
    asked: dict[str, Any],
    tasks: str,
    seeds: tuple[int, ...],
    by_hits: tuple[float, ...],
    first: float | None,
) -> None:
    cells = [
        make_record(
            [g if i < n else 1 - g for i, g in enumerate(GOLD)],
            GOLD,
            step=10 * at,
            task=task,
            demo_seed=seed,
            setting=setting,
            content_free=[3, 0] if at == 0 else [0, 0],
        )
        for setting, of_cells in UNEVEN.items()
        for (task, seed), hits in of_cells.items()
        for at, n in enumerate(hits)
    ]
    found = model_trajectory(collect_predictions(cells)["m-1"], **asked)
    by_task = {
        setting: [[np.mean([by_hits[of_cells[task, seed][at]] for seed in seeds]) for at in range(2)] for task in tasks]
        for setting, of_cells in UNEVEN.items()
    }
    if first is not None:
        by_task = {setting: [[first, values[1]] for values in of_tasks] for setting, of_tasks in by_task.items()}
    np.testing.assert_allclose(found.tr_by_task, by_task["random"])
    np.testing.assert_allclose(found.tl_by_task, by_task["abstract"])
    np.testing.assert_allclose(found.tr, np.mean(by_task["random"], axis=0))
    np.testing.assert_allclose(found.tl, np.mean(by_task["abstract"], axis=0))
    np.testing.assert_allclose([found.icl[ref] for ref in found.checkpoints], np.mean(by_task["gold"], axis=0))
    assert (found.model, found.family, found.tasks) == ("m-1", "fam", tuple(tasks))
    assert [ref.step for ref in found.checkpoints] == [0, 10]


def test_mean_first_and_by_task_are_different_quantities(make_record: Make) -> None:
    opposite = {"gold": [1, 1], "random": [1, 3], "abstract": [3, 1]}  # competes
    together = {"gold": [1, 1], "random": [1, 3], "abstract": [0, 4]}  # both rise, TL by twice as much
    cells = cells_of(make_record, opposite, task="a") + cells_of(make_record, together, task="b")
    trajectory = model_trajectory(collect_predictions(cells)["m-1"])
    assert summarise(trajectory, epsilon=0.01).competition.ratio == 0
    by_task = competition_measures(np.diff(trajectory.tr_by_task), np.diff(trajectory.tl_by_task), epsilon=0.01)
    assert by_task.indicator.tolist() == [[True], [False]]


def test_checkpoints_that_lack_an_ability_are_left_out_and_icl_may_be_missing(make_record: Make) -> None:
    hits = {"gold": [1, 2], "random": [3, 1, 2], "abstract": [0, 2, 1]}
    trajectory = model_trajectory(collect_predictions(cells_of(make_record, hits))["m-1"])
    assert len(trajectory.checkpoints) == 3 and len(trajectory.icl) == 2
    assert summarise(trajectory, epsilon=0.01).final_icl is None
    with pytest.raises(
        StudyError,
        match=r"^m-1 has 1 checkpoints with complete TR and TL results on .* seeds; competition needs two\.$",
    ):
        model_trajectory(collect_predictions(cells_of(make_record, {"random": [3, 1], "abstract": [2]}))["m-1"])
    with pytest.raises(StudyError, match="m-1 has 0 checkpoints"):
        model_trajectory(collect_predictions(cells_of(make_record, {"random": [3, 1]}))["m-1"])


def test_evenly_spread_keeps_both_ends_and_never_repeats() -> None:
    assert evenly_spread(17, 16) == tuple(range(17))
    assert evenly_spread(17, 8) == tuple(range(0, 17, 2))
    assert evenly_spread(6, 2) == (0, 3, 5)
    for n_points in range(2, 40):
        for n_intervals in range(1, n_points):
            kept = evenly_spread(n_points, n_intervals)
            assert kept[0] == 0 and kept[-1] == n_points - 1 and len(set(kept)) == n_intervals + 1
    for n_intervals in (0, 17):
        with pytest.raises(
            StudyError, match=rf"^{n_intervals} intervals need {n_intervals + 1} checkpoints, there are 17\.$"
        ):
            evenly_spread(17, n_intervals)


def made(model: str, family: str, tr: list[float], tl: list[float], final_icl: float | None) -> ModelTrajectory:
    refs = tuple(CheckpointRef(family, model, f"step{i}", "hub", "x", step=i) for i in range(len(tr)))
    values = np.array(tr), np.array(tl)
    icl = {} if final_icl is None else {refs[-1]: final_icl}
    return ModelTrajectory(model, family, ("t",), refs, *values, values[0][None], values[1][None], icl)


def test_subsampling_joins_intervals() -> None:
    trajectory = made("m", "f", [0.4, 0.5, 0.3, 0.6, 0.7], [0.3, 0.2, 0.5, 0.4, 0.3], 0.9)
    dropped = trajectory.checkpoints[1]
    fewer = subsample(replace(trajectory, icl={dropped: 0.8, **trajectory.icl}), n_intervals=2)
    assert [ref.step for ref in fewer.checkpoints] == [0, 2, 4] and list(fewer.icl.values()) == [0.9]
    expected = competition([0.4, 0.3, 0.7], [0.3, 0.5, 0.3], epsilon=0.01)
    assert summarise(fewer, epsilon=0.01).competition.mean_intensity == expected.mean_intensity
    assert fewer.tr_by_task.tolist() == [[0.4, 0.3, 0.7]] and fewer.tl_by_task.tolist() == [[0.3, 0.5, 0.3]]


def test_figure_two_over_models() -> None:
    falls = [0.02, 0.05, 0.08, 0.1]
    finals = [0.6, 0.55, 0.56, 0.4]
    summaries = [
        summarise(made(f"m{i}", "one" if i < 3 else "two", [0.5, 0.5 - fall], [0.3, 0.4], icl), epsilon=0.01)
        for i, (fall, icl) in enumerate(zip(falls, finals, strict=True))
    ]
    without = summarise(made("m9", "two", [0.5, 0.5], [0.3, 0.4], None), epsilon=0.01)
    groups = seed_groups([*summaries, without], {})
    result = intensity_against_icl(groups)
    assert result.n == 4 and result.r == pytest.approx(stats.pearsonr(np.array(falls) / 0.1, finals).statistic)
    one, two = family_occurrence(groups)
    assert (one.family, one.ratio, one.models) == ("one", 1.0, ("m0", "m1", "m2"))
    assert (two.family, two.ratio, two.models) == ("two", 0.5, ("m3", "m9"))
    assert intensity_against_icl(groups[:1]).r is None


def test_the_points_of_a_draw_are_keyed_by_the_seed() -> None:
    finals = [0.6, 0.55, 0.3, 0.56, 0.4, 0.5, 0.2, 0.45, 0.35]
    groups = seed_groups(
        [
            summarise(made(f"m{i}", "f", [0.5, 0.48 - i / 100], [0.3, 0.4], icl), epsilon=0.01)
            for i, icl in enumerate(finals)
        ],
        {},
    )
    result, same, other = intensity_against_icl(groups), *(intensity_against_icl(groups, seed=seed) for seed in (0, 1))
    assert result == same and other.r == result.r and (other.low, other.high) != (result.low, result.high)


def test_training_seeds_are_one_model_with_its_spread() -> None:
    falls = {"m": (0.02, 0.04, 0.0), "other": (0.1,)}
    finals = {"m": (0.6, None, 0.5), "other": (0.4,)}
    summaries = [
        summarise(made(f"{name}-{seed}", "f", [0.5, 0.5 - fall], [0.3, 0.4], final), epsilon=0.01)
        for name in falls
        for seed, (fall, final) in enumerate(zip(falls[name], finals[name], strict=True))
    ]
    groups = seed_groups(summaries, {"m-0": "m", "m-1": "m", "m-2": "m"})
    assert [(group.name, len(group.runs)) for group in groups] == [("m", 3), ("other-0", 1)]
    m = groups[0]
    assert m.ratio == pytest.approx(2 / 3) and m.mean_intensity == pytest.approx((0.2 + 0.4) / 3)
    assert m.final_icl == pytest.approx(0.55)
    assert intensity_against_icl(groups).n == 2  # seeds are no further models
    (family,) = family_occurrence(groups)
    assert family.ratio == pytest.approx((2 / 3 + 1) / 2) and family.models == ("m", "other-0")
    assert family.runs == {"m-0": 1.0, "m-1": 1.0, "m-2": 0.0, "other-0": 1.0}
    apart = family_occurrence(groups, families={"m": "m"})
    assert [item.family for item in apart] == ["m", "f"]


def test_mean_over_runs_takes_shared_steps_and_leaves_undefined_runs_out() -> None:
    first, second, none = (
        summarise(made(f"m-{i}", "f", tr, tl, None), epsilon=0.01)
        for i, (tr, tl) in enumerate(
            [([0.5, 0.4, 0.3], [0.3, 0.4, 0.5]), ([0.5, 0.4, 0.4], [0.3, 0.4, 0.4]), ([0.5, 0.5], [0.3, 0.3])]
        )
    )
    mean = mean_over_runs([first.cumulative, none.cumulative, second.cumulative])
    assert none.cumulative == {} and list(mean) == list(first.checkpoints)
    assert list(mean.values()) == pytest.approx([0, 0.75, 1])
    shorter = {ref: value for ref, value in second.cumulative.items() if ref.step != 1}
    assert [ref.step for ref in mean_over_runs([first.cumulative, shorter])] == [0, 2]
    assert mean_over_runs([none.cumulative]) == {} and mean_over_runs([]) == {}
