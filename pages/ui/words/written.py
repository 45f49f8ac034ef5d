"""How numbers and other people's text are written: percent, steps, tokens, durations, escaped names.

It changes display units only; nothing here computes a measure. Names, labels and messages come from users, files and
links: ``legible`` makes their characters harmless, and ``plain`` does so for text that Streamlit reads as Markdown.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote

import streamlit as st

from icl_core.errors import ObservatoryError
from icl_core.records import ABILITY_BY_SETTING, CheckpointRef, LabelSetting
from icl_core.registry.families import checkpoint_words
from icl_core.registry.tasks import FILE_PREFIX, path_and_labels
from icl_core.settings import uploads_path

__all__ = [
    "PageEndsError",
    "checkpoint_name",
    "count",
    "decimal",
    "duration",
    "end_page",
    "in_percent",
    "in_points",
    "interval",
    "joined",
    "legible",
    "p_value",
    "percent",
    "plain",
    "points",
    "reported",
    "rounded",
    "setting_title",
    "short_number",
    "signed",
    "signed_number",
    "task_title",
    "when",
]

_LABELS_READ = {"ask": "", "merge-labels": " (labels joined)", "keep-labels": " (labels as written)"}
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|~>$:<&])")
_REPLACED = re.compile(r"(?<!\S)(?:<->|->|<-|--|>=|<=|~=)(?!\S)|:(?:m(?=aterial/)|s(?=treamlit:))")
"""What Streamlit turns into arrows, dashes and icons even if it is escaped, unless an invisible joiner breaks it."""
_HARMLESS = "\u200c\u200d"
"""Invisible characters that scripts and emojis need."""
_ISOLATES = "\u2068\u2069"
"""Around a text whose direction of writing must not reach the sentence around it."""
_RIGHT_TO_LEFT = frozenset(("R", "AL"))
MOST_CHARACTERS = 900
"""Longest text of a user that is shown; a link can hold megabytes."""


def legible(text: str) -> str:
    r"""Text of a user, a file or a link on one line; no character in it acts on the text around it.

    Control characters, lone surrogates and characters that turn the direction of writing become ``\ufffd``; a text
    with letters that are written from right to left is isolated, so that the sentence around it keeps its order; a
    very long one is cut in its middle. What is shown already stays as it is.

    >>> legible("a\u202eb\x00 c\nd")
    'a\ufffdb\ufffd c d'
    """
    cut = text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS // 2]} … {text[-MOST_CHARACTERS // 2 :]}"
    one_line = " ".join(cut.split())
    kept = _HARMLESS + _ISOLATES if one_line.count(_ISOLATES[0]) == one_line.count(_ISOLATES[1]) else _HARMLESS
    seen = "".join("\ufffd" if _acts(character) and character not in kept else character for character in one_line)
    turned = not seen.isascii() and any(unicodedata.bidirectional(c) in _RIGHT_TO_LEFT for c in seen)
    return seen.join(_ISOLATES) if turned and not seen.startswith(_ISOLATES[0]) else seen


def _acts(character: str) -> bool:
    """Whether a character is itself unseen but changes what is seen: control, direction, half of a pair, unassigned."""
    return not character.isprintable() and unicodedata.category(character) != "Zs"


def plain(text: str) -> str:
    r"""``legible``, written so that Markdown shows it letter by letter; an address in it is a link to itself.

    >>> plain("*a* <b>")
    '\\*a\\* \\<b\\>'
    """
    return _MARKDOWN.sub(r"\\\1", _REPLACED.sub(lambda found: "\u2060".join(found.group()), legible(text)))


def rounded(number: float, digits: int = 1) -> float:
    """A number with so many decimals, ties away from 0, as a browser shows it in a table or a chart.

    Python's own formatting takes ties to the even digit (68.25 gives 68.2), JavaScript's away from 0 (ECMA-262,
    Number.prototype.toFixed). Sentences follow JavaScript, and all three start from the same unrounded number. A
    number below 0 that rounds to 0 keeps its sign.

    >>> rounded(68.25), rounded(-68.25), rounded(-0.04)
    (68.3, -68.3, -0.0)
    """
    return float(Decimal(number).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


def in_percent(fraction: float) -> float:
    """A fraction in percent as a number for a table, not rounded; what differs from 0 by a rounding error is 0."""
    in_hundredths = 100 * fraction
    return in_hundredths if abs(in_hundredths) > 1e-9 else 0.0


in_points = in_percent
"""The same of a change of a fraction, in percentage points."""


def percent(fraction: float, digits: int = 1) -> str:
    """A fraction in percent with one decimal, or as many as asked for: ``62.5 %``."""
    return f"{decimal(in_percent(fraction), digits)} %"


def decimal(number: float, digits: int) -> str:
    """A number with so many decimals and, if it is below 0 when rounded, a minus sign: ``−0.71``."""
    return f"{rounded(number, digits) or 0.0:.{digits}f}".replace("-", "−")


def signed_number(number: float, digits: int) -> str:
    """A change with its sign and so many decimals: ``−0.71``, ``+0.50``; a loss that rounds to 0 is ``−0.00``.

    Charts and tables of the browser write it so as well (d3-format, C's printf).
    """
    return f"{rounded(number, digits):+.{digits}f}".replace("-", "−")


def signed(fraction: float) -> str:
    """A change of a fraction in percentage points with its sign, without the word: ``+6.2``."""
    return signed_number(in_points(fraction), 1)


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
    """A checkpoint in words: its number with what is counted, such as step 1,000 or data chunk 356, else its name."""
    return legible(checkpoint_words(ref))


def task_title(name: str) -> str:
    """A task's name as shown: for a file of the user its name, and how its labels are read if that was chosen."""
    if not name.startswith(FILE_PREFIX):
        return legible(name)
    path, labels = path_and_labels(name)
    file = path.rsplit("/", 1)[-1]
    return legible(unquote(file) if Path(path).parent == uploads_path() else file) + _LABELS_READ[labels]


def setting_title(setting: LabelSetting) -> str:
    """A label setting with the ability that it measures: ``random (TR)``."""
    return f"{setting} ({ABILITY_BY_SETTING[setting]})"


def joined(names: Sequence[str], *, most: int = 3) -> str:
    """The first names, and how many more there are: ``a, b, c and 4 more``."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"


class PageEndsError(Exception):
    """The page has said what it has to say."""


def end_page() -> NoReturn:
    """Ends the page but not its frame; after ``st.stop`` nothing more could be drawn.

    Raises:
        PageEndsError: always.
    """
    raise PageEndsError


@contextmanager
def reported(end: Callable[[], NoReturn] = end_page) -> Iterator[None]:
    """Shows a typed error as its own sentence and ends the page there.

    Args:
        end: how it ends; a fragment passes ``st.stop``, since it runs again without its page.
    """
    try:
        yield
        return
    except ObservatoryError as error:
        st.error(plain(str(error)))
    end()
