"""The lab's data: classes of Gaussian exemplars with labels, and sequences of exemplar-label pairs before a query.

It trains and evaluates nothing; numpy only. Constructions: arXiv 2503.05631, sections 2 and 3 (ICL, CIWL, Flip, IWL),
with labels shared by many classes as in arXiv 2312.03002; copies, burstiness formats and swapping of arXiv 2501.06256.
Dimensions: n sequences, P pairs, L labels, K classes, D dimensions of an exemplar.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from icl_core.pretraining.lab.config import DataKnobs, LabConfig

__all__ = ["N_NOVEL", "Batch", "Mode", "World", "knobs_at", "make_world", "plain_knobs", "sample", "training_batches"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]
Mode = Literal["train", "icl", "icl_novel", "ciwl", "flip", "iwl", "tr", "tl"]
N_NOVEL = 256
"""Number of classes that training never shows."""
_WORLD_STREAM, _TRAINING_STREAM = 0, 1
_CHUNK = 32
"""Number of training steps drawn at once."""


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """All classes of a run.

    Attributes:
        config: the run.
        centres: (K + N_NOVEL, D) class centres, unit variance in each dimension; the last N_NOVEL are never trained.
        exemplars: (K + N_NOVEL, n_exemplars, D), unit variance in each dimension; (.., 0, D) if they are drawn fresh.
        class_labels: (K + N_NOVEL,) in-weights label of each class, -1 for novel ones.
    """

    config: LabConfig
    centres: FloatArray
    exemplars: FloatArray
    class_labels: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Sequences x1 l1 ... xP lP xq.

    Attributes:
        items: (n, P + 1, D) exemplars; the query is the last.
        labels: (n, P) labels as shown after each context item, 0 to L - 1.
        targets: (n,) the right label.
        classes: (n, P + 1) class of each item.
        true_labels: (n,) in-weights label of the query, -1 for a novel class.
        relabelling: (n, L) in mode tl the label shown for each true label; otherwise the identity.
    """

    items: FloatArray
    labels: IntArray
    targets: IntArray
    classes: IntArray
    true_labels: IntArray
    relabelling: IntArray


def make_world(config: LabConfig) -> World:
    """The classes of a run: a function of its data seed and data knobs."""
    data = config.data
    rng = np.random.Generator(np.random.PCG64([config.data_seed, _WORLD_STREAM]))
    n_classes = data.n_classes + N_NOVEL
    centres = rng.standard_normal((n_classes, data.n_dimensions), dtype=np.float32)
    exemplars = _around(centres[:, None].repeat(data.n_exemplars, axis=1), data.noise, rng)
    labels = np.arange(data.n_classes, dtype=np.int64) % data.n_labels
    return World(config, centres, exemplars, np.concatenate([labels, np.full(N_NOVEL, -1)]))


def _around(centres: FloatArray, noise: float, rng: np.random.Generator) -> FloatArray:
    """Exemplars of unit variance around centres."""
    deviations = rng.standard_normal(centres.shape, dtype=np.float32)
    scale = np.float32(np.sqrt(1 + noise**2))
    return ((centres + np.float32(noise) * deviations) / scale).astype(np.float32, copy=False)


def plain_knobs(knobs: DataKnobs, *, copy_probability: float = 0.0) -> DataKnobs:
    """The knobs of evaluation sets: the same classes and lengths without interventions.

    The context holds the query's class, labels are the true ones, and copies occur with the given probability.
    """
    return replace(knobs, p_bursty=1.0, label_swapping=0.0, mapping="fixed", copy_probability=copy_probability)


def knobs_at(config: LabConfig, step: int) -> DataKnobs:
    """The data of a step (from 1): the second phase's after the switch."""
    if config.second_data is None or config.switch_step is None or step <= config.switch_step:
        return config.data
    return config.second_data


# Sequences


