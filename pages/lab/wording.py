"""The lab's sentences: what came out of runs and of the minimal model, from computed values."""

from __future__ import annotations

import math
from collections.abc import Sequence

from icl_core.pretraining.lab.claims import Verdict
from icl_core.pretraining.lab.minimal import MinimalRun
from icl_core.pretraining.lab.runs import chance, emergence_level
from icl_core.pretraining.lab.summary import Final, Group, Marker, final_of, marker_spread, who_decides
from pages.ui.words.written import count, interval, percent, plain

__all__ = [
    "MARKER_TITLES",
    "group_sentence",
    "lab_and_paper",
    "marker_words",
    "minimal_sentence",
    "runs_sentence",
    "seeds_words",
    "verdict_words",
]

MARKER_TITLES = {
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
MOST_SENTENCES = 3


def runs_sentence(groups: Sequence[Group]) -> str:
    """The page's finding: a sentence for each of the first runs."""
    said = [group_sentence(group) for group in groups[:MOST_SENTENCES]]
    if len(groups) > MOST_SENTENCES:
        said.append(f"{count(len(groups) - MOST_SENTENCES, 'further configuration')} below.")
    return "\n\n".join(said).replace(" %", "\u00a0%")


def group_sentence(group: Group) -> str:
    """When ICL emerged, and who decides at the end."""
    runs = group.runs
    who = f"**{plain(group.title)}** ({seeds_words(len(runs))})"
    icl, ciwl, flip = final_of(runs, "icl"), final_of(runs, "ciwl"), final_of(runs, "flip")
    if icl is None or ciwl is None or flip is None:
        return f"{who} has not been evaluated yet."
    decides = who_decides(runs)
    marks = marker_spread(runs)
    emerged = marks.get("icl_emerges")
    began = f"ICL emerges at step {_steps(emerged)}" if emerged else "ICL does not emerge"
    end = f"at step {runs[0].last_step:,}"
    faded = f" after a peak of {percent(flip.peak)}" if flip.peak - flip.mean > 0.1 and "flip_peak" in marks else ""
    level = percent(chance(runs[0], "flip"))
    return (
        f"{who}: {began}; {end} **{_WINNERS[decides or 'neither']}**: Flip {_final(flip)}{faded} (chance {level}), "
        f"ICL {_final(icl)}, CIWL {_final(ciwl)}."
    )


def seeds_words(n: int) -> str:
    """How many repeats: ``1 seed``, ``3 seeds``."""
    return count(n, "seed")


def _steps(marker: Marker) -> str:
    span = f" ({marker.low:,} to {marker.high:,})" if marker.high > marker.low else ""
    missing = "" if marker.n_found == marker.n else f" in {marker.n_found} of {marker.n} seeds"
    return f"{marker.step:,.0f}{span}{missing}"


def _final(value: Final) -> str:
    span = f" ({interval(value.low, value.high).removesuffix(' %')})" if value.n > 1 else ""
    return f"{percent(value.mean)}{span}"


def marker_words(name: str, marker: Marker, group: Group) -> str:
    """A phase marker's words at its line: what happened, and in how many seeds where not in all."""
    flip = chance(group.runs[0], "flip")
    words = MARKER_TITLES[name].format(chance=_short(flip), emerged=_short(emergence_level(group.runs[0])))
    return words if marker.n_found == marker.n else f"{words} ({marker.n_found} of {marker.n})"


def _short(fraction: float) -> str:
    return f"{fraction:.2g}".lstrip("0")


def verdict_words(verdict: Verdict) -> str:
    """What the lab shows of a claim: mean and range of its number, and of how many seeds."""
    if verdict.mean is None:
        return ""
    values = list(verdict.values.values())
    span = f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
    return f"{verdict.mean:.2f}{span}"


def lab_and_paper(verdicts: Sequence[Verdict]) -> str:
    """That the lab is not the paper's model, and what of the papers did not come out in it, in numbers."""
    by_key = {verdict.claim.key: verdict for verdict in verdicts}
    fading = by_key["transience"]
    said = {
        "reproduced": "was reproduced",
        "not reproduced": "was not reproduced",
        "not tested": "has not been tested by the runs on this machine",
    }[fading.outcome]
    lost = f" (share lost {verdict_words(fading)}, {seeds_words(fading.n_seeds)})" if fading.n_seeds else ""
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


def minimal_sentence(run: MinimalRun) -> str:
    """In how many seeds ICL emerged and what became of it, and how often CIWL was learned."""
    n = len(run.outcome) - run.n_left_out
    if not n:
        return "Every seed overflowed: gradient descent diverges at this learning rate. Lower it."
    stuck, transient, persistent = (run.outcome.count(name) for name in ("stuck", "transient", "persistent"))
    median = run.median_emergence
    when = f", in half of the seeds by step {median:,.0f}" if math.isfinite(median) else ""
    left = f" {count(run.n_left_out, 'seed')} overflowed and are left out of all counts." if run.n_left_out else ""
    if not transient + persistent:
        return f"ICL never emerges in {count(n, 'seed')}; CIWL is learned in {run.n_learned} of {n}.{left}"
    fate = (
        f"it **fades in {transient}** and **stays in {persistent}**"
        if transient and persistent
        else "it **fades in all of them**"
        if transient
        else "it **stays in all of them**"
    )
    return (
        f"ICL emerges in **{transient + persistent} of {count(n, 'seed')}**{when}; {fate}. "
        f"{stuck} stay stuck. CIWL is learned in {run.n_learned} of {n}.{left}"
    )
