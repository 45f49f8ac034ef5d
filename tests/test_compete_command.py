"""``compete`` on the command line: the numbers of the analysis, in a table and as JSON."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from icl_core.analysis.competition import competition
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study
from tests.support.made_up import fill, made_up_study

Compete = Callable[..., tuple[int, str, str]]


@pytest.fixture
def compete(cli: Compete) -> Compete:
    return functools.partial(cli, "compete")


@pytest.fixture
def study(tmp_path: Path) -> Study:
    study = made_up_study(n_test=60)
    store = Store.open(tmp_path / "store")
    fill(store, study)
    fill(store, dataclasses.replace(study, n_test=20, checkpoints=study.checkpoints[:3]))
    store.close()
    return study


def test_the_numbers_are_those_of_the_stored_accuracies(compete: Compete, study: Study, tmp_path: Path) -> None:
    code, text, _ = compete("--json", "--replicates", 200)
    (row,) = json.loads(text)
    assert code == 0 and row["n_test"] == 60, "the most frequent number of rows"
    summaries = [s for s in Store.open(tmp_path / "store").summaries() if s.n_examples == 60]
    curves = {
        setting: np.array(
            [
                np.mean([s.accuracy for s in summaries if (s.revision, s.label_setting) == (ref.revision, setting)])
                for ref in study.checkpoints
            ]
        )
        for setting in ("gold", "random", "abstract")
    }
    expected = competition(curves["random"], curves["abstract"], epsilon=0.01)
    assert row["ratio"] == pytest.approx(expected.ratio)
    assert row["mean_intensity"] == pytest.approx(expected.mean_intensity)
    assert row["icl"] == pytest.approx(curves["gold"][-1]) and row["tl"] == pytest.approx(curves["abstract"][-1])
    assert 0 < row["p_ratio"] <= 1 and row["competing"].endswith(f"of {len(study.checkpoints) - 1}")


def test_the_table_says_the_same_and_rows_can_be_chosen(compete: Compete, study: Study) -> None:
    code, text, _ = compete("--n-test", 20, "--replicates", 50)
    assert code == 0 and "of 2 " in text and "noise alone" in text


def test_what_is_not_there_is_said(compete: Compete, study: Study) -> None:
    code, _, errors = compete("--model", "nobody")
    assert code == 2 and "no results of nobody" in errors
    code, text, errors = compete("--n-test", 7)
    assert code == 1 and "is left out" in errors and "someone-model" not in text
