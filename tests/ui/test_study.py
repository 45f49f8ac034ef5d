"""The study's choices between runs: what is chosen stays, what is empty stays empty, one step leads back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from pages.ui.controls.selection import KEYS
from tests.support.links import open_link, said
from tests.support.made_up import made_up_study, refs_of
from tests.support.own_folders import lay_run

OTHER = "other-model"


def words(app: AppTest) -> str:
    return "\n".join(str(item.value) for item in [*app.markdown, *app.caption, *app.info, *app.warning])


@pytest.fixture
def two_models(store_folder: Path, lay_store: Callable[..., None]) -> None:
    """Two models with one task in common, under other numbers of demonstrations and seeds for ``bare-model``."""
    study = made_up_study()
    more = dataclasses.replace(study, checkpoints=refs_of(OTHER, (0, 110, 220)), tasks=("mrpc", "trec", "sick"))
    bare = dataclasses.replace(study, checkpoints=refs_of("bare-model"), tasks=("trec",), demo_seeds=(5,), n_shots=4)
    lay_store(store_folder, study, more, bare)


def held(app: AppTest, *names: str) -> dict[str, Any]:
    return {name: app.session_state[name] for name in names}


def test_a_choice_stays_when_the_models_change(two_models: None, open_page: Callable[..., AppTest]) -> None:
    app = open_page("dynamics", model="someone-model")
    app.multiselect(key="task").set_value(["mrpc"]).run()
    app.multiselect(key="model").set_value([OTHER]).run()
    assert app.session_state["task"] == ["mrpc"]
    assert held(app, "seeds", "shots") == {"seeds": "13, 21", "shots": 16}
    app.multiselect(key="model").set_value(["bare-model"]).run()
    assert app.session_state["task"] == ["mrpc"], "a choice is kept, whether or not there are results"
    assert held(app, "seeds", "shots") == {"seeds": "5", "shots": 4}, "what nobody chose goes with its models"
    assert "There are results under other options: trec" in words(app)
    app.button(key="take-options").click().run()
    assert app.session_state["task"] == ["trec"] and app.get("vega_lite_chart")
    assert not [button for button in app.button if button.key == "take-options"]


def test_a_first_visitor_who_picks_another_model_sees_its_results(
    two_models: None, open_page: Callable[..., AppTest]
) -> None:
    app = open_page("dynamics", model="someone-model")
    app.multiselect(key="model").set_value(["bare-model"]).run()
    assert held(app, "task", "seeds", "shots") == {"task": ["trec"], "seeds": "5", "shots": 4}
    assert app.get("vega_lite_chart")


def test_a_model_that_comes_beside_changes_no_number_of_the_first(
    two_models: None, open_page: Callable[..., AppTest]
) -> None:
    app = open_page("dynamics", model="someone-model")
    alone = next(text for text in app.markdown if "**someone" in text.value).value
    app.multiselect(key="model").set_value(["someone-model", OTHER]).run()
    together = next(text for text in app.markdown if "**someone" in text.value).value
    assert alone in together and "**other" in together
    linked = open_page("dynamics", model=["someone-model", OTHER])
    both = next(text for text in linked.markdown if "**someone" in text.value).value
    assert alone in both
    shown = words(linked)
    assert "The means are over different tasks" in shown
    assert "someone\\-model: Bands" in shown and "2 tasks" in shown and "3 tasks" in shown
    linked.button(key="common-tasks").click().run()
    assert linked.session_state["task"] == ["mrpc"]
    assert "The means are over different tasks" not in words(linked)


def test_a_model_without_results_beside_another_is_named(two_models: None, open_page: Callable[..., AppTest]) -> None:
    app = open_page("dynamics", model="someone-model")
    app.multiselect(key="model").set_value(["someone-model", "bare-model"]).run()
    assert "No results under these options, so not shown: **bare\\-model**" in words(app)


def test_undo_brings_back_the_study_before_the_last_change(two_models: None, open_page: Callable[..., AppTest]) -> None:
    app = open_page("dynamics", model="someone-model")
    assert app.button(key="undo").disabled
    before = held(app, "model", "task", "seeds", "shots")
    app.multiselect(key="model").set_value(["bare-model"]).run()
    assert not app.button(key="undo").disabled
    app.button(key="undo").click().run()
    assert held(app, "model", "task", "seeds", "shots") == before
    assert app.button(key="undo").disabled, "one step"
    app.multiselect(key="model").set_value(["bare-model"]).run()
    assert app.session_state["task"] == ["trec"], "defaults are defaults again"


def test_the_study_stays_where_an_address_names_none(two_models: None, open_page: Callable[..., AppTest]) -> None:
    app = open_page("dynamics")
    default = held(app, *KEYS)
    app.multiselect(key="model").set_value(["bare-model"]).run()
    for name, value in default.items():  # as a browser does on its way back to an address that names none of them
        app.session_state[name] = value
    app.query_params.clear()
    app.switch_page("pages/competition/page.py").run()
    assert held(app, "model", "task", "seeds") == {"model": ["bare-model"], "task": ["trec"], "seeds": "5"}
    assert "This address names no study, so your study stays as it was." in words(app)
    app.text_input(key="seeds").set_value("7").run()
    assert "This address names no study" not in words(app)


def test_boxes_that_send_their_defaults_under_the_address_of_a_study_are_not_believed(
    two_models: None, open_page: Callable[..., AppTest]
) -> None:
    app = open_page("dynamics")
    default = held(app, *KEYS)
    app.multiselect(key="model").set_value(["bare-model"]).run()
    assert app.query_params["model"] == "bare-model"
    for name, value in default.items():  # as a browser does whose boxes had not read the address yet
        app.session_state[name] = value
    app.switch_page("pages/competition/page.py").run()
    assert held(app, "model", "task", "seeds") == {"model": ["bare-model"], "task": ["trec"], "seeds": "5"}
    assert "This address names no study" not in words(app)


def test_every_group_has_all_and_none(two_models: None, open_page: Callable[..., AppTest]) -> None:
    app = open_page("dynamics", model="someone-model")
    for name in ("model", "task", "setting"):
        app.button(key=f"sidebar-{name}-None").click().run()
        assert app.session_state[name] == [] and not app.exception
        app.button(key="undo").click().run()
    app.button(key="sidebar-setting-None").click().run()
    app.button(key="sidebar-setting-All").click().run()
    assert app.session_state["setting"] == ["gold", "random", "abstract"]
    app.text_input(key="checkpoints").set_value("3").run()
    app.button(key="sidebar-checkpoints-All").click().run()
    assert app.session_state["checkpoints"] == "all"
    page = open_page("evaluate", model="someone-model")
    groups = [button.key for button in page.button if str(button.key).startswith("group-")]
    assert groups
    for key in groups:
        if str(key).endswith("-None"):
            page.button(key=key).click().run()
    assert page.session_state["task"] == []


@pytest.mark.parametrize("name", ["model", "task", "setting"])
def test_an_empty_choice_survives_a_page_switch_and_a_reload(
    name: str, two_models: None, open_page: Callable[..., AppTest], tmp_path: Path
) -> None:
    own = lay_run(tmp_path / "run", ("step-1", "step-2"))
    app = open_page("evaluate", model="someone-model", local=str(own))
    app.multiselect(key=name).set_value([]).run() if name != "setting" else app.button(
        key="sidebar-setting-None"
    ).click().run()
    app.switch_page("pages/dynamics/page.py").run()
    assert app.session_state[name] == []
    query = {key: values for key, values in app.query_params.items()}
    again = open_page("dynamics", **query)
    assert again.session_state[name] == [] and not again.exception
    assert again.session_state["local"] == str(own)


@pytest.mark.parametrize(
    ("asked", "words_"),
    [
        ({"model": ["someone-model", "nobody"]}, "model = nobody, which is not here"),
        ({"model": "nobody"}, "model = nobody, which is not here"),
        ({"task": ["mrpc", "nothing"]}, "task = nothing, which is not here"),
        ({"setting": ["gold", "golden"]}, "setting = golden, which is not here"),
        ({"tab": "Nowhere"}, "tab = Nowhere, which is not here"),
        ({"tab": "One checkpoint", "at": "step 7"}, "at = step 7, which is not here"),
        ({"on": "nothing"}, "on = nothing, which is not here"),
        ({"measure": "luck"}, "measure = luck, which is not here"),
        ({"x": "weeks"}, "x = weeks, which is not here"),
        ({"who": "nobody"}, "who = nobody, which is not here"),
        ({"modle": "someone-model"}, "modle = someone-model, which is not here"),
        ({"template": "rhyme"}, "template = rhyme, which is not here"),
        ({"shots": "9999"}, "shots = 9999, which is not here"),
        ({"task": "nothing", "on": "nothing"}, "task = nothing; on = nothing, which are not here"),
    ],
)
def test_what_a_link_asks_for_and_is_not_here_is_said(
    asked: dict[str, Any], words_: str, two_models: None, store_folder: Path
) -> None:
    app = open_link("dynamics", {"model": "someone-model", **asked})
    assert not app.exception
    assert any(text == f"This link asks for {words_}." for text in said(app)), said(app)


def test_short_names_work_in_a_link(two_models: None, store_folder: Path) -> None:
    app = open_link(
        "dynamics",
        {"model": "someone-model", "setting": "gold", "measure": "macro_f1", "norm": "per_token", "x": "tokens"},
    )
    assert held(app, "model", "setting", "measure", "norm", "x") == {
        "model": ["someone-model"],
        "setting": ["gold"],
        "measure": "macro_f1",
        "norm": "per_token",
        "x": "tokens",
    }
    assert not [text for text in said(app) if "link" in text]


@pytest.mark.parametrize(("was_shown", "seeds"), [(False, "7"), (True, "5")])
def test_a_part_of_the_study_in_the_address_is_the_whole_unless_the_page_has_shown_it(
    was_shown: bool, seeds: str, two_models: None, open_page: Callable[..., AppTest]
) -> None:
    app = open_page("competition" if was_shown else "dynamics", model="bare-model")
    if was_shown:
        app.switch_page("pages/dynamics/page.py").run()
    app.text_input(key="seeds").set_value("7").run()
    app.session_state["seeds"] = "5"  # as a browser does whose box has not read the address yet
    app.query_params.clear()
    app.query_params["model"] = "bare-model"
    app.switch_page("pages/competition/page.py").run()
    assert held(app, "model", "task", "seeds") == {"model": ["bare-model"], "task": ["trec"], "seeds": seeds}
