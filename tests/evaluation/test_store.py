"""The store under kills, full disks, several processes, damage and other people's files."""

from __future__ import annotations

import dataclasses
import errno
import json
import multiprocessing
import os
import resource
import shutil
import signal
import sqlite3
import time
from pathlib import Path

import diskcache
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from icl_core.errors import StoreError
from icl_core.evaluation import cells, reservations
from icl_core.evaluation.index import TextDisk, open_cache
from icl_core.evaluation.rows import WRITE_ATTEMPTS, Rows
from icl_core.evaluation.segments import table_of, write_segment
from icl_core.evaluation.store import Store
from icl_core.evaluation.upkeep import verify_store
from icl_core.records import canonical_json
from tests.support.stores import alter_cell, file_of

fork = multiprocessing.get_context("fork")
RECORD_ARRAYS = ("gold", "loglikelihoods", "n_tokens", "content_free", "content_free_n_tokens")


def assert_same(found, expected):
    for field in dataclasses.fields(expected):
        left, right = getattr(found, field.name), getattr(expected, field.name)
        if field.name in RECORD_ARRAYS:
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(left, right)
        else:
            assert left == right


def run_children(target, arguments):
    """Runs one process for each tuple of arguments and returns their exit codes."""
    children = [fork.Process(target=target, args=a) for a in arguments]
    for child in children:
        child.start()
    for child in children:
        child.join(timeout=60)
    codes = [child.exitcode for child in children]
    for child in children:
        child.kill()  # one that still waits for the others would keep this process from ending
    return codes


def database(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path / "index" / "cache.db")


# What is put comes back


def test_a_record_comes_back_bit_by_bit_in_another_handle(tmp_store, make_record):
    record = make_record(task="trec", label_setting="abstract", alphabet="letters")
    assert tmp_store.put(record) is True
    assert_same(Store.open(tmp_store.path).get(record.key), record)


def test_counts_above_every_small_type_come_back(tmp_store, make_record):
    record = make_record()
    record = dataclasses.replace(
        record, n_tokens=record.n_tokens + np.array([300, 70_000]), context_cut=7, n_shortened=2
    )
    tmp_store.put(record)
    assert_same(tmp_store.get(record.key), record)


