"""The sentences that pages begin with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from icl_core.records import CheckpointRef
from pages.ui import findings


def test_the_sentence_on_curves_names_the_last_checkpoint_in_the_order_of_training() -> None:
    steps = (None, 100)
    refs = [CheckpointRef("local", "m", f"step{step}" if step else "end", "folder", "/m", step) for step in steps]
    ends = {"gold": refs[1:], "random": [refs[1], refs[0]]}
    curves: Any = SimpleNamespace(
        model="m",
        chance=0.5,
        curves={
            setting: SimpleNamespace(checkpoints=places, value=[0.5, 0.6], low=[0.4, 0.5], high=[0.6, 0.7])
            for setting, places in ends.items()
        },
    )
    assert findings.curves_sentence(curves, ()).startswith("At end, **m** has ICL **60.0 %**")
