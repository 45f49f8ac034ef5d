"""Estimates against what runs then take, and operations against counts worked out by hand."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from icl_core.errors import CheckpointError, StoppedError, UnknownNameError
from icl_core.evaluation import cost, job_processes, job_table, job_worker, jobs
from icl_core.evaluation.cost import estimate
from icl_core.evaluation.rates import (
    MeasuredCell,
    MeasuredLoad,
    Pace,
    Pacing,
    encode_seconds_per_query,
    fit_pacing,
    note,
    read_cells,
    read_loads,
)
from icl_core.evaluation.shapes import ModelShape, WorkCount, prompt_flops, shape_of_config, work_flops
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study, study_cells
from icl_core.models.listing import local_checkpoints
from icl_core.records import CellRecord, CellSpec
from icl_core.registry.families import checkpoint_ref, get_model
from icl_core.registry.tasks import TASKS, get_task
from icl_core.settings import DEFAULT_DEMO_SEEDS
from tests.support.made_up import made_up_record, refs_of
from tests.support.tiny_models import save_task_file, save_trajectory, tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_trajectory(tmp_path_factory.mktemp("models") / "tiny-llama", (0, 1000))


@pytest.fixture
def study(folder: Path, tmp_path: Path) -> Study:
    task = f"file:{save_task_file(tmp_path / 'own.jsonl', n=200)}"
    return Study(local_checkpoints(folder), (task,), ("gold", "random", "abstract"), (13, 21), n_shots=8, n_test=40)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def measured(
    flops: float,
    seconds: float,
    *,
    model: str = "m",
    size: int = 1000,
    n_queries: int = 100,
    encode_seconds: float = 0.0,
) -> MeasuredCell:
    return MeasuredCell(model, "t", "cpu", "float32", size, n_queries, 4000, 1000, flops, seconds, encode_seconds)


# Operations


@pytest.mark.parametrize("architecture", ["llama", "gpt_neox"])
def test_shape_counts_the_parameters_of_real_models(architecture: str) -> None:
    model = tiny_model(architecture)
    shape = shape_of_config(model.config.to_dict())  # type: ignore[union-attr]
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    n_matrices = sum(
        parameter.numel() for name, parameter in model.named_parameters() if "layers" in name and parameter.dim() == 2
    )
    assert shape.n_non_embedding == n_matrices
    assert shape.n_parameters == pytest.approx(n_parameters, rel=0.02)  # biases and norms are not counted


def test_flops_of_a_hand_worked_cell() -> None:
    shape = ModelShape(n_non_embedding=100, n_parameters=0, n_layers=2, hidden_size=4, n_vocab=10, attention_size=4)
    work = WorkCount(n_queries=2, prefix_tokens=10, query_tokens=6, read_positions=2)
    linear = 2 * 100 * 16
    attention = 4 * 2 * 4 * (10 * 10 / 2 + 2 * 3 * (10 + 1.5))
    assert work_flops(shape, work) == pytest.approx(linear + attention + 2 * 4 * 10 * 2)
    assert work.mean_prompt_tokens == 13


def test_one_prompt_costs_what_the_paper_reports() -> None:
    """Table 1 of arXiv 2406.14022: 1.24 +- 0.15 TFLOP for Pythia-1B, 3.60 +- 0.20 for Pythia-2.8B."""
    pythia_1b = {"model_type": "gpt_neox", "hidden_size": 2048, "num_hidden_layers": 16, "intermediate_size": 8192}
    pythia_1b |= {"num_attention_heads": 8, "vocab_size": 50304}
    shape = shape_of_config(pythia_1b)
    assert shape.n_parameters == pytest.approx(get_model("pythia-1b").n_parameters, rel=0.01)
    assert 1.09e12 < prompt_flops(shape, 720) < 1.39e12


def test_configuration_without_a_width_is_refused() -> None:
    with pytest.raises(CheckpointError, match="hidden_size"):
        shape_of_config({"model_type": "mystery"})


# Rates


def test_pacing_recovers_overhead_and_rate_despite_slow_outliers() -> None:
    cells = [measured(f * 1e9, 0.2 + 0.001 * n + 0.05 * f, n_queries=n) for f in (1, 2, 5, 9) for n in (10, 100, 300)]
    cells += [measured(2e9, 30.0)]
    pacing = fit_pacing(cells)
    assert pacing.seconds(n_queries=200, flops=4e9) == pytest.approx(0.2 + 0.2 + 0.2, rel=0.1)


def test_pacing_meets_the_total_of_cells_whose_time_varies() -> None:
    spread = (0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6)
    cells = [measured(f * 1e9, f * factor) for f in (1, 2, 5, 9) for factor in spread]
    pacing = fit_pacing(cells)
    expected = sum(pacing.seconds(n_queries=cell.n_queries, flops=cell.flops) for cell in cells)
    assert expected == pytest.approx(sum(cell.seconds for cell in cells), rel=0.02)


def test_pacing_is_of_scoring_without_encoding() -> None:
    first = [measured(1e9, 0.06, encode_seconds=0.05) for _ in range(40)]
    later = [measured(1e9, 0.012) for _ in range(10)]
    assert fit_pacing(first).seconds(n_queries=100, flops=1e9) == pytest.approx(0.01)
    assert fit_pacing([*first, *later]).seconds(n_queries=100, flops=1e9) == pytest.approx(0.012)
    assert encode_seconds_per_query([*first, *later]) == pytest.approx(0.0005)
    assert encode_seconds_per_query(later) == 0
    slow_encoding = [measured(1e9, 0.06, encode_seconds=0.07)]
    assert fit_pacing(slow_encoding).seconds(n_queries=100, flops=1e9) == pytest.approx(0.006)


def test_each_prompt_is_encoded_once_for_all_checkpoints(study: Study, store: Store) -> None:
    (ref, *_) = study.checkpoints
    before = estimate(study, store, device="cpu", offline=True).seconds
    for cell in (measured(1e9, 1.0, model=ref.model, n_queries=10, encode_seconds=0.0) for _ in range(20)):
        note(store.path, cell)
    without = estimate(study, store, device="cpu", offline=True).seconds
    for _ in range(20):
        note(store.path, measured(1e9, 1.0, model=ref.model, n_queries=10, encode_seconds=0.1))
    added = estimate(study, store, device="cpu", offline=True).seconds - without
    assert before != without and added == pytest.approx(3 * 2 * 41 * 0.01), "3 settings x 2 seeds x 41 queries"


def test_pacing_never_goes_below_zero() -> None:
    pacing = fit_pacing([measured(1e9, 5.0), measured(8e9, 1.0), measured(9e9, 1.0)])
    assert min(dataclasses.astuple(pacing)) >= 0


def test_pace_is_robust_and_counts_work() -> None:
    pace = Pace()
    assert pace.units_per_second is None and pace.eta_seconds(5) is None
    for seconds, size in [(1.0, 10.0), (2.0, 20.0), (60.0, 10.0), (1.0, 10.0), (3.0, 30.0)]:
        pace.add(seconds=seconds, work=size)
    assert pace.eta_seconds(100) == pytest.approx(10)
    assert pace.units_per_second == pytest.approx(0.5)


def test_notes_survive_torn_lines_and_other_machines(tmp_path: Path) -> None:
    note(tmp_path, measured(1e9, 1.0))
    note(tmp_path, MeasuredLoad("m", "cpu", 100, 2.0, is_first=True))
    line = (tmp_path / "rates.jsonl").read_text().splitlines()[0]
    foreign = json.dumps(json.loads(line) | {"machine": "another"})
    with (tmp_path / "rates.jsonl").open("a") as file:
        file.write(f"{foreign}\n{{}}\n[1]\n{line[:40]}")
    assert read_cells(tmp_path) == [measured(1e9, 1.0)]
    assert read_loads(tmp_path) == [MeasuredLoad("m", "cpu", 100, 2.0, is_first=True)]
    note(tmp_path / "absent", measured(1e9, 1.0))
    assert read_cells(tmp_path / "absent") == []


# Estimates


def test_estimate_before_anything_is_measured(study: Study, store: Store) -> None:
    found = estimate(study, store)
    assert (found.n_cells, found.n_stored, found.n_new, found.n_prompts) == (12, 0, 12, 12 * 41)
    assert not found.is_calibrated and found.seconds is not None and found.seconds > 0
    assert "no cell with these options has been measured" in found.time_words
    assert any("just measured" in sentence for sentence in found.basis)
    assert found.flops > 0 and found.tflops == found.flops / 1e12 and found.download_bytes is None


def test_estimate_agrees_with_what_the_run_then_counts(study: Study, store: Store) -> None:
    from icl_core.evaluation.run import run_study

    empty = bytes_of(store)
    before = estimate(study, store)
    run_study(study, store, device="cpu", offline=True)
    cells = read_cells(store.path)
    assert before.tokens == pytest.approx(sum(cell.tokens for cell in cells), rel=0.03)
    assert before.flops == pytest.approx(sum(cell.flops for cell in cells), rel=0.05)
    assert before.disk_bytes == pytest.approx(bytes_of(store) - empty, rel=0.2)
    after = estimate(study, store)
    assert (after.n_new, after.tokens, after.flops, after.seconds) == (0, 0, 0, 0)


def bytes_of(store: Store) -> int:
    return sum(path.stat().st_size for path in store.path.rglob("*") if path.is_file())


@pytest.mark.parametrize(("n_checkpoints", "n_tasks", "n_test"), [(1, 1, 40), (3, 4, 100), (1, 16, 1000)])
def test_estimated_bytes_are_those_of_stores_of_any_size(
    store: Store, n_checkpoints: int, n_tasks: int, n_test: int
) -> None:
    """The last is a checkpoint of the paper's grid, whose log-likelihoods take 4 bytes each, everything included."""
    refs = refs_of("pythia-410m", range(n_checkpoints))
    seeds = DEFAULT_DEMO_SEEDS[:5]
    study = Study(refs, tuple(TASKS)[:n_tasks], ("gold", "random", "abstract"), seeds, n_test=n_test)
    empty, cells = bytes_of(store), study_cells(study)
    for ref in refs:
        store.put_many(without_pattern(spec) for spec in cells if spec.checkpoint == ref)
        store.join(ref)
    for index, spec in enumerate(cells):
        note(store.path, measured(1e9 + index, 1 / (3 + index), model=spec.checkpoint.model, size=405_334_016))
    works = [WorkCount(n_test + 1, 0, 0, 0)] * len(cells)
    grown = bytes_of(store) - empty
    two_pages = 8192  # of the index, which grows by pages
    assert cost._result_bytes(cells, works) == pytest.approx(grown, rel=0.1, abs=two_pages)
    if n_test == 1000:
        assert grown / sum(spec.n_examples * get_task(spec.task).n_labels for spec in cells) < 4