def test_what_was_never_put_is_absent(tmp_store, make_record):
    record = make_record()
    assert tmp_store.get(record.key) is None
    assert not tmp_store.has(record.key)
    assert tmp_store.find(record.spec) is None
    assert tmp_store.summaries() == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gold": np.array([5] * 25)}, "gold label has no choice"),
        ({"loglikelihoods": np.full((25, 2), np.nan, dtype=np.float32)}, "not finite"),
        ({"content_free": np.array([-np.inf, -1], dtype=np.float32)}, "not finite"),
        ({"n_tokens": np.ones((25, 3), dtype=np.int64)}, "n_tokens has shape"),
        ({"n_tokens": np.full((25, 2), -1)}, "negative"),
        ({"row_ids": tuple(f"test:{i}" for i in reversed(range(25)))}, "rows are not those of the key"),
        ({"row_ids": ("test:0",) * 25}, "a row occurs twice"),
        ({"provenance": {"wall_time_s": float("nan")}}, "cannot be written as JSON"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(tmp_store, make_record, change, words):
    record = make_record()
    with pytest.raises(StoreError, match=words):
        tmp_store.put(dataclasses.replace(record, **change))
    assert not tmp_store.has(record.key)


def test_a_record_whose_spec_is_not_its_key_is_refused(tmp_store, make_record, make_spec):
    with pytest.raises(StoreError, match="label_setting differs"):
        tmp_store.put(dataclasses.replace(make_record(), spec=make_spec(label_setting="random")))


# Never overwritten


def test_the_first_numbers_stay_when_the_same_cell_is_computed_again(tmp_store, make_record):
    first = make_record()
    again = dataclasses.replace(
        first, loglikelihoods=first.loglikelihoods + np.float32(5e-4), provenance={"device": "cuda"}
    )
    tmp_store.put(first)
    generation = tmp_store.generation()
    assert tmp_store.put(again) is False
    assert tmp_store.generation() == generation
    assert_same(tmp_store.get(first.key), first)


@pytest.mark.parametrize("part", ["loglikelihoods", "content_free", "gold", "n_tokens", "demonstration_ids"])
def test_other_numbers_under_the_same_key_are_refused(tmp_store, make_record, part):
    first = make_record()
    changed = {
        "loglikelihoods": first.loglikelihoods + np.float32(2e-3),
        "content_free": first.content_free - np.float32(0.1),
        "gold": 1 - first.gold,
        "n_tokens": first.n_tokens + 1,
        "demonstration_ids": first.demonstration_ids[::-1],
    }
    tmp_store.put(first)
    with pytest.raises(StoreError, match=f"{first.key.digest[:12]}.*the stored result stays"):
        tmp_store.put(dataclasses.replace(first, **{part: changed[part]}))
    assert_same(tmp_store.get(first.key), first)


def test_half_precision_may_differ_more_between_devices(tmp_store, make_record):
    first = make_record(dtype="bfloat16")
    tmp_store.put(first)
    assert tmp_store.put(dataclasses.replace(first, loglikelihoods=first.loglikelihoods + np.float32(0.1))) is False


def test_cells_that_differ_in_anything_do_not_share_a_result(tmp_store, make_record):
    specs = [
        {"step": 2000},
        {"dtype": "bfloat16"},
        {"label_setting": "random"},
        {"demo_seed": 21},
        {"task": "mrpc"},
        {"split": "dev"},
        {"n_examples": 24},
        {"label_word_set": "reference_code"},
        {"n_shots": 8},
        {},
    ]
    records = [make_record(noise_seed=i, **changes) for i, changes in enumerate(specs)]
    assert tmp_store.put_many(records).n_new == len(specs)
    for record in records:
        assert_same(tmp_store.find(record.spec), record)


# From what is asked to what is stored


def test_two_names_of_the_same_weights_share_one_result(tmp_store, make_record, make_spec):
    record = make_record()
    alias = dataclasses.replace(
        record.spec, checkpoint=dataclasses.replace(record.spec.checkpoint, revision="main", step=143000)
    )
    tmp_store.put(record)
    tmp_store.resolve(alias, record.key)
    assert tmp_store.find(alias).spec == alias
    assert tmp_store.find(record.spec).spec == record.spec
    assert [(s.revision, s.key_digest) for s in tmp_store.summaries()] == [
        ("step1000", record.key.digest),
        ("main", record.key.digest),
    ]


def test_the_last_resolution_wins(tmp_store, make_record):
    before = make_record()
    key_after = dataclasses.replace(before.key, weight_files=(("model.safetensors", "ee" * 32),))
    after = dataclasses.replace(before, key=key_after, loglikelihoods=before.loglikelihoods - 1)
    tmp_store.put(before)
    tmp_store.put(after)
    assert tmp_store.find(before.spec).key == before.key
    tmp_store.resolve(before.spec, key_after)
    assert tmp_store.find(before.spec).key == key_after


def test_the_first_result_of_a_spec_answers_it_whatever_its_file_is_called(tmp_store, make_record):
    before = make_record()
    later = [
        dataclasses.replace(
            before,
            key=dataclasses.replace(before.key, weight_files=(("model.safetensors", f"{n:064x}"),)),
            loglikelihoods=before.loglikelihoods - n,
        )
        for n in range(1, 7)
    ]
    for record in (before, *later):
        tmp_store.put(record)
    tmp_store.put_many(reversed([before, *later]))
    for opened in (tmp_store, Store.open(tmp_store.path)):
        assert opened.find(before.spec).key == before.key
        assert len(opened.summaries()) == 1 and opened.count() == 7
    tmp_store.join(before.spec.checkpoint)
    assert Store.open(tmp_store.path).find(before.spec).key == before.key


def test_a_resolution_without_its_result_is_missing(tmp_store, make_record):
    record = make_record()
    tmp_store.resolve(record.spec, record.key)
    assert tmp_store.find(record.spec) is None
    assert tmp_store.status([record.spec]) == {record.spec: "missing"}
    assert tmp_store.summaries() == []


def test_a_list_that_is_kept_is_of_what_is_stored_now(tmp_store, make_record, monkeypatch):
    tmp_store.put(make_record())
    assert [s.is_current for s in tmp_store.summaries()] == [True]
    tmp_store.summaries().clear()
    Store.open(tmp_store.path).put(make_record(demo_seed=21))
    assert [s.is_current for s in tmp_store.summaries()] == [True, True]
    monkeypatch.setattr(cells, "SCORING_VERSION", cells.SCORING_VERSION + 1)
    assert [s.is_current for s in tmp_store.summaries()] == [False, False]


def test_results_of_older_scoring_or_task_count_as_missing_until_computed_again(tmp_store, make_record, monkeypatch):
    old = make_record()
    tmp_store.put(old)
    monkeypatch.setattr(cells, "SCORING_VERSION", old.key.scoring_version + 1)
    assert tmp_store.find(old.spec) is None
    assert tmp_store.status([old.spec]) == {old.spec: "missing"}
    assert [s.is_current for s in tmp_store.summaries()] == [False]
    assert_same(tmp_store.get(old.key), old)
    new = dataclasses.replace(old, key=dataclasses.replace(old.key, scoring_version=old.key.scoring_version + 1))
    tmp_store.put(new)
    assert tmp_store.find(old.spec).key == new.key


def test_find_many_and_status_leave_out_what_is_missing(tmp_store, make_record, make_spec):
    records = [make_record(demo_seed=seed) for seed in (13, 21, 42)]
    tmp_store.put_many(records)
    absent = make_spec(demo_seed=87)
    specs = [absent, *(r.spec for r in records)]
    assert list(tmp_store.find_many(specs)) == specs[1:]
    assert list(tmp_store.status(specs).values()) == ["missing", "complete", "complete", "complete"]


def test_summaries_give_the_accuracy_of_the_rows(tmp_store, make_record):
    record = make_record(step=4000, label_setting="random")
    tied = record.loglikelihoods.copy()
    tied[0] = tied[0].max()
    record = dataclasses.replace(record, loglikelihoods=tied)
    tmp_store.put(record)
    (row,) = tmp_store.summaries()
    correct = [int(max(range(2), key=lambda i, r=r: (tied[r, i], -i))) == record.gold[r] for r in range(25)]
    assert row.accuracy == sum(correct) / 25
    assert (row.model, row.step, row.label_setting, row.n_examples, row.n_choices) == (
        "pythia-70m",
        4000,
        "random",
        25,
        2,
    )
    assert (row.date, row.is_current, row.spec) == ("2025-01-31T12:00:00+00:00", True, record.spec)


def test_the_generation_grows_with_results_and_resolutions_alone(tmp_store, make_record):
    seen = [tmp_store.generation()]
    record = make_record()
    for action, grows in (
        (lambda: tmp_store.put(record), True),
        (lambda: tmp_store.put(record), False),
        (lambda: tmp_store.reservations.take(record.key, "me"), False),
        (lambda: tmp_store.notes.put("rates", "cpu", "1.5"), False),
        (lambda: tmp_store.resolve(dataclasses.replace(record.spec, data_dir="/data"), record.key), True),
        (lambda: tmp_store.resolve(dataclasses.replace(record.spec, data_dir="/data"), record.key), False),
    ):
        action()
        seen.append(Store.open(tmp_store.path).generation())
        assert (seen[-1] > seen[-2]) is grows


def test_notes_are_kept_and_replaced(tmp_store):
    tmp_store.notes.put("hub", "EleutherAI/pythia-70m", "[1]")
    tmp_store.notes.put("hub", "EleutherAI/pythia-70m", "[2]")
    assert Store.open(tmp_store.path).notes.get("hub", "EleutherAI/pythia-70m") == "[2]"
    assert tmp_store.notes.get("rates", "EleutherAI/pythia-70m") is None


# Kills


def put_until_killed(path, records, log_path):
    results = Store.open(path)
    log = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for record in records:
        if not results.has(record.key):
            results.put(record)
            os.write(log, f"{record.key.digest}\n".encode())


def test_kill_at_any_moment_loses_at_most_the_running_cell(tmp_path, make_record):
    records = [make_record(demo_seed=seed, n_examples=4) for seed in range(500)]
    delays = np.random.default_rng().uniform(0.0, 0.1, size=5)
    path, log = tmp_path / "store", tmp_path / "log"
    log.touch()
    for delay in delays:
        n_before = len(log.read_text().split())
        child = fork.Process(target=put_until_killed, args=(path, records, log))
        child.start()
        while child.is_alive() and len(log.read_text().split()) == n_before:
            time.sleep(0.002)
        time.sleep(delay)
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        assert child.exitcode == -signal.SIGKILL
        results = Store.open(path)
        reported = set(log.read_text().split())
        stored = {r.key.digest for r in records if results.get(r.key) is not None}
        assert reported <= stored
        report = verify_store(path)
        assert report.n_cells == len(stored)
        assert not report.damaged and not report.fileless and not report.faults
    assert len(stored) - len(reported) <= len(delays)


def die_at(path, record, place):
    results = Store.open(path)

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    if place == "before the file is renamed":
        os.replace = die
    else:
        Store._index = die
    results.put(record)


@pytest.mark.parametrize("place", ["before the file is renamed", "before the index is written"])
def test_kill_in_the_middle_of_a_put(tmp_path, make_record, place):
    record, path = make_record(), tmp_path / "store"
    assert run_children(die_at, [(path, record, place)]) == [-signal.SIGKILL]
    results = Store.open(path)
    is_there = place == "before the index is written"
    assert results.has(record.key) is is_there
    assert (results.get(record.key) is not None) is is_there
    assert (results.find(record.spec) is not None) is is_there
    results.resolve(record.spec, record.key)
    assert results.put(record) is not is_there
    assert_same(results.find(record.spec), record)
    assert verify_store(path).is_healthy


# Full disks


def test_a_full_disk_while_the_file_is_written_leaves_nothing_behind(tmp_store, make_record, monkeypatch):
    stored, record = make_record(demo_seed=21), make_record()
    tmp_store.put(stored)

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match=r"No space left on device.*free disk space"):
            tmp_store.put(record)
    assert tmp_store.get(record.key) is None
    assert [p for p in tmp_store.results.rglob("*") if p.is_file()] == [file_of(tmp_store, stored.key.digest)]
    assert_same(tmp_store.get(stored.key), stored)
    assert tmp_store.put(record) is True


