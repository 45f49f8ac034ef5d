"""Whole runs over tiny random checkpoints on disk; forward passes are counted at the model."""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from icl_core.errors import ScoringError, StoreError, StudyError, UnknownNameError
from icl_core.evaluation import reservations, run_looking
from icl_core.evaluation import run as run_module
from icl_core.evaluation.encodings import Encodings
from icl_core.evaluation.exclusions import excluded_checkpoints
from icl_core.evaluation.rates import read_cells, read_loads
from icl_core.evaluation.run import run_study
from icl_core.evaluation.run_progress import ProgressInfo
from icl_core.evaluation.run_report import RunReport
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study, study_cells, study_to_json
from icl_core.models.listing import local_checkpoints
from icl_core.records import CellSpec, EncodedRequest
from icl_core.scoring import reference
from icl_core.settings import project_path
from tests.support.tiny_models import save_checkpoint, save_task_file, save_trajectory, spoil_weights


@pytest.fixture(scope="module")
def trajectory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_trajectory(tmp_path_factory.mktemp("models") / "tiny-llama", (0, 1000))


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"file:{save_task_file(tmp_path_factory.mktemp('data') / 'own.jsonl')}"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.fixture
def study(trajectory: Path, task: str) -> Study:
    return Study(local_checkpoints(trajectory), (task,), ("gold", "random", "abstract"), (13,), n_shots=4, n_test=6)


@pytest.fixture
def forward_passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts calls of every model's forward; element 0 is the number so far."""
    from transformers import LlamaForCausalLM

    from icl_core.models import checkpoints

    count = [0]
    load = checkpoints.load_checkpoint

    def counting_load(*arguments: object, **options: object) -> object:
        loaded = load(*arguments, **options)

        def note(*_: object) -> None:
            count[0] += 1

        assert isinstance(loaded.model, LlamaForCausalLM)
        loaded.model.model.layers[0].register_forward_pre_hook(note)
        return loaded

    monkeypatch.setattr(checkpoints, "load_checkpoint", counting_load)
    return count


def run(study: Study, store: Store, **options: object) -> RunReport:
    return run_study(study, store, device="cpu", offline=True, **options)  # type: ignore[arg-type]


def test_every_cell_is_stored_and_again_costs_no_forward_pass(
    study: Study, store: Store, forward_passes: list[int]
) -> None:
    first = run(study, store)
    assert (first.n_cells, first.n_computed, first.n_stored, first.failures) == (6, 6, 0, ())
    assert first.complete and first.message == "6 of 6 cells computed, 0 were already stored."
    assert forward_passes[0] > 0
    assert len(store.find_many(study_cells(study))) == 6
    before = forward_passes[0]
    second = run(study, store)
    assert (second.n_computed, second.n_stored) == (0, 6)
    assert forward_passes[0] == before


def test_stored_numbers_are_those_of_the_plain_recompute(study: Study, store: Store) -> None:
    from icl_core.data.datasets import load_task_data
    from icl_core.evaluation.cell_work import all_requests, encode_spec
    from icl_core.models.checkpoints import load_checkpoint
    from icl_core.registry.tasks import get_task

    run(study, store)
    spec = study_cells(study)[2]
    loaded = load_checkpoint(spec.checkpoint, dtype="float64", device="cpu")
    cell = encode_spec(loaded.tokenizer, spec, load_task_data(get_task(spec.task)), context_length=512)
    *expected, content_free = reference.score_requests(loaded.model, all_requests(cell))
    record = store.find(spec)
    assert record is not None
    np.testing.assert_allclose(record.loglikelihoods, [row.loglikelihoods for row in expected], atol=1e-3)
    np.testing.assert_allclose(record.content_free, content_free.loglikelihoods, atol=1e-3)
    assert record.choices == cell.prompts.choices and set(record.choices) <= set("@#$%*^{}")
    assert record.row_ids == tuple(e.row_id for e in load_task_data(get_task(spec.task)).test[:6])
    assert {"device", "wall_time_s", "date", "torch", "transformers"} <= set(record.provenance)
    assert record.provenance["n_threads"] == torch.get_num_threads()
    assert record.provenance["path"] == "packed" and int(record.provenance["token_budget"]) > 0


