"""``score``: log-likelihoods of candidate continuations for the requests in a file.

Requests that begin with the same tokens share their computation. Nothing is put into the store. The output file appears
only when it is complete.
"""

from __future__ import annotations

import argparse
import codecs
import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icl_core.cli.output import ProgressLines, emit
from icl_core.errors import CheckpointError, DataError, ScoringError
from icl_core.evaluation.study import DTYPES
from icl_core.records import CheckpointRef
from icl_core.registry.table_files import UNREADABLE

if TYPE_CHECKING:
    from icl_core.models.checkpoints import LoadedCheckpoint

__all__ = ["add_commands"]

WINDOW = 2000
"""Number of requests that are read, scored and written together; prefixes are shared within such a window."""

Request = tuple[str, list[str]]


def add_commands(add: Any) -> None:
    """Adds the command; ``add(name, run, help)`` gives its parser."""
    score = add("score", _score, "score candidate continuations given as JSON lines")
    score.add_argument("--model", required=True, help="checkpoint folder, GGUF file, registered model or Hub id")
    score.add_argument("--gguf-file", help="name of the GGUF file in that folder or repository")
    score.add_argument("--revision", help="number (such as its step) or name of the checkpoint, if --model has several")
    score.add_argument("--requests", required=True, type=Path, help='lines of {"context": str, "choices": [str, ...]}')
    score.add_argument("--out", required=True, type=Path, help='lines of {"loglikelihoods": [...], "n_tokens": [...]}')
    score.add_argument("--dtype", default="float32", choices=DTYPES)
    score.add_argument("--device", default="cpu", help="cpu, cuda, cuda:N or auto")
    score.add_argument("--attention", default="sdpa")
    score.add_argument("--offline", action="store_true", help="use only what is on this machine")


def _score(options: argparse.Namespace) -> int:
    n_requests = sum(1 for _ in _requests(options.requests))  # every line is checked before anything is loaded
    if not options.out.parent.is_dir():
        raise DataError(f"The output folder {options.out.parent} does not exist; make it first.")
    ref = _checkpoint(options)
    from icl_core.evaluation.run import resolve_device
    from icl_core.models.checkpoints import load_checkpoint

    device = resolve_device(options.device)
    loaded = load_checkpoint(
        ref, dtype=options.dtype, device=device, attention=options.attention, offline=options.offline
    )
    temporary = options.out.with_name(f".{options.out.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            for line in _scored_lines(loaded, options.requests, n_requests):
                file.write(line)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(options.out)
    except OSError as error:
        raise DataError(f"The output {options.out} cannot be written: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)
    data = {"n_requests": n_requests, "out": str(options.out), "model": ref.model, "revision": ref.revision}
    emit(options, data, f"{n_requests} requests scored into {options.out}.")
    return 0


def _scored_lines(loaded: LoadedCheckpoint, path: Path, n_requests: int) -> Iterator[str]:
    from icl_core.data.encoding import encode_requests
    from icl_core.scoring.engine import score_requests

    progress, done = ProgressLines(), 0
    requests = _requests(path)
    while window := list(islice(requests, WINDOW)):
        try:
            encoded = encode_requests(loaded.tokenizer, [c for c, _ in window], [choices for _, choices in window])
            scores = score_requests(loaded.model, encoded)
        except ScoringError as error:
            where = "" if n_requests <= WINDOW else f" (counted from request {done + 1} of the file)"
            raise ScoringError(f"{error}{where}") from error
        for score in scores:
            row = {"loglikelihoods": score.loglikelihoods.tolist(), "n_tokens": score.n_tokens.tolist()}
            yield json.dumps(row) + "\n"
        done += len(window)
        progress.show(f"{done} of {n_requests} requests")
    progress.end(f"{done} of {n_requests} requests")


def _requests(path: Path) -> Iterator[Request]:
    """The requests of a file, line by line; blank lines are ignored.

    Raises:
        DataError: naming the first line that is not a request.
    """
    n_requests = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                where = f"Line {number} of {path}"
                text = _text(line.removeprefix(codecs.BOM_UTF8) if number == 1 else line, where)
                if text.strip():
                    n_requests += 1
                    yield _request(text, where)
    except OSError as error:
        raise DataError(f"The requests in {path} cannot be read: {error.strerror or error}.") from error
    if not n_requests:
        raise DataError(f"{path} holds no requests.")


def _text(line: bytes, where: str) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is not UTF-8 text ({error.reason}); save the file again as UTF-8.") from error


def _request(line: str, where: str) -> Request:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not JSON: {error}.") from error
    context = row.get("context") if isinstance(row, dict) else None
    choices = row.get("choices") if isinstance(row, dict) else None
    if not isinstance(context, str) or not context:
        raise DataError(f'{where} lacks a non-empty text "context".')
    if not isinstance(choices, list) or not choices or not all(isinstance(c, str) and c for c in choices):
        raise DataError(f'{where} lacks "choices", a list of one or more non-empty texts.')
    if any(UNREADABLE.search(text) for text in (context, *choices)):
        raise DataError(
            f"{where} holds a zero byte or half a surrogate pair, which is not text; write whole characters."
        )
    return context, choices


def _checkpoint(options: argparse.Namespace) -> CheckpointRef:
    """The one checkpoint that ``--model``, ``--gguf-file`` and ``--revision`` name."""
    from icl_core.models.listing import list_checkpoints, local_checkpoints
    from icl_core.registry.families import choose_checkpoints

    path = Path(options.model).expanduser()
    if options.gguf_file:
        return local_checkpoints(_gguf_path(options, path))[0]
    if options.revision is None and not path.exists() and "/" in options.model:
        return _main_of(options.model)
    refs = list_checkpoints(options.model, offline=options.offline)
    if options.revision is not None:
        return choose_checkpoints(refs, f"{options.revision},")[0]
    if len(refs) > 1:
        raise CheckpointError(f"{options.model} has {len(refs)} checkpoints; name one with --revision.")
    return refs[0]


def _gguf_path(options: argparse.Namespace, path: Path) -> Path:
    if path.is_dir():
        if not (path / options.gguf_file).is_file():
            raise CheckpointError(f"{path} holds no file {options.gguf_file!r}.")
        return Path(path, options.gguf_file)
    from huggingface_hub import hf_hub_download

    try:
        downloaded = hf_hub_download(
            options.model, options.gguf_file, revision=options.revision, local_files_only=options.offline
        )
    except Exception as error:  # the Hub's client raises many kinds of errors; all mean that it does not give the file
        raise CheckpointError(
            f"{options.model} is not a folder here, and the Hub does not give {options.gguf_file}: {error}"
        ) from error
    return Path(str(downloaded))


def _main_of(location: str) -> CheckpointRef:
    """The main revision of a Hub id, registered or not."""
    from icl_core.registry.families import checkpoint_ref, model_of_repository

    model = model_of_repository(location)
    if model is not None:
        return checkpoint_ref(model, "main")
    return CheckpointRef("hub", location, "main", "hub", location)
