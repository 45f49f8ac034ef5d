"""Every file that leaves the app: CSV, and charts as JSON, HTML and SVG. No text of a user in them is ever run.

A spreadsheet takes a cell that begins with ``=``, ``+``, ``-`` or ``@`` for a formula
(https://owasp.org/www-community/attacks/CSV_Injection); a browser takes ``</script>`` for the end of a script wherever
it stands in it (https://html.spec.whatwg.org/multipage/scripting.html#restrictions-for-contents-of-script-elements).
"""

from __future__ import annotations

import base64
import csv
import functools
import hashlib
import html
import importlib.util
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pages.ui.charts.theme import Figure, Palette
from pages.ui.words.written import legible

__all__ = ["as_csv", "as_html", "as_json", "as_svg", "can_draw"]

_FORMULA = tuple("=+-@＝＋－＠")
"""First characters of a formula, and their full-width forms, which some spreadsheets treat in the same way."""
_IN_SCRIPT = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})
_OPTIONS = {"renderer": "svg", "actions": {"export": True, "source": False, "compiled": False, "editor": False}}
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src {hashes} 'unsafe-eval';
 style-src 'unsafe-inline'; img-src data: blob:">
<title>{title}</title>
<style>body {{ background: {background}; color: {ink}; }}</style>
<script>{library}</script>
</head>
<body>
<div id="chart"></div>
<script>{start}</script>
</body>
</html>
"""


def as_csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as a CSV file; columns in the order in which they first come.

    Numbers stay as they are. A text or a column name that a spreadsheet would compute gets an apostrophe in front.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([_cell(name) for name in columns])
    writer.writerows([_cell(row.get(name, "")) for name in columns] for row in rows)
    return text.getvalue().encode(errors="replace")


def _cell(value: Any) -> Any:
    """A cell as it is written; no text is a formula, even after leading blanks."""
    if not isinstance(value, str):
        return value
    acts = value.lstrip().startswith(_FORMULA) or value.startswith(("\t", "\r", "\n"))
    return f"'{value}" if acts else value


def as_json(figure: Figure) -> bytes:
    """A chart's Vega-Lite specification with its rows."""
    return json.dumps(figure).encode()


def can_draw() -> bool:
    """Whether the packages that ``as_html`` and ``as_svg`` need are installed (the extra ``export``)."""
    return all(importlib.util.find_spec(name) for name in ("vl_convert", "fontTools", "brotli"))


def as_html(figure: Figure, palette: Palette, *, title: str) -> bytes:
    """A chart as a page that works offline: it holds its own libraries and sends no request.

    The page's security policy allows its own two scripts, named by their hashes, and no request.
    """
    start = f"vegaEmbed('#chart', {_in_script(figure)}, {_in_script(_OPTIONS)});"
    page = _PAGE.format(
        hashes=" ".join(_hash(script) for script in (_library(), start)),
        title=html.escape(legible(title)),
        background=palette.background,
        ink=palette.ink,
        library=_library(),
        start=start,
    )
    return page.encode()


def _in_script(value: Any) -> str:
    """JSON that is safe in a script element: nothing in it ends the element or a line of the script."""
    return json.dumps(value).translate(_IN_SCRIPT)


def _hash(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"'sha256-{digest}'"


@functools.cache
def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed."""
    import vl_convert

    library: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return library


def as_svg(figure: Figure) -> bytes:
    """A chart as SVG, its words as shapes. Their names hold no character that XML does not allow."""
    import vl_convert

    from pages.ui.files.outlines import outlined

    svg: str = vl_convert.vegalite_to_svg(_clean(figure), allowed_base_urls=[])
    return outlined(svg).encode()


def _clean(part: Any) -> Any:
    """A specification with every text of its rows and titles as it is shown; names of fields do not change."""
    if isinstance(part, dict):
        return {name: _clean(value) for name, value in part.items()}
    if isinstance(part, list):
        return [_clean(value) for value in part]
    return legible(part) if isinstance(part, str) and not part.isprintable() else part
