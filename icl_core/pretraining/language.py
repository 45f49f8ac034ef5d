"""The synthetic language of the tiny suite: words, senses, documents and inputs to classify.

A class is a cluster of six pseudo-words and one label word. Two *core* words always belong to their class. Four
*ambiguous* words belong to any class of their task, redrawn for every document (in knowledge text, for every
statement). So neither the prior alone nor the demonstrations alone tell the whole answer. It draws token ids with
numpy; it knows neither models nor checkpoints, and writes no files.

Source: the three label settings of arXiv 2305.09731 and the task recognition / task learning split of
arXiv 2406.14022; the language itself is this project's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

__all__ = [
    "DOCUMENT_KINDS",
    "END",
    "NEWLINE",
    "N_CORE_WORDS",
    "N_WORDS_PER_CLASS",
    "SEPARATOR",
    "TINY_TASKS",
    "UNKNOWN",
    "DocumentKind",
    "TinyTask",
    "class_words",
    "draw_input",
    "filler_words",
    "make_document",
    "token_ids",
    "vocabulary",
]

IntArray = npt.NDArray[np.int64]
DocumentKind = Literal["knowledge", "knowledge_lists", "natural_lists", "permuted_lists", "symbol_lists", "repetition"]
DOCUMENT_KINDS: tuple[DocumentKind, ...] = get_args(DocumentKind)

N_WORDS_PER_CLASS = 6
N_CORE_WORDS = 2
N_FILLERS = 24
P_OWN_CLASS = 0.65
"""Share of an input's words that come from the words of its class."""
P_OTHER_CLASS = 0.08
"""Share of words from another class of the same task; the rest are fillers."""
MAX_INPUT_WORDS = 4

SYMBOLS = tuple("@#$%*^{}")
DIGITS = tuple("0123456789")
LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
UNKNOWN, END = "<unk>", "<eos>"
NEWLINE, SEPARATOR, IS, STOP = "\n", "\n\n\n", "is", "."


@dataclass(frozen=True, slots=True)
class TinyTask:
    """One classification task of the language.

    Attributes:
        name: name in the task registry.
        title: what the user reads.
        label_words: one word per class, in label order.
        held_out: True if no list-like document of the training text shows this task alone. Its demonstrations are then
            a new task for the model, though its words occur in knowledge text and in pseudo-tasks mixed from all
            classes.
    """

    name: str
    title: str
    label_words: tuple[str, ...]
    held_out: bool = False


TINY_TASKS: tuple[TinyTask, ...] = (
    TinyTask("tiny_polarity", "Tiny polarity", ("good", "bad")),
    TinyTask("tiny_truth", "Tiny truth (held out)", ("true", "false"), held_out=True),
    TinyTask("tiny_size", "Tiny size", ("small", "medium", "large")),
    TinyTask("tiny_season", "Tiny season", ("spring", "summer", "autumn", "winter")),
    TinyTask("tiny_motion", "Tiny motion", ("fast", "slow")),
    TinyTask("tiny_taste", "Tiny taste (held out)", ("sweet", "sour", "salty"), held_out=True),
    TinyTask("tiny_wind", "Tiny wind (held out)", ("north", "east", "south", "west"), held_out=True),
    TinyTask("tiny_colour", "Tiny colour", ("red", "green", "blue", "yellow", "black", "white")),
)


@dataclass(frozen=True, slots=True)
class _Tables:
    """Token ids of the language, by purpose.

    Attributes:
        words: (n_classes, N_WORDS_PER_CLASS); the first N_CORE_WORDS columns are the core words.
        labels: (n_classes,) natural label word of each class.
        task_of_class, first_class, n_labels: the task of each class; first class and size of each task.
        fillers, filler_cumulative: (N_FILLERS + 1,) filler ids, the unknown word last, and their cumulative shares.
        symbols, marks: arbitrary names: the eight symbols, and digits and letters.
    """

    words: IntArray
    labels: IntArray
    task_of_class: IntArray
    first_class: IntArray
    n_labels: IntArray
    fillers: IntArray
    filler_cumulative: npt.NDArray[np.float64]
    symbols: IntArray
    marks: IntArray
    open_tasks: IntArray


