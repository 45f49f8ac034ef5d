"""Kinds of forward passes, read from configurations."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from icl_core.records import EncodedRequest
from icl_core.scoring.lengths import has_kinds, kind_of, kinds, longest_run, most_tokens, split_by_kind


def model_with(**settings: object) -> torch.nn.Module:
    model = torch.nn.Linear(1, 1)
    config = SimpleNamespace(max_position_embeddings=64, **settings)
    config.get_text_config = lambda: config
    model.config = config  # type: ignore[assignment]
    return model


LONGROPE = {"rope_type": "longrope", "original_max_position_embeddings": 10}
REQUEST = EncodedRequest(tuple(range(9)), ((1,), (1, 2), (1, 2, 3)))  # passes over 9, 10 and 11 tokens


@pytest.mark.parametrize("settings", [{}, {"rope_parameters": None}, {"rope_parameters": {"rope_type": "llama3"}}])
def test_most_models_have_one_kind(settings: dict[str, object]) -> None:
    model = model_with(**settings)
    assert not has_kinds(model)
    assert kinds(model, [REQUEST]) == {()}


def test_a_module_without_configuration_has_one_kind() -> None:
    assert not has_kinds(torch.nn.Linear(1, 1))


def test_longrope_has_two() -> None:
    model = model_with(rope_parameters=LONGROPE)
    assert [kind_of(model, n) for n in (1, 10, 11, 60)] == [(0,), (0,), (1,), (1,)]
    assert kinds(model, [REQUEST]) == {(0,), (1,)}


def test_dynamic_has_one_for_each_length_beyond_the_context() -> None:
    model = model_with(rope_parameters={"rope_type": "dynamic", "factor": 2.0})
    assert [kind_of(model, n) for n in (1, 64, 65, 66)] == [(0,), (0,), (65,), (66,)]


def test_types_of_layers_may_differ() -> None:
    model = model_with(rope_parameters={"full_attention": LONGROPE, "sliding_attention": {"rope_type": "dynamic"}})
    assert [kind_of(model, n) for n in (10, 11, 65)] == [(0, 0), (1, 0), (1, 65)]


def test_the_bound_defaults_to_the_context() -> None:
    model = model_with(rope_parameters={"rope_type": "longrope"})
    assert [kind_of(model, n) for n in (64, 65)] == [(0,), (1,)]


def test_how_long_a_pass_of_a_kind_may_be() -> None:
    model = model_with(rope_parameters={"full_attention": LONGROPE, "sliding_attention": {"rope_type": "dynamic"}})
    assert [most_tokens(model, kind) for kind in ((0, 0), (1, 0), (1, 65))] == [10, 64, None]
    assert most_tokens(model_with(), ()) is None


def test_requests_are_cut_where_their_choices_differ_in_kind() -> None:
    short = EncodedRequest((1, 2), ((3,), (4,)))
    parts = split_by_kind(model_with(rope_parameters=LONGROPE), [REQUEST, short])
    assert parts == {
        (0,): [(0, [0, 1], EncodedRequest(REQUEST.context_ids, ((1,), (1, 2)))), (1, [0, 1], short)],
        (1,): [(0, [2], EncodedRequest(REQUEST.context_ids, ((1, 2, 3),)))],
    }


def test_the_last_token_of_a_choice_does_not_pass_through_the_model() -> None:
    assert longest_run([REQUEST]) == 11
