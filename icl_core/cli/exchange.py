"""``export`` and ``import``: writes results to a folder that can be passed on, and reads such a folder."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from icl_core.cli.listing import check_known, open_store
from icl_core.cli.output import complain, emit, folder
from icl_core.evaluation.bundle import ensure_embedded, export_bundle, import_bundle
from icl_core.evaluation.store import Store
from icl_core.registry.tasks import stored_task_names

__all__ = ["add_commands"]

_MOST_LINES = 20


def add_commands(add: Any) -> None:
    """Adds the two commands; ``add(name, run, help)`` gives the parser of a new one."""
    export = add("export", _export, "write results as Parquet and manifest.json")
    export.add_argument("path", type=folder, help="folder to write")
    export.add_argument("--model", action="append", help="only this model (may be repeated)")
    export.add_argument("--task", action="append", help="only this task (may be repeated)")
    source = add("import", _import, "merge a folder written by export; repeating it changes nothing")
    which = source.add_mutually_exclusive_group(required=True)
    which.add_argument("path", type=folder, nargs="?", help="folder to read")
    which.add_argument("--embedded", action="store_true", help="the results that come with the app")


def _export(options: argparse.Namespace) -> int:
    store = open_store(options)
    found = store.summaries()
    check_known(options.model or (), {summary.model for summary in found})
    tasks = stored_task_names(options.task or (), [summary.task for summary in found])
    specs = [
        summary.spec
        for summary in found
        if (not options.model or summary.model in options.model) and (not tasks or summary.task in tasks)
    ]
    left_out: list[str] = []
    manifest = export_bundle(store, options.path, specs=specs, tell=left_out.append)
    for sentence in left_out:
        complain(f"Left out: {sentence}")
    emit(options, asdict(manifest), f"{manifest.n_cells} cells written to {options.path}.")
    return 1 if left_out else 0


def _import(options: argparse.Namespace) -> int:
    if options.embedded:
        n_new = ensure_embedded(Store.open())
        emit(options, {"n_new": n_new}, f"{n_new} new cells of the shipped suite.")
        return 0
    report = import_bundle(open_store(options), options.path)
    lines = [f"{report.n_new} new cells; {report.n_kept} cells were already there.", *report.differing.values()]
    n_rows = report.n_new + report.n_kept + len(report.differing) + len(report.refused)
    if report.refused:
        lines += [f"{len(report.refused)} of {n_rows} rows refused:", *report.refused[:_MOST_LINES]]
        lines += [f"... and {len(report.refused) - _MOST_LINES} more."] if len(report.refused) > _MOST_LINES else []
    emit(options, asdict(report), "\n".join(lines))
    return 1 if report.differing or report.refused else 0