def _pseudo_word(index: int) -> str:
    """The index-th two-syllable word of a fixed order without repetition (4,900 words)."""
    syllables = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
    first, second = divmod((index * 1831 + 17) % len(syllables) ** 2, len(syllables))
    return syllables[first] + syllables[second]


def _n_classes() -> int:
    return sum(len(task.label_words) for task in TINY_TASKS)


def class_words(class_index: int) -> tuple[str, ...]:
    """The six words of a class (classes counted over all tasks), core words first, in the evaluated sense."""
    start = class_index * N_WORDS_PER_CLASS
    return tuple(_pseudo_word(start + i) for i in range(N_WORDS_PER_CLASS))


def filler_words() -> tuple[str, ...]:
    """The words that say nothing about any class, from the commonest to the rarest."""
    start = _n_classes() * N_WORDS_PER_CLASS
    return tuple(_pseudo_word(start + i) for i in range(N_FILLERS))


@cache
def vocabulary() -> tuple[str, ...]:
    """All tokens; the index is the token id. The unknown word is 0, the end of text 1."""
    labels = [word for task in TINY_TASKS for word in task.label_words]
    words = [word for c in range(_n_classes()) for word in class_words(c)]
    structure = (UNKNOWN, END, NEWLINE, SEPARATOR, IS, STOP)
    return (*structure, *SYMBOLS, *DIGITS, *LETTERS, *labels, *words, *filler_words())


@cache
def token_ids() -> dict[str, int]:
    """Token id by token."""
    return {token: index for index, token in enumerate(vocabulary())}


@cache
def _tables() -> _Tables:
    ids = token_ids()
    n_labels = np.array([len(task.label_words) for task in TINY_TASKS])
    shares = 1.0 / np.arange(1, N_FILLERS + 2) ** 0.8

    def encode(words: Sequence[str]) -> IntArray:
        return np.array([ids[word] for word in words], dtype=np.int64)

    return _Tables(
        words=np.stack([encode(class_words(c)) for c in range(_n_classes())]),
        labels=encode([word for task in TINY_TASKS for word in task.label_words]),
        task_of_class=np.repeat(np.arange(len(TINY_TASKS)), n_labels),
        first_class=np.cumsum(n_labels) - n_labels,
        n_labels=n_labels,
        fillers=encode((*filler_words(), UNKNOWN)),
        filler_cumulative=np.cumsum(shares) / shares.sum(),
        symbols=encode(SYMBOLS),
        marks=encode((*DIGITS, *LETTERS)),
        open_tasks=np.array([i for i, task in enumerate(TINY_TASKS) if not task.held_out]),
    )


def _draw_sense(rng: np.random.Generator, classes: IntArray) -> IntArray:
    """(n_classes, 6) words of the given classes in a fresh sense: ambiguous words are redistributed among them."""
    lexicon = _tables().words[classes].copy()
    ambiguous = lexicon[:, N_CORE_WORDS:]
    lexicon[:, N_CORE_WORDS:] = rng.permutation(ambiguous.ravel()).reshape(ambiguous.shape)
    return lexicon


def _with_fillers(rng: np.random.Generator, own: IntArray, other: IntArray) -> IntArray:
    """Mix words of the class, of another class, and fillers, by their shares; same shape as ``own``."""
    tables = _tables()
    source = rng.random(own.shape)
    ranks = np.searchsorted(tables.filler_cumulative, rng.random(own.shape))
    mixed = np.where(source < P_OWN_CLASS, own, other)
    return np.where(source < P_OWN_CLASS + P_OTHER_CLASS, mixed, tables.fillers[ranks])


