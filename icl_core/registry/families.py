"""The model families whose pre-training checkpoints can be evaluated, as data.

It does not ask the network or the disk: ``models.listing`` lists what a repository really holds, and no name made here
is trusted before that. Sources: the model cards and repositories named in each entry; for the checkpoint grids arXiv
2406.14022 and its code (https://github.com/RUCAIBox/Competitive-ICL).

Steps are what a checkpoint's name counts (``Family.step_unit``): optimizer steps nearly everywhere.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from icl_core.errors import StudyError, UnknownNameError
from icl_core.records import CheckpointRef
from icl_core.registry.names import label_of, read_name, training_order, unit_in_name
from icl_core.registry.step_units import StepUnit, number_words

__all__ = [
    "FAMILIES",
    "MODELS",
    "Family",
    "Fault",
    "FinalCheckpoint",
    "Model",
    "Phase",
    "RevisionRule",
    "checkpoint_faults",
    "checkpoint_ref",
    "checkpoint_words",
    "choose_checkpoints",
    "counted_in",
    "get_family",
    "get_model",
    "known_checkpoints",
    "model_of_repository",
    "nearest_checkpoints",
    "units_counted",
    "way_of",
]

PAPER_GRID_SIZE = 17
_LOG_CHOICE = re.compile(r"log ([0-9]{1,6})")


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of a training curriculum, for shading charts.

    Attributes:
        name: such as ``decay``.
        start_step, end_step: in the model's steps; a phase owns the steps after its start up to its end.
    """

    name: str
    start_step: int
    end_step: int


@dataclass(frozen=True, slots=True)
class Fault:
    """Published checkpoints that are known not to hold what their names say.

    Attributes:
        steps: the steps concerned, ascending.
        reason: one sentence for the person who meets it.
        url: where the fault was reported.
    """

    steps: tuple[int, ...]
    reason: str
    url: str


