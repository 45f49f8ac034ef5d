"""The lab's sentences say what runs, claims and the minimal model came to, whichever way that is."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icl_core.pretraining.lab.claims import CLAIMS, Claim, Verdict
from icl_core.pretraining.lab.config import PRESETS, DataKnobs, LabConfig, config_digest
from icl_core.pretraining.lab.minimal import EMERGED_BELOW, FADED_ABOVE, LEARNED_BELOW, MinimalKnobs, MinimalRun
from icl_core.pretraining.lab.runs import LabRun
from icl_core.pretraining.lab.summary import Group, Marker, SweepCell, final_of, group_runs
from pages.lab import chart, computed, sentences
from tests.support.said import after, assert_well_formed, numbers

CONTEXT, WEIGHTS, NEITHER = "the context decides", "the weights decide", "neither strategy decides"
NEVER = re.compile(r"does not emerge|never emerges")
STEPS = (0, 100, 200, 300, 5000)
HALF = (0.5, 0.5, 0.5, 0.5, 0.5)
EARLY, LATE = (0.5, 0.55, 0.71, 0.8, 0.913), (0.5, 0.5, 0.55, 0.65, 0.873)
"""ICL emerges (.6 with two labels in the context) at step 200 and at step 300."""
HIGH, LOW, PEAKED = (0.5, 0.6, 0.7, 0.8, 0.811), (0.5, 0.4, 0.3, 0.2, 0.123), (0.5, 0.7, 0.852, 0.6, 0.133)


def run(
    *, icl: Sequence[float], flip: Sequence[float], ciwl: Sequence[float] = HALF, seed: int = 1, complete: bool = True
) -> LabRun:
    config = dataclasses.replace(LabConfig(), init_seed=seed)
    n = len(icl)
    curves = {"step": np.array(STEPS[:n], float)} | {
        name: np.array(values, float) for name, values in (("icl", icl), ("flip", flip), ("ciwl", ciwl))
    }
    empty = np.zeros(0)
    return LabRun(
        config, config_digest(config), Path("x"), False, "complete" if complete else "partial", curves,
        empty.astype(int), empty,
    )  # fmt: skip


def said_of(*runs: LabRun) -> str:
    (group,) = group_runs(runs)
    return sentences.group_sentence(group)


def numbers_beside(said: str) -> list[float]:
    """The numbers behind the group's title, which has some of its own."""
    return numbers(said.partition("**")[2].partition("**")[2])


@pytest.mark.parametrize(
    ("flips", "decides"),
    [
        ([HIGH], CONTEXT),
        ([LOW], WEIGHTS),
        ([HALF], NEITHER),
        ([HIGH, HIGH], CONTEXT),
        ([HIGH, HALF], NEITHER),
        ([HIGH, LOW], NEITHER),
        ([LOW, HALF], NEITHER),
        ([(0.5, 0.8, 0.8, 0.8, 0.54)], NEITHER),  # three deviations of guessing on 1,000 sequences are 4.7 points
        ([(0.5, 0.8, 0.8, 0.8, 0.55)], CONTEXT),
        ([(0.5, 0.8, 0.8, 0.8, 0.45)], WEIGHTS),
    ],
)
def test_who_decides_is_clear_of_chance_in_every_seed(flips: list[Sequence[float]], decides: str) -> None:
    said = said_of(*(run(icl=EARLY, flip=flip, seed=at) for at, flip in enumerate(flips, 1)))
    assert_well_formed(said)
    assert [words for words in (CONTEXT, WEIGHTS, NEITHER) if words in said] == [decides]


def test_the_levels_are_those_of_the_end_with_the_range_over_seeds() -> None:
    said = said_of(
        run(icl=EARLY, flip=HIGH, ciwl=LOW), run(icl=LATE, flip=(0.5, 0.5, 0.5, 0.5, 0.603), ciwl=HIGH, seed=2)
    )
    assert after(said, "(", 1) == [2], "two seeds"
    assert after(said, "emerges at", 3) == [250, 200, 300]
    assert after(said, "Flip", 4) == [70.7, 60.3, 81.1, 50.0]  # mean, lowest, highest, chance
    assert after(said, ", ICL", 3) == [89.3, 87.3, 91.3]
    assert after(said, "CIWL", 3) == [46.7, 12.3, 81.1]
    assert 5000 in numbers(said)
    alone = said_of(run(icl=EARLY, flip=HIGH, ciwl=LOW))
    assert numbers_beside(alone) == [1, 200, 5000, 81.1, 50.0, 91.3, 12.3], "one seed has no range"


