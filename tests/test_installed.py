"""The package as others get it: a wheel, in environments with no more than what its extras ask for.

Slow: ``pytest -m slow tests/test_installed.py``. It downloads nothing.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from icl_core.settings import project_path
from tests.support.installed import build_wheel, install, site_packages

pytestmark = pytest.mark.slow

Outside = tuple[Path, dict[str, str]]
"""A folder that is not the project's, and the environment variables of a user who works there."""

PAGES = """
import importlib.util, sys
from icl_core.settings import project_path
from streamlit.testing.v1 import AppTest

assert importlib.util.find_spec("torch") is importlib.util.find_spec("transformers") is None
pages = [path.parent.name for path in sorted(project_path().glob("pages/*/page.py"))]
assert len(pages) == 8
for page in pages:
    app = AppTest.from_file(str(project_path() / "app.py"), default_timeout=600).run()
    if page != "home":
        app.switch_page(f"pages/{page}/page.py").run()
    faults = [each.value for each in (*app.exception, *app.error, *app.warning)]
    assert not faults, (page, faults)
    print(page, app.title[0].value, len(app.main))
assert not {"torch", "transformers", "datasets"} & set(sys.modules)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Outside:
    """A folder with an app, pages and a configuration of something else, and the variables of a new user there."""
    home = tmp_path_factory.mktemp("home")
    place = home / "work"
    (place / "pages").mkdir(parents=True)
    for name in ("app.py", "pages/__init__.py", "icl_core.py"):
        (place / name).write_text("raise SystemExit('not ours')\n")
    (place / ".streamlit").mkdir()
    (place / ".streamlit" / "config.toml").write_text('[server]\naddress = "0.0.0.0"\n')
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG")}
    own = {"HOME": str(home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return place, kept | own


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in (site_packages(folder) / "icl_core").rglob("*")}


def run(command: list[str], outside: Outside, **options: object) -> str:
    place, variables = outside
    ended = subprocess.run(command, cwd=place, env=variables, capture_output=True, text=True)
    assert ended.returncode == options.get("code", 0), ended.stderr
    return ended.stderr if options.get("code") else ended.stdout


def test_commands_without_extras(wheel: Path, tmp_path: Path, outside: Outside) -> None:
    """The shipped results give the same numbers as in the source; what is missing is named in one sentence."""
    programs = install(wheel, tmp_path)
    before = files_of(tmp_path)
    assert "_project" in {Path(name).name for name in before}
    names = {path.name for path in site_packages(tmp_path).iterdir() if "icl" in path.name or path.suffix == ".py"}
    assert not {"app.py", "pages", "cache"} & names
    command = str(programs / "icl-observatory")
    assert "59160 new cells" in run([command, "import", "--embedded"], outside)
    ours = json.loads(run([command, "compete", "--json", "--replicates", "50"], outside))
    source = [str(programs / "python"), "-m", "icl_core", "compete", "--json", "--replicates", "50"]
    place, variables = project_path(), outside[1] | {"ICL_OBSERVATORY_STORE": str(tmp_path / "store")}
    assert ours == json.loads(run(source, (place, variables))) and len(ours) == 27

    evaluate = ["evaluate", "--family", "tiny", "--model", "tiny-base", "--n-test", "5"]
    for arguments, package in (([], "streamlit"), (evaluate, "torch")):
        said = run([command, *arguments], outside, code=2)
        assert f"needs the Python package {package}, which is not installed" in said and said.count("\n") == 1
    assert (Path(outside[1]["HOME"]) / ".local" / "share" / "icl-observatory" / "index").is_dir()
    assert files_of(tmp_path) == before, "nothing is written beside the code"


@pytest.fixture(scope="module")
def with_app(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(wheel, tmp_path_factory.mktemp("with-app"), extras=["app"])


def test_pages_of_the_shipped_suite_need_no_torch(with_app: Path, outside: Outside) -> None:
    script = outside[0].parent / "open_pages.py"
    script.write_text(PAGES)
    assert len(run([str(with_app / "python"), str(script)], outside).splitlines()) == 8


@pytest.fixture
def server(with_app: Path, outside: Outside, tmp_path: Path) -> Iterator[tuple[psutil.Process, int]]:
    """What ``icl-observatory`` alone starts, once it answers, and its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = outside[1] | {"STREAMLIT_SERVER_PORT": str(port)}
    with (tmp_path / "log").open("wb") as log:
        command = [str(with_app / "icl-observatory")]
        process = subprocess.Popen(command, cwd=outside[0], env=variables, stdout=log, stderr=log)
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5)
                break
            except OSError:
                assert process.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.2)
        yield psutil.Process(process.pid), port
    finally:
        process.terminate()
        process.wait()


def test_the_script_alone_starts_the_app_on_this_machine(server: tuple[psutil.Process, int]) -> None:
    """Its own app and configuration, whatever lies where it is called; and every page by its address."""
    process, port = server
    assert {each.laddr.ip for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN} == {
        "127.0.0.1"
    }
    for page in ("", "competition", "paper"):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}") as answer:
            assert b"__streamlit" in answer.read() and answer.headers["X-Frame-Options"] == "SAMEORIGIN"


def test_an_evaluation_with_models(wheel: Path, tmp_path: Path, outside: Outside) -> None:
    """A job of the installed copy: the worker finds code, weights and rows, and the shipped cells are its own."""
    command = str(install(wheel, tmp_path / "all", extras=["models"]) / "icl-observatory")
    place, variables = outside[0], outside[1] | {"XDG_DATA_HOME": str(tmp_path / "data")}
    study = ["--model", "tiny-base", "--checkpoints", "2", "--tasks", "tiny_polarity", "--seeds", "13"]
    here = (place, variables)
    run([command, "import", "--embedded"], here)
    shipped = json.loads(run([command, "evaluate", *study, "--n-test", "100", "--dry-run", "--json"], here))
    assert (shipped["n_cells"], shipped["n_new"]) == (6, 0)
    job = json.loads(run([command, "evaluate", *study, "--n-test", "7", "--background", "--json"], here))["job"]
    done = json.loads(run([command, "jobs", "wait", str(job), "--json"], here))
    assert done["state"] == "done", done
