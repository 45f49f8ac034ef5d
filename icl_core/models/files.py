"""The files of one checkpoint: which of them are its weights, whether they are whole, and their hashes.

It knows file names, headers and bytes, neither the Hub nor torch. Sources: the layout that ``save_pretrained`` of
transformers writes, and the safetensors format (https://huggingface.co/docs/safetensors).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import threading
import time
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from icl_core.errors import CheckpointError

__all__ = [
    "CONFIG_NAME",
    "TOKENIZER_NAMES",
    "check_weight_file",
    "choose_weight_files",
    "context_length_of",
    "count_parameters",
    "file_hashes",
    "file_stamp",
    "read_json",
    "remap_of",
    "tokenizer_files",
]

CONFIG_NAME = "config.json"
TOKENIZER_NAMES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
)
CLOCK_GRAIN_NS = 2 * 10**9
"""Two changes of a file within this time may carry the same times: FAT counts two seconds, others less."""
_VOCABULARY_NAMES = frozenset({"tokenizer.json", "tokenizer.model", "vocab.json"})
_WEIGHT_FORMATS = (("model", "safetensors"), ("pytorch_model", "bin"))


def choose_weight_files(names: Iterable[str], *, where: str) -> tuple[str, ...]:
    """The names that hold the weights of a checkpoint, shard index included: safetensors if there are any, else .bin.

    Args:
        names: all files of the checkpoint.
        where: the checkpoint, for messages.

    Raises:
        CheckpointError: there are no weights, or a shard of the set is missing.
    """
    present = set(names)
    for stem, suffix in _WEIGHT_FORMATS:
        if f"{stem}.{suffix}" in present:
            return (f"{stem}.{suffix}",)
        shards = sorted(name for name in present if re.fullmatch(rf"{stem}-\d+-of-\d+\.{suffix}", name))
        index = f"{stem}.{suffix}.index.json"
        if shards or index in present:
            _require_all_shards(shards, index, present, where)
            return (*shards, index)
    raise CheckpointError(f"{where} holds no weights (neither safetensors nor .bin); choose another checkpoint.")


def _require_all_shards(shards: Sequence[str], index: str, present: set[str], where: str) -> None:
    if not shards or index not in present:
        missing = [index if shards else "every shard"]
    else:
        stem, count, suffix = re.fullmatch(r"(.*-)\d+-of-(\d+)(\..*)", shards[0]).groups()  # type: ignore[union-attr]
        wanted = [f"{stem}{number:0{len(count)}d}-of-{count}{suffix}" for number in range(1, int(count) + 1)]
        missing = [name for name in wanted if name not in present]
    if missing:
        raise CheckpointError(f"{where} is incomplete: {', '.join(missing)} is missing; download it again.")


def tokenizer_files(names: Iterable[str]) -> tuple[str, ...]:
    """The tokenizer's files among the names, sorted; empty unless one of them holds a vocabulary."""
    found = tuple(sorted(set(TOKENIZER_NAMES).intersection(names)))
    return found if _VOCABULARY_NAMES.intersection(found) else ()


def check_weight_file(path: Path) -> None:
    """Refuses a weight file that is cut short, from its header and size alone.

    Raises:
        CheckpointError: the file is missing, empty or truncated.
    """
    whole = path.is_file() and path.stat().st_size > 0
    if whole and path.suffix == ".safetensors":
        header = _safetensors_header(path)
        whole = header is not None and header[1] == path.stat().st_size
    elif whole and path.name.endswith(".index.json"):
        missing = sorted({name for name in _shard_names(path) if not (path.parent / name).is_file()})
        if missing:
            raise CheckpointError(f"{path.parent} is incomplete: {', '.join(missing)} is missing; download it again.")
    elif whole:
        with path.open("rb") as file:
            whole = file.read(2) != b"PK" or zipfile.is_zipfile(path)
    if not whole:
        raise CheckpointError(f"{path} is incomplete (cut short or empty); download or copy it again.")


def _shard_names(index_path: Path) -> set[str]:
    weight_map = read_json(index_path).get("weight_map")
    return set(weight_map.values()) if isinstance(weight_map, dict) else set()