def test_when_icl_emerges_is_told_for_half_of_the_seeds_or_not_at_all() -> None:
    never = (0.5, 0.5, 0.55, 0.59, 0.6)
    assert NEVER.search(said_of(run(icl=never, flip=HALF)))
    half = said_of(run(icl=EARLY, flip=HALF), run(icl=never, flip=HALF, seed=2))
    assert not NEVER.search(half) and after(half, "emerges at", 3) == [200, 1, 2]  # in 1 of 2 seeds
    third = said_of(*(run(icl=icl, flip=HALF, seed=at) for at, icl in enumerate((EARLY, never, never), 1)))
    assert NEVER.search(third)


@pytest.mark.parametrize(
    ("flip", "peak"),
    [(PEAKED, 85.2), (HIGH, None), ((0.5, 0.7, 0.852, 0.8, 0.76), None), ((0.52, 0.51, 0.5, 0.4, 0.133), None)],
    ids=["faded", "at its peak", "less than ten points below", "never clear of chance"],
)
def test_a_peak_is_told_where_flip_faded_from_one(flip: Sequence[float], peak: float | None) -> None:
    said = said_of(run(icl=EARLY, flip=flip))
    assert ("peak" in said) == (peak is not None)
    if peak is not None:
        assert after(said, "peak") == [peak]


def test_a_run_without_evaluation_says_so() -> None:
    said = said_of(run(icl=(), flip=(), ciwl=(), complete=False))
    assert "not been evaluated" in said and numbers_beside(said) == [1]


@pytest.mark.parametrize("n_groups", [1, 3, 4, 9])
def test_three_configurations_have_a_sentence_and_the_others_are_counted(n_groups: int) -> None:
    made = []
    for at in range(n_groups):
        base = run(icl=EARLY, flip=(*HIGH[:4], 0.7 + at / 100))
        config = dataclasses.replace(base.config, data=DataKnobs(n_classes=256 + at))
        made.append(dataclasses.replace(base, config=config))
    said = sentences.finding(group_runs(made)).replace("\u00a0", " ").split("\n\n")
    assert len(said) == min(n_groups, 3) + (n_groups > 3)
    for at, sentence in enumerate(said[:3]):
        assert after(sentence, "Flip") == [70 + at]
        assert sentence.startswith(f"**K {256 + at}**")
    if n_groups > 3:
        assert numbers(said[3]) == [n_groups - 3]


@pytest.mark.parametrize(("n_found", "told"), [(3, []), (2, [2, 3])])
def test_a_marker_says_in_how_many_seeds_it_is(n_found: int, told: list[int]) -> None:
    group: Group = group_runs([run(icl=EARLY, flip=HALF)])[0]
    marker = Marker(200, 100, 300, n_found, 3)
    words = sentences.marker_words("flip_peak", marker, group)
    assert numbers(words) == told
    assert sentences.marker_words("icl_emerges", marker, group).split(" (")[0].endswith("> .6")
    assert sentences.marker_words("flip_half", marker, group).split(" (")[0].endswith("= .5")


def test_the_end_is_the_last_step_that_all_seeds_have_reached() -> None:
    far, near = (
        run(icl=icl, flip=HIGH[:n], ciwl=LOW[:n], seed=n, complete=False) for icl, n in ((EARLY, 5), (LATE[:4], 4))
    )
    said = said_of(far, near)
    assert after(said, "; at step") == [300]
    assert after(said, "Flip", 1) == [80.0] and after(said, ", ICL", 3) == [72.5, 65.0, 80.0]
    (group,) = group_runs([far, near])
    assert sorted(numbers(sentences.not_finished(group))) == [300, 5000, 5000, 5000]
    assert_well_formed(sentences.not_finished(group))


def test_chance_is_a_line_for_the_context_and_for_curves_that_have_another() -> None:
    (group,) = group_runs([run(icl=EARLY, flip=HIGH)])
    n_labels = group.config.data.n_labels
    lines = chart.chance_rows(group, ["ICL", "CIWL", "IWL"])
    assert [line["value"] for line in lines] == [0.5, 1 / n_labels]  # two labels in the context; CIWL guesses among two
    assert [numbers(line["text"]) for line in lines] == [[50.0], [round(100 / n_labels, 1)]]
    assert lines[0]["text"].startswith("chance") and lines[1]["text"].startswith("IWL chance")
    assert len(chart.chance_rows(group, ["ICL", "CIWL"])) == 1
    assert numbers(sentences.chance_among_all(0.25, 4)) == [25.0, 4]