@dataclass(frozen=True, slots=True)
class RevisionRule:
    """How the name of a revision (or weight file) tells its step and its training tokens.

    Attributes:
        pattern: regular expression for the whole name; groups ``step``, ``phase``, ``tokens`` and ``unit``. None if the
            form of the names is not known beforehand; ``names.read_name`` then reads them.
        template: makes a name from a step (``str.format``), None if names have to be listed.
        tokens_per_step: training tokens of one step; None if the name tells the tokens, or if they are not known.
        first_step_index: added to the step before multiplying (1 if step 0 comes after the first chunk).
        phase_offsets: steps before phases 1, 2, ...; the step counts from the start of its phase.
        weight_files: True if the names are weight files on ``main`` instead of git references.
    """

    pattern: str | None
    template: str | None = None
    tokens_per_step: int | None = None
    first_step_index: int = 0
    phase_offsets: tuple[int, ...] = ()
    weight_files: bool = False

    def parse(self, name: str) -> tuple[int | None, int | None] | None:
        r"""Step and tokens in a name, each None if the name lacks it; None alone if the rule does not match.

        >>> RevisionRule(r"step(?P<step>\d+)", tokens_per_step=2_097_152).parse("step82000")
        (82000, 171966464000)
        """
        if self.pattern is None:
            reading = read_name(name)
            return None if reading is None else (reading.number, reading.tokens)
        match = re.fullmatch(self.pattern, name)
        if match is None:
            return None
        groups = match.groupdict()
        tokens = _named_tokens(groups.get("tokens"), groups.get("unit"))
        if groups.get("step") is None:
            return (None if tokens is None else tokens // 10**9), tokens
        step = int(groups["step"])
        if self.phase_offsets:
            step += self.phase_offsets[int(groups["phase"]) - 1]
        if tokens is None and self.tokens_per_step is not None:
            tokens = (step + self.first_step_index) * self.tokens_per_step
        return step, tokens


def _named_tokens(count: str | None, unit: str | None) -> int | None:
    return None if count is None else int(count) * (10**12 if unit == "T" else 10**9)


@dataclass(frozen=True, slots=True)
class FinalCheckpoint:
    """The end of training, if it is not among the other checkpoints (on ``main``, or in another repository)."""

    location: str
    revision: str
    step: int


@dataclass(frozen=True, slots=True)
class Model:
    """One model with its published trajectory.

    Attributes:
        name: unique in the registry.
        family: name of its family.
        location: Hub id.
        rule: how revision names tell steps.
        url: source of the entry.
        aliases: other Hub ids of the same repository, tried in turn.
        steps: the published steps, as far as documented, ascending; names follow from ``rule.template``.
        revisions: documented names if there is no template.
        complete: True if ``steps`` is all there is, False if the repository has to be listed to know.
        final: the last checkpoint, if it is not among the others.
        n_parameters: all parameters; exact from the architecture, or rounded (then the note says so); None if unknown.
        context_length: tokens, None if not documented (the checkpoint's own configuration decides).
        paper_steps: the grid of arXiv 2406.14022 if its code gives it, else empty.
        phases: curriculum phases, ascending.
        faults: checkpoints known to be wrong or missing.
        equal_steps: steps that rightly hold equal weights (the learning rate was still zero).
        remap: native remap that the weights need, None for native classes.
        tokenizer_location: Hub id that has the tokenizer if the revisions lack one, None for ``location``.
        note: what a person should know before using it.
    """

    name: str
    family: str
    location: str
    rule: RevisionRule
    url: str
    aliases: tuple[str, ...] = ()
    steps: tuple[int, ...] = ()
    revisions: tuple[str, ...] = ()
    complete: bool = False
    final: FinalCheckpoint | None = None
    n_parameters: int | None = None
    context_length: int | None = None
    paper_steps: tuple[int, ...] = ()
    phases: tuple[Phase, ...] = ()
    faults: tuple[Fault, ...] = ()
    equal_steps: tuple[int, ...] = ()
    remap: str | None = None
    tokenizer_location: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """Models that share a training recipe.

    Attributes:
        name: unique in the registry.
        title: as shown.
        licence: of the weights.
        url: source of the entry.
        models: names of its models; empty for ``tiny``, ``local`` and ``hub``, whose models are found on disk or on the
            Hub.
        in_paper: True if arXiv 2406.14022 evaluates it.
        note: one or two sentences.
        step_unit: what the numbers of its checkpoints count; not used for ``local`` and ``hub``, whose names tell it.
    """

    name: str
    title: str
    licence: str
    url: str
    models: tuple[str, ...] = ()
    in_paper: bool = False
    note: str = ""
    step_unit: StepUnit = "step"


# --- Pythia: https://github.com/EleutherAI/pythia ------------------------------------------------------------------

_PYTHIA_URL = "https://github.com/EleutherAI/pythia"
_PYTHIA_RULE = RevisionRule(r"step(?P<step>\d+)", template="step{step}", tokens_per_step=2_097_152)
_PYTHIA_STEPS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, *range(1000, 144_000, 1000))
_PYTHIA_PAPER_STEPS = (
    *(4000, 13000, 21000, 30000, 39000, 47000, 56000, 65000, 73000, 82000),
    *(91000, 99000, 108000, 117000, 125000, 134000, 143000),
)
_PYTHIA_PARAMETERS = {
    "14m": 14_067_712,
    "31m": 30_494_720,
    "70m": 70_426_624,
    "160m": 162_322_944,
    "410m": 405_334_016,
    "1b": 1_011_781_632,
    "1.4b": 1_414_647_808,
    "2.8b": 2_775_208_960,
    "6.9b": 6_857_302_016,
    "12b": 11_846_072_320,
}
_PYTHIA_FAULTS = {
    "2.8b": (
        Fault(
            (
                *(0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, *range(1000, 54_000, 1000), 55_000, 60_000, 65_000),
                *(70_000, 80_000, 90_000, 100_000, 103_000, 110_000, 120_000, 130_000, 140_000),
            ),
            "its model.safetensors is the final model's (76 branches share one file)",
            "https://github.com/EleutherAI/pythia/issues/205",
        ),
        Fault(
            (54_000, 56_000, 57_000, 58_000, 59_000, 61_000, 62_000, 63_000, 64_000),
            "its model.safetensors is step143000's (10 branches share one file)",
            "https://github.com/EleutherAI/pythia/issues/205",
        ),
    ),
    "12b": (
        Fault(
            (50_000, 58_000),
            "its first weight shard is the final model's",
            "https://github.com/EleutherAI/pythia/issues/206",
        ),
    ),
    "410m-seed9": (Fault((40_000,), "the branch holds no weights", "https://github.com/EleutherAI/pythia/issues/202"),),
    "410m-seed6": (Fault((88_000,), "the branch holds no weights", "https://github.com/EleutherAI/pythia/issues/202"),),
    "410m-seed2": (
        Fault((111_000,), "the branch holds no weights", "https://github.com/EleutherAI/pythia/issues/202"),
    ),
}
_PYTHIA_NOTE = "Steps 0, 1 and 2 hold equal weights in every size (learning rate still zero): that is expected."
_POLYPYTHIA_VARIANTS = (
    *(f"{size}-seed{seed}" for size in ("14m", "31m", "70m", "160m", "410m") for seed in range(1, 10)),
    *(f"160m-{kind}-seed{seed}" for kind in ("data", "weight") for seed in (1, 2, 3)),
)
_POLYPYTHIA_NOTES = {
    "160m-weight-seed1": "Steps from 1 on do not continue this repository's own step 0 (EleutherAI/pythia, issue 203).",
    "160m-weight-seed2": "Steps from 1 on do not continue this repository's own step 0 (EleutherAI/pythia, issue 203).",
}


