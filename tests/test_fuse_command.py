"""``fuse`` on the command line: tables, JSON, mixed parameters, and errors of one sentence."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from icl_core.evaluation.fusion_data import fusion_study
from icl_core.evaluation.run import run_study
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study
from icl_core.models.listing import local_checkpoints
from tests.support.made_up import fill, made_up_study
from tests.support.tiny_models import save_task_file, save_trajectory

Fuse = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fuse(cli: Fuse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fuse:
    """``fuse`` where no results are shipped."""
    monkeypatch.setattr("icl_core.evaluation.bundle.embedded_results_path", lambda: tmp_path / "none")
    return functools.partial(cli, "fuse")


@pytest.fixture
def made_up(tmp_path: Path) -> Study:
    study = made_up_study(n_test=60)
    store = Store.open(tmp_path / "store")
    fill(store, fusion_study(study))
    store.close()
    return study


def test_tables_and_json_say_the_same(fuse: Fuse, made_up: Study) -> None:
    code, text, _ = fuse("--tr", "someone-model", "--ablation", "--pairs", "--by-task")
    assert code == 0
    code, output, _ = fuse("--tr", "someone-model", "--ablation", "--pairs", "--json")
    data = json.loads(output)
    assert (data["tr"]["step"], data["tl"]["step"], data["fusion"]) == (440, 990, "fusion, adaptive")
    for row in data["table_1"]:
        assert row["name"] in text and f"{100 * row['accuracy']:.2f}" in text
    assert len(data["table_3"]) == 9 and "ICL-best" in text
    assert len(data["pairs"]["value"]) == 10 and "TR member / TL member" in text
    assert {gain["measure"] for gain in data["gains"]} == {"accuracy", "balanced_accuracy"}
    assert {gain["kind"] for gain in data["gains"]} >= {"best gold", "control", "member", "fusion"}
    assert [row["weight_kind"] for row in data["table_1"]][:4] == ["adaptive", "pooled", "fixed", "oracle"]
    roles = {row["name"]: row["roles"] for row in data["table_1"]}
    assert roles["fusion, pooled"] == ["TR", "TL"] and roles["TL alone: someone-model step990"] == ["TL"]
    assert {tuple(gain["roles"]) for gain in data["gains"] if gain["kind"] == "control"} == {("ICL", "ICL")}
    assert (data["weight_kind"], data["tr"]["role"], data["tl"]["role"]) == ("adaptive", "TR", "TL")
    assert [len(row["roles"]) for row in data["table_3"]] == [len(row["members"]) for row in data["table_3"]]
    for weights in data["weights"].values():
        assert sum(weights) == pytest.approx(1)


def test_further_members_are_weighed_with_the_others(fuse: Fuse, made_up: Study) -> None:
    three = ("--tr", "someone-model", "--also", "ICL:someone-model@880")
    code, output, _ = fuse(*three, "--json")
    data = json.loads(output)
    assert code == 0 and [(each["step"], each["label_setting"]) for each in data["members"]] == [
        *((440, "random"), (990, "abstract"), (880, "gold"))
    ]
    for weights in data["weights"].values():
        assert len(weights) == 3 and sum(weights) == pytest.approx(1)
    assert "upper bound" not in {row["kind"] for row in data["table_1"]}
    assert "Weights of the members:" in fuse(*three)[1]
    assert "takes part twice" in fuse("--tr", "someone-model", "--also", "TR:someone-model")[2]
    assert "is not a member" in fuse("--tr", "someone-model", "--also", "someone-model")[2]


def test_members_measure_tasks_and_seeds_are_chosen(fuse: Fuse, made_up: Study) -> None:
    code, output, _ = fuse(
        *("--tr", "someone-model", "--tr-checkpoint", "220", "--tl-checkpoint", "step770", "--tasks", "sst2"),
        *("--seeds", "21", "--measure", "macro_f1", "--normalisation", "calibrated", "--json"),
    )
    data = json.loads(output)
    assert code == 0 and (data["tr"]["step"], data["tl"]["step"]) == (220, 770)
    assert list(data["weights"]) == ["sst2"]
    assert {gain["measure"] for gain in data["gains"]} == {"macro_f1", "accuracy", "balanced_accuracy"}
    assert all(gain["mean"]["n_seeds"] == 1 for gain in data["gains"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--tr", "nobody"), "nobody has no test results"),
        (("--tr", "someone-model", "--tasks", "trec"), "no results of task trec"),
        (("--tr", "someone-model", "--seeds", "x"), "'x' is not a seed"),
        (("--tr", "someone-model", "--tr-checkpoint", "7"), "7"),
        (("--tr", "someone-model", "--mix", "half"), "'half' is not a weight"),
        (("--tr", "someone-model", "--mix", "1.5"), "not between 0 and 1"),
    ],
)
def test_errors_are_one_sentence(arguments: tuple[str, ...], words: str, fuse: Fuse, made_up: Study) -> None:
    code, _, errors = fuse(*arguments)
    assert code == 2 and words in errors and len(errors.strip().splitlines()) == 1


def test_mixed_parameters_are_computed_once_and_listed(fuse: Fuse, tmp_path: Path) -> None:
    refs = local_checkpoints(save_trajectory(tmp_path / "run", (0, 1000)))
    task = f"file:{save_task_file(tmp_path / 'films.jsonl')}"
    study = Study(refs, (task,), ("gold", "random", "abstract"), (13, 21), n_shots=4, n_test=10)
    run_study(fusion_study(study), Store.open(tmp_path / "store"), device="cpu", offline=True)
    call = ("--tr", "run", "--tr-checkpoint", "0", "--tl-checkpoint", "1000", "--mix", "0,0.5,1", "--offline", "--json")
    code, output, errors = fuse(*call)
    assert code == 0 and "6 of 6 cells computed" in errors
    rows = {row["name"]: row for row in json.loads(output)["table_1"]}
    mixed = {row["mixed_weight"]: row for row in rows.values() if row["kind"] == "parameter fusion"}
    assert mixed[1]["accuracy"] == rows["run step-0 gold"]["accuracy"]
    assert mixed[0]["accuracy"] == rows["run step-1000 gold"]["accuracy"]
    assert mixed[0.5]["tflops"] == pytest.approx(rows["fusion, fixed"]["tflops"] / 2)
    assert "0 of 6 cells computed, 6 were already stored" in fuse(*call)[2]
