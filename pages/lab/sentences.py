"""The sentences of the lab page: what came out of runs, claims and the minimal model, and what training costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from icl_core.pretraining.lab.claims import Verdict
from icl_core.pretraining.lab.config import N_EVALUATION, LabConfig, describe
from icl_core.pretraining.lab.minimal import EMERGED_BELOW, FADED_ABOVE, LEARNED_BELOW, MinimalRun, Outcome
from icl_core.pretraining.lab.runs import LabRun, chance, emergence_level
from icl_core.pretraining.lab.summary import Final, Group, Marker, SweepCell, final_of, marker_spread, who_decides
from pages.ui.words.written import count, decimal, duration, interval, percent, plain

__all__ = [
    "bands",
    "chance_among_all",
    "chance_line",
    "claim_row",
    "field_of_sweep",
    "finding",
    "group_sentence",
    "heads_at",
    "lab_and_paper",
    "marker_words",
    "minimal_finding",
    "minimal_outcomes",
    "not_finished",
    "nothing_trained",
    "origin",
    "overflowed",
    "seeds_of",
    "seeds_with",
    "stored_as_model",
    "token_names",
    "train_label",
    "training_cost",
    "transience",
    "verdict_words",
]

_MARKERS = {
    "icl_emerges": "ICL > {emerged}",
    "flip_peak": "Flip peak",
    "flip_half": "Flip = {chance}",
    "ciwl_over_icl": "CIWL > ICL",
}
_WINNERS = {
    "ICL": "the context decides (ICL)",
    "CIWL": "the weights decide (CIWL)",
    "neither": "neither strategy decides",
}
_OUTCOMES = {
    "reproduced": "✓ reproduced",
    "not reproduced": "✗ not reproduced",
    "not tested": "– not tested",
}
MOST_SENTENCES = 3


# Trained runs


def nothing_trained(seconds: float | None) -> str:
    """The state without any run.

    Args:
        seconds: that the default takes, None if that is not known.
    """
    takes = "" if seconds is None else f"; the default takes about {duration(seconds)}"
    return f"No run of the lab is on this machine yet. Train one under *Train a run*{takes}."


def finding(groups: Sequence[Group]) -> str:
    """The page's finding: a sentence for each of the first runs."""
    said = [group_sentence(group) for group in groups[:MOST_SENTENCES]]
    if len(groups) > MOST_SENTENCES:
        said.append(f"{count(len(groups) - MOST_SENTENCES, 'further configuration')} below.")
    return "\n\n".join(said).replace(" %", "\u00a0%")


def group_sentence(group: Group) -> str:
    """When ICL emerged, and whether context or weights decide at the end."""
    runs = group.runs
    who = f"**{plain(group.title)}** ({count(len(runs), 'seed')})"
    icl, ciwl, flip = final_of(runs, "icl"), final_of(runs, "ciwl"), final_of(runs, "flip")
    if icl is None or ciwl is None or flip is None:
        return f"{who} has not been evaluated yet."
    decides = who_decides(runs)
    marks = marker_spread(runs)
    emerged = marks.get("icl_emerges")
    began = f"ICL emerges at step {_steps(emerged)}" if emerged else "ICL does not emerge"
    end = f"at step {flip.step:,}"
    faded = f" after a peak of {percent(flip.peak)}" if flip.has_faded and "flip_peak" in marks else ""
    level = percent(chance(runs[0], "flip"))
    return (
        f"{who}: {began}; {end} **{_WINNERS[decides or 'neither']}**: Flip {_final(flip)}{faded} (chance {level}), "
        f"ICL {_final(icl)}, CIWL {_final(ciwl)}."
    )


def _steps(marker: Marker) -> str:
    span = f" ({marker.low:,} to {marker.high:,})" if marker.high > marker.low else ""
    missing = "" if marker.n_found == marker.n else f" in {marker.n_found} of {marker.n} seeds"
    return f"{marker.step:,.0f}{span}{missing}"


def _final(value: Final) -> str:
    span = f" ({interval(value.low, value.high).removesuffix(' %')})" if value.n > 1 else ""
    return f"{percent(value.mean)}{span}"


def marker_words(name: str, marker: Marker, group: Group) -> str:
    """The words at the line of a phase marker: what happened, and in how many seeds if not in all."""
    flip = chance(group.runs[0], "flip")
    words = _MARKERS[name].format(chance=_short(flip), emerged=_short(emergence_level(group.runs[0])))
    return words if marker.n_found == marker.n else f"{words} ({marker.n_found} of {marker.n})"


def _short(fraction: float) -> str:
    return f"{fraction:.2g}".lstrip("0")


def not_finished(group: Group) -> str:
    """How far the runs of a configuration were evaluated."""
    reached = ", ".join(f"{run.last_step:,} of {run.config.n_steps:,}" for run in group.runs)
    return f"Not finished: evaluated up to step {reached}. Train it again to resume where it stopped."


