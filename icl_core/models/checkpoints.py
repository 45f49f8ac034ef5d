"""Loads one checkpoint, its tokenizer and its identity, and lets go of it again.

It runs nothing on the model and never runs code from a repository unless a call allows it. The dtype is always named:
transformers would take the configuration's (float16 for Pythia, on a CPU too). Loading is strict: a weight that the
checkpoint lacks is an error, never a random start.
"""

from __future__ import annotations

import os
import pickle
import shutil
import threading
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from icl_core import settings
from icl_core.errors import CheckpointError, UnknownNameError
from icl_core.models.files import CONFIG_NAME, file_hashes, file_stamp, read_json
from icl_core.models.hub import (
    CONVERTER_VERSION,
    ResolvedCheckpoint,
    checkpoint_files,
    checkpoint_folder,
    conversion_of,
    converted_folder,
    identify_checkpoint,
    is_known,
    resolve_checkpoint,
    tokenizer_folder,
)
from icl_core.models.parameter_fusion import fusion_parents, mix_parameters, refuse_different_configurations
from icl_core.models.sealed import clear_leftovers, put_sealed, working_folder
from icl_core.models.tokenizing import BoundedTokenizer, check_tokenizer_file
from icl_core.records import CheckpointIdentity, CheckpointRef

__all__ = [
    "DTYPES",
    "LoadedCheckpoint",
    "load_checkpoint",
    "load_tokenizer",
    "model_from_state_dict",
    "read_state_dict",
    "release",
]

DTYPES: Mapping[str, torch.dtype] = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}

_BUILDING = threading.RLock()


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
    allow_remote_code: bool = False,
    hash_cache: Path | None = None,
) -> LoadedCheckpoint:
    """Loads a checkpoint into memory, downloading what is missing.

    Args:
        ref: the checkpoint.
        dtype: of weights and arithmetic, a name of ``DTYPES``.
        device: of torch, such as ``cpu`` or ``cuda``.
        attention: implementation; architectures without ``sdpa`` (BLOOM) fall back to ``eager``.
        offline: use the local Hub cache only.
        allow_remote_code: run the repository's own modelling code, pinned to the resolved commit.
        hash_cache: see ``files.file_hashes``.

    Raises:
        UnknownNameError: no such revision, dtype or remap.
        CheckpointError: missing, incomplete, not loadable natively, or larger than the memory.
    """
    if dtype not in DTYPES:
        raise UnknownNameError(f"Unknown dtype {dtype!r}; known are {', '.join(DTYPES)}.")
    _check_device(device)
    hash_cache = hash_cache or settings.store_path() / "hashes.json"
    try:
        before = _stamps(ref, offline, hash_cache)
        model, tokenizer = _load(ref, dtype, attention, offline, allow_remote_code, hash_cache)
        model = _unmapped(model.to(device)).eval().requires_grad_(False)
        return LoadedCheckpoint(ref, model, tokenizer, _identity_of_loaded(ref, before, offline, hash_cache))
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise CheckpointError(f"{ref.model} at {ref.revision} does not fit into the memory of {device}.") from error


def _load(
    ref: CheckpointRef, dtype: str, attention: str, offline: bool, allow_remote_code: bool, hash_cache: Path
) -> tuple[Any, Any]:
    """Model and tokenizer of a checkpoint of any source."""
    if ref.source == "fused":
        return _load_fused(ref, dtype, attention, offline, hash_cache)
    resolved = resolve_checkpoint(ref, offline=offline)
    if ref.source == "gguf":
        folder = _convert_gguf(Path(ref.location), hash_cache)
        return _load_native(folder, True, dtype, attention), _load_tokenizer(ref, folder)
    model = _load_model(resolved, dtype, attention, allow_remote_code)
    return model, _load_tokenizer(ref, tokenizer_folder(resolved), allow_remote_code)


def _stamps(ref: CheckpointRef, offline: bool, hash_cache: Path) -> dict[Path, list[int]]:
    """The stamps of all files that decide what is loaded; GGUF files are converted first."""
    for each in _parts(ref):
        if each.source == "gguf":
            _convert_gguf(Path(each.location), hash_cache)
    return _stamps_of(checkpoint_files(ref, offline=offline, hash_cache=hash_cache))


