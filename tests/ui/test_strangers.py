"""What a stranger's bundle brought into the store, on every command and page that reads it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from icl_core.evaluation.bundle import export_bundle, import_bundle
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study
from tests.support.forged import LIES, changed, rewrite, row_of
from tests.support.records import record_of
from tests.support.stores import alter_cell

Cli = Callable[..., tuple[int, str, str]]


def test_strange_bundles_beside_honest_results_harm_no_reader(
    tmp_path: Path,
    cli: Cli,
    fill_store: Callable[..., Study],
    store_folder: Path,
    open_page: Callable[..., AppTest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill_store()
    expected = cli("results", "--json")[1], cli("compete", "--json", "--replicates", 20)[1]
    store, place = Store.open(store_folder), tmp_path / "bundle"
    export_bundle(store, place)
    name = "</script><script>alert(1)</script>"
    rows = [make(record_of(demo_seed=9)) for make, _ in LIES.values()]
    html = row_of(changed(record_of(demo_seed=10), model=name))
    rewrite(place, [*rows, html], more_models=(name, "", "another", "pythia-70m"), tasks=["sst2", "a\nb"])
    report = import_bundle(store, place)
    assert (report.n_new, len(report.refused)) == (2, len(LIES) - 1), report.refused  # its own model's first row stays
    store.close()
    code, output, errors = cli("results", "--json")
    results = json.loads(output)["results"]
    assert (code, errors) == (0, "") and {row["model"] for row in results} == {"someone-model", "pythia-70m", name}
    assert [row for row in results if row["model"] == "someone-model"] == json.loads(expected[0])["results"]
    found = json.loads(cli("compete", "--json", "--replicates", 20, "--model", "someone-model")[1])
    assert found == json.loads(expected[1])
    assert cli("results", "--verify")[0] == 0 and cli("results", "--rebuild")[0] == 0
    monkeypatch.setenv("ICL_OBSERVATORY_STORE", str(store_folder))
    for page in ("home", "evaluate", "dynamics", "competition"):
        assert not open_page(page, model=["someone-model", name]).exception, page


def test_damage_is_left_out_and_said_in_the_sidebar(
    fill_store: Callable[..., Study], store_folder: Path, open_page: Callable[..., AppTest]
) -> None:
    fill_store()
    store = Store.open(store_folder)
    lost, garbled = store.summaries()[:2]
    alter_cell(store, lost.key_digest)
    store.rows.cache.set(f"resolution/{garbled.spec.digest}", "damaged")
    store.close()
    for page in ("home", "dynamics"):
        app = open_page(page, model="someone-model")
        assert not app.exception
        said = [item.value for item in app.sidebar.warning]
        assert said and all("left out" in words for words in said), page
    assert any("2 stored results" in words for words in said)


def test_pages_are_shown_from_a_store_that_cannot_be_written(
    fill_store: Callable[..., Study],
    store_folder: Path,
    open_page: Callable[..., AppTest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill_store()

    def full(*_: object, **__: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr("diskcache.Cache", full)
    for page in ("home", "dynamics"):
        app = open_page(page, model="someone-model")
        assert not app.exception and app.get("vega_lite_chart")
        assert any("but not stored" in item.value for item in app.sidebar.warning)