def test_a_full_disk_while_the_index_is_written_keeps_the_store_usable(tmp_store, make_record):
    records = [make_record(demo_seed=seed, n_examples=2) for seed in range(350)]
    tmp_store.rows.cache._sql("PRAGMA max_page_count = 14").fetchall()
    with pytest.raises(StoreError, match="disk is full"):
        tmp_store.put_many(records)
    assert tmp_store.summaries() == [] and not tmp_store.has(records[0].key)
    report = tmp_store.put_many(records)
    assert report.n_new + report.n_kept == len(records)
    assert len(tmp_store.summaries()) == len(records)
    assert verify_store(tmp_store.path).is_healthy


def put_under_a_file_limit(path, small, large):
    results = Store.open(path)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    results.put(small)
    try:
        results.put(large)
    except StoreError as error:
        is_clean = results.get(large.key) is None and results.get(small.key) is not None
        os._exit(0 if is_clean and "cannot be read or written" in str(error) else 3)
    os._exit(4)


def test_a_file_that_the_system_cuts_is_never_a_result(tmp_path, make_record):
    small, large = make_record(), make_record(n_examples=60_000, demo_seed=21)
    assert run_children(put_under_a_file_limit, [(tmp_path / "store", small, large)]) == [0]
    results = Store.open(tmp_path / "store")
    assert results.put(large) is True
    assert_same(results.get(large.key), large)


