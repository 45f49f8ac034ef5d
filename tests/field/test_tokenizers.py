"""A tokenizer that a stranger made costs its own checkpoint: not the study, not the memory, not the app's process."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from tokenizers import Tokenizer

from icl_core.__main__ import main
from icl_core.data.datasets import load_task_data
from icl_core.errors import CheckpointError, ScoringError
from icl_core.evaluation import job_processes, job_worker, jobs, playground, run, run_rows
from icl_core.evaluation.cost import estimate
from icl_core.evaluation.encodings import Encodings
from icl_core.evaluation.playground import Question, ask
from icl_core.evaluation.run import evaluate_job, run_study
from icl_core.evaluation.run_report import RunReport
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study, study_cells
from icl_core.models import checkpoints, tokenizing
from icl_core.models.checkpoints import load_tokenizer
from icl_core.models.identity import identify_checkpoint
from icl_core.models.listing import list_checkpoints, local_checkpoints
from icl_core.models.tokenizing import BoundedTokenizer
from icl_core.models.worker import Worker
from icl_core.registry.tasks import embedded_tasks, get_task
from tests.support.hostile_tokenizers import HOSTILE, grow
from tests.support.sentences import assert_one_sentence
from tests.support.tiny_models import save_task_file, save_trajectory, tiny_tokenizer

SEEN = "PyO3/pyo3#492", "PanicException, which is no Exception, ended the run; a growing normalizer the app's process"
SAID = {
    "grows": "needs more than 315 MB of memory",
    "hangs": "takes longer than 8 s",
    "gives up": "gives up on a text. It stopped on an unexpected PanicException: Onig: Regex search error",
    "is nested": "cannot be loaded",
}
each_hostile = pytest.mark.parametrize("kind", HOSTILE)


@pytest.fixture(autouse=True)
def _limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICL_OBSERVATORY_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(tokenizing, "LIMIT_SECONDS", 8.0)
    monkeypatch.setattr(tokenizing, "COUNT_SECONDS", 8.0)
    monkeypatch.setattr(tokenizing, "MOST_MEMORY_BYTES", 300 * 2**20)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_trajectory(tmp_path / "run", (0, 1000, 2000))


@pytest.fixture
def study(folder: Path, tmp_path: Path) -> Study:
    task = f"file:{save_task_file(tmp_path / 'films.jsonl')}"
    return Study(local_checkpoints(folder), (task,), ("gold", "random"), (13,), n_shots=7, n_test=20)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def evaluated(study: Study, store: Store) -> RunReport:
    return run_study(study, store, device="cpu", offline=True)


@pytest.mark.stands_for(*SEEN)
@each_hostile
def test_a_hostile_tokenizer_costs_its_checkpoint(study: Study, store: Store, folder: Path, kind: str) -> None:
    HOSTILE[kind](folder / "step-1000")
    before = psutil.Process().memory_info().rss
    report = evaluated(study, store)
    assert (report.n_computed, report.n_failed) == (4, 2) and report.complete
    assert psutil.Process().memory_info().rss - before < 300 * 2**20
    for failure in report.failures:
        assert_one_sentence(failure.message)
        assert "run step-1000" in failure.what and SAID[kind] in failure.message
    assert {spec.checkpoint.step for spec in store.find_many(study_cells(study))} == {0, 2000}


@pytest.mark.stands_for("tokenizers#1518", "the estimate encoded with a stranger's tokenizer in the app's process")
@each_hostile
def test_an_estimate_reads_a_strangers_tokenizer_elsewhere(
    study: Study, store: Store, folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    HOSTILE[kind](folder / "step-0")  # the first checkpoint stands for its model
    monkeypatch.setattr(Tokenizer, "from_file", lambda *_: pytest.fail("read in this process"))
    found = estimate(study, store, device="cpu")
    assert (found.n_new, found.n_prompts) == (6, 6 * 21) and found.tokens > 0
    (said,) = [sentence for sentence in found.basis if "characters per token" in sentence]
    assert not any("its tokenizer on up to" in sentence for sentence in found.basis)
    for sentence in (said, *found.basis):
        assert_one_sentence(sentence)


@pytest.mark.stands_for("tokenizers#1518", "an estimate of a shipped model must not wait for another process")
def test_shipped_models_ask_no_other_process(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Worker, "ask", lambda *_, **__: pytest.fail("asked"))
    refs, tasks = list_checkpoints("tiny-base")[-1:], tuple(embedded_tasks())[:1]
    study = Study(refs, tasks, ("gold",), (13,), n_shots=4, n_test=5)
    assert estimate(study, store, device="cpu").n_new == 1
    assert evaluated(study, store).n_computed == 1


@pytest.mark.stands_for("transformers#31630", "what another process gives has to be what the tokenizer gives here")
@pytest.mark.parametrize("special", [True, False])
def test_both_processes_give_the_same_tokens(folder: Path, special: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizing, "MESSAGE_CHARACTERS", 100)
    tokenizer = load_tokenizer(local_checkpoints(folder)[0])
    assert isinstance(tokenizer, BoundedTokenizer)
    texts = ["a quiet joy .\n", "", "<|endoftext|> and 🎬 é ﷺ", "two  spaces\t" * 30, *("film" * n for n in range(40))]
    for splits in (False, True):
        tokenizer.wrapped.split_special_tokens = splits
        found = tokenizer(texts, add_special_tokens=special)
        expected = tokenizer.wrapped(texts, add_special_tokens=special, return_offsets_mapping=True)
        assert found["input_ids"] == expected["input_ids"] and found["offset_mapping"] == expected["offset_mapping"]
    assert tokenizer("a joy")["input_ids"] == tokenizer.wrapped("a joy")["input_ids"]


@pytest.mark.stands_for("kill -9", "the process that tokenises was killed in the middle of a run")
def test_a_killed_tokenizing_process_is_started_again(folder: Path) -> None:
    tokenizer = load_tokenizer(local_checkpoints(folder)[0])
    expected = tokenizer(["a quiet joy"])
    pid = tokenizing._worker().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert tokenizer(["a quiet joy"]) == expected
    assert tokenizing._worker().pid not in (None, pid)


@pytest.mark.stands_for("tokenizers#1518", "a normalizer that grows a little fills the memory of the one who asks")
def test_more_tokens_than_a_text_can_have_are_refused(folder: Path) -> None:
    grow(folder / "step-0", times=1)
    tokenizer = load_tokenizer(local_checkpoints(folder)[0])
    with pytest.raises(ScoringError, match=r"tokens for a text of 20 characters") as caught:
        tokenizer(["a b c d e f g h i j "])
    assert_one_sentence(str(caught.value))
    usual = tokenizer.wrapped
    assert len(tokenizer(["abc"])["input_ids"][0]) == len(usual("abc")["input_ids"])


@pytest.mark.stands_for(*SEEN)
@each_hostile
def test_score_says_one_sentence(folder: Path, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    HOSTILE[kind](folder / "step-0")
    lines = [{"context": f"film {i} is a dull noisy mess .\n" * 9, "choices": ["good", "bad"]} for i in range(40)]
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = tmp_path / "scored.jsonl"
    code = main(
        ["score", "--model", str(folder / "step-0"), "--requests", str(tmp_path / "asked.jsonl"), "--out", str(out)]
    )
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert code == 2 and len(said) == 1 and not out.exists()
    assert_one_sentence(said[0])


@pytest.mark.stands_for(*SEEN)
@each_hostile
def test_the_playground_says_one_sentence_and_goes_on(folder: Path, kind: str) -> None:
    HOSTILE[kind](folder / "step-0")
    bad, *good = local_checkpoints(folder)
    shown = tuple((f"film {i} is a dull noisy mess .", "bad") for i in range(8))
    question = Question(bad, good[0], tuple(f"film {i} is a quiet joy ." for i in range(20)), ("bad", "good"), shown)
    try:
        with pytest.raises((CheckpointError, ScoringError)) as caught:
            ask(question)
        assert_one_sentence(str(caught.value))
        asked = Question(good[0], good[1], ("a joy",), ("bad", "good"), shown)
        assert ask(asked).role("TR").loglikelihoods.shape == (1, 2)
    finally:
        playground._WARM.clear()


# What is raised that is no Exception


class Panic(BaseException):
    """Such as pyo3's PanicException, which derives from BaseException."""


