"""What the fusion page shows, computed once for a state of the store: reruns of the page read small results only.

It holds no arithmetic of its own. Every argument that changes a result is in the cache key.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from icl_core.analysis.fusion import Member, ModelSplits, WeightCurve, collect_members, weight_curve
from icl_core.analysis.fusion_report import (
    GAIN_MEASURES,
    ROLES,
    Entry,
    EntryScore,
    Gain,
    PairGrid,
    choose_member,
    choose_members,
    fusion_entries,
    gains_over,
    pair_grid,
    scored_entries,
    shared_tasks,
)
from icl_core.analysis.gains import Diversity, QueryDifference, answer_differences, diversity
from icl_core.analysis.predictions import Normalisation
from icl_core.analysis.selection import AblationRow, ablation_grid
from icl_core.analysis.statistics import Measure
from icl_core.errors import CheckpointError, StudyError
from icl_core.evaluation.cost import flops_of_prompts
from icl_core.evaluation.fusion_data import FusionResults, collect_results
from icl_core.evaluation.study import Study, study_from_json, study_to_json
from icl_core.models.parameter_fusion import fusion_parents
from icl_core.records import CheckpointRef, LabelSetting
from pages.ui import cached

__all__ = [
    "Asked",
    "Further",
    "Line",
    "Shown",
    "ablation",
    "differences",
    "flops",
    "gains",
    "grid",
    "has_mixed",
    "label_words",
    "member_diversity",
    "menu",
    "shown",
]


@dataclass(frozen=True, slots=True)
class Further:
    """A member beside the TR and the TL member; without a checkpoint the one that is best on the development set."""

    model: str
    label_setting: LabelSetting
    checkpoint: CheckpointRef | None

    @property
    def role(self) -> str:
        """TR, TL or ICL."""
        return ROLES[self.label_setting]


@dataclass(frozen=True, slots=True)
class Asked:
    """Which fusion is looked at, and how; all of it is in the cache keys.

    Attributes:
        study: as canonical JSON.
        tr_model, tl_model: names.
        tr, tl: the members by hand, None for those that are best on the development set.
        measure, normalisation: of the analysis.
        further: members beside these two.
    """

    study: str
    tr_model: str
    tl_model: str
    tr: CheckpointRef | None
    tl: CheckpointRef | None
    measure: Measure
    normalisation: Normalisation
    further: tuple[Further, ...] = ()


@dataclass(frozen=True, slots=True)
class Menu:
    """What can be chosen of one model: checkpoints by role, and whether there are development results."""

    by_setting: Mapping[LabelSetting, tuple[CheckpointRef, ...]]
    has_dev: bool

    @property
    def tr(self) -> tuple[CheckpointRef, ...]:
        """Checkpoints that can be the TR member."""
        return self.by_setting["random"]

    @property
    def tl(self) -> tuple[CheckpointRef, ...]:
        """Checkpoints that can be the TL member."""
        return self.by_setting["abstract"]


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of the comparison with its numbers.

    Attributes:
        entry: names, kind, checkpoints and weights; its answers are left out where lines are cached.
        score: under the measure asked for.
        weight: mean over tasks of the first of two members' weight; None for what is no fusion of two.
        weights_by_task: of a fusion, one weight a member.
        mixed_weight: w of mixed parameters.
    """

    name: str
    kind: str
    checkpoints: tuple[CheckpointRef, ...]
    score: EntryScore
    weight: float | None
    weights_by_task: Mapping[str, tuple[float, ...]]
    mixed_weight: float | None


@dataclass(frozen=True, slots=True)
class Shown:
    """Everything that the first screen needs, small enough to be read on every move of a slider.

    Attributes:
        members: role and checkpoint of each; the TR and the TL member come first.
        tasks: names.
        curve: the measure against w; None for more than two members.
        lines: fusions and baselines.
        equal_for_want: tasks where no member is above chance on the development set.
        chance: mean over tasks.
        n_seeds, n_examples: of the test results (examples over all tasks).
        has_dev: whether weights and choices could be made on the development set.
    """

    members: tuple[tuple[str, CheckpointRef], ...]
    tasks: tuple[str, ...]
    curve: WeightCurve | None
    lines: tuple[Line, ...]
    equal_for_want: tuple[str, ...]
    chance: float
    n_seeds: int
    n_examples: int
    has_dev: bool

    @property
    def tr(self) -> CheckpointRef:
        """The TR member."""
        return self.members[0][1]

    @property
    def tl(self) -> CheckpointRef:
        """The TL member."""
        return self.members[1][1]

    def of_kind(self, *kinds: str) -> tuple[Line, ...]:
        """The lines of these kinds."""
        return tuple(line for line in self.lines if line.kind in kinds)

    def named(self, name: str) -> Line | None:
        """The line of this name."""
        return next((line for line in self.lines if line.name == name), None)


