import functools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icl_core.data import encoding
from icl_core.data.encoding import encode_cell, encode_requests, encode_requests_plain
from icl_core.data.prompts import build_cell_prompts, make_example
from icl_core.errors import ScoringError
from icl_core.registry.tasks import TASKS

LABELS = ("no impact", "positive", "negative", "mixed")
TEXTS = (
    "the film was not bad .",
    "the film was bad",
    "What is the café naïve about ?",
    "emoji 😀👩‍👩‍👧 at the end 😀",
    "trailing blank ",
    "tab\tin the middle\tand at the end\t",
    "12345 -1 67",
    "-1",
    "e\u0301 combining, ﬁ ligature",
    "...",
    '"quoted."',
    "a  b   c",
    "{braces} % $",
    "не по-английски",
    "中文字符。",
    "x",
    "\u00a0no-break space",
    "not\u2028one line",
)
ENDINGS = ("\n", " .\n", ".\nThe sentiment is ", "\nLabel:", "\nLabel: ", " [SEP] not at all\n")


def _contexts(ending: str, n_shots: int = 16) -> list[str]:
    shots = "".join(f"{TEXTS[i % 9]} {i}{ending}{LABELS[i % 4]}\n\n\n" for i in range(n_shots))
    return [f"{shots}{text}{ending}" for text in TEXTS]


class Counting:
    """Counts the characters that a tokenizer is given."""

    def __init__(self, tokenizer):
        self._tokenizer = tokenizer
        self.is_fast, self.all_special_ids = True, tokenizer.all_special_ids
        self.n_characters = 0

    def __call__(self, texts, **options):
        self.n_characters += sum(map(len, texts))
        return self._tokenizer(texts, **options)


@pytest.mark.parametrize("ending", ENDINGS)
def test_plain_ids_are_those_of_the_joint_text(tokenizer, ending):
    contexts = _contexts(ending, n_shots=2)
    for context, request in zip(contexts, encode_requests_plain(tokenizer, contexts, LABELS), strict=True):
        assert request.context_ids
        firsts = []
        for label, continuation in zip(LABELS, request.continuation_ids, strict=True):
            joint = tokenizer(context + label, return_offsets_mapping=True)
            ids = [i for i in joint["input_ids"] if i != tokenizer.convert_tokens_to_ids("</s>")]
            assert [*request.context_ids, *continuation] == ids
            assert continuation
            offsets = joint["offset_mapping"]
            firsts.append(next(i for i, (_, end) in enumerate(offsets) if end > len(context)))
        assert len(request.context_ids) <= min(firsts)
        joints = [(*request.context_ids, *c) for c in request.continuation_ids]
        n_common = next(i for i in range(9_999) if len({ids[: i + 1] for ids in joints}) > 1)
        assert len(request.context_ids) == min(*firsts, n_common)


@pytest.mark.parametrize("n_shots", [6, 16])
@pytest.mark.parametrize("ending", ENDINGS)
def test_fast_ids_equal_plain_ids(tokenizer, ending, n_shots):
    contexts = _contexts(ending, n_shots)
    counting = Counting(tokenizer)
    fast = encode_requests(counting, contexts, LABELS)
    assert fast == encode_requests_plain(tokenizer, contexts, LABELS)


@settings(max_examples=15, deadline=None)
@given(queries=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), min_size=16, max_size=20))
def test_fast_ids_equal_plain_ids_on_any_text(smollm2_tokenizer, queries):
    prefix = _contexts("\n")[0]
    contexts = [f"{prefix}positive\n\n\n{query}\n" for query in queries]
    choices = [LABELS[: 2 + i % 3] for i in range(len(queries))]
    fast = encode_requests(smollm2_tokenizer, contexts, choices)
    assert fast == encode_requests_plain(smollm2_tokenizer, contexts, choices)


