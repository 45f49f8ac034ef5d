"""The checkpoints of a registered model, the embedded suite, a run of the lab, or a local folder.

For a folder it also says what in it is left out: something that is not a checkpoint, or a second copy. It reads names,
configurations and, if two may be copies, bytes. It loads nothing; ``hub`` tells what the Hub holds. Layouts of folders:
what ``Trainer`` of transformers writes (transformers issue 19241: the final model in the root of its own checkpoints).
"""

from __future__ import annotations

import difflib
import functools
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from icl_core.errors import CheckpointError, UnknownNameError
from icl_core.models.files import CONFIG_NAME, choose_weight_files, read_json, refuse_adapters, remap_of
from icl_core.models.hub import hub_checkpoints, model_at
from icl_core.records import CheckpointRef, text_fault
from icl_core.registry.families import MODELS
from icl_core.registry.names import Reading, gguf_stem, read_name, training_order
from icl_core.settings import BASE_MEMBER, lab_runs_path, store_path, suite_path

__all__ = [
    "Listing",
    "Skipped",
    "embedded_manifest",
    "embedded_members",
    "lab_runs",
    "list_checkpoints",
    "listing_of",
    "local_checkpoints",
    "local_listing",
    "path_name",
    "published_names",
    "renamed",
]

_ROOT, _ROOT_WORDS = ".", "the folder itself"
_STATE_NAME = "trainer_state.json"
_GGUF = ".gguf"
_GENERIC_NAMES = frozenset(
    {"checkpoint", "checkpoints", "ckpt", "ckpts", "snapshots", "output", "outputs", "runs", "model", "models"}
    | {"results", "weights", "final", "best", "last", "latest", "hf", "gguf"}
)
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Skipped:
    """What a listing or a choice leaves out.

    Attributes:
        name: its name in the folder.
        reason: words that follow "... is left out: ".
    """

    name: str
    reason: str

    @property
    def sentence(self) -> str:
        """Name and reason in one sentence."""
        return f"{self.name} is left out: {self.reason}."


@dataclass(frozen=True, slots=True)
class Listing:
    """The checkpoints of one model, and what was left out beside them.

    Attributes:
        checkpoints: ascending by step, those without a step last.
        skipped: what only looks like a checkpoint, or is a copy of one.
        doubts: by revision, why a checkpoint has no step although its name or its trainer's state tells one.
        base: the path that names a local model, None for published ones.
    """

    checkpoints: tuple[CheckpointRef, ...]
    skipped: tuple[Skipped, ...] = ()
    doubts: tuple[tuple[str, str], ...] = ()
    base: Path | None = None


@dataclass(frozen=True, slots=True)
class _Found:
    """A folder that holds a checkpoint, with the step that its name or its trainer's state tells."""

    folder: Path
    revision: str
    step: int | None
    tokens: int | None = None
    doubt: str = ""


def list_checkpoints(model_or_location: str, *, offline: bool = False) -> tuple[CheckpointRef, ...]:
    """Only the checkpoints of ``listing_of``."""
    return listing_of(model_or_location, offline=offline).checkpoints


def listing_of(model_or_location: str, *, offline: bool = False) -> Listing:
    """The existing checkpoints, ascending by step (those without a step last), and what was left out.

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
        return Listing(hub_checkpoints(MODELS[model_or_location], offline=offline))
    if model_or_location in embedded_members():
        return Listing(_embedded_checkpoints(model_or_location))
    if model_or_location in (runs := lab_runs()):
        return Listing(_lab_checkpoints(runs[model_or_location]))
    if _is_path(model_or_location):
        return local_listing(Path(model_or_location))
    if re.fullmatch(r"[\w.-]+/[\w.-]+", model_or_location) and not model_or_location.startswith("."):
        return Listing(hub_checkpoints(model_at(model_or_location), offline=offline))
    known = [*embedded_members(), *MODELS]
    near = ", ".join(difflib.get_close_matches(model_or_location, known, n=5, cutoff=0.4) or known[:8])
    raise UnknownNameError(
        f"Unknown model {model_or_location!r}: not a registered model (nearest: {near}), not a path and not a Hub id."
    )


def _is_path(text: str) -> bool:
    try:
        return Path(text).expanduser().exists()
    except (OSError, RuntimeError):
        return False


def published_names() -> frozenset[str]:
    """Names that a local model cannot have: those of registered models, their Hub ids, the suite and the lab."""
    places = (place for model in MODELS.values() for place in (model.name, model.location, *model.aliases))
    return frozenset((*places, *embedded_members(), *lab_runs()))


def embedded_members() -> tuple[str, ...]:
    """Names of the shipped models of the tiny suite, the base first; empty if none is shipped."""
    names = (path.parent.name for path in suite_path().glob("*/manifest.json"))
    return tuple(sorted(names, key=lambda name: (name != BASE_MEMBER, name)))


def embedded_manifest(member: str) -> Mapping[str, Any]:
    """How a shipped model of the tiny suite was trained; empty for other models."""
    return dict(read_json(suite_path() / member / "manifest.json")) if member in embedded_members() else {}


def _embedded_checkpoints(member: str) -> tuple[CheckpointRef, ...]:
    kept = embedded_manifest(member).get("checkpoints", [])
    refs = (
        CheckpointRef("tiny", member, entry["folder"], "embedded", member, entry["step"], entry.get("tokens_seen"))
        for entry in kept
    )
    return tuple(sorted(refs, key=training_order))


def lab_runs() -> dict[str, Path]:
    """Folders of the lab's complete runs that have weights, by the runs' names; the user's own before shipped ones."""
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
    return tuple(sorted(refs, key=training_order))


