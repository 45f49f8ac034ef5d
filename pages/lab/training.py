"""The tab that trains a run: its knobs, what it costs, the button, and the trainings that run or have ended."""

from __future__ import annotations

import json

import streamlit as st

from icl_core.errors import ObservatoryError
from icl_core.evaluation import jobs as table
from icl_core.evaluation.job_table import Job
from icl_core.pretraining.lab.config import (
    LabConfig,
    config_from_json,
    config_to_json,
    describe,
    validate_config,
    with_next_seeds,
)
from icl_core.pretraining.lab.summary import expected_seconds, group_runs
from pages.lab import computed, controls, sentences, vega
from pages.ui.panels import blocks, frame, jobs
from pages.ui.words.written import plain

__all__ = ["draw"]

MOST_REPEATS = 5


def draw(shown: None) -> None:
    """Everything of the tab."""
    config, below = controls.knobs()
    with below:
        try:
            validate_config(config)
        except ObservatoryError as error:
            st.info(plain(str(error)))
        else:
            _submit(config)
    jobs.live(_trainings(quiet=False), "Training", _curves_so_far)
    jobs.past(_trainings(), "Training")


def _submit(config: LabConfig) -> None:
    """How many repeats, the button, and what they cost; runs that are trained or in work are left out."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="lab-submit"):
        repeats = st.number_input(
            "Repeats", 1, MOST_REPEATS, value=1, key="labrepeats", width=110,
            help="Runs with the next seeds of weights and data, one after the other.",
        )  # fmt: skip
        wanted = [with_next_seeds(config, index) for index in range(int(repeats))]
        found = [computed.run_of(each) for each in wanted]
        ready = [run for run in found if run is not None and run.state == "complete"]
        in_work = _configs_in_work()
        new = [each for each in wanted if each not in in_work and all(each != run.config for run in ready)]
        running = None if new else next((in_work[each] for each in wanted if each in in_work), None)
        if jobs.button(sentences.train_label(len(new)), running, key="lab-train", disabled=not new):
            jobs.start(lambda: _submit_all(new))
        if running is not None:
            jobs.status(running)
        if ready:
            title = group_runs(ready)[0].title
            st.button("Show what is trained", key="lab-show", on_click=controls.show_trained, args=(title,))
    timed = computed.all_runs()
    st.caption(
        sentences.training_cost(
            new,
            n_known=len(wanted) - len(new),
            seconds=expected_seconds(new[0], timed, n_runs=len(new)) if new else None,
            is_measured=any(run.manifest.get("cpu_seconds") for run in timed),
        )
    )


def _submit_all(configs: list[LabConfig]) -> int:
    """A job for each; gives the first one's number."""
    numbers = [
        table.submit_payload("train", {"config": json.loads(config_to_json(each))}, title=describe(each), device="cpu")
        for each in configs
    ]
    return numbers[0]


# Trainings in the job table


def _trainings(*, quiet: bool = True) -> list[Job]:
    return [job for job in jobs.listed(quiet=quiet) if job.kind == "train" and _config_of(job) is not None]


def _config_of(job: Job) -> LabConfig | None:
    """What a job trains, None if it is no lab run."""
    try:
        return config_from_json(json.dumps(json.loads(job.payload)["config"]))
    except (ObservatoryError, KeyError, TypeError, ValueError):
        return None


def _configs_in_work() -> dict[LabConfig, Job]:
    """The configurations of waiting and running trainings, with their jobs."""
    return {config: job for job in _trainings() if job.is_live and (config := _config_of(job)) is not None}


def _curves_so_far(now: Job) -> None:
    """What stands below the progress of a running training."""
    config = _config_of(now)
    run = computed.run_of(config) if config is not None and now.state == "running" else None
    if run is None or len(run.curves["step"]) < 2:
        return
    group = group_runs([run])[0]
    figure = vega.series_chart(
        computed.curve_rows(group, ["ICL", "CIWL", "Flip"]),
        computed.axis_of([group]),
        frame.palette(),
        look=vega.Look(height=150),
    )
    blocks.chart(figure, key=f"lab-live-{now.id}", alt=f"ICL, CIWL and Flip up to step {run.last_step:,}")
