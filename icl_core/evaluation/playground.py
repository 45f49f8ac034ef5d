"""The answers of two checkpoints to a user's own sentences; a worker process keeps the checkpoints loaded.

The worker is a separate process, so that it can use a GPU and its memory is freed with it. Both processes import this
module, so it imports nothing heavy at its top. It stores nothing and draws nothing. Prompts, scores and label settings
are those of the evaluation, so a task's demonstrations and seed give the prompts that were evaluated.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import numpy.typing as npt
import psutil

from icl_core.analysis.fusion.equations import fuse, label_probs
from icl_core.analysis.predictions import Normalisation, SettingScores
from icl_core.data.datasets import load_task_data
from icl_core.data.encoding import EncodedCell, encode_cell
from icl_core.data.label_settings import SYMBOLS, choose_demonstrations
from icl_core.data.prompts import build_cell_prompts, clean_text
from icl_core.data.unknown import ReadWord, read_words
from icl_core.errors import JobError, StudyError
from icl_core.evaluation.store import CellSummary
from icl_core.models.files import file_stamp
from icl_core.models.worker import Worker, WorkerEnded
from icl_core.records import CheckpointRef, Example, LabelScores, LabelSetting
from icl_core.registry.names import training_order
from icl_core.registry.tasks import FILE_PREFIX, FileSource, Task, get_task, own_file
from icl_core.sequences import n_common

if TYPE_CHECKING:
    from icl_core.models.checkpoints import LoadedCheckpoint
    from icl_core.scoring.prefix import KeptPrefixes

__all__ = [
    "MAX_BATCH_TEXTS",
    "MAX_DEMONSTRATIONS",
    "MAX_LABELS",
    "MAX_LABEL_CHARACTERS",
    "MAX_TEXT_CHARACTERS",
    "OWN_NAME",
    "Answer",
    "Question",
    "Reply",
    "Role",
    "Scored",
    "SentPrompt",
    "Workers",
    "answer_of",
    "answers_at",
    "ask",
    "ask_workers",
    "check_question",
    "files_state",
    "start_workers",
    "strongest_checkpoint",
    "task_demonstrations",
]

MAX_TEXT_CHARACTERS = 10_000
MAX_LABELS = len(SYMBOLS)
"""Largest number of labels; each needs a symbol in the abstract setting."""
MAX_LABEL_CHARACTERS = 100
MAX_DEMONSTRATIONS = 64
MAX_BATCH_TEXTS = 500
OWN_NAME = "own demonstrations"
"""Name that keys random labels and symbols if the demonstrations do not belong to a task."""
QUESTION_SECONDS = 600.0
"""Longest time for a question, with loading; then the worker is ended, since others wait."""
PATIENCE_SECONDS = 10.0
"""Longest wait for the questions of other visitors, after which a second process is asked."""
WAIT_SECONDS = 60.0
"""Longest wait for the second process."""
MEMORY_SHARE = 0.9
"""Share of the free memory that a question may take, so that the server survives."""
_N_WARM = 2

Role = Literal["TR", "TL", "ICL of the TR checkpoint", "ICL of the TL checkpoint"]


@dataclass(frozen=True, slots=True)
class Question:
    """A question to two checkpoints.

    Attributes:
        tr: the checkpoint asked under random labels.
        tl: the checkpoint asked under abstract labels.
        texts: one or more inputs.
        labels: 2 to MAX_LABELS different strings of one line.
        demonstrations: (text, label) in the order of the prompt; may be empty.
        name: task or OWN_NAME; with ``demo_seed`` it keys random labels and symbols.
        demo_seed: as in the evaluation.
        device: as for a run.
        offline: use only what is on this machine.
    """

    tr: CheckpointRef
    tl: CheckpointRef
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    demonstrations: tuple[tuple[str, str], ...]
    name: str = OWN_NAME
    demo_seed: int = 13
    device: str = "auto"
    offline: bool = True


@dataclass(frozen=True, slots=True)
class SentPrompt:
    """A prompt as the model reads it.

    Attributes:
        pieces: the text of each token; a character that several tokens form belongs to the first of them.
        token_ids: of each token.
        n_shared: tokens at the beginning that do not depend on the input: the demonstrations.
    """

    pieces: tuple[str, ...]
    token_ids: tuple[int, ...]
    n_shared: int


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """The answers of one checkpoint in one label setting.

    Attributes:
        role: TR, TL or ICL of one checkpoint.
        checkpoint: the checkpoint that answered.
        label_setting: of the demonstrations.
        choices: (n_labels,) the strings scored, by label.
        loglikelihoods: (n_texts, n_labels) nats.
        n_tokens: (n_texts, n_labels).
        content_free: (n_labels,) the scores of the query "N/A" before the first text.
        content_free_n_tokens: (n_labels,).
        prompt: of the first text.
        n_shortened: number of inputs (with demonstrations) that were cut to fit the context, the maximum over texts.
        words: (n_texts,) the words of each text, and whether the tokenizer knows them.
        choice_words: (n_labels,) the same for each scored string.
        demonstration_words: the same for all demonstrations' texts together.
    """

    role: Role
    checkpoint: CheckpointRef
    label_setting: LabelSetting
    choices: tuple[str, ...]
    loglikelihoods: npt.NDArray[np.float64]
    n_tokens: npt.NDArray[np.int64]
    content_free: npt.NDArray[np.float64]
    content_free_n_tokens: npt.NDArray[np.int64]
    prompt: SentPrompt
    n_shortened: int
    words: tuple[tuple[ReadWord, ...], ...]
    choice_words: tuple[tuple[ReadWord, ...], ...]
    demonstration_words: tuple[ReadWord, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """All answers to a question.

    Attributes:
        scored: TR, TL, then ICL of one or both checkpoints.
        load_seconds: time for loading, 0 if both were loaded already.
        score_seconds: the rest.
        is_restarted: whether the worker had died and was started again for this question.
    """

    scored: tuple[Scored, ...]
    load_seconds: float
    score_seconds: float
    is_restarted: bool = False

    def role(self, name: Role) -> Scored:
        """The answers in one role."""
        return next(each for each in self.scored if each.role == name)


# In both processes


def check_question(question: Question) -> None:
    """Refuses a question that cannot be asked.

    Raises:
        StudyError: one sentence that says what is wrong and what is allowed.
    """
    if not question.texts or not all(text.strip() for text in question.texts):
        raise StudyError("There is no text to ask about; write a sentence.")
    longest = max(len(text) for text in (*question.texts, *(text for text, _ in question.demonstrations)))
    if longest > MAX_TEXT_CHARACTERS:
        raise StudyError(f"A text has {longest:,} characters; at most {MAX_TEXT_CHARACTERS:,} are allowed.")
    if len(question.texts) > MAX_BATCH_TEXTS:
        raise StudyError(f"{len(question.texts):,} texts are too many; at most {MAX_BATCH_TEXTS} can be asked at once.")
    _check_labels(question.labels)
    if len(question.demonstrations) > MAX_DEMONSTRATIONS:
        raise StudyError(
            f"{len(question.demonstrations)} demonstrations are too many; at most {MAX_DEMONSTRATIONS} can be shown."
        )
    for number, (text, label) in enumerate(question.demonstrations, start=1):
        if not text.strip():
            raise StudyError(f"Demonstration {number} has no text; write one or delete the row.")
        if label not in question.labels:
            raise StudyError(
                f"Demonstration {number} has the label {label!r}, which is not one of {', '.join(question.labels)}."
            )


def _check_labels(labels: Sequence[str]) -> None:
    if not 2 <= len(labels) <= MAX_LABELS:
        raise StudyError(f"The number of labels is {len(labels)}; give 2 to {MAX_LABELS} labels.")
    for label in labels:
        if not label.strip() or label != clean_text(label):
            raise StudyError(f"The label {label!r} is empty, has a line break, or begins or ends with a space.")
        if len(label) > MAX_LABEL_CHARACTERS:
            raise StudyError(f"A label has {len(label)} characters; at most {MAX_LABEL_CHARACTERS} are allowed.")
    twice = next((label for index, label in enumerate(labels) if label in labels[:index]), None)
    if twice is not None:
        raise StudyError(f"The label {twice!r} is given twice; every label has to be different.")


def files_state(question: Question) -> tuple[tuple[int, ...], ...]:
    """A value that changes with the files of a question's checkpoints, so that no outdated reply is kept."""
    return tuple(stamp for ref in (question.tr, question.tl) for stamp in _file_stamps(ref))


