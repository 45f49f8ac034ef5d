"""The store under damage, full and locked disks, a clock set back, and an index that a stranger made."""

from __future__ import annotations

import dataclasses
import errno
import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import diskcache
import hypothesis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st

from icl_core.errors import JobError, ObservatoryError, StoreError
from icl_core.evaluation import index, job_processes, job_table, jobs, segments, store
from icl_core.evaluation.bundle import export_bundle, read_manifest
from icl_core.evaluation.codec import check_record, encode_record
from icl_core.evaluation.exclusions import excluded_checkpoints, note_identities
from icl_core.evaluation.reservations import OwnReservations
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study, validate_study
from icl_core.evaluation.upkeep import rebuild_store, verify_store
from icl_core.owners import Owner, lives, owner_of
from icl_core.records import CellRecord, CheckpointIdentity, canonical_json, plain_fields
from tests.support.records import record_of
from tests.support.sentences import assert_one_sentence
from tests.support.stores import file_of

fork = multiprocessing.get_context("fork")
SQLITE = "https://www.sqlite.org/howtocorrupt.html"


@pytest.fixture
def records() -> list[CellRecord]:
    return [record_of(demo_seed=seed) for seed in range(4)]


@pytest.fixture
def filled(tmp_path: Path, records: list[CellRecord]) -> Path:
    opened = Store.open(tmp_path / "store")
    for record in records:
        opened.put(record)
    opened.notes.put("rates", "cpu", "1.5")
    opened.close()
    return opened.path


def sql(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path / "index" / "cache.db")) as connection, connection:
        connection.execute(statement, values)


def set_row(path: Path, name: str, value: object) -> None:
    sql(path, "UPDATE Cache SET value = ? WHERE key = ?", value, name)


def all_found(path: Path, records: list[CellRecord]) -> bool:
    opened = Store.open(path)
    found = opened.find_many(record.spec for record in records)
    opened.close()
    return [encode_record(found[record.spec]) for record in records if record.spec in found] == [
        encode_record(record) for record in records
    ]


# Damage


@pytest.mark.stands_for(SQLITE, "one flipped bit in a row of the index: reading it fails, and so did its remedy")
def test_a_flipped_bit_in_an_index_row_costs_nothing(filled: Path, records: list[CellRecord]) -> None:
    opened = Store.open(filled)
    name = f"segment/pythia-70m/{file_of(opened, records[0].key.digest).name}"
    opened.resolve(dataclasses.replace(records[1].spec, data_dir="/data"), records[1].key)
    opened.close()
    data = bytearray(str(opened.rows.get(name)).encode())
    data[100] ^= 0x80  # no UTF-8 any more
    sql(filled, "UPDATE Cache SET value = CAST(? AS TEXT) WHERE key = ?", bytes(data), name)
    sql(filled, "UPDATE Cache SET value = CAST(x'ff' AS TEXT) WHERE key LIKE 'resolution/%'")
    assert all_found(filled, records)
    opened = Store.open(filled)
    assert [summary.demo_seed for summary in opened.summaries()] == [0, 1, 2, 3]
    assert_one_sentence(str(opened.damage_words))
    opened.close()
    rebuild_store(filled)
    assert verify_store(filled).is_healthy and all_found(filled, records)
    assert Store.open(filled).damage_words is None


@pytest.mark.stands_for(SQLITE, "one damaged entry of a cache is no reason to lose the others")
def test_a_damaged_cell_is_neither_stored_nor_a_reason_to_refuse_all(
    filled: Path, records: list[CellRecord], tmp_path: Path
) -> None:
    opened, lost = Store.open(filled), records[0]
    path = file_of(opened, lost.key.digest)
    path.write_bytes(path.read_bytes()[:-40])
    assert not opened.has(lost.key)
    assert len(opened.find_many(record.spec for record in records)) == 3
    assert opened.status([lost.spec]) == {lost.spec: "missing"}
    left_out: list[str] = []
    assert export_bundle(opened, tmp_path / "bundle", specs=[r.spec for r in records[1:]]).n_cells == 3
    again = Store.open(filled)
    assert export_bundle(again, tmp_path / "bundle", tell=left_out.append).n_cells == 3
    assert len(left_out) == 1 and lost.key.digest[:12] in left_out[0]
    assert opened.put(lost) is True and all_found(filled, records)