def sample(
    world: World,
    knobs: DataKnobs,
    *,
    mode: Mode,
    n: int,
    rng: np.random.Generator,
    queries: tuple[IntArray, IntArray] | None = None,
) -> Batch:
    """Draws sequences.

    From generators in the same state, the modes train, flip, tr, tl, icl, ciwl and iwl draw the same queries. They also
    draw the same context items in the same order, except those that a mode replaces.

    Args:
        world: the classes.
        knobs: of the data. Interventions (copies, swapping, p_bursty, mapping) act in all modes, so evaluation sets
            take ``plain_knobs``.
        mode: ``train`` as in training; ``icl`` random distinct context labels; ``icl_novel`` the same with classes that
            training never shows; ``ciwl`` the query's class is absent and its label occurs once, on another class;
            ``flip`` the query's class and another one swap labels, and the target is the swapped label; ``iwl`` class
            and label of the query are absent; ``tr`` each item's label is drawn from all labels, and the target is the
            true label; ``tl`` one permutation per sequence relabels all labels and the target.
        n: number of sequences.
        rng: the source of randomness.
        queries: (n,) classes and (n,) exemplars of the queries; None draws them. The exemplars are not used if they are
            fresh every time.
    """
    chosen = queries and queries[0]
    classes, stand_ins = _draw_classes(world, knobs, n=n, rng=rng, novel=mode == "icl_novel", queries=chosen)
    absent = _absent_rows(knobs, mode, n=n, rng=rng)
    groups = _draw_groups(knobs, n, rng, spread=absent)
    shown = world.class_labels[classes]
    true_labels = shown[:, 0].copy()
    targets, shown, relabelling = _label(world, knobs, mode=mode, shown=shown, rng=rng)
    is_ciwl = mode == "ciwl" or (mode == "train" and knobs.mapping == "ciwl")
    classes_shown = classes.copy()
    classes_shown[absent, 0] = stand_ins[absent]
    if not is_ciwl:
        shown[absent, 0] = world.class_labels[stand_ins[absent]]
    labels = np.take_along_axis(shown, groups, axis=1)
    if mode == "tr":
        labels = rng.integers(knobs.n_labels, size=labels.shape)
    in_order = np.concatenate([np.take_along_axis(classes_shown, groups, axis=1), classes[:, :1]], axis=1)
    items = _draw_items(world, knobs, classes=in_order, rng=rng)
    if queries is not None and knobs.n_exemplars:
        items[:, -1] = world.exemplars[queries]
    copied = (rng.random(n) < knobs.copy_probability) & ~absent
    rows, places = np.nonzero((groups == 0) & copied[:, None])
    items[rows, places] = items[rows, -1]
    return Batch(items, labels, targets, in_order, true_labels, relabelling)


def _draw_classes(
    world: World,
    knobs: DataKnobs,
    *,
    n: int,
    rng: np.random.Generator,
    novel: bool,
    queries: IntArray | None = None,
) -> tuple[IntArray, IntArray]:
    """(n, P) classes with different labels, the query's first; and (n,) classes whose label is not the query's."""
    if novel:
        chosen = np.stack([rng.permutation(N_NOVEL)[: knobs.n_pairs] for _ in range(n)]) + knobs.n_classes
        return chosen, chosen[:, 0].copy()
    cumulative = _cumulative(knobs)
    chosen = np.empty((n, knobs.n_pairs + 1), dtype=np.int64)
    for column in range(knobs.n_pairs + 1):
        if column == 0 and queries is not None:
            chosen[:, 0] = queries
            continue
        n_apart = column if column < knobs.n_pairs else 1
        todo = np.arange(n)
        while len(todo):
            drawn = np.searchsorted(cumulative, rng.random(len(todo)), side="right")
            before = chosen[todo, :column]
            labels, label = world.class_labels[before[:, :n_apart]], world.class_labels[drawn]
            clash = (labels == label[:, None]).any(axis=1) | (before == drawn[:, None]).any(axis=1)
            chosen[todo, column] = drawn
            todo = todo[clash]
    return chosen[:, :-1], chosen[:, -1]