@pytest.mark.parametrize(("n_shots", "share"), [(48, 1 / 5), (16, 1 / 2), (8, 3 / 4)])
def test_demonstrations_are_not_tokenised_again_for_each_query(tokenizer, n_shots, share):
    prefix = _contexts("\n", n_shots)[0]
    contexts = [f"{prefix}negative\n\n\nquery {i} bad\n" for i in range(200)]
    counting = Counting(tokenizer)
    encode_requests(counting, contexts, LABELS)
    n_plain = sum(len(context + label) for context in contexts for label in LABELS)
    assert counting.n_characters < n_plain * share


def test_the_tokenizers_merge_where_it_hurts(tokenizer):
    """The fixtures hold the cases that make joint tokenisation necessary."""
    name = getattr(tokenizer, "test_name", "smollm2")
    alone = tokenizer("positive", add_special_tokens=False).input_ids
    joint = encode_requests_plain(tokenizer, ["not bad\n"], ["positive", "negative"])[0]
    if name in ("neox", "smollm2"):
        assert tokenizer.tokenize("bad\n\n\n")[1:] != tokenizer.tokenize("bad\n\n\nfilm")[1:-1]
    if name in ("llama3", "unsplit"):
        assert any("." in token and len(token) > 1 and "Ċ" in token for token in tokenizer.tokenize("not bad .\nbad"))
    if name in ("llama2", "unigram"):
        assert tuple(alone) != joint.continuation_ids[0]


def test_a_splice_that_turns_out_wrong_is_not_used(smollm2_tokenizer):
    class Deceiving(Counting):
        """Gives other last ids where only the tail of a text is tokenised."""

        def __call__(self, texts, **options):
            batch = super().__call__(texts, **options)
            if not options["add_special_tokens"]:
                for ids in batch["input_ids"]:
                    ids[-1] += 1
            return batch

    contexts = _contexts("\n")
    plain = encode_requests_plain(smollm2_tokenizer, contexts, LABELS)
    assert encode_requests(Deceiving(smollm2_tokenizer), contexts, LABELS) == plain


def test_requests_of_several_prompts_keep_their_order(smollm2_tokenizer):
    first, second = _contexts("\n"), [f"Other. {context}" for context in _contexts(" .\n")]
    mixed = [context for pair in zip(first, second, strict=True) for context in pair] + ["short\n"]
    choices = [LABELS if i % 2 else ("@", "#") for i in range(len(mixed))]
    assert encode_requests(smollm2_tokenizer, mixed, choices) == encode_requests_plain(
        smollm2_tokenizer, mixed, choices
    )
    assert encode_requests(smollm2_tokenizer, [], LABELS) == []


def test_reference_requests_have_the_reference_numbers_of_tokens(smollm2_tokenizer, golden_path):
    golden = json.loads((golden_path / "score_smollm2.json").read_text(encoding="utf-8"))
    contexts = [request["context"] for request in golden["requests"]]
    choices = [request["choices"] for request in golden["requests"]]
    for encode in (encode_requests, encode_requests_plain):
        encoded = encode(smollm2_tokenizer, contexts, choices)
        n_tokens = [[len(ids) for ids in request.continuation_ids] for request in encoded]
        assert n_tokens == [expected["n_tokens"] for expected in golden["expected"]]


def test_what_cannot_be_encoded_is_an_error(smollm2_tokenizer):
    with pytest.raises(ScoringError, match="No token stands before the label"):
        encode_requests(smollm2_tokenizer, [""], ["a", "b"])
    with pytest.raises(ScoringError, match="no token for the label ''"):
        encode_requests(smollm2_tokenizer, ["text\n"], ["a", ""])
    with pytest.raises(ScoringError, match="object gives no character offsets"):
        encode_requests(object(), ["text\n"], ["a", "b"])


PHRASE = ["a", "film", "that", "is", "not", "so", "bad", "after", "all", "but", "rather", "long"]


def _rows(task):
    texts = [" ".join((PHRASE * 3)[i % 5 : i % 5 + 12 + i % 7]) for i in range(36)]
    n_texts = len(TASKS[task].text_columns)
    return [make_example(f"row:{i}", [f"{i} {text}", f"{text} {i}"][:n_texts], i % 2) for i, text in enumerate(texts)]


def _render(task):
    return functools.partial(build_cell_prompts, TASKS[task], label_setting="gold", demo_seed=13)


