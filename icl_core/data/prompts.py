"""Writes the text of prompts: templates, label settings, the content-free query.

It knows no tokens and no models, and reads no files.
Source: arXiv 2305.09731 (templates, label settings), arXiv 2102.09690 (content-free query).
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass

from icl_core.data.label_settings import abstract_symbols, random_label_indices
from icl_core.records import Alphabet, Example, LabelSetting
from icl_core.registry.tasks import Task

__all__ = ["CONTENT_FREE_TEXT", "EXAMPLE_SEPARATOR", "CellPrompts", "build_cell_prompts", "clean_text", "make_example"]

EXAMPLE_SEPARATOR = "\n\n\n"
CONTENT_FREE_TEXT = "N/A"
_LINE_BREAK = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class CellPrompts:
    """The text of one cell.

    Attributes:
        contexts: (n_queries,) everything before the label.
        choices: (n_labels,) the string that stands for each label, by label id.
        content_free_context: the context of the query "N/A" (in both sentences of a pair task).
        demonstrations: (n_shots,) in the order of the prompt.
        demonstration_labels: (n_shots,) the strings printed after them.
    """

    contexts: tuple[str, ...]
    choices: tuple[str, ...]
    content_free_context: str
    demonstrations: tuple[Example, ...]
    demonstration_labels: tuple[str, ...]


def clean_text(text: str) -> str:
    r"""The text on one line: line breaks become spaces, surrounding white space is stripped, the rest stays.

    >>> clean_text("  a\r\nb  c\t ")
    'a b  c'
    """
    return _LINE_BREAK.sub(" ", text).strip()


def make_example(row_id: str, texts: Sequence[str], gold: int) -> Example:
    """An example from its one or two clean texts."""
    if len(texts) == 1:
        return Example(row_id, texts[0], gold)
    first, second = texts
    return Example(row_id, f"{first} [SEP] {second}", gold, (first, second))


def build_cell_prompts(
    task: Task,
    demonstrations: Sequence[Example],
    queries: Sequence[Example],
    *,
    label_setting: LabelSetting,
    demo_seed: int,
    label_word_set: str = "natural",
    template: str = "minimal",
    alphabet: Alphabet = "symbols",
) -> CellPrompts:
    """The prompts of a cell; the inputs and their order are the same in every label setting.

    Args:
        task: gives label words and template.
        demonstrations: (n_shots,) in the order of the prompt.
        queries: (n_queries,) the examples asked.
        label_setting: gold prints the true label words; random prints label words drawn independently of the gold
            labels; abstract prints distinct symbols in place of the words, in the choices too.
        demo_seed: keys the random labels and the symbols.
        label_word_set: name of a set of the task's label words.
        template: name of a template of the task.
        alphabet: of the symbols.

    Raises:
        UnknownNameError: the task has no such template or label-word set.
        StudyError: more labels than symbols.
    """
    words = task.words(label_word_set, template=template)
    if label_setting == "abstract":
        words = abstract_symbols(task.stream_name, n_labels=task.n_labels, alphabet=alphabet, demo_seed=demo_seed)
    labels: Sequence[int] = [example.gold for example in demonstrations]
    if label_setting == "random":
        labels = random_label_indices(
            task.stream_name, n_labels=task.n_labels, n_shots=len(demonstrations), demo_seed=demo_seed
        )
    printed = tuple(words[label] for label in labels)
    text = task.template_text(template)
    prefix = "".join(
        _fill(text, example) + label + EXAMPLE_SEPARATOR for example, label in zip(demonstrations, printed, strict=True)
    )
    content_free = make_example("content-free", (CONTENT_FREE_TEXT,) * len(task.text_columns), 0)
    return CellPrompts(
        contexts=tuple(prefix + _fill(text, query) for query in queries),
        choices=words,
        content_free_context=prefix + _fill(text, content_free),
        demonstrations=tuple(demonstrations),
        demonstration_labels=printed,
    )


def _fill(template_text: str, example: Example) -> str:
    first, second = example.text_pair or (example.text, "")
    return template_text.format(
        x=example.text,
        x_closed=_closed(example.text),
        s1=first,
        s2=second,
        s1_closed=_closed(first),
        s2_closed=_closed(second),
    )


def _closed(text: str) -> str:
    return text if text.endswith(tuple(string.punctuation)) else f"{text}."
