"""What the playground says in sentences, whichever way the values behind them come out."""

from __future__ import annotations

import dataclasses
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from icl_core.data.unknown import ReadWord
from icl_core.evaluation.playground import Question, Reply, Scored, SentPrompt
from icl_core.records import CheckpointRef
from pages.playground import notes, sentences
from pages.playground.controls import Demonstrations
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
    said = sentences.answered(QUESTION, reply, "sum").replace("\\", "")
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
    said = sentences.answered(dataclasses.replace(QUESTION, demonstrations=()), reply, "sum")
    assert "true labels" not in said and numbers(said) == [10]


def warned(monkeypatch: pytest.MonkeyPatch, tr: Scored, tl: Scored) -> tuple[list[str], list[str]]:
    """Warnings, and what is written beside them."""
    warnings: list[str] = []
    written: list[str] = []
    monkeypatch.setattr("pages.playground.notes.st.warning", warnings.append)
    monkeypatch.setattr("pages.playground.notes.st.markdown", written.append)
    notes.unknown_words(QUESTION, Reply((tr, tl), 0.0, 0.0))
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
    if is_warned:
        assert ("words it knows" in said) == (n_unknown < n)
    if n_unknown:
        struck = [word for word in re.findall(r"~~(\w+)~~", written[0])]
        assert struck == [word.word for word in words if word.unknown]


def test_each_reader_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    tr = scored("TR", TR, 0, words=read("a [b] c"), choice_words=(read("[negative]"), (), ()))
    tl = scored("TL", TL, 0, words=read("a b c"), demonstration_words=read("[x] [y] z"))
    warnings, written = warned(monkeypatch, tr, tl)
    assert len(written) == 1 and "early" in written[0] and "late" not in written[0]
    assert len(warnings) == 2
    assert "negative" in warnings[0] and "of early" in warnings[0]
    assert "demonstrations" in warnings[1] and "of late" in warnings[1]


@pytest.mark.parametrize(("n", "n_shared", "left_out"), [(1, 0, 0), (1500, 1400, 0), (1501, 900, 1), (2700, 900, 1200)])
def test_a_prompt_says_its_tokens_those_of_the_demonstrations_and_those_not_drawn(
    n: int, n_shared: int, left_out: int
) -> None:
    said = sentences.prompt_tokens(n, n_shared, most=1500)
    assert numbers(said) == [n, n_shared, *([left_out] if left_out else [])]
    assert said.startswith("1 token." if n == 1 else f"{n:,} tokens.")


@pytest.mark.parametrize(
    ("texts", "n_lost"),
    [
        ((("a b c",), ("d e",)), 0),
        ((("a [b] c", "[a] [b] c"), ("d [e]",)), 1),
        ((("[a]", "[a] [b]"), ("[c]",)), 3),
        ((("[a]",),), 1),
    ],
)
def test_sentences_of_a_file_with_mostly_unknown_words_are_counted(texts: Any, n_lost: int) -> None:
    parts: Any = [SimpleNamespace(checkpoint=TR, words=tuple(map(read, part))) for part in texts]
    said = sentences.unknown_in_file(parts, "TR")
    n = sum(map(len, texts))
    assert numbers(said) == ([n_lost, n] if n_lost else [])
    if n_lost:
        assert "tokenizer of early (TR)" in said and ("sentences most" in said) == (n > 1)


def test_long_sentences_are_struck_out_up_to_a_number_of_words() -> None:
    words = read("a [b] " * 200)
    said = sentences.struck_out(words)
    assert said.endswith("~~b~~ …") and said.count("~~b~~") == sentences.MOST_WORDS / 2
    assert not sentences.struck_out(words[:3]).endswith("…")


