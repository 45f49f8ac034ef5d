"""The current study: its widgets in the sidebar, their place in the URL, and the checked value that pages read.

The sidebar's pickers own the URL's keys on every page. A page that shows the same choice in full (evaluate) draws
mirrors, which write back into the pickers. Values from a URL are only names: each is checked again when the study is
made from them, and by ``validate_study`` before anything runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast, get_args

import streamlit as st

from icl_core.errors import AmbiguousLabelsError, ObservatoryError, StudyError
from icl_core.evaluation.choice import Chosen, choose
from icl_core.evaluation.study import (
    ATTENTIONS,
    DTYPES,
    MAX_SHOTS,
    MAX_TEST_EXAMPLES,
    Study,
    most_alike,
    shared_options,
)
from icl_core.models.listing import embedded_members, local_listing
from icl_core.records import LABEL_SETTINGS, SHARED_OPTIONS, Alphabet, CellSpec, CheckpointRef, Sampling
from icl_core.registry.families import MODELS, choose_checkpoints
from icl_core.registry.tasks import (
    FILE_PREFIX,
    LAB_TASK,
    TASKS,
    FileSource,
    get_task,
    list_tasks,
    own_file_name,
)
from icl_core.settings import DEFAULT_DEMO_SEEDS, uploads_path
from pages.ui.controls.pickers import mirror, offers, one_of, several_of
from pages.ui.data import cached
from pages.ui.words.written import setting_title, task_title

__all__ = [
    "FOLLOWED",
    "KEYS",
    "LISTS",
    "MORE",
    "Choice",
    "Defaults",
    "as_picked",
    "as_shown",
    "better_options",
    "checkpoints_for",
    "current_choice",
    "defaults_for",
    "field",
    "for_models",
    "held",
    "left_out",
    "model_options",
    "note_models",
    "short_name",
    "show",
    "study_of",
    "study_of_model",
    "take",
    "task_options",
]

Place = Literal["sidebar", "page"]
MORE = ("template", "words", "alphabet", "sampling", "dtype", "attention", "data")
"""Options that the sidebar folds away."""
KEYS = ("model", "checkpoints", "task", "setting", "seeds", "shots", "examples", "local", "name", "order", *MORE)
LISTS = ("model", "task", "setting")
"""Pickers in which several names are picked, or none."""
OWN = ("local", "name", "order")
FOLLOWED = "models_followed"
"""In the session: the models whose defaults stand in the pickers that nobody has used."""
_PICKERS = {"n_shots": "shots", "label_word_set": "words", "data_dir": "data"}
"""Pickers that are not called like the option that they hold."""
_PAPER = Study((), (), (), ())
"""The paper's options: those of a study that says nothing else."""
TEMPLATES = tuple(dict.fromkeys(name for task in TASKS.values() for name in task.templates))
WORD_SETS = tuple(dict.fromkeys(name for task in TASKS.values() for name in task.label_words))


@dataclass(frozen=True, slots=True)
class Choice:
    """The pickers' values as they stand, unchecked; each field has its widget, keyed as in the URL.

    Attributes:
        model: names of models.
        checkpoints: ``all``, ``paper``, a count, or steps and revisions separated by commas.
        task: names of tasks.
        setting: label settings.
        seeds: numbers separated by commas.
        shots, examples: numbers of demonstrations and of test rows.
        local: path of the user's own checkpoints, "" for none.
        name: what the user's own model is called, "" to take the name from its path.
        order: its checkpoints in the order of training, separated by commas, "" if their names tell it.
        template, words, alphabet, sampling, dtype, attention: options by name.
        data: directory in Hub layout, "" for the Hub.
    """

    model: tuple[str, ...]
    checkpoints: str
    task: tuple[str, ...]
    setting: tuple[str, ...]
    seeds: str
    shots: int
    examples: int
    local: str
    name: str
    order: str
    template: str
    words: str
    alphabet: str
    sampling: str
    dtype: str
    attention: str
    data: str


Defaults = Choice


def task_options() -> list[str]:
    """Names of all tasks that can be picked: known ones, uploaded files, and files and lab tasks with results."""
    uploaded = [name for path in sorted(uploads_path().glob("*.*")) for name in _ways_to_read(path)]
    stored = [task for task in cached.stored_tasks() if task.startswith((FILE_PREFIX, LAB_TASK))]
    return list(dict.fromkeys([*list_tasks(), *uploaded, *stored]))


@st.cache_data(max_entries=1000, show_spinner=False)
def _ways_to_read(path: Path) -> list[str]:
    """The tasks that an uploaded file can be: two if some of its labels may be one label; its name holds its hash."""
    try:
        return [get_task(own_file_name(FileSource(path))).name]
    except AmbiguousLabelsError:
        return [own_file_name(FileSource(path, way)) for way in ("merge-labels", "keep-labels")]
    except ObservatoryError:
        return []