def test_a_record_without_the_way_of_its_scoring_stays_readable_and_its_key_is_the_same(study: Study, store: Store):
    run(study, store)
    spec = study_cells(study)[0]
    record = store.find(spec)
    assert record is not None
    older = dataclasses.replace(
        record,
        provenance={n: v for n, v in record.provenance.items() if n not in ("path", "token_budget", "n_threads")},
    )
    other = Store.open(store.path.parent / "older")
    other.put(older)
    found = other.find(spec)
    assert found is not None and found.key == record.key and "path" not in found.provenance
    np.testing.assert_array_equal(found.loglikelihoods, record.loglikelihoods)
    assert not other.put(record), "the same result, however it was scored"


def test_settings_share_inputs_and_never_results(study: Study, store: Store) -> None:
    run(study, store)
    records = store.find_many(study_cells(study))
    assert len({record.key.digest for record in records.values()}) == 6
    demonstrations = {record.demonstration_ids for record in records.values()}
    assert len(demonstrations) == 1
    assert len({record.loglikelihoods.tobytes() for record in records.values()}) == 6


@pytest.mark.parametrize("change", [{"dtype": "float64"}, {"n_shots": 3}, {"demo_seeds": (14,)}, {"n_test": 5}])
def test_another_option_is_computed_anew(study: Study, store: Store, change: dict[str, object]) -> None:
    one = dataclasses.replace(study, checkpoints=study.checkpoints[:1], label_settings=("gold",))
    run(one, store)
    report = run(dataclasses.replace(one, **change), store)  # type: ignore[arg-type]
    assert (report.n_computed, report.n_stored) == (1, 0)


def test_only_what_is_missing_is_computed(study: Study, store: Store) -> None:
    run(dataclasses.replace(study, label_settings=("random",)), store)
    report = run(study, store)
    assert (report.n_computed, report.n_stored) == (4, 2)


def test_copied_weights_are_found_under_their_new_name(
    study: Study, store: Store, trajectory: Path, tmp_path: Path
) -> None:
    run(study, store)
    copy = shutil.copytree(trajectory / "step-0", tmp_path / "copies" / "step-7")
    other = dataclasses.replace(study, checkpoints=local_checkpoints(copy.parent))
    report = run(other, store)
    assert (report.n_computed, report.n_stored) == (0, 3)
    assert all(store.find(spec) is not None for spec in study_cells(other))


def test_changed_weights_are_not_mistaken_for_the_old_ones(study: Study, store: Store, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "m" / "step-5", seed=1)
    changing = dataclasses.replace(study, checkpoints=local_checkpoints(tmp_path / "m"), label_settings=("gold",))
    run(changing, store)
    before = store.find(study_cells(changing)[0])
    save_checkpoint(tmp_path / "m" / "step-5", seed=2)
    assert run(changing, store).n_computed == 1
    after = store.find(study_cells(changing)[0])
    assert before is not None and after is not None
    assert not np.allclose(before.loglikelihoods, after.loglikelihoods)


