"""The package as pip installs it: a wheel of the source, in an environment with what its extras ask for and no more.

Nothing is downloaded: the other packages are links to those of the running interpreter, chosen by the metadata of the
wheel and of each of them.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

from icl_core.settings import project_path


def build_wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=project_path(), check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel: Path, folder: Path, *, extras: Iterable[str] = ()) -> Path:
    """An environment with the wheel and what it needs under some extras; gives its folder of programs."""
    venv.create(folder, symlinks=True, with_pip=False)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    packages = site_packages(folder)
    (metadata,) = packages.glob("icl_observatory-*.dist-info")
    for each in needed(PathDistribution(metadata), set(extras)):
        for name in {file.parts[0] for file in each.files or ()} - {"..", "__pycache__"}:
            if not (packages / name).exists():
                (packages / name).symlink_to(Path(str(each.locate_file(name))))
    return python.parent


def site_packages(folder: Path) -> Path:
    (packages,) = folder.glob("lib/python*/site-packages")
    return packages


def needed(package: Distribution, extras: set[str]) -> Iterator[Distribution]:
    """What a package needs under some extras, and what that needs, each once."""
    done: set[tuple[str, str]] = set()
    todo = [(package, extra) for extra in (*extras, "")]
    while todo:
        asks, extra = todo.pop()
        for requirement in map(Requirement, asks.requires or ()):
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
                continue
            found = distribution(requirement.name)
            assert requirement.specifier.contains(found.version), f"{requirement} beside {found.version}"
            for more in ("", *requirement.extras):
                if (found.name, more) not in done:
                    done.add((found.name, more))
                    todo.append((found, more))
                    yield found
