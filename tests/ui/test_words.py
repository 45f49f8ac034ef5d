"""Numbers and other people's text as written."""

from __future__ import annotations

import pytest

from icl_core.records import CheckpointRef
from pages.ui import selection, words


@pytest.mark.parametrize("text", ["*bold*", "<script>", "[x](http://y)", "$a$", ":red[x]", "# h", "`c`", "a_b_"])
def test_markdown_of_others_is_escaped(text: str) -> None:
    escaped = words.plain(text)
    assert escaped.replace("\\", "") == text
    assert all(escaped[i - 1] == "\\" for i, c in enumerate(escaped) if c in "*<[]()$:#`_>")


def test_lines_of_others_become_one_line() -> None:
    assert words.plain("a\n\n# b") == "a \\# b"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (words.percent(0.6254), "62.5 %"),
        (words.points(-0.0621), "−6.2 points"),
        (words.points(-1e-17), "+0.0 points"),
        (str(words.in_points(-1e-17)), "0.0"),
        (str(words.in_points(-0.0621)), "-6.21"),
        (words.p_value(0.02134), "p = 0.021"),
        (words.count(1, "cell"), "1 cell"),
        (words.count(4080, "cell"), "4,080 cells"),
        (words.short_number(143_000), "143k"),
        (words.short_number(2.1e9), "2.1 B"),
        (words.short_number(1210), "1.2k"),
        (words.duration(0.2), "under 1 s"),
        (words.duration(125), "2 min 5 s"),
        (words.duration(3 * 86400), "3 days"),
        (words.duration(float("inf")), "unknown"),
        (words.joined(["a", "b", "c", "d"], most=2), "a, b and 2 more"),
        (words.task_title("file:/x/y/my.csv"), "my.csv"),
    ],
)
def test_display_of_numbers(shown: str, expected: str) -> None:
    assert shown == expected


def test_checkpoint_names() -> None:
    with_step = CheckpointRef("f", "m", "step1000", "hub", "o/m", 1000)
    without = CheckpointRef("f", "m", "main", "hub", "o/m")
    assert words.checkpoint_name(with_step) == "step 1,000"
    assert words.checkpoint_name(without) == "main"
    assert selection.short_name(with_step) == "1000" and selection.short_name(without) == "main"
