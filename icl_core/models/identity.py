"""A checkpoint by its content: hashes of weights and tokenizer, and which checkpoints have the same weights.

``resolving`` finds and downloads the files; here they are only hashed. A published revision may hold the weights of
another one (EleutherAI/pythia, issues 205 and 206; allenai/OLMo, issue 915), so equal weight files are reported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from icl_core.errors import CheckpointError
from icl_core.models.files import (
    CONFIG_NAME,
    check_weight_file,
    context_length_of,
    count_parameters,
    file_hashes,
    read_config,
    read_json,
)
from icl_core.models.gguf_file import gguf_config, read_gguf_header
from icl_core.models.hub import model_of
from icl_core.models.parameter_fusion import fused_identity, fusion_parents
from icl_core.models.resolving import ResolvedCheckpoint, conversion_of, file_of, resolve_checkpoint, tokenizer_paths
from icl_core.records import CheckpointIdentity, CheckpointRef
from icl_core.registry.families import MODELS, known_checkpoints
from icl_core.registry.names import home_of, label_of, training_order

__all__ = ["duplicate_weights", "identify_checkpoint", "identity_of", "shared_files"]


def identify_checkpoint(
    ref: CheckpointRef, *, offline: bool = False, hash_cache: Path | None = None
) -> CheckpointIdentity:
    """The content of a checkpoint: commit, sha256 of every weight file and of the tokenizer.

    Weights on the Hub are not downloaded (it tells their sha256); local files are read and hashed.

    Args:
        ref: the checkpoint.
        offline: use the local Hub cache only.
        hash_cache: JSON file that remembers hashes of local files (see ``files.file_hashes``).

    Raises:
        UnknownNameError: the Hub has no such revision.
        CheckpointError: the checkpoint is missing, incomplete, or does not tell its context length.
    """
    if ref.source == "fused":
        parents = fusion_parents(ref)
        tr, tl = (
            identify_checkpoint(parent, offline=offline, hash_cache=hash_cache) for parent in (parents.tr, parents.tl)
        )
        return fused_identity(parents, tr, tl)
    return identity_of(resolve_checkpoint(ref, offline=offline), hash_cache=hash_cache)


def identity_of(resolved: ResolvedCheckpoint, *, hash_cache: Path | None = None) -> CheckpointIdentity:
    """The identity of a checkpoint that is already resolved; see ``identify_checkpoint``."""
    if resolved.ref.source == "gguf":
        return _gguf_identity(resolved, hash_cache)
    names = resolved.weight_names if resolved.commit else (CONFIG_NAME, *resolved.weight_names)
    paths = {name: file_of(resolved, name) for name in names if resolved.files.get(name) is None}
    if not resolved.commit:
        for name in resolved.weight_names:
            check_weight_file(paths[name])
    hashes = file_hashes(paths.values(), hash_cache=hash_cache)
    model = model_of(resolved.ref) if resolved.commit else None
    config = read_config(file_of(resolved, CONFIG_NAME).parent)
    context_length = context_length_of(config) or (model and model.context_length)
    if not context_length:
        raise CheckpointError(
            f"{resolved.location}: {CONFIG_NAME} does not tell the context length; add it there as "
            "max_position_embeddings."
        )
    return CheckpointIdentity(
        commit=resolved.commit,
        weight_files=tuple(sorted((name, resolved.files.get(name) or hashes[paths[name]]) for name in names)),
        tokenizer_sha256=_tokenizer_sha256(resolved),
        context_length=context_length,
        n_parameters=model.n_parameters if model else count_parameters(_shards(paths)),
    )


def _tokenizer_sha256(resolved: ResolvedCheckpoint) -> str:
    digest = hashlib.sha256()
    for path in tokenizer_paths(resolved):
        digest.update(f"{path.name}:".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _shards(paths: Mapping[str, Path]) -> list[Path]:
    return [path for name, path in paths.items() if not name.endswith(".json")]


def _gguf_identity(resolved: ResolvedCheckpoint, hash_cache: Path | None) -> CheckpointIdentity:
    path = Path(resolved.ref.location)
    sha256 = file_hashes([path], hash_cache=hash_cache)[path]
    context_length, n_parameters = _gguf_facts(path, conversion_of(sha256, hash_cache=hash_cache))
    return CheckpointIdentity("", (("model.gguf", sha256),), sha256, context_length, n_parameters)


def _gguf_facts(path: Path, converted: Path | None) -> tuple[int, int | None]:
    """Context length and number of parameters, from the converted folder if there is one: reading the file is slow."""
    if converted is not None:
        config = read_json(converted / CONFIG_NAME)
        return context_length_of(config) or 0, count_parameters(sorted(converted.glob("*.safetensors")))
    header = read_gguf_header(path)
    context_length = context_length_of(gguf_config(header))
    if not context_length:
        raise CheckpointError(f"{path} does not tell the context length ({header.architecture}.context_length).")
    return context_length, header.n_parameters


# --- equal weights -------------------------------------------------------------------------------------------------


def duplicate_weights(identities: Mapping[CheckpointRef, CheckpointIdentity]) -> Mapping[CheckpointRef, str]:
    """Checkpoints of one model that hold the weights of another one, with the reason for each.

    Two checkpoints are equal if all their weight files are equal; some equal files are not enough (``shared_files``).
    In a group of equal ones, one may be the true owner of the weights: the last documented step or ``main``, which hold
    the final weights by name; else the only one whose name tells a step. The others are reported, or the whole group if
    no owner is known. The registry's ``equal_steps`` are not reported for being equal to each other.

    Args:
        identities: checkpoints of one or more models; models and folders are compared apart.
    """
    groups: dict[object, list[CheckpointRef]] = {}
    for ref, identity in identities.items():
        groups.setdefault((ref.model, home_of(ref), frozenset(_weights(identity).values())), []).append(ref)
    flagged: dict[CheckpointRef, str] = {}
    for group in groups.values():
        if len(group) < 2 or _rightly_equal(group):
            continue
        owner = _owner(group, [ref for ref in identities if ref.model == group[0].model])
        for ref in group:
            if ref != owner:
                flagged[ref] = _sharing_reason(ref, _weights(identities[ref]), [owner] if owner else group)
    return flagged


def shared_files(identities: Mapping[CheckpointRef, CheckpointIdentity]) -> tuple[str, ...]:
    """One sentence for each group of weight files that checkpoints share although their other weights differ.

    Such files hold weights that training leaves alone, or were uploaded by mistake; no checkpoint is left out for it.
    """
    sharers: dict[object, dict[CheckpointRef, str]] = {}
    for ref, identity in identities.items():
        for name, sha256 in _weights(identity).items():
            sharers.setdefault((ref.model, home_of(ref), sha256), {})[ref] = name
    names: dict[tuple[CheckpointRef, ...], set[str]] = {}
    for found in sharers.values():
        if len({frozenset(_weights(identities[ref]).values()) for ref in found}) > 1:
            names.setdefault(tuple(sorted(found, key=training_order)), set()).update(found.values())
    return tuple(
        f"{_joined(sorted(files))} {'is' if len(files) == 1 else 'are'} the same in {_joined(map(label_of, refs))} of "
        f"{refs[0].model}: weights that training leaves alone, or a wrong upload."
        for refs, files in names.items()
    )


def _weights(identity: CheckpointIdentity) -> dict[str, str]:
    return {name: sha256 for name, sha256 in identity.weight_files if not name.endswith(".json")}


def _rightly_equal(refs: Sequence[CheckpointRef]) -> bool:
    model = MODELS.get(refs[0].model)
    return model is not None and refs[0].family == model.family and {r.step for r in refs} <= set(model.equal_steps)


def _owner(group: Sequence[CheckpointRef], all_refs: Sequence[CheckpointRef]) -> CheckpointRef | None:
    """The checkpoint to which equal weights belong, None if it is not known."""
    stepped = [ref for ref in group if ref.step is not None]
    final = [ref for ref in group if _is_final(ref)]
    if any(ref.step is not None for ref in final):
        return max(stepped, key=training_order)
    if final and not (group[0].family == "hub" and _has_last_step(stepped, all_refs)):
        return final[0]
    if len({ref.step for ref in stepped}) > 1:
        return None
    return min(stepped or group, key=lambda ref: (len(ref.revision), ref.revision))


def _has_last_step(stepped: Sequence[CheckpointRef], all_refs: Sequence[CheckpointRef]) -> bool:
    steps = {ref.step for ref in stepped}
    return len(steps) == 1 and steps == {max(ref.step for ref in all_refs if ref.step is not None)}


def _sharing_reason(ref: CheckpointRef, weights: Mapping[str, str], sharers: Iterable[CheckpointRef]) -> str:
    what = f"{next(iter(weights))} is the same file as" if len(weights) == 1 else "every weight file is the same as"
    others = [label_of(other) for other in sorted(sharers, key=training_order) if other != ref]
    return f"{label_of(ref)}: {what} in {_joined(others)}"


def _joined(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _is_final(ref: CheckpointRef) -> bool:
    if ref.source != "hub" or ref.weight_file is not None:
        return False
    model = MODELS.get(ref.model)
    last = max((known.step or 0 for known in known_checkpoints(model)), default=None) if model else None
    return ref.revision == "main" or (last is not None and ref.step is not None and ref.step >= last)
