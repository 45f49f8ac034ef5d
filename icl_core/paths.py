"""Paths that somebody typed, or that stand in a link or a stored name: checked before anything opens them.

It opens nothing itself. A path is a door: what lies behind it may have no end (a device), nobody at the other side (a
pipe), or no name that the system takes.
"""

from __future__ import annotations

import stat
from pathlib import Path

from icl_core.errors import ObservatoryError

__all__ = ["typed_path"]

_MOST_CHARACTERS = 4096
_MOST_NAMED = 200


def typed_path(text: str | Path, error: type[ObservatoryError]) -> Path:
    """The absolute path that a text names, ``~`` written out; whether something is there is for the caller to say.

    Args:
        text: as it was typed.
        error: of what is raised.

    Raises:
        ObservatoryError: as ``error``; no path has this name, nobody may look there, or neither a file nor a folder is
            there but a pipe, a device or a socket.
    """
    name = _named(str(text))
    if not _is_a_name(str(text)):
        raise error(f"{name} is no path: it holds characters that no name of a file has; type the path again.")
    if len(str(text)) > _MOST_CHARACTERS:
        raise error(f"{name} is no path: it has {len(str(text)):,} characters; type the path again.")
    try:
        path = Path(text).expanduser().resolve()
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return path
    except RuntimeError as wrong:  # no such user, or links that lead in a circle
        raise error(f"{name} leads nowhere ({wrong}); write the path in full.".replace(".)", ")")) from None
    except OSError as wrong:
        raise error(f"Cannot look at {name}: {wrong.strerror}; give another path.") from None
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise error(f"{name} is neither a file nor a folder but a pipe, a device or a socket; give another path.")
    return path


def _is_a_name(text: str) -> bool:
    """Whether the text can be written as UTF-8 and holds no control character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return not any(ord(character) < 32 or ord(character) == 127 for character in text)


def _named(text: str) -> str:
    """A path in a message: short, and without what a terminal or a page would act on."""
    short = text if len(text) <= _MOST_NAMED else f"{text[:_MOST_NAMED]}..."
    return short if short.isprintable() else ascii(short)
