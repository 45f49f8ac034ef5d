"""The tasks: 16 public classification datasets, the shipped synthetic ones, and files on this machine.

It says where rows come from, what the labels are called and how a prompt is laid out; it reads no dataset.
Sources: label words and natural templates of arXiv 2305.09731 (https://github.com/princeton-nlp/WhatICLLearns,
commit f787809); task list and second label words of arXiv 2406.14022 (https://github.com/RUCAIBox/Competitive-ICL,
commit 7c2684d); row counts from each dataset's page on the Hub.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from icl_core.errors import DataError, UnknownNameError
from icl_core.registry.table_files import SUFFIXES
from icl_core.registry.task_files import LabelReading, read_task_file, shown_file
from icl_core.settings import suite_path

__all__ = [
    "FILE_PREFIX",
    "LAB_TASK",
    "TASKS",
    "TASK_GROUPS",
    "FileSource",
    "HubSource",
    "Task",
    "VectorSource",
    "embedded_tasks",
    "get_task",
    "lab_task_name",
    "list_tasks",
    "own_file",
    "own_file_name",
    "path_and_labels",
    "shown_task",
    "split_task_names",
    "stored_task_names",
    "task_name",
]

FILE_PREFIX = "file:"
LAB_TASK = "lab_exemplars"
LAB_LABELS = 32
SENTIMENT, TOPIC, TOXICITY, PAIRS = "sentiment", "topic and stance", "toxicity", "inference and paraphrase"
EMBEDDED_GROUP, OWN_GROUP, LAB_GROUP = "tiny suite", "own files", "lab"
MINIMAL_TEXT, MINIMAL_PAIR = "{x}\n", "{s1} [SEP] {s2}\n"
DESCRIPTION_FIELDS = ("name", "title", "label_words", "description", "version")
ABUSE_NOTE = "Contains slurs and abuse."
NON_COMMERCIAL = "CC BY-NC-SA 3.0 (non-commercial)"


@dataclass(frozen=True, slots=True)
class HubSource:
    """The place of a dataset on the Hugging Face Hub.

    Attributes:
        hub_id: owner and name.
        config: configuration, which is also the folder name of a local copy in Hub layout.
        n_rows: rows of each split on the Hub, by split name; checked after loading.
        convert: the main branch holds a loading script, which current clients refuse; the Parquet files are on
            the branch ``refs/convert/parquet``, in ``<config>/<split>/``.
    """

    hub_id: str
    config: str
    n_rows: Mapping[str, int] = field(hash=False)
    convert: bool = False


@dataclass(frozen=True, slots=True)
class FileSource:
    """One file with the columns text, label and, optionally, split.

    Attributes:
        path: absolute, symbolic links followed.
        labels: how labels are treated that may be the same, or may mean none.
    """

    path: Path
    labels: LabelReading = "ask"


@dataclass(frozen=True, slots=True)
class VectorSource:
    """Vectors that the controlled lab draws from a run's seeds; a task of this source has no texts."""


