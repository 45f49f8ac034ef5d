"""How numbers and other people's text are written: percent, steps, tokens, bytes, durations, escaped names.

It changes display units only; nothing here computes a measure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal

import streamlit as st

from icl_core.errors import ObservatoryError
from icl_core.records import CheckpointRef

__all__ = [
    "byte_count",
    "checkpoint_name",
    "count",
    "duration",
    "in_percent",
    "in_points",
    "interval",
    "joined",
    "p_value",
    "percent",
    "plain",
    "points",
    "reported",
    "rounded",
    "short_number",
    "signed",
    "task_title",
    "when",
]

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|~>$:<&])")


def plain(text: str) -> str:
    r"""Text of a user or a file, written so that Markdown shows it letter by letter.

    >>> plain("*a* <b>")
    '\\*a\\* \\<b\\>'
    """
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def rounded(number: float, digits: int = 1) -> float:
    """A number with so many decimals, ties away from 0: what a browser shows of it in a table or a chart.

    Python's own formatting takes ties to the even digit (68.25 gives 68.2), JavaScript's away from 0 (ECMA-262,
    Number.prototype.toFixed). Sentences follow JavaScript, and all three start from the same unrounded number.

    >>> rounded(68.25), rounded(-68.25)
    (68.3, -68.3)
    """
    return float(Decimal(number).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


def in_percent(fraction: float) -> float:
    """A fraction in percent as a number for a table, not rounded; rounding errors around 0 are 0."""
    in_hundredths = 100 * fraction
    return in_hundredths if abs(in_hundredths) > 1e-9 else 0.0


in_points = in_percent
"""The same of a change of a fraction, in percentage points."""


def percent(fraction: float, digits: int = 1) -> str:
    """A fraction in percent with one decimal, or as many as asked for: ``62.5 %``."""
    return f"{rounded(in_percent(fraction), digits):.{digits}f} %"


def signed(fraction: float) -> str:
    """A change of a fraction in percentage points with its sign, without the word: ``+6.2``."""
    return f"{rounded(in_points(fraction)):+.1f}".replace("-", "−")


def points(fraction: float) -> str:
    """A change of a fraction in percentage points with its sign: ``+6.2 points``."""
    return f"{signed(fraction)} points"


def interval(low: float, high: float) -> str:
    """Two fractions as a range in percent: ``58.1 to 66.0 %``."""
    return f"{percent(low).removesuffix(' %')} to {percent(high)}"


def p_value(value: float) -> str:
    """A p-value to two significant digits: ``p = 0.021``."""
    return f"p = {value:.2g}"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: ``1 cell``, ``4,080 cells``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def short_number(number: float) -> str:
    """A large number in k, M, B or T: ``1k``, ``2.1 B``.

    >>> short_number(1000), short_number(2_097_152_000), short_number(110)
    ('1k', '2.1 B', '110')
    """
    for size, unit in ((1e12, " T"), (1e9, " B"), (1e6, " M"), (1e3, "k")):
        if abs(number) >= size * 0.9995:
            return f"{number / size:.1f}".removesuffix(".0") + unit
    return f"{number:.3g}"


def byte_count(number: float) -> str:
    """Bytes in a fitting unit: ``410 MB``."""
    for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f} B"


def duration(seconds: float) -> str:
    """Seconds in words: ``40 s``, ``3 min``, ``2 h 10 min``.

    >>> duration(0.4), duration(95), duration(7800)
    ('under 1 s', '1 min 35 s', '2 h 10 min')
    """
    if not math.isfinite(seconds):
        return "unknown"
    whole = round(seconds)
    if whole < 1:
        return "under 1 s"
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    minutes = round(whole / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{hours / 24:.0f} days"


def when(timestamp: float) -> str:
    """Seconds since 1970 as local date and time."""
    return datetime.fromtimestamp(timestamp, UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def checkpoint_name(ref: CheckpointRef) -> str:
    """A checkpoint in words: its step where it has one, else its revision."""
    return f"step {ref.step:,}" if ref.step is not None else ref.weight_file or ref.revision


def task_title(name: str) -> str:
    """A task's name as shown: the file name for a file of one's own."""
    return name.rsplit("/", 1)[-1] if name.startswith("file:") else name


def joined(names: Sequence[str], *, most: int = 3) -> str:
    """Names in a row, the rest as a number: ``a, b, c and 4 more``."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"


@contextmanager
def reported() -> Iterator[None]:
    """Shows a typed error as its own sentence and ends the page's run there."""
    try:
        yield
    except ObservatoryError as error:
        st.error(plain(str(error)))
        st.stop()
