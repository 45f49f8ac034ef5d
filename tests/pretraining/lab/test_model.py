"""The transformer: its short ways equal the plain ones, it cannot look ahead, and grafts take what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from icl_core.pretraining.lab.config import DataKnobs, LabConfig
from icl_core.pretraining.lab.model import LabTransformer, build_model, graft, part_of_parameter
from icl_core.pretraining.lab.world import Batch, make_world, sample

VARIANTS = (
    LabConfig(),
    LabConfig(has_mlp=False, positions="none"),
    LabConfig(n_layers=1, positions="sinusoidal"),
    LabConfig(n_layers=4, n_heads=1, tied_labels=True, data=DataKnobs(n_pairs=8)),
)
each_variant = pytest.mark.parametrize("config", VARIANTS, ids=["default", "attention", "one layer", "deep"])


def batch_of(config: LabConfig, n: int = 12) -> Batch:
    return sample(make_world(config), config.data, mode="train", n=n, rng=np.random.Generator(np.random.PCG64(0)))


def inputs_of(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(batch.items), torch.from_numpy(batch.labels)


@each_variant
def test_the_short_way_gives_the_logits_and_gradients_of_the_plain_one(config: LabConfig) -> None:
    model = build_model(config).double()
    items, labels = inputs_of(batch_of(config))
    short = model(items.double(), labels)
    plain, attention = model.forward_with_attention(items.double(), labels)
    assert torch.allclose(short, plain, rtol=0, atol=1e-12)
    n_tokens = 2 * config.data.n_pairs + 1
    assert attention.shape == (12, config.n_layers, config.n_heads, n_tokens, n_tokens)
    assert torch.allclose(attention.sum(dim=-1), torch.ones(()).double())
    assert not attention.triu(1).any()
    gradients = [torch.autograd.grad(logits.square().sum(), list(model.parameters())) for logits in (short, plain)]
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-9)


@each_variant
def test_the_initial_weights_are_those_of_the_seed(config: LabConfig) -> None:
    torch.manual_seed(3)
    first, after = build_model(config).state_dict(), torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(after, torch.rand(1))
    again, other = build_model(config).state_dict(), build_model(replace(config, init_seed=2)).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["item_embedding.weight"], other["item_embedding.weight"])


def test_without_positions_the_order_of_pairs_plays_no_part_for_one_layer() -> None:
    config = LabConfig(n_layers=1, positions="none")
    items, labels = inputs_of(batch_of(config))
    swapped = items[:, [1, 0, 2]]
    with torch.no_grad():
        model = build_model(config)
        assert torch.allclose(model(items, labels), model(swapped, labels[:, [1, 0]]), atol=1e-5)
        learned = build_model(LabConfig(n_layers=1))
        assert not torch.allclose(learned(items, labels), learned(swapped, labels[:, [1, 0]]), atol=1e-5)


def test_a_graft_has_the_lower_part_of_one_and_the_upper_part_of_the_other() -> None:
    config = LabConfig()
    first, second = build_model(config), build_model(replace(config, init_seed=2))
    merged, lower, upper = (model.state_dict() for model in (graft(first, second, config=config), first, second))
    below = {name for name in merged if torch.equal(merged[name], lower[name])}
    above = {name for name in merged if torch.equal(merged[name], upper[name])}
    assert below | above == set(merged)
    assert {"item_embedding.weight", "label_embedding.weight", "blocks.0.attention_in.weight"} <= below - above
    assert {"blocks.1.attention_in.weight", "blocks.1.mlp_in.weight", "unembedding.weight"} <= above - below
    items, labels = inputs_of(batch_of(config))
    assert torch.equal(graft(first, first, config=config)(items, labels), first(items, labels))


def test_every_matrix_belongs_to_a_part_and_no_norm_or_bias_does() -> None:
    names = [name for name, _ in LabTransformer(LabConfig()).named_parameters()]
    parts = {name: part_of_parameter(name) for name in names}
    assert set(parts.values()) == {None, "embeddings", "attention", "mlp", "unembedding"}
    assert all((part is None) == ("norm" in name or "bias" in name) for name, part in parts.items())
    assert parts["positions"] == parts["label_embedding.weight"] == "embeddings"
