"""What is kept of a study: one result for each study, value and state of what was read, and for each function."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
import streamlit as st

from icl_core.evaluation.study import Study
from pages.ui.data import cached
from tests.support.made_up import made_up_study


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    st.cache_data.clear()
    st.cache_resource.clear()
    yield
    st.cache_data.clear()
    st.cache_resource.clear()


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_result_is_computed_again_when_study_value_or_state_differ(is_shared: bool) -> None:
    state, calls = {"now": "one"}, []

    @cached.kept(lambda study: state["now"], is_shared=is_shared, show_spinner=False)
    def counted(study: Study, value: int, *, word: str = "") -> tuple[int, ...]:
        calls.append((study, value, word))
        return (len(calls),)

    @cached.kept(lambda study: state["now"], is_shared=is_shared, show_spinner=False)
    def another(study: Study, value: int, *, word: str = "") -> str:
        return "another"

    study = made_up_study()
    assert counted(study, 1) == counted(dataclasses.replace(study), 1) == (1,)
    assert another(study, 1) == "another"
    assert counted(study, 2) == (2,)
    assert counted(study, 1, word="x") == (3,)
    for n, (name, value) in enumerate({"attention": "eager", "data_dir": "/elsewhere", "n_test": 7}.items(), start=4):
        assert counted(dataclasses.replace(study, **{name: value}), 1) == (n,)
    shorter = dataclasses.replace(study, checkpoints=study.checkpoints[:-1])
    assert counted(shorter, 1) == (7,)
    state["now"] = "two"
    assert counted(study, 1) == (8,)
    state["now"] = "one"
    assert counted(study, 1) == (1,)
