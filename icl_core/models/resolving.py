"""Pins one checkpoint, on the Hub or on this machine, to files that cannot change, and fetches those files.

It reads names and indices of files, loads no weights and imports neither torch nor transformers. ``hub`` asks the Hub,
and ``identity`` hashes what the files hold. This module also finds the tokenizer's folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from icl_core.errors import CheckpointError, UnknownNameError
from icl_core.models.files import (
    CONFIG_NAME,
    check_weight_file,
    choose_weight_files,
    file_hashes,
    has_numbered_shards,
    read_json,
    refuse_adapters,
    refuse_pointer,
    tokenizer_files,
)
from icl_core.models.gguf_file import check_gguf
from icl_core.models.hub import (
    at_first_location,
    bytes_to_fetch,
    commit_and_files,
    fetch_file,
    fetch_files,
    has_weights_cached,
    hub_checkpoints,
    model_of,
)
from icl_core.models.listing import embedded_members
from icl_core.models.parameter_fusion import fusion_parents
from icl_core.models.sealed import is_sealed, sealed_files
from icl_core.records import CheckpointRef
from icl_core.registry.families import MODELS, nearest_checkpoints
from icl_core.settings import store_path, suite_path

__all__ = [
    "CONVERTER_VERSION",
    "ResolvedCheckpoint",
    "checkpoint_files",
    "checkpoint_folder",
    "conversion_of",
    "converted_folder",
    "download_size",
    "file_of",
    "is_known",
    "resolve_checkpoint",
    "tokenizer_folder",
    "tokenizer_paths",
]

CONVERTER_VERSION = 2
"""Raised whenever converting a GGUF file would give other files; older conversions are then made again."""


@dataclass(frozen=True, slots=True)
class ResolvedCheckpoint:
    """A checkpoint pinned to files that cannot change.

    Attributes:
        ref: what was asked.
        location: the Hub id that answered (an alias perhaps), or the checkpoint's folder.
        commit: on the Hub, "" for local files.
        files: name of each file to its sha256, or to None if neither the Hub nor its cache tells it.
        weight_names: the files that hold the weights, shard index included.
        offline: True if the files have to be in the local cache already.
    """

    ref: CheckpointRef
    location: str
    commit: str
    files: Mapping[str, str | None]
    weight_names: tuple[str, ...]
    offline: bool


def resolve_checkpoint(ref: CheckpointRef, *, offline: bool = False) -> ResolvedCheckpoint:
    """Pins a checkpoint to a commit (Hub) or a folder, and finds its weight files without reading them.

    Args:
        ref: the checkpoint; for mixed parameters the TR parent is resolved, which gives configuration and tokenizer.
        offline: use the local Hub cache only; it is used too if the Hub cannot be reached.

    Raises:
        UnknownNameError: the Hub has no such revision; the message names the nearest.
        CheckpointError: there are no weights, shards are missing, or the place cannot be read.
    """
    if ref.family == "lab":
        raise CheckpointError(
            f"{ref.model} is a run of the lab and reads vectors, not text, so it cannot be evaluated on other tasks; "
            "`python -m icl_core train-lab` stores its results for all pages."
        )
    if ref.source == "fused":
        return resolve_checkpoint(fusion_parents(ref).tr, offline=offline)
    if ref.source != "hub":
        return _resolve_local(ref)
    model = model_of(ref)
    aliases = model.aliases if ref.location == model.location else ()
    return at_first_location((ref.location, *aliases), lambda location: _resolve_at(location, ref, offline))


def _resolve_at(location: str, ref: CheckpointRef, offline: bool) -> ResolvedCheckpoint:
    from huggingface_hub.errors import RevisionNotFoundError

    try:
        commit, files, cached = commit_and_files(location, ref.revision, offline=offline)
    except RevisionNotFoundError:
        refs = hub_checkpoints(model_of(replace(ref, location=location)), offline=False)
        raise UnknownNameError(
            f"{location} has no revision {ref.revision!r}; the nearest are {nearest_checkpoints(refs, ref.revision)}."
        ) from None
    if ref.weight_file is not None and ref.weight_file not in files:
        raise CheckpointError(f"{location} has no file {ref.weight_file}; list the repository for those it has.")
    if cached and ref.weight_file is None and not has_weights_cached(location, commit):
        raise CheckpointError(
            f"{location} at {ref.revision} is not completely in the local cache; download it while online."
        )
    where = f"{location} at {ref.revision}"
    refuse_adapters(files, where=where)
    resolved = ResolvedCheckpoint(ref, location, commit, files, (ref.weight_file,) if ref.weight_file else (), cached)
    if ref.weight_file:
        return resolved
    read_index = None if has_numbered_shards(files) else (lambda name: read_json(file_of(resolved, name)))
    return replace(resolved, weight_names=choose_weight_files(files, where=where, read_index=read_index))


def _resolve_local(ref: CheckpointRef) -> ResolvedCheckpoint:
    if ref.source == "gguf":
        path = Path(ref.location)
        check_gguf(path)
        return ResolvedCheckpoint(ref, str(path.parent), "", {path.name: None}, (path.name,), True)
    folder = (suite_path() if ref.source == "embedded" else Path()) / ref.location / ref.revision
    if not folder.is_dir():
        raise CheckpointError(f"There is no checkpoint folder {folder}.")
    files = dict.fromkeys((entry.name for entry in sorted(folder.iterdir()) if entry.is_file()), None)
    refuse_adapters(files, where=str(folder))
    if CONFIG_NAME not in files:
        raise CheckpointError(f"{folder} is incomplete: {CONFIG_NAME} is missing.")
    weights = choose_weight_files(files, where=str(folder), read_index=lambda name: read_json(folder / name))
    _refuse_two_sets(weights[0], files, folder)
    return ResolvedCheckpoint(ref, str(folder), "", files, weights, True)


def _refuse_two_sets(chosen: str, names: Iterable[str], folder: Path) -> None:
    """Refuses a single weight file beside a shard index of the same format: an earlier save left one of the two."""
    if f"{chosen}.index.json" in names:
        raise CheckpointError(
            f"{folder} holds both {chosen} and {chosen}.index.json with shards; keep those of the last save and move "
            "the others away."
        )


def file_of(resolved: ResolvedCheckpoint, name: str) -> Path:
    """A file of the checkpoint on this machine, downloaded if it is on the Hub only.

    Raises:
        CheckpointError: there is no such file.
    """
    if not resolved.commit:
        return Path(resolved.location) / name
    path = fetch_file(resolved.location, name, commit=resolved.commit, offline=resolved.offline)
    if path is None:
        raise CheckpointError(
            f"{resolved.location} at {resolved.ref.revision} is incomplete: {name} is missing"
            + (" in the local cache; download it while online." if resolved.offline else ".")
        )
    return path


def _tokenizer_home(resolved: ResolvedCheckpoint) -> ResolvedCheckpoint:
    """The place of the tokenizer: with the weights, else on main of its repository, else in the parent folder."""
    if tokenizer_files(resolved.files):
        return resolved
    if not resolved.commit:
        parent = Path(resolved.location).parent
        files: dict[str, str | None] = dict.fromkeys(
            (entry.name for entry in parent.iterdir() if entry.is_file()), None
        )
        home = ResolvedCheckpoint(resolved.ref, str(parent), "", files, (), True)
    else:
        location = model_of(resolved.ref).tokenizer_location or resolved.location
        commit, files, cached = at_first_location(
            (location,), lambda place: commit_and_files(place, "main", offline=resolved.offline)
        )
        home = ResolvedCheckpoint(resolved.ref, location, commit, files, (), cached)
    if not tokenizer_files(home.files):
        raise CheckpointError(
            f"{resolved.location} has no tokenizer (tokenizer.json, tokenizer.model or another complete vocabulary), "
            "and its parent and main have none either."
        )
    return home


def tokenizer_folder(resolved: ResolvedCheckpoint) -> Path:
    """A folder on this machine with the tokenizer's files; downloads them if needed.

    Raises:
        CheckpointError: there is no tokenizer.
    """
    return tokenizer_paths(resolved)[0].parent


def tokenizer_paths(resolved: ResolvedCheckpoint) -> list[Path]:
    """The tokenizer's files on this machine, as ``tokenizer_folder``; refuses pointers of git-lfs among them."""
    home = _tokenizer_home(resolved)
    paths = [file_of(home, name) for name in tokenizer_files(home.files)]
    for path in paths:
        refuse_pointer(path)
    return paths


