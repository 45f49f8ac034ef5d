"""Model files that lie, or were cut: one sentence, soon, and without filling the memory."""

from __future__ import annotations

import json
import resource
import struct
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from icl_core.errors import CheckpointError
from icl_core.models.checkpoints import load_checkpoint
from icl_core.models.files import choose_weight_files, count_parameters, read_json
from icl_core.models.gguf_file import read_gguf_header
from icl_core.models.identity import identify_checkpoint
from icl_core.models.listing import local_checkpoints
from tests.support.sentences import assert_one_sentence
from tests.support.tiny_gguf import write_gguf
from tests.support.tiny_models import save_checkpoint, tiny_model

SECONDS, MIB = 60, 600
"""Limits ten times and more of what is needed; what they guard against takes hours, or all memory."""


@pytest.fixture(autouse=True)
def soon_and_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("ICL_OBSERVATORY_STORE", str(tmp_path / "store"))
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.monotonic() - start < SECONDS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MIB


def refused(action: Callable[[], Any], *words: str) -> None:
    with pytest.raises(CheckpointError) as error:
        action()
    assert_one_sentence(str(error.value))
    assert [word for word in words if word not in str(error.value)] == [], error.value


def load(path: Path) -> Any:
    return load_checkpoint(local_checkpoints(path)[0], dtype="float32")


# Names and configurations


@pytest.mark.parametrize("count", ["99999999", "9" * 18, "9" * 5000])
@pytest.mark.stands_for("huggingface/transformers, get_checkpoint_shard_files", "a shard count in a name is believed")
def test_a_shard_count_of_millions(count: str) -> None:
    names = [f"model-{1:0{len(count)}d}-of-{count}.safetensors", "model.safetensors.index.json"]
    refused(lambda: choose_weight_files(names, where="x"), "is missing")


@pytest.mark.parametrize(
    "entries",
    [
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": 60_000},
        {"num_hidden_layers": float("inf")},
        {"num_hidden_layers": "many"},
        {"hidden_size": 10**9},
        {"hidden_size": 10**18},
        {"vocab_size": 10**12},
        {"intermediate_size": -1},
        {"num_attention_heads": 0},
        {"num_attention_heads": 10**9},
        {"max_position_embeddings": {"a": 1}},
        {"model_type": ["llama"]},
        {"rope_parameters": {"rope_type": "unknown"}},
        {"layer_types": ["x"]},
        {"hidden_act": "no_such"},
    ],
    ids=str,
)
@pytest.mark.stands_for("huggingface/transformers, PreTrainedConfig", "whatever a config asks for is allocated")
def test_a_configuration_that_asks_for_the_impossible(tmp_path: Path, entries: dict[str, Any]) -> None:
    folder = save_checkpoint(tmp_path / "m")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))
    refused(lambda: load(folder))


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 100_000, b"{", b"\xff\xfe{}", b"[]", b"", b"null"])
@pytest.mark.stands_for("python/cpython, json", "deep JSON ends in RecursionError, which is no ValueError")
def test_json_that_is_none(tmp_path: Path, content: bytes) -> None:
    folder = save_checkpoint(tmp_path / "m")
    (folder / "config.json").write_bytes(content)
    refused(lambda: load(folder), "config.json is damaged")


@pytest.mark.stands_for("POSIX, mkfifo", "a pipe in the place of a file is waited for")
def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    import os

    folder = save_checkpoint(tmp_path / "m")
    for name in ("config.json", "model.safetensors"):
        (folder / name).rename(folder / "kept")
        os.mkfifo(folder / name)
        refused(lambda: load(folder))
        (folder / name).unlink()
        (folder / "kept").rename(folder / name)


# safetensors