# Several processes


def put_all(path, records, log_path, start):
    start.wait()
    results = Store.open(path)
    start.wait()
    n_new = sum(results.put(r) for r in records)
    log_path.write_text(str(n_new))


def test_processes_on_one_new_store_lose_and_repeat_nothing(tmp_path, make_record):
    records = [make_record(demo_seed=seed) for seed in range(12)]
    logs, start = [tmp_path / f"log{i}" for i in range(3)], fork.Barrier(3)
    arguments = [(tmp_path / "store", records, log, start) for log in logs]
    assert run_children(put_all, arguments) == [0, 0, 0]
    assert sum(int(log.read_text()) for log in logs) == len(records)
    assert len(Store.open(tmp_path / "store").summaries()) == len(records)
    assert verify_store(tmp_path / "store").is_healthy


def reserve_all(path, keys, log_path, start):
    results = Store.open(path)
    start.wait()
    log_path.write_text(json.dumps([key.demo_seed for key in keys if results.reservations.take(key, log_path.name)]))
    start.wait()  # the reservations of a process that has ended are free


def test_each_cell_is_reserved_by_one_process(tmp_path, make_record):
    keys = [make_record(demo_seed=seed).key for seed in range(10)]
    logs, start = [tmp_path / f"log{i}" for i in range(3)], fork.Barrier(3)
    Store.open(tmp_path / "store")
    arguments = [(tmp_path / "store", keys, log, start) for log in logs]
    assert run_children(reserve_all, arguments) == [0, 0, 0]
    assert sorted(seed for log in logs for seed in json.loads(log.read_text())) == list(range(10))