def test_markers_stand_where_phases_change_and_where_the_data_do() -> None:
    (group,) = group_runs([run(icl=EARLY, flip=PEAKED)])
    assert {row["text"].split(" ")[0]: row["x"] for row in chart.marker_rows(group)} == {"ICL": 200, "Flip": 5000}
    curriculum = next(config for config in PRESETS.values() if config.second_data is not None)
    (changed,) = group_runs([dataclasses.replace(run(icl=EARLY, flip=HALF), config=curriculum)])
    assert chart.marker_rows(changed)[0] == {"x": curriculum.switch_step, "text": "data change"}


@pytest.mark.parametrize(("n_seeds", "has_range"), [(1, False), (2, True)])
def test_bands_are_told_if_there_are_seeds_to_make_them(n_seeds: int, has_range: bool) -> None:
    said = sentences.bands(n_seeds)
    assert_well_formed(said)
    assert numbers(said) == [1000, 100, 0]
    assert ("bands: lowest to highest" in said, "not known" in said) == (has_range, not has_range)


def test_every_configurations_seeds_are_named() -> None:
    runs = [run(icl=EARLY, flip=HALF, seed=seed) for seed in (3, 8)]
    other = dataclasses.replace(runs[0], config=dataclasses.replace(runs[0].config, data=DataKnobs(n_classes=64)))
    said = sentences.seeds_of(group_runs([*runs, other]))
    assert after(said, "K 512:", 2) == [3, 8] and after(said, "K 64:", 1) == [3]
    assert_well_formed(said)


# Tabs below the curves


def test_the_heads_are_those_of_the_step_that_is_drawn() -> None:
    made = run(icl=EARLY, flip=HALF)
    made.curves["previous_token"] = np.array([0.1, 0.2, 0.312, 0.4, 0.9])
    made.curves["induction"] = np.array([0.0, 0.0, 0.551, 0.6, 0.7])
    assert computed.head_scores(made, 200) == {"Previous token": 0.312, "Induction": 0.551}
    said = sentences.heads_at(200, computed.head_scores(made, 200), 2)
    assert_well_formed(said)
    assert numbers(said)[:3] == [200, 31.2, 55.1]
    assert [after(said, name)[0] for name in ("previous token", "induction")] == [31.2, 55.1]
    assert "x1, l1, x2, l2, query" in said and "x3" in sentences.heads_at(0, {}, 3)


def test_curves_without_an_index_are_named() -> None:
    every, some = sentences.transience([]), sentences.transience(["ICL of *K* two", "Flip of K two"])
    for said in (every, some):
        assert_well_formed(f"Index: {said}")
    assert "No index" not in every
    assert some.startswith(every) and "ICL of *K* two; Flip of K two." in some.replace("\\", "")


@pytest.mark.parametrize(("flip", "n", "expected"), [(0.126, 3, [13, 3]), (0.9949, 1, [99, 1])])
def test_a_field_of_a_sweep_says_flip_and_seeds(flip: float, n: int, expected: list[float]) -> None:
    assert numbers(sentences.field_of_sweep(SweepCell(512, 0.5, flip, 0.0, 1.0, 0.5, n))) == expected


@pytest.mark.parametrize("n", [None, 0, 1, 9])
def test_a_run_is_a_model_of_the_other_pages_if_its_checkpoints_are_stored(n: int | None) -> None:
    said = sentences.stored_as_model(n)
    assert_well_formed(said if n is None else f"So {said}")
    assert numbers(said) == ([] if n is None else [n])
    assert ("not in the store" in said) == (n is None)
    assert (" is in the store" in said, " are in the store" in said) == (n == 1, n is not None and n != 1)


@pytest.mark.parametrize(
    ("manifest", "complete", "expected"),
    [
        (
            {"n_parameters": 107_000, "cpu_seconds": 41.6, "versions": {"torch": "two", "numpy": "9"}},
            True,
            [107_000, 42],
        ),
        ({"cpu_seconds": 3000.2}, True, [3000]),
        ({"cpu_seconds": 3000.2}, False, []),
    ],
    ids=["all is known", "only its time", "not finished"],
)
def test_the_origin_of_a_run_is_its_size_and_its_time(
    manifest: dict[str, Any], complete: bool, expected: list[float]
) -> None:
    made = dataclasses.replace(run(icl=EARLY, flip=HALF, complete=complete), manifest=manifest)
    said = sentences.origin(made)
    assert numbers(said) == expected and said.startswith("trained here")
    assert ("not finished" in said) == (not complete) and ("torch two" in said) == ("versions" in manifest)
    assert sentences.origin(dataclasses.replace(made, is_shipped=True)).startswith("shipped")


# Training


