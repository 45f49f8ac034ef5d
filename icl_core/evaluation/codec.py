"""Checks of a record of results, and the text of which its seal is taken.

It knows no files and no database. The text of a record is canonical JSON with the whole key, and with numbers as base64
of little-endian arrays; its sha256 is the record's seal. Nothing is ever pickled.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import math
import operator
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from icl_core.errors import StoreError
from icl_core.plain import from_plain
from icl_core.records import (
    FIELDS_IN_KEY,
    MAX_NAME_BYTES,
    CellKey,
    CellRecord,
    CellSpec,
    CheckpointRef,
    canonical_json,
    digest_of,
    fields_in_key,
    plain_fields,
    shown,
    text_fault,
)

__all__ = [
    "TEXT_LISTS",
    "NewerFormatError",
    "check_record",
    "differing_fields",
    "encode_record",
    "payload_sha256",
    "read_key",
    "spec_faults",
]


TEXT_LISTS = ("row_ids", "choices", "demonstration_ids", "demonstration_labels")
"""Fields of a record that hold texts."""
_FORMAT = 1
_shared_of = operator.attrgetter(*FIELDS_IN_KEY)
_VARYING = (("commit", ',"context_length":'), ("demo_seed", ',"dtype":'), ("weight_files", "}"))
"""The fields that differ between the keys of many cells, in the order of canonical JSON, with the text that follows
each there. No text inside a key can look like them, since quotation marks in it are escaped."""
_AT_COMMIT, _AT_SEED, _AT_WEIGHTS = (list(CellKey.__dataclass_fields__).index(name) for name, _ in _VARYING)
_LAB_FAMILY = "lab"
_MOST_TEXT = {"location": 8 * MAX_NAME_BYTES, "template_text": 8 * MAX_NAME_BYTES}
"""Largest number of bytes of a field that is longer than a name: mixed parameters hold the paths of both parents."""
_BOUNDS = {
    "step": 2**62,
    "tokens_seen": 2**62,
    "demo_seed": 2**32 - 1,
    "n_shots": 10_000,
    "n_examples": 10_000_000,
    "context_length": 2**40,
    "task_version": 2**31,
    "scoring_version": 2**31,
}
"""Highest value of each number in spec and key; the lowest is 0."""
_HIGHEST_NATS, _LOWEST_NATS = 1e-3, -1e7
"""Bounds of a log-likelihood: it is at most 0, up to rounding, and no float type of logits reaches the lowest."""
_MOST_TOKENS = 2**31


class NewerFormatError(StoreError):
    """A file of results has the layout of a later version of the project."""


def read_key(text: str) -> CellKey:
    """The key from its canonical JSON; what the keys of many cells share is read once.

    Raises:
        ValueError: as ``from_plain``.
    """
    parts = []
    rest = text
    for name, end in _VARYING:
        before, _, rest = rest.partition(f'"{name}":')
        value, _, rest = rest.partition(end)
        parts += [before, value]
    if rest or not parts[3].isdecimal() or len(parts[3]) > 10:
        return from_plain(CellKey, json.loads(text))
    values = list(_shared_values(parts[0], parts[2], parts[4]))
    values[_AT_COMMIT] = _one_value("commit", parts[1])
    values[_AT_SEED] = int(parts[3])
    values[_AT_WEIGHTS] = _one_value("weight_files", parts[5])
    return cast("Callable[..., CellKey]", CellKey)(*values)


@functools.lru_cache(maxsize=16_384)
def _shared_values(before: str, between: str, after: str) -> tuple[Any, ...]:
    """The values of a key's fields, from the parts of its text that do not depend on checkpoint or seed."""
    text = f'{before}"commit":"","context_length":{between}"demo_seed":0,"dtype":{after}"weight_files":[]}}'
    key = from_plain(CellKey, json.loads(text))
    return tuple(getattr(key, name) for name in CellKey.__dataclass_fields__)


@functools.lru_cache(maxsize=16_384)
def _one_value(name: str, text: str) -> Any:
    return from_plain(typing.get_type_hints(CellKey)[name], json.loads(text))


def check_record(record: CellRecord) -> None:
    """The door of the store: refuses a record that contradicts itself or that no computation gives.

    Raises:
        StoreError: shapes differ, a number is impossible, a gold index has no choice, rows repeat, a name is not
            allowed, or key, spec, rows, choices and demonstrations do not belong together.
    """
    if faults := _record_faults(record):
        raise StoreError(f"The result of {_words(record.spec)} cannot be stored: {'; '.join(faults[:3])}.")


