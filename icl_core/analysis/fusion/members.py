"""The members of a fusion: checkpoints in their roles, with their stored results lined up query by query.

``selection`` chooses them, ``weights`` weighs them. Here stored scores are used and no model is loaded; ``models``
mixes parameters. Source: arXiv 2406.14022, section 4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from icl_core.analysis.fusion.equations import label_probs
from icl_core.analysis.predictions import Normalisation, Predictions, SettingLabels, SettingScores, select_scores
from icl_core.errors import StudyError
from icl_core.records import ABILITY_BY_SETTING, CheckpointRef, LabelSetting

__all__ = [
    "ROLE_BY_SETTING",
    "FusionData",
    "FusionMember",
    "FusionTask",
    "MemberResults",
    "ModelSplits",
    "collect_members",
    "shared_tasks",
]

FloatArray = npt.NDArray[np.float64]
LabelArray = npt.NDArray[np.int16]

ROLE_BY_SETTING: Mapping[LabelSetting, str] = MappingProxyType(
    dict(sorted(ABILITY_BY_SETTING.items(), key=lambda item: item[0] == "gold"))
)
"""The role of a member (TR, TL or ICL) by its label setting; the usual pair comes first."""


@dataclass(frozen=True, slots=True)
class FusionMember:
    """One checkpoint in the label setting in which it takes part: random for TR, abstract for TL, gold for ICL."""

    checkpoint: CheckpointRef
    label_setting: LabelSetting

    @property
    def role(self) -> str:
        """TR, TL or ICL."""
        return ROLE_BY_SETTING[self.label_setting]

    @property
    def checkpoint_title(self) -> str:
        """Model, and weight file or revision: the checkpoint in tables."""
        return f"{self.checkpoint.model} {self.checkpoint.weight_file or self.checkpoint.revision}"

    @property
    def title(self) -> str:
        """The checkpoint and the setting, for sentences."""
        return f"{self.checkpoint_title} ({self.label_setting})"


@dataclass(frozen=True, slots=True, eq=False)
class ModelSplits:
    """A model's test results and its development results, which are needed to choose or weigh its checkpoints.

    Attributes:
        test: with scores, or only with predicted labels if scores are read on demand.
        dev: with scores or without.
        read_scores: reads the test scores of one checkpoint in one setting; None if ``test`` holds them.
    """

    test: Predictions
    dev: Predictions | None = None
    read_scores: Callable[[CheckpointRef, LabelSetting], Predictions] | None = None

    def scores(self, checkpoint: CheckpointRef, label_setting: LabelSetting) -> Predictions:
        """Test results with the scores of at least one checkpoint in one setting."""
        return self.test if self.read_scores is None else self.read_scores(checkpoint, label_setting)

    def development(self) -> Predictions:
        """The development results.

        Raises:
            StudyError: there are none.
        """
        if self.dev is None:
            raise StudyError(
                f"{self.test.model} has no development results; evaluate split dev to choose checkpoints or weights."
            )
        return self.dev


@dataclass(frozen=True, slots=True, eq=False)
class MemberResults:
    """A member with the results of its model."""

    model: ModelSplits
    checkpoint: CheckpointRef
    label_setting: LabelSetting

    @property
    def member(self) -> FusionMember:
        """The member without its results."""
        return FusionMember(self.checkpoint, self.label_setting)

    @property
    def title(self) -> str:
        """The member's title."""
        return self.member.title

    def scores(self, task: str, demo_seeds: Sequence[int]) -> SettingScores:
        """Its test scores on one task, (1, n_seeds, ...).

        Raises:
            StudyError: the checkpoint, the task or a seed is missing.
        """
        predictions = self.model.scores(self.checkpoint, self.label_setting)
        at, seeds = self.place(predictions, task, demo_seeds)
        return select_scores(predictions.setting_scores(task, self.label_setting), checkpoints=[at], seeds=seeds)

    def place(self, predictions: Predictions, task: str, demo_seeds: Sequence[int]) -> tuple[int, list[int]]:
        """The positions of its checkpoint and of the seeds in the predictions of its model on one task.

        Raises:
            StudyError: the checkpoint, the task or a seed is missing.
        """
        found = predictions.setting(task, self.label_setting)
        at = predictions.checkpoint_index(self.checkpoint)
        missing = [seed for seed in demo_seeds if seed not in _present_seeds(predictions, found, at)]
        if missing:
            raise StudyError(
                f"{self.title} has no results on {task} (split {predictions.split}) for demo seeds {missing}; "
                "evaluate them or leave the seeds out."
            )
        return at, [predictions.demo_seeds.index(seed) for seed in demo_seeds]


def _present_seeds(
    predictions: Predictions, found: SettingScores | SettingLabels, checkpoint_index: int
) -> tuple[int, ...]:
    present = found.present[checkpoint_index]
    return tuple(seed for seed, there in zip(predictions.demo_seeds, present, strict=True) if there)


@dataclass(frozen=True, slots=True, eq=False)
class FusionTask:
    """One task's label_probs from all members, in one order.

    Attributes:
        label_probs: for each member (n_seeds, n_examples, n_choices).
        gold: (n_examples,).
        row_ids: (n_examples,).
        label_words: (n_choices,) natural words.
    """

    label_probs: tuple[FloatArray, ...]
    gold: LabelArray
    row_ids: tuple[str, ...]
    label_words: tuple[str, ...]

    @property
    def chance(self) -> float:
        """1 / n_labels."""
        return 1 / len(self.label_words)


