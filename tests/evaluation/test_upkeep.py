"""Verify, rebuild and backup on stores that were damaged on purpose."""

from __future__ import annotations

import shutil
import sqlite3

import pandas as pd
import pytest

from icl_core.errors import StoreError
from icl_core.evaluation import upkeep
from icl_core.evaluation.segments import place_file
from icl_core.evaluation.store import Store
from icl_core.evaluation.upkeep import backup_store, rebuild_store, verify_store
from tests.support.stores import alter_cell, file_of


@pytest.fixture
def filled(tmp_store, make_record):
    records = [make_record(demo_seed=seed) for seed in range(4)]
    for record in records:
        tmp_store.put(record)
    return tmp_store, records


def lose_row(store, record):
    store.rows.cache.delete(f"segment/pythia-70m/{file_of(store, record.key.digest).name}")


def test_a_healthy_store_is_called_healthy(filled):
    store, records = filled
    report = verify_store(store.path)
    assert report.is_healthy
    assert report.n_cells == len(records)


def test_verify_tells_apart_what_is_damaged_and_changes_nothing(filled):
    store, (a, b, c, d) = filled
    names = [f"pythia-70m/{file_of(store, record.key.digest).name}" for record in (a, b, c, d)]
    alter_cell(store, a.key.digest)
    file_of(store, c.key.digest).unlink()
    lose_row(store, b)
    before = {p: p.read_bytes() for p in store.path.rglob("*") if p.is_file()}
    report = verify_store(store.path)
    assert report.fileless == (names[2],)
    assert report.unindexed == (names[1],)
    assert report.damaged == ((f"{names[0]}, row 0", "it is not what its sha256 says"),)
    assert report.n_cells == 2 and not report.is_healthy
    assert {p: p.read_bytes() for p in store.path.rglob("*") if p.is_file()} == before
    assert store.get(d.key) is not None


def test_rebuild_keeps_what_is_whole_and_sets_the_rest_aside(filled, make_record):
    store, (a, b, c, d) = filled
    beside = [make_record(demo_seed=seed) for seed in range(10, 13)]
    store.put_many(beside)
    for lost in (a, beside[1]):
        alter_cell(store, lost.key.digest)
    file_of(store, c.key.digest).unlink()
    lose_row(store, b)
    assert not rebuild_store(store.path).is_healthy
    assert verify_store(store.path).is_healthy
    mended = Store.open(store.path)
    expected = [False, True, False, True, True, False, True]
    assert [mended.find(r.spec) is not None for r in (a, b, c, d, *beside)] == expected
    assert len(list((store.path / "damaged").iterdir())) == 2
    assert mended.put(c) is True
    assert mended.find(c.spec) is not None


def test_a_file_of_whole_results_under_another_name_is_written_anew(filled):
    store, records = filled
    path = file_of(store, records[0].key.digest)
    path.rename(path.with_name("mine.parquet"))
    assert "not what it is named after" in verify_store(store.path).damaged[0][1]
    rebuild_store(store.path)
    assert verify_store(store.path).is_healthy
    assert len(Store.open(store.path).find_many(record.spec for record in records)) == 4


@pytest.mark.parametrize("loss", ["index folder", "no database", "truncated database", "pickled rows", "settings"])
def test_rebuild_brings_everything_back_from_the_files(filled, loss):
    store, records = filled
    store.close()
    database = store.path / "index" / "cache.db"
    if loss == "index folder":
        shutil.rmtree(store.path / "index")
    elif loss == "no database":
        database.write_bytes(b"x" * 5000)
    elif loss == "truncated database":
        database.write_bytes(database.read_bytes()[:9000])
    else:
        statement = {
            "pickled rows": "INSERT INTO Cache (key, raw, mode, value) VALUES (x'80', 0, 4, x'80')",
            "settings": "UPDATE Settings SET value = 'least-recently-used' WHERE key = 'eviction_policy'",
        }[loss]
        connection = sqlite3.connect(database)
        with connection:
            connection.execute(statement)
        connection.close()
        with pytest.raises(StoreError):
            Store.open(store.path)
    rebuild_store(store.path)
    assert verify_store(store.path).is_healthy
    rebuilt = Store.open(store.path)
    assert len(rebuilt.find_many([r.spec for r in records])) == len(records)
    assert len(rebuilt.summaries()) == len(records)


def test_rebuild_keeps_resolutions_and_notes_and_drops_unreadable_ones(filled, make_spec):
    store, records = filled
    alias = make_spec(demo_seed=0, data_dir="/data")
    store.resolve(alias, records[0].key)
    store.notes.put("rates", "cpu", "1.5")
    store.rows.cache.set("resolution/abc", '{"digest":"x"}')
    generation = store.generation()
    rebuild_store(store.path)
    rebuilt = Store.open(store.path)
    assert rebuilt.find(alias) is not None
    assert rebuilt.notes.get("rates", "cpu") == "1.5"
    assert "resolution/abc" not in rebuilt.rows.names("resolution/")
    assert rebuilt.generation() > generation


def test_a_backup_is_a_store_and_is_added_to(filled, make_record, tmp_path):
    store, records = filled
    target = tmp_path / "backup"
    assert backup_store(target, store.path) == 4
    store.put(make_record(demo_seed=9))
    assert backup_store(target, store.path) == 5
    assert verify_store(target).is_healthy
    assert Store.open(target).find(records[0].spec) is not None


def test_a_backup_has_each_result_once_after_joining_and_no_reservations(filled, make_spec, tmp_path):
    store, records = filled
    target = tmp_path / "backup"
    backup_store(target, store.path)
    store.resolve(make_spec(demo_seed=0, data_dir="/data"), records[0].key)
    store.notes.put("rates", "cpu", "1.5")
    store.reservations.take(records[0].key, "me")
    store.join(records[0].spec.checkpoint)
    assert backup_store(target, store.path) == 4
    assert len(pd.read_parquet(target / "results", columns=["sha256"])) == 4
    copied = Store.open(target)
    assert copied.summaries() == store.summaries() and len(copied.summaries()) == 5
    assert copied.notes.get("rates", "cpu") == "1.5" and copied.rows.names("claim/") == []


def test_files_that_are_joined_while_a_backup_runs_are_in_it(filled, tmp_path, monkeypatch):
    store, records = filled

    def place_once_joined(*names):
        store.join(records[0].spec.checkpoint)
        return place_file(*names)

    monkeypatch.setattr(upkeep, "place_file", place_once_joined)
    assert backup_store(tmp_path / "backup", store.path) == 4
    assert verify_store(tmp_path / "backup").is_healthy


def test_a_backup_into_the_store_itself_is_refused(filled):
    store, _ = filled
    with pytest.raises(StoreError, match="inside the store"):
        backup_store(store.path / "copy", store.path)
