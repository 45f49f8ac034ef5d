"""One token per word, a newline or a blank line, whatever stands beside it."""

from __future__ import annotations

from icl_core.pretraining.language import TINY_TASKS, filler_words, vocabulary
from icl_core.pretraining.tokenizer import make_tokenizer

PROMPT = "daba rotu zabo\nspring\n\n\nrotu zabo\n@\n\n\nzabo\n"


def test_round_trip() -> None:
    tokenizer = make_tokenizer(104)
    ids = tokenizer(PROMPT)["input_ids"]
    assert tokenizer.decode(ids) == PROMPT
    assert tokenizer(tokenizer.decode(ids))["input_ids"] == ids


def test_newlines_are_tokens_of_their_own_directly_beside_words() -> None:
    tokens = make_tokenizer(104).tokenize("daba\nspring\n\n\nrotu\n@\n\n\n")
    assert tokens == ["daba", "\n", "spring", "\n\n\n", "rotu", "\n", "@", "\n\n\n"]


def test_joint_tokenisation_extends_the_context_by_one_token_a_label() -> None:
    tokenizer = make_tokenizer(104)
    context = tokenizer(PROMPT)["input_ids"]
    labels = [word for task in TINY_TASKS for word in task.label_words] + [*"@#$%*^{}", *"0123456789", *"AZ"]
    for label in labels:
        joint = tokenizer(PROMPT + label)["input_ids"]
        assert joint[:-1] == context
        assert tokenizer.convert_ids_to_tokens(joint[-1]) == label


def test_offsets_cover_their_words() -> None:
    encoded = make_tokenizer(104)(PROMPT, return_offsets_mapping=True)
    tokens = make_tokenizer(104).convert_ids_to_tokens(encoded["input_ids"])
    assert [PROMPT[start:end] for start, end in encoded["offset_mapping"]] == tokens


def test_anything_else_is_the_unknown_word() -> None:
    tokenizer = make_tokenizer(104)
    assert tokenizer.tokenize("N/A\nnobody knows") == ["<unk>", "\n", "<unk>", "<unk>"]
    assert tokenizer.model_max_length == 104


def test_every_word_is_one_token_without_specials() -> None:
    tokenizer = make_tokenizer(104)
    for index, token in enumerate(vocabulary()):
        assert tokenizer(token)["input_ids"] == [index], token
    assert len(tokenizer(" ".join(filler_words()))["input_ids"]) == len(filler_words())