def _parts(ref: CheckpointRef) -> tuple[CheckpointRef, ...]:
    """The checkpoint, or the two that its parameters are mixed of."""
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
    ref: CheckpointRef, before: Mapping[Path, list[int]], offline: bool, hash_cache: Path
) -> CheckpointIdentity:
    """What was loaded, by content: hashed after loading, from files that are still those of before.

    Files of one's own are read anew, whatever a cache of hashes says of them.

    Raises:
        CheckpointError: a file changed meanwhile, or is not the one that the Hub or a seal names.
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
        raise CheckpointError(f"{other} does not have the content that it is known for; delete it and load it again.")
    return identity


def _are_still(stamps: Mapping[Path, list[int]]) -> bool:
    try:
        return _stamps_of(stamps) == stamps
    except CheckpointError:
        return False


def _changed_words(ref: CheckpointRef) -> str:
    return f"{ref.model} at {ref.revision} changed while it was being loaded; evaluate it again."


def _unmapped(model: Any) -> Any:
    """The model with memory of its own: weights mapped from a file would change with the file, long after loading."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.device.type == "cpu":
            tensor.data = tensor.data.clone()
    return model


def load_tokenizer(ref: CheckpointRef, *, offline: bool = False, allow_remote_code: bool = False) -> Any:
    """The tokenizer of a checkpoint: its own, else that of ``main`` or of the parent folder.

    Raises:
        CheckpointError: there is none, or it needs code that was not allowed.
    """
    resolved = resolve_checkpoint(ref, offline=offline)
    if ref.source == "gguf":
        return _load_tokenizer(ref, _convert_gguf(Path(ref.location), None))
    return _load_tokenizer(ref, tokenizer_folder(resolved), allow_remote_code)


def release(loaded: LoadedCheckpoint) -> None:
    """Frees the model's memory, even where other references to it remain; the model cannot be used again."""
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


def _load_model(resolved: ResolvedCheckpoint, dtype: str, attention: str, allow_remote_code: bool) -> Any:
    os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "1"  # else a thread asks the Hub to convert .bin repositories
    folder = checkpoint_folder(resolved)
    remap, config = resolved.ref.remap, None
    if remap is not None:
        return _load_remapped(folder, resolved, dtype, attention)
    if resolved.ref.weight_file is not None:
        config = _native_config(folder)
        state = read_state_dict([folder / name for name in resolved.weight_names])
        return model_from_state_dict(config, state, dtype=dtype, attention=attention)
    if allow_remote_code:
        return _load_with_remote_code(resolved, dtype)
    safetensors = any(name.endswith(".safetensors") for name in resolved.weight_names)
    return _load_native(folder, safetensors, dtype, attention)


def _native_config(folder: Path) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder)
    except (ValueError, KeyError, OSError) as error:
        kind = read_json(folder / CONFIG_NAME).get("model_type")
        raise CheckpointError(
            f"{folder}: transformers has no class for model type {kind!r}; it would need the repository's own code, "
            "which runs only where a call allows it."
        ) from error


def _attention_of(config: Any, attention: str) -> str:
    """The implementation asked for, or eager where the architecture has no sdpa."""
    from transformers import AutoModelForCausalLM

    try:
        model_class = AutoModelForCausalLM._model_mapping[type(config)]
    except KeyError:
        raise CheckpointError(f"{config.model_type!r} is not a causal language model of transformers.") from None
    return "eager" if attention == "sdpa" and not model_class._supports_sdpa else attention


