"""A file of sentences: how it is read, and the answers to it as rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from icl_core.analysis.predictions import Normalisation
from icl_core.errors import DataError
from icl_core.evaluation.playground import MAX_BATCH_TEXTS, Question, Reply, answers_at
from icl_core.registry.task_files import TextFile, parse_text_file
from pages.playground.notes import ROLES
from pages.playground.sentences import words_unknown

__all__ = ["read_texts", "rows_of"]


def read_texts(content: bytes, name: str) -> TextFile:
    """The sentences of a file, read by the rules of the evaluation.

    Args:
        content: the whole file.
        name: the user's own name of it, for its kind and for messages.

    Raises:
        DataError: no text in a readable encoding, no valid table, no sentence, or too many.
    """
    found = parse_text_file(content, name, suffix=PurePath(name).suffix)
    if len(found.texts) > MAX_BATCH_TEXTS:
        raise DataError(f"{name} has {len(found.texts):,} sentences; at most {MAX_BATCH_TEXTS} can be asked at once.")
    return found


def rows_of(
    question: Question, replies: Sequence[Reply], *, weight: float, normalisation: Normalisation
) -> list[dict[str, Any]]:
    """One row per sentence: the answers of TR, TL and fusion, and every probability."""
    found = answers_at(replies, weight=weight, normalisation=normalisation)
    n_unknown = {
        f"unknown words {role}": [len(words_unknown(words)) for each in replies for words in each.role(role).words]
        for role in ROLES
    }
    rows = []
    for index, text in enumerate(question.texts):
        row: dict[str, Any] = {"text": text}
        row |= {name: question.labels[int(answer.best[index])] for name, answer in found.items()}
        for name, answer in found.items():
            of_text = zip(question.labels, answer.values[index], strict=True)
            row |= {f"P {name} {label}": float(p) for label, p in of_text}
        row |= {name: counts[index] for name, counts in n_unknown.items() if any(counts)}
        rows.append(row | {"w": weight})
    return rows
