"""Reads from the store what a fusion needs: both splits of the models, mixed parameters, further models.

``analysis.fusion`` chooses, weighs and compares. No cell is computed here.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from icl_core.analysis.fusion.members import MemberResults, ModelSplits
from icl_core.analysis.predictions import CellLabels, Normalisation, Predictions, collect_predictions
from icl_core.errors import CheckpointError, StudyError
from icl_core.evaluation.exclusions import excluded_checkpoints
from icl_core.evaluation.store import CellSummary, Store
from icl_core.evaluation.study import Study, most_alike, shared_options, study_cells
from icl_core.models.parameter_fusion import FUSED_FAMILY, fused_checkpoint, fusion_parents
from icl_core.records import LABEL_SETTINGS, CellSpec, CheckpointRef, LabelSetting
from icl_core.registry.names import order_question, training_order
from icl_core.registry.tasks import list_tasks

__all__ = ["FusionResults", "collect_results", "fusion_study", "mixing_study", "stored_study"]

T = TypeVar("T", str, int)


@dataclass(frozen=True, slots=True, eq=False)
class FusionResults:
    """The stored results for fusions of a study's models.

    Attributes:
        models: the study's models with test results, by name.
        mixed: gold results of mixed parameters, by the model's name.
        others: last checkpoints of other models with gold results on all of the study's tasks and seeds.
        problems: models whose results cannot share a table, each with a sentence that says why.
    """

    models: Mapping[str, ModelSplits]
    mixed: Mapping[str, ModelSplits]
    others: Mapping[str, ModelSplits]
    problems: Mapping[str, str]

    def mixed_of(self, tr: CheckpointRef, tl: CheckpointRef) -> dict[float, MemberResults]:
        """The results of mixed parameters of these two checkpoints under gold labels, by w."""
        try:
            name = fused_checkpoint(tr, tl, weight=0.5).model
        except CheckpointError:
            return {}
        model = self.mixed.get(name)
        refs = () if model is None else model.test.checkpoints
        return {fusion_parents(ref).weight: MemberResults(model, ref, "gold") for ref in refs if model is not None}


def fusion_study(study: Study) -> Study:
    """The study with all three label settings and both splits, which a fusion needs."""
    return replace(study, label_settings=LABEL_SETTINGS, splits=("dev", "test"))


def mixing_study(study: Study, tr: CheckpointRef, tl: CheckpointRef, *, weights: Sequence[float]) -> Study:
    """Mixed parameters of two checkpoints under gold labels on the test split, one checkpoint for each weight.

    Raises:
        CheckpointError: a weight is not between 0 and 1, or the two cannot be mixed.
        StudyError: no weight is given.
    """
    refs = tuple(dict.fromkeys(fused_checkpoint(tr, tl, weight=weight) for weight in weights))
    if not refs:
        raise StudyError("No weight is given; name at least one between 0 and 1.")
    return replace(study, checkpoints=refs, label_settings=("gold",), splits=("test",))


def collect_results(study: Study, store: Store, *, normalisation: Normalisation = "sum") -> FusionResults:
    """Reads all that fusions of the study's models need: predicted labels now, scores of a member on demand.

    Args:
        study: whose models.
        store: of the results.
        normalisation: of the scores that give the labels.
    """
    wanted = fusion_study(study)
    fits = _fitting(study)
    summaries = [summary for summary in store.summaries() if summary.is_current and fits(summary.spec)]
    gold = [summary for summary in summaries if summary.split == "test" and summary.label_setting == "gold"]
    own = {ref.model for ref in study.checkpoints}
    specs = dict.fromkeys([*study_cells(wanted), *_mixed_specs(gold, own), *_other_specs(gold, study, own)])
    stored = store.find_labels(specs, normalisation=normalisation)
    by_model: dict[str, list[CellLabels]] = {}
    for spec in specs:
        if spec in stored:
            by_model.setdefault(spec.checkpoint.model, []).append(stored[spec])
    found: dict[str, ModelSplits] = {}
    problems: dict[str, str] = {}
    for model, cells in by_model.items():
        try:
            splits = _splits(cells, store)
        except StudyError as error:
            problems[model] = str(error)
        else:
            if splits is not None:
                found[model] = splits
    families = {model: cells[0].spec.checkpoint.family for model, cells in by_model.items()}
    return FusionResults(
        models={model: splits for model, splits in found.items() if model in own},
        mixed={m: splits for m, splits in found.items() if families[m] == FUSED_FAMILY and m not in own},
        others={m: s for m, s in found.items() if m not in own and families[m] != FUSED_FAMILY},
        problems=problems,
    )


def _splits(cells: Sequence[CellLabels], store: Store) -> ModelSplits | None:
    """Both splits of one model, None without test results."""
    excluded = excluded_checkpoints(store, {cell.spec.checkpoint for cell in cells})
    test, dev = (
        next(iter(collect_predictions(cells, split=split, excluded=excluded).values()), None)
        for split in ("test", "dev")
    )
    if test is None:
        return None
    asked: dict[tuple[CheckpointRef, LabelSetting], list[CellLabels]] = {}
    for cell in cells:
        if cell.spec.split == "test":
            asked.setdefault((cell.spec.checkpoint, cell.spec.label_setting), []).append(cell)

    @functools.cache
    def read(checkpoint: CheckpointRef, label_setting: LabelSetting) -> Predictions:
        if (checkpoint, label_setting) not in asked:
            who = f"{checkpoint.model} at {checkpoint.revision}"
            raise StudyError(f"{who} has no test results with {label_setting} labels; evaluate it.")
        return _scores(asked[checkpoint, label_setting], store)

    return ModelSplits(test, dev, read)


def _scores(cells: Sequence[CellLabels], store: Store) -> Predictions:
    """The scores that gave these labels.

    Raises:
        StudyError: they do not exist any more.
    """
    found = store.find_many(cell.spec for cell in cells)
    for cell in cells:
        if cell.spec not in found or found[cell.spec].key.digest != cell.key.digest:
            ref = cell.spec.checkpoint
            raise StudyError(f"Results of {ref.model} at {ref.revision} have changed; load the page again.")
    return next(iter(collect_predictions(found.values()).values()))


def _fitting(study: Study) -> Callable[[CellSpec], bool]:
    """A function that tells whether a cell was made with the study's options, on its tasks and seeds."""
    options, tasks, seeds = shared_options(study), set(study.tasks), set(study.demo_seeds)

    def fits(spec: CellSpec) -> bool:
        if spec.task not in tasks or spec.demo_seed not in seeds:
            return False
        return (spec.split == "dev" or spec.n_examples == study.n_test) and shared_options(spec) == options

    return fits


