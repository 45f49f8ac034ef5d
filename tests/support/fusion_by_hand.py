"""What members and fusions answer, in plain steps from the made-up scores of ``tests/analysis/conftest.py`` alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
ScoresFor = Callable[[str, str], FloatArray]
Member = tuple[str, int, str]
"""Model, step, label setting."""

GOLD = {"a": [0, 0, 1, 1, 0, 1], "b": [0, 1, 2, 2, 1, 0]}
SEEDS = (13, 21)
STEPS = (0, 10, 20)


class ByHand:
    """Measures by task, mean over seeds, under one measure and one normalisation."""

    def __init__(self, scores_for: ScoresFor, *, measure: str = "accuracy", normalisation: str = "sum") -> None:
        self.scores_for, self.measure, self.calibrated = scores_for, measure, normalisation == "calibrated"

    def probs(self, member: Member, seed: int, task: str, *, split: str = "test") -> FloatArray:
        model, step, setting = member
        cell = f"{model}{step}{setting}{seed}{task}{split}"
        scores = self.scores_for(cell, task)
        if self.calibrated:
            scores = scores - self.scores_for(f"{cell}content-free", task)[0]
        return np.asarray(np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True))

    def measured(self, probs: FloatArray, task: str) -> float:
        named, gold = probs.argmax(axis=-1), np.array(GOLD[task])
        if self.measure == "accuracy":
            return float((named == gold).mean())
        hits = [2 * np.sum((named == gold) & (gold == label)) for label in set(gold)]
        counts = [np.sum(named == label) + np.sum(gold == label) for label in set(gold)]
        return float(np.mean(np.divide(hits, counts)))

    def dev_accuracy(self, member: Member, task: str) -> float:
        named = [self.probs(member, seed, task, split="dev").argmax(axis=-1) for seed in SEEDS]
        return float(np.mean([labels == GOLD[task] for labels in named]))

    def ranked(self, model: str, setting: str) -> list[int]:
        """Steps by development accuracy, ties to the earlier."""
        means = {
            step: np.mean([self.dev_accuracy((model, step, setting), task) for task in GOLD]).round(9) for step in STEPS
        }
        return sorted(STEPS, key=lambda step: (-means[step], step))

    def weighted(self, members: Sequence[Member], weights: dict[str, Sequence[float]]) -> dict[str, float]:
        found = {}
        for task in GOLD:
            values = []
            for seed in SEEDS:
                parts = zip(weights[task], (self.probs(member, seed, task) for member in members), strict=True)
                values.append(self.measured(np.sum([w * probs for w, probs in parts], axis=0), task))
            found[task] = float(np.mean(values))
        return found

    def alone(self, member: Member) -> dict[str, float]:
        return self.weighted([member], {task: [1] for task in GOLD})

    def equal(self, *members: Member) -> dict[str, float]:
        return self.weighted(members, dict.fromkeys(GOLD, [1 / len(members)] * len(members)))

    def adaptive(self, *members: Member) -> dict[str, float]:
        """Eq. 6 for each task."""
        accuracies = {task: [self.dev_accuracy(member, task) for member in members] for task in GOLD}
        return self.weighted(members, {task: shares(accuracies[task], 1 / (2 + (task == "b"))) for task in GOLD})

    def pooled(self, *members: Member) -> dict[str, float]:
        """Eq. 6 once, from mean accuracies and mean chance."""
        means = [float(np.mean([self.dev_accuracy(member, task) for task in GOLD])) for member in members]
        return self.weighted(members, dict.fromkeys(GOLD, shares(means, (1 / 2 + 1 / 3) / 2)))


def shares(accuracies: Sequence[float], chance: float) -> list[float]:
    excess = [max(round(accuracy - chance, 9), 0) for accuracy in accuracies]
    return [each / sum(excess) for each in excess] if sum(excess) else [1 / len(excess)] * len(excess)
