"""Bundles as a stranger may make them: rows that lie, each with the reason for which it is refused."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from icl_core.evaluation import bundle, segments
from icl_core.records import CellRecord, canonical_json

Row = dict[str, Any]


def rows_of(place: Path) -> list[Row]:
    return pq.read_table(place / "cells.parquet").to_pylist()


def rewrite(place: Path, table: pa.Table | list[Row], *, more_models: tuple[str, ...] = (), **changes: Any) -> None:
    """Writes another table with a manifest that fits it, as a forger would."""
    table = pa.Table.from_pylist(table, schema=segments.SCHEMA) if isinstance(table, list) else table
    pq.write_table(table, place / "cells.parquet", compression="zstd", store_schema=False)
    manifest = json.loads((place / "manifest.json").read_text())
    manifest |= {"sha256": bundle._file_sha256(place / "cells.parquet"), "n_cells": table.num_rows}
    manifest["models"] += list(more_models)
    (place / "manifest.json").write_text(json.dumps(manifest | changes))


def row_of(record: CellRecord) -> Row:
    """The row that an export would write, seal included, without any check."""
    return segments.table_of([record]).to_pylist()[0]


def changed(record: CellRecord, **changes: Any) -> CellRecord:
    """A record with other parts; those of spec and checkpoint by name, in the key too where it has them."""
    spec, key = record.spec, record.key
    for name in list(changes):
        if name in ("model", "revision", "step", "location", "tokens_seen"):
            spec = dataclasses.replace(
                spec, checkpoint=dataclasses.replace(spec.checkpoint, **{name: changes.pop(name)})
            )
        elif name in spec.__dataclass_fields__ or name in key.__dataclass_fields__:
            value = changes.pop(name)
            spec = dataclasses.replace(spec, **{name: value}) if name in spec.__dataclass_fields__ else spec
            key = dataclasses.replace(key, **{name: value}) if name in key.__dataclass_fields__ else key
    return dataclasses.replace(record, spec=spec, key=key, **changes)


def scores(value: float) -> Callable[[CellRecord], Row]:
    return lambda record: row_of(changed(record, loglikelihoods=np.full_like(record.loglikelihoods, value)))


def parts(**changes: Any) -> Callable[[CellRecord], Row]:
    return lambda record: row_of(changed(record, **changes))


LIES: dict[str, tuple[Callable[[CellRecord], Row], str]] = {
    "a model of 1 MB": (parts(model="x" * 2**20), "bytes long"),
    "a model without a name": (parts(model=""), "the model is empty"),
    "NUL in a model": (parts(model="a\0b"), "U\\+0000"),
    "a line in a task": (parts(task="a\nb"), "U\\+000A"),
    "a negative step": (parts(step=-1), "step is -1"),
    "negative tokens": (parts(tokens_seen=-1), "tokens_seen is -1"),
    "scores above 0": (scores(0.5), "no model gives"),
    "scores of 1e38": (scores(-1e38), "no model gives"),
    "scores that are no numbers": (scores(np.nan), "not finite|not JSON"),
    "no tokens": (lambda r: row_of(changed(r, n_tokens=np.zeros_like(r.n_tokens))), "no tokens"),
    "other label words in the key": (parts(label_words=("good", "bad")), "label words of the key"),
    "other rows in the key": (parts(row_ids_sha256="0" * 64), "not those of the key"),
    "other shots in the key": (parts(n_shots=8), "demonstrations that the key names"),
    "labels that are no choice": (parts(demonstration_labels=("x",) * 16), "label that is not a choice"),
    "a cut without cut texts": (parts(context_cut=5), "does not fit the cut"),
    "a cut beyond the context": (parts(context_cut=10**6, n_shortened=1), "does not fit the cut"),
    "an alphabet where none is used": (parts(alphabet="letters"), "alphabet differs"),
    "a seed beyond its range": (parts(demo_seed=2**40), "demo_seed is"),
    "another key under the same seal": (
        lambda r: row_of(r) | {"key": canonical_json(json.loads(row_of(r)["key"]) | {"commit": "other"})},
        "not what its sha256 says",
    ),
    "columns that are not the spec's": (lambda r: row_of(r) | {"model": "another"}, "column model"),
    "a step beyond 64 bits": (
        lambda r: row_of(r) | {"spec": row_of(r)["spec"].replace('"step":1000', f'"step":{2**70}')},
        "step is",
    ),
    "a spec of deep JSON": (lambda r: row_of(r) | {"spec": "[" * 10_000}, "recursion"),
    "a surrogate in a name": (
        lambda r: row_of(r) | {"spec": row_of(r)["spec"].replace("step1000", "step\\udcff")},
        "not valid Unicode",
    ),
    "a number of 5,000 digits": (
        lambda r: row_of(r) | {"key": row_of(r)["key"].replace("2048", "9" * 5000)},
        "digits",
    ),
    "fewer scores than rows": (lambda r: row_of(r) | {"loglikelihoods": [-1.0]}, "reshape"),
    "nothing": (lambda r: dict.fromkeys(row_of(r)), "NoneType"),
    "provenance that is a list": (lambda r: row_of(r) | {"provenance": "[1]"}, "attribute|not what"),
    "rows of another dataset": (parts(dataset_fingerprint="0" * 64, demo_seed=50), "its rows or label words"),
}