def test_an_index_that_is_locked_for_a_moment_opens(tmp_path, monkeypatch):
    real, refusals = diskcache.Cache, [sqlite3.OperationalError("database is locked")] * 3

    def cache(*arguments, **options):
        if refusals:
            raise refusals.pop()
        return real(*arguments, **options)

    monkeypatch.setattr(diskcache, "Cache", cache)
    assert open_cache(tmp_path / "index", timeout_s=60).get("anything") is None
    refusals += [sqlite3.OperationalError("database is locked")] * 10_000
    with pytest.raises(StoreError, match="locked"):
        open_cache(tmp_path / "index", timeout_s=0.05)
    refusals[:] = [sqlite3.OperationalError("disk I/O error")] * 2
    with pytest.raises(StoreError, match="disk I/O"):
        open_cache(tmp_path / "index", timeout_s=60)
    assert len(refusals) == 1, "only a lock is waited for"


def test_a_reservation_is_renewed_given_back_and_taken_over_when_stale(tmp_store, make_record, monkeypatch):
    key = make_record().key
    now = [1000.0]
    monkeypatch.setattr(reservations.time, "time", lambda: now[0])
    assert tmp_store.reservations.take(key, "a") and tmp_store.reservations.take(key, "a")
    now[0] += reservations.STALE_SECONDS - 1
    assert not tmp_store.reservations.take(key, "b")
    assert tmp_store.reservations.heartbeat(key, "a")
    now[0] += reservations.STALE_SECONDS - 1
    assert not tmp_store.reservations.take(key, "b")
    now[0] += 2
    assert tmp_store.reservations.take(key, "b")
    assert not tmp_store.reservations.heartbeat(key, "a")
    tmp_store.reservations.release(key, "a")
    assert not tmp_store.reservations.take(key, "c")
    tmp_store.reservations.release(key, "b")
    assert tmp_store.reservations.take(key, "c")


def test_a_writer_that_cannot_get_the_lock_says_so(tmp_path, make_record, monkeypatch):
    results = Store(Rows(tmp_path, open_cache(tmp_path / "index", timeout_s=0.01)))
    holder = database(tmp_path)
    holder.execute("BEGIN IMMEDIATE")
    begin, begun = results.rows.cache.transact, []
    monkeypatch.setattr(results.rows.cache, "transact", lambda: begun.append(1) or begin())
    with pytest.raises(StoreError, match="Another process has held"):
        results.put(make_record())
    holder.rollback()
    holder.close()
    assert len(begun) == WRITE_ATTEMPTS
    assert results.put(make_record()) is True


# Damage and foreign files


