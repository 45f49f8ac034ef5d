"""Which checkpoints do not hold what their names say: known from the literature, or found when they were hashed.

It hashes nothing itself and leaves nothing out: readers decide. Cases: EleutherAI/pythia issues 205 and 206.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict

from icl_core.evaluation.codec import from_plain
from icl_core.evaluation.store import Store
from icl_core.models.hub import duplicate_weights
from icl_core.records import CheckpointIdentity, CheckpointRef, canonical_json, shown
from icl_core.registry.families import checkpoint_faults

__all__ = ["excluded_checkpoints", "note_identities"]

_NAMESPACE = "identities"

Identities = dict[CheckpointRef, CheckpointIdentity]


def note_identities(store: Store, identities: Mapping[CheckpointRef, CheckpointIdentity]) -> None:
    """Keeps with the store what checkpoints were found to be, so that doubles are known when one is met alone."""
    for model in {ref.model for ref in identities}:
        found = {ref: identity for ref, identity in identities.items() if ref.model == model}
        if any(_read(store, model).get(ref) != identity for ref, identity in found.items()):
            pairs = [[asdict(ref), asdict(identity)] for ref, identity in (_read(store, model) | found).items()]
            store.put_note(_NAMESPACE, model, canonical_json(pairs))


def excluded_checkpoints(store: Store, refs: Iterable[CheckpointRef]) -> dict[CheckpointRef, str]:
    """Those of the checkpoints that belong in no trajectory, each with the reason as one sentence.

    Doubles are looked for among all checkpoints of the same models that were ever identified with this store.
    """
    asked = list(refs)
    doubles: dict[CheckpointRef, str] = {}
    for model in {ref.model for ref in asked}:
        doubles |= duplicate_weights(_read(store, model))
    reasons = {ref: doubles.get(ref) or checkpoint_faults(ref) for ref in asked}
    return {ref: reason for ref, reason in reasons.items() if reason}


def _read(store: Store, model: str) -> Identities:
    """What a model's checkpoints were found to be; a note that cannot be read is passed over as ``Store.damage``."""
    text = store.get_note(_NAMESPACE, model)
    try:
        pairs = json.loads(text) if text else []
        return {from_plain(CheckpointRef, ref): from_plain(CheckpointIdentity, identity) for ref, identity in pairs}
    except (ValueError, TypeError, RecursionError) as error:
        words = f"What is known of doubles among the checkpoints of {shown(model)} cannot be read ({shown(error)})."
        store.damage[f"note/{_NAMESPACE}/{model}"] = words
        return {}
