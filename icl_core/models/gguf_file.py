"""The metadata and the table of tensors of a GGUF file, with each count compared with the file's size.

It reads no weights and converts nothing (that is ``gguf_conversion``), and importing it needs no torch. Source: the
specification of the format, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import functools
import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Never

from icl_core.errors import CheckpointError
from icl_core.models.files import refuse_pointer

__all__ = ["ROPE_FREQUENCIES", "GgufHeader", "check_gguf", "gguf_config", "read_gguf_header"]

ROPE_FREQUENCIES = "rope_freqs.weight"
"""The tensor by which the rotary frequencies are divided, one number for each pair of dimensions; not a parameter."""

_STRING, _ARRAY = 8, 9
_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_MOST_DIMENSIONS = 4
_MOST_HEADER_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Metadata and tensor table of a file.

    Attributes:
        architecture: such as ``llama``.
        metadata: every key with its value; arrays are tuples.
        shapes: each tensor's name with its shape, in torch's order.
        places: each tensor's name with the number of its type and its first byte in the file.
    """

    architecture: str
    metadata: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    places: Mapping[str, tuple[int, int]]

    @property
    def context_length(self) -> int:
        """Longest sequence of tokens, 0 if the file does not say."""
        return self.number("context_length")

    @property
    def n_parameters(self) -> int:
        """Number of stored weights."""
        return sum(math.prod(shape) for name, shape in self.shapes.items() if name != ROPE_FREQUENCIES)

    def number(self, key: str) -> int:
        """A whole number of the architecture's own keys, 0 if there is none."""
        value = self.metadata.get(f"{self.architecture}.{key}")
        return value if type(value) is int else 0


