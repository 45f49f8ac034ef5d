"""Configurations: one text and digest for equal values, strict reading, and one sentence for what cannot be."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from typing import Any

import pytest

from icl_core.errors import StudyError
from icl_core.pretraining.lab.config import (
    KNOBS,
    PRESETS,
    DataKnobs,
    LabConfig,
    config_digest,
    config_from_json,
    config_to_json,
    describe,
    validate_config,
    with_next_seeds,
)


@pytest.mark.parametrize("config", [LabConfig(), *PRESETS.values()], ids=describe)
def test_texts_give_the_configuration_back(config: LabConfig) -> None:
    validate_config(config)
    assert config_from_json(config_to_json(config)) == config
    assert config_digest(config_from_json(config_to_json(config))) == config_digest(config)


def test_presets_are_different_runs() -> None:
    assert len({config_digest(config) for config in PRESETS.values()}) == len(PRESETS)
    assert len({describe(config) for config in PRESETS.values()}) == len(PRESETS)


def test_whole_and_broken_numbers_of_one_value_are_one_run() -> None:
    assert config_digest(LabConfig(DataKnobs(noise=1))) == config_digest(LabConfig(DataKnobs(noise=1.0)))
    assert config_from_json('{"data": {"noise": 1}}') == LabConfig()


def test_any_field_changes_the_digest() -> None:
    base = LabConfig()
    changes: dict[str, Any] = {
        "second_data": DataKnobs(),
        "switch_step": 7,
        "has_mlp": False,
        "positions": "none",
        "tied_labels": True,
        "decay_kind": "loss",
        "decay_parts": ("mlp",),
    }
    digests = {config_digest(base)}
    for field in dataclasses.fields(LabConfig):
        if field.name == "data":
            for inner in dataclasses.fields(DataKnobs):
                value = "random" if inner.name == "mapping" else getattr(base.data, inner.name) + 1
                digests.add(config_digest(replace(base, data=replace(base.data, **{inner.name: value}))))
        else:
            value = changes.get(field.name)
            value = getattr(base, field.name) + 1 if value is None else value
            digests.add(config_digest(replace(base, **{field.name: value})))
    assert len(digests) == 1 + len(dataclasses.fields(DataKnobs)) + len(dataclasses.fields(LabConfig)) - 1


@pytest.mark.parametrize(
    "text", ["", "[]", '{"depth": 2}', '{"width": "64"}', '{"has_mlp": 1}', '{"data": 3}', '{"width": 64.0}']
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(StudyError, match="not the configuration of a lab run"):
        config_from_json(text)


def data(**knobs: Any) -> LabConfig:
    return LabConfig(data=DataKnobs(**knobs))


@pytest.mark.parametrize(
    ("config", "word"),
    [
        (data(n_classes=31), "Classes"),
        (data(n_classes=5000), "Classes"),
        (data(noise=2.5), "noise"),
        (data(noise=float("nan")), "noise"),
        (data(mapping="none"), "mapping"),
        (data(n_labels=600), "fewer labels"),
        (data(n_labels=4, n_pairs=8), "labels"),
        (data(burstiness=2), "burstiness"),
        (data(mapping="random", label_swapping=0.2), "swapping"),
        (LabConfig(width=60), "multiple"),
        (LabConfig(has_mlp=1), "MLP"),  # type: ignore[arg-type]
        (LabConfig(decay_parts=("biases",)), "parts"),  # type: ignore[arg-type]
        (LabConfig(switch_step=5), "second phase"),
        (LabConfig(second_data=DataKnobs(), switch_step=5000), "switch"),
        (LabConfig(second_data=DataKnobs(n_classes=64), switch_step=5), "n_classes"),
        (LabConfig(second_data=DataKnobs(copy_probability=2.0), switch_step=5), "Copy"),
    ],
)
def test_what_cannot_be_is_one_sentence(config: LabConfig, word: str) -> None:
    with pytest.raises(StudyError, match=word):
        validate_config(config)


def test_knobs_cover_the_fields_and_their_defaults_are_valid() -> None:
    names = {field.name for kind in (DataKnobs, LabConfig) for field in dataclasses.fields(kind)}
    assert names - {knob.name for knob in KNOBS} == {"data", "second_data", "switch_step", "decay_parts"}
    base = LabConfig()
    for knob in KNOBS:
        assert knob.default == getattr(base.data if knob.group == "data" else base, knob.name)
        if knob.low is not None and knob.high is not None:
            assert knob.low <= knob.default <= knob.high
    assert json.loads(config_to_json(base))["n_steps"] == 5000


def test_repeats_have_the_next_seeds_and_nothing_else_new() -> None:
    config = LabConfig(init_seed=7, data_seed=40, n_steps=300)
    assert with_next_seeds(config, 0) == config
    assert with_next_seeds(config, 2) == replace(config, init_seed=9, data_seed=42)
