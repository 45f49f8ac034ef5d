"""Fixtures shared by all tests; everything runs offline."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
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
    """Test vectors worked out independently of the project."""
    path = SHARED_PATH / "golden"
    if not path.is_dir():
        pytest.skip("needs ../shared/golden; un-skip where that folder stands beside the project")
    return path
