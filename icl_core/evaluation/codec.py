"""Strict text forms of frozen values: plain JSON to dataclasses, and a cell's record to self-checking text and back.

It knows no files and no database. The text of a record is canonical JSON that carries its whole key, its
numbers as base64 of little-endian arrays, and the sha256 of all that; nothing is ever pickled.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import json
import types
import typing
from collections.abc import Callable
from typing import Any, Literal, TypeVar, cast

import numpy as np
import numpy.typing as npt

from icl_core.errors import StoreError
from icl_core.records import CellKey, CellRecord, CellSpec, canonical_json, digest_of, plain_fields

__all__ = ["check_record", "decode_record", "encode_record", "from_plain", "payload_sha256"]

T = TypeVar("T")
_Reader = Callable[[object], Any]

_FORMAT = 1
_HEAD, _MIDDLE, _TAIL = '{"payload":', ',"sha256":"', '"}'
_SHARED_FIELDS = (
    "dtype",
    "attention",
    "task",
    "label_word_set",
    "template",
    "label_setting",
    "n_shots",
    "sampling",
    "demo_seed",
)


def from_plain(cls: type[T], plain: object) -> T:
    """A dataclass from what ``json.loads`` gives for its ``asdict``; exact types, nothing unknown, nothing missing.

    Fields with a default may be left out. Lists become tuples.

    Raises:
        ValueError: naming the field that is unknown, missing or of another type.

    >>> from icl_core.records import Example
    >>> from_plain(Example, {"row_id": "test:1", "text": "fine", "gold": 0}).gold
    0
    """
    return cast(T, _reader(cast(Any, cls))(plain))


@functools.cache
def _reader(hint: Any) -> _Reader:
    """The function that reads one kind of value; made once for each type."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return _dataclass_reader(cast(type, hint))
    if origin is Literal:
        return functools.partial(_read_choice, choices=arguments)
    if origin is tuple:
        return _tuple_reader(arguments)
    if origin in (typing.Union, types.UnionType):
        inner = _reader(next(a for a in arguments if a is not types.NoneType))
        return lambda value: None if value is None else inner(value)
    return functools.partial(_read_exactly, kind=hint)


def _read_exactly(value: object, *, kind: type) -> object:
    if type(value) is not kind:
        raise ValueError(f"{value!r} is not of type {kind.__name__}")
    return value


def _read_choice(value: object, *, choices: tuple[object, ...]) -> object:
    if value not in choices:
        raise ValueError(f"{value!r} is none of {', '.join(map(str, choices))}")
    return value


def _tuple_reader(arguments: tuple[Any, ...]) -> _Reader:
    if arguments[-1] is Ellipsis:
        item = _reader(arguments[0])
        return lambda value: tuple(item(v) for v in _read_exactly(value, kind=list))  # type: ignore[attr-defined]
    items = [_reader(a) for a in arguments]

    def read(value: object) -> tuple[Any, ...]:
        values = cast(list[object], _read_exactly(value, kind=list))
        if len(values) != len(items):
            raise ValueError(f"{values!r} does not have {len(items)} entries")
        return tuple(item(v) for item, v in zip(items, values, strict=True))

    return read


def _dataclass_reader(cls: type) -> _Reader:
    hints = typing.get_type_hints(cls)
    readers = {f.name: _reader(hints[f.name]) for f in dataclasses.fields(cls)}
    required = {f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING}

    def read(value: object) -> Any:
        plain = cast(dict[str, object], _read_exactly(value, kind=dict))
        if unknown := sorted(set(plain) - set(readers)):
            raise ValueError(f"unknown field {', '.join(unknown)} (known: {', '.join(readers)})")
        if missing := sorted(required - set(plain)):
            raise ValueError(f"field {', '.join(missing)} is missing")
        values = {}
        for name, entry in plain.items():
            try:
                values[name] = readers[name](entry)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        return cls(**values)

    return read


def check_record(record: CellRecord) -> None:
    """Refuses a record whose parts contradict each other.

    Raises:
        StoreError: shapes differ, a number is not finite, a gold index has no choice, rows repeat, or key and
            spec (or key and rows) do not belong together.
    """
    n_examples, n_choices = len(record.row_ids), len(record.choices)
    shapes: dict[str, tuple[npt.NDArray[Any], tuple[int, ...]]] = {
        "gold": (record.gold, (n_examples,)),
        "loglikelihoods": (record.loglikelihoods, (n_examples, n_choices)),
        "n_tokens": (record.n_tokens, (n_examples, n_choices)),
        "content_free": (record.content_free, (n_choices,)),
        "content_free_n_tokens": (record.content_free_n_tokens, (n_choices,)),
    }
    faults = [f"{name} has shape {a.shape}, not {shape}" for name, (a, shape) in shapes.items() if a.shape != shape]
    faults += [
        f"{name} differs between spec and key"
        for name in _SHARED_FIELDS
        if getattr(record.spec, name) != getattr(record.key, name)
    ]
    if not faults:
        faults = _value_faults(record)
    if faults:
        raise StoreError(f"The result of {_words(record.spec)} cannot be stored: {'; '.join(faults)}.")


