"""Command line: ``python -m icl_core COMMAND``, the same functions as the pages.

Errors are one sentence on standard error and exit code 2; an interrupt is 130. It computes nothing itself.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from icl_core.cli.output import Command, OneSentenceParser, complain, folder
from icl_core.errors import ObservatoryError
from icl_core.records import shown

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and gives its exit code."""
    try:
        _quieten()
        _write_any_name()
        _refuse_nul(sys.argv[1:] if arguments is None else arguments)
        options = _parser().parse_args(arguments)
        _prepare(options)
        run: Command = options.run
        return run(options)
    except ObservatoryError as error:
        complain(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        complain("Interrupted; everything finished before is stored.")
        return 130
    except BrokenPipeError:  # the reader of a pipe, such as head, has enough
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # kept open until exit, so that the last flush succeeds
        return 0
    except OSError as error:
        if os.environ.get("ICL_OBSERVATORY_DEBUG"):
            raise
        complain(f"error: {shown(error.filename or 'the system', most=200)}: {error.strerror or shown(error)}.")
        return 2
    except Exception as error:
        if os.environ.get("ICL_OBSERVATORY_DEBUG"):
            raise
        complain(f"error: unexpected {type(error).__name__}: {error} (ICL_OBSERVATORY_DEBUG=1 shows where)")
        return 2


def _parser() -> argparse.ArgumentParser:
    from icl_core.cli import compete, doctor, evaluate, exchange, fuse, lab, listing, score, train

    parser = OneSentenceParser(prog="python -m icl_core", description="How in-context learning emerges.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Command, help: str) -> Any:
        command = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
        command.add_argument("--json", action="store_true", help="machine-readable output")
        command.add_argument("--store", type=folder, metavar="DIR", help="folder of the results")
        command.set_defaults(run=run)
        return command

    for module in (listing, evaluate, compete, exchange, fuse, score, doctor, train, lab):
        module.add_commands(add)
    return parser


def _quieten() -> None:
    """Keeps other libraries' bars and warnings off standard error; they read these settings when imported."""
    quiet = {"TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "true", "TQDM_DISABLE": "1"}
    if sys.stderr.isatty():
        del quiet["TQDM_DISABLE"]  # downloads take long; a person wants to see them move
    for name, value in quiet.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore")


def _write_any_name() -> None:
    """Names of files may hold what the terminal's encoding cannot show; it is written escaped."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _refuse_nul(arguments: Sequence[str]) -> None:
    if any("\0" in argument for argument in arguments):
        raise ObservatoryError("An argument holds the character U+0000, which no name can hold; leave it out.")


def _prepare(options: argparse.Namespace) -> None:
    """Settings that hold for this process and those it starts."""
    if options.store is not None:
        os.environ["ICL_OBSERVATORY_STORE"] = str(options.store)
    if getattr(options, "offline", False):
        os.environ["HF_HUB_OFFLINE"] = "1"


if __name__ == "__main__":
    sys.exit(main())
