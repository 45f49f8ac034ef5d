"""The knobs of a run, grouped as data, model and training, with presets named after the papers' settings."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import streamlit as st

from icl_core.errors import ObservatoryError
from icl_core.evaluation import jobs as table
from icl_core.pretraining.lab.config import (
    DATA_KNOBS,
    DECAY_PARTS,
    MODEL_KNOBS,
    PRESETS,
    TRAINING_KNOBS,
    DataKnobs,
    Knob,
    LabConfig,
    config_to_json,
    describe,
    validate_config,
    without_seeds,
)
from icl_core.pretraining.lab.summary import expected_seconds, group_runs
from pages.lab import found, jobs_view
from pages.lab.trained import RUNS_KEY
from pages.ui.controls.pickers import mirror, one_of, several_of
from pages.ui.panels import jobs
from pages.ui.words.written import count, duration, plain

__all__ = ["TAB_KEY", "draw", "show_trained"]

TAB_KEY = "lab"
OWN = "Own knobs"
SECOND = ("burstiness", "p_bursty", "copy_probability", "label_swapping", "mapping", "zipf_exponent")
"""Knobs of the data that may change while a run goes on; the others name the classes themselves."""
_SMALL = {"learning_rate": 1e-4, "weight_decay": 1e-3}
"""Numbers too small for a slider, and how far a click moves them."""
MOST_REPEATS = 5


def _key(name: str, *, second: bool = False) -> str:
    return f"lab{'2' if second else ''}_{name}"


def draw() -> None:
    """Presets, knobs, what it costs, and the button."""
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
    config = config_from_form()
    with top:
        _presets(config)
    with left:
        try:
            validate_config(config)
        except ObservatoryError as error:
            st.info(plain(str(error)))
            return
        _submit(config)


def _presets(config: LabConfig) -> None:
    """The preset that the knobs are, whatever set them; choosing one sets them all."""
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
    """The knobs that may be others from a step on."""
    if not st.toggle("Change the data at a step", key="lab_phases", bind="query-params"):
        return
    last = max(2, int(st.session_state.get(_key("n_steps"), LabConfig().n_steps))) - 1
    st.number_input("Step of the change", 1, last, value=min(1500, last), key="lab_switch", bind="query-params")
    _fields(tuple(knob for knob in DATA_KNOBS if knob.name in SECOND), columns=3, second=True)


def config_from_form() -> LabConfig:
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


def _submit(config: LabConfig) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", key="lab-submit"):
        repeats = st.number_input(
            "Repeats", 1, MOST_REPEATS, value=1, key="labrepeats", width=110,
            help="Runs with the next seeds of weights and data, one after the other.",
        )  # fmt: skip
        wanted = [_seeded(config, index) for index in range(int(repeats))]
        ready = [run for each in wanted if (run := found.run_of(each)) is not None and run.state == "complete"]
        in_work = jobs_view.configs_in_work()
        new = [each for each in wanted if each not in in_work and all(each != run.config for run in ready)]
        label = "Train this run" if len(new) < 2 else f"Train {len(new)} runs"
        running = None if new else next((in_work[each] for each in wanted if each in in_work), None)
        if jobs.button(label, running, key="lab-train", disabled=not new):
            jobs.start(lambda: _submit_all(new))
        if running is not None:
            jobs.status(running)
        if ready:
            title = group_runs(ready)[0].title
            st.button("Show what is trained", key="lab-show", on_click=show_trained, args=(title,))
    _cost_words(new, len(wanted) - len(new))


def _submit_all(configs: list[LabConfig]) -> int:
    """A job for each; gives the first one's number."""
    numbers = [
        table.submit_payload("train", {"config": json.loads(config_to_json(each))}, title=describe(each), device="cpu")
        for each in configs
    ]
    return numbers[0]


def _seeded(config: LabConfig, index: int) -> LabConfig:
    """A repeat: the next seeds of weights and data."""
    return dataclasses.replace(config, init_seed=config.init_seed + index, data_seed=config.data_seed + index)


def _cost_words(new: list[LabConfig], n_known: int) -> None:
    known = f"{count(n_known, 'run')} of these trained or in work already. " if n_known else ""
    if not new:
        st.caption(known)
        return
    timed = found.all_runs()
    each = expected_seconds(new[0], timed)  # repeats differ in their seeds alone
    measured = any(run.manifest.get("cpu_seconds") for run in timed)
    basis = "from the runs that were timed" if measured else "a guess; no run has been timed yet"
    time = "for which no time can be told, since no run of about that size was timed"
    if each is not None:
        time = f"about **{duration(each * len(new))}** on one core ({basis})"
    st.caption(
        f"{known}{plain(describe(new[0]))}: {count(new[0].n_steps, 'step')} of {new[0].batch_size} sequences, {time}. "
        "The page stays usable, and the run goes on if you close it."
    )


def show_trained(title: str) -> None:
    """Shows a configuration among the trained runs."""
    held = [each for each in st.session_state.get(RUNS_KEY, []) if each != title]
    st.session_state[RUNS_KEY] = [*held, title][-4:]
    st.session_state[TAB_KEY] = "Trained runs"
