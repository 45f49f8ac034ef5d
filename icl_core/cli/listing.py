"""``families``, ``tasks`` and ``results``: what can be evaluated, and what has been."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from icl_core import settings
from icl_core.analysis.predictions import NORMALISATIONS, CellLabels, collect_predictions
from icl_core.analysis.statistics import MEASURES
from icl_core.analysis.trajectories import AbilityCurves, ability_curves
from icl_core.cli.output import complain, emit, folder, table
from icl_core.errors import StoreError, StudyError, UnknownNameError
from icl_core.evaluation.bundle import ensure_embedded
from icl_core.evaluation.exclusions import current_checkpoints, excluded_checkpoints, shared_weights
from icl_core.evaluation.store import CellSummary, Store
from icl_core.evaluation.study import shared_options
from icl_core.evaluation.told import CellFacts, facts_of, result_sentences
from icl_core.evaluation.upkeep import StoreReport, backup_store, rebuild_store, verify_store
from icl_core.models.listing import Listing, embedded_members, lab_runs, list_checkpoints, listing_of
from icl_core.records import CheckpointRef, Split, shown, text_fault
from icl_core.registry.families import (
    FAMILIES,
    MODELS,
    checkpoint_faults,
    counted_in,
    get_family,
    known_checkpoints,
)
from icl_core.registry.names import home_of, order_question
from icl_core.registry.step_units import number_words
from icl_core.registry.tasks import FileSource, HubSource, Task, list_tasks, stored_task_names

__all__ = ["add_commands", "check_known", "open_store", "tell_damage"]


def open_store(options: argparse.Namespace) -> Store:
    """The store that the options name; the default one also holds the shipped results.

    If it cannot be written, for example because the disk is full, this is said and the command goes on.
    """
    store = Store.open(settings.store_path())
    if store.trouble:
        complain(f"warning: {store.trouble}")
    elif options.store is None:
        try:
            ensure_embedded(store)
        except StoreError as error:
            complain(f"warning: The shipped results are not all there: {error}")
    return store


def tell_damage(store: Store) -> None:
    """Says how many results could not be read, if any."""
    if words := store.damage_words:
        complain(f"warning: {words}")


def check_known(asked: Iterable[str], known: Iterable[str]) -> None:
    """Refuses names of models that no stored result has.

    Raises:
        UnknownNameError: naming them, and the models that have results.
    """
    there = sorted(set(known))
    if unknown := [shown(name) for name in asked if name not in there]:
        names = f"models with results: {', '.join(map(shown, there[:20]))}" if there else "nothing is stored yet"
        raise UnknownNameError(f"There are no results of {', '.join(unknown[:5])}; {names}.")


def add_commands(add: Any) -> None:
    """Adds the three commands; ``add(name, run, help)`` gives the parser of a new one."""
    families = add("families", _families, "model families, their models and published checkpoints")
    families.add_argument("--family", help="list the models of this family, or the checkpoints of this model or folder")
    add("tasks", _tasks, "tasks with their label words")
    results = add("results", _results, "stored results by checkpoint and label setting")
    results.add_argument("--model", help="results of this model only")
    results.add_argument("--task", help="results on this task only: a name, or the path of a file")
    results.add_argument("--split", default="test", choices=get_args(Split))
    results.add_argument("--measure", default="accuracy", choices=MEASURES)
    results.add_argument("--normalisation", default="sum", choices=NORMALISATIONS)
    results.add_argument("--by-task", action="store_true", help="one line per task instead of the mean over tasks")
    results.add_argument("--verify", action="store_true", help="read every stored cell and report damage")
    results.add_argument("--rebuild", action="store_true", help="rebuild the index from the files of results")
    results.add_argument("--backup", metavar="DIR", type=folder, help="copy the store into this folder")


# Families and tasks


def _families(options: argparse.Namespace) -> int:
    named = options.family in (*FAMILIES, None)
    if options.family in MODELS or options.family in embedded_members() or (not named and _exists(options.family)):
        return _checkpoints(options)
    names = [get_family(options.family).name] if options.family else list(FAMILIES)
    data = [_family_facts(name) for name in names]
    rows = [
        (family["name"], model["name"], _short(model["n_parameters"]), model["n_checkpoints"], model["location"])
        for family in data
        for model in family["models"]
    ]
    emit(options, data, table(("family", "model", "parameters", "checkpoints", "where"), rows))
    return 0


def _family_facts(name: str) -> dict[str, Any]:
    family = get_family(name)
    if name in ("tiny", "lab"):
        members = embedded_members() if name == "tiny" else tuple(lab_runs())
        models = [{"name": member, "location": "embedded"} | _member_facts(member) for member in members]
    else:
        models = [_model_facts(model) for model in family.models]
    return {
        "name": name,
        "title": family.title,
        "licence": family.licence,
        "in_paper": family.in_paper,
        "url": family.url,
        "note": family.note,
        "models": models,
    }


def _model_facts(name: str) -> dict[str, Any]:
    model = MODELS[name]
    return {
        "name": name,
        "location": model.location,
        "n_parameters": model.n_parameters,
        "n_checkpoints": len(known_checkpoints(model)),
        "step_unit": FAMILIES[model.family].step_unit,
        "all_listed": model.complete,
        "paper_steps": list(model.paper_steps),
        "note": model.note,
    }


def _member_facts(member: str) -> dict[str, Any]:
    return {"n_parameters": None, "n_checkpoints": len(list_checkpoints(member)), "all_listed": True, "note": ""}


def _checkpoints(options: argparse.Namespace) -> int:
    name = options.family
    listing = Listing(known_checkpoints(MODELS[name])) if name in MODELS else listing_of(name)
    refs = listing.checkpoints
    data: list[dict[str, Any]] = [
        {
            "model": ref.model,
            "revision": ref.weight_file or ref.revision,
            "step": ref.step,
            "step_unit": counted_in(ref),
            "tokens_seen": ref.tokens_seen,
            "fault": checkpoint_faults(ref),
        }
        for ref in refs
    ]
    rows = [(each["revision"], _number(each), _short(each["tokens_seen"]), each["fault"]) for each in data]
    question = order_question(refs)
    remarks = [each.sentence for each in listing.skipped]
    remarks += [f"{revision}: {doubt}." for revision, doubt in listing.doubts] + ([question] if question else [])
    for remark in remarks:
        complain(remark)
    emit(options, data, table(("revision", "number", "tokens", "known fault"), rows))
    return 0


def _number(row: Mapping[str, Any]) -> str:
    """The number of a row's checkpoint, with its unit if that is known."""
    step, unit = row["step"], row["step_unit"]
    return "" if step is None else number_words(unit, step) if unit else str(step)