def test_an_altered_cell_is_refused_with_its_name_and_what_to_do(tmp_store, make_record):
    record, beside = make_record(), make_record(demo_seed=21)
    tmp_store.put_many([record, beside])
    path = alter_cell(tmp_store, record.key.digest)
    for read in (lambda: tmp_store.get(record.key), lambda: tmp_store.find(record.spec)):
        with pytest.raises(StoreError, match=f"{record.key.digest[:12]} is damaged.*sha256.*--verify.*--rebuild"):
            read()
    assert not tmp_store.has(record.key) and tmp_store.has(beside.key)
    assert_same(tmp_store.find(beside.spec), beside)
    assert tmp_store.put(record) is True, "computed again"
    assert not path.exists() and len(list((tmp_store.path / "damaged").iterdir())) == 1
    assert tmp_store.damage == {} and verify_store(tmp_store.path).is_healthy
    for each in (record, beside):
        assert_same(Store.open(tmp_store.path).find(each.spec), each)


@pytest.mark.parametrize("length", [0, 10, 1000, -1])
def test_a_cut_file_is_refused(tmp_store, make_record, length):
    record, beside = make_record(), make_record(demo_seed=21)
    tmp_store.put(record)
    tmp_store.put(beside)
    path = file_of(tmp_store, record.key.digest)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(StoreError, match=r"is damaged .*cannot be read as Parquet"):
        tmp_store.get(record.key)
    assert tmp_store.get(beside.key) is not None
    assert tmp_store.put(record) is True


def test_a_file_that_is_gone_is_a_missing_result(tmp_store, make_record):
    record, beside = make_record(), make_record(demo_seed=21)
    tmp_store.put(record)
    tmp_store.put(beside)
    file_of(tmp_store, record.key.digest).unlink()
    assert list(tmp_store.find_many([record.spec, beside.spec])) == [beside.spec]
    assert not tmp_store.has(record.key)
    again = Store.open(tmp_store.path)
    assert again.status([record.spec, beside.spec]) == {record.spec: "missing", beside.spec: "complete"}
    assert again.damage == {} and again.put(record) is True


def test_a_record_of_another_key_is_refused(tmp_store, make_record):
    asked, other = make_record(), make_record(demo_seed=21)
    for record in (asked, other):
        tmp_store.put(record)
    names = [f"segment/pythia-70m/{file_of(tmp_store, record.key.digest).name}" for record in (asked, other)]
    texts = [tmp_store.rows.get(name) for name in names]
    for name, text in zip(names, reversed(texts), strict=True):
        tmp_store.rows.cache.set(name, text)
    with pytest.raises(StoreError, match=f"it holds the key {other.key.digest[:12]}"):
        Store.open(tmp_store.path).get(asked.key)


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"cells":[[0]],"checkpoints":[],"options":[]}', "[" * 5000])
def test_a_row_of_the_index_that_cannot_be_read_costs_nothing(tmp_store, make_record, text):
    record = make_record()
    tmp_store.put(record)
    tmp_store.rows.cache.set(f"segment/pythia-70m/{file_of(tmp_store, record.key.digest).name}", text)
    again = Store.open(tmp_store.path)
    assert_same(again.find(record.spec), record)
    assert len(again.summaries()) == 1 and again.damage == {}


def test_what_is_whole_of_a_damaged_file_is_read_where_the_index_is_lost_too(tmp_store, make_record):
    records = [make_record(demo_seed=seed) for seed in range(4)]
    tmp_store.put_many(records)
    path = alter_cell(tmp_store, records[2].key.digest)
    tmp_store.close()
    shutil.rmtree(tmp_store.path / "index")
    opened = Store.open(tmp_store.path)
    assert path.name[:40] in str(opened.damage_words)
    whole = [record for record in records if record is not records[2]]
    for again in (opened, Store.open(tmp_store.path)):
        assert list(again.find_many(record.spec for record in records)) == [record.spec for record in whole]
    assert opened.put(records[2]) is True
    for record in records:
        assert_same(opened.find(record.spec), record)


def test_results_in_an_older_layout_are_not_passed_over_in_silence(tmp_store, make_record):
    tmp_store.put(make_record())
    (tmp_store.path / "cells").mkdir()
    opened = Store.open(tmp_store.path)
    assert "layout of an older version" in str(opened.damage_words) and len(opened.summaries()) == 1


# Files joined