def without_pattern(spec: CellSpec) -> CellRecord:
    """A made-up record whose log-likelihoods have nothing in common that could be packed."""
    record, random = made_up_record(spec, wanted=0.7), np.random.default_rng(int(spec.digest[:15], 16))
    scores = [-random.gamma(2.0, 2.0, a.shape).astype(np.float32) for a in (record.loglikelihoods, record.content_free)]
    shots = tuple(f"train:{at}" for at in random.choice(60_000, spec.n_shots, replace=False))
    return dataclasses.replace(record, loglikelihoods=scores[0], content_free=scores[1], demonstration_ids=shots)


def test_time_follows_measured_cells_of_the_same_model(study: Study, store: Store) -> None:
    one = dataclasses.replace(study, checkpoints=study.checkpoints[:1], label_settings=("gold",), demo_seeds=(13,))
    flops = estimate(one, store).flops
    for factor in (0.5, 1.0, 2.0):
        note(store.path, measured(factor * flops, factor * 7.0, model="tiny-llama", size=18432, n_queries=41))
    note(store.path, MeasuredLoad("tiny-llama", "cpu", 100, 3.0, is_first=True))
    found = estimate(one, store)
    assert found.is_calibrated and found.seconds == pytest.approx(7.0 + 3.0, rel=0.05)
    assert any("3 finished cells" in sentence for sentence in found.basis)
    other = estimate(dataclasses.replace(one, dtype="float64"), store)
    assert not other.is_calibrated, "another dtype has another rate"