@dataclass(frozen=True, slots=True)
class Task:
    """A dataset with its label space and templates.

    Attributes:
        name: unique; for a local file see ``own_file_name``.
        title: as shown to people.
        group: heading under which it is listed.
        source: where the rows are.
        text_columns: one column, or two for pair tasks.
        label_column: column of label ids (Hub) or label words (files).
        label_names: (n_labels,) the source's own names, by label id.
        label_words: (n_labels,) words put into prompts, by label id, for each set. ``natural``: the plain
            words of arXiv 2305.09731. ``true_false``: its words for templates that ask "True or False?".
            ``reference_code``: the words of arXiv 2406.14022's code.
        templates: text up to the label, by template name. ``{x}`` is the text, ``{s1}`` and ``{s2}`` are the
            sentences of a pair; ``{x_closed}`` and the like get a period if they do not end in punctuation.
        url, licence, note: page of the dataset, licence from its card, what a reader should know first.
        version: raised whenever rows, label words or templates change.
        facts: whatever else is known of an embedded task, such as that training held it out.
    """

    name: str
    title: str
    group: str
    source: HubSource | FileSource | VectorSource
    text_columns: tuple[str, ...]
    label_column: str
    label_names: tuple[str, ...]
    label_words: Mapping[str, tuple[str, ...]] = field(hash=False)
    templates: Mapping[str, str] = field(hash=False)
    url: str = ""
    licence: str = "unknown"
    note: str = ""
    version: int = 1
    facts: Mapping[str, str | int | float | bool] = field(default_factory=dict, hash=False)

    @property
    def n_labels(self) -> int:
        """Number of labels; chance accuracy is its inverse."""
        return len(self.label_names)

    @property
    def stream_name(self) -> str:
        """What keys the draws of demonstrations and labels: the task's name; for a local file, the file name."""
        if isinstance(self.source, FileSource) and self.name.startswith(FILE_PREFIX):
            return f"{FILE_PREFIX}{self.source.path.name}"
        return self.name

    @property
    def is_pair(self) -> bool:
        """Whether an input is two sentences."""
        return len(self.text_columns) == 2

    def words(self, label_word_set: str = "natural", *, template: str = "minimal") -> tuple[str, ...]:
        """The label words by label id.

        The natural set follows the template: it is the ``true_false`` set if the template asks "True or False?".

        Raises:
            UnknownNameError: the task has no such set or template.

        >>> TASKS["mrpc"].words(), TASKS["mrpc"].words(template="natural")
        (('No', 'Yes'), ('False', 'True'))
        """
        self.template_text(template)
        if label_word_set not in self.label_words:
            raise UnknownNameError(
                _unknown("label-word set", label_word_set, known=tuple(self.label_words), where=f" of task {self.name}")
            )
        if (label_word_set, template) == ("natural", "natural"):
            label_word_set = "true_false" if "true_false" in self.label_words else "natural"
        return self.label_words[label_word_set]

    def template_text(self, template: str) -> str:
        """The text of a template up to the label.

        Raises:
            UnknownNameError: the task has no such template.
        """
        if template not in self.templates:
            raise UnknownNameError(
                _unknown("template", template, known=tuple(self.templates), where=f" of task {self.name}")
            )
        return self.templates[template]


def _unknown(kind: str, name: str, *, known: tuple[str, ...], where: str = "") -> str:
    near = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"Unknown {kind} {name!r}{where}; known: {', '.join(known)}.{hint}"


def _url(hub_id: str) -> str:
    return f"https://huggingface.co/datasets/{hub_id}"


def _tweet_eval(
    name: str,
    title: str,
    group: str,
    *,
    rows: tuple[int, int, int],
    labels: tuple[str, ...],
    natural: tuple[str, ...],
    template: str,
    note: str = "",
) -> Task:
    hub_id = "cardiffnlp/tweet_eval"
    return Task(
        name=name,
        title=title,
        group=group,
        source=HubSource(hub_id, name, dict(zip(("train", "validation", "test"), rows, strict=True))),
        text_columns=("text",),
        label_column="label",
        label_names=labels,
        label_words={"natural": natural, "reference_code": labels},
        templates={"minimal": MINIMAL_TEXT, "natural": template},
        url=_url(hub_id),
        licence="unknown (Twitter terms apply)",
        note=note,
    )


def _ethos(column: str, title: str) -> Task:
    hub_id, topic = "iamollas/ethos", column.replace("_", " ")
    return Task(
        name=f"ethos_{column}",
        title=title,
        group=TOXICITY,
        source=HubSource(hub_id, "multilabel", {"train": 433}, convert=True),
        text_columns=("text",),
        label_column=column,
        label_names=("false", "true"),
        label_words={"natural": ("No", "Yes"), "reference_code": ("false", "true")},
        templates={"minimal": MINIMAL_TEXT, "natural": f"{{x_closed}}\nIs this hate speech about {topic}? "},
        url=_url(hub_id),
        licence="AGPL-3.0 (source repository: GPL-3.0)",
        note=ABUSE_NOTE,
    )