@pytest.mark.parametrize(
    ("n_new", "n_known", "seconds", "is_measured", "expected"),
    [
        (1, 0, 80.0, True, [512, 5000, 64, 1, 20]),
        (3, 0, 240.0, False, [512, 5000, 64, 4]),
        (2, 1, None, True, [1, 512, 5000, 64]),
        (0, 2, None, True, [2]),
        (0, 1, None, False, [1]),
    ],
)
def test_training_costs_what_is_new_and_says_what_is_not(
    n_new: int, n_known: int, seconds: float | None, is_measured: bool, expected: list[float]
) -> None:
    said = sentences.training_cost([LabConfig()] * n_new, n_known=n_known, seconds=seconds, is_measured=is_measured)
    assert numbers(said.replace("seed 1", "")) == expected
    assert ("trained or in work" in said) == (n_known > 0)
    assert ("cannot be told" in said) == (n_new > 0 and seconds is None)
    assert ("a guess" in said) == (seconds is not None and not is_measured)
    assert ("were timed" in said) == (seconds is not None and is_measured)
    assert_well_formed(f"So {said}" if n_known else said)
    label = sentences.train_label(n_new)
    assert numbers(label) == ([n_new] if n_new > 1 else [])


def test_without_any_run_the_time_of_the_default_is_told_if_it_is_known() -> None:
    for seconds, expected in ((80.0, [1, 20]), (None, [])):
        said = sentences.nothing_trained(seconds)
        assert_well_formed(said)
        assert numbers(said) == expected


# Claims


def verdicts(values: dict[str, dict[int, float]], missed: Sequence[str] = ()) -> list[Verdict]:
    return [
        Verdict(
            claim,
            "not tested" if claim.key not in values else "not reproduced" if claim.key in missed else "reproduced",
            values.get(claim.key, {}),
        )
        for claim in CLAIMS
    ]


def test_a_verdicts_number_is_the_mean_with_its_range() -> None:
    claim = CLAIMS[0]
    assert numbers(sentences.verdict_words(Verdict(claim, "reproduced", {1: 0.31, 2: 0.55, 3: 0.4}))) == [
        0.42,
        0.31,
        0.55,
    ]
    assert numbers(sentences.verdict_words(Verdict(claim, "reproduced", {1: 0.31}))) == [0.31]
    assert sentences.verdict_words(Verdict(claim, "not tested", {})) == ""


@pytest.mark.parametrize(("outcome", "mark"), [("reproduced", "✓"), ("not reproduced", "✗"), ("not tested", "–")])
def test_a_row_of_the_claims_has_verdict_number_bound_and_seeds(outcome: Any, mark: str) -> None:
    claim = next(claim for claim in CLAIMS if claim.key == "transience")
    values = {} if outcome == "not tested" else {1: 0.31, 2: 0.55}
    row = sentences.claim_row(Verdict(claim, outcome, values))
    assert row["reproduced?"] == f"{mark} {outcome}" and row["seeds"] == len(values)
    assert numbers(str(row["lab shows"])) == ([0.43, 0.31, 0.55] if values else [])
    assert numbers(str(row["needed"])) == [bound for bound in (claim.at_least, claim.at_most) if bound is not None]
    assert (row["paper says"], row["how it is tested"]) == (claim.says, claim.test)
    own = sentences.claim_row(Verdict(dataclasses.replace(claim, source="none"), outcome, values))
    assert own["source"] == "the lab's own" and row["source"] == claim.source


OTHERS = [claim.key for claim in CLAIMS if claim.key != "transience"]


@pytest.mark.parametrize(
    ("tested", "missed"),
    [
        (["transience"], []),
        (["transience"], ["transience"]),
        (["transience", *OTHERS[:3]], ["transience", OTHERS[1]]),
        (OTHERS[:2], [OTHERS[0], OTHERS[1]]),
        (OTHERS[:2], []),
        ([], []),
    ],
    ids=["fades", "does not fade", "some fail", "fading untested", "fading untested, all hold", "nothing tested"],
)
def test_what_did_not_come_out_is_listed_and_what_held_is_counted(tested: list[str], missed: list[str]) -> None:
    values = {key: {1: 0.2, 2: 0.6} for key in tested}
    said = sentences.lab_and_paper(verdicts(values, missed)).replace("\\", "")
    assert said.endswith(".")
    fading = "not been tested" if "transience" not in tested else "was not" if "transience" in missed else "was repro"
    bold = re.search(r"while the data stay as they are \*\*(.*?)\*\*", said)
    assert bold is not None and fading in bold[1]
    if "transience" in tested:
        assert numbers(said.partition(bold[0])[2])[:4] == [0.4, 0.2, 0.6, 2]
    for claim in CLAIMS:
        listed = claim.says.rstrip(".") in said
        assert listed == (claim.key in missed and claim.key != "transience"), claim.key
    tail = said.rpartition(" held in every seed")[0]
    held, of = numbers(tail)[-2:]
    assert (held, of) == (len(tested) - len(missed), len(tested))


