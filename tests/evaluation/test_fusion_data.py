"""What fusions draw from the store, and nothing that was made under other options."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from icl_core.analysis.fusion.comparison import fusion_entries
from icl_core.analysis.fusion.grids import pair_grid
from icl_core.analysis.fusion.members import ModelSplits
from icl_core.analysis.fusion.selection import choose_members
from icl_core.analysis.predictions import NORMALISATIONS, Normalisation, collect_predictions
from icl_core.errors import CheckpointError, StudyError
from icl_core.evaluation.cost import flops_of_prompts
from icl_core.evaluation.fusion_data import collect_results, fusion_study, mixing_study, stored_study
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study, study_cells
from icl_core.models.parameter_fusion import fused_checkpoint
from tests.support.made_up import fill, refs_of

STUDY = Study(
    refs_of("one", (0, 110)), ("sst2", "mrpc"), ("gold", "random", "abstract"), (13, 21), n_shots=4, n_test=40
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    opened = Store.open(tmp_path / "store")
    fill(opened, fusion_study(STUDY))
    return opened


def test_both_splits_and_all_settings_come_back(store: Store) -> None:
    results = collect_results(dataclasses.replace(STUDY, label_settings=("gold",)), store)
    splits = results.models["one"]
    assert set(splits.test.settings) == {(t, s) for t in STUDY.tasks for s in ("gold", "random", "abstract")}
    assert splits.development().split == "dev" and splits.test.checkpoints == STUDY.checkpoints
    assert (results.mixed, results.others, results.problems) == ({}, {}, {})


def test_mixed_parameters_and_other_models_are_found(store: Store) -> None:
    tr, tl = STUDY.checkpoints
    fill(store, mixing_study(STUDY, tr, tl, weights=(0.5, 0.25, 0.5)))
    fill(store, dataclasses.replace(STUDY, checkpoints=refs_of("two", (5, 7)), label_settings=("gold",)))
    half = dataclasses.replace(STUDY, checkpoints=refs_of("three", (5,)), label_settings=("gold",))
    fill(store, dataclasses.replace(half, tasks=("sst2",)))
    fill(store, dataclasses.replace(half, checkpoints=refs_of("four", (5,)), n_shots=8))
    results = collect_results(STUDY, store)
    assert list(results.models) == ["one"]
    mixed = results.mixed_of(tr, tl)
    assert [(w, each.checkpoint.revision) for w, each in mixed.items()] == [(0.25, "w=0.25"), (0.5, "w=0.5")]
    assert {each.label_setting for each in mixed.values()} == {"gold"}
    assert results.mixed_of(tl, tr) == {} == results.mixed_of(fused_checkpoint(tr, tl, weight=1), tl)
    assert list(results.others) == ["two"]
    assert [ref.step for ref in results.others["two"].test.checkpoints] == [7]


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_scores_read_when_asked_give_what_all_scores_give(normalisation: Normalisation, store: Store) -> None:
    found = collect_results(STUDY, store, normalisation=normalisation).models["one"]
    records = store.find_many(study_cells(fusion_study(STUDY))).values()
    test, dev = (collect_predictions(records, split=split)["one"] for split in ("test", "dev"))
    lazy, plain = (
        (*choose_members(model, model, normalisation=normalisation), model) for model in (found, ModelSplits(test, dev))
    )
    assert [member.checkpoint for member in lazy[:2]] == [member.checkpoint for member in plain[:2]]
    entries = [fusion_entries(each[:2], normalisation=normalisation) for each in (lazy, plain)]
    for one, two in zip(*entries, strict=True):
        assert one.entry == two.entry
        assert all(np.array_equal(one.answers.predicted[task], two.answers.predicted[task]) for task in STUDY.tasks)
        if one.weights and two.weights:
            assert all(np.array_equal(one.weights.by_task[task], two.weights.by_task[task]) for task in STUDY.tasks)
    grids = [pair_grid(each[2], each[2], normalisation=normalisation).value for each in (lazy, plain)]
    assert np.array_equal(*grids)


def test_scores_that_are_not_those_of_the_labels_are_refused(store: Store) -> None:
    found = collect_results(STUDY, store).models["one"]
    for file in (store.path / "results").glob("*/*.parquet"):
        file.unlink()
    with pytest.raises(StudyError, match="of one at step0 have changed; load the page again"):
        found.scores(STUDY.checkpoints[0], "gold")
    with pytest.raises(StudyError, match="no test results"):
        found.scores(fused_checkpoint(*STUDY.checkpoints, weight=0.5), "gold")


def test_mixing_asks_for_gold_cells_of_each_weight() -> None:
    tr, tl = STUDY.checkpoints
    study = mixing_study(STUDY, tr, tl, weights=(0.5, 0.25, 0.5))
    assert {(c.label_setting, c.split, c.checkpoint.revision) for c in study_cells(study)} == {
        ("gold", "test", "w=0.5"),
        ("gold", "test", "w=0.25"),
    }
    with pytest.raises(StudyError, match="No weight"):
        mixing_study(STUDY, tr, tl, weights=())
    with pytest.raises(CheckpointError, match="not between 0 and 1"):
        mixing_study(STUDY, tr, tl, weights=(1.5,))


def test_stored_study_takes_the_options_with_most_results(store: Store) -> None:
    fill(store, dataclasses.replace(STUDY, checkpoints=STUDY.checkpoints[:1], n_shots=8, tasks=("sst2",)))
    found = stored_study(store, ["one"])
    assert dataclasses.replace(found, splits=("test",)) == STUDY
    assert stored_study(store, ["one"], n_shots=8).tasks == ("sst2",)
    assert stored_study(store, ["one"], tasks=("mrpc",), demo_seeds=(21,)).demo_seeds == (21,)
    for wrong in ({"tasks": ("trec",)}, {"demo_seeds": (5,)}, {"n_test": 7}):
        with pytest.raises(StudyError):
            stored_study(store, ["one"], **wrong)  # type: ignore[arg-type]


def test_cost_of_a_prompt_is_of_one_model_and_0_where_unknown(store: Store) -> None:
    known = refs_of("pythia-410m", (0,))[0]
    flops = flops_of_prompts(STUDY, store, checkpoints=(known, STUDY.checkpoints[0]))
    assert flops["one"] == 0
    per_token = flops["pythia-410m"] / 405_334_016 / 2
    assert 20 < per_token < 400  # the operations of that many tokens at 2 a parameter
