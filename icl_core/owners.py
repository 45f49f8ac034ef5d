"""Which process on which machine owns something, and whether that process still lives.

It ends no process and keeps no file. A process is known by its id and by the time from the machine's start to its own
start (proc(5), field 22). Setting the clock does not change that time; psutil alone would derive it from the clock.
"""

from __future__ import annotations

import functools
import os
import re
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["Owner", "clear_leftovers", "lives", "owner_of", "process_of", "this_place"]

_SAME_SECONDS = 2.0
_LEFTOVER_SECONDS = 60.0
_PID_IN_NAME = re.compile(r"\.(\d+)(?:-\d+)?(?:\.tmp)?$")


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that owns something.

    Attributes:
        place: the machine, this start of it, and the space of process ids in it.
        pid: process id.
        started: seconds, counted as ``owner_of`` does; compared with those of the same place alone.
    """

    place: str
    pid: int
    started: float


@functools.cache
def this_place() -> str:
    """A name of this machine since its last start, so that its process ids are not mistaken for another machine's."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def owner_of(pid: int | None = None) -> Owner | None:
    """The process of this id (this process if none is given); None if there is none, or only its zombie."""
    pid = os.getpid() if pid is None else pid
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return Owner(this_place(), pid, _started(process))
    except (psutil.Error, OverflowError, ValueError):
        return None


def _started(process: psutil.Process) -> float:
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
        return int(fields.split()[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return process.create_time()


def lives(owner: Owner) -> bool | None:
    """Whether the process still runs; None for a process on another machine, which cannot be asked from here."""
    if owner.place != this_place():
        return None
    now = owner_of(owner.pid)
    return now is not None and abs(now.started - owner.started) < _SAME_SECONDS


def process_of(owner: Owner) -> psutil.Process | None:
    """The living process on this machine, for signals; None if it has ended or is elsewhere."""
    try:
        return psutil.Process(owner.pid) if lives(owner) else None
    except psutil.Error:
        return None


def clear_leftovers(paths: Iterable[Path]) -> int:
    """Removes temporary files whose names end in the id of a process that is not there any more.

    Files of the last minute stay: another machine may be writing them in the same folder. Returns how many were
    removed.
    """
    n_removed = 0
    for path in paths:
        found = _PID_IN_NAME.search(path.name)
        with suppress(OSError):
            is_old = abs(time.time() - path.lstat().st_mtime) > _LEFTOVER_SECONDS
            if found and is_old and owner_of(int(found[1])) is None:
                path.unlink()
                n_removed += 1
    return n_removed
