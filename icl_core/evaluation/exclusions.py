"""Checkpoints that belong in no trajectory: wrong content, copies, or stored in an order that has changed since.

It hashes nothing and leaves nothing out; readers leave them out and say so. Cases: EleutherAI/pythia issues 205 and
206.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from icl_core.evaluation.store import Store
from icl_core.models.identity import duplicate_weights, shared_files
from icl_core.plain import from_plain
from icl_core.records import CheckpointIdentity, CheckpointRef, canonical_json, shown
from icl_core.registry.families import checkpoint_faults
from icl_core.registry.names import label_of

__all__ = ["current_checkpoints", "excluded_checkpoints", "note_identities", "shared_weights"]

_NAMESPACE = "identities"
_OWN_FAMILIES = ("local", "hub")

Identities = dict[CheckpointRef, CheckpointIdentity]


def note_identities(store: Store, identities: Mapping[CheckpointRef, CheckpointIdentity]) -> None:
    """Keeps the identities of checkpoints with the store, so that a double is known even without its twin.

    Notes on the same checkpoint under another step are dropped: the last given order holds.
    """
    for model in {ref.model for ref in identities}:
        found = {ref: identity for ref, identity in identities.items() if ref.model == model}
        noted = _read(store, model)
        places = {_place(ref) for ref in found}
        new = {ref: identity for ref, identity in noted.items() if _place(ref) not in places} | found
        if new != noted:
            pairs = [[asdict(ref), asdict(identity)] for ref, identity in new.items()]
            store.notes.put(_NAMESPACE, model, canonical_json(pairs))


def excluded_checkpoints(store: Store, refs: Iterable[CheckpointRef]) -> dict[CheckpointRef, str]:
    """The checkpoints among these that belong in no trajectory, each with the reason as one sentence.

    Doubles are sought among all checkpoints of these models that were ever identified with this store.
    """
    asked = list(refs)
    reasons: dict[CheckpointRef, str | None] = {}
    for model in {ref.model for ref in asked}:
        noted = _read(store, model)
        mine = [ref for ref in asked if ref.model == model]
        doubles = duplicate_weights(noted)
        reasons |= {ref: doubles.get(ref) or checkpoint_faults(ref) for ref in mine} | _superseded(mine, noted)
    return {ref: reason for ref in asked if (reason := reasons[ref])}


def shared_weights(store: Store, models: Iterable[str]) -> tuple[str, ...]:
    """Sentences on checkpoints of these models that share some weight files; they are not left out."""
    return tuple(sentence for model in dict.fromkeys(models) for sentence in shared_files(_read(store, model)))


def current_checkpoints(store: Store, refs: Iterable[CheckpointRef]) -> tuple[CheckpointRef, ...]:
    """The checkpoints without those that were stored again under another step later."""
    asked = list(refs)
    old: set[CheckpointRef] = set()
    for model in {ref.model for ref in asked if ref.family in _OWN_FAMILIES}:
        old |= _superseded([ref for ref in asked if ref.model == model], _read(store, model)).keys()
    return tuple(ref for ref in asked if ref not in old)


def _superseded(asked: Sequence[CheckpointRef], noted: Iterable[CheckpointRef]) -> dict[CheckpointRef, str]:
    stepped = [ref for ref in (*asked, *noted) if ref.step is not None]  # the last noted comes last
    now = {_place(ref): ref for ref in stepped}
    return {
        ref: f"{label_of(ref)}: it has another place in the order now"
        for ref in asked
        if ref.family in _OWN_FAMILIES and now.get(_place(ref), ref) != ref
    }


def _place(ref: CheckpointRef) -> tuple[str, str, str | None]:
    return ref.location, ref.revision, ref.weight_file


def _read(store: Store, model: str) -> Identities:
    """The identities of a model's checkpoints; a note that cannot be read is left out and added to ``Store.damage``."""
    text = store.notes.get(_NAMESPACE, model)
    try:
        pairs = json.loads(text) if text else []
        return {from_plain(CheckpointRef, ref): from_plain(CheckpointIdentity, identity) for ref, identity in pairs}
    except (ValueError, TypeError, RecursionError) as error:
        words = f"The notes on doubles among the checkpoints of {shown(model)} cannot be read ({shown(error)})."
        store.damage[f"note/{_NAMESPACE}/{model}"] = words
        return {}
