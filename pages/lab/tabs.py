"""The tabs below the lab's curves: losses and heads, attention, portrait, sweeps, grafts, claims, TR, TL, files."""

from __future__ import annotations

import json

import streamlit as st

from icl_core.pretraining.lab.config import KNOBS, config_digest, config_to_json
from icl_core.pretraining.lab.runs import LabRun, chance
from icl_core.pretraining.lab.summary import SWEEPS, Group, Sweep, sweeps, transience_spread
from pages.lab import computed, sentences, vega
from pages.lab.chart import two_in_a_row
from pages.lab.computed import CURVES, HEADS, DrawnRuns
from pages.lab.vega import Look
from pages.ui.charts.curves import Style, ability_chart
from pages.ui.controls import selection
from pages.ui.controls.pickers import one_of, step_of
from pages.ui.data import cached
from pages.ui.files import exports
from pages.ui.files.facts import Facts
from pages.ui.panels import blocks, frame
from pages.ui.panels.tabs import Tab
from pages.ui.words.written import plain

__all__ = ["TABS"]

LOSSES = {"Training": "loss", "Train": "loss_train", "ICL": "loss_icl", "CIWL": "loss_ciwl", "Flip": "loss_flip",
          "IWL": "loss_iwl"}  # fmt: skip
BRIDGE = {"ICL": "gold", "TR": "tr", "TL": "tl"}
GRAFTED = {"ICL": "icl", "CIWL": "ciwl", "Flip": "flip"}
GRAFT_TITLES = {
    "early_first": "First half of this step under the final second half",
    "early_second": "Final first half under the second half of this step",
}
SWEEP_TITLES = {knob.name: knob.title for knob in KNOBS}


def _named(group: Group, n: int) -> None:
    if n > 1:
        st.markdown(f"**{plain(group.title)}**")


def _pick_run(runs: DrawnRuns) -> LabRun | None:
    """One run of those shown: a configuration and a seed."""
    by_title = {
        f"{group.title}, seed {run.config.init_seed}": run
        for group in runs.shown.groups
        for run in group.runs
        if len(run.curves["step"])
    }
    return by_title[one_of("Run", list(by_title), key="labone")] if by_title else None


# Losses and heads


def losses(runs: DrawnRuns) -> None:
    """Losses on every set, and how strongly the best heads attend in the ways that ICL needs."""
    groups = runs.shown.groups
    for names, title, unit, words in (
        (LOSSES, "Loss (nats)", "number", "Losses"),
        (HEADS, "Best head's attention", "percent", "Head scores"),
    ):
        rows = [computed.curve_rows(group, list(names), names) for group in groups]
        top = max([row["high"] for part in rows for row in part], default=1.0)
        domain = (0.0, 1.0) if unit == "percent" else (0.0, top * 1.05)
        for index, (column, group) in enumerate(zip(two_in_a_row(len(groups)), groups, strict=False)):
            with column:
                _named(group, len(groups))
                look = Look(title=title, domain=domain, height=240, unit=unit)
                figure = vega.series_chart(rows[index], runs.shown.axis, frame.palette(), look=look)
                blocks.chart(figure, key=f"lab-{title}-{index}", alt=f"{words} of {group.title} over training steps")
    st.caption(
        "Losses: cross-entropy over all labels on each fixed set; Training is the mean over the batches since the "
        "point before. Previous token: how much a label attends to the exemplar just before it; induction: how much "
        "the query attends to the labels of its own class, minus how much to all others; self: how much to itself. "
        "Each is the mean of the best single head."
    )


# Attention


@st.fragment
def attention(runs: DrawnRuns) -> None:
    """The mean attention maps of one run at a step that the slider scrubs through."""
    run = _pick_run(runs)
    if run is None or not len(run.attention_steps):
        st.info("These runs have no attention maps yet; the first checkpoint brings them.")
        return
    steps = [int(step) for step in run.attention_steps]
    names = [f"{step:,}" for step in steps]
    chosen = step_of("Step", names, key="labstep")
    at = names.index(chosen)
    tokens = sentences.token_names(run.config.data.n_pairs)
    rows = [
        {
            "layer": layer,
            "head": head,
            "query": query,
            "key": key,
            "share": round(float(run.attention[at, layer, head, query, key]), 4),
            "name": f"layer {layer + 1}, head {head + 1}",
            "query_name": tokens[query],
            "key_name": tokens[key],
        }
        for layer in range(run.config.n_layers)
        for head in range(run.config.n_heads)
        for query in range(len(tokens))
        for key in range(query + 1)
    ]
    figure = vega.attention_chart(
        rows, frame.palette(), n_layers=run.config.n_layers, n_heads=run.config.n_heads, n_tokens=len(tokens)
    )
    alt = f"Attention of every head of {run.title} at step {chosen}"
    blocks.chart(figure, key="lab-attention", alt=alt)
    st.caption(sentences.heads_at(steps[at], computed.head_scores(run, steps[at]), run.config.data.n_pairs))


