"""Numbers and other people's text as written."""

from __future__ import annotations

import pytest

from icl_core.records import CheckpointRef
from pages.ui.controls import selection
from pages.ui.words import written


@pytest.mark.parametrize("text", ["*bold*", "<script>", "[x](http://y)", "$a$", ":red[x]", "# h", "`c`", "a_b_"])
def test_markdown_of_others_is_escaped(text: str) -> None:
    escaped = written.plain(text)
    assert escaped.replace("\\", "") == text
    assert all(escaped[i - 1] == "\\" for i, c in enumerate(escaped) if c in "*<[]()$:#`_>")


def test_lines_of_others_become_one_line() -> None:
    assert written.plain("a\n\n# b") == "a \\# b"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (written.percent(0.6254), "62.5 %"),
        (written.points(-0.0621), "−6.2 points"),
        (written.points(-1e-17), "+0.0 points"),
        (written.points(-0.0004), "−0.0 points"),
        (written.points(-0.0005), "−0.1 points"),
        (written.points(0.0004), "+0.0 points"),
        (written.signed(-0.00049), "−0.0"),
        (written.percent(-0.0004), "0.0 %"),
        (written.percent(-0.0046, 0), "0 %"),
        (written.percent(-0.0621), "−6.2 %"),
        (written.interval(-0.0004, 0.0121), "0.0 to 1.2 %"),
        (written.decimal(-0.004, 2), "0.00"),
        (written.decimal(-0.714, 2), "−0.71"),
        (written.signed_number(-0.004, 2), "−0.00"),
        (written.signed_number(-0.714, 2), "−0.71"),
        (str(written.in_points(-1e-17)), "0.0"),
        (str(written.in_points(-0.0621)), "-6.21"),
        (written.p_value(0.02134), "p = 0.021"),
        (written.count(1, "cell"), "1 cell"),
        (written.count(4080, "cell"), "4,080 cells"),
        (written.short_number(143_000), "143k"),
        (written.short_number(2.1e9), "2.1 B"),
        (written.short_number(1210), "1.2k"),
        (written.duration(0.2), "under 1 s"),
        (written.duration(125), "2 min 5 s"),
        (written.duration(3 * 86400), "3 days"),
        (written.duration(float("inf")), "unknown"),
        (written.joined(["a", "b", "c", "d"], most=2), "a, b and 2 more"),
        (written.task_title("file:/x/y/my.csv"), "my.csv"),
    ],
)
def test_display_of_numbers(shown: str, expected: str) -> None:
    assert shown == expected


def test_checkpoint_names() -> None:
    with_step = CheckpointRef("f", "m", "step1000", "hub", "o/m", 1000)
    without = CheckpointRef("f", "m", "main", "hub", "o/m")
    assert written.checkpoint_name(with_step) == "step 1,000"
    assert written.checkpoint_name(without) == "main"
    assert selection.short_name(with_step) == "1000" and selection.short_name(without) == "main"
