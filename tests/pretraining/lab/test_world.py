"""The samplers: what stands in a sequence, and what counts as right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from icl_core.pretraining.lab.config import DataKnobs, LabConfig
from icl_core.pretraining.lab.world import (
    Batch,
    Mode,
    World,
    knobs_at,
    make_world,
    plain_knobs,
    sample,
    training_batches,
)

N = 400
FORMATS = (
    DataKnobs(n_classes=96),
    DataKnobs(n_classes=96, n_pairs=8, burstiness=3),
    DataKnobs(n_classes=96, n_pairs=8, burstiness=1),
    DataKnobs(n_classes=96, n_exemplars=0, zipf_exponent=1.0),
    DataKnobs(n_classes=32, n_labels=2),
    DataKnobs(n_classes=64, n_labels=8, n_pairs=8),
)
each_format = pytest.mark.parametrize("knobs", FORMATS, ids=lambda k: f"{k.n_pairs}x{k.burstiness}-L{k.n_labels}")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def world_of(knobs: DataKnobs) -> World:
    return make_world(LabConfig(data=knobs))


def draw(knobs: DataKnobs, mode: Mode, *, seed: int = 0, n: int = N) -> tuple[World, Batch]:
    world = world_of(knobs)
    return world, sample(world, knobs, mode=mode, n=n, rng=rng(seed))


def own_items(batch: Batch) -> np.ndarray:
    """(n, P) context items of the query's class."""
    return batch.classes[:, :-1] == batch.classes[:, -1:]


@each_format
@pytest.mark.parametrize("mode", ["train", "icl", "icl_novel", "flip", "tr", "tl"])
def test_the_querys_class_stands_as_often_as_the_burstiness_says(knobs: DataKnobs, mode: Mode) -> None:
    _, batch = draw(knobs, mode)
    assert (own_items(batch).sum(axis=1) == knobs.burstiness).all()
    counts = [sorted(np.unique(row, return_counts=True)[1]) for row in batch.classes[:, :-1]]
    assert all(count == counts[0] for count in counts)
    assert counts[0][-2:] == [knobs.burstiness] * 2


@each_format
@pytest.mark.parametrize("mode", ["ciwl", "iwl"])
def test_the_querys_class_is_absent_where_it_has_to_be(knobs: DataKnobs, mode: Mode) -> None:
    world, batch = draw(knobs, mode)
    assert not own_items(batch).any()
    assert (batch.targets == world.class_labels[batch.classes[:, -1]]).all()


@each_format
def test_in_ciwl_the_querys_label_stands_once_and_never_on_its_own_class(knobs: DataKnobs) -> None:
    world, batch = draw(knobs, "ciwl")
    shown = batch.labels == batch.targets[:, None]
    assert (shown.sum(axis=1) == 1).all()
    under = batch.classes[:, :-1][shown]
    assert (world.class_labels[under] != batch.targets).all()


@each_format
def test_in_iwl_the_querys_label_is_absent(knobs: DataKnobs) -> None:
    world, batch = draw(knobs, "iwl")
    assert not (batch.labels == batch.targets[:, None]).any()
    assert (batch.labels == world.class_labels[batch.classes[:, :-1]]).all()


@each_format
def test_flip_asks_for_the_other_classs_true_label(knobs: DataKnobs) -> None:
    world, batch = draw(knobs, "flip")
    true = world.class_labels[batch.classes[:, :-1]]
    swapped = batch.labels != true
    assert (batch.labels[own_items(batch)].reshape(N, -1) == batch.targets[:, None]).all()
    assert (batch.targets != batch.true_labels).all()
    assert (swapped.sum(axis=1) == 2 * knobs.burstiness).all()
    others = [set(row[moved & ~own]) for row, moved, own in zip(true, swapped, own_items(batch), strict=True)]
    assert others == [{target} for target in batch.targets]
    assert (batch.labels[swapped & ~own_items(batch)].reshape(N, -1) == batch.true_labels[:, None]).all()


@each_format
@pytest.mark.parametrize("mode", ["icl", "icl_novel"])
def test_in_icl_the_labels_tell_nothing_of_the_classes(knobs: DataKnobs, mode: Mode) -> None:
    world, batch = draw(knobs, mode)
    assert (batch.labels[own_items(batch)].reshape(N, -1) == batch.targets[:, None]).all()
    for labels, classes in zip(batch.labels, batch.classes[:, :-1], strict=True):
        assert len(set(labels)) == len(set(classes)) == len(set(zip(labels, classes, strict=True)))
    share = (batch.targets == world.class_labels[batch.classes[:, -1]]).mean()
    assert share < 1.5 / knobs.n_labels + 0.05


def test_novel_classes_are_never_trained() -> None:
    knobs = FORMATS[0]
    world, novel = draw(knobs, "icl_novel")
    assert novel.classes.min() >= knobs.n_classes
    assert sample(world, knobs, mode="train", n=N, rng=rng()).classes.max() < knobs.n_classes
    assert (novel.true_labels == -1).all()


@each_format
def test_relabelling_is_consistent_within_and_independent_across_sequences(knobs: DataKnobs) -> None:
    world, batch = draw(knobs, "tl")
    true = world.class_labels[batch.classes]
    assert (np.sort(batch.relabelling, axis=1) == np.arange(knobs.n_labels)).all()
    assert (np.take_along_axis(batch.relabelling, true[:, :-1], axis=1) == batch.labels).all()
    assert (np.take_along_axis(batch.relabelling, true[:, -1:], axis=1)[:, 0] == batch.targets).all()
    shares = (batch.relabelling == batch.relabelling[:1]).mean()
    assert shares == pytest.approx(1 / knobs.n_labels, abs=0.05)


