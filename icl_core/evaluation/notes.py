"""Small texts that other modules keep beside the results, such as lists from the Hub. No result depends on them."""

from __future__ import annotations

from icl_core.evaluation.rows import Rows

__all__ = ["Notes"]


class Notes:
    """Texts by namespace and name; a later text replaces an earlier one."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def put(self, namespace: str, name: str, text: str) -> None:
        """Keeps a text.

        Raises:
            StoreError: the index cannot be written.
        """
        self._rows.write(lambda: self._rows.set(f"note/{namespace}/{name}", text))

    def get(self, namespace: str, name: str) -> str | None:
        """The text of this name; None if there is none."""
        with self._rows.worded_errors():
            return self._rows.get(f"note/{namespace}/{name}")
