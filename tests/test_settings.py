"""Where things lie: in the source as ever, in an installed copy nothing is written beside the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from icl_core import settings
from icl_core.errors import StoreError
from icl_core.pretraining.provenance import git_revision


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes a folder that icl_core has for the one that an installation adds."""
    monkeypatch.setattr(settings, "_INSTALLED", "registry")
    for name in ("ICL_OBSERVATORY_STORE", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)


def test_the_source_keeps_its_results_in_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ICL_OBSERVATORY_STORE", raising=False)
    root = Path(__file__).resolve().parents[1]
    assert (settings.project_path(), settings.store_path()) == (root, root / "cache")
    monkeypatch.setenv("ICL_OBSERVATORY_STORE", str(tmp_path))
    assert settings.store_path() == tmp_path.resolve()


@pytest.mark.usefixtures("installed")
def test_an_installed_copy_keeps_them_in_the_folder_of_its_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert settings.project_path() == Path(settings.__file__).parent / "registry"
    assert settings.store_path() == (tmp_path / ".local" / "share" / "icl-observatory").resolve()
    monkeypatch.setenv("XDG_DATA_HOME", "data")  # the specification: a path that is not absolute does not count
    assert settings.store_path() == (tmp_path / ".local" / "share" / "icl-observatory").resolve()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert settings.store_path() == (tmp_path / "data" / "icl-observatory").resolve()
    monkeypatch.setenv("ICL_OBSERVATORY_STORE", str(tmp_path / "named"))
    assert settings.store_path() == (tmp_path / "named").resolve()


@pytest.mark.usefixtures("installed")
def test_a_user_without_a_home_is_asked_for_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(StoreError, match="name one in ICL_OBSERVATORY_STORE"):
        settings.store_path()


def test_only_the_source_says_a_commit(request: pytest.FixtureRequest) -> None:
    is_checkout = (settings.project_path() / ".git").exists()
    assert bool(re.fullmatch("[0-9a-f]{40}", git_revision())) == is_checkout
    request.getfixturevalue("installed")  # which may lie in the checkout of another project
    assert git_revision() == ""
