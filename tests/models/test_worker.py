"""A worker process: its answers, errors and limits, its end, and many who ask at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from icl_core.errors import CheckpointError, ScoringError
from icl_core.models.worker import Worker, WorkerEnded

FOREVER = "__import__('time').sleep(3600)"
LIMITS = {"seconds": 300.0, "memory_bytes": 2**40}


@pytest.fixture
def worker() -> Iterator[Worker]:
    """A process that evaluates expressions."""
    started = Worker("builtins:eval")
    yield started
    started.end()


def reason_of(worker: Worker, question: str, **limits: float) -> str:
    with pytest.raises(WorkerEnded) as caught:
        worker.ask(question, **(LIMITS | limits))
    return caught.value.reason


def test_answers_and_errors_come_back(worker: Worker) -> None:
    assert worker.pid is None
    assert worker.ask("1 + 1", **LIMITS) == 2
    pid = worker.pid
    with pytest.raises(ScoringError, match=r"^It stopped on an unexpected ZeroDivisionError: division by zero\.$"):
        worker.ask("1 / 0", **LIMITS)
    for kind in ("SystemExit", "KeyboardInterrupt", "MemoryError"):
        with pytest.raises(ScoringError, match=r"stopped"):
            worker.ask(f"(_ for _ in ()).throw({kind})", **LIMITS)
    typed = "(_ for _ in ()).throw(__import__('icl_core.errors').errors.CheckpointError('No weights.'))"
    with pytest.raises(CheckpointError, match=r"^No weights\.$"):
        worker.ask(typed, **LIMITS)
    assert worker.pid == pid, "an error ends a question, not the process"


def test_limits_end_the_process_and_the_next_question_starts_another(worker: Worker) -> None:
    pids = []
    for question, limits, reason in (
        (FOREVER, {"seconds": 0.2}, "time"),
        (f"(bytearray(2**28), {FOREVER})", {"memory_bytes": 2**27}, "memory"),
        ("__import__('os').abort()", {}, "died"),
    ):
        worker.ask("0", **LIMITS)
        assert worker.pid is not None
        pids.append(worker.pid)
        assert reason_of(worker, question, **limits) == reason
        assert worker.pid is None and not psutil.pid_exists(pids[-1])
    assert worker.ask("'still here'", **LIMITS) == "still here"
    assert len(set(pids)) == 3


def test_a_process_that_was_killed_between_questions(worker: Worker) -> None:
    pid = worker.ask("__import__('os').getpid()", **LIMITS)
    assert pid == worker.pid
    os.kill(pid, signal.SIGKILL)
    while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert reason_of(worker, "2") == "died"
    assert worker.ask("2", **LIMITS) == 2


def test_thirty_ask_at_once_and_each_gets_its_own_answer(worker: Worker) -> None:
    answers: dict[int, int] = {}

    def ask(number: int) -> None:
        answers[number] = worker.ask(f"{number} * {number}", **LIMITS)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: number**2 for number in range(30)}


def test_who_waits_too_long_is_told_and_the_one_at_work_is_not_disturbed(worker: Worker) -> None:
    ready, answers = threading.Event(), []

    def slow() -> None:
        ready.set()
        answers.append(worker.ask("__import__('time').sleep(3) or 'slow'", **LIMITS))

    worker.ask("0", **LIMITS)
    thread = threading.Thread(target=slow)
    thread.start()
    assert ready.wait(60)
    while not worker._turn.locked():
        pass
    assert reason_of(worker, "1", wait_seconds=0.1) == "busy"
    thread.join()
    assert answers == ["slow"] and worker.ask("1", **LIMITS) == 1
