"""One forward pass over token ids, with nothing left over from the pass before.

Rotary modules of the ``dynamic`` kind keep the factors of the longest pass so far
(``transformers.modeling_rope_utils.dynamic_rope_update``), so that a question would be answered otherwise after a long
one. It knows no requests.
"""

from __future__ import annotations

import inspect
from typing import Any
from weakref import WeakKeyDictionary

import torch

__all__ = ["keep", "run"]

_dynamic: WeakKeyDictionary[torch.nn.Module, list[torch.nn.Module]] = WeakKeyDictionary()
"""For a model, its modules whose factors outlive a forward pass."""


def run(model: torch.nn.Module, **inputs: Any) -> Any:
    """What the model returns for these inputs, whatever it was given before."""
    if model not in _dynamic:
        _dynamic[model] = [module for module in model.modules() if "dynamic" in str(getattr(module, "rope_type", ""))]
    for module in _dynamic[model]:
        _forget(module)
    return model(**inputs)


def keep(model: torch.nn.Module, positions: torch.Tensor) -> dict[str, Any]:
    """The argument that spares the output layer all other positions, where the model knows it."""
    known = "logits_to_keep" in inspect.signature(model.forward).parameters
    return {"logits_to_keep": positions} if known else {}


def _forget(module: torch.nn.Module) -> None:
    """Puts a rotary module's factors back to those of passes within its context."""
    for name, factors in list(module.named_buffers(recurse=False)):
        if name.endswith("original_inv_freq"):
            setattr(module, name.replace("original_", ""), factors)
    for name in [name for name in vars(module) if name.endswith("max_seq_len_cached")]:
        setattr(module, name, module.original_max_seq_len)
