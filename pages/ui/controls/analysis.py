"""The choices of the analysis, shared by the pages that analyse: measure, normalisation, task, axis, epsilon.

They stand beside the chart that they change, and in the address. All pages share one value of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import streamlit as st

from icl_core.analysis.competition import EPSILON_PAPER, EPSILON_REFERENCE_CODE
from icl_core.analysis.predictions import NORMALISATIONS, Normalisation
from icl_core.analysis.statistics import MEASURES, Measure
from icl_core.records import CheckpointRef
from icl_core.registry.step_units import UNIT_WORDS
from pages.ui.charts.axes import Quantity, ScaleName
from pages.ui.controls.pickers import mirror, one_of
from pages.ui.data import rows
from pages.ui.data.view import View
from pages.ui.words.written import task_title

__all__ = [
    "MEASURE_TITLES",
    "MOST_EPSILON",
    "NORMALISATION_TITLES",
    "OWN_TITLES",
    "QUANTITY_TITLES",
    "axis_controls",
    "epsilon_control",
    "measure_controls",
    "normalisation_control",
    "own_title",
    "quantity_control",
    "task_control",
    "view_controls",
]

MEASURE_TITLES = {"accuracy": "Accuracy", "balanced_accuracy": "Balanced accuracy", "macro_f1": "Macro F1"}
NORMALISATION_TITLES = {"sum": "Sum of tokens", "per_token": "Mean per token", "calibrated": "Calibrated"}
MOST_EPSILON = 0.1
_EPSILONS = {"paper 0.01": EPSILON_PAPER, "reference code 0.0001": EPSILON_REFERENCE_CODE}
QUANTITY_TITLES = {"step": "Steps", "tokens": "Tokens", "share": "Share"}
_ORDER, _MIXED, _NAMED_TOKENS = "Order", "Own number", "Tokens by name"
OWN_TITLES = frozenset({_ORDER, _MIXED, _NAMED_TOKENS, *(words.plural.capitalize() for words in UNIT_WORDS.values())})
"""All names that the checkpoints' own number can have on the control of an axis."""
_ALL = "Mean over tasks"


def task_control(tasks: Sequence[str]) -> str | None:
    """The mean over the tasks (None), or one of them."""
    chosen = one_of(
        "Shown", [_ALL, *tasks], format_func=lambda name: name if name == _ALL else task_title(name), key="on"
    )
    return None if chosen == _ALL else chosen


def measure_controls() -> tuple[Measure, Normalisation]:
    """The measure, and how the scores of labels of several tokens are compared."""
    measure = st.selectbox(
        "Measure",
        list(MEASURES),
        format_func=lambda name: MEASURE_TITLES[name],
        key="measure",
        bind="query-params",
        help="Balanced accuracy is the mean recall over labels: naming one label for everything gives chance.",
    )
    return measure, normalisation_control()


def normalisation_control() -> Normalisation:
    """How the scores of labels of several tokens are compared."""
    return st.selectbox(
        "Label score",
        list(NORMALISATIONS),
        format_func=lambda name: NORMALISATION_TITLES[name],
        key="norm",
        bind="query-params",
        help="Sum of the log-probabilities of the label's tokens (default), their mean, or the sum minus the sum for "
        "the content-free query N/A under the same demonstrations.",
    )


def view_controls(tasks: Sequence[str]) -> View:
    """Which of these tasks, or their mean, and how it is scored."""
    task = task_control(tasks)
    measure, normalisation = measure_controls()
    return View(measure, normalisation, task)


def axis_controls(refs: Iterable[CheckpointRef]) -> tuple[Quantity, ScaleName]:
    """What a horizontal axis is to count, and its scale; ``rows.settled`` tells what it can count."""
    quantity = quantity_control("Axis", refs, default="step", key="x")
    scale = st.segmented_control(
        "Scale", ["symlog", "linear"], default="symlog", required=True, key="scale", bind="query-params",
        help="symlog is linear up to the first checkpoint after 0 and logarithmic from there.",
    )  # fmt: skip
    return quantity, cast(ScaleName, scale)


def quantity_control(label: str, refs: Iterable[CheckpointRef], *, default: Quantity, key: str) -> Quantity:
    """What an axis of training is to count; the checkpoints' own number is named by its unit.

    A link that was made for models with another unit names it otherwise; the address is then corrected.
    """
    titles = {**QUANTITY_TITLES, "step": own_title(refs)}
    if key not in st.session_state and st.query_params.get(key) in OWN_TITLES - {*titles.values()}:
        st.query_params[key] = titles["step"]
        st.rerun()  # a control takes its value from the address as it was when the run began
    chosen = st.segmented_control(
        label,
        list(QUANTITY_TITLES),
        default=default,
        required=True,
        format_func=lambda name: titles[name],
        key=key,
        bind="query-params",
    )
    return cast(Quantity, chosen)


def own_title(refs: Iterable[CheckpointRef]) -> str:
    """What the own number of these checkpoints is called on the control of an axis."""
    refs = list(refs)
    unit = rows.common_unit(refs)
    if unit is None:
        return _ORDER if "step" in rows.quantities(refs) else _MIXED
    return _NAMED_TOKENS if unit == "token" else UNIT_WORDS[unit].plural.capitalize()


def _set_epsilon(value: float) -> None:
    st.session_state["eps"] = value


def _from_number(typed: float) -> None:
    if 0 <= typed <= MOST_EPSILON:
        _set_epsilon(typed)
    else:
        st.session_state["eps_refused"] = f"Epsilon is a fraction from 0 to {MOST_EPSILON:g}, so {typed:g} is not used."


def epsilon_control() -> float:
    """The smallest change that counts: slider, number, and the two published values."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="epsilon-controls"):
        epsilon = st.slider(
            "epsilon: smallest change",
            0.0,
            MOST_EPSILON,
            EPSILON_PAPER,
            step=0.0001,
            format="%.4f",
            key="eps",
            bind="query-params",
            help="A fraction: 0.01 is one percentage point. The paper says 0.01; its code compares percentages with "
            "0.01, which is 0.0001 here.",
        )
        st.number_input(  # without limits: a browser would go on showing a number that it refused
            f"epsilon ({100 * epsilon:.2f} %)",
            step=0.0001,
            format="%.4f",
            width=150,
            **mirror("eps_number", epsilon, _from_number),
        )
        for name, value in _EPSILONS.items():
            st.button(name, key=f"preset-{value}", on_click=_set_epsilon, args=(value,))
    if refused := st.session_state.pop("eps_refused", ""):
        st.warning(refused)
    return epsilon
