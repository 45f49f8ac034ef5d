"""The files of one checkpoint: which of them are its weights, whether they are whole, and their hashes.

It knows file names, headers and bytes, but neither the Hub nor torch. It compares every count, size and name with the
file before using it. Sources: the layout that ``save_pretrained`` of transformers writes, the safetensors format
(https://huggingface.co/docs/safetensors), and pointers of git-lfs
(https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md).
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
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from icl_core.errors import CheckpointError
from icl_core.plain import without_repeats
from icl_core.units import byte_count

__all__ = [
    "CONFIG_NAME",
    "NO_CONTEXT_LIMIT",
    "TOKENIZER_NAMES",
    "check_weight_file",
    "choose_weight_files",
    "context_length_of",
    "count_parameters",
    "file_hashes",
    "file_stamp",
    "has_numbered_shards",
    "read_config",
    "read_json",
    "refuse_adapters",
    "refuse_pointer",
    "remap_of",
    "tokenizer_files",
]

CONFIG_NAME = "config.json"
NO_CONTEXT_LIMIT = 2**31 - 1
"""The context length of a model without a limit (a state-space model): no prompt is ever cut for it."""

_VOCABULARIES = (
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "spm.model",
    "sentencepiece.model",
    "prophetnet.tokenizer",
    "tekken.json",
    "vocab.txt",
    "vocab.json",
)
TOKENIZER_NAMES = (
    *_VOCABULARIES,
    "merges.txt",
    "bpe.codes",
    "emoji.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
CLOCK_GRAIN_NS = 2 * 10**9
"""Two changes of a file within this many seconds may leave the same times: FAT counts in steps of two seconds."""
_WEIGHT_FORMATS = (("model", "safetensors"), ("pytorch_model", "bin"))
_NUMBERED = r"{stem}-\d{{1,9}}-of-\d{{1,9}}\.{suffix}"
_POINTER = b"version https://git-lfs.github.com/spec/"
_MOST_JSON_BYTES = 64 * 2**20
_MOST_PARTS = 2**16
_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
_UNLIMITED = frozenset({"mamba", "mamba2", "falcon_mamba", "xlstm"})
"""Kinds of model that read texts of any length: their state does not grow with it."""

_CHANGES_WEIGHTS = ("quantization_config", "fusion_config")
"""Entries of a configuration that make transformers change the weights while it loads them."""


# --- weight files ----------------------------------------------------------------------------------------------------


def choose_weight_files(
    names: Iterable[str], *, where: str, read_index: Callable[[str], Mapping[str, Any]] | None = None
) -> tuple[str, ...]:
    """The names that hold the weights of a checkpoint, shard index included: safetensors if there are any, else .bin.

    Args:
        names: all files of the checkpoint.
        where: the checkpoint, for messages.
        read_index: reads a shard index, which then names the shards; without it they are known by the numbers in their
            names.

    Raises:
        CheckpointError: there are no weights, a shard of the set is missing, or the index names no files of the folder.
    """
    present = set(names)
    for stem, suffix in _WEIGHT_FORMATS:
        if f"{stem}.{suffix}" in present:
            return (f"{stem}.{suffix}",)
        numbered = sorted(name for name in present if re.fullmatch(_NUMBERED.format(stem=stem, suffix=suffix), name))
        index = f"{stem}.{suffix}.index.json"
        if index in present and read_index is not None:
            shards = _indexed_shards(read_index(index), f"{where}: {index}")
            _refuse_missing([name for name in shards if name not in present], where)
            return (*shards, index)
        if numbered or index in present:
            _require_all_shards(numbered, index, present=present, where=where)
            return (*numbered, index)
    raise CheckpointError(f"{where} holds no weights (neither safetensors nor .bin); choose another checkpoint.")


def has_numbered_shards(names: Iterable[str]) -> bool:
    """Whether there are shards that need no index: their names tell their number and how many there are."""
    kinds = "|".join(_NUMBERED.format(stem=stem, suffix=suffix) for stem, suffix in _WEIGHT_FORMATS)
    return any(re.fullmatch(kinds, name) for name in names)


def _indexed_shards(index: Mapping[str, Any], where: str) -> list[str]:
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{where} names no weights (its weight_map is empty or missing); download it again.")
    names = set(map(str, weight_map.values()))
    outside = sorted(name for name in names if name in ("", ".", "..") or re.search(r"[/\\\0]", name))
    if outside:
        raise CheckpointError(f"{where} names {outside[0]!r}, which is not a file of the checkpoint's own folder.")
    return sorted(names)


def _require_all_shards(shards: Sequence[str], index: str, *, present: Collection[str], where: str) -> None:
    if not shards or index not in present:
        _refuse_missing([index if shards else "every shard"], where)
    stem, count, suffix = re.fullmatch(r"(.*-)\d+-of-(\d+)(\..*)", shards[0]).groups()  # type: ignore[union-attr]
    # One name more than there are files: a count of millions is then as quick as a count of two.
    wanted = range(1, min(int(count), len(present) + 1) + 1)
    names = [f"{stem}{number:0{len(count)}d}-of-{count}{suffix}" for number in wanted]
    _refuse_missing([name for name in names if name not in present], where)


def _refuse_missing(names: Sequence[str], where: str) -> None:
    if names:
        raise CheckpointError(f"{where} is incomplete: {_some(names)} is missing; download it again.")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def refuse_adapters(names: Iterable[str], *, where: str) -> None:
    """Refuses a folder with an adapter (LoRA and the like), alone or beside the weights that it changes.

    Raises:
        CheckpointError: the adapter would have to be merged first.
    """
    found = sorted(name for name in names if re.fullmatch(r"adapter_config\.json|adapter_model\..+", name))
    if found:
        raise CheckpointError(
            f"{where} holds an adapter ({found[0]}), which is only a change to a base model; merge the adapter with "
            "peft's merge_and_unload(), save the merged model into a folder of its own, and give that folder."
        )


def tokenizer_files(names: Iterable[str]) -> tuple[str, ...]:
    """The tokenizer's files among the names, sorted; empty unless one of them holds a whole vocabulary.

    A ``vocab.json`` alone does not count: without ``merges.txt`` it would split words into letters.
    """
    found = tuple(sorted(set(TOKENIZER_NAMES).intersection(names)))
    vocabularies = set(_VOCABULARIES).intersection(found)
    return found if vocabularies - {"vocab.json"} or {"vocab.json", "merges.txt"} <= set(found) else ()


# --- one file --------------------------------------------------------------------------------------------------------


def refuse_pointer(path: Path) -> None:
    """Refuses the small text file that git leaves in the place of a large one.

    Raises:
        CheckpointError: it is such a pointer.
    """
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise CheckpointError(
                f"{path} is only the git-lfs pointer to the real file; run `git lfs pull` in its repository."
            )


def check_weight_file(path: Path) -> None:
    """Refuses a weight file that is cut short or does not hold what its header says, from header and size alone.

    Raises:
        CheckpointError: the file is missing, empty, truncated, a pointer, or its header lies.
    """
    if not path.is_file() or not path.stat().st_size:
        raise _incomplete(path)
    refuse_pointer(path)
    if path.suffix == ".safetensors":
        _safetensors_header(path)
    elif path.name.endswith(".index.json"):
        shards = _indexed_shards(read_json(path), str(path))
        _refuse_missing([name for name in shards if not (path.parent / name).is_file()], str(path.parent))
    else:
        _check_archive(path)


def _incomplete(path: Path) -> CheckpointError:
    return CheckpointError(f"{path} is incomplete (cut short or empty); download or copy it again.")


def _check_archive(path: Path) -> None:
    """Refuses a damaged .bin file: torch writes a zip archive of uncompressed entries, or an older pickle."""
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            return
    try:
        with zipfile.ZipFile(path) as archive:
            n_bytes = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError):
        raise _incomplete(path) from None
    if n_bytes > path.stat().st_size:
        raise CheckpointError(f"{path} is a compressed archive, which torch never writes; save the weights again.")


class _Tensor(NamedTuple):
    """An entry of a safetensors header: shape, and the first and last byte (exclusive) after the header."""

    shape: tuple[int, ...]
    begin: int
    end: int


def _safetensors_header(path: Path) -> dict[str, _Tensor]:
    """The tensors that the header of a file names, in the order of their bytes, which cover the file exactly.

    Raises:
        CheckpointError: the file is cut short, or its header is damaged or lies.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > size - 8:
            raise _incomplete(path)
        if length > _MOST_JSON_BYTES:
            raise CheckpointError(
                f"{path} is damaged (its header is larger than {byte_count(_MOST_JSON_BYTES)}); download it again."
            )
        header = _parse_json(file.read(length), path, object_pairs_hook=without_repeats)
    header.pop("__metadata__", None)
    tensors = {name: _header_entry(entry, f"{path} is damaged: the tensor {name!r}") for name, entry in header.items()}
    position = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1][1:]):
        if tensor.begin != position:
            raise CheckpointError(f"{path} is damaged: the tensor {name!r} does not begin where the last one ends.")
        position = tensor.end
    if size < 8 + length + position:
        raise _incomplete(path)
    if size > 8 + length + position:
        raise CheckpointError(f"{path} is damaged: it is longer than its header says; download it again.")
    return tensors


