"""Opening a page by its address in Streamlit's test runner, as a link does, and reading what it says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import streamlit  # noqa: TID251
from streamlit.testing.v1 import AppTest  # noqa: TID251

from icl_core.settings import project_path
from pages.ui.controls.selection import KEYS

__all__ = ["PAGES", "VIEWS", "assert_answers", "keys_of", "open_link", "run_script", "said", "streamlit", "texts_in"]

PAGES = ("home", "evaluate", "dynamics", "competition", "fusion", "playground", "lab", "paper")
VIEWS = (
    *((page, {}) for page in PAGES),
    *(("dynamics", {"tab": tab}) for tab in ("Predicted labels", "One checkpoint", "Table and downloads")),
    *(("competition", {"part": part}) for part in ("Epsilon", "Tasks", "What changed", "Models compared")),
    *(("fusion", {"fusion_part": part}) for part in ("Cost", "Queries", "Mixed parameters", "Table and downloads")),
    *(("lab", {"lab": tab}) for tab in ("Train a run", "Minimal model")),
    *(("paper", {"panel": panel}) for panel in ("Fig. 1", "Fig. 3", "Tables 1, 2", "Table 7")),
)
"""Every page, and the tabs of it whose content differs in kind."""


def open_link(page: str, query: Mapping[str, str | Sequence[str]]) -> AppTest:
    """The page after the first visit by a link: the entry file names the page, as its address does."""
    app = AppTest.from_file(str(project_path() / "app.py"), default_timeout=300)
    for name, value in query.items():
        app.query_params[name] = value if isinstance(value, str) else list(value)
    if page != "home":
        app.switch_page(f"pages/{page}.py")
    return app.run()


def run_script(script: Callable[[], None]) -> AppTest:
    """A page of a few lines."""
    return AppTest.from_function(script).run()


def keys_of(page: str) -> list[str]:
    """Names that stand for something in an address of the page: its own controls and those of every page."""
    folders = [project_path() / "pages" / name for name in (page, "ui")]
    source = "\n".join(path.read_text() for folder in folders for path in sorted(folder.rglob("*.py")))
    named = set(re.findall(r'key="([a-z]\w*)"', source))
    lab = ("lab_n_steps", "lab_learning_rate", "lab2_p_bursty", "min_alpha", "min_d", "min_seeds", "min_rate")
    return sorted(named | set(KEYS) | (set(lab) if page == "lab" else set()))


def said(app: AppTest) -> list[str]:
    """Everything that the page says in boxes, as it is read: without the escapes of Markdown."""
    boxes = [*app.error, *app.warning, *app.info]
    return [re.sub(r"\\([^\w\s])", r"\1", str(box.value)) for box in boxes]


def assert_answers(app: AppTest, page: str) -> None:
    """The page is whole: its title, no exception, and everything that it says is short and no traceback."""
    assert not app.exception, [(item.message, item.stack_trace) for item in app.exception]
    assert [title.value for title in app.title] == ["ICL Observatory" if page == "home" else page.capitalize()]
    for words in said(app):
        assert len(words) < 1_500 and "Traceback" not in words and "Error:" not in words, words
        assert words.rstrip().endswith((".", "?", "!")), words


def texts_in(app: AppTest) -> Iterator[tuple[str, str]]:
    """Every text that was sent to the browser, with the kind of element and the field that holds it."""
    yield from _of_block(app._tree)


def _of_block(block: Any) -> Iterator[tuple[str, str]]:
    for child in block.children.values():
        if hasattr(getattr(child, "proto", None), "ListFields"):
            kind = str(getattr(child, "type", "")) or type(child).__name__
            yield from ((f"{kind}{place}", text) for place, text in _of_message(child.proto, ""))
        if hasattr(child, "children"):
            yield from _of_block(child)


def _of_message(message: Any, place: str) -> Iterator[tuple[str, str]]:
    for field, value in message.ListFields():
        at = f"{place}.{field.name}"
        values = value if field.is_repeated else [value]
        if field.type == field.TYPE_STRING:
            yield from ((at, text) for text in values)
        elif field.type == field.TYPE_MESSAGE and not field.message_type.GetOptions().map_entry:
            for part in values:
                yield from _of_message(part, at)
