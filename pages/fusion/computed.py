"""What the fusion page shows, computed once per state of the store; reruns of the page read small results only.

There is no arithmetic here. Every argument that changes a result is in the key under which the result is kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from icl_core.analysis.fusion.comparison import (
    GAIN_MEASURES,
    Entry,
    EntryAnswers,
    EntryKind,
    EntryScore,
    Gain,
    fusion_entries,
    gains_over,
    main_fusion,
    prompt_tflops,
    scored_entries,
)
from icl_core.analysis.fusion.gains import Diversity, QueryDifference, answer_differences, diversity
from icl_core.analysis.fusion.grids import AblationRow, PairGrid, ablation_grid, pair_grid
from icl_core.analysis.fusion.members import (
    ROLE_BY_SETTING,
    FusionMember,
    MemberResults,
    ModelSplits,
    collect_members,
    shared_tasks,
)
from icl_core.analysis.fusion.selection import choose_member, choose_members
from icl_core.analysis.fusion.weights import WeightCurve, WeightKind, weight_curve
from icl_core.analysis.predictions import Normalisation
from icl_core.analysis.statistics import Measure
from icl_core.errors import StudyError
from icl_core.evaluation.cost import flops_of_prompts
from icl_core.evaluation.fusion_data import FusionResults, collect_results
from icl_core.evaluation.study import Study
from icl_core.records import CheckpointRef, LabelSetting
from pages.ui.data import cached

__all__ = [
    "Asked",
    "Comparison",
    "FurtherMember",
    "Menu",
    "ablation",
    "comparison",
    "costs",
    "differences",
    "gains",
    "grid",
    "has_mixed",
    "label_words",
    "member_diversity",
    "menu",
]


@dataclass(frozen=True, slots=True)
class FurtherMember:
    """A member beside the TR and the TL member; without a checkpoint, the best one on the development set is taken."""

    model: str
    label_setting: LabelSetting
    checkpoint: CheckpointRef | None

    @property
    def role(self) -> str:
        """TR, TL or ICL."""
        return ROLE_BY_SETTING[self.label_setting]


@dataclass(frozen=True, slots=True)
class Asked:
    """Which fusion is shown, and how it is scored; all of it is in the cache keys.

    Attributes:
        study: whose results.
        tr_model, tl_model: names.
        tr, tl: members chosen by hand; None for the best on the development set.
        measure, normalisation: of the analysis.
        further: members beside these two.
    """

    study: Study
    tr_model: str
    tl_model: str
    tr: CheckpointRef | None
    tl: CheckpointRef | None
    measure: Measure
    normalisation: Normalisation
    further: tuple[FurtherMember, ...] = ()


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


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """One fusion beside its baselines: what the first screen needs, small enough to be read at every move of a slider.

    Attributes:
        members: the TR and the TL member come first.
        tasks: names.
        curve: the measure against w; None for more than two members.
        lines: fusions and baselines, under the measure asked for.
        equal_for_want: tasks on which no member is above chance on the development set, so that all weigh the same.
        chance: mean over tasks.
        n_seeds, n_examples: of the test results (examples over all tasks).
        has_dev: whether weights and choices could be made on the development set.
    """

    members: tuple[FusionMember, ...]
    tasks: tuple[str, ...]
    curve: WeightCurve | None
    lines: tuple[EntryScore, ...]
    equal_for_want: tuple[str, ...]
    chance: float
    n_seeds: int
    n_examples: int
    has_dev: bool

    @property
    def tr(self) -> CheckpointRef:
        """The TR member's checkpoint."""
        return self.members[0].checkpoint

    @property
    def tl(self) -> CheckpointRef:
        """The TL member's checkpoint."""
        return self.members[1].checkpoint

    @property
    def main(self) -> EntryScore:
        """The fusion that is the page's result: adaptive weights, or equal ones without development results."""
        entry = main_fusion([line.entry for line in self.lines])
        return next(line for line in self.lines if line.entry == entry)

    def of_kind(self, *kinds: EntryKind) -> tuple[EntryScore, ...]:
        """The lines of these kinds."""
        return tuple(line for line in self.lines if line.entry.kind in kinds)

    def fusion(self, weight_kind: WeightKind) -> EntryScore | None:
        """The fusion of the members' predictions under these weights."""
        fusions = self.of_kind("fusion", "upper bound")
        return next((line for line in fusions if line.entry.weight_kind == weight_kind), None)


def _state(asked: Asked) -> str:
    """Any result may take part: those of other models are baselines."""
    return cached.state_of_store(asked.study)


@cached.kept(cached.state_of_store, is_shared=True, max_entries=4, show_spinner="Reading results of both splits")
def _results(study: Study, normalisation: Normalisation) -> FusionResults:
    return collect_results(study, cached.store(), normalisation=normalisation)


@cached.kept(cached.state_of_store, max_entries=8, show_spinner=False)
def menu(study: Study) -> tuple[dict[str, Menu], dict[str, str]]:
    """What can be chosen, by model, and models that cannot be used, with the reason."""
    results = _results(study, "sum")
    found = {}
    for model, splits in results.models.items():
        test = splits.test
        present: dict[LabelSetting, tuple[CheckpointRef, ...]] = {
            setting: tuple(
                ref
                for index, ref in enumerate(test.checkpoints)
                if any(scores.present[index].all() for (_, kind), scores in test.settings.items() if kind == setting)
            )
            for setting in ROLE_BY_SETTING
        }
        if present["random"] or present["abstract"]:
            found[model] = Menu(present, splits.dev is not None)
    return found, dict(results.problems)


