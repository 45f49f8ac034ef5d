"""What the names of checkpoints tell: a number, what it counts, and together perhaps an order of training.

It reads names only, no files. If the number in a name is in doubt, the name counts as one without a number. Cases:
allenai/OLMo issue 454 (``step1000-tokens4B``), ``checkpoint-1000`` of transformers, ``iter_0001000`` of Megatron-LM,
``global_step1000`` of DeepSpeed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from icl_core.records import CheckpointRef
from icl_core.registry.step_units import number_words

__all__ = [
    "Reading",
    "full_name",
    "gguf_stem",
    "home_of",
    "label_of",
    "order_question",
    "read_name",
    "training_order",
    "unit_in_name",
]

Unit = Literal["step", "epoch", "token"]

_LONGEST_NAME = 255
_GAP = r"[-_=. ]*"
_NUMBER = r"(?P<n>[0-9]+)(?P<size>[km]?)(?![a-z0-9])(?![-_=., ]+[0-9]+(?![a-z0-9]))"
_AT = r"(?<![a-z0-9])"
_PATTERNS: tuple[tuple[Unit, str], ...] = (
    ("step", rf"{_AT}(?:(?:global{_GAP})?steps?|checkpoint|ch?kpt|iter(?:ation)?s?|updates?){_GAP}{_NUMBER}"),
    ("epoch", rf"{_AT}(?:epochs?|ep){_GAP}{_NUMBER}"),
    ("token", rf"{_AT}tokens?{_GAP}(?P<n>[0-9]+(?:\.[0-9]+)?)(?P<size>[kmbt]?)(?![a-z0-9.])"),
    (
        "token",
        rf"{_AT}(?P<n>[0-9]+(?:\.[0-9]+)?){_GAP}(?P<size>[kmbt]?){_GAP}(?:tokens?|toks)(?![a-z0-9])(?!{_GAP}[0-9])",
    ),
)
_GRAMMAR = tuple((unit, re.compile(pattern, re.IGNORECASE | re.ASCII)) for unit, pattern in _PATTERNS)
_BARE = re.compile(r"[0-9]{1,12}", re.ASCII)
_DATE = re.compile(r"(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])", re.ASCII)
_SIZES = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}
_PLAIN_WORDS = frozenset({"best", "last", "latest", "final", "hf", "step", "checkpoint", "ckpt", "iter", "epoch"})
"""Words that some names of a run may have beside the number and others not."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one name tells.

    Attributes:
        step, epoch, tokens: the numbers in it, at least one.
        rest: what else the name holds, such as the name of a run, in lower case.
    """

    step: int | None
    epoch: int | None
    tokens: int | None
    rest: str

    @property
    def unit(self) -> Unit:
        """The unit of ``number``: steps if the name tells them, else epochs, else tokens."""
        return "step" if self.step is not None else "epoch" if self.epoch is not None else "token"

    @property
    def number(self) -> int:
        """The number by which checkpoints are ordered."""
        return next(value for value in (self.step, self.epoch, self.tokens) if value is not None)


def read_name(name: str) -> Reading | None:
    """What a name tells; None if it has no number, or several of one kind.

    >>> read_name("step1000-tokens4B")
    Reading(step=1000, epoch=None, tokens=4000000000, rest='')
    >>> read_name("global_step500").number, read_name("epoch_10").unit, read_name("checkpoint-1000-best").step
    (500, 'epoch', 1000)
    >>> [read_name(name) for name in ("7B", "v2", "final", "step_1_000", "checkpoint-3-step-1500")]
    [None, None, None, None, None]
    """
    if len(name) > _LONGEST_NAME:
        return None
    if _BARE.fullmatch(name):
        return None if _DATE.fullmatch(name) else Reading(int(name), None, None, "")
    found: dict[Unit, set[int]] = {}
    rest = name
    for unit, pattern in _GRAMMAR:
        for match in pattern.finditer(name):
            found.setdefault(unit, set()).add(_number(match["n"], match["size"].lower()))
        rest = pattern.sub(" ", rest)
    if not found or any(len(numbers) > 1 for numbers in found.values()):
        return None
    step, epoch, tokens = (next(iter(found.get(unit, ())), None) for unit in ("step", "epoch", "token"))
    if max(value for value in (step, epoch, tokens) if value is not None) > 2**62:
        return None
    words = [word for word in re.split(r"[-_=. ]+", rest.lower()) if word and word not in _PLAIN_WORDS]
    return Reading(step, epoch, tokens, "-".join(words))


def _number(digits: str, size: str) -> int:
    return round(float(digits) * _SIZES[size]) if "." in digits else int(digits) * _SIZES[size]


def full_name(ref: CheckpointRef) -> str:
    """A checkpoint as runs and jobs name it: its model and its revision, or its file."""
    return f"{ref.model} {ref.weight_file or ref.revision}"


def label_of(ref: CheckpointRef) -> str:
    """What a checkpoint is called in its folder: weight file, revision, or "the folder itself"."""
    return ref.weight_file or ("the folder itself" if ref.revision == "." else ref.revision)


def gguf_stem(file_name: str) -> str:
    """The name of a GGUF file without its ending and, of a file in several parts, the number of the part.

    >>> gguf_stem("run-step1000-00001-of-00003.gguf")
    'run-step1000'
    """
    return re.sub(r"(-[0-9]{5}-of-[0-9]{5})?\.gguf$", "", file_name, flags=re.IGNORECASE)


def _reading_of(ref: CheckpointRef) -> Reading | None:
    return read_name(ref.weight_file or (gguf_stem(ref.revision) if ref.source == "gguf" else ref.revision))


def unit_in_name(ref: CheckpointRef) -> Unit | None:
    """What the step of a checkpoint counts by its name; None if it has no step, or if the step is not from the name."""
    if ref.step is None:
        return None
    reading = _reading_of(ref)
    return reading.unit if reading is not None and reading.number == ref.step else None


def home_of(ref: CheckpointRef) -> str:
    """The folder that holds the checkpoints of a local model; "" for published ones, known by name."""
    if ref.source == "folder":
        return ref.location
    return str(Path(ref.location).parent) if ref.source == "gguf" else ""


def training_order(ref: CheckpointRef) -> tuple[str, bool, int, str]:
    """Sorts checkpoints by model and step; those without a step come last."""
    return (ref.model, ref.step is None, ref.step or 0, ref.revision)


def order_question(refs: Iterable[CheckpointRef]) -> str | None:
    """One sentence on why the order of training of a model's checkpoints is not certain; None if it is.

    For models of the registry, the suite and the lab the source gives the order. For others the names have to tell it
    (all in steps, all in epochs, ...), or the user gave it: then the step is the place in that order.
    """
    own = sorted((ref for ref in refs if ref.family in ("local", "hub")), key=training_order)
    why = _doubt(own) if len(own) > 1 else None
    if why is None:
        return None
    return (
        f"The order of the checkpoints of {own[0].model} is not certain: {why}; name those to use in the order of "
        "training (--order on the command line, Order on the page), or leave some out."
    )


def _doubt(refs: Sequence[CheckpointRef]) -> str | None:
    if untold := [ref for ref in refs if ref.step is None]:
        return f"{_joined(untold)} {'tells' if len(untold) == 1 else 'tell'} no step"
    counts = Counter(ref.step for ref in refs)
    if same := [ref for ref in refs if counts[ref.step] > 1]:
        alike = [ref for ref in same if ref.step == same[0].step]
        return f"{_joined(alike)} are all at {_number_words(alike[0])} and differ"
    readings = {ref: reading for ref in refs if (reading := _reading_of(ref)) is not None}
    placed = [ref for ref, reading in readings.items() if reading.number != ref.step]
    told = {ref: reading for ref, reading in readings.items() if reading.number == ref.step}
    if placed and told:
        return f"{_joined(placed[:1])} has a place in an order that was given, {_joined([*told][:1])} does not"
    return _doubt_in_names(told)


def _number_words(ref: CheckpointRef) -> str:
    unit = unit_in_name(ref)
    return f"place {ref.step}" if unit is None or ref.step is None else number_words(unit, ref.step)


def _doubt_in_names(told: dict[CheckpointRef, Reading]) -> str | None:
    """Why names, ascending by number, may still not be in the order of training; None if they are."""
    for (first, one), (second, other) in pairwise(told.items()):
        pair = label_of(first), label_of(second)
        if one.unit != other.unit:
            return f"{pair[0]} counts {one.unit}s and {pair[1]} counts {other.unit}s"
        if one.rest != other.rest:
            return f"{pair[0]} and {pair[1]} look like different runs"
        for what in ("epoch", "tokens"):
            before, after = getattr(one, what), getattr(other, what)
            if None not in (before, after) and before > after:
                return f"{pair[0]} comes before {pair[1]} by {one.unit} and after it by {what}"
    return None


def _joined(refs: Sequence[CheckpointRef]) -> str:
    names = [label_of(ref) for ref in refs]
    if len(names) > 3:
        return f"{', '.join(names[:3])} and {len(names) - 3} more"
    return " and ".join(names)