def _pythia(variant: str, family: str, *, paper_steps: tuple[int, ...] = ()) -> Model:
    return Model(
        name=f"pythia-{variant}",
        family=family,
        location=f"EleutherAI/pythia-{variant}",
        rule=_PYTHIA_RULE,
        url=_PYTHIA_URL,
        steps=_PYTHIA_STEPS,
        complete=True,
        n_parameters=_PYTHIA_PARAMETERS[variant.split("-")[0]],
        context_length=2048,
        paper_steps=paper_steps,
        faults=_PYTHIA_FAULTS.get(variant, ()),
        equal_steps=(0, 1, 2),
        note=_POLYPYTHIA_NOTES.get(variant, _PYTHIA_NOTE),
    )


_PYTHIA = (
    *(_pythia(size, "pythia", paper_steps=_PYTHIA_PAPER_STEPS) for size in _PYTHIA_PARAMETERS),
    *(_pythia(f"{size}-deduped", "pythia-deduped") for size in _PYTHIA_PARAMETERS if size not in ("14m", "31m")),
    *(_pythia(variant, "polypythias") for variant in _POLYPYTHIA_VARIANTS),
)

# --- the other families of the paper -------------------------------------------------------------------------------

_CRYSTAL_OFFSETS = (0, 79_721, 294_108)
_TOKENS_IN_NAME = r"step(?P<step>\d+)-tokens(?P<tokens>\d+)(?P<unit>[BT])"

_PAPER_MODELS = (
    Model(
        name="minicpm-2b",
        family="minicpm",
        location="openbmb/MiniCPM-2B-history",
        rule=RevisionRule(
            r"pytorch_model\.(?P<step>\d+)",
            template="pytorch_model.{step}",
            tokens_per_step=3_930_000,
            weight_files=True,
        ),
        url="https://huggingface.co/openbmb/MiniCPM-2B-history",
        steps=tuple(range(10_000, 350_001, 10_000)),
        n_parameters=2_724_880_896,
        context_length=4096,
        paper_steps=tuple(range(30_000, 350_001, 20_000)),
        phases=(
            Phase("stable", 0, 261_000),
            Phase("decay", 261_000, 279_500),
            Phase("after the decay", 279_500, 350_000),
        ),
        remap="minicpm_to_granite",
        note="Check before use: checkpoints up to step 260000 were reported to score at chance (OpenBMB/MiniCPM, issue "
        "309; cause unknown). Tokens per step are approximate. The paper's grid runs past the end of the decay.",
    ),
    Model(
        name="amber-7b",
        family="amber",
        location="LLM360/Amber",
        aliases=("IFM/Amber",),
        rule=RevisionRule(
            r"ckpt_(?P<step>\d+)", template="ckpt_{step:03d}", tokens_per_step=3_500_000_000, first_step_index=1
        ),
        url="https://huggingface.co/LLM360/Amber",
        steps=tuple(range(359)),
        complete=True,
        final=FinalCheckpoint("LLM360/Amber", "main", 359),
        n_parameters=6_738_415_616,
        context_length=2048,
        note="One checkpoint after each of 360 data chunks of about 3.5 billion tokens; about 27 GB each.",
    ),
    Model(
        name="crystalcoder-7b",
        family="crystalcoder",
        location="LLM360/CrystalCoder",
        aliases=("LLM360/Crystal", "IFM/Crystal"),
        rule=RevisionRule(
            r"CrystalCoder_phase(?P<phase>[123])_checkpoint_(?P<step>\d+)",
            tokens_per_step=4_325_376,
            phase_offsets=_CRYSTAL_OFFSETS,
        ),
        url="https://huggingface.co/LLM360/CrystalCoder",
        revisions=(
            *(f"CrystalCoder_phase1_checkpoint_{step:06d}" for step in (*range(1500, 79_501, 1500), 79_721)),
            "CrystalCoder_phase2_checkpoint_214387",
            *(f"CrystalCoder_phase3_checkpoint_{step:06d}" for step in (*range(1000, 27_001, 1000), 27_728)),
        ),
        n_parameters=6_575_278_720,
        context_length=2048,
        phases=(
            Phase("phase 1: SlimPajama", 0, 79_721),
            Phase("phase 2: text and code", 79_721, 294_108),
            Phase("phase 3: Python and web code", 294_108, 321_836),
        ),
        remap="crystalcoder",
        note="Steps are counted over the three phases. The phase 2 branches have to be listed.",
    ),
    Model(
        name="olmo-7b",
        family="olmo",
        location="allenai/OLMo-7B",
        rule=RevisionRule(_TOKENS_IN_NAME),
        url="https://huggingface.co/allenai/OLMo-7B",
        revisions=("step1000-tokens4B", "step452000-tokens2000B", "step556000-tokens2460B"),
        n_parameters=6_888_095_744,
        context_length=2048,
        remap="olmo_to_native",
        note="The grid is irregular: list the repository, do not guess names.",
    ),
    Model(
        name="baichuan2-7b",
        family="baichuan2",
        location="baichuan-inc/Baichuan2-7B-Intermediate-Checkpoints",
        rule=RevisionRule(r"train_(?P<tokens>\d+)B", template="train_{step:05d}B"),
        url="https://huggingface.co/baichuan-inc/Baichuan2-7B-Intermediate-Checkpoints",
        steps=tuple(range(220, 2421, 220)),
        complete=True,
        final=FinalCheckpoint("baichuan-inc/Baichuan2-7B-Base", "main", 2600),
        n_parameters=7_505_973_248,
        context_length=4096,
        remap="baichuan2_to_llama",
        tokenizer_location="baichuan-inc/Baichuan2-7B-Base",
        note="The names count training tokens, not optimizer steps.",
    ),
    Model(
        name="k2-65b",
        family="k2",
        location="LLM360/K2",
        aliases=("IFM/K2",),
        rule=RevisionRule(r"ckpt_(?P<step>\d+)", template="ckpt_{step:03d}", tokens_per_step=3_900_000_000),
        url="https://huggingface.co/LLM360/K2",
        steps=tuple(range(351, 361)),
        n_parameters=65_000_000_000,
        note="Parameters and tokens are rounded; the card links ckpt_351 to ckpt_360, earlier ones have to be listed.",
    ),
)

