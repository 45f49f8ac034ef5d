"""What arXiv 2406.14022 reports, as data: its models, findings and tables, and where its code and text differ.

It holds the paper's numbers only; nothing here is drawn as a result of this project. Source: "Investigating the
Pre-Training Dynamics of In-Context Learning: Task Recognition vs. Task Learning", https://arxiv.org/abs/2406.14022, and
its code, https://github.com/RUCAIBox/Competitive-ICL. Accuracies and ratios are fractions, as everywhere here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

__all__ = [
    "CODE_DIFFERENCES",
    "FIGURES",
    "INTENSITY_ICL_R",
    "PAPER_MODELS",
    "TABLE_1",
    "TABLE_3",
    "TABLE_3_COLUMNS",
    "TABLE_7",
    "URL",
    "CodeDifference",
    "FactorGroup",
    "Figure",
    "Mark",
    "Reported",
    "Table1Entry",
    "Table7",
]

URL = "https://arxiv.org/abs/2406.14022"

PAPER_MODELS: Mapping[str, str] = MappingProxyType(
    {
        "pythia-410m": "Pythia-410M",
        "pythia-1b": "Pythia-1B",
        "pythia-1.4b": "Pythia-1.4B",
        "pythia-2.8b": "Pythia-2.8B",
        "pythia-6.9b": "Pythia-6.9B",
        "pythia-12b": "Pythia-12B",
        "minicpm-2b": "MiniCPM-2B",
        "amber-7b": "Amber-7B",
        "crystalcoder-7b": "CrystalCoder-7B",
        "olmo-7b": "OLMo-7B",
        "baichuan2-7b": "Baichuan2-7B",
        "k2-65b": "K2-65B",
    }
)
"""Registry name of each of the paper's models, with its name in the paper."""

Mark = Literal["", "uncertain", "not legible", "not reported"]


@dataclass(frozen=True, slots=True)
class Reported:
    """One number of the paper.

    Attributes:
        value: as reported; None if it cannot be read.
        spread: the paper's +-, over five seeds; None if not given.
        mark: how far the number can be trusted: ``uncertain`` (order or misprint), ``not legible`` in our copy,
            ``not reported``, "" for plainly readable.
        note: what is uncertain, in a sentence.
        starred: the paper marks it significant (t-test, p < 0.05).
    """

    value: float | None
    spread: float | None = None
    mark: Mark = ""
    note: str = ""
    starred: bool = False

    def difference(self, ours: float | None) -> float | None:
        """Ours minus the paper's; None if either is missing.

        >>> round(Reported(0.375).difference(0.5), 3), Reported(None, mark="not legible").difference(0.5)
        (0.125, None)
        """
        return None if ours is None or self.value is None else ours - self.value


ILLEGIBLE = Reported(None, mark="not legible", note="Not legible in our copy of the paper.")


@dataclass(frozen=True, slots=True)
class FactorGroup:
    """Models that a figure sets side by side.

    Attributes:
        title: what differs between them.
        models: registry names.
    """

    title: str
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of the paper.

    Attributes:
        title: what it shows.
        reported: what the paper says it shows; the points of its curves are not reported as numbers.
        groups: the models in it.
    """

    title: str
    reported: str
    groups: tuple[FactorGroup, ...]


INTENSITY_ICL_R = Reported(-0.714)
"""Fig. 2 right: Pearson's r of mean competition intensity and final ICL accuracy, one point per family."""

_ALL = FactorGroup("all models", tuple(PAPER_MODELS))
_PYTHIA = tuple(name for name in PAPER_MODELS if name.startswith("pythia"))

