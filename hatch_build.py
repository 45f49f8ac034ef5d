"""What the package depends on, read from the requirements files, so that each version stands in one place.

Lines below a comment ``# [name]`` of ``requirements.txt`` are the extra ``name``, those above the first one what is
always installed. ``requirements-dev.txt`` is the extra ``dev``. It runs while a package is built, never afterwards.
Source: https://hatch.pypa.io/latest/plugins/metadata-hook/custom/.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class RequirementsHook(MetadataHookInterface):
    """Fills in ``dependencies`` and ``optional-dependencies`` of the project."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Adds both to the project's metadata."""
        extras = read_requirements(Path(self.root) / "requirements.txt")
        metadata["dependencies"] = extras.pop("")
        (tools,) = read_requirements(Path(self.root) / "requirements-dev.txt").values()
        everything = f"{metadata['name']}[{','.join(sorted(extras))}]"
        metadata["optional-dependencies"] = extras | {"dev": [everything, *tools]}


def read_requirements(path: Path) -> dict[str, list[str]]:
    """The requirements of a file by the heading that they stand under, "" above the first one."""
    group: list[str] = []
    groups = {"": group}
    for line in path.read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"# \[([a-z]+)\]", line):
            group = groups.setdefault(heading[1], [])
        elif line and not line.startswith(("#", "-r ")):
            group.append(line)
    return groups
