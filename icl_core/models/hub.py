"""Which checkpoints exist, and what each of them is: listed, resolved to a commit, and named by its content.

It downloads configuration and tokenizer only, loads no weights and imports neither torch nor transformers. Names come
from the Hub, a folder or the embedded suite, never from a guess; a published revision may hold another's weights
(EleutherAI/pythia, issues 205 and 206; allenai/OLMo, issue 915), so equal weight files are flagged.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from icl_core.errors import CheckpointError, UnknownNameError
from icl_core.models.files import (
    CONFIG_NAME,
    check_weight_file,
    choose_weight_files,
    context_length_of,
    count_parameters,
    file_hashes,
    has_numbered_shards,
    read_config,
    read_json,
    refuse_adapters,
    refuse_pointer,
    tokenizer_files,
)
from icl_core.models.gguf_file import check_gguf, gguf_config, read_gguf_header
from icl_core.models.listing import Listing, local_checkpoints, local_listing
from icl_core.models.parameter_fusion import fused_identity, fusion_parents
from icl_core.models.sealed import is_sealed, sealed_files
from icl_core.records import CheckpointIdentity, CheckpointRef, text_fault
from icl_core.registry.families import (
    MODELS,
    Model,
    RevisionRule,
    checkpoint_ref,
    known_checkpoints,
    model_of_repository,
    nearest_checkpoints,
)
from icl_core.registry.names import home_of, label_of, training_order
from icl_core.settings import BASE_MEMBER, lab_runs_path, store_path, suite_path

__all__ = [
    "CONVERTER_VERSION",
    "ResolvedCheckpoint",
    "checkpoint_files",
    "checkpoint_folder",
    "conversion_of",
    "converted_folder",
    "download_size",
    "duplicate_weights",
    "embedded_manifest",
    "embedded_members",
    "identify_checkpoint",
    "identity_of",
    "is_known",
    "lab_runs",
    "list_checkpoints",
    "listing_of",
    "local_checkpoints",
    "published_names",
    "resolve_checkpoint",
    "shared_files",
    "tokenizer_folder",
]

T = TypeVar("T")

CONVERTER_VERSION = 2
"""Raised whenever a GGUF file would be converted to other files; older conversions are then made again."""


@dataclass(frozen=True, slots=True)
class ResolvedCheckpoint:
    """A checkpoint pinned to files that cannot change under it.

    Attributes:
        ref: what was asked.
        location: the Hub id that answered (an alias perhaps), or the checkpoint's folder.
        commit: on the Hub, "" for local files.
        files: name of each file to its sha256 where the Hub or its cache tells it, else None.
        weight_names: the files that hold the weights, shard index included.
        offline: True where the files have to be in the local cache already.
    """

    ref: CheckpointRef
    location: str
    commit: str
    files: Mapping[str, str | None]
    weight_names: tuple[str, ...]
    offline: bool


# --- listing -------------------------------------------------------------------------------------------------------


def list_checkpoints(model_or_location: str, *, offline: bool = False) -> tuple[CheckpointRef, ...]:
    """The checkpoints of ``listing_of`` alone."""
    return listing_of(model_or_location, offline=offline).checkpoints


def listing_of(model_or_location: str, *, offline: bool = False) -> Listing:
    """The checkpoints that exist, ascending by step, those whose name tells no step last, and what is no checkpoint.

    Args:
        model_or_location: a registered model, a member of the embedded suite, a run of the lab, a path (folder or GGUF
            file), or any Hub id.
        offline: ask the local Hub cache only, and list what is completely there.

    Raises:
        UnknownNameError: nothing of this name is known.
        CheckpointError: the Hub cannot be reached, or there is nothing to load.
    """
    if fault := text_fault(model_or_location):
        raise CheckpointError(f"The model {model_or_location!a} cannot be used: it {fault}; rename it.")
    if model_or_location in MODELS:
        return Listing(_hub_checkpoints(MODELS[model_or_location], offline))
    if model_or_location in embedded_members():
        return Listing(_embedded_checkpoints(model_or_location))
    if model_or_location in (runs := lab_runs()):
        return Listing(_lab_checkpoints(runs[model_or_location]))
    if _is_path(model_or_location):
        return local_listing(Path(model_or_location))
    if re.fullmatch(r"[\w.-]+/[\w.-]+", model_or_location) and not model_or_location.startswith("."):
        return Listing(_hub_checkpoints(_model_at(model_or_location), offline))
    known = [*embedded_members(), *MODELS]
    near = ", ".join(difflib.get_close_matches(model_or_location, known, n=5, cutoff=0.4) or known[:8])
    raise UnknownNameError(
        f"Unknown model {model_or_location!r}: no registered model (nearest: {near}), no path, and no Hub id."
    )


def _is_path(text: str) -> bool:
    try:
        return Path(text).expanduser().exists()
    except (OSError, RuntimeError):
        return False


def published_names() -> frozenset[str]:
    """Names that a model of one's own cannot have: registered models and their Hub ids, the suite's, the lab's."""
    places = (place for model in MODELS.values() for place in (model.name, model.location, *model.aliases))
    return frozenset((*places, *embedded_members(), *lab_runs()))


