"""The cells of a checkpoint on their way to the engine, through a feed whose parts are handed in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from icl_core.errors import CheckpointError, ScoringError
from icl_core.evaluation import run_feed
from icl_core.evaluation.run_feed import Feed
from icl_core.records import CellKey, CellRecord, CellSpec


class Parts:
    """Reservations, store and encoder that note what is asked of them."""

    def __init__(self, taken: set[CellKey], there: set[CellKey], errors: dict[CellSpec, BaseException]) -> None:
        self.taken, self.there, self.errors = taken, there, errors
        self.asked: list[int] = []
        self.closed = 0

    def take(self, keys: Iterable[CellKey]) -> list[CellKey]:
        wanted = list(keys)
        self.asked.append(len(wanted))
        return [key for key in wanted if key not in self.taken]

    def has(self, key: CellKey) -> bool:
        return key in self.there

    def close(self) -> None:
        self.closed += 1

    def prepare(self, spec: CellSpec) -> Any:
        if spec in self.errors:
            raise self.errors[spec]
        return type("Prepared", (), {"requests": [spec]})


@pytest.fixture
def missing(make_record: Callable[..., CellRecord]) -> list[tuple[CellSpec, CellKey]]:
    records = [make_record(demo_seed=seed) for seed in range(6)]
    return [(record.spec, record.key) for record in records]


def feed_of(missing: list[tuple[CellSpec, CellKey]], parts: Parts, *, rate: float | None = None) -> Feed:
    some = cast(Any, parts)
    return Feed(missing, encoder=some, reservations=some, store=some, cells_per_second=lambda: rate)


def test_cells_of_others_are_left_and_the_rest_is_sorted_by_what_became_of_it(missing) -> None:
    specs, keys = zip(*missing, strict=True)
    parts = Parts({keys[0]}, {keys[1]}, {specs[2]: ScoringError("too long")})
    feed = feed_of(missing, parts)
    with ThreadPoolExecutor(max_workers=1) as pool:
        handed = pool.submit(lambda: list(feed)).result()
    assert handed == [[spec] for spec in specs[3:]]
    assert [cell.spec for cell in feed.ready] == list(specs[3:])
    assert list(feed.stored) == [(specs[1], keys[1])]
    assert [(spec, str(error)) for spec, _, error in feed.failed] == [(specs[2], "too long")]
    assert parts.closed == 1


def test_a_cell_is_ready_before_its_requests_are_handed_out(missing) -> None:
    feed = feed_of(missing, Parts(set(), set(), {}))
    for n, _ in enumerate(feed, start=1):
        assert len(feed.ready) == n


@pytest.mark.parametrize(("rate", "asked"), [(None, [1] * 6), (1.0, [2, 2, 2]), (1e6, [4, 2])])
def test_reservations_reach_as_far_ahead_as_the_rate_says(rate, asked, missing, monkeypatch) -> None:
    monkeypatch.setattr(run_feed, "MOST_RESERVED", 4)
    parts = Parts(set(), set(), {})
    assert len(list(feed_of(missing, parts, rate=rate))) == 6
    assert parts.asked == asked


def test_a_tokenizer_that_is_of_no_use_ends_the_feed_and_closes_its_connection(missing) -> None:
    parts = Parts(set(), set(), {missing[1][0]: CheckpointError("no tokenizer")})
    feed = feed_of(missing, parts)
    with pytest.raises(CheckpointError, match="no tokenizer"):
        list(feed)
    assert len(feed.ready) == 1 and parts.closed == 1
