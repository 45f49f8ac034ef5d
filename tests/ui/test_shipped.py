"""The offer of shipped results that are not in the store yet."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from icl_core.evaluation.bundle import export_bundle, waiting_bundles
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import study_cells
from tests.support.made_up import made_up_record, made_up_study


def page() -> None:
    from pages.ui import shipped

    shipped.offer("here")


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two shipped bundles, of which a new store opens with the first."""
    source = Store.open(tmp_path / "source")
    specs = study_cells(made_up_study(tasks=("sst2",), n_test=20))[:6]
    source.put_many([made_up_record(spec, wanted=0.5) for spec in specs])
    folder = tmp_path / "shipped"
    export_bundle(source, folder / "tiny-base", specs=specs[:2])
    export_bundle(source, folder / "another", specs=specs[2:])
    monkeypatch.setattr("icl_core.evaluation.bundle.embedded_results_path", lambda: folder)
    return folder


def test_one_click_brings_everything_in_and_the_offer_goes(store_folder: Path, shipped: Path) -> None:
    app = AppTest.from_function(page).run()
    assert waiting_bundles(Store.open(store_folder)) == ("another",)
    assert "1 bundle" in app.markdown[0].value
    app.button[0].click().run()
    assert waiting_bundles(Store.open(store_folder)) == ()
    assert not app.button and not app.markdown and not app.exception


def test_a_damaged_bundle_is_said_and_the_page_goes_on(store_folder: Path, shipped: Path) -> None:
    table = shipped / "another" / "cells.parquet"
    table.write_bytes(table.read_bytes()[:-10])
    app = AppTest.from_function(page).run()
    app.button[0].click().run()
    assert "damaged" in app.error[0].value and not app.exception
