"""Bundles: exact, idempotent, and refused when damaged or foreign."""

from __future__ import annotations

import dataclasses
import itertools
import json
import multiprocessing
import os
import signal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from icl_core import settings
from icl_core.errors import StoreError
from icl_core.evaluation import bundle
from icl_core.evaluation import store as store_module
from icl_core.evaluation.bundle import (
    embedded_bundles,
    ensure_embedded,
    export_bundle,
    import_bundle,
    read_manifest,
)
from icl_core.evaluation.codec import encode_record
from icl_core.evaluation.segments import checked_rows
from icl_core.evaluation.store import PutReport, Store
from icl_core.evaluation.upkeep import verify_store


@pytest.fixture
def filled(tmp_store, make_record):
    records = [
        make_record(step=step, task=task) for step in (1000, 2000) for task in ("sst2", "trec", "poem_sentiment")
    ]
    records[3] = dataclasses.replace(records[3], context_cut=12, n_shortened=3)
    tmp_store.put_many(records)
    return tmp_store, records


@pytest.fixture
def other_store(tmp_path):
    return Store.open(tmp_path / "other")


def rewrite(path, table):
    """Writes another table with a manifest that fits it, as a forger or another program would."""
    pq.write_table(table, path / "cells.parquet")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["sha256"] = bundle._file_sha256(path / "cells.parquet")
    (path / "manifest.json").write_text(json.dumps(manifest))


def test_a_bundle_carries_every_record_bit_by_bit(filled, other_store, tmp_path):
    store, records = filled
    manifest = export_bundle(store, tmp_path / "bundle")
    assert (manifest.n_cells, manifest.models) == (6, ("pythia-70m",))
    assert manifest.tasks == ("poem_sentiment", "sst2", "trec")
    assert import_bundle(other_store, tmp_path / "bundle").n_new == 6
    for record in records:
        assert encode_record(other_store.find(record.spec)) == encode_record(record)
    assert verify_store(other_store.path).is_healthy


def test_importing_twice_changes_nothing(filled, other_store, tmp_path):
    store, _ = filled
    export_bundle(store, tmp_path / "bundle")
    import_bundle(other_store, tmp_path / "bundle")
    generation = other_store.generation()
    report = import_bundle(other_store, tmp_path / "bundle")
    assert (report.n_new, report.n_kept, report.differing) == (0, 6, {})
    assert other_store.generation() == generation


def test_exporting_the_same_results_gives_the_same_bytes(filled, other_store, tmp_path):
    store, _ = filled
    first = export_bundle(store, tmp_path / "first")
    import_bundle(other_store, tmp_path / "first")
    assert export_bundle(other_store, tmp_path / "second").sha256 == first.sha256


def test_a_subset_is_exported_and_missing_cells_are_left_out(filled, other_store, tmp_path, make_spec):
    store, records = filled
    manifest = export_bundle(store, tmp_path / "bundle", specs=[records[0].spec, make_spec(demo_seed=99)])
    assert manifest.n_cells == 1
    import_bundle(other_store, tmp_path / "bundle")
    assert [s.spec for s in other_store.summaries()] == [records[0].spec]


def test_there_must_be_something_to_export(filled, tmp_path, make_spec):
    store, _ = filled
    with pytest.raises(StoreError, match="no results to export"):
        export_bundle(store, tmp_path / "bundle", specs=[make_spec(demo_seed=99)])
    assert not (tmp_path / "bundle").exists()


def test_all_names_of_shared_weights_arrive(filled, other_store, tmp_path):
    store, records = filled
    alias = dataclasses.replace(records[0].spec, data_dir="/data")
    store.resolve(alias, records[0].key)
    assert export_bundle(store, tmp_path / "bundle").n_cells == 7
    report = import_bundle(other_store, tmp_path / "bundle")
    assert (report.n_new, report.n_kept) == (6, 1)
    assert other_store.find(alias).key == records[0].key


