"""The sentences of the paper page: values of the paper and of this store in words, whichever way they come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from icl_core.analysis.fusion.comparison import EntryScore
from icl_core.analysis.statistics import PearsonResult
from icl_core.evaluation.cost import Estimate
from icl_core.evaluation.study import Study, n_cells
from icl_core.registry.paper import INTENSITY_ICL_R, PAPER_MODELS, URL, CodeDifference, Reported
from pages.ui.controls.selection import Choice
from pages.ui.panels.side_by_side import correlation_words
from pages.ui.words.written import (
    count,
    duration,
    interval,
    joined,
    percent,
    plain,
    points,
    short_number,
    signed_number,
)

__all__ = [
    "correlations",
    "cost_words",
    "difference_words",
    "differing",
    "finding",
    "how_computed",
    "missing_models",
    "missing_options",
    "missing_splits",
    "number",
    "pairs_computed",
    "study_words",
    "too_few",
    "value_words",
]


def finding(here: Mapping[str, str], correlation: PearsonResult) -> str:
    """How much of the paper is here, and its one number beside ours.

    Args:
        here: store model by registry name of the paper's model, of those that have a trajectory.
        correlation: mean intensity against final ICL over the models shown.
    """
    itself = [role for role, model in here.items() if role == model]
    played = len(here) - len(itself)
    standing = f"; another model stands in for {played} more" if played else ""
    return (
        f"**{len(itself)} of the paper's {len(PAPER_MODELS)} models** {'has' if len(itself) == 1 else 'have'} results "
        f"here under this study's options{standing}. Mean intensity against final ICL: the paper reports "
        f"r = {number(INTENSITY_ICL_R)}; here {correlation_words(correlation)}."
    )


def correlations(ours: PearsonResult) -> str:
    """The paper's one correlation, ours, and the difference if both are known."""
    change = INTENSITY_ICL_R.difference(ours.r)
    difference = "" if change is None else f" Difference: {signed_number(change, 2)}."
    return (
        f"Reported: r = {number(INTENSITY_ICL_R)}, one point per family. "
        f"Here: {correlation_words(ours)}, one point per model.{difference}"
    )


def number(reported: Reported, *, as_percent: bool = False) -> str:
    """A number of the paper as text, or why there is none."""
    if reported.value is None:
        return reported.mark
    value = percent(reported.value, 2) if as_percent else f"{reported.value:.3g}".replace("-", "−")
    spread = "" if reported.spread is None else f" ± {_spread(reported.spread, as_percent)}"
    doubt = f" ({reported.mark})" if reported.mark else ""
    return f"{value}{'*' if reported.starred else ''}{spread}{doubt}"


def _spread(spread: float, as_percent: bool) -> str:
    return percent(spread, 2).removesuffix(" %") if as_percent else f"{spread:.2f}"


def difference_words(reported: Reported, ours: float | None) -> str:
    """Ours minus theirs in percentage points."""
    change = reported.difference(ours)
    return "" if change is None else points(change)


def value_words(line: EntryScore | None) -> str:
    """A fusion's value with its interval, and w of mixed parameters; nothing if it is not computed."""
    if line is None:
        return ""
    w = line.entry.mixed_weight
    return f"{percent(line.value)} ({interval(line.low, line.high)}){'' if w is None else f', w = {w:.2f}'}"


def too_few(needed: int, present: int) -> str:
    """Why a field of Table 7 has no number here."""
    return f"needs {count(needed, 'checkpoint')}, has {present}"


def pairs_computed(computed: int, pairs: int) -> str:
    """What the rows of Table 3 are, and how many of its pairs this store has."""
    return (
        "Accuracy of the adaptive fusion. Each row names how the TR and the TL checkpoint were chosen. "
        f"{computed} of {count(pairs, 'pair')} computed here; a random choice is the mean of ten draws."
    )


# What is missing


def missing_models(absent: Sequence[str]) -> str:
    """The paper's models that have no trajectory here, and how many."""
    return f"{joined([PAPER_MODELS[role] for role in absent], most=12)} ({count(len(absent), 'model')})"


def missing_options(absent: Sequence[str], wanted: Choice) -> str:
    """The paper's models without results under the options of a field of Table 7."""
    which = "the paper's" if wanted.checkpoints == "paper" else plain(wanted.checkpoints)
    options = f"{which} checkpoints, {wanted.shots} shots, {wanted.alphabet}"
    return f"{joined([PAPER_MODELS[role] for role in absent])} with {options}"


def missing_splits(wanted: Sequence[str]) -> str:
    """The paper's models whose results are needed on both splits."""
    return f"{joined([PAPER_MODELS[role] for role in wanted])}, test and development split"


def study_words(study: Study) -> str:
    """What a study that fills a gap consists of."""
    models = list(dict.fromkeys(ref.model for ref in study.checkpoints))
    return (
        f"{plain(joined(models, most=12))}: {count(len(study.checkpoints), 'checkpoint')}, "
        f"{count(len(study.tasks), 'task')}, {count(len(study.label_settings), 'setting')}, "
        f"{count(len(study.demo_seeds), 'seed')}, {count(study.n_shots, 'shot')}, {count(len(study.splits), 'split')} "
        f"({' and '.join(study.splits)}): {count(n_cells(study), 'cell')} of at most "
        f"{count(study.n_test, 'test row')} each."
    )


def cost_words(cost: Estimate) -> str:
    """What is still to compute of such a study."""
    time = plain(cost.time_words)
    if cost.seconds is not None:
        time = f"**{duration(cost.seconds)}**, {time}."
    return (
        f"**{cost.n_new:,}** of them to compute: {short_number(round(cost.tokens))} tokens, "
        f"{short_number(cost.tflops)} TFLOPs. {time}"
    )


# What the numbers rest on


def differing(difference: CodeDifference) -> str:
    """One point in which paper and code differ, and which of them is shown."""
    return (
        f"**{difference.topic}.** Paper: {plain(difference.paper)} Code: {plain(difference.code)} "
        f"**Shown here**: {plain(difference.here)}"
    )


def how_computed(choice: Choice, epsilon: float) -> str:
    """Where the paper's numbers and this store's come from."""
    return (
        f"Reported figures are those of [arXiv 2406.14022]({URL}). Some cells of the copy that was read are not "
        "legible. They are shown as text and never drawn as results. Everything under **this store** is computed "
        f"from stored predictions on {count(len(choice.task), 'task')} with seeds {plain(choice.seeds)}, "
        f"{count(choice.shots, 'demonstration')} and at most {choice.examples:,} queries per task (the paper: 16 "
        "tasks, 5 seeds, 16 demonstrations, 1,000 queries). A checkpoint enters when all of its TR and TL cells "
        f"exist. Competition: Eqs. 1 to 4 on the mean trajectory at epsilon {epsilon:g}. Final ICL is the value under "
        "true labels at the last such checkpoint. Intervals of r: percentile bootstrap over models, 2,000 draws. "
        "With few models they say little."
    )
