"""Draws demonstrations, random labels and abstract symbols, each from a seeded stream of its own.

It knows neither texts nor prompts. Each stream is keyed by the sha256 of (task name, stream name, seed), so a
draw does not depend on other draws, on their order, on ``PYTHONHASHSEED`` or on the platform.
Source: label settings of arXiv 2305.09731, section 3.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Sequence

import numpy as np

from icl_core.errors import StudyError
from icl_core.records import Alphabet, Sampling, canonical_json

__all__ = ["SYMBOLS", "abstract_symbols", "choose_demonstrations", "random_label_indices"]

SYMBOLS: tuple[str, ...] = ("@", "#", "$", "%", "*", "^", "{", "}")


def _stream(task_name: str, stream_name: str, demo_seed: int) -> np.random.Generator:
    key = hashlib.sha256(canonical_json([task_name, stream_name, demo_seed]).encode("ascii")).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(key, "big")))


def choose_demonstrations(
    task_name: str, pool_labels: Sequence[int], *, n_shots: int, demo_seed: int, sampling: Sampling = "uniform"
) -> tuple[int, ...]:
    """Positions of the demonstrations in the pool, without replacement, in the order of the prompt.

    Args:
        task_name: keys the stream.
        pool_labels: (n_pool,) label ids of the demonstration pool.
        n_shots: 0 to n_pool.
        demo_seed: keys the stream.
        sampling: ``uniform``, where fewer shots are a prefix of more; or ``balanced``, where the counts of
            the labels that occur in the pool differ by at most one.

    Raises:
        StudyError: the pool, or for balanced sampling one of its labels, has too few rows.
    """
    labels = np.asarray(pool_labels, dtype=np.int64)
    if not 0 <= n_shots <= len(labels):
        raise StudyError(
            f"Task {task_name} has {len(labels)} rows for demonstrations, fewer than the {n_shots} shots asked."
        )
    generator = _stream(task_name, "demonstrations", demo_seed)
    order = generator.permutation(len(labels))
    if sampling == "balanced":
        order = _balanced(task_name, order, labels=labels, n_shots=n_shots, generator=generator)
    return tuple(order[:n_shots].tolist())


def _balanced(
    task_name: str, order: np.ndarray, *, labels: np.ndarray, n_shots: int, generator: np.random.Generator
) -> np.ndarray:
    present = np.unique(labels)
    share, extra = divmod(n_shots, len(present)) if len(present) else (0, 0)
    favoured = set(generator.permutation(present)[:extra].tolist())
    chosen = []
    for label in present.tolist():
        quota = share + (label in favoured)
        rows = order[labels[order] == label][:quota]
        if len(rows) < quota:
            raise StudyError(
                f"Task {task_name} has {len(rows)} rows of label {label} for demonstrations but balanced sampling "
                f"of {n_shots} shots needs {quota}; ask fewer shots or uniform sampling."
            )
        chosen.append(rows)
    return generator.permutation(np.concatenate([*chosen, order[:0]]))


def random_label_indices(task_name: str, *, n_labels: int, n_shots: int, demo_seed: int) -> tuple[int, ...]:
    """(n_shots,) label ids drawn uniformly and independently; gold labels play no part.

    Fewer shots are a prefix of more.
    """
    return tuple(_stream(task_name, "random labels", demo_seed).integers(n_labels, size=n_shots).tolist())


def abstract_symbols(
    task_name: str, *, n_labels: int, alphabet: Alphabet = "symbols", demo_seed: int
) -> tuple[str, ...]:
    """(n_labels,) distinct symbols, by label id.

    Alphabets: symbols ``@ # $ % * ^ { }``, numbers ``0`` to ``n_labels - 1``, letters ``A`` to ``Z``.

    Raises:
        StudyError: the alphabet has fewer symbols than there are labels.
    """
    symbols = {
        "symbols": SYMBOLS,
        "numbers": tuple(str(number) for number in range(n_labels)),
        "letters": tuple(string.ascii_uppercase),
    }[alphabet]
    if n_labels > len(symbols):
        raise StudyError(
            f"Task {task_name} has {n_labels} labels but the alphabet {alphabet} has {len(symbols)} symbols; "
            "choose the alphabet numbers or a task with fewer labels."
        )
    order = _stream(task_name, "abstract mapping", demo_seed).permutation(len(symbols))
    return tuple(symbols[index] for index in order[:n_labels].tolist())