def _file_stamps(ref: CheckpointRef) -> tuple[tuple[int, ...], ...]:
    """Stamps of the files in and beside a local checkpoint; empty for others, whose names stand for their content."""
    if ref.source not in ("folder", "gguf"):
        return ()
    place = Path(ref.location)
    paths = [place] if ref.source == "gguf" else [*place.glob("*"), *(place / ref.revision).glob("*")]
    try:
        return tuple(tuple(file_stamp(path)) for path in sorted(paths) if path.is_file())
    except OSError:  # loading it will tell why
        return ()


def task_demonstrations(
    name: str, *, n_shots: int, demo_seed: int, data_dir: str | None = None
) -> tuple[tuple[str, str], ...]:
    """The demonstrations of a task as the evaluation draws them: (text, label word) in the order of the prompt.

    Raises:
        ObservatoryError: the task's rows are not on this machine, or are too few.
    """
    data = load_task_data(get_task(name), data_dir=Path(data_dir) if data_dir else None, offline=True)
    words = data.task.words()
    chosen = choose_demonstrations(data.task.stream_name, list(data.pool_labels), n_shots=n_shots, demo_seed=demo_seed)
    examples = [data.demonstration_pool[position] for position in chosen]
    return tuple((example.text, words[example.gold]) for example in examples)


