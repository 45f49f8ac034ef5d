"""Keys of results: everything that changes a number changes the key, nothing else does."""

from __future__ import annotations

import dataclasses

import pytest

from icl_core.evaluation import cells
from icl_core.evaluation.cells import current_versions, make_cell_key
from icl_core.records import SCORING_VERSION, CellKey, CellSpec, CheckpointIdentity, CheckpointRef
from icl_core.registry.tasks import get_task

CHECKPOINT_CHANGES = {
    "family": "local",
    "model": "other",
    "revision": "main",
    "source": "folder",
    "location": "/models",
    "step": 2000,
    "tokens_seen": 5,
    "weight_file": "pytorch_model.1000",
    "remap": "minicpm_to_granite",
}
SPEC_CHANGES = {
    "task": "mrpc",
    "split": "dev",
    "label_setting": "random",
    "demo_seed": 21,
    "n_shots": 8,
    "n_examples": 26,
    "template": "natural",
    "label_word_set": "reference_code",
    "alphabet": "letters",
    "sampling": "balanced",
    "dtype": "bfloat16",
    "attention": "eager",
    "data_dir": "/data",
}
KEY_CHANGES = {
    "commit": "decaf",
    "weight_files": (("model.safetensors", "00" * 32),),
    "tokenizer_sha256": "71" * 32,
    "context_length": 4096,
    "remap": "minicpm_to_granite",
    "dtype": "bfloat16",
    "attention": "eager",
    "task": "mrpc",
    "task_version": 2,
    "dataset_fingerprint": "f2" * 32,
    "row_ids_sha256": "aa" * 32,
    "label_word_set": "reference_code",
    "label_words": ("bad", "good"),
    "template": "natural",
    "template_text": "{x}\nIt was ",
    "label_setting": "random",
    "alphabet": "letters",
    "n_shots": 8,
    "sampling": "balanced",
    "demo_seed": 21,
    "scoring_version": SCORING_VERSION + 1,
}


def names(cls):
    return {field.name for field in dataclasses.fields(cls)}


def test_the_changes_below_cover_every_field():
    assert set(KEY_CHANGES) == names(CellKey)
    assert set(SPEC_CHANGES) == names(CellSpec) - {"checkpoint"}
    assert set(CHECKPOINT_CHANGES) == names(CheckpointRef)


@pytest.mark.parametrize("field", KEY_CHANGES)
def test_any_field_changes_the_key(make_record, field):
    key = make_record().key
    assert dataclasses.replace(key, **{field: KEY_CHANGES[field]}).digest != key.digest


@pytest.mark.parametrize("field", SPEC_CHANGES)
def test_any_field_changes_the_spec(make_spec, field):
    spec = make_spec()
    assert dataclasses.replace(spec, **{field: SPEC_CHANGES[field]}).digest != spec.digest


@pytest.mark.parametrize("field", CHECKPOINT_CHANGES)
def test_any_field_of_the_checkpoint_changes_the_spec(make_spec, field):
    spec = make_spec()
    other = dataclasses.replace(spec.checkpoint, **{field: CHECKPOINT_CHANGES[field]})
    assert dataclasses.replace(spec, checkpoint=other).digest != spec.digest


IDENTITY = CheckpointIdentity("c0ffee", (("a.safetensors", "1" * 64), ("b.safetensors", "2" * 64)), "t" * 64, 2048)


def key_of(spec, **changes):
    task = get_task(spec.task)
    found = {
        "identity": IDENTITY,
        "task": task,
        "fingerprint": "f1",
        "row_ids": ("test:0", "test:1"),
        "label_words": task.words(),
        "template_text": task.template_text("minimal"),
    }
    return make_cell_key(spec, **(found | changes))


@pytest.mark.parametrize(
    "change",
    [
        {"identity": dataclasses.replace(IDENTITY, commit="decaf")},
        {"identity": dataclasses.replace(IDENTITY, weight_files=IDENTITY.weight_files[:1])},
        {"identity": dataclasses.replace(IDENTITY, tokenizer_sha256="u" * 64)},
        {"identity": dataclasses.replace(IDENTITY, context_length=1024)},
        {"task": dataclasses.replace(get_task("sst2"), version=99)},
        {"fingerprint": "f2"},
        {"row_ids": ("test:1", "test:0")},
        {"row_ids": ("test:0",)},
        {"label_words": ("bad", "good")},
        {"template_text": "{x} => "},
    ],
)
def test_whatever_was_found_changes_the_key(make_spec, change):
    assert key_of(make_spec(), **change).digest != key_of(make_spec()).digest


@pytest.mark.parametrize("field", ["label_setting", "demo_seed", "n_shots", "sampling", "dtype", "attention"])
def test_whatever_was_asked_changes_the_key(make_spec, field):
    assert key_of(make_spec(**{field: SPEC_CHANGES[field]})).digest != key_of(make_spec()).digest


@pytest.mark.parametrize("field", ["revision", "model", "step", "location"])
def test_names_of_the_checkpoint_do_not_change_the_key(make_spec, field):
    spec = make_spec()
    other = dataclasses.replace(spec.checkpoint, **{field: CHECKPOINT_CHANGES[field]})
    assert key_of(dataclasses.replace(spec, checkpoint=other)) == key_of(spec)


@pytest.mark.parametrize("remap", [None, "minicpm_to_granite"])
def test_how_weights_are_mapped_is_in_the_key(make_spec, remap):
    spec = make_spec()
    mapped = dataclasses.replace(spec, checkpoint=dataclasses.replace(spec.checkpoint, remap=remap))
    assert key_of(mapped).remap == remap


def test_the_order_in_which_weight_files_are_found_does_not_change_the_key(make_spec):
    turned = dataclasses.replace(IDENTITY, weight_files=IDENTITY.weight_files[::-1])
    assert key_of(make_spec(), identity=turned) == key_of(make_spec())


def test_the_alphabet_counts_in_the_abstract_setting_alone(make_spec):
    def key(setting, alphabet):
        return key_of(make_spec(label_setting=setting, alphabet=alphabet))

    assert key("abstract", "letters") != key("abstract", "symbols")
    for setting in ("gold", "random"):
        assert key(setting, "letters") == key(setting, "symbols")


def test_a_key_is_current_until_scoring_or_task_change(make_record, monkeypatch):
    key = make_record().key
    versions = key.scoring_version, key.task_version
    assert current_versions(key.task) == versions
    monkeypatch.setattr(cells, "SCORING_VERSION", key.scoring_version + 1)
    assert current_versions(key.task) == (versions[0] + 1, versions[1])


def test_tasks_that_are_gone_have_no_current_result_but_own_files_keep_theirs(tmp_path):
    assert current_versions("no_such_task") is None
    assert current_versions(f"file:{tmp_path}/moved.csv") == (cells.SCORING_VERSION, 1)
    assert current_versions("sst2") == (cells.SCORING_VERSION, get_task("sst2").version)
