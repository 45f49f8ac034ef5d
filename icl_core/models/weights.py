"""Reads the tensors of weight files as they are stored: safetensors, and pickles without running their code.

It knows names and tensors, but not the model to which they belong (``building`` does).
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

from icl_core.errors import CheckpointError

__all__ = ["first_line", "read_pickled", "read_state_dict"]


def read_state_dict(paths: Iterable[Path]) -> dict[str, torch.Tensor]:
    """All tensors of safetensors or pickled files (weights only, no code), merged; shard indices are ignored.

    Raises:
        CheckpointError: a file is damaged or holds more than tensors, or two shards hold different tensors of one name.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    state: dict[str, torch.Tensor] = {}
    for path in paths:
        if path.suffix == ".json":
            continue
        try:
            tensors = load_file(path) if path.suffix == ".safetensors" else read_pickled(path)
        except (SafetensorError, RuntimeError, ValueError, TypeError, KeyError, OSError) as error:
            raise CheckpointError(f"{path} cannot be read as weights: {first_line(error)}.") from error
        twice = sorted(name for name in state.keys() & tensors.keys() if not torch.equal(state[name], tensors[name]))
        if twice:
            raise CheckpointError(f"{path} and an earlier shard differ in {twice[0]}; copy all shards again.")
        state |= tensors
    return state


def read_pickled(path: Path) -> Mapping[str, torch.Tensor]:
    """The tensors of one pickled file; nothing in it is run.

    Raises:
        CheckpointError: it is not a pickle of named tensors only, or is damaged.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path} is not a plain file of tensors: it is damaged, or holds objects or code of another program, which "
            "are never loaded; save the weights as safetensors."
        ) from None
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, IndexError, EOFError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as weights: {first_line(error)}.") from error
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise CheckpointError(f"{path} holds no tensors with names; save the model's state dict as safetensors.")
    for name, tensor in state.items():
        _refuse_hollow(name, tensor, path)
    return state


def _refuse_hollow(name: str, tensor: object, path: Path) -> None:
    """Refuses anything but tensors, and tensors that claim more elements than are stored: they could fill memory."""
    if not isinstance(tensor, torch.Tensor) or tensor.is_sparse or tensor.is_quantized:
        raise CheckpointError(
            f"{path} holds more than plain tensors, such as {name[:80]}; save the model's state dict as safetensors."
        )
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise CheckpointError(f"{path} is damaged: {name[:80]} claims more elements than the file stores.")


def first_line(error: BaseException) -> str:
    """The first line of an error's text without its full stop; its class if it has no text."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(". ")
