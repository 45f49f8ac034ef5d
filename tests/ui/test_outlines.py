"""Words of an exported figure are shapes of the same size and place, and keep their names."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
import vl_convert
from fontTools.pens.boundsPen import BoundsPen
from fontTools.svgLib.path import parse_path

from pages.ui.files import sheet
from pages.ui.files.outlines import outlined
from tests.support.catalogue import catalogue

SVG = "{http://www.w3.org/2000/svg}"
CHARTS = catalogue(sheet.PAPER)


def svg_of(words: str, **look: str) -> ElementTree.Element:
    attributes = " ".join(f'{name.replace("_", "-")}="{value}"' for name, value in look.items())
    text = f'<svg xmlns="http://www.w3.org/2000/svg"><text {attributes}>{words}</text></svg>'
    return ElementTree.fromstring(outlined(text))


def bounds(tree: ElementTree.Element) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the one shape."""
    (path,) = tree.iter(f"{SVG}path")
    pen = BoundsPen(None)
    parse_path(path.get("d"), pen)
    assert pen.bounds is not None
    return pen.bounds


@pytest.mark.parametrize("name", CHARTS)
def test_every_text_of_every_chart_becomes_a_shape_with_its_name(name: str) -> None:
    svg = vl_convert.vegalite_to_svg(sheet.sheet([("", CHARTS[name])]))
    shapes = outlined(svg)
    before, after = ElementTree.fromstring(svg), ElementTree.fromstring(shapes)
    said = ["".join(text.itertext()) for text in before.iter(f"{SVG}text")]
    left = ["".join(text.itertext()) for text in after.iter(f"{SVG}text")]
    assert set(left) <= {"↵"}, "what the font lacks stays a text"
    named = [group for group in after.iter(f"{SVG}g") if group.find(f"{SVG}path") is not None]
    shown = {re.sub(r"\s", "", group.get("aria-label", "")) for group in named}
    assert said and all(re.sub(r"\s", "", words) in shown for words in said if words not in left)
    assert not re.search(r"<svg:|ns\d+:", shapes)


def test_a_shape_stands_where_the_text_stood() -> None:
    left, top, right, bottom = bounds(svg_of("HHHH", font_size="100px"))
    assert 0 < left < 15 and -70 < top < -60 and bottom == pytest.approx(0, abs=0.5)
    wide = bounds(svg_of("HHHH", font_size="100px", text_anchor="end"))
    assert wide[2] == pytest.approx(-left, abs=1) and wide[2] - wide[0] == pytest.approx(right - left, abs=0.1)
    middle = bounds(svg_of("HHHH", font_size="100px", text_anchor="middle"))
    assert middle[0] == pytest.approx(-middle[2], abs=1)
    half = bounds(svg_of("HHHH", font_size="50px"))
    assert half[2] == pytest.approx(right / 2, abs=0.1)
    bold = bounds(svg_of("HHHH", font_size="100px", font_weight="bold"))
    assert bold[2] > right and bounds(svg_of("HHHH", font_size="100px", font_weight="600"))[2] < bold[2]


def test_lines_stand_below_one_another() -> None:
    one = bounds(svg_of("H", font_size="10px"))
    two = bounds(svg_of('<tspan>H</tspan><tspan x="0" dy="14">H</tspan>', font_size="10px"))
    assert two[3] == pytest.approx(one[3] + 14, abs=0.05) and two[1] == pytest.approx(one[1], abs=0.05)


def test_a_sign_that_the_font_lacks_leaves_a_text() -> None:
    tree = svg_of("日本 &lt;b&gt;", font_size="10px")
    (text,) = tree.iter(f"{SVG}text")
    assert text.text == "日本 <b>" and not list(tree.iter(f"{SVG}path"))
    assert svg_of("&lt;b&gt;", font_size="10px").find(f"{SVG}g").get("aria-label") == "<b>"  # type: ignore[union-attr]