def checkpoint_folder(resolved: ResolvedCheckpoint) -> Path:
    """A folder on this machine with configuration and complete weights; downloads what one weight format lacks.

    Raises:
        CheckpointError: a file is missing or cut short, or the download failed.
    """
    folder = Path(resolved.location) if not resolved.commit else _download(resolved)
    for name in resolved.weight_names:
        check_weight_file(folder / name)
    return folder


def checkpoint_files(
    ref: CheckpointRef, *, offline: bool = False, hash_cache: Path | None = None
) -> Mapping[Path, str | None]:
    """Every file on this machine that decides what is loaded: configuration, weights and tokenizer.

    For mixed parameters these are the files of both parents; for a GGUF file, the file and its converted form.

    Returns:
        Each path with the sha256 that the Hub or a seal gives for it, None if neither does.

    Raises:
        CheckpointError: as ``checkpoint_folder``; also if a GGUF file is not converted yet, or its converted form was
            changed.
    """
    if ref.source == "fused":
        parents = fusion_parents(ref)
        tr, tl = (
            checkpoint_files(parent, offline=offline, hash_cache=hash_cache) for parent in (parents.tr, parents.tl)
        )
        return {**tr, **tl}
    if ref.source == "gguf":
        path = Path(ref.location)
        folder = converted_folder(file_hashes([path], hash_cache=hash_cache)[path])
        return {path: None, **sealed_files(folder, version=CONVERTER_VERSION)}
    resolved = resolve_checkpoint(ref, offline=offline)
    folder, home = checkpoint_folder(resolved), _tokenizer_home(resolved)
    weights = {folder / name: resolved.files.get(name) for name in (CONFIG_NAME, *resolved.weight_names)}
    return weights | {file_of(home, name): home.files[name] for name in tokenizer_files(home.files)}


