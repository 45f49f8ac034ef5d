"""Which checkpoints do not hold what their names say: known from the literature, or found when they were hashed.

It hashes nothing itself and leaves nothing out: readers decide. Cases: EleutherAI/pythia issues 205 and 206.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict

from icl_core.evaluation.store import Store
from icl_core.records import CheckpointIdentity, CheckpointRef, digest_of
from icl_core.registry.families import checkpoint_faults

__all__ = ["excluded_checkpoints", "note_duplicates"]

_NAMESPACE = "duplicate-weights"


def note_duplicates(
    store: Store, identities: Mapping[CheckpointRef, CheckpointIdentity], reasons: Mapping[CheckpointRef, str]
) -> None:
    """Keeps with the store which of the identified checkpoints share weights with another revision, and why.

    A note stays when the checkpoint is met again without its double; it goes when the checkpoint itself has changed.
    """
    for ref, identity in identities.items():
        found = digest_of(asdict(identity))
        old = _read(store, ref)
        if ref in reasons or (old is not None and old["identity"] != found):
            new = {"identity": found, "reason": reasons.get(ref, "")}
            if new != old:
                store.put_note(_NAMESPACE, digest_of(asdict(ref)), json.dumps(new))


def excluded_checkpoints(store: Store, refs: Iterable[CheckpointRef]) -> dict[CheckpointRef, str]:
    """Those of the checkpoints that belong in no trajectory, each with the reason as one sentence."""
    excluded = {}
    for ref in refs:
        note = _read(store, ref)
        reason = (note["reason"] if note else "") or checkpoint_faults(ref)
        if reason:
            excluded[ref] = reason
    return excluded


def _read(store: Store, ref: CheckpointRef) -> dict[str, str] | None:
    text = store.get_note(_NAMESPACE, digest_of(asdict(ref)))
    return None if text is None else dict(json.loads(text))
