from pathlib import Path

import pytest

from icl_core.errors import DataError
from icl_core.registry import task_files
from icl_core.registry.task_files import FileRow, read_task_file


def _write(folder: Path, content: str | bytes, name: str = "rows.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_csv_with_quotes_line_breaks_and_byte_order_mark(tmp_path: Path):
    path = _write(tmp_path, '\ufefflabel,id,text\r\nyes,1,"a, ""b""\r\nc"\r\n\r\n no ,2,é\r\n,3,d\r\n')
    assert read_task_file(path).rows == (
        FileRow("row:0", 'a, "b"\r\nc', "yes"),
        FileRow("row:1", "é", "no"),
        FileRow("row:2", "d", ""),
    )


def test_jsonl_with_splits_and_integer_labels(tmp_path: Path):
    lines = (
        '{"text": "a\\u2028b", "label": 1, "split": "train"}\n\n{"text": "c", "label": 0, "split": "validation"}\n'
        '{"text": "d", "label": null, "split": "Test"}'
    )
    assert read_task_file(_write(tmp_path, lines, "rows.jsonl")).rows == (
        FileRow("row:0", "a\u2028b", "1", "demonstrations"),
        FileRow("row:1", "c", "0", "dev"),
        FileRow("row:2", "d", "", "test"),
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "sentence;label\nx;y\n", r"lacks the column text \(present: 'sentence', 'label'\)"),
        (
            "a.csv",
            "text:label\nx:y\n",
            "text and label: all of its .* one column, 'text:label'; separate .* by commas, semi",
        ),
        ("a.csv", "", r"lacks the column text and label \(present: none\)"),
        ("a.csv", "text,label\n", "has no rows"),
        ("a.jsonl", "\n", "has no rows"),
        ("a.csv", "text,label\na,x\nb,x\n", "only the label 'x'"),
        ("a.csv", "text,label\na,\n", "has no label"),
        ("a.csv", "text,label\na,x\nb,y,z\n", "line 3: 3 fields, but the header has 2"),
        ("a.csv", 'text,label\n"a,x\n', "not valid CSV"),
        ("a.csv", "text,label,text\na,x,b\n", "names a column twice"),
        ("a.csv", "text,label,split\na,x,later\n", "unknown split 'later'"),
        ("a.csv", 'text,label\na,"x\ny"\n', "label spans several lines"),
        ("a.csv", "text,label\ncaf\xe9,x\n".encode("latin-1"), r"not UTF-8 text \(byte 14\) in line 2; save it again"),
        ("a.csv", b"\xff\xfet\x00e", r"not UTF-16 text \(byte 4\)"),
        ("a.csv", b"t\x00e\x00x\x00t\x00", "no UTF-8 text; save it again as UTF-8"),
        ("a.jsonl", '{"text": "a", "label": "x"}\n{"text": "b"', "line 2: not valid JSON"),
        ("a.jsonl", "[1]", "line 1: not an object"),
        ("a.jsonl", '{"text": "a"}', r"lacks the column label \(present: 'text'\)"),
        ("a.jsonl", '{"text": ["a"], "label": "x"}', "the text is \\['a'\\]"),
        ("a.jsonl", '{"text": "a", "label": 0.5}', "the label is 0.5"),
        ("a.txt", "text\tlabel\n", "not one of .csv, .tsv, .jsonl, .ndjson, .json"),
        ("a.json", '{"text": ["a", "b"], "label": ["x", "y"]}', "object of 2 lists; write one list with an object"),
        ("a.json", '[{"text": "a", "label": "x"},\n{"text": "b"]', "line 2: not valid JSON"),
        (
            "a.json",
            '[{"text": "a", "label": "x"}, {"text": "b"}]',
            r"item 2 lacks the column label \(present: 'text'\)",
        ),
        ("a.jsonl", '{"text": "a", "Text": "b", "label": "x"}', "line 1 names a column twice \\('text', 'Text'\\)"),
        ("a.csv", "text,label\n" + "".join(f"a,{i}\n" for i in range(101)), "101 different labels"),
    ],
)
def test_unusable_files_get_one_clear_sentence(tmp_path: Path, name: str, content: str | bytes, message: str):
    with pytest.raises(DataError, match=message):
        read_task_file(_write(tmp_path, content, name))


def test_missing_file_and_folder(tmp_path: Path):
    with pytest.raises(DataError, match=r"Cannot open .*absent.csv: No such file"):
        read_task_file(tmp_path / "absent.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match=r"Cannot read .*Is a directory"):
        read_task_file(tmp_path / "folder.csv")


def test_size_caps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = _write(tmp_path, "text,label\na,x\nb,y\nc,x\n")
    monkeypatch.setattr(task_files, "MAX_ROWS", 2)
    with pytest.raises(DataError, match="more than the 2 rows allowed"):
        read_task_file(path)
    monkeypatch.setattr(task_files, "MAX_FILE_BYTES", 10)
    with pytest.raises(DataError, match="23 bytes, more than the 10 allowed"):
        read_task_file(path)
