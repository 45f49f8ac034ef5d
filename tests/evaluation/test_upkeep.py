"""Verify, rebuild and backup on stores that were damaged on purpose."""

from __future__ import annotations

import shutil
import sqlite3

import pytest

from icl_core.errors import StoreError
from icl_core.evaluation.store import Store
from icl_core.evaluation.upkeep import backup_store, rebuild_store, verify_store


@pytest.fixture
def filled(tmp_store, make_record):
    records = [make_record(demo_seed=seed) for seed in range(4)]
    tmp_store.put_many(records)
    return tmp_store, records


def damage_file(store, record):
    path = store.cell_path(record.key.digest)
    path.write_text(path.read_text().replace("sst2", "sst3", 1))


def damage_row(store, record):
    name = f"cell/{record.key.digest}"
    store.index.set(name, store.index.get(name).replace("sst2", "sst3", 1))


def test_a_healthy_store_is_called_healthy(filled):
    store, records = filled
    report = verify_store(store.path)
    assert report.is_healthy
    assert report.n_cells == len(records)


def test_verify_tells_apart_what_is_damaged_and_changes_nothing(filled):
    store, (a, b, c, d) = filled
    damage_file(store, a)
    damage_row(store, b)
    damage_file(store, c)
    damage_row(store, c)
    before = {p: p.read_bytes() for p in store.path.rglob("*.json")}
    report = verify_store(store.path)
    assert report.fileless == (a.key.digest,)
    assert report.unindexed == (b.key.digest,)
    assert [digest for digest, _ in report.damaged] == [c.key.digest]
    assert "sha256" in report.damaged[0][1]
    assert report.n_cells == 3
    assert {p: p.read_bytes() for p in store.path.rglob("*.json")} == before
    assert store.get(d.key) is not None


def test_rebuild_mends_what_has_a_healthy_copy_and_sets_the_rest_aside(filled):
    store, (a, b, c, d) = filled
    damage_file(store, a)
    damage_row(store, b)
    damage_file(store, c)
    damage_row(store, c)
    assert not rebuild_store(store.path).is_healthy
    assert verify_store(store.path).is_healthy
    mended = Store.open(store.path)
    assert [mended.find(r.spec) is not None for r in (a, b, c, d)] == [True, True, False, True]
    assert mended.cell_path(c.key.digest).with_suffix(".json.damaged").exists()
    assert mended.put(c) is True
    assert mended.find(c.spec) is not None


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
    store.put_note("rates", "cpu", "1.5")
    store.index.set("resolution/abc", '{"digest":"x"}')
    generation = store.generation()
    rebuild_store(store.path)
    rebuilt = Store.open(store.path)
    assert rebuilt.find(alias) is not None
    assert rebuilt.get_note("rates", "cpu") == "1.5"
    assert "resolution/abc" not in rebuilt.names("resolution/")
    assert rebuilt.generation() > generation


def test_a_backup_is_a_store_and_is_added_to(filled, make_record, tmp_path):
    store, records = filled
    target = tmp_path / "backup"
    assert backup_store(target, store.path) == 4
    store.put(make_record(demo_seed=9))
    assert backup_store(target, store.path) == 5
    assert verify_store(target).is_healthy
    assert Store.open(target).find(records[0].spec) is not None


def test_a_backup_into_the_store_itself_is_refused(filled):
    store, _ = filled
    with pytest.raises(StoreError, match="inside the store"):
        backup_store(store.path / "copy", store.path)
