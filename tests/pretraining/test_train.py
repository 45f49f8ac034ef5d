"""Training: repeatable to the bit, learning, and leaving ordinary checkpoint folders."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from icl_core.errors import UnknownNameError
from icl_core.pretraining.members import MEMBERS, Mixture, SuiteMember, TrainingPhase, get_member
from icl_core.pretraining.train import build_model, save_checkpoint, train_member, training_batches


def run(member: SuiteMember, path: Path, seed: int = 1) -> list[float]:
    losses: list[float] = []
    train_member(member, seed=seed, out_path=path, on_progress=lambda _step, _total, loss: losses.append(loss))
    return losses


def test_equal_seeds_give_equal_bits_and_other_seeds_do_not(small_member: SuiteMember, tmp_path: Path) -> None:
    losses = [run(small_member, tmp_path / name, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    assert losses[0] == losses[1] != losses[2]
    weights = [(tmp_path / name / "step-24" / "model.safetensors").read_bytes() for name in "abc"]
    assert weights[0] == weights[1] != weights[2]


def test_global_random_state_is_neither_read_nor_changed(small_member: SuiteMember) -> None:
    torch.manual_seed(3)
    first = build_model(small_member, seed=1).state_dict()
    after = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(after, torch.rand(1))
    torch.manual_seed(4)
    second = build_model(small_member, seed=1).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_training_lowers_the_loss(small_member: SuiteMember, tmp_path: Path) -> None:
    losses = run(small_member, tmp_path)
    assert len(losses) == small_member.n_steps
    assert losses[0] == pytest.approx(np.log(256), abs=0.3)
    assert np.mean(losses[-5:]) < losses[0] - 0.5


def test_folders_load_as_any_causal_language_model(small_member: SuiteMember, tmp_path: Path) -> None:
    manifest = train_member(small_member, seed=1, out_path=tmp_path)
    assert manifest == json.loads((tmp_path / "manifest.json").read_text())
    assert [kept["folder"] for kept in manifest["checkpoints"]] == ["step-0", "step-12", "step-24"]
    assert manifest["checkpoints"][1]["tokens_seen"] == 12 * 16 * 104
    assert manifest["knobs"]["phases"][0]["mixture"]["knowledge"] == 0.4
    for kept in manifest["checkpoints"]:
        model = AutoModelForCausalLM.from_pretrained(tmp_path / kept["folder"], local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / kept["folder"], local_files_only=True)
        assert model.dtype == torch.float16
        assert model.num_parameters() == manifest["n_parameters"]
        assert tokenizer("daba\ngood\n\n\n")["input_ids"] == [119, 2, tokenizer.convert_tokens_to_ids("good"), 3]
        assert tokenizer.model_max_length == model.config.max_position_embeddings == 104


def test_step_0_is_the_untrained_model(small_member: SuiteMember, tmp_path: Path) -> None:
    train_member(small_member, seed=7, out_path=tmp_path)
    stored = load_file(tmp_path / "step-0" / "model.safetensors")
    expected = dict(build_model(small_member, seed=7).named_parameters())
    assert set(stored) == set(expected)
    assert all(torch.equal(stored[name], expected[name].half()) for name in stored)


def test_a_stopped_run_leaves_no_manifest(small_member: SuiteMember, tmp_path: Path) -> None:
    asked = iter([False] * 3)
    assert train_member(small_member, seed=1, out_path=tmp_path, should_stop=lambda: next(asked, True)) is None
    assert not (tmp_path / "manifest.json").exists()


def test_a_limited_corpus_is_passed_over_again(small_member: SuiteMember) -> None:
    phases = (TrainingPhase("all", 10, Mixture(0.4, 0.2, 0.2, 0.1, 0.1)),)
    limited = dataclasses.replace(small_member, phases=phases, n_documents=40)
    batches = np.concatenate(list(training_batches(limited, seed=1)))
    assert batches.shape == (160, 104)
    assert len(np.unique(batches, axis=0)) == 40
    first_pass, second_pass = batches[:40], batches[40:80]
    assert len(np.unique(first_pass, axis=0)) == len(np.unique(second_pass, axis=0)) == 40
    assert not np.array_equal(first_pass, second_pass)


def test_fresh_documents_never_return(small_member: SuiteMember) -> None:
    batches = np.concatenate(list(training_batches(small_member, seed=1)))
    assert len(np.unique(batches, axis=0)) == small_member.n_steps * small_member.batch_size


def test_stored_half_precision_predicts_as_the_trained_weights(small_member: SuiteMember, tmp_path: Path) -> None:
    model = build_model(small_member, seed=1)
    save_checkpoint(model, tmp_path)
    stored = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32, local_files_only=True)
    tokens = torch.from_numpy(next(iter(training_batches(small_member, seed=2))))
    with torch.no_grad():
        difference = stored(tokens).logits.log_softmax(-1) - model(tokens).logits.log_softmax(-1)
    assert 0 < float(difference.abs().max()) < 0.02


def test_an_unknown_member_is_named_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=next(iter(MEMBERS))):
        get_member("tiny-nothing")


def test_the_positional_prior_makes_head_j_look_j_tokens_back() -> None:
    model = build_model(get_member("tiny-base"), seed=1)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        attention = model(torch.arange(30)[None], output_attentions=True).attentions[0][0]
    for head in range(4):
        by_offset = [float(attention[head].diagonal(-offset)[10:].mean()) for offset in range(8)]
        assert int(np.argmax(by_offset)) == head + 1


def test_members_are_consistent() -> None:
    for name, member in MEMBERS.items():
        assert name == member.name
        assert list(member.checkpoint_steps) == sorted(set(member.checkpoint_steps))
        assert member.checkpoint_steps[0] == 0
        assert member.checkpoint_steps[-1] == member.n_steps
        for phase in member.phases:
            assert sum(dataclasses.astuple(phase.mixture)) == pytest.approx(1.0)