def _record_faults(record: CellRecord) -> list[str]:
    faults = [*spec_faults(record.spec), *_field_faults("key", record.key), *_list_faults(record)]
    faults += [f"{name} differs between spec and key" for name in differing_fields(record.spec, record.key)]
    return faults or _shape_faults(record) or [*_value_faults(record), *_prompt_faults(record)]


def differing_fields(spec: CellSpec, key: CellKey) -> tuple[str, ...]:
    """Names of the fields that differ between spec and key; none if the two belong together."""
    if _shared_of(spec) == _shared_of(key):
        return ()  # nearly always, and ten times as fast
    return tuple(name for name in FIELDS_IN_KEY if getattr(spec, name) != getattr(key, name))


def spec_faults(spec: CellSpec) -> list[str]:
    """Why no result can be stored under a spec: empty or forbidden names, numbers out of bounds."""
    required = {"model": spec.checkpoint.model, "revision": spec.checkpoint.revision, "task": spec.task}
    empty = [f"the {name} is empty" for name, text in required.items() if not text]
    return [*empty, *_field_faults("checkpoint", spec.checkpoint), *_field_faults("spec", spec)]


def _field_faults(what: str, held: CheckpointRef | CellSpec | CellKey) -> list[str]:
    """What is wrong with the texts and numbers of a value, by field."""
    faults = []
    for name in held.__dataclass_fields__:
        value = getattr(held, name)
        if isinstance(value, str):
            allowed = "\n\t" if name == "template_text" else ""
            fault = text_fault(value, most=_MOST_TEXT.get(name, MAX_NAME_BYTES), allowed=allowed)
            faults += [f"the {what}'s {name} {fault}"] if fault else []
        elif isinstance(value, int) and not 0 <= value <= _BOUNDS.get(name, 2**62):
            faults.append(f"the {what}'s {name} is {shown(value, most=24)}, not from 0 to {_BOUNDS.get(name, 2**62)}")
        elif isinstance(value, tuple):
            texts = [text for item in value for text in (item if isinstance(item, tuple) else (item,))]
            faults += _text_faults(f"the {what}'s {name}", texts)
    return faults


def _text_faults(what: str, texts: Sequence[object]) -> list[str]:
    if all(type(text) is str for text in texts):
        known = cast(Sequence[str], texts)
        if "".join(known).isprintable() and 4 * max(map(len, known), default=0) <= MAX_NAME_BYTES:
            return []  # nearly always, and ten times as fast
    for text in texts:
        if not isinstance(text, str):
            return [f"{what} holds {shown(repr(text))}, which is not text"]
        if fault := text_fault(text):
            return [f"an entry of {what} {fault}"]
    return []


def _list_faults(record: CellRecord) -> list[str]:
    """What is wrong with the texts, counts and provenance of a record."""
    faults = []
    for name in TEXT_LISTS:
        faults += _text_faults(name, getattr(record, name))
    for name, value in record.provenance.items():
        is_number = type(value) is int or (type(value) is float and math.isfinite(value))
        if not is_number and not (isinstance(value, str) and text_fault(value, allowed="\n\t") is None):
            faults.append(f"the provenance cannot be written as JSON: {shown(name)} is {shown(repr(value))}")
    return faults + [f"the provenance holds a name that {f}" for n in record.provenance if (f := text_fault(n))]


def _shape_faults(record: CellRecord) -> list[str]:
    n_examples, n_choices = len(record.row_ids), len(record.choices)
    shapes: dict[str, tuple[npt.NDArray[Any], tuple[int, ...]]] = {
        "gold": (record.gold, (n_examples,)),
        "loglikelihoods": (record.loglikelihoods, (n_examples, n_choices)),
        "n_tokens": (record.n_tokens, (n_examples, n_choices)),
        "content_free": (record.content_free, (n_choices,)),
        "content_free_n_tokens": (record.content_free_n_tokens, (n_choices,)),
    }
    faults = [f"{name} has shape {a.shape}, not {shape}" for name, (a, shape) in shapes.items() if a.shape != shape]
    return faults or ([] if n_examples and n_choices else ["it has no rows or no choices"])