def strongest_checkpoint(
    summaries: Iterable[CellSummary], model: str, label_setting: LabelSetting
) -> CheckpointRef | None:
    """The checkpoint of a model with the highest mean accuracy in a setting, None without results.

    A page starts with it; it is not a result. Development cells decide if there are any. Ties go to the earlier step.
    """
    cells = [each for each in summaries if (each.model, each.label_setting) == (model, label_setting)]
    cells = [each for each in cells if each.split == "dev"] or cells
    found: dict[CheckpointRef, list[float]] = {}
    for each in sorted(cells, key=lambda each: training_order(each.spec.checkpoint)):
        found.setdefault(each.spec.checkpoint, []).append(each.accuracy)
    return max(found, key=lambda ref: sum(found[ref]) / len(found[ref]), default=None)


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What is answered to some texts.

    Attributes:
        values: (n_texts, n_labels) label probabilities; rows sum to 1.
    """

    values: npt.NDArray[np.float64]

    @property
    def best(self) -> npt.NDArray[np.int64]:
        """(n_texts,) the likeliest label of each text; ties go to the first."""
        return np.asarray(self.values.argmax(axis=1), dtype=np.int64)


def answers_at(replies: Sequence[Reply], *, weight: float, normalisation: Normalisation) -> dict[str, Answer]:
    """The answers of TR and of TL, and as ``fused`` those of their fusion, w TR + (1 - w) TL.

    Args:
        replies: to the parts of a question, in the order of its texts.
        weight: w, 0 to 1.
        normalisation: how the scores of labels of several tokens are compared.
    """
    roles: tuple[Role, ...] = ("TR", "TL")
    tr, tl = (
        np.concatenate([answer_of(reply.role(role), normalisation=normalisation).values for reply in replies])
        for role in roles
    )
    return {"TR": Answer(tr), "TL": Answer(tl), "fused": Answer(fuse([tr, tl], [weight, 1 - weight]))}


def answer_of(scored: Scored, *, normalisation: Normalisation = "sum") -> Answer:
    """What one checkpoint answers in one label setting."""
    n_texts = scored.loglikelihoods.shape[0]
    scores = SettingScores(
        loglikelihoods=scored.loglikelihoods[None, None].astype(np.float32),
        n_tokens=scored.n_tokens[None, None].astype(np.int32),
        content_free=scored.content_free[None, None].astype(np.float32),
        content_free_n_tokens=scored.content_free_n_tokens[None, None].astype(np.int32),
        gold=np.zeros(n_texts, dtype=np.int16),
        present=np.ones((1, 1), dtype=np.bool_),
        choices=(scored.choices,),
        row_ids=tuple(str(index) for index in range(n_texts)),
    )
    return Answer(np.asarray(label_probs(scores, normalisation=normalisation)[0, 0]))


class Workers:
    """The worker process, and a second one while the first is busy.

    The second ends as soon as the first is free again, so that two checkpoints are loaded and not four.
    """

    def __init__(self, first: Worker, second: Worker) -> None:
        self.first, self.second = first, second

    def ask(self, question: Question, *, seconds: float, memory_bytes: float) -> Reply:
        """The reply; raises as ``Worker.ask``."""
        limits = {"seconds": seconds, "memory_bytes": memory_bytes}
        try:
            return cast(Reply, self.first.ask(question, wait_seconds=PATIENCE_SECONDS, **limits))
        except WorkerEnded as ended:
            if ended.reason != "busy":
                raise
        try:
            return cast(Reply, self.second.ask(question, wait_seconds=WAIT_SECONDS, **limits))
        finally:
            if not self.first.is_busy:
                self.second.end_if_idle()

    def end(self) -> None:
        """Ends both processes."""
        self.first.end()
        self.second.end()


def start_workers() -> Workers:
    """The worker processes; each starts with its first question."""
    return Workers(Worker(f"{__name__}:ask"), Worker(f"{__name__}:ask"))


def ask_workers(workers: Workers, question: Question) -> Reply:
    """The reply to a question; a process that has died is started again, once, and the reply says so.

    Raises:
        ObservatoryError: as ``ask``.
        JobError: other questions keep both processes busy, or the asked process was ended at a limit or died twice.
    """
    check_question(question)
    memory_bytes = MEMORY_SHARE * psutil.virtual_memory().available
    limits = {"seconds": QUESTION_SECONDS, "memory_bytes": memory_bytes}
    try:
        try:
            return workers.ask(question, **limits)
        except WorkerEnded as ended:
            if ended.reason != "died":
                raise
            return replace(workers.ask(question, **limits), is_restarted=True)
    except WorkerEnded as ended:
        raise JobError(_ended_words(ended)) from None


def _ended_words(ended: WorkerEnded) -> str:
    if ended.reason == "busy":
        return "The worker processes are busy with the questions of others; ask again in a while."
    why = {
        "time": f"was ended after {QUESTION_SECONDS:.0f} s on this question",
        "memory": "was ended on this question because it took nearly all memory",
    }.get(ended.reason, "stopped twice on this question, perhaps because it ran out of memory")
    return f"The worker process {why}; choose smaller checkpoints or fewer demonstrations, then ask again."


# In the worker


@dataclass(frozen=True, slots=True, eq=False)
class _Warm:
    """A checkpoint in the worker's memory, with its last prefixes."""

    loaded: LoadedCheckpoint
    kept: KeptPrefixes