FIGURES: Mapping[str, Figure] = MappingProxyType(
    {
        "Fig. 1": Figure(
            "ICL, TR and TL over pre-training",
            "Accuracy fluctuates; TR and TL often move in opposite directions.",
            (FactorGroup("examples", ("minicpm-2b", "amber-7b")),),
        ),
        "Fig. 2 left": Figure(
            "How often TR and TL compete",
            "For some families competition occurs in more than half of the intervals. The heights of the bars are not "
            "reported as numbers.",
            (_ALL,),
        ),
        "Fig. 2 right": Figure(
            "Mean intensity against final ICL",
            "Pearson r = −0.714 over families, one point per family: the stronger the competition, the lower the final "
            "ICL accuracy.",
            (_ALL,),
        ),
        "Fig. 3": Figure(
            "ICL accuracy against accumulated intensity R",
            "A “stable, then rise” pattern: ICL rises while R is flat, and stalls or falls while R rises.",
            (_ALL,),
        ),
        "Fig. 4": Figure(
            "Model size",
            "The curve of R moves left with size; mean intensity falls with size, Pythia-1B being the exception.",
            (FactorGroup("size", _PYTHIA),),
        ),
        "Fig. 5": Figure(
            "Dataset size",
            "R moves right with more training data.",
            (
                FactorGroup("2 to 3 B parameters", ("pythia-2.8b", "minicpm-2b")),
                FactorGroup("7 B parameters", ("pythia-6.9b", "amber-7b", "olmo-7b")),
            ),
        ),
        "Fig. 6": Figure(
            "Data curriculum",
            "Curves of R with the boundaries of the curricula's phases. What the paper concludes from them is not "
            "recorded here.",
            (
                FactorGroup("by quality, two phases, against none", ("minicpm-2b", "pythia-2.8b")),
                FactorGroup("by domain, three phases, against none", ("crystalcoder-7b", "amber-7b")),
            ),
        ),
    }
)


# --- Tables 1 and 2: accuracy over 16 datasets and TFLOPs of one prompt --------------------------------------------


@dataclass(frozen=True, slots=True)
class Table1Entry:
    """One line of Tables 1 and 2.

    Attributes:
        kind: ``gold`` (one model), ``parameter fusion`` or ``fusion`` (of predictions).
        tr: registry name of the TR model; of the only model in a ``gold`` line.
        tl: registry name of the TL model; "" in a ``gold`` line, "several" if three models take part.
        tflops: operations of one prompt in units of 10^12.
        accuracy: of a ``gold`` line; None for the others.
        fixed, adaptive: accuracy with fixed and with adaptive weights; None in a ``gold`` line.
        title: names the line if the models alone do not.
    """

    kind: Literal["gold", "parameter fusion", "fusion"]
    tr: str
    tl: str
    tflops: Reported
    accuracy: Reported | None = None
    fixed: Reported | None = None
    adaptive: Reported | None = None
    title: str = ""


def _fusion(
    kind: Literal["parameter fusion", "fusion"],
    tr: str,
    *,
    tl: str,
    tflops: Reported,
    fixed: tuple[float, float],
    adaptive: tuple[float, float],
    starred: bool = False,
) -> Table1Entry:
    accuracies = Reported(*fixed), Reported(*adaptive, starred=starred)
    return Table1Entry(kind, tr, tl, tflops, None, *accuracies)


_LARGE = ("amber-7b", "olmo-7b", "baichuan2-7b", "crystalcoder-7b", "pythia-12b")
_SEVERAL = "Pythia-1B, Pythia-2.8B and MiniCPM-2B"

TABLE_1: tuple[Table1Entry, ...] = (
    Table1Entry("gold", "pythia-1b", "", Reported(1.24, 0.15), Reported(0.4455, 0.0033)),
    Table1Entry("gold", "pythia-2.8b", "", Reported(3.60, 0.20), Reported(0.4538, 0.0032)),
    Table1Entry("gold", "minicpm-2b", "", Reported(3.84, 0.21), Reported(0.5008, 0.0016)),
    *(Table1Entry("gold", name, "", ILLEGIBLE, ILLEGIBLE) for name in _LARGE),
    _fusion(
        "parameter fusion",
        "pythia-1b",
        tl="pythia-1b",
        tflops=Reported(1.24),
        fixed=(0.4663, 0.0026),
        adaptive=(0.4561, 0.0029),
    ),
    _fusion(
        "parameter fusion",
        "pythia-2.8b",
        tl="pythia-2.8b",
        tflops=Reported(3.60),
        fixed=(0.4757, 0.0023),
        adaptive=(0.4718, 0.0013),
    ),
    _fusion(
        "parameter fusion",
        "minicpm-2b",
        tl="minicpm-2b",
        tflops=Reported(3.84),
        fixed=(0.5218, 0.0026),
        adaptive=(0.5206, 0.0027),
    ),
    _fusion(
        "fusion",
        "pythia-1b",
        tl="pythia-1b",
        tflops=Reported(2.48, 0.21),
        fixed=(0.5616, 0.0040),
        adaptive=(0.5625, 0.0038),
        starred=True,
    ),
    _fusion(
        "fusion",
        "pythia-1b",
        tl="pythia-2.8b",
        tflops=Reported(4.84, 0.25),
        fixed=(0.5662, 0.0041),
        adaptive=(0.5683, 0.0041),
        starred=True,
    ),
    _fusion(
        "fusion",
        "pythia-2.8b",
        tl="pythia-1b",
        tflops=Reported(4.84),
        fixed=(0.5523, 0.0047),
        adaptive=(0.5539, 0.0040),
    ),
    _fusion(
        "fusion",
        "pythia-1b",
        tl="minicpm-2b",
        tflops=Reported(5.08, 0.26),
        fixed=(0.5521, 0.0043),
        adaptive=(0.5531, 0.0034),
    ),
    _fusion(
        "fusion",
        "minicpm-2b",
        tl="pythia-1b",
        tflops=Reported(5.08),
        fixed=(0.5431, 0.0063),
        adaptive=(0.5585, 0.0075),
        starred=True,
    ),
    Table1Entry("fusion", "several", "several", Reported(8.68, 0.33), None, ILLEGIBLE, ILLEGIBLE, _SEVERAL),
)


