"""``doctor``: checks everything that an evaluation needs, with one line for each finding."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import shutil
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from icl_core import settings
from icl_core.cli.output import emit, table
from icl_core.errors import INSTALL, ObservatoryError
from icl_core.evaluation.jobs import list_jobs
from icl_core.evaluation.upkeep import verify_store
from icl_core.models.listing import embedded_members, list_checkpoints
from icl_core.models.resolving import checkpoint_folder, resolve_checkpoint
from icl_core.registry.tasks import embedded_tasks
from icl_core.units import byte_count

__all__ = ["add_commands"]

PACKAGES = ("torch", "transformers", "datasets", "huggingface_hub", "tokenizers", "streamlit", "diskcache", "numpy")
LEAST_DISK = 2 * 2**30


@dataclass(frozen=True, slots=True)
class _Finding:
    """The result of one check."""

    what: str
    state: Literal["good", "warning", "bad"]
    words: str


def add_commands(add: Any) -> None:
    """Adds the command; ``add(name, run, help)`` gives its parser."""
    add("doctor", _doctor, "check Python, packages, device, store, disk, Hub and the shipped suite").add_argument(
        "--offline", action="store_true", help="do not try to reach the Hub"
    )


def _doctor(options: argparse.Namespace) -> int:
    looks: list[Callable[[], Iterator[_Finding]]] = [_python, _packages, _device, _store, _disk, _suite, _jobs]
    findings = [finding for look in looks for finding in look()]
    findings += _hub(options.offline)
    rows = [(finding.state, finding.what, finding.words) for finding in findings]
    emit(options, [asdict(finding) for finding in findings], table(("", "what", "found"), rows))
    return 1 if any(finding.state == "bad" for finding in findings) else 0


def _python() -> Iterator[_Finding]:
    good = sys.version_info >= (3, 11)
    words = f"{platform.python_version()} on {platform.platform()}" + ("" if good else "; 3.11 or newer is needed")
    yield _Finding("Python", "good" if good else "bad", words)


def _packages() -> Iterator[_Finding]:
    for name in PACKAGES:
        try:
            yield _Finding(name, "good", importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield _Finding(name, "bad", f"not installed; {INSTALL}")


def _device() -> Iterator[_Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:
        yield _Finding("device", "bad", f"torch cannot be imported: {error}")
        return
    yield _Finding("device", "good", f"cpu with {os.cpu_count()} cores, {torch.get_num_threads()} threads")
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        properties = torch.cuda.get_device_properties(index)
        yield _Finding(f"cuda:{index}", "good", f"{properties.name}, {byte_count(properties.total_memory)}")


def _store() -> Iterator[_Finding]:
    path = settings.store_path()
    if not (path / "index").exists() and not (path / "results").exists():
        yield _Finding("store", "good", f"{path}: empty")
        return
    report = verify_store(path)
    words = f"{path}: {report.n_cells} healthy cells, {len(report.damaged)} damaged"
    words += "".join(f"; {fault}" for fault in report.faults)
    n_halves = len(report.unindexed) + len(report.fileless)
    words += f"; {n_halves} to repair with `results --rebuild`" if n_halves else ""
    yield _Finding("store", "good" if report.is_healthy else "bad", words)


def _disk() -> Iterator[_Finding]:
    folder = settings.store_path()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    yield _Finding("disk", "good" if free > LEAST_DISK else "warning", f"{byte_count(free)} free for the store")
    if not os.access(folder, os.W_OK):
        yield _Finding("disk", "bad", f"{folder} cannot be written")


def _suite() -> Iterator[_Finding]:
    try:
        members = embedded_members()
        refs = [ref for member in members for ref in list_checkpoints(member)]
        for ref in refs:
            checkpoint_folder(resolve_checkpoint(ref, offline=True))
        n_tasks = len(embedded_tasks())
    except ObservatoryError as error:
        yield _Finding("tiny suite", "bad", str(error))
        return
    words = f"{len(members)} models, {len(refs)} checkpoints, {n_tasks} tasks"
    yield _Finding("tiny suite", "good" if refs and n_tasks else "warning", words)


def _jobs() -> Iterator[_Finding]:
    try:
        found = list_jobs(store_path=settings.store_path())
    except ObservatoryError as error:
        yield _Finding("jobs", "bad", str(error))
        return
    n_live, n_lost = sum(job.is_live for job in found), sum(job.state == "lost" for job in found)
    yield _Finding("jobs", "good", f"{n_live} live, {n_lost} lost, {len(found)} in all")


def _hub(offline: bool) -> list[_Finding]:
    """Whether the Hub answers; if not, everything on this machine still works."""
    from huggingface_hub import constants

    if offline or constants.HF_HUB_OFFLINE:
        return [_Finding("Hub", "good", "offline mode: only what is on this machine is used")]
    try:
        with urllib.request.urlopen(urllib.request.Request(constants.ENDPOINT, method="HEAD"), timeout=5) as answer:
            return [_Finding("Hub", "good", f"{constants.ENDPOINT} answers with {answer.status}")]
    except (OSError, ValueError) as error:
        words = f"{constants.ENDPOINT} does not answer ({error}); local models and data still work"
        return [_Finding("Hub", "warning", words)]
