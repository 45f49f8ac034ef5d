"""Folders of derived files that are used only while they are what was written.

A list of all files with their hashes is written last and closes the folder; whoever uses it compares. It knows no file
formats and keeps nothing that cannot be made again.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from contextlib import suppress
from pathlib import Path

import psutil

from icl_core.errors import CheckpointError
from icl_core.models.files import file_hashes, read_json

__all__ = ["clear_leftovers", "is_sealed", "put_sealed", "sealed_files", "working_folder"]

_SEAL_NAME = "sealed.json"


def working_folder(folder: Path) -> Path:
    """Where this process writes what shall become ``folder``; the name tells whose it is, should the process die."""
    return folder.with_name(f"{folder.name}.{os.getpid()}.{socket.gethostname()}")


def put_sealed(partial: Path, folder: Path, *, version: int) -> None:
    """Closes a working folder and gives it its name, in the place of a damaged one.

    Args:
        partial: holds the files, no folders.
        folder: its name from now on.
        version: of the code that wrote the files.
    """
    hashes = file_hashes(sorted(partial.iterdir()))
    text = json.dumps({"version": version, "files": {path.name: sha256 for path, sha256 in hashes.items()}}, indent=1)
    (partial / _SEAL_NAME).write_text(text, encoding="utf-8")
    if folder.exists():
        damaged = working_folder(folder.with_name(f"{folder.name}-damaged"))
        folder.replace(damaged)
        shutil.rmtree(damaged, ignore_errors=True)
    partial.replace(folder)


def sealed_files(folder: Path, *, version: int) -> dict[Path, str]:
    """The files that were written into a folder, each with its sha256; their content is not read.

    Raises:
        CheckpointError: the folder has no seal of this version, or holds other files than those.
    """
    seal = read_json(folder / _SEAL_NAME)
    files = seal.get("files")
    names = sorted(path.name for path in folder.iterdir() if path.name != _SEAL_NAME)
    if seal.get("version") != version or not isinstance(files, dict) or sorted(files) != names:
        raise CheckpointError(f"{folder} is not what was written there; it is made anew when it is next used.")
    return {folder / name: str(files[name]) for name in names}


def is_sealed(folder: Path, *, version: int, hash_cache: Path | None = None) -> bool:
    """Whether a folder holds exactly what was written by this version; each file is read once for each version of it.

    Args:
        folder: may be missing.
        version: as given to ``put_sealed``.
        hash_cache: see ``files.file_hashes``.
    """
    try:
        files = sealed_files(folder, version=version)
        return file_hashes(files, hash_cache=hash_cache) == files
    except (CheckpointError, OSError):
        return False


def clear_leftovers(parent: Path) -> None:
    """Removes the working folders of processes of this machine that are gone."""
    for path in parent.glob("*.*.*"):
        _, pid, host = path.name.split(".", 2)
        if host == socket.gethostname() and pid.isdecimal() and not _may_write(int(pid), path):
            shutil.rmtree(path, ignore_errors=True)


def _may_write(pid: int, path: Path) -> bool:
    """Whether the process that made a folder still lives; one that began after the last change is another."""
    with suppress(psutil.Error, OSError):
        return psutil.Process(pid).create_time() < path.stat().st_mtime + 1.0
    return False
