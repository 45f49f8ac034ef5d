import json
import string
from pathlib import Path

import pytest

from icl_core.errors import DataError, UnknownNameError
from icl_core.registry import tasks
from icl_core.registry.tasks import TASK_GROUPS, TASKS, FileSource, HubSource, embedded_tasks, get_task, list_tasks

PAPER_TASKS = [
    "sst2",
    "financial_phrasebank",
    "emotion",
    "poem_sentiment",
    "trec",
    "stance_atheism",
    "stance_feminist",
    "hate",
    "ethos_race",
    "ethos_gender",
    "ethos_national_origin",
    "ethos_religion",
    "sick",
    "snli",
    "wnli",
    "mrpc",
]


def test_the_sixteen_tasks_of_the_paper_in_four_groups():
    assert list(TASKS) == PAPER_TASKS
    assert [name for names in TASK_GROUPS.values() for name in names] == PAPER_TASKS
    assert len(TASK_GROUPS) == 4


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_every_task_is_complete(task):
    assert isinstance(task.source, HubSource)
    assert task.url.endswith(task.source.hub_id)
    assert task.title and task.licence and task.version >= 1
    for words in task.label_words.values():
        assert len(words) == task.n_labels == len(set(words))
        assert all(word == word.strip() and word for word in words)
    assert {"natural", "reference_code"} <= set(task.label_words)
    fields = {name for text in task.templates.values() for _, name, _, _ in string.Formatter().parse(text) if name}
    assert fields <= ({"s1", "s2", "s1_closed", "s2_closed"} if task.is_pair else {"x", "x_closed"})
    assert hash(task) == hash(get_task(task.name))


def test_label_words_are_listed_by_hub_id():
    assert TASKS["trec"].words() == ("abbreviation", "entity", "description", "human", "location", "number")
    assert TASKS["trec"].words("reference_code") == ("ABBR", "ENTY", "DESC", "HUM", "LOC", "NUM")
    assert TASKS["stance_atheism"].words() == ("Unknown", "False", "True")
    assert TASKS["snli"].words() == ("Yes", "Unknown", "No")
    assert TASKS["poem_sentiment"].words() == ("negative", "positive", "no impact", "mixed")


def test_natural_words_follow_a_template_that_asks_true_or_false():
    for name in ("sick", "snli"):
        assert TASKS[name].words("natural", template="natural") == ("True", "Unknown", "False")
    for name in ("wnli", "mrpc"):
        assert TASKS[name].words("natural", template="natural") == ("False", "True")
    assert TASKS["hate"].words("natural", template="natural") == ("No", "Yes")
    for task in TASKS.values():
        asks = "True or False" in task.templates["natural"] or "True, False" in task.templates["natural"]
        assert asks == ("True" in task.words(template="natural"))


def test_abusive_and_non_commercial_tasks_say_so():
    for name in (*TASK_GROUPS["toxicity"], "stance_atheism", "stance_feminist"):
        assert "slurs" in TASKS[name].note
    for name in ("financial_phrasebank", "sick"):
        assert "non-commercial" in TASKS[name].licence


def test_unknown_names_list_the_known_ones():
    with pytest.raises(UnknownNameError, match=r"'SST-2'.*known: .*mrpc.*Did you mean sst2\?.*file:PATH"):
        get_task("SST-2")
    with pytest.raises(UnknownNameError, match=r"template 'nice' of task trec; known: minimal, natural"):
        TASKS["trec"].template_text("nice")
    with pytest.raises(UnknownNameError, match=r"label-word set 'french'.*natural, reference_code"):
        TASKS["trec"].words("french")


def test_a_file_of_ones_own_is_a_task(tmp_path: Path):
    path = tmp_path / "mine.csv"
    path.write_text("text,label\ngood,plus\nbad,minus\n", encoding="utf-8")
    task = get_task(f"file:{path}")
    assert task.source == FileSource(path)
    assert (task.name, task.title, task.group) == (f"file:{path}", "mine", "own files")
    assert task.words() == task.label_names == ("minus", "plus")
    path.write_text("text,label\ngood,plus\nbad,minus\nso so,zero\n", encoding="utf-8")
    assert get_task(f"file:{path}").n_labels == 3


def _embed(folder: Path, monkeypatch: pytest.MonkeyPatch, described: object) -> None:
    (folder / "tasks").mkdir()
    rows = [{"text": "a", "label": "hot", "split": "test"}, {"text": "b", "label": "cold", "split": "dev"}]
    (folder / "tasks" / "tiny_heat.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "tasks" / "tasks.json").write_text(json.dumps(described), encoding="utf-8")
    monkeypatch.setattr(tasks, "suite_path", lambda: folder)


def test_embedded_tasks_are_read_from_the_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    described = {"name": "tiny_heat", "title": "Tiny heat", "label_words": ["hot", "cold"], "held_out": True}
    _embed(tmp_path, monkeypatch, [described])
    task = get_task("tiny_heat")
    assert (task.title, task.group, task.words()) == ("Tiny heat", "tiny suite", ("hot", "cold"))
    assert task.facts == {"held_out": True}
    assert next(iter(list_tasks())) == "tiny_heat"


def test_no_suite_means_no_embedded_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tasks, "suite_path", lambda: tmp_path / "absent")
    assert embedded_tasks() == {}


@pytest.mark.parametrize("described", [[{"title": "no name"}], "text", [{"name": "tiny_heat", "label_words": ["hot"]}]])
def test_damaged_descriptions_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, described: object):
    _embed(tmp_path, monkeypatch, described)
    with pytest.raises(DataError, match=r"tasks\.json is damaged|labels described for task tiny_heat"):
        embedded_tasks()


def test_draws_from_a_file_do_not_depend_on_its_folder(tmp_path: Path) -> None:
    names = []
    for folder in ("first", "second"):
        path = tmp_path / folder / "own.jsonl"
        path.parent.mkdir()
        path.write_text('{"text": "a b", "label": "yes"}\n{"text": "c d", "label": "no"}\n' * 4)
        task = get_task(f"file:{path}")
        assert task.name == f"file:{path}"
        names.append(task.stream_name)
    assert names == ["file:own.jsonl"] * 2
    assert get_task("sst2").stream_name == "sst2"