def _cell(tokenizer, context_length, task="sst2"):
    rows = _rows(task)
    return encode_cell(
        tokenizer, _render(task), demonstrations=rows[:16], queries=rows[16:], context_length=context_length
    )


def _n_longest(cell):
    return max(len(r.context_ids) + max(map(len, r.continuation_ids)) for r in (*cell.requests, cell.content_free))


def test_nothing_is_cut_where_everything_fits(smollm2_tokenizer):
    cell = _cell(smollm2_tokenizer, 2048)
    assert (cell.context_cut, cell.n_shortened) == (None, 0)
    assert list(cell.requests) == encode_requests_plain(smollm2_tokenizer, cell.prompts.contexts, cell.prompts.choices)
    assert (
        cell.content_free
        == encode_requests_plain(smollm2_tokenizer, [cell.prompts.content_free_context], cell.prompts.choices)[0]
    )
    exactly = _n_longest(cell)
    assert _cell(smollm2_tokenizer, exactly).context_cut is None
    assert _cell(smollm2_tokenizer, exactly - 1).context_cut is not None


@pytest.mark.parametrize("task", ["sst2", "mrpc"])
@pytest.mark.parametrize("share", [0.5, 0.8])
def test_the_cut_is_the_largest_that_fits(tokenizer, share, task):
    context_length = int(share * _n_longest(_cell(tokenizer, 100_000, task)))
    cell = _cell(tokenizer, context_length, task)
    assert _n_longest(cell) <= context_length
    texts = encoding._CuttableTexts(tokenizer, _rows(task))
    one_more = _render(task)(texts.cut(range(16), cell.context_cut + 1), texts.cut(range(16, 36), cell.context_cut + 1))
    longer = encode_requests_plain(tokenizer, one_more.contexts, one_more.choices)
    assert max(len(r.context_ids) + max(map(len, r.continuation_ids)) for r in longer) > context_length
    assert 0 < cell.n_shortened <= 36


def test_cut_texts_are_heads_of_the_whole_ones(smollm2_tokenizer):
    whole, cell = _cell(smollm2_tokenizer, 10_000), _cell(smollm2_tokenizer, 260)
    n_shortened = 0
    for before, after in zip(whole.prompts.contexts, cell.prompts.contexts, strict=True):
        *_, query_before = before.removesuffix("\n").split("\n\n\n")
        *_, query_after = after.removesuffix("\n").split("\n\n\n")
        assert query_before.startswith(query_after)
        assert len(smollm2_tokenizer(query_after).input_ids) <= cell.context_cut
        n_shortened += query_after != query_before
    for before, after in zip(whole.prompts.demonstrations, cell.prompts.demonstrations, strict=True):
        assert before.text.startswith(after.text) and before.row_id == after.row_id
        n_shortened += after.text != before.text
    assert n_shortened == cell.n_shortened
    assert cell.prompts.demonstration_labels == whole.prompts.demonstration_labels


def test_both_sentences_of_a_pair_are_cut(smollm2_tokenizer):
    cell = _cell(smollm2_tokenizer, 300, "mrpc")
    first, second = cell.prompts.demonstrations[0].text_pair
    assert cell.context_cut and first and second
    assert max(len(smollm2_tokenizer(text).input_ids) for text in (first, second)) <= cell.context_cut


def test_a_prompt_that_never_fits_is_an_error(smollm2_tokenizer):
    with pytest.raises(ScoringError, match=r"has \d+ tokens even with empty texts, more than .* context of 30"):
        _cell(smollm2_tokenizer, 30)


def test_labels_that_the_tokenizer_cannot_tell_apart(tokenizer):
    query = [make_example("q", ["bad"], 0)]
    encode = functools.partial(encode_cell, tokenizer, demonstrations=[], queries=query, context_length=99)
    if getattr(tokenizer, "test_name", "") == "words":
        with pytest.raises(ScoringError, match="same tokens to two of the labels abbreviation, entity"):
            encode(_render("trec"))
    else:
        assert len(set(encode(_render("trec")).requests[0].continuation_ids)) == 6
