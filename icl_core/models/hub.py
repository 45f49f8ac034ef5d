"""The Hub and its local cache: their revisions, the commit of each, and its files.

It knows repositories, revisions and names of files; of the folders on this machine it knows only the cache. It loads
nothing and guesses no names: it lists what the Hub has or, if the Hub cannot be reached, what the cache has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from icl_core.errors import CheckpointError
from icl_core.models.files import choose_weight_files, read_json
from icl_core.records import CheckpointRef
from icl_core.registry.families import MODELS, Model, RevisionRule, checkpoint_ref, model_of_repository
from icl_core.registry.names import training_order

__all__ = [
    "at_first_location",
    "bytes_to_fetch",
    "commit_and_files",
    "fetch_file",
    "fetch_files",
    "has_weights_cached",
    "hub_checkpoints",
    "model_at",
    "model_of",
]

T = TypeVar("T")


def model_at(location: str) -> Model:
    """The registered model of a Hub id, or a description that suits any repository."""
    return model_of_repository(location) or Model(
        name=location,
        family="hub",
        location=location,
        rule=RevisionRule(None),
        url=f"https://huggingface.co/{location}",
    )


def model_of(ref: CheckpointRef) -> Model:
    """The registered model of a checkpoint on the Hub, or a description that suits any repository."""
    return MODELS.get(ref.model) or model_at(ref.location)


def hub_checkpoints(model: Model, *, offline: bool) -> tuple[CheckpointRef, ...]:
    """The checkpoints of a model on the Hub, ascending by step; offline, those that are completely in the cache.

    Raises:
        CheckpointError: the Hub cannot be reached, or nothing of the model is in the cache.
    """
    names = at_first_location(
        (model.location, *model.aliases),
        lambda location: _cached_names(model, location) if offline else _published_names(model, location),
    )
    if model.final is not None and not offline:
        names = [*names, model.final.revision]
    return tuple(sorted({checkpoint_ref(model, name) for name in names}, key=training_order))


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
        elif files and has_weights_cached(location, path.read_text().strip()):
            names.append(path.relative_to(refs).as_posix())
    if not names:
        raise _NotCached(location)
    return names


def has_weights_cached(location: str, commit: str) -> bool:
    """Whether the cached snapshot of a commit holds the complete weights."""
    files, folder = _cached_files(location, commit), _snapshot(location, commit)
    try:
        return bool(choose_weight_files(files, where="", read_index=lambda name: read_json(folder / name)))
    except CheckpointError:
        return False


# --- asking and downloading ----------------------------------------------------------------------------------------


class _NotCached(Exception):
    """Nothing usable of a repository is in the local cache."""


def at_first_location(locations: Iterable[str], action: Callable[[str], T]) -> T:
    """The action's result at the first Hub id that exists (organisations get renamed).

    Raises:
        CheckpointError: it fails at all of them; the message says why for each.
    """
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
                f"{location} needs its licence accepted at https://huggingface.co/{location}; accept it, then log in "
                "with `hf auth login`."
            ) from None
        except RepositoryNotFoundError:
            tried.append(f"{location} does not exist on the Hub (or is private)")
        except HFValidationError:
            tried.append(f"{location!r} is not a name that a repository of the Hub can have")
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


def commit_and_files(location: str, revision: str, *, offline: bool) -> tuple[str, dict[str, str | None], bool]:
    """Commit of a revision, its top-level files with their sha256 if known, and whether only the cache answered."""
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


def fetch_file(location: str, name: str, *, commit: str, offline: bool) -> Path | None:
    """One file of a commit on this machine, downloaded unless offline; None if there is none of this name."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return Path(hf_hub_download(location, name, revision=commit, local_files_only=offline))
    except EntryNotFoundError:
        return None


def fetch_files(location: str, names: Iterable[str], *, commit: str, offline: bool) -> Path | None:
    """The folder with these files of a commit, downloaded unless offline; None if the cache lacks one of them.

    Raises:
        CheckpointError: the Hub cannot be reached, or refuses the request.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import IncompleteSnapshotError, LocalEntryNotFoundError

    def download(place: str) -> Path:
        patterns = list(names)
        return Path(snapshot_download(place, revision=commit, allow_patterns=patterns, local_files_only=offline))

    try:
        return at_first_location((location,), download)
    except (IncompleteSnapshotError, LocalEntryNotFoundError):
        return None


def bytes_to_fetch(location: str, names: Iterable[str], *, commit: str) -> int:
    """Bytes of these files of a commit that the cache lacks."""
    from huggingface_hub import snapshot_download

    planned = snapshot_download(location, revision=commit, allow_patterns=list(names), dry_run=True)
    return sum(file.file_size for file in planned if file.will_download)