def test_joining_keeps_every_record_bit_by_bit(tmp_store, make_record):
    mine = [make_record(demo_seed=seed, task=task) for task in ("trec", "sst2") for seed in (21, 13)]
    other = make_record(step=2000)
    for record in (*mine, other):
        tmp_store.put(record)
    reader = Store.open(tmp_store.path)
    assert len(reader.find_many(record.spec for record in mine)) == 4
    assert tmp_store.join(mine[0].spec.checkpoint) == 4
    assert tmp_store.join(mine[0].spec.checkpoint) == 0
    assert len(list(tmp_store.results.rglob("*"))) == 1 + 2
    for opened in (tmp_store, reader, Store.open(tmp_store.path)):
        for record in (*mine, other):
            assert_same(opened.find(record.spec), record)
        assert opened.damage == {}
    assert verify_store(tmp_store.path).is_healthy


def test_a_result_that_two_writers_stored_is_there_once_after_joining(tmp_store, make_record):
    records = [make_record(demo_seed=seed) for seed in range(3)]
    tmp_store.put_many(records[:2])
    write_segment(tmp_store.results / "pythia-70m", table_of(records[1:]))  # by one that was killed before it said so
    opened = Store.open(tmp_store.path)
    assert opened.count() == len(opened.summaries()) == 3
    assert opened.join(records[0].spec.checkpoint) == 2
    assert len(pd.read_parquet(tmp_store.results)) == 3
    for record in records:
        assert_same(Store.open(tmp_store.path).find(record.spec), record)


def test_joining_leaves_a_damaged_file_alone(tmp_store, make_record):
    mine = [make_record(demo_seed=seed) for seed in range(3)]
    for record in mine:
        tmp_store.put(record)
    alter_cell(tmp_store, mine[0].key.digest)
    assert tmp_store.join(mine[0].spec.checkpoint) == 2
    assert list(tmp_store.find_many(record.spec for record in mine)) == [record.spec for record in mine[1:]]


def test_joining_leaves_a_file_alone_that_holds_a_row_of_something_else(tmp_store, make_record):
    records = [make_record(demo_seed=seed) for seed in range(3)]
    lie = dataclasses.replace(records[1], demonstration_labels=())
    folder = tmp_store.results / "pythia-70m"
    paths = [write_segment(folder, table_of(each)) for each in ([records[0], lie], [records[2]])]
    opened = Store.open(tmp_store.path)
    assert opened.join(records[0].spec.checkpoint) == 0 and all(path.exists() for path in paths)
    assert [opened.find(record.spec) is not None for record in records] == [True, False, True]


def join_and_die(path, checkpoint, place):
    results = Store.open(path)

    def die(*_, **__):
        os.kill(os.getpid(), signal.SIGKILL)

    if place == "before the index is written":
        Store._index = die
    else:
        Path.unlink = die
    results.join(checkpoint)


@pytest.mark.parametrize("place", ["before the index is written", "before the old files go"])
def test_kill_in_the_middle_of_joining(tmp_path, make_record, place):
    records, path = [make_record(demo_seed=seed) for seed in range(5)], tmp_path / "store"
    for record in records:
        Store.open(path).put(record)
    assert run_children(join_and_die, [(path, records[0].spec.checkpoint, place)]) == [-signal.SIGKILL]
    results = Store.open(path)
    for record in records:
        assert_same(results.find(record.spec), record)
    assert len(results.summaries()) == 5 and verify_store(path).is_healthy
    results.join(records[0].spec.checkpoint)
    assert len(list(results.results.glob("*/*"))) == 1 and verify_store(path).n_cells == 5


# Foreign files


@pytest.mark.parametrize("content", ["text", "table"])
def test_a_foreign_file_in_the_folder_is_said_and_left_alone(tmp_store, make_record, content):
    record = make_record()
    tmp_store.put(record)
    foreign = tmp_store.results / "pythia-70m" / "mine.parquet"
    if content == "text":
        foreign.write_text("mine")
    else:
        pq.write_table(pa.table({"a": [1]}), foreign)
    opened = Store.open(tmp_store.path)
    assert "mine.parquet" in str(opened.damage_words)
    assert_same(opened.find(record.spec), record)
    assert len(opened.summaries()) == 1 and foreign.exists()
    assert [name for name, _ in verify_store(tmp_store.path).damaged] == ["pythia-70m/mine.parquet"]