def check_gguf(path: Path) -> None:
    """Refuses a file that does not begin as a GGUF file.

    Raises:
        CheckpointError: there is no file, or it is something else.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}.")
    refuse_pointer(path)
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise CheckpointError(f"{path} is not a GGUF file.")


def read_gguf_header(path: Path) -> GgufHeader:
    """Reads metadata and tensor table.

    Raises:
        CheckpointError: it is not a GGUF file, is damaged or cut short, claims more than it can hold, is one part of a
            split model, or holds an adapter or an encoder of images in place of a model.
    """
    check_gguf(path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        header = _Reader(content, path).header()
    _refuse_parts(header, path)
    return header


def gguf_config(header: GgufHeader) -> dict[str, Any]:
    """The shape of the model, as config.json would write it, as far as the file tells it."""
    keys = {
        "hidden_size": "embedding_length",
        "num_hidden_layers": "block_count",
        "intermediate_size": "feed_forward_length",
        "num_attention_heads": "attention.head_count",
        "num_key_value_heads": "attention.head_count_kv",
        "max_position_embeddings": "context_length",
    }
    n_vocab, *_ = header.shapes.get("token_embd.weight") or (0,)
    return {name: header.number(key) for name, key in keys.items() if header.number(key)} | {
        "model_type": header.architecture,
        "vocab_size": n_vocab,
        "tie_word_embeddings": "output.weight" not in header.shapes,
    }


def _refuse_parts(header: GgufHeader, path: Path) -> None:
    n_parts = header.metadata.get("split.count", 1)
    if n_parts not in (0, 1):
        raise CheckpointError(
            f"{path} is one of {n_parts} parts of a model; merge them into one file with `llama-gguf-split --merge`, "
            "and give that."
        )
    kind = header.metadata.get("general.type", "model")
    if kind == "adapter" or any(key.startswith("adapter.") for key in header.metadata):
        raise CheckpointError(
            f"{path} is an adapter, which is only a change to a base model; merge the adapter (llama-export-lora) and "
            "give the merged file."
        )
    if kind != "model" or not header.shapes:
        raise CheckpointError(f"{path} holds no model (its general.type is {kind!r}); give the file with the weights.")


class _Reader:
    """Reads forward through a file, never beyond its end."""

    def __init__(self, content: mmap.mmap, path: Path) -> None:
        self._content, self._path, self._position = content, path, 4
        self._end = min(len(content), _MOST_HEADER_BYTES)

    def header(self) -> GgufHeader:
        version, n_tensors, n_keys = self._numbers("IQQ")
        if version not in (2, 3):
            self._refuse(f"its version {version} is neither 2 nor 3, or its bytes are in another order")
        self._require(n_keys * 13 + n_tensors * 24)
        metadata: dict[str, Any] = {}
        for _ in range(n_keys):
            key = self._string()
            if key in metadata:
                self._refuse(f"the key {key[:80]!r} is there twice")
            metadata[key] = self._value(*self._numbers("I"))
        architecture = metadata.get("general.architecture")
        if not isinstance(architecture, str) or not architecture:
            self._refuse("its general.architecture is missing")
        shapes, places = self._tensors(n_tensors, metadata.get("general.alignment", 32))
        return GgufHeader(architecture, metadata, shapes, places)

    def _tensors(self, n_tensors: int, alignment: Any) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, int]]]:
        """Shapes and places of the tensors; each has to lie inside the file, and no two may overlap."""
        shapes: dict[str, tuple[int, ...]] = {}
        table: list[tuple[int, int, int, str]] = []
        for _ in range(n_tensors):
            name = self._string()
            (n_dimensions,) = self._numbers("I")
            if name in shapes or not 1 <= n_dimensions <= _MOST_DIMENSIONS:
                self._refuse(f"the tensor {name[:80]!r} is there twice or has {n_dimensions} dimensions")
            shapes[name] = tuple(reversed(self._numbers(f"{n_dimensions}Q")))
            kind, offset = self._numbers("IQ")
            table.append((offset, self._n_bytes(name, shapes[name], kind), kind, name))
        if type(alignment) is not int or not 8 <= alignment <= 2**20 or alignment & (alignment - 1):
            self._refuse(f"its alignment {str(alignment)[:20]} is not a power of two of at least 8")
        position, self._end = 0, len(self._content)
        self._position += -self._position % alignment
        for offset, n_bytes, _, name in sorted(table):
            if offset % alignment or offset < position:
                self._refuse(f"the tensor {name[:80]!r} does not lie where it should")
            position = offset + n_bytes
            self._require(position)
        return shapes, {name: (kind, self._position + offset) for offset, _, kind, name in table}

    def _n_bytes(self, name: str, shape: tuple[int, ...], kind: int) -> int:
        elements, n_bytes = _block_sizes().get(kind, (0, 0))
        if not elements or shape[-1] % elements:
            self._refuse(f"the tensor {name[:80]!r} has the type {kind}, which is not known or does not fit its shape")
        return math.prod(shape) // elements * n_bytes

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            return self._array()
        if kind not in _FORMATS:
            self._refuse(f"a value has the unknown type {kind}")
        return self._numbers(_FORMATS[kind])[0]

    def _array(self) -> tuple[Any, ...]:
        kind, count = self._numbers("IQ")
        if kind == _STRING:
            self._require(count * 8)
            return tuple(self._string() for _ in range(count))
        if kind not in _FORMATS:
            self._refuse(f"an array has values of the type {kind}")
        self._require(count * struct.calcsize(f"<{_FORMATS[kind]}"))
        return self._numbers(f"{count}{_FORMATS[kind]}")

    def _string(self) -> str:
        (length,) = self._numbers("Q")
        self._require(length)
        content = self._content[self._position : self._position + length]
        self._position += length
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError:
            self._refuse("one of its texts is not UTF-8")

    def _numbers(self, form: str) -> tuple[Any, ...]:
        n_bytes = struct.calcsize(f"<{form}")
        self._require(n_bytes)
        values = struct.unpack_from(f"<{form}", self._content, self._position)
        self._position += n_bytes
        return values

    def _require(self, n_bytes: int) -> None:
        if n_bytes > self._end - self._position:
            self._refuse("it ends before its header does" if self._end == len(self._content) else "a header so large")

    def _refuse(self, reason: str) -> Never:
        raise CheckpointError(f"{self._path} is damaged or cut short ({reason}); download it again.")


@functools.cache
def _block_sizes() -> dict[int, tuple[int, int]]:
    """Elements and bytes of a block, by the number of its type."""
    from gguf.constants import GGML_QUANT_SIZES

    return {int(kind): sizes for kind, sizes in GGML_QUANT_SIZES.items()}
