"""The store under kill -9 at random moments of writing, joining, importing, rebuilding and deriving labels."""

from __future__ import annotations

import logging
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pandas as pd
import pytest

from icl_core.analysis.predictions import NORMALISATIONS, labels_of
from icl_core.evaluation import bundle as bundle_module
from icl_core.evaluation.bundle import export_bundle, import_bundle
from icl_core.evaluation.codec import encode_record
from icl_core.evaluation.predicted import VERSION, clear_predicted
from icl_core.evaluation.store import Store, files_of
from icl_core.evaluation.upkeep import rebuild_store, verify_store
from tests.support.records import record_of

fork = multiprocessing.get_context("fork")
RECORDS = [record_of(demo_seed=seed, step=step, n_examples=6) for step in (1000, 2000) for seed in range(12)]
CHECKPOINTS = list(dict.fromkeys(record.spec.checkpoint for record in RECORDS))
TEXTS = {record.key.digest: encode_record(record) for record in RECORDS}
N_KILLS = int(os.environ.get("ICL_OBSERVATORY_KILLS", "6"))
"""More of them, as for a release, are asked for in the environment."""
LONGEST_LIFE_S = 0.3
_LOG = logging.getLogger(__name__)


def write(path: Path, bundle: Path, log: int) -> None:
    opened = Store.open(path)
    missing = [record for record in RECORDS if not opened.has(record.key)]
    for start in range(0, len(missing), 3):
        opened.put_many(missing[start : start + 3])
        os.write(log, "".join(f"{record.key.digest}\n" for record in missing[start : start + 3]).encode())
    for checkpoint in CHECKPOINTS:
        opened.join(checkpoint)


def bring_in(path: Path, bundle: Path, log: int) -> None:
    import_bundle(Store.open(path), bundle)
    os.write(log, "".join(f"{digest}\n" for digest in TEXTS).encode())


def rebuild(path: Path, bundle: Path, log: int) -> None:
    """Begins with files under other names and an index that is lost or knows too much."""
    files = files_of(path)
    for file in files[::2]:
        (path / "results" / file).rename(path / "results" / file.replace("/", "/renamed-"))
    if len(files) % 2:
        (path / "index" / "cache.db").unlink(missing_ok=True)
    rebuild_store(path)
    write(path, bundle, log)


def derive(path: Path, bundle: Path, log: int) -> None:
    """Predicted labels of all results, some of which were derived before."""
    write(path, bundle, log)
    opened = Store.open(path)
    for file in sorted(path.glob("predicted/*"))[::2]:
        file.unlink()
    while True:  # until it is killed
        for normalisation in NORMALISATIONS:
            opened.find_labels([record.spec for record in RECORDS], normalisation=normalisation)
        clear_predicted(path / "predicted", ())


def stored_texts(path: Path) -> dict[str, str]:
    opened = Store.open(path)
    found = {record.key.digest: opened.get(record.key) for record in RECORDS}
    opened.close()
    return {digest: encode_record(record) for digest, record in found.items() if record is not None}


def assert_whole(path: Path, reported: set[str], *, is_rebuilt: bool) -> None:
    """Nothing reported is lost, nothing differs, nothing is there twice, and no file is nobody's."""
    if is_rebuilt:  # a file under another name is not read until a rebuild has ended; the next one ends what was begun
        assert stored_texts(path).items() <= TEXTS.items()
        rebuild_store(path)
    stored = stored_texts(path)
    assert reported <= stored.keys() and stored.items() <= TEXTS.items()
    assert Store.open(path).damage == {} and verify_store(path).is_healthy
    assert verify_store(path).n_cells == len(stored)
    if files := files_of(path):
        assert len(pd.read_parquet(path / "results", columns=["sha256"])) == len(stored)
    for normalisation in NORMALISATIONS:  # what is kept of them says the same, whole or not
        opened = Store.open(path)
        found = opened.find_labels([record.spec for record in RECORDS], normalisation=normalisation)
        assert {labels.key.digest for labels in found.values()} == stored.keys()
        for spec, record in opened.find_many(found).items():
            columns = {"n_tokens": record.n_tokens, "content_free": record.content_free}
            assert (
                found[spec].predicted.tolist()
                == labels_of(record.loglikelihoods, normalisation=normalisation, **columns).tolist()
            )
    clear_predicted(path / "predicted", files)
    derived = {
        path / "predicted" / f"{Path(file).stem}-{each}-{VERSION}.parquet" for file in files for each in NORMALISATIONS
    }
    owned = {path / "results" / file for file in files} | set(path.glob("damaged/*")) | derived
    others = {file for file in path.rglob("*") if file.is_file() and file.parent.name != "index"} - owned
    assert all(file.name.endswith(".tmp") for file in others), "those of the dead go when the next run begins"


@pytest.mark.stands_for("https://www.sqlite.org/atomiccommit.html", "a process that dies between a file and its index")
@pytest.mark.parametrize("number", range(N_KILLS))
def test_a_kill_at_any_moment_loses_nothing_that_was_said_to_be_stored(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random()
    source = Store.open(tmp_path / "source")
    source.put_many(RECORDS)
    monkeypatch.setattr(bundle_module, "GROUP_ROWS", 5)  # an import of several steps
    export_bundle(source, tmp_path / "bundle")
    path, log = tmp_path / "store", tmp_path / "log"
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for _ in range(3):
        work = chance.choice((write, bring_in, rebuild, derive))
        child = fork.Process(target=work, args=(path, tmp_path / "bundle", file))
        child.start()
        time.sleep(chance.uniform(0, LONGEST_LIFE_S))
        os.kill(child.pid or 0, signal.SIGKILL)
        child.join()
        assert child.exitcode in (0, -signal.SIGKILL)
        _LOG.warning("%s %s", work.__name__, "was killed" if child.exitcode else "had ended")  # for counting, with -rP
        assert_whole(path, set(log.read_text().split()), is_rebuilt=work is rebuild)
    os.close(file)
