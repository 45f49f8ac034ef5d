"""Token ids that are made once for all checkpoints of one tokenizer."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from icl_core.data.datasets import TaskData, load_task_data
from icl_core.evaluation.cell_work import all_requests, encode_spec
from icl_core.evaluation.encodings import Encodings
from icl_core.models.identity import identify_checkpoint
from icl_core.models.listing import local_checkpoints
from icl_core.records import CellSpec, CheckpointIdentity
from icl_core.registry.tasks import get_task
from tests.support.tiny_models import save_task_file, save_trajectory, tiny_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("encodings")


@pytest.fixture(scope="module")
def cell(folder: Path) -> tuple[CellSpec, TaskData, CheckpointIdentity]:
    refs = local_checkpoints(save_trajectory(folder / "m", (0, 1000)))
    task = f"file:{save_task_file(folder / 'own.jsonl')}"
    spec = CellSpec(refs[0], task, "test", "gold", demo_seed=13, n_shots=4, n_examples=6)
    return spec, load_task_data(get_task(task)), identify_checkpoint(refs[0])


def test_what_is_prepared_is_what_encoding_gives(cell) -> None:
    spec, data, identity = cell
    tokenizer = tiny_tokenizer()
    prepared = Encodings().prepare(tokenizer, spec, data, identity=identity)
    plain = encode_spec(tokenizer, spec, data, context_length=identity.context_length)
    assert prepared.encoded == plain and prepared.requests == all_requests(plain)
    assert prepared.work.n_queries == 7


def test_another_checkpoint_of_the_same_tokenizer_shares_and_nothing_else_does(cell) -> None:
    spec, data, identity = cell
    tokenizer, encodings = tiny_tokenizer(), Encodings()
    first = encodings.prepare(tokenizer, spec, data, identity=identity)
    assert first.seconds > 0
    later = dataclasses.replace(spec, checkpoint=dataclasses.replace(spec.checkpoint, revision="step-1000", step=1000))
    weights = dataclasses.replace(identity, weight_files=(("model.safetensors", "0" * 64),))
    again = encodings.prepare(tokenizer, later, data, identity=weights)
    assert again.encoded is first.encoded and again.seconds == 0
    for change in ({"label_setting": "random"}, {"demo_seed": 14}, {"n_shots": 3}, {"n_examples": 5}, {"split": "dev"}):
        assert encodings.prepare(tokenizer, dataclasses.replace(spec, **change), data, identity=identity).seconds > 0
    for change in ({"tokenizer_sha256": "1" * 64}, {"context_length": identity.context_length - 1}):
        assert encodings.prepare(tokenizer, spec, data, identity=dataclasses.replace(identity, **change)).seconds > 0


def test_nothing_is_kept_beyond_the_memory_given(cell) -> None:
    spec, data, identity = cell
    tokenizer = tiny_tokenizer()
    n_tokens = Encodings().prepare(tokenizer, spec, data, identity=identity).n_kept_tokens
    encodings = Encodings(most_tokens=n_tokens)
    first = encodings.prepare(tokenizer, spec, data, identity=identity)
    other = dataclasses.replace(spec, demo_seed=14)
    for _ in range(2):
        assert encodings.prepare(tokenizer, other, data, identity=identity).seconds > 0
    assert encodings.prepare(tokenizer, spec, data, identity=identity).encoded is first.encoded
