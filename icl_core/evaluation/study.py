"""Studies: checkpoints x tasks x label settings x seeds x splits with options, checked in one place.

It resolves nothing (no weights, no rows) and runs nothing; run.py does. The defaults are those of arXiv 2406.14022,
section 3: 16 demonstrations, five seeds, up to 1000 test rows.
"""

from __future__ import annotations

import dataclasses
import math
import operator
import typing
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icl_core.data.label_settings import abstract_symbols
from icl_core.errors import AmbiguousLabelsError, DataError, StudyError, UnknownNameError
from icl_core.models.parameter_fusion import fusion_parents
from icl_core.plain import from_json
from icl_core.records import (
    SHARED_OPTIONS,
    Alphabet,
    CellSpec,
    CheckpointRef,
    CheckpointSource,
    LabelSetting,
    Sampling,
    Split,
    canonical_json,
    digest_of,
    shown,
    text_fault,
)
from icl_core.registry.families import MODELS, get_family, get_model
from icl_core.registry.tasks import get_task
from icl_core.settings import DEFAULT_N_SHOTS, DEFAULT_N_TEST

__all__ = [
    "ATTENTIONS",
    "DTYPES",
    "MAX_SEED",
    "MAX_SHOTS",
    "MAX_TEST_EXAMPLES",
    "N_DEV_EXAMPLES",
    "Study",
    "check_values",
    "most_alike",
    "n_cells",
    "shared_options",
    "study_cells",
    "study_digest",
    "study_from_json",
    "study_to_json",
    "validate_study",
]

DTYPES = ("float32", "bfloat16", "float16", "float64")
ATTENTIONS = ("sdpa", "eager", "flash_attention_2", "flash_attention_3")
N_DEV_EXAMPLES = 300
"""Rows of the development split, on which checkpoints and fusion weights are chosen."""
MAX_SHOTS = 128
MAX_TEST_EXAMPLES = 10_000
MAX_SEED = 2**32 - 1
MAX_SEEDS = 100
MAX_CHECKPOINTS = 2_000


@dataclass(frozen=True, slots=True)
class Study:
    """A grid of cells that share their options.

    Attributes:
        checkpoints: models at steps, in the order of the run.
        tasks: names in the task registry, or ``file:`` and an absolute path.
        label_settings: how demonstration labels are made.
        demo_seeds: each 0 to MAX_SEED.
        n_shots: number of demonstrations, 1 to MAX_SHOTS.
        n_test: rows of the test split, at most; 1 to MAX_TEST_EXAMPLES. The development split has N_DEV_EXAMPLES.
        splits: ``test`` for results, ``dev`` for choosing.
        template, label_word_set, alphabet, sampling: options of the prompt.
        dtype: of weights and arithmetic, one of DTYPES.
        attention: implementation, one of ATTENTIONS.
        data_dir: absolute path of a directory in Hub layout, None for the Hub.
    """

    checkpoints: tuple[CheckpointRef, ...]
    tasks: tuple[str, ...]
    label_settings: tuple[LabelSetting, ...]
    demo_seeds: tuple[int, ...]
    n_shots: int = DEFAULT_N_SHOTS
    n_test: int = DEFAULT_N_TEST
    splits: tuple[Split, ...] = ("test",)
    template: str = "minimal"
    label_word_set: str = "natural"
    alphabet: Alphabet = "symbols"
    sampling: Sampling = "uniform"
    dtype: str = "float32"
    attention: str = "sdpa"
    data_dir: str | None = None


def study_cells(study: Study) -> tuple[CellSpec, ...]:
    """The cells of a study in the order of the run: checkpoint by checkpoint, the settings of one prompt together.

    Only the abstract setting uses the alphabet. Cells of other settings have the default one, so that studies that
    differ only in the alphabet share them.
    """
    options = shared_options(study)
    return tuple(
        CellSpec(
            checkpoint=checkpoint,
            task=task,
            split=split,
            label_setting=setting,
            demo_seed=seed,
            n_examples=study.n_test if split == "test" else N_DEV_EXAMPLES,
            alphabet=study.alphabet if setting == "abstract" else "symbols",
            **options,
        )
        for checkpoint in study.checkpoints
        for task in study.tasks
        for split in study.splits
        for seed in study.demo_seeds
        for setting in study.label_settings
    )