def converted_folder(sha256: str) -> Path:
    """The folder for the converted form of the GGUF file with this hash (it may not exist yet)."""
    return store_path() / "converted" / sha256


def conversion_of(sha256: str, *, hash_cache: Path | None = None) -> Path | None:
    """The converted form of the GGUF file with this hash; None if it is not made yet or was changed since."""
    folder = converted_folder(sha256)
    return folder if is_sealed(folder, version=CONVERTER_VERSION, hash_cache=hash_cache) else None


def is_known(ref: CheckpointRef) -> bool:
    """Whether a checkpoint is shipped or in the registry, so that its tokenizer can be trusted."""
    if ref.source == "fused":
        parents = fusion_parents(ref)
        return is_known(parents.tr) and is_known(parents.tl)
    if ref.source == "embedded":
        return ref.location in embedded_members()
    model = MODELS.get(ref.model)
    return ref.source == "hub" and model is not None and ref.location in (model.location, *model.aliases)


def _download(resolved: ResolvedCheckpoint) -> Path:
    names = (CONFIG_NAME, *resolved.weight_names)
    folder = fetch_files(resolved.location, names, commit=resolved.commit, offline=resolved.offline)
    if folder is None:
        raise CheckpointError(
            f"{resolved.location} at {resolved.ref.revision} is not completely in the local cache; download it online."
        )
    return folder


def download_size(ref: CheckpointRef, *, offline: bool = False) -> int:
    """Bytes of configuration and weights that loading would still download; 0 for local files and cached ones."""
    if ref.source == "fused":
        parents = fusion_parents(ref)
        return sum(download_size(parent, offline=offline) for parent in dict.fromkeys((parents.tr, parents.tl)))
    resolved = resolve_checkpoint(ref, offline=offline)
    if resolved.offline:
        return 0
    return bytes_to_fetch(resolved.location, (CONFIG_NAME, *resolved.weight_names), commit=resolved.commit)
