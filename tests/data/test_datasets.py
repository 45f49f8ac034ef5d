import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from icl_core.data.datasets import load_task_data
from icl_core.errors import DataError
from icl_core.registry.tasks import TASKS, FileSource, HubSource, Task, get_task

# task: pool, then rows to evaluate without gold, empty, duplicate, then dev, test
COUNTS = {
    "sst2": (10_000, 1_821, 0, 0, 200, 672),
    "financial_phrasebank": (1_132, 0, 0, 1, 260, 871),
    "emotion": (3_257, 0, 0, 0, 300, 1_000),
    "poem_sentiment": (892, 0, 0, 0, 48, 161),
    "trec": (5_452, 0, 0, 10, 112, 378),
    "stance_atheism": (461, 0, 0, 0, 62, 210),
    "stance_feminist": (597, 0, 0, 0, 80, 272),
    "hate": (8_993, 0, 1, 235, 300, 1_000),
    "ethos_race": (217, 0, 0, 0, 49, 167),
    "ethos_gender": (217, 0, 0, 0, 49, 167),
    "ethos_national_origin": (217, 0, 0, 0, 49, 167),
    "ethos_religion": (217, 0, 0, 0, 49, 167),
    "sick": (4_439, 0, 0, 0, 300, 1_000),
    "snli": (10_000, 0, 0, 0, 300, 1_000),
    "wnli": (635, 146, 0, 0, 16, 55),
    "mrpc": (3_668, 0, 0, 0, 300, 1_000),
}


@pytest.mark.parametrize("name", TASKS)
def test_split_rule_on_real_rows(shared_data_path: Path, name: str):
    data = load_task_data(TASKS[name], data_dir=shared_data_path)
    dropped = data.dropped
    found = (dropped["no_gold"], dropped["empty"], dropped["duplicate"], len(data.dev), len(data.test))
    assert (len(data.demonstration_pool), *found) == COUNTS[name]
    assert dropped["demonstration_empty"] == (7 if name == "hate" else 0)
    evaluated = {e.row_id for e in (*data.dev, *data.test)}
    assert len(evaluated) == len(data.dev) + len(data.test)
    pool_texts = {e.text for e in data.demonstration_pool}
    assert not pool_texts & {e.text for e in (*data.dev, *data.test)}
    if len(data.n_rows) == 1:
        assert not evaluated & {e.row_id for e in data.demonstration_pool}
    assert bool(data.differences) == (name in ("sst2", "snli"))
    for example in (*data.dev, *data.test):
        assert example.text == example.text.strip() != "" and "\n" not in example.text
        assert 0 <= example.gold < data.task.n_labels
        assert (example.text_pair is not None) == data.task.is_pair


def test_rows_keep_their_text_and_label(shared_data_path: Path):
    data = load_task_data(TASKS["sick"], data_dir=shared_data_path)
    folder = shared_data_path / "RobZamp" / "sick" / "default"
    for example in data.test[:50]:
        split, index = example.row_id.split(":")
        row = pq.read_table(folder / f"{split}-00000-of-00001.parquet").slice(int(index), 1).to_pylist()[0]
        assert example.text_pair == (row["sentence_A"].strip(), row["sentence_B"].strip())
        assert example.text == " [SEP] ".join(example.text_pair)
        assert example.gold == row["label"]


def test_split_order_is_the_written_rule(shared_data_path: Path):
    """Recomputed from the files in plain Python."""
    data = load_task_data(TASKS["trec"], data_dir=shared_data_path)
    folder = shared_data_path / "CogComp" / "trec" / "default"
    train, test = (pq.read_table(folder / f"{s}-00000-of-00001.parquet").to_pylist() for s in ("train", "test"))
    known = {row["text"].strip() for row in train}
    kept = [(i, row) for i, row in enumerate(test) if row["text"].strip() not in known]
    order = np.random.Generator(np.random.PCG64(42)).permutation(len(kept))
    expected = [(f"test:{kept[i][0]}", kept[i][1]["text"].strip(), kept[i][1]["coarse_label"]) for i in order]
    assert [(e.row_id, e.text, e.gold) for e in (*data.dev, *data.test)] == expected


def test_fingerprint_is_over_ids_labels_and_texts_in_order(shared_data_path: Path):
    data = load_task_data(TASKS["wnli"], data_dir=shared_data_path)
    digest = hashlib.sha256()
    for part in (data.demonstration_pool, data.dev, data.test):
        digest.update(f"{len(part)} rows\n".encode())
        for example in part:
            first, second = example.text_pair
            digest.update(f"{example.row_id}\t{example.gold}\t{first}\r{second}\n".encode())
    assert data.fingerprint == digest.hexdigest()


def _hub_copy(
    folder: Path, task: Task, rows: dict[str, list[dict[str, object]]], names: list[str] | None = None
) -> None:
    assert isinstance(task.source, HubSource)
    target = folder / task.source.hub_id / task.source.config
    target.mkdir(parents=True)
    features = {"info": {"features": {task.label_column: {"names": names or list(task.label_names)}}}}
    for split, content in rows.items():
        table = pa.Table.from_pylist(content).replace_schema_metadata({"huggingface": json.dumps(features)})
        pq.write_table(table, target / f"{split}-00000-of-00001.parquet")


def _sst2_rows(texts: list[str | None], labels: list[int | None]) -> list[dict[str, object]]:
    return [{"idx": 0, "sentence": text, "label": label} for text, label in zip(texts, labels, strict=True)]


