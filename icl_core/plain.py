"""Strict reading of plain JSON into frozen values: exact types, nothing unknown, nothing missing.

It knows no files and judges no values: the caller checks whether a number is in range. Every value that a person, a
file or the index gives as JSON is read here; ``records.canonical_json`` writes it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Callable
from typing import Any, Literal, TypeVar, cast

__all__ = ["from_json", "from_plain", "without_repeats"]

T = TypeVar("T")
_Reader = Callable[[object], Any]


def from_json(cls: type[T], text: str | bytes) -> T:
    """A dataclass from the JSON text of its ``asdict``; see ``from_plain``.

    Raises:
        ValueError: the text is not JSON (which has no NaN), names a field twice, or is nested too deep; or as
            ``from_plain``.
    """
    try:
        plain = json.loads(text, object_pairs_hook=without_repeats, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("its lists are nested too deep") from None
    return from_plain(cls, plain)


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these pairs, for ``json.loads``: if a name comes twice, readers differ in which value they take.

    Raises:
        ValueError: a name is repeated.
    """
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a name is repeated")
    return value


def _no_number(word: str) -> object:
    raise ValueError(f"{word} is not a number in JSON")


def from_plain(cls: type[T], plain: object) -> T:
    """A dataclass from what ``json.loads`` gives for its ``asdict``; exact types, nothing unknown, nothing missing.

    Fields with a default may be left out. Lists become tuples. A whole number may stand for a float: JSON makes no
    difference between them.

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
    return _read_float if hint is float else functools.partial(_read_exactly, kind=hint)


def _read_exactly(value: object, *, kind: type) -> object:
    if type(value) is not kind:
        raise ValueError(f"{value!r} is not of type {kind.__name__}")
    return value


def _read_float(value: object) -> float:
    if type(value) is not float and type(value) is not int:
        raise ValueError(f"{value!r} is not of type float")
    try:
        return float(value)
    except OverflowError:
        raise ValueError("a number is too large") from None


def _read_choice(value: object, *, choices: tuple[object, ...]) -> object:
    if value not in choices:
        raise ValueError(f"{value!r} is not one of {', '.join(map(str, choices))}")
    return value


def _tuple_reader(arguments: tuple[Any, ...]) -> _Reader:
    if arguments[-1] is Ellipsis:
        item = _reader(arguments[0])
        return lambda value: tuple(item(v) for v in _read_exactly(value, kind=list))  # type: ignore[attr-defined]
    items = [_reader(a) for a in arguments]

    def read(value: object) -> tuple[Any, ...]:
        values = cast("list[object]", _read_exactly(value, kind=list))
        if len(values) != len(items):
            raise ValueError(f"{values!r} does not have {len(items)} entries")
        return tuple(item(v) for item, v in zip(items, values, strict=True))

    return read


def _dataclass_reader(cls: type) -> _Reader:
    hints = typing.get_type_hints(cls)
    readers = {f.name: _reader(hints[f.name]) for f in dataclasses.fields(cls)}
    required = {f.name for f in dataclasses.fields(cls) if f.default is f.default_factory is dataclasses.MISSING}

    def read(value: object) -> Any:
        plain = cast("dict[str, object]", _read_exactly(value, kind=dict))
        if not required <= plain.keys() <= readers.keys():
            if unknown := sorted(plain.keys() - readers.keys()):
                raise ValueError(f"unknown field {', '.join(unknown)} (known: {', '.join(readers)})")
            raise ValueError(f"field {', '.join(sorted(required - plain.keys()))} is missing")
        values = {}
        try:
            for name, entry in plain.items():
                values[name] = readers[name](entry)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        return cls(**values)

    return read