def embedded_members() -> tuple[str, ...]:
    """Names of the shipped models of the tiny suite, the base first; empty where none is shipped."""
    names = (path.parent.name for path in suite_path().glob("*/manifest.json"))
    return tuple(sorted(names, key=lambda name: (name != BASE_MEMBER, name)))


def embedded_manifest(member: str) -> Mapping[str, Any]:
    """How a shipped model of the tiny suite was trained; empty for any other name."""
    return dict(read_json(suite_path() / member / "manifest.json")) if member in embedded_members() else {}


def _embedded_checkpoints(member: str) -> tuple[CheckpointRef, ...]:
    kept = embedded_manifest(member).get("checkpoints", [])
    refs = (
        CheckpointRef("tiny", member, entry["folder"], "embedded", member, entry["step"], entry.get("tokens_seen"))
        for entry in kept
    )
    return _sorted(refs)


def lab_runs() -> dict[str, Path]:
    """Folders of the lab's complete runs that have weights, by the runs' names; one's own before shipped ones."""
    found = {}
    for root in (lab_runs_path(), store_path() / "lab"):
        for path in sorted(root.glob("*/manifest.json")):
            manifest = read_json(path)
            if manifest.get("checkpoints"):
                found[str(manifest["name"])] = path.parent
    return found


def _lab_checkpoints(folder: Path) -> tuple[CheckpointRef, ...]:
    manifest = read_json(folder / "manifest.json")
    refs = (
        CheckpointRef(
            "lab", manifest["name"], entry["folder"], "embedded", folder.name, entry["step"], entry["tokens_seen"]
        )
        for entry in manifest["checkpoints"]
    )
    return _sorted(refs)


def _sorted(refs: Iterable[CheckpointRef]) -> tuple[CheckpointRef, ...]:
    return tuple(sorted(refs, key=training_order))


def _model_at(location: str) -> Model:
    """The registered model of a Hub id, or a description that suits any repository."""
    return model_of_repository(location) or Model(
        name=location,
        family="hub",
        location=location,
        rule=RevisionRule(None),
        url=f"https://huggingface.co/{location}",
    )


def _model_of(ref: CheckpointRef) -> Model:
    return MODELS.get(ref.model) or _model_at(ref.location)


def _hub_checkpoints(model: Model, offline: bool) -> tuple[CheckpointRef, ...]:
    names = _at_first_location(
        (model.location, *model.aliases),
        lambda location: _cached_names(model, location) if offline else _published_names(model, location),
    )
    if model.final is not None and not offline:
        names = [*names, model.final.revision]
    return _sorted({checkpoint_ref(model, name) for name in names})


def _published_names(model: Model, location: str) -> list[str]:
    from huggingface_hub import HfApi

    if model.rule.weight_files:
        return [entry.path for entry in HfApi().list_repo_tree(location) if model.rule.parse(entry.path)]
    refs = HfApi().list_repo_refs(location)
    return [ref.name for ref in (*refs.branches, *refs.tags)]


def _cached_names(model: Model, location: str) -> list[str]:
    """Revisions (or weight files) whose weights are completely in the local cache."""
    names: list[str] = []
    refs = _cache_folder(location) / "refs"
    for path in sorted(refs.rglob("*")):
        files = _cached_files(location, path.read_text().strip()) if path.is_file() else {}
        if model.rule.weight_files:
            names += [name for name in files if model.rule.parse(name)]
        elif files and _has_weights(files, _snapshot(location, path.read_text().strip())):
            names.append(path.relative_to(refs).as_posix())
    if not names:
        raise _NotCached(location)
    return names


def _has_weights(files: Collection[str], folder: Path) -> bool:
    try:
        return bool(choose_weight_files(files, where="", read_index=lambda name: read_json(folder / name)))
    except CheckpointError:
        return False


# --- the Hub and its cache -----------------------------------------------------------------------------------------


class _NotCached(Exception):
    """Nothing usable of a repository is in the local cache."""