def model_options() -> list[str]:
    """Names of all models that can be picked: shipped, registered, and those with results in the store."""
    return list(dict.fromkeys([*embedded_members(), *MODELS, *cached.stored_models()]))


def defaults_for(models: Sequence[str]) -> Defaults:
    """What the pickers hold before anyone has picked: the options under which these models have most results.

    The default model is the shipped suite's first member, whose options also count if no models are given. Without
    results, the options are the paper's.
    """
    return _defaults_for(tuple(models), cached.generation(), embedded_members())


@st.cache_data(max_entries=32, show_spinner=False)
def _defaults_for(models: tuple[str, ...], generation: str, members: tuple[str, ...]) -> Defaults:
    summaries = [summary for summary in cached.summaries() if summary.split == "test"]
    first = members[:1] or tuple(n for n, _ in Counter(s.model for s in summaries).most_common(1))
    models = models or first
    alike = most_alike([summary.spec for summary in summaries if summary.model in models])
    if not alike:
        return _paper_defaults(first, models)
    one = alike[0]
    return Choice(
        model=first,
        checkpoints="all",
        task=tuple(dict.fromkeys(spec.task for spec in alike)),
        setting=LABEL_SETTINGS,
        seeds=_seeds_text({spec.demo_seed for spec in alike}),
        examples=one.n_examples,
        local="",
        name="",
        order="",
        alphabet=next((spec.alphabet for spec in alike if spec.label_setting == "abstract"), "symbols"),
        **as_picked(one),
    )


def as_picked(asked: Study | CellSpec) -> dict[str, Any]:
    """The options that cells share, as their pickers hold them."""
    held = {_PICKERS.get(name, name): value for name, value in shared_options(asked).items()}
    return held | {"data": asked.data_dir or ""}


def _paper_defaults(first: tuple[str, ...], models: Sequence[str]) -> Defaults:
    own = [name for name in list_tasks() if name not in TASKS]
    tiny = bool(models) and all(name in embedded_members() for name in models)
    return Choice(
        model=first,
        checkpoints="all" if tiny else "paper",
        task=tuple(own) if tiny and own else tuple(TASKS),
        setting=LABEL_SETTINGS,
        seeds=_seeds_text(DEFAULT_DEMO_SEEDS),
        examples=_PAPER.n_test,
        local="",
        name="",
        order="",
        alphabet=_PAPER.alphabet,
        **as_picked(_PAPER),
    )


def current_choice() -> Choice:
    """The pickers' values of this run; the sidebar has drawn them before any page asks."""
    values = {item.name: st.session_state[item.name] for item in fields(Choice)}
    for name in LISTS:
        values[name] = tuple(values[name])
    return Choice(**values)


def study_of(choice: Choice) -> Study:
    """The study that the pickers ask for.

    Raises:
        StudyError: nothing is picked, a seed is no number, or the order of the user's own checkpoints is not certain.
        UnknownNameError: a checkpoint is not among the known ones.
        CheckpointError: the user's own path holds no checkpoint.
    """
    refs = [ref for model in choice.model for ref in checkpoints_for(model, choice.checkpoints)]
    if choice.local.strip():
        refs += own_checkpoints(choice).checkpoints
    if not refs:
        raise StudyError("The study names no model; pick one under Models, or give a folder of your own.")
    if not choice.task:
        raise StudyError("The study names no task; pick at least one under Tasks.")
    if not choice.setting:
        raise StudyError("The study names no label setting; pick gold, random, abstract, or all three.")
    return Study(
        checkpoints=tuple(dict.fromkeys(refs)),
        tasks=choice.task,
        label_settings=tuple(name for name in LABEL_SETTINGS if name in choice.setting),
        demo_seeds=_seeds(choice.seeds),
        n_test=choice.examples,
        alphabet=cast(Any, choice.alphabet),
        data_dir=choice.data.strip() or None,
        **{name: getattr(choice, _PICKERS.get(name, name)) for name in SHARED_OPTIONS},
    )


def for_models(choice: Choice, models: Iterable[str]) -> Choice:
    """The same options for other models."""
    return replace(choice, model=tuple(models), local="")


def study_of_model(choice: Choice, model: str) -> Study:
    """The study that the same options ask for of one model.

    Raises:
        ObservatoryError: as ``study_of``.
    """
    return study_of(for_models(choice, [model]))


def own_checkpoints(choice: Choice) -> Chosen:
    """The checkpoints that a choice names at the user's own path, and what is left out there.

    Raises:
        ObservatoryError: there are none, or their order or name is in question; the sentence says how to answer.
    """
    listing = local_listing(Path(choice.local.strip()))
    stored = [ref for each in cached.stored_models().values() for ref in each.checkpoints]
    text = _fitting(choice.checkpoints, listing.checkpoints)
    return choose([listing], stored, choice=text, order=choice.order.strip(), name=choice.name.strip())


