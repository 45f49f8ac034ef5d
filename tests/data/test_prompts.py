import json
import re
from pathlib import Path

import pytest

from icl_core.data.datasets import load_task_data
from icl_core.data.label_settings import abstract_symbols, random_label_indices
from icl_core.data.prompts import build_cell_prompts, clean_text, make_example
from icl_core.errors import StudyError, UnknownNameError
from icl_core.records import LABEL_SETTINGS, Example
from icl_core.registry.tasks import TASKS, get_task

DEMONSTRATIONS = [make_example("train:0", ["a fine {film}"], 1), make_example("train:1", ["so % dull !"], 0)]
QUERIES = [make_example("test:0", ["not bad"], 1), make_example("test:1", ["{x}"], 0)]
PAIR = make_example("train:2", ["A man sleeps", "Nobody is awake ."], 2)


def _prompts(task="sst2", demonstrations=DEMONSTRATIONS, queries=QUERIES, **options):
    options = {"label_setting": "gold", "demo_seed": 13} | options
    return build_cell_prompts(TASKS[task], demonstrations, queries, **options)


def test_minimal_gold_prompt_word_for_word():
    prompts = _prompts()
    assert prompts.contexts == (
        "a fine {film}\npositive\n\n\nso % dull !\nnegative\n\n\nnot bad\n",
        "a fine {film}\npositive\n\n\nso % dull !\nnegative\n\n\n{x}\n",
    )
    assert prompts.choices == ("negative", "positive")
    assert prompts.content_free_context == "a fine {film}\npositive\n\n\nso % dull !\nnegative\n\n\nN/A\n"
    assert prompts.demonstrations == tuple(DEMONSTRATIONS)
    assert prompts.demonstration_labels == ("positive", "negative")


def test_an_example_keeps_its_row_its_label_and_both_sentences():
    assert make_example("test:7", ["one"], 2) == Example("test:7", "one", 2)
    assert make_example("test:7", ["one", "two"], 2) == Example("test:7", "one [SEP] two", 2, ("one", "two"))


def test_label_words_and_symbols_are_those_of_the_set_and_the_alphabet():
    task = next(task for task in TASKS.values() if task.words("reference_code") != task.words("natural"))
    assert _prompts(task.name, label_word_set="reference_code").choices == task.words("reference_code")
    letters = _prompts(label_setting="abstract", alphabet="letters").choices
    assert letters == abstract_symbols("sst2", n_labels=2, alphabet="letters", demo_seed=13)


def test_no_demonstrations():
    assert _prompts(demonstrations=[]).contexts == ("not bad\n", "{x}\n")


@pytest.mark.parametrize(
    ("task", "example", "expected"),
    [
        ("sst2", QUERIES[0], "not bad\nThe sentiment is "),
        ("trec", QUERIES[0], "not bad.\nThe topic is "),
        ("trec", make_example("q", ["Who ?"], 3), "Who ?\nThe topic is "),
        ("stance_feminist", QUERIES[0], "not bad.\nThe stance is feminist. True or False?\nThe answer is: "),
        ("stance_atheism", QUERIES[0], "not bad.\nThe stance is atheist. True or False?\nThe answer is: "),
        ("hate", QUERIES[0], "not bad.\nIs this hate speech? "),
        ("ethos_national_origin", QUERIES[0], "not bad.\nIs this hate speech about national origin? "),
        (
            "sick",
            PAIR,
            "A man sleeps.\nThe question is: Nobody is awake .\nTrue, False, or Unknown?\nThe answer is: ",
        ),
        ("snli", PAIR, "A man sleeps\nThe question is: Nobody is awake .\nTrue, False, or Unknown?\nThe answer is: "),
        ("mrpc", PAIR, "A man sleeps\nThe question is: Nobody is awake .\nTrue or False?\nThe answer is: "),
    ],
)
def test_natural_templates(task, example, expected):
    assert _prompts(task, [], [example], template="natural").contexts == (expected,)


def test_natural_pair_prompt_has_the_words_its_question_offers():
    prompts = _prompts("snli", [PAIR], [PAIR], template="natural")
    question = "A man sleeps\nThe question is: Nobody is awake .\nTrue, False, or Unknown?\nThe answer is: "
    assert prompts.contexts == (f"{question}False\n\n\n{question}",)
    assert prompts.content_free_context.endswith("N/A\nThe question is: N/A\nTrue, False, or Unknown?\nThe answer is: ")


