"""The database behind a store: opened only if this project made it, and read-only if it cannot be written.

It knows rows of text by name, but not their meaning. Before diskcache opens the file, it is checked for anything that
another program or a stranger put there: diskcache unpickles rows, deletes files that rows name and lets triggers run
(CVE-2025-69872; https://grantjenks.com/docs/diskcache/; https://www.sqlite.org/security.html).

All rows are written and read through diskcache, with two exceptions, which are the only SQL over the index. One checks
the content and integrity of a database before it may be opened. The other reads a database that cannot be written,
since opening a ``diskcache.Cache`` always writes its settings. Neither changes a row.
"""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import diskcache

from icl_core.errors import StoreError

__all__ = [
    "DATABASE",
    "LOCK_TIMEOUT_S",
    "ReadOnlyIndex",
    "TextDisk",
    "database_fault",
    "integrity_faults",
    "is_damage",
    "is_unwritable",
    "open_cache",
    "read_rows",
    "remedy",
]

DATABASE: str = diskcache.core.DBNAME
LOCK_TIMEOUT_S = 60.0
_SETTINGS: dict[str, str | int] = {
    "eviction_policy": "none",
    "cull_limit": 0,
    "size_limit": 2**60,
    "tag_index": 1,
    "sqlite_journal_mode": "delete",  # WAL has a corruption bug up to SQLite 3.51.2 (sqlite.org/wal.html)
    "sqlite_synchronous": 2,
    "disk_min_file_size": 2**30,  # every value in the database: a kill leaves no value file without a row
}
_KNOWN_SETTINGS: dict[str, str | int] = diskcache.core.DEFAULT_SETTINGS | _SETTINGS
_COUNTERS = tuple(diskcache.core.METADATA)
_SCHEMA = frozenset(
    {
        "7007a66cec238043",  # table Settings
        "050419b003f3221b",  # its index
        "20a50db7f2186fb8",  # table Cache
        "9fcf185725556cac",  # and its indexes by key,
        "a029027cdc922351",  # by time
        "3623163b31741f9a",  # and by tag
        "5e19fe2d2d1ef258",  # triggers that count rows
        "14cce22491ddde5d",
        "0a744a018a376de9",  # and add up sizes
        "f3a5d39d8539cab6",
        "e2da41b909b3f43c",
    }
)
"""First digits of the sha256 of each object that diskcache 5.6.3 makes: its type, name, table and statement."""
_OURS = "raw = 1 AND mode = 1 AND filename IS NULL AND expire_time IS NULL AND typeof(key) = 'text'"
_OUR_VALUE = "typeof(value) IN ('text', 'blob')"

_BY_ERRNO = {
    errno.ENOSPC: "full",
    errno.EDQUOT: "full",
    errno.EFBIG: "full",
    errno.EROFS: "read-only",
    errno.EACCES: "forbidden",
    errno.EPERM: "forbidden",
}
_BY_CODE = {
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_READONLY: "read-only",
    sqlite3.SQLITE_PERM: "forbidden",
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_CORRUPT: "damaged",
    sqlite3.SQLITE_NOTADB: "damaged",
}
_REMEDIES = {
    "full": "free disk space and try again; what was stored before is intact",
    "read-only": "that disk cannot be written: choose another folder, or mount it for writing",
    "forbidden": "this user may not write there: choose another folder, or change its permissions",
    "locked": "another process holds the index: end it or try again later; nothing was changed",
    "damaged": "`python -m icl_core results --rebuild` makes a new index from the result files",
    "text": "a name in it is not valid text: rename it and try again; nothing was changed",
    "other": "`python -m icl_core results --verify` says what is damaged; what was stored before is intact",
}


def _cause(error: Exception) -> str:
    """The kind of failure: a key of ``_REMEDIES``."""
    if isinstance(error, OSError):
        return _BY_ERRNO.get(error.errno or 0, "other")
    if isinstance(error, UnicodeError):
        return "text"
    if isinstance(error, diskcache.Timeout) or "locked" in str(error):
        return "locked"
    return _BY_CODE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, "other")


def remedy(error: Exception) -> str:
    """What to do about a failure of disk or database, according to its cause.

    >>> remedy(OSError(errno.ENOSPC, "No space left on device"))
    'free disk space and try again; what was stored before is intact'
    """
    return _REMEDIES[_cause(error)]


