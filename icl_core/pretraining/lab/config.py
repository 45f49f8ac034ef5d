"""The configuration of a lab run: knobs as frozen values, their ranges and names, and the papers' settings.

It trains nothing and imports no torch. Sources of the knobs: arXiv 2503.05631 (strategy coopetition), arXiv 2501.06256
(repetition), arXiv 2205.05055 (burstiness, Zipf), arXiv 2312.03002 (labels shared by classes, within-class noise).
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

from icl_core.errors import StudyError
from icl_core.plain import from_json
from icl_core.records import canonical_json, digest_of, shown

__all__ = [
    "DATA_KNOBS",
    "DECAY_PARTS",
    "KNOBS",
    "MODEL_KNOBS",
    "N_EVALUATION",
    "PRESETS",
    "TRAINING_KNOBS",
    "DataKnobs",
    "DecayPart",
    "Knob",
    "LabConfig",
    "config_digest",
    "config_from_json",
    "config_to_json",
    "describe",
    "n_context_classes",
    "run_name",
    "validate_config",
    "with_next_seeds",
    "without_seeds",
]

LabelMapping = Literal["fixed", "random", "ciwl"]
Positions = Literal["learned", "sinusoidal", "none"]
DecayKind = Literal["loss", "decoupled"]
DecayPart = Literal["embeddings", "attention", "mlp", "unembedding"]
DECAY_PARTS: tuple[DecayPart, ...] = ("embeddings", "attention", "mlp", "unembedding")
N_EVALUATION = 1000
"""Sequences of each fixed evaluation set."""
_VERSION = 1
"""Part of every digest; raised whenever a run with the same knobs would give other results."""


@dataclass(frozen=True, slots=True)
class DataKnobs:
    """How training sequences are drawn.

    Attributes:
        n_classes: K, number of classes, each with its own exemplars.
        n_labels: L, labels; class k has label k mod L.
        n_exemplars: fixed exemplars per class; 0 draws a fresh one every time.
        n_dimensions: D, length of an exemplar.
        noise: within-class noise epsilon, relative to the spread of the class centres.
        n_pairs: exemplar-label pairs before the query.
        burstiness: context items of the query's class; one other class occurs as often.
        p_bursty: share of sequences whose context holds the query's class at all.
        copy_probability: share of sequences in which those items are exact copies of the query.
        label_swapping: share of sequences in which the query's class and another class swap labels, also in the target.
        mapping: ``fixed``; ``random`` redraws the context classes' labels in each sequence; ``ciwl`` shows the
            query's label on another class's item.
        zipf_exponent: classes are drawn with probability rank^-exponent.
    """

    n_classes: int = 512
    n_labels: int = 32
    n_exemplars: int = 20
    n_dimensions: int = 64
    noise: float = 1.0
    n_pairs: int = 2
    burstiness: int = 1
    p_bursty: float = 1.0
    copy_probability: float = 0.0
    label_swapping: float = 0.0
    mapping: LabelMapping = "fixed"
    zipf_exponent: float = 0.0


@dataclass(frozen=True, slots=True)
class LabConfig:
    """A lab run: equal configurations give equal curves on one machine and library version.

    Attributes:
        data: the data; with two phases, of the first.
        second_data, switch_step: the data of the steps after ``switch_step``; both None for one phase.
        n_layers, width, n_heads, has_mlp: size of the transformer.
        positions: learned or sinusoidal absolute positions, or none (only the causal mask).
        tied_labels: whether the label embedding is the output matrix.
        learning_rate: of Adam, constant.
        batch_size, n_steps: sequences per step; number of steps.
        weight_decay: strength, on the parts named in ``decay_parts``.
        decay_kind: ``loss`` adds the decay to the gradient, ``decoupled`` shrinks the weights directly.
        decay_parts: of embeddings, attention, mlp, unembedding.
        init_seed, data_seed, evaluation_seed: of the initial weights, the classes and training sequences, and the
            evaluation sets.
    """

    data: DataKnobs = DataKnobs()
    second_data: DataKnobs | None = None
    switch_step: int | None = None
    n_layers: int = 2
    width: int = 64
    n_heads: int = 8
    has_mlp: bool = True
    positions: Positions = "learned"
    tied_labels: bool = False
    learning_rate: float = 1e-3
    batch_size: int = 64
    n_steps: int = 5000
    weight_decay: float = 0.0
    decay_kind: DecayKind = "decoupled"
    decay_parts: tuple[DecayPart, ...] = DECAY_PARTS
    init_seed: int = 1
    data_seed: int = 1
    evaluation_seed: int = 1


def n_context_classes(knobs: DataKnobs) -> int:
    """Number of classes in the context of an evaluation sequence, each with its own label.

    The query's class and one other occur ``burstiness`` times, all others once.

    >>> n_context_classes(DataKnobs(n_pairs=8, burstiness=3)), n_context_classes(DataKnobs())
    (4, 2)
    """
    return knobs.n_pairs - 2 * (knobs.burstiness - 1)


# Knobs for a form


@dataclass(frozen=True, slots=True)
class Knob:
    """One knob, with what a form shows of it.

    Attributes:
        name: field of DataKnobs (group data) or LabConfig.
        title: a few words for people.
        group: data, model or training.
        default: the field's default.
        low, high: inclusive range of a number; None for a choice or on/off.
        choices: the values of a choice; empty for a number or on/off.
        help: one sentence.
    """

    name: str
    title: str
    group: Literal["data", "model", "training"]
    default: Any
    low: float | None
    high: float | None
    help: str
    choices: tuple[str, ...] = ()


def _defaults() -> dict[str, Any]:
    base = LabConfig()
    return {name: getattr(base.data if hasattr(base.data, name) else base, name) for name in _RANGES}


_Range = tuple[str, str, float | None, float | None, str]
_RANGES: dict[str, _Range] = {
    "n_classes": ("data", "Classes K", 32, 4096, "Classes, each with its own exemplars; more are harder to learn."),
    "n_labels": ("data", "Labels L", 2, 4096, "Number of labels that the classes share; at most one per class."),
    "n_exemplars": (
        "data",
        "Exemplars per class",
        0,
        50,
        "Fixed exemplars of each class; 0 draws a fresh one each time.",
    ),
    "n_dimensions": ("data", "Dimensions D", 8, 256, "Length of an exemplar."),
    "noise": ("data", "Within-class noise ε", 0, 2, "Spread within a class, relative to that between classes."),
    "n_pairs": ("data", "Pairs", 2, 8, "Exemplar-label pairs before the query."),
    "burstiness": ("data", "Burstiness", 1, 4, "Context items of the query's class, at most half of the pairs."),
    "p_bursty": ("data", "Share of bursty sequences", 0, 1, "Sequences whose context holds the query's class."),
    "copy_probability": (
        "data",
        "Copy probability",
        0,
        1,
        "Sequences in which the items of the query's class are exact copies of the query.",
    ),
    "label_swapping": (
        "data",
        "Label swapping",
        0,
        0.5,
        "Sequences in which the query's class swaps labels with another class, in context and target.",
    ),
    "mapping": (
        "data",
        "Label mapping",
        None,
        None,
        "Fixed; redrawn in each sequence (only ICL helps); or the query's label on another class's item (only CIWL).",
    ),
    "zipf_exponent": ("data", "Zipf exponent", 0, 2, "How unequally often classes occur; 0 is uniform."),
    "n_layers": ("model", "Layers", 1, 4, "Depth of the transformer."),
    "width": ("model", "Width", 8, 256, "Width of the residual stream; a multiple of the heads."),
    "n_heads": ("model", "Heads", 1, 8, "Attention heads of each layer."),
    "has_mlp": ("model", "MLP", None, None, "Whether each layer has an MLP besides attention."),
    "positions": ("model", "Positions", None, None, "Absolute positions: learned, sinusoidal, or none."),
    "tied_labels": ("model", "Tied labels", None, None, "Whether the label embedding is also the output matrix."),
    "learning_rate": ("training", "Learning rate", 1e-5, 1e-2, "Of Adam, constant."),
    "batch_size": ("training", "Batch", 8, 256, "Sequences per step."),
    "n_steps": ("training", "Steps", 1, 50_000, "Training steps."),
    "weight_decay": ("training", "Weight decay", 0, 1, "Strength; 0 for none."),
    "decay_kind": ("training", "Kind of decay", None, None, "As a term of the loss, or decoupled from it (AdamW)."),
    "init_seed": ("training", "Seed of the weights", 0, 2**31 - 1, "Keys the initial weights."),
    "data_seed": ("training", "Seed of the data", 0, 2**31 - 1, "Keys classes, exemplars and training sequences."),
    "evaluation_seed": ("training", "Seed of the evaluation", 0, 2**31 - 1, "Keys the fixed evaluation sets."),
}
_CHOICES: dict[str, tuple[str, ...]] = {
    "mapping": typing.get_args(LabelMapping),
    "positions": typing.get_args(Positions),
    "decay_kind": typing.get_args(DecayKind),
}

KNOBS: tuple[Knob, ...] = tuple(
    Knob(name, title, group, default, low, high, help, _CHOICES.get(name, ()))  # type: ignore[arg-type]
    for (name, (group, title, low, high, help)), default in zip(_RANGES.items(), _defaults().values(), strict=True)
)
"""All knobs except the second phase and the parts that decay, in the order of the form."""
DATA_KNOBS, MODEL_KNOBS, TRAINING_KNOBS = (
    tuple(knob for knob in KNOBS if knob.group == group) for group in ("data", "model", "training")
)


# Text and identity


def config_to_json(config: LabConfig) -> str:
    """Canonical JSON of a configuration: equal values give equal text, even 1 and 1.0."""
    return canonical_json(_plain(config))


def config_digest(config: LabConfig) -> str:
    """sha256 (64 hexadecimal digits) of the canonical JSON and the version of the trainer: the name of the run."""
    return digest_of({"version": _VERSION, **_plain(config)})


def _plain(config: LabConfig) -> dict[str, Any]:
    plain = dataclasses.asdict(config)
    for part, kind in ((plain, LabConfig), (plain["data"], DataKnobs), (plain["second_data"] or {}, DataKnobs)):
        for field in dataclasses.fields(kind):
            if field.type == "float" and field.name in part:
                part[field.name] = float(part[field.name])
    return plain


def config_from_json(text: str) -> LabConfig:
    """The configuration in a JSON text; fields left out have their defaults.

    Raises:
        StudyError: not JSON, or a field is unknown or of another type; values are checked by ``validate_config``.
    """
    try:
        return from_json(LabConfig, text)
    except ValueError as error:
        raise StudyError(f"This is not the configuration of a lab run: {shown(error, most=200)}.") from error


_SHORT = {
    "n_classes": "K",
    "n_labels": "L",
    "n_exemplars": "exemplars",
    "n_dimensions": "D",
    "noise": "noise",
    "n_pairs": "pairs",
    "burstiness": "burstiness",
    "p_bursty": "bursty",
    "copy_probability": "copy",
    "label_swapping": "swap",
    "mapping": "mapping",
    "zipf_exponent": "Zipf",
    "n_layers": "layers",
    "n_heads": "heads",
    "learning_rate": "rate",
    "batch_size": "batch",
    "n_steps": "steps",
    "weight_decay": "decay",
    "decay_kind": "decay by",
    "evaluation_seed": "evaluation seed",
}


def describe(config: LabConfig) -> str:
    """A short name for people: the number of classes, what differs from the defaults, and the seed.

    One seed is named if those of weights and data are equal.

    >>> describe(LabConfig(data=DataKnobs(copy_probability=1.0), has_mlp=False))
    'K 512, copy 1, attention only, seed 1'
    """
    base = LabConfig()
    parts = [f"K {config.data.n_classes}", *_differences(config.data, replace(base.data, n_classes=-1))[1:]]
    if config.second_data is not None:
        then = ", ".join(_differences(config.second_data, config.data)) or "the same"
        parts.append(f"then {then} from step {config.switch_step}")
    if not config.has_mlp:
        parts.append("attention only")
    if config.tied_labels:
        parts.append("tied labels")
    if config.positions != base.positions:
        parts.append("no positions" if config.positions == "none" else f"{config.positions} positions")
    if config.weight_decay and config.decay_parts != base.decay_parts:
        parts.append("decay of " + " and ".join(config.decay_parts))
    if config.data_seed != config.init_seed:
        parts.append(f"data seed {config.data_seed}")
    left = (
        "data",
        "second_data",
        "switch_step",
        "has_mlp",
        "tied_labels",
        "positions",
        "decay_parts",
        "init_seed",
        "data_seed",
    )
    parts += _differences(config, base, leave_out=left)
    return ", ".join([*parts, f"seed {config.init_seed}"])


def _differences(config: Any, base: Any, *, leave_out: tuple[str, ...] = ()) -> list[str]:
    names = [field.name for field in dataclasses.fields(config) if field.name not in leave_out]
    changed = [name for name in names if getattr(config, name) != getattr(base, name)]
    return [f"{_SHORT.get(name, name)} {_word(getattr(config, name))}" for name in changed]


def _word(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def run_name(config: LabConfig) -> str:
    """The name of the run as a model among others: unique, without spaces or commas.

    >>> run_name(LabConfig()).startswith("lab-K-512-seed-1-")
    True
    """
    words = describe(config).replace(",", "").replace(" ", "-")
    return f"lab-{words}-{config_digest(config)[:6]}"


def without_seeds(config: LabConfig) -> LabConfig:
    """The configuration with the default seeds; it is the same for all repeats."""
    base = LabConfig()
    seeds = {name: getattr(base, name) for name in ("init_seed", "data_seed", "evaluation_seed")}
    return replace(config, **seeds)


def with_next_seeds(config: LabConfig, index: int) -> LabConfig:
    """A repeat: the seeds of weights and data that come ``index`` after those of the configuration."""
    return replace(config, init_seed=config.init_seed + index, data_seed=config.data_seed + index)


# Checks


def validate_config(config: LabConfig) -> None:
    """Checks every value of a configuration.

    Raises:
        StudyError: one sentence with the first impossible value, and the possible ones.
    """
    for knob in KNOBS:
        if knob.group == "data":
            for data in (config.data, config.second_data):
                if data is not None:
                    _check_value(knob, getattr(data, knob.name))
        else:
            _check_value(knob, getattr(config, knob.name))
    _check_model(config)
    for data in (config.data, config.second_data):
        if data is not None:
            _check_data(data)
    _check_phases(config)


def _check_value(knob: Knob, value: object) -> None:
    if knob.choices:
        if value not in knob.choices:
            raise StudyError(f"{knob.title} cannot be {value!r}; choose one of {', '.join(knob.choices)}.")
        return
    if knob.low is None or knob.high is None:
        if type(value) is not bool:
            raise StudyError(f"{knob.title} cannot be {value!r}; choose true or false.")
        return
    is_whole = isinstance(knob.default, int)
    fits = type(value) is int or (type(value) is float and not is_whole and math.isfinite(value))
    if not fits or not knob.low <= typing.cast(float, value) <= knob.high:
        kind = "a whole number" if is_whole else "a number"
        raise StudyError(f"{knob.title} cannot be {value!r}; choose {kind} from {knob.low:g} to {knob.high:g}.")


def _check_model(config: LabConfig) -> None:
    if config.width % config.n_heads:
        raise StudyError(f"The width {config.width} is not a multiple of {config.n_heads} heads; choose a multiple.")
    unknown = [part for part in config.decay_parts if part not in DECAY_PARTS]
    if unknown or len(set(config.decay_parts)) < len(config.decay_parts):
        raise StudyError(f"The parts that decay cannot be {config.decay_parts}; choose among {', '.join(DECAY_PARTS)}.")


def _check_data(data: DataKnobs) -> None:
    if data.n_labels > data.n_classes:
        raise StudyError(f"{data.n_labels} labels are more than the {data.n_classes} classes; choose fewer labels.")
    if data.n_labels < data.n_pairs:
        raise StudyError(
            f"{data.n_pairs} pairs need at least {data.n_pairs} labels, one for each pair; there are {data.n_labels}."
        )
    if data.burstiness > data.n_pairs // 2:
        raise StudyError(
            f"A burstiness of {data.burstiness} needs {2 * data.burstiness} pairs; there are {data.n_pairs}."
        )
    if data.mapping != "fixed" and data.label_swapping:
        raise StudyError("Label swapping needs the fixed mapping; switch swapping off or choose the fixed mapping.")


_SHARED = ("n_classes", "n_labels", "n_exemplars", "n_dimensions", "noise", "n_pairs")


def _check_phases(config: LabConfig) -> None:
    if (config.second_data is None) != (config.switch_step is None):
        raise StudyError("A second phase needs both its data and the step after which it begins.")
    if config.second_data is None or config.switch_step is None:
        return
    if type(config.switch_step) is not int or not 1 <= config.switch_step < config.n_steps:
        raise StudyError(f"The switch cannot be at step {config.switch_step}; choose 1 to {config.n_steps - 1}.")
    changed = [n for n in _SHARED if getattr(config.data, n) != getattr(config.second_data, n)]
    if changed:
        raise StudyError(
            f"Both phases draw from the same classes and lengths, so {changed[0]} cannot change between them."
        )


# The papers' settings


def _attention_only(**data: Any) -> LabConfig:
    return LabConfig(data=DataKnobs(**data), has_mlp=False)


def _copies_first() -> LabConfig:
    first = DataKnobs(n_classes=256, copy_probability=1.0)
    return LabConfig(data=first, second_data=replace(first, copy_probability=0.0), switch_step=1500)


PRESETS: Mapping[str, LabConfig] = MappingProxyType(
    {
        "Default: 512 classes": LabConfig(),
        "Few classes: look-up wins (256)": _attention_only(n_classes=256),
        "More classes (512)": _attention_only(),
        "Many classes: ICL wins (1,024)": _attention_only(n_classes=1024),
        "Abrupt emergence: 4,096 classes, little noise": _attention_only(n_classes=4096, noise=0.1),
        "Matched exemplars (coopetition paper)": _attention_only(copy_probability=1.0),
        "Half of the contexts copied (repetition paper)": LabConfig(data=DataKnobs(copy_probability=0.5)),
        "All contexts copied (repetition paper)": LabConfig(data=DataKnobs(copy_probability=1.0)),
        "High burstiness 3 3 1 1 (repetition paper)": LabConfig(data=DataKnobs(n_pairs=8, burstiness=3, p_bursty=0.9)),
        "Low burstiness 1 x 8 (repetition paper)": LabConfig(data=DataKnobs(n_pairs=8, p_bursty=0.9)),
        "Label swapping .2 (repetition paper)": LabConfig(data=DataKnobs(label_swapping=0.2)),
        "ICL only: labels redrawn (coopetition paper)": LabConfig(data=DataKnobs(mapping="random")),
        "CIWL only (coopetition paper)": LabConfig(data=DataKnobs(mapping="ciwl")),
        "One layer (coopetition paper)": replace(_attention_only(), n_layers=1),
        "Sinusoidal positions (coopetition paper)": replace(_attention_only(), positions="sinusoidal"),
        "Curriculum: copies for 1,500 steps, then none": _copies_first(),
    }
)
"""Settings of the two papers, adapted to the lab, by title; the lab's data are Gaussian and not images."""
