"""One forward pass over token ids, with nothing left over from the pass before.

Rotary modules of the ``dynamic`` kind keep the factors of the longest pass so far
(``transformers.modeling_rope_utils.dynamic_rope_update``), so the same input would give another answer after a long
one. It knows no requests.
"""

from __future__ import annotations

import inspect
from typing import Any
from weakref import WeakKeyDictionary

import torch

__all__ = ["keep", "run"]

_dynamic: WeakKeyDictionary[torch.nn.Module, list[torch.nn.Module]] = WeakKeyDictionary()
"""For each model, its modules whose factors outlast a forward pass."""


def run(model: torch.nn.Module, **inputs: Any) -> Any:
    """What the model returns for these inputs, independent of earlier inputs."""
    if model not in _dynamic:
        _dynamic[model] = [module for module in model.modules() if "dynamic" in str(getattr(module, "rope_type", ""))]
    for module in _dynamic[model]:
        _forget(module)
    return model(**inputs)


def keep(model: torch.nn.Module, positions: torch.Tensor) -> dict[str, Any]:
    """The argument that makes the output layer skip all other positions, if the model knows it."""
    known = "logits_to_keep" in inspect.signature(model.forward).parameters
    return {"logits_to_keep": positions} if known else {}


def _forget(module: torch.nn.Module) -> None:
    """Resets a rotary module's factors to those for passes within its context."""
    for name, factors in list(module.named_buffers(recurse=False)):
        if name.endswith("original_inv_freq"):
            setattr(module, name.replace("original_", ""), factors)
    for name in [name for name in vars(module) if name.endswith("max_seq_len_cached")]:
        setattr(module, name, module.original_max_seq_len)
