"""Command line: ``python -m icl_core COMMAND`` or ``icl-observatory COMMAND``, the same functions as the pages.

``icl-observatory`` alone starts the app, in a process that is Streamlit's from then on.

An error is one sentence on standard error and exit code 2; the sentence is cut if it is very long. An interrupt is exit
code 130. Nothing is computed here.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from icl_core.cli.output import Command, OneSentenceParser, complain, folder
from icl_core.errors import INSTALL, ObservatoryError, ends_process, in_words
from icl_core.records import shown
from icl_core.settings import project_path
from icl_core.threads import take_one_thread

__all__ = ["main", "start"]


def start() -> int:
    """The console script: starts the app if no command is named, else runs the command and gives its exit code.

    As with ``make run``, the shipped results are brought into the store first. The server listens where
    ``.streamlit/config.toml`` says, on this machine alone; ``STREAMLIT_SERVER_PORT`` names another port than 8501.
    """
    if sys.argv[1:]:
        return main()
    if importlib.util.find_spec("streamlit") is None:
        complain(f"error: The app needs the Python package streamlit, which is not installed; {INSTALL}.")
        return 2
    if code := main(["import", "--embedded"]):
        return code
    sys.stdout.flush()
    command = [sys.executable, "-P", "-m", "streamlit", "run", str(project_path() / "app.py")]  # -P: no module of "."
    os.execv(command[0], command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and gives its exit code."""
    try:
        _quieten()
        _write_any_name()
        _check_arguments(sys.argv[1:] if arguments is None else arguments)
        options = _parser().parse_args(arguments)
        _prepare(options)
        take_one_thread()
        run: Command = options.run
        return run(options)
    except ObservatoryError as error:
        complain(f"error: {shown(error, most=2000)}")
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
    except ModuleNotFoundError as error:
        complain(f"error: {in_words(error)}")
        return 2
    except BaseException as error:
        if ends_process(error) or os.environ.get("ICL_OBSERVATORY_DEBUG"):
            raise
        complain(f"error: unexpected {type(error).__name__}: {error} (ICL_OBSERVATORY_DEBUG=1 shows where)")
        return 2


def _parser() -> argparse.ArgumentParser:
    from icl_core.cli import compete, doctor, evaluate, exchange, fuse, lab, listing, score, train

    parser = OneSentenceParser(
        prog="python -m icl_core",
        description="How in-context learning emerges.",
        epilog="icl-observatory stands for python -m icl_core; without a command it starts the app.",
    )
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


def _check_arguments(arguments: Sequence[str]) -> None:
    """Refuses arguments that no command can use: NUL, numbers of too many digits, home folders of unknown users."""
    for word in (word.strip() for argument in arguments for word in argument.split(",")):
        if "\0" in word:
            raise ObservatoryError(f"The argument {shown(word)} holds the character U+0000, which no name can hold.")
        if re.search(r"\d{1000}", word):
            raise ObservatoryError(f"The argument {shown(word)} holds a number of more than 1,000 digits.")
        if word.startswith("~"):
            try:
                Path(word).expanduser()
            except RuntimeError as error:
                raise ObservatoryError(f"There is no home folder for the user in {shown(word)}.") from error


def _prepare(options: argparse.Namespace) -> None:
    """Settings that hold for this process and those it starts."""
    if options.store is not None:
        os.environ["ICL_OBSERVATORY_STORE"] = str(options.store)
    if getattr(options, "offline", False):
        os.environ["HF_HUB_OFFLINE"] = "1"


if __name__ == "__main__":
    sys.exit(main())
