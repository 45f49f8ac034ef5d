"""The cells of a study and their identity: makes the key of a result from its spec and the content behind it.

It computes no score and reads no file. Two results share a key only if everything that changes their numbers is equal:
hashes of weights, tokenizer and rows, never a branch name.
"""

from __future__ import annotations

from collections.abc import Sequence

from icl_core.errors import ObservatoryError
from icl_core.records import (
    SCORING_VERSION,
    CellKey,
    CellSpec,
    CheckpointIdentity,
    digest_of,
    fields_in_key,
)
from icl_core.registry.tasks import FILE_PREFIX, Task, get_task

__all__ = ["current_versions", "make_cell_key"]


def make_cell_key(
    spec: CellSpec,
    *,
    identity: CheckpointIdentity,
    task: Task,
    fingerprint: str,
    row_ids: Sequence[str],
    label_words: Sequence[str],
    template_text: str,
) -> CellKey:
    """The key of the result of a spec, once its names are resolved to content.

    Args:
        spec: what is asked.
        identity: of the checkpoint, by content.
        task: the task's entry, for its version.
        fingerprint: hash of the task's rows as loaded.
        row_ids: evaluated rows, in order.
        label_words: by natural label index.
        template_text: the template's text, so that an edited template gives another key.

    The alphabet is part of the key only in the abstract setting, where it is used.
    """
    return CellKey(
        commit=identity.commit,
        weight_files=tuple(sorted(identity.weight_files)),
        tokenizer_sha256=identity.tokenizer_sha256,
        context_length=identity.context_length,
        remap=spec.checkpoint.remap,
        task_version=task.version,
        dataset_fingerprint=fingerprint,
        row_ids_sha256=digest_of(list(row_ids)),
        label_words=tuple(label_words),
        template_text=template_text,
        **fields_in_key(spec),
    )


def current_versions(task_name: str) -> tuple[int, int] | None:
    """(scoring version, task version) of current results of a task; None if the task is not known now.

    A local file need not exist any more: its version never changes, and the fingerprint stands for its content.
    """
    if task_name.startswith(FILE_PREFIX):
        return SCORING_VERSION, 1
    try:
        return SCORING_VERSION, get_task(task_name).version
    except ObservatoryError:
        return None
