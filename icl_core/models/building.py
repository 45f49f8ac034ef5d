"""Builds a causal language model of transformers from a configuration and tensors, and accounts for every tensor.

Three things are errors: a weight that the model needs and the files lack, a tensor in the files that the model does not
use, and a shape that differs. The few expected leftovers are listed here with their reasons. No code of a checkpoint
runs, only its configuration is read, and no more memory is taken than the tensors justify. Public cases:
transformers#32266 (a missing tensor), LlamaFactory#3721 (tensors left over).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from icl_core.errors import CheckpointError
from icl_core.models.files import CONFIG_NAME, read_config
from icl_core.models.weights import first_line

__all__ = [
    "BUILDING",
    "DTYPES",
    "LEFTOVERS",
    "Leftover",
    "build_accounted",
    "model_class_of",
    "model_from_state_dict",
    "native_config",
    "refuse_unaccounted",
]

DTYPES: Mapping[str, torch.dtype] = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}

BUILDING = threading.RLock()
"""Held while a model is built. transformers then sets torch's default dtype and takes ``tie_weights`` off its base
class, for all threads. Two at once would each restore what the other had set."""

_REPORTED = ("missing_keys", "unexpected_keys", "mismatched_keys")
_MOST_TIMES = 8
_FREE_PARAMETERS, _FREE_ELEMENTS, _MOST_BUFFER_ELEMENTS = 1024, 2**24, 2**30


class Leftover(NamedTuple):
    """Tensors of a file that a model rightly does not use.

    Attributes:
        pattern: regular expression of their names.
        reason: why they are not needed.
        fits: whether a tensor of this name is one, given the model.
    """

    pattern: str
    reason: str
    fits: Callable[[torch.Tensor | None, Any], bool] = lambda tensor, model: True


def _is_table_of(tensor: torch.Tensor | None, model: Any) -> bool:
    """Whether it is the rotary table that follows from the configuration, up to the rounding of half precision."""
    if tensor is None:
        return False
    tables = [table for name, table in model.named_buffers() if name.endswith("inv_freq")]
    given = tensor.flatten().float()
    return any(
        table.numel() == given.numel()
        and torch.allclose(table.flatten().float(), given.to(table.device), rtol=0.02, atol=1e-6)
        for table in tables
    )


LEFTOVERS = (
    Leftover(
        r"(^|\.)rotary(_pos)?(_emb)?\.inv_freq$",
        "a rotary table that older versions stored in each layer; it follows from the configuration",
        _is_table_of,
    ),
    Leftover(
        r"(^|\.)(attn|attention)\.(bias|masked_bias|causal_mask)$",
        "a causal mask that older versions stored in each layer; every model here attends causally",
        lambda tensor, model: (
            tensor is not None and (tensor.numel() == 1 or (tensor.dim() == 4 and tensor.shape[:2] == (1, 1)))
        ),
    ),
    Leftover(
        r"(^|\.)position_ids$",
        "the numbers from 0 on",
        lambda tensor, model: tensor is not None and not tensor.is_floating_point(),
    ),
    Leftover(
        r"(^|\.)mtp(_\w+)?\.",
        "a part that guesses tokens further ahead (multi-token prediction); the next token does not depend on it",
    ),
    Leftover(r"^model\.visual\.", "an encoder of images; no image is given"),
)


def native_config(folder: Path) -> Any:
    """The configuration of a checkpoint as a class of transformers; no code of the checkpoint runs.

    Raises:
        CheckpointError: transformers has no such class, or the configuration cannot be used.
    """
    from transformers import CONFIG_MAPPING, AutoConfig

    kind = read_config(folder).get("model_type")
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # each class checks its values in its own way
        if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
            raise CheckpointError(
                f"{folder}: transformers has no class for model type {str(kind)[:80]!r}; it would need code of its "
                "repository, which never runs here."
            ) from error
        raise CheckpointError(f"{folder / CONFIG_NAME} cannot be used: {first_line(error)}.") from error


def model_class_of(config: Any) -> Any:
    """The class of causal language models for a configuration.

    Raises:
        CheckpointError: there is none (the model is an encoder-decoder, or not a language model).
    """
    from transformers import AutoModelForCausalLM

    from icl_core.models.crystalcoder import CrystalCoderConfig, CrystalCoderForCausalLM

    if isinstance(config, CrystalCoderConfig):
        return CrystalCoderForCausalLM
    try:
        model_class = AutoModelForCausalLM._model_mapping[type(config)]
    except KeyError:
        raise CheckpointError(
            f"{config.model_type!r} is not a causal language model of transformers; only those can be scored: choose a "
            "decoder."
        ) from None
    return model_class[0] if isinstance(model_class, tuple) else model_class


def model_from_state_dict(
    config: Any,
    state: Mapping[str, torch.Tensor],
    *,
    dtype: str,
    attention: str = "sdpa",
    where: str = "The checkpoint",
) -> Any:
    """A causal LM built from a configuration and weights in memory; every weight has to fit and be used.

    Args:
        config: of transformers, or of ``crystalcoder``.
        state: each tensor by its name in the files.
        dtype: a name of ``DTYPES``.
        attention: implementation; architectures without ``sdpa`` (BLOOM) get ``eager``.
        where: the checkpoint, for messages.

    Raises:
        CheckpointError: names, shapes or types differ from what the configuration asks for.
    """
    model_class, config = _for_text(model_class_of(config), config)
    model, info = build_accounted(
        model_class,
        None,
        config=config,
        state_dict=state,
        dtype=DTYPES[dtype],
        attn_implementation="eager" if attention == "sdpa" and not model_class._supports_sdpa else attention,
        sizes=[tensor.numel() for tensor in state.values()],
        where=where,
    )
    refuse_unaccounted(model, info, state, where=where)
    return model


def _for_text(model_class: Any, config: Any) -> tuple[Any, Any]:
    """The part for text in the configuration of a model that reads text and images."""
    text = config.sub_configs.get("text_config")
    if text is not None and getattr(model_class, "config_class", None) is text:
        return model_class, config.get_text_config()
    return model_class, config


def build_accounted(
    model_class: Any, *arguments: Any, sizes: Iterable[int], where: str, **options: Any
) -> tuple[Any, Mapping[str, Any]]:
    """Calls ``from_pretrained``, once at a time in a process, and gives its whole report of loading.

    Args:
        model_class: a class of transformers.
        *arguments: for ``from_pretrained``.
        sizes: number of elements of each loaded tensor; a model far larger than all of them together is not built.
        where: the checkpoint, for messages.
        **options: for ``from_pretrained``.

    Raises:
        CheckpointError: the model cannot be built.
    """
    try:
        with BUILDING, _no_larger_than(list(sizes), where):
            model = _reporting_all(model_class).from_pretrained(*arguments, trust_remote_code=False, **options)
    except (CheckpointError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # each class fails in its own way on values that do not fit together
        raise CheckpointError(f"{where} cannot be built as {model_class.__name__}: {first_line(error)}.") from error
    model.__class__ = model_class
    return model, model.__dict__.pop("_report")


def _reporting_all(model_class: Any) -> Any:
    """The class, keeping its report of loading if transformers would leave out what matches its patterns.

    Some patterns match real weights (``attn.bias`` is in ``attn.c_attn.bias``; ``model.layers.46.`` is a layer of a
    deeper model).
    """

    def keep(self: Any, info: Any) -> None:
        self.__dict__["_report"] = {kind: set(getattr(info, kind)) for kind in _REPORTED}
        for kind in _REPORTED:
            getattr(info, kind).clear()  # else transformers prints them, or raises an error without names

    parts = {"__module__": model_class.__module__, "_adjust_missing_and_unexpected_keys": keep}
    return type(model_class.__name__, (model_class,), parts)


@contextmanager
def _no_larger_than(sizes: list[int], where: str) -> Iterator[None]:
    """Stops building a model that gets far more parameters than there are weights, while it is still empty."""
    n_most = _MOST_TIMES * len(sizes) + _FREE_PARAMETERS
    most_elements = _MOST_TIMES * sum(sizes) + _FREE_ELEMENTS
    builder, count, elements = threading.get_ident(), 0, 0

    def add(module: Any, name: str, parameter: torch.Tensor | None) -> None:
        nonlocal count, elements
        if parameter is None or threading.get_ident() != builder:
            return
        count, elements = count + 1, elements + parameter.numel()
        if count > n_most or elements > most_elements:
            raise CheckpointError(
                f"{where}: the configuration asks for a model far larger than its {len(sizes)} tensors; give the "
                "config.json that belongs to them."
            )

    def check(module: Any, name: str, buffer: torch.Tensor | None) -> None:
        if buffer is not None and threading.get_ident() == builder and buffer.numel() > _MOST_BUFFER_ELEMENTS:
            raise CheckpointError(f"{where}: the configuration asks for a table of {buffer.numel()} elements.")

    hooks = (register_module_parameter_registration_hook(add), register_module_buffer_registration_hook(check))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


# --- accounting for every tensor --------------------------------------------------------------------------------------


def refuse_unaccounted(model: Any, info: Mapping[str, Any], state: Mapping[str, torch.Tensor], *, where: str) -> None:
    """Refuses a model that does not hold exactly the tensors of its files.

    Args:
        model: built.
        info: its whole report of loading.
        state: the tensors of the files.
        where: the checkpoint, for messages.

    Raises:
        CheckpointError: naming the first tensors and their number.
    """
    _refuse(where, sorted(info["missing_keys"]), what="that the model needs {are} missing from the weights")
    unused = sorted(name for name in info["unexpected_keys"] if not _is_leftover(name, _stored(name, state), model))
    remedy = "merge the adapter first" if any("lora_" in name for name in unused) else _CONFIG_REMEDY
    _refuse(where, unused, what="in the weights {are} not used by the model that config.json describes", remedy=remedy)
    shapes = [f"{name} is {tuple(is_)}, not {tuple(wanted)}" for name, is_, wanted in info["mismatched_keys"]]
    _refuse(where, sorted(shapes), what="{have} another shape than config.json asks for", remedy=_CONFIG_REMEDY)
    buffers = {name.rsplit(".", 1)[-1] for name, _ in model.named_buffers()}
    codes = [name for name, tensor in state.items() if not tensor.is_floating_point()]
    codes = [name for name in codes if name.rsplit(".", 1)[-1] not in buffers and name not in info["unexpected_keys"]]
    _refuse(
        where,
        sorted(codes),
        what="{hold} whole numbers (quantised weights)",
        remedy="give the checkpoint before quantisation",
    )
    _refuse_twice(model, state, where)
    _refuse_torn(model, where)


_CONFIG_REMEDY = "give the config.json that belongs to the weights"


def _stored(name: str, state: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
    """The tensor of this name; loading may have added or removed a prefix."""
    tail = ".".join(name.split(".")[-4:])
    return state.get(name, next((tensor for stored, tensor in state.items() if stored.endswith(tail)), None))


def _is_leftover(name: str, tensor: torch.Tensor | None, model: Any) -> bool:
    """Whether a tensor is expected to be left over; a tensor converted from GGUF is judged by its name alone."""
    n_ahead = getattr(model.config, "num_nextn_predict_layers", None) or 0
    layer = re.match(r"model\.layers\.(\d+)\.", name)
    if layer is not None and n_ahead:  # DeepSeek counts its multi-token prediction as further layers
        n_layers = model.config.num_hidden_layers
        return bool(n_layers <= int(layer.group(1)) < n_layers + n_ahead)
    return any(re.search(leftover.pattern, name) and leftover.fits(tensor, model) for leftover in LEFTOVERS)


def _refuse_twice(model: Any, state: Mapping[str, torch.Tensor], where: str) -> None:
    """Refuses two tensors that are the same parameter under an old and a new name: only one of them would be used."""
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

    changes = get_model_conversion_mapping(model)
    renamings = [change for change in changes if isinstance(change, WeightRenaming)]
    converters = [change for change in changes if isinstance(change, WeightConverter)]
    parameters = model.state_dict()
    stored_as: dict[str, str] = {}
    for name in sorted(state):
        parameter, converted = rename_source_key(name, renamings, converters, model.base_model_prefix, parameters)
        first = stored_as.setdefault(parameter, name)
        if first != name and converted is None and parameter in parameters:
            raise CheckpointError(
                f"{where}: {first} and {name} are the same parameter under two names; keep the one that is meant."
            )


def _refuse_torn(model: Any, where: str) -> None:
    """Refuses an output layer that differs from the embeddings although the configuration says that it repeats them."""
    wanted = model.get_expanded_tied_weights_keys(all_submodels=True)
    torn = sorted(set(wanted) - set(model.all_tied_weights_keys))
    if torn:
        raise CheckpointError(
            f"{where}: {torn[0]} differs from {wanted[torn[0]]} although the configuration ties the two; if both are "
            "meant, set tie_word_embeddings to false in config.json."
        )


def _refuse(where: str, names: list[str], *, what: str, remedy: str = "download or copy the checkpoint again") -> None:
    if names:
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        one = len(names) == 1
        verbs = {"are": "is" if one else "are", "have": "has" if one else "have", "hold": "holds" if one else "hold"}
        count = "1 tensor" if one else f"{len(names)} tensors"
        raise CheckpointError(f"{where}: {count} {what.format(**verbs)}: {shown}; {remedy}.")
