"""Words that a tokenizer does not know, by the kind of tokenizer."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from icl_core.data.unknown import mostly_unknown, read_words
from icl_core.models.tokenizing import BoundedTokenizer
from icl_core.pretraining.tokenizer import make_tokenizer
from tests.support.tiny_models import tiny_tokenizer

PIECES = ["▁the", "▁red", "▁car", "r", "e", "d", "t", "h", "c", "a", "!"]


def _word_piece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "the": 1, "red": 2, "car": 3, "##s": 4}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0), *((piece, -1.0) for piece in PIECES)], 0, False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


def _bpe() -> Tokenizer:
    vocabulary = {piece: at for at, piece in enumerate(["<unk>", *"thredca"])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def wrapped(tokenizer: Tokenizer, **special: str) -> BoundedTokenizer:
    return BoundedTokenizer(PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special), where="a test")


KINDS = {
    "words": lambda: make_tokenizer(64),  # of a known model, which no other process is asked for
    "word pieces": lambda: wrapped(_word_piece()),
    "unigram": lambda: wrapped(_unigram(), unk_token="<unk>"),
    "byte pairs of characters": lambda: wrapped(_bpe()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_words_are_found_and_known_ones_are_not(kind: str) -> None:
    tokenizer = KINDS[kind]()
    known = "red" if kind != "words" else next(w for w in tokenizer.get_vocab() if w.isalpha())
    text = f"{known} zqzq  {known} Жж 日本"
    (words,) = read_words(tokenizer, [text])
    assert [word.word for word in words] == text.split()
    assert [word.unknown for word in words] == [False, True, False, True, True]
    assert mostly_unknown(words)
    assert not mostly_unknown(words[:2]), "half of the words is not most of them"


def test_punctuation_alone_makes_no_word_unknown_but_is_a_word_by_itself() -> None:
    (words,) = read_words(KINDS["unigram"](), ["red? ? red!"])
    assert [word.unknown for word in words] == [False, True, False]


@pytest.mark.parametrize("special", [{}, {"unk_token": "<|endoftext|>"}])
def test_a_tokenizer_of_bytes_knows_every_word(special: dict[str, str]) -> None:
    inner = tiny_tokenizer()
    for name, token in special.items():  # as GPT-2's: a special token by that name which stands for no word
        setattr(inner, name, token)
    tokenizer = BoundedTokenizer(inner, where="a test")
    texts = ["zqzq Жж 日本 😀", "", "<|endoftext|> red"]
    assert not any(word.unknown for words in read_words(tokenizer, texts) for word in words)
