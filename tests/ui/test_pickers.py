"""Controls whose value or options change without their user: nothing that a user sets is lost, no box lies."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import pytest
from streamlit.proto.WidgetStates_pb2 import WidgetStates
from streamlit.testing.v1 import AppTest

from icl_core.evaluation.study import Study
from icl_core.settings import project_path


def widget(app: AppTest, kind: str, key: str) -> Any:
    """A control by its key, whatever turn it has come to."""
    return next(each for each in app.get(kind) if each.key == key or str(each.key).startswith(f"{key}."))


BELATED = (
    ("competition", ("slider", "eps", (0.0123, 0.0124)), ("number_input", "eps_number")),
    ("paper", ("slider", "eps", (0.0123, 0.0124)), ("number_input", "eps_number")),
    ("evaluate", ("number_input", "shots", (7, 8)), ("number_input", "page_shots")),
    ("evaluate", ("multiselect", "task", (["mrpc"], ["mrpc", "trec"])), ("button_group", "page_task")),
    ("evaluate", ("text_input", "checkpoints", ("3", "4")), ("text_input", "page_checkpoints")),
    ("lab", ("number_input", "lab_n_layers", (3, 4)), ("selectbox", "labpreset")),
)
"""Page, what its user sets twice in a row, and the control that repeats it."""


@pytest.mark.parametrize(("page", "sets", "repeats"), BELATED)
def test_a_belated_report_of_the_browser_does_not_undo_what_its_user_sets(
    page: str,
    sets: tuple[str, str, tuple[Any, Any]],
    repeats: tuple[str, str],
    open_page: Callable[..., AppTest],
    fill_store: Callable[..., Study],
) -> None:
    """Beside the second value the browser reports the other control as it last knew it, before the first."""
    fill_store()
    app = open_page(page, model="someone-model", **({"lab": "Train a run"} if page == "lab" else {}))
    kind, key, (first, second) = sets
    repeated = [each for each in app.get(repeats[0]) if str(each.key).startswith(repeats[1])]
    assert repeated
    belated = [each._widget_state for each in repeated]
    widget(app, kind, key).set_value(first).run()
    widget(app, kind, key).set_value(second)
    reported = app._tree.get_widget_states()
    known = {each.id for each in belated}
    kept = [each for each in reported.widgets if each.id not in known]
    app._run(WidgetStates(widgets=[*kept, *belated]))
    assert not app.exception
    assert widget(app, kind, key).value == second


def test_a_repeated_control_that_is_used_sets_the_other_and_stays(
    open_page: Callable[..., AppTest], fill_store: Callable[..., Study]
) -> None:
    fill_store()
    app = open_page("competition", model="someone-model")
    app.slider(key="eps").set_value(0.02).run()
    for value in (0.03, 0.04):
        number = widget(app, "number_input", "eps_number")
        number.set_value(value).run()
        assert app.slider(key="eps").value == value
        assert widget(app, "number_input", "eps_number").id == number.id


def _changing() -> None:
    import streamlit as st

    from pages.ui.controls.pickers import one_of, several_of, step_of

    names = ["step 1", "step 100"] if st.session_state.get("fewer") else ["step 1", "step 100", "step 990"]
    one_of("One", names, key="one", default=names[-1])
    several_of("Several", names, key="several", default=names)
    step_of("Step", names, key="step")


def test_the_browser_is_told_of_every_value_that_gives_way() -> None:
    app = AppTest.from_function(_changing).run()
    app.session_state["fewer"] = True
    app.run()
    one, several, step = app.selectbox[0], app.multiselect[0], app.select_slider[0]
    assert (one.value, several.value, step.value) == ("step 100", ["step 1", "step 100"], "step 100")
    assert one.proto.set_value and one.proto.raw_value == "step 100"
    assert several.proto.set_value and list(several.proto.raw_values) == ["step 1", "step 100"]
    assert step.proto.set_value
    app.run()
    assert not one.proto.set_value or app.selectbox[0].value == "step 100"
    assert not app.selectbox[0].proto.set_value, "what is told again and again overwrites what is picked meanwhile"


CONTROLS = ("selectbox", "multiselect", "pills", "segmented_control", "radio", "select_slider")


def _is_fixed(options: ast.expr) -> bool:
    """Whether options are written down: constants, lists of them, and what their keys are."""
    if isinstance(options, ast.Call) and isinstance(options.func, ast.Name) and options.func.id == "list":
        return _is_fixed(options.args[0])
    if isinstance(options, ast.List | ast.Tuple):
        return all(_is_fixed(each.value if isinstance(each, ast.Starred) else each) for each in options.elts)
    names = isinstance(options, ast.Name) and options.id.isupper()
    attributes = isinstance(options, ast.Attribute) and options.attr.isupper()
    return isinstance(options, ast.Constant) or names or attributes


def test_controls_over_changing_options_are_drawn_in_one_place() -> None:
    refused = []
    for path in sorted((project_path() / "pages").rglob("*.py")):
        if path.name == "pickers.py":
            continue
        for call in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
                continue
            rewritten = any(
                each.arg is None and isinstance(each.value, ast.Call) and ast.unparse(each.value.func) == "mirror"
                for each in call.keywords
            )
            if call.func.attr in CONTROLS and not rewritten and not _is_fixed(call.args[1]):
                refused.append(f"{path.name}:{call.lineno}")
    assert not refused, f"draw them with pages/ui/controls/pickers.py: {refused}"
