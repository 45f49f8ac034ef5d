"""The real ``datasets`` client against a server on loopback that speaks the Hub's protocol."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from icl_core.data.datasets import load_task_data
from icl_core.registry.tasks import TASKS, HubSource
from tests.support.hub_server import HubServer

CLIENT = """
import json, sys
from icl_core.data.datasets import load_task_data
from icl_core.errors import DataError
from icl_core.registry.tasks import TASKS
answers = {}
for name in sys.argv[2:]:
    try:
        data = load_task_data(TASKS[name], offline=sys.argv[1] == "offline")
        answers[name] = [data.fingerprint, data.n_rows]
    except DataError as error:
        answers[name] = str(error)
print("\\n" + json.dumps(answers))
"""
TASKS_BY_REPOSITORY = {"iamollas/ethos": "ethos_race", "nyu-mll/glue": "wnli", "CogComp/trec": "trec"}


def _ask(environment: dict[str, str], mode: str, *names: str) -> dict[str, object]:
    command = [sys.executable, "-c", CLIENT, mode, *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    answers: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return answers


def _table(name: str, split: str, n_rows: int, prefix: str = "") -> pa.Table:
    """Rows of a task's shape; the texts tell task, split and position."""
    task = TASKS[name]
    columns: dict[str, list[object]] = {
        c: [f"{prefix}{split} {c} {i}" for i in range(n_rows)] for c in task.text_columns
    }
    labels = ["race", "gender"] if name == "ethos_race" else [task.label_column]
    columns |= {label: [(i * k) % task.n_labels for i in range(n_rows)] for k, label in enumerate(labels, start=1)}
    features = {c: {"dtype": "string", "_type": "Value"} for c in task.text_columns}
    features |= {label: {"names": list(task.label_names), "_type": "ClassLabel"} for label in labels}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.table(columns).replace_schema_metadata(metadata)


def _write(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def _n_rows(name: str) -> dict[str, int]:
    source = TASKS[name].source
    assert isinstance(source, HubSource)
    return dict(source.n_rows)


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same rows in the layout of a local directory."""
    folder = tmp_path_factory.mktemp("copies")
    for hub_id, name in TASKS_BY_REPOSITORY.items():
        for split, n_rows in _n_rows(name).items():
            path = folder / hub_id / TASKS[name].source.config / f"{split}-00000-of-00001.parquet"
            _write(_table(name, split, n_rows), path)
    return folder


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> HubServer:
    """Ethos: script on main, two configurations on the convert branch. WNLI: Parquet named in the card of main,
    beside another configuration. TREC: converted since, so that only main exists."""
    server, folder = HubServer(), tmp_path_factory.mktemp("hub")
    for config, prefix in (("binary", "other "), ("multilabel", "")):
        _write(_table("ethos_race", "train", 433, prefix), folder / "ethos" / config / "train" / "0000.parquet")
    (folder / "ethos-main").mkdir()
    (folder / "ethos-main" / "README.md").write_text("# Ethos\n")
    (folder / "ethos-main" / "ethos.py").write_text("raise SystemExit\n")
    server.add("iamollas/ethos", "main", folder / "ethos-main", repo_type="dataset")
    server.add("iamollas/ethos", "refs/convert/parquet", folder / "ethos", repo_type="dataset")
    for name, configs in (("wnli", ("wnli", "other")), ("trec", ("default",))):
        card = ["---", "configs:"]
        for config in configs:
            card += [f"- config_name: {config}", "  data_files:"]
            for split, n_rows in _n_rows(name).items():
                card += [f"  - split: {split}", f"    path: {config}/{split}-*"]
                _write(_table(name, split, n_rows), folder / name / config / f"{split}-00000-of-00001.parquet")
        (folder / name / "README.md").write_text("\n".join([*card, "---", ""]))
    server.add("nyu-mll/glue", "main", folder / "wnli", repo_type="dataset")
    server.add("CogComp/trec", "main", folder / "trec", repo_type="dataset")
    return server


@pytest.fixture(scope="module")
def loaded(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], dict[str, object]]:
    """What the client answered while the server ran, and its environment; the server has stopped since."""
    with hub:
        environment = hub.environment(tmp_path_factory.mktemp("home"))
        environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
        return environment, _ask(environment, "online", "ethos_race", "ethos_gender", "wnli", "trec", "sst2", "mrpc")


def test_hub_rows_are_those_of_a_local_copy(loaded, copies: Path):
    answers = loaded[1]
    for name in ("ethos_race", "ethos_gender", "wnli", "trec"):
        local = load_task_data(TASKS[name], data_dir=copies)
        assert answers[name] == [local.fingerprint, local.n_rows]
    assert answers["ethos_race"] != answers["ethos_gender"]


def test_a_missing_dataset_is_one_sentence(loaded):
    message = loaded[1]["sst2"]
    assert message.startswith("Cannot load stanfordnlp/sst2 (main: ")
    assert message.endswith("check the connection, or give a local directory with --data-dir.")


def test_a_configuration_that_is_not_there_is_one_sentence(loaded):
    message = loaded[1]["mrpc"]
    assert message.startswith("Cannot load nyu-mll/glue (main: BuilderConfig 'mrpc' not found")


def test_revisions_are_resolved_to_commits_first(loaded, hub: HubServer):
    commit = hub.repositories["dataset", "iamollas/ethos"].refs["refs/convert/parquet"]
    parquet = [path for _, path in hub.requests if "ethos" in path and path.endswith(".parquet")]
    assert parquet and all(commit in path for path in parquet)
    assert not any("binary" in path for path in parquet)


def test_offline_works_from_the_cache_alone(loaded):
    environment, online = loaded
    names = ("ethos_race", "ethos_gender", "wnli", "trec")
    assert _ask(environment, "offline", *names) == {name: online[name] for name in names}


def test_offline_without_a_cache_says_what_to_do(loaded, tmp_path: Path):
    environment = loaded[0] | {"HF_HOME": str(tmp_path)}
    message = _ask(environment, "offline", "wnli")["wnli"]
    assert message.startswith("Cannot load nyu-mll/glue") and message.endswith("load it once while online.")
