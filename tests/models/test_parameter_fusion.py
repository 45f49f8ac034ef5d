"""Mixed parameters: arithmetic, refusals, identity, and the way through the ordinary run into the store."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from icl_core.errors import CheckpointError
from icl_core.evaluation.run import run_study
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study, study_cells, study_from_json, study_to_json, validate_study
from icl_core.models.checkpoints import load_checkpoint
from icl_core.models.identity import duplicate_weights, identify_checkpoint
from icl_core.models.listing import local_checkpoints
from icl_core.models.parameter_fusion import fused_checkpoint, fusion_parents, mix_parameters
from icl_core.models.resolving import download_size
from icl_core.records import CheckpointRef
from tests.support.tiny_models import save_checkpoint, save_task_file, save_trajectory


@pytest.fixture
def parents(tmp_path: Path) -> tuple[CheckpointRef, CheckpointRef]:
    first, second = local_checkpoints(save_trajectory(tmp_path / "run", (0, 1000), "gpt_neox"))
    return first, second


def weights(ref: CheckpointRef, dtype: str = "float32") -> dict[str, torch.Tensor]:
    return load_checkpoint(ref, dtype=dtype).model.state_dict()


def test_parameters_are_the_weighted_sum(parents: tuple[CheckpointRef, CheckpointRef]) -> None:
    tr, tl = (weights(ref, "float64") for ref in parents)
    fused = weights(fused_checkpoint(*parents, weight=0.3), "float64")
    assert fused.keys() == tr.keys()
    for name, value in fused.items():
        assert value.dtype == torch.float64
        assert torch.allclose(value, 0.3 * tr[name] + 0.7 * tl[name], atol=1e-12, rtol=0), name


@pytest.mark.parametrize(("weight", "parent"), [(1.0, 0), (0.0, 1)])
def test_the_whole_weight_gives_a_parent_back_exactly(
    weight: float, parent: int, parents: tuple[CheckpointRef, CheckpointRef]
) -> None:
    fused, one = weights(fused_checkpoint(*parents, weight=weight)), weights(parents[parent])
    assert all(torch.equal(fused[name], one[name]) for name in one)


def test_half_precision_is_mixed_in_float32(tmp_path: Path) -> None:
    one, two = torch.tensor([1.0009765625]), torch.tensor([1.0])  # neighbours in float16
    for name, value in (("a", one), ("b", two)):
        save_file({"x": value.half()}, tmp_path / f"{name}.safetensors")
    paths = [tmp_path / "a.safetensors"], [tmp_path / "b.safetensors"]
    mixed = mix_parameters(*paths, weight=0.25, dtype=torch.float32)["x"]
    assert mixed.item() == pytest.approx(1.000244140625, abs=1e-9)
    assert mix_parameters(*paths, weight=0.25, dtype=torch.float16)["x"].item() == 1.0


def test_pickled_weights_and_tied_weights_are_mixed_too(tmp_path: Path) -> None:
    for seed in (0, 1):
        folder = save_checkpoint(tmp_path / "run" / f"step-{seed}", seed=seed)
        state = load_file(folder / "model.safetensors")
        torch.save(state, folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    refs = local_checkpoints(tmp_path / "run")
    tr, tl = (weights(ref) for ref in refs)
    fused = weights(fused_checkpoint(*refs, weight=0.5))
    assert all(torch.allclose(fused[name], (tr[name] + tl[name]) / 2, atol=1e-6) for name in tr)


def test_other_shapes_names_and_meanings_are_refused(tmp_path: Path) -> None:
    neox = local_checkpoints(save_checkpoint(tmp_path / "neox" / "step-0", "gpt_neox"))[0]
    llama = local_checkpoints(save_checkpoint(tmp_path / "llama" / "step-0"))[0]
    with pytest.raises(CheckpointError, match=r"not of one architecture.*Fuse their predictions"):
        load_checkpoint(fused_checkpoint(neox, llama, weight=0.5), dtype="float32")
    paths = []
    for name, tensors in {
        "a": {"x": torch.zeros(2, 3)},
        "b": {"x": torch.zeros(3, 3)},
        "c": {"y": torch.zeros(2, 3)},
        "d": {"x": torch.zeros(2, 3, dtype=torch.int64)},
        "e": {"x": torch.ones(2, 3, dtype=torch.int64)},
    }.items():
        save_file(tensors, tmp_path / f"{name}.safetensors")
        paths.append([tmp_path / f"{name}.safetensors"])
    a, b, c, d, e = paths
    for one, two, words in ((a, b, r"\(2, 3\).*\(3, 3\)"), (a, c, "such as x"), (d, e, "whole numbers that differ")):
        with pytest.raises(CheckpointError, match=words):
            mix_parameters(one, two, weight=0.5, dtype=torch.float32)
    assert not mix_parameters(d, d, weight=0.5, dtype=torch.float32)["x"].is_floating_point()
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes()[:-4])
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        mix_parameters([tmp_path / "cut.safetensors"], a, weight=0.5, dtype=torch.float32)


@pytest.mark.parametrize("weight", [-0.1, 1.01, float("nan"), float("inf")])
def test_a_weight_outside_0_and_1_is_refused(weight: float, parents: tuple[CheckpointRef, CheckpointRef]) -> None:
    with pytest.raises(CheckpointError, match="not between 0 and 1"):
        fused_checkpoint(*parents, weight=weight)


def test_a_fused_checkpoint_names_its_parents_and_nothing_else_does(
    parents: tuple[CheckpointRef, CheckpointRef],
) -> None:
    ref = fused_checkpoint(*parents, weight=0.3)
    assert (fusion_parents(ref).tr, fusion_parents(ref).tl, fusion_parents(ref).weight) == (*parents, 0.3)
    with pytest.raises(CheckpointError, match="cannot be fused again"):
        fused_checkpoint(ref, parents[0], weight=0.5)
    for broken in (
        parents[0],
        dataclasses.replace(ref, location="{}"),
        dataclasses.replace(ref, location=ref.location.replace("0.3", "0.4")),
    ):
        with pytest.raises(CheckpointError, match="is not a fused checkpoint"):
            fusion_parents(broken)


def test_identity_is_that_of_both_parents_and_the_weight(parents: tuple[CheckpointRef, CheckpointRef]) -> None:
    asked = {(a, b, w): fused_checkpoint(a, b, weight=w) for a in parents for b in parents for w in (0.25, 0.5)}
    found = {ref: identify_checkpoint(ref) for ref in asked.values()}
    assert len({identity.weight_files for identity in found.values()}) == len(asked)
    assert duplicate_weights(found) == {}
    assert all(download_size(ref) == 0 for ref in found)
    assert next(iter(found.values())).context_length == identify_checkpoint(parents[0]).context_length


def test_an_ordinary_run_evaluates_it_and_stores_it_under_its_own_key(
    parents: tuple[CheckpointRef, CheckpointRef], tmp_path: Path
) -> None:
    refs = (parents[0], *(fused_checkpoint(*parents, weight=w) for w in (1.0, 0.5)))
    task = f"file:{save_task_file(tmp_path / 'films.jsonl')}"
    study = Study(refs, (task,), ("gold",), (13,), n_shots=2, n_test=6)
    validate_study(study)
    assert study_from_json(study_to_json(study)) == study
    store = Store.open(tmp_path / "store")
    report = run_study(study, store, device="cpu", offline=True)
    assert (report.n_computed, report.failures, report.duplicates) == (3, (), {})
    again = Store.open(tmp_path / "store")
    assert run_study(study, again, device="cpu", offline=True).n_computed == 0
    records = Store.open(tmp_path / "store").find_many(study_cells(study))
    parent, whole, half = (records[spec] for spec in study_cells(study))
    assert len({record.key.digest for record in records.values()}) == 3
    assert (parent.loglikelihoods == whole.loglikelihoods).all()
    assert not (parent.loglikelihoods == half.loglikelihoods).all()