def _load_native(folder: Path, safetensors: bool, dtype: str, attention: str) -> Any:
    from transformers import AutoModelForCausalLM

    config = _native_config(folder)
    try:
        model, info = _build(
            AutoModelForCausalLM,
            folder,
            config=config,
            dtype=DTYPES[dtype],
            attn_implementation=_attention_of(config, attention),
            use_safetensors=safetensors,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{folder} cannot be loaded: {_first_line(error)}") from error
    _refuse_incomplete(str(folder), info, unexpected=False)
    return model


def _load_fused(
    ref: CheckpointRef, dtype: str, attention: str, offline: bool, hash_cache: Path | None
) -> tuple[Any, Any]:
    """Model and tokenizer of mixed parameters; the tokenizers of both parents have to be the same."""
    parents = fusion_parents(ref)
    (folder, tr_paths), (other, tl_paths) = (
        _weight_paths(parent, offline, hash_cache) for parent in (parents.tr, parents.tl)
    )
    where = f"{parents.tr.model} {parents.tr.revision} and {parents.tl.model} {parents.tl.revision}"
    source = read_json(folder / CONFIG_NAME)
    refuse_different_configurations(source, read_json(other / CONFIG_NAME), where=where)
    tokenizer, second = (load_tokenizer(parent, offline=offline) for parent in (parents.tr, parents.tl))
    if tokenizer.get_vocab() != second.get_vocab():
        raise CheckpointError(f"{where} have different tokenizers; fuse their predictions instead.")
    state = mix_parameters(tr_paths, tl_paths, weight=parents.weight, dtype=DTYPES[dtype])
    if ref.remap is None:
        config = _native_config(folder)
        return model_from_state_dict(config, state, dtype=dtype, attention=attention, allow_unused=True), tokenizer
    from icl_core.models.remaps import get_remap

    remap = get_remap(ref.remap)
    config = remap.config(source)
    return model_from_state_dict(config, remap.weights(state, config), dtype=dtype, attention=attention), tokenizer


def _weight_paths(ref: CheckpointRef, offline: bool, hash_cache: Path | None) -> tuple[Path, list[Path]]:
    """The folder of a checkpoint's configuration on this machine, and its weight files."""
    if ref.source == "gguf":
        folder = _convert_gguf(Path(ref.location), hash_cache)
        return folder, sorted(folder.glob("*.safetensors"))
    resolved = resolve_checkpoint(ref, offline=offline)
    folder = checkpoint_folder(resolved)
    return folder, [folder / name for name in resolved.weight_names]


def _load_with_remote_code(resolved: ResolvedCheckpoint, dtype: str) -> Any:
    from transformers import AutoModelForCausalLM

    pin = {"revision": resolved.commit, "code_revision": resolved.commit} if resolved.commit else {}
    try:
        return _build(
            AutoModelForCausalLM,
            resolved.location,
            dtype=DTYPES[dtype],
            trust_remote_code=True,
            local_files_only=resolved.offline,
            **pin,
        )
    except (OSError, ValueError, RuntimeError, ImportError, AttributeError) as error:
        raise CheckpointError(
            f"The code in {resolved.location} does not run with this version of transformers: {_first_line(error)}"
        ) from error


def _load_remapped(folder: Path, resolved: ResolvedCheckpoint, dtype: str, attention: str) -> Any:
    from icl_core.models.remaps import get_remap

    remap = get_remap(str(resolved.ref.remap))
    source = read_json(folder / CONFIG_NAME)
    try:
        config = remap.config(source)
        state = read_state_dict([folder / name for name in resolved.weight_names])
        native = remap.weights(state, config)
    except KeyError as error:
        raise CheckpointError(f"{folder} does not fit its remap {resolved.ref.remap}: {error} is missing.") from error
    return model_from_state_dict(config, native, dtype=dtype, attention=attention)


def read_state_dict(paths: list[Path]) -> dict[str, torch.Tensor]:
    """All tensors of safetensors or pickled files (weights only, no code), merged; shard indices are passed over.

    Raises:
        CheckpointError: a file is damaged or holds more than tensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    state: dict[str, torch.Tensor] = {}
    for path in paths:
        if path.suffix == ".json":
            continue
        try:
            if path.suffix == ".safetensors":
                state |= load_file(path)
            else:
                state |= torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        except (
            SafetensorError,
            pickle.UnpicklingError,
            RuntimeError,
            ValueError,
            EOFError,
            TypeError,
            OSError,
        ) as error:
            raise CheckpointError(f"{path} cannot be read as weights: {_first_line(error)}") from error
    return state


def model_from_state_dict(
    config: Any, state: dict[str, torch.Tensor], *, dtype: str, attention: str = "sdpa", allow_unused: bool = False
) -> Any:
    """A causal LM built from a configuration and weights in memory; every weight has to fit, none may be left over.

    ``allow_unused`` lets tensors be left over that the class does not read, as old files hold them (tables, masks).

    Raises:
        CheckpointError: names or shapes differ from what the configuration asks for.
    """
    from transformers import AutoModelForCausalLM

    from icl_core.models.crystalcoder import CrystalCoderConfig, CrystalCoderForCausalLM

    if isinstance(config, CrystalCoderConfig):
        model_class: Any = CrystalCoderForCausalLM
    else:
        attention = _attention_of(config, attention)
        model_class = AutoModelForCausalLM._model_mapping[type(config)]
    try:
        model, info = _build(
            model_class,
            None,
            config=config,
            state_dict=state,
            dtype=DTYPES[dtype],
            attn_implementation=attention,
            output_loading_info=True,
        )
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"The weights do not fit {model_class.__name__}: {_first_line(error)}") from error
    _refuse_incomplete(model_class.__name__, info, unexpected=not allow_unused)
    return model


def _build(model_class: Any, *arguments: Any, **options: Any) -> Any:
    """``from_pretrained`` of a class of models, one at a time in a process.

    transformers sets torch's default dtype meanwhile and takes ``tie_weights`` off its base class, for all threads. Two
    that do so at once each restore what the other had set: later models lose their tied output layer, later tensors
    get the wrong dtype.
    """
    with _BUILDING:
        return model_class.from_pretrained(*arguments, **options)


def _refuse_incomplete(where: str, info: Mapping[str, Any], *, unexpected: bool) -> None:
    kinds = ("missing_keys", "mismatched_keys", "error_msgs", *(("unexpected_keys",) if unexpected else ()))
    for kind in kinds:
        names = sorted(str(name) for name in info.get(kind, ()))
        if names:
            shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            raise CheckpointError(f"{where}: {kind.replace('_', ' ')} in the weights: {shown}.")


def _load_tokenizer(ref: CheckpointRef, folder: Path, allow_remote_code: bool = False) -> Any:
    """The tokenizer in a folder; a stranger's is checked first, and asked in a process of its own."""
    if is_known(ref):
        return _tokenizer_here(folder, ref.remap, allow_remote_code)
    where = f"{ref.model} at {ref.revision}"
    if (folder / "tokenizer.json").is_file():
        check_tokenizer_file(folder / "tokenizer.json", where=where)
    tokenizer = _tokenizer_here(folder, ref.remap, allow_remote_code)
    return BoundedTokenizer(tokenizer, where=where) if tokenizer.is_fast else tokenizer


def _tokenizer_here(folder: Path, remap: str | None, allow_remote_code: bool) -> Any:
    import transformers

    try:
        if remap is None:
            return transformers.AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=allow_remote_code
            )
        # A remapped checkpoint names classes of its own code; its vocabulary files need none.
        if (folder / "tokenizer.json").is_file():
            return transformers.PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
        return _sentencepiece_tokenizer(folder)
    except (OSError, ValueError, ImportError, AttributeError) as error:
        raise CheckpointError(f"The tokenizer in {folder} cannot be loaded: {_first_line(error)}") from error


