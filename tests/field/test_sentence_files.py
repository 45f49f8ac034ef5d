"""Files of sentences for the playground: any bytes are sentences, none of them lost, or a message in one sentence."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icl_core.errors import DataError, ObservatoryError
from icl_core.evaluation.playground import MAX_BATCH_TEXTS
from pages.playground.file_of_sentences import read_texts
from pages.ui.words.written import legible
from tests.support.hostile import ACTING, FORMULAS, SCRIPTS
from tests.support.sentences import assert_one_sentence

BOUNDED = settings(derandomize=True, deadline=None, max_examples=150)
LINES = st.lists(
    st.one_of(
        st.text(max_size=20), st.sampled_from([*SCRIPTS, *FORMULAS, *ACTING, '"', '""', '"open', "a, b", "text"])
    ),
    max_size=8,
)
CONTENTS = st.one_of(
    st.binary(max_size=200),
    LINES.map(lambda lines: "\n".join(lines).encode(errors="surrogatepass")),
    LINES.map(lambda lines: "\n".join(["text,id", *lines]).encode(errors="surrogatepass")),
    st.sampled_from([b"\xff\xfe\x00", b"[" * 20_000, b"text\n" * 600, b'{"text": "\\ud800"}', b"PK\x03\x04"]),
)


@pytest.mark.stands_for("CWE-755", "a file that could not be read ended the page")
@settings(BOUNDED)
@given(name=st.sampled_from(["a.csv", "a.txt", "a.jsonl", "a.json", "a.TSV", "a", "\u202ea.csv"]), content=CONTENTS)
def test_any_file_of_sentences_is_sentences_or_a_sentence(name: str, content: bytes) -> None:
    try:
        texts = read_texts(content, name).texts
    except ObservatoryError as error:
        assert_one_sentence(legible(str(error)))
    else:
        assert 0 < len(texts) <= MAX_BATCH_TEXTS and all(text.strip() and text.encode() for text in texts)


@pytest.mark.stands_for("CWE-770", "one field over 131,072 characters ended the reader")
@pytest.mark.parametrize("content", [b"a" * 200_000, b"text\n" + b"a" * 200_000, b'text\n"' + b"a" * 200_000])
def test_a_very_long_sentence_is_refused_or_left_out_and_told(content: bytes) -> None:
    with pytest.raises(DataError) as caught:
        read_texts(content, "long.csv")
    assert_one_sentence(legible(str(caught.value)))
    found = read_texts(b"text\nshort\n" + content.removeprefix(b"text\n").replace(b'"', b""), "long.csv")
    assert found.texts == ("short",) and "left out: line 3" in found.notes[0]


@pytest.mark.stands_for("CWE-1287", "a line of text lost everything after its first comma")
@settings(BOUNDED)
@given(lines=st.lists(st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=20), min_size=1))
def test_lines_of_a_text_file_are_whole(lines: list[str]) -> None:
    wanted = [line for line in lines if line.strip() and not line.startswith('"')]
    if wanted:
        assert list(read_texts("\n".join(wanted).encode(), "lines.txt").texts) == wanted