# --- further families with native classes --------------------------------------------------------------------------

_OLMO2_RULE = RevisionRule(rf"stage1-{_TOKENS_IN_NAME}")
_OLMO2_NOTE = (
    "Stage 1 is the trajectory; the stage 2 branches are parallel continuations of it and are listed without a step."
)


def _smollm2(size: str, tokens_per_step: int, *, n_parameters: int, steps: range) -> Model:
    location = f"HuggingFaceTB/SmolLM2-{size}-intermediate-checkpoints"
    return Model(
        name=f"smollm2-{size.lower()}",
        family="smollm2",
        location=location,
        rule=RevisionRule(r"step-(?P<step>\d+)", template="step-{step}", tokens_per_step=tokens_per_step),
        url=f"https://huggingface.co/{location}",
        steps=tuple(steps),
        n_parameters=n_parameters,
        context_length=2048,
    )


def _native(
    family: str, name: str, *, location: str, rule: RevisionRule, n_parameters: int | None, **facts: Any
) -> Model:
    url = f"https://huggingface.co/{location}"
    return Model(name, family, location, rule, url, n_parameters=n_parameters, **facts)


_OLMO_RULE = RevisionRule(_TOKENS_IN_NAME)
_OLMO3_NOTE = "Only stage 1 counts as the trajectory; later stages are listed without a step."
_BLOOM_NOTE = "Checkpoints are git tags; the architecture has no SDPA attention, so eager is used."