def _safetensors_header(path: Path) -> tuple[dict[str, Any], int] | None:
    """The header and the size in bytes that the file should have; None where the header itself is cut or broken."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            return None
        try:
            header: dict[str, Any] = json.loads(file.read(length))
        except ValueError:
            return None
    header.pop("__metadata__", None)
    return header, 8 + length + max((tensor["data_offsets"][1] for tensor in header.values()), default=0)


def count_parameters(paths: Iterable[Path]) -> int | None:
    """Number of stored weights over safetensors files (tied weights once), None where another format is among them."""
    total = 0
    for path in paths:
        header = _safetensors_header(path) if path.suffix == ".safetensors" else None
        if header is None:
            return None
        total += sum(math.prod(tensor["shape"]) for tensor in header[0].values())
    return total


def file_stamp(path: Path) -> list[int]:
    """What differs as soon as a file is written or replaced: size, times of change (ns), inode and device.

    The time of change of the inode (``ctime``) cannot be set by a program, so it tells where size and modification time
    were kept or put back.
    """
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev]


def file_hashes(paths: Iterable[Path], *, hash_cache: Path | None = None) -> dict[Path, str]:
    """sha256 of each file's content, read once per version of a file where a cache is given.

    A file that changed just before it was read is not remembered: a second change within the grain of the file system's
    clock would leave the same stamp (https://git-scm.com/docs/racy-git).

    Args:
        paths: files to hash.
        hash_cache: JSON file of earlier results by resolved path, valid while the file's stamp is the same; made where
            absent, ignored where unreadable, left as it is where it cannot be written.

    Raises:
        CheckpointError: a file cannot be read, or changes while it is read.
    """
    known = _read_hash_cache(hash_cache)
    before = dict(known)
    hashes = {}
    for path in paths:
        key = str(path.resolve())
        entry = known.pop(key, None)
        try:
            if entry is None or entry[:-1] != file_stamp(path):
                entry, is_settled = _hashed(path)
            else:
                is_settled = True
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error
        if is_settled:
            known[key] = entry
        hashes[path] = str(entry[-1])
    if hash_cache is not None and known != before:
        _write_hash_cache(hash_cache, known)
    return hashes


def _hashed(path: Path) -> tuple[list[int | str], bool]:
    """Stamp and hash of a file, and whether its last change lies far enough back for the stamp to name its content."""
    started, stamp = time.time_ns(), file_stamp(path)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if file_stamp(path) != stamp:
        raise CheckpointError(f"{path} changed while it was being read; evaluate it again.")
    return [*stamp, sha256], max(stamp[1:3]) + CLOCK_GRAIN_NS < started


def _read_hash_cache(path: Path | None) -> dict[str, list[int | str]]:
    try:
        value = json.loads(path.read_text("utf-8")) if path is not None else {}
    except (OSError, ValueError, RecursionError):
        return {}
    found = value.items() if isinstance(value, dict) else ()
    return {name: entry for name, entry in found if _is_entry(entry)}


def _is_entry(entry: object) -> bool:
    return (
        isinstance(entry, list)
        and len(entry) == 6
        and isinstance(entry[-1], str)
        and bool(re.fullmatch(r"[0-9a-f]{64}", entry[-1]))
    )


def _write_hash_cache(path: Path, known: Mapping[str, list[int | str]]) -> None:
    """Writes all entries at once; where there is no room the files are read again next time."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(known), encoding="utf-8")
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a checkpoint.

    Raises:
        CheckpointError: the file is missing or holds no JSON object.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent} is incomplete: {path.name} is missing.") from None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is damaged (not a JSON object); download or copy it again.")
    return value


def context_length_of(config: Mapping[str, Any]) -> int | None:
    """Longest sequence of tokens of a model configuration, None where it does not tell.

    >>> context_length_of({"n_positions": 1024})
    1024
    """
    text = config.get("text_config") or config
    names = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length", "n_ctx")
    return next((int(text[name]) for name in names if text.get(name)), None)


def remap_of(config: Mapping[str, Any]) -> str | None:
    """The native remap that a configuration of someone else's needs, None where transformers has the class.

    >>> remap_of({"model_type": "minicpm"})
    'minicpm_to_granite'
    """
    kind = config.get("model_type")
    if kind in ("olmo", "hf_olmo") and "mlp_ratio" in config:
        return "olmo_to_native"
    return {
        "minicpm": "minicpm_to_granite",
        "baichuan": "baichuan2_to_llama",
        "crystalcoder": "crystalcoder",
    }.get(str(kind))