def _splits(results: FusionResults, model: str) -> ModelSplits:
    if model not in results.models:
        raise StudyError(f"{model} has no results in this study; evaluate it first.")
    return results.models[model]


def _members(asked: Asked, results: FusionResults) -> tuple[MemberResults, ...]:
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


@cached.kept(_state, of=Asked, max_entries=8, show_spinner="Lining up fusions and baselines")
def _entries(asked: Asked) -> tuple[EntryAnswers, ...]:
    results = _results(asked.study, asked.normalisation)
    members = _members(asked, results)
    return fusion_entries(
        members,
        normalisation=asked.normalisation,
        others=tuple(results.others.values()),
        mixed=results.mixed_of(members[0].checkpoint, members[1].checkpoint),
    )


@cached.kept(_state, of=Asked, max_entries=32, show_spinner="Computing accuracy against w")
def comparison(asked: Asked) -> Comparison:
    """One fusion beside its baselines.

    Raises:
        StudyError: results are missing or do not line up; the sentence says which.
    """
    results = _results(asked.study, asked.normalisation)
    members = _members(asked, results)
    entries = _entries(asked)
    tasks = shared_tasks([(each.model, each.label_setting) for each in members])
    data = collect_members(members, tasks=tasks, normalisation=asked.normalisation)
    first = next((each.weights for each in entries if each.weights is not None), None)
    return Comparison(
        members=tuple(each.member for each in members),
        tasks=tasks,
        curve=weight_curve(data, measure=asked.measure) if len(members) == 2 else None,
        lines=scored_entries(entries, measure=asked.measure),
        equal_for_want=first.equal_for_want_of_excess if first is not None else (),
        chance=data.chance,
        n_seeds=len(data.demo_seeds),
        n_examples=data.n_examples,
        has_dev=any(each.entry.weight_kind == "adaptive" for each in entries),
    )


@cached.kept(_state, of=Asked, max_entries=32, show_spinner=False)
def has_mixed(asked: Asked) -> bool:
    """Whether mixed parameters of the TR and the TL member are evaluated, in any proportion.

    Raises:
        StudyError: as ``comparison``.
    """
    results = _results(asked.study, asked.normalisation)
    members = _members(asked, results)
    return bool(results.mixed_of(members[0].checkpoint, members[1].checkpoint))


def _answers(asked: Asked, entry: Entry) -> EntryAnswers:
    found = next((each for each in _entries(asked) if each.entry == entry), None)
    if found is None:
        raise StudyError(f"There is nothing called {entry.title} among these fusions and baselines.")
    return found


@cached.kept(_state, of=Asked, max_entries=128, show_spinner="Testing the gain")
def gains(asked: Asked, entry: Entry, baseline: Entry) -> dict[str, Gain]:
    """The gain of one entry over another by measure: accuracy, balanced accuracy, and the one asked for."""
    ours, theirs = (_answers(asked, each) for each in (entry, baseline))
    measures = tuple(dict.fromkeys((asked.measure, *GAIN_MEASURES)))
    return {gain.measure: gain for gain in gains_over(ours, [theirs], measures=measures)}


def _pair(asked: Asked) -> tuple[ModelSplits, ModelSplits]:
    results = _results(asked.study, asked.normalisation)
    return _splits(results, asked.tr_model), _splits(results, asked.tl_model)


@cached.kept(_state, of=Asked, max_entries=16, show_spinner="Fusing checkpoints chosen in other ways")
def ablation(asked: Asked) -> tuple[AblationRow, ...]:
    """Table 3 for these models.

    Raises:
        StudyError: a model has no results in the study, or results are missing or do not line up.
    """
    return ablation_grid(*_pair(asked), measure=asked.measure, normalisation=asked.normalisation)


@cached.kept(_state, of=Asked, max_entries=8, show_spinner="Fusing every pair of checkpoints")
def grid(asked: Asked) -> PairGrid:
    """Every TR checkpoint fused with every TL checkpoint.

    Raises:
        StudyError: as ``ablation``.
    """
    return pair_grid(*_pair(asked), measure=asked.measure, normalisation=asked.normalisation)


@cached.kept(_state, of=Asked, max_entries=32, show_spinner="Counting the tokens of a prompt")
def _flops(asked: Asked, refs: tuple[CheckpointRef, ...]) -> dict[str, float]:
    return flops_of_prompts(asked.study, cached.store(), checkpoints=refs)


def costs(asked: Asked, entries: Sequence[Entry]) -> dict[Entry, float | None]:
    """TFLOPs of one whole prompt of each entry; None if a model's shape is not known."""
    refs = {ref.model: ref for entry in entries for ref in entry.checkpoints}
    flops = _flops(asked, tuple(refs.values()))
    return {entry: prompt_tflops(entry, flops) for entry in entries}


@cached.kept(_state, of=Asked, max_entries=32, show_spinner=False)
def differences(asked: Asked, entry: Entry, baseline: Entry, *, task: str) -> tuple[QueryDifference, ...]:
    """The queries of a task that two entries answer differently."""
    ours, theirs = (_answers(asked, each) for each in (entry, baseline))
    return answer_differences(ours.answers, theirs.answers, task=task)


@cached.kept(_state, of=Asked, max_entries=32, show_spinner=False)
def member_diversity(asked: Asked) -> dict[tuple[Entry, Entry], Diversity]:
    """How differently the members answer, by pair."""
    members = [each for each in _entries(asked) if each.entry.kind == "member"]
    return {(a.entry, b.entry): diversity(a.answers, b.answers) for a, b in itertools.combinations(members, 2)}


def label_words(asked: Asked, task: str) -> tuple[str, ...]:
    """The label words of a task."""
    return _pair(asked)[0].test.label_words[task]