def test_broken_checkpoint_is_reported_and_the_others_go_on(
    study: Study, store: Store, trajectory: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(trajectory, tmp_path / "broken")
    weights = folder / "step-0" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    report = run(dataclasses.replace(study, checkpoints=local_checkpoints(folder)), store)
    assert (report.n_computed, report.n_failed) == (3, 3)
    assert report.failures[0].what == "broken step-0" and "incomplete" in report.failures[0].message
    assert "3 failed (broken step-0" in report.message


def test_nan_logits_fail_the_cell_with_one_sentence(
    study: Study, store: Store, trajectory: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(trajectory, tmp_path / "nan")
    spoil_weights(folder / "step-0")
    report = run(dataclasses.replace(study, checkpoints=local_checkpoints(folder)), store)
    assert (report.n_computed, report.n_failed, len(report.failures)) == (3, 3, 3)
    assert "no valid numbers" in report.failures[0].message


def test_unusable_task_costs_its_cells_only(study: Study, store: Store, tmp_path: Path) -> None:
    lonely = save_task_file(tmp_path / "lonely.jsonl", n=2)
    report = run(dataclasses.replace(study, tasks=(f"file:{lonely}", *study.tasks)), store)
    assert (report.n_computed, report.n_failed) == (6, 6)
    assert "too few usable rows" in report.failures[0].message


def test_prompt_that_cannot_fit_fails_and_a_long_one_is_cut(study: Study, store: Store, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "short" / "step-1", context_length=16)
    save_checkpoint(tmp_path / "short" / "step-2", context_length=60)
    short = dataclasses.replace(study, checkpoints=local_checkpoints(tmp_path / "short"), label_settings=("gold",))
    report = run(short, store)
    assert (report.n_computed, report.n_failed) == (1, 1)
    assert "even with empty texts" in report.failures[0].message
    record = store.find(study_cells(short)[1])
    assert record is not None and record.context_cut is not None and record.n_shortened > 0


def test_unexpected_error_of_one_checkpoint_is_logged(
    study: Study, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from icl_core.models import checkpoints

    load = checkpoints.load_checkpoint

    def failing(ref: object, **options: object) -> object:
        if getattr(ref, "step", None) == 0:
            raise RuntimeError("the device caught fire")
        return load(ref, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(checkpoints, "load_checkpoint", failing)
    with caplog.at_level(logging.ERROR):
        report = run(study, store)
    assert (report.n_computed, report.n_failed) == (3, 3)
    assert "unexpected RuntimeError: the device caught fire" in report.failures[0].message
    assert "Traceback" in caplog.text


def test_equal_weights_are_flagged_and_kept_in_mind(
    study: Study, store: Store, trajectory: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "doubles"
    for name in ("step-1000", "step-2000"):
        shutil.copytree(trajectory / "step-0", folder / name)
    shutil.copytree(trajectory / "step-1000", folder / "step-3000")
    refs = local_checkpoints(folder)
    report = run(dataclasses.replace(study, checkpoints=refs, label_settings=("gold",)), store)
    assert {ref.step for ref in report.duplicates} == {1000, 2000}
    assert report.n_computed == 2 and report.n_stored == 1
    assert {ref.step for ref in excluded_checkpoints(store, refs)} == {1000, 2000}
    run(dataclasses.replace(study, checkpoints=refs[:1], label_settings=("gold",)), store)
    assert refs[0] in excluded_checkpoints(store, refs), "met alone it is still a double"
    save_checkpoint(folder / "step-1000", seed=9)
    run(dataclasses.replace(study, checkpoints=refs[:1], label_settings=("gold",)), store)
    assert excluded_checkpoints(store, refs) == {}, "the first of the two has other weights now"


def test_stop_after_a_forward_pass_and_go_on_later(study: Study, store: Store) -> None:
    seen: list[int] = []

    def note(done: int, total: int, info: ProgressInfo) -> None:
        seen.append(done)

    report = run(study, store, on_progress=note, should_stop=lambda: bool(seen) and seen[-1] >= 2)
    assert not report.complete and 2 <= report.n_computed <= 3, "the second checkpoint is not begun"
    assert "told to stop" in report.message
    assert run(study, store).n_computed == 6 - report.n_computed


def test_a_cell_that_fails_in_a_shared_forward_pass_fails_alone(
    study: Study, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from icl_core.scoring import engine

    poison: list[list[EncodedRequest]] = []
    prepare, bursts, alone = Encodings.prepare, engine.score_bursts, engine.score_requests

    def preparing(self: Encodings, tokenizer: object, spec: CellSpec, *rest: object, **options: object) -> object:
        prepared = prepare(self, tokenizer, spec, *rest, **options)
        if spec.label_setting == "random":
            poison.append(prepared.requests)
        return prepared

    def refuse(requests: list[EncodedRequest]) -> None:
        if any(requests is bad for bad in poison):
            raise ScoringError("This cell has no valid numbers.")

    def failing_bursts(model: object, cells: Iterable[list[EncodedRequest]], **options: object) -> object:
        everything = list(cells)
        for requests in everything:
            refuse(requests)
        return bursts(model, everything, **options)

    def failing_alone(model: object, requests: list[EncodedRequest], **options: object) -> object:
        refuse(requests)
        return alone(model, requests, **options)

    monkeypatch.setattr(Encodings, "prepare", preparing)
    monkeypatch.setattr(engine, "score_bursts", lambda *a, **k: (yield from failing_bursts(*a, **k)))
    monkeypatch.setattr(engine, "score_requests", failing_alone)
    report = run(study, store)
    assert (report.n_computed, report.n_failed) == (4, 2)
    assert all("no valid numbers" in failure.message and "random" in failure.what for failure in report.failures)


def test_progress_counts_up_and_knows_the_end(study: Study, store: Store) -> None:
    seen: list[tuple[int, int, ProgressInfo]] = []
    run(study, store, on_progress=lambda *news: seen.append(news))
    done = [entry[0] for entry in seen]
    assert done == sorted(done) and done[-1] == 6 and all(entry[1] == 6 for entry in seen)
    assert seen[-1][2].eta_seconds == 0 and seen[-1][2].cells_per_second
    assert any("gold, seed 13" in entry[2].current for entry in seen)
    assert len(read_cells(store.path)) == 6
    assert [load.is_first for load in read_loads(store.path)] == [True, False]


def test_time_left_counts_the_loads_that_are_left(study: Study, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from icl_core.models import checkpoints

    load, slow = checkpoints.load_checkpoint, 2.0

    def slowly(*arguments: Any, **options: Any) -> Any:
        time.sleep(slow)
        return load(*arguments, **options)

    monkeypatch.setattr(checkpoints, "load_checkpoint", slowly)
    seen: list[tuple[int, ProgressInfo]] = []
    run(study, store, on_progress=lambda done, total, info: seen.append((done, info)))
    told = {done: info.eta_seconds for done, info in seen if info.eta_seconds is not None}
    assert min(told) == 1 and told[6] == 0
    assert all(told[done] >= slow for done in (1, 2, 3)), "the second checkpoint has to be loaded yet"


def test_time_left_counts_cells_whose_files_are_others_now(study: Study, store: Store, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "m" / "step-5", seed=1)
    changing = dataclasses.replace(study, checkpoints=local_checkpoints(tmp_path / "m"))
    run(changing, store)
    save_checkpoint(tmp_path / "m" / "step-5", seed=2)
    seen: list[tuple[int, ProgressInfo]] = []
    report = run(changing, store, on_progress=lambda done, total, info: seen.append((done, info)))
    assert report.n_computed == 3
    assert {done for done, info in seen if info.eta_seconds == 0} == {3}, "nothing is left only where all is done"


def test_stored_cells_take_nothing_from_the_time_that_is_left(study: Study, store: Store) -> None:
    run(dataclasses.replace(study, label_settings=("gold", "abstract")), store)
    seen: list[tuple[int, int, ProgressInfo]] = []
    run(dataclasses.replace(study, demo_seeds=(13, 14)), store, on_progress=lambda *news: seen.append(news))
    left = [12 - done for done, _, info in seen if info.eta_seconds == 0]
    assert left and set(left) == {0}, "nothing is left only where all is done"


def test_full_disk_stops_with_a_clear_word_and_loses_nothing(
    study: Study, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from icl_core.evaluation import store as store_module

    write, written = store_module.write_segment, []

    def filling(folder: Path, table: pa.Table) -> Path:
        if written:
            raise OSError(28, "No space left on device")
        written.append(table.num_rows)
        return write(folder, table)

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "write_segment", filling)
        with pytest.raises(StoreError, match="No space left"):
            run(study, store)
    assert 0 < written[0] < 6 and run(study, store).n_computed == 6 - written[0]


def test_two_runs_at_once_never_compute_one_cell_twice(
    study: Study, tmp_path: Path, forward_passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_looking, "WAIT_SECONDS", 0.05)
    reports: list[RunReport] = []

    def work() -> None:
        reports.append(run(study, Store.open(tmp_path / "shared")))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(report.n_computed for report in reports) == 6
    assert all(report.n_computed + report.n_stored == 6 and not report.failures for report in reports)


def test_cell_reserved_elsewhere_is_waited_for(study: Study, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_looking, "WAIT_SECONDS", 0.05)
    monkeypatch.setattr(reservations, "STALE_SECONDS", 4.0)
    one = dataclasses.replace(study, checkpoints=study.checkpoints[:1])
    scratch = Store.open(store.path.parent / "scratch")
    run(one, scratch)
    stolen, abandoned, _ = (scratch.find(spec) for spec in study_cells(one))
    assert stolen is not None and abandoned is not None
    assert store.reservations.take(stolen.key, "another") and store.reservations.take(abandoned.key, "a dead one")

    def finish_elsewhere() -> None:
        for _ in range(8):
            time.sleep(0.2)
            store.reservations.heartbeat(stolen.key, "another")
        store.put(stolen)
        store.reservations.release(stolen.key, "another")

    thread = threading.Thread(target=finish_elsewhere)
    thread.start()
    infos: list[ProgressInfo] = []
    report = run(one, store, on_progress=lambda done, total, info: infos.append(info))
    thread.join()
    assert (report.n_computed, report.n_stored) == (2, 1)
    waiting = [info for info in infos if "waiting for another process" in info.current]
    assert waiting and all(info.eta_seconds is None for info in waiting), "nobody knows how long another one takes"


def test_kill_at_any_moment_loses_at_most_what_one_forward_pass_holds(study: Study, tmp_path: Path) -> None:
    more = dataclasses.replace(study, demo_seeds=tuple(range(40)))
    script = (
        "import sys; from pathlib import Path; from icl_core.evaluation.run import run_study;"
        "from icl_core.evaluation.store import Store; from icl_core.evaluation.study import study_from_json;"
        "study = study_from_json(sys.stdin.read()); put_many = Store.put_many;"
        "Store.put_many = lambda self, records: (print(len(records), flush=True), put_many(self, records))[1];"
        "run_study(study, Store.open(Path(sys.argv[1])), device='cpu', offline=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "killed")],
        cwd=project_path(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(study_to_json(more))
    process.stdin.close()
    scored = [int(process.stdout.readline()) for _ in range(2)]
    os.kill(process.pid, signal.SIGKILL)
    scored += [int(line) for line in process.stdout]
    process.stdout.close()
    process.wait()
    store = Store.open(tmp_path / "killed")
    n_stored = len(store.find_many(study_cells(more)))
    assert sum(scored[:-1]) <= n_stored <= sum(scored) < 240, "only the cells of the last forward pass may be lost"
    report = run(dataclasses.replace(more, demo_seeds=tuple(range(3))), store)
    assert report.n_computed + report.n_stored == 18 and report.n_stored > 0 and not report.failures


def test_bad_studies_are_refused_before_anything_happens(study: Study, store: Store) -> None:
    with pytest.raises(StudyError, match="no device 'cuda:9'"):
        run_study(study, store, device="cuda:9")
    with pytest.raises(UnknownNameError, match="Unknown task 'nonsense'"):
        run(dataclasses.replace(study, tasks=("nonsense",)), store)
    assert store.summaries() == []


def test_neox_architecture_runs_too(study: Study, store: Store, tmp_path: Path) -> None:
    save_trajectory(tmp_path / "neox", (1,), "gpt_neox")
    report = run(dataclasses.replace(study, checkpoints=local_checkpoints(tmp_path / "neox")), store)
    assert (report.n_computed, report.failures) == (3, ())


def test_auto_names_stand_for_what_is_here() -> None:
    assert run_module.resolve_device("auto") == ("cuda:0" if torch.cuda.is_available() else "cpu")
    assert run_module.resolve_dtype("auto", "cpu") == "float32"
    assert run_module.resolve_dtype("float64", "cpu") == "float64"


def test_requests_of_a_cell_share_their_prefix() -> None:
    from icl_core.evaluation.shapes import count_work

    prefix = tuple(range(50))
    requests = [EncodedRequest((*prefix, i, i + 1), ((7,), (8, 9))) for i in range(4)]
    work = count_work(requests)
    assert (work.n_queries, work.prefix_tokens, work.query_tokens, work.read_positions) == (4, 50, 12, 8)
