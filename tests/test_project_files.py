"""The files around the code say what is so: requirements, metadata of the package, links of the documents."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import pytest
import yaml

from icl_core.settings import project_path

ROOT = project_path()
CODE = [ROOT / "app.py", *(path for part in ("icl_core", "pages") for path in sorted((ROOT / part).rglob("*.py")))]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "cache" / "README.md"]


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    """hatch_build.py, which no package holds."""
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_metadata_is_read_from_the_requirements(hook: ModuleType) -> None:
    metadata = {"name": "icl-observatory"}
    hook.RequirementsHook(str(ROOT), {}).update(metadata)
    extras = metadata["optional-dependencies"]
    assert list(extras) == ["app", "models", "export", "dev"]
    assert "numpy==2.4.6" in metadata["dependencies"] and extras["app"][0].startswith("streamlit==")
    assert "torch==2.13.0" in extras["models"] and extras["dev"][0] == "icl-observatory[app,export,models]"
    asked = [*metadata["dependencies"], *(each for extra in extras.values() for each in extra)][:-1]
    written = [line for name in ("", "-dev") for line in (ROOT / f"requirements{name}.txt").read_text().splitlines()]
    lines = [line for line in written if line and not line.startswith(("#", "-r "))]
    assert sorted(lines) == sorted({*asked, extras["dev"][-1]} - {extras["dev"][0]})
    assert all(re.fullmatch(r"[\w-]+==[\w.]+", line) for line in lines), "each is pinned"


def test_what_a_package_needs_is_in_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert [source for source in wheel["force-include"] if not (ROOT / source).exists()] == []
    assert [*wheel["packages"], *(target.split("/")[0] for target in wheel["force-include"].values())] == [
        "icl_core"
    ] * (1 + len(wheel["force-include"])), "an installation takes one name"
    text = (ROOT / "LICENSE").read_text()
    assert project["project"]["license"] == "Apache-2.0" and "Version 2.0, January 2004" in text


def test_the_citation_is_that_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_a_document_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)|<img[^>]+src=\"([^\"]+)\"", text)
    local = [a or b for a, b in targets if not re.match(r"[a-z]+:|//", a or b)]
    assert [target for target in local if not _leads(path, unquote(target))] == []


def _leads(path: Path, target: str) -> bool:
    name, _, heading = target.partition("#")
    found = path.parent / name if name else path
    if not heading or not found.is_file():
        return found.exists()
    titles = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), re.MULTILINE)
    return heading in {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_a_document_names_are_there(path: Path) -> None:
    """In code, such as `docs/LOG.md`: a path below a folder of the project, or a document beside the others."""
    named = re.findall(r"`((?:docs|icl_core|pages|tests|cache|benchmarks)/[\w./-]+|[A-Z_]+\.md)`", path.read_text())
    made = re.compile(r"cache/(?:results|index|uploads|lab|converted|trained|jobs)\b")  # in a store, as it is used
    named = [name for name in named if "NAME" not in name and not made.match(name)]
    assert [name for name in named if not _is_there(name, path.parent)] == []


def _is_there(name: str, folder: Path) -> bool:
    """A file or folder; also a name of a module after its file's: ``pages/ui/words/written.plain``."""
    places = [at / name for at in (ROOT, folder)]
    return any(place.exists() or place.with_suffix(".py").exists() for place in places)


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_the_python_of_the_readme_gives_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ICL_OBSERVATORY_STORE", str(tmp_path))
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(block, "README.md", "exec"), names)
    assert 0.0 <= float(capsys.readouterr().out) <= 1.0
    names["store"].close()  # type: ignore[attr-defined]


def test_ci_runs_all_tests_that_the_makefile_divides() -> None:
    makefile = (ROOT / "Makefile").read_text()
    parts = re.findall(r"^(check|test[\w-]*):", makefile, re.MULTILINE)
    called = re.findall(r"^make (?:-\S+ )*([^#\n]+)", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert sorted(" ".join(called).split()) == sorted(parts)
    whole, *others = re.findall(r"/pytest (.+)", makefile)
    left_out = re.findall(r"--ignore (\S+)", whole)
    assert left_out == [run.split()[-1] for run in others], "what one target leaves out is another's"
