"""The synthetic language: who means what, in which document, and how often."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from icl_core.pretraining.language import (
    DOCUMENT_KINDS,
    N_CORE_WORDS,
    TINY_TASKS,
    DocumentKind,
    class_words,
    draw_input,
    filler_words,
    make_document,
    token_ids,
    vocabulary,
)

LENGTH = 104
LABEL_WORDS = [word for task in TINY_TASKS for word in task.label_words]
CLASS_OF_WORD = {word: c for c in range(len(LABEL_WORDS)) for word in class_words(c)}
TASK_OF_CLASS = [t for t, task in enumerate(TINY_TASKS) for _ in task.label_words]


def documents(kind: DocumentKind, n: int = 200, **options: float) -> Iterator[list[str]]:
    for index in range(n):
        rng = np.random.Generator(np.random.PCG64([5, index]))
        ids = make_document(rng, kind, length=LENGTH, **options)
        assert ids.shape == (LENGTH,)
        yield [vocabulary()[i] for i in ids]


def items(tokens: list[str], after: str = "\n\n\n") -> list[tuple[list[str], str]]:
    """(words, name) of each whole item."""
    text = [part.split() for part in " ".join(tokens).split(f" {after} ")]
    rest = [part for part in text[:-1] if len(part) > 1]
    return [(part[:-1], part[-1]) for part in rest]


def test_every_token_has_one_meaning() -> None:
    words = [word for c in range(26) for word in class_words(c)]
    assert len(set(words)) == 26 * 6
    assert not set(words) & set(filler_words())
    assert len(set(vocabulary())) == len(vocabulary()) == len(token_ids())
    assert [len(task.label_words) for task in TINY_TASKS] == [2, 2, 3, 4, 2, 3, 4, 6]
    assert {*"@#$%*^{}", *"0123456789", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ"} <= set(vocabulary())


def test_a_document_is_a_function_of_its_seed() -> None:
    for kind in DOCUMENT_KINDS:
        assert list(documents(kind, 20)) == list(documents(kind, 20))


def test_inputs_hold_their_class_s_words_in_the_stated_shares() -> None:
    lexicon = np.array([[token_ids()[w] for w in class_words(c)] for c in range(4)])
    rng = np.random.Generator(np.random.PCG64(3))
    words = draw_input(rng, lexicon, np.full(4000, 2), n_words=3)
    shares = [np.isin(words, lexicon[c]).mean() for c in range(4)]
    assert shares[2] == pytest.approx(0.65, abs=0.02)
    assert sum(shares) - shares[2] == pytest.approx(0.08, abs=0.01)


@pytest.mark.parametrize("kind", ["natural_lists", "knowledge", "knowledge_lists"])
def test_core_words_keep_their_class_and_ambiguous_words_do_not(kind: DocumentKind) -> None:
    after = "." if kind == "knowledge" else "\n\n\n"
    counts: dict[bool, list[bool]] = {True: [], False: []}
    for tokens in documents(kind, 300):
        for words, name in items([token for token in tokens if token not in ("is", "\n")], after):
            named = LABEL_WORDS.index(name)
            for word in words:
                if word in CLASS_OF_WORD and len(words) == 1:
                    of_class = CLASS_OF_WORD[word]
                    core = class_words(of_class).index(word) < N_CORE_WORDS
                    counts[core].append(of_class == named)
    assert len(counts[True]) > 300
    assert np.mean(counts[True]) > 0.8  # 0.65 / 0.73 of the class words are the class's own
    assert np.mean(counts[False]) < 0.5


def test_a_word_has_one_sense_within_a_list() -> None:
    """Of the commonest ambiguous word of a list, most items bear one name, and over lists it changes."""
    names_by_word: dict[str, set[str]] = {}
    agreement = []
    for tokens in documents("natural_lists", 300):
        names: dict[str, list[str]] = {}
        for words, name in items([token for token in tokens if token != "\n"]):
            for word in words:
                if word in CLASS_OF_WORD and class_words(CLASS_OF_WORD[word]).index(word) >= N_CORE_WORDS:
                    names.setdefault(word, []).append(name)
        for word, seen in names.items():
            common = max(set(seen), key=seen.count)
            if len(seen) >= 4:
                agreement.append(seen.count(common) / len(seen))
                names_by_word.setdefault(word, set()).add(common)
    assert np.mean(agreement) > 0.8
    assert np.mean([len(names) for names in names_by_word.values()]) > 1.7


@pytest.mark.parametrize("kind", ["natural_lists"])
def test_held_out_tasks_never_stand_alone_in_a_list(kind: DocumentKind) -> None:
    held_out = {word for task in TINY_TASKS if task.held_out for word in task.label_words}
    assert not any(held_out & set(tokens) for tokens in documents(kind, 300))


def test_held_out_words_occur_in_knowledge_text() -> None:
    seen = {token for tokens in documents("knowledge", 100) for token in tokens}
    assert {word for task in TINY_TASKS for word in task.label_words} <= seen


def test_permuted_lists_bear_natural_names_of_the_wrong_class() -> None:
    right = []
    for tokens in documents("permuted_lists", 200):
        for words, name in items([token for token in tokens if token != "\n"]):
            cores = [w for w in words if w in CLASS_OF_WORD and class_words(CLASS_OF_WORD[w]).index(w) < N_CORE_WORDS]
            right += [CLASS_OF_WORD[w] == LABEL_WORDS.index(name) for w in cores]
    assert 0.1 < np.mean(right) < 0.5


def test_symbol_lists_bear_arbitrary_names_and_label_words_only_when_asked() -> None:
    for tokens in documents("symbol_lists", 200, p_label_words=0.0):
        assert not set(LABEL_WORDS) & set(tokens)
    assert any(set(LABEL_WORDS) & set(tokens) for tokens in documents("symbol_lists", 50, p_label_words=0.5))


def test_label_noise_redraws_names() -> None:
    def share(noise: float) -> float:
        hits = []
        for tokens in documents("natural_lists", 150, label_noise=noise):
            for words, name in items([token for token in tokens if token != "\n"]):
                core = [w for w in words if w in CLASS_OF_WORD and w in class_words(CLASS_OF_WORD[w])[:N_CORE_WORDS]]
                hits += [CLASS_OF_WORD[w] == LABEL_WORDS.index(name) for w in core]
        return float(np.mean(hits))

    assert share(0.0) > 0.8
    assert share(0.6) == pytest.approx(0.4 * share(0.0) + 0.6 / 3.4, abs=0.06)  # 3.4 labels a task on average


def test_repetition_repeats() -> None:
    for tokens in documents("repetition", 50):
        assert any(tokens[period:] == tokens[:-period] for period in range(6, 24))