def draw_input(rng: np.random.Generator, lexicon: IntArray, labels: IntArray, *, n_words: int) -> IntArray:
    """Draw inputs of one task in one sense.

    Args:
        rng: source of randomness.
        lexicon: (n_classes, n_words_per_class) token ids of the words that mean each class, 2 classes or more.
        labels: (n_inputs,) class of each input, as a row of the lexicon.
        n_words: words of each input, 1 or more.

    Returns:
        (n_inputs, n_words) token ids.
    """
    n_classes, per_class = lexicon.shape
    shape = (len(labels), n_words)
    own = lexicon[labels[:, None], rng.integers(per_class, size=shape)]
    others = (labels[:, None] + rng.integers(1, n_classes, size=shape)) % n_classes
    return _with_fillers(rng, own, lexicon[others, rng.integers(per_class, size=shape)])


def _draw_mixed_inputs(rng: np.random.Generator, classes: IntArray, *, n_words: int) -> IntArray:
    """(n_inputs, n_words) inputs of classes of any tasks, each input in its own sense."""
    tables = _tables()
    task = tables.task_of_class[classes][:, None]
    first, n_labels = tables.first_class[task], tables.n_labels[task]
    shape = (len(classes), n_words)

    def words_of(intended: IntArray) -> IntArray:
        column = rng.integers(N_WORDS_PER_CLASS, size=shape)
        anywhere = first + rng.integers(n_labels, size=shape)
        return tables.words[np.where(column < N_CORE_WORDS, intended, anywhere), column]

    own = np.broadcast_to(classes[:, None], shape)
    other = first + (own - first + rng.integers(1, n_labels, size=shape)) % n_labels
    return _with_fillers(rng, words_of(own), words_of(other))


def _layout(inputs: IntArray, names: IntArray, *, between: str, after: str, length: int) -> IntArray:
    """(length,) tokens: each input, ``between``, its name, ``after``; cut at ``length``."""
    ids = token_ids()
    n = len(inputs)
    columns = [inputs, np.full((n, 1), ids[between]), names[:, None], np.full((n, 1), ids[after])]
    return np.concatenate(columns, axis=1).ravel()[:length]