_OLMO = (
    _native(
        "olmo",
        "olmo-1b",
        location="allenai/OLMo-1B-hf",
        rule=_OLMO_RULE,
        n_parameters=1_176_764_416,
        revisions=("step1000-tokens4B",),
        context_length=2048,
    ),
    _native(
        "olmo",
        "olmo-1b-0724",
        location="allenai/OLMo-1B-0724-hf",
        rule=_OLMO_RULE,
        n_parameters=1_279_787_008,
        revisions=("step1000-tokens2B",),
    ),
    _native(
        "olmo",
        "olmo-7b-0424",
        location="allenai/OLMo-7B-0424-hf",
        rule=_OLMO_RULE,
        n_parameters=None,
        revisions=("step1000-tokens4B",),
    ),
    _native(
        "olmo",
        "olmo-7b-0724",
        location="allenai/OLMo-7B-0724-hf",
        rule=_OLMO_RULE,
        n_parameters=None,
        revisions=("step1000-tokens4B",),
    ),
    _native(
        "olmo2",
        "olmo2-1b",
        location="allenai/OLMo-2-0425-1B",
        rule=_OLMO2_RULE,
        n_parameters=1_484_916_736,
        revisions=("stage1-step10000-tokens21B", "stage1-step1907359-tokens4001B"),
        context_length=4096,
        note=_OLMO2_NOTE,
    ),
    _native(
        "olmo2",
        "olmo2-1b-early",
        location="allenai/OLMo-2-0425-1B-early-training",
        rule=RevisionRule(r"(?:stage1-)?step(?P<step>\d+)-tokens(?P<tokens>\d+)(?P<unit>[BT])"),
        n_parameters=1_484_916_736,
        context_length=4096,
        note="37 checkpoints, steps 0 to 36000 by 1000.",
    ),
    _native(
        "olmo2",
        "olmo2-7b",
        location="allenai/OLMo-2-1124-7B",
        rule=_OLMO2_RULE,
        n_parameters=7_298_617_344,
        revisions=("stage1-step1000-tokens5B", "stage1-step928646-tokens3896B"),
        context_length=4096,
        faults=(
            Fault(
                (101_000, 175_000, 300_000),
                "steps 101000, 175000 and 300000 of stage 1 share all six weight shards",
                "https://github.com/allenai/OLMo/issues/915",
            ),
        ),
        note=_OLMO2_NOTE,
    ),
    _native(
        "olmo2",
        "olmo2-13b",
        location="allenai/OLMo-2-1124-13B",
        rule=_OLMO2_RULE,
        n_parameters=None,
        revisions=("stage1-step596057-tokens5001B",),
        context_length=4096,
        note=_OLMO2_NOTE,
    ),
    _native(
        "olmo2",
        "olmo2-32b",
        location="allenai/OLMo-2-0325-32B",
        rule=_OLMO2_RULE,
        n_parameters=None,
        revisions=("stage1-step721901-tokens6056B",),
        context_length=4096,
        note=_OLMO2_NOTE,
    ),
    _native(
        "olmo3",
        "olmo3-7b",
        location="allenai/Olmo-3-1025-7B",
        rule=RevisionRule(r"stage1-step(?P<step>\d+)", template="stage1-step{step}", tokens_per_step=4_194_304),
        n_parameters=None,
        steps=(0, 1000, 1_413_814),
        note=_OLMO3_NOTE,
    ),
    _native(
        "olmo3",
        "olmo3-32b",
        location="allenai/Olmo-3-1125-32B",
        rule=RevisionRule(r"stage1-step(?P<step>\d+)", template="stage1-step{step}", tokens_per_step=8_388_608),
        n_parameters=None,
        note=_OLMO3_NOTE,
    ),
)

_OTHERS = (
    _smollm2("135M", 1_048_576, n_parameters=134_515_008, steps=range(240_000, 1_920_001, 240_000)),
    _smollm2("360M", 1_572_864, n_parameters=361_821_120, steps=range(160_000, 2_560_001, 160_000)),
    _smollm2("1.7B", 2_097_152, n_parameters=1_711_376_384, steps=range(125_000, 5_125_001, 125_000)),
    _native(
        "smollm3",
        "smollm3-3b",
        location="HuggingFaceTB/SmolLM3-3B-checkpoints",
        rule=RevisionRule(r"(?:stage\d-)?step-(?P<step>\d+)", tokens_per_step=2_359_296),
        n_parameters=3_075_098_624,
        revisions=("stage1-step-40000", "stage2-step-3480000", "stage3-step-4720000"),
        note="The configuration on main was reported broken: use the step branches.",
    ),
    _native(
        "tinyllama",
        "tinyllama-1.1b",
        location="TinyLlama/tinyLlama-intermediate-checkpoints",
        rule=RevisionRule(r"step-(?P<thousands>\d+)k-token-(?P<tokens>\d+)B"),
        n_parameters=1_100_048_384,
        revisions=("step-10k-token-21B", "step-50k-token-105B", "step-480k-token-1007B"),
        context_length=2048,
        note="The names tell steps and tokens; the tokens count here, in billions.",
    ),
    *(
        _native(
            "bloom",
            f"bloom-{size}",
            location=f"bigscience/bloom-{size}-intermediate",
            rule=RevisionRule(r"global_step(?P<step>\d+)", template="global_step{step}"),
            n_parameters=n_parameters,
            steps=(1000, 10_000, 100_000),
            tokenizer_location=f"bigscience/bloom-{size}",
            context_length=2048,
            note=_BLOOM_NOTE,
        )
        for size, n_parameters in (("560m", 559_214_592), ("1b1", 1_065_314_304), ("1b7", 1_722_408_960))
    ),
    _native(
        "apertus",
        "apertus-8b",
        location="swiss-ai/Apertus-8B-2509",
        rule=_OLMO_RULE,
        n_parameters=None,
        revisions=("step50000-tokens210B", "step1432000-tokens6014B"),
    ),
    _native(
        "lucie",
        "lucie-7b",
        location="OpenLLM-France/Lucie-7B",
        rule=RevisionRule(r"step(?P<step>\d{7})", template="step{step:07d}"),
        n_parameters=None,
        steps=(50_000, 753_851),
        note="The batch grows during training, so tokens do not follow from the step.",
    ),
    *(
        _native(
            "mistral-gpt2",
            f"{name}-gpt2-small",
            location=f"stanford-crfm/{name}-gpt2-small-x{seed}",
            rule=RevisionRule(r"checkpoint-(?P<step>\d+)", template="checkpoint-{step}"),
            n_parameters=124_439_808,
            steps=(*range(0, 100, 10), *range(100, 2000, 50), *range(2000, 20_000, 100), *range(20_000, 400_001, 1000)),
            complete=True,
            context_length=1024,
        )
        for name, seed in (("alias", 21), ("battlestar", 49), ("caprica", 81), ("darkmatter", 343), ("expanse", 777))
    ),
)

