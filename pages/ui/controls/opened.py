"""A study's JSON as the pickers' values: what one page gives away, another session opens again.

The values are taken only if the pickers then ask for exactly this study; otherwise the file is refused in one sentence.
It sets no widgets, opens no file that the study names, and computes nothing.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Iterator
from pathlib import Path

from icl_core.errors import ObservatoryError, StudyError
from icl_core.evaluation.study import Study, check_values, study_from_json
from icl_core.records import CheckpointRef, shown
from icl_core.registry.table_files import decode_text
from icl_core.registry.tasks import FILE_PREFIX, path_and_labels
from pages.ui.controls import selection
from pages.ui.controls.selection import Choice
from pages.ui.words.written import joined, task_title

__all__ = ["MAX_STUDY_BYTES", "open_study"]

MAX_STUDY_BYTES = 5_000_000


def open_study(content: bytes, name: str) -> tuple[Choice, bool]:
    """The pickers' values for the study in a file, and whether it asks for the development set too.

    Args:
        content: the whole file.
        name: what the user calls it, for messages.

    Raises:
        ObservatoryError: the file is no study, or asks for something that is not here or has no picker.
    """
    if len(content) > MAX_STUDY_BYTES:
        raise StudyError(f"{name} has {len(content):,} bytes, more than any study ({MAX_STUDY_BYTES:,}).")
    study = study_from_json(decode_text(content, name)[0], name=name)
    try:
        check_values(study)
    except ObservatoryError as error:
        raise StudyError(f"{name} cannot be opened. {error}") from error
    if "test" not in study.splits:
        raise StudyError(f"{name} asks for the development set alone, which no page shows; add the split test to it.")
    wanted = dataclasses.replace(study, splits=("test",), tasks=_tasks_here(study.tasks, name))
    return _choice_of(wanted, name), "dev" in study.splits


def _tasks_here(tasks: Collection[str], name: str) -> tuple[str, ...]:
    """The tasks under their names here: an uploaded file has the same name on every server, in another folder."""
    known = selection.task_options()
    by_file = {_file(task): task for task in known if task.startswith(FILE_PREFIX)}
    found = [task if task in known else by_file.get(_file(task), "") for task in tasks]
    if absent := [task_title(task) for task, here in zip(tasks, found, strict=True) if not here]:
        what = "the task" if len(absent) == 1 else "the tasks"
        raise StudyError(f"{name} asks for {what} {joined(absent)}, not known here; upload your own files first.")
    return tuple(found)


def _file(task: str) -> tuple[str, str]:
    path, labels = path_and_labels(task)
    return Path(path).name, labels


def _choice_of(study: Study, name: str) -> Choice:
    """The first of the choices that ask for exactly this study."""
    known = set(selection.model_options())
    by_model: dict[str, list[CheckpointRef]] = {}
    for ref in study.checkpoints:
        by_model.setdefault(ref.model, []).append(ref)
    own = [model for model in by_model if model not in known]
    if len(own) > 1:
        raise StudyError(f"{name} asks for the models {joined([shown(each) for each in own])}, not known here.")
    reason = ""
    for choice in _candidates(study, by_model, own[0] if own else None, name=name):
        try:
            if _unordered(selection.study_of(choice)) == _unordered(study):
                return choice
        except ObservatoryError as error:
            reason = reason or str(error)
    raise StudyError(
        f"{name} asks for checkpoints of {joined([shown(model) for model in by_model])} that are not all here, or not "
        f"under these names, so it cannot be opened.{f' {reason}' if reason else ''}"
    )


def _candidates(
    study: Study, by_model: dict[str, list[CheckpointRef]], own: str | None, *, name: str
) -> Iterator[Choice]:
    base = _options(study, tuple(model for model in by_model if model != own), name)
    refs = study.checkpoints
    counts = sorted({str(len(each)) for each in by_model.values()})
    steps, revisions = (", ".join(dict.fromkeys(names)) for names in (
        map(selection.short_name, refs), (ref.weight_file or ref.revision for ref in refs)))  # fmt: skip
    checkpoints = ("all", "paper", steps, revisions, *counts)
    if own is None:
        yield from (dataclasses.replace(base, checkpoints=text) for text in checkpoints)
        return
    mine = by_model[own]
    place = Path(mine[0].location)
    order = ", ".join(ref.revision for ref in mine)
    for local, called, ordered, text in itertools.product((place, place.parent), ("", own), ("", order), checkpoints):
        yield dataclasses.replace(base, local=str(local), name=called, order=ordered, checkpoints=text)


def _options(study: Study, models: tuple[str, ...], name: str) -> Choice:
    """The choice without its checkpoints; every value is one that its picker offers."""
    usual = selection.defaults_for(models)
    for what, value, offered in (
        ("template", study.template, (*selection.TEMPLATES, usual.template)),
        ("label words", study.label_word_set, (*selection.WORD_SETS, usual.words)),
    ):
        if value not in offered:
            raise StudyError(f"{name} asks for the {what} {shown(repr(value))}; known are {', '.join(offered)}.")
    return Choice(
        model=models,
        checkpoints="all",
        task=study.tasks,
        setting=study.label_settings,
        seeds=", ".join(map(str, study.demo_seeds)),
        examples=study.n_test,
        local="",
        name="",
        order="",
        alphabet=study.alphabet,
        **selection.as_picked(study),
    )


def _unordered(study: Study) -> tuple[object, ...]:
    """What a study asks for, whatever the order of its lists."""
    lists = (study.checkpoints, study.tasks, study.label_settings, study.demo_seeds)
    rest = dataclasses.replace(study, checkpoints=(), tasks=(), label_settings=(), demo_seeds=())
    return (*map(frozenset, lists), rest)