def test_results_that_differ_are_reported_and_the_first_stay(filled, other_store, tmp_path):
    store, records = filled
    other = dataclasses.replace(records[0], loglikelihoods=records[0].loglikelihoods - np.float32(1))
    other_store.put(other)
    export_bundle(store, tmp_path / "bundle")
    report = import_bundle(other_store, tmp_path / "bundle")
    assert (report.n_new, report.n_kept, len(report.differing)) == (5, 0, 1)
    assert encode_record(other_store.get(other.key)) == encode_record(other)


def test_a_damaged_table_is_refused_whole(filled, other_store, tmp_path):
    store, _ = filled
    export_bundle(store, tmp_path / "bundle")
    table = tmp_path / "bundle" / "cells.parquet"
    data = bytearray(table.read_bytes())
    data[len(data) // 2] ^= 1
    table.write_bytes(data)
    with pytest.raises(StoreError, match="is damaged: its sha256"):
        import_bundle(other_store, tmp_path / "bundle")
    assert other_store.summaries() == []


def test_an_altered_row_is_refused_even_under_a_fitting_manifest(filled, other_store, tmp_path):
    store, records = filled
    export_bundle(store, tmp_path / "bundle")
    table = pq.read_table(tmp_path / "bundle" / "cells.parquet")
    rows = table.to_pylist()
    rows[1]["loglikelihoods"][0] -= 1.0
    rewrite(tmp_path / "bundle", pa.Table.from_pylist(rows, schema=table.schema))
    report = import_bundle(other_store, tmp_path / "bundle")
    assert report.refused == ("Row 1 is refused: it is not what its sha256 says.",)
    assert report.n_new == len(other_store.find_many(r.spec for r in records)) == len(records) - 1


@pytest.mark.parametrize("fault", ["no folder", "no json", "other layout", "other fields", "no table", "other table"])
def test_foreign_folders_are_refused_in_one_sentence(filled, other_store, tmp_path, fault):
    store, _ = filled
    path = tmp_path / "bundle"
    export_bundle(store, path)
    manifest = json.loads((path / "manifest.json").read_text())
    if fault == "no folder":
        path = tmp_path / "nothing"
    elif fault == "no json":
        (path / "manifest.json").write_text("{")
    elif fault == "other layout":
        (path / "manifest.json").write_text(json.dumps(manifest | {"format": "icl-observatory results 9"}))
    elif fault == "other fields":
        (path / "manifest.json").write_text(json.dumps(manifest | {"author": "someone"}))
    elif fault == "no table":
        (path / "cells.parquet").unlink()
    else:
        rewrite(path, pa.table({"a": [1]}))
    words = {
        "no folder": "holds no bundle",
        "no json": "holds no bundle",
        "other layout": "has the layout 'icl-observatory results 9'",
        "other fields": "unknown field author",
        "no table": "lacks its table",
        "other table": "does not have the columns",
    }
    with pytest.raises(StoreError, match=words[fault]):
        import_bundle(other_store, path)
    assert other_store.summaries() == []


def import_and_die(store_path, bundle_path):
    real = os.replace

    def replace(source, target, count=iter(range(10))):  # noqa: B008 - one counter for all calls is meant
        if next(count) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        real(source, target)

    os.replace = replace
    import_bundle(Store.open(store_path), bundle_path)


def test_an_import_that_was_killed_goes_on(filled, tmp_path, monkeypatch):
    store, records = filled
    monkeypatch.setattr(bundle, "GROUP_ROWS", 1)  # one file for each result
    export_bundle(store, tmp_path / "bundle")
    child = multiprocessing.get_context("fork").Process(
        target=import_and_die, args=(tmp_path / "other", tmp_path / "bundle")
    )
    child.start()
    child.join(timeout=60)
    assert child.exitcode == -signal.SIGKILL
    other = Store.open(tmp_path / "other")
    assert not verify_store(other.path).damaged
    report = import_bundle(other, tmp_path / "bundle")
    assert (report.n_new, report.n_kept) == (3, 3)
    assert len(other.find_many(r.spec for r in records)) == 6


def test_an_import_leaves_one_file_for_each_model(other_store, tmp_path, monkeypatch, make_record):
    monkeypatch.setattr(bundle, "GROUP_ROWS", 5)
    records = [make_record(step=step, demo_seed=seed) for step in (1000, 2000, 3000) for seed in range(12)]
    specs = [each.spec for each in records[24:]]
    specs = [dataclasses.replace(s, checkpoint=dataclasses.replace(s.checkpoint, model="another")) for s in specs]
    records = [*records[:24], *map(make_record, specs)]
    source = Store.open(tmp_path / "source")
    source.put_many(records)
    export_bundle(source, tmp_path / "bundle")
    assert import_bundle(other_store, tmp_path / "bundle").n_new == 36
    assert sorted(path.parent.name for path in other_store.results.glob("*/*")) == ["another", "pythia-70m"]
    for opened in (other_store, Store.open(other_store.path)):
        assert all(encode_record(opened.find(each.spec)) == encode_record(each) for each in records)
    assert verify_store(other_store.path).is_healthy


def test_what_an_import_joins_stays_below_a_size(filled, other_store, tmp_path, monkeypatch):
    store, _ = filled
    monkeypatch.setattr(bundle, "GROUP_ROWS", 1)
    export_bundle(store, tmp_path / "bundle")
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "_MOST_JOINED_BYTES", 1)
        import_bundle(other_store, tmp_path / "bundle")
        sizes = [path.stat().st_size for path in other_store.results.glob("*/*")]
        assert len(sizes) == 6
        patch.setattr(store_module, "_MOST_JOINED_BYTES", sum(sizes) - 1)
        other_store._join_small("pythia-70m", list(other_store._known().files))
    assert len(list(other_store.results.glob("*/*"))) == 2, "those that fit, and the last"
    assert verify_store(other_store.path).n_cells == 6


