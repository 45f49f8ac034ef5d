"""The command line under bad input: one sentence, an exit code that is not 0, and nothing written elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from icl_core.evaluation.store import Store
from tests.support.made_up import fill, made_up_study
from tests.support.sentences import assert_one_sentence
from tests.support.stores import alter_cell

Cli = Callable[..., tuple[int, str, str]]
DIGITS = "9" * 5000


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    store = Store.open(tmp_path / "store")
    fill(store, made_up_study(n_test=10))
    store.close()
    return store.path


BAD = [
    (("compete", "--epsilon", "nan"), "not a number from 0 to 1"),
    (("compete", "--epsilon", "-0.1"), "not a number from 0 to 1"),
    (("compete", "--epsilon", "1.5"), "not a number from 0 to 1"),
    (("compete", "--epsilon", "x"), "not a number from 0 to 1"),
    (("compete", "--replicates", "0"), "not a whole number from 1"),
    (("compete", "--replicates", "-5"), "not a whole number from 1"),
    (("compete", "--replicates", "1e3"), "not a whole number from 1"),
    (("compete", "--n-test", "0"), "not a whole number from 1"),
    (("compete", "--tasks", "nope"), "no results of task nope"),
    (("compete", "--model", "nope"), "no results of nope; models with results: someone-model"),
    (("results", "--model", "nope"), "no results of nope; models with results: someone-model"),
    (("results", "--model", ""), "no results of ;"),
    (("results", "--model", "a\0b"), "U+0000"),
    (("results", "--model", DIGITS), "more than 1,000 digits"),
    (("results", "--model", "x" * 5000), "xxx..."),
    (("results", "--model", "a\nb\udcff"), "a\\nb\\udcff"),
    (("export", "out", "--model", "nope"), "no results of nope"),
    (("export", ""), "name of the folder is empty"),
    (("export", "/dev/null"), "File exists"),
    (("export", "/proc/version/x"), "cannot be written"),
    (("export", "file"), "cannot be written"),
    (("export", "file/in"), "cannot be written"),
    (("export", "x" * 5000), "File name too long"),
    (("import", ""), "name of the folder is empty"),
    (("import", "file"), "holds no bundle"),
    (("results", "--backup", "/proc/x"), "failed"),
    (("results", "--backup", " "), "name of the folder is empty"),
    (("jobs", "show", DIGITS), "more than 1,000 digits"),
    (("jobs", "show", "9" * 25), "not a whole number"),
    (("jobs", "cancel", "-1"), "not a whole number"),
    (("evaluate", "--model", "tiny-base", "--seeds", f"13,{DIGITS}", "--dry-run"), "more than 1,000 digits"),
    (("evaluate", "--model", "tiny-base", "--n-shots", "9" * 900, "--dry-run"), "cannot be the number"),
    (("evaluate", "--model", "~nobody-here/x", "--dry-run"), "no home folder"),
]


@pytest.mark.stands_for("cpython#95778", "a number of 5,000 digits, NUL or a folder of nobody: 'unexpected ValueError'")
@pytest.mark.parametrize(
    ("arguments", "words"), BAD, ids=lambda value: " ".join(value)[:40] if type(value) is tuple else ""
)
def test_bad_input_is_one_sentence_and_not_exit_code_0(
    cli: Cli, filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    before = set(tmp_path.iterdir())
    code, output, errors = cli(*arguments)
    assert (code, output) == (2, "") and errors.startswith("error: ") and words in errors
    assert "unexpected" not in errors
    assert_one_sentence(errors.removesuffix("\n").removesuffix(")") + ".", forbidden="Error(")
    assert (tmp_path / "file").read_text() == "mine" and set(tmp_path.iterdir()) == before


@pytest.mark.stands_for("https://docs.python.org/3/library/pathlib.html", 'Path("") is the current folder')
@pytest.mark.parametrize("name", ["", "  "])
def test_a_store_without_a_name_is_refused(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    code, _, errors = cli("results", "--store", name, store=None)
    assert code == 2 and "name of the folder is empty" in errors
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.stands_for("https://man7.org/linux/man-pages/man2/open.2.html", "a store where a file stands")
@pytest.mark.parametrize("place", ["file", "file/in", "/dev/null", "/proc/1/x"])
def test_a_store_that_cannot_be_one_says_why(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    code, _, errors = cli("results", store=Path(place))
    assert code == 2 and "cannot be opened" in errors and "free disk space" not in errors
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.stands_for("icl-observatory", "a missing index beside cells was shown as 'No results yet'")
def test_results_are_found_where_the_index_is_missing(cli: Cli, filled: Path) -> None:
    expected = cli("results")[1]
    os.rename(filled / "index", filled / "gone")
    assert cli("results")[:2] == (0, expected) and "someone-model" in expected


@pytest.mark.stands_for("icl-observatory", "one damaged result was a reason to refuse all, or went out without a word")
def test_damaged_results_are_left_out_and_counted(cli: Cli, filled: Path, tmp_path: Path) -> None:
    store = Store.open(filled)
    lost = store.summaries()[0].key_digest
    alter_cell(store, lost)
    store.close()
    for command in (("results",), ("compete", "--replicates", 10)):
        code, output, errors = cli(*command)
        assert code == 0 and "someone-model" in output
        assert "1 stored result cannot be read and is left out" in errors and lost[:12] in errors
    code, output, errors = cli("export", tmp_path / "out")
    assert code == 1 and "119 cells written" in output and errors.startswith("Left out: ")
    assert cli("results", "--verify")[0] == 1 and cli("results", "--rebuild")[0] == 0
    assert cli("results")[2] == "" and cli("results", "--verify")[0] == 0


@pytest.mark.stands_for("icl-observatory", "an empty store is no error")
def test_an_empty_store_says_so(cli: Cli) -> None:
    for command in ("results", "compete"):
        assert cli(command) == (0, "No results yet.\n", "")
