"""Studies: cells in run order, strict JSON, and one gate that checks every value."""

from __future__ import annotations

import dataclasses
import itertools
import json
import subprocess
import sys

import pytest

from icl_core.errors import DataError, ObservatoryError, StudyError, UnknownNameError
from icl_core.evaluation.study import (
    MAX_SEED,
    N_DEV_EXAMPLES,
    Study,
    most_alike,
    shared_options,
    study_cells,
    study_digest,
    study_from_json,
    study_to_json,
    validate_study,
)
from icl_core.records import CheckpointRef
from icl_core.registry.families import get_model, known_checkpoints

CHECKPOINTS = known_checkpoints(get_model("pythia-70m"))[:2]
STUDY = Study(
    checkpoints=CHECKPOINTS,
    tasks=("sst2", "trec"),
    label_settings=("gold", "random", "abstract"),
    demo_seeds=(13, 21),
    splits=("dev", "test"),
    n_test=500,
)


def changed(**changes):
    return dataclasses.replace(STUDY, **changes)


def test_cells_are_the_whole_grid_checkpoint_by_checkpoint():
    cells = study_cells(STUDY)
    assert len(cells) == len(set(cells)) == len({c.digest for c in cells}) == 2 * 2 * 3 * 2 * 2
    assert [key for key, _ in itertools.groupby(c.checkpoint for c in cells)] == list(CHECKPOINTS)
    settings_of_a_prompt = [c.label_setting for c in cells[:3]]
    assert settings_of_a_prompt == ["gold", "random", "abstract"]
    assert len({(c.task, c.split, c.demo_seed) for c in cells[:3]}) == 1


def test_splits_have_their_own_sizes():
    assert {(c.split, c.n_examples) for c in study_cells(STUDY)} == {("dev", N_DEV_EXAMPLES), ("test", 500)}


def test_cells_carry_every_option_of_the_study():
    options = {
        "n_shots": 8,
        "template": "natural",
        "label_word_set": "reference_code",
        "sampling": "balanced",
        "dtype": "bfloat16",
        "attention": "eager",
        "data_dir": "/data",
    }
    for cell in study_cells(changed(**options)):
        assert {name: getattr(cell, name) for name in options} == options


def test_studies_that_differ_in_the_alphabet_share_gold_and_random_cells():
    symbols, letters = set(study_cells(STUDY)), set(study_cells(changed(alphabet="letters")))
    assert {c.label_setting for c in symbols & letters} == {"gold", "random"}
    assert {c.label_setting for c in symbols ^ letters} == {"abstract"}
    assert {c.alphabet for c in letters if c.label_setting == "abstract"} == {"letters"}


def test_the_most_alike_cells_are_those_of_the_most_frequent_options():
    test_only = {"splits": ("test",)}
    many, few, longer = (
        study_cells(changed(**test_only)),
        study_cells(changed(**test_only, demo_seeds=(13,), template="natural")),
        study_cells(changed(**test_only, n_test=501)),
    )
    assert most_alike([*few, *many]) == list(many)
    assert most_alike([*longer, *many, *few]) == list(longer), "of equally frequent ones those with most rows"
    assert most_alike([]) == []