def is_damage(error: Exception) -> bool:
    """Whether an error means that the database is damaged, and not only that it cannot be used now."""
    return _cause(error) == "damaged"


def is_unwritable(error: Exception) -> bool:
    """Whether only writing is impossible, so that existing rows can still be read."""
    return _cause(error) in ("full", "read-only", "forbidden") or (
        getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR_WRITE)
    )


class TextDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache has no types
    """diskcache's reader and writer without pickle and files: only text keys, only text or bytes as values."""

    def put(self, key: Any) -> Any:
        """The database form of a key; TypeError unless it is a str."""
        if type(key) is not str:
            raise TypeError("cache keys are str")
        return super().put(key)

    def get(self, key: Any, raw: Any) -> Any:
        """The key from its database form; ValueError if it was pickled."""
        if not raw:
            raise ValueError("pickled key refused")
        return super().get(key, raw)

    def store(self, value: Any, read: Any, key: Any = diskcache.UNKNOWN) -> Any:
        """The database form of a value; TypeError unless it is str or bytes."""
        if type(value) not in (str, bytes):
            raise TypeError("cache values are str or bytes")
        return super().store(value, read, key=key)

    def fetch(self, mode: Any, filename: Any, value: Any, read: Any) -> Any:
        """The value from its database form; ValueError if it is pickled or in a file."""
        if mode == diskcache.core.MODE_PICKLE:
            raise ValueError("pickled value refused")
        if mode != diskcache.core.MODE_RAW or filename is not None:
            raise ValueError("value in a file refused")
        return super().fetch(mode, filename, value, read)

    def remove(self, file_path: Any) -> None:
        """Removes nothing: no row of this project has a file, so a stranger wrote a row that names one."""
        raise ValueError("removing a file refused")


def open_cache(folder: Path, *, timeout_s: float | None = None) -> diskcache.Cache:
    """Opens, or makes, the only kind of cache that the project uses: no eviction, no pickle, private to its owner.

    Raises:
        StoreError: the database holds something that this project does not write (another program opened it, or a
            stranger made it), is not a database, is locked, or cannot be written. The error's cause is kept.
    """
    timeout_s = LOCK_TIMEOUT_S if timeout_s is None else timeout_s
    try:
        if fault := database_fault(folder, timeout_s=timeout_s):
            raise StoreError(_foreign_words(folder, fault))
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        cache = _when_unlocked(
            lambda: diskcache.Cache(str(folder), timeout=timeout_s, disk=TextDisk, **_SETTINGS), timeout_s
        )
        read_back = {name: cache.reset(name) for name in _SETTINGS}
    except (OSError, sqlite3.Error, diskcache.Timeout) as error:
        raise StoreError(f"The result index in {folder} cannot be opened ({error}); {remedy(error)}.") from error
    if read_back != _SETTINGS:
        raise StoreError(_foreign_words(folder, "other settings"))
    return cache


def _when_unlocked(open_it: Callable[[], diskcache.Cache], timeout_s: float) -> diskcache.Cache:
    """Tries again while the database is locked: diskcache makes its tables and an index each time it opens one.

    If processes do so at the same moment, SQLite refuses one of them at once, even with a timeout
    (https://www.sqlite.org/rescode.html#busy): a wait inside a read that becomes a write could never end.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return open_it()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def database_fault(folder: Path, *, timeout_s: float | None = None) -> str | None:
    """Something in an index that this project does not write; None if there is nothing, or no index.

    Raises:
        sqlite3.Error: the file is not a database, is locked or cannot be read.
        OSError: the file cannot be examined.
    """
    database = folder / DATABASE
    for path in (folder, database, database.with_name(f"{DATABASE}-journal")):
        if path.is_symlink():
            return f"a link ({path.name}) that leads out of the store"
    if not database.exists():
        return None
    if not stat.S_ISREG(database.stat().st_mode):
        return f"no plain file ({DATABASE})"
    with _connected(database, timeout_s=timeout_s) as connection:
        objects = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
        strange = [str(each[0]) for each in objects if _digest(each) not in _SCHEMA]
        if strange:
            return f"a {strange[0]} that this project does not make"
        tables = {each[1] for each in objects if each[0] == "table"}
        return (_row_fault(connection) if "Cache" in tables else None) or (
            _settings_fault(connection) if "Settings" in tables else None
        )


def integrity_faults(folder: Path) -> tuple[str, ...]:
    """Faults that SQLite's own check finds in an index, at most five lines; raises sqlite3.Error as SQLite does."""
    if not (folder / DATABASE).exists():
        return ()
    with _connected(folder / DATABASE) as connection:
        states = [str(state) for (state,) in connection.execute("PRAGMA integrity_check(5)")]
    return tuple(state for state in states if state != "ok")


