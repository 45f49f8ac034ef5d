"""The numbers that a sentence states, read back out of it, so that its English may change and its numbers may not."""

from __future__ import annotations

import re

__all__ = ["after", "assert_well_formed", "numbers"]

_NUMBER = re.compile(r"(?<![\w.])([+−-]?)(\d{1,3}(?:,\d{3})+(?!\d)|\d+)(\.\d+)?(e[+-]?\d+)?", re.IGNORECASE)


def numbers(sentence: str) -> list[float]:
    """Every number of a sentence, in order, as it is written: percent are percent, a minus sign counts.

    Addresses are left out. Names with digits (``m-1``) would be numbers too, so give models names without any.

    >>> numbers("**62.5 %** (+1.2 to −0.3) at step 1,000, p = 5e-05")
    [62.5, 1.2, -0.3, 1000.0, 5e-05]
    """
    text = re.sub(r"https?://\S+|\[arXiv [^\]]*\]", "", sentence.replace("\\", "").replace("*", ""))
    return [
        float(f"{sign.replace('−', '-')}{whole.replace(',', '')}{rest}{exponent}")
        for sign, whole, rest, exponent in _NUMBER.findall(text)
    ]


def after(sentence: str, word: str, n: int = 1) -> list[float]:
    """The n numbers that follow the first place of a word in a sentence.

    >>> after("TR **61.0 %** (58.0 to 64.0 %), TL **83.0 %**", "TL")
    [83.0]
    """
    plain = sentence.replace("\\", "").replace("*", "")
    assert word in plain, f"{word!r} is not in {plain!r}"
    return numbers(plain.partition(word)[2])[:n]


def assert_well_formed(text: str) -> None:
    """Refuses what joining parts of sentences leaves: glued words, double spaces, small letters after a full stop."""
    plain = re.sub(r"\]\([^)]*\)", "]", text.replace("\\", "").replace("*", ""))
    assert plain.endswith(".") and plain[0].isupper(), plain
    for fault in (r"  ", r"\. [a-z]", r"\)(?![\s,;:.]|$)", r"[,;:](?![\s\d])", r"\s[,;.]", r"%\w"):
        assert not re.search(fault, plain), f"{fault!r} in {plain!r}"