_WARM: dict[tuple[CheckpointRef, object], _Warm] = {}
"""The last used checkpoints; only the worker has any."""


def ask(question: Question) -> Reply:
    """Answers a question; runs in the worker, which loads each checkpoint when it is first needed.

    Raises:
        ObservatoryError: the question or a checkpoint cannot be used.
    """
    check_question(question)
    start = time.perf_counter()
    for ref in dict.fromkeys((question.tr, question.tl)):
        _warm(ref, question)
    loaded = time.perf_counter()
    scored = tuple(_scored(question, role, ref=ref, setting=setting) for role, ref, setting in _asked(question))
    return Reply(scored, loaded - start, time.perf_counter() - loaded)


def _asked(question: Question) -> Iterator[tuple[Role, CheckpointRef, LabelSetting]]:
    yield "TR", question.tr, "random"
    yield "TL", question.tl, "abstract"
    yield "ICL of the TR checkpoint", question.tr, "gold"
    if question.tl != question.tr:
        yield "ICL of the TL checkpoint", question.tl, "gold"


def _warm_name(ref: CheckpointRef, question: Question) -> tuple[CheckpointRef, object]:
    return ref, (question.device, _file_stamps(ref))


def _warm(ref: CheckpointRef, question: Question) -> _Warm:
    """The checkpoint, loaded if needed; then the one used longest ago is dropped."""
    key = _warm_name(ref, question)
    if key not in _WARM:
        from icl_core.evaluation.run import resolve_device
        from icl_core.models.checkpoints import load_checkpoint, release
        from icl_core.scoring.prefix import KeptPrefixes

        keep = {_warm_name(question.tr, question), _warm_name(question.tl, question)}
        for old in [each for each in _WARM if each not in keep][: max(0, len(_WARM) - _N_WARM + 1)]:
            release(_WARM.pop(old).loaded)
        device = resolve_device(question.device)
        loaded = load_checkpoint(ref, dtype="float32", device=device, offline=question.offline)
        _WARM[key] = _Warm(loaded, KeptPrefixes(loaded.model))
    _WARM[key] = _WARM.pop(key)
    return _WARM[key]