MODELS: Mapping[str, Model] = MappingProxyType(
    {model.name: model for model in (*_PYTHIA, *_PAPER_MODELS, *_OLMO, *_OTHERS)}
)


def _family(
    name: str,
    title: str,
    *,
    licence: str,
    url: str,
    in_paper: bool = False,
    note: str = "",
    step_unit: StepUnit = "step",
) -> Family:
    models = tuple(model.name for model in MODELS.values() if model.family == name)
    return Family(name, title, licence, url, models, in_paper, note, step_unit)


_APACHE = "Apache-2.0"
_CARD = "https://huggingface.co/"
FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        family.name: family
        for family in (
            _family(
                "tiny",
                "Tiny suite (embedded)",
                licence=_APACHE,
                url="https://arxiv.org/abs/2406.14022",
                note="Small models of a synthetic language, trained by this project and shipped with it.",
            ),
            _family(
                "lab",
                "Controlled lab",
                licence=_APACHE,
                url="https://arxiv.org/abs/2503.05631",
                note="Transformers that read vectors, trained by the lab with one knob changed at a time.",
            ),
            _family("pythia", "Pythia", licence=_APACHE, url=_PYTHIA_URL, in_paper=True),
            _family(
                "minicpm",
                "MiniCPM",
                licence="General Model License (OpenBMB)",
                url=_CARD + "openbmb/MiniCPM-2B-history",
                in_paper=True,
            ),
            _family(
                "amber", "Amber", licence=_APACHE, url=_CARD + "LLM360/Amber", in_paper=True, step_unit="data chunk"
            ),
            _family("crystalcoder", "CrystalCoder", licence=_APACHE, url=_CARD + "LLM360/CrystalCoder", in_paper=True),
            _family("olmo", "OLMo", licence=_APACHE, url=_CARD + "allenai/OLMo-7B", in_paper=True),
            _family(
                "baichuan2",
                "Baichuan2",
                licence="Baichuan 2 Community License",
                url=_CARD + "baichuan-inc/Baichuan2-7B-Intermediate-Checkpoints",
                in_paper=True,
                step_unit="billion tokens",
            ),
            _family("k2", "K2", licence=_APACHE, url=_CARD + "LLM360/K2", step_unit="data chunk"),
            _family("pythia-deduped", "Pythia, deduplicated data", licence=_APACHE, url=_PYTHIA_URL),
            _family(
                "polypythias",
                "PolyPythias (nine seeds)",
                licence=_APACHE,
                url="https://arxiv.org/abs/2503.09543",
            ),
            _family("olmo2", "OLMo 2", licence=_APACHE, url=_CARD + "allenai/OLMo-2-1124-7B"),
            _family("olmo3", "OLMo 3", licence=_APACHE, url=_CARD + "allenai/Olmo-3-1025-7B"),
            _family(
                "smollm2", "SmolLM2", licence=_APACHE, url=_CARD + "HuggingFaceTB/SmolLM2-135M-intermediate-checkpoints"
            ),
            _family("smollm3", "SmolLM3", licence=_APACHE, url=_CARD + "HuggingFaceTB/SmolLM3-3B-checkpoints"),
            _family(
                "tinyllama",
                "TinyLlama",
                licence=_APACHE,
                url=_CARD + "TinyLlama/tinyLlama-intermediate-checkpoints",
                step_unit="billion tokens",
            ),
            _family("bloom", "BLOOM", licence="BigScience RAIL 1.0", url=_CARD + "bigscience/bloom-560m-intermediate"),
            _family("apertus", "Apertus", licence=_APACHE, url=_CARD + "swiss-ai/Apertus-8B-2509"),
            _family("lucie", "Lucie", licence=_APACHE, url=_CARD + "OpenLLM-France/Lucie-7B"),
            _family(
                "mistral-gpt2",
                "GPT-2 of the Mistral project",
                licence=_APACHE,
                url="https://github.com/stanford-crfm/mistral",
            ),
            _family(
                "local",
                "Own checkpoints",
                licence="as given by their owner",
                url="https://huggingface.co/docs/transformers",
                note="A folder of checkpoint folders (step-1000/, checkpoint-3000/) or one GGUF file.",
            ),
            _family(
                "hub",
                "Any other Hub repository",
                licence="as given by its card",
                url="https://huggingface.co/models",
                note="Steps are read from the names of branches and tags, such as step1000 or step1000-tokens4B.",
            ),
            _family(
                "fused",
                "Mixed parameters",
                licence="as of both parents",
                url="https://arxiv.org/abs/2203.05482",
                note="Parameters of two checkpoints of one architecture, mixed with a weight when they are loaded.",
            ),
        )
    }
)