# --- local folders and files ---------------------------------------------------------------------------------------


def local_checkpoints(path: Path) -> tuple[CheckpointRef, ...]:
    """Only the checkpoints of ``local_listing``, for callers that name one of them.

    Raises:
        CheckpointError: there is no checkpoint at the path.
    """
    return local_listing(path).checkpoints


def local_listing(path: Path) -> Listing:
    """The checkpoints in a folder of checkpoint folders or GGUF files, or the one checkpoint at the path.

    A folder that is itself a checkpoint and has others inside (as ``Trainer`` leaves it) is listed too, as ``.``.

    Args:
        path: such as a folder with ``step-1000/``, ``step2000/`` and ``checkpoint-3000/``.

    Raises:
        CheckpointError: there is no checkpoint at the path, it cannot be read, or its name cannot be used.
    """
    if fault := text_fault(str(path)):
        raise CheckpointError(f"The path {str(path)!a} cannot be used: it {fault}; rename it.")
    try:
        path = path.expanduser().resolve()
        if path.is_file() and path.suffix.lower() == _GGUF:
            return _gguf_listing(path.parent, [path], ())
        return _folder_listing(path)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(
            f"{str(path)[:200]} cannot be read ({str(error)[:200]}); check the path and its permissions."
        ) from error


def _folder_listing(path: Path) -> Listing:
    entries = sorted(path.iterdir()) if path.is_dir() else []
    found, skipped = _look_through(entries)
    files = _file_names(path) if path.is_dir() else frozenset()
    fault = _fault_of(path, files)
    if not found and fault is None:
        return _single(path, skipped)
    if not found:
        refuse_adapters(files, where=str(path))
    if not found and CONFIG_NAME in files:
        raise CheckpointError(f"{path} cannot be used: {fault}.")
    ggufs = [entry for entry in entries if entry.suffix.lower() == _GGUF and entry.is_file()]
    if not found and ggufs:
        return _gguf_listing(path, ggufs, skipped)
    if not found:
        told = f" ({' '.join(each.sentence for each in skipped[:3])})" if skipped else ""
        raise CheckpointError(
            f"{path} holds no checkpoint{told}: give a folder with config.json and weights, a folder of such folders "
            "(step-1000/, checkpoint-2000/), or a .gguf file."
        )
    if fault is None:
        found.append(_placed(path, _ROOT))
    elif _has_weights_or_config(files):
        skipped.append(Skipped(_ROOT_WORDS, fault))
    skipped += [Skipped(each.name, "it is a GGUF file beside folders; give its path alone") for each in ggufs]
    kept, copies = _without_copies(found)
    return _listing(path, kept, [*skipped, *copies])


def _look_through(entries: Iterable[Path]) -> tuple[list[_Found], list[Skipped]]:
    """The sub-folders that hold a checkpoint, and those that only look like one."""
    found, skipped = [], []
    for entry in entries:
        name = entry.name
        if fault := text_fault(name):
            skipped.append(Skipped(ascii(name), f"its name cannot be used (it {fault}); rename it"))
        elif entry.is_symlink() and not entry.exists():
            skipped.append(Skipped(name, "it is a link to nothing"))
        elif entry.is_dir() and not name.startswith("."):
            try:
                files = _file_names(entry)
            except OSError as error:
                skipped.append(Skipped(name, f"it cannot be read ({error.strerror})"))
                continue
            if read_name(name) is None and not _has_weights_or_config(files):
                continue
            if (fault := _fault_of(entry, files)) is None:
                found.append(_placed(entry, name))
            else:
                skipped.append(Skipped(name, fault))
    return found, skipped