def _glue(name: str, title: str, *, rows: tuple[int, int, int], labels: tuple[str, str]) -> Task:
    hub_id = "nyu-mll/glue"
    return Task(
        name=name,
        title=title,
        group=PAIRS,
        source=HubSource(hub_id, name, dict(zip(("train", "validation", "test"), rows, strict=True))),
        text_columns=("sentence1", "sentence2"),
        label_column="label",
        label_names=labels,
        label_words={
            "natural": ("No", "Yes"),
            "true_false": ("False", "True"),
            "reference_code": ("False", "True"),
        },
        templates={
            "minimal": MINIMAL_PAIR,
            "natural": "{s1}\nThe question is: {s2}\nTrue or False?\nThe answer is: ",
        },
        url=_url(hub_id),
        licence="other",
    )


def _nli(
    name: str, title: str, source: HubSource, *, columns: tuple[str, str], natural_template: str, licence: str
) -> Task:
    return Task(
        name=name,
        title=title,
        group=PAIRS,
        source=source,
        text_columns=columns,
        label_column="label",
        label_names=("entailment", "neutral", "contradiction"),
        label_words={
            "natural": ("Yes", "Unknown", "No"),
            "true_false": ("True", "Unknown", "False"),
            "reference_code": ("True", "Unknown", "False"),
        },
        templates={"minimal": MINIMAL_PAIR, "natural": natural_template},
        url=_url(source.hub_id),
        licence=licence,
    )


SENTIMENT_TEMPLATE = "{x}\nThe sentiment is "
STANCE_TEMPLATE = "{{x_closed}}\nThe stance is {topic}. True or False?\nThe answer is: "
NLI_QUESTION = "\nTrue, False, or Unknown?\nThe answer is: "

_SST2 = Task(
    name="sst2",
    title="SST-2",
    group=SENTIMENT,
    source=HubSource("stanfordnlp/sst2", "default", {"train": 67_349, "validation": 872, "test": 1_821}),
    text_columns=("sentence",),
    label_column="label",
    label_names=("negative", "positive"),
    label_words={"natural": ("negative", "positive"), "reference_code": ("negative", "positive")},
    templates={"minimal": MINIMAL_TEXT, "natural": SENTIMENT_TEMPLATE},
    url=_url("stanfordnlp/sst2"),
)
_FINANCIAL_PHRASEBANK = Task(
    name="financial_phrasebank",
    title="Financial PhraseBank",
    group=SENTIMENT,
    source=HubSource(
        "takala/financial_phrasebank",
        "sentences_allagree",
        {"train": 2_264},
        convert=True,
    ),
    text_columns=("sentence",),
    label_column="label",
    label_names=("negative", "neutral", "positive"),
    label_words={
        "natural": ("negative", "neutral", "positive"),
        "reference_code": ("negative", "neutral", "positive"),
    },
    templates={"minimal": MINIMAL_TEXT, "natural": SENTIMENT_TEMPLATE},
    url=_url("takala/financial_phrasebank"),
    licence=NON_COMMERCIAL,
)
_POEM_SENTIMENT = Task(
    name="poem_sentiment",
    title="Poem sentiment",
    group=SENTIMENT,
    source=HubSource(
        "google-research-datasets/poem_sentiment", "default", {"train": 892, "validation": 105, "test": 104}
    ),
    text_columns=("verse_text",),
    label_column="label",
    label_names=("negative", "positive", "no_impact", "mixed"),
    # The reference code drops the class mixed; here it stays, since it occurs among the demonstrations.
    label_words={
        "natural": ("negative", "positive", "no impact", "mixed"),
        "reference_code": ("negative", "positive", "no_impact", "mixed"),
    },
    templates={"minimal": MINIMAL_TEXT, "natural": SENTIMENT_TEMPLATE},
    url=_url("google-research-datasets/poem_sentiment"),
    licence="CC BY 4.0",
    note="The label mixed occurs among the demonstrations only.",
)
_TREC = Task(
    name="trec",
    title="TREC question types",
    group=TOPIC,
    source=HubSource("CogComp/trec", "default", {"train": 5_452, "test": 500}, convert=True),
    text_columns=("text",),
    label_column="coarse_label",
    label_names=("ABBR", "ENTY", "DESC", "HUM", "LOC", "NUM"),
    label_words={
        "natural": ("abbreviation", "entity", "description", "human", "location", "number"),
        "reference_code": ("ABBR", "ENTY", "DESC", "HUM", "LOC", "NUM"),
    },
    templates={"minimal": MINIMAL_TEXT, "natural": "{x_closed}\nThe topic is "},
    url=_url("CogComp/trec"),
)
_EMOTIONS = ("anger", "joy", "optimism", "sadness")
_STANCES = ("none", "against", "favor")

