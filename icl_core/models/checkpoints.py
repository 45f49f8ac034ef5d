"""Loads one checkpoint with its tokenizer and identity, and frees it again.

It runs nothing on the model, and never runs code from a repository. The dtype is always named: by default transformers
takes the configuration's (float16 for Pythia, even on a CPU). Only the files that the identity names are loaded, and
``building`` accounts for each of their tensors.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from icl_core import settings
from icl_core.errors import CheckpointError, UnknownNameError
from icl_core.models.building import BUILDING, DTYPES, model_from_state_dict, native_config
from icl_core.models.files import file_hashes, file_stamp, read_config
from icl_core.models.identity import identify_checkpoint
from icl_core.models.parameter_fusion import fusion_parents, mix_parameters, refuse_different_configurations
from icl_core.models.resolving import (
    CONVERTER_VERSION,
    ResolvedCheckpoint,
    checkpoint_files,
    checkpoint_folder,
    conversion_of,
    converted_folder,
    is_known,
    resolve_checkpoint,
    tokenizer_folder,
)
from icl_core.models.sealed import clear_leftovers, put_sealed, working_folder
from icl_core.models.tokenizing import BoundedTokenizer, check_tokenizer_file
from icl_core.models.weights import first_line, read_state_dict
from icl_core.records import CheckpointIdentity, CheckpointRef

__all__ = ["LoadedCheckpoint", "load_checkpoint", "load_tokenizer", "release"]


@dataclass(frozen=True, slots=True, eq=False)
class LoadedCheckpoint:
    """A model in memory.

    Attributes:
        ref: what was asked.
        model: a causal LM of transformers in evaluation mode, on its device.
        tokenizer: of transformers.
        identity: what was loaded, by content.
    """

    ref: CheckpointRef
    model: Any
    tokenizer: Any
    identity: CheckpointIdentity


def load_checkpoint(
    ref: CheckpointRef,
    *,
    dtype: str,
    device: str = "cpu",
    attention: str = "sdpa",
    offline: bool = False,
    hash_cache: Path | None = None,
) -> LoadedCheckpoint:
    """Loads a checkpoint into memory, downloading what is missing.

    Args:
        ref: the checkpoint.
        dtype: of weights and arithmetic, a name of ``DTYPES``.
        device: of torch, such as ``cpu`` or ``cuda``.
        attention: implementation; architectures without ``sdpa`` (BLOOM) fall back to ``eager``.
        offline: use the local Hub cache only.
        hash_cache: see ``files.file_hashes``.

    Raises:
        UnknownNameError: no such revision, dtype or remap.
        CheckpointError: the checkpoint is missing, incomplete, larger than the memory, or needs code of its repository.
    """
    if dtype not in DTYPES:
        raise UnknownNameError(f"Unknown dtype {dtype!r}; known are {', '.join(DTYPES)}.")
    _check_device(device)
    hash_cache = hash_cache or settings.store_path() / "hashes.json"
    try:
        before = _stamps(ref, offline, hash_cache)
        model, tokenizer = _load(ref, dtype, attention=attention, offline=offline, hash_cache=hash_cache)
        model = _unmapped(model.to(device)).eval().requires_grad_(False)
        return LoadedCheckpoint(
            ref, model, tokenizer, _identity_of_loaded(ref, before, offline=offline, hash_cache=hash_cache)
        )
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise CheckpointError(f"{ref.model} at {ref.revision} does not fit into the memory of {device}.") from error


def _load(ref: CheckpointRef, dtype: str, *, attention: str, offline: bool, hash_cache: Path) -> tuple[Any, Any]:
    """Model and tokenizer of a checkpoint of any source."""
    if ref.source == "fused":
        return _load_fused(ref, dtype, attention=attention, offline=offline, hash_cache=hash_cache)
    resolved = resolve_checkpoint(ref, offline=offline)
    if ref.source == "gguf":
        folder = _convert_gguf(Path(ref.location), hash_cache)
        names = sorted(path.name for path in folder.glob("*.safetensors"))
        return _load_native(folder, names, dtype=dtype, attention=attention), _tokenizer_of(ref, folder)
    return _load_model(resolved, dtype, attention), _tokenizer_of(ref, tokenizer_folder(resolved))


def _stamps(ref: CheckpointRef, offline: bool, hash_cache: Path) -> dict[Path, list[int]]:
    """The stamps of all files that decide what is loaded; GGUF files are converted first."""
    for each in _parts(ref):
        if each.source == "gguf":
            _convert_gguf(Path(each.location), hash_cache)
    return _stamps_of(checkpoint_files(ref, offline=offline, hash_cache=hash_cache))


def _parts(ref: CheckpointRef) -> tuple[CheckpointRef, ...]:
    """The checkpoint, or both parents if its parameters are mixed."""
    if ref.source != "fused":
        return (ref,)
    parents = fusion_parents(ref)
    return parents.tr, parents.tl


def _stamps_of(paths: Iterable[Path]) -> dict[Path, list[int]]:
    try:
        return {path: file_stamp(path) for path in paths}
    except OSError as error:
        raise CheckpointError(f"{error.filename} cannot be read: {error.strerror}.") from error


def _identity_of_loaded(
    ref: CheckpointRef, before: Mapping[Path, list[int]], *, offline: bool, hash_cache: Path
) -> CheckpointIdentity:
    """What was loaded, by content: hashed after loading, from files that have not changed since.

    Local files are read again, even if a cache of hashes knows them.

    Raises:
        CheckpointError: a file changed meanwhile, or differs from the one that the Hub or a seal names.
    """
    try:
        identity = identify_checkpoint(ref, offline=offline, hash_cache=hash_cache if ref.source == "gguf" else None)
        told = checkpoint_files(ref, offline=offline, hash_cache=hash_cache)
        hashes = file_hashes([path for path, sha256 in told.items() if sha256], hash_cache=hash_cache)
        is_same = _stamps_of(told) == before
    except CheckpointError:
        if _are_still(before):
            raise
        is_same = False
    if not is_same:
        raise CheckpointError(_changed_words(ref))
    other = next((path for path, sha256 in hashes.items() if sha256 != told[path]), None)
    if other is not None:
        raise CheckpointError(f"{other} does not have the content of its recorded hash; delete it and load it again.")
    return identity


def _are_still(stamps: Mapping[Path, list[int]]) -> bool:
    try:
        return _stamps_of(stamps) == stamps
    except CheckpointError:
        return False


def _changed_words(ref: CheckpointRef) -> str:
    return f"{ref.model} at {ref.revision} changed while it was being loaded; evaluate it again."


def _unmapped(model: Any) -> Any:
    """The model with its weights copied into memory: mapped from a file, they would change if the file changes."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.device.type == "cpu":
            tensor.data = tensor.data.clone()
    return model


