"""What it costs to bring the shipped results into an empty store, to read them, and to keep them.

It measures processor seconds, bytes and files: the import of the shipped bundles, a first list of what is there,
reading every record, ``compete`` over all of them with its noise floors, which derives and keeps the predicted labels,
the same again, and reading all labels that are kept. Run ``python -m benchmarks.store [--json]``; it fails when the
import or ``compete`` takes more processor seconds, or the store more bytes, than they may.

docs/BENCHMARKS.md has what it gave, and what the store before it took.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from icl_core.__main__ import main as command
from icl_core.evaluation.bundle import embedded_bundles, ensure_embedded, read_manifest
from icl_core.evaluation.store import PREDICTED, Store
from icl_core.settings import embedded_results_path

MOST = {"import_s": 8.0, "compete_s": 10.0, "store_bytes": 100e6}
"""For all shipped results: processor seconds and bytes."""


def _busy_seconds(work: Callable[[], object]) -> float:
    """Processor seconds of this process and of those that it started and that have ended."""

    def busy() -> float:
        return sum(
            used.ru_utime + used.ru_stime
            for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        )

    start = busy()
    work()
    return busy() - start


def _compete() -> None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as complaints:
        if command(["compete"]):
            raise SystemExit(complaints.getvalue())


def _read_all(n_cells: float, *, labels: bool = False) -> None:
    store = Store.open()
    specs = [summary.spec for summary in store.summaries()]
    found = store.find_labels(specs) if labels else store.find_many(specs)
    if len(found) != n_cells:
        raise SystemExit(store.damage_words or "Some results are not there.")


def measure() -> dict[str, float]:
    """Processor seconds of each step, and bytes and files of the store; in the folder that the settings name."""
    bundles = embedded_bundles()
    result: dict[str, float] = {
        "cells": sum(read_manifest(embedded_results_path() / name).n_cells for name in bundles),
        "bundle_bytes": sum((embedded_results_path() / name / "cells.parquet").stat().st_size for name in bundles),
    }
    wall = time.perf_counter()
    result["import_s"] = _busy_seconds(lambda: ensure_embedded(Store.open()))
    result["import_wall_s"] = time.perf_counter() - wall
    files = [path for path in Store.open().path.rglob("*") if path.is_file()]
    result["store_bytes"] = sum(path.stat().st_size for path in files)
    result["list_s"] = _busy_seconds(lambda: Store.open().summaries())
    result["read_s"] = _busy_seconds(lambda: _read_all(result["cells"]))
    result["compete_s"] = _busy_seconds(_compete)
    result["compete_again_s"] = _busy_seconds(_compete)
    result["labels_s"] = _busy_seconds(lambda: _read_all(result["cells"], labels=True))
    kept = [path for path in (Store.open().path / PREDICTED).iterdir()]
    result["store_bytes"] += (kept_bytes := sum(path.stat().st_size for path in kept))
    return result | {"store_files": len(files) + len(kept), "kept_bytes": kept_bytes}


def main() -> int:
    """Prints the table (or JSON); exit status 1 when a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ICL_OBSERVATORY_STORE"] = str(Path(folder) / "store")
        result = measure()
    over = [name for name, most in MOST.items() if result[name] > most]
    if options.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            words = f"{value:12.2f} s" if name.endswith("_s") else f"{value:12,.0f}"
            bound = f"  at most {MOST[name]:,.0f}" if name in MOST else ""
            print(f"{name:16s} {words}{bound}{'  too much' if name in over else ''}")
    return int(bool(over))


if __name__ == "__main__":
    sys.exit(main())
