"""Makes a training run repeatable and traceable: a fixed order of sums, and the commit of the code that ran.

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
    """Runs its block with a fixed order of sums; afterwards the caller's setting is restored."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def git_revision() -> str:
    """The commit of the training code; "" for an installed copy, which may lie inside another project's checkout."""
    if is_installed():
        return ""
    command = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, cwd=project_path(), capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
