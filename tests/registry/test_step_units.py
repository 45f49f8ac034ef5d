"""What the numbers of checkpoints count: every family's own unit, in the words of every model's checkpoints."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from icl_core.records import CheckpointRef
from icl_core.registry.families import (
    FAMILIES,
    MODELS,
    Model,
    checkpoint_words,
    counted_in,
    known_checkpoints,
    units_counted,
)
from icl_core.registry.step_units import UNIT_WORDS, number_words

LISTED = [model for model in MODELS.values() if known_checkpoints(model)]
NOT_STEPS = {
    "amber-7b": "data chunk 356",
    "k2-65b": "data chunk 356",
    "baichuan2-7b": "220 billion tokens",
    "tinyllama-1.1b": "21 billion tokens",
}
"""The registered models whose names count something else, with a checkpoint of each in words."""


@pytest.mark.parametrize("model", LISTED, ids=lambda model: model.name)
def test_every_checkpoint_is_called_by_the_unit_of_its_family(model: Model) -> None:
    refs = known_checkpoints(model)
    unit = FAMILIES[model.family].step_unit
    assert {counted_in(ref) for ref in refs} == {unit} and units_counted(refs) == {model.name: {unit}}
    assert [checkpoint_words(ref) for ref in refs] == [number_words(unit, ref.step or 0) for ref in refs]
    assert (unit == "step") == (model.name not in NOT_STEPS)
    if model.name in NOT_STEPS:
        assert NOT_STEPS[model.name] in map(checkpoint_words, refs)


@pytest.mark.parametrize("model", LISTED, ids=lambda model: model.name)
def test_the_number_of_a_name_counts_what_its_family_says(model: Model) -> None:
    """A rule that reads no step takes the tokens, in billions; a name with ``step`` before its number counts steps."""
    unit = FAMILIES[model.family].step_unit
    assert ("(?P<step>" in (model.rule.pattern or "")) == (unit != "billion tokens")
    for ref in known_checkpoints(model):
        name = ref.weight_file or ref.revision
        if unit == "billion tokens":
            assert (ref.step or 0) * 10**9 == ref.tokens_seen
        elif re.search("step", name):
            assert unit == "step" and re.search(rf"step-?0*{ref.step}(?!\d)", name)


def test_checkpoints_of_ones_own_count_what_their_names_say() -> None:
    own = {
        "step-1000": "step 1,000",
        "checkpoint-500": "step 500",
        "epoch_3": "epoch 3",
        "tokens-2B": "2,000,000,000 tokens",
    }
    numbers = (1000, 500, 3, 2_000_000_000)
    refs = [CheckpointRef("local", "m", name, "folder", "/m", n) for name, n in zip(own, numbers, strict=True)]
    assert [checkpoint_words(ref) for ref in refs] == list(own.values())
    placed = CheckpointRef("local", "m", "warm", "folder", "/m", 2)
    assert counted_in(placed) is None and checkpoint_words(placed) == "warm"
    assert units_counted([placed]) == {"m": frozenset()}


def test_an_unknown_family_of_a_shared_store_counts_steps() -> None:
    assert checkpoint_words(CheckpointRef("newer", "m", "x", "hub", "a/m", 7)) == "step 7"


def test_families_found_on_disk_have_models_of_steps() -> None:
    assert {FAMILIES[name].step_unit for name in ("tiny", "lab")} == {"step"}
    assert {family.step_unit for family in FAMILIES.values()} <= set(UNIT_WORDS)


@pytest.mark.parametrize("name", [model.name for model in LISTED if model.family != "polypythias"])
def test_the_list_of_checkpoints_says_the_unit(name: str, cli: Callable[..., tuple[int, str, str]]) -> None:
    unit = FAMILIES[MODELS[name].family].step_unit
    code, text, _ = cli("families", "--family", name)
    rows = json.loads(cli("families", "--family", name, "--json")[1])
    assert code == 0 and {row["step_unit"] for row in rows} == {unit}
    last = rows[-1]
    assert re.search(rf"{re.escape(last['revision'])} +{number_words(unit, last['step'])}(?= |$)", text, re.MULTILINE)
