"""Strict reading of plain JSON into frozen values."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Literal

import pytest

from icl_core.models.parameter_fusion import FusionParents, fused_checkpoint, fusion_parents
from icl_core.plain import from_json, from_plain
from icl_core.records import CheckpointRef


@dataclass(frozen=True)
class Inner:
    kind: Literal["a", "b"]
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Outer:
    rate: float
    inner: Inner = field(default_factory=lambda: Inner("a"))
    name: str | None = None


def test_what_is_left_out_has_its_default():
    assert from_json(Outer, '{"rate": 0.5}') == Outer(0.5)


def test_a_whole_number_stands_for_a_float():
    read = from_json(Outer, '{"rate": 1, "inner": {"kind": "b", "sizes": [3]}, "name": null}')
    assert read == Outer(1.0, Inner("b", (3,))) and type(read.rate) is float


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[]", "is not of type dict"),
        ("{", "Expecting property name"),
        ('{"rate": true}', "rate: True is not of type float"),
        ('{"rate": "1"}', "rate: '1' is not of type float"),
        ('{"rate": NaN}', "NaN is not a number in JSON"),
        ('{"rate": 1e999, "x": -Infinity}', "-Infinity is not a number in JSON"),
        ('{"rate": 1' + "0" * 400 + "}", "rate: a number is too large"),
        ('{"rate": 1, "rate": 2}', "a name is repeated"),
        ('{"name": "x"}', "field rate is missing"),
        ('{"rate": 1, "speed": 2}', "unknown field speed"),
        ('{"rate": 1, "inner": {"kind": "c"}}', "inner: kind: 'c' is not one of a, b"),
        ('{"rate": 1, "inner": {"kind": "a", "sizes": [1.0]}}', "inner: sizes: 1.0 is not of type int"),
        ('{"rate": ' + "[" * 100_000 + "]" * 100_000 + "}", "its lists are nested too deep"),
    ],
)
def test_anything_else_is_refused_with_the_reason(text: str, why: str):
    with pytest.raises(ValueError) as refused:
        from_json(Outer, text)
    assert why in str(refused.value)


def test_parents_of_mixed_parameters_are_read_as_strictly():
    tr, tl = (CheckpointRef("local", "m", f"step{step}", "folder", "/m", step) for step in (1, 2))
    ref = fused_checkpoint(tr, tl, weight=0.25)
    assert fusion_parents(ref) == FusionParents(tr, tl, 0.25)
    plain = json.loads(ref.location)
    assert plain == asdict(from_plain(FusionParents, plain))
    with pytest.raises(ValueError, match="tr: step: True is not of type int"):
        from_plain(FusionParents, plain | {"tr": plain["tr"] | {"step": True}})
