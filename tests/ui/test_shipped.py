"""The offer of shipped results that are not in the store yet: a job brings them in, and can be cancelled."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from icl_core.evaluation import jobs
from icl_core.evaluation.bundle import export_bundle, import_job, waiting_bundles
from icl_core.evaluation.jobs import JobContext
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import study_cells
from tests.support.made_up import made_up_record, made_up_study


def page() -> None:
    from pages.ui import shipped

    shipped.offer("here")


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three shipped bundles, of which a new store opens with the first; jobs wait until a test does their work."""
    source = Store.open(tmp_path / "source")
    specs = study_cells(made_up_study(tasks=("sst2",), n_test=20))[:8]
    source.put_many([made_up_record(spec, wanted=0.5) for spec in specs])
    folder = tmp_path / "shipped"
    export_bundle(source, folder / "tiny-base", specs=specs[:2])
    export_bundle(source, folder / "another", specs=specs[2:6])
    export_bundle(source, folder / "third", specs=specs[6:])
    monkeypatch.setattr("icl_core.evaluation.bundle.embedded_results_path", lambda: folder)
    monkeypatch.setattr(jobs, "_launch", lambda folder, job_id: None)
    return folder


def work(store_folder: Path) -> jobs.Job:
    """Does the newest job in this process."""
    job = jobs.list_jobs(store_path=store_folder)[0]
    jobs.work(job.id, {"import": import_job}, store_path=store_folder)
    return jobs.read_job(job.id, store_path=store_folder)


def test_one_click_brings_everything_in_and_the_offer_goes(store_folder: Path, shipped: Path) -> None:
    app = AppTest.from_function(page).run()
    assert waiting_bundles(Store.open(store_folder)) == ("another", "third")
    assert "2 bundles" in app.markdown[0].value
    app.button[0].click().run()
    assert [button.label for button in app.button] == ["Cancel"], "in place of the offer, with the page in use"
    assert waiting_bundles(Store.open(store_folder)) == ("another", "third")
    job = work(store_folder)
    assert (job.state, job.done, job.total) == ("done", 6, 6)
    assert job.message == "6 new cells of 2 shipped bundles are in the store."
    app.run()
    assert waiting_bundles(Store.open(store_folder)) == ()
    assert not app.button and not app.markdown and not app.exception


def test_a_cancelled_import_keeps_whole_bundles_and_is_offered_again(
    store_folder: Path, shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = AppTest.from_function(page).run()
    app.button[0].click().run()
    app.button[0].click().run()
    app.run()
    assert app.button[0].label == "Cancelling"
    asked: list[int] = []

    def stops_in_the_second(context: JobContext) -> bool:
        asked.append(1)
        return len(asked) > 4

    monkeypatch.setattr(JobContext, "should_stop", stops_in_the_second)
    job = work(store_folder)
    assert job.state == "cancelled" and job.message.startswith("Cancelled. ") and "resume brings in" in job.message
    app.run()
    assert waiting_bundles(Store.open(store_folder)) == ("third",)
    assert "1 bundle" in app.markdown[0].value
    monkeypatch.undo()


def test_a_damaged_bundle_is_said_and_the_page_goes_on(store_folder: Path, shipped: Path) -> None:
    table = shipped / "another" / "cells.parquet"
    table.write_bytes(table.read_bytes()[:-10])
    app = AppTest.from_function(page).run()
    app.button[0].click().run()
    assert work(store_folder).state == "failed"
    app.run()
    assert "damaged" in app.error[0].value and not app.exception
    assert "2 bundles" in app.markdown[0].value