@each_format
def test_random_labels_are_uniform_and_the_true_label_counts(knobs: DataKnobs) -> None:
    world, batch = draw(knobs, "tr", n=4000)
    assert (batch.targets == world.class_labels[batch.classes[:, -1]]).all()
    share = (batch.labels == world.class_labels[batch.classes[:, :-1]]).mean()
    assert share == pytest.approx(1 / knobs.n_labels, abs=0.03)


@each_format
def test_a_copy_is_the_querys_vector_to_the_bit(knobs: DataKnobs) -> None:
    _, batch = draw(replace(knobs, copy_probability=1.0), "train")
    rows, places = np.nonzero(own_items(batch))
    assert (batch.items[rows, places] == batch.items[rows, -1]).all()


def test_copies_come_as_often_as_the_knob_says() -> None:
    knobs = replace(FORMATS[0], copy_probability=0.5, n_exemplars=0)
    _, batch = draw(knobs, "train", n=4000)
    equal = (batch.items[:, :-1] == batch.items[:, -1:]).all(axis=2).any(axis=1)
    assert equal.mean() == pytest.approx(0.5, abs=0.03)


def test_swaps_and_bursts_come_as_often_as_the_knobs_say() -> None:
    knobs = replace(FORMATS[0], label_swapping=0.3, p_bursty=0.8)
    _, batch = draw(knobs, "train", n=4000)
    bursty = own_items(batch).any(axis=1)
    assert bursty.mean() == pytest.approx(0.8, abs=0.03)
    assert (batch.targets != batch.true_labels)[bursty].mean() == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("mapping", ["random", "ciwl"])
def test_training_with_one_strategy_alone_draws_as_its_evaluator(mapping: str) -> None:
    knobs = replace(FORMATS[0], mapping=mapping)  # type: ignore[arg-type]
    world = world_of(knobs)
    mode: Mode = "icl" if mapping == "random" else "ciwl"
    trained, evaluated = (sample(world, knobs, mode=m, n=N, rng=rng()) for m in ("train", mode))
    assert (trained.labels == evaluated.labels).all()
    assert (trained.classes == evaluated.classes).all()
    assert (trained.targets == evaluated.targets).all()


def test_frequent_classes_come_first_under_zipf() -> None:
    _, batch = draw(replace(FORMATS[0], zipf_exponent=2.0), "train")
    queries = np.bincount(batch.classes[:, -1], minlength=96)
    assert queries[0] > 0.5 * N > queries[1:].max()


def test_noise_is_relative_to_the_spread_of_the_classes() -> None:
    knobs = DataKnobs(n_classes=512, noise=0.5)
    world = world_of(knobs)
    assert world.exemplars.std() == pytest.approx(1.0, abs=0.02)
    assert world.exemplars.mean(axis=1).std() == pytest.approx(1 / np.sqrt(1.25), abs=0.03)
    assert len(world_of(replace(knobs, n_exemplars=0)).exemplars[0]) == 0


def test_evaluation_ignores_interventions() -> None:
    knobs = replace(FORMATS[0], copy_probability=1.0, label_swapping=0.5, p_bursty=0.1)
    plain = plain_knobs(knobs)
    _, batch = draw(plain, "train")
    assert own_items(batch).any(axis=1).all()
    assert (batch.targets == batch.true_labels).all()
    assert plain == plain_knobs(plain)


def test_modes_of_one_seed_ask_the_same_queries() -> None:
    knobs = FORMATS[0]
    world = world_of(knobs)
    modes: tuple[Mode, ...] = ("train", "icl", "flip", "tr", "tl", "ciwl", "iwl")
    batches = [sample(world, knobs, mode=mode, n=N, rng=rng()) for mode in modes]
    assert all((batch.classes[:, -1] == batches[0].classes[:, -1]).all() for batch in batches)
    same = batches[:1] + batches[3:4]
    assert (same[0].classes == same[1].classes).all()


def test_any_step_can_be_reached_without_those_before() -> None:
    first = DataKnobs(n_classes=64, copy_probability=1.0)
    config = LabConfig(first, replace(first, copy_probability=0.0), 37, batch_size=8, n_steps=90)
    world = make_world(config)
    whole = list(training_batches(world))
    assert len(whole) == 90
    for start in (0, 5, 32, 37, 69, 89, 90):
        rest = list(training_batches(world, start=start))
        assert len(rest) == 90 - start
        for one, other in zip(whole[start:], rest, strict=True):
            assert (one.items == other.items).all() and (one.labels == other.labels).all()
    copied = [(b.items[:, :-1] == b.items[:, -1:]).all(axis=2).any(axis=1).mean() for b in whole]
    assert min(copied[:37]) == 1.0 and np.mean(copied[37:]) < 0.2
    assert knobs_at(config, 37).copy_probability == 1.0 != knobs_at(config, 38).copy_probability


def test_worlds_follow_the_data_seed_alone() -> None:
    base = LabConfig(data=FORMATS[0])
    same, other = make_world(replace(base, init_seed=9)), make_world(replace(base, data_seed=9))
    assert (make_world(base).exemplars == same.exemplars).all()
    assert not (make_world(base).exemplars == other.exemplars).any()