def _exists(text: str) -> bool:
    return text_fault(text) is not None or Path(text).expanduser().exists()


def _short(count: int | None) -> str:
    """A count in thousands, millions or billions."""
    if count is None:
        return ""
    for size, unit in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)


def _source_words(task: Task) -> str:
    if isinstance(task.source, FileSource):
        return str(task.source.path)
    return task.source.hub_id if isinstance(task.source, HubSource) else "the lab"


def _tasks(options: argparse.Namespace) -> int:
    data: list[dict[str, Any]] = [
        {
            "name": task.name,
            "title": task.title,
            "group": task.group,
            "label_words": {name: list(words) for name, words in task.label_words.items()},
            "templates": dict(task.templates),
            "source": _source_words(task),
            "url": task.url,
            "licence": task.licence,
            "version": task.version,
            "note": task.note,
        }
        for task in list_tasks().values()
    ]
    rows = [(task["name"], task["group"], ", ".join(task["label_words"]["natural"]), task["licence"]) for task in data]
    emit(options, data, table(("task", "group", "label words", "licence"), rows))
    return 0


# Results


def _results(options: argparse.Namespace) -> int:
    if options.verify or options.rebuild:
        return _check_store(options)
    if options.backup is not None:
        n_cells = backup_store(options.backup, settings.store_path())
        emit(options, {"n_cells": n_cells, "path": str(options.backup)}, f"{n_cells} cells are in {options.backup}.")
        return 0
    store = open_store(options)
    found = store.summaries()
    check_known(() if options.model is None else [options.model], {summary.model for summary in found})
    rows, remarks = _result_rows(store, found, options)
    tell_damage(store)
    header = ("model", "revision", "number", "task", "setting", options.measure, "low", "high", "seeds", "queries")
    text = table(header, [_line(row) for row in rows])
    emit(options, {"results": rows, "remarks": remarks}, "\n".join([text if rows else "No results yet.", *remarks]))
    return 0


def _line(row: Mapping[str, Any]) -> tuple[object, ...]:
    """A row of results as the table shows it: number and unit in one column."""
    written = {**row, "step": _number(row)}
    return tuple(_rounded(value) for name, value in written.items() if name != "step_unit")


def _rounded(value: object) -> object:
    return f"{value:.4f}" if isinstance(value, float) else value


def _check_store(options: argparse.Namespace) -> int:
    report = rebuild_store(settings.store_path()) if options.rebuild else verify_store(settings.store_path())
    data = {
        "path": str(settings.store_path()),
        "n_cells": report.n_cells,
        "healthy": report.is_healthy,
        "damaged": [{"file": file, "reason": reason} for file, reason in report.damaged],
        "unindexed": list(report.unindexed),
        "fileless": list(report.fileless),
        "faults": list(report.faults),
        "newer": list(report.newer),
    }
    emit(options, data, _store_words(report, repaired=options.rebuild))
    return 0 if report.is_healthy or options.rebuild else 1


