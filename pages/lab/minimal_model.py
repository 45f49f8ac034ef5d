"""The tab of the minimal model: live sliders, a fan of seeds for each loss, and how the seeds ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st

from icl_core.pretraining.lab.minimal import (
    EMERGED_BELOW,
    FADED_ABOVE,
    MinimalKnobs,
    MinimalRun,
    outcome_shares,
    quantiles,
    simulate,
)
from pages.lab import notes, sentences, vega
from pages.ui.files import exports
from pages.ui.files.facts import Facts
from pages.ui.panels import blocks, frame
from pages.ui.words.written import reported

__all__ = ["draw"]

DEFAULT = MinimalKnobs()
STEPS = (4000, 8000, 16_000, 32_000)
MOST_SEEDS = 64
POINTS = 1600
"""About how many points a fan draws, all seeds together."""
PRESETS: dict[str, dict[str, Any]] = {
    "Default": {},
    "μ₁ = 0: matched exemplars": {"mu1": 0.0},
    "α = 0: no competition": {"alpha": 0.0},
    "d frozen": {"freeze": True},
    "Easy d: 20": {"d": 20},
}
"""Settings of arXiv 2503.05631, and what each of them changes in the default."""


def _defaults() -> dict[str, Any]:
    a, b, c, d = DEFAULT.dims
    return {
        **{"alpha": DEFAULT.alpha, "mu1": DEFAULT.mu1, "mu2": DEFAULT.mu2, "a": a, "b": b, "c": c, "d": d},
        **{"rate": DEFAULT.learning_rate, "seeds": DEFAULT.n_seeds, "first": DEFAULT.seed, "freeze": False},
    }


def _take(changed: dict[str, Any]) -> None:
    for name, value in {**_defaults(), **changed}.items():
        st.session_state[f"min_{name}"] = value


@st.cache_data(max_entries=64, show_spinner=False)
def _simulated(knobs: MinimalKnobs) -> MinimalRun:
    return simulate(knobs)


@st.fragment
def draw(shown: None) -> None:
    """Sliders at the left, what they do at the right; moving one redraws only these."""
    with st.container(horizontal=True, key="min-presets"):
        for name, changed in PRESETS.items():
            st.button(name, key=f"min-preset-{name}", on_click=_take, args=(changed,))
    left, right = st.columns([1, 3], gap="medium")
    with left:
        knobs = _knobs()
    with right, reported(st.stop):
        run = _simulated(knobs)
        blocks.finding(sentences.minimal_finding(run))
        _charts(run)
        st.caption(sentences.minimal_outcomes(run))
    with st.expander("How this is computed"):
        notes.how_the_minimal_model_is_computed(run)
        _download(run)


def _slider(label: str, name: str, low: float, *, high: float, step: float, help_text: str | None = None) -> Any:
    value = type(low)(_defaults()[name])
    return st.slider(label, low, high, value, step=step, key=f"min_{name}", bind="query-params", help=help_text)


def _knobs() -> MinimalKnobs:
    alpha = _slider("α: price of learning both a and d", "alpha", 0.0, high=1.0, step=0.01)
    mu1 = _slider(
        "μ₁: loss that ICL keeps however well it learns",
        "mu1",
        0.0,
        high=0.5,
        step=0.01,
        help_text="Exemplars of a class differ, so matching them leaves a loss; with exact copies it is 0.",
    )
    mu2 = _slider("μ₂: the same for CIWL", "mu2", 0.0, high=0.5, step=0.01)
    rate = _slider("Learning rate", "rate", 0.05, high=2.0, step=0.05)
    seeds = _slider("Seeds", "seeds", 4, high=MOST_SEEDS, step=4)
    first, second = st.columns(2)
    with first:
        a = _slider("dim a", "a", 2, high=64, step=1, help_text="Entries of a, which ICL alone needs.")
        c = _slider("dim c", "c", 2, high=64, step=1, help_text="Entries of c, which both need.")
    with second:
        b = _slider("dim b", "b", 2, high=64, step=1, help_text="Entries of b, which both need.")
        d = _slider(
            "dim d",
            "d",
            2,
            high=400,
            step=2,
            help_text="Entries of d, which CIWL alone needs: the more, the slower it learns.",
        )
    n_steps = st.select_slider("Steps", STEPS, value=DEFAULT.n_steps, key="min_steps", format_func="{:,}".format,
                               bind="query-params")  # fmt: skip
    seed = st.number_input("First draw", 0, 9999, value=DEFAULT.seed, key="min_first", bind="query-params",
                           help="Names the draws of targets and starts.")  # fmt: skip
    frozen = st.toggle("Freeze d", key="min_freeze", bind="query-params")
    return MinimalKnobs(
        alpha=alpha, mu1=mu1, mu2=mu2, dims=(a, b, c, d), learning_rate=rate, n_steps=int(n_steps), n_seeds=int(seeds),
        seed=int(seed), freeze_d=bool(frozen), record_every=int(n_steps) // 320,
    )  # fmt: skip


def _charts(run: MinimalRun) -> None:
    palette, n_steps = frame.palette(), run.knobs.n_steps
    emerged, faded = ({"value": EMERGED_BELOW, "text": "emerged"}, {"value": FADED_ABOVE, "text": "faded"})
    for column, key, name, losses, levels in zip(
        st.columns(2), ("l1", "l2"), ("L₁: ICL", "L₂: CIWL"), (run.l1, run.l2), ((emerged, faded), ()), strict=True
    ):
        with column:
            rows, median = _fan_rows(run, losses)
            figure = vega.fan_chart(
                rows, median, palette, n_steps=n_steps, title=f"{name}, loss (root scale)", thresholds=levels
            )
            alt = f"{name}: loss of {len(run.outcome)} seeds over gradient descent, with their median"
            blocks.chart(figure, key=f"min-{key}", alt=alt)
    outcomes = [
        {"outcome": name, "share": share, "text": sentences.seeds_with(name, run)}
        for name, share in outcome_shares(run).items()
    ]
    blocks.chart(vega.outcome_chart(outcomes, palette), key="min-outcomes", alt="Share of seeds by outcome")


def _fan_rows(run: MinimalRun, losses: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Every few recorded points of each seed that did not overflow, and of their median, named at its end."""
    kept = [index for index, outcome in enumerate(run.outcome) if outcome != "left out"]
    stride = max(1, len(run.steps) * len(kept) // POINTS)
    at = sorted({*range(0, len(run.steps), stride), len(run.steps) - 1})
    steps = run.steps[at].tolist()
    values = np.round(losses[:, at], 4)
    rows: list[dict[str, Any]] = [
        {"seed": seed, "outcome": run.outcome[seed], "x": x, "value": value}
        for seed in kept
        for x, value in zip(steps, values[seed].tolist(), strict=True)
    ]
    if not kept:
        return [], []
    median = quantiles(losses, (0.5,))[0]
    middle: list[dict[str, Any]] = [{"x": int(run.steps[i]), "value": round(float(median[i]), 4)} for i in at]
    middle[-1] = {**middle[-1], "text": "dashed: median"}
    return rows, middle


def _download(run: MinimalRun) -> None:
    of = Facts(
        None,
        {
            name: value if isinstance(value, int | float) else str(value)
            for name, value in dataclasses.asdict(run.knobs).items()
        },
    )
    rows = _all_rows(run)
    blocks.download("CSV of all seeds", lambda: exports.as_csv(of.beside(rows)), "minimal-model", suffix=".csv", of=of)


def _all_rows(run: MinimalRun) -> Sequence[dict[str, Any]]:
    return [
        {"seed": seed, "outcome": outcome, "step": int(step), "l1": float(l1), "l2": float(l2)}
        for seed, outcome in enumerate(run.outcome)
        for step, l1, l2 in zip(run.steps, run.l1[seed], run.l2[seed], strict=True)
    ]