def _header_entry(entry: Any, where: str) -> _Tensor:
    try:
        shape, (begin, end), dtype = tuple(entry["shape"]), entry["data_offsets"], entry["dtype"]
    except (TypeError, KeyError, ValueError):
        raise CheckpointError(f"{where} lacks its type, shape or place; download it again.") from None
    if not all(type(number) is int and number >= 0 for number in (*shape, begin, end)):
        raise CheckpointError(f"{where} has an impossible shape or place; download it again.")
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise CheckpointError(f"{where} has the unknown type {str(dtype)[:20]!r}; save it as a usual one.")
    if 8 * (end - begin) != math.prod(shape) * _BITS[dtype]:
        raise CheckpointError(f"{where} does not have as many bytes as its shape and type need; download it again.")
    return _Tensor(shape, begin, end)


def count_parameters(paths: Iterable[Path]) -> int | None:
    """Number of stored weights in safetensors files (tied weights once); None if a file has another format."""
    total = 0
    for path in paths:
        if path.suffix != ".safetensors":
            return None
        total += sum(math.prod(tensor.shape) for tensor in _safetensors_header(path).values())
    return total


def file_stamp(path: Path) -> list[int]:
    """What differs as soon as a file is written or replaced: size, times of change (ns), inode and device.

    A program cannot set the time of change of the inode (``ctime``). So it shows a change even if size and modification
    time are as before.
    """
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev]