@st.cache_resource(max_entries=4, show_spinner="Reading results of both splits")  # large, and never changed
def _results(study: str, normalisation: Normalisation, generation: str) -> FusionResults:
    return collect_results(study_from_json(study), cached.store(), normalisation=normalisation)


@st.cache_data(max_entries=8, show_spinner=False)
def _menu(study: str, generation: str) -> tuple[dict[str, Menu], dict[str, str]]:
    results = _results(study, "sum", generation)
    found = {}
    for model, splits in results.models.items():
        test = splits.test
        present: dict[LabelSetting, tuple[CheckpointRef, ...]] = {
            setting: tuple(
                ref
                for index, ref in enumerate(test.checkpoints)
                if any(scores.present[index].all() for (_, kind), scores in test.settings.items() if kind == setting)
            )
            for setting in ROLES
        }
        if present["random"] or present["abstract"]:
            found[model] = Menu(present, splits.dev is not None)
    return found, dict(results.problems)


def menu(study: Study) -> tuple[dict[str, Menu], dict[str, str]]:
    """What can be chosen, by model, and models that cannot be used, with the reason."""
    return _menu(study_to_json(study), cached.generation())


def _splits(results: FusionResults, model: str) -> ModelSplits:
    if model not in results.models:
        raise StudyError(f"{model} has no results in this study; evaluate it first.")
    return results.models[model]


def _members(asked: Asked, results: FusionResults) -> tuple[Member, ...]:
    pair = choose_members(
        _splits(results, asked.tr_model),
        _splits(results, asked.tl_model),
        tr=asked.tr,
        tl=asked.tl,
        normalisation=asked.normalisation,
    )
    further = [
        choose_member(
            _splits(results, each.model),
            each.label_setting,
            checkpoint=each.checkpoint,
            normalisation=asked.normalisation,
        )
        for each in asked.further
    ]
    return (*pair, *further)


@st.cache_data(max_entries=8, show_spinner="Lining up fusions and baselines")
def _entries(asked: Asked, generation: str) -> tuple[Entry, ...]:
    results = _results(asked.study, asked.normalisation, generation)
    members = _members(asked, results)
    return fusion_entries(
        members,
        normalisation=asked.normalisation,
        others=tuple(results.others.values()),
        mixed=results.mixed_of(members[0].checkpoint, members[1].checkpoint),
    )


@st.cache_data(max_entries=32, show_spinner="Computing accuracy against w")
def _shown(asked: Asked, generation: str) -> Shown:
    results = _results(asked.study, asked.normalisation, generation)
    members = _members(asked, results)
    entries = _entries(asked, generation)
    tasks = shared_tasks([(member.model, member.label_setting) for member in members])
    data = collect_members(members, tasks=tasks, normalisation=asked.normalisation)
    scores = scored_entries(entries, measure=asked.measure)
    first = next((entry.weights for entry in entries if entry.weights is not None), None)
    return Shown(
        members=tuple((ROLES[member.label_setting], member.checkpoint) for member in members),
        tasks=tasks,
        curve=weight_curve(data, measure=asked.measure) if len(members) == 2 else None,
        lines=tuple(_line(entry, score) for entry, score in zip(entries, scores, strict=True)),
        equal_for_want=first.equal_for_want_of_excess if first is not None else (),
        chance=sum(task.chance for task in data.tasks.values()) / len(data.tasks),
        n_seeds=len(data.demo_seeds),
        n_examples=sum(task.gold.size for task in data.tasks.values()),
        has_dev=any(entry.weights is not None and entry.weights.kind == "adaptive" for entry in entries),
    )


@st.cache_data(max_entries=32, show_spinner=False)
def _has_mixed(asked: Asked, generation: str) -> bool:
    results = _results(asked.study, asked.normalisation, generation)
    members = _members(asked, results)
    return bool(results.mixed_of(members[0].checkpoint, members[1].checkpoint))


def has_mixed(asked: Asked) -> bool:
    """Whether mixed parameters of the TR and the TL member are evaluated, in any proportion.

    Raises:
        StudyError: as ``shown``.
    """
    return _has_mixed(asked, cached.generation())


def _line(entry: Entry, score: EntryScore) -> Line:
    is_fusion = entry.weights is not None and entry.kind in ("fusion", "upper bound")
    weights = {t: tuple(w.tolist()) for t, w in entry.weights.by_task.items()} if is_fusion and entry.weights else {}
    firsts = [each[0] for each in weights.values() if len(each) == 2]
    return Line(
        name=entry.name,
        kind=entry.kind,
        checkpoints=entry.checkpoints,
        score=score,
        weight=sum(firsts) / len(firsts) if firsts else None,
        weights_by_task=weights,
        mixed_weight=_mixed_weight(entry.checkpoints[0]),
    )