def test_dropped_rows_are_counted(tmp_path: Path):
    task = TASKS["sst2"]
    train = _sst2_rows(["a ", "b\nc", "d", "  ", None, "x"], [0, 1, -1, 0, 1, None])
    more = [f"new {i}" for i in range(20)]
    validation = _sst2_rows([" a", "b c", "", "e", "e", *more], [1, 0, 1, 0, 0, *[1] * 20])
    _hub_copy(tmp_path, task, {"train": train, "validation": validation, "test": _sst2_rows(["f", "a"], [-1, None])})
    data = load_task_data(task, data_dir=tmp_path)
    assert data.dropped == {
        "no_gold": 2,
        "empty": 1,
        "duplicate": 2,
        "demonstration_no_gold": 2,
        "demonstration_empty": 2,
    }
    assert [(e.row_id, e.text) for e in data.demonstration_pool] == [("train:0", "a"), ("train:1", "b c")]
    assert data.demonstration_pool[-1].text == "b c" and data.demonstration_pool[:1][0].text == "a"
    assert data.pool_labels.tolist() == [0, 1]
    assert (len(data.dev), len(data.test)) == (22 * 23 // 100, 22 - 22 * 23 // 100)
    assert data.differences[0] == "train has 6 rows but the Hub has 67,349"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"names": ["positive", "negative"]},
            "labels of task sst2 in the split .* are positive, negative, .*dataset has changed",
        ),
        ({"rows": [{"text": "a", "label": 0}]}, r"lacks the column sentence \(present: label\)"),
        ({"rows": _sst2_rows(["a"], [2])}, "label ids outside 0 to 1"),
        ({"rows": _sst2_rows(["a", "b"], [0, 1])}, r"too few usable rows \(2 for demonstrations, 0 dev, 0 test\)"),
    ],
)
def test_a_copy_that_is_not_the_dataset_is_refused(tmp_path: Path, change: dict[str, list], message: str):
    rows = change.get("rows", _sst2_rows(["a"], [0]))
    _hub_copy(tmp_path, TASKS["sst2"], dict.fromkeys(("train", "validation", "test"), rows), change.get("names"))
    with pytest.raises(DataError, match=message):
        load_task_data(TASKS["sst2"], data_dir=tmp_path)


def test_missing_and_damaged_local_files(tmp_path: Path):
    with pytest.raises(DataError, match=r"has no train-\*\.parquet; give a directory in Hub layout"):
        load_task_data(TASKS["sst2"], data_dir=tmp_path)
    folder = tmp_path / "stanfordnlp" / "sst2" / "default"
    folder.mkdir(parents=True)
    (folder / "train-0.parquet").write_bytes(b"PAR1 half a file")
    with pytest.raises(DataError, match=r"Cannot read .*copy the files again"):
        load_task_data(TASKS["sst2"], data_dir=tmp_path)


def _own(folder: Path, lines: list[str]) -> Task:
    path = folder / "own.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return get_task(f"file:{path}")


def test_own_file_without_splits_is_halved(tmp_path: Path):
    task = _own(tmp_path, ["text,label", *(f"t{i},{'xy'[i % 2]}" for i in range(101)), "late,"])
    data = load_task_data(task)
    assert len(data.demonstration_pool) + data.dropped["demonstration_no_gold"] == 51
    assert len(data.dev) + len(data.test) + data.dropped["no_gold"] == 51
    assert data.dropped["no_gold"] + data.dropped["demonstration_no_gold"] == 1
    for example in (*data.demonstration_pool, *data.dev, *data.test):
        index = int(example.row_id.removeprefix("row:"))
        assert (example.text, task.label_names[example.gold]) == (f"t{index}", "xy"[index % 2])


def test_own_file_with_splits_is_used_as_given(tmp_path: Path):
    splits = ["demonstrations"] * 4 + ["dev"] * 3 + ["test"] * 5
    lines = ["text,label,split", *(f"t{i},{'xy'[i % 2]},{split}" for i, split in enumerate(splits)), "t0,x,test"]
    data = load_task_data(_own(tmp_path, lines))
    assert [e.text for e in data.demonstration_pool] == ["t0", "t1", "t2", "t3"]
    assert {e.text for e in data.dev} == {"t4", "t5", "t6"}
    assert {e.text for e in data.test} == {f"t{i}" for i in range(7, 12)}
    assert data.dropped["duplicate"] == 1


def test_own_file_without_a_dev_split_takes_dev_from_test(tmp_path: Path):
    lines = ["text,label,split", *(f"t{i},{'xy'[i % 2]},{'train' if i < 10 else 'test'}" for i in range(30))]
    data = load_task_data(_own(tmp_path, lines))
    assert (len(data.demonstration_pool), len(data.dev), len(data.test)) == (10, 4, 16)


def test_own_file_without_demonstrations(tmp_path: Path):
    lines = ["text,label,split", *(f"t{i},{'xy'[i % 2]},{'dev' if i < 10 else 'test'}" for i in range(30))]
    with pytest.raises(DataError, match="no rows of the split demonstrations"):
        load_task_data(_own(tmp_path, lines))


def test_own_file_that_changed_since_it_was_chosen(tmp_path: Path):
    task = _own(tmp_path, ["text,label", "a,x", "b,y"])
    assert isinstance(task.source, FileSource)
    task.source.path.write_text("text,label\na,x\nb,z\n", encoding="utf-8")
    with pytest.raises(DataError, match="the label 'z' is new"):
        load_task_data(task)
