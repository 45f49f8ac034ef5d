"""Controls whose value or options change without their user: nothing that a user sets is lost, no box lies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from streamlit.proto.WidgetStates_pb2 import WidgetStates
from streamlit.testing.v1 import AppTest

from icl_core.evaluation.study import Study


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