def safetensors(path: Path, header: Any, data: bytes = b"\0" * 64, *, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(begin: Any = 0, end: Any = 64, *, shape: Any = (4, 4), dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


LIES = {
    "overlapping": {"a": entry(0, 64), "b": entry(32, 64, shape=[8])},
    "a gap": {"a": entry(32, 64, shape=[8])},
    "negative": {"a": entry(-64, 0)},
    "backwards": {"a": entry(64, 0)},
    "beyond the end": {"a": entry(0, 2**62, shape=[2**60])},
    "other size": {"a": entry(shape=[4, 5])},
    "negative shape": {"a": entry(shape=[-4, -4])},
    "huge shape": {"a": entry(shape=[2**40, 2**40])},
    "shape of text": {"a": entry(shape="44")},
    "shape of floats": {"a": entry(shape=[4.0, 4.0])},
    "unknown type": {"a": entry(dtype="Q4_K")},
    "type of lists": {"a": entry(dtype=["F32"])},
    "no object": {"a": 7},
    "no place": {"a": {"dtype": "F32", "shape": [4, 4]}},
    "a list": [entry()],
    "a number": 5,
    "twice": b'{"a":%b,"a":%b}' % ((json.dumps(entry()).encode(),) * 2),
    "deep": b'{"a":' * 100_000,
    "text": b"not json",
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.stands_for("safetensors, rules of the format", "headers with overlapping or impossible offsets")
def test_a_safetensors_header_that_lies(tmp_path: Path, lie: str) -> None:
    folder = save_checkpoint(tmp_path / "m")
    path = safetensors(folder / "model.safetensors", LIES[lie])
    refused(lambda: load(folder), "model.safetensors")
    refused(lambda: count_parameters([path]), "model.safetensors")


@pytest.mark.parametrize("length", [2**62, 2**64 - 1, 10**6, 0])
@pytest.mark.stands_for("huggingface/safetensors, HeaderTooLarge", "a header length of 2^62")
def test_a_safetensors_header_of_any_length(tmp_path: Path, length: int) -> None:
    folder = save_checkpoint(tmp_path / "m")
    safetensors(folder / "model.safetensors", {"a": entry()}, length=length)
    refused(lambda: load(folder), "model.safetensors")


# Pickles


@pytest.mark.stands_for("pytorch, torch.Tensor.expand", "one stored number that claims to be 10^12")
def test_a_pickled_tensor_larger_than_its_file(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    torch.save({"model.norm.weight": torch.ones(1).expand(10**6, 10**6)}, folder / "pytorch_model.bin")
    refused(lambda: load(folder), "claims more elements")


@pytest.mark.stands_for("zip bombs", "an archive that grows a thousandfold when it is read")
def test_a_compressed_archive_is_no_weight_file(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    with zipfile.ZipFile(folder / "pytorch_model.bin", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(50_000_000))
    refused(lambda: load(folder), "compressed archive")


# GGUF


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def gguf_file(path: Path, keys: bytes = b"", tensors: bytes = b"", *, n_keys: int = 1, n_tensors: int = 0) -> Path:
    named = text("general.architecture") + struct.pack("<I", 8) + text("llama")
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, n_tensors, n_keys) + named + keys + tensors + b"\0" * 256)
    return path


def tensor(name: str = "a", dims: tuple[int, ...] = (4,), *, kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


BAD_GGUF: dict[str, dict[str, Any]] = {
    "an array of 2^60": {"keys": text("k") + struct.pack("<IIQ", 9, 4, 2**60), "n_keys": 2},
    "texts of 2^60": {"keys": text("k") + struct.pack("<IIQ", 9, 8, 2**60), "n_keys": 2},
    "a text of 2^60": {"keys": text("k") + struct.pack("<IQ", 8, 2**60), "n_keys": 2},
    "an array of arrays": {"keys": text("k") + struct.pack("<IIQ", 9, 9, 1), "n_keys": 2},
    "2^60 keys": {"n_keys": 2**60},
    "2^60 tensors": {"n_tensors": 2**60},
    "an unknown type of value": {"keys": text("k") + struct.pack("<I", 77), "n_keys": 2},
    "a key twice": {"keys": text("general.architecture") + struct.pack("<I", 8) + text("x"), "n_keys": 2},
    "an alignment of 0": {
        "keys": text("general.alignment") + struct.pack("<II", 4, 0),
        "tensors": tensor(),
        "n_keys": 2,
        "n_tensors": 1,
    },
    "an alignment of 2^31": {
        "keys": text("general.alignment") + struct.pack("<II", 4, 2**31),
        "tensors": tensor(),
        "n_keys": 2,
        "n_tensors": 1,
    },
    "a huge tensor": {"tensors": tensor(dims=(2**40, 2**20)), "n_tensors": 1},
    "many dimensions": {"tensors": tensor(dims=(1,) * 50), "n_tensors": 1},
    "2^32 dimensions": {"tensors": text("a") + struct.pack("<I", 2**32 - 1), "n_tensors": 1},
    "an unknown type of tensor": {"tensors": tensor(kind=999), "n_tensors": 1},
    "a tensor elsewhere": {"tensors": tensor(offset=2**60), "n_tensors": 1},
    "overlapping tensors": {"tensors": tensor("a", (32,)) + tensor("b", (32,), offset=32), "n_tensors": 2},
    "a tensor twice": {"tensors": tensor() + tensor(offset=32), "n_tensors": 2},
    "a crooked offset": {"tensors": tensor(offset=7), "n_tensors": 1},
    "no tensors": {},
}


@pytest.mark.parametrize("name", BAD_GGUF)
@pytest.mark.stands_for("ggml-org/llama.cpp#19856", "a GGUF array of 2^60 was allocated, or looped over")
def test_a_gguf_header_that_lies(tmp_path: Path, name: str) -> None:
    path = gguf_file(tmp_path / "m.gguf", **BAD_GGUF[name])
    refused(lambda: identify_checkpoint(local_checkpoints(path)[0]), "m.gguf")
    refused(lambda: load(path), "m.gguf")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.stands_for("ggml-org/llama.cpp#19856", "a flipped byte or a cut file raised anything at all")
def test_a_gguf_file_with_any_damage(tmp_path: Path, data: st.DataObject) -> None:
    whole = _whole_gguf(tmp_path)
    end = data.draw(st.integers(0, len(whole)), label="cut")
    place = data.draw(st.integers(0, max(end - 1, 0)), label="place")
    damaged = bytearray(whole[:end])
    damaged[place : place + 8] = data.draw(st.binary(min_size=8, max_size=8), label="bytes")
    path = tmp_path / "damaged.gguf"
    path.write_bytes(damaged)
    try:
        read_gguf_header(path)
    except CheckpointError as error:
        assert_one_sentence(str(error))


def _whole_gguf(folder: Path) -> bytes:
    path = folder / "whole.gguf"
    return (path if path.is_file() else write_gguf(path, tiny_model())).read_bytes()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    header=st.dictionaries(
        st.text(max_size=4),
        st.fixed_dictionaries(
            {
                "dtype": st.sampled_from(["F32", "BF16", "I8", "X", 3, None]),
                "shape": st.lists(st.integers(-2, 2**63), max_size=3) | st.none() | st.text(max_size=2),
                "data_offsets": st.lists(st.integers(-2, 2**63), max_size=3) | st.integers(),
            }
        )
        | st.none(),
        max_size=3,
    )
)
@pytest.mark.stands_for("safetensors, rules of the format", "any header at all")
def test_any_safetensors_header(tmp_path: Path, header: dict[str, Any]) -> None:
    path = safetensors(tmp_path / "x.safetensors", header)
    try:
        count_parameters([path])
    except CheckpointError as error:
        assert_one_sentence(str(error))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60))
@pytest.mark.stands_for("python/cpython, json", "any bytes in the place of a config.json")
def test_any_bytes_for_json(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    try:
        read_json(path)
    except CheckpointError as error:
        assert_one_sentence(str(error))
