"""``compete``: competition of TR and TL with its noise floor for each stored model; the page's numbers as text.

It computes no measure itself and evaluates nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from icl_core.analysis.competition import CLEAR_CERTAINTY, noise_floor
from icl_core.analysis.predictions import CellLabels, collect_predictions
from icl_core.analysis.trajectories import ability_curves, paired_predictions
from icl_core.cli.listing import check_known, open_store, tell_damage
from icl_core.cli.output import complain, emit, fraction, table, whole_number
from icl_core.errors import ObservatoryError, StudyError
from icl_core.evaluation.exclusions import current_checkpoints, excluded_checkpoints, shared_weights
from icl_core.evaluation.store import CellSummary, Store
from icl_core.evaluation.study import most_alike
from icl_core.evaluation.told import CellFacts, facts_of, result_sentences
from icl_core.models.parameter_fusion import FUSED_FAMILY
from icl_core.registry.families import counted_in
from icl_core.registry.names import home_of
from icl_core.registry.tasks import split_task_names, stored_task_names
from icl_core.settings import BASE_MEMBER

__all__ = ["add_commands"]

_COLUMNS = {
    "model": "model",
    "ICL %": "icl",
    "TR %": "tr",
    "TL %": "tl",
    "competing": "competing",
    "noise alone": "noise_band",
    "p": "p_ratio",
    "intensity": "mean_intensity",
    "p (int.)": "p_mean_intensity",
    "clear": "clear",
    "tasks": "n_tasks",
    "seeds": "n_seeds",
    "rows": "n_test",
}


def add_commands(add: Any) -> None:
    """Adds the command; ``add(name, run, help)`` gives its parser."""
    compete = add("compete", _compete, "show where TR and TL compete, against noise")
    compete.add_argument("--model", action="append", help="only this model (may be repeated); all if none is named")
    compete.add_argument("--epsilon", type=fraction, default=0.01, help="smallest change that counts, a fraction")
    rows = whole_number(1, 10**7)
    compete.add_argument(
        "--n-test", type=rows, help="results on this number of test rows (default: a model's most frequent)"
    )
    compete.add_argument("--tasks", help="names or paths of files with commas; all that are stored if not given")
    compete.add_argument(
        "--replicates", type=whole_number(1, 100_000), default=1000, help="replicates of the noise floor"
    )


def _compete(options: argparse.Namespace) -> int:
    store = open_store(options)
    found = [
        summary
        for summary in store.summaries()
        if summary.is_current and summary.split == "test" and summary.spec.checkpoint.family != FUSED_FAMILY
    ]
    by_model: dict[str, list[CellSummary]] = {}
    for summary in found:
        by_model.setdefault(summary.model, []).append(summary)
    models = sorted(by_model, key=lambda name: (name != BASE_MEMBER, name))
    check_known(options.model or (), models)
    stored = [summary.task for summary in found]
    asked = None if options.tasks is None else split_task_names(options.tasks, known=stored)
    tasks = None if asked is None else stored_task_names(asked, stored)
    if not models:
        emit(options, [], "No results yet.")
        return 0
    rows: list[dict[str, Any]] = []
    without: list[dict[str, Any]] = []
    facts: list[CellFacts] = []
    for model in options.model or models:
        for name, mine in _by_folder(by_model[model]).items():
            try:
                cells = _cells(store, mine, tasks=tasks, options=options)
                rows.append(_row(store, cells, options) | {"model": name})
                facts += map(facts_of, cells)
            except ObservatoryError as error:
                complain(f"{name} is left out: {error}")
                without.append({"model": name, "left_out": [str(error)]})
    for sentence in result_sentences(facts, hash_cache=store.path / "hashes.json"):
        complain(sentence)
    shown = [[_cell(name, row[name]) for name in _COLUMNS.values()] for row in rows]
    words = (
        f"\nAt epsilon {options.epsilon:g}, mean over tasks. ICL, TR, TL: accuracy at the last checkpoint. "
        "Competing: intervals, of all; noise alone: 95 % of the centred bootstrap; p: of the competing intervals, "
        f"(int.) of the intensity; clear: intervals that compete in {CLEAR_CERTAINTY * 100:g} % of resamples."
    )
    remarks = [f"Left out of the curves of {row['model']}: {reason}." for row in rows for reason in row["left_out"]]
    remarks += shared_weights(store, options.model or models)
    tell_damage(store)
    emit(options, [*rows, *without], "\n".join([table(list(_COLUMNS), shown) + words, *remarks]))
    return 0 if rows else 1


def _by_folder(summaries: Sequence[CellSummary]) -> dict[str, list[CellSummary]]:
    """Results under one name; apart for each folder if several folders share the name."""
    by_home: dict[str, list[CellSummary]] = {}
    for summary in summaries:
        by_home.setdefault(home_of(summary.spec.checkpoint), []).append(summary)
    if len(by_home) == 1:
        return {summaries[0].model: list(summaries)}
    return {f"{mine[0].model} ({home or 'published'})": mine for home, mine in by_home.items()}


def _row(store: Store, cells: Sequence[CellLabels], options: argparse.Namespace) -> dict[str, Any]:
    """Everything about one model, accuracies and ratios as fractions."""
    excluded = excluded_checkpoints(store, {cell.spec.checkpoint for cell in cells})
    predictions = next(iter(collect_predictions(cells, excluded=excluded).values()))
    curves = ability_curves(predictions, n_replicates=1).curves
    paired = paired_predictions(predictions)
    floor = noise_floor(paired.tr_correct, paired.tl_correct, epsilon=options.epsilon, n_replicates=options.replicates)
    n_intervals = len(floor.interval_certainty)
    low, high = (round(n_intervals * float(q)) for q in np.quantile(floor.null_ratio, (0.025, 0.975)))
    names = {"icl": "gold", "tr": "random", "tl": "abstract"}
    return {
        "model": predictions.model,
        **{name: float(curves[s].value[-1]) if s in curves else None for name, s in names.items()},  # type: ignore[index]
        "competing": f"{round(n_intervals * floor.observed_ratio)} of {n_intervals}",
        "noise_band": f"{low} to {high}",
        "ratio": floor.observed_ratio,
        "p_ratio": floor.p_ratio,
        "mean_intensity": floor.observed_mean_intensity,
        "p_mean_intensity": floor.p_mean_intensity,
        "clear": int(floor.clear.sum()),
        "n_tasks": len(paired.tasks),
        "n_seeds": floor.n_seeds,
        "n_test": max(len(gold) for gold in paired.gold),
        "last_step": paired.checkpoints[-1].step,
        "step_unit": counted_in(paired.checkpoints[-1]),
        "left_out": list(predictions.excluded.values()),
    }


def _cells(
    store: Store, mine: Sequence[CellSummary], *, tasks: Sequence[str] | None, options: argparse.Namespace
) -> list[CellLabels]:
    """The model's results with one number of test rows and, for all other options, the most frequent values."""
    usable = [
        summary.spec
        for summary in mine
        if (options.n_test is None or summary.spec.n_examples == options.n_test)
        and (tasks is None or summary.task in tasks)
    ]
    if not usable:
        raise StudyError("it has no results with these tasks and this number of test rows.")
    current = set(current_checkpoints(store, {spec.checkpoint for spec in usable}))
    return list(store.find_labels(most_alike([spec for spec in usable if spec.checkpoint in current])).values())


def _cell(name: str, value: Any) -> Any:
    """A value as the table shows it: accuracies in percent, p-values and intensities to two digits."""
    if value is None or not isinstance(value, float):
        return value
    return round(100 * value, 1) if name in ("icl", "tr", "tl") else float(f"{value:.2g}")
