"""Folders of derived files that are used only as long as nobody changed them.

A list of all files with their hashes, written last, seals the folder; each use compares the files with it. It knows no
file formats and keeps only what can be made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

from icl_core.errors import CheckpointError
from icl_core.models.files import file_hashes, read_json
from icl_core.owners import Owner, lives, owner_of, this_place

__all__ = ["clear_leftovers", "is_sealed", "put_sealed", "sealed_files", "working_folder"]

_SEAL_NAME = "sealed.json"
_WORKING = re.compile(r"\.(?P<pid>[0-9]{1,9})-(?P<at>[0-9]{1,12}\.[0-9]{2})-(?P<place>[0-9a-f]{12})$")


def working_folder(folder: Path) -> Path:
    """The folder in which this process writes before it becomes ``folder``; its name tells the owner if that dies."""
    owner = owner_of() or Owner(this_place(), os.getpid(), 0.0)
    return folder.with_name(f"{folder.name}.{owner.pid}-{owner.started:.2f}-{_short(owner.place)}")


def _short(place: str) -> str:
    return hashlib.sha256(place.encode()).hexdigest()[:12]


def put_sealed(partial: Path, folder: Path, *, version: int) -> None:
    """Seals a working folder and gives it its name, replacing a damaged one.

    Args:
        partial: the working folder; it holds files only, no folders.
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
    """The files that were written into a folder, each with its sha256, without reading their content.

    Raises:
        CheckpointError: the folder has no seal of this version, or holds other files than those.
    """
    seal = read_json(folder / _SEAL_NAME)
    files = seal.get("files")
    names = sorted(path.name for path in folder.iterdir() if path.name != _SEAL_NAME)
    if seal.get("version") != version or not isinstance(files, dict) or sorted(files) != names:
        raise CheckpointError(f"{folder} was changed after it was written; it is made anew when it is next used.")
    return {folder / name: str(files[name]) for name in names}


def is_sealed(folder: Path, *, version: int, hash_cache: Path | None = None) -> bool:
    """Whether a folder holds exactly what this version wrote; each version of a file is read once.

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
    """Removes working folders whose processes, on this machine, have ended."""
    here = this_place()
    for path in parent.glob("*.*-*-*"):
        found = _WORKING.search(path.name)
        if found and found["place"] == _short(here) and not lives(Owner(here, int(found["pid"]), float(found["at"]))):
            shutil.rmtree(path, ignore_errors=True)