# Portrait and transience


def portrait(runs: DrawnRuns) -> None:
    """Flip against CIWL, and how much of each peak is lost again."""
    groups = [group for group in runs.shown.groups if len(group.runs[0].curves["step"])]
    if not groups:
        st.info("These runs have not been evaluated yet.")
        return
    rows = [
        {"run": group.title, "step": flip["x"], "flip": flip["value"], "ciwl": ciwl["value"]}
        for group in groups
        for flip, ciwl in zip(*(computed.curve_rows(group, [title]) for title in ("Flip", "CIWL")), strict=True)
    ]
    first = groups[0].runs[0]
    level = {"flip": chance(first, "flip"), "ciwl": chance(first, "ciwl")}
    left, right = st.columns([3, 2])
    with left:
        st.markdown("**Flip against CIWL**")
        blocks.chart(
            vega.portrait_chart(rows, frame.palette(), chance=level),
            key="lab-portrait",
            alt="Flip accuracy against CIWL accuracy along training, one path per configuration",
        )
        st.caption("One path per configuration: the mean over its seeds, coloured by step. On the right the context "
                   "decides, on the left the weights; upwards CIWL is learned.")  # fmt: skip
    with right:
        st.markdown("**Transience index**")
        _transience(groups)


def _transience(groups: list[Group]) -> None:
    rows, without = [], []
    for group in groups:
        for title in ("ICL", "Flip"):
            indices = transience_spread(group.runs, CURVES[title])
            rows += [
                {"run": group.title, "series": title, "index": index, "seed": run.config.init_seed}
                for run, index in zip(group.runs, indices, strict=True)
                if index is not None
            ]
            if all(index is None for index in indices):
                without.append(f"{title} of {group.title}")
    if rows:
        alt = "Transience index of ICL and Flip, one dot per seed"
        blocks.chart(vega.transience_chart(rows, frame.palette()), key="lab-transience", alt=alt)
    st.caption(sentences.transience(without))


# Sweeps


def swept(runs: DrawnRuns) -> None:
    """Final Flip over classes and noise, and over classes and copies, from all runs that have been trained."""
    columns = st.columns(2)
    for column, knob in zip(columns, SWEEPS, strict=True):
        with column:
            families = {sweep.title: sweep for sweep in sweeps(runs.groups, knob)}
            st.markdown(f"**Final Flip over classes and {SWEEP_TITLES[knob].lower()}**")
            if not families:
                st.info("A sweep needs two finished configurations that differ only in these two knobs.")
                continue
            key = f"labsweep_{knob}"
            title = one_of("All else", list(families), key=key)
            _sweep(families[title])
    st.caption(
        "100 %: the context decides (ICL); 0 %: the weights decide (CIWL). Mean over seeds at the last step, with "
        "their number in brackets. Only finished runs without a change of data; empty fields have not been trained."
    )


def _sweep(sweep: Sweep) -> None:
    rows = [
        {"n_classes": cell.n_classes, "value": cell.value, "flip": cell.flip, "low": cell.low, "high": cell.high}
        | {"n": cell.n, "text": sentences.field_of_sweep(cell)}
        for cell in sweep.cells
    ]
    figure = vega.sweep_chart(rows, frame.palette(), title=SWEEP_TITLES[sweep.knob])
    alt = f"Final Flip accuracy over classes and {SWEEP_TITLES[sweep.knob]}"
    blocks.chart(figure, key=f"lab-sweep-{sweep.knob}", alt=alt)


# Grafting