@dataclass(frozen=True, slots=True, eq=False)
class FusionData:
    """Members that answered the same queries under the same demonstrations.

    Attributes:
        members: at least one.
        tasks: by name.
        demo_seeds: seeds of the second axis.
        normalisation: of the scores.
    """

    members: tuple[MemberResults, ...]
    tasks: Mapping[str, FusionTask]
    demo_seeds: tuple[int, ...]
    normalisation: Normalisation

    @property
    def chance(self) -> float:
        """Mean over tasks of the accuracy of guessing."""
        return sum(task.chance for task in self.tasks.values()) / len(self.tasks)

    @property
    def n_examples(self) -> int:
        """Queries of all tasks."""
        return sum(task.gold.size for task in self.tasks.values())


def shared_tasks(roles: Sequence[tuple[ModelSplits, LabelSetting]]) -> tuple[str, ...]:
    """The tasks that all models have in the settings of their roles, in the order of the first model.

    Raises:
        StudyError: there is none.
    """
    tests = [(model.test, setting) for model, setting in roles]
    tasks = tuple(t for t in tests[0][0].tasks if all((t, setting) in test.settings for test, setting in tests))
    if not tasks:
        who = " and ".join(f"{test.model} with {setting} labels" for test, setting in tests)
        raise StudyError(f"{who} have no task in common; evaluate one.")
    return tasks


def collect_members(
    members: Sequence[MemberResults],
    *,
    tasks: Sequence[str] | None = None,
    demo_seeds: Sequence[int] | None = None,
    normalisation: Normalisation = "sum",
) -> FusionData:
    """Lines up the members' label_probs.

    Args:
        members: checkpoints of any models, each in its setting.
        tasks: None for the first member's.
        demo_seeds: None for the first member's; all members must have exactly these.
        normalisation: of the scores.

    Raises:
        StudyError: a member lacks a task or a seed; or shots, seeds, rows, label order or gold labels differ.
    """
    if not members:
        raise StudyError("Fusion needs at least one member; choose a checkpoint.")
    first = members[0]
    names = tuple(tasks) if tasks is not None else first.model.test.tasks
    if not names:
        raise StudyError(f"{first.title} has no task in common to fuse on; evaluate one.")
    for member in members[1:]:
        _refuse_different_options(first, member)
    seeds = tuple(demo_seeds) if demo_seeds is not None else _common_seeds(members, names)
    collected = {}
    for name in names:
        parts = [member.scores(name, seeds) for member in members]
        for member, part in zip(members[1:], parts[1:], strict=True):
            _refuse_different_queries(name, (first, parts[0]), (member, part))
        probs = tuple(label_probs(part, normalisation=normalisation)[0] for part in parts)
        words = first.model.test.label_words[name]
        collected[name] = FusionTask(probs, parts[0].gold, parts[0].row_ids, words)
    return FusionData(tuple(members), collected, seeds, normalisation)


def _refuse_different_options(first: MemberResults, other: MemberResults) -> None:
    for option in ("n_shots", "sampling"):
        one, two = (member.model.test.options[option] for member in (first, other))
        if one != two:
            raise StudyError(
                f"{first.title} has {option} {one} and {other.title} has {two}; fuse members with equal demonstrations."
            )


def _common_seeds(members: Sequence[MemberResults], tasks: Sequence[str]) -> tuple[int, ...]:
    """The seeds of the first member on the first task; all other members and tasks must have the same."""
    found = {}
    for results in members:
        test = results.model.test
        for task in tasks:
            setting = test.setting(task, results.label_setting)
            found[results.member, task] = _present_seeds(test, setting, test.checkpoint_index(results.checkpoint))
    (first_member, first_task), first = next(iter(found.items()))
    for (member, task), seeds in found.items():
        if seeds != first:
            raise StudyError(
                f"Demo seeds differ: {first_member.title} on {first_task} has {list(first)}, {member.title} on {task} "
                f"has {list(seeds)}; evaluate what is missing or choose common seeds."
            )
    return first


def _refuse_different_queries(
    task: str, first: tuple[MemberResults, SettingScores], other: tuple[MemberResults, SettingScores]
) -> None:
    (one, one_scores), (two, two_scores) = first, other
    words = one.model.test.label_words[task], two.model.test.label_words[task]
    who = f"{one.title} and {two.title} on {task}"
    if words[0] != words[1]:
        raise StudyError(f"{who}: labels or their order differ ({list(words[0])} and {list(words[1])}).")
    if one_scores.row_ids != two_scores.row_ids:
        only = set(one_scores.row_ids) ^ set(two_scores.row_ids)
        what = f"{len(only)} rows are in only one, such as {min(only)}" if only else "the same rows in another order"
        raise StudyError(f"{who}: test rows differ ({what}); evaluate both on the same rows.")
    if not np.array_equal(one_scores.gold, two_scores.gold):
        raise StudyError(f"{who}: gold labels of the same rows differ; the datasets are not the same version.")
