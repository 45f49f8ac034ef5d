"""Files that pages offer: their rows and names tell the study, the measure, epsilon and the members they came from."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from hypothesis import given, settings, strategies
from streamlit.testing.v1 import AppTest

from icl_core.evaluation.fusion_data import fusion_study
from icl_core.evaluation.study import Study, study_digest, study_from_json
from pages.ui.files.facts import MOST_CHARACTERS, Facts
from tests.support.hostile import ACTING, FORMULAS, SCRIPTS
from tests.support.made_up import made_up_study


@dataclass(frozen=True)
class Offered:
    """A button of the last run."""

    name: str
    build: Callable[[], bytes]

    @property
    def rows(self) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.build().decode(), newline="")))


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> dict[str, Offered]:
    """The files on the page by their buttons' keys."""
    found: dict[str, Offered] = {}

    def button(label: str, data: Callable[[], bytes], *, file_name: str, key: str, **_: Any) -> bool:
        found[key] = Offered(file_name, data)
        return False

    monkeypatch.setattr(st, "download_button", button)
    return found


@pytest.fixture
def study(store_folder: Path, lay_store: Callable[..., None]) -> Study:
    """A made-up study with development results, in the store."""
    study = made_up_study(n_test=60)
    lay_store(store_folder, fusion_study(study))
    return study


CASES: dict[str, tuple[str, dict[str, str], str, dict[str, str], str]] = {
    "curves": (
        "dynamics",
        {"tab": "Table and downloads", "measure": "Macro F1", "norm": "Mean per token", "on": "mrpc"},
        "curves-csv",
        {"measure": "macro_f1", "label_score": "per_token", "shown": "mrpc", "axis": "step"},
        "curves_macro-f1_per-token_mrpc_step_study-",
    ),
    "answers": (
        "dynamics",
        {"tab": "One checkpoint", "at": "someone-model step 440", "labels": "random"},
        "answers-csv",
        {"checkpoint": "someone-model step 440", "label_setting": "random", "label_score": "sum"},
        "answers_sum_",
    ),
    "intervals": (
        "competition",
        {"part": "Table and downloads", "eps": "0.02"},
        "intervals-csv",
        {"model": "someone-model", "measure": "accuracy", "epsilon_points": "2.0", "shown": "mean over tasks"},
        "intervals_someone-model_accuracy_sum_mean-over-tasks_epsilon-points-2_study-",
    ),
    "changed answers": (
        "competition",
        {"part": "What changed", "interval": "step 0 to step 110"},
        "changed-answers-csv",
        {"interval": "step 0 to step 110"},
        "changed-answers_someone-model_sum_step-0-to-step-110_study-",
    ),
    "models": (
        "competition",
        {"part": "Models compared", "eps": "0.05"},
        "models-csv",
        {"epsilon_points": "5.0", "measure": "accuracy", "test_rows": "60"},
        "models_accuracy_sum_mean-over-tasks_epsilon-points-5_study-",
    ),
    "fusion": (
        "fusion",
        {"fusion_part": "Table and downloads", "measure": "Balanced accuracy"},
        "fusion-csv",
        {"TR": "someone-model step 440", "TL": "someone-model step 990", "measure": "balanced_accuracy"},
        "fusion_balanced-accuracy_sum_someone-model-step-440_someone-model-step-990_mean-over-tasks_study-",
    ),
    "gains": (
        "fusion",
        {"fusion_part": "Tasks", "w": "0.25"},
        "gains-csv",
        {"TR": "someone-model step 440", "at_w": "0.25"},
        "gains_accuracy_sum_someone-model-step-440",
    ),
    "paper": (
        "paper",
        {"panel": "Table 7"},
        "table-7a-csv",
        {"measure": "accuracy", "epsilon_points": "1.0"},
        "table-7a_accuracy_sum_mean-over-tasks_epsilon-points-1",
    ),
    "minimal model": (
        "lab",
        {"lab": "Minimal model"},
        "minimal-model-csv",
        {"alpha": "0.1", "n_steps": "16000"},
        "minimal-model_alpha-0.1_mu1-0.1",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_file_carries_what_decides_its_numbers(
    case: str, study: Study, offered: dict[str, Offered], open_page: Callable[..., AppTest]
) -> None:
    page, query, key, columns, stem = CASES[case]
    app = open_page(page, **({} if page == "lab" else {"model": "someone-model"}), **query)
    assert not app.exception, [item.value for item in app.exception]
    assert key in offered, sorted(offered)
    file = offered[key]
    assert file.name.startswith(stem), file.name
    rows = file.rows
    assert rows
    for row in rows:
        assert {name: row.get(name) for name in columns} == columns
    if "study" in rows[0]:
        (named,) = {row["study"] for row in rows}
        assert f"study-{named}." in file.name and {row["demo_seeds"] for row in rows} == {"13, 21"}
        for other in offered.values():
            if other.name.startswith("study-"):
                whole = study_from_json(other.build().decode())
                assert study_digest(whole).startswith(named) and other.name == f"study-{named}.json"


def test_two_settings_give_two_names(
    study: Study, offered: dict[str, Offered], open_page: Callable[..., AppTest]
) -> None:
    app = open_page("competition", model="someone-model", part="Table and downloads")
    before = {key: file.name for key, file in offered.items()}
    app.slider(key="eps").set_value(0.03).run()
    after = {key: file.name for key, file in offered.items()}
    assert before.keys() == after.keys()
    changed = {key for key in before if before[key] != after[key]}
    assert changed == {key for key in before if not before[key].startswith("study-")}
    assert all(re.fullmatch(r"[a-z]+-[a-z]+|intervals-(csv|json|html|svg)", key) for key in before)


TEXTS = strategies.one_of(strategies.text(max_size=80), strategies.sampled_from([*SCRIPTS, *FORMULAS, *ACTING, "../x"]))


@settings(derandomize=True, deadline=None, max_examples=150)
@given(values=strategies.dictionaries(TEXTS, strategies.one_of(TEXTS, strategies.floats()), max_size=6))
def test_a_file_name_is_one_on_every_system(values: dict[str, str | float]) -> None:
    stem = Facts(made_up_study(), values).file_stem("curves")
    assert re.fullmatch(r"curves(_[A-Za-z0-9.+_-]+)?_study-[0-9a-f]{8}", stem), stem
    assert len(stem) <= MOST_CHARACTERS and ".." not in stem.replace("...", "")


def test_a_row_keeps_its_own_column() -> None:
    facts = Facts(None, {"measure": "accuracy", "w": 0.5})
    assert facts.beside([{"measure": "macro f1", "value": 1}]) == [{"measure": "macro f1", "value": 1, "w": 0.5}]