def _mixed_specs(gold: Sequence[CellSummary], own: set[str]) -> list[CellSpec]:
    """Cells of mixed parameters whose parents belong to the study's models."""
    return [
        summary.spec
        for summary in gold
        if summary.spec.checkpoint.family == FUSED_FAMILY and _parent_models(summary.spec.checkpoint) <= own
    ]


def _parent_models(ref: CheckpointRef) -> set[str]:
    try:
        parents = fusion_parents(ref)
    except CheckpointError:
        return {""}
    return {parents.tr.model, parents.tl.model}


def _other_specs(gold: Sequence[CellSummary], study: Study, own: set[str]) -> list[CellSpec]:
    """Gold cells of the last checkpoint of every other model that has them for all tasks and seeds."""
    by_ref: dict[CheckpointRef, list[CellSpec]] = {}
    for summary in gold:
        ref = summary.spec.checkpoint
        if ref.model not in own and ref.family != FUSED_FAMILY:
            by_ref.setdefault(ref, []).append(summary.spec)
    n_cells = len(study.tasks) * len(study.demo_seeds)
    whole = sorted((ref for ref, specs in by_ref.items() if len(specs) == n_cells), key=training_order)
    last: list[CheckpointRef] = []
    for _, refs in itertools.groupby(whole, key=lambda ref: ref.model):
        mine = list(refs)
        last += mine if order_question(mine) else mine[-1:]  # all if the order is in doubt: the reason is shown
    return [spec for ref in last for spec in by_ref[ref]]


def stored_study(
    store: Store,
    models: Sequence[str],
    *,
    tasks: Sequence[str] = (),
    demo_seeds: Sequence[int] = (),
    n_shots: int | None = None,
    n_test: int | None = None,
) -> Study:
    """The study with the options under which these models have most test results, among those that fit the arguments.

    Raises:
        StudyError: a model, task or seed has no result that fits.
    """
    cells = [
        summary.spec
        for summary in store.summaries()
        if summary.is_current
        and summary.split == "test"
        and summary.model in models
        and n_shots in (None, summary.n_shots)
        and n_test in (None, summary.spec.n_examples)
    ]
    missing = next((model for model in models if model not in {spec.checkpoint.model for spec in cells}), None)
    if missing is not None:
        raise StudyError(f"{missing} has no test results in {store.path} that match; evaluate it, or choose others.")
    alike = most_alike(cells)
    abstract = [spec.alphabet for spec in alike if spec.label_setting == "abstract"]
    first = alike[0]
    return Study(
        checkpoints=tuple(sorted({spec.checkpoint for spec in alike}, key=training_order)),
        tasks=_known("task", tasks, sorted({spec.task for spec in alike}, key=_registry_order)),
        label_settings=LABEL_SETTINGS,
        demo_seeds=_known("demonstration seed", demo_seeds, sorted({spec.demo_seed for spec in alike})),
        n_test=first.n_examples,
        alphabet=abstract[0] if abstract else "symbols",
        **shared_options(first),
    )


def _registry_order(task: str) -> tuple[int, str]:
    known = list(list_tasks())
    return (known.index(task) if task in known else len(known), task)


def _known(what: str, wanted: Sequence[T], found: Sequence[T]) -> tuple[T, ...]:
    """The wanted values, checked; all known ones if none is named."""
    known = tuple(dict.fromkeys(found))
    unknown = next((value for value in wanted if value not in known), None)
    if unknown is not None:
        raise StudyError(f"There are no results of {what} {unknown}; there are: {', '.join(map(str, known))}.")
    return tuple(dict.fromkeys(wanted)) or known