@pytest.mark.parametrize(
    "change",
    [
        {"n_shots": 4},
        {"template": "natural"},
        {"label_word_set": "reference_code"},
        {"sampling": "balanced"},
        {"dtype": "bfloat16"},
        {"attention": "eager"},
        {"data_dir": "/data"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_cells_under_another_option_are_not_alike(change):
    many = study_cells(changed(splits=("test",)))
    few = study_cells(changed(splits=("test",), demo_seeds=(13,), **change))
    assert most_alike([*few, *many]) == list(many)
    assert shared_options(few[0]) == {**shared_options(many[0]), **change}


def test_json_brings_the_study_back():
    study = changed(data_dir="/data", checkpoints=(*CHECKPOINTS, CheckpointRef("local", "m", "r", "folder", "/m")))
    assert study_from_json(study_to_json(study)) == study
    assert study_to_json(study_from_json(study_to_json(study))) == study_to_json(study)


def test_defaults_may_be_left_out_of_json():
    plain = json.loads(study_to_json(Study(CHECKPOINTS, ("sst2",), ("gold",), (13,))))
    short = {name: plain[name] for name in ("checkpoints", "tasks", "label_settings", "demo_seeds")}
    assert study_from_json(json.dumps(short)) == Study(CHECKPOINTS, ("sst2",), ("gold",), (13,))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seeds": [1]}, "unknown field seeds"),
        ({"n_shots": "16"}, "n_shots: '16' is not of type int"),
        ({"n_shots": True}, "n_shots: True is not of type int"),
        ({"n_test": 1e3}, "n_test: 1000.0 is not of type int"),
        ({"tasks": "sst2"}, "tasks: 'sst2' is not of type list"),
        ({"tasks": None}, "tasks: None is not of type list"),
        ({"label_settings": ["golden"]}, "label_settings: 'golden' is not one of gold, random, abstract"),
        ({"splits": ["train"]}, "splits: 'train' is not one of dev, test"),
        ({"alphabet": "runes"}, "alphabet: 'runes' is not one of symbols, numbers, letters"),
        ({"checkpoints": [{"family": "pythia"}]}, "checkpoints: field location, model, revision, source is missing"),
        ({"checkpoints": [[]]}, r"checkpoints: \[\] is not of type dict"),
        ({"data_dir": 5}, "data_dir: 5 is not of type str"),
    ],
)
def test_json_that_is_not_exactly_a_study_is_refused(change, words):
    plain = json.loads(study_to_json(STUDY)) | change
    with pytest.raises(StudyError, match=words):
        study_from_json(json.dumps(plain))


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"tasks":', "NaN"])
def test_text_that_is_no_study_is_refused(text):
    with pytest.raises(StudyError, match="not the JSON of a study"):
        study_from_json(text)


def test_the_digest_is_that_of_the_content_in_any_process():
    code = "import sys; from icl_core.evaluation.study import *; print(study_digest(study_from_json(sys.stdin.read())))"
    told = subprocess.run(
        [sys.executable, "-c", code], input=study_to_json(STUDY), text=True, capture_output=True, check=True
    )
    assert told.stdout.strip() == study_digest(STUDY)
    assert study_digest(changed(n_test=501)) != study_digest(STUDY)


def test_a_sound_study_passes():
    validate_study(STUDY)
    validate_study(changed(n_shots=1, n_test=1, demo_seeds=(0, MAX_SEED), template="natural"))


HUB = CHECKPOINTS[0]
FAULTS = [
    ({"checkpoints": ()}, StudyError, "names no checkpoints"),
    ({"tasks": ()}, StudyError, "names no tasks"),
    ({"label_settings": ()}, StudyError, "names no label settings"),
    ({"demo_seeds": ()}, StudyError, "names no demonstration seeds"),
    ({"splits": ()}, StudyError, "names no splits"),
    ({"tasks": ("sst2", "sst2")}, StudyError, "tasks repeat sst2"),
    ({"demo_seeds": (13, 21, 13)}, StudyError, "seeds repeat 13"),
    ({"checkpoints": (HUB, HUB)}, StudyError, "checkpoints repeat"),
    ({"demo_seeds": tuple(range(101))}, StudyError, "101 demonstration seeds, but at most 100"),
    ({"demo_seeds": (-1,)}, StudyError, "-1 cannot be a demonstration seed"),
    ({"demo_seeds": (2**32,)}, StudyError, "from 0 to 4294967295"),
    ({"demo_seeds": (1.5,)}, StudyError, "1.5 cannot be"),
    ({"n_shots": 0}, StudyError, "from 1 to 128"),
    ({"n_shots": 129}, StudyError, "from 1 to 128"),
    ({"n_shots": True}, StudyError, "True cannot be the number of demonstrations"),
    ({"n_test": 0}, StudyError, "from 1 to 10000"),
    ({"n_test": 10_001}, StudyError, "from 1 to 10000"),
    ({"tasks": ("sst3",)}, UnknownNameError, "sst2"),
    ({"tasks": ("file:/nowhere/rows.csv",)}, DataError, "/nowhere/rows.csv"),
    ({"label_settings": ("golden",)}, UnknownNameError, "known are gold, random, abstract"),
    ({"splits": ("train",)}, UnknownNameError, "known are dev, test"),
    ({"template": "chatty"}, UnknownNameError, "minimal, natural"),
    ({"label_word_set": "emoji"}, UnknownNameError, "natural, reference_code"),
    ({"alphabet": "runes"}, UnknownNameError, "known are symbols, numbers, letters"),
    ({"sampling": "clever"}, UnknownNameError, "known are uniform, balanced"),
    ({"dtype": "auto"}, UnknownNameError, "known are float32"),
    ({"attention": "fast"}, UnknownNameError, "known are sdpa"),
    ({"data_dir": "/nowhere"}, StudyError, "/nowhere"),
    ({"data_dir": "."}, StudyError, "absolute path"),
    ({"checkpoints": (dataclasses.replace(HUB, family="pythonia"),)}, UnknownNameError, "known are .*pythia"),
    ({"checkpoints": (dataclasses.replace(HUB, model="pythia-71m"),)}, UnknownNameError, "pythia-70m"),
    (
        {"checkpoints": (dataclasses.replace(HUB, family="olmo"),)},
        StudyError,
        "belongs to the family pythia, not to olmo",
    ),
    ({"checkpoints": (dataclasses.replace(HUB, source="ftp"),)}, UnknownNameError, "known are hub, folder, gguf"),
    ({"checkpoints": (dataclasses.replace(HUB, revision=""),)}, StudyError, "has no model, revision or location"),
    ({"checkpoints": (dataclasses.replace(HUB, step=-1),)}, StudyError, "-1 cannot be the step of pythia-70m"),
    ({"checkpoints": (CheckpointRef("local", "m", "step-1", "folder", "/nowhere"),)}, StudyError, "/nowhere"),
    (
        {"checkpoints": (CheckpointRef("local", "m", "m.gguf", "gguf", "/nowhere/m.gguf"),)},
        StudyError,
        "does not exist",
    ),
]


@pytest.mark.parametrize(
    ("change", "kind", "words"), FAULTS, ids=[f"{i}-{next(iter(f[0]))}" for i, f in enumerate(FAULTS)]
)
def test_every_value_out_of_place_is_named(change, kind, words):
    with pytest.raises(kind, match=words) as caught:
        validate_study(changed(**change))
    assert "\n" not in str(caught.value)


def test_more_labels_than_symbols_is_an_error_in_the_abstract_setting_alone(tmp_path):
    path = tmp_path / "many.csv"
    path.write_text("text,label\n" + "".join(f"words {i},label{i % 9}\n" for i in range(90)))
    study = changed(tasks=(f"file:{path}",))
    with pytest.raises(ObservatoryError, match=r"9 labels.*symbols.*8"):
        validate_study(study)
    validate_study(dataclasses.replace(study, label_settings=("gold", "random")))
    validate_study(dataclasses.replace(study, alphabet="numbers"))


def test_a_file_is_named_by_its_absolute_path(tmp_path, monkeypatch):
    (tmp_path / "rows.csv").write_text("text,label\na,yes\nb,no\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StudyError, match=f"file:{tmp_path}/rows.csv"):
        validate_study(changed(tasks=("file:rows.csv",)))
    validate_study(changed(tasks=(f"file:{tmp_path}/rows.csv",)))
