"""The controls of the lab page: which runs are shown, and the knobs and presets of a run to train."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import streamlit as st

from icl_core.pretraining.lab.config import (
    DATA_KNOBS,
    DECAY_PARTS,
    MODEL_KNOBS,
    PRESETS,
    TRAINING_KNOBS,
    DataKnobs,
    Knob,
    LabConfig,
    without_seeds,
)
from icl_core.pretraining.lab.summary import Group
from pages.lab.computed import CURVES, ChosenRuns, axis_of
from pages.ui.charts.axes import ScaleName
from pages.ui.controls.pickers import mirror, one_of, several_of

__all__ = ["TAB_KEY", "chosen_runs", "knobs", "show_trained"]

TAB_KEY = "lab"
RUNS_KEY = "labrun"


# Which runs are shown

AT_FIRST = ("Train", "ICL", "ICL novel", "CIWL", "Flip", "IWL")
FIRST_PRESETS = ("Default: 512 classes", "All contexts copied (repetition paper)")
"""What is shown before anyone chooses, if it has been trained: the cleanest contrast."""
MOST_RUNS = 6


def chosen_runs(groups: Sequence[Group]) -> ChosenRuns:
    """The pickers above the chart: which runs, which curves, which scale."""
    by_title = {group.title: group for group in groups}
    with st.container(horizontal=True, vertical_alignment="bottom", key="lab-controls"):
        chosen = several_of(
            "Configurations",
            list(by_title),
            default=_at_first(groups),
            max_selections=MOST_RUNS,
            key=RUNS_KEY,
            width=280,
            help="What differs from the lab's default knobs; repeats over seeds stand together.",
        )
        titles = st.pills(
            "Curves",
            list(CURVES),
            default=list(AT_FIRST),
            selection_mode="multi",
            key="labcurves",
            bind="query-params",
            help="**ICL**: context labels redrawn, so weights are useless. **ICL novel**: on classes never trained on. "
            "**CIWL**: the query's class is absent, its label stands on another item. **Flip**: context labels "
            "swapped; 1 is pure ICL, 0 pure CIWL. **IWL**: label absent. **copy**: the query is an exact copy.",
        )
        scale = st.segmented_control(
            "Scale", ["symlog", "linear"], default="symlog", required=True, key="scale", bind="query-params"
        )
    shown = [by_title[title] for title in chosen]
    return ChosenRuns(shown, axis_of(shown, cast(ScaleName, scale)), [title for title in CURVES if title in titles])


def _at_first(groups: Sequence[Group]) -> list[str]:
    wanted = [without_seeds(PRESETS[name]) for name in FIRST_PRESETS]
    there = [group.title for config in wanted for group in groups if group.config == config]
    return there[:2] or [group.title for group in groups[:2]]


def show_trained(title: str) -> None:
    """Shows a configuration among the trained runs."""
    held = [each for each in st.session_state.get(RUNS_KEY, []) if each != title]
    st.session_state[RUNS_KEY] = [*held, title][-4:]
    st.session_state[TAB_KEY] = "Trained runs"


# The knobs of a run

OWN = "Own knobs"
SECOND = ("burstiness", "p_bursty", "copy_probability", "label_swapping", "mapping", "zipf_exponent")
"""Knobs of the data that may change while a run goes on; the others name the classes themselves."""
_SMALL = {"learning_rate": 1e-4, "weight_decay": 1e-3}
"""Numbers too small for a slider, and how far a click moves them."""


def _key(name: str, *, second: bool = False) -> str:
    return f"lab{'2' if second else ''}_{name}"


def knobs() -> tuple[LabConfig, Any]:
    """Presets and knobs; gives the configuration that they ask for, unchecked, and the place below the wide column."""
    top = st.container()
    left, right = st.columns([3, 2])
    with left, st.container(border=True):
        st.markdown("**Data**")
        _fields(DATA_KNOBS, columns=3)
        _second_phase()
    with right:
        with st.container(border=True):
            st.markdown("**Model**")
            _fields(MODEL_KNOBS, columns=2)
        with st.container(border=True):
            st.markdown("**Training**")
            _fields(TRAINING_KNOBS, columns=2)
            if st.session_state[_key("weight_decay")]:
                several_of("Parts that decay", DECAY_PARTS, default=DECAY_PARTS, key=_key("decay_parts"))
    config = _config()
    with top:
        _presets(config)
    return config, left


def _presets(config: LabConfig) -> None:
    """The preset that the knobs make up, whatever set them; choosing a preset sets all knobs."""
    same = [title for title, preset in PRESETS.items() if preset == without_seeds(config)]
    st.selectbox(
        "Preset",
        [*PRESETS, OWN],
        help="The papers' settings, carried over to the lab's Gaussian exemplars.",
        **mirror("labpreset", same[0] if same else OWN, _take_preset),
    )


def _fields(knobs: tuple[Knob, ...], *, columns: int, second: bool = False) -> None:
    places = st.columns(columns)
    for index, knob in enumerate(knobs):
        with places[index % columns]:
            _field(knob, second=second)


def _field(knob: Knob, *, second: bool = False) -> None:
    placed: dict[str, Any] = {"key": _key(knob.name, second=second), "bind": "query-params", "help": knob.help}
    if knob.choices:
        one_of(knob.title, knob.choices, default=knob.default, **placed)
    elif knob.low is None or knob.high is None:
        st.toggle(knob.title, value=knob.default, **placed)
    elif isinstance(knob.default, int):
        # Limits are the configuration's: a browser would keep a number that it refused, whatever a preset then sets.
        st.number_input(knob.title, value=knob.default, **placed)
    elif knob.name in _SMALL:
        st.number_input(knob.title, value=knob.default, step=_SMALL[knob.name], format="%.5f", **placed)
    else:
        st.slider(knob.title, float(knob.low), float(knob.high), knob.default, step=0.05, **placed)


def _second_phase() -> None:
    """The knobs that may change at a step."""
    if not st.toggle("Change the data at a step", key="lab_phases", bind="query-params"):
        return
    last = max(2, int(st.session_state.get(_key("n_steps"), LabConfig().n_steps))) - 1
    st.number_input("Step of the change", 1, last, value=min(1500, last), key="lab_switch", bind="query-params")
    _fields(tuple(knob for knob in DATA_KNOBS if knob.name in SECOND), columns=3, second=True)


def _config() -> LabConfig:
    """The configuration that the knobs ask for, unchecked."""
    state = st.session_state
    data = DataKnobs(**{knob.name: state[_key(knob.name)] for knob in DATA_KNOBS})
    rest = {knob.name: state[_key(knob.name)] for knob in (*MODEL_KNOBS, *TRAINING_KNOBS)}
    if rest["weight_decay"]:
        rest["decay_parts"] = tuple(part for part in DECAY_PARTS if part in state[_key("decay_parts")])
    if state["lab_phases"]:
        changed = {name: state[_key(name, second=True)] for name in SECOND}
        rest |= {"second_data": dataclasses.replace(data, **changed), "switch_step": state["lab_switch"]}
    return LabConfig(data=data, **rest)


def _take_preset(title: str) -> None:
    """Sets every knob from the chosen preset."""
    config = PRESETS.get(title)
    if config is None:
        return
    for knob in DATA_KNOBS:
        st.session_state[_key(knob.name)] = getattr(config.data, knob.name)
        if knob.name in SECOND:
            st.session_state[_key(knob.name, second=True)] = getattr(config.second_data or config.data, knob.name)
    for knob in (*MODEL_KNOBS, *TRAINING_KNOBS):
        st.session_state[_key(knob.name)] = getattr(config, knob.name)
    st.session_state["lab_phases"] = config.second_data is not None
    st.session_state["lab_switch"] = config.switch_step or min(1500, config.n_steps - 1)
