"""The token ids of a run's cells, made once for all checkpoints with the same tokenizer and context length.

It scores and stores nothing. Encoding a cell of a tiny model takes longer than scoring it, and the checkpoints of one
model differ only in their weights.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from icl_core.data.datasets import TaskData
from icl_core.data.encoding import EncodedCell
from icl_core.evaluation.cell_work import all_requests, encode_spec, n_characters
from icl_core.evaluation.shapes import WorkCount, count_work
from icl_core.records import CellSpec, CheckpointIdentity, CheckpointRef, EncodedRequest

__all__ = ["Encodings", "PreparedCell"]

MOST_KEPT_TOKENS = 20_000_000
"""Number of token ids kept for later checkpoints, at most; about 160 MB. Each prompt counts with its demonstrations."""

_ANY_CHECKPOINT = CheckpointRef("", "", "", "folder", "")


@dataclass(frozen=True, slots=True)
class PreparedCell:
    """A cell ready to be scored.

    Attributes:
        encoded: prompts and token ids.
        requests: what is scored: the queries in order, and the content-free one last.
        work: tokens that go through the model.
        n_characters: characters of the prompts; their common beginning counts once.
        seconds: wall time of encoding; 0 for a cell that was kept from an earlier checkpoint.
    """

    encoded: EncodedCell
    requests: list[EncodedRequest]
    work: WorkCount
    n_characters: int
    seconds: float

    @property
    def n_kept_tokens(self) -> int:
        """Token ids that the cell holds."""
        return sum(len(request.context_ids) for request in self.requests)


class Encodings:
    """The prepared cells of a run; only one thread may use it at a time.

    All checkpoints ask for the same cells in turn, so the cells that were kept first are needed again first. So once
    the memory is used up, no more cells are kept, and none is dropped.
    """

    def __init__(self, most_tokens: int = MOST_KEPT_TOKENS) -> None:
        self._left = most_tokens
        self._kept: dict[tuple[str, str, int, CellSpec], PreparedCell] = {}

    def prepare(self, tokenizer: Any, spec: CellSpec, data: TaskData, *, identity: CheckpointIdentity) -> PreparedCell:
        """The cell's token ids, kept from another checkpoint with the same tokenizer or made now.

        Args:
            tokenizer: of the checkpoint; its files, its class and the remap together decide the tokens.
            spec: what is asked; everything except the checkpoint decides the prompts.
            data: rows of its task; the same object for the whole run.
            identity: tells the tokenizer's content and the context length.

        Raises:
            ObservatoryError: the cell cannot be encoded (``cell_work.encode_spec``).
        """
        anyone = replace(_ANY_CHECKPOINT, remap=spec.checkpoint.remap)
        kind = getattr(tokenizer, "kind", type(tokenizer).__qualname__)
        key = (identity.tokenizer_sha256, kind, identity.context_length, replace(spec, checkpoint=anyone))
        if key in self._kept:
            return self._kept[key]
        start = time.perf_counter()
        encoded = encode_spec(tokenizer, spec, data, context_length=identity.context_length)
        requests = all_requests(encoded)
        kept = PreparedCell(encoded, requests, count_work(requests), n_characters(encoded), 0.0)
        if kept.n_kept_tokens <= self._left:
            self._left -= kept.n_kept_tokens
            self._kept[key] = kept
        return replace(kept, seconds=time.perf_counter() - start)
