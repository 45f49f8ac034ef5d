"""Numbers and other people's text as written."""

from __future__ import annotations

import doctest
import time
from pathlib import Path
from types import ModuleType

import pytest

from icl_core.records import CheckpointRef, LabelSetting
from pages.lab import sentences as lab_sentences
from pages.ui.charts import axes, theme
from pages.ui.controls import selection
from pages.ui.words import written


@pytest.mark.parametrize("text", ["*bold*", "<script>", "[x](http://y)", "$a$", ":red[x]", "# h", "`c`", "a_b_"])
def test_markdown_of_others_is_escaped(text: str) -> None:
    escaped = written.plain(text)
    assert escaped.replace("\\", "") == text
    assert all(escaped[i - 1] == "\\" for i, c in enumerate(escaped) if c in "*<[]()$:#`_>")


def test_lines_of_others_become_one_line() -> None:
    assert written.plain("a\n\n# b") == "a \\# b"


def test_display_of_numbers() -> None:
    """The calls are made in the test: the mutation tester does not see calls made while tests are collected."""
    assert written.percent(0.6254) == "62.5 %"
    assert written.points(-0.0621) == "−6.2 points"
    assert written.points(-1e-17) == "+0.0 points"
    assert written.points(-0.0004) == "−0.0 points"
    assert written.points(-0.0005) == "−0.1 points"
    assert written.points(0.0004) == "+0.0 points"
    assert written.signed(-0.00049) == "−0.0"
    assert written.percent(-0.0004) == "0.0 %"
    assert written.percent(-0.0046, 0) == "0 %"
    assert written.percent(-0.0621) == "−6.2 %"
    assert written.interval(-0.0004, 0.0121) == "0.0 to 1.2 %"
    assert written.decimal(-0.004, 2) == "0.00"
    assert written.decimal(-0.714, 2) == "−0.71"
    assert written.signed_number(-0.004, 2) == "−0.00"
    assert written.signed_number(-0.714, 2) == "−0.71"
    assert str(written.in_points(-1e-17)) == "0.0"
    assert str(written.in_points(-0.0621)) == "-6.21"
    assert written.p_value(0.02134) == "p = 0.021"
    assert written.count(1, "cell") == "1 cell"
    assert written.count(4080, "cell") == "4,080 cells"
    assert written.short_number(143_000) == "143k"
    assert written.short_number(2.1e9) == "2.1 B"
    assert written.short_number(1210) == "1.2k"
    assert written.duration(0.2) == "under 1 s"
    assert written.duration(125) == "2 min 5 s"
    assert written.duration(3 * 86400) == "3 days"
    assert written.duration(float("inf")) == "unknown"
    assert written.joined(["a", "b", "c", "d"], most=2) == "a, b and 2 more"
    assert written.task_title("file:/x/y/my.csv") == "my.csv"


def test_checkpoint_names() -> None:
    with_step = CheckpointRef("f", "m", "step1000", "hub", "o/m", 1000)
    without = CheckpointRef("f", "m", "main", "hub", "o/m")
    assert written.checkpoint_name(with_step) == "step 1,000"
    assert written.checkpoint_name(without) == "main"
    assert selection.short_name(with_step) == "1000" and selection.short_name(without) == "main"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\n b\t\u00a0c ", "a b c"),
        ("a\u202eb\x00", "a\ufffdb\ufffd"),
        ("\ud800", "\ufffd"),
        ("a\u200c\u200db", "a\u200c\u200db"),  # scripts and emojis need these
        ("שלום 1", "\u2068שלום 1\u2069"),
        ("\u2068שלום\u2069", "\u2068שלום\u2069"),  # shown already
        ("مرحبا", "\u2068مرحبا\u2069"),
        ("é", "é"),
        ("a \u2068b\u2069", "a \u2068b\u2069"),
        ("\u2068b", "\ufffdb"),
        ("b\u2069", "b\ufffd"),
        ("x" * 450 + "y" * 450, "x" * 450 + "y" * 450),
        ("x" * 450 + "y" * 451, "x" * 450 + " … " + "y" * 450),
    ],
)
def test_no_character_of_others_acts_on_the_text_around_it(text: str, shown: str) -> None:
    assert written.legible(text) == shown
    assert written.legible(shown) == shown or len(text) > 900


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a -> b", "a \\-\u2060\\> b"),
        ("a <-> b", "a \\<\u2060\\-\u2060\\> b"),
        (":material/x:", "\\:\u2060material/x\\:"),
        ("a->b", "a\\-\\>b"),
        ("a\u202e", "a\ufffd"),
    ],
)
def test_what_turns_into_arrows_and_icons_is_broken(text: str, shown: str) -> None:
    assert written.plain(text) == shown