def get_family(name: str) -> Family:
    """The family of this name.

    Raises:
        UnknownNameError: the message lists the known families.
    """
    if name not in FAMILIES:
        raise UnknownNameError(f"Unknown family {name!r}; known are {', '.join(FAMILIES)}.")
    return FAMILIES[name]


def get_model(name: str) -> Model:
    """The registered model of this name.

    Raises:
        UnknownNameError: the message gives the nearest names.
    """
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=5, cutoff=0.5) or list(MODELS)[:10]
        raise UnknownNameError(f"Unknown model {name!r}; the nearest known models are {', '.join(near)}.")
    return MODELS[name]


def model_of_repository(location: str) -> Model | None:
    """The registered model that lives at a Hub id or one of its aliases, None if there is none."""
    return next((model for model in MODELS.values() if location in (model.location, *model.aliases)), None)


def counted_in(ref: CheckpointRef) -> StepUnit | None:
    """What the step of a checkpoint counts; None if it has no step, or if neither family nor name tells it.

    >>> counted_in(checkpoint_ref(get_model("amber-7b"), "ckpt_356"))
    'data chunk'
    """
    if ref.step is None:
        return None
    if ref.family in ("local", "hub"):
        return unit_in_name(ref)
    return FAMILIES[ref.family].step_unit if ref.family in FAMILIES else "step"


def units_counted(refs: Iterable[CheckpointRef]) -> dict[str, frozenset[StepUnit]]:
    """By model, what the steps of its checkpoints count; a model is absent if only the order of training is known."""
    found: dict[str, set[StepUnit]] = {}
    for ref in refs:
        units = found.setdefault(ref.model, set())
        if (unit := counted_in(ref)) is not None:
            units.add(unit)
    return {model: frozenset(units) for model, units in found.items()}


def checkpoint_words(ref: CheckpointRef) -> str:
    """A checkpoint in words: its number and what that counts, if known; else its name.

    >>> checkpoint_words(checkpoint_ref(get_model("tinyllama-1.1b"), "step-10k-token-21B"))
    '21 billion tokens'
    """
    unit = counted_in(ref)
    return label_of(ref) if unit is None or ref.step is None else number_words(unit, ref.step)


def checkpoint_ref(model: Model, name: str) -> CheckpointRef:
    """The checkpoint of a model that is called ``name`` (revision, or weight file if files are checkpoints).

    Step and tokens are None if the model's rule does not match the name.

    >>> checkpoint_ref(get_model("amber-7b"), "ckpt_356").tokens_seen
    1249500000000
    """
    final = model.final
    if final is not None and name == final.revision:
        _, tokens = model.rule.parse((model.rule.template or "").format(step=final.step)) or (None, None)
        return CheckpointRef(
            model.family, model.name, name, "hub", final.location, final.step, tokens, remap=model.remap
        )
    step, tokens = model.rule.parse(name) or (None, None)
    revision, weight_file = ("main", name) if model.rule.weight_files else (name, None)
    return CheckpointRef(
        model.family, model.name, revision, "hub", model.location, step, tokens, weight_file, model.remap
    )


def known_checkpoints(model: Model) -> tuple[CheckpointRef, ...]:
    """The documented checkpoints in the order of training, without asking the network.

    If ``model.complete`` is False the repository may hold others; names are as documented, not checked.
    """
    names = [*model.revisions]
    if model.rule.template is not None:
        names += [model.rule.template.format(step=step) for step in model.steps]
    if model.final is not None:
        names.append(model.final.revision)
    return tuple(sorted((checkpoint_ref(model, name) for name in names), key=training_order))


def _step_of(ref: CheckpointRef) -> int:
    return -1 if ref.step is None else ref.step


def checkpoint_faults(ref: CheckpointRef) -> str | None:
    """Why a published checkpoint is known not to hold what its name says, None if nothing is known."""
    model = MODELS.get(ref.model) if ref.family != "local" else None
    for fault in model.faults if model is not None else ():
        if ref.step in fault.steps:
            return f"{ref.revision}: {fault.reason} ({fault.url})"
    return None