def _mixed_weight(ref: CheckpointRef) -> float | None:
    try:
        return fusion_parents(ref).weight
    except CheckpointError:
        return None


def shown(asked: Asked) -> Shown:
    """The first screen.

    Raises:
        StudyError: results are missing or do not line up; the sentence says which.
    """
    return _shown(asked, cached.generation())


def _entry(asked: Asked, name: str, generation: str) -> Entry:
    found = next((entry for entry in _entries(asked, generation) if entry.name == name), None)
    if found is None:
        raise StudyError(f"There is nothing called {name} among these fusions and baselines.")
    return found


@st.cache_data(max_entries=128, show_spinner="Testing the gain")
def _gain(asked: Asked, name: str, baseline: str, generation: str) -> tuple[Gain, ...]:
    entry, other = (_entry(asked, each, generation) for each in (name, baseline))
    return gains_over(entry, [other], measures=tuple(dict.fromkeys((asked.measure, *GAIN_MEASURES))))


def gains(asked: Asked, name: str, baseline: str) -> dict[str, Gain]:
    """The gain of one entry over another by measure: accuracy, balanced accuracy, and the one asked for."""
    return {gain.measure: gain for gain in _gain(asked, name, baseline, cached.generation())}


@st.cache_data(max_entries=16, show_spinner="Fusing checkpoints chosen in other ways")
def _ablation(asked: Asked, generation: str) -> tuple[AblationRow, ...]:
    results = _results(asked.study, asked.normalisation, generation)
    models = results.models[asked.tr_model], results.models[asked.tl_model]
    return ablation_grid(*models, measure=asked.measure, normalisation=asked.normalisation)


def ablation(asked: Asked) -> tuple[AblationRow, ...]:
    """Table 3 for these models."""
    return _ablation(asked, cached.generation())


@st.cache_data(max_entries=8, show_spinner="Fusing every pair of checkpoints")
def _grid(asked: Asked, generation: str) -> PairGrid:
    results = _results(asked.study, asked.normalisation, generation)
    models = results.models[asked.tr_model], results.models[asked.tl_model]
    return pair_grid(*models, measure=asked.measure, normalisation=asked.normalisation)


def grid(asked: Asked) -> PairGrid:
    """Every TR checkpoint fused with every TL checkpoint."""
    return _grid(asked, cached.generation())


@st.cache_data(max_entries=32, show_spinner="Counting the tokens of a prompt")
def _flops(asked: Asked, refs: tuple[CheckpointRef, ...], generation: str) -> dict[str, float]:
    return flops_of_prompts(study_from_json(asked.study), cached.store(), checkpoints=refs)


def flops(asked: Asked, found: Shown) -> dict[str, float]:
    """Operations of one whole prompt by model name; 0 where a model's shape is not known."""
    refs = {ref.model: ref for line in found.lines for ref in line.checkpoints}
    return _flops(asked, tuple(refs.values()), cached.generation())


@st.cache_data(max_entries=32, show_spinner=False)
def _differences(asked: Asked, name: str, baseline: str, task: str, generation: str) -> tuple[QueryDifference, ...]:
    entry, other = (_entry(asked, each, generation) for each in (name, baseline))
    return answer_differences(entry.answers, other.answers, task=task)


def differences(asked: Asked, name: str, baseline: str, *, task: str) -> tuple[QueryDifference, ...]:
    """The queries of a task that two entries answer differently."""
    return _differences(asked, name, baseline, task, cached.generation())


@st.cache_data(max_entries=32, show_spinner=False)
def _diversity(asked: Asked, generation: str) -> dict[tuple[str, str], Diversity]:
    members = [entry for entry in _entries(asked, generation) if entry.kind == "member"]
    return {(a.name, b.name): diversity(a.answers, b.answers) for a, b in itertools.combinations(members, 2)}


def member_diversity(asked: Asked) -> dict[tuple[str, str], Diversity]:
    """How differently the members answer, by pair of names."""
    return _diversity(asked, cached.generation())


@st.cache_data(max_entries=32, show_spinner=False)
def _words(asked: Asked, task: str, generation: str) -> tuple[str, ...]:
    return _results(asked.study, asked.normalisation, generation).models[asked.tr_model].test.label_words[task]


def label_words(asked: Asked, task: str) -> tuple[str, ...]:
    """The label words of a task."""
    return _words(asked, task, cached.generation())
