"""The numbers of a checkpoint stand under the hash of the files that were loaded, whatever happens to the files."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from icl_core.data.datasets import load_task_data
from icl_core.errors import CheckpointError
from icl_core.evaluation.cell_work import all_requests, encode_spec
from icl_core.evaluation.cost import estimate
from icl_core.evaluation.encodings import Encodings
from icl_core.evaluation.run import run_study
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study, study_cells
from icl_core.models import checkpoints, files, gguf_conversion
from icl_core.models.checkpoints import load_checkpoint
from icl_core.models.identity import identify_checkpoint
from icl_core.models.listing import local_checkpoints
from icl_core.models.parameter_fusion import fused_checkpoint
from icl_core.models.resolving import converted_folder
from icl_core.records import CellRecord, CheckpointRef
from icl_core.registry.tasks import get_task
from icl_core.scoring import reference
from icl_core.settings import project_path
from tests.models.conftest import tiny_gguf as tiny_gguf
from tests.support.replaced import move_over_quietly, overwrite_quietly
from tests.support.sentences import assert_one_sentence
from tests.support.tiny_models import save_checkpoint, save_task_file

Replace = Callable[[Path, bytes], None]
each_way = pytest.mark.parametrize("replace", [overwrite_quietly, move_over_quietly])


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICL_OBSERVATORY_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(files, "CLOCK_GRAIN_NS", 0)  # so that hashes of files made just now are kept, as days later


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """The weight file of a checkpoint; another one of its size is ``other_weights``."""
    return save_checkpoint(tmp_path / "run" / "step-1", seed=1) / "model.safetensors"


@pytest.fixture
def other_weights(tmp_path: Path) -> bytes:
    return (save_checkpoint(tmp_path / "other", seed=2) / "model.safetensors").read_bytes()


def study_of(*refs: CheckpointRef, tmp_path: Path) -> Study:
    task = save_task_file(tmp_path / "films.jsonl")
    return Study(refs, (f"file:{task}",), ("gold",), (13,), n_shots=4, n_test=20)


@pytest.fixture
def study(weights: Path, tmp_path: Path) -> Study:
    return study_of(*local_checkpoints(weights.parent), tmp_path=tmp_path)


def run(study: Study, store: Store) -> Any:
    return run_study(study, store, device="cpu", offline=True)


def stored(study: Study, store: Store) -> CellRecord | None:
    return store.find(study_cells(study)[0])


def recomputed(study: Study) -> np.ndarray:
    """The log-likelihoods of the study's first cell by the plain path, from the files as they are now."""
    spec = study_cells(study)[0]
    loaded = load_checkpoint(spec.checkpoint, dtype="float32")
    data = load_task_data(get_task(spec.task), data_dir=None, offline=True)
    cell = encode_spec(loaded.tokenizer, spec, data, context_length=loaded.identity.context_length)
    *rows, _ = reference.score_requests(loaded.model, all_requests(cell))
    return np.array([row.loglikelihoods for row in rows])


def assert_refused(study: Study, store: Store, *, words: str = "changed while it was being loaded") -> None:
    report = run(study, store)
    assert report.n_computed == 0 and report.n_failed == report.n_cells
    assert words in report.failures[0].message
    assert_one_sentence(report.failures[0].message)
    assert stored(study, store) is None
    assert not store.rows.names("segment/")


# The same size and date


@pytest.mark.stands_for("git: racy-git", "weights replaced under the old size and date: .50 was shown for .45")
@each_way
def test_other_weights_under_the_same_size_and_date(
    study: Study, store: Store, weights: Path, other_weights: bytes, replace: Replace
) -> None:
    run(study, store)
    old = stored(study, store)
    replace(weights, other_weights)
    assert estimate(study, store, device="cpu").n_new == 1
    assert run(study, store).n_computed == 1
    new = stored(study, store)
    assert old is not None and new is not None and old.key != new.key
    np.testing.assert_allclose(new.loglikelihoods, recomputed(study), atol=1e-3)
    (summary,) = store.summaries()
    assert summary.key_digest == new.key.digest
    assert estimate(study, store, device="cpu").n_new == 0


@pytest.mark.stands_for("git: racy-git", "a result stayed under a name whose new weights could not be scored")
def test_a_name_does_not_lead_to_the_result_of_other_weights(
    study: Study, store: Store, weights: Path, other_weights: bytes
) -> None:
    run(study, store)
    overwrite_quietly(weights, other_weights[:-100] + b"\xff" * 100)  # NaN
    assert run(study, store).n_failed == 1
    assert stored(study, store) is None and store.summaries() == []


