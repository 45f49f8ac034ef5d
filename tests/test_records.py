"""The text forms of frozen values, on which every key rests."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from icl_core.evaluation.study import Study
from icl_core.records import (
    FIELDS_IN_KEY,
    SHARED_OPTIONS,
    CellKey,
    CellSpec,
    CheckpointRef,
    canonical_json,
    digest_of,
    fields_in_key,
    plain_fields,
)

TEXTS = st.text(max_size=8)
REFS = st.builds(
    CheckpointRef,
    TEXTS,
    TEXTS,
    TEXTS,
    st.sampled_from(["hub", "folder", "gguf"]),
    TEXTS,
    step=st.none() | st.integers(0, 10**6),
)
SPECS = st.builds(
    CellSpec,
    REFS,
    TEXTS,
    st.sampled_from(["dev", "test"]),
    st.sampled_from(["gold", "random", "abstract"]),
    st.integers(),
    st.integers(),
    st.integers(),
    data_dir=st.none() | TEXTS,
)


@given(SPECS)
def test_the_fast_form_is_that_of_the_standard_library(spec: CellSpec) -> None:
    assert plain_fields(spec) == dataclasses.asdict(spec)
    assert canonical_json(plain_fields(spec)) == canonical_json(dataclasses.asdict(spec))
    assert spec.digest == digest_of(dataclasses.asdict(spec))


def test_cells_and_studies_have_the_options_that_cells_share() -> None:
    defaults = {field.name: field.default for field in dataclasses.fields(Study)}
    for name in (*SHARED_OPTIONS, "data_dir"):
        assert name in CellSpec.__dataclass_fields__ and name in defaults
    assert set(FIELDS_IN_KEY) == set(CellSpec.__dataclass_fields__) & set(CellKey.__dataclass_fields__) - {"alphabet"}
    for name in set(CellSpec.__dataclass_fields__) & set(defaults) - {"n_shots"}:
        assert CellSpec.__dataclass_fields__[name].default == defaults[name], name


def test_every_option_of_a_cell_is_one_that_results_must_share() -> None:
    """What says which cell it is may differ between the points of a curve; an option may not."""
    which_cell = {"checkpoint", "task", "split", "label_setting", "demo_seed", "n_examples"}
    of_their_own = {"alphabet", "data_dir"}  # of abstract cells alone; not in the key, which has the rows themselves
    assert set(SHARED_OPTIONS) == set(CellSpec.__dataclass_fields__) - which_cell - of_their_own
    assert set(SHARED_OPTIONS) <= set(FIELDS_IN_KEY)


@given(SPECS)
def test_a_key_takes_the_alphabet_in_the_abstract_setting_alone(spec: CellSpec) -> None:
    taken = fields_in_key(spec)
    assert taken["alphabet"] == (spec.alphabet if spec.label_setting == "abstract" else None)
    assert {name: taken[name] for name in FIELDS_IN_KEY} == {name: getattr(spec, name) for name in FIELDS_IN_KEY}