def _at_first_location(locations: Iterable[str], action: Callable[[str], T]) -> T:
    """The action's result at the first Hub id that exists (organisations are renamed), or one clear sentence."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionResolutionError,
    )

    tried = []
    for location in locations:
        try:
            return action(location)
        except GatedRepoError:
            raise CheckpointError(
                f"{location} asks for its licence to be accepted at https://huggingface.co/{location}; accept it, then "
                "log in with `hf auth login`."
            ) from None
        except RepositoryNotFoundError:
            tried.append(f"{location} does not exist on the Hub (or is private)")
        except HFValidationError:
            tried.append(f"{location!r} is no name that a repository of the Hub can have")
        except (_NotCached, RevisionResolutionError):
            tried.append(f"{location} is not in the local cache {_cache_path()}; download it while online")
        except (HfHubHTTPError, *_unreachable_errors()) as error:
            tried.append(f"the Hub does not answer for {location} ({type(error).__name__}); try again, or work offline")
    raise CheckpointError("; ".join(tried) + ".")


def _unreachable_errors() -> tuple[type[Exception], ...]:
    import httpx2
    from huggingface_hub.errors import OfflineModeIsEnabled

    return (httpx2.TransportError, OfflineModeIsEnabled)


def _cache_path() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser()


def _cache_folder(location: str) -> Path:
    from huggingface_hub.file_download import repo_folder_name

    return _cache_path() / str(repo_folder_name(repo_id=location, repo_type="model"))


def _snapshot(location: str, commit: str) -> Path:
    return _cache_folder(location) / "snapshots" / commit


def _cached_files(location: str, commit: str) -> dict[str, str | None]:
    """Top-level files of a cached snapshot; the cache names a large file's content by its sha256."""
    snapshot = _snapshot(location, commit)
    files = {}
    for path in snapshot.iterdir() if snapshot.is_dir() else ():
        content = path.resolve().name if path.is_symlink() else ""
        files[path.name] = content if re.fullmatch(r"[0-9a-f]{64}", content) else None
    return files


def _commit_and_files(location: str, revision: str, offline: bool) -> tuple[str, dict[str, str | None], bool]:
    """Commit of a revision, its top-level files with their sha256 where told, and whether only the cache answered."""
    from huggingface_hub import HfApi

    api = HfApi()
    commit = api.resolve_revision(location, revision=revision, local_files_only=offline).resolved
    if not offline:
        try:
            entries = [entry for entry in api.list_repo_tree(location, revision=commit) if hasattr(entry, "blob_id")]
            return commit, {entry.path: entry.lfs.sha256 if entry.lfs else None for entry in entries}, False
        except _unreachable_errors():
            pass
    files = _cached_files(location, commit)
    if not files:
        raise _NotCached(location)
    return commit, files, True


# --- one checkpoint ------------------------------------------------------------------------------------------------


def resolve_checkpoint(ref: CheckpointRef, *, offline: bool = False) -> ResolvedCheckpoint:
    """Pins a checkpoint to a commit (Hub) or a folder, and finds its weight files without reading them.

    Args:
        ref: the checkpoint; of mixed parameters the TR parent is resolved, whose configuration and tokenizer they have.
        offline: use the local Hub cache only; it is used too where the Hub cannot be reached.

    Raises:
        UnknownNameError: the Hub has no such revision; the message names the nearest.
        CheckpointError: there are no weights, shards are missing, or the place cannot be read.
    """
    if ref.family == "lab":
        raise CheckpointError(
            f"{ref.model} is a run of the lab and reads vectors, not text; `python -m icl_core train-lab` stores its "
            "results for all pages, and nothing else can be asked of it."
        )
    if ref.source == "fused":
        return resolve_checkpoint(fusion_parents(ref).tr, offline=offline)
    if ref.source != "hub":
        return _resolve_local(ref)
    model = _model_of(ref)
    aliases = model.aliases if ref.location == model.location else ()
    return _at_first_location((ref.location, *aliases), lambda location: _resolve_at(location, ref, offline))


