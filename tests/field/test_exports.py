"""Files that leave the app: no script, no formula, no request in them, whatever a model, task, label or text is called.

What a browser makes of them is in tests/e2e/test_exports.py.
"""

from __future__ import annotations

import ast
import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icl_core.settings import project_path
from pages.home.vega import grid_chart
from pages.ui.charts.theme import LIGHT
from pages.ui.files import exports
from pages.ui.words.written import legible, plain
from tests.support.hostile import ACTING, FORMULAS, MARKED_UP, SCRIPTS

ANY_TEXT = st.one_of(st.text(max_size=40), st.sampled_from([*SCRIPTS, *FORMULAS, *ACTING, *MARKED_UP]))
BOUNDED = settings(derandomize=True, deadline=None, max_examples=60)


def grid(name: str) -> dict[str, Any]:
    """A small chart in which a name stands as model, task and text."""
    figure = grid_chart([{"model": "m", "task": "t", "state": "complete", "text": "m, t"}], LIGHT)
    row = {"model": name, "task": name, "state": "complete", "text": name}
    return {**figure, "datasets": {part: [row] for part in figure["datasets"]}}


@pytest.mark.stands_for(
    "webpack/webpack-bundle-analyzer#262", "a name with </script> in the data ended the page's script"
)
@settings(BOUNDED, max_examples=15)
@given(name=ANY_TEXT)
def test_html_holds_two_scripts_and_the_data_as_they_are(name: str) -> None:
    page = exports.as_html(grid(name), LIGHT, title=name).decode()
    assert len(re.findall(r"<script", page, re.IGNORECASE)) == len(re.findall(r"</script", page, re.IGNORECASE)) == 2
    start = page.rsplit("<script>", 1)[1].split("</script>")[0]
    assert not set("<>&\u2028\u2029") & set(start)
    drawn, _ = json.JSONDecoder().raw_decode(start.removeprefix("vegaEmbed('#chart', "))
    assert drawn == grid(name)


@pytest.mark.stands_for("vega/altair#2316", "a chart without a network: its libraries are on a CDN")
def test_html_names_no_place_to_load_from() -> None:
    page = exports.as_html(grid("a"), LIGHT, title="a").decode()
    own = page.split("<script>")[0] + page.rsplit("</script>", 2)[1] + page.rsplit("</script>", 1)[1]
    assert set(re.findall(r"https?://[\w.]+", own)) <= {"https://vega.github.io"}, "the name of the format, not a place"
    assert not re.search(r"\b(src|href)=", own)
    assert "default-src 'none'" in own


@pytest.mark.stands_for("edwardkim/rhwp#3382", "a control character in a text made an SVG that no viewer draws")
@settings(BOUNDED, max_examples=25)
@given(name=ANY_TEXT)
def test_svg_is_xml_without_scripts_links_and_images(name: str) -> None:
    tree = ET.fromstring(exports.as_svg(grid(name)))
    tags = {element.tag.rpartition("}")[2] for element in tree.iter()}
    assert not tags & {"script", "image", "a", "foreignObject", "iframe"}
    assert not [key for element in tree.iter() for key in element.attrib if key.lower().startswith("on")]


@pytest.mark.stands_for(
    "streamlit/example-app-bug-report#11", "a cell that begins with = is a formula in a spreadsheet"
)
@settings(BOUNDED, max_examples=200)
@given(rows=st.lists(st.dictionaries(ANY_TEXT, st.one_of(ANY_TEXT, st.integers(), st.floats(), st.none()), max_size=4)))
def test_no_text_of_a_csv_is_a_formula_and_nothing_is_lost(rows: list[dict[str, Any]]) -> None:
    content = exports.as_csv(rows).decode()
    read = list(csv.reader(io.StringIO(content, newline="")))
    columns = list(dict.fromkeys(name for row in rows for name in row))
    for written, values in zip(read[1:], rows, strict=False):
        for cell, name in zip(written, columns, strict=False):
            value = values.get(name, "")
            if isinstance(value, str):
                assert not cell.lstrip().startswith(tuple("=+-@＝＋－＠")) and not cell.startswith(("\t", "\r", "\n"))
                assert cell.removeprefix("'") == _written(value).removeprefix("'")
            elif value is not None:
                assert cell == str(value)


def _written(text: str) -> str:
    return text.encode(errors="replace").decode()


@pytest.mark.stands_for("CWE-1236", "numbers with an apostrophe before them are numbers no more")
def test_numbers_of_a_csv_stay_numbers() -> None:
    assert exports.as_csv([{"a": -0.5, "=b": "-0.5", "c": 3}]) == b"a,'=b,c\r\n-0.5,'-0.5,3\r\n"


@pytest.mark.stands_for("streamlit/streamlit#1875", "each table has an export of its own, past every escape")
def test_every_file_leaves_through_one_module() -> None:
    writers = re.compile(r"csv\.(writer|DictWriter)|to_csv|to_html|vl_convert|st\.download_button")
    allowed = {"pages/ui/files/exports.py", "pages/ui/panels/blocks.py"}
    files = [path for folder in ("pages", "icl_core") for path in (project_path() / folder).rglob("*.py")]
    found = {path.relative_to(project_path()).as_posix() for path in files if writers.search(path.read_text())}
    assert found <= allowed, f"files are written elsewhere: {sorted(found - allowed)}"
    assert "disableDataExport = true" in (project_path() / ".streamlit" / "config.toml").read_text()


@pytest.mark.stands_for("CWE-22", "a name with ../ in it decided where a download was saved")
def test_names_of_downloads_are_words_of_the_program() -> None:
    for path in (project_path() / "pages").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and ast.unparse(call.func) in ("blocks.grid", "blocks.table"):
                (name,) = [keyword.value for keyword in call.keywords if keyword.arg == "name"]
                assert isinstance(name, ast.Constant) or ast.unparse(name) == "name", (path, ast.unparse(call))


# Names as they are shown


@pytest.mark.stands_for("CVE-2021-42574", "characters that turn the direction of writing changed what a reader saw")
@settings(BOUNDED, max_examples=200)
@given(text=ANY_TEXT)
def test_no_character_of_a_name_acts_on_the_sentence(text: str) -> None:
    seen = legible(text)
    assert not set(seen) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u200e\u200f\u061c\u200b\ufeff\x00\x1b\r\n\t")
    assert seen.encode().decode() == seen and legible(seen) == seen
    assert seen.count("\u2068") == seen.count("\u2069")


@pytest.mark.stands_for("streamlit/streamlit#8546", "a message lost its underscores, dollars and brackets to Markdown")
@pytest.mark.parametrize("text", [*MARKED_UP, *SCRIPTS])
def test_markdown_of_a_name_is_escaped(text: str) -> None:
    escaped = plain(text)
    assert escaped.replace("\\", "").replace("\u2060", "") == legible(text).replace("\\", "")
    assert not re.search(r"(?<!\\)(?:\\\\)*[*_`$\[\]<:#~|]", escaped)


@pytest.mark.stands_for("CWE-770", "a megabyte in a link was shown as it is")
def test_a_very_long_name_is_cut_in_its_middle() -> None:
    seen = legible("a" * 1_000_000 + "end.")
    assert len(seen) < 1_100 and seen.endswith("end.")