def _n_items(length: int, n_words: int) -> int:
    return -(-length // (n_words + 3))


def _noisy(rng: np.random.Generator, labels: IntArray, *, n_labels: IntArray | int, label_noise: float) -> IntArray:
    """Redraw each label uniformly (it may stay) with probability ``label_noise``."""
    redrawn = rng.integers(n_labels, size=labels.shape)
    return np.where(rng.random(labels.shape) < label_noise, redrawn, labels)


def _knowledge(rng: np.random.Generator, *, as_list: bool, length: int, label_noise: float) -> IntArray:
    """Statements or list items of mixed tasks under natural labels, each in its own sense."""
    tables = _tables()
    n_words = int(rng.integers(1, MAX_INPUT_WORDS + 1))
    task = rng.integers(len(tables.n_labels), size=_n_items(length, n_words))
    first, n_labels = tables.first_class[task], tables.n_labels[task]
    labels = rng.integers(n_labels)
    inputs = _draw_mixed_inputs(rng, first + labels, n_words=n_words)
    names = tables.labels[first + _noisy(rng, labels, n_labels=n_labels, label_noise=label_noise)]
    between, after = (NEWLINE, SEPARATOR) if as_list else (IS, STOP)
    return _layout(inputs, names, between=between, after=after, length=length)


def _task_classes(rng: np.random.Generator, *, pseudo_task: bool) -> IntArray:
    """Classes of one task that is not held out, or of a pseudo-task of 2 to 6 classes from anywhere."""
    tables = _tables()
    if pseudo_task:
        return rng.permutation(len(tables.labels))[: rng.integers(2, 7)]
    task = rng.choice(tables.open_tasks)
    return np.arange(tables.first_class[task], tables.first_class[task] + tables.n_labels[task])


def _natural_list(rng: np.random.Generator, *, permuted: bool, length: int, label_noise: float) -> IntArray:
    """One task in one sense under its natural labels, in order or permuted for this document."""
    classes = _task_classes(rng, pseudo_task=permuted and rng.random() < 0.5)
    names = _tables().labels[rng.permutation(classes) if permuted else classes]
    n_words = int(rng.integers(1, MAX_INPUT_WORDS + 1))
    labels = rng.integers(len(classes), size=_n_items(length, n_words))
    inputs = draw_input(rng, _draw_sense(rng, classes), labels, n_words=n_words)
    shown = names[_noisy(rng, labels, n_labels=len(classes), label_noise=label_noise)]
    return _layout(inputs, shown, between=NEWLINE, after=SEPARATOR, length=length)


def _symbol_list(rng: np.random.Generator, *, length: int, p_label_words: float) -> IntArray:
    """One task or pseudo-task in one sense under arbitrary names drawn for this document.

    Inputs of one or two words use few words per class, so that words recur; inputs of one word have no fillers. From
    these easy cases the model first learns to copy from the demonstrations.
    """
    tables = _tables()
    classes = _task_classes(rng, pseudo_task=rng.random() < 0.5)
    group = rng.random()
    marks = tables.symbols if group > p_label_words + 0.25 else tables.marks
    names = rng.permutation(tables.labels if group < p_label_words else marks)[: len(classes)]
    n_words = int(rng.integers(1, MAX_INPUT_WORDS + 1))
    per_class = {1: int(rng.integers(1, 4)), 2: int(rng.integers(2, 6))}.get(n_words, N_WORDS_PER_CLASS)
    lexicon = rng.permuted(_draw_sense(rng, classes), axis=1)[:, :per_class]
    labels = rng.integers(len(classes), size=_n_items(length, n_words))
    if n_words == 1:
        inputs = lexicon[labels, rng.integers(per_class, size=len(labels))][:, None]
    else:
        inputs = draw_input(rng, lexicon, labels, n_words=n_words)
    return _layout(inputs, names[labels], between=NEWLINE, after=SEPARATOR, length=length)


def _repetition(rng: np.random.Generator, *, length: int) -> IntArray:
    """A random string of 6 to 23 tokens, over and over."""
    string = rng.integers(2, len(vocabulary()), size=int(rng.integers(6, 24)))
    return np.resize(string, length)


def make_document(
    rng: np.random.Generator,
    kind: DocumentKind,
    *,
    length: int,
    label_noise: float = 0.0,
    p_label_words: float = 0.15,
) -> IntArray:
    """Draw one document that fills a context.

    Args:
        rng: source of randomness; the document is a function of its state and the other arguments.
        kind: knowledge (statements ``x is y .`` of mixed tasks), knowledge_lists (the same, as list items),
            natural_lists (one task, natural labels), permuted_lists (natural labels permuted for the document),
            symbol_lists (arbitrary names), repetition (a random string tiled).
        length: tokens of the document; the last item is cut there.
        label_noise: share of natural labels that are redrawn, in [0, 1] (not in permuted and symbol lists).
        p_label_words: share of symbol lists whose arbitrary names are label words of any tasks.

    Returns:
        (length,) token ids.
    """
    if kind == "knowledge" or kind == "knowledge_lists":
        return _knowledge(rng, as_list=kind == "knowledge_lists", length=length, label_noise=label_noise)
    if kind == "natural_lists":
        return _natural_list(rng, permuted=False, length=length, label_noise=label_noise)
    if kind == "permuted_lists":
        return _natural_list(rng, permuted=True, length=length, label_noise=0.0)
    if kind == "symbol_lists":
        return _symbol_list(rng, length=length, p_label_words=p_label_words)
    return _repetition(rng, length=length)