def load_tokenizer(ref: CheckpointRef, *, offline: bool = False) -> Any:
    """The tokenizer of a checkpoint: its own, else that of ``main`` or of the parent folder.

    Raises:
        CheckpointError: there is none, or it needs code of its repository.
    """
    resolved = resolve_checkpoint(ref, offline=offline)
    if ref.source == "gguf":
        return _tokenizer_of(ref, _convert_gguf(Path(ref.location), None))
    return _tokenizer_of(ref, tokenizer_folder(resolved))


def release(loaded: LoadedCheckpoint) -> None:
    """Frees the model's memory, even if other references to it remain; the model cannot be used again."""
    loaded.model.to("meta")  # drops the storage at once; a garbage collection would cost half a second a checkpoint
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _check_device(device: str) -> None:
    try:
        kind = torch.device(device).type
    except RuntimeError:
        raise UnknownNameError(f"Unknown device {device!r}; use cpu, cuda, or cuda: and a number.") from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise CheckpointError("No CUDA device is available here; use the device cpu.")


def _load_model(resolved: ResolvedCheckpoint, dtype: str, attention: str) -> Any:
    folder = checkpoint_folder(resolved)
    if resolved.ref.remap is not None:
        return _load_remapped(folder, resolved, dtype=dtype, attention=attention)
    return _load_native(folder, resolved.weight_names, dtype=dtype, attention=attention)


def _load_native(folder: Path, names: Iterable[str], *, dtype: str, attention: str) -> Any:
    config, state = native_config(folder), read_state_dict([folder / name for name in names])
    return model_from_state_dict(config, state, dtype=dtype, attention=attention, where=str(folder))


def _load_fused(
    ref: CheckpointRef, dtype: str, *, attention: str, offline: bool, hash_cache: Path | None
) -> tuple[Any, Any]:
    """Model and tokenizer of mixed parameters; the tokenizers of both parents have to be the same."""
    parents = fusion_parents(ref)
    (folder, tr_paths), (other, tl_paths) = (
        _weight_paths(parent, offline, hash_cache) for parent in (parents.tr, parents.tl)
    )
    where = f"{parents.tr.model} {parents.tr.revision} and {parents.tl.model} {parents.tl.revision}"
    source = read_config(folder)
    refuse_different_configurations(source, read_config(other), where=where)
    tokenizer, second = (load_tokenizer(parent, offline=offline) for parent in (parents.tr, parents.tl))
    if tokenizer.get_vocab() != second.get_vocab():
        raise CheckpointError(f"{where} have different tokenizers; fuse their predictions instead.")
    state = mix_parameters(tr_paths, tl_paths, weight=parents.weight, dtype=DTYPES[dtype])
    if ref.remap is None:
        config = native_config(folder)
        return model_from_state_dict(config, state, dtype=dtype, attention=attention, where=where), tokenizer
    from icl_core.models.remaps import get_remap

    remap = get_remap(ref.remap)
    config = remap.config(source)
    state = remap.weights(state, config)
    return model_from_state_dict(config, state, dtype=dtype, attention=attention, where=where), tokenizer