# --- Table 3: which checkpoints are fused --------------------------------------------------------------------------

TABLE_3_COLUMNS: tuple[tuple[str, str], ...] = (
    ("pythia-1b", "pythia-1b"),
    ("pythia-1b", "pythia-2.8b"),
    ("pythia-2.8b", "pythia-1b"),
    ("pythia-1b", "minicpm-2b"),
    ("minicpm-2b", "pythia-1b"),
)
"""TR and TL model of each column of Table 3."""

_ORDER = "The order of this row is uncertain in our copy of the paper."


def _row(*values: float | None, starred: int = 0, uncertain: bool = False) -> tuple[Reported, ...]:
    """One row of Table 3; the first ``starred`` values carry the paper's star."""
    return tuple(
        ILLEGIBLE
        if value is None
        else Reported(
            value, mark="uncertain" if uncertain else "", note=_ORDER if uncertain else "", starred=at < starred
        )
        for at, value in enumerate(values)
    )


TABLE_3: Mapping[tuple[str, str], tuple[Reported, ...]] = MappingProxyType(
    {
        ("TR-best", "none"): _row(0.4747, 0.4747, 0.4428, 0.4747, 0.4510),
        ("none", "TL-best"): _row(0.4463, 0.4205, 0.4463, 0.4749, 0.4463),
        ("random", "random"): _row(0.5266, 0.4810, 0.5248, 0.5399, 0.5207),
        ("TR-best", "random"): _row(0.5352, 0.5076, 0.5389, 0.5479, 0.5361),
        ("random", "TL-best"): _row(0.5419, 0.5542, 0.5439, 0.5451, 0.5373),
        ("TR-best", "ICL-best"): _row(0.5553, 0.5490, 0.5456, 0.5481, 0.5488, uncertain=True),
        ("ICL-best", "TL-best"): _row(0.5476, 0.5593, 0.5490, 0.5502, 0.5400, uncertain=True),
        ("ICL-best", "ICL-best"): _row(0.5456, 0.5411, 0.5356, 0.5455, None),
        ("TR-best", "TL-best"): _row(0.5625, 0.5683, 0.5539, 0.5531, 0.5585, starred=3),
    }
)
"""Accuracy of the adaptive fusion by how its TR and its TL checkpoint are chosen; columns as TABLE_3_COLUMNS."""


# --- Table 7: how competition depends on what is sampled -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Table7:
    """One part of Table 7: the competition ratio under three choices.

    Attributes:
        title: what is varied.
        option: ``checkpoints`` (number of intervals), ``shots`` or ``alphabet``.
        columns: the three choices.
        rows: ratio (fraction) by registry name, in the order of the columns.
    """

    title: str
    option: Literal["checkpoints", "shots", "alphabet"]
    columns: tuple[int, ...] | tuple[str, ...]
    rows: Mapping[str, tuple[Reported, ...]]


def _ratios(**rows: tuple[float, ...]) -> Mapping[str, tuple[Reported, ...]]:
    names = {"pythia": "pythia-6.9b", "olmo": "olmo-7b", "minicpm": "minicpm-2b"}
    return MappingProxyType({names[name]: tuple(map(Reported, values)) for name, values in rows.items()})