TASKS: Mapping[str, Task] = MappingProxyType(
    {
        task.name: task
        for task in (
            _SST2,
            _FINANCIAL_PHRASEBANK,
            _tweet_eval(
                "emotion",
                "Tweet emotion",
                SENTIMENT,
                rows=(3_257, 374, 1_421),
                labels=_EMOTIONS,
                natural=_EMOTIONS,
                template=SENTIMENT_TEMPLATE,
            ),
            _POEM_SENTIMENT,
            _TREC,
            _tweet_eval(
                "stance_atheism",
                "Stance on atheism",
                TOPIC,
                rows=(461, 52, 220),
                labels=_STANCES,
                natural=("Unknown", "False", "True"),
                template=STANCE_TEMPLATE.format(topic="atheist"),
                note=ABUSE_NOTE,
            ),
            _tweet_eval(
                "stance_feminist",
                "Stance on feminism",
                TOPIC,
                rows=(597, 67, 285),
                labels=_STANCES,
                natural=("Unknown", "False", "True"),
                template=STANCE_TEMPLATE.format(topic="feminist"),
                note=ABUSE_NOTE,
            ),
            _tweet_eval(
                "hate",
                "Tweet hate speech",
                TOXICITY,
                rows=(9_000, 1_000, 2_970),
                labels=("non-hate", "hate"),
                natural=("No", "Yes"),
                template="{x_closed}\nIs this hate speech? ",
                note=ABUSE_NOTE,
            ),
            _ethos("race", "Ethos: race"),
            _ethos("gender", "Ethos: gender"),
            _ethos("national_origin", "Ethos: national origin"),
            _ethos("religion", "Ethos: religion"),
            _nli(
                "sick",
                "SICK",
                HubSource("RobZamp/sick", "default", {"train": 4_439, "validation": 495, "test": 4_906}, convert=True),
                columns=("sentence_A", "sentence_B"),
                licence=NON_COMMERCIAL,
                natural_template="{s1_closed}\nThe question is: {s2_closed}" + NLI_QUESTION,
            ),
            _nli(
                "snli",
                "SNLI",
                HubSource("stanfordnlp/snli", "plain_text", {"train": 550_152, "validation": 10_000, "test": 10_000}),
                columns=("premise", "hypothesis"),
                licence="CC BY-SA 4.0",
                natural_template="{s1}\nThe question is: {s2}" + NLI_QUESTION,
            ),
            _glue("wnli", "WNLI", rows=(635, 71, 146), labels=("not_entailment", "entailment")),
            _glue("mrpc", "MRPC", rows=(3_668, 408, 1_725), labels=("not_equivalent", "equivalent")),
        )
    }
)
"""The 16 public tasks by name, in the order in which they are listed."""

TASK_GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        group: tuple(task.name for task in TASKS.values() if task.group == group)
        for group in (SENTIMENT, TOPIC, TOXICITY, PAIRS)
    }
)
"""Names of the public tasks by group."""


def embedded_tasks() -> dict[str, Task]:
    """The synthetic tasks of the shipped suite: ``tasks/<name>.jsonl`` with the fields text, label and split.

    ``tasks/tasks.json`` lists them in order, each with its name, title, label_words (by label id) and
    description; everything else in it becomes the task's facts.

    Raises:
        DataError: a file is damaged.
    """
    folder = suite_path() / "tasks"
    states = {path.name: path.stat() for path in folder.glob("*.json*")} if folder.is_dir() else {}
    stamps = ((name, state.st_size, state.st_mtime_ns, state.st_ino) for name, state in states.items())
    return dict(_embedded_tasks(folder, tuple(sorted(stamps))))