def file_hashes(paths: Iterable[Path], *, hash_cache: Path | None = None) -> dict[Path, str]:
    """sha256 of each file's content; with a cache, each version of a file is read once.

    A file that changed just before it was read is not remembered: a second change within one tick of the file system's
    clock would leave the same stamp (https://git-scm.com/docs/racy-git).

    Args:
        paths: files to hash.
        hash_cache: JSON file of earlier results by resolved path, valid while the file's stamp is the same. It is made
            if absent, ignored if it cannot be read, and left alone if it cannot be written.

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
    """Stamp and hash of a file, and whether its last change is old enough for the stamp to stand for the content."""
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
    """Writes all entries at once; if the disk is full, the files are read again next time."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(known), encoding="utf-8")
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()


# --- configuration ---------------------------------------------------------------------------------------------------


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a checkpoint.

    Raises:
        CheckpointError: the file is missing, too large or too deep, or holds no JSON object.
    """
    if not path.is_file():
        raise CheckpointError(f"{path.parent} is incomplete: {path.name} is missing.")
    try:
        if path.stat().st_size > _MOST_JSON_BYTES:
            raise CheckpointError(
                f"{path} is damaged (larger than {byte_count(_MOST_JSON_BYTES)}); download or copy it again."
            )
        return _parse_json(path.read_bytes(), path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from None


def _parse_json(content: bytes, path: Path, **options: Any) -> dict[str, Any]:
    try:
        value = json.loads(content.decode("utf-8"), **options)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        refuse_pointer(path)
        raise CheckpointError(f"{path} is damaged (not a JSON object); download or copy it again.")
    return value


def read_config(folder: Path) -> dict[str, Any]:
    """The ``config.json`` of a checkpoint, refused if it asks for a change of the weights.

    Raises:
        CheckpointError: it is missing or damaged, counts more parts than any model has, or names quantised weights.
    """
    path = folder / CONFIG_NAME
    config = read_json(path)
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        for name in _CHANGES_WEIGHTS:
            if part.get(name):
                raise CheckpointError(
                    f"{path} has a {name}, which would change the weights while they are loaded; give the checkpoint "
                    "in float32, float16 or bfloat16, or as a GGUF file."
                )
        _refuse_countless(part, path)
    return config


def _refuse_countless(config: Mapping[str, Any], path: Path) -> None:
    """Refuses a count of layers, heads or experts in the millions: it would only show when the memory is full."""
    for name, value in config.items():
        counts = re.search(r"(layer|block|expert|head)s?$", name) and isinstance(value, int | float)
        if counts and not value <= _MOST_PARTS:
            raise CheckpointError(f"{path} is damaged: {name} is {value}, more than any model has.")


def context_length_of(config: Mapping[str, Any]) -> int | None:
    """Longest sequence of tokens in a model configuration, None if it does not say.

    A model without such a limit has ``NO_CONTEXT_LIMIT``.

    >>> context_length_of({"n_positions": 1024})
    1024
    >>> context_length_of({"model_type": "mamba"}) == NO_CONTEXT_LIMIT
    True
    """
    if str(config.get("model_type")) in _UNLIMITED:
        return NO_CONTEXT_LIMIT
    text = config.get("text_config")
    stated = text if isinstance(text, dict) and text else config
    names = (
        "max_position_embeddings",
        "n_positions",
        "max_sequence_length",
        "max_seq_len",
        "seq_length",
        "n_ctx",
        "context_length",
    )
    lengths = (stated.get(name) for name in names)
    return next((length for length in lengths if type(length) is int and 0 < length <= NO_CONTEXT_LIMIT), None)


def remap_of(config: Mapping[str, Any]) -> str | None:
    """The native remap that this configuration needs, None if transformers has the class.

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