# The minimal model

FADES, STAYS = re.compile(r"fades in (\d+|all)"), re.compile(r"stays in (\d+|all)")


def minimal(outcomes: Sequence[str], emerged_at: Sequence[float], learned: Sequence[bool]) -> MinimalRun:
    last = np.where(learned, LEARNED_BELOW / 2, LEARNED_BELOW * 2)
    return MinimalRun(
        knobs=MinimalKnobs(),
        steps=np.array([0, 100]),
        l1=np.zeros((len(outcomes), 2)),
        l2=np.stack([np.ones(len(outcomes)), last], axis=1),
        outcome=tuple(outcomes),  # type: ignore[arg-type]
        emergence_step=np.array(emerged_at, float),
    )


def test_the_minimal_model_says_how_often_icl_emerged_faded_and_stayed() -> None:
    outcomes = ["transient", "transient", "persistent", "stuck", "transient", "left out"]
    found = minimal(outcomes, [1200, 1300, 1400, np.nan, 1100, np.nan], [True, True, True, False, True, False])
    said = sentences.minimal_finding(found)
    assert numbers(said.partition(";")[0]) == [4, 5, 1300]
    assert_well_formed(said)
    fades, stays = FADES.search(said), STAYS.search(said)
    assert fades is not None and stays is not None and (fades[1], stays[1]) == ("3", "1")
    assert numbers(said.partition(";")[2]) == [3, 1, 1, 4, 5, 1]  # fades, stays, stuck, learned of, overflowed
    assert after(said, "learned in", 2) == [4, 5]


@pytest.mark.parametrize(
    ("outcomes", "fades", "stays"),
    [(["transient"] * 2, "all", None), (["persistent"] * 3, None, "all"), (["transient", "persistent"], "1", "1")],
)
def test_where_all_come_out_alike_it_says_all(outcomes: list[str], fades: str | None, stays: str | None) -> None:
    said = sentences.minimal_finding(minimal(outcomes, [100] * len(outcomes), [True] * len(outcomes)))
    found = FADES.search(said), STAYS.search(said)
    assert [each and each[1] for each in found] == [fades, stays]
    assert "overflow" not in said


def test_without_emergence_or_without_a_seed_it_says_that_instead() -> None:
    said = sentences.minimal_finding(minimal(["stuck"] * 3 + ["left out"], [np.nan] * 4, [True, False, True, False]))
    assert NEVER.search(said) and numbers(said) == [3, 2, 3, 1]
    every = sentences.minimal_finding(minimal(["left out"] * 4, [np.nan] * 4, [False] * 4))
    assert "diverges" in every and not numbers(every)


def test_the_step_by_which_half_emerged_is_left_out_where_fewer_did() -> None:
    said = sentences.minimal_finding(minimal(["stuck", "stuck", "persistent"], [np.nan, np.nan, 700], [True] * 3))
    assert 700 not in numbers(said) and numbers(said)[:2] == [1, 3]


def test_bars_and_captions_count_the_seeds_that_did_not_overflow() -> None:
    outcomes = ["transient", "transient", "persistent", "stuck", "left out", "left out"]
    found = minimal(outcomes, [100, 100, 100, np.nan, np.nan, np.nan], [True] * 6)
    assert {name: numbers(sentences.seeds_with(name, found)) for name in ("stuck", "transient", "persistent")} == {
        "stuck": [1, 4], "transient": [2, 4], "persistent": [1, 4]
    }  # fmt: skip
    said = sentences.minimal_outcomes(found)
    assert_well_formed(f"So {said}")
    n_steps = MinimalKnobs().n_steps
    assert numbers(said) == [6, n_steps, EMERGED_BELOW, FADED_ABOVE, LEARNED_BELOW]
    assert after(said, "never below") == [EMERGED_BELOW] and after(said, "L₂ ends below") == [LEARNED_BELOW]
    assert numbers(sentences.overflowed(found)) == [2]


# In whole sentences

NEVER_EMERGES = (0.5, 0.5, 0.55, 0.59, 0.6)


