"""What may happen to a folder of results: one sentence for each fault, and everything else stays readable."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from icl_core.errors import StoreError
from icl_core.evaluation.codec import encode_record
from icl_core.evaluation.store import Store
from icl_core.evaluation.upkeep import rebuild_store, verify_store
from icl_core.records import CellRecord
from tests.support.records import record_of
from tests.support.sentences import assert_one_sentence
from tests.support.stores import file_of

fork = multiprocessing.get_context("fork")
PARQUET = "https://parquet.apache.org/docs/file-format/"
RECORDS = [record_of(demo_seed=seed, step=step, n_examples=6) for step in (1000, 2000) for seed in range(3)]
TEXTS = {record.spec: encode_record(record) for record in RECORDS}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one file for each of two checkpoints."""
    opened = Store.open(tmp_path_factory.mktemp("template") / "store")
    for start in (0, 3):
        opened.put_many(RECORDS[start : start + 3])
    opened.close()
    return opened.path


@pytest.fixture
def store_path(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "store"))


def texts_of(opened: Store) -> dict[object, str]:
    return {spec: encode_record(record) for spec, record in opened.find_many(TEXTS).items()}


def assert_only_first_file_is_hurt(path: Path) -> None:
    """The other file is read in full, nothing differs, what is lost is said, and a rebuild ends it."""
    opened = Store.open(path)
    found = texts_of(opened)
    assert found.items() <= TEXTS.items(), "never other numbers"
    assert {record.spec for record in RECORDS[3:]} <= found.keys()
    if len(found) < len(TEXTS):
        assert_one_sentence(str(opened.damage_words))
    opened.close()
    assert not verify_store(path).is_healthy
    rebuild_store(path)
    assert verify_store(path).is_healthy and texts_of(Store.open(path)) == found


@pytest.mark.stands_for(PARQUET, "one flipped byte anywhere in a file")
@pytest.mark.parametrize("part", range(12))
def test_a_flipped_byte_anywhere(store_path: Path, part: int) -> None:
    file = file_of(Store.open(store_path), RECORDS[0].key.digest)
    data = bytearray(file.read_bytes())
    data[(2 * part + 1) * len(data) // 24] ^= 0x10
    file.write_bytes(data)
    assert_only_first_file_is_hurt(store_path)


@pytest.mark.stands_for(PARQUET, "a file that a copy or a full disk has cut")
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.9, 0.999])
def test_a_file_cut_anywhere(store_path: Path, share: float) -> None:
    file = file_of(Store.open(store_path), RECORDS[0].key.digest)
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    assert_only_first_file_is_hurt(store_path)


def other_table(path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), path)


FOREIGN: dict[str, Callable[[Path], object]] = {
    "a text": lambda path: path.write_text("mine"),
    "a table of something else": other_table,
    "an empty file": Path.touch,
    "a folder": Path.mkdir,
    "a broken link": lambda path: path.symlink_to("/nowhere"),
    "a pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.stands_for(PARQUET, "files of other programs in a folder of results")
@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("has_index", [True, False])
def test_a_foreign_file_is_said_and_left_where_it_is(store_path: Path, kind: str, has_index: bool) -> None:
    if not has_index:
        shutil.rmtree(store_path / "index")
    foreign = store_path / "results" / "pythia-70m" / "mine.parquet"
    FOREIGN[kind](foreign)
    opened = Store.open(store_path)
    assert texts_of(opened) == TEXTS
    assert_one_sentence(str(opened.damage_words))
    assert "mine.parquet" in str(opened.damage_words) and os.path.lexists(foreign)
    assert [name for name, _ in verify_store(store_path).damaged] == ["pythia-70m/mine.parquet"]


@pytest.mark.stands_for(
    "https://man7.org/linux/man-pages/man2/write.2.html", "a disk that fills up while files are joined"
)
def test_a_full_disk_while_joining(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, more = Store.open(store_path), record_of(demo_seed=9, n_examples=6)
    opened.put(more)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match=r"No space left on device.*free disk space") as caught:
            opened.join(more.spec.checkpoint)
    assert_one_sentence(str(caught.value))
    for each in (opened, Store.open(store_path)):
        assert texts_of(each) == TEXTS and each.damage == {}
    assert opened.join(more.spec.checkpoint) == 2 and verify_store(store_path).is_healthy


# A folder that this user may not write


@pytest.fixture
def forbidden_path(template: Path) -> Iterator[Path]:
    """A copy of the store that its reader may not write; not among pytest's own, which others may not enter."""
    folder = Path(tempfile.mkdtemp())
    path = Path(shutil.copytree(template, folder / "store"))
    for each in (folder, path, *path.rglob("*")):
        each.chmod(0o555 if each.is_dir() else 0o444)
    yield path
    for each in (folder, path, *path.rglob("*")):
        each.chmod(0o755)
    shutil.rmtree(folder)


def read_and_be_refused(path: Path) -> None:
    if os.geteuid() == 0:  # root may write everywhere
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    opened = Store.open(path)
    assert texts_of(opened) == TEXTS and len(opened.summaries()) == len(TEXTS) and opened.damage == {}
    assert verify_store(path).is_healthy
    with pytest.raises(StoreError, match=r"may not write there|read-only|cannot be written") as caught:
        opened.put(record_of(demo_seed=9, n_examples=6))
    assert_one_sentence(str(caught.value))
    assert texts_of(opened) == TEXTS


@pytest.mark.stands_for(
    "https://man7.org/linux/man-pages/man7/path_resolution.7.html", "results in a folder of someone else"
)
def test_a_folder_that_may_not_be_written_is_read(forbidden_path: Path) -> None:
    before = sorted(forbidden_path.rglob("*"))
    child = fork.Process(target=read_and_be_refused, args=(forbidden_path,))
    child.start()
    child.join()
    assert child.exitcode == 0 and sorted(forbidden_path.rglob("*")) == before


# Two writers and a reader


def write_and_join(path: Path, records: list[CellRecord], said: Path) -> None:
    opened = Store.open(path)
    for number, record in enumerate(records):
        opened.put(record)
        with said.open("a") as file:
            file.write(f"{record.key.digest}\n")
        if number % 2:
            opened.join(record.spec.checkpoint)


@pytest.mark.stands_for("https://www.sqlite.org/isolation.html", "readers and writers of one folder at the same time")
def test_two_writers_join_while_others_read_and_open(tmp_path: Path) -> None:
    records = [record_of(demo_seed=seed, n_examples=6) for seed in range(40)]
    by_digest = {record.key.digest: record for record in records}
    path, said = tmp_path / "store", tmp_path / "said"
    reader = Store.open(path)
    said.touch()
    children = [fork.Process(target=write_and_join, args=(path, records[half::2], said)) for half in (0, 1)]
    for child in children:
        child.start()
    n_read = 0
    while any(child.is_alive() for child in children):
        there = [by_digest[digest] for digest in said.read_text().split()]
        for opened in (reader, Store.open(path)):
            found = opened.find_many(record.spec for record in there)
            assert opened.damage == {}
            assert all(encode_record(found[record.spec]) == encode_record(record) for record in there)
            n_read += len(there)
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0] and n_read > 0
    reader.join(records[0].spec.checkpoint)
    assert len(list(reader.results.glob("*/*"))) == 1 and verify_store(path).n_cells == 40
    assert len(reader.find_many(record.spec for record in records)) == 40