def test_rows_are_copied_from_file_to_bundle_and_back(filled, other_store, tmp_path, monkeypatch):
    """A bundle of all results of a model is, byte by byte, the file that a store makes of them."""
    store, records = filled
    store._join_small("pythia-70m", [])
    for name in ("CellRecord", "payload_sha256"):
        monkeypatch.setattr(f"icl_core.evaluation.segments.{name}", lambda *_, **__: pytest.fail("a record was made"))
    manifest = export_bundle(store, tmp_path / "bundle")
    monkeypatch.undo()
    monkeypatch.setattr(store_module, "table_of", lambda *_: pytest.fail("rows were made anew"))
    assert import_bundle(other_store, tmp_path / "bundle").n_new == len(records)
    (file,) = other_store.results.glob("*/*")
    assert file.stem == manifest.sha256
    assert file.read_bytes() == (tmp_path / "bundle" / "cells.parquet").read_bytes()


def test_shipped_bundles_are_imported_once(filled, other_store, tmp_path, monkeypatch):
    store, records = filled
    shipped = tmp_path / "embedded"
    monkeypatch.setattr(bundle, "embedded_results_path", lambda: shipped)
    assert ensure_embedded(other_store) == 0
    export_bundle(store, shipped / "another", specs=[r.spec for r in records[:4]])
    export_bundle(store, shipped / "tiny-base", specs=[r.spec for r in records[2:]])
    assert embedded_bundles() == ("tiny-base", "another")
    assert ensure_embedded(other_store, ["tiny-base"]) == 4, "the base model alone"
    with pytest.raises(StoreError, match="no shipped bundle 'none'"):
        ensure_embedded(other_store, ["none"])
    told = []
    assert ensure_embedded(other_store, on_progress=lambda done, total: told.append((done, total))) == 2
    assert told == [(0, 1)]
    monkeypatch.setattr(bundle, "import_bundle", lambda *_: pytest.fail("imported again"))
    assert ensure_embedded(other_store) == 0
    assert ensure_embedded(Store.open(other_store.path)) == 0


