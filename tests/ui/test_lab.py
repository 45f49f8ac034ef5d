"""The lab page with no run, a partial one, finished ones, and trainings that failed; its form; its minimal model."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from icl_core.evaluation import job_worker, jobs
from icl_core.pretraining.lab.config import PRESETS, DataKnobs, LabConfig, config_from_json, config_to_json
from tests.support.made_up_lab import write_made_up_run

DEFAULT = LabConfig()
COPIED = LabConfig(data=DataKnobs(copy_probability=1.0))


@pytest.fixture
def lab_folder(store_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of one's own runs, with nothing shipped beside it."""
    monkeypatch.setattr("icl_core.pretraining.lab.runs.lab_runs_path", lambda: tmp_path / "shipped")
    return store_folder / "lab"


@pytest.fixture
def trained(lab_folder: Path) -> Path:
    """Three repeats of the default, one with copies, a sweep, and one that stopped at step 600."""
    for seed in (1, 2, 3):
        write_made_up_run(lab_folder, dataclasses.replace(DEFAULT, init_seed=seed, data_seed=seed))
    write_made_up_run(lab_folder, COPIED)
    write_made_up_run(lab_folder, LabConfig(data=DataKnobs(n_classes=1024, noise=0.5)))
    write_made_up_run(lab_folder, LabConfig(data=DataKnobs(n_classes=1024)))
    stopped = dataclasses.replace(DEFAULT, n_steps=4000)
    write_made_up_run(lab_folder, stopped, complete=False, steps=(0, 10, 100, 600))
    return lab_folder


def words(app: AppTest) -> str:
    said = [*app.markdown, *app.caption, *app.info, *app.warning, *app.error, *app.title, *app.header]
    return "\n".join(str(item.value) for item in said)


def charts(app: AppTest) -> int:
    return len(app.get("vega_lite_chart"))


def assert_whole(app: AppTest) -> None:
    assert not app.exception, [item.value for item in app.exception]
    assert app.title[0].value == "Lab"


def submitted(store_folder: Path) -> list[LabConfig]:
    found = [job for job in jobs.list_jobs(store_path=store_folder) if job.kind == "train"]
    return [config_from_json(json.dumps(json.loads(job.payload)["config"])) for job in reversed(found)]


