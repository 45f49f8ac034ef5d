"""Lets a model in low precision compute in float32 for a while, with the same weights.

Each layer is widened while it is called; everything outside the layers is widened at once. So besides the model, memory
is needed for one layer, the embedding and the output layer in float32, for any number of layers. Nothing is computed
here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

__all__ = ["dtype_of", "in_float32", "is_low"]

Kept = list[tuple[torch.nn.Module, str, torch.Tensor]]
"""A replaced narrow tensor: its module, its name there, and the tensor itself."""


def dtype_of(model: torch.nn.Module) -> torch.dtype:
    """The dtype of a model's first floating-point weight, float32 for a model without one."""
    return next((each.dtype for each in model.parameters() if each.dtype.is_floating_point), torch.float32)


def is_low(dtype: torch.dtype) -> bool:
    """Whether a dtype has fewer bits than float32."""
    return dtype.is_floating_point and dtype.itemsize < torch.float32.itemsize


@contextlib.contextmanager
def in_float32(model: torch.nn.Module) -> Iterator[None]:
    """Runs its block with the model's narrow weights in float32; afterwards the model has its own tensors again."""
    layers = _layers(model)
    inside = {module for layer in layers for module in layer.modules()}
    kept = _widen([module for module in model.modules() if module not in inside])
    hooks = [hook for layer in layers for hook in _widened_while_called(layer)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        _put_back(kept)


def _layers(model: torch.nn.Module) -> list[torch.nn.Module]:
    """The modules in the model's outermost lists of modules."""
    found: list[torch.nn.Module] = []
    for child in model.children():
        found += list(child) if isinstance(child, torch.nn.ModuleList) else _layers(child)
    return list(dict.fromkeys(found))


def _widened_while_called(layer: torch.nn.Module) -> list[Any]:
    """Hooks that widen a layer before each call and put its tensors back afterwards, even if the call fails."""
    kept: list[Kept] = []

    def before(module: torch.nn.Module, inputs: Any) -> None:
        kept.append(_widen(list(module.modules())))

    def after(module: torch.nn.Module, inputs: Any, output: Any) -> None:
        _put_back(kept.pop())

    return [layer.register_forward_pre_hook(before), layer.register_forward_hook(after, always_call=True)]


def _widen(modules: list[torch.nn.Module]) -> Kept:
    """Replaces the narrow tensors of modules by float32 ones, one for each; returns what was there."""
    kept: Kept = []
    wide: dict[int, torch.Tensor] = {}
    for module in modules:
        for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            if not is_low(tensor.dtype):
                continue
            kept.append((module, name, tensor))
            if id(tensor) not in wide:
                widened = tensor.detach().float()
                is_parameter = isinstance(tensor, torch.nn.Parameter)
                wide[id(tensor)] = torch.nn.Parameter(widened, requires_grad=False) if is_parameter else widened
            setattr(module, name, wide[id(tensor)])
    return kept


def _put_back(kept: Kept) -> None:
    for module, name, tensor in kept:
        setattr(module, name, tensor)
