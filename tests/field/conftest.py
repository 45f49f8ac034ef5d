"""Cases from the field: what people brought to such tools elsewhere, each with the public case it stands for.

Every test here says which case that is (``stands_for``), so that a reader can look it up; a test without one is an
error of the collection. A case makes its own tiny models and files, and ends in the right number or in one sentence.
"""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuses a test of this folder that does not say what it stands for."""
    here = [item for item in items if __file__.rsplit("/", 1)[0] in str(item.path)]
    silent = [item.nodeid for item in here if not _is_said(item)]
    if silent:
        raise pytest.UsageError(
            f"{', '.join(silent[:3])}: say what the case stands for with @pytest.mark.stands_for(source, seen)."
        )


def _is_said(item: pytest.Item) -> bool:
    mark = item.get_closest_marker("stands_for")
    return mark is not None and len(mark.args) == 2 and all(isinstance(part, str) and part for part in mark.args)
