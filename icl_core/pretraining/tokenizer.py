"""The tokenizer of the synthetic language: one token per word, a newline, or a blank line between examples.

It is an ordinary fast tokenizer (``tokenizer.json``) with offsets, so the project scores the suite like any other
model. It holds no training code and adds no special tokens to a text.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from icl_core.pretraining.language import END, NEWLINE, SEPARATOR, UNKNOWN, token_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["make_tokenizer"]


@cache
def make_tokenizer(context_length: int) -> PreTrainedTokenizerFast:
    """Build the tokenizer.

    Words are separated by spaces. One newline is a token and so are three, even directly beside a word. Anything else
    is the unknown word. Decoding restores the spaces, but none beside newlines.

    Args:
        context_length: longest text of the model, in tokens; stored as the tokenizer's own limit.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel(vocab=token_ids(), unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\n\n\n|\n"), behavior="isolated"),
            pre_tokenizers.Split(Regex(r"[^\S\n]+"), behavior="removed"),
        ]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.WordPiece(prefix="##", cleanup=False),
            decoders.Fuse(),
            decoders.Replace(f" {SEPARATOR}", SEPARATOR),
            decoders.Replace(f" {NEWLINE}", NEWLINE),
            decoders.Replace(f"{NEWLINE} ", NEWLINE),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=UNKNOWN,
        eos_token=END,
        pad_token=END,
        model_max_length=context_length,
        clean_up_tokenization_spaces=False,
    )
