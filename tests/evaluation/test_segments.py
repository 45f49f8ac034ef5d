"""Files of results: exact, compact, named by their content, and refused cell by cell where they have changed."""

from __future__ import annotations

import dataclasses
import errno
import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from icl_core.errors import StoreError
from icl_core.evaluation.codec import encode_record
from icl_core.evaluation.segments import (
    checked_rows,
    folder_of,
    is_sound,
    place_file,
    read_records,
    table_of,
    write_segment,
)
from icl_core.settings import embedded_results_path


@pytest.fixture
def records(make_record):
    made = [make_record(demo_seed=seed, task=task) for task in ("sst2", "trec") for seed in range(150)]
    made[3] = dataclasses.replace(made[3], context_cut=12, n_shortened=3)
    return made


@pytest.fixture
def path(tmp_path, records):
    return write_segment(tmp_path / "pythia-70m", table_of(records))


def all_wanted(records):
    return {row: (record.key.digest, None) for row, record in enumerate(records)}


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)


def place_of(path, name, group=0):
    """A byte in the middle of a column, beyond the headers of its pages."""
    metadata = pq.read_metadata(path).row_group(group)
    columns = [metadata.column(index) for index in range(metadata.num_columns)]
    column = next(column for column in columns if column.path_in_schema.split(".")[0] == name)
    return (column.dictionary_page_offset or column.data_page_offset) + column.total_compressed_size // 2


def test_records_come_back_bit_by_bit(path, records):
    read = dict(read_records(path, all_wanted(records)))
    assert [encode_record(read[row]) for row in range(len(records))] == [encode_record(record) for record in records]
    assert [record.key for _, record in checked_rows(path)] == [record.key for record in records]
    assert read[0].loglikelihoods.dtype == np.float32 and read[0].gold.dtype == np.int64


def test_single_rows_of_any_row_group_are_read(path, records):
    wanted = {row: (records[row].key.digest, None) for row in (299, 0, 200)}
    assert {row: record.key for row, record in read_records(path, wanted)} == {r: records[r].key for r in wanted}
    ((_, why),) = read_records(path, {300: (records[0].key.digest, None)})
    assert why == "the file has no such row"


def test_the_same_rows_give_the_same_file(path, records, tmp_path):
    again = write_segment(tmp_path / "again", table_of(records))
    assert again.name == path.name and again.read_bytes() == path.read_bytes()
    assert is_sound(path) and path.parent.stat().st_mode & 0o777 == 0o700


def test_pandas_reads_every_number_of_a_folder(path, records, tmp_path):
    other = dataclasses.replace(records[0].spec.checkpoint, model="a=b", revision="r")
    write_segment(
        tmp_path / folder_of("a=b"),
        table_of([dataclasses.replace(records[0], spec=dataclasses.replace(records[0].spec, checkpoint=other))]),
    )
    (tmp_path / "pythia-70m" / ".half.parquet.1-1.tmp").write_bytes(b"half")
    frame = pd.read_parquet(tmp_path)
    assert set(frame["model"]) == {"pythia-70m", "a=b"} and len(frame) == len(records) + 1
    mine = frame[frame["sha256"] == pq.read_table(path)["sha256"][7].as_py()].iloc[0]
    np.testing.assert_array_equal(mine["loglikelihoods"].reshape(25, 2), records[7].loglikelihoods)
    assert list(frame.columns) == pq.read_table(path).schema.names


def test_what_repeats_costs_next_to_nothing(tmp_path, make_record):
    made = [make_record(demo_seed=seed, n_examples=1000) for seed in range(200)]
    gold, counts = made[0].gold, made[0].n_tokens
    made = [dataclasses.replace(record, gold=gold, n_tokens=counts) for record in made]
    path = write_segment(tmp_path, table_of(made))
    group = pq.read_metadata(path).row_group(0)
    sizes = [(group.column(i).path_in_schema, group.column(i).total_compressed_size) for i in range(group.num_columns)]
    numbers = sum(size for name, size in sizes if name.startswith("loglikelihoods"))
    assert path.stat().st_size - numbers < 300 * len(made), "bytes per cell beside its log-likelihoods"
    assert path.stat().st_size < 4 * 2000 * len(made)


@pytest.mark.parametrize("name", ["tiny-base"])
def test_shipped_results_take_at_most_their_share(name, tmp_path):
    table = pq.read_table(embedded_results_path() / name / "cells.parquet")
    path = write_segment(tmp_path, table)
    n_numbers = sum(len(chunk.values) for chunk in table["loglikelihoods"].chunks)
    assert path.stat().st_size / n_numbers < 3.4
    assert pq.read_table(path).equals(table), "exact bits"


@pytest.mark.parametrize("column", ["loglikelihoods", "gold", "sha256"])
def test_a_flipped_bit_costs_its_own_cells_alone(path, records, column):
    flip(path, place_of(path, column, group=1))
    assert not is_sound(path)
    read = dict(read_records(path, all_wanted(records)))
    healthy = [row for row, record in read.items() if not isinstance(record, str)]
    assert healthy[:200] == list(range(200)) and len(read) == 300
    assert any(isinstance(record, str) for record in read.values())
    assert all(encode_record(read[row]) == encode_record(records[row]) for row in healthy), "never other numbers"


@pytest.mark.parametrize("length", [0, 3, 1000, -1])
def test_a_cut_file_is_refused_in_one_sentence(path, records, length):
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(StoreError, match="cannot be read as Parquet"):
        list(read_records(path, all_wanted(records)))


def test_a_table_of_something_else_is_refused(tmp_path):
    other = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": [1]}), other)
    with pytest.raises(StoreError, match="does not have the columns"):
        list(checked_rows(other))


def test_a_row_of_another_key_or_of_something_else_is_refused(path, records):
    asked = {5: (records[6].key.digest, None), 6: (records[6].key.digest, records[7].spec)}
    assert dict(read_records(path, asked)) == {
        5: f"it holds the key {records[5].key.digest[:12]}",
        6: "demo_seed differs between what was asked and what is stored",
    }


def test_a_record_carries_what_was_asked(path, records):
    alias = dataclasses.replace(records[0].spec, data_dir="/data")
    ((_, record),) = read_records(path, {0: (records[0].key.digest, alias)})
    assert record.spec == alias and record.key == records[0].key


def test_a_full_disk_leaves_nothing_behind(tmp_path, records, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_segment(tmp_path / "m", table_of(records))
    assert list((tmp_path / "m").iterdir()) == []


def test_file_and_name_are_on_the_disk_before_a_write_ends(tmp_path, records, monkeypatch):
    """A rename is lost in a power cut until its folder is synced, and so is a new folder until its own is."""
    done, (sync, replace) = [], (os.fsync, os.replace)

    def noted_sync(descriptor):
        done.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(os, "replace", lambda *names: (done.append("rename"), replace(*names)))
    path = write_segment(tmp_path / "results" / "m", table_of(records))
    first, *others = done
    assert first.endswith(".tmp") and others == ["rename", str(path.parent), str(path.parent.parent), str(tmp_path)]
    done.clear()
    again = place_file(path, tmp_path / "results" / "m")
    assert again == path and done[1:] == ["rename", str(path.parent)]


@pytest.mark.parametrize("model", ["pythia-70m", "a/b", "..", "_x", ".x", "a=b", "ä b", "x" * 4000, "%", "C:\\x"])
def test_every_model_has_one_folder_of_its_own(model):
    name = folder_of(model)
    assert "/" not in name and "=" not in name and name[0] not in "._" and len(name.encode()) < 200
    assert folder_of(model + "y") != name
