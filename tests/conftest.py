"""Fixtures shared by all tests; everything runs offline."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from icl_core import __main__ as command_line
from icl_core.evaluation.bundle import ensure_embedded
from icl_core.evaluation.store import Store

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# One thread for torch: two that share one tiny product wait for each other, which doubles the processor time.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")

SHARED_PATH = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_data_path() -> Path:
    """Real rows of the 16 datasets in Hub layout, where this machine has them."""
    path = SHARED_PATH / "data"
    if not path.is_dir():
        pytest.skip("needs the real rows in ../shared/data; un-skip where that folder stands beside the project")
    return path


@pytest.fixture(scope="session")
def golden_path() -> Path:
    """Test vectors worked out independently of the project; their README says how."""
    return Path(__file__).parent / "reference"


@pytest.fixture(scope="session")
def shipped_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the shipped results, which one of the workers brings in for all of them; to be copied."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shipped-store"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        store = Store.open(folder)
        ensure_embedded(store)
        store.close()
    return folder


@pytest.fixture
def cli(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in this process with a store of its own; gives exit code, output and errors."""
    monkeypatch.setattr(command_line, "_quieten", lambda: None)
    monkeypatch.setenv("ICL_OBSERVATORY_STORE", str(tmp_path / "unused"))

    def run(*arguments: object, store: Path | None = tmp_path / "store") -> tuple[int, str, str]:
        place = ["--store", store] if store is not None else []
        capfd.readouterr()
        try:
            code = command_line.main([str(argument) for argument in (*arguments, *place)])
        except SystemExit as ending:
            code = int(ending.code or 0)
        return code, *capfd.readouterr()

    return run