def _digest(schema_object: tuple[object, ...]) -> str:
    text = "\n".join(map(str, schema_object))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _row_fault(connection: sqlite3.Connection) -> str | None:
    for words, condition in (
        ("pickled rows", "raw = 0 OR mode = 4"),
        ("rows that name files", "filename IS NOT NULL"),
        ("rows that this project does not write", f"NOT ({_OURS} AND {_OUR_VALUE})"),
    ):
        ((count,),) = connection.execute(f"SELECT COUNT(*) FROM Cache WHERE {condition}")
        if count:
            return f"{count} {words}"
    names = [name for (name,) in connection.execute("SELECT CAST(key AS BLOB) FROM Cache")]
    n_strange = sum(name.decode("utf-8", "replace").encode() != name for name in names)
    return f"{n_strange} rows whose names are not text" if n_strange else None


def _settings_fault(connection: sqlite3.Connection) -> str | None:
    found = dict(connection.execute("SELECT key, value FROM Settings"))
    changed = sorted(
        str(name)
        for name, value in found.items()
        if (type(value) is not int if name in _COUNTERS else (name, value) not in _KNOWN_SETTINGS.items())
    )
    return f"other settings ({', '.join(changed[:5])})" if changed else None


def _foreign_words(folder: Path, what: str) -> str:
    return (
        f"The result index in {folder} has {what}, so another program wrote to it and it is not read; "
        "`python -m icl_core results --rebuild` makes a clean one from the files of results."
    )


@contextmanager
def _connected(database: Path, *, timeout_s: float | None = None) -> Iterator[sqlite3.Connection]:
    """A connection for reading that trusts nothing in the schema and accepts damaged text.

    If the disk can be written, it may undo what a killed writer left half done.
    """
    address = f"file:{quote(os.fsencode(database))}?mode=rw"
    wait = LOCK_TIMEOUT_S if timeout_s is None else timeout_s
    with closing(sqlite3.connect(address, uri=True, timeout=wait)) as connection:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.text_factory = lambda data: data.decode("utf-8", "replace")
        yield connection


def read_rows(folder: Path, prefix: str) -> dict[str, str]:
    """All texts whose names start with a prefix, read without opening the index for writing.

    Damaged text is given with U+FFFD for what cannot be read. Raises sqlite3.Error as SQLite does.
    """
    if not (folder / DATABASE).exists():
        return {}
    after = prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else chr(0x10FFFF)
    with _connected(folder / DATABASE) as connection:
        query = f"SELECT key, value FROM Cache WHERE key >= ? AND key < ? AND {_OURS} AND typeof(value) = 'text'"
        return dict(connection.execute(query, (prefix, after)))


class ReadOnlyIndex:
    """The rows of an index on a full or read-only disk; writing is refused with the reason.

    Attributes:
        reason: one sentence.
    """

    def __init__(self, folder: Path, refusal: StoreError) -> None:
        """Takes the error with which ``open_cache`` refused; raises it if reading is impossible too."""
        self.reason = f"Results can be read but not stored: {refusal}"
        self._folder = folder
        try:
            read_rows(folder, "generation")
        except sqlite3.Error:
            raise refusal from refusal.__cause__
        if not (folder / DATABASE).exists():
            raise refusal from refusal.__cause__

    def get(self, name: str) -> str | None:
        """The text of a row, None if there is none."""
        return read_rows(self._folder, name).get(name)

    def iterkeys(self) -> Iterator[str]:
        """The names of all rows, sorted."""
        return iter(sorted(read_rows(self._folder, "")))

    def set(self, name: str, text: str) -> None:
        """Refuses to write."""
        raise StoreError(self.reason)

    def delete(self, name: str) -> bool:
        """Refuses to write."""
        raise StoreError(self.reason)

    def close(self) -> None:
        """Does nothing: no connection is kept."""
