"""Scores the missing cells of one checkpoint and passes them on to be stored.

It decides nothing about prompts or scores: the feed gives the cells, and the engine scores them. The module text of
run.py explains the threads.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from icl_core.errors import StoreError, ends_process
from icl_core.evaluation.encodings import Encodings
from icl_core.evaluation.reservations import OwnReservations
from icl_core.evaluation.run_feed import Encoder, Feed, Ready
from icl_core.evaluation.run_looking import RunLooking
from icl_core.evaluation.run_progress import Progress
from icl_core.evaluation.run_report import cell_name
from icl_core.evaluation.run_rows import RunRows
from icl_core.evaluation.run_storing import RunStoring
from icl_core.evaluation.store import Store
from icl_core.records import CellKey, CellSpec, LabelScores

if TYPE_CHECKING:
    from icl_core.models.checkpoints import LoadedCheckpoint
    from icl_core.scoring.engine import HowScored

__all__ = ["Feeds", "RunScoring"]


class Feeds:
    """Makes the feeds of a run; the encodings are kept from one checkpoint to the next.

    Args:
        store: may hold a cell by now.
        reservations: of the run.
        rows: of the run's tasks.
        cells_per_second: the run's recent rate, None before the first cell.
    """

    def __init__(
        self,
        store: Store,
        *,
        reservations: OwnReservations,
        rows: RunRows,
        cells_per_second: Callable[[], float | None],
    ) -> None:
        self._store, self._reservations, self._rows = store, reservations, rows
        self._cells_per_second = cells_per_second
        self._encodings = Encodings()

    def of(self, loaded: LoadedCheckpoint, missing: Sequence[tuple[CellSpec, CellKey]]) -> Feed:
        """A feed of the missing cells of a loaded checkpoint."""
        return Feed(
            missing,
            encoder=Encoder(self._encodings, loaded.tokenizer, loaded.identity, self._rows.read()),
            reservations=self._reservations,
            store=self._store,
            cells_per_second=self._cells_per_second,
        )


class RunScoring:
    """Scores the cells of one checkpoint after another."""

    def __init__(
        self,
        feeds: Feeds,
        *,
        looking: RunLooking,
        storing: RunStoring,
        reservations: OwnReservations,
        progress: Progress,
        stops: Callable[[], bool],
    ) -> None:
        """Nothing is scored yet.

        Args:
            feeds: make the requests.
            looking: counts cells that another process has stored meanwhile.
            storing: takes the scores.
            reservations: of the run; those of failed cells are marked as done.
            progress: knows what is finished, and counts what fails.
            stops: whether the run was told to stop.
        """
        self._feeds, self._looking, self._storing = feeds, looking, storing
        self._reservations, self._progress, self._stops = reservations, progress, stops

    def do(self, loaded: LoadedCheckpoint, missing: Sequence[tuple[CellSpec, CellKey]]) -> None:
        """Scores and stores the cells that no other process has reserved.

        Cells that share a forward pass fail together; then each is scored alone, to find the one that fails.

        Raises:
            StoreError: the store cannot be written.
            Exception: an error that no single cell causes.
        """
        from icl_core.scoring.engine import score_bursts  # imported before the first cell's time counts

        self._storing.begin()
        left = list(missing)
        while left and not self._stops():
            feed = self._feeds.of(loaded, left)
            try:
                if not self._do_together(partial(score_bursts, loaded.model), feed):
                    return
                left = []
            except StoreError:
                raise
            except BaseException as error:
                if ends_process(error) or not feed.ready:
                    raise
                while feed.ready and not self._stops():
                    self._do_alone(loaded, feed.ready.popleft())
                still = set(self._progress.unfinished([spec for spec, _ in left]))
                left = [(spec, key) for spec, key in left if spec in still]
            self._set_aside(feed)

    def _do_together(self, score: Callable[..., Generator[list[list[LabelScores]]]], feed: Feed) -> bool:
        """Scores what the feed gives, several cells in one forward pass; False if the run was told to stop."""
        hows: list[HowScored] = []
        with closing(score(feed, told=hows.append)) as bursts:
            for burst in bursts:
                self._storing.keep([feed.ready.popleft() for _ in burst], burst, how=hows.pop())
                self._set_aside(feed)
                if self._stops():
                    return False
        return True

    def _do_alone(self, loaded: LoadedCheckpoint, cell: Ready) -> None:
        from icl_core.scoring.engine import score_requests

        hows: list[HowScored] = []
        try:
            scores = score_requests(loaded.model, cell.prepared.requests, told=hows.append)
        except BaseException as error:
            if ends_process(error):
                raise
            self._reservations.spend(cell.key)
            self._progress.fail(cell_name(cell.spec), error, [cell.spec])
        else:
            self._storing.keep([cell], [scores], how=hows.pop())

    def _set_aside(self, feed: Feed) -> None:
        """Counts the cells that the feed found already stored, or could not encode."""
        while feed.stored:
            self._looking.count_stored(dict([feed.stored.popleft()]))
        while feed.failed:
            spec, key, error = feed.failed.popleft()
            self._reservations.spend(key)
            self._progress.fail(cell_name(spec), error, [spec])
