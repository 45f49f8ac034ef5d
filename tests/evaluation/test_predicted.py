"""Labels read for many cells at once are those of the records, and what is kept of them is never taken on trust."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from icl_core.analysis.predictions import (
    NORMALISATIONS,
    collect_predictions,
    first_highest,
    normalised_scores,
    predicted_labels,
)
from icl_core.evaluation import predicted
from icl_core.evaluation.codec import from_plain, read_key
from icl_core.evaluation.store import Store
from icl_core.evaluation.told import facts_of
from icl_core.records import CellKey, canonical_json, plain_fields
from tests.support.stores import alter_cell, file_of


@pytest.fixture
def filled(tmp_store, make_record):
    """A store with cells of two tasks, three settings, three seeds and two checkpoints, in three files."""
    records = [
        make_record(task=task, label_setting=setting, demo_seed=seed, step=step, noise_seed=step + len(task))
        for step in (1000, 2000)
        for task in ("trec", "sst2")
        for setting in ("gold", "random", "abstract")
        for seed in (21, 13, 87)
    ]
    # The label words of a gold setting stand for symbols in the abstract one, so that choices differ within a task.
    records = [
        dataclasses.replace(r, loglikelihoods=np.round(r.loglikelihoods / 4) * 4, gold=records[9 * (i // 9)].gold)
        for i, r in enumerate(records)
    ]
    for part in (records[:7], records[7:8], records[8:]):
        tmp_store.put_many(part)
    return tmp_store, [record.spec for record in records]


def kept_files(store: Store) -> list[Path]:
    return sorted((store.path / "predicted").glob("*"))


def same_as_the_records(store: Store, specs) -> bool:
    """Whether labels and facts are those of the records, which are read one by one, bit by bit."""
    records = store.find_many(specs)
    (of_records,) = collect_predictions(records.values()).values()
    for normalisation in NORMALISATIONS:
        cells = store.find_labels(specs, normalisation=normalisation)
        assert list(cells) == list(records)
        assert [facts_of(cell) for cell in cells.values()] == [facts_of(record) for record in records.values()]
        (of_labels,) = collect_predictions(cells.values()).values()
        assert of_labels.settings.keys() == of_records.settings.keys()
        for field in ("model", "checkpoints", "tasks", "demo_seeds", "options", "label_words", "excluded"):
            assert getattr(of_labels, field) == getattr(of_records, field)
        for at, expected in of_records.settings.items():
            found = of_labels.settings[at]
            labels = predicted_labels(found, normalisation=normalisation)
            # numpy's own argmax, which nothing of the project's derivation shares
            plain = np.argmax(normalised_scores(expected, normalisation=normalisation), axis=-1)
            plain = np.where(expected.present[:, :, None], plain, -1)
            assert labels.dtype == np.int16 and np.array_equal(labels, plain)
            assert np.array_equal(labels, predicted_labels(expected, normalisation=normalisation))
            assert found.gold.dtype == expected.gold.dtype and np.array_equal(found.gold, expected.gold)
            assert np.array_equal(found.present, expected.present)
            assert (found.choices, found.row_ids) == (expected.choices, expected.row_ids)
    return True


def test_labels_are_those_of_the_records_when_derived_and_when_kept(filled):
    store, specs = filled
    assert same_as_the_records(store, specs)
    assert len(kept_files(store)) == 3 * len(NORMALISATIONS)
    assert same_as_the_records(store, specs)
    assert same_as_the_records(Store.open(store.path), specs[::-1][3:])  # a part, in another order, in another handle
    assert store.damage == {}


def test_what_is_kept_is_read_and_not_derived_again(filled, monkeypatch):
    store, specs = filled
    store.find_labels(specs)
    monkeypatch.setattr(predicted, "_derived", lambda *_: pytest.fail("derived again"))
    assert len(Store.open(store.path).find_labels(specs)) == len(specs)


def test_a_file_is_hashed_again_only_where_it_was_written_to_since(filled, monkeypatch):
    store, specs = filled
    store.find_labels(specs)
    looked_at = []
    monkeypatch.setattr(predicted, "is_sound", lambda path: looked_at.append(path) or True)
    assert len(store.find_labels(specs)) == len(specs) and looked_at == []
    touched = file_of(store, store.find(specs[0]).key.digest)
    os.utime(touched, (later := os.stat(kept_files(store)[0]).st_mtime + 5, later))
    store.find_labels(specs)
    assert looked_at == [touched]


def test_many_choices_come_back(tmp_store, make_record):
    one = make_record(n_examples=400)
    words = tuple(f"word {index}" for index in range(400))
    random = np.random.default_rng(0)
    scores = np.full((400, 400), -5.0, dtype=np.float32)
    scores[np.arange(400), random.permutation(400)] = -1.0
    many = dataclasses.replace(
        one,
        key=dataclasses.replace(one.key, label_words=words),
        choices=words,
        loglikelihoods=scores,
        n_tokens=random.integers(1, 9, size=scores.shape),
        content_free=scores[0],
        content_free_n_tokens=np.ones(400, dtype=np.int64),
        gold=np.arange(400),
        demonstration_labels=words[: len(one.demonstration_labels)],
    )
    tmp_store.put(many)
    assert same_as_the_records(tmp_store, [many.spec])
    assert same_as_the_records(tmp_store, [many.spec])


def cut(path: Path, _: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip_in_the_middle(path: Path, _: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x40
    path.write_bytes(data)


def flip_near_the_end(path: Path, _: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-40] ^= 0x01
    path.write_bytes(data)


def sealed(path: Path, table: pa.Table) -> None:
    """Writes a table as a file that is kept, seal included, as one would who means it."""
    predicted._keep(table, path)


def table_in(path: Path) -> pa.Table:
    return pq.read_table(pa.BufferReader(path.read_bytes()[:-32]))


def empty(path: Path, _: Path) -> None:
    path.write_bytes(b"")


def be_of_another_file(path: Path, other: Path) -> None:
    path.write_bytes(other.read_bytes())


def have_other_columns(path: Path, _: Path) -> None:
    sealed(path, pa.table({"key": ["x"], "choices": [["y"]]}))


def have_fewer_labels(path: Path, _: Path) -> None:
    table = table_in(path)
    column = table.schema.get_field_index("predicted")
    short = pa.array([value[:-1] for value in table["predicted"].to_pylist()], pa.binary())
    sealed(path, table.set_column(column, table.schema.field(column), short))


def point_nowhere(path: Path, _: Path) -> None:
    table = table_in(path)
    column = table.schema.get_field_index("rows")
    rows = pa.array([10_000] * table.num_rows, pa.int32())
    sealed(path, table.set_column(column, table.schema.field(column), rows))


def be_a_pipe(path: Path, _: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "spoil",
    [
        cut,
        flip_in_the_middle,
        flip_near_the_end,
        empty,
        be_of_another_file,
        have_other_columns,
        have_fewer_labels,
        point_nowhere,
        be_a_pipe,
        Path.unlink,
    ],
    ids=lambda spoil: spoil.__name__,
)
def test_what_is_kept_and_cannot_be_used_is_derived_again(filled, spoil):
    store, specs = filled
    store.find_labels(specs)
    kept = kept_files(store)
    whole = kept[0].read_bytes()
    if spoil is Path.unlink:
        kept[0].unlink()
    else:
        spoil(kept[0], kept[1])
    assert same_as_the_records(store, specs)
    assert store.damage == {}
    assert kept[0].read_bytes() == whole


def test_a_folder_that_cannot_be_written_costs_time_alone(filled):
    store, specs = filled
    (store.path / "predicted").write_text("not a folder")
    assert same_as_the_records(store, specs)
    assert store.damage == {}


def test_a_damaged_result_is_noted_and_the_others_are_read(filled):
    store, specs = filled
    store.find_labels(specs)
    digest = store.find(specs[10]).key.digest
    alter_cell(store, digest)
    found = store.find_labels(specs)
    assert list(found) == [spec for spec in specs if spec != specs[10]]
    assert list(store.damage) == [digest] and "is damaged" in store.damage_words
    assert same_as_the_records(store, specs)


def test_what_is_kept_goes_with_the_file_that_it_was_derived_from(filled):
    store, specs = filled
    store.find_labels(specs)
    before = {path.name for path in kept_files(store)}
    assert store.join(specs[0].checkpoint) == 2
    assert len(kept_files(store)) == 1 and {path.name for path in kept_files(store)} < before
    assert same_as_the_records(store, specs)
    file_of(store, store.find(specs[-1]).key.digest).unlink()
    reopened = Store.open(store.path)
    stems = {path.stem for path in reopened.results.rglob("*.parquet")}
    assert {path.name.split("-")[0] for path in kept_files(reopened)} == stems
    assert list((store.path / "results").rglob("*.parquet")) and len(reopened.find_labels(specs)) == 8


def test_first_highest_is_argmax():
    random = np.random.default_rng(3)
    for n_choices in (1, 2, 3, 6, 300):
        values = random.integers(-4, 0, size=(7, 50, n_choices)).astype(np.float32)
        assert np.array_equal(first_highest(values), values.argmax(axis=-1))


def hard_keys(key: CellKey) -> list[CellKey]:
    names = ('a,"b', "x,", '"demo_seed":7,"', 'weight_files":[]}', "é\u2028", "\\", "")
    keys = [key, dataclasses.replace(key, demo_seed=0), dataclasses.replace(key, demo_seed=2**32 - 1)]
    keys += [dataclasses.replace(key, commit=name) for name in names]
    keys += [dataclasses.replace(key, template_text=name, task=name) for name in names]
    keys += [dataclasses.replace(key, weight_files=((name, name), (name, "y"))) for name in names]
    return [*keys, dataclasses.replace(key, weight_files=())]


def test_a_key_read_in_parts_is_the_key(make_record):
    for key in hard_keys(make_record().key):
        text = canonical_json(plain_fields(key))
        assert read_key(text) == from_plain(CellKey, json.loads(text)) == key


@pytest.mark.parametrize(
    ("old", "new"),
    [('"demo_seed":13', '"demo_seed":"13"'), ('"commit":"c0ffee"', '"commit":3'), ('"n_shots":16', '"n_shots":true')],
)
def test_a_key_of_other_types_is_refused(make_record, old, new):
    text = canonical_json(plain_fields(make_record().key))
    assert old in text
    with pytest.raises(ValueError):
        read_key(text.replace(old, new))
    with pytest.raises(ValueError):
        read_key(text[:-9])


def test_labels_read_under_one_normalisation_are_not_taken_for_another(filled):
    store, specs = filled
    (found,) = collect_predictions(store.find_labels(specs, normalisation="calibrated").values()).values()
    with pytest.raises(ValueError, match="calibrated"):
        predicted_labels(found.settings["sst2", "gold"])
    with pytest.raises(TypeError, match="without its scores"):
        found.setting_scores("sst2", "gold")