@pytest.mark.stands_for(SQLITE, "a damaged note of what is excluded stopped every page")
@pytest.mark.parametrize("text", ["[[{}]]", "[1]", "{", "[" * 5000, '[["a", "b"]]'])
def test_a_damaged_note_is_passed_over_and_said(filled: Path, records: list[CellRecord], text: str) -> None:
    opened, checkpoint = Store.open(filled), records[0].spec.checkpoint
    opened.notes.put("identities", checkpoint.model, text)
    assert excluded_checkpoints(opened, [checkpoint]) == {}
    assert_one_sentence(str(opened.damage_words))
    note_identities(opened, {checkpoint: CheckpointIdentity("", (("w", "0" * 64),), "t", 8)})
    assert excluded_checkpoints(Store.open(filled), [checkpoint]) == {}


@pytest.mark.stands_for("pytorch#31877", "a file of a later version was reported as a damaged one")
def test_a_file_of_a_newer_layout_is_not_called_damaged_and_stays(filled: Path, records: list[CellRecord]) -> None:
    newer = filled / "results" / "pythia-70m" / f"{'0' * 64}.parquet"
    table = segments.table_of([record_of(demo_seed=9)]).append_column("more", pa.array([1]))
    pq.write_table(table.replace_schema_metadata({segments._FORMAT_KEY: "2"}), newer)
    data, opened = newer.read_bytes(), Store.open(filled)
    assert "newer version" in str(opened.damage_words) and all_found(filled, records)
    report = verify_store(filled)
    assert (report.newer, report.damaged, report.n_cells) == ((f"pythia-70m/{newer.name}",), (), 4)
    assert rebuild_store(filled).newer == report.newer and newer.read_bytes() == data


# Full, read-only and locked


def refusing(code: int, words: str) -> Callable[..., Any]:
    def refuse(*_: object, **__: object) -> None:
        error = sqlite3.OperationalError(words)
        error.sqlite_errorcode = code
        raise error

    return refuse