@pytest.fixture
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs are written down but not started."""
    monkeypatch.setattr("icl_core.evaluation.job_processes._launch", lambda folder, job_id: None)


# Trained runs


def test_without_a_run_it_says_what_to_do(open_page: Callable[..., AppTest], lab_folder: Path) -> None:
    app = open_page("lab")
    assert_whole(app)
    assert "No run of the lab is on this machine yet" in words(app)
    assert charts(app) == 0


def test_finished_runs_stand_side_by_side_with_their_finding(open_page: Callable[..., AppTest], trained: Path) -> None:
    app = open_page("lab")
    assert_whole(app)
    said = words(app)
    assert "**K 512** (3 seeds): ICL emerges at step 300" in said
    assert "**K 512, copy 1** (1 seed)" in said
    assert "the weights decide (CIWL)" in said
    assert "The lab is not the model of" in said and "was not reproduced" in said
    assert charts(app) >= 2


def test_a_partial_run_is_drawn_and_says_how_far_it_is(open_page: Callable[..., AppTest], trained: Path) -> None:
    app = open_page("lab", labrun="K 512, steps 4000 (partial)")
    titles = [title for title in app.multiselect(key="labrun").options if "(partial)" in title]
    app.multiselect(key="labrun").set_value(titles).run()
    assert_whole(app)
    assert "evaluated up to step 600 of 4,000" in words(app)
    assert charts(app) >= 1


def test_a_run_before_its_first_evaluation_breaks_nothing(open_page: Callable[..., AppTest], trained: Path) -> None:
    path = write_made_up_run(trained, dataclasses.replace(DEFAULT, n_steps=3000), complete=False, steps=(0,))
    (path / "curves.parquet").unlink()
    (path / "attention.npz").unlink()
    app = open_page("lab")
    begun = [title for title in app.multiselect(key="labrun").options if "steps 3000" in title]
    app.multiselect(key="labrun").set_value(begun).run()
    for part in ("Losses and heads", "Attention", "Portrait", "Grafting", "TR and TL", "Table and downloads"):
        app.session_state["labpart"] = part
        app.run()
        assert_whole(app)
        assert "has not been evaluated yet" in words(app)


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ("Losses and heads", "cross-entropy over all labels"),
        ("Attention", "best heads: previous token 90.0 %"),
        ("Portrait", "of each seed's own curve"),
        ("Sweeps", "Only finished runs"),
        ("Grafting", "First half of this step"),
        ("Claims", "a claim that comes out otherwise here is not refuted"),
        ("TR and TL", "labels are renamed consistently"),
        ("Table and downloads", "107,000 parameters"),
    ],
)
def test_parts_below_the_curves(part: str, says: str, open_page: Callable[..., AppTest], trained: Path) -> None:
    app = open_page("lab", labpart=part)
    assert_whole(app)
    assert says in words(app)
    assert charts(app) + len(app.dataframe) + len(app.table) >= 3


def test_claims_are_judged_from_the_runs_that_are_there(open_page: Callable[..., AppTest], trained: Path) -> None:
    app = open_page("lab", labpart="Claims")
    table = app.table[0].value
    by_claim = dict(zip(table["how it is tested"], zip(table["reproduced?"], table["seeds"], strict=True), strict=True))
    fading = by_claim["K 512, MLP: share of the rise of ICL above chance that is lost again by the end."]
    assert fading[1] == 3 and fading[0] in ("✓ reproduced", "✗ not reproduced")
    assert "– not tested" in set(table["reproduced?"])
    assert "tested claim" in words(app)


def test_the_step_of_the_attention_maps_is_scrubbed(open_page: Callable[..., AppTest], trained: Path) -> None:
    app = open_page("lab", labpart="Attention", labstep="400")
    assert app.select_slider(key="labstep").value == "400"
    assert "Step 400, best heads:" in words(app)
    app.select_slider(key="labstep").set_value("0").run()
    assert "Step 0, best heads:" in words(app)


def test_sweeps_are_made_of_whatever_was_trained(open_page: Callable[..., AppTest], trained: Path) -> None:
    app = open_page("lab", labpart="Sweeps")
    assert_whole(app)
    assert app.selectbox(key="labsweep_noise").options == ["default knobs"]
    assert app.selectbox(key="labsweep_copy_probability").options == ["default knobs"]
    assert charts(app) == 4


def test_unknown_values_of_a_url_do_no_harm(open_page: Callable[..., AppTest], trained: Path) -> None:
    app = open_page(
        "lab",
        **{"labrun": ["<script>alert(1)</script>"], "labcurves": ["x"], "labpart": "none", "labstep": "-1"},
        **{"lab_n_classes": "10**9", "lab_noise": "nan", "min_alpha": "1e9", "lab": "Nothing"},
    )
    assert_whole(app)
    assert "<script>" not in words(app)


def test_a_damaged_run_is_passed_over(open_page: Callable[..., AppTest], trained: Path) -> None:
    path = write_made_up_run(trained, LabConfig(data=DataKnobs(n_classes=64)))
    (path / "curves.parquet").write_bytes(b"not parquet")
    app = open_page("lab")
    assert_whole(app)
    assert not [title for title in app.multiselect(key="labrun").options if title.startswith("K 64")]


# Training


def test_knobs_become_a_training(
    open_page: Callable[..., AppTest], lab_folder: Path, store_folder: Path, no_processes: None
) -> None:
    app = open_page("lab", lab="Train a run", lab_n_classes="128", lab_n_steps="300")
    assert_whole(app)
    assert "300 steps of 64 sequences, about" in words(app)
    app.toggle(key="lab_phases").set_value(True).run()
    app.number_input(key="lab_switch").set_value(100).run()
    app.slider(key="lab2_copy_probability").set_value(1.0).run()
    app.number_input(key="labrepeats").set_value(2).run()
    app.button(key="lab-train").click().run()
    assert_whole(app)
    data = DataKnobs(n_classes=128)
    second = dataclasses.replace(data, copy_probability=1.0)
    wanted = LabConfig(data=data, second_data=second, switch_step=100, n_steps=300)
    repeat = dataclasses.replace(wanted, init_seed=2, data_seed=2)
    assert submitted(store_folder) == [wanted, repeat]
    assert "Training 1" in words(app)
    assert app.button(key="lab-train").disabled


@pytest.mark.parametrize(
    "title",
    [
        "Curriculum: copies for 1,500 steps, then none",
        "One layer (coopetition paper)",
        "ICL only: labels redrawn (coopetition paper)",
    ],
)
def test_a_preset_sets_every_knob(
    title: str, open_page: Callable[..., AppTest], lab_folder: Path, store_folder: Path, no_processes: None
) -> None:
    app = open_page("lab", lab="Train a run", lab_weight_decay="0.1")
    app.selectbox(key="labpreset").set_value(title).run()
    assert_whole(app)
    assert app.selectbox(key="labpreset").value == title
    app.button(key="lab-train").click().run()
    assert config_to_json(submitted(store_folder)[0]) == config_to_json(PRESETS[title])


def test_impossible_knobs_are_a_sentence_and_no_button(open_page: Callable[..., AppTest], lab_folder: Path) -> None:
    app = open_page("lab", lab="Train a run", lab_n_classes="40", lab_n_labels="64")
    assert_whole(app)
    assert "64 labels are more than the 40 classes" in words(app)
    assert not [button for button in app.button if button.key == "lab-train"]


def test_what_is_trained_already_is_shown_instead(
    open_page: Callable[..., AppTest], trained: Path, store_folder: Path
) -> None:
    app = open_page("lab", lab="Train a run", lab_copy_probability="1")
    assert app.button(key="lab-train").disabled
    app.button(key="lab-show").click().run()
    assert_whole(app)
    assert "K 512, copy 1" in app.multiselect(key="labrun").value
    assert jobs.list_jobs(store_path=store_folder) == ()


def test_a_failed_training_says_why_and_can_be_resumed(
    open_page: Callable[..., AppTest], lab_folder: Path, store_folder: Path, no_processes: None
) -> None:
    payload = {"config": json.loads(config_to_json(DEFAULT))}
    job = jobs.submit_payload("train", payload, title="K 512", device="cpu", store_path=store_folder)
    state = job_worker.work(job, {"train": _fails}, store_path=store_folder)
    assert state == "failed"
    app = open_page("lab", lab="Train a run")
    assert_whole(app)
    assert "the loss is no longer finite" in words(app)
    app.button(key=f"resume-{job}").click().run()
    assert submitted(store_folder) == [DEFAULT, DEFAULT]


def _fails(payload: Any, context: Any) -> Any:
    from icl_core.errors import StudyError

    raise StudyError("the loss is no longer finite; lower the learning rate.")


def test_a_running_training_shows_its_curves(
    open_page: Callable[..., AppTest], lab_folder: Path, store_folder: Path, no_processes: None
) -> None:
    payload = {"config": json.loads(config_to_json(DEFAULT))}
    job = jobs.submit_payload("train", payload, title="K 512", device="cpu", store_path=store_folder)
    write_made_up_run(lab_folder, DEFAULT, complete=False, steps=(0, 10, 100, 600))
    app = open_page("lab", lab="Train a run")
    assert_whole(app)
    assert f"**Training {job}**" in words(app)
    assert charts(app) == 1
    app.button(key=f"cancel-{job}").click().run()
    assert jobs.read_job(job, store_path=store_folder).cancel_asked is not None


def test_looking_starts_nothing(open_page: Callable[..., AppTest], trained: Path, store_folder: Path) -> None:
    for tab in ("Trained runs", "Train a run", "Minimal model"):
        open_page("lab", lab=tab)
    assert jobs.list_jobs(store_path=store_folder) == ()


# The minimal model


def test_the_minimal_model_follows_its_sliders(open_page: Callable[..., AppTest], lab_folder: Path) -> None:
    app = open_page("lab", lab="Minimal model")
    assert_whole(app)
    assert "ICL emerges in **13 of 16 seeds**" in words(app) and "**fades in all of them**" in words(app)
    assert charts(app) == 3
    app.slider(key="min_mu1").set_value(0.0).run()
    assert "**stays in all of them**" in words(app)
    app.slider(key="min_seeds").set_value(4).run()
    assert "of 4 seeds" in words(app)
    next(button for button in app.button if "Default" in button.key).click().run()
    assert app.slider(key="min_mu1").value == pytest.approx(0.1)
    assert app.slider(key="min_seeds").value == 16


def test_the_minimal_model_says_how_many_seeds_overflow(open_page: Callable[..., AppTest], lab_folder: Path) -> None:
    app = open_page("lab", lab="Minimal model", min_rate="2", min_a="4", min_b="4", min_c="4", min_d="4")
    assert_whole(app)
    assert "overflowed and are left out of all counts" in words(app)


def test_the_lab_loads_without_torch() -> None:
    import subprocess
    import sys

    from icl_core.settings import project_path

    modules = "pages.lab.trained_runs, pages.lab.training, pages.lab.minimal_model"
    code = f"import sys; import {modules}; print('torch' in sys.modules)"
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=project_path(), capture_output=True, text=True, check=True, timeout=120
    )
    assert shown.stdout.strip().splitlines()[-1] == "False"