def test_pandas_reads_the_results_of_a_store(tmp_store, make_record):
    records = [make_record(demo_seed=seed, step=step) for seed in (13, 21) for step in (1000, 2000)]
    for record in records:
        tmp_store.put(record)
    frame = pd.read_parquet(tmp_store.results).set_index(["step", "demo_seed"])
    for record in records:
        row = frame.loc[record.spec.checkpoint.step, record.spec.demo_seed]
        scores = row["loglikelihoods"].reshape(len(row["gold"]), -1)
        np.testing.assert_array_equal(scores, record.loglikelihoods)
        (summary,) = [each for each in tmp_store.summaries() if each.spec == record.spec]
        assert (scores.argmax(axis=1) == row["gold"]).mean() == summary.accuracy


@pytest.mark.parametrize("raw", [0, 1])
def test_a_pickled_row_is_refused_unread(tmp_store, make_record, tmp_path, raw):
    tmp_store.put(make_record())
    witness = tmp_path / "witness"
    attack = f"cposix\nsystem\n(S'touch {witness}'\ntR.".encode()
    with database(tmp_store.path) as connection:
        connection.execute(
            "INSERT INTO Cache (key, raw, mode, value, access_count) VALUES (?, ?, 4, ?, 0)", (attack, raw, attack)
        )
    connection.close()
    with pytest.raises(StoreError, match=r"1 pickled rows.*--rebuild"):
        Store.open(tmp_store.path)
    assert not witness.exists()


def test_the_disk_neither_writes_nor_reads_pickles(tmp_path):
    disk = TextDisk(str(tmp_path))
    for action in (
        lambda: disk.put(("a", 1)),
        lambda: disk.put(1),
        lambda: disk.store({"a": 1}, False),
        lambda: disk.store(1.5, False),
    ):
        with pytest.raises(TypeError):
            action()
    with pytest.raises(ValueError, match="pickled value"):
        disk.fetch(4, None, b"", False)
    with pytest.raises(ValueError, match="pickled key"):
        disk.get(b"", 0)


def test_another_programs_settings_are_refused(tmp_store):
    with database(tmp_store.path) as connection:
        connection.execute("UPDATE Settings SET value = 1000000 WHERE key = 'size_limit'")
    connection.close()
    with pytest.raises(StoreError, match=r"other settings \(size_limit\)"):
        Store.open(tmp_store.path)


def test_a_file_that_is_no_database_is_refused(tmp_store):
    (tmp_store.path / "index" / "cache.db").write_bytes(b"no database at all" * 1000)
    with pytest.raises(StoreError, match=r"cannot be opened.*not a database.*--rebuild"):
        Store.open(tmp_store.path)


def test_nothing_is_evicted_and_the_folder_is_private(tmp_store):
    index = tmp_store.rows.cache
    assert (index.eviction_policy, index.cull_limit, index.size_limit) == ("none", 0, 2**60)
    assert index._sql("PRAGMA journal_mode").fetchall() == [("delete",)]
    assert index.cull() == 0
    assert (tmp_store.path / "index").stat().st_mode & 0o777 == 0o700


def test_an_unreadable_resolution_costs_its_own_cell_alone(tmp_store, make_record):
    record, other = make_record(), make_record(demo_seed=21)
    tmp_store.put_many([record, other])
    name = f"resolution/{record.spec.digest}"
    tmp_store.rows.cache.set(name, canonical_json({"digest": "x"})[:-3])
    assert tmp_store.find(record.spec) is None
    assert [summary.spec for summary in tmp_store.summaries()] == [other.spec]
    assert list(tmp_store.damage) == [name]
    tmp_store.resolve(record.spec, record.key)
    assert len(tmp_store.summaries()) == 2 and tmp_store.damage == {}


def test_the_default_place_is_the_settings_one(tmp_path, monkeypatch):
    monkeypatch.setenv("ICL_OBSERVATORY_STORE", str(tmp_path / "elsewhere"))
    assert Store.open().path == tmp_path / "elsewhere"
