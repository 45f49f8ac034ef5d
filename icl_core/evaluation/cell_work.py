"""Turns the spec of a cell into token ids, and their scores into the record that is stored.

It runs no model and knows no store. Definitions of demonstrations and label settings: arXiv 2305.09731.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from icl_core.data.datasets import TaskData
from icl_core.data.encoding import EncodedCell, encode_cell
from icl_core.data.label_settings import choose_demonstrations
from icl_core.data.prompts import CellPrompts, build_cell_prompts
from icl_core.evaluation.cells import make_cell_key
from icl_core.records import CellKey, CellRecord, CellSpec, CheckpointIdentity, EncodedRequest, Example, LabelScores
from icl_core.sequences import n_common_of_all

__all__ = [
    "all_requests",
    "cell_demonstrations",
    "cell_key",
    "cell_queries",
    "encode_spec",
    "make_record",
    "n_characters",
]


def cell_queries(spec: CellSpec, data: TaskData) -> tuple[Example, ...]:
    """The rows that a cell evaluates: the head of its split's fixed order."""
    return (data.test if spec.split == "test" else data.dev)[: spec.n_examples]


def cell_key(spec: CellSpec, data: TaskData, *, identity: CheckpointIdentity) -> CellKey:
    """The key of the result of a spec, from the rows of its task and the identity of its checkpoint."""
    task = data.task
    return make_cell_key(
        spec,
        identity=identity,
        task=task,
        fingerprint=data.fingerprint,
        row_ids=[query.row_id for query in cell_queries(spec, data)],
        label_words=task.words(spec.label_word_set, template=spec.template),
        template_text=task.template_text(spec.template),
    )


def cell_demonstrations(spec: CellSpec, data: TaskData) -> tuple[Example, ...]:
    """The demonstrations of a cell, in the order of the prompt; they are the same in every label setting."""
    positions = choose_demonstrations(
        data.task.stream_name,
        data.pool_labels,  # type: ignore[arg-type]  # an array serves as a sequence here
        n_shots=spec.n_shots,
        demo_seed=spec.demo_seed,
        sampling=spec.sampling,
    )
    return tuple(data.demonstration_pool[position] for position in positions)


def encode_spec(tokenizer: Any, spec: CellSpec, data: TaskData, *, context_length: int) -> EncodedCell:
    """The token ids of a cell.

    Raises:
        ScoringError: a prompt is longer than the context even with empty texts, or two labels have the same tokens.
        StudyError: too few rows for the demonstrations, or more labels than symbols.
    """

    def render(demonstrations: Sequence[Example], queries: Sequence[Example]) -> CellPrompts:
        return build_cell_prompts(
            data.task,
            demonstrations,
            queries,
            label_setting=spec.label_setting,
            demo_seed=spec.demo_seed,
            label_word_set=spec.label_word_set,
            template=spec.template,
            alphabet=spec.alphabet,
        )

    return encode_cell(
        tokenizer,
        render,
        demonstrations=cell_demonstrations(spec, data),
        queries=cell_queries(spec, data),
        context_length=context_length,
    )


def all_requests(cell: EncodedCell) -> list[EncodedRequest]:
    """What is scored: one request per query, and the content-free one last."""
    return [*cell.requests, cell.content_free]


def make_record(
    spec: CellSpec,
    key: CellKey,
    cell: EncodedCell,
    *,
    queries: Sequence[Example],
    scores: Sequence[LabelScores],
    provenance: Mapping[str, str | int | float],
) -> CellRecord:
    """The record of a cell from its scores, in the order of ``all_requests``."""
    *rows, content_free = scores
    return CellRecord(
        spec=spec,
        key=key,
        row_ids=tuple(query.row_id for query in queries),
        gold=np.array([query.gold for query in queries], dtype=np.int64),
        loglikelihoods=np.stack([row.loglikelihoods for row in rows]).astype(np.float32),
        n_tokens=np.stack([row.n_tokens for row in rows]).astype(np.int64),
        content_free=content_free.loglikelihoods.astype(np.float32),
        content_free_n_tokens=content_free.n_tokens.astype(np.int64),
        choices=cell.prompts.choices,
        demonstration_ids=tuple(example.row_id for example in cell.prompts.demonstrations),
        demonstration_labels=cell.prompts.demonstration_labels,
        context_cut=cell.context_cut,
        n_shortened=cell.n_shortened,
        provenance=provenance,
    )


def n_characters(cell: EncodedCell) -> int:
    """Characters of a cell's prompts; the common beginning of all prompts counts once."""
    contexts = (*cell.prompts.contexts, cell.prompts.content_free_context)
    shared = n_common_of_all(contexts)
    return shared + sum(len(context) - shared for context in contexts)