def shared_options(asked: Study | CellSpec) -> dict[str, Any]:
    """The options that the cells of a study share, by name; only abstract cells have the alphabet."""
    return {name: getattr(asked, name) for name in (*SHARED_OPTIONS, "data_dir")}


def n_cells(study: Study) -> int:
    """The number of cells that ``study_cells`` gives, without making them."""
    parts = (study.checkpoints, study.tasks, study.splits, study.demo_seeds, study.label_settings)
    return math.prod(map(len, parts))


def study_to_json(study: Study) -> str:
    """Canonical JSON of a study: equal text for equal studies."""
    return canonical_json(dataclasses.asdict(study))


def study_from_json(text: str, *, name: str = "This") -> Study:
    """The study in a JSON text; types are checked here, values by ``validate_study``.

    Args:
        text: canonical or not.
        name: what the text is called in messages.

    Raises:
        StudyError: not JSON, a field is unknown, missing or of another type.
    """
    try:
        return from_json(Study, text)
    except ValueError as error:
        raise StudyError(f"{name} is not the JSON of a study: {shown(error, most=200)}.") from error


def most_alike(specs: Sequence[CellSpec]) -> list[CellSpec]:
    """The cells with the most frequent options; among equally frequent ones, those with most rows; [] for no cells."""
    options = operator.attrgetter("n_examples", *SHARED_OPTIONS, "data_dir")
    counted = Counter(map(options, specs))
    usual = max(counted, key=lambda each: (counted[each], each[0], repr(each)), default=None)
    return [spec for spec in specs if options(spec) == usual]


def study_digest(study: Study) -> str:
    """sha256 over all fields."""
    return digest_of(dataclasses.asdict(study))


def validate_study(study: Study) -> None:
    """Checks every value of a study, before anything is run.

    Whether weights and rows exist is checked when they are loaded.

    Raises:
        UnknownNameError: a family, model, task, template, label-word set or option is not known.
        StudyError: a list is empty, too long or has repetitions, a number is out of bounds, a folder does not exist, or
            a task has more labels than the alphabet has symbols.
        DataError: all tasks are local files that cannot be read. If others can be used, the run reports the unreadable
            ones.
        AmbiguousLabelsError: a file's labels may be the same, and the task's name does not say which is meant.
    """
    check_values(study)
    for checkpoint in study.checkpoints:
        _check_checkpoint(checkpoint)
    _check_tasks(study)


def check_values(study: Study) -> None:
    """Checks lists, numbers and options, but not checkpoints and tasks.

    Raises:
        UnknownNameError: an option is not known.
        StudyError: a list is empty, too long or has repetitions, a number is out of bounds, or the data directory does
            not exist.
    """
    _check_list("checkpoints", study.checkpoints, MAX_CHECKPOINTS)
    _check_list("tasks", study.tasks)
    _check_list("demonstration seeds", study.demo_seeds, MAX_SEEDS)
    for what, values, literal in (
        ("label settings", study.label_settings, LabelSetting),
        ("splits", study.splits, Split),
    ):
        _check_list(what, values)
        for value in values:
            _check_choice(what, value, typing.get_args(literal))
    for seed in study.demo_seeds:
        _check_number("a demonstration seed", seed, low=0, high=MAX_SEED)
    _check_number("the number of demonstrations", study.n_shots, low=1, high=MAX_SHOTS)
    _check_number("the number of test rows", study.n_test, low=1, high=MAX_TEST_EXAMPLES)
    _check_choice("alphabet", study.alphabet, typing.get_args(Alphabet))
    _check_choice("sampling", study.sampling, typing.get_args(Sampling))
    _check_choice("dtype", study.dtype, DTYPES)
    _check_choice("attention", study.attention, ATTENTIONS)
    if study.data_dir is not None:
        _check_folder("The data directory", study.data_dir)


