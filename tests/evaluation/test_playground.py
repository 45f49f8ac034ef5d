"""Questions of the playground: the numbers of the evaluation, caps, odd labels, and a worker that crashes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import pytest

from icl_core.errors import CheckpointError, JobError, StudyError
from icl_core.evaluation import playground
from icl_core.evaluation.playground import (
    Question,
    Reply,
    Workers,
    answer_of,
    answers_at,
    ask,
    ask_workers,
    check_question,
    files_state,
    start_workers,
    strongest_checkpoint,
)
from icl_core.evaluation.run import run_study
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study, study_cells
from icl_core.models import worker as worker_module
from icl_core.models.listing import local_checkpoints
from icl_core.models.worker import Worker
from icl_core.records import CheckpointRef
from icl_core.settings import project_path
from tests.support.sentences import assert_one_sentence
from tests.support.tiny_models import save_checkpoint, save_task_file, save_trajectory


@pytest.fixture
def question(tmp_path: Path) -> Question:
    tr, tl = local_checkpoints(save_trajectory(tmp_path / "run", (0, 1000)))
    shown = (("a quiet joy", "good"), ("a dull mess", "bad"), ("never bores", "good"))
    return Question(tr, tl, ("the film is a joy",), ("bad", "good"), shown)


def test_numbers_are_those_of_the_evaluation(question: Question, tmp_path: Path) -> None:
    task = f"file:{save_task_file(tmp_path / 'films.jsonl')}"
    study = Study((question.tr, question.tl), (task,), ("gold", "random", "abstract"), (21,), n_shots=4, n_test=5)
    store = Store.open(tmp_path / "store")
    run_study(study, store, device="cpu", offline=True)
    records = Store.open(tmp_path / "store").find_many(study_cells(study))
    from icl_core.data.datasets import load_task_data
    from icl_core.registry.tasks import get_task

    data = load_task_data(get_task(task), offline=True)
    asked = replace(
        question,
        texts=tuple(example.text for example in data.test[:5]),
        labels=data.task.words(),
        demonstrations=playground.task_demonstrations(task, n_shots=4, demo_seed=21),
        name=task,
        demo_seed=21,
    )
    reply = ask(asked)
    assert [each.role for each in reply.scored] == [
        *("TR", "TL", "ICL of the TR checkpoint", "ICL of the TL checkpoint")
    ]
    for each in reply.scored:
        (record,) = [
            record
            for spec, record in records.items()
            if spec.checkpoint == each.checkpoint and spec.label_setting == each.label_setting
        ]
        assert each.choices == record.choices
        assert np.abs(each.loglikelihoods - record.loglikelihoods).max() < 1e-3
        assert np.abs(each.content_free - record.content_free).max() < 1e-3


def test_probabilities_follow_the_normalisation(question: Question) -> None:
    scored = ask(replace(question, texts=("one", "two"), labels=("bad", "very very good"), demonstrations=())).role(
        "TR"
    )
    plain = np.exp(scored.loglikelihoods)
    assert np.allclose(answer_of(scored).values, plain / plain.sum(axis=1, keepdims=True), atol=1e-6)
    mean = np.exp(scored.loglikelihoods / scored.n_tokens)
    found = answer_of(scored, normalisation="per_token").values
    assert np.allclose(found, mean / mean.sum(axis=1, keepdims=True), atol=1e-6)
    freed = np.exp(scored.loglikelihoods - scored.content_free)
    found = answer_of(scored, normalisation="calibrated").values
    assert np.allclose(found, freed / freed.sum(axis=1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize(("weight", "best"), [(0.0, [1, 0, 1]), (0.25, [1, 0, 1]), (0.5, [0, 0, 1]), (1.0, [0, 0, 0])])
def test_answers_of_a_file_are_fused_text_by_text(weight: float, best: list[int]) -> None:
    """At w = 1/2 the first text ties, and the first label wins; parts of a file stand in their order."""
    tr, tl = np.array([[0.8, 0.2], [0.6, 0.4], [0.5, 0.5]]), np.array([[0.2, 0.8], [0.6, 0.4], [0.1, 0.9]])
    parts = [(tr[:2], tl[:2]), (tr[2:], tl[2:])]
    replies: Any = [_reply_of(np.log(one), np.log(other)) for one, other in parts]
    found = answers_at(replies, weight=weight, normalisation="sum")
    assert list(found) == ["TR", "TL", "fused"]
    assert np.allclose(found["TR"].values, tr, atol=1e-6) and np.allclose(found["TL"].values, tl, atol=1e-6)
    assert np.allclose(found["fused"].values, weight * tr + (1 - weight) * tl, atol=1e-6)
    assert found["fused"].best.tolist() == best


def _reply_of(tr: npt.NDArray[np.float64], tl: npt.NDArray[np.float64]) -> Any:
    def scored(values: npt.NDArray[np.float64]) -> Any:
        free = SimpleNamespace(content_free=np.zeros(2), content_free_n_tokens=np.ones(2, int))
        return SimpleNamespace(
            loglikelihoods=values, n_tokens=np.ones(values.shape, int), choices=("a", "b"), **vars(free)
        )

    return SimpleNamespace(role=lambda name: scored({"TR": tr, "TL": tl}[name]))


def test_prompts_are_shown_as_they_are_sent(question: Question) -> None:
    asked = replace(question, texts=("the film\r\nis 🎬 a <b>joy</b>",))
    for scored in ask(asked).scored:
        text = "".join(scored.prompt.pieces)
        assert text.endswith("the film is 🎬 a <b>joy</b>\n")
        assert len(scored.prompt.pieces) == len(scored.prompt.token_ids)
        shared = "".join(scored.prompt.pieces[: scored.prompt.n_shared])
        assert "never bores" in shared and "🎬" not in shared
    assert ask(asked).role("TL").choices != asked.labels


def test_a_batch_gives_each_text_its_own_answer(question: Question) -> None:
    texts = ("one", "a long " * 900, "three")
    together = ask(replace(question, texts=texts))
    assert together.role("TR").n_shortened >= 1
    for index, text in enumerate(texts):
        alone = ask(replace(question, texts=(text,)))
        for one, many in zip(alone.scored, together.scored, strict=True):
            assert np.allclose(one.loglikelihoods[0], many.loglikelihoods[index], atol=1e-3)


@pytest.mark.parametrize("labels", [("😀", "🙁"), ("<b>x</b>", "&amp;"), ("{x}", "{}"), ("yes", "yes please")])
def test_odd_labels_are_just_labels(labels: tuple[str, ...], question: Question) -> None:
    shown = tuple((text, labels[index % 2]) for index, (text, _) in enumerate(question.demonstrations))
    reply = ask(replace(question, labels=labels, demonstrations=shown))
    assert reply.role("TR").choices == labels
    assert answer_of(reply.role("TR")).values.sum() == pytest.approx(1)
    assert labels[0] in "".join(reply.role("ICL of the TR checkpoint").prompt.pieces)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"texts": ()}, "no text"),
        ({"texts": ("  \n ",)}, "no text"),
        ({"texts": ("x" * 10_001,)}, "10,001 characters"),
        ({"texts": ("x",) * 501}, "at most 500"),
        ({"labels": ("good",)}, "The number of labels is 1; give 2 to 8"),
        ({"labels": tuple("abcdefghi")}, "The number of labels is 9; give 2 to 8"),
        ({"labels": ("good", "good")}, "'good' is given twice"),
        ({"labels": ("good", "b\nad")}, "line break"),
        ({"labels": ("good", " ")}, "empty"),
        ({"labels": ("good", "x" * 101)}, "101 characters"),
        ({"demonstrations": (("x", "neither"),)}, "Demonstration 1 has the label 'neither'"),
        ({"demonstrations": ((" ", "good"),)}, "Demonstration 1 has no text"),
        ({"demonstrations": (("x", "good"),) * 65}, "65 demonstrations are too many"),
    ],
)
def test_what_cannot_be_asked_is_refused(change: dict[str, object], words: str, question: Question) -> None:
    for refuse in (check_question, ask):
        with pytest.raises(StudyError, match=words):
            refuse(replace(question, **change))


def test_ten_thousand_characters_are_asked(question: Question) -> None:
    assert ask(replace(question, texts=("joy " * 2500,))).role("TL").n_shortened >= 1


def test_two_checkpoints_stay_warm_and_no_more(question: Question, tmp_path: Path) -> None:
    more = local_checkpoints(save_trajectory(tmp_path / "more", (5, 6)))
    ask(question)
    assert ask(question).load_seconds < 0.01
    ask(replace(question, tr=more[0], tl=more[1]))
    assert {ref for ref, _ in playground._WARM} == set(more)
    same = ask(replace(question, tl=question.tr))
    assert len(same.scored) == 3 and len(playground._WARM) == 2


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    """Two workers for all tests that ask them: a process takes six processor seconds to bring in what it needs."""
    started = start_workers()
    yield started
    started.end()


def test_the_worker_answers_refuses_crashes_and_is_started_again(question: Question, workers: Workers) -> None:
    first = ask_workers(workers, question)
    assert first.role("TR").loglikelihoods.shape == (1, 2) and not first.is_restarted
    gone = replace(question.tr, revision="step-7")
    with pytest.raises(CheckpointError, match="There is no checkpoint folder"):
        ask_workers(workers, replace(question, tr=gone))
    ask_workers(workers, question)
    assert ask_workers(workers, replace(question, texts=("another joy",))).load_seconds < 0.1
    assert workers.first.pid is not None
    os.kill(workers.first.pid, signal.SIGKILL)
    assert ask_workers(workers, question).is_restarted
    assert not ask_workers(workers, question).is_restarted


def test_the_worker_goes_with_its_parent(tmp_path: Path) -> None:
    script = (
        "import time\n"
        "from icl_core.models.worker import Worker\n"
        "worker = Worker('time:sleep')\n"
        "worker.ask(0.0, seconds=600, memory_bytes=2**40)\n"
        "print(worker.pid, flush=True)\n"
        "worker.ask(600.0, seconds=600, memory_bytes=2**40)\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=project_path()) as server:
        assert server.stdout is not None
        child = int(server.stdout.readline())
        server.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while psutil.pid_exists(child) and psutil.Process(child).status() != "zombie":
        assert time.monotonic() < deadline, "the worker lives on"
        time.sleep(0.1)


def test_unexpected_errors_come_back_as_one_sentence(question: Question, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the device is on fire")

    monkeypatch.setattr(playground, "encode_cell", broken)
    kind, said = worker_module._answered(ask, question)
    assert (kind, said) == ("ScoringError", "It stopped on an unexpected RuntimeError: the device is on fire.")


# Visitors at once, and workers that hang


def said(workers: Workers, question: Question) -> str:
    with pytest.raises(JobError) as caught:
        ask_workers(workers, question)
    assert_one_sentence(str(caught.value))
    return str(caught.value)


def test_a_hung_worker_is_ended_and_the_next_visitor_gets_another(
    question: Question, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playground, "QUESTION_SECONDS", 5.0)
    monkeypatch.setattr(playground, "PATIENCE_SECONDS", 0.1)
    ask_workers(workers, question)
    hung = Workers(Worker("tests.support.hanging:hang"), workers.first)
    first: list[str] = []
    visitor = threading.Thread(target=lambda: first.append(said(hung, question)))
    visitor.start()
    while not hung.first.is_busy:
        time.sleep(0.01)
    monkeypatch.setattr(playground, "QUESTION_SECONDS", 600.0)
    assert ask_workers(hung, question).role("TR").loglikelihoods.shape == (1, 2)
    visitor.join()
    assert "was ended after" in first[0] and hung.first.pid is None


def test_both_busy_is_said(question: Question, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playground, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(playground, "WAIT_SECONDS", 0.1)
    workers = start_workers()
    with workers.first._turn, workers.second._turn:
        assert "busy with the questions of others" in said(workers, question)


def test_two_windows_and_a_killed_worker(question: Question, workers: Workers) -> None:
    texts = ("a joy", "a mess", "a river", "a film")
    replies: dict[str, Reply] = {}

    def visit(text: str) -> None:
        replies[text] = ask_workers(workers, replace(question, texts=(text,)))

    ask_workers(workers, question)
    assert workers.first.pid is not None
    visitors = [threading.Thread(target=visit, args=(text,)) for text in texts]
    for visitor in visitors:
        visitor.start()
    os.kill(workers.first.pid, signal.SIGKILL)
    for visitor in visitors:
        visitor.join()
    assert set(replies) == set(texts)
    for text, reply in replies.items():
        alone = ask(replace(question, texts=(text,)))
        assert np.allclose(reply.role("TR").loglikelihoods, alone.role("TR").loglikelihoods, atol=1e-3)


def test_a_worker_that_takes_the_memory_is_ended(question: Question, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playground, "MEMORY_SHARE", 0.0)
    workers = start_workers()
    assert "took nearly all memory" in said(workers, question)
    assert workers.first.pid is None


def test_replaced_weights_are_asked_anew(question: Question) -> None:
    before, state = ask(question), files_state(question)
    other = save_checkpoint(Path(question.tr.location) / question.tr.revision, seed=99)
    assert files_state(question) != state
    after = ask(question)
    assert not np.allclose(before.role("TR").loglikelihoods, after.role("TR").loglikelihoods)
    assert len(playground._WARM) == 2 and other.is_dir()


@pytest.mark.slow
def test_memory_stays_flat_over_a_hundred_questions(question: Question, workers: Workers, tmp_path: Path) -> None:
    more = local_checkpoints(save_trajectory(tmp_path / "more", (5, 6, 7)))

    def rss() -> int:
        assert workers.first.pid is not None
        return psutil.Process(workers.first.pid).memory_info().rss

    sizes = []
    for number in range(120):
        asked = replace(question, tl=more[number % 3], texts=(f"film {number} is a joy",))
        ask_workers(workers, asked)
        sizes.append(rss())
    assert sizes[-1] - sizes[19] < 30 * 2**20


def test_of_equally_strong_checkpoints_the_first_in_training_is_taken() -> None:
    def summary(step: int | None) -> Any:
        ref = CheckpointRef("local", "m", "main" if step is None else f"step{step}", "folder", "/m", step)
        spec = SimpleNamespace(checkpoint=ref)
        return SimpleNamespace(model="m", label_setting="random", split="dev", step=step, accuracy=0.5, spec=spec)

    for order in ((None, 100, 20), (100, None, 20), (20, 100, None)):
        found = strongest_checkpoint([summary(step) for step in order], "m", "random")
        assert found is not None and found.step == 20
    assert strongest_checkpoint([summary(20)], "m", "abstract") is None