@pytest.mark.stands_for("https://www.sqlite.org/rescode.html#full", "a cache on a full or read-only disk is not opened")
@pytest.mark.parametrize(
    ("code", "words", "remedy"),
    [
        (sqlite3.SQLITE_FULL, "database or disk is full", "free disk space"),
        (sqlite3.SQLITE_READONLY, "attempt to write a readonly database", "mount it for writing"),
    ],
)
def test_a_store_that_cannot_be_written_is_read_and_exported(
    filled: Path,
    records: list[CellRecord],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    words: str,
    remedy: str,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(diskcache, "Cache", refusing(code, words))
        opened = Store.open(filled)
        assert_one_sentence(str(opened.trouble))
        assert words in str(opened.trouble) and remedy in str(opened.trouble)
        assert len(opened.summaries()) == 4 and all_found(filled, records)
        assert export_bundle(opened, tmp_path / "bundle").n_cells == 4
        assert verify_store(filled).is_healthy
        for write in (lambda: opened.put(record_of(demo_seed=9)), lambda: rebuild_store(filled)):
            with pytest.raises(StoreError, match=remedy):
                write()
        assert [p.name for p in filled.glob("index*")] == ["index"], "a healthy index is not set aside"
    assert opened.put(record_of(demo_seed=9)) is True, "there is room again"
    assert opened.trouble is None and opened.notes.get("rates", "cpu") == "1.5"


@pytest.mark.stands_for("https://www.sqlite.org/rescode.html#busy", "a rebuild took a locked index for a damaged one")
def test_a_locked_index_is_not_set_aside(
    filled: Path, records: list[CellRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "LOCK_TIMEOUT_S", 0.1)
    with closing(sqlite3.connect(filled / "index" / "cache.db", isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        for look in (verify_store, rebuild_store, Store.open):
            with pytest.raises(StoreError, match="another process holds the index") as caught:
                look(filled)
            assert_one_sentence(str(caught.value))
        holder.execute("ROLLBACK")
    assert rebuild_store(filled).is_healthy
    assert [p.name for p in filled.glob("index*")] == ["index"] and all_found(filled, records)


def put_records(path: Path, n: int, begun: Any) -> None:
    opened = Store.open(path)
    for seed in range(100, 100 + n):
        opened.put(record_of(demo_seed=seed))
        begun.set()


@pytest.mark.stands_for(SQLITE, "two programs mend and write one database at the same time")
def test_a_rebuild_while_a_run_writes_loses_nothing(filled: Path, records: list[CellRecord]) -> None:
    begun = fork.Event()
    child = fork.Process(target=put_records, args=(filled, 40, begun))
    child.start()
    begun.wait()
    n_rebuilt = 0
    while child.is_alive():
        rebuild_store(filled)
        n_rebuilt += 1
    child.join()
    assert child.exitcode == 0 and n_rebuilt > 0
    assert verify_store(filled).is_healthy
    assert all_found(filled, [*records, *(record_of(demo_seed=seed) for seed in range(100, 140))])


@pytest.mark.stands_for(SQLITE, "section 2.4: renaming a database that another process has open")
def test_a_damaged_index_is_not_renamed_under_a_process_that_has_it_open(filled: Path) -> None:
    database = filled / "index" / "cache.db"
    database.write_bytes(database.read_bytes()[:9000])
    code = f"f = open({str(database)!r}); print('open', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline()
        with pytest.raises(StoreError, match=f"processes {holder.pid} have it open"):
            rebuild_store(filled)
        holder.communicate(b"\n")
    rebuild_store(filled)
    assert verify_store(filled).is_healthy


@pytest.mark.stands_for(
    "https://man7.org/linux/man-pages/man2/write.2.html",
    "a disk that fills up in the middle of writing left half a file",
)
def test_a_disk_that_is_full_for_a_while_costs_no_older_export(
    filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, target = Store.open(filled), tmp_path / "bundle"
    before = export_bundle(opened, target)
    opened.put(record_of(demo_seed=9))

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for place in ("pyarrow.parquet.ParquetWriter.write_table", "pathlib.Path.write_text"):
        with monkeypatch.context() as patch:
            patch.setattr(place, full)
            with pytest.raises(StoreError, match=r"No space left on device.*free disk space"):
                export_bundle(opened, target)
        assert read_manifest(target) == before
        assert sorted(p.name for p in target.iterdir()) == ["cells.parquet", "manifest.json"]
    assert export_bundle(opened, target).n_cells == 5


@pytest.mark.stands_for("icl-observatory", "a store copied without its index was shown as empty")
def test_an_index_that_is_missing_beside_cells_is_made_from_them(filled: Path, records: list[CellRecord]) -> None:
    shutil.rmtree(filled / "index")
    assert verify_store(filled).unindexed
    assert len(Store.open(filled).summaries()) == 4 and all_found(filled, records)
    assert verify_store(filled).is_healthy


# The clock, and the dead


def ended_process() -> Owner:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        owner = owner_of(process.pid)
        process.communicate(b"\n")
    assert owner is not None
    return owner


@pytest.mark.stands_for(
    "https://man7.org/linux/man-pages/man5/proc.5.html", "ages by a clock that was set back an hour"
)
def test_reservations_after_the_clock_was_set_back(filled: Path, records: list[CellRecord]) -> None:
    opened, key = Store.open(filled), records[0].key
    hour_ahead = time.time() + 3600
    living, dead = owner_of(), ended_process()
    assert living is not None and lives(living) and lives(dead) is False
    elsewhere = Owner("another machine", 1, 1.0)
    for owner, beat, is_free in (
        (dead, hour_ahead, True),
        (dead, time.time(), True),
        (living, hour_ahead, False),
        (living, time.time() - 3600, True),
        (elsewhere, time.time(), False),
        (elsewhere, hour_ahead, True),
    ):
        text = canonical_json({"owner": "other", "time": beat, **dataclasses.asdict(owner)})
        opened.rows.cache.set(f"claim/{key.digest}", text)
        assert opened.reservations.take(key, "me") is is_free, (owner, beat)


@pytest.mark.stands_for("icl-observatory", "49 kills left 725 claims and 4 temporary files")
def test_what_killed_runs_have_left_is_cleared_when_a_run_begins(filled: Path, records: list[CellRecord]) -> None:
    opened, dead, old = Store.open(filled), ended_process(), time.time() - 7200
    for record in records:
        text = canonical_json({"owner": "other", "time": time.time() + 3600, **dataclasses.asdict(dead)})
        opened.rows.cache.set(f"claim/{record.key.digest}", text)
    file = file_of(opened, records[0].key.digest)
    left = [file.with_name(f".{file.name}.{dead.pid}-7.tmp"), filled / f"hashes.json.{dead.pid}"]
    kept = [file.with_name(f".{file.name}.{os.getpid()}-7.tmp"), filled / "hashes.json"]
    for path in (*left, *kept):
        path.write_text("half")
        os.utime(path, (old, old))
    opened.clear_leftovers()
    with OwnReservations(opened.reservations) as own:
        assert opened.rows.names("claim/") == [] and not any(path.exists() for path in left)
        assert all(path.exists() for path in kept)
        assert len(own.take(record.key for record in records)) == 4


@pytest.mark.stands_for("https://man7.org/linux/man-pages/man5/proc.5.html", "a dead job held its device for an hour")
def test_jobs_after_the_clock_was_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_processes, "_launch", lambda folder, job_id: None)
    first = jobs.submit_payload("evaluate", {}, title="first", device="cpu", store_path=tmp_path)
    second = jobs.submit_payload("evaluate", {}, title="second", device="cpu", store_path=tmp_path)
    dead, ahead = ended_process(), time.time() + 3600
    with job_table.job_table(tmp_path) as table:
        job_table.update(
            table, first, host=dead.place, pid=dead.pid, pid_started=dead.started, beat=ahead, cancel_asked=ahead
        )
    monkeypatch.setattr(job_processes, "SILENT_SECONDS", -1.0)
    job = jobs.read_job(first, store_path=tmp_path)
    assert (job.state, jobs.read_job(second, store_path=tmp_path).started is not None) == ("cancelled", True)


@pytest.mark.stands_for(
    "https://www.sqlite.org/rescode.html#readonly", "a list that is only read needed a disk to write"
)
def test_jobs_are_listed_on_a_disk_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_processes, "_launch", lambda folder, job_id: None)
    job_id = jobs.submit_payload("evaluate", {}, title="first", store_path=tmp_path)
    real = sqlite3.connect

    def read_only(path: object, **options: object) -> sqlite3.Connection:
        connection = real(path, **options)  # type: ignore[call-overload]
        connection.execute("PRAGMA query_only = ON")
        return connection

    monkeypatch.setattr(sqlite3, "connect", read_only)
    assert [job.id for job in jobs.list_jobs(store_path=tmp_path)] == [job_id]
    with pytest.raises(JobError, match="readonly"):
        jobs.cancel(job_id, store_path=tmp_path)


# Names


@pytest.mark.stands_for("json_reindent#12", "a lone surrogate passes json.loads and breaks whatever writes it later")
@pytest.mark.parametrize("name", ["a\udcff", "a\x00b", "a\nb", "a\u2028b", "", "x" * 5000])
@pytest.mark.parametrize("part", ["model", "revision", "task"])
def test_a_name_that_cannot_be_kept_is_refused_at_every_door(part: str, name: str) -> None:
    record = record_of()
    spec = record.spec
    if part == "task":
        spec, key = dataclasses.replace(spec, task=name), dataclasses.replace(record.key, task=name)
    else:
        spec, key = (
            dataclasses.replace(spec, checkpoint=dataclasses.replace(spec.checkpoint, **{part: name})),
            record.key,
        )
    with pytest.raises(StoreError, match="cannot be stored") as caught:
        check_record(dataclasses.replace(record, spec=spec, key=key))
    assert_one_sentence(str(caught.value))
    study = Study((spec.checkpoint,), (spec.task,), ("gold",), (13,))
    with pytest.raises(ObservatoryError) as refused:
        validate_study(study)
    assert_one_sentence(str(refused.value))


@pytest.mark.stands_for("json_reindent#12", "one name that is no text broke five pages, export and results")
def test_a_name_that_is_inside_already_harms_itself_alone(
    filled: Path, records: list[CellRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = dataclasses.replace(records[0].spec.checkpoint, revision="r\x00")
    bad = record_of(dataclasses.replace(records[0].spec, checkpoint=checkpoint, demo_seed=77))
    opened = Store.open(filled)
    with monkeypatch.context() as patch:
        patch.setattr(store, "check_record", lambda record: None)
        assert opened.put_many([bad]).n_new == 1
    again = Store.open(filled)
    assert [summary.demo_seed for summary in again.summaries()] == [0, 1, 2, 3]
    assert "U+0000" in str(again.damage_words)
    assert export_bundle(again, tmp_path / "bundle").n_cells == 4
    ((where, why),) = verify_store(filled).damaged
    assert where.endswith(", row 0") and "U+0000" in why
    rebuild_store(filled)
    assert verify_store(filled).is_healthy and all_found(filled, records)


# A stranger's index


STRANGE = {
    "a row that names a file": "UPDATE Cache SET filename = '../../precious.txt' WHERE key LIKE 'note/%'",
    "a row of another kind": "UPDATE Cache SET mode = 2 WHERE key LIKE 'note/%'",
    "a row that is a number": "UPDATE Cache SET value = 7 WHERE key LIKE 'note/%'",
    "a row that expires": "UPDATE Cache SET expire_time = 1.0 WHERE key LIKE 'note/%'",
    "a trigger": "CREATE TRIGGER t AFTER UPDATE ON Settings BEGIN DELETE FROM Cache; END",
    "a view": "CREATE VIEW v AS SELECT * FROM Cache",
    "a table": "CREATE TABLE more (x)",
    "a virtual table": "CREATE VIRTUAL TABLE v USING fts5(x)",
    "another pragma": "INSERT INTO Settings VALUES ('sqlite_writable_schema', 1)",
    "another counter": "UPDATE Settings SET value = 'a' WHERE key = 'count'",
}


@pytest.mark.stands_for("CVE-2025-69872", "a cache folder from elsewhere acts when it is opened")
@pytest.mark.parametrize("change", STRANGE)
def test_a_strangers_index_is_refused_unread_and_replaced(
    filled: Path, records: list[CellRecord], tmp_path: Path, change: str
) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("precious")
    sql(filled, STRANGE[change])
    with pytest.raises(StoreError, match="another program wrote to it") as caught:
        Store.open(filled)
    assert_one_sentence(str(caught.value))
    assert not verify_store(filled).is_healthy
    rebuild_store(filled)
    assert verify_store(filled).is_healthy and all_found(filled, records)
    assert precious.read_text() == "precious" and len(list(filled.glob("index.damaged-*"))) == 1


@pytest.mark.stands_for("CVE-2025-69872", "an index that is a link writes where the link leads")
@pytest.mark.parametrize("linked", ["index", "index/cache.db"])
def test_an_index_that_is_a_link_is_refused(filled: Path, tmp_path: Path, linked: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.move(filled / linked, elsewhere)
    (filled / linked).symlink_to(elsewhere)
    before = [(p, p.stat().st_mtime_ns, p.stat().st_mode) for p in (elsewhere, *elsewhere.glob("*"))]
    with pytest.raises(StoreError, match="a link"):
        Store.open(filled)
    rebuild_store(filled)
    assert verify_store(filled).is_healthy
    assert [(p, p.stat().st_mtime_ns, p.stat().st_mode) for p in (elsewhere, *elsewhere.glob("*"))] == before


@pytest.mark.stands_for(
    "https://cwe.mitre.org/data/definitions/22.html", "a name in a table that leads out of a folder"
)
def test_digests_that_are_paths_lead_nowhere(filled: Path, records: list[CellRecord], tmp_path: Path) -> None:
    precious = tmp_path / "precious.parquet"
    precious.write_text("precious")
    opened = Store.open(filled)
    cells = opened.rows.get(f"segment/pythia-70m/{file_of(opened, records[0].key.digest).name}")
    for place in ("../../precious.parquet", "../precious.parquet", "/precious.parquet", str(precious)):
        opened.rows.cache.set(f"segment/{place}", str(cells))
    opened.rows.cache.set(f"resolution/{records[0].spec.digest}", resolution_text_of(records[0], "../../../precious"))
    opened.rows.write(opened.rows.bump)
    assert opened.find(records[0].spec) is None
    rebuild_store(filled)
    assert precious.read_text() == "precious" and all_found(filled, records)


def resolution_text_of(record: CellRecord, digest: str) -> str:
    return canonical_json({"spec": plain_fields(record.spec), "digest": digest, "versions": [1, 1]})


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    opened = Store.open(tmp_path_factory.mktemp("template") / "store")
    opened.put_many(record_of(demo_seed=seed) for seed in range(3))
    opened.notes.put("rates", "cpu", "1.5")
    opened.close()
    return opened.path


VALUES = st.one_of(
    st.sampled_from(["", "{}", "[1]", "null", "../../precious.txt", "[" * 5000, '{"owner":"x","time":1e400}']),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.integers(-(2**63), 2**63 - 1),
    st.none(),
)
COLUMNS = st.sampled_from(["key", "raw", "expire_time", "tag", "size", "mode", "filename", "value"])
CHANGES = st.one_of(
    st.tuples(st.just("bit"), st.integers(0, 2**20)),
    st.tuples(st.just("row"), st.integers(1, 12), COLUMNS, VALUES),
    st.tuples(st.just("setting"), st.sampled_from(["count", "cull_limit", "sqlite_mmap_size", "new"]), VALUES),
)


def change(path: Path, what: tuple[Any, ...]) -> None:
    if what[0] == "bit":
        data = bytearray((path / "index" / "cache.db").read_bytes())
        data[what[1] // 8 % len(data)] ^= 1 << what[1] % 8
        (path / "index" / "cache.db").write_bytes(data)
        return
    try:
        if what[0] == "row":
            sql(path, f"UPDATE Cache SET {what[2]} = ? WHERE rowid = ?", what[3], what[1])
        else:
            sql(path, "INSERT OR REPLACE INTO Settings VALUES (?, ?)", *what[1:])
    except (sqlite3.Error, UnicodeError):  # what SQLite itself refuses to hold is no index of a stranger
        hypothesis.reject()


@pytest.mark.stands_for("CVE-2025-69872", "an index from elsewhere, or one with flipped bits: any row, any byte")
@hypothesis.settings(max_examples=30, derandomize=True, deadline=None)
@hypothesis.given(changes=st.lists(CHANGES, min_size=1, max_size=3))
def test_any_index_is_read_or_refused_and_rebuilt(
    template: Path, tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[Any, ...]]
) -> None:
    records = [record_of(demo_seed=seed) for seed in range(3)]
    folder = tmp_path_factory.mktemp("changed")
    path, precious = folder / "store", folder / "precious.txt"
    shutil.copytree(template, path)
    precious.write_text("precious")
    for what in changes:
        change(path, what)
    try:
        opened = Store.open(path)
        for summary in opened.summaries():
            assert summary.demo_seed in (0, 1, 2) and summary.model == "pythia-70m"
        for spec, record in opened.find_many(record.spec for record in records).items():
            assert encode_record(record) == encode_record(records[spec.demo_seed]), "never other numbers"
        export_bundle(opened, folder / "bundle")
        opened.close()
    except StoreError as error:
        assert_one_sentence(str(error))
    verify_store(path)
    rebuild_store(path)
    assert verify_store(path).is_healthy and all_found(path, records)
    assert precious.read_text() == "precious"
    assert {p.name for p in folder.iterdir()} <= {"store", "precious.txt", "bundle"}


@pytest.mark.stands_for(
    "https://cwe.mitre.org/data/definitions/345.html", "a sealed row whose parts no computing gives"
)
@pytest.mark.parametrize(
    ("part", "value", "words"),
    [
        ("n_shortened", 3, "shortened"),
        ("context_cut", 9, "shortened"),
        ("choices", ("a", "b"), "label words"),
        ("demonstration_labels", (), "demonstrations"),
    ],
)
def test_a_sealed_row_is_still_checked(filled: Path, part: str, value: object, words: str) -> None:
    lie = dataclasses.replace(record_of(demo_seed=9), **{part: value})
    path = segments.write_segment(filled / "results" / "pythia-70m", segments.table_of([lie]))
    opened = Store.open(filled)
    assert words in str(opened.damage_words) and opened.find(lie.spec) is None
    assert [name for name, _ in verify_store(filled).damaged] == [f"pythia-70m/{path.name}, row 0"]


@pytest.mark.stands_for(
    "https://parquet.apache.org/docs/file-format/metadata/", "41 kB of Parquet that ask for gigabytes"
)
def test_a_strangers_file_in_the_folder_is_not_unfolded(filled: Path, records: list[CellRecord]) -> None:
    table = pa.concat_tables([segments.table_of(records[:1])] * 200)
    long = pa.DictionaryArray.from_arrays(pa.array([0] * 200, pa.int32()), pa.array(["x" * 4_000_000]))
    at = table.schema.get_field_index("provenance")
    bomb = filled / "results" / "pythia-70m" / "bomb.parquet"
    pq.write_table(table.set_column(at, pa.field("provenance", long.type), long), bomb, store_schema=False)
    os.mkfifo(bomb.with_name("pipe.parquet"))
    assert bomb.stat().st_size < 300_000
    opened = Store.open(filled)
    assert any("bytes of text" in words for words in opened.damage.values())
    assert any("not a plain file" in words for words in opened.damage.values()) and all_found(filled, records)