def test_runs_read_whole() -> None:
    assert said_of(run(icl=EARLY, flip=PEAKED, ciwl=LOW)) == (
        "**K 512** (1 seed): ICL emerges at step 200; at step 5,000 **the weights decide (CIWL)**: Flip 13.3 % after a "
        "peak of 85.2 % (chance 50.0 %), ICL 91.3 %, CIWL 12.3 %."
    )
    two = run(icl=EARLY, flip=HIGH, ciwl=LOW), run(icl=LATE, flip=(*HALF[:4], 0.603), ciwl=HIGH, seed=2)
    assert said_of(*two) == (
        "**K 512** (2 seeds): ICL emerges at step 250 (200 to 300); at step 5,000 **the context decides (ICL)**: Flip "
        "70.7 % (60.3 to 81.1) (chance 50.0 %), ICL 89.3 % (87.3 to 91.3), CIWL 46.7 % (12.3 to 81.1)."
    )
    level = "at step 5,000 **neither strategy decides**: Flip 50.0 % (50.0 to 50.0) (chance 50.0 %), ICL"
    half = said_of(run(icl=EARLY, flip=HALF), run(icl=NEVER_EMERGES, flip=HALF, seed=2))
    assert half.startswith(f"**K 512** (2 seeds): ICL emerges at step 200 in 1 of 2 seeds; {level}")
    never = said_of(*(run(icl=NEVER_EMERGES, flip=HALF, seed=seed) for seed in (1, 2)))
    assert never.startswith(f"**K 512** (2 seeds): ICL does not emerge; {level} 60.0 %")
    assert said_of(run(icl=(), flip=(), ciwl=(), complete=False)) == (
        r"**K 512 \(partial\)** (1 seed) has not been evaluated yet."
    )


