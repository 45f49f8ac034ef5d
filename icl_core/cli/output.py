"""Output of commands: JSON or tables on standard output, sentences on progress and errors on standard error.

It knows no command.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from icl_core.records import shown

__all__ = [
    "Command",
    "OneSentenceParser",
    "ProgressLines",
    "complain",
    "emit",
    "folder",
    "fraction",
    "human_seconds",
    "table",
    "whole_number",
]

Command = Callable[[argparse.Namespace], int]
"""A command's function: takes its options and gives the exit code."""


class OneSentenceParser(argparse.ArgumentParser):
    """A parser whose errors are one sentence and exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Ends the program with the message, cut if the user's words make it too long."""
        self.exit(2, f"error: {shown(message, most=600)} (python -m {self.prog.replace('python -m ', '')} --help)\n")


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """The reader of an argument: a whole number from ``least`` to ``most``, both included."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{shown(text, most=40)!r} is not a whole number from {least} to {most}")
        return value

    return read


def fraction(text: str) -> float:
    """The reader of an argument from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{shown(text, most=40)!r} is not a number from 0 to 1")
    return value


def folder(text: str) -> Path:
    """The reader of an argument that names a folder, made absolute; "" is refused: it would be the current folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the name of the folder is empty; write . for the current one")
    try:
        return Path(text).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{shown(text)!r} cannot be a folder: {shown(error)}") from error


def emit(options: argparse.Namespace, data: Any, text: str) -> None:
    """Writes the data as JSON if asked for, else the text."""
    sys.stdout.write((json.dumps(data, ensure_ascii=False, indent=1) if options.json else text) + "\n")


def complain(sentence: str) -> None:
    """Writes one line to standard error."""
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns aligned with spaces; numbers are aligned to the right.

    >>> print(table(("name", "n"), [("a", 1), ("bcdef", 10)]))
    name    n
    a       1
    bcdef  10
    """
    texts = [list(header), *([("" if cell is None else str(cell)) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(header))]
    right = [
        bool(rows) and all(isinstance(row[column], int | float | None) for row in rows) for column in range(len(header))
    ]
    lines = []
    for row in texts:
        cells = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def human_seconds(seconds: float) -> str:
    """A duration in words.

    >>> human_seconds(42.4), human_seconds(150), human_seconds(9000)
    ('42 s', '2.5 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.3g} min" if seconds < 6000 else f"{seconds / 3600:.3g} h"


class ProgressLines:
    """A line of progress on standard error: rewritten in place on a terminal, otherwise printed every few seconds."""

    def __init__(self, *, every_seconds: float = 5.0) -> None:
        self._in_place = sys.stderr.isatty()
        self._every = 0.1 if self._in_place else every_seconds
        self._last = 0.0

    def show(self, line: str) -> None:
        """Shows the line unless one was shown just now."""
        now = time.monotonic()
        if now - self._last < self._every:
            return
        self._last = now
        sys.stderr.write(f"\r\x1b[2K{line}" if self._in_place else f"{line}\n")
        sys.stderr.flush()

    def end(self, line: str) -> None:
        """Shows the last line in any case."""
        sys.stderr.write(("\r\x1b[2K" if self._in_place else "") + line + "\n")
        sys.stderr.flush()