def left_out(choice: Choice) -> list[str]:
    """What is left out at the user's own path, in sentences; if the path cannot be used, making the study says so."""
    try:
        return [each.sentence for each in own_checkpoints(choice).left_out] if choice.local.strip() else []
    except ObservatoryError:
        return []


def checkpoints_for(model: str, text: str) -> tuple[CheckpointRef, ...]:
    """The checkpoints of one model that a choice names."""
    return _chosen(cached.checkpoints_of(model), text)


def _chosen(refs: Sequence[CheckpointRef], text: str) -> tuple[CheckpointRef, ...]:
    return choose_checkpoints(refs, _fitting(text, refs)) if refs else ()


def _fitting(text: str, refs: Sequence[CheckpointRef]) -> str:
    """The text of a choice, or all if it is a count that was meant for a model with more checkpoints."""
    count = sum(ref.step is not None for ref in refs) or len(refs)
    if text.isdecimal() and int(text) > count and int(text) not in {ref.step for ref in refs}:
        return "all"
    return text.strip() or "all"


def short_name(ref: CheckpointRef) -> str:
    """How a checkpoint is named in the text of a choice: its step, else its revision or weight file."""
    return str(ref.step) if ref.step is not None else ref.weight_file or ref.revision


def _seeds(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    wrong = next((part for part in parts if not part.isdecimal() or len(part) > 10), None)
    if wrong is not None:
        raise StudyError(f"{wrong!r} is not a demonstration seed; give whole numbers separated by commas.")
    return tuple(dict.fromkeys(int(part) for part in parts))


# Widgets


def show(**values: object) -> None:
    """Sets drawn widgets from a callback, by their keys."""
    for name, value in values.items():
        st.session_state[name] = value


def _copy_back(name: str, value: object) -> None:
    st.session_state[name] = value
    if name == "model":
        follow_models()


def note_models(models: Sequence[str]) -> None:
    """Keeps whose defaults stand in the pickers that nobody has used."""
    st.session_state.setdefault(FOLLOWED, tuple(models))


def follow_models() -> None:
    """What becomes of the other pickers when the models change: choices stay, defaults follow the models.

    Defaults are the options under which models have results. If all models are new, pickers that still hold a default
    take the default of the new models. If one of the models stays, every picker stays: adding a model must not change
    the numbers of another.
    """
    models, followed = st.session_state["model"], st.session_state[FOLLOWED]
    moved = bool(models) and not set(models) & set(followed)
    before, now = defaults_for(followed), defaults_for(models)
    for name in KEYS:
        value = st.session_state[name]
        if moved and name not in ("model", *OWN) and value == held(before, name):
            value = held(now, name)
        st.session_state[name] = value  # restated: the address leaves out what is the default of its models
    if moved:
        st.session_state[FOLLOWED] = tuple(models)


def take(defaults: Defaults) -> None:
    """Sets every picker but those of models to options that are offered."""
    show(**{name: held(defaults, name) for name in KEYS if name not in ("model", *OWN)})
    st.session_state[FOLLOWED] = tuple(st.session_state["model"])


def as_shown(name: str, value: str) -> str:
    """A value of a picker as it stands in its address: as the picker shows it."""
    if name == "setting" and value in LABEL_SETTINGS:
        return setting_title(value)
    return task_title(value) if name == "task" else value


def held(defaults: Defaults, name: str) -> object:
    """A default as its picker holds it."""
    value = getattr(defaults, name)
    return list(value) if isinstance(value, tuple) else value


def better_options(models: Sequence[str]) -> Defaults | None:
    """The options under which these models have most results; None if they have none, or if these are chosen."""
    stored = cached.stored_models()
    if not any(model in stored and stored[model].n_test for model in models):
        return None
    better = defaults_for(models)
    names = [name for name in KEYS if name not in ("model", *OWN)]
    return None if all(held(better, name) == st.session_state[name] for name in names) else better


def _placed(name: str, place: Place) -> dict[str, Any]:
    """Key and binding of the sidebar's picker, or of its mirror on a page."""
    if place == "sidebar":
        bound: dict[str, Any] = {"key": name, "bind": "query-params"}
        return {**bound, "on_change": follow_models} if name == "model" else bound
    return {"bind": None, **mirror(f"page_{name}", st.session_state[name], partial(_copy_back, name))}


def field(name: str, place: Place, defaults: Defaults) -> None:
    """Draws the widget of one field of the choice, and the buttons that fill or empty it."""
    _WIDGETS[name](_placed(name, place), defaults)
    if name in _OFFERS and (place, name) != ("page", "checkpoints"):  # there are its ways to choose
        offers(f"{place}-{name}", _OFFERS[name](defaults), partial(_set, name))


def _set(name: str, value: object) -> None:
    st.session_state[name] = value
    if name == "model":
        follow_models()


_OFFERS: dict[str, Callable[[Defaults], dict[str, object]]] = {
    "model": lambda _: {"All with results": list(cached.stored_models()), "None": []},
    "checkpoints": lambda _: {"All": "all", "The paper's grid": "paper"},
    "task": lambda held: {"All": task_options(), "With results": list(held.task), "None": []},
    "setting": lambda _: {"All": list(LABEL_SETTINGS), "None": []},
    "seeds": lambda held: {"With results": held.seeds, "The paper's five": _seeds_text(DEFAULT_DEMO_SEEDS)},
}
"""What a click sets a picker to, by the words on the button."""


def _seeds_text(seeds: Iterable[int]) -> str:
    return ", ".join(str(seed) for seed in sorted(seeds))


def _models(placed: dict[str, Any], defaults: Defaults) -> None:
    help_text = "Families whose checkpoints were published during pre-training, and the shipped tiny suite."
    several_of("Models", model_options(), default=defaults.model, help=help_text, placeholder="Pick models", **placed)


def _checkpoints(placed: dict[str, Any], defaults: Defaults) -> None:
    st.text_input(
        "Checkpoints",
        value=defaults.checkpoints,
        max_chars=4000,
        help="all, paper (the paper's grid, else 17 evenly spread), a count such as 9, log 9 (near equal ratios), "
        "or checkpoints by number or name: 0, 512, 1000",
        **placed,
    )


def _tasks(placed: dict[str, Any], defaults: Defaults) -> None:
    several_of("Tasks", task_options(), default=defaults.task, format_func=task_title, **placed)


def _settings(placed: dict[str, Any], defaults: Defaults) -> None:
    st.pills(
        "Label settings",
        list(LABEL_SETTINGS),
        selection_mode="multi",
        default=list(defaults.setting),
        format_func=setting_title,
        help="How the demonstrations are labelled: true labels (ICL), random labels (task recognition, TR), "
        "symbols that stand for the labels (task learning, TL).",
        **placed,
    )


def _seeds_field(placed: dict[str, Any], defaults: Defaults) -> None:
    st.text_input(
        "Demonstration seeds",
        value=defaults.seeds,
        max_chars=1200,
        help="Each seed draws its own demonstrations, random labels and symbols.",
        **placed,
    )


def _shots(placed: dict[str, Any], defaults: Defaults) -> None:
    st.number_input("Demonstrations", 1, MAX_SHOTS, value=defaults.shots, **placed)


def _examples(placed: dict[str, Any], defaults: Defaults) -> None:
    st.number_input("Test rows per task, at most", 1, MAX_TEST_EXAMPLES, value=defaults.examples, **placed)


def _text(label: str, name: str, help_text: str) -> Callable[[dict[str, Any], Defaults], None]:
    def draw(placed: dict[str, Any], defaults: Defaults) -> None:
        st.text_input(label, value=getattr(defaults, name), max_chars=1000, help=help_text, **placed)

    return draw


def _one_of(label: str, name: str, options: Sequence[str]) -> Callable[[dict[str, Any], Defaults], None]:
    def draw(placed: dict[str, Any], defaults: Defaults) -> None:
        value = getattr(defaults, name)
        known = list(options) if value in options else [*options, value]
        one_of(label, known, default=value, **placed)

    return draw


_WIDGETS: dict[str, Callable[[dict[str, Any], Defaults], None]] = {
    "model": _models,
    "checkpoints": _checkpoints,
    "task": _tasks,
    "setting": _settings,
    "seeds": _seeds_field,
    "shots": _shots,
    "examples": _examples,
    "local": _text("Folder or GGUF file of your own", "local", "Absolute path on the machine that runs the app."),
    "name": _text(
        "Name of your model", "name", "What its results are called; leave empty to take the name from its path."
    ),
    "order": _text(
        "Order",
        "order",
        "Your checkpoints in the order of training, separated by commas, if the names of their folders do not tell it.",
    ),
    "template": _one_of("Template", "template", TEMPLATES),
    "words": _one_of("Label words", "words", WORD_SETS),
    "alphabet": _one_of("Symbols of the abstract setting", "alphabet", get_args(Alphabet)),
    "sampling": _one_of("How demonstrations are drawn", "sampling", get_args(Sampling)),
    "dtype": _one_of("Number format", "dtype", DTYPES),
    "attention": _one_of("Attention", "attention", ATTENTIONS),
    "data": _text(
        "Data directory", "data", "A folder in Hub layout, to work without a network; leave empty for the Hub."
    ),
}
