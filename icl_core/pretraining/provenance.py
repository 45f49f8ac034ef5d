"""What makes a training run repeatable and traceable: sums in one order, and the commit of the code that ran.

It trains nothing.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from icl_core.settings import is_installed, project_path

__all__ = ["git_revision", "one_thread"]


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums in one order, whatever the caller's setting, which is put back."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def git_revision() -> str:
    """The commit of the code that trains, "" for an installed copy, which may lie in a checkout of something else."""
    if is_installed():
        return ""
    command = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, cwd=project_path(), capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