def _resolve_at(location: str, ref: CheckpointRef, offline: bool) -> ResolvedCheckpoint:
    from huggingface_hub.errors import RevisionNotFoundError

    try:
        commit, files, cached = _commit_and_files(location, ref.revision, offline)
    except RevisionNotFoundError:
        refs = list_checkpoints(ref.model if ref.model in MODELS else location)
        raise UnknownNameError(
            f"{location} has no revision {ref.revision!r}; the nearest are {nearest_checkpoints(refs, ref.revision)}."
        ) from None
    if ref.weight_file is not None and ref.weight_file not in files:
        raise CheckpointError(f"{location} has no file {ref.weight_file}; list the repository for those it has.")
    if cached and ref.weight_file is None and not _has_weights(files, _snapshot(location, commit)):
        raise CheckpointError(
            f"{location} at {ref.revision} is not completely in the local cache; download it while online."
        )
    where = f"{location} at {ref.revision}"
    refuse_adapters(files, where=where)
    resolved = ResolvedCheckpoint(ref, location, commit, files, (ref.weight_file,) if ref.weight_file else (), cached)
    if ref.weight_file:
        return resolved
    read_index = None if has_numbered_shards(files) else (lambda name: read_json(_file(resolved, name)))
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
    """A single file beside a shard index of its own format: one of the two was left there by an earlier save."""
    if f"{chosen}.index.json" in names:
        raise CheckpointError(
            f"{folder} holds both {chosen} and {chosen}.index.json with shards; keep those of the last save and move "
            "the others away."
        )


def identify_checkpoint(
    ref: CheckpointRef, *, offline: bool = False, hash_cache: Path | None = None
) -> CheckpointIdentity:
    """What a checkpoint is, by content: commit, sha256 of every weight file and of the tokenizer.

    Weights on the Hub are not downloaded (it tells their sha256); files of one's own are read and hashed.

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
    """The identity of a checkpoint that is resolved already; see ``identify_checkpoint``."""
    if resolved.ref.source == "gguf":
        return _gguf_identity(resolved, hash_cache)
    names = resolved.weight_names if resolved.commit else (CONFIG_NAME, *resolved.weight_names)
    paths = {name: _file(resolved, name) for name in names if resolved.files.get(name) is None}
    if not resolved.commit:
        for name in resolved.weight_names:
            check_weight_file(paths[name])
    hashes = file_hashes(paths.values(), hash_cache=hash_cache)
    model = _model_of(resolved.ref) if resolved.commit else None
    config = read_config(_file(resolved, CONFIG_NAME).parent)
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


def _shards(paths: Mapping[str, Path]) -> list[Path]:
    return [path for name, path in paths.items() if not name.endswith(".json")]


def _file(resolved: ResolvedCheckpoint, name: str) -> Path:
    """A file of the checkpoint on this machine, downloaded where it is on the Hub only."""
    if not resolved.commit:
        return Path(resolved.location) / name
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return Path(
            hf_hub_download(resolved.location, name, revision=resolved.commit, local_files_only=resolved.offline)
        )
    except EntryNotFoundError:
        raise CheckpointError(
            f"{resolved.location} at {resolved.ref.revision} is incomplete: {name} is missing"
            + (" in the local cache; download it while online." if resolved.offline else ".")
        ) from None


def _gguf_identity(resolved: ResolvedCheckpoint, hash_cache: Path | None) -> CheckpointIdentity:
    path = Path(resolved.ref.location)
    sha256 = file_hashes([path], hash_cache=hash_cache)[path]
    context_length, n_parameters = _gguf_facts(path, conversion_of(sha256, hash_cache=hash_cache))
    return CheckpointIdentity("", (("model.gguf", sha256),), sha256, context_length, n_parameters)


def converted_folder(sha256: str) -> Path:
    """Where the converted form of the GGUF file with this hash is kept (it may not exist yet)."""
    return store_path() / "converted" / sha256


def conversion_of(sha256: str, *, hash_cache: Path | None = None) -> Path | None:
    """The converted form of the GGUF file with this hash, None before it is made or where it was changed since."""
    folder = converted_folder(sha256)
    return folder if is_sealed(folder, version=CONVERTER_VERSION, hash_cache=hash_cache) else None


def _gguf_facts(path: Path, converted: Path | None) -> tuple[int, int | None]:
    """Context length and parameters, from the converted folder where there is one: reading the file takes seconds."""
    if converted is not None:
        config = read_json(converted / CONFIG_NAME)
        return context_length_of(config) or 0, count_parameters(sorted(converted.glob("*.safetensors")))
    header = read_gguf_header(path)
    context_length = context_length_of(gguf_config(header))
    if not context_length:
        raise CheckpointError(f"{path} does not tell the context length ({header.architecture}.context_length).")
    return context_length, header.n_parameters


# --- tokenizer and files -------------------------------------------------------------------------------------------


def _tokenizer_home(resolved: ResolvedCheckpoint) -> ResolvedCheckpoint:
    """Where the tokenizer is: with the weights, else on main of its repository, else in the parent folder."""
    if tokenizer_files(resolved.files):
        return resolved
    if not resolved.commit:
        parent = Path(resolved.location).parent
        files: dict[str, str | None] = dict.fromkeys(
            (entry.name for entry in parent.iterdir() if entry.is_file()), None
        )
        home = ResolvedCheckpoint(resolved.ref, str(parent), "", files, (), True)
    else:
        location = _model_of(resolved.ref).tokenizer_location or resolved.location
        commit, files, cached = _at_first_location(
            (location,), lambda place: _commit_and_files(place, "main", resolved.offline)
        )
        home = ResolvedCheckpoint(resolved.ref, location, commit, files, (), cached)
    if not tokenizer_files(home.files):
        raise CheckpointError(
            f"{resolved.location} has no tokenizer (tokenizer.json, tokenizer.model or another whole vocabulary), nor "
            "has its parent or main."
        )
    return home


def _tokenizer_sha256(resolved: ResolvedCheckpoint) -> str:
    home = _tokenizer_home(resolved)
    digest = hashlib.sha256()
    for path in _tokenizer_paths(home):
        digest.update(f"{path.name}:".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def tokenizer_folder(resolved: ResolvedCheckpoint) -> Path:
    """A folder on this machine with the tokenizer's files; downloads them where they are on the Hub only.

    Raises:
        CheckpointError: there is no tokenizer.
    """
    home = _tokenizer_home(resolved)
    return _tokenizer_paths(home)[0].parent


def _tokenizer_paths(home: ResolvedCheckpoint) -> list[Path]:
    paths = [_file(home, name) for name in tokenizer_files(home.files)]
    for path in paths:
        refuse_pointer(path)
    return paths


def checkpoint_folder(resolved: ResolvedCheckpoint) -> Path:
    """A folder on this machine with configuration and weights, whole; downloads what is missing of one weight format.

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

    Of mixed parameters those of both parents, of a GGUF file also those that it was converted to.

    Returns:
        Each path with the sha256 that the Hub or a seal tells of it, None where the file speaks for itself.

    Raises:
        CheckpointError: as ``checkpoint_folder``; also where a GGUF file is not converted, or its converted form is not
            what was written.
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
    return weights | {_file(home, name): home.files[name] for name in tokenizer_files(home.files)}


