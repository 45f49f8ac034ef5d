"""The frozen values passed around between the layers.

They hold data and say what it means; they do not read files, load models or compute measures.
Source of the definitions: arXiv 2406.14022 and arXiv 2305.09731 (label settings).
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = [
    "ABILITY_BY_SETTING",
    "FIELDS_IN_KEY",
    "LABEL_SETTINGS",
    "MAX_NAME_BYTES",
    "SCORING_VERSION",
    "SHARED_OPTIONS",
    "Alphabet",
    "CellKey",
    "CellRecord",
    "CellSpec",
    "CheckpointIdentity",
    "CheckpointRef",
    "CheckpointSource",
    "EncodedRequest",
    "Example",
    "LabelScores",
    "LabelSetting",
    "Sampling",
    "Split",
    "canonical_json",
    "digest_of",
    "fields_in_key",
    "plain_fields",
    "shown",
    "text_fault",
]

SCORING_VERSION = 2
"""Raised whenever a scored number would change (engine, encoding, native remaps); written in docs/LOG.md."""

LabelSetting = Literal["gold", "random", "abstract"]
Split = Literal["dev", "test"]
Sampling = Literal["uniform", "balanced"]
Alphabet = Literal["symbols", "numbers", "letters"]
CheckpointSource = Literal["hub", "folder", "gguf", "embedded", "fused"]
ABILITY_BY_SETTING: Mapping[LabelSetting, str] = MappingProxyType({"gold": "ICL", "random": "TR", "abstract": "TL"})
"""Which ability a label setting measures (arXiv 2305.09731)."""
LABEL_SETTINGS: tuple[LabelSetting, ...] = tuple(ABILITY_BY_SETTING)
MAX_NAME_BYTES = 4096
"""Longest name of a model, revision, task or label, in bytes of UTF-8: as long as a path may be."""
_TURNING = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
"""Kinds of characters that turn the direction of writing; a sentence with one can seem to say something else
(https://trojansource.codes)."""


def canonical_json(value: object) -> str:
    """JSON text that is equal for equal values: sorted keys, no spaces, NaN and infinity refused.

    >>> canonical_json({"b": 1, "a": [0.5, None]})
    '{"a":[0.5,null],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def text_fault(text: str, *, most: int = MAX_NAME_BYTES, allowed: str = "") -> str | None:
    r"""Why a text from outside cannot be a name that files, tables and pages hold and show as it is; None if it can.

    Names of files that are not UTF-8 reach Python with lone surrogates.

    Args:
        text: a name from outside: of a file, a link, a bundle or an index.
        most: bytes of UTF-8 that it may have.
        allowed: control characters that it may hold.

    >>> text_fault("pythia-70m"), text_fault("a\x00b"), text_fault("\udcff")
    (None, 'holds the control character U+0000', 'is not valid Unicode')
    """
    if text.isprintable() and len(text) * 4 <= most:
        return None
    for character in text:
        category = unicodedata.category(character)
        if category == "Cs":
            return "is not valid Unicode"
        turns = unicodedata.bidirectional(character) in _TURNING
        if turns or (category in ("Cc", "Zl", "Zp") and character not in allowed):
            return f"holds the control character U+{ord(character):04X}"
    n_bytes = len(text.encode())
    return f"is {n_bytes:,} bytes long, more than {most:,}" if n_bytes > most else None


def shown(text: object, *, most: int = 80) -> str:
    r"""A text from outside as part of a sentence: on one line, printable, shortened if it is long.

    >>> shown("a\nb\udcff"), shown("x" * 100, most=10)
    ('a\\nb\\udcff', 'xxxxxxx...')
    """
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text)[: most + 1])
    return line if len(line) <= most else f"{line[: most - 3]}..."


def plain_fields(value: Any) -> dict[str, Any]:
    """What ``dataclasses.asdict`` gives for a frozen value, without copying what it holds (ten times as fast).

    >>> plain_fields(Example("test:1", "fine", 0))
    {'row_id': 'test:1', 'text': 'fine', 'gold': 0, 'text_pair': None}
    """
    return {
        name: plain_fields(held) if is_dataclass(held := getattr(value, name)) else held
        for name in value.__dataclass_fields__
    }


def digest_of(value: object) -> str:
    """The sha256 (64 hexadecimal digits) of the canonical JSON of a value."""
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled row of a task.

    Attributes:
        row_id: split and index on the Hub, such as ``validation:17``; unique within a task.
        text: the input as it stands in a prompt (stripped, one line; pairs joined by `` [SEP] ``).
        gold: index of the true label, 0 to n_labels - 1.
        text_pair: the two sentences of a pair task, which natural templates need apart; None otherwise.
    """

    row_id: str
    text: str
    gold: int
    text_pair: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class CheckpointRef:
    """One model at one step, as it is asked for.

    Attributes:
        family: name in the registry; ``local`` for folders and GGUF files on this machine.
        model: unique name of the model, such as ``pythia-410m``.
        revision: git reference on the Hub, folder name of a local checkpoint (``.`` for ``location`` itself), or file
            name of a GGUF.
        source: where the weights come from.
        location: Hub id; parent folder of the checkpoint folders; path of the GGUF file; member name; for mixed
            parameters the canonical JSON of both parents and the weight.
        step: what the name counts (``registry.names``: steps, else epochs or tokens), or the place, from 1, in an order
            that was given; None if there is neither.
        tokens_seen: training tokens up to this step, None if unknown.
        weight_file: the file on the revision that holds the weights, if checkpoints are files.
        remap: name of the native remap that the weights need, None for native classes.
    """

    family: str
    model: str
    revision: str
    source: CheckpointSource
    location: str
    step: int | None = None
    tokens_seen: int | None = None
    weight_file: str | None = None
    remap: str | None = None


@dataclass(frozen=True, slots=True)
class CheckpointIdentity:
    """What a checkpoint holds, by content and not by names.

    Attributes:
        commit: resolved commit on the Hub, or "" for local files.
        weight_files: (file name, sha256) of each weight file (of every file that matters, for local
            folders), sorted by name.
        tokenizer_sha256: hash over the tokenizer's files.
        context_length: longest sequence of tokens that the model was made for.
        n_parameters: all parameters, None if it is not known before loading.
    """

    commit: str
    weight_files: tuple[tuple[str, str], ...]
    tokenizer_sha256: str
    context_length: int
    n_parameters: int | None = None


@dataclass(frozen=True, slots=True)
class EncodedRequest:
    """Token ids of one query and its candidate labels, from the joint tokenisation.

    Attributes:
        context_ids: (n_context_tokens,) ids before the label; the prefix shared with other requests is in it.
        continuation_ids: one tuple of ids for each choice, at least one token each.
    """

    context_ids: tuple[int, ...]
    continuation_ids: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class LabelScores:
    """Scores of one request.

    Attributes:
        loglikelihoods: (n_choices,) float64, nats, sum over the continuation's tokens; all finite.
        n_tokens: (n_choices,) int, tokens of each continuation.
    """

    loglikelihoods: npt.NDArray[np.float64]
    n_tokens: npt.NDArray[np.int64]


@lru_cache(maxsize=65_536)
def _digest_of_fields(value: CellSpec | CellKey) -> str:
    """Cached: writing or finding one cell asks for its digest several times."""
    return digest_of(plain_fields(value))


@dataclass(frozen=True, slots=True)
class CellSpec:
    """One stored unit as it is asked for, by names alone, without content hashes.

    Attributes:
        checkpoint: which model at which step.
        task: name in the task registry; for a local file ``file:``, its absolute path and, if it was chosen, how labels
            are read (``?merge-labels``).
        split: ``test`` for results, ``dev`` for choosing checkpoints and fusion weights.
        label_setting: how demonstration labels are made.
        demo_seed: keys demonstration choice, random labels and abstract mapping.
        n_shots: number of demonstrations.
        n_examples: rows of the split to evaluate, at most (the head of the split's fixed order).
        template, label_word_set, alphabet, sampling: options of the prompt.
        dtype: of weights and arithmetic, such as ``float32``.
        attention: attention implementation.
        data_dir: absolute path of a directory in Hub layout, None for the Hub.
    """

    checkpoint: CheckpointRef
    task: str
    split: Split
    label_setting: LabelSetting
    demo_seed: int
    n_shots: int
    n_examples: int
    template: str = "minimal"
    label_word_set: str = "natural"
    alphabet: Alphabet = "symbols"
    sampling: Sampling = "uniform"
    dtype: str = "float32"
    attention: str = "sdpa"
    data_dir: str | None = None

    def __hash__(self) -> int:
        """Hashes only the fields in which the cells of a store differ: tables hold tens of thousands of cells."""
        at = self.checkpoint
        differing = self.task, self.split, self.label_setting, self.demo_seed, self.n_shots, self.n_examples
        return hash((at.model, at.revision, *differing))

    @property
    def digest(self) -> str:
        """sha256 over all fields."""
        return _digest_of_fields(self)


@dataclass(frozen=True, slots=True)
class CellKey:
    """Everything that changes the numbers of a cell (content, not names); its digest names the result.

    The context cut follows from ``context_length``, tokenizer, rows and template. So the length is in the key, and the
    cut is in the record.
    """

    commit: str
    weight_files: tuple[tuple[str, str], ...]
    tokenizer_sha256: str
    context_length: int
    remap: str | None
    dtype: str
    attention: str
    task: str
    task_version: int
    dataset_fingerprint: str
    row_ids_sha256: str
    label_word_set: str
    label_words: tuple[str, ...]
    template: str
    template_text: str
    label_setting: LabelSetting
    alphabet: Alphabet | None
    n_shots: int
    sampling: Sampling
    demo_seed: int
    scoring_version: int = SCORING_VERSION

    @property
    def digest(self) -> str:
        """sha256 over all fields: the name under which the result is stored."""
        return _digest_of_fields(self)


SHARED_OPTIONS = ("n_shots", "template", "label_word_set", "sampling", "dtype", "attention")
"""What cells must share if their numbers are to be compared; in the abstract setting the alphabet too."""
FIELDS_IN_KEY = tuple(
    name for name in CellSpec.__dataclass_fields__ if name in CellKey.__dataclass_fields__ and name != "alphabet"
)
"""Fields of a spec that stand in the key of its result as they are."""


def fields_in_key(spec: CellSpec) -> dict[str, Any]:
    """What a key takes from its spec: ``FIELDS_IN_KEY``, and the alphabet if the setting uses it."""
    alphabet = spec.alphabet if spec.label_setting == "abstract" else None
    return {name: getattr(spec, name) for name in FIELDS_IN_KEY} | {"alphabet": alphabet}


@dataclass(frozen=True, slots=True, eq=False)
class CellRecord:
    """The result of a cell: one row per evaluated example, from which every measure is derived.

    Attributes:
        spec: what was asked.
        key: what was computed.
        row_ids: (n_examples,) rows in the order of the arrays.
        gold: (n_examples,) int64, index of the true label.
        loglikelihoods: (n_examples, n_choices) float32, nats; column i belongs to natural label i in
            every label setting (in the abstract setting it is the score of the symbol that stands for it).
        n_tokens: (n_examples, n_choices) int64.
        content_free: (n_choices,) float32, the same scores for the query "N/A" under the same demonstrations.
        content_free_n_tokens: (n_choices,) int64.
        choices: (n_choices,) the strings that were scored, by natural label index.
        demonstration_ids, demonstration_labels: row ids and the label strings printed in the prompt.
        context_cut: largest number of tokens of an input text, None if nothing was cut.
        n_shortened: number of inputs (demonstrations and queries) that were cut.
        provenance: how it was computed, not part of the key: device, library versions, wall time (s), date, and what
            decides the last bits in half precision. These are ``path`` (the method of scoring), ``token_budget`` (most
            tokens in a forward pass beside a prefix; absent for the plain method) and ``n_threads``. What is absent is
            unknown.
    """

    spec: CellSpec
    key: CellKey
    row_ids: tuple[str, ...]
    gold: npt.NDArray[np.int64]
    loglikelihoods: npt.NDArray[np.float32]
    n_tokens: npt.NDArray[np.int64]
    content_free: npt.NDArray[np.float32]
    content_free_n_tokens: npt.NDArray[np.int64]
    choices: tuple[str, ...]
    demonstration_ids: tuple[str, ...]
    demonstration_labels: tuple[str, ...]
    context_cut: int | None = None
    n_shortened: int = 0
    provenance: Mapping[str, str | int | float] = field(default_factory=dict)
