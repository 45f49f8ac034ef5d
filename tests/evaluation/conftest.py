"""Records that look like real ones, and stores in temporary folders."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from icl_core.evaluation.store import Store
from icl_core.records import CellRecord, CellSpec
from tests.support.records import record_of, spec_of


@pytest.fixture
def make_spec() -> Callable[..., CellSpec]:
    """A spec of sst2 on pythia-70m; keyword arguments change fields, ``step`` the checkpoint."""
    return spec_of


@pytest.fixture
def make_record() -> Callable[..., CellRecord]:
    """A coherent record of a spec (or of ``make_spec``'s keyword arguments) with numbers that depend on noise_seed."""
    return record_of


@pytest.fixture
def tmp_store(tmp_path) -> Store:
    """An empty store."""
    return Store.open(tmp_path / "store")