def _value_faults(record: CellRecord) -> list[str]:
    """What is wrong with the numbers of a record whose shapes agree."""
    faults = []
    if not record.row_ids or not record.choices:
        faults.append("it has no rows or no choices")
    elif not ((record.gold >= 0) & (record.gold < len(record.choices))).all():
        faults.append("a gold label has no choice")
    if not (np.isfinite(record.loglikelihoods).all() and np.isfinite(record.content_free).all()):
        faults.append("a log-likelihood is not finite")
    if len(set(record.row_ids)) != len(record.row_ids):
        faults.append("a row occurs twice")
    if digest_of(list(record.row_ids)) != record.key.row_ids_sha256:
        faults.append("the rows are not those of the key")
    return faults


def _words(spec: CellSpec) -> str:
    return (
        f"{spec.checkpoint.model} {spec.checkpoint.revision}, {spec.task} {spec.split}, {spec.label_setting}, "
        f"seed {spec.demo_seed}"
    )


def encode_record(record: CellRecord) -> str:
    """The text of a record: ``{"payload":{...},"sha256":"..."}``, equal for equal records.

    Arrays keep their exact bits: float32 as it is, counts and indices in the smallest unsigned type.
    """
    payload = canonical_json(
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
    return f"{_HEAD}{payload}{_MIDDLE}{_sha256(payload)}{_TAIL}"


def payload_sha256(record: CellRecord) -> str:
    """The sha256 inside the text of a record."""
    return encode_record(record)[-64 - len(_TAIL) : -len(_TAIL)]


def decode_record(text: str, *, digest: str, spec: CellSpec | None = None) -> CellRecord:
    """The record in a text, after both of its seals were checked.

    Args:
        text: what ``encode_record`` gave.
        digest: of the key that was asked for; a record of another key is refused.
        spec: what was asked, where that differs from what was asked when the record was made (two names for
            the same weights); None keeps the record's own.

    Raises:
        StoreError: the text is cut, altered, of another key or of another format.
    """
    try:
        payload = _checked_payload(text)
        plain = json.loads(payload)
        if plain.pop("format", None) != _FORMAT:
            raise ValueError("it was written in another format")
        if (found := digest_of(plain["key"])) != digest:
            raise ValueError(f"it holds the key {found[:12]}")
        return _record_from(plain, spec)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"Stored cell {digest[:12]} is damaged ({error}); `python -m icl_core results --verify` lists what is "
            "damaged and `--rebuild` sets it aside so that it can be computed again."
        ) from error


def _checked_payload(text: str) -> str:
    seal = len(text) - 64 - len(_TAIL)
    middle = seal - len(_MIDDLE)
    framed = text.startswith(_HEAD) and text.endswith(_TAIL) and text[max(middle, 0) : max(seal, 0)] == _MIDDLE
    if not framed:
        raise ValueError("the text is cut or is no record")
    payload = text[len(_HEAD) : middle]
    if _sha256(payload) != text[seal : seal + 64]:
        raise ValueError("its sha256 does not fit its content")
    return payload


def _record_from(plain: dict[str, Any], spec: CellSpec | None) -> CellRecord:
    return CellRecord(
        spec=spec or from_plain(CellSpec, plain["spec"]),
        key=from_plain(CellKey, plain["key"]),
        row_ids=tuple(plain["row_ids"]),
        gold=_unpack(plain["gold"]).astype(np.int64),
        loglikelihoods=_unpack(plain["loglikelihoods"]).astype(np.float32),
        n_tokens=_unpack(plain["n_tokens"]).astype(np.int64),
        content_free=_unpack(plain["content_free"]).astype(np.float32),
        content_free_n_tokens=_unpack(plain["content_free_n_tokens"]).astype(np.int64),
        choices=tuple(plain["choices"]),
        demonstration_ids=tuple(plain["demonstration_ids"]),
        demonstration_labels=tuple(plain["demonstration_labels"]),
        context_cut=plain["context_cut"],
        n_shortened=plain["n_shortened"],
        provenance=plain["provenance"],
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("ascii", "backslashreplace")).hexdigest()


def _pack_counts(array: npt.NDArray[np.int64]) -> dict[str, object]:
    """Non-negative integers in the smallest unsigned type that holds them."""
    highest = int(array.max(initial=0))
    if int(array.min(initial=0)) < 0:
        raise StoreError("A count or an index of the result is negative, so it is not stored.")
    return _pack(array.astype("|u1" if highest < 2**8 else "<u2" if highest < 2**16 else "<u4"))


def _pack(array: npt.NDArray[Any]) -> dict[str, object]:
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
    return {"dtype": array.dtype.str, "shape": list(array.shape), "data": data}


def _unpack(plain: dict[str, Any]) -> npt.NDArray[Any]:
    if plain["dtype"] not in ("<f4", "|u1", "<u2", "<u4"):
        raise ValueError(f"array type {plain['dtype']!r} is not known")
    return np.frombuffer(base64.b64decode(plain["data"]), dtype=plain["dtype"]).reshape(plain["shape"])
