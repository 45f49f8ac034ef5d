"""Records and predictions made by hand, for all tests of the analysis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import settings

from icl_core.analysis.fusion.members import FusionData, MemberResults, ModelSplits, collect_members
from icl_core.analysis.predictions import collect_predictions
from icl_core.records import CellKey, CellRecord, CellSpec, CheckpointRef, digest_of

# Deadlines measure the machine's load, and a failure must come back when the test is run again.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


def _ref(step: int, model: str = "m-1") -> CheckpointRef:
    return CheckpointRef("fam", model, f"step{step}", "hub", f"org/{model}", step=step, tokens_seen=step * 1000)


def _record(
    predicted: Sequence[int],
    gold: Sequence[int],
    *,
    step: int = 0,
    task: str = "t",
    setting: Any = "gold",
    demo_seed: int = 13,
    n_labels: int = 2,
    model: str = "m-1",
    loglikelihoods: Any = None,
    n_tokens: Any = None,
    content_free: Any = None,
    fingerprint: str = "f",
    row_ids: tuple[str, ...] | None = None,
    label_words: tuple[str, ...] | None = None,
    **options: Any,
) -> CellRecord:
    """A record whose argmax is ``predicted`` unless scores are given."""
    words = label_words or tuple(f"w{i}" for i in range(n_labels))
    rows = row_ids or tuple(f"test:{i}" for i in range(len(gold)))
    if loglikelihoods is None:
        loglikelihoods = np.where(np.arange(n_labels) == np.asarray(predicted)[:, None], -0.5, -2.0)
    scores = np.asarray(loglikelihoods, dtype=np.float32)
    spec = CellSpec(
        checkpoint=_ref(step, model),
        task=task,
        label_setting=setting,
        demo_seed=demo_seed,
        n_examples=len(gold),
        **{"split": "test", "n_shots": 16, **options},
    )
    key = CellKey(
        commit=f"c{step}",
        weight_files=(("model", f"sha{step}"),),
        tokenizer_sha256="tok",
        context_length=512,
        remap=None,
        dtype=spec.dtype,
        attention=spec.attention,
        task=task,
        task_version=1,
        dataset_fingerprint=fingerprint,
        row_ids_sha256=digest_of(list(rows)),
        label_word_set=spec.label_word_set,
        label_words=words,
        template=spec.template,
        template_text="",
        label_setting=setting,
        alphabet=spec.alphabet if setting == "abstract" else None,
        n_shots=spec.n_shots,
        sampling=spec.sampling,
        demo_seed=demo_seed,
    )
    return CellRecord(
        spec=spec,
        key=key,
        row_ids=rows,
        gold=np.asarray(gold, dtype=np.int64),
        loglikelihoods=scores,
        n_tokens=np.ones(scores.shape, dtype=np.int64) if n_tokens is None else np.asarray(n_tokens),
        content_free=np.zeros(n_labels, np.float32) if content_free is None else np.asarray(content_free, np.float32),
        content_free_n_tokens=np.ones(n_labels, dtype=np.int64),
        choices=words,
        demonstration_ids=(),
        demonstration_labels=(),
    )


@pytest.fixture(scope="session")
def make_ref() -> Callable[..., CheckpointRef]:
    return _ref


@pytest.fixture(scope="session")
def make_record() -> Callable[..., CellRecord]:
    return _record


GOLD = {"a": [0, 0, 1, 1, 0, 1], "b": [0, 1, 2, 2, 1, 0]}
N_LABELS = {"a": 2, "b": 3}
SEEDS = (13, 21)


def _scores(text: str, task: str) -> npt.NDArray[np.float64]:
    seed = [ord(character) for character in text]
    return np.round(np.random.default_rng(seed).normal(size=(6, N_LABELS[task])), 3)


def _splits(model: str = "m-1", **change: Any) -> ModelSplits:
    """Three steps, all settings, two tasks, two seeds, both splits, with scores that depend on their names alone.

    Scores for the query without content are those of the name followed by "content-free", its first row.
    """
    cells = [
        _record(
            [0] * 6,
            GOLD[task],
            step=step,
            task=task,
            setting=setting,
            demo_seed=seed,
            n_labels=N_LABELS[task],
            model=model,
            loglikelihoods=_scores(name := f"{model}{step}{setting}{seed}{task}{split}", task),
            content_free=_scores(f"{name}content-free", task)[0],
            split=split,
            **change,
        )
        for step, setting, seed, task, split in product(
            (0, 10, 20), ("gold", "random", "abstract"), SEEDS, GOLD, ("dev", "test")
        )
    ]
    return ModelSplits(collect_predictions(cells)[model], collect_predictions(cells, split="dev")[model])


@pytest.fixture(scope="session")
def scores_for() -> Callable[[str, str], npt.NDArray[np.float64]]:
    """Log-likelihoods (6, n_labels) of a cell of ``make_splits`` from model, step, setting, seed, task and split."""
    return _scores


@pytest.fixture(scope="session")
def make_splits() -> Callable[..., ModelSplits]:
    return _splits


@pytest.fixture(scope="session")
def splits() -> ModelSplits:
    return _splits()


@pytest.fixture(scope="session")
def data(splits: ModelSplits) -> FusionData:
    return collect_members([MemberResults(splits, _ref(10), "random"), MemberResults(splits, _ref(20), "abstract")])
