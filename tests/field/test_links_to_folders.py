"""A link that names a folder or file of the machine: it is listed, or refused in a sentence; nothing waits for ever."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest  # noqa: TID251

from tests.support.hostile import ACTING, MARKED_UP
from tests.support.links import assert_answers, open_link, said

PATHS = {
    "no name": "a\x00b",
    "lines": "a\nb",
    "one long name": "x" * 900,
    "a long path": "/y" * 2_100,
    "nobody's home": "~nouser/runs",
    "a pipe": "pipe.gguf",
    "a socket": "socket.gguf",
    "a device": "/dev/zero",
    "an endless device": "/dev/zero/model.gguf",
    "the whole machine": "/",
    "processes": "/proc",
    "own descriptors": "/proc/self/fd/0",
    "an address": "file:///etc",
    "another system's": "\\\\host\\share",
    "a circle": "circle",
    "a cut configuration": "cut",
    "no checkpoint": "empty",
    "a name that is not UTF-8": "latin",
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with what a path can lead to, and the store of the app beside it."""
    monkeypatch.setenv("ICL_OBSERVATORY_STORE", str(tmp_path / "store"))
    monkeypatch.setattr("icl_core.evaluation.bundle.embedded_results_path", lambda: tmp_path / "none")
    os.mkfifo(tmp_path / "pipe.gguf")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    (tmp_path / "empty").mkdir()
    for folder, config in (("cut", "{"), (os.fsdecode(b"latin/step-\xff1"), "{}")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "config.json").write_text(config)
    yield tmp_path


def link_to(path: str) -> AppTest:
    app = open_link("evaluate", {"local": path, "model": "no-such-model", "task": "sst2"})
    assert_answers(app, "evaluate")
    return app


@pytest.mark.stands_for("CWE-73", "what a path leads to is not always a file or a folder")
@pytest.mark.parametrize("kind", PATHS)
def test_a_path_in_a_link_is_refused_in_a_sentence(kind: str, place: Path) -> None:
    path = PATHS[kind] if PATHS[kind][0] in "/~\\" or "\x00" in PATHS[kind] else str(place / PATHS[kind])
    words = [words for words in said(link_to(path)) if "Some of this link" not in words]
    assert words and all(len(sentence) < 1_000 for sentence in words)


@pytest.mark.stands_for("CWE-73", "one folder that may not be read refused all of them")
def test_a_folder_that_may_not_be_read_is_a_sentence(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> Iterator[Path]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refused)
    assert any("ermission denied" in words for words in said(link_to(str(place / "empty"))))


@pytest.mark.stands_for("streamlit/streamlit#8546", "a message lost its underscores, dollars and brackets to Markdown")
def test_names_of_folders_are_shown_letter_by_letter(place: Path) -> None:
    names = [name for name in (*MARKED_UP, *ACTING) if "/" not in name and "\x00" not in name and name.isprintable()]
    for name in (*names, "\u202egnp"):
        folder = place / "runs" / name / "step-1"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        link_to(str(folder.parent))