ERRORS = [Panic("called `Option::unwrap()` on a `None` value\nnote: x"), MemoryError(), RecursionError("too deep")]
each_error = pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)


def raising(error: BaseException, original: Any, when: Any) -> Any:
    def raise_it(*arguments: Any, **options: Any) -> Any:
        if when(*arguments):
            raise error
        return original(*arguments, **options)

    return raise_it


@pytest.mark.stands_for("PyO3/pyo3#492", "the checkpoints after the one that failed were left undone")
@each_error
@pytest.mark.parametrize("place", ["loading", "encoding", "scoring"])
def test_what_is_no_exception_costs_one_checkpoint(
    study: Study, store: Store, place: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    from icl_core.scoring import engine

    bad = study.checkpoints[1]
    held: list[Any] = []
    load = checkpoints.load_checkpoint

    def loading(ref: Any, **options: Any) -> Any:
        if place == "loading" and ref == bad:
            raise error
        held[:] = [load(ref, **options)]
        return held[0]

    def is_bad(*_: Any) -> bool:
        return bool(held) and held[0].ref == bad

    monkeypatch.setattr(checkpoints, "load_checkpoint", loading)
    if place == "encoding":
        monkeypatch.setattr(Encodings, "prepare", raising(error, Encodings.prepare, is_bad))
    if place == "scoring":
        for name in ("score_bursts", "score_requests"):
            monkeypatch.setattr(engine, name, raising(error, getattr(engine, name), is_bad))
    report = evaluated(study, store)
    assert (report.n_computed, report.n_failed) == (4, 2)
    for failure in report.failures:
        assert_one_sentence(failure.message)


@pytest.mark.stands_for("PyO3/pyo3#492", "a task that panics took the other tasks of the study with it")
@each_error
def test_what_is_no_exception_costs_one_task(
    study: Study, store: Store, tmp_path: Path, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = f"file:{save_task_file(tmp_path / 'others.jsonl')}"
    monkeypatch.setattr(
        run_rows, "load_task_data", raising(error, run_rows.load_task_data, lambda task: task.name == other)
    )
    report = evaluated(
        Study(study.checkpoints[:1], (other, *study.tasks), ("gold",), (13,), n_shots=4, n_test=5), store
    )
    assert (report.n_computed, report.n_failed) == (1, 1)
    assert_one_sentence(report.failures[0].message)


@pytest.mark.stands_for("PyO3/pyo3#492", "a job that panicked stayed running until it counted as lost")
@each_error
def test_a_job_notes_what_is_no_exception(
    study: Study, tmp_path: Path, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_processes, "_launch", lambda *_: None)
    monkeypatch.setattr(run, "run_study", raising(error, None, lambda *_: True))
    number = jobs.submit(study, device="cpu", store_path=tmp_path / "store")
    previous = {kind: signal.getsignal(kind) for kind in (signal.SIGTERM, signal.SIGINT)}
    try:
        assert job_worker.work(number, {"evaluate": evaluate_job}, store_path=tmp_path / "store") == "failed"
    finally:
        for kind, handler in previous.items():
            signal.signal(kind, handler)
    assert_one_sentence(jobs.read_job(number, store_path=tmp_path / "store").message)


@pytest.mark.stands_for("PyO3/pyo3#492", "an interrupt must still end the run")
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=lambda error: type(error).__name__)
def test_the_wish_to_end_ends_the_run(
    study: Study, store: Store, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = checkpoints.load_checkpoint
    late = raising(error, load, lambda ref: ref == study.checkpoints[1])
    monkeypatch.setattr(checkpoints, "load_checkpoint", late)
    with pytest.raises(type(error)):
        evaluated(study, store)
    assert {spec.checkpoint.step for spec in store.find_many(study_cells(study))} == {0}
    assert store.rows.names("claim/") == []


@pytest.mark.stands_for("transformers#31630", "two models with equal tokenizer files and other rules shared token ids")
def test_token_ids_are_shared_by_equal_rules_only(study: Study, store: Store) -> None:
    spec = study_cells(study)[0]
    evaluated(study, store)
    record = store.find(spec)
    assert record is not None
    data, identity = load_task_data(get_task(spec.task)), identify_checkpoint(spec.checkpoint)
    encodings = Encodings()
    first = encodings.prepare(tiny_tokenizer(), spec, data, identity=identity)
    remapped = dataclasses.replace(spec, checkpoint=dataclasses.replace(spec.checkpoint, remap="minicpm_to_granite"))
    assert encodings.prepare(tiny_tokenizer(), spec, data, identity=identity).encoded is first.encoded
    assert encodings.prepare(tiny_tokenizer(), remapped, data, identity=identity).encoded is not first.encoded
    np.testing.assert_array_equal(record.n_tokens[0], [len(ids) for ids in first.requests[0].continuation_ids])