def _cumulative(knobs: DataKnobs) -> npt.NDArray[np.float64]:
    weights = np.arange(1, knobs.n_classes + 1, dtype=np.float64) ** -knobs.zipf_exponent
    total = np.cumsum(weights / weights.sum())
    total[-1] = 1.0
    return total


def _absent_rows(knobs: DataKnobs, mode: Mode, *, n: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """(n,) whether the query's class is absent from the context, replaced by another class."""
    bursty = rng.random(n) < knobs.p_bursty
    if mode in ("ciwl", "iwl") or (mode == "train" and knobs.mapping == "ciwl"):
        return np.ones(n, dtype=np.bool_)
    return ~bursty


def _draw_groups(knobs: DataKnobs, n: int, rng: np.random.Generator, *, spread: npt.NDArray[np.bool_]) -> IntArray:
    """(n, P) which of the row's classes is at each place, in random order; each class occurs once if ``spread``."""
    pairs, burst = knobs.n_pairs, knobs.burstiness
    bursty = np.concatenate([np.repeat([0, 1], burst), np.arange(2, pairs - 2 * burst + 2)])
    layout = np.where(spread[:, None], np.arange(pairs), bursty)
    return rng.permuted(layout, axis=1)


def _label(
    world: World, knobs: DataKnobs, *, mode: Mode, shown: IntArray, rng: np.random.Generator
) -> tuple[IntArray, IntArray, IntArray]:
    """(n,) targets, (n, P) label shown for each of a row's classes, (n, L) relabelling."""
    n, n_labels = len(shown), knobs.n_labels
    identity = np.broadcast_to(np.arange(n_labels), (n, n_labels))
    if mode in ("icl", "icl_novel") or (mode == "train" and knobs.mapping == "random"):
        shown = rng.permuted(identity, axis=1)[:, : knobs.n_pairs]
        return shown[:, 0].copy(), shown, identity
    if mode == "tl":
        relabelling = rng.permuted(identity, axis=1)
        shown = np.take_along_axis(relabelling, shown, axis=1)
        return shown[:, 0].copy(), shown, relabelling
    share = {"flip": 1.0, "train": knobs.label_swapping}.get(mode, 0.0)
    swapped = rng.random(n) < share
    shown[swapped, :2] = shown[swapped, 1::-1]
    return shown[:, 0].copy(), shown, identity


def _draw_items(world: World, knobs: DataKnobs, *, classes: IntArray, rng: np.random.Generator) -> FloatArray:
    """(n, P + 1, D) one exemplar of each class, drawn independently."""
    if knobs.n_exemplars == 0:
        return _around(world.centres[classes], knobs.noise, rng)
    found: FloatArray = world.exemplars[classes, rng.integers(knobs.n_exemplars, size=classes.shape)]
    return found


def training_batches(world: World, *, start: int = 0) -> Iterator[Batch]:
    """The batches of the steps after ``start``, in order, as in an uninterrupted run.

    Steps are drawn in chunks, each from its own generator, so any step can be reached without drawing earlier ones.
    """
    config = world.config
    ends = [config.n_steps] if config.switch_step is None else [config.switch_step, config.n_steps]
    first = 0
    for phase, end in enumerate(ends):
        for chunk_start in range(first, end, _CHUNK):
            n_steps = min(_CHUNK, end - chunk_start)
            if chunk_start + n_steps > start:
                seeds = [config.data_seed, _TRAINING_STREAM, phase, chunk_start]
                rng = np.random.Generator(np.random.PCG64(seeds))
                knobs = knobs_at(config, chunk_start + 1)
                drawn = sample(world, knobs, mode="train", n=n_steps * config.batch_size, rng=rng)
                for index in range(max(0, start - chunk_start), n_steps):
                    yield _rows(drawn, slice(index * config.batch_size, (index + 1) * config.batch_size))
        first = end


def _rows(batch: Batch, rows: slice) -> Batch:
    names = ("items", "labels", "targets", "classes", "true_labels", "relabelling")
    return Batch(**{name: getattr(batch, name)[rows] for name in names})