@pytest.mark.stands_for("git: racy-git", "two changes within one tick of the clock leave the same size and dates")
def test_a_file_that_changed_just_now_is_read_again(
    weights: Path, other_weights: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    cache = tmp_path / "hashes.json"
    monkeypatch.setattr(files, "file_stamp", lambda path: [path.stat().st_size, *2 * [path.stat().st_mtime_ns], 1, 1])
    before = files.file_hashes([weights], hash_cache=cache)
    overwrite_quietly(weights, other_weights)
    assert files.file_hashes([weights], hash_cache=cache) != before


@pytest.mark.stands_for("kill -9 and full disks", "hashes.json could not be written, damaged or half")
@pytest.mark.parametrize(
    "content", ["[1]", '{"x": 3}', '{"', "[" * 100_000, None], ids=["list", "odd", "cut", "deep", "full"]
)
def test_a_cache_of_hashes_that_cannot_be_used(
    weights: Path, tmp_path: Path, content: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "hashes.json"
    expected = files.file_hashes([weights])
    if content is not None:
        cache.write_text(content)
    else:
        monkeypatch.setattr(Path, "write_text", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left")))
    assert files.file_hashes([weights], hash_cache=cache) == expected
    assert files.file_hashes([weights], hash_cache=cache) == expected
    assert list(tmp_path.glob("hashes.json.*")) == []


# Replaced on the way


@pytest.mark.stands_for("EleutherAI/pythia#205", "the key of step 0 with the scores of step 3300, stored for good")
@each_way
def test_weights_replaced_between_hashing_and_loading(
    study: Study, store: Store, weights: Path, other_weights: bytes, replace: Replace, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = checkpoints.load_checkpoint

    def late(*arguments: Any, **options: Any) -> Any:
        replace(weights, other_weights)
        return load(*arguments, **options)

    monkeypatch.setattr(checkpoints, "load_checkpoint", late)
    assert_refused(study, store)
    monkeypatch.undo()
    monkeypatch.setenv("ICL_OBSERVATORY_STORE", str(store.path))
    run(study, store)
    record = stored(study, store)
    assert record is not None
    np.testing.assert_allclose(record.loglikelihoods, recomputed(study), atol=1e-3)


@pytest.mark.stands_for("EleutherAI/pythia#205", "files replaced while the model was being built")
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
@each_way
def test_files_replaced_and_put_back_while_loading(
    study: Study, store: Store, weights: Path, name: str, replace: Replace, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = checkpoints.read_state_dict
    path = weights.parent / name
    content = path.read_bytes()

    def meanwhile(*arguments: Any, **options: Any) -> Any:
        replace(path, content)  # its hash is the same in the end; what was read in between cannot be known
        return build(*arguments, **options)

    monkeypatch.setattr(checkpoints, "read_state_dict", meanwhile)
    assert_refused(study, store)


@pytest.mark.stands_for("huggingface/safetensors: mmap", "weights overwritten in place changed the model in memory")
@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_weights_overwritten_after_loading_do_not_change_numbers(
    study: Study, store: Store, weights: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = weights
    if kind == "bin":
        path = weights.with_name("pytorch_model.bin")
        torch.save(load_file(weights), path)
        weights.unlink()
    expected = recomputed(study)
    prepare = Encodings.prepare

    def meanwhile(*arguments: Any, **options: Any) -> Any:
        overwrite_quietly(path, os.urandom(path.stat().st_size))
        return prepare(*arguments, **options)

    monkeypatch.setattr(Encodings, "prepare", meanwhile)
    assert run(study, store).n_computed == 1
    record = stored(study, store)
    assert record is not None
    np.testing.assert_allclose(record.loglikelihoods, expected, atol=1e-3)


@pytest.mark.stands_for("EleutherAI/pythia#205", "a parent of mixed parameters was replaced while they were mixed")
@each_way
def test_a_parent_replaced_while_it_is_mixed(
    store: Store, weights: Path, other_weights: bytes, replace: Replace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path / "run" / "step-2", seed=3)
    study = study_of(fused_checkpoint(*local_checkpoints(tmp_path / "run"), weight=0.5), tmp_path=tmp_path)
    mix = checkpoints.mix_parameters

    def meanwhile(*arguments: Any, **options: Any) -> Any:
        replace(weights, other_weights)
        return mix(*arguments, **options)

    monkeypatch.setattr(checkpoints, "mix_parameters", meanwhile)
    assert_refused(study, store)


@pytest.mark.stands_for("huggingface_hub#1738", "a file in the Hub's cache is not what its name says")
def test_a_file_of_the_hubs_cache_that_was_altered(
    store: Store, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    place = tmp_path / "hub" / "models--someone--film"
    (place / "refs").mkdir(parents=True)
    commit = "a" * 40
    (place / "refs" / "main").write_text(commit)
    (place / "blobs").mkdir()
    snapshot = place / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for path in weights.parent.iterdir():
        name = files.file_hashes([path])[path]
        (place / "blobs" / name).write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(place / "blobs" / name)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    study = study_of(CheckpointRef("hub", "someone/film", "main", "hub", "someone/film"), tmp_path=tmp_path)
    blob = (snapshot / "model.safetensors").resolve()
    content = blob.read_bytes()
    overwrite_quietly(blob, content[:-4] + b"\0\0\0\0")
    assert_refused(study, store, words="does not have the content of its recorded hash")
    overwrite_quietly(blob, content)
    assert run(study, store).n_computed == 1


# GGUF files and what they are converted to


@pytest.fixture
def gguf(tiny_gguf: tuple[Path, Any], tmp_path: Path) -> Study:
    (ref,) = local_checkpoints(tiny_gguf[0])
    return dataclasses.replace(study_of(ref, tmp_path=tmp_path), n_shots=2)


def folder_of(study: Study) -> Path:
    return converted_folder(identify_checkpoint(study.checkpoints[0]).weight_files[0][1])


def alter(path: Path) -> None:
    """The first tensor doubled, under the same size and date."""
    before = load_file(path)
    first = min(before)
    other = path.with_name("altered")
    save_file({name: value * (2 if name == first else 1) for name, value in before.items()}, other, {"format": "pt"})
    content = other.read_bytes()
    other.unlink()
    overwrite_quietly(path, content)


@pytest.mark.stands_for("vllm#7268", "altered weights of a converted GGUF file: 0.1 nats off under one key")
@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: alter(folder / "model.safetensors"),
        lambda folder: (folder / "tokenizer.json").unlink(),
        lambda folder: (folder / "added_tokens.json").write_text('{"film": 7}'),
        lambda folder: (folder / "config.json").write_text((folder / "config.json").read_text() + " "),
        lambda folder: (folder / "sealed.json").unlink(),
    ],
    ids=["weights", "lost", "added", "config", "unsealed"],
)
def test_a_damaged_conversion_is_made_again(gguf: Study, store: Store, damage: Callable[[Path], None]) -> None:
    run(gguf, store)
    first = stored(gguf, store)
    damage(folder_of(gguf))
    again = dataclasses.replace(gguf, label_settings=("gold", "random"))
    report = run(again, store)
    assert (report.n_computed, report.n_stored) == (1, 1)
    assert first is not None
    np.testing.assert_allclose(recomputed(gguf), first.loglikelihoods, atol=1e-3)
    assert [path.name for path in folder_of(gguf).parent.iterdir()] == [folder_of(gguf).name]


@pytest.mark.stands_for("vllm#7268", "a converted GGUF file was altered while it was being loaded")
def test_a_conversion_altered_while_loading_is_refused(
    gguf: Study, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_checkpoint(gguf.checkpoints[0], dtype="float32")
    load = checkpoints._load_native

    def meanwhile(folder: Path, *arguments: Any, **options: Any) -> Any:
        alter(folder / "model.safetensors")
        return load(folder, *arguments, **options)

    monkeypatch.setattr(checkpoints, "_load_native", meanwhile)
    assert_refused(gguf, store)


@pytest.mark.stands_for("vllm#7268", "a GGUF file replaced while it was being converted")
def test_a_file_replaced_while_it_is_converted(gguf: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    convert = gguf_conversion.convert_gguf
    path = Path(gguf.checkpoints[0].location)
    content = path.read_bytes()

    def meanwhile(*arguments: Any, **options: Any) -> Any:
        overwrite_quietly(path, content[:-4] + b"\0\0\0\0")
        return convert(*arguments, **options)

    monkeypatch.setattr(gguf_conversion, "convert_gguf", meanwhile)
    with pytest.raises(CheckpointError, match="changed while it was being converted") as caught:
        load_checkpoint(gguf.checkpoints[0], dtype="float32")
    assert_one_sentence(str(caught.value))
    assert list((Path(os.environ["ICL_OBSERVATORY_STORE"]) / "converted").glob("*")) == []


@pytest.mark.stands_for("kill -9", "killed conversions left a folder of gigabytes each")
def test_a_killed_conversion_leaves_nothing(gguf: Study, tmp_path: Path) -> None:
    (ref,) = gguf.checkpoints
    script = (
        "import sys, time\n"
        "from icl_core.models import checkpoints, listing\n"
        "from pathlib import Path\n"
        "def waiting(*rest, **options):\n"
        "    print('converting', flush=True)\n"
        "    time.sleep(600)\n"
        "checkpoints.put_sealed = waiting\n"
        "checkpoints.load_checkpoint(listing.local_checkpoints(Path(sys.argv[1]))[0], dtype='float32')\n"
    )
    command = [sys.executable, "-c", script, ref.location]
    with subprocess.Popen(command, cwd=project_path(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"converting\n"
        parent = tmp_path / "store" / "converted"
        (partial,) = parent.iterdir()
        loaded = load_checkpoint(ref, dtype="float32")
        assert partial.is_dir(), "the folder of a process that lives is left alone"
        process.send_signal(signal.SIGKILL)
    load_checkpoint(ref, dtype="float32")
    assert [path.name for path in parent.iterdir()] == [loaded.identity.weight_files[0][1]]