def _weight_paths(ref: CheckpointRef, offline: bool, hash_cache: Path | None) -> tuple[Path, list[Path]]:
    """The folder of a checkpoint's configuration on this machine, and its weight files."""
    if ref.source == "gguf":
        folder = _convert_gguf(Path(ref.location), hash_cache)
        return folder, sorted(folder.glob("*.safetensors"))
    resolved = resolve_checkpoint(ref, offline=offline)
    folder = checkpoint_folder(resolved)
    return folder, [folder / name for name in resolved.weight_names]


def _load_remapped(folder: Path, resolved: ResolvedCheckpoint, *, dtype: str, attention: str) -> Any:
    from icl_core.models.remaps import get_remap

    remap = get_remap(str(resolved.ref.remap))
    source = read_config(folder)
    try:
        config = remap.config(source)
        state = read_state_dict([folder / name for name in resolved.weight_names])
        native = remap.weights(state, config)
    except KeyError as error:
        raise CheckpointError(f"{folder} does not fit its remap {resolved.ref.remap}: {error} is missing.") from error
    except (TypeError, ValueError, ZeroDivisionError, RuntimeError, AttributeError) as error:
        raise CheckpointError(f"{folder} does not fit its remap {resolved.ref.remap}: {first_line(error)}.") from error
    return model_from_state_dict(config, native, dtype=dtype, attention=attention, where=str(folder))


def _tokenizer_of(ref: CheckpointRef, folder: Path) -> Any:
    """The tokenizer in a folder; a stranger's is checked first and used in a separate process."""
    load = _load_tokenizer if ref.source != "gguf" and ref.remap is None else _plain_tokenizer
    if is_known(ref):
        return load(folder)
    where = f"{ref.model} at {ref.revision}"
    if (folder / "tokenizer.json").is_file():
        check_tokenizer_file(folder / "tokenizer.json", where=where)
    tokenizer = load(folder)
    return BoundedTokenizer(tokenizer, where=where) if tokenizer.is_fast else tokenizer


def _load_tokenizer(folder: Path) -> Any:
    """The tokenizer as transformers chooses its class."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # each library fails in its own way on damaged files
        raise CheckpointError(f"The tokenizer in {folder} cannot be loaded: {first_line(error)}.") from error


def _plain_tokenizer(folder: Path) -> Any:
    """The tokenizer that the vocabulary files describe by themselves, whatever class the checkpoint names."""
    from transformers import PreTrainedTokenizerFast

    try:
        if (folder / "tokenizer.json").is_file():
            return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        return _sentencepiece_tokenizer(folder)
    except Exception as error:  # as above
        raise CheckpointError(f"The tokenizer in {folder} cannot be loaded: {first_line(error)}.") from error


def _sentencepiece_tokenizer(folder: Path) -> Any:
    """A Llama tokenizer that treats spaces as the SentencePiece model does (Baichuan2 adds no leading space)."""
    from sentencepiece import sentencepiece_model_pb2
    from tokenizers import normalizers
    from transformers import LlamaTokenizer

    tokenizer = LlamaTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    model = sentencepiece_model_pb2.ModelProto.FromString((folder / "tokenizer.model").read_bytes())
    steps = [normalizers.Prepend("▁")] if model.normalizer_spec.add_dummy_prefix else []
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    tokenizer.backend_tokenizer.pre_tokenizer = None
    return tokenizer


def _convert_gguf(path: Path, hash_cache: Path | None) -> Path:
    """The folder of the file's float32 weights and tokenizer, written once, and again if it was changed since."""
    sha256 = file_hashes([path], hash_cache=hash_cache)[path]
    folder = converted_folder(sha256)
    with BUILDING:  # a second thread waits for the first one's files
        clear_leftovers(folder.parent)
        if conversion_of(sha256, hash_cache=hash_cache) is None:
            _write_converted(path, folder, sha256)
    return folder


def _write_converted(path: Path, folder: Path, sha256: str) -> None:
    from icl_core.models.gguf_conversion import convert_gguf

    partial = working_folder(folder)
    try:
        convert_gguf(path, partial)
        if file_hashes([path])[path] != sha256:
            raise CheckpointError(f"{path} changed while it was being converted; evaluate it again.")
        put_sealed(partial, folder, version=CONVERTER_VERSION)
    except OSError as error:
        if conversion_of(sha256) is None:  # otherwise another process was first, with equal content
            raise CheckpointError(f"{path} cannot be converted: {first_line(error)}.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