@functools.lru_cache(maxsize=4)
def _embedded_tasks(folder: Path, _: tuple[tuple[str, int, int, int], ...]) -> dict[str, Task]:
    """Cached for each state of the files: every listing of results asks for every task."""
    return {
        name: _file_task(name, FileSource(folder / f"{name}.jsonl", "keep-labels"), described)
        for name, described in _read_descriptions(folder / "tasks.json").items()
    }


def list_tasks() -> dict[str, Task]:
    """All tasks that can be named without a path: the embedded ones first, then the public ones."""
    return {**embedded_tasks(), **TASKS}


def lab_task_name(n_labels: int) -> str:
    """The task of the lab's exemplars with this number of labels.

    >>> lab_task_name(32), lab_task_name(8)
    ('lab_exemplars', 'lab_exemplars_8')
    """
    return LAB_TASK if n_labels == LAB_LABELS else f"{LAB_TASK}_{n_labels}"


def _lab_task(n_labels: int) -> Task:
    labels = tuple(f"label {index}" for index in range(n_labels))
    return Task(
        name=lab_task_name(n_labels),
        title=f"Lab: exemplars with {n_labels} labels",
        group=LAB_GROUP,
        source=VectorSource(),
        text_columns=("exemplar",),
        label_column="label",
        label_names=labels,
        label_words={"natural": labels},
        templates={"minimal": "{x}"},
        url="https://arxiv.org/abs/2503.05631",
        licence="made by this project",
        note="Vectors, not texts: only runs of the controlled lab can be evaluated on it.",
    )


# Local files: the one place that reads and writes their names


def own_file(name: str) -> FileSource:
    """The file that a task's name or a path means: ``file:`` may lead, ``?merge-labels`` or ``?keep-labels`` follow.

    Raises:
        DataError: the path cannot be one, or is not UTF-8.
    """
    text, labels = path_and_labels(name)
    try:
        text.encode("utf-8")
        path = Path(text).expanduser()
        resolved = path.resolve()
    except UnicodeEncodeError as error:
        raise DataError(f"The name of the file {text!r} is not UTF-8; rename it.") from error
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"{text[:200]!r} cannot be the path of a file ({error}); give another.") from error
    if resolved.suffix.lower() not in SUFFIXES:  # a link into a cache, where files have no names
        resolved = path.parent.resolve() / path.name
    return FileSource(resolved, labels)


def path_and_labels(name: str) -> tuple[str, LabelReading]:
    """The two parts of the name of a file's task, as they are written."""
    text = name.removeprefix(FILE_PREFIX)
    for reading in typing.get_args(LabelReading)[1:]:
        if text.endswith(f"?{reading}"):
            return text.removesuffix(f"?{reading}"), reading
    return text, "ask"


def own_file_name(source: FileSource) -> str:
    """The name of the task: ``file:``, the absolute path, and how labels are read if that was chosen.

    >>> own_file_name(FileSource(Path("/x/films.csv"), "merge-labels"))
    'file:/x/films.csv?merge-labels'
    """
    return f"{FILE_PREFIX}{source.path}{'' if source.labels == 'ask' else f'?{source.labels}'}"


def task_name(word: str, *, labels: LabelReading = "ask") -> str:
    """The name under which the results of a task are stored, from what a user calls the task.

    The path of a local file may be relative, begin with ``~`` or lead through links. An unknown name is given back as
    it is.

    Args:
        word: a name, or a path with or without ``file:``.
        labels: how the labels of a file are read, unless the word says so.

    Raises:
        DataError: the path cannot be one.
    """
    if not _is_path(word):
        return word
    source = own_file(word)
    return own_file_name(source if source.labels != "ask" else FileSource(source.path, labels))


def _is_path(word: str) -> bool:
    if word.startswith(FILE_PREFIX):
        return True
    try:
        path = own_file(word).path
        return path.suffix.lower() in SUFFIXES or (path.suffix != "" and path.is_file())
    except (DataError, OSError):
        return False