def test_ties_go_away_from_zero_as_in_a_browser() -> None:
    shown = [written.rounded(number) for number in (68.25, -68.25, 0.05, -0.04, 3.0)]
    assert shown == [68.3, -68.3, 0.1, 0.0, 3.0]
    assert str(written.rounded(-0.04)) == "-0.0" and written.decimal(-0.04, 1) == "0.0"
    assert [written.rounded(2.5, 0), written.rounded(0.125, 2)] == [3.0, 0.13]
    assert written.in_percent(1e-12) == 0.0 and written.in_percent(2e-8) == 2e-6


def test_large_numbers_change_their_unit_where_rounding_does() -> None:
    """Half a unit of the last figure below 1,000 the next unit begins: 999.5 is 1k."""
    shown = {
        999.4: "999", 999.5: "1k", 1000: "1k", 1500: "1.5k", 999_499: "999.5k", 999_500: "1 M", 2_500_000: "2.5 M",
        999_499_999: "999.5 M", 999_500_000: "1 B", 2_097_152_000: "2.1 B", 999_499_999_999: "999.5 B",
        999_500_000_000: "1 T", 12.5e12: "12.5 T", -143_000: "-143k", 0.1234: "0.123", 110: "110",
    }  # fmt: skip
    assert {number: written.short_number(number) for number in shown} == shown


def test_durations_change_their_unit_where_rounding_does() -> None:
    hour = 3600
    shown = {
        0.4: "under 1 s", 0.6: "1 s", 59.4: "59 s", 59.6: "1 min", 61: "1 min 1 s", 95: "1 min 35 s",
        599: "9 min 59 s", 600: "10 min", 601: "10 min", 629: "10 min", 631: "11 min", 59.4 * 60: "59 min",
        59.6 * 60: "1 h", hour + 60: "1 h 1 min", 7800: "2 h 10 min", 47 * hour: "47 h", 47.5 * hour: "47 h 30 min",
        48 * hour: "2 days", 96 * hour: "4 days", 1000 * hour: "42 days", -float("inf"): "unknown",
    }  # fmt: skip
    assert {seconds: written.duration(seconds) for seconds in shown} == shown


@pytest.mark.parametrize(
    ("zone", "shown"), [("UTC0", "2023-11-14 22:13"), ("EAST-9", "2023-11-15 07:13"), ("WEST5", "2023-11-14 17:13")]
)
def test_a_time_is_that_of_this_machine(zone: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as there:
        there.setenv("TZ", zone)
        time.tzset()
        assert written.when(1_700_000_000.0) == shown
    time.tzset()


def test_names_of_tasks_and_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pages.ui.words.written.uploads_path", lambda: Path("/kept/uploads"))
    shown = {
        "sst2": "sst2",
        "a\nb": "a b",
        "file:/x/my%20own\n.csv?merge-labels": "my%20own .csv (labels joined)",
        "file:/x/my.csv?keep-labels": "my.csv (labels as written)",
        "file:my.csv": "my.csv",
        "file:/kept/uploads/my%20own.csv": "my own.csv",
    }
    assert {name: written.task_title(name) for name in shown} == shown
    settings: tuple[LabelSetting, ...] = ("gold", "random", "abstract")
    assert [written.setting_title(name) for name in settings] == ["gold (ICL)", "random (TR)", "abstract (TL)"]
    assert written.joined(["a", "b", "c"]) == "a, b, c" and written.joined([]) == ""
    assert written.joined(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
    assert written.count(2, "entry", "entries") == "2 entries" and written.count(1, "entry", "entries") == "1 entry"
    assert written.interval(0.5814, 0.66) == "58.1 to 66.0 %"


@pytest.mark.parametrize("module", [axes, lab_sentences, theme, written])
def test_examples_in_docstrings_are_true(module: ModuleType) -> None:
    """Pages cannot be collected for their examples, since importing a page draws it."""
    found = doctest.testmod(module)
    assert found.attempted and not found.failed
