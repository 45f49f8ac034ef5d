"""What became of a file's rows stands on the pages, before its cells are computed and beside their results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from streamlit.testing.v1 import AppTest

from icl_core.evaluation.run import run_study
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study
from icl_core.evaluation.told import row_sentences
from icl_core.models.listing import local_checkpoints
from icl_core.registry.tasks import task_name
from pages.ui.words.written import plain
from tests.support.rows import csv_text, plain_rows, read, write
from tests.support.tiny_models import save_trajectory


def captions(app: AppTest) -> set[str]:
    assert not app.exception, [item.value for item in app.exception]
    return {str(caption.value) for caption in app.caption}


def test_rows_left_out_and_files_that_changed_are_told(
    open_page: Callable[..., AppTest], store_folder: Path, tmp_path: Path
) -> None:
    rows = plain_rows(34)
    path = write(tmp_path / "own.csv", csv_text([*rows, *[rows[0]] * 14, ("", "positive"), ("odd one .", "")]))
    refs = local_checkpoints(save_trajectory(tmp_path / "run", (0, 1000)))
    study = Study(refs, (task_name(str(path)),), ("gold",), (13,), n_shots=4, n_test=50)
    run_study(study, Store.open(store_folder), device="cpu", offline=True)
    told = {plain(sentence) for sentence in row_sentences(read(path), n_asked=50)}
    assert any("left out" in sentence for sentence in told)
    for page in ("evaluate", "dynamics"):
        app = open_page(page, model="run")
        assert told <= captions(app), page
    write(path, csv_text([(text.replace("film", "book"), label) for text, label in rows]))
    assert any("has changed since" in sentence for sentence in captions(app.run()))