_MISPRINT = Reported(
    0.05,
    mark="uncertain",
    note="Printed as 5.00 %, but sixteen intervals give multiples of 6.25 %: probably a misprint.",
)
_SHOTS = _ratios(pythia=(0.1875, 0.25, 0.375), olmo=(0.05, 0.375, 0.375), minicpm=(0.4375, 0.3125, 0.5625))

TABLE_7: Mapping[str, Table7] = MappingProxyType(
    {
        "Table 7a": Table7(
            "Number of checkpoints",
            "checkpoints",
            (8, 16, 32),
            _ratios(pythia=(0.125, 0.375, 0.5312), olmo=(0.5, 0.375, 0.4375), minicpm=(0.625, 0.5625, 0.375)),
        ),
        "Table 7b": Table7(
            "Number of demonstrations",
            "shots",
            (4, 8, 16),
            MappingProxyType({**_SHOTS, "olmo-7b": (_MISPRINT, *_SHOTS["olmo-7b"][1:])}),
        ),
        "Table 7c": Table7(
            "Symbols of the abstract setting",
            "alphabet",
            ("symbols", "numbers", "letters"),
            _ratios(pythia=(0.375, 0.1875, 0.375), olmo=(0.375, 0.5, 0.4375), minicpm=(0.5625, 0.4375, 0.5)),
        ),
    }
)


# --- Where the paper and its code differ ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CodeDifference:
    """A point in which the paper and its code differ or leave a choice.

    Attributes:
        topic: its subject.
        paper: what the text says.
        code: what the published code does.
        here: what this project does.
        items: figures and tables that it concerns.
    """

    topic: str
    paper: str
    code: str
    here: str
    items: tuple[str, ...]


_COMPETITION_ITEMS = ("Fig. 2 left", "Fig. 2 right", "Fig. 3", "Fig. 4", "Fig. 5", "Fig. 6", *TABLE_7)

CODE_DIFFERENCES: tuple[CodeDifference, ...] = (
    CodeDifference(
        "Unit of epsilon",
        "0.01 for accuracies as fractions.",
        "main_res.py compares accuracies in percent with 0.01, which is 0.0001 as a fraction; competitive_main.py uses "
        "0.1 on percentages.",
        "Always a fraction; the paper's 0.01 by default, the code's 0.0001 as a preset.",
        _COMPETITION_ITEMS,
    ),
    CodeDifference(
        "Average first, then compete",
        "Eqs. 1 to 3 are written for one trajectory.",
        "Averages TR and TL over datasets and seeds and computes competition once on the mean trajectory; hence ratios "
        "in sixteenths in Table 7.",
        "The mean trajectory, as in the code. The competition page also shows the competition of each task, which is "
        "another quantity.",
        _COMPETITION_ITEMS,
    ),
    CodeDifference(
        "Mean intensity",
        "The mean over intervals; Eq. 3 is 0 without competition.",
        "Divides by the number of all intervals, with or without competition.",
        "As in the code.",
        ("Fig. 2 right", "Fig. 4"),
    ),
    CodeDifference(
        "Length of R",
        "Eq. 4 sums over intervals.",
        "One value per checkpoint, starting with 0 at the first.",
        "As in the code.",
        ("Fig. 3", "Fig. 4", "Fig. 5", "Fig. 6"),
    ),
    CodeDifference(
        "Probability of a label",
        "Eq. 5: the model's probability of the label.",
        "Reads the five largest log-probabilities of a greedy generation and gives 0 to labels outside them.",
        "Every label is scored exactly.",
        ("Fig. 1", *_COMPETITION_ITEMS, "Tables 1, 2", "Table 3"),
    ),
    CodeDifference(
        "Weights of the fusion",
        "Eq. 6, for each model.",
        "One global b = 0.36 and one typed pair of accuracies.",
        "Eq. 6 for each dataset, or pooled; both from the development set.",
        ("Tables 1, 2", "Table 3"),
    ),
    CodeDifference(
        "Label words",
        "Words as in arXiv 2305.09731 (entity, description).",
        "TREC's own codes (ABBR, ENTY, DESC).",
        "The words by default; the code's set can be picked.",
        ("Fig. 1", *_COMPETITION_ITEMS, "Tables 1, 2", "Table 3"),
    ),
    CodeDifference(
        "Accuracy at or below chance",
        "Not defined: Eq. 6 gives negative or 0/0 weights.",
        "Not defined.",
        "A member at or below chance gets no weight; if both are, they weigh the same.",
        ("Tables 1, 2", "Table 3"),
    ),
)