def grafting(runs: DrawnRuns) -> None:
    """One half of the network at some step, joined to the other half of the finished network."""
    run = _pick_run(runs)
    if run is None or run.grafts is None:
        st.info("Grafts are evaluated when a run with two layers or more has finished; this one has none.")
        return
    for column, (name, title) in zip(st.columns(2), GRAFT_TITLES.items(), strict=True):
        with column:
            st.markdown(f"**{title}**")
            rows = [
                {"run": run.title, "series": series, "x": float(step), "n": 1}
                | dict.fromkeys(("value", "low", "high"), float(value))
                for series, key in GRAFTED.items()
                for step, value in zip(run.grafts["step"], run.grafts[name][key], strict=True)
            ]
            level = chance(run, "icl")
            figure = vega.series_chart(
                rows,
                runs.shown.axis,
                frame.palette(),
                look=Look(height=280),
                references=[{"value": level, "text": sentences.chance_line(level)}],
            )
            blocks.chart(figure, key=f"lab-graft-{name}", alt=f"{title}: ICL, CIWL and Flip over the step")
    st.caption(
        "If ICL is high although half of the network comes from an early step, ICL was waiting for the other half. "
        "One seed. A graft joins weights that were never trained together, so a low value says less than a high one."
    )


# Claims


def claims(runs: DrawnRuns) -> None:
    """What the papers say beside what the runs on this machine show."""
    rows = [sentences.claim_row(verdict) for verdict in computed.verdicts()]
    st.table(rows, border="horizontal", hide_index=True, alt="What the papers say, and what the lab's runs show")
    blocks.download("CSV", lambda: exports.as_csv(rows), "lab-claims", suffix=".csv", of=Facts())
    st.caption(
        "Fractions; mean over seeds (lowest to highest). A claim counts as reproduced if every seed keeps the bound, "
        "which was fixed from pilot runs. The lab is not the papers' model: a claim that comes out otherwise here is "
        "not refuted, and one that holds is not proven for their settings."
    )


# Bridge to the other pages


def bridge(runs: DrawnRuns) -> None:
    """TR, TL and ICL of one run as the main paper defines them, and the way to its competition."""
    run = _pick_run(runs)
    if run is None or "tr" not in run.curves:
        st.info("These runs have not been evaluated yet.")
        return
    rows = [
        {"model": run.title, "ability": ability, "x": float(step), "checkpoint": f"step {step:,.0f}", "revision": ""}
        | dict.fromkeys(("value", "low", "high"), float(value))
        | {"left_out": ""}
        for ability, name in BRIDGE.items()
        for step, value in zip(run.curves["step"], run.curves[name], strict=True)
    ]
    level = chance(run, "tr")
    figure = ability_chart(
        rows,
        runs.shown.axis,
        frame.palette(),
        style=Style(height=280, bands=False, domain=(0.0, 1.0)),
        references=[{"value": level, "text": sentences.chance_among_all(level, run.config.data.n_labels)}],
    )
    blocks.chart(figure, key="lab-bridge", alt=f"ICL, TR and TL of {run.title} over training steps")
    st.caption(
        "As in arXiv 2406.14022, over all labels. TR: the labels in the context are random, and the true label counts. "
        "TL: labels are renamed consistently, which only the context tells. ICL: the context as it is."
    )
    stored = cached.stored_models().get(run.name)
    if stored is not None and st.button(
        "Open in Competition", key="lab-competition", type="primary", on_click=_study, args=(run.name,)
    ):
        st.switch_page("pages/competition/page.py", query_params={})
    st.caption(sentences.stored_as_model(None if stored is None else len(stored.checkpoints)))


def _study(model: str) -> None:
    """Sets the study to one model, under the options of its results."""
    selection.show(model=[model])
    selection.take(selection.defaults_for([model]))


# Table


def downloads(runs: DrawnRuns) -> None:
    """The rows behind the curves, the configurations and their names."""
    if runs.drawn is not None:
        configs = [json.loads(config_to_json(run.config)) for group in runs.shown.groups for run in group.runs]
        files = {"Configurations as JSON": json.dumps(configs)}
        digests = [config_digest(run.config)[:8] for group in runs.shown.groups for run in group.runs]
        of = Facts(None, {"configurations": ", ".join(digests)})
        blocks.table(runs.rows, name="lab-curves", of=of, draw=runs.drawn, files=files)
    for group in runs.shown.groups:
        for run in group.runs:
            st.markdown(f"**{plain(run.title)}** · {sentences.origin(run)}")
            st.code(config_digest(run.config), language=None)


TABS: tuple[Tab[DrawnRuns], ...] = (
    Tab("Losses and heads", losses),
    Tab("Attention", attention),
    Tab("Portrait", portrait),
    Tab("Sweeps", swept),
    Tab("Grafting", grafting),
    Tab("Claims", claims),
    Tab("TR and TL", bridge),
    Tab("Table and downloads", downloads),
)
"""In their order."""
