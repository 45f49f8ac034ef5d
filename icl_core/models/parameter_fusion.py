"""Mixes the parameters of two checkpoints of one architecture: theta = w theta_TR + (1 - w) theta_TL.

It names such a checkpoint, identifies it by content, and mixes tensors one at a time. ``checkpoints`` builds the model;
importing this module needs no torch. The parameters are mixed as they are stored, before any native remap. Source: the
baseline "parameter fusion" of arXiv 2406.14022, Table 1; averaging as in arXiv 2203.05482.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icl_core.errors import CheckpointError
from icl_core.plain import from_json
from icl_core.records import CheckpointIdentity, CheckpointRef, canonical_json, digest_of, shown

if TYPE_CHECKING:
    import torch

__all__ = [
    "FUSED_FAMILY",
    "FusionParents",
    "fused_checkpoint",
    "fused_identity",
    "fusion_parents",
    "mix_parameters",
    "refuse_different_configurations",
]

FUSED_FAMILY = "fused"
_WEIGHT_DIGITS = 6
_VOLATILE = frozenset({"_name_or_path", "torch_dtype", "dtype", "transformers_version", "use_cache", "auto_map"})
"""Entries of a configuration that do not change what the parameters mean."""


@dataclass(frozen=True, slots=True)
class FusionParents:
    """What a fused checkpoint is made of.

    Attributes:
        tr: the checkpoint with weight w.
        tl: the checkpoint with weight 1 - w.
        weight: w, 0 to 1.
    """

    tr: CheckpointRef
    tl: CheckpointRef
    weight: float


def fused_checkpoint(tr: CheckpointRef, tl: CheckpointRef, *, weight: float) -> CheckpointRef:
    """The checkpoint with w of one checkpoint's parameters and 1 - w of the other's; w is rounded to six digits.

    Raises:
        CheckpointError: w is not between 0 and 1, a parent is itself fused, or the parents cannot have the same
            architecture. Names and shapes are compared later, when the parameters are mixed.
    """
    if not (math.isfinite(weight) and 0 <= weight <= 1):
        raise CheckpointError(f"The fusion weight {weight!r} is not between 0 and 1; choose one that is.")
    if FUSED_FAMILY in (tr.family, tl.family):
        raise CheckpointError("A fused checkpoint cannot be fused again; choose two checkpoints of a training run.")
    if tr.remap != tl.remap:
        raise CheckpointError(
            f"{_name(tr)} and {_name(tl)} are of different architectures, so their parameters cannot be mixed; fuse "
            "their predictions instead."
        )
    weight = round(float(weight), _WEIGHT_DIGITS)
    location = canonical_json({"tr": asdict(tr), "tl": asdict(tl), "weight": weight})
    name = f"{_name(tr)} + {_name(tl)}" if tr.model != tl.model else f"{_name(tr)} + {_short(tl)}"
    return CheckpointRef(FUSED_FAMILY, f"mixed {name}", f"w={weight:g}", "fused", location, remap=tr.remap)


def fusion_parents(ref: CheckpointRef) -> FusionParents:
    """The two checkpoints and the weight that a fused checkpoint names.

    Raises:
        CheckpointError: it is not a fused checkpoint, or what it names is damaged.
    """
    try:
        if ref.source != "fused":
            raise ValueError(f"its source is {ref.source}")
        parents = from_json(FusionParents, ref.location)
        if fused_checkpoint(parents.tr, parents.tl, weight=parents.weight) != ref:
            raise ValueError("its name does not fit its parents")
    except ValueError as error:
        raise CheckpointError(
            f"{ref.model} {ref.revision} is not a fused checkpoint: {shown(error, most=200)}."
        ) from error
    return parents


def fused_identity(parents: FusionParents, tr: CheckpointIdentity, tl: CheckpointIdentity) -> CheckpointIdentity:
    """The identity of a fused checkpoint by content: both parents' weight files, and w.

    Args:
        parents: the weight.
        tr: the content of the TR parent, which also gives tokenizer and context length.
        tl: the content of the TL parent.
    """
    content = [[tr.commit, tr.weight_files], [tl.commit, tl.weight_files], parents.weight]
    return CheckpointIdentity(
        commit="",
        weight_files=(("fused", digest_of(content)),),
        tokenizer_sha256=tr.tokenizer_sha256,
        context_length=min(tr.context_length, tl.context_length),
        n_parameters=tr.n_parameters,
    )


def refuse_different_configurations(tr: Mapping[str, Any], tl: Mapping[str, Any], *, where: str) -> None:
    """Refuses parents whose parameters mean different things, even if the shapes agree.

    Args:
        tr: the TR parent's config.json.
        tl: the TL parent's.
        where: both parents in words.

    Raises:
        CheckpointError: naming the first entries that differ.
    """
    differing = [
        f"{name} ({tr.get(name)} and {tl.get(name)})"
        for name in sorted({*tr, *tl} - _VOLATILE)
        if tr.get(name) != tl.get(name)
    ]
    if differing:
        raise CheckpointError(
            f"{where} are not of one architecture: {', '.join(differing[:3])}. Fuse their predictions instead."
        )


def mix_parameters(
    tr_paths: Sequence[Path], tl_paths: Sequence[Path], *, weight: float, dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """The mixed state dict; besides it, only one tensor of each parent is in memory at a time.

    Args:
        tr_paths: weight files of the TR parent, safetensors or pickled tensors; shard indices are ignored.
        tl_paths: the same of the TL parent.
        weight: w, share of the TR parent; 1 gives exactly the TR parent's parameters, 0 the TL parent's.
        dtype: of the result; the mixing is done in float32, or in float64 if ``dtype`` is.

    Raises:
        CheckpointError: names or shapes differ, a file is damaged, or tensors that are not parameters differ.
    """
    import torch

    mixed: dict[str, torch.Tensor] = {}
    with ExitStack() as stack:
        tr, tl = (_open_tensors(paths, stack) for paths in (tr_paths, tl_paths))
        _refuse_different_names(tr, tl)
        exact = torch.float64 if dtype == torch.float64 else torch.float32
        for name in sorted(tr):
            first, second = tr[name](), tl[name]()
            if first.shape != second.shape:
                raise CheckpointError(
                    f"Parameter {name} has the shape {tuple(first.shape)} in one checkpoint and {tuple(second.shape)} "
                    "in the other; only checkpoints of one architecture can be mixed."
                )
            mixed[name] = _mixed(name, first, second=second, weight=weight, exact=exact).to(
                dtype if first.is_floating_point() else None
            )
    return mixed


def _mixed(name: str, first: torch.Tensor, *, second: torch.Tensor, weight: float, exact: torch.dtype) -> torch.Tensor:
    """Mixes into a new tensor, so that no file stays mapped in memory."""
    if not first.is_floating_point():
        if not bool((first == second).all()):
            raise CheckpointError(
                f"{name} holds whole numbers that differ between the checkpoints; it cannot be mixed."
            )
        return first.clone()
    if weight in (0.0, 1.0):
        return (first if weight else second).clone()
    return first.to(exact).mul(weight).add_(second.to(exact), alpha=1 - weight)


Tensors = Mapping[str, "Callable[[], torch.Tensor]"]


def _open_tensors(paths: Sequence[Path], stack: ExitStack) -> Tensors:
    """For each name, a function that reads the tensor; the files stay open until the stack closes."""
    from safetensors import SafetensorError

    from icl_core.models.weights import first_line, read_pickled

    tensors: dict[str, Callable[[], torch.Tensor]] = {}
    for path in paths:
        if path.suffix == ".json":
            continue
        try:
            if path.suffix == ".safetensors":
                found = _open_safetensors(path, stack)
            else:
                found = {name: _constant(tensor) for name, tensor in read_pickled(path).items()}
        except (SafetensorError, RuntimeError, ValueError, OSError) as error:
            raise CheckpointError(f"{path} cannot be read as weights: {first_line(error)}.") from error
        twice = sorted(tensors.keys() & found.keys())
        if twice:
            raise CheckpointError(f"{path} and an earlier shard both hold {twice[0]}; copy all shards again.")
        tensors |= found
    return tensors


def _open_safetensors(path: Path, stack: ExitStack) -> Tensors:
    from safetensors import safe_open

    file: Any = stack.enter_context(safe_open(path, framework="pt"))
    return {name: _reader(file, name) for name in _names(file)}


def _names(file: Any) -> Iterator[str]:
    yield from file.keys()


def _reader(file: Any, name: str) -> Callable[[], torch.Tensor]:
    return lambda: file.get_tensor(name)


def _constant(tensor: torch.Tensor) -> Callable[[], torch.Tensor]:
    return lambda: tensor


def _refuse_different_names(tr: Tensors, tl: Tensors) -> None:
    only = sorted(set(tr) ^ set(tl))
    if only:
        raise CheckpointError(
            f"{len(only)} parameters, such as {only[0]}, are in only one of the two checkpoints; only checkpoints of "
            "one architecture can be mixed."
        )


def _short(ref: CheckpointRef) -> str:
    return ref.weight_file or ref.revision


def _name(ref: CheckpointRef) -> str:
    return f"{ref.model} {_short(ref)}"