def _value_faults(record: CellRecord) -> list[str]:
    """What is wrong with the numbers of a record whose shapes agree."""
    faults = []
    if not ((record.gold >= 0) & (record.gold < len(record.choices))).all():
        faults.append("a gold label has no choice")
    scores = np.concatenate([record.loglikelihoods.ravel(), record.content_free])
    if not np.isfinite(scores).all():
        faults.append("a log-likelihood is not finite")
    elif scores.max() > _HIGHEST_NATS or scores.min() < _LOWEST_NATS:
        faults.append(f"a log-likelihood is {scores.max():.4g} or {scores.min():.4g} nats, which no model gives")
    n_tokens = np.concatenate([record.n_tokens.ravel(), record.content_free_n_tokens])
    if n_tokens.min() < 1 or n_tokens.max() > _MOST_TOKENS:
        faults.append("a label has no tokens, a negative number of them, or too many")
    return faults


def _prompt_faults(record: CellRecord) -> list[str]:
    """Contradictions between rows, choices, demonstrations and key."""
    spec, key, choices = record.spec, record.key, record.choices
    shots = len(record.demonstration_ids)
    is_lab = spec.checkpoint.family == _LAB_FAMILY  # vectors, with different demonstrations for each row
    n_inputs = len(record.row_ids) + spec.n_shots
    rules = {
        "a row occurs twice": len(set(record.row_ids)) != len(record.row_ids),
        "the rows are not those of the key": digest_of(list(record.row_ids)) != key.row_ids_sha256,
        "it has more rows than were asked for": len(record.row_ids) > spec.n_examples,
        "a choice occurs twice or is empty": len(set(choices)) != len(choices) or "" in choices,
        "the choices are not the label words of the key": len(choices) != len(key.label_words)
        or (spec.label_setting != "abstract" and choices != key.label_words),
        "the alphabet differs between spec and key": key.alphabet != fields_in_key(spec)["alphabet"],
        "the remap differs between checkpoint and key": key.remap != spec.checkpoint.remap,
        "it does not have the demonstrations that the key names": len(record.demonstration_labels) != shots
        or (shots != spec.n_shots and not (is_lab and shots == 0)),
        "a demonstration occurs twice or has a label that is not a choice": len(set(record.demonstration_ids)) != shots
        or not set(record.demonstration_labels) <= set(choices),
        "the number of shortened texts does not fit the cut": not _cut_fits(record, n_inputs),
    }
    return [fault for fault, is_so in rules.items() if is_so]


def _cut_fits(record: CellRecord, n_inputs: int) -> bool:
    cut, n_shortened = record.context_cut, record.n_shortened
    if type(n_shortened) is not int or type(cut) not in (int, types.NoneType):
        return False
    if cut is None:
        return n_shortened == 0
    return 0 <= cut <= record.key.context_length and 0 < n_shortened <= n_inputs


def _words(spec: CellSpec) -> str:
    checkpoint = f"{shown(spec.checkpoint.model)} {shown(spec.checkpoint.revision)}"
    return f"{checkpoint}, {shown(spec.task)} {spec.split}, {spec.label_setting}, seed {shown(spec.demo_seed)}"


def encode_record(record: CellRecord) -> str:
    """The text of a record of which the seal is taken: canonical JSON, equal for equal records.

    Arrays keep their exact values: float32 unchanged, counts and indices in the smallest unsigned type.
    """
    return canonical_json(
        {
            "format": _FORMAT,
            "spec": plain_fields(record.spec),
            "key": plain_fields(record.key),
            "row_ids": list(record.row_ids),
            "gold": _pack_counts(record.gold),
            "loglikelihoods": _pack(record.loglikelihoods.astype("<f4")),
            "n_tokens": _pack_counts(record.n_tokens),
            "content_free": _pack(record.content_free.astype("<f4")),
            "content_free_n_tokens": _pack_counts(record.content_free_n_tokens),
            "choices": list(record.choices),
            "demonstration_ids": list(record.demonstration_ids),
            "demonstration_labels": list(record.demonstration_labels),
            "context_cut": record.context_cut,
            "n_shortened": record.n_shortened,
            "provenance": dict(record.provenance),
        }
    )


def payload_sha256(record: CellRecord) -> str:
    """The seal of a record: the sha256 of its text."""
    return hashlib.sha256(encode_record(record).encode("ascii")).hexdigest()


def _pack_counts(array: npt.NDArray[np.int64]) -> dict[str, object]:
    """Non-negative integers in the smallest unsigned type that holds them."""
    highest = int(array.max(initial=0))
    if int(array.min(initial=0)) < 0:
        raise StoreError("A count or an index of the result is negative, so it is not stored.")
    return _pack(array.astype("|u1" if highest < 2**8 else "<u2" if highest < 2**16 else "<u4"))


def _pack(array: npt.NDArray[Any]) -> dict[str, object]:
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
    return {"dtype": array.dtype.str, "shape": list(array.shape), "data": data}