def split_task_names(text: str, known: Iterable[str] = ()) -> list[str]:
    """The words of a list separated by commas, in which the path of a file may itself hold commas.

    Args:
        text: such as ``sst2, trec, my rows, second half.csv``.
        known: words that stand for themselves, such as groups of tasks.
    """
    known, pieces, words = set(known), text.split(","), []
    while pieces:
        taken = next((n for n in range(1, len(pieces) + 1) if _is_whole(",".join(pieces[:n]).strip(), known)), 1)
        words.append(",".join(pieces[:taken]).strip())
        pieces = pieces[taken:]
    return [word for word in words if word]


def _is_whole(word: str, known: set[str]) -> bool:
    """Whether a word is a known name or the path of an existing file."""
    try:
        return word in TASKS or task_name(word) in known or (word != "" and own_file(word).path.is_file())
    except (DataError, OSError):
        return False


def stored_task_names(words: Iterable[str], stored: Iterable[str]) -> list[str]:
    """The stored names that a user's words for tasks mean; a path stands for every way of reading its labels.

    Raises:
        UnknownNameError: no stored name fits a word; the message lists the stored ones.
    """
    known = dict.fromkeys(stored)
    found: dict[str, None] = {}
    for word in words:
        name = task_name(word)
        names = {name}
        if name not in known and name.startswith(FILE_PREFIX) and own_file(name).labels == "ask":
            names = {own_file_name(FileSource(own_file(name).path, way)) for way in typing.get_args(LabelReading)}
        if not names & known.keys():
            listed = ", ".join(known) or "none"
            raise UnknownNameError(f"There are no results of task {word}; there are some on {listed}.")
        found |= dict.fromkeys(each for each in known if each in names)
    return list(found)


def shown_task(name: str) -> str:
    """What a task is called in messages: its name, or the user's own name for the file; the file is not read."""
    return shown_file(Path(path_and_labels(name)[0])) if name.startswith(FILE_PREFIX) else name


def get_task(name: str) -> Task:
    """The task of this name: a public or embedded one, a file (``file:`` and its path), or the lab's exemplars.

    Raises:
        UnknownNameError: no such task; the message lists the known ones.
        DataError: the file cannot be used as a task.
    """
    if name in TASKS:
        return TASKS[name]
    if name.startswith(FILE_PREFIX):
        source = own_file(name)
        return _file_task(own_file_name(source), source, {})
    if lab := re.fullmatch(rf"{LAB_TASK}(?:_([1-9]\d{{0,3}}))?", name):
        return _lab_task(int(lab.group(1) or LAB_LABELS))
    known = list_tasks()
    if name not in known:
        raise UnknownNameError(
            _unknown("task", name, known=tuple(known)) + f" For your own file write {FILE_PREFIX}PATH."
        )
    return known[name]


def _read_descriptions(path: Path) -> dict[str, dict[str, object]]:
    if not path.is_file():
        return {}
    try:
        return {described["name"]: described for described in json.loads(path.read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} is damaged ({error!r}); train the suite again or restore the file.") from error


def _file_task(name: str, source: FileSource, described: Mapping[str, object]) -> Task:
    path = source.path
    found = read_task_file(path, labels=source.labels).labels
    listed = described.get("label_words", sorted(found))
    labels = tuple(str(label) for label in listed) if isinstance(listed, list) else ()
    if set(labels) != found or len(labels) != len(found):
        raise DataError(f"The labels described for task {name} differ from those in {path}; make them the same.")
    version = described.get("version", 1)
    return Task(
        name=name,
        title=str(described.get("title", path.stem)),
        group=OWN_GROUP if name.startswith(FILE_PREFIX) else EMBEDDED_GROUP,
        source=source,
        text_columns=("text",),
        label_column="label",
        label_names=labels,
        label_words={"natural": labels},
        templates={"minimal": MINIMAL_TEXT},
        licence="own" if name.startswith(FILE_PREFIX) else "made by this project",
        note=str(described.get("description", "")),
        version=version if isinstance(version, int) else 1,
        facts={
            key: value
            for key, value in described.items()
            if key not in DESCRIPTION_FIELDS and isinstance(value, str | int | float | bool)
        },
    )
