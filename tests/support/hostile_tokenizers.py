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


def _split(tokenizer: Tokenizer, pattern: str, times: int = 1) -> None:
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated")] * times
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(add_prefix_space=False)])


def grow(folder: Path, times: int = 5) -> None:
    """Each space becomes a hundred of them, so many times over."""

    def change(tokenizer: Tokenizer) -> None:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(" ", " " * 100)] * times)

    _changed(folder, change)


def hang(folder: Path) -> None:
    """Ten thousand regular expressions, each of which takes a while for 20 characters and is never given up on."""
    pattern = r"(?:\w|\s){0,20}" * 4 + r"(?<=zz)"
    _changed(folder, lambda tokenizer: _split(tokenizer, pattern, times=10_000))


def give_up(folder: Path) -> None:
    """A regular expression that the library gives up on, for ten letters and spaces in a row."""
    _changed(folder, lambda tokenizer: _split(tokenizer, r"(\w|\s)*" * 20 + r"(?<=zz)"))


def nest(folder: Path) -> None:
    """A file of brackets within brackets."""
    (folder / "tokenizer.json").write_text("[" * 100_000)


HOSTILE: dict[str, Callable[[Path], None]] = {"grows": grow, "hangs": hang, "gives up": give_up, "is nested": nest}
