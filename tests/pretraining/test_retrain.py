"""The smallest member trained again from its configuration alone, beside the shipped results of its training seeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from icl_core.evaluation.bundle import embedded_bundles, ensure_embedded
from icl_core.evaluation.run import run_study
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study
from icl_core.models.listing import local_checkpoints
from icl_core.pretraining.members import get_member
from icl_core.pretraining.train import train_member
from icl_core.records import LABEL_SETTINGS
from icl_core.settings import DEFAULT_DEMO_SEEDS

SMALLEST = "tiny-narrow"
SHIPPED = (SMALLEST, f"{SMALLEST}-seed-2", f"{SMALLEST}-seed-3")


def curves(store: Store, model: str) -> np.ndarray:
    """(3 settings, n_checkpoints) mean accuracy over tasks and demonstration seeds."""
    rows = [summary for summary in store.summaries() if summary.model == model]
    steps = sorted({row.step for row in rows if row.step is not None})
    return np.array(
        [
            [np.mean([r.accuracy for r in rows if (r.step, r.label_setting) == (step, setting)]) for step in steps]
            for setting in LABEL_SETTINGS
        ]
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_retrained_member_lies_within_the_spread_of_the_shipped_seeds(tmp_path: Path) -> None:
    if missing := set(SHIPPED) - set(embedded_bundles()):
        pytest.skip(f"the shipped results of {', '.join(missing)} are not there")
    store = Store.open(tmp_path / "store")
    ensure_embedded(store, SHIPPED)
    shipped = np.stack([curves(store, model) for model in SHIPPED])
    tasks = tuple(sorted({summary.task for summary in store.summaries()}))

    folder = tmp_path / "retrained"
    assert train_member(get_member(SMALLEST), seed=1, out_path=folder) is not None
    study = Study(local_checkpoints(folder), tasks, LABEL_SETTINGS, DEFAULT_DEMO_SEEDS, n_test=50)
    assert not run_study(study, store, device="cpu", offline=True).failures
    again = curves(store, "retrained")

    assert again.shape == shipped.shape[1:] == (3, 17)
    spread = np.sqrt(shipped.var(axis=0, ddof=1).mean(axis=1, keepdims=True) * (1 + 1 / len(SHIPPED)))
    distance = (again - shipped.mean(axis=0)) / spread
    assert (np.sqrt((distance**2).mean(axis=1)) < 2).all(), "a curve is not that of one more training seed"
    assert (np.abs(distance[:, -1]) < 4).all(), "an accuracy at the end is not that of one more training seed"