def test_time_of_another_model_is_said_to_rest_on_its_neighbour(study: Study, store: Store) -> None:
    for _ in range(3):
        note(store.path, measured(1e9, 2.0, model="another", size=36864))
    found = estimate(study, store)
    assert not found.is_calibrated and found.seconds is not None
    assert "from cells of models of another size measured" in found.time_words
    assert any("finished cells of another" in sentence and "2.0 times larger" in sentence for sentence in found.basis)


@pytest.mark.parametrize(("times", "is_told"), [(29.0, True), (31.0, False), (1 / 29, True), (1 / 31, False)])
def test_a_rate_is_carried_over_to_thirty_times_the_size_at_most(
    times: float, is_told: bool, study: Study, store: Store
) -> None:
    ref = study.checkpoints[0]
    size = shape_of_config(json.loads((Path(ref.location) / ref.revision / "config.json").read_text()))
    for _ in range(3):
        note(store.path, measured(1e9, 2.0, model="another", size=round(size.n_non_embedding / times)))
    found = estimate(study, store)
    assert (found.seconds is not None) is is_told and found.n_new == 12
    if not is_told:
        assert found.time_words.startswith(
            "The time cannot be estimated for tiny-llama: the nearest model measured here is 3"
        )
        assert "at most 30 times" in found.time_words and found.time_words.endswith(".")