def is_known(ref: CheckpointRef) -> bool:
    """Whether a checkpoint is shipped or in the registry, so that its tokenizer is not a stranger's."""
    if ref.source == "fused":
        parents = fusion_parents(ref)
        return is_known(parents.tr) and is_known(parents.tl)
    if ref.source == "embedded":
        return ref.location in embedded_members()
    model = MODELS.get(ref.model)
    return ref.source == "hub" and model is not None and ref.location in (model.location, *model.aliases)


def _download(resolved: ResolvedCheckpoint) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import IncompleteSnapshotError, LocalEntryNotFoundError

    def download(location: str) -> Path:
        return Path(
            snapshot_download(
                location,
                revision=resolved.commit,
                allow_patterns=[CONFIG_NAME, *resolved.weight_names],
                local_files_only=resolved.offline,
            )
        )

    try:
        return _at_first_location((resolved.location,), download)
    except (IncompleteSnapshotError, LocalEntryNotFoundError):
        raise CheckpointError(
            f"{resolved.location} at {resolved.ref.revision} is not completely in the local cache; download it online."
        ) from None


def download_size(ref: CheckpointRef, *, offline: bool = False) -> int:
    """Bytes of configuration and weights that loading would still download; 0 for local files and cached ones."""
    if ref.source == "fused":
        parents = fusion_parents(ref)
        return sum(download_size(parent, offline=offline) for parent in dict.fromkeys((parents.tr, parents.tl)))
    resolved = resolve_checkpoint(ref, offline=offline)
    if resolved.offline:
        return 0
    from huggingface_hub import snapshot_download

    planned = snapshot_download(
        resolved.location,
        revision=resolved.commit,
        allow_patterns=[CONFIG_NAME, *resolved.weight_names],
        dry_run=True,
    )
    return sum(file.file_size for file in planned if file.will_download)


# --- equal weights -------------------------------------------------------------------------------------------------


def duplicate_weights(identities: Mapping[CheckpointRef, CheckpointIdentity]) -> Mapping[CheckpointRef, str]:
    """Checkpoints of one model that hold the weights of another one, with the reason for each.

    They do where all weight files are equal; some equal files are no sign of it (``shared_files``). One checkpoint of
    such a group stays where it can be told which: the last documented step and ``main`` (their content is final by
    name), else the only one whose name tells a step. Where that cannot be told each of the group is flagged. Not
    flagged are the registry's ``equal_steps`` among themselves.

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
    """One sentence for each weight file that checkpoints of one model share though their other weights differ.

    Weights that training leaves alone do that, and so does a wrong upload; nothing follows for the checkpoints.
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
    """Whose weights they are, None where it cannot be told."""
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
