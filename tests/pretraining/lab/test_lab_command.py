"""The command and the job: a run is trained, reports, stops, goes on, and its results reach the other pages."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from icl_core import __main__ as command_line
from icl_core.analysis.predictions import collect_predictions
from icl_core.analysis.trajectories import ability_curves
from icl_core.cli.lab import train_job
from icl_core.errors import CheckpointError, StudyError
from icl_core.evaluation import job_table, jobs
from icl_core.evaluation.job_worker import JobContext
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study, study_cells, validate_study
from icl_core.models.listing import lab_runs, list_checkpoints
from icl_core.models.resolving import resolve_checkpoint
from icl_core.pretraining.lab.bridge import BRIDGE_SEEDS, bridge_refs
from icl_core.pretraining.lab.config import LabConfig, config_to_json
from icl_core.pretraining.lab.runs import LabRun, folder_name, read_run
from icl_core.records import LABEL_SETTINGS


@pytest.fixture
def lab_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store, and no shipped runs."""
    monkeypatch.setenv("ICL_OBSERVATORY_STORE", str(tmp_path / "store"))
    for module in ("settings", "models.listing", "pretraining.lab.runs"):
        monkeypatch.setattr(f"icl_core.{module}.lab_runs_path", lambda: tmp_path / "none")
    return tmp_path / "store"


def config_file(config: LabConfig, folder: Path) -> Path:
    path = folder / "config.json"
    path.write_text(config_to_json(config))
    return path


def trained_by_command(config: LabConfig, folder: Path, store: Path) -> LabRun:
    assert command_line.main(["train-lab", "--config", str(config_file(config, folder)), "--json"]) == 0
    return read_run(store / "lab" / folder_name(config))


def study_of(run: LabRun) -> Study:
    n_labels = run.config.data.n_labels
    return Study(bridge_refs(run), (f"lab_exemplars_{n_labels}",), LABEL_SETTINGS, BRIDGE_SEEDS, n_shots=2, n_test=300)


@pytest.mark.usefixtures("small_sets")
def test_the_command_trains_and_the_results_stand_beside_all_others(
    small_config: LabConfig, tmp_path: Path, lab_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = replace(small_config, n_steps=300)
    run = trained_by_command(config, tmp_path, lab_store)
    told = json.loads(capsys.readouterr().out)
    assert told["run"] == run.name and told["n_new_cells"] == len(run.kept_steps) * 3 * 3 * 2
    assert list_checkpoints(run.name) == bridge_refs(run) and lab_runs() == {run.name: run.path}
    store = Store.open(lab_store)
    study = study_of(run)
    records = store.find_many(study_cells(study))
    assert len(records) == len(run.kept_steps) * 9
    (predictions,) = collect_predictions(records.values()).values()
    curves = ability_curves(predictions)
    assert curves is not None
    for setting, name in (("gold", "gold"), ("random", "tr"), ("abstract", "tl")):
        cells = [r for spec, r in records.items() if spec.label_setting == setting]
        final = [r for r in cells if r.spec.checkpoint.step == 300]
        accuracy = np.mean([(r.loglikelihoods.argmax(axis=1) == r.gold).mean() for r in final])
        assert accuracy == pytest.approx(run.curves[name][-1], abs=0.25), setting
    assert command_line.main(["train-lab", "--config", str(tmp_path / "config.json"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_new_cells"] == 0


@pytest.mark.usefixtures("small_sets")
def test_lab_checkpoints_say_that_they_cannot_read_text(
    small_config: LabConfig, tmp_path: Path, lab_store: Path
) -> None:
    run = trained_by_command(replace(small_config, n_steps=5), tmp_path, lab_store)
    with pytest.raises(StudyError, match="vectors, not text"):
        validate_study(replace(study_of(run), tasks=("sst2",)))
    with pytest.raises(CheckpointError, match="vectors, not text"):
        resolve_checkpoint(bridge_refs(run)[0])


def test_the_presets_are_listed_and_mistakes_are_one_sentence(
    tmp_path: Path, lab_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line.main(["train-lab", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) >= 10
    (tmp_path / "bad.json").write_text('{"width": "wide"}')
    for arguments, word in (
        (["--preset", "no such"], "no such"),
        (["--config", str(tmp_path / "missing.json")], "missing.json"),
        (["--config", str(tmp_path / "bad.json")], "width"),
        (["--preset", "Default: 512 classes", "--steps", "0"], "Steps"),
    ):
        assert command_line.main(["train-lab", *arguments]) == 2
        assert word in capsys.readouterr().err


def wait_until_step(job_id: int, step: int, store: Path) -> job_table.Job:
    deadline = time.monotonic() + 300
    while (job := jobs.read_job(job_id, store_path=store)).done < step and job.is_live:
        assert time.monotonic() < deadline, jobs.read_log(job_id, store_path=store)
        time.sleep(0.05)
    return job


def test_a_submitted_job_reports_is_cancelled_and_goes_on_when_resumed(
    small_config: LabConfig, tmp_path: Path, lab_store: Path
) -> None:
    config = replace(small_config, n_steps=100)
    payload = {"config": json.loads(config_to_json(config))}
    job_id = jobs.submit_payload("train", payload, title="lab", device="cpu", store_path=lab_store)
    seen = wait_until_step(job_id, 1, lab_store)
    assert seen.state == "running" and seen.total == 100 and seen.current.startswith("loss")
    jobs.cancel(job_id, store_path=lab_store)
    stopped = jobs.wait_for(job_id, timeout=300, store_path=lab_store)
    path = lab_store / "lab" / folder_name(config)
    assert stopped.state == "cancelled" and read_run(path).state == "partial"
    reached = stopped.done
    resumed = jobs.resume(job_id, store_path=lab_store)
    first = wait_until_step(resumed, 1, lab_store)
    assert first.done >= reached
    done = jobs.wait_for(resumed, timeout=600, store_path=lab_store)
    assert done.state == "done", done.message
    run = read_run(path)
    assert run.state == "complete" and run.name in {s.model for s in Store.open(lab_store).summaries()}


def test_a_job_without_a_configuration_fails_in_one_sentence(lab_store: Path) -> None:
    for payload, word in (({}, "configuration"), ({"config": {"n_heads": 99}}, "Heads")):
        with pytest.raises(StudyError, match=word):
            train_job(payload, JobContext.__new__(JobContext))