def chance_line(level: float, title: str = "") -> str:
    """The words at a line of chance; with a title, of one curve alone."""
    return f"{title} chance {percent(level)}".lstrip()


def chance_among_all(level: float, n_labels: int) -> str:
    """The same if all labels compete."""
    return f"{chance_line(level)} (all {n_labels} labels)"


def bands(most_seeds: int) -> str:
    """What lines, bands and points are.

    Args:
        most_seeds: of any configuration that is shown.
    """
    band = (
        "Lines: mean over seeds; bands: lowest to highest seed; markers: median seed."
        if most_seeds > 1
        else "One seed each: the spread between seeds is not known here."
    )
    return (
        f"{band} Each point: accuracy over {N_EVALUATION:,} fixed sequences, among the labels in the context (IWL: "
        "among all labels). Flip swaps the two labels in the context: 100 % is pure ICL, 0 % pure CIWL."
    )


def seeds_of(groups: Sequence[Group]) -> str:
    """The seeds of each configuration."""
    seeds = "; ".join(
        f"{plain(group.title)}: {', '.join(str(run.config.init_seed) for run in group.runs)}" for group in groups
    )
    return f"Seeds: {seeds}. On the same machine, a run can be trained again bit for bit from its configuration."


# Tabs below the curves


def token_names(n_pairs: int) -> list[str]:
    """The tokens of a sequence: exemplars x, labels l, the query.

    >>> token_names(2)
    ['x1', 'l1', 'x2', 'l2', 'query']
    """
    return [*(f"{kind}{pair + 1}" for pair in range(n_pairs) for kind in "xl"), "query"]


def heads_at(step: int, scores: Mapping[str, float], n_pairs: int) -> str:
    """What the best heads do at a step, and how to read the maps.

    Args:
        step: whose maps are drawn.
        scores: of the best head of each kind, by title.
        n_pairs: exemplars with a label in the context.
    """
    best = ", ".join(f"{title.lower()} {percent(score)}" for title, score in scores.items())
    return (
        f"Step {step:,}, best heads: {best}. Each row shows where a token attends to (down: from, across: to, in the "
        f"order {', '.join(token_names(n_pairs))}). Mean over training sequences whose first pair is of the query's "
        "class: a previous-token head is lit at l1 → x1, an induction head at query → l1."
    )


def transience(without: Sequence[str]) -> str:
    """What the index is, and which curves have none.

    Args:
        without: curves with their configurations.
    """
    missing = f" No index, since never above chance: {plain('; '.join(without))}." if without else ""
    return f"(peak − final) / (peak − chance), of each seed's own curve.{missing}"


def field_of_sweep(cell: SweepCell) -> str:
    """The words in a field: final Flip, and over how many seeds."""
    return f"{percent(cell.flip, 0)} ({cell.n})"


def claim_row(verdict: Verdict) -> dict[str, str | int]:
    """A claim beside what the runs show of it, as a row of the table."""
    claim = verdict.claim
    return {
        "paper says": claim.says,
        "source": claim.source if claim.source != "none" else "the lab's own",
        "reproduced?": _OUTCOMES[verdict.outcome],
        "lab shows": verdict_words(verdict),
        "needed": claim.bound,
        "seeds": verdict.n_seeds,
        "how it is tested": claim.test,
    }


def stored_as_model(n_checkpoints: int | None) -> str:
    """Whether the other pages know a run.

    Args:
        n_checkpoints: in the store, None if it has none.
    """
    if n_checkpoints is None:
        return (
            "The checkpoints of this run are not in the store, so the other pages do not list it. Train it here, and "
            "they will be."
        )
    are = "is" if n_checkpoints == 1 else "are"
    return f"{count(n_checkpoints, 'checkpoint')} of this run {are} in the store as a model."


def origin(run: LabRun) -> str:
    """Where a run comes from, its size, the time it took, and the version of torch."""
    where = "shipped" if run.is_shipped else "trained here"
    if run.state == "partial":
        return f"{where}, not finished"
    said = [where]
    if "n_parameters" in run.manifest:
        said.append(f"{run.manifest['n_parameters']:,} parameters")
    if "cpu_seconds" in run.manifest:
        said.append(f"{run.manifest['cpu_seconds']:,.0f} s of processor time")
    if "torch" in (versions := run.manifest.get("versions", {})):
        said.append(f"torch {versions['torch']}")
    return plain(", ".join(said))


# Claims


def verdict_words(verdict: Verdict) -> str:
    """What the lab shows of a claim: mean and range of its number over the seeds."""
    if verdict.mean is None:
        return ""
    values = list(verdict.values.values())
    span = f" ({decimal(min(values), 2)} to {decimal(max(values), 2)})" if len(values) > 1 else ""
    return f"{decimal(verdict.mean, 2)}{span}"


