"""What is kept of a study: one result for each study, value and state of what was read, and for each function."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
import streamlit as st

from icl_core.evaluation.study import Study
from icl_core.records import CheckpointRef
from pages.fusion.computed import Asked, FurtherMember
from pages.ui.data import cached
from pages.ui.data.view import View
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


OTHERWISE: dict[str, Any] = {"measure": "macro_f1", "normalisation": "calibrated", "task": "sst2"}
"""Another value for every field of a view."""


def test_every_option_of_a_view_is_in_the_key() -> None:
    calls: list[View] = []

    @cached.kept(lambda study: "state", show_spinner=False)
    def counted(study: Study, view: View) -> int:
        calls.append(view)
        return len(calls)

    study = made_up_study()
    assert counted(study, View()) == counted(study, View("accuracy", "sum", None)) == 1
    assert set(OTHERWISE) == {field.name for field in dataclasses.fields(View)}
    others = [dataclasses.replace(View(), **{name: value}) for name, value in OTHERWISE.items()]
    assert [counted(study, view) for view in others] == [2, 3, 4]
    assert counted(study, others[-1].of_all_tasks) == 1


@pytest.mark.parametrize("kind", [View, Study, Asked, FurtherMember, CheckpointRef], ids=lambda kind: kind.__name__)
def test_what_stands_in_a_key_is_written_out_whole(kind: type[Any]) -> None:
    """Keys hold these as Python writes them out, so a field that is not written is not in the key."""
    assert kind.__dataclass_params__.frozen and kind.__dataclass_params__.repr
    assert all(field.repr for field in dataclasses.fields(kind))