def _file_names(folder: Path) -> frozenset[str]:
    return frozenset(entry.name for entry in folder.iterdir() if entry.is_file())


def _has_weights_or_config(files: Iterable[str]) -> bool:
    return any(name == CONFIG_NAME or name.endswith((".safetensors", ".bin", ".pt")) for name in files)


def _fault_of(folder: Path, files: frozenset[str]) -> str | None:
    """Why a folder is not a complete checkpoint, by its file names and configuration; None if it is one."""
    if folder.name.startswith("tmp-"):
        return "it is half-written, since its name begins with tmp-"
    try:
        refuse_adapters(files, where="it")
        if CONFIG_NAME not in files:
            return _fault_without_config(files)
        read_json(folder / CONFIG_NAME)
        _weight_names(folder, files)
    except CheckpointError as error:
        return str(error).replace(f"{folder}/", "its ").removesuffix(".")
    except OSError as error:
        return f"its {CONFIG_NAME} cannot be read ({error.strerror})"
    return None


def _weight_names(folder: Path, files: frozenset[str]) -> tuple[str, ...]:
    return choose_weight_files(files, where="it", read_index=lambda name: read_json(folder / name))


def _fault_without_config(files: frozenset[str]) -> str:
    try:
        choose_weight_files(files, where="it")
    except CheckpointError:
        if any(name.endswith((".pt", ".pth", ".distcp")) for name in files):
            return "it holds the state of an optimizer or trainer but no model"
        return f"it is empty or half-written, without {CONFIG_NAME} and weights"
    return f"it has weights but no {CONFIG_NAME}"


# --- steps ---------------------------------------------------------------------------------------------------------


def _placed(folder: Path, revision: str) -> _Found:
    """The folder with its step: from its name, else from its trainer's state; without one if the two disagree."""
    reading = read_name(revision)
    state = _trainer_state(folder)
    step = state.get("global_step")
    step = step if type(step) is int and 0 <= step < 2**62 else None
    if reading is None:
        return _Found(folder, revision, *_by_state(state, step))
    if reading.step not in (None, step) and step is not None:
        doubt = f"its name says step {reading.step} and its {_STATE_NAME} says {step}"
        return _Found(folder, revision, None, None, doubt)
    return _Found(folder, revision, reading.number, reading.tokens)


def _by_state(state: dict[str, Any], step: int | None) -> tuple[int | None, None, str]:
    """The step of a folder whose name tells none; in doubt if it may hold the best weights and not the last."""
    best = state.get("best_model_checkpoint")
    reading = read_name(Path(best).name) if isinstance(best, str) else None
    if step is not None and isinstance(best, str) and (reading is None or reading.step != step):
        return None, None, f"it may hold the last weights (step {step}) or the best ones ({Path(best).name})"
    return step, None, ""