def lab_and_paper(verdicts: Sequence[Verdict]) -> str:
    """How the lab differs from the paper's model, and which of the papers' claims did not come out in it."""
    by_key = {verdict.claim.key: verdict for verdict in verdicts}
    fading = by_key["transience"]
    said = {
        "reproduced": "was reproduced",
        "not reproduced": "was not reproduced",
        "not tested": "has not been tested by the runs on this machine",
    }[fading.outcome]
    lost = f" (share lost {verdict_words(fading)}, {count(fading.n_seeds, 'seed')})" if fading.n_seeds else ""
    missed = [v.claim.says.rstrip(".") for v in verdicts if v.outcome == "not reproduced" and v is not fading]
    others = f" Nor did these come out: {plain('; '.join(missed))}." if missed else ""
    tested = [verdict for verdict in verdicts if verdict.outcome != "not tested"]
    held = sum(verdict.outcome == "reproduced" for verdict in tested)
    return (
        "**The lab is not the model of [arXiv 2503.05631](https://arxiv.org/abs/2503.05631)**: Gaussian exemplars "
        "instead of image features, labels shared by classes, minutes of training instead of days. ICL that fades "
        f"while the data stay as they are **{said}**{lost}; under a curriculum the change of data makes it fall."
        f"{others} {held} of {count(len(tested), 'tested claim')} held in every seed: see *Claims*."
    )


# Training


def train_label(n_new: int) -> str:
    """The words on the button that trains."""
    return "Train this run" if n_new < 2 else f"Train {n_new} runs"


def training_cost(new: Sequence[LabConfig], *, n_known: int, seconds: float | None, is_measured: bool) -> str:
    """What training costs.

    Args:
        new: repeats that are to be trained; they differ only in their seeds.
        n_known: repeats that are trained or in work already.
        seconds: of all of ``new``, None if that cannot be told.
        is_measured: whether any run has been timed; otherwise ``seconds`` is a guess.
    """
    known = f"{n_known} of these runs {'is' if n_known == 1 else 'are'} trained or in work already." if n_known else ""
    if not new:
        return known
    time = "how long it takes cannot be told, since no run of about that size was timed"
    if seconds is not None:
        basis = "from the runs that were timed" if is_measured else "a guess: no run has been timed yet"
        time = f"about **{duration(seconds)}** on one core ({basis})"
    first = new[0]
    return (
        f"{known} {plain(describe(first))}: {count(first.n_steps, 'step')} of {first.batch_size} sequences, {time}. "
        "The page stays usable, and the run goes on if you close it."
    ).lstrip()


# The minimal model


def minimal_finding(run: MinimalRun) -> str:
    """In how many seeds ICL emerged and what became of it, and how often CIWL was learned."""
    n = run.n_kept
    if not n:
        return "Every seed overflowed: gradient descent diverges at this learning rate. Lower it."
    stuck, transient, persistent = (run.outcome.count(name) for name in ("stuck", "transient", "persistent"))
    median = run.median_emergence
    when = f", in half of the seeds by step {median:,.0f}" if math.isfinite(median) else ""
    are = "is" if run.n_left_out == 1 else "are"
    left = f" {count(run.n_left_out, 'seed')} overflowed and {are} left out of all counts." if run.n_left_out else ""
    if not run.n_emerged:
        return f"ICL never emerges in {count(n, 'seed')}; CIWL is learned in {run.n_learned} of {n}.{left}"
    fate = (
        f"it **fades in {transient}** and **stays in {persistent}**"
        if transient and persistent
        else "it **fades in all of them**"
        if transient
        else "it **stays in all of them**"
    )
    return (
        f"ICL emerges in **{run.n_emerged} of {count(n, 'seed')}**{when}; {fate}. "
        f"{stuck} {'stays' if stuck == 1 else 'stay'} stuck. CIWL is learned in {run.n_learned} of {n}.{left}"
    )


def seeds_with(outcome: Outcome, run: MinimalRun) -> str:
    """In how many of the seeds that did not overflow an outcome came: ``3 of 16``."""
    return f"{run.outcome.count(outcome)} of {run.n_kept}"


def minimal_outcomes(run: MinimalRun) -> str:
    """What is drawn, how outcomes are told apart, and what the model can show."""
    return (
        f"{count(len(run.outcome), 'seed')}, {count(run.knobs.n_steps, 'step')} of gradient descent, all of them "
        f"computed; colours as in the bars. Stuck (dotted): L₁ never below {EMERGED_BELOW:g}. Transient: below it once "
        f"and above {FADED_ABOVE:g} at the end. CIWL is learned if L₂ ends below {LEARNED_BELOW:g}. This is the "
        "paper's thought model, not a network. It shows that shared factors and a price on learning both **suffice** "
        "for emergence and transience, not that they cause them in a network."
    )


def overflowed(run: MinimalRun) -> str:
    """How many seeds are left out."""
    return f"Seeds that overflow are left out and counted: {run.n_left_out} here."
