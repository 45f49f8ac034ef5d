"""What the playground says in sentences, whichever way the values behind them come out."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest

from icl_core.data.unknown import ReadWord
from icl_core.evaluation.playground import Question, Reply, Scored, SentPrompt
from icl_core.records import CheckpointRef
from pages.playground import views
from pages.ui.words.written import percent
from tests.support.said import after, numbers

TR = CheckpointRef("hub", "early", "step440", "hub", "a/early", 440)
TL = CheckpointRef("hub", "late", "step880", "hub", "a/late", 880)


# The playground


def scored(
    role: Any, ref: CheckpointRef, favours: int, *, cut: int = 0, words: tuple[ReadWord, ...] = (), **more: Any
) -> Scored:
    likelihoods = np.full((1, 3), -2.0)
    likelihoods[0, favours] = -0.5
    return Scored(
        role=role,
        checkpoint=ref,
        label_setting="gold",
        choices=("negative", "neutral", "positive"),
        loglikelihoods=likelihoods,
        n_tokens=np.ones((1, 3), int),
        content_free=np.zeros(3),
        content_free_n_tokens=np.ones(3, int),
        prompt=SentPrompt((), (), 0),
        n_shortened=cut,
        words=(words,),
        **{"choice_words": ((), (), ()), "demonstration_words": (), **more},
    )


QUESTION = Question(TR, TL, ("x",), ("negative", "neutral", "positive"), (("a", "negative"),))
FAVOURED = np.exp(-0.5) / (np.exp(-0.5) + 2 * np.exp(-2.0))


@pytest.mark.parametrize("cut", [0, 1, 3])
@pytest.mark.parametrize("load_seconds", [0.0, 0.04, 1.26])
def test_the_playground_says_the_true_labels_answer_what_was_cut_and_how_long(cut: int, load_seconds: float) -> None:
    icl = scored("ICL of the TR checkpoint", TR, 1), scored("ICL of the TL checkpoint", TL, 2, cut=cut)
    reply = Reply((scored("TR", TR, 0), scored("TL", TL, 0), *icl), load_seconds, 0.0873)
    said = views._notes(QUESTION, reply, "sum").replace("\\", "")
    truth = said.partition("true labels")[2]
    shown = float(percent(FAVOURED).removesuffix(" %"))
    assert numbers(truth)[:4] == [440, shown, 880, shown]
    assert re.search(r"early .*neutral.*late .*positive", truth)
    assert ("did not fit" in said) == (cut > 0)
    if cut:
        assert numbers(said)[4] == cut
    assert after(said, "Scored in") == [87]
    assert ("loading" in said) == (load_seconds > 0.05)
    assert numbers(said)[-1] == (1.3 if load_seconds > 0.05 else 87)


def test_without_demonstrations_there_are_no_true_labels_to_answer_under() -> None:
    reply = Reply((scored("TR", TR, 0), scored("TL", TL, 0), scored("ICL of the TR checkpoint", TR, 1)), 0.0, 0.01)
    said = views._notes(dataclasses.replace(QUESTION, demonstrations=()), reply, "sum")
    assert "true labels" not in said and numbers(said) == [10]


def warned(monkeypatch: pytest.MonkeyPatch, tr: Scored, tl: Scored) -> tuple[list[str], list[str]]:
    """Warnings, and what is written beside them."""
    warnings: list[str] = []
    written: list[str] = []
    monkeypatch.setattr("pages.playground.views.st.warning", warnings.append)
    monkeypatch.setattr("pages.playground.views.st.markdown", written.append)
    views._unknown_words(QUESTION, Reply((tr, tl), 0.0, 0.0))
    return warnings, written


def read(text: str) -> tuple[ReadWord, ...]:
    """The words of a text, those in brackets unknown."""
    return tuple(ReadWord(word.strip("[]"), word.startswith("[")) for word in text.split())


@pytest.mark.parametrize(
    ("text", "n_unknown", "n", "is_warned"),
    [
        ("a b c d e", 0, 5, False),
        ("a b [c] d e", 1, 5, False),
        ("[a] [b] c d", 2, 4, False),
        ("[a] [b] [c] d e", 3, 5, True),
        ("[a] [b]", 2, 2, True),
    ],
)
def test_unknown_words_are_counted_and_most_of_them_are_a_warning(
    text: str, n_unknown: int, n: int, is_warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = read(text)
    warnings, written = warned(monkeypatch, scored("TR", TR, 0, words=words), scored("TL", TR, 0, words=words))
    assert len(warnings) == is_warned and len(written) == (n_unknown > 0)
    said = (warnings or written or [""])[0].replace("small[", "")
    assert numbers(said)[:2] == ([n_unknown, n] if n_unknown else [])
    if n_unknown == n:
        assert "knows" not in said
    if n_unknown:
        struck = [word for word in re.findall(r"~~(\w+)~~", written[0])]
        assert struck == [word.word for word in words if word.unknown]


def test_each_reader_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    tr = scored("TR", TR, 0, words=read("a [b] c"), choice_words=(read("[negative]"), (), ()))
    tl = scored("TL", TL, 0, words=read("a b c"), demonstration_words=read("[x] [y] z"))
    warnings, written = warned(monkeypatch, tr, tl)
    assert len(written) == 1 and "early" in written[0] and "late" not in written[0]
    assert len(warnings) == 2
    assert "negative" in warnings[0] and "(early)" in warnings[0]
    assert "demonstrations" in warnings[1] and "(late)" in warnings[1]
