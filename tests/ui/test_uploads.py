"""Files of one's own on the evaluate page: what is said of them, and what stays on the page when they are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from icl_core.errors import DataError
from icl_core.evaluation import job_worker, jobs
from icl_core.registry.tasks import FILE_PREFIX
from tests.support.rows import plain_rows


def table(separator: str, header: str, *, blank: int = 0, n: int = 40) -> bytes:
    rows = [*plain_rows(n), *[(f"odd one {index} .", "") for index in range(blank)]]
    return "\n".join([header, *(f"{text}{separator}{label}" for text, label in rows)]).encode()


def upload(app: AppTest, name: str, content: bytes) -> AppTest:
    app.file_uploader(key="upload").set_value((name, content, "text/csv")).run()
    assert not app.exception, [item.value for item in app.exception]
    return app


def said(app: AppTest) -> str:
    found = [*app.main.success, *app.main.caption, *app.main.error, *app.main.info, *app.main.warning]
    return "\n".join(str(item.value) for item in found).replace("\\", "")


def own_tasks(app: AppTest) -> list[str]:
    return [name for name in app.session_state["task"] if name.startswith(FILE_PREFIX)]


def test_an_upload_is_read_as_it_is_and_told_under_the_users_own_name(
    open_page: Callable[..., AppTest], store_folder: Path
) -> None:
    app = upload(open_page("evaluate"), "Мои отзывы, 2.csv", table(";", "Text; Label", blank=3))
    words = said(app)
    assert "Мои отзывы, 2.csv is a task now, with the labels negative, positive." in words
    assert "The fields of Мои отзывы, 2.csv are separated by semicolons." in words
    assert "3 have no label" in words
    assert str(store_folder) not in words and "%D0" not in words
    (name,) = own_tasks(app)
    pills = next(each for each in app.get("button_group") if each.proto.id.endswith("page_task_own files"))
    assert any("Мои отзывы, 2-" in option.content.replace("\\", "") for option in pills.proto.options)

    app = upload(app, "bad.csv", b"a:b\n1:2\n")
    assert "bad.csv lacks the column text and label: all of its first line is one column, 'a:b'" in said(app)
    assert "is a task now" not in said(app) and own_tasks(app) == [name], "a refused file changes nothing"

    app = upload(app, "few.tsv", table("\t", "label\ttext", n=2))
    assert "few.tsv" in said(app) and "too few usable rows" in said(app) and own_tasks(app) == [name]
    assert "bad.csv" not in said(app), "the message on the file before is gone"
    assert [path.name for path in (store_folder / "uploads").iterdir()] == [Path(name).name]

    app = upload(app, "good.tsv", table("\t", "TEXT\tLABEL"))
    assert "few.tsv" not in said(app) and "good.tsv is a task now" in said(app) and len(own_tasks(app)) == 2
    app.file_uploader(key="upload").set_value(None).run()
    assert "good.tsv is a task now" not in said(app) and len(own_tasks(app)) == 2


def test_what_cannot_be_estimated_is_told_and_hides_no_past_job(
    open_page: Callable[..., AppTest], store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icl_core.evaluation.job_processes._launch", lambda folder, job_id: None)
    job = jobs.submit_payload("train", {}, title="an old job", device="cpu", store_path=store_folder)
    assert job_worker.work(job, {}, store_path=store_folder) == "failed"

    def refuse(*_: object) -> None:
        raise DataError("own.csv cannot be opened; put it back.")

    monkeypatch.setattr("pages.evaluate.cost.box", refuse)
    app = open_page("evaluate")
    assert "own.csv cannot be opened; put it back." in said(app)
    assert any(f"Job {job}" in item.label for item in app.expander)