def choose_checkpoints(refs: Sequence[CheckpointRef], choice: str) -> tuple[CheckpointRef, ...]:
    """Checkpoints of one model picked by a short text, in the order of ``refs``.

    Args:
        refs: the checkpoints of one model, ascending by step. One without a step is taken only by name, unless none has
            a step or they are local. Whether they have an order of training is decided elsewhere
            (``names.order_question``).
        choice: ``all``; ``paper`` (the paper's grid, with the nearest step for a missing one; without a grid, 17 evenly
            spread); a count (evenly spread over the list, with both ends and without known faults); ``log`` and a count
            (at most this many, nearest to equal ratios of steps, likewise); or steps and names separated by commas. One
            number alone is a count, unless it is a step and exceeds the length of the list.

    Raises:
        UnknownNameError: a step or name is not listed; the message gives the nearest.
        StudyError: there are no checkpoints, or fewer than the count, or two are at the step that is named.
    """
    stepped = [ref for ref in refs if ref.step is not None or ref.family == "local"] or list(refs)
    if not refs:
        raise StudyError("There are no checkpoints to choose from.")
    if choice == "all":
        return tuple(stepped)
    if choice == "paper":
        return _paper_choice(stepped)
    healthy = [ref for ref in stepped if checkpoint_faults(ref) is None] or stepped
    if choice.isdecimal() and not (int(choice) > len(stepped) and int(choice) in {ref.step for ref in stepped}):
        return _evenly_spread(healthy, int(choice))
    if count := _LOG_CHOICE.fullmatch(choice):
        return _log_spread(healthy, int(count[1]))
    wanted = {_find(refs, part.strip()) for part in choice.split(",") if part.strip()}
    if not wanted:
        raise StudyError(
            "No checkpoint is named; give all, paper, a count, log and a count, or numbers and names, separated by "
            "commas."
        )
    return tuple(ref for ref in refs if ref in wanted)


def way_of(choice: str) -> Literal["all", "paper", "even", "log", "names"]:
    """The kind of a choice; every kind except names needs the order of all checkpoints.

    One number alone counts as ``even``, although it can be a step if the list is shorter.
    """
    if choice == "all":
        return "all"
    if choice == "paper":
        return "paper"
    return "even" if choice.isdecimal() else "log" if _LOG_CHOICE.fullmatch(choice) else "names"


def _paper_choice(refs: Sequence[CheckpointRef]) -> tuple[CheckpointRef, ...]:
    model = MODELS.get(refs[0].model) if refs else None
    if model is None or not model.paper_steps:
        return _evenly_spread(refs, min(PAPER_GRID_SIZE, len(refs)))
    nearest = {min(refs, key=lambda ref: (abs(_step_of(ref) - step), _step_of(ref))) for step in model.paper_steps}
    return tuple(ref for ref in refs if ref in nearest)


def _evenly_spread(refs: Sequence[CheckpointRef], count: int) -> tuple[CheckpointRef, ...]:
    if count > len(refs) or (count < 1 and refs):
        raise StudyError(
            f"{count} checkpoints are asked for, but the list has {len(refs)} to choose from (at least 1)."
        )
    if count <= 1:
        return tuple(refs[-1:])
    return tuple(refs[round(index * (len(refs) - 1) / (count - 1))] for index in range(count))


def _log_spread(refs: Sequence[CheckpointRef], count: int) -> tuple[CheckpointRef, ...]:
    """At most ``count``, nearest to equal ratios of steps (of steps + 1, so that step 0 has a place); both ends."""
    if count < 2:
        return _evenly_spread(refs, count)
    places = [math.log1p(_step_of(ref)) for ref in refs]
    wanted = [places[0] + (places[-1] - places[0]) * index / (count - 1) for index in range(count)]
    nearest = {min(range(len(refs)), key=lambda i: abs(places[i] - at)) for at in wanted}
    return tuple(refs[index] for index in sorted(nearest))


def _find(refs: Sequence[CheckpointRef], name: str) -> CheckpointRef:
    for ref in refs:
        if name in (ref.revision, ref.weight_file) and not (ref.weight_file and name == "main"):
            return ref
    if name.isdecimal():
        same = [ref for ref in refs if ref.step == int(name)]
        if len(same) > 1:
            raise StudyError(
                f"{' and '.join(map(label_of, same))} of {refs[0].model} are all at {name}; name one of them."
            )
        if same:
            return same[0]
    raise UnknownNameError(
        f"Unknown checkpoint {name!r} of {refs[0].model}; the nearest are {nearest_checkpoints(refs, name)}."
    )


def nearest_checkpoints(refs: Sequence[CheckpointRef], name: str) -> str:
    """Up to three listed names, for messages: the nearest to one that is not listed, by step if it holds a number."""
    names = [ref.weight_file or ref.revision for ref in refs]
    numbers = re.findall(r"\d+", name)
    stepped = [ref for ref in refs if ref.step is not None]
    if not numbers or not stepped:
        return ", ".join(difflib.get_close_matches(name, names, n=3, cutoff=0.0))
    wanted = int(max(numbers, key=len))
    near = sorted(stepped, key=lambda ref: abs(_step_of(ref) - wanted))[:3]
    return ", ".join(ref.weight_file or ref.revision for ref in sorted(near, key=training_order))
