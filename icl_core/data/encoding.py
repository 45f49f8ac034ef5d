"""Turns prompts into token ids by joint tokenisation, and cuts inputs if a prompt is longer than the context.

It runs no model and knows no tasks. Tokenising context and label apart gives other ids than the model would see:
byte-pair tokenizers merge across the boundary (full stop + newline, newline + newline) and SentencePiece marks
the start of a text. So context + label is tokenised as one text. The continuation starts at the first token that holds
a character of the label; all labels of a query take the earliest such start. Source: arXiv 2405.14782, section 3, for
the problem; the solution here goes by characters.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from icl_core.data.prompts import CellPrompts, make_example
from icl_core.errors import ScoringError
from icl_core.records import EncodedRequest, Example
from icl_core.sequences import n_common_of_all

__all__ = ["EncodedCell", "encode_cell", "encode_requests", "encode_requests_plain"]

_GROUP_CHARACTERS = 192
_TAIL_CHARACTERS = 160
_MARGIN_CHARACTERS = 16
_MIN_AGREEING_TOKENS = 8
_MIN_GROUP = 16
_N_CHECKED = 8

Tokenizer = Any
"""A fast tokenizer of the ``transformers`` library."""


@dataclass(frozen=True, slots=True)
class _Tokens:
    """Ids of one text, and for each token the range of characters that it holds."""

    ids: list[int]
    offsets: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class EncodedCell:
    """The token ids of one cell.

    Attributes:
        prompts: the text that was encoded, after any cut.
        requests: (n_queries,) one for each query.
        content_free: the content-free query under the same demonstrations.
        context_cut: largest number of tokens left to an input text (each sentence of a pair), None if nothing was cut.
        n_shortened: demonstrations and queries that were cut.
    """

    prompts: CellPrompts
    requests: tuple[EncodedRequest, ...]
    content_free: EncodedRequest
    context_cut: int | None = None
    n_shortened: int = 0


def encode_requests(
    tokenizer: Tokenizer, contexts: Sequence[str], choices: Sequence[str] | Sequence[Sequence[str]]
) -> list[EncodedRequest]:
    """The ids of each context with each of its choices; the same as ``encode_requests_plain``, but faster.

    The common beginning of the contexts, without its last few characters, is tokenised once; only the rest is tokenised
    for every query and label. The ids are joined at a place where both tokenisations agree. For a few queries they are
    compared with the plain ones; if anything differs, the plain version is used.

    Args:
        tokenizer: fast tokenizer; its special tokens are added as it does by default.
        contexts: (n_requests,) text before the label.
        choices: (n_choices,) the same for all contexts, or one such sequence for each context.

    Raises:
        ScoringError: the tokenizer gives no character offsets, drops a label, or leaves no token before it.
    """
    by_context = _choices_by_context(contexts, choices)
    groups: dict[str, list[int]] = defaultdict(list)
    for index, context in enumerate(contexts):
        groups[context[:_GROUP_CHARACTERS]].append(index)
    requests: dict[int, EncodedRequest] = {}
    for indices in groups.values():
        group = [contexts[i] for i in indices], [by_context[i] for i in indices]
        encoded = _encode_spliced(tokenizer, *group) or encode_requests_plain(tokenizer, *group)
        requests.update(zip(indices, encoded, strict=True))
    return [requests[index] for index in range(len(contexts))]


def encode_requests_plain(
    tokenizer: Tokenizer, contexts: Sequence[str], choices: Sequence[str] | Sequence[Sequence[str]]
) -> list[EncodedRequest]:
    """The same by tokenising every context with every choice in full: the definition of the ids."""
    return [
        _request(_tokenize(tokenizer, [context + label for label in labels]), len(context), labels=labels)
        for context, labels in zip(contexts, _choices_by_context(contexts, choices), strict=True)
    ]


def _choices_by_context(
    contexts: Sequence[str], choices: Sequence[str] | Sequence[Sequence[str]]
) -> list[Sequence[str]]:
    if all(isinstance(choice, str) for choice in choices):
        return [[str(choice) for choice in choices]] * len(contexts)
    return list(choices)


def _tokenize(tokenizer: Tokenizer, texts: Sequence[str], *, special_tokens: bool = True) -> list[_Tokens]:
    """Ids and offsets without special tokens at the end (a model never reads on after them)."""
    if not getattr(tokenizer, "is_fast", False):
        raise ScoringError(
            f"The tokenizer {type(tokenizer).__name__} gives no character offsets; use a checkpoint with a fast one."
        )
    if not texts:
        return []
    batch = tokenizer(
        list(texts),
        add_special_tokens=special_tokens,
        return_offsets_mapping=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    special = set(tokenizer.all_special_ids)
    tokens = [_Tokens(*pair) for pair in zip(batch["input_ids"], batch["offset_mapping"], strict=True)]
    for text in tokens:
        while text.ids and text.ids[-1] in special and text.offsets[-1] == (0, 0):
            text.ids.pop()
            text.offsets.pop()
    return tokens


def _request(
    encoded: Sequence[_Tokens], n_context_characters: int, *, labels: Sequence[str], head: Sequence[int] = ()
) -> EncodedRequest:
    """Splits the joint ids of one context with each label; ``head`` holds the ids before those given."""
    boundary = n_common_of_all([tokens.ids for tokens in encoded])
    for tokens, label in zip(encoded, labels, strict=True):
        first = next((i for i, (_, end) in enumerate(tokens.offsets) if end > n_context_characters), None)
        if first is None:
            raise ScoringError(f"The tokenizer gives no token for the label {label!r}; choose other label words.")
        boundary = min(boundary, first)
    if not head and boundary == 0:
        raise ScoringError("No token stands before the label, so it cannot be scored; give a longer context.")
    return EncodedRequest(
        context_ids=(*head, *encoded[0].ids[:boundary]),
        continuation_ids=tuple(tuple(tokens.ids[boundary:]) for tokens in encoded),
    )


def _encode_spliced(
    tokenizer: Tokenizer, contexts: Sequence[str], choices: Sequence[Sequence[str]]
) -> list[EncodedRequest] | None:
    """The fast version for contexts that begin alike; None if it would not be faster, or might not be exact."""
    n_shared = n_common_of_all(contexts)
    if len(contexts) < _MIN_GROUP or n_shared < _GROUP_CHARACTERS:
        return None
    whole = _tokenize(tokenizer, [contexts[0] + choices[0][0]])[0]
    start = next(begin for begin, _ in whole.offsets if begin >= n_shared - _TAIL_CHARACTERS)
    texts = [context[start:] + label for context, labels in zip(contexts, choices, strict=True) for label in labels]
    tails = [_shifted(tail, start) for tail in _tokenize(tokenizer, texts, special_tokens=False)]
    stop = next(i for i, (_, end) in enumerate(whole.offsets) if end > n_shared - _MARGIN_CHARACTERS)
    splice = _find_splice(whole, tails[0], start=start, stop=stop)
    if splice is None or not all(_agree(whole, tail, splice=splice, stop=stop) for tail in tails):
        return None
    head, remaining = whole.ids[: splice[0]], iter(tails)
    requests = [
        _request([_from(next(remaining), splice[1]) for _ in labels], len(context), labels=labels, head=head)
        for context, labels in zip(contexts, choices, strict=True)
    ]
    checked = range(0, len(contexts), -(-len(contexts) // _N_CHECKED))
    plain = encode_requests_plain(tokenizer, [contexts[i] for i in checked], [choices[i] for i in checked])
    return requests if plain == [requests[i] for i in checked] else None


def _shifted(tokens: _Tokens, by: int) -> _Tokens:
    return _Tokens(tokens.ids, [(begin + by, end + by) for begin, end in tokens.offsets])


def _from(tokens: _Tokens, first: int) -> _Tokens:
    return _Tokens(tokens.ids[first:], tokens.offsets[first:])


def _find_splice(whole: _Tokens, tail: _Tokens, *, start: int, stop: int) -> tuple[int, int] | None:
    """First position in both from which they agree up to ``stop`` of the whole, over enough tokens to join there."""
    for i in range(stop - _MIN_AGREEING_TOKENS + 1):
        if whole.offsets[i][0] >= start and whole.offsets[i] in tail.offsets:
            splice = (i, tail.offsets.index(whole.offsets[i]))
            if _agree(whole, tail, splice=splice, stop=stop):
                return splice
    return None


def _agree(whole: _Tokens, tail: _Tokens, *, splice: tuple[int, int], stop: int) -> bool:
    i, j = splice
    end = j + stop - i
    return whole.ids[i:stop] == tail.ids[j:end] and whole.offsets[i:stop] == tail.offsets[j:end]


def encode_cell(
    tokenizer: Tokenizer,
    render: Callable[[Sequence[Example], Sequence[Example]], CellPrompts],
    *,
    demonstrations: Sequence[Example],
    queries: Sequence[Example],
    context_length: int,
) -> EncodedCell:
    """Encodes a cell; if its longest prompt does not fit into the context, all input texts are cut alike.

    One limit of tokens holds for every input text (of demonstrations and queries, each sentence of a pair by itself):
    the largest with which everything fits. The labels and the content-free query are never cut.

    Args:
        tokenizer: fast tokenizer of the checkpoint.
        render: writes the prompts of given demonstrations and queries.
        demonstrations: (n_shots,) examples.
        queries: (n_queries,) examples.
        context_length: largest number of tokens of a prompt with its label.

    Raises:
        ScoringError: the prompt does not fit even with empty texts, or two labels have the same tokens.
    """
    cell = _encode(tokenizer, render, demonstrations=demonstrations, queries=queries)
    if _n_longest(cell) <= context_length:
        return cell
    texts = _CuttableTexts(tokenizer, [*demonstrations, *queries])
    n_shots = len(demonstrations)
    suspects = texts.longest(queries_from=n_shots)

    def encode_cut(cut: int, asked: Sequence[int]) -> EncodedCell:
        return _encode(tokenizer, render, demonstrations=texts.cut(range(n_shots), cut), queries=texts.cut(asked, cut))

    cut = _largest(lambda n: _n_longest(encode_cut(n, suspects)) <= context_length, texts.n_most)
    while cut >= 0:
        everyone = range(n_shots, n_shots + len(queries))
        cell = encode_cut(cut, everyone)
        if _n_longest(cell) <= context_length:
            return replace(cell, context_cut=cut, n_shortened=texts.n_shortened(cut))
        cut -= 1
    n_empty = _n_longest(encode_cut(0, suspects))
    raise ScoringError(
        f"The prompt has {n_empty} tokens even with empty texts, more than the model's context of {context_length}; "
        "ask fewer shots."
    )


def _encode(
    tokenizer: Tokenizer,
    render: Callable[[Sequence[Example], Sequence[Example]], CellPrompts],
    *,
    demonstrations: Sequence[Example],
    queries: Sequence[Example],
) -> EncodedCell:
    prompts = render(demonstrations, queries)
    *requests, content_free = encode_requests(
        tokenizer, [*prompts.contexts, prompts.content_free_context], prompts.choices
    )
    for request in (*requests, content_free):
        if len(set(request.continuation_ids)) < len(prompts.choices):
            raise ScoringError(
                f"The tokenizer gives the same tokens to two of the labels {', '.join(prompts.choices)}, "
                "so they cannot be told apart; choose other label words or another alphabet."
            )
    return EncodedCell(prompts, tuple(requests), content_free)


def _n_longest(cell: EncodedCell) -> int:
    return max(
        len(request.context_ids) + max(map(len, request.continuation_ids))
        for request in (*cell.requests, cell.content_free)
    )


def _largest(fits: Callable[[int], bool], too_many: int) -> int:
    """The largest n below ``too_many`` that fits, -1 if none does; if n fits, all smaller numbers do.

    >>> _largest(lambda n: n <= 5, 40), _largest(lambda n: False, 40)
    (5, -1)
    """
    low, high = -1, too_many
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


class _CuttableTexts:
    """Examples whose texts can be cut to a number of tokens."""

    def __init__(self, tokenizer: Tokenizer, examples: Sequence[Example]) -> None:
        self._examples = examples
        texts = [example.text_pair or (example.text,) for example in examples]
        tokens = iter(_tokenize(tokenizer, [text for pair in texts for text in pair], special_tokens=False))
        self._texts = [[(text, [begin for begin, _ in next(tokens).offsets]) for text in pair] for pair in texts]

    @property
    def n_most(self) -> int:
        """Largest number of tokens of a text."""
        return max((len(begins) for texts in self._texts for _, begins in texts), default=0)

    def longest(self, *, queries_from: int) -> list[int]:
        """Positions of the few longest examples from a position on."""
        n_tokens = [sum(len(begins) for _, begins in texts) for texts in self._texts]
        return sorted(range(queries_from, len(n_tokens)), key=lambda i: -n_tokens[i])[:_N_CHECKED]

    def cut(self, positions: Sequence[int], n_tokens: int) -> list[Example]:
        """The examples at these positions, each text cut to at most this number of tokens."""
        return [self._cut(position, n_tokens) for position in positions]

    def _cut(self, position: int, n_tokens: int) -> Example:
        example = self._examples[position]
        texts = [
            text[: begins[n_tokens]].rstrip() if len(begins) > n_tokens else text
            for text, begins in self._texts[position]
        ]
        return make_example(example.row_id, texts, example.gold)

    def n_shortened(self, n_tokens: int) -> int:
        """Number of examples with a text of more tokens."""
        return sum(any(len(begins) > n_tokens for _, begins in texts) for texts in self._texts)
