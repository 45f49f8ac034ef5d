"""Tokenizers that grow, hang, give up or end the process, in the place of a checkpoint's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers


def _changed(folder: Path, change: Callable[[Tokenizer], None]) -> None:
    path = folder / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path))
    change(tokenizer)
    tokenizer.save(str(path))


def _split(tokenizer: Tokenizer, pattern: str) -> None:
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )


def grow(folder: Path, times: int = 5) -> None:
    """Each space becomes a hundred of them, so many times over."""

    def change(tokenizer: Tokenizer) -> None:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(" ", " " * 100)] * times)

    _changed(folder, change)


def hang(folder: Path) -> None:
    """A regular expression whose time grows with the fourth power of the text: minutes for 300 characters."""
    _changed(folder, lambda tokenizer: _split(tokenizer, r"(?m:.*?.*?.*?\s(?<=z\s))"))


def give_up(folder: Path) -> None:
    """A regular expression that the library gives up on, for the word "film" and 24 letters behind it."""
    _changed(folder, lambda tokenizer: _split(tokenizer, r"(\w|\s)*(\w|\s)*(\w|\s)*(\w|\s)*(\w|\s)*(\w|\s)*(?<=zz)"))


def nest(folder: Path) -> None:
    """A file of brackets within brackets."""
    (folder / "tokenizer.json").write_text("[" * 100_000)


HOSTILE: dict[str, Callable[[Path], None]] = {"grows": grow, "hangs": hang, "gives up": give_up, "is nested": nest}
