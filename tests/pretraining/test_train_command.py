"""The command that trains a member again leaves the shipped suite alone and gives a family of checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from icl_core import __main__ as command_line
from icl_core.models.listing import local_checkpoints
from icl_core.pretraining import members
from icl_core.pretraining.members import SuiteMember


def test_a_member_is_trained_beside_the_results(
    small_member: SuiteMember, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(members, "MEMBERS", {"small": small_member})
    monkeypatch.setenv("ICL_OBSERVATORY_STORE", str(tmp_path))
    assert command_line.main(["train-suite", "--member", "small", "--seed", "3", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["member"], row["seed"]) == ("small", 3)
    trained = tmp_path / "trained" / "small-seed-3"
    assert [ref.step for ref in local_checkpoints(trained)] == [0, 12, 24]
    assert json.loads((trained / "manifest.json").read_text())["seed"] == 3


def test_an_unknown_member_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["train-suite", "--member", "tiny-nothing"]) == 2
    assert "tiny-nothing" in capsys.readouterr().err