def _store_words(report: StoreReport, *, repaired: bool) -> str:
    lines = [f"{report.n_cells} cells are healthy."]
    lines += [f"{file} is damaged: {reason}." for file, reason in report.damaged]
    lines += [str(fault) for fault in report.faults]
    if report.newer:
        lines.append(f"{len(report.newer)} files were written by a newer version of this project and are left alone.")
    if report.unindexed or report.fileless:
        lines.append(f"{len(report.unindexed)} files are not in the index; {len(report.fileless)} in it do not exist.")
    if repaired and not report.is_healthy:
        lines.append("Repaired: whole results of damaged files are in new ones; damaged files were moved, not deleted.")
    elif not report.is_healthy:
        lines.append("`python -m icl_core results --rebuild` repairs what can be repaired.")
    return "\n".join(lines)


def _result_rows(
    store: Store, summaries: Sequence[CellSummary], options: argparse.Namespace
) -> tuple[list[dict[str, Any]], list[str]]:
    rows: list[dict[str, Any]] = []
    remarks: list[str] = []
    facts: list[CellFacts] = []
    wanted: list[str] | None = None
    if options.task is not None:
        wanted = stored_task_names([options.task], [summary.task for summary in summaries])
    for group in _groups(summaries, wanted, options):
        current = set(current_checkpoints(store, {summary.spec.checkpoint for summary in group}))
        specs = [summary.spec for summary in group if summary.spec.checkpoint in current]
        excluded = excluded_checkpoints(store, {spec.checkpoint for spec in specs})
        remarks += [f"Left out of curves: {reason}." for reason in excluded.values()]
        cells = store.find_labels(specs, normalisation=options.normalisation)
        facts += map(facts_of, cells.values())
        apart: dict[CheckpointRef | None, list[CellLabels]] = {None: []}  # those left out of curves are shown singly
        for spec, cell in cells.items():
            apart.setdefault(spec.checkpoint if spec.checkpoint in excluded else None, []).append(cell)
        for together in apart.values():
            try:
                more, words = _rows_of(together, options)
            except StudyError as error:
                remarks.append(f"Not shown: {error}")
            else:
                rows += more
                remarks += words
    remarks += shared_weights(store, (row["model"] for row in rows))
    remarks += result_sentences(facts, hash_cache=store.path / "hashes.json")
    return rows, list(dict.fromkeys(remarks))


def _rows_of(cells: Sequence[CellLabels], options: argparse.Namespace) -> tuple[list[dict[str, Any]], list[str]]:
    rows, remarks = [], []
    for predictions in collect_predictions(cells, split=options.split).values():
        tasks = predictions.tasks if options.by_task else (None,)
        for task in tasks:
            curves = ability_curves(
                predictions,
                measure=options.measure,
                normalisation=options.normalisation,
                task=task,
                n_replicates=500,
            )
            rows += _curve_rows(curves)
            remarks += _partial_words(curves)
    return rows, remarks


def _groups(
    summaries: Iterable[CellSummary], tasks: Collection[str] | None, options: argparse.Namespace
) -> Iterable[list[CellSummary]]:
    """Current results in groups with equal options, model by model; folders that share a name are kept apart."""
    groups: dict[tuple[object, ...], list[CellSummary]] = {}
    for summary in summaries:
        spec = summary.spec
        wanted = summary.is_current and spec.split == options.split
        wanted = wanted and options.model in (None, summary.model) and (tasks is None or spec.task in tasks)
        if wanted:
            options_of = (spec.n_examples, *shared_options(spec).values())
            groups.setdefault((summary.model, home_of(spec.checkpoint), *options_of), []).append(summary)
    return groups.values()


def _curve_rows(curves: AbilityCurves) -> list[dict[str, Any]]:
    task = ", ".join(curves.tasks) if len(curves.tasks) < 4 else f"{len(curves.tasks)} tasks"
    n_queries = sum(curves.n_examples.values())
    return [
        {
            "model": curves.model,
            "revision": ref.weight_file or ref.revision,
            "step": ref.step,
            "step_unit": counted_in(ref),
            "task": task,
            "setting": setting,
            curves.measure: round(float(curve.value[index]), 6),
            "low": round(float(curve.low[index]), 6),
            "high": round(float(curve.high[index]), 6),
            "n_seeds": len(curves.demo_seeds),
            "n_queries": n_queries,
        }
        for setting, curve in curves.curves.items()
        for index, ref in enumerate(curve.checkpoints)
    ]


def _partial_words(curves: AbilityCurves) -> list[str]:
    by_setting: dict[str, int] = {}
    for partial in curves.partial:
        by_setting[partial.label_setting] = by_setting.get(partial.label_setting, 0) + 1
    return [
        f"{curves.model}: {count} checkpoint{'s' * (count != 1)} not shown in {setting}, because some tasks or seeds "
        "are still missing."
        for setting, count in _sorted(by_setting)
    ]


def _sorted(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items())