def test_a_shipped_bundle_is_copied_as_it_is(filled, other_store, tmp_path, monkeypatch):
    store, records = filled
    shipped = tmp_path / "embedded"
    monkeypatch.setattr(bundle, "embedded_results_path", lambda: shipped)
    manifest = export_bundle(store, shipped / "tiny-base")
    assert ensure_embedded(other_store) == len(records)
    (file,) = other_store.results.rglob("*.parquet")
    assert file.stem == manifest.sha256 and file.read_bytes() == (shipped / "tiny-base" / "cells.parquet").read_bytes()
    for record in records:
        assert encode_record(other_store.find(record.spec)) == encode_record(record)
    assert other_store.summaries() == store.summaries()
    assert verify_store(other_store.path).is_healthy


def test_a_second_shipped_bundle_of_a_model_is_copied_where_it_stands_in_no_curve_of_the_first(
    other_store, tmp_path, monkeypatch, make_record
):
    monkeypatch.setattr(bundle, "embedded_results_path", lambda: tmp_path / "embedded")
    for name, changes in (("tiny-base", {}), ("more-rows", {"n_examples": 50}), ("more-seeds", {"demo_seed": 21})):
        source = Store.open(tmp_path / name)
        source.put(make_record(**changes))
        export_bundle(source, tmp_path / "embedded" / name)
    by_row = []
    monkeypatch.setattr(
        bundle, "import_bundle", lambda store, path, **_: by_row.append(path.name) or PutReport(1, 0, {})
    )
    assert ensure_embedded(other_store) == 3
    assert by_row == ["more-seeds"] and len(other_store.summaries()) == 2


def test_models_that_share_weights_are_both_found(other_store, tmp_path, monkeypatch, make_record):
    monkeypatch.setattr(bundle, "embedded_results_path", lambda: tmp_path / "embedded")
    record = make_record()
    checkpoint = dataclasses.replace(record.spec.checkpoint, model="the-same-by-another-name")
    records = [record, dataclasses.replace(record, spec=dataclasses.replace(record.spec, checkpoint=checkpoint))]
    for each in records:
        source = Store.open(tmp_path / each.spec.checkpoint.model)
        source.put(each)
        export_bundle(source, tmp_path / "embedded" / each.spec.checkpoint.model)
    assert ensure_embedded(other_store) == 2
    for opened in (other_store, Store.open(other_store.path)):
        assert [encode_record(opened.find(each.spec)) for each in records] == list(map(encode_record, records))
        assert len(opened.summaries()) == 2 and opened.count() == 1
    assert verify_store(other_store.path).is_healthy


def test_a_shipped_bundle_that_was_altered_is_refused(filled, other_store, tmp_path, monkeypatch):
    store, records = filled
    monkeypatch.setattr(bundle, "embedded_results_path", lambda: tmp_path / "embedded")
    for name, part in (("tiny-base", records[:2]), ("whole", records[2:4]), ("without-manifest", records[4:])):
        export_bundle(store, tmp_path / "embedded" / name, specs=[record.spec for record in part])
    table = tmp_path / "embedded" / "tiny-base" / "cells.parquet"
    table.write_bytes(table.read_bytes()[:-1])
    (tmp_path / "embedded" / "without-manifest" / "manifest.json").write_text("{}")
    with pytest.raises(StoreError) as caught:
        ensure_embedded(other_store)
    assert "tiny-base" in str(caught.value) and "is damaged: its sha256" in str(caught.value)
    assert "without-manifest" in str(caught.value)
    assert {summary.spec for summary in other_store.summaries()} == {each.spec for each in records[2:4]}


@pytest.mark.parametrize("name", embedded_bundles())
def test_shipped_rows_pass_the_door_that_their_import_leaves_out(name):
    path = settings.embedded_results_path() / name / "cells.parquet"
    some = list(itertools.islice(checked_rows(path), 60))
    assert [why for _, why in some if isinstance(why, str)] == []


def test_the_manifest_reads_back(filled, tmp_path):
    store, _ = filled
    assert export_bundle(store, tmp_path / "bundle") == read_manifest(tmp_path / "bundle")
