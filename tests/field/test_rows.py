"""Files of one's own as people bring them: every row is used as it was written, or told, or the file is refused.

Each case is a small file made here; the right answer is known by construction.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from icl_core.cli.score import _requests
from icl_core.errors import AmbiguousLabelsError, DataError, UnknownNameError
from icl_core.evaluation.cost import estimate
from icl_core.evaluation.run import run_study
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study, study_cells
from icl_core.evaluation.told import current_status, row_sentences
from icl_core.models.listing import local_checkpoints
from icl_core.registry.task_files import read_task_file
from icl_core.registry.tasks import get_task, split_task_names, task_name
from tests.support.rows import csv_text, plain_rows, read, used_rows, write
from tests.support.sentences import assert_one_sentence
from tests.support.tiny_models import save_checkpoint, save_task_file, save_trajectory

Cli = Callable[..., tuple[int, str, str]]
ROWS = plain_rows()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_trajectory(tmp_path_factory.mktemp("models") / "run", (0, 1000))


def study_of(model: Path, *tasks: Path | str, **changes: object) -> Study:
    names = tuple(task_name(str(task)) for task in tasks)
    study = Study(local_checkpoints(model)[:1], names, ("gold",), (13,), n_shots=4, n_test=6)
    return dataclasses.replace(study, **changes)  # type: ignore[arg-type]


def evaluate(cli: Cli, model: Path, tasks: object, *more: object) -> tuple[int, str, str]:
    options = ("--n-shots", 4, "--n-test", 6, "--seeds", "13", "--settings", "gold", "--device", "cpu", "--offline")
    return cli("evaluate", "--model", model, "--tasks", tasks, *options, *more)


# Formats


@pytest.mark.stands_for("cpython#117286", "labels came out with their quotes: 'a, \"b\"' was read as ' \"b\"'")
def test_spaces_before_quotes(tmp_path: Path) -> None:
    content = "text, label\n" + "".join(f'"{text}",  "{label}"\n' for text, label in ROWS)
    assert used_rows(read(write(tmp_path / "own.csv", content))) == sorted(ROWS)


FORMS: dict[str, tuple[str, str | bytes]] = {
    "tsv": ("own.tsv", csv_text(ROWS).replace(",", "\t")),
    "upper-case suffix": ("OWN.CSV", csv_text(ROWS)),
    "semicolons": ("own.csv", csv_text(ROWS).replace(",", ";")),
    "tabs in .csv": ("own.csv", csv_text(ROWS).replace(",", "\t")),
    "only carriage returns": ("own.csv", csv_text(ROWS).replace("\n", "\r")),
    "Windows line ends": ("own.csv", csv_text(ROWS).replace("\n", "\r\n")),
    "byte order mark": ("own.csv", b"\xef\xbb\xbf" + csv_text(ROWS).encode()),
    "UTF-16": ("own.csv", csv_text(ROWS).encode("utf-16")),
    "UTF-16, big end first": ("own.csv", b"\xfe\xff" + csv_text(ROWS).encode("utf-16-be")),
    "UTF-32": ("own.csv", csv_text(ROWS).encode("utf-32")),
    "header": ("own.csv", csv_text(ROWS, header=" TEXT ,Label")),
    "blank lines": ("own.csv", "\n" + csv_text(ROWS).replace("\n", "\n\n  \n")),
    "list": ("own.json", json.dumps([{"text": text, "label": label} for text, label in ROWS])),
    "indented list in an object": (
        "own.json",
        json.dumps({"version": 1, "data": [{"Text": text, "LABEL": label} for text, label in ROWS]}, indent=1),
    ),
    "JSON lines called .json": ("own.json", "\n".join(json.dumps({"text": t, "label": w}) for t, w in ROWS)),
    "JSON lines, carriage returns": ("own.jsonl", "\r".join(json.dumps({"text": t, "label": w}) for t, w in ROWS)),
}


@pytest.mark.stands_for("HXLStandard/hxl-proxy#178", "with semicolons the whole header became one column")
@pytest.mark.parametrize("form", FORMS)
def test_the_same_rows_in_every_form(tmp_path: Path, form: str) -> None:
    name, content = FORMS[form]
    data = read(write(tmp_path / name, content))
    assert used_rows(data) == sorted(ROWS)
    assert sorted(row.row_id for row in (*data.demonstration_pool, *data.dev, *data.test)) == sorted(
        f"row:{i}" for i in range(len(ROWS))
    )
    said = " ".join(data.notes)
    assert ("semicolons" in said, "tabs" in said, "UTF-16" in said, "UTF-32" in said) == (
        form == "semicolons",
        form == "tabs in .csv",
        form.startswith("UTF-16"),
        form == "UTF-32",
    )


# Rows that cannot be used


@pytest.mark.stands_for("json_reindent#12", "a lone surrogate ended the whole run with UnicodeEncodeError")
@pytest.mark.parametrize(
    ("text", "words"),
    [("\ud800", "half a surrogate pair"), ("a\0b", "zero byte"), ("a" * 200_000, "more than 20,000 characters")],
    ids=["half a pair", "zero byte", "200,000 characters"],
)
@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_a_row_that_no_model_can_read_is_left_out_and_told(tmp_path: Path, text: str, words: str, suffix: str) -> None:
    rows = [{"text": t, "label": w} for t, w in [*ROWS[:7], (text, "positive"), *ROWS[7:]]]
    content = json.dumps(rows) if suffix == ".json" else "\n".join(map(json.dumps, rows))
    data = read(write(tmp_path / f"own{suffix}", content))
    assert used_rows(data) == sorted(ROWS) and sum(data.n_rows.values()) == len(ROWS) + 1
    assert data.dropped["too_long" if len(text) > 3 else "unreadable"] == 1
    place = "item 8" if suffix == ".json" else "line 8"
    (said,) = [sentence for sentence in row_sentences(data) if words in sentence]
    assert_one_sentence(said)
    assert f"1 row with {'a ' if words != 'more than 20,000 characters' else ''}" in said and said.endswith(f"{place}.")


@pytest.mark.stands_for("simonw/datasette-lite#84", "field larger than field limit (131072), without a line")
def test_a_cell_of_200_000_characters_in_a_csv(tmp_path: Path) -> None:
    data = read(write(tmp_path / "own.csv", csv_text([*ROWS[:3], ("a" * 200_000, "positive"), *ROWS[3:]])))
    assert used_rows(data) == sorted(ROWS) and data.dropped["too_long"] == 1
    assert any(sentence.endswith("left out: line 5.") for sentence in row_sentences(data))


@pytest.mark.stands_for("strands-rl/strands-env#211", "one bad character lost the whole run")
def test_one_bad_file_leaves_the_other_tasks_as_they_are(cli: Cli, model: Path, tmp_path: Path) -> None:
    good = save_task_file(tmp_path / "good.jsonl")
    bad = write(tmp_path / "bad.jsonl", '{"text": "a", "label": "x"}\n{"text": "b", "label": \n')
    code, output, errors = evaluate(cli, model, f"{bad},{good}", "--json")
    report = json.loads(output)
    assert code == 1 and (report["n_computed"], report["n_failed"]) == (2, 2)
    assert f"{bad}, line 2: not valid JSON" in errors and errors.index("line 2") < errors.index("cells to compute")
    assert evaluate(cli, model, bad)[0] == 2, "nothing is left to do"


@pytest.mark.stands_for("strands-rl/strands-env#211", "surrogates not allowed: every sample in flight was lost")
def test_an_unforeseen_error_in_one_task_is_that_tasks_failure(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from icl_core.evaluation import run_rows

    tasks = [save_task_file(tmp_path / name) for name in ("a.jsonl", "b.jsonl")]
    load = run_rows.load_task_data

    def fails_for_a(task: object, **options: object) -> object:
        if "a.jsonl" in task.name:  # type: ignore[attr-defined]
            raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
        return load(task, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(run_rows, "load_task_data", fails_for_a)
    report = run_study(study_of(model, *tasks), Store.open(tmp_path / "store"), device="cpu", offline=True)
    assert (report.n_computed, report.n_failed) == (1, 1) and "a.jsonl" in report.failures[0].what


# Messages


REFUSED: dict[str, tuple[str, str | bytes, str]] = {
    "unclosed quote": ("a.csv", 'text,label\na,x\n"b\nc,y\nd,z\n', "line 3: .*that opens there is never closed"),
    "unclosed after a closed one": ("a.csv", 'text,label\n"a\nb","x\nc,y\n', "line 3: .*never closed"),
    "closed by a later one": (
        "a.csv", 'text,label\na,x\n"b,x\nc,y\n"d",z\n', "line 3: .*closed in line 5, but more text follows",
    ),
    "comma in a text": ("a.csv", "text,label\na,x\nb, c,y\n", "line 3: 3 fields, but the header has 2; quote texts"),
    "two text columns": ("a.csv", "Text,label,TEXT \na,x,b\n", "names a column twice .'Text', 'TEXT '.*rename"),
    "two text keys": ("a.jsonl", '{"text": "a", "text": "b", "label": "x"}', "line 1 names a column twice"),
    "no label in a line": ("a.jsonl", '{"text": "a", "label": "x"}\n{"text": "b"}', "line 2 lacks the column label"),
    "split in some lines": (
        "a.jsonl", '{"text": "a", "label": "x", "split": "test"}\n{"text": "b", "label": "y"}', "line 2: .*no split",
    ),
    "no JSON": ("a.jsonl", '{"text": "a", "label": "x"}\n\n{"text: "b"}', "line 3: not valid JSON"),
    "Latin-1": ("a.csv", "text,label\na,x\ncaf\xe9,y\n".encode("latin-1"), "not UTF-8 text .* in line 3; save"),
    "UTF-16 without its mark": ("a.csv", csv_text(ROWS).encode("utf-16-le"), "zero bytes.* save it again as UTF-8"),
    "spreadsheet": ("a.xlsx", b"PK\x03\x04", "not one of .csv, .tsv"),
    "columns of lists": ("a.json", '{"text": ["a"], "label": ["x"]}', "object of 2 lists; write one list"),
}  # fmt: skip


@pytest.mark.stands_for("pandas#22140", "EOF inside string: what is wrong, and what to do, was left to guess")
@pytest.mark.parametrize("case", REFUSED)
def test_messages_name_line_reason_and_remedy(tmp_path: Path, case: str) -> None:
    name, content, words = REFUSED[case]
    with pytest.raises(DataError, match=words) as caught:
        read(write(tmp_path / name, content))
    assert_one_sentence(str(caught.value))


@pytest.mark.stands_for("EC-CUBE/ec-cube#5561", "the message on an upload showed a path of the server")
def test_messages_on_uploads_name_the_users_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pages.evaluate.task_file import save_upload

    monkeypatch.setenv("ICL_OBSERVATORY_STORE", str(tmp_path / "store"))
    with pytest.raises(DataError, match=r"^my rows, 2\.tsv lacks the column text and label") as caught:
        save_upload("my rows, 2.tsv", b"a\tb\n")
    assert_one_sentence(str(caught.value), forbidden=tmp_path)
    assert not (tmp_path / "store" / "uploads").exists()
    with pytest.raises(DataError, match=r"Task few rows, Отзывы\.csv has too few usable rows") as caught:
        save_upload("few rows, Отзывы.csv", csv_text(ROWS[:2]).encode())
    assert_one_sentence(str(caught.value), forbidden=tmp_path)
    assert not list((tmp_path / "store" / "uploads").iterdir()), "what cannot be evaluated is no task"


@pytest.mark.stands_for("osiegmar/FastCSV#173", "a missing quote made one text of all the rows after it, unsaid")
def test_a_text_that_may_have_swallowed_rows_is_told(tmp_path: Path) -> None:
    lines = csv_text(ROWS).split("\n")
    lines[3], lines[6] = f'"{lines[3]}', f'{lines[6].rpartition(",")[0]}",positive'
    data = read(write(tmp_path / "own.csv", "\n".join(lines)))
    assert sum(data.n_rows.values()) == len(ROWS) - 3
    assert any("1 text of several lines (line 4)" in sentence for sentence in row_sentences(data))


@pytest.mark.stands_for("apple/turicreate#1528", "an upload whose labels may be one could not be answered for")
def test_an_upload_whose_labels_may_be_one_can_be_picked_either_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pages.evaluate.task_file import save_upload
    from pages.ui.controls.selection import _ways_to_read
    from pages.ui.words.written import task_title

    monkeypatch.setenv("ICL_OBSERVATORY_STORE", str(tmp_path / "store"))
    with pytest.raises(AmbiguousLabelsError, match=r"^own\.csv has labels that may be the same") as caught:
        save_upload("own.csv", csv_text([*ROWS, ("one more .", "Positive")]).encode())
    assert_one_sentence(str(caught.value), forbidden=tmp_path)
    (path,) = (tmp_path / "store" / "uploads").iterdir()
    merged, kept = (get_task(name) for name in _ways_to_read(path))
    assert (merged.n_labels, kept.n_labels) == (2, 3)
    assert [task_title(task.name) for task in (merged, kept)] == [
        f"{path.name} (labels joined)",
        f"{path.name} (labels as written)",
    ]


# Labels that may be one


ALIKE = {
    "case": ("Positive", "positive"),
    "invisible": ("positive\u200b", "positive"),
    "composition": ("caf\u00e9", "cafe\u0301"),
    "whole numbers": ("1.0", "1"),
    "white space": ("no  impact", "no impact"),
}


@pytest.mark.stands_for("apple/turicreate#1528", "Shoes and shoes became two labels")
@pytest.mark.parametrize("kind", ALIKE)
def test_labels_that_may_be_one_are_asked_about_once(tmp_path: Path, kind: str) -> None:
    rare, common = ALIKE[kind]
    rows = [(text, common if label == "positive" else label) for text, label in ROWS]
    mixed = [(text, rare if i in (1, 3) else label) for i, (text, label) in enumerate(rows)]
    path = write(tmp_path / "own.csv", csv_text(mixed))
    with pytest.raises(
        AmbiguousLabelsError, match=r"\(2 rows\) and .*\(18 rows\)|\(18 rows\) and .*\(2 rows\)"
    ) as caught:
        read(path)
    assert_one_sentence(str(caught.value))
    assert "--merge-labels" in str(caught.value) and "--keep-labels" in str(caught.value)
    merged, kept = read(f"{path}?merge-labels"), read(f"{path}?keep-labels")
    assert used_rows(merged) == sorted(rows) and used_rows(kept) == sorted(mixed)
    assert any("labels joined" in sentence for sentence in row_sentences(merged))
    assert merged.task.name != kept.task.name and merged.fingerprint != kept.fingerprint


@pytest.mark.stands_for("pandas#10647", "NA: a missing value, or North America? Nobody asked")
@pytest.mark.parametrize("word", ["nan", "None", "null", "NA", "N/A", "<NA>"])
def test_words_for_a_missing_label(tmp_path: Path, word: str) -> None:
    path = write(tmp_path / "own.csv", csv_text([*ROWS, ("film 40 is odd .", word), ("film 41 is odd .", word)]))
    with pytest.raises(AmbiguousLabelsError, match=rf"may mean that there is none: '{word}' \(2 rows\)"):
        read(path)
    data = read(f"{path}?merge-labels")
    assert used_rows(data) == sorted(ROWS)
    assert data.dropped["no_gold"] + data.dropped["demonstration_no_gold"] == 2
    assert any("2 have no label" in sentence for sentence in row_sentences(data))
    assert word in read(f"{path}?keep-labels").task.words()


@pytest.mark.stands_for("huggingface/datasets#778", "read in another way, the file still gave what was stored first")
def test_how_labels_are_read_is_part_of_what_is_stored(cli: Cli, model: Path, tmp_path: Path) -> None:
    rows = [(text, label.title() if i % 5 == 0 else label) for i, (text, label) in enumerate(ROWS)]
    path = write(tmp_path / "own.csv", csv_text(rows))
    code, _, errors = evaluate(cli, model, path)
    assert code == 2 and "may be the same" in errors and errors.count("\n") == 1
    for flag, n_labels in (("--merge-labels", 2), ("--keep-labels", 4)):
        code, output, errors = evaluate(cli, model, path, flag, "--json")
        assert code == 0 and json.loads(output)["n_computed"] == 2, "other labels are other results"
        name = task_name(str(path), labels=flag.removeprefix("--"))  # type: ignore[arg-type]
        assert get_task(name).n_labels == n_labels
        code, output, _ = cli("results", "--task", name, "--by-task", "--json")
        assert code == 0 and {row["task"] for row in json.loads(output)["results"]} == {name}
    assert "labels joined" in evaluate(cli, model, path, "--merge-labels", "--dry-run")[1]
    both = json.loads(cli("results", "--task", path, "--by-task", "--json")[1])["results"]
    assert len({row["task"] for row in both}) == 2, "a path means both ways"


# What becomes of rows is told everywhere


@pytest.fixture
def holed(tmp_path: Path) -> Path:
    """50 rows, of which few are left to evaluate: no label, no text, texts twice."""
    rows = plain_rows(50)
    text = rows[0][0]
    lines = [("", "positive"), ("odd one .", "")] + [(text, rows[0][1])] * 14 + [*rows[:34]]
    return write(tmp_path / "holed.csv", csv_text(lines))


@pytest.mark.stands_for("pandas#18694", "100,000 rows were gone and five warnings said so")
def test_rows_left_out_are_told_by_every_command(cli: Cli, model: Path, holed: Path) -> None:
    data = read(holed)
    assert sum(data.n_rows.values()) == 50
    assert len(used_rows(data)) + sum(data.dropped.values()) + data.n_spare == 50
    options = ("--n-test", 50, "--settings", "gold,random,abstract")
    told = [*row_sentences(data, n_asked=50)]
    assert "have no text" in told[0] and "(50 asked)" in told[0] and "repeat the text of a demonstration" in told[0]
    assert any("are kept" in sentence for sentence in told)
    for sentence in told:
        assert_one_sentence(sentence)
        assert sentence in evaluate(cli, model, holed, *options, "--dry-run")[1]
    errors = evaluate(cli, model, holed, *options)[2]
    assert all(errors.index(sentence) < errors.index("cells to compute") for sentence in told)
    assert all(sentence in cli("results")[1] for sentence in told)
    assert all(sentence in cli("compete", "--replicates", 20)[2] for sentence in told)


@pytest.mark.stands_for("mindsdb/mindshub#34", "of 145 rows 127 were used; nobody knew why")
def test_more_rows_than_are_evaluated_are_told(tmp_path: Path) -> None:
    rows = plain_rows(3000)
    data = read(write(tmp_path / "own.csv", csv_text(rows)))
    assert (len(data.dev), len(data.test), data.n_spare) == (300, 1000, 200)
    assert any("200 are more than the 300 dev and 1,000 test rows" in sentence for sentence in row_sentences(data))


@pytest.mark.stands_for("stanford-crfm/helm#741", "inputs too long for the context were cut silently")
def test_texts_cut_to_the_context_are_told(cli: Cli, tmp_path: Path) -> None:
    short = tmp_path / "short"
    save_checkpoint(short / "step-1", context_length=64)
    path = write(tmp_path / "own.csv", csv_text([(f"{text} {'joy ' * 20}", label) for text, label in ROWS]))
    _, output, errors = evaluate(cli, short, path, "--json")
    (said,) = json.loads(output)["cuts"]
    (record,) = Store.open(tmp_path / "store").find_many(study_cells(study_of(short, path))).values()
    assert record.n_shortened > 0
    assert f"in 1 of 1 cells {record.n_shortened} texts were cut to {record.context_cut} tokens" in said
    assert said.endswith("the context of 64.") and said in errors and said in cli("results")[1]
    assert_one_sentence(said)


# Files that change, and names of files


@pytest.mark.stands_for("huggingface/datasets#2956", "a changed file was not seen: the earlier rows were served")
def test_an_edited_file_is_counted_as_missing_and_told(cli: Cli, model: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "own.csv", csv_text(ROWS))
    study, store = study_of(model, path), Store.open(tmp_path / "store")

    def n_new_and_computed() -> tuple[int, int]:
        found = estimate(study, store, device="cpu").n_new
        return found, run_study(study, store, device="cpu", offline=True).n_computed

    assert (n_new_and_computed(), n_new_and_computed()) == ((1, 1), (0, 0))
    write(path, csv_text([(text.replace("film", "book"), label) for text, label in ROWS]))
    assert "has changed since" in cli("results")[1]
    assert list(current_status(store, study_cells(study)).values()) == ["missing"]
    assert n_new_and_computed() == (1, 1)
    assert "has changed since" not in cli("results")[1]
    write(path, csv_text(ROWS))
    assert n_new_and_computed() == (0, 0), "stored from before"
    path.unlink()
    code, output, _ = cli("results", "--task", path)
    assert code == 0 and "does not exist any more" in output


@pytest.mark.stands_for("EleutherAI/lm-evaluation-harness#2715", "weights replaced: counted as stored, then computed")
def test_an_edited_checkpoint_is_counted_as_missing_and_told(cli: Cli, tmp_path: Path) -> None:
    folder, path = tmp_path / "own-run", write(tmp_path / "own.csv", csv_text(ROWS))
    save_checkpoint(folder / "step-1", seed=1)
    study, store = study_of(folder, path), Store.open(tmp_path / "store")
    run_study(study, store, device="cpu", offline=True)
    assert estimate(study, store, device="cpu").n_new == 0
    save_checkpoint(folder / "step-1", seed=2)
    assert estimate(study, store, device="cpu").n_new == 1
    assert "The files of own-run (step-1) have changed since" in cli("results")[1]
    assert run_study(study, store, device="cpu", offline=True).n_computed == 1


@pytest.mark.stands_for("subdb/pyrrot-cli#2", "a folder with commas in its name was not found under it")
def test_results_of_a_file_are_found_however_it_is_named(
    cli: Cli, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "here" / "my rows, second half.csv", csv_text(ROWS))
    (tmp_path / "link.csv").symlink_to(path)
    monkeypatch.chdir(path.parent)
    monkeypatch.setenv("HOME", str(tmp_path))
    all_settings = ("--settings", "gold,random,abstract")
    assert evaluate(cli, model, path.name, *all_settings)[0] == 0
    monkeypatch.chdir(tmp_path)
    named = (f"here/{path.name}", path, f"file:{path}", f"~/here/{path.name}", "link.csv", f"here/../here/{path.name}")
    for name in named:
        code, output, _ = cli("results", "--task", name, "--json")
        assert code == 0 and len(json.loads(output)["results"]) == 6, name
        code, output, _ = cli("compete", "--tasks", name, "--replicates", 20, "--json")
        assert code == 0 and len(json.loads(output)) == 1, name
    for command in (("results", "--task"), ("compete", "--tasks"), ("export", tmp_path / "bundle", "--task")):
        code, _, errors = cli(*command, "other.csv")
        assert code == 2 and "no results of task other.csv" in errors and f"file:{path}" in errors
    assert not (tmp_path / "bundle").exists()


@pytest.mark.stands_for("Hal0ai/hal0#1415", "a link into a cache lost its suffix when it was followed")
def test_a_link_to_a_file_without_a_suffix(tmp_path: Path) -> None:
    blob = write(tmp_path / "blobs" / "0f3c", csv_text(ROWS))
    (tmp_path / "train.csv").symlink_to(blob)
    assert task_name(str(tmp_path / "train.csv")) == f"file:{tmp_path / 'train.csv'}"
    assert used_rows(read(tmp_path / "train.csv")) == sorted(ROWS)


@pytest.mark.stands_for("clap-rs/clap#424", "a file name was cut at its comma")
def test_names_with_commas_and_names_that_cannot_be_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a, b, c.csv", csv_text(ROWS))
    write(tmp_path / "d.csv", csv_text(ROWS))
    words = split_task_names("sst2, a, b, c.csv,d.csv?merge-labels , trec,", known=["all"])
    assert words == ["sst2", "a, b, c.csv", "d.csv?merge-labels", "trec"]
    for name in (
        "file:a\0b.csv",
        f"file:{'a' * 5000}.csv",
        "file:~nobody-here/a.csv",
        "file:" + os.fsdecode(b"caf\xe9.csv"),
    ):
        with pytest.raises(DataError) as caught:
            get_task(name)
        assert len(str(caught.value)) < 6_000 and str(caught.value).isprintable()
    with pytest.raises(UnknownNameError, match="file:PATH"):
        get_task(task_name("nothing"))


@pytest.mark.stands_for("wbolster/jsonlines#68", "files with a byte order mark could not be read")
def test_score_reads_a_byte_order_mark_and_names_the_bad_line(tmp_path: Path) -> None:
    line = '{"context": "x", "choices": ["a"]}\n'
    assert list(_requests(write(tmp_path / "in.jsonl", f"\ufeff{line}\r\n{line}"))) == [("x", ["a"])] * 2
    for bad, words in (
        (b"{\xff}", "Line 2 of .* is not UTF-8"),
        (b'{"context": "\\ud800", "choices": ["a"]}', "Line 2 of .*half a surrogate pair"),
        (b"[" * 100_000, "Line 2 of .* is not JSON"),
    ):
        with pytest.raises(DataError, match=words) as caught:
            list(_requests(write(tmp_path / "in.jsonl", line.encode() + bad)))
        assert_one_sentence(str(caught.value))


@pytest.mark.stands_for("huggingface/datasets#2956", "a changed file was not seen: the earlier rows were served")
def test_a_file_saved_again_at_once_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    for label in ("x", "y", "z"):
        write(path, csv_text([("a", label), ("b", "w")]))
        os.utime(path, ns=(10**18, 10**18))
        assert read_task_file(path).labels == {label, "w"}


@pytest.mark.stands_for("takala/financial_phrasebank", "real texts with quotes and commas, through the same reader")
def test_real_rows_through_the_same_reader(shared_data_path: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    for folder in ("takala/financial_phrasebank/sentences_allagree", "cardiffnlp/tweet_eval/emotion"):
        rows = pq.read_table(shared_data_path / folder / "train-00000-of-00001.parquet").to_pylist()
        texts = [str(next(row[name] for name in ("sentence", "text") if name in row)) for row in rows]
        labels = [f"label {row['label']}" for row in rows]
        quoted = ['"{}"'.format(text.replace('"', '""')) for text in texts]
        forms = {
            "own.csv": "\r\n".join(["text,label", *(f"{q}, {w}" for q, w in zip(quoted, labels, strict=True))]),
            "own.jsonl": "\n".join(json.dumps({"text": t, "label": w}) for t, w in zip(texts, labels, strict=True)),
        }
        for name, content in forms.items():
            rows_read = read_task_file(write(tmp_path / name, content)).rows
            assert [row.text for row in rows_read] == texts and [row.label for row in rows_read] == labels
            data = read(tmp_path / name)
            n_used = len(data.demonstration_pool) + len(data.dev) + len(data.test)
            assert n_used + sum(data.dropped.values()) + data.n_spare == len(texts)
            assert np.unique([row.row_id for row in (*data.demonstration_pool, *data.dev, *data.test)]).size == n_used
