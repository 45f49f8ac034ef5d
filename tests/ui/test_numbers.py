"""Every number that pages and commands give for the shipped results stays the same, bit for bit.

``tests/reference/numbers.json`` holds how many numbers each view and command shows, and a hash over them in order of
size. It is written anew, after a change that is meant, by ``ICL_OBSERVATORY_WRITE_NUMBERS=1 pytest this file``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from tests.support.links import VIEWS, open_link

REFERENCE = Path(__file__).parents[1] / "reference" / "numbers.json"
IS_WRITING = bool(os.environ.get("ICL_OBSERVATORY_WRITE_NUMBERS"))
COMPUTED = ("evaluate", "playground")
"""Pages whose numbers are of this machine, or of what is typed."""
SHOWN = [
    *((page, query) for page, query in VIEWS if page not in COMPUTED and query != {"lab": "Train a run"}),
    *(("paper", {"panel": panel}) for panel in ("Fig. 4", "Fig. 5", "Fig. 6", "Table 3")),
    ("dynamics", {"model": ["tiny-base", "tiny-noisy-first"], "overlay": "true"}),
    ("competition", {"model": ["tiny-base-seed-2"], "eps": "0.03"}),
    ("fusion", {"fusion_part": "Selection"}),
]
COMMANDS = (
    ("compete", "--json"),
    ("fuse", "--tr", "tiny-base", "--pairs", "--by-task", "--json"),
)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory, shipped_store: Path) -> Iterator[Path]:
    """A store with all shipped results."""
    yield Path(shutil.copytree(shipped_store, tmp_path_factory.mktemp("shipped") / "store"))
    st.cache_data.clear()
    st.cache_resource.clear()


def numbers_in(value: Any) -> Iterator[float]:
    """All numbers of JSON, and fractions in its texts, in whichever order."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for part in value:
            yield from numbers_in(part)
    elif isinstance(value, str):
        yield from map(float, re.findall(r"\d+\.\d+", value))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)


def numbers_on(app: AppTest) -> Iterator[float]:
    """The numbers in the rows of all charts and tables."""
    charts = [
        pa.ipc.open_stream(rows.data.data) for chart in app.get("vega_lite_chart") for rows in chart.proto.datasets
    ]
    for table in (*(stream.read_pandas() for stream in charts), *(table.value for table in app.dataframe)):
        yield from numbers_in(table.astype(object).to_numpy().tolist())


def assert_as_before(name: str, numbers: Iterable[float]) -> None:
    found = sorted(map(repr, numbers))
    said = [len(found), hashlib.sha256("\n".join(found).encode()).hexdigest()]
    known = json.loads(REFERENCE.read_text()) if REFERENCE.exists() else {}
    if IS_WRITING:
        REFERENCE.write_text(json.dumps(known | {name: said}, indent=1, sort_keys=True) + "\n")
    else:
        assert said == known[name]


def _case(page: str, query: dict[str, str]) -> Any:
    """The first screens of four pages with each change; all other views with ``pytest -m sweep``."""
    is_first = not query and page in ("home", "dynamics", "competition", "fusion")
    return pytest.param(page, query, marks=() if is_first else pytest.mark.sweep)


@pytest.mark.parametrize(
    ("page", "query"),
    [_case(*each) for each in SHOWN],
    ids=lambda part: part if isinstance(part, str) else json.dumps(part),
)
def test_pages_show_the_same_numbers(
    page: str, query: dict[str, str], shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ICL_OBSERVATORY_STORE", str(shipped))
    app = open_link(page, query)
    assert not app.exception
    assert_as_before(f"{page} {json.dumps(query)}", numbers_on(app))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_commands_give_the_same_numbers(
    command: tuple[str, ...], shipped: Path, cli: Callable[..., tuple[int, str, str]]
) -> None:
    code, output, complaint = cli(*command, store=shipped)
    assert code == 0, complaint
    assert_as_before(command[0], numbers_in(json.loads(output)))
