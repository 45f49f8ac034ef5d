"""The checkpoints of a run: identifies each, and holds one in memory at a time.

It scores nothing. A checkpoint is identified before it is loaded, since the keys of its results need its identity. If
its content is different after loading, it is refused.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from icl_core.errors import CheckpointError
from icl_core.evaluation.run_progress import Progress
from icl_core.evaluation.run_speed import SpeedNotes
from icl_core.evaluation.study import Study
from icl_core.models.identity import identify_checkpoint
from icl_core.models.resolving import conversion_of
from icl_core.records import CheckpointIdentity, CheckpointRef
from icl_core.registry.names import full_name

if TYPE_CHECKING:
    from icl_core.models.checkpoints import LoadedCheckpoint

__all__ = ["RunCheckpoints"]


class RunCheckpoints:
    """Identifies and loads the checkpoints of a run.

    Attributes:
        identities: of the checkpoints, in the order in which they were asked for.
    """

    def __init__(
        self, study: Study, *, device: str, offline: bool, hash_cache: Path, progress: Progress, speed: SpeedNotes
    ) -> None:
        """Nothing is identified or loaded yet.

        Args:
            study: gives dtype and attention.
            device: to which models are loaded.
            offline: True uses only what is on this machine.
            hash_cache: file that keeps hashes of files between runs.
            progress: is told which checkpoint is in memory.
            speed: is told how long loading took.
        """
        self._study, self._device, self._offline, self._hash_cache = study, device, offline, hash_cache
        self._progress, self._speed = progress, speed
        self.identities: dict[CheckpointRef, CheckpointIdentity] = {}

    def identify(self, ref: CheckpointRef) -> CheckpointIdentity:
        """The identity of a checkpoint, determined once.

        Raises:
            ObservatoryError: as ``identify_checkpoint``.
        """
        if ref not in self.identities:
            self.identities[ref] = identify_checkpoint(ref, offline=self._offline, hash_cache=self._hash_cache)
        return self.identities[ref]

    @contextmanager
    def loaded(self, ref: CheckpointRef) -> Iterator[LoadedCheckpoint]:
        """A checkpoint in memory until the block ends.

        Raises:
            CheckpointError: it cannot be loaded, or its content is not that of its identity.
        """
        from icl_core.models.checkpoints import load_checkpoint, release

        self._progress.report(f"{full_name(ref)}: loading")
        tells_later_loads = not self._converts(ref)
        start = time.monotonic()
        loaded = load_checkpoint(
            ref,
            dtype=self._study.dtype,
            device=self._device,
            attention=self._study.attention,
            offline=self._offline,
            hash_cache=self._hash_cache,
        )
        try:
            self._refuse_other_content(ref, loaded.identity)
            self._speed.takes(loaded.model)
            if tells_later_loads:
                is_first = not self._progress.has_started
                self._speed.note_load(ref, loaded.model, seconds=time.monotonic() - start, is_first=is_first)
            self._progress.loaded = ref
            yield loaded
        finally:
            self._progress.loaded = None
            release(loaded)

    def _converts(self, ref: CheckpointRef) -> bool:
        """Whether loading also converts a GGUF file, which happens once."""
        if ref.source != "gguf":
            return False
        return conversion_of(self.identities[ref].weight_files[0][1], hash_cache=self._hash_cache) is None

    def _refuse_other_content(self, ref: CheckpointRef, loaded: CheckpointIdentity) -> None:
        """Refuses a loaded checkpoint whose content is not that of its results' keys.

        The number of parameters is in no key.
        """
        expected = self.identities[ref]
        if replace(loaded, n_parameters=None) != replace(expected, n_parameters=None):
            del self.identities[ref]
            raise CheckpointError(f"{full_name(ref)} changed while it was being loaded; evaluate it again.")