def test_the_three_settings_share_inputs_and_differ_in_labels_only():
    many = [make_example(f"train:{i}", [f"text {i}"], i % 2) for i in range(16)]
    by_setting = {name: _prompts(demonstrations=many, label_setting=name) for name in LABEL_SETTINGS}
    inputs = {tuple(c.split("\n")[0] for c in p.contexts[0].split("\n\n\n")) for p in by_setting.values()}
    assert len(inputs) == 1
    assert by_setting["gold"].demonstration_labels == ("negative", "positive") * 8
    indices = random_label_indices("sst2", n_labels=2, n_shots=16, demo_seed=13)
    assert by_setting["random"].demonstration_labels == tuple(("negative", "positive")[i] for i in indices)
    assert by_setting["random"].choices == by_setting["gold"].choices
    symbols = abstract_symbols("sst2", n_labels=2, demo_seed=13)
    assert by_setting["abstract"].choices == symbols
    assert by_setting["abstract"].demonstration_labels == symbols * 8


def test_random_labels_ignore_gold():
    flipped = [make_example(e.row_id, [e.text], 1 - e.gold) for e in DEMONSTRATIONS]
    assert _prompts(label_setting="random") == _prompts(label_setting="random") and (
        _prompts(label_setting="random").contexts == _prompts(demonstrations=flipped, label_setting="random").contexts
    )


def test_options_that_cannot_be_met(tmp_path: Path):
    with pytest.raises(UnknownNameError, match="template 'fancy'"):
        _prompts(template="fancy")
    path = tmp_path / "nine.csv"
    path.write_text("text,label\n" + "".join(f"t{i},l{i}\n" for i in range(9)), encoding="utf-8")
    with pytest.raises(StudyError, match="9 labels but the alphabet symbols has 8"):
        build_cell_prompts(get_task(f"file:{path}"), [], QUERIES, label_setting="abstract", demo_seed=0)


def test_clean_text_keeps_all_but_line_breaks_and_margins():
    assert clean_text("\t a\n\nb \r\n c\rd  e\u2028f\n") == "a  b   c d  e\u2028f"


@pytest.mark.parametrize(("number", "name"), [(0, "trec"), (4, "mrpc"), (8, "poem_sentiment")])
def test_real_rows_give_the_text_of_the_reference_requests(shared_data_path, golden_path, number, name):
    """The reference requests shrink runs of spaces inside an input; here texts keep them."""
    golden = json.loads((golden_path / "score_smollm2.json").read_text(encoding="utf-8"))["requests"][number]
    data = load_task_data(TASKS[name], data_dir=shared_data_path)
    rows = {_shrunk(e.text): e for e in (*data.test, *data.dev, *data.demonstration_pool)}
    *shots, query = golden["context"].split("\n\n\n")
    demonstrations = [rows[shot.rsplit("\n", 1)[0]] for shot in shots]
    asked = make_example("asked", query.removesuffix("\n").split(" [SEP] "), golden["gold"])
    prompts = build_cell_prompts(TASKS[name], demonstrations, [asked], label_setting="gold", demo_seed=0)
    assert [_shrunk(context) for context in prompts.contexts] == [golden["context"]]
    assert list(prompts.choices) == golden["choices"]


@pytest.mark.parametrize("number", range(12))
def test_prompts_are_written_as_the_reference_requests_are(golden_path, number):
    golden = json.loads((golden_path / "score_smollm2.json").read_text(encoding="utf-8"))["requests"][number]
    *shots, query = golden["context"].split("\n\n\n")
    task = TASKS[{"poem": "poem_sentiment"}.get(golden["task"], golden["task"])]
    told = [shot.rsplit("\n", 1) for shot in shots]
    demonstrations = [
        make_example(f"shot:{at}", text.split(" [SEP] "), golden["choices"].index(label))
        for at, (text, label) in enumerate(told)
    ]
    asked = make_example("asked", query.removesuffix("\n").split(" [SEP] "), golden["gold"])
    prompts = build_cell_prompts(task, demonstrations, [asked], label_setting="gold", demo_seed=0)
    assert list(prompts.contexts) == [golden["context"]] and list(prompts.choices) == golden["choices"]
    assert list(prompts.demonstration_labels) == [label for _, label in told] and len(told) == 16


def _shrunk(text: str) -> str:
    return re.sub(" +", " ", text)
