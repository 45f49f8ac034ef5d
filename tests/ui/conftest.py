"""A store for one test, filled with made-up records, and the app in Streamlit's own test runner."""

from __future__ import annotations

import dataclasses
import functools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study
from icl_core.settings import project_path
from tests.support.made_up import fill, made_up_study


@pytest.fixture
def store_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An own store for one test, with no shipped results in it."""
    monkeypatch.setenv("ICL_OBSERVATORY_STORE", str(tmp_path / "store"))
    monkeypatch.setattr("icl_core.evaluation.bundle.embedded_results_path", lambda: tmp_path / "none")
    st.cache_data.clear()
    st.cache_resource.clear()
    yield tmp_path / "store"
    st.cache_data.clear()
    st.cache_resource.clear()


@pytest.fixture(scope="session")
def lay_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """Makes a folder a store with made-up results of some studies; those of the same ones are made once and copied."""

    @functools.cache
    def made(*studies: Study) -> Path:
        folder = tmp_path_factory.mktemp("made-up") / "store"
        store = Store.open(folder)
        for study in studies:
            fill(store, study)
        store.close()
        return folder

    def lay(folder: Path, *studies: Study) -> None:
        shutil.copytree(made(*studies), folder)

    return lay


@pytest.fixture
def fill_store(store_folder: Path, lay_store: Callable[..., None]) -> Callable[..., Study]:
    """Fills the store with a made-up study, or with its first checkpoints only, and gives the whole study."""

    def filled(*, only: int | None = None) -> Study:
        study = made_up_study()
        lay_store(store_folder, dataclasses.replace(study, checkpoints=study.checkpoints[:only]))
        return study

    return filled


@pytest.fixture
def open_page(store_folder: Path) -> Callable[..., AppTest]:
    """Opens a page of the app, with a query if given."""

    def opened(name: str, **query: str | list[str]) -> AppTest:
        app = AppTest.from_file(str(project_path() / "app.py"), default_timeout=60)
        for key, value in query.items():
            app.query_params[key] = value
        app.run()
        if name != "home":
            app.switch_page(f"pages/{name}/page.py").run()
        return app

    return opened
