"""The sentences that pages begin with say the numbers that were computed, whichever way these come out.

Numbers are read out of the sentence and compared with what the test works out itself; of the English only what decides
the meaning is held (``RISES``, ``NOTHING_CLEAR`` and the like).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from icl_core.analysis.competition import (
    ChangeReplicates,
    Competition,
    EpsilonCurves,
    NoiseFloor,
    competition,
    competition_against_epsilon,
    noise_floor_of,
)
from icl_core.analysis.moments import moments
from icl_core.analysis.trajectories import AbilityCurve, AbilityCurves
from icl_core.records import CheckpointRef
from pages.dynamics import notes as dynamics
from pages.dynamics.computed import ShownCurves
from pages.dynamics.controls import CurveStyle
from pages.ui.data import cached
from pages.ui.data.view import View
from pages.ui.words import findings
from tests.support.made_up import made_up_study
from tests.support.said import after, assert_well_formed, numbers

RISES, JUMPS, FALLS = r"\bris", r"\bjump", r"\bfall"
NOTHING_CLEAR = re.compile(r"\bno change\b", re.IGNORECASE)
NO_COMPETITION = re.compile(r"\bno competition\b", re.IGNORECASE)
NONE_CLEAR = re.compile(r"\bnone\b.* clear")
INSIDE_NOISE = re.compile(r"inside noise")
STEPS = (0, 110, 220, 330)
ABILITIES = {"gold": "ICL", "random": "TR", "abstract": "TL"}
RISE, STILL, FALL = (0.311, 0.322, 0.633, 0.644), (0.451, 0.452, 0.453, 0.454), (0.715, 0.726, 0.437, 0.418)


def refs(steps: Sequence[int | None], model: str = "someone") -> tuple[CheckpointRef, ...]:
    return tuple(
        CheckpointRef("hub", model, f"step{step}" if step is not None else "end", "hub", f"a/{model}", step)
        for step in steps
    )


def curves_of(*, half: float = 0.0123, model: str = "someone", **values: Sequence[float]) -> AbilityCurves:
    """Curves with bands of one width; by label setting."""
    made: dict[Any, AbilityCurve] = {}
    for setting, points in values.items():
        value = np.array(points)
        at = refs(STEPS[: len(points)], model)
        made[setting] = AbilityCurve(setting, at, value, value - half, value + half, {})  # type: ignore[arg-type]
    return AbilityCurves(
        model=model,
        measure="accuracy",
        normalisation="sum",
        tasks=("sst2", "mrpc"),
        demo_seeds=(13, 21),
        curves=made,
        chance=0.347,
        majority=0.6,
        chance_by_task={},
        majority_by_task={},
        n_examples={"sst2": 872, "mrpc": 1725},
        partial=(),
        excluded={},
        n_replicates=1234,
    )


def percents(*fractions: float) -> list[float]:
    return [round(100 * each, 1) for each in fractions]


def test_the_sentence_on_curves_names_the_last_checkpoint_in_the_order_of_training() -> None:
    at = refs((None, 100))
    ends = {"gold": at[1:], "random": [at[1], at[0]]}
    curves: Any = SimpleNamespace(
        model="m",
        chance=0.5,
        curves={
            setting: SimpleNamespace(checkpoints=places, value=[0.5, 0.6], low=[0.4, 0.5], high=[0.6, 0.7])
            for setting, places in ends.items()
        },
    )
    assert findings.curves_sentence(curves, ()).startswith("At end, **m** has ICL **60.0 %**")


@pytest.mark.parametrize("settings", [("gold", "random", "abstract"), ("random", "abstract"), ("gold",)])
def test_each_ability_has_its_own_last_value_and_band(settings: tuple[str, ...]) -> None:
    of = {"gold": RISE, "random": FALL, "abstract": STILL}
    said = findings.curves_sentence(curves_of(**{name: of[name] for name in settings}), ())
    assert_well_formed(said)
    for name in settings:
        end = of[name][-1]
        assert after(said, ABILITIES[name], 3) == percents(end, end - 0.0123, end + 0.0123)
    ends = [percents(of[name][-1], of[name][-1] - 0.0123, of[name][-1] + 0.0123) for name in settings]
    assert set(numbers(said)) == {n for end in ends for n in end} | {STEPS[-1], 34.7, 95}
    for absent in set(ABILITIES) - set(settings):
        assert f"{ABILITIES[absent]} **" not in said


def test_the_sentence_on_one_task_names_it() -> None:
    curves = curves_of(gold=RISE)
    assert "sst2" in findings.curves_sentence(curves, (), task="sst2")
    assert "sst2" not in findings.curves_sentence(curves, ())


@pytest.mark.parametrize(
    ("tr", "tl", "happened"),
    [
        (RISE, STILL, [("TR", RISES, RISE[0], RISE[3], (330,))]),
        (FALL, STILL, [("TR", FALLS, FALL[1], FALL[3], (330,))]),
        (STILL, RISE, [("TL", JUMPS, RISE[1], RISE[2], (110, 220))]),
        ((0.312, 0.653, 0.664, 0.425), STILL,
         [("TR", RISES, 0.312, 0.664, (220,)), ("TR", FALLS, 0.664, 0.425, (330,))]),
        ((0.312, 0.653, 0.664, 0.425), RISE,
         [("TR", RISES, 0.312, 0.664, (220,)), ("TL", JUMPS, RISE[1], RISE[2], (110, 220)),
          ("TR", FALLS, 0.664, 0.425, (330,))]),
        (STILL, STILL, []),
        ((0.5, 0.5, 0.5, 0.5), (0.4, 0.4, 0.4, 0.4), []),
        (STILL, FALL, []),
    ],
    ids=["TR rises", "TR falls", "TL jumps", "TR rises and falls", "all three", "within bands", "tied", "TL falls"],
)  # fmt: skip
def test_what_happened_on_the_way_is_what_the_bands_say(
    tr: Sequence[float], tl: Sequence[float], happened: list[tuple[str, str, float, float, tuple[int, ...]]]
) -> None:
    curves = curves_of(random=tr, abstract=tl)
    said = findings.curves_sentence(curves, moments(curves))
    assert_well_formed(said)
    assert bool(NOTHING_CLEAR.search(said)) == (not happened)
    # Only the part behind the levels tells changes; each change is one clause.
    clauses = said.partition("chance is")[2].partition(". ")[2].split(";") if happened else []
    assert len(clauses) == len(happened)
    for clause, (ability, verb, before, value, places) in zip(clauses, happened, strict=True):
        assert re.search(rf"\b{ability} \w*{verb[2:]}", clause), clause
        assert [kind for kind in (RISES, JUMPS, FALLS) if re.search(kind, clause)] == [verb]
        assert sorted(numbers(clause)) == sorted([*percents(before, value), *places])
        assert numbers(clause)[:2] == percents(before, value)


@pytest.mark.parametrize(("seeds", "rows"), [((13,), {"a": 872}), ((1, 2, 3), {"a": 872, "b": 1725, "c": 277})])
def test_the_sentence_on_bands_says_draws_seeds_rows_and_tasks(seeds: tuple[int, ...], rows: dict[str, int]) -> None:
    curves = dataclasses.replace(curves_of(gold=RISE), demo_seeds=seeds, n_examples=rows, tasks=tuple(rows))
    said = findings.band_sentence(curves)
    sizes = {min(rows.values()), max(rows.values())}
    assert set(numbers(said)) == {95, 1234, len(seeds), *sizes, len(rows)}
    assert after(said, "bootstrap", 1) == [1234]
    assert_well_formed(said)
    assert re.search(rf"\b{len(seeds)} seeds?\b.*\b{len(rows)} tasks?\b", said)
    assert ("one seed" in said) == (len(seeds) == 1), "with one seed the spread between seeds is unknown"
    assert sorted(sizes) == [n for n in numbers(said) if n in sizes]


# The competition page


def floor_of(
    tr: Sequence[float], tl: Sequence[float], noise: Any, *, epsilon: float, standard_error: float = 0.001
) -> tuple[Competition, NoiseFloor, EpsilonCurves]:
    """Everything that the sentence is made of, from trajectories and the deviations (n_draws, 2, n_intervals)."""
    replicates = ChangeReplicates(
        delta_tr=np.diff(tr),
        delta_tl=np.diff(tl),
        deviations_tr=noise[:, 0],
        deviations_tl=noise[:, 1],
        standard_error=standard_error,
        n_seeds=3,
    )
    return (
        competition(tr, tl, epsilon=epsilon),
        noise_floor_of(replicates, epsilon=epsilon),
        competition_against_epsilon(replicates, [epsilon]),
    )


def competes(tr: float, tl: float, epsilon: float) -> bool:
    return tr * tl < 0 and min(abs(tr), abs(tl)) > epsilon + 1e-9


@pytest.mark.parametrize("epsilon", [0.0001, 0.01, 0.0375])
@pytest.mark.parametrize("size", [0.002, 0.02, 0.2], ids=["little noise", "some noise", "much noise"])
@pytest.mark.parametrize("steepness", [0.3, 1, 3], ids=["hardly", "somewhat", "much"])
def test_the_sentence_on_competition_counts_what_competes(size: float, steepness: float, epsilon: float) -> None:
    tr = 0.5 + steepness * np.array([0, 0.04, 0.01, 0.05, 0.10, 0.06])
    tl = 0.5 + steepness * np.array([0, -0.03, 0.02, -0.02, -0.01, 0.06])
    noise = np.random.default_rng(1).normal(scale=size, size=(399, 2, 5))
    result, floor, at_epsilon = floor_of(tr, tl, noise, epsilon=epsilon, standard_error=size)
    said = findings.competition_sentence(result, floor, at_epsilon)

    assert_well_formed(said)
    delta = list(zip(np.diff(tr), np.diff(tl), strict=True))
    n = sum(competes(*each, epsilon) for each in delta)
    null = [sum(competes(*pair, epsilon) for pair in draw.T) for draw in noise]
    p = (1 + sum(count >= n for count in null)) / 400
    shifted = [
        [competes(a + x, b + y, epsilon) for (a, b), (x, y) in zip(delta, draw.T, strict=True)] for draw in noise
    ]
    clear = sum(
        competes(*each, epsilon) and np.mean([draw[i] for draw in shifted]) >= 0.95 for i, each in enumerate(delta)
    )
    assert bool(INSIDE_NOISE.search(said)) == (epsilon < size)
    assert "5 intervals" in said
    told = {epsilon, 5} | ({round(100 * size, 1)} if epsilon < size else set())
    if not n:
        assert NO_COMPETITION.search(said) and set(numbers(said)) == told
        return
    assert not NO_COMPETITION.search(said)
    low, high = (round(edge) for edge in np.percentile(null, [2.5, 97.5]))
    assert numbers(said)[:2] == [n, 5]
    assert after(said, "noise alone", 2) == [low, high]
    assert after(said, "p = ") == [float(f"{p:.2g}")]
    assert after(said, "clear") == [95] and said.count("95 %") == 2, "of resamples, and of the null"
    assert bool(NONE_CLEAR.search(said)) == (clear == 0)
    assert set(numbers(said)) == told | {n, low, high, float(f"{p:.2g}"), 95} | ({clear} if clear else set())


def test_an_interval_that_is_clear_and_does_not_compete_is_not_counted() -> None:
    """Certainty comes from resamples, so it can name an interval in which the observed change is too small."""
    result, floor, at_epsilon = floor_of([0.5, 0.4, 0.405], [0.5, 0.6, 0.6], np.zeros((9, 2, 2)), epsilon=0.01)
    both = dataclasses.replace(floor, interval_certainty=np.array([0.97, 0.99]))
    assert result.indicator.tolist() == [True, False] and both.clear.all()
    said = findings.competition_sentence(result, both, at_epsilon)
    assert not NONE_CLEAR.search(said) and re.search(r"\b1 is clear", said)
    neither = dataclasses.replace(floor, interval_certainty=np.array([0.94, 0.99]))
    assert NONE_CLEAR.search(findings.competition_sentence(result, neither, at_epsilon))


def test_several_clear_intervals_are_several() -> None:
    result, floor, at_epsilon = floor_of([0.5, 0.4, 0.5], [0.5, 0.6, 0.5], np.zeros((9, 2, 2)), epsilon=0.01)
    assert re.search(r"\b2 are clear", findings.competition_sentence(result, floor, at_epsilon))


@pytest.mark.parametrize(("observed", "inside"), [(0.0099, True), (0.01, False), (0.02, False)])
def test_epsilon_is_inside_noise_below_one_standard_error(observed: float, inside: bool) -> None:
    for tr in ([0.5, 0.4], [0.5, 0.5]):
        parts = floor_of(tr, [0.5, 0.6], np.zeros((9, 2, 1)), epsilon=observed, standard_error=0.01)
        assert bool(INSIDE_NOISE.search(findings.competition_sentence(*parts))) == inside


# The dynamics page


@pytest.mark.parametrize("n_models", [1, 2, 3, 4, 7])
def test_dynamics_says_a_sentence_for_each_of_three_models_and_counts_the_others(
    n_models: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("pages.ui.panels.blocks.finding", said.append)
    names = [f"model{chr(97 + at)}" for at in range(n_models)]
    shown = {name: curves_of(model=name, random=(FALL, RISE, STILL)[at % 3]) for at, name in enumerate(names)}
    style = CurveStyle("step", "linear", bands=True, overlaid=False, instead="")
    found = cached.Collected({}, {})
    dynamics.finding(ShownCurves(made_up_study(), found, View("accuracy", "sum", None), style, shown))
    sentences = said[0].split("\n\n")
    assert len(sentences) == min(n_models, 3) + (n_models > 3)
    for name, sentence, values in zip(names, sentences, (FALL, RISE, STILL), strict=False):
        assert f"**{name}**" in sentence
        assert after(sentence, "TR", 1) == percents(values[-1])
    if n_models > 3:
        assert numbers(sentences[-1]) == [n_models - 3]
