"""The text forms of frozen values, on which every key rests."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from icl_core.records import CellSpec, CheckpointRef, canonical_json, digest_of, plain_fields

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