def test_no_time_is_told_for_some_models_if_one_cannot_be(study: Study, store: Store) -> None:
    for _ in range(3):
        note(store.path, measured(1e9, 2.0, model="another", size=18432))
    others = [checkpoint_ref(get_model(name), "step3000") for name in ("pythia-410m", "pythia-1b")]
    found = estimate(dataclasses.replace(study, checkpoints=(*study.checkpoints, *others)), store)
    assert (
        found.seconds is None and "pythia-410m and 1 more" in found.time_words and "times smaller" in found.time_words
    )


def test_loading_time_is_not_carried_over_further_either() -> None:
    ref = checkpoint_ref(get_model("pythia-410m"), "step3000")
    load = MeasuredLoad("tiny", "cpu", 400_000, 1.0, is_first=False)
    shape = ModelShape(405_000_000, 405_000_000)
    assert cost._load_time(ref, [load], shape, is_first=False) == pytest.approx(4 * 405e6 / 5e8)
    near = MeasuredLoad("near", "cpu", 100_000_000, 1.0, is_first=False)
    assert cost._load_time(ref, [load, near], shape, is_first=False) == pytest.approx(16.2)


def test_counting_tells_how_far_it_is_and_can_be_stopped(study: Study, store: Store) -> None:
    told: list[tuple[int, int]] = []
    estimate(study, store, on_progress=lambda done, total, current: told.append((done, total)))
    assert told == [(0, 2), (1, 2), (2, 2)]
    with pytest.raises(StoppedError):
        estimate(study, store, should_stop=lambda: True)


def test_a_job_gives_the_same_estimate(study: Study, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for factor in (0.5, 1.0, 2.0):
        note(store.path, measured(factor * 1e9, factor, model="tiny-llama", size=18432, n_queries=41))
    monkeypatch.setattr(job_processes, "_launch", lambda folder, job_id: None)
    number = jobs.submit_estimate(study, device="cpu", store_path=store.path)
    assert jobs.study_of_job(jobs.read_job(number, store_path=store.path)) == study
    assert job_worker.work(number, {"estimate": cost.estimate_job}, store_path=store.path) == "done"
    job = jobs.read_job(number, store_path=store.path)
    assert (job.done, job.total) == (2, 2)
    found = cost.estimate_from_plain(jobs.read_result(number, store_path=store.path))
    assert found == (estimate(study, store, device="cpu"), store.generation())
    assert cost.estimate_from_plain({"estimate": {"n_new": 1}, "generation": 1}) is None
    assert cost.estimate_from_plain(jobs.read_result(99, store_path=store.path)) is None


def test_jobs_of_both_kinds_are_done_by_their_processes(study: Study, store: Store) -> None:
    asked = jobs.submit_estimate(study, device="cpu", store_path=store.path)
    payload = {"config": {"steps": 0}}
    refused = jobs.submit_payload("train", payload, title="t", device=job_table.NO_DEVICE, store_path=store.path)
    assert jobs.wait_for(asked, timeout=300, store_path=store.path).state == "done"
    job = jobs.wait_for(refused, timeout=300, store_path=store.path)
    assert job.state == "failed" and "unknown field steps" in job.message


def test_checkpoint_that_is_not_here_yet(study: Study, store: Store) -> None:
    ref = checkpoint_ref(get_model("pythia-410m"), "step3000")
    found = estimate(dataclasses.replace(study, checkpoints=(ref,)), store)
    assert any("2 x all parameters" in sentence for sentence in found.basis)
    assert any("4 characters per token (within 25 %)" in sentence for sentence in found.basis)
    assert found.memory_bytes > 4 * 405_334_016
    assert found.flops > 2 * 405_334_016 * found.tokens * 0.99


def test_texts_that_are_not_here_yet(study: Study, store: Store) -> None:
    found = estimate(dataclasses.replace(study, tasks=("sst2",)), store)
    assert any("Texts of sst2 are not here" in sentence for sentence in found.basis)
    assert found.tokens > 0


def test_prompts_longer_than_the_context_are_counted_as_cut(study: Study, store: Store) -> None:
    found = estimate(dataclasses.replace(study, n_shots=64), store)
    assert found.tokens_per_prompt <= 512 * 1.01


def test_unknown_task_is_refused(study: Study, store: Store) -> None:
    with pytest.raises(UnknownNameError):
        estimate(dataclasses.replace(study, tasks=("nonsense",)), store)


def test_default_rates_for_a_gpu(study: Study, store: Store) -> None:
    counting = cost._Counting(study, store, device="cuda", offline=True)
    pacing, basis = counting._pacing("m", ModelShape(10, 10))
    assert basis == "assumed" and pacing == Pacing(0.05, 1e-4, 1 / 15e12)
    assert "assumed" in counting.basis[0]
