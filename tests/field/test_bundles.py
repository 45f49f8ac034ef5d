"""Bundles made by a stranger: refused row by row beside honest results, without harm to anything that reads them."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies

from icl_core.errors import StoreError
from icl_core.evaluation import bundle, segments
from icl_core.evaluation.bundle import export_bundle, import_bundle
from icl_core.evaluation.codec import encode_record, payload_sha256
from icl_core.evaluation.segments import SCHEMA
from icl_core.evaluation.store import Store
from icl_core.evaluation.upkeep import rebuild_store, verify_store
from icl_core.records import CellRecord
from tests.support.forged import LIES, Row, rewrite, row_of, rows_of
from tests.support.records import record_of
from tests.support.sentences import assert_one_sentence

PARQUET = "https://parquet.apache.org/docs/file-format/metadata/"


@pytest.fixture
def honest() -> list[CellRecord]:
    return [record_of(demo_seed=seed) for seed in range(3)]


@pytest.fixture
def place(tmp_path: Path, honest: list[CellRecord]) -> Path:
    """A bundle of the honest records."""
    store = Store.open(tmp_path / "theirs")
    store.put_many(honest)
    export_bundle(store, tmp_path / "bundle")
    store.close()
    return tmp_path / "bundle"


@pytest.fixture
def mine(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "mine")


@pytest.mark.stands_for(
    "CVE-2024-3660", "a file of results or weights from a stranger is believed before it is checked"
)
@pytest.mark.parametrize("lie", LIES)
def test_a_row_that_lies_is_refused_and_the_honest_ones_go_in(
    place: Path, mine: Store, honest: list[CellRecord], lie: str
) -> None:
    make, words = LIES[lie]
    names = ("", "another", "a\0b", "x" * 2**20)
    rewrite(place, [*rows_of(place), make(record_of(demo_seed=9))], more_models=names, tasks=["sst2", "a\nb"])
    report = import_bundle(mine, place)
    assert (report.n_new, len(report.refused)) == (3, 1)
    assert_one_sentence(report.refused[0])
    assert re.search(words, report.refused[0])
    assert len(mine.find_many(record.spec for record in honest)) == 3 and len(mine.summaries()) == 3
    assert verify_store(mine.path).is_healthy


@pytest.mark.stands_for(PARQUET, "41 kB of Parquet that ask for gigabytes")
def test_text_that_unfolds_to_gigabytes_is_not_unfolded(place: Path, mine: Store) -> None:
    row = rows_of(place)[0]
    table = pa.Table.from_pylist([row] * 200, schema=SCHEMA)
    long = pa.DictionaryArray.from_arrays(pa.array([0] * 200, pa.int32()), pa.array(["x" * 4_000_000]))
    at = table.schema.get_field_index("provenance")
    rewrite(place, table.set_column(at, pa.field("provenance", long.type), long))
    assert (place / "cells.parquet").stat().st_size < 100_000
    with pytest.raises(StoreError, match=r"unfold to 8..,...,... bytes of text") as caught:
        import_bundle(mine, place)
    assert_one_sentence(str(caught.value))


@pytest.mark.stands_for(PARQUET, "the metadata of a small file promise more values than any export writes")
def test_groups_that_are_too_large_are_refused_unread(
    place: Path, mine: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", lambda *_: pytest.fail("read"))
    values = pa.array([np.zeros(20_000_000, dtype=np.uint32)], pa.list_(pa.uint32()))
    table = pa.Table.from_pylist(rows_of(place)[:1], schema=SCHEMA)
    for name in ("gold", "n_tokens", "content_free_n_tokens"):
        table = table.set_column(table.schema.get_field_index(name), SCHEMA.field(name), values)
    rewrite(place, table)
    assert (place / "cells.parquet").stat().st_size < 100_000
    with pytest.raises(StoreError, match=r"unfolds to 60,...,... values"):
        import_bundle(mine, place)
    rewrite(place, pa.Table.from_pylist(rows_of_many(201), schema=SCHEMA))
    with pytest.raises(StoreError, match="one group of 201 rows"):
        import_bundle(mine, place)


def rows_of_many(n: int) -> list[Row]:
    return [row_of(record_of())] * n


@pytest.mark.stands_for(
    "https://man7.org/linux/man-pages/man7/fifo.7.html", "a pipe or a device where a file is expected"
)
@pytest.mark.parametrize("name", ["manifest.json", "cells.parquet"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "broken link"])
def test_what_is_no_file_is_refused_without_waiting(place: Path, mine: Store, name: str, kind: str) -> None:
    (place / name).unlink()
    if kind == "pipe":
        os.mkfifo(place / name)
    elif kind == "folder":
        (place / name).mkdir()
    else:
        (place / name).symlink_to("/dev/zero" if kind == "device" else "/nowhere")
    with pytest.raises(StoreError, match=r"not a plain file|directory") as caught:
        import_bundle(mine, place)
    assert_one_sentence(str(caught.value))


@pytest.mark.stands_for("https://cwe.mitre.org/data/definitions/345.html", "a manifest that does not fit its table")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_cells": 10**9}, "has 3 rows, but its manifest.json says 1000000000"),
        ({"n_cells": 2}, "has 3 rows"),
        ({"n_cells": "3"}, "holds no bundle"),
        ({"sha256": "0" * 64}, "sha256"),
        ({"format": "x" * 10_000}, "has the layout"),
        ({"models": [["a"] * 1000]}, "holds no bundle"),
    ],
)
def test_a_manifest_that_lies_is_refused(place: Path, mine: Store, changes: Row, words: str) -> None:
    manifest = json.loads((place / "manifest.json").read_text())
    (place / "manifest.json").write_text(json.dumps(manifest | changes))
    with pytest.raises(StoreError, match=words) as caught:
        import_bundle(mine, place)
    assert_one_sentence(str(caught.value))
    assert mine.summaries() == []


@pytest.mark.stands_for("cpython#95778", "JSON that is deep, huge or of 5,000 digits")
@pytest.mark.parametrize("text", ["[" * 100_000, '{"n_cells":' + "9" * 5000 + "}", " " * (17 * 2**20), "\udcff{}"])
def test_a_manifest_that_is_no_manifest_is_one_sentence(place: Path, mine: Store, text: str) -> None:
    (place / "manifest.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(StoreError, match="holds no bundle") as caught:
        import_bundle(mine, place)
    assert_one_sentence(str(caught.value))


VALUES = strategies.one_of(
    strategies.none(),
    strategies.text(max_size=10),
    strategies.integers(-(2**63), 2**63 - 1),
    strategies.floats(width=32),
    strategies.lists(strategies.text(max_size=4), max_size=3),
    strategies.lists(strategies.integers(0, 2**32 - 1), max_size=3),
    strategies.sampled_from(["{}", "[]", "null", "NaN", "[" * 5000, '{"date":1e999}', "../../x"]),
)


@pytest.mark.stands_for("CVE-2024-3660", "any value in any column of a bundle")
@hypothesis.settings(max_examples=30, derandomize=True, deadline=None)
@hypothesis.given(
    column=strategies.sampled_from(SCHEMA.names),
    value=VALUES,
    inside=strategies.sampled_from([None, "spec", "key"]),
    is_sealed=strategies.booleans(),
    data=strategies.data(),
)
def test_any_row_is_a_result_or_refused(
    tmp_path_factory: pytest.TempPathFactory,
    column: str,
    value: Any,
    inside: str | None,
    is_sealed: bool,
    data: strategies.DataObject,
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    honest, other = record_of(demo_seed=1), record_of(demo_seed=2)
    row = row_of(other)
    if inside is None:
        row[column] = value
    else:
        plain = json.loads(row[inside])
        plain[data.draw(strategies.sampled_from(sorted(plain)))] = value
        row[inside] = json.dumps(plain)
    if is_sealed:
        try:
            row["sha256"] = payload_sha256(segments._unchecked_record(row))
        except Exception:
            hypothesis.reject()
    try:
        table = pa.Table.from_pylist([row_of(honest), row], schema=SCHEMA)
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        hypothesis.reject()  # no Parquet file can hold it
    (folder / "manifest.json").write_text(
        json.dumps({"format": bundle._FORMAT, "models": ["pythia-70m"], "tasks": ["sst2"], "scoring_version": 1})
    )
    manifest = json.loads((folder / "manifest.json").read_text()) | {"sha256": "", "n_cells": 0}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    rewrite(folder, table)
    store = Store.open(folder / "store")
    report = import_bundle(store, folder)
    assert encode_record(store.find_many([honest.spec])[honest.spec]) == encode_record(honest)
    assert report.n_new + report.n_kept + len(report.differing) + len(report.refused) == 2
    for sentence in report.refused:
        assert_one_sentence(sentence)
    store.close()
    assert verify_store(store.path).is_healthy
    assert rebuild_store(store.path).is_healthy


@pytest.mark.stands_for("icl-observatory", "what an export writes is read again as it was")
def test_honest_bundles_go_through_every_check(place: Path, mine: Store, honest: list[CellRecord]) -> None:
    assert import_bundle(mine, place).refused == ()
    for record in honest:
        assert encode_record(mine.find_many([record.spec])[record.spec]) == encode_record(record)
