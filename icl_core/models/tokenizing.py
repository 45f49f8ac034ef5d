"""Strangers' tokenizers, used in a separate process with limits of time and memory.

A tokenizer is a program: its rules may make a text a million times longer, or take years to match. The results are the
same as in this process. This module decides neither which tokenizer is used nor whether it is a stranger's. Source:
https://huggingface.co/docs/tokenizers.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from icl_core.errors import CheckpointError, ScoringError, in_words
from icl_core.models.files import file_stamp
from icl_core.models.worker import Worker, WorkerEnded
from icl_core.units import byte_count

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

__all__ = ["BoundedTokenizer", "answer", "check_tokenizer_file", "count_tokens"]

LIMIT_SECONDS = 60.0
"""Longest time for one message, of at most MESSAGE_CHARACTERS; usual tokenizers take less than a second."""
COUNT_SECONDS = 20.0
"""The same for an estimate, which a person waits for."""
MESSAGE_CHARACTERS = 500_000
MOST_MEMORY_BYTES = 4 * 2**30
"""Largest memory that the process may take; half of the free memory if that is less."""
MOST_TOKENS_PER_CHARACTER = 32
"""A character has at most four bytes, and its compatible form at most 18 characters (U+FDFA)."""
_N_KEPT = 2

Encoded = tuple[list[int], list[tuple[int, int]]]


@cache
def _worker() -> Worker:
    """One process for all tokenizers that this process meets."""
    return Worker(f"{__name__}:answer")


_too_slow: dict[object, str] = {}
"""The sentence about each tokenizer that took too long, by name, so that nobody waits for it twice."""


def _ask(where: str, question: tuple[Any, ...], *, seconds: float) -> Any:
    """The worker's answer.

    Args:
        where: the file, in the user's words.
        question: for the worker: its kind, the name of the tokenizer, and what this kind needs.
        seconds: longest time that it may take.

    Raises:
        CheckpointError: a limit was exceeded or the process crashed.
        ScoringError: the tokenizer refuses.
    """
    name = question[1]
    if name in _too_slow:
        raise CheckpointError(_too_slow[name])
    memory_bytes = min(MOST_MEMORY_BYTES, psutil.virtual_memory().available / 2)
    limits = {"seconds": seconds, "memory_bytes": memory_bytes}
    try:
        try:
            return _worker().ask(question, **limits)
        except WorkerEnded as ended:
            if ended.reason != "died":
                raise
            return _worker().ask(question, **limits)  # something else may have killed it
    except WorkerEnded as ended:
        why = {
            "time": f"takes longer than {seconds:.0f} s for a few texts",
            "memory": f"needs more than {byte_count(memory_bytes)} of memory for a few texts",
        }.get(ended.reason, "ends the process that uses it")
        said = f"The tokenizer of {where} {why}, so it cannot be used."
        if ended.reason == "time":
            _too_slow[name] = said
        raise CheckpointError(said) from None


def check_tokenizer_file(path: Path, *, where: str) -> None:
    """Reads a ``tokenizer.json`` in the separate process before it is read in this one.

    Raises:
        CheckpointError: it cannot be read within the limits.
    """
    try:
        _ask(where, ("count", _file_name(path), []), seconds=LIMIT_SECONDS)
    except ScoringError as error:
        raise CheckpointError(f"The tokenizer in {path.parent} cannot be loaded: {error}") from None


def count_tokens(path: Path, texts: Sequence[str], *, where: str) -> list[float]:
    """Number of tokens of each text by a ``tokenizer.json``, without special tokens.

    Raises:
        CheckpointError: it cannot be read, or a limit was exceeded.
        ScoringError: it refuses a text.
    """
    name = _file_name(path)
    return [n for part in _parts(texts) for n in _ask(where, ("count", name, part), seconds=COUNT_SECONDS)]


def _file_name(path: Path) -> tuple[str, ...]:
    try:
        return (str(path), *map(str, file_stamp(path)))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from None


class BoundedTokenizer:
    """A fast tokenizer of transformers whose texts are tokenised in another process.

    Once it has exceeded a limit, it refuses at once: otherwise every cell would wait as long.

    Attributes:
        is_fast: always True.
        wrapped: the tokenizer itself, without limits.
    """

    is_fast = True

    def __init__(self, tokenizer: Any, *, where: str) -> None:
        self.wrapped, self._where = tokenizer, where
        self._refused = ""
        self._name = ""

    @property
    def kind(self) -> str:
        """The class of the tokenizer; class and files together decide the tokens."""
        return type(self.wrapped).__qualname__

    @property
    def all_special_ids(self) -> list[int]:
        """Ids of the tokens that stand for no text."""
        return list(self.wrapped.all_special_ids)

    def get_vocab(self) -> dict[str, int]:
        """Ids by token."""
        return dict(self.wrapped.get_vocab())

    def __call__(self, texts: str | Sequence[str], *, add_special_tokens: bool = True, **_: object) -> dict[str, Any]:
        """``input_ids`` and ``offset_mapping`` of a text, or lists of them for a list of texts."""
        if self._refused:
            raise CheckpointError(self._refused)
        many = [texts] if isinstance(texts, str) else list(texts)
        try:
            found = [pair for part in _parts(many) for pair in self._encode(part, add_special_tokens)]
        except CheckpointError as error:
            self._refused = str(error)
            raise
        ids, offsets = [pair[0] for pair in found], [pair[1] for pair in found]
        if isinstance(texts, str):
            return {"input_ids": ids[0], "offset_mapping": offsets[0]}
        return {"input_ids": ids, "offset_mapping": offsets}

    def _encode(self, texts: Sequence[str], add_special_tokens: bool) -> Iterator[Encoded]:
        splits = bool(getattr(self.wrapped, "split_special_tokens", False))
        rest = (texts, add_special_tokens, splits)
        known = ("encode", self._name, "", *rest)
        answered = _ask(self._where, known, seconds=LIMIT_SECONDS) if self._name else None
        if answered is None:  # the process does not have it, or was started anew
            text = self.wrapped.backend_tokenizer.to_str()
            self._name = hashlib.sha256(text.encode()).hexdigest()
            answered = _ask(self._where, ("encode", self._name, text, *rest), seconds=LIMIT_SECONDS)
        return _unpacked(*answered)


def _parts(texts: Sequence[str]) -> Iterator[list[str]]:
    """The texts, grouped into messages; a long text is a message by itself."""
    part: list[str] = []
    n_characters = 0
    for text in texts:
        if part and n_characters + len(text) > MESSAGE_CHARACTERS:
            yield part
            part, n_characters = [], 0
        part.append(text)
        n_characters += len(text)
    if part:
        yield part


def _unpacked(lengths: Sequence[int], ids: bytes, bounds: bytes) -> Iterator[Encoded]:
    all_ids, all_bounds = array("i", ids).tolist(), array("i", bounds).tolist()
    start = 0
    for length in lengths:
        end = start + length
        pairs = list(zip(all_bounds[2 * start : 2 * end : 2], all_bounds[2 * start + 1 : 2 * end : 2], strict=True))
        yield all_ids[start:end], pairs
        start = end


# In the process

_kept: dict[object, Tokenizer] = {}
"""The tokenizers used last, in the worker alone."""


def answer(question: tuple[Any, ...]) -> Any:
    """What the worker does: ``count`` tokens by a file, or ``encode`` by a tokenizer that it was sent.

    Raises:
        ScoringError: a text becomes far too long, or the library raised an error.
    """
    kind, name, *rest = question
    if kind == "count":
        return _count(name, *rest)
    text, texts, add_special_tokens, splits = rest
    return _encode(name, text, texts=texts, add_special_tokens=add_special_tokens, splits=splits)


def _count(name: tuple[str, ...], texts: list[str]) -> list[float]:
    from tokenizers import Tokenizer

    if name not in _kept:
        _keep(name, Tokenizer.from_file(name[0]))
    return [float(len(encoding.ids)) for encoding in _encodings(_kept[name], texts, False)]


def _encode(
    name: str, text: str, *, texts: list[str], add_special_tokens: bool, splits: bool
) -> tuple[list[int], bytes, bytes] | None:
    from tokenizers import Tokenizer

    if name not in _kept:
        if not text:
            return None
        _keep(name, Tokenizer.from_str(text))
    tokenizer = _kept[name]
    tokenizer.encode_special_tokens = splits
    encodings = _encodings(tokenizer, texts, add_special_tokens)
    flat = chain.from_iterable
    ids = array("i", flat(encoding.ids for encoding in encodings))
    bounds = array("i", flat(flat(encoding.offsets for encoding in encodings)))
    return [len(encoding) for encoding in encodings], ids.tobytes(), bounds.tobytes()


def _keep(name: object, tokenizer: Tokenizer) -> None:
    tokenizer.no_truncation()
    tokenizer.no_padding()
    while len(_kept) >= _N_KEPT:
        del _kept[next(iter(_kept))]
    _kept[name] = tokenizer


def _encodings(tokenizer: Tokenizer, texts: list[str], add_special_tokens: bool) -> list[Encoding]:
    try:
        encodings: list[Encoding] = tokenizer.encode_batch(texts, add_special_tokens=add_special_tokens)
    except BaseException as error:  # such as a regular expression that takes too many steps
        raise ScoringError(f"The tokenizer gives up on a text. {in_words(error)}") from None
    for text, encoding in zip(texts, encodings, strict=True):
        if len(encoding) > MOST_TOKENS_PER_CHARACTER * (len(text) + 8):
            raise ScoringError(
                f"The tokenizer gives {len(encoding):,} tokens for a text of {len(text):,} characters, so it cannot be "
                "used."
            )
    return encodings