def _trainer_state(folder: Path) -> dict[str, Any]:
    try:
        value = json.loads((folder / _STATE_NAME).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


# --- copies --------------------------------------------------------------------------------------------------------


def _without_copies(found: Sequence[_Found]) -> tuple[list[_Found], list[Skipped]]:
    """Leaves out copies: of two equal checkpoints, the one without a step, or else the one with the longer name.

    Equal weights at two steps are not copies: one of the two is wrong. This is found when they are hashed.
    """
    kept: list[_Found] = []
    skipped = []
    for each in sorted(found, key=_plainness):
        known = (one for one in kept if _may_be_copies(one, each))
        same = next((one for one in known if _same_weights(one.folder, each.folder)), None)
        if same is None:
            kept.append(each)
        else:
            name = _ROOT_WORDS if each.revision == _ROOT else each.revision
            skipped.append(Skipped(name, f"it holds the same weights as {same.revision}"))
    return kept, skipped


def _plainness(each: _Found) -> tuple[bool, bool, int, str]:
    """Sorts the checkpoint to keep first: a step from a name counts before a step from a trainer's state."""
    return (each.revision == _ROOT, read_name(each.revision) is None, len(each.revision), each.revision)


def _may_be_copies(one: _Found, other: _Found) -> bool:
    return read_name(other.revision) is None or one.step == other.step


def _same_weights(first: Path, second: Path) -> bool:
    names = [_weight_names(folder, _file_names(folder)) for folder in (first, second)]
    if names[0] != names[1]:
        return False
    weights = [name for name in names[0] if not name.endswith(".json")]
    return all(_same_bytes(_version(first / name), _version(second / name)) for name in weights)


def _version(path: Path) -> tuple[str, int, int, int, int]:
    stat = path.stat()
    return str(path.resolve()), stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns


@functools.lru_cache(maxsize=4096)
def _same_bytes(first: tuple[str, int, int, int, int], second: tuple[str, int, int, int, int]) -> bool:
    """Whether two sets of files have equal content; stops at the first difference."""
    if first[0] == second[0] or first[1] != second[1]:
        return first[0] == second[0]
    with open(first[0], "rb") as one, open(second[0], "rb") as other:
        if os.path.sameopenfile(one.fileno(), other.fileno()):
            return True
        while chunk := one.read(_CHUNK):
            if chunk != other.read(_CHUNK):
                return False
    return True


# --- references ----------------------------------------------------------------------------------------------------


def path_name(base: Path, n_parts: int = 1) -> str:
    """The last parts of a path as the name of a model: this many, and more until the first part is distinctive.

    >>> path_name(Path("/data/alice/llama/output/checkpoints")), path_name(Path("/data/alice/llama"), 2)
    ('llama/output/checkpoints', 'alice/llama')
    """
    parts = base.parts[1:]
    first = max(len(parts) - n_parts, 0)
    while first > 0 and _is_generic(parts[first]):
        first -= 1
    return "/".join(parts[first:])


def _is_generic(part: str) -> bool:
    is_hash = len(part) == 40 and set(part) <= set("0123456789abcdef")
    return is_hash or part.lower() in _GENERIC_NAMES


def _single(path: Path, skipped: Sequence[Skipped]) -> Listing:
    """A folder that is the only checkpoint; if its name tells a step, its parent folder names the model."""
    each = _placed(path, path.name)
    base = path if read_name(path.name) is None else path.parent
    ref = _ref(each, path_name(base), path.parent)
    return Listing((ref,), tuple(skipped), _doubts([each]), base)


def _listing(path: Path, found: Sequence[_Found], skipped: Sequence[Skipped]) -> Listing:
    refs = sorted((_ref(each, path_name(path), path) for each in found), key=training_order)
    return Listing(tuple(refs), tuple(skipped), _doubts(found), path)


def _ref(each: _Found, model: str, home: Path) -> CheckpointRef:
    config = read_json(each.folder / CONFIG_NAME) if (each.folder / CONFIG_NAME).is_file() else {}
    return CheckpointRef(
        "local", model, each.revision, "folder", str(home), each.step, each.tokens, remap=remap_of(config)
    )


def _doubts(found: Iterable[_Found]) -> tuple[tuple[str, str], ...]:
    return tuple((each.revision, each.doubt) for each in found if each.doubt)


def _gguf_listing(folder: Path, paths: Sequence[Path], skipped: Sequence[Skipped]) -> Listing:
    """GGUF files of one folder; a file in several parts is listed as its first part."""
    bad = [Skipped(ascii(path.name), f"its name cannot be used (it {fault}); rename it")
           for path in paths if (fault := text_fault(path.name))]  # fmt: skip
    first = [path for path in sorted(paths) if not text_fault(path.name) and _is_first_part(path)]
    read = {path: read_name(gguf_stem(path.name)) for path in first}
    base = _gguf_base(folder, read)
    refs = [_gguf_ref(path, reading, path_name(base)) for path, reading in read.items()]
    if not refs:
        raise CheckpointError(f"{folder} holds no complete GGUF file; give one.")
    return Listing(tuple(sorted(refs, key=training_order)), (*skipped, *bad), (), base)


def _is_first_part(path: Path) -> bool:
    _, _, part = path.stem.rpartition("-of-")
    is_part = part.isdecimal() and len(part) == 5
    return not is_part or path.stem.endswith(f"-00001-of-{part}")


def _gguf_base(folder: Path, read: dict[Path, Reading | None]) -> Path:
    """The name of the model: the files' name without the step if all files share it, else the folder's name."""
    rests = {gguf_stem(path.name) if reading is None else reading.rest for path, reading in read.items()}
    return folder / rests.pop() if len(rests) == 1 else folder


def _gguf_ref(path: Path, reading: Reading | None, model: str) -> CheckpointRef:
    step, tokens = (None, None) if reading is None else (reading.number, reading.tokens)
    return CheckpointRef("local", model, path.name, "gguf", str(path), step, tokens)


def renamed(listing: Listing, model: str) -> Listing:
    """The same checkpoints under another name of their model."""
    return replace(listing, checkpoints=tuple(replace(ref, model=model) for ref in listing.checkpoints))
