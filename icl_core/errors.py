"""The errors a caller may catch.

Every message is one sentence (or two) that says what is wrong, where, and what to do; pages and the
command line show it as it is. Nothing here formats tracebacks or logs.
"""

__all__ = [
    "INSTALL",
    "AmbiguousLabelsError",
    "CheckpointError",
    "DataError",
    "JobError",
    "ObservatoryError",
    "ScoringError",
    "StoppedError",
    "StoreError",
    "StudyError",
    "UnknownNameError",
    "ends_process",
    "in_words",
]


INSTALL = "in the source `make run` installs what is used, elsewhere pip install 'icl-observatory[app,export,models]'"
"""What to do about a Python package that is missing."""


class ObservatoryError(Exception):
    """Base of all errors that icl_core raises on purpose."""


class UnknownNameError(ObservatoryError):
    """A family, model, revision, task, label set or option is not known; the message lists the known ones."""


class StudyError(ObservatoryError):
    """What is asked for cannot be computed as asked (empty choice, more labels than symbols, bounds)."""


class DataError(ObservatoryError):
    """A dataset or a local file cannot be used (missing columns, unknown label, wrong row count)."""


class AmbiguousLabelsError(DataError):
    """Labels of a file may mean the same label, or no label; the message asks which, and names both answers."""


class CheckpointError(ObservatoryError):
    """A checkpoint cannot be found, is incomplete, or cannot be loaded without remote code."""


class ScoringError(ObservatoryError):
    """Scoring produced or met something that has no valid number (NaN logits, prompt beyond the context)."""


class StoreError(ObservatoryError):
    """The store refuses a record or cannot read or write (differing key, damage, full disk, foreign settings)."""


class JobError(ObservatoryError):
    """A job cannot be launched, found, cancelled or resumed."""


class StoppedError(ObservatoryError):
    """Work was told to stop before its end; what was finished before that is kept."""


def ends_process(error: BaseException) -> bool:
    """Whether an exception is the wish to end the process, not a failure of what was being done.

    A failure need not be an ``Exception``: libraries in Rust raise ``PanicException``, a ``BaseException``
    (https://pyo3.rs/main/doc/pyo3/panic/struct.panicexception).
    """
    return isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit)


def in_words(error: BaseException) -> str:
    """One sentence about an error that was not raised on purpose.

    >>> in_words(KeyError("width"))
    "It stopped on an unexpected KeyError: 'width'."
    >>> in_words(ModuleNotFoundError("No module named 'torch'", name="torch.nn")).partition(";")[0]
    'It needs the Python package torch, which is not installed'
    """
    if isinstance(error, MemoryError):
        return "It stopped because it ran out of memory; free some, or choose something smaller."
    if isinstance(error, RecursionError):
        return "It stopped because something in its files is nested too deeply."
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        return f"It needs the Python package {package}, which is not installed; {INSTALL}."
    said = (str(error).strip() or "it said nothing").splitlines()[0].rstrip(".")[:500]
    return f"It stopped on an unexpected {type(error).__name__}: {said}."
