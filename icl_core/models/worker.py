"""A separate process for work that may hang, crash or fill the memory; it is ended if it exceeds its limits.

It knows neither models nor tokenizers: a handler, named as ``module:function``, answers one question after another.
Questions and answers are plain values or frozen values of this project. The process starts with the first question and
ends with the process that started it. If it was ended before, the next question starts it anew.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, Literal

import psutil

from icl_core import errors
from icl_core.errors import ObservatoryError, ScoringError, in_words
from icl_core.settings import project_path

__all__ = ["Worker", "WorkerEnded"]

START_SECONDS = 300.0
"""Longest time to start the process and import the handler's module."""
_LOOK_SECONDS = 0.05


class WorkerEnded(Exception):
    """A question has no answer.

    Attributes:
        reason: ``busy`` (other questions took the whole wait; the process goes on), ``time`` or ``memory`` (it was
            ended at this limit), or ``died`` (now or since the last question; asking again starts another).
    """

    def __init__(self, reason: Literal["busy", "time", "memory", "died"]) -> None:
        super().__init__(reason)
        self.reason = reason


class Worker:
    """The worker process, seen from the process that asks; threads may share it and wait for their turn."""

    def __init__(self, handler: str) -> None:
        self._handler = handler
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    @property
    def pid(self) -> int | None:
        """The process id; None before the first question and after the end."""
        return None if self._process is None else self._process.pid

    def ask(self, question: object, *, seconds: float, memory_bytes: float, wait_seconds: float = -1) -> Any:
        """The handler's answer.

        Args:
            question: the handler's one argument.
            seconds: longest time for the answer, without the start of the process.
            memory_bytes: largest memory that the process may take beyond what it has when the question is put.
            wait_seconds: longest wait for other threads' questions, -1 for no limit.

        Raises:
            ObservatoryError: as the handler raised it, or a sentence about an unexpected error.
            WorkerEnded: there is no answer.
        """
        if not self._turn.acquire(timeout=wait_seconds):
            raise WorkerEnded("busy")
        try:
            kind, value = self._answer(question, seconds, memory_bytes)
        except BaseException:  # also an interrupt: the next question must not get this one's answer
            self.end()
            raise
        finally:
            self._turn.release()
        if kind == "answer":
            return value
        raise getattr(errors, kind)(value)

    def _answer(self, question: object, seconds: float, memory_bytes: float) -> tuple[str, Any]:
        try:
            connection = self._started()
            connection.send(question)
            _wait(connection, self._watched(seconds, memory_bytes))
            kind, value = connection.recv()
        except (EOFError, ConnectionError, psutil.Error) as error:
            raise WorkerEnded("died") from error
        return kind, value

    def _started(self) -> Connection:
        """The connection to a process that is ready for a question."""
        if self._process is not None and self._process.poll() is not None:
            raise WorkerEnded("died")  # what it kept is lost; the caller may want to say so
        if self._connection is not None:
            return self._connection
        here, there = Pipe()
        with there:
            self._connection = here
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, self._handler, str(there.fileno()), str(os.getpid())],
                pass_fds=[there.fileno()],
                cwd=project_path(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=None if os.environ.get("ICL_OBSERVATORY_DEBUG") else subprocess.DEVNULL,
            )
        _wait(here, self._watched(START_SECONDS, float("inf")))
        here.recv()
        return here

    def _watched(self, seconds: float, memory_bytes: float) -> Iterator[None]:
        """Yields as long as the process keeps its limits."""
        assert self._process is not None
        process, end = psutil.Process(self._process.pid), time.monotonic() + seconds
        most = process.memory_info().rss + memory_bytes
        while time.monotonic() < end:
            yield
            if process.memory_info().rss > most:
                raise WorkerEnded("memory")
        raise WorkerEnded("time")

    def __del__(self) -> None:
        with suppress(Exception):  # modules may be gone when the program ends
            self.end()

    def end_if_idle(self) -> None:
        """Ends the process and frees its memory, unless it is working on a question."""
        if self._turn.acquire(blocking=False):
            try:
                self.end()
            finally:
                self._turn.release()

    @property
    def is_busy(self) -> bool:
        """Whether the process is working on a question."""
        return self._turn.locked()

    def end(self) -> None:
        """Ends the process at once; the next question starts another."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None


def _wait(connection: Connection, limits: Iterator[None]) -> None:
    """Waits for a message, looking at the limits meanwhile."""
    for _ in limits:
        if connection.poll(_LOOK_SECONDS):
            return


# In the process


def _serve(handler: str, connection: Connection) -> None:
    module, name = handler.split(":")
    answer: Callable[[Any], Any] = getattr(importlib.import_module(module), name)
    connection.send("ready")
    while True:
        try:
            question = connection.recv()
        except (EOFError, ConnectionError):
            return
        connection.send(_answered(answer, question))


def _answered(answer: Callable[[Any], Any], question: object) -> tuple[str, Any]:
    """The answer, or the name and text of the error: not every exception can be sent between processes."""
    try:
        return "answer", answer(question)
    except ObservatoryError as error:
        return type(error).__name__, str(error)
    except BaseException as error:  # whatever a library raises ends the question, not the process
        return ScoringError.__name__, in_words(error)


def _end_with(parent: int) -> None:
    """Ends this process when the process that started it has ended in any way."""

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=look, name="end-with-parent", daemon=True).start()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the asking process decides
    _end_with(int(sys.argv[3]))
    with Connection(int(sys.argv[2])) as opened:
        _serve(sys.argv[1], opened)
