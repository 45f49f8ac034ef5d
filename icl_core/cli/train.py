"""``train-suite``: trains the shipped tiny models again, from scratch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from icl_core.cli.output import ProgressLines, emit, human_seconds
from icl_core.errors import StudyError
from icl_core.settings import store_path

__all__ = ["add_commands"]


def add_commands(add: Any) -> None:
    """Adds the command; ``add(name, run, help)`` gives its parser."""
    train = add("train-suite", _train, "train members of the tiny suite from scratch")
    train.add_argument("--member", action="append", help="only this member (may be repeated); all if none is named")
    train.add_argument(
        "--seed", type=int, default=1, help="keys initialisation and documents; 1 for the shipped models"
    )
    train.add_argument("--out", type=Path, default=None, help="folder for the members (default: trained/ in the store)")


def _train(options: argparse.Namespace) -> int:
    from icl_core.pretraining.members import MEMBERS, get_member
    from icl_core.pretraining.task_files import write_task_files
    from icl_core.pretraining.train import train_member

    if options.seed < 0:
        raise StudyError("The seed must be 0 or larger.")
    folder = (options.out or store_path() / "trained").resolve()
    members = [get_member(name) for name in options.member or MEMBERS]
    progress = ProgressLines()
    rows = []
    write_task_files(folder / "tasks")
    for member in members:

        def show(step: int, n_steps: int, loss: float, *, name: str = member.name) -> None:
            progress.show(f"{name}: step {step} of {n_steps}, loss {loss:.3f} nats")

        manifest = (
            train_member(
                member, seed=options.seed, out_path=folder / f"{member.name}-seed-{options.seed}", on_progress=show
            )
            or {}
        )
        rows.append({"member": member.name, "seed": options.seed, "cpu_seconds": manifest.get("cpu_seconds")})
    lines = [f"{row['member']} trained in {human_seconds(float(row['cpu_seconds'] or 0))}." for row in rows]
    emit(options, rows, "\n".join([*lines, f"They are in {folder}."]))
    return 0
