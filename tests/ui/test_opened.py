"""A study's JSON that a page gave is opened again by another session, and every other file is refused in a sentence."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from icl_core.evaluation.fusion_data import fusion_study
from icl_core.evaluation.study import Study, study_to_json
from icl_core.models.listing import embedded_members, list_checkpoints, local_checkpoints
from pages.ui.controls import selection
from tests.support.made_up import made_up_study, refs_of
from tests.support.sentences import assert_one_sentence
from tests.support.tiny_models import save_trajectory


def upload(app: AppTest, content: str | bytes, name: str = "mine.json") -> AppTest:
    data = content.encode() if isinstance(content, str) else content
    app.file_uploader(key="study_file").set_value((name, data, "application/json")).run()
    assert not app.exception, [item.value for item in app.exception]
    return app


def study_shown(app: AppTest) -> Study:
    """What the pickers ask for after a run."""
    values: dict[str, Any] = {item.name: app.session_state[item.name] for item in dataclasses.fields(selection.Choice)}
    for name in ("model", "task", "setting"):
        values[name] = tuple(values[name])
    return selection.study_of(selection.Choice(**values))


def tiny(*models: str, revisions: slice = slice(None)) -> Study:
    refs = tuple(ref for model in models for ref in list_checkpoints(model)[revisions])
    return Study(refs, ("tiny_taste", "tiny_colour"), ("gold", "abstract"), (13, 42), n_shots=8, n_test=50)


@pytest.fixture
def evaluate(store_folder: Path, lay_store: Callable[..., None], open_page: Callable[..., AppTest]) -> AppTest:
    lay_store(store_folder, made_up_study(n_test=40))
    return open_page("evaluate")


@pytest.mark.parametrize(
    "study",
    [
        made_up_study(n_test=40),
        dataclasses.replace(made_up_study(), checkpoints=refs_of("someone-model")[2:4], n_shots=3, alphabet="letters"),
        dataclasses.replace(made_up_study(), checkpoints=refs_of("someone-model")[3:4], template="natural"),
        tiny(*embedded_members()[:2]),
        tiny(embedded_members()[0], revisions=slice(1, 4)),
        tiny(embedded_members()[0], revisions=slice(2, 3)),
        dataclasses.replace(tiny(embedded_members()[0]), label_settings=("abstract", "gold"), demo_seeds=(42, 13)),
    ],
    ids=["stored", "two steps", "one step", "two members", "three steps", "a step below a count", "another order"],
)
def test_a_study_is_opened_as_it_was(study: Study, evaluate: AppTest) -> None:
    app = upload(evaluate, study_to_json(study))
    assert "is open" in app.success[0].value and not app.main.error
    assert selection_of(study_shown(app)) == selection_of(study)
    app.switch_page("pages/dynamics/page.py").run()
    assert not app.exception and selection_of(study_shown(app)) == selection_of(study)


def selection_of(study: Study) -> tuple[object, ...]:
    return set(study.checkpoints), set(study.tasks), set(study.label_settings), set(study.demo_seeds), study.n_shots, (
        study.n_test, study.template, study.alphabet, study.dtype)  # fmt: skip


def test_a_study_of_one_s_own_folder_and_of_the_development_set(evaluate: AppTest, tmp_path: Path) -> None:
    refs = local_checkpoints(save_trajectory(tmp_path / "my run", (0, 1000)))
    study = fusion_study(Study(refs, ("tiny_taste",), ("gold", "random", "abstract"), (13,), n_test=20))
    app = upload(evaluate, b"\xef\xbb\xbf" + study_to_json(study).encode())
    assert study_shown(app).checkpoints == refs and app.session_state["dev"] is True


GOOD = json.loads(study_to_json(made_up_study(n_test=40)))


def changed(**fields: object) -> str:
    return json.dumps({**GOOD, **fields})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "mine.json is not the JSON of a study"),
        (b"\xff\xfe\x00\x00\xd8", "mine.json is not UTF"),
        (b"[" * 100_000, "mine.json is not the JSON of a study"),
        ('{"a": 1}', "mine.json is not the JSON of a study"),
        (changed(more=1), "more"),
        (changed(n_shots=10**9), "1000000000 cannot be the number of demonstrations"),
        (changed(demo_seeds=[-1]), "-1 cannot be a demonstration seed"),
        (changed(tasks=["sst2"] * 200_000), "repeat sst2"),
        (changed(tasks=["sst2", "file:/etc/passwd"]), "asks for the task passwd, not known here"),
        (changed(tasks=["<b>no</b>"]), "asks for the task <b>no</b>, not known here"),
        (changed(template="<script>"), "asks for the template '<script>'; known are minimal"),
        (changed(dtype="int4"), "Unknown dtype 'int4'"),
        (changed(splits=["dev"]), "asks for the development set alone"),
        (changed(data_dir="/not/here"), "is not the absolute path of a folder that exists"),
        (changed(checkpoints=[{**GOOD["checkpoints"][0], "model": "nobody's"}]), "nobody's"),
        (changed(checkpoints=[{**GOOD["checkpoints"][0], "revision": "step7"}]), "that are not all here"),
        (b" " * 5_000_001, "more than any study"),
    ],
)
def test_a_wrong_file_is_refused_in_a_sentence_and_changes_nothing(
    content: str | bytes, said: str, evaluate: AppTest
) -> None:
    before = selection_of(study_shown(evaluate))
    app = upload(evaluate, content)
    (error,) = [item.value for item in app.main.error]
    assert said in error.replace("\\", ""), error
    assert_one_sentence(error.replace("\\", "").partition("cannot be opened. ")[2] or error.replace("\\", ""))
    assert selection_of(study_shown(app)) == before
    app = upload(app, study_to_json(made_up_study(n_test=40)))
    assert not app.main.error and "is open" in app.success[0].value