def _sentencepiece_tokenizer(folder: Path) -> Any:
    """A Llama tokenizer that treats spaces as the SentencePiece model itself does (Baichuan2 adds no leading one)."""
    from sentencepiece import sentencepiece_model_pb2
    from tokenizers import normalizers
    from transformers import LlamaTokenizer

    tokenizer = LlamaTokenizer.from_pretrained(folder, local_files_only=True)
    model = sentencepiece_model_pb2.ModelProto.FromString((folder / "tokenizer.model").read_bytes())
    steps = [normalizers.Prepend("▁")] if model.normalizer_spec.add_dummy_prefix else []
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    tokenizer.backend_tokenizer.pre_tokenizer = None
    return tokenizer


def _convert_gguf(path: Path, hash_cache: Path | None) -> Path:
    """The folder of the file's float32 weights and tokenizer, written once, and again where it was changed since."""
    sha256 = file_hashes([path], hash_cache=hash_cache)[path]
    folder = converted_folder(sha256)
    with _BUILDING:  # a second thread waits for the first one's files
        clear_leftovers(folder.parent)
        if conversion_of(sha256, hash_cache=hash_cache) is None:
            _write_converted(path, folder, sha256)
    return folder


def _write_converted(path: Path, folder: Path, sha256: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    partial = working_folder(folder)
    try:
        model = _build(
            AutoModelForCausalLM,
            path.parent,
            gguf_file=path.name,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),
            local_files_only=True,
        )
        _forget_quantization(model)
        model.save_pretrained(partial)
        AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True).save_pretrained(partial)
        if file_hashes([path])[path] != sha256:
            raise CheckpointError(f"{path} changed while it was being converted; evaluate it again.")
        put_sealed(partial, folder, version=CONVERTER_VERSION)
    except (OSError, ValueError, RuntimeError, KeyError, ImportError, NotImplementedError) as error:
        if conversion_of(sha256) is None:  # else another process was first, with equal content
            raise CheckpointError(f"{path} cannot be converted: {_first_line(error)}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _forget_quantization(model: Any) -> None:
    """The weights are plain float32 by now; without this, saving refuses them as quantised."""
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