@pytest.mark.parametrize("missing", ["icl", "flip", "ciwl"])
def test_a_run_that_lacks_a_curve_says_so(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = {name: final_of([run(icl=EARLY, flip=HALF)], name) for name in ("icl", "flip", "ciwl") if name != missing}
    monkeypatch.setattr("pages.lab.sentences.final_of", lambda runs, name: ends.get(name))
    assert said_of(run(icl=EARLY, flip=HALF)) == "**K 512** (1 seed) has not been evaluated yet."


@pytest.mark.parametrize(
    ("n", "rest"), [(3, []), (4, ["1 further configuration below."]), (5, ["2 further configurations below."])]
)
def test_the_finding_joins_its_sentences(n: int, rest: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pages.lab.sentences.group_sentence", lambda group: f"{group}: 50.0 %.")
    groups: Any = list("abcde")[:n]
    assert sentences.finding(groups) == "\n\n".join([f"{name}: 50.0\u00a0%." for name in "abc"] + rest)


def test_words_in_the_charts_read_whole() -> None:
    (group,) = group_runs([run(icl=EARLY, flip=HALF)])
    marks = {
        "icl_emerges": "ICL > .6",
        "flip_peak": "Flip peak",
        "flip_half": "Flip = .5",
        "ciwl_over_icl": "CIWL > ICL",
    }
    for name, words in marks.items():
        assert sentences.marker_words(name, Marker(200, 100, 300, 3, 3), group) == words
        assert sentences.marker_words(name, Marker(200, 100, 300, 2, 3), group) == f"{words} (2 of 3)"
    assert sentences.chance_line(0.0332) == "chance 3.3 %" and sentences.chance_line(0.5, "IWL") == "IWL chance 50.0 %"
    assert sentences.chance_among_all(0.25, 4) == "chance 25.0 % (all 4 labels)"
    assert sentences.field_of_sweep(SweepCell(512, 0.5, 0.126, 0.0, 1.0, 0.5, 3)) == "13 % (3)"
    assert sentences.token_names(3) == ["x1", "l1", "x2", "l2", "x3", "l3", "query"]


def test_words_below_the_curves_read_whole() -> None:
    far = run(icl=EARLY, flip=HIGH, seed=5, complete=False)
    near = run(icl=LATE[:4], flip=HIGH[:4], ciwl=LOW[:4], seed=4, complete=False)
    (group,) = group_runs([far, near])
    assert sentences.not_finished(group) == (
        "Not finished: evaluated up to step 300 of 5,000, 5,000 of 5,000. Train it again to resume where it stopped."
    )
    points = (
        "Each point: accuracy over 1,000 fixed sequences, among the labels in the context (IWL: among all labels). "
        "Flip swaps the two labels in the context: 100 % is pure ICL, 0 % pure CIWL."
    )
    assert sentences.bands(1) == f"One seed each: the spread between seeds is not known here. {points}"
    assert sentences.bands(2) == (
        f"Lines: mean over seeds; bands: lowest to highest seed; markers: median seed. {points}"
    )
    runs = [run(icl=EARLY, flip=HIGH, seed=seed) for seed in (4, 5)]
    other = dataclasses.replace(runs[1], config=dataclasses.replace(runs[1].config, data=DataKnobs(n_classes=64)))
    assert sentences.seeds_of(group_runs([*runs, other])) == (
        "Seeds: K 64: 5; K 512: 4, 5. On the same machine, a run can be trained again bit for bit from its "
        "configuration."
    )
    assert sentences.heads_at(1200, {"Previous token": 0.312, "Induction": 0.551}, 2) == (
        "Step 1,200, best heads: previous token 31.2 %, induction 55.1 %. Each row shows where a token attends to "
        "(down: from, across: to, in the order x1, l1, x2, l2, query). Mean over training sequences whose first pair "
        "is of the query's class: a previous-token head is lit at l1 → x1, an induction head at query → l1."
    )
    index = "(peak − final) / (peak − chance), of each seed's own curve."
    assert sentences.transience([]) == index
    assert sentences.transience(["*a*", "b"]) == rf"{index} No index, since never above chance: \*a\*; b."


def test_where_a_run_is_stored_and_comes_from_reads_whole() -> None:
    assert sentences.stored_as_model(None) == (
        "The checkpoints of this run are not in the store, so the other pages do not list it. Train it here, and they "
        "will be."
    )
    assert sentences.stored_as_model(1) == "1 checkpoint of this run is in the store as a model."
    assert sentences.stored_as_model(1200) == "1,200 checkpoints of this run are in the store as a model."
    manifest = {"n_parameters": 107_000, "cpu_seconds": 4100.6, "versions": {"torch": "2*"}}
    made = dataclasses.replace(run(icl=EARLY, flip=HALF), manifest=manifest)
    assert sentences.origin(made) == r"trained here, 107,000 parameters, 4,101 s of processor time, torch 2\*"
    assert sentences.origin(dataclasses.replace(made, is_shipped=True, manifest={})) == "shipped"
    assert sentences.origin(dataclasses.replace(made, state="partial")) == "trained here, not finished"


def claim(key: str, says: str, source: str = "a paper") -> Claim:
    return Claim(key, says, source, "a test", at_least=0.4)


def test_claims_read_whole() -> None:
    some, one = {1: 0.314, 2: 0.558}, {1: 0.314}
    assert sentences.verdict_words(Verdict(claim("a", "A."), "reproduced", some)) == "0.44 (0.31 to 0.56)"
    assert sentences.verdict_words(Verdict(claim("a", "A."), "reproduced", one)) == "0.31"
    below = {1: -0.314, 2: 0.1}
    assert sentences.verdict_words(Verdict(claim("a", "A."), "reproduced", below)) == "−0.11 (−0.31 to 0.10)"
    assert sentences.claim_row(Verdict(claim("a", "A.", "none"), "not reproduced", one)) == {
        "paper says": "A.",
        "source": "the lab's own",
        "reproduced?": "✗ not reproduced",
        "lab shows": "0.31",
        "needed": "at least 0.4",
        "seeds": 1,
        "how it is tested": "a test",
    }
    assert sentences.claim_row(Verdict(claim("a", "A."), "not tested", {}))["source"] == "a paper"
    lab = (
        "**The lab is not the model of [arXiv 2503.05631](https://arxiv.org/abs/2503.05631)**: Gaussian exemplars "
        "instead of image features, labels shared by classes, minutes of training instead of days. ICL that fades "
        "while the data stay as they are"
    )
    curriculum = "under a curriculum the change of data makes it fall."
    fading, first, second = claim("transience", "It fades."), claim("a", "*A* holds.."), claim("b", "B holds.")
    missed = [Verdict(each, "not reproduced", some) for each in (first, fading, second)]
    assert sentences.lab_and_paper([*missed, Verdict(claim("c", "C."), "reproduced", one)]) == (
        rf"{lab} **was not reproduced** (share lost 0.44 (0.31 to 0.56), 2 seeds); {curriculum} Nor did these come "
        r"out: \*A\* holds; B holds. 1 of 4 tested claims held in every seed: see *Claims*."
    )
    assert sentences.lab_and_paper([Verdict(fading, "reproduced", one)]) == (
        f"{lab} **was reproduced** (share lost 0.31, 1 seed); {curriculum} 1 of 1 tested claim held in every seed: "
        "see *Claims*."
    )
    assert sentences.lab_and_paper([Verdict(fading, "not tested", {}), missed[2]]) == (
        f"{lab} **has not been tested by the runs on this machine**; {curriculum} Nor did these come out: B holds. "
        "0 of 1 tested claim held in every seed: see *Claims*."
    )


def test_training_reads_whole() -> None:
    none = "No run of the lab is on this machine yet. Train one under *Train a run*"
    assert sentences.nothing_trained(None) == f"{none}."
    assert sentences.nothing_trained(95) == f"{none}; the default takes about 1 min 35 s."
    assert [sentences.train_label(n) for n in (0, 1, 2)] == ["Train this run", "Train this run", "Train 2 runs"]

    def cost(*new: LabConfig, n_known: int, seconds: float | None, is_measured: bool) -> str:
        return sentences.training_cost(new, n_known=n_known, seconds=seconds, is_measured=is_measured)

    first = LabConfig(batch_size=48)
    one, stays = LabConfig(n_steps=1), "The page stays usable, and the run goes on if you close it."
    timed = "about **1 min 35 s** on one core (from the runs that were timed)"
    assert cost(first, LabConfig(), n_known=0, seconds=95, is_measured=True) == (
        f"K 512, batch 48, seed 1: 5,000 steps of 48 sequences, {timed}. {stays}"
    )
    assert cost(one, n_known=1, seconds=95, is_measured=False) == (
        "1 of these runs is trained or in work already. K 512, steps 1, seed 1: 1 step of 64 sequences, about **1 min "
        f"35 s** on one core (a guess: no run has been timed yet). {stays}"
    )
    assert cost(LabConfig(), n_known=2, seconds=None, is_measured=True) == (
        "2 of these runs are trained or in work already. K 512, seed 1: 5,000 steps of 64 sequences, how long it takes "
        f"cannot be told, since no run of about that size was timed. {stays}"
    )
    assert cost(n_known=3, seconds=None, is_measured=True) == "3 of these runs are trained or in work already."
    assert cost(n_known=0, seconds=None, is_measured=True) == ""


def test_the_minimal_model_reads_whole() -> None:
    def finding(outcomes: Sequence[str], emerged_at: Sequence[float], n_learned: int) -> str:
        learned = [at < n_learned for at in range(len(outcomes))]
        return sentences.minimal_finding(minimal(outcomes, emerged_at, learned))

    mixed = ["transient", "transient", "persistent", "stuck", "left out"]
    assert finding(mixed, [1200, 1300, 1400, np.nan, np.nan], 3) == (
        "ICL emerges in **3 of 4 seeds**, in half of the seeds by step 1,350; it **fades in 2** and **stays in 1**. 1 "
        "stays stuck. CIWL is learned in 3 of 4. 1 seed overflowed and is left out of all counts."
    )
    assert finding(["persistent", "stuck", "stuck"], [700, np.nan, np.nan], 0) == (
        "ICL emerges in **1 of 3 seeds**; it **stays in all of them**. 2 stay stuck. CIWL is learned in 0 of 3."
    )
    assert finding(["transient", "left out", "left out"], [700, np.nan, np.nan], 1) == (
        "ICL emerges in **1 of 1 seed**, in half of the seeds by step 700; it **fades in all of them**. 0 stay stuck. "
        "CIWL is learned in 1 of 1. 2 seeds overflowed and are left out of all counts."
    )
    assert finding(["stuck", "stuck"], [np.nan] * 2, 1) == "ICL never emerges in 2 seeds; CIWL is learned in 1 of 2."
    assert finding(["stuck", "left out"], [np.nan] * 2, 0).startswith("ICL never emerges in 1 seed; CIWL")
    assert finding(["left out"], [np.nan], 0) == (
        "Every seed overflowed: gradient descent diverges at this learning rate. Lower it."
    )
    found = minimal(mixed, [100, 100, 100, np.nan, np.nan], [True] * 5)
    assert sentences.seeds_with("transient", found) == "2 of 4"
    assert sentences.overflowed(found) == "Seeds that overflow are left out and counted: 1 here."
    rest = (
        "of gradient descent, all of them computed; colours as in the bars. Stuck (dotted): L₁ never below 0.05. "
        "Transient: below it once and above 0.15 at the end. CIWL is learned if L₂ ends below 0.02. This is the "
        "paper's thought model, not a network. It shows that shared factors and a price on learning both **suffice** "
        "for emergence and transience, not that they cause them in a network."
    )
    assert sentences.minimal_outcomes(found) == f"5 seeds, 16,000 steps {rest}"
    short = dataclasses.replace(minimal(["stuck"], [np.nan], [True]), knobs=MinimalKnobs(n_steps=1))
    assert sentences.minimal_outcomes(short) == f"1 seed, 1 step {rest}"