def _scored(question: Question, role: Role, *, ref: CheckpointRef, setting: LabelSetting) -> Scored:
    warm = _warm(ref, question)
    task = _task(question)
    examples = [
        Example(f"demonstration:{i}", clean_text(text), question.labels.index(label))
        for i, (text, label) in enumerate(question.demonstrations)
    ]
    render = partial(build_cell_prompts, task, label_setting=setting, demo_seed=question.demo_seed)
    cells: list[EncodedCell] = []
    rows: list[LabelScores] = []
    content_free: LabelScores | None = None
    for index, text in enumerate(question.texts):  # one by one: a long text must not cut the others
        cell = encode_cell(
            warm.loaded.tokenizer,
            render,
            demonstrations=examples,
            queries=[Example(f"text:{index}", clean_text(text), 0)],
            context_length=warm.loaded.identity.context_length,
        )
        requests = [*cell.requests, *([cell.content_free] if content_free is None else [])]
        row, *rest = warm.kept.score(requests)
        content_free = rest[0] if content_free is None else content_free
        cells.append(cell)
        rows.append(row)
    assert content_free is not None
    choices = cells[0].prompts.choices
    read = partial(read_words, warm.loaded.tokenizer)
    return Scored(
        role=role,
        checkpoint=ref,
        label_setting=setting,
        choices=choices,
        loglikelihoods=np.array([row.loglikelihoods for row in rows]),
        n_tokens=np.array([row.n_tokens for row in rows]),
        content_free=content_free.loglikelihoods,
        content_free_n_tokens=content_free.n_tokens,
        prompt=_sent(warm.loaded.tokenizer, cells[0]),
        n_shortened=max(cell.n_shortened for cell in cells),
        words=tuple(read([clean_text(text) for text in question.texts])),
        choice_words=tuple(read(choices)),
        demonstration_words=read([" ".join(clean_text(text) for text, _ in question.demonstrations)])[0],
    )


def _task(question: Question) -> Task:
    """A task that exists only in the question."""
    is_file = question.name.startswith(FILE_PREFIX)
    return Task(
        name=question.name,
        title=question.name,
        group="playground",
        source=own_file(question.name) if is_file else FileSource(Path()),  # its name keys the draws for a local file
        text_columns=("text",),
        label_column="label",
        label_names=question.labels,
        label_words={"natural": question.labels},
        templates={"minimal": "{x}\n"},
    )


def _sent(tokenizer: Any, cell: EncodedCell) -> SentPrompt:
    """The tokens of the first prompt with their text, up to the label."""
    ids = cell.requests[0].context_ids
    text = cell.prompts.contexts[0]
    offsets = tokenizer(text + cell.prompts.choices[0], return_offsets_mapping=True)["offset_mapping"]
    pieces, place = [], 0
    for _, end in offsets[: len(ids)]:
        pieces.append(text[place : max(place, end)])
        place = max(place, end)
    return SentPrompt(tuple(pieces), ids, n_common(ids, cell.content_free.context_ids))