@pytest.mark.parametrize(("n", "shown", "more"), [(0, 0, []), (3, 3, []), (4, 3, [1]), (16, 3, [13])])
def test_the_first_demonstrations_are_shown_and_the_others_counted(
    n: int, shown: int, more: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts: list[str] = []
    captions: list[str] = []
    monkeypatch.setattr("pages.playground.notes.st.text", texts.append)
    monkeypatch.setattr("pages.playground.notes.st.caption", captions.append)
    notes.first_of(Demonstrations("sst2", 13, ("no", "yes"), (("a film", "yes"),) * n))
    assert len(texts) == shown and [number for caption in captions for number in numbers(caption)] == more


# In whole sentences

ALONE = "the demonstrations and the label words alone."


def test_unknown_words_read_whole() -> None:
    assert sentences.unknown_words(read("a b"), "**early**") == ("", "")
    struck = "Your sentence with unknown words struck out:]"
    warning, line = sentences.unknown_words(read("a [*b*] c"), "**early**")
    assert warning == ""
    assert line == (
        ":small[1 of 3 words is unknown to the tokenizer of **early**, which reads all unknown words as the same "
        rf"token: \*b\*. {struck} a ~~\*b\*~~ c"
    )
    warning, line = sentences.unknown_words(read("[b] [d] [b] c"), "**early**")
    same = "unknown to the tokenizer of **early**, which reads all unknown words as the same token."
    assert warning == f"3 of 4 words are {same} The answer rests on the words it knows, {ALONE}"
    assert line == f":small[Unknown: b, d. {struck} ~~b~~ ~~d~~ ~~b~~ c"
    names = list("abcdefghi")
    warning, line = sentences.unknown_words(read(" ".join(f"[{name}]" for name in names)), "**early**")
    assert warning == f"9 of 9 words are {same} The answer rests on {ALONE}"
    assert line.startswith(f":small[Unknown: a, b, c, d, e, f, g, h and 1 more. {struck} ~~a~~ ~~b~~")
    assert sentences.unknown_words(read("[a]"), "**early**")[0].startswith("1 of 1 word is unknown")
    assert sentences.unknown_words(read("[a] " * 1200), "**early**")[0].startswith("1,200 of 1,200 words are unknown")


@pytest.mark.parametrize(
    ("role", "what", "named"), [("TR", "label words", r"y\*, z"), ("TL", "symbols", "positive, neutral")]
)
def test_unknown_labels_read_whole(role: Any, what: str, named: str) -> None:
    """The labels in words are those of the question; in the other roles the choices are symbols."""
    asked = dataclasses.replace(QUESTION, labels=("y*", "z", "x"))
    found = scored(role, TR, 0, choice_words=(read("[a] b"), read("[c]"), read("d")))
    symbols = dataclasses.replace(found, choices=("positive", "neutral", "negative"))
    told = [f"The tokenizer of someone does not know these {what}, or parts of them: {named}."]
    assert sentences.unknown_labels(asked, symbols, "someone") == told
    told.append("The tokenizer of someone does not know most words of the demonstrations.")
    lost = dataclasses.replace(symbols, demonstration_words=read("[x] [y] z"))
    assert sentences.unknown_labels(asked, lost, "someone") == told
    known = dataclasses.replace(lost, choice_words=(read("a"), (), ()))
    assert sentences.unknown_labels(asked, known, "someone") == told[1:]


@pytest.mark.parametrize(
    ("cut", "was_cut"),
    [
        (0, ""),
        (1, "1 text did not fit the context and was cut. "),
        (1200, "1,200 texts did not fit the context and were cut. "),
    ],
)
def test_the_answer_reads_whole(cut: int, was_cut: str) -> None:
    """The likelihoods −0.5, −2 and −2 give 69.1 %; per token the favoured label counts 4 tokens: −0.125, −2, −2."""
    assert sentences.title_of(scored("TR", TR, 0)) == "early step 440"
    tr = dataclasses.replace(scored("ICL of the TR checkpoint", TR, 1), n_tokens=np.array([[1, 4, 1]]))
    tl = scored("ICL of the TL checkpoint", TL, 2, cut=cut)
    reply = Reply((scored("TR", TR, 0), tr, tl), 0.051, 0.0873)
    said = {way: sentences.answered(QUESTION, reply, way).replace("\\", "") for way in ("sum", "per_token")}
    late = f"and late step 880 says positive (69.1 %). {was_cut}Scored in 87 ms, after 0.1 s of loading."
    assert said["sum"] == f"Under true labels early step 440 says neutral (69.1 %) {late}"
    assert said["per_token"] == f"Under true labels early step 440 says neutral (76.5 %) {late}"
    warm = dataclasses.replace(reply, load_seconds=0.05, score_seconds=0.9873)
    bare = dataclasses.replace(QUESTION, demonstrations=())
    assert sentences.answered(bare, warm, "sum") == rf"{was_cut}Scored in 987 ms.".replace(".", r"\.")


def test_prompts_and_files_read_whole() -> None:
    shared = (
        "are the demonstrations (dimmed), which are computed once for all queries. The label follows the last token."
    )
    point = "Point at a token to see its id."
    assert sentences.prompt_tokens(1, 0, most=1500) == f"1 token. The first 0 {shared} {point}"
    assert sentences.prompt_tokens(1500, 1400, most=1500) == f"1,500 tokens. The first 1,400 {shared} {point}"
    assert sentences.prompt_tokens(2700, 900, most=1500) == (
        f"2,700 tokens. The first 900 {shared} {point} The first 1,200 tokens are not drawn."
    )
    parts: Any = [
        SimpleNamespace(checkpoint=dataclasses.replace(TR, model="*x*"), words=(read("[a] [b] c"), read("a")))
    ]
    assert sentences.unknown_in_file(parts, "TL") == (
        r"In 1 of 2 sentences most words are unknown to the tokenizer of \*x\* (TL). There the answer rests on the "
        f"words it knows, {ALONE}"
    )
    assert sentences.unknown_in_file([SimpleNamespace(checkpoint=TR, words=(read("a [b]"),))], "TL") == ""  # type: ignore[list-item]
    many: Any = [SimpleNamespace(checkpoint=TR, words=(read("[a]"),) * 1200)]
    assert sentences.unknown_in_file(many, "TL").startswith("In 1,200 of 1,200 sentences most words")


def test_exactly_as_many_words_as_are_shown_have_no_ellipsis() -> None:
    assert sentences.struck_out(read("a " * 300)) == "a " * 299 + "a"
    assert sentences.struck_out(read("a " * 301)) == "a " * 300 + "…"
