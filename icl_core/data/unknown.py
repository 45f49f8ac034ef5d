"""Which words of a text a tokenizer does not know: it gives the model its "unknown" token in their place.

A model cannot tell one unknown word from another. Tokenizers that fall back on bytes know every word. Nothing is scored
here. Source: the ``unk_token`` of https://huggingface.co/docs/tokenizers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

__all__ = ["ReadWord", "mostly_unknown", "read_words"]


@dataclass(frozen=True, slots=True)
class ReadWord:
    """A word as written, and whether it is unknown: any letter or digit of it; without these, any character."""

    word: str
    unknown: bool


def read_words(tokenizer: Any, texts: Sequence[str]) -> list[tuple[ReadWord, ...]]:
    """The words of each text, split at white space; a tokenizer without an unknown token knows all.

    Args:
        tokenizer: fast tokenizer.
        texts: as they stand in a prompt.
    """
    unknown_id = _unknown_id(tokenizer)
    read = tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    found = []
    for text, ids, offsets in zip(texts, read["input_ids"], read["offset_mapping"], strict=True):
        places = {at for token, (start, end) in zip(ids, offsets, strict=True) if token == unknown_id
                  for at in range(start, end)}  # fmt: skip
        found.append(tuple(_read(word, places) for word in re.finditer(r"\S+", text)))
    return found


def _unknown_id(tokenizer: Any) -> int | None:
    """The token for what the tokenizer does not know; None if it has none, as with a tokenizer of bytes."""
    plain = getattr(tokenizer, "wrapped", tokenizer)  # a ``BoundedTokenizer`` asks another process
    backend = plain.backend_tokenizer
    token = getattr(backend.model, "unk_token", plain.unk_token)  # a Unigram model does not tell its own
    return None if token is None else cast(int | None, backend.token_to_id(str(token)))


def _read(found: re.Match[str], unknown_places: set[int]) -> ReadWord:
    word = found.group()
    spoken = [at for at, character in enumerate(word, start=found.start()) if character.isalnum()]
    return ReadWord(word, not unknown_places.isdisjoint(spoken or range(found.start(), found.end())))


def mostly_unknown(words: Sequence[ReadWord]) -> bool:
    """Whether more than half of the words are unknown.

    >>> mostly_unknown([ReadWord("red", False), ReadWord("film", True)])
    False
    """
    return 2 * sum(word.unknown for word in words) > len(words)