def _check_list(what: str, values: Sequence[object], most: int | None = None) -> None:
    if not values:
        raise StudyError(f"The study names no {what}; choose at least one.")
    if repeated := sorted(str(value) for value, n in Counter(values).items() if n > 1):
        raise StudyError(f"The study's {what} repeat {', '.join(repeated[:3])}; name each once.")
    if most is not None and len(values) > most:
        raise StudyError(f"The study has {len(values)} {what}, but at most {most} can be run in one study.")


def _check_choice(what: str, value: object, known: Collection[str]) -> None:
    if value not in known:
        raise UnknownNameError(f"Unknown {what} {value!r}; known are {', '.join(known)}.")


def _check_number(what: str, value: object, *, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise StudyError(f"{shown(repr(value))} cannot be {what}; it must be a whole number from {low} to {high}.")


def _check_text(what: str, text: str) -> None:
    if fault := text_fault(text):
        raise StudyError(f"{what} {shown(text)} cannot be used: it {fault}; rename it.")


def _check_folder(what: str, path: str) -> None:
    if not Path(path).is_absolute() or not Path(path).is_dir():
        raise StudyError(f"{what} {path!r} is not the absolute path of a folder that exists.")


def _check_checkpoint(ref: CheckpointRef) -> None:
    """Checks that family, model and source are known and fit together, and that a local path exists."""
    family = get_family(ref.family)
    _check_choice("checkpoint source", ref.source, typing.get_args(CheckpointSource))
    if family.name == "lab":
        raise StudyError(
            f"{ref.model} is a run of the lab and reads vectors, not text, so it cannot be evaluated on other tasks; "
            "its results were stored when it was trained, and all other pages show them."
        )
    if not (ref.model and ref.revision and ref.location):
        raise StudyError(f"A checkpoint of {ref.model or ref.family} has no model, revision or location.")
    for what, text in (("model", ref.model), ("checkpoint", ref.revision), ("place", ref.location)):
        _check_text(f"The {what}", text)
    if ref.step is not None:
        _check_number(f"the step of {ref.model} {ref.revision}", ref.step, low=0, high=2**62)
    if family.models and get_model(ref.model).family != ref.family:
        raise StudyError(f"{ref.model} belongs to the family {MODELS[ref.model].family}, not to {ref.family}.")
    if ref.source == "folder":
        _check_folder(f"The checkpoint folder of {ref.model}", ref.location)
    if ref.source == "fused":
        parents = fusion_parents(ref)
        _check_checkpoint(parents.tr)
        _check_checkpoint(parents.tl)
    if ref.source == "gguf" and not Path(ref.location).is_file():
        raise StudyError(f"The GGUF file {ref.location!r} of {ref.model} does not exist.")


def _check_tasks(study: Study) -> None:
    """Checks that every task is known and fits; an unusable file does not affect the other tasks."""
    refused: list[DataError] = []
    for name in study.tasks:
        try:
            _check_task(study, name)
        except AmbiguousLabelsError:
            raise
        except DataError as error:
            refused.append(error)
    if len(refused) == len(study.tasks):
        raise refused[0]


def _check_task(study: Study, name: str) -> None:
    """Checks a task's name, that it has the study's template and label words, and that the symbols suffice."""
    _check_text("The task", name)
    task = get_task(name)
    if task.name != name:
        raise StudyError(f"The task {name!r} must be named {task.name!r}, so that its results can be found again.")
    words = task.words(study.label_word_set, template=study.template)
    if "abstract" in study.label_settings:
        abstract_symbols(name, n_labels=len(words), alphabet=study.alphabet, demo_seed=study.demo_seeds[0])
