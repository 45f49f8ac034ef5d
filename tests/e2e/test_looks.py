"""What a browser makes of every page: nothing in its console, nothing beside the window, names, headings, contrast."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import TimeoutError, expect

from pages.ui.charts.theme import DARK, LIGHT
from tests.e2e.conftest import App, Tab

pytestmark = pytest.mark.e2e

MADE_UP = "model=someone-model"
PAGES = {
    "": "What is computed",
    "evaluate": "What will it cost",
    f"dynamics?{MADE_UP}": "Tasks whose ICL ends farthest",
    "dynamics?tab=Predicted+labels&task=tiny_colour": "A model that names one label",
    f"competition?{MADE_UP}": "Each point is an interval",
    "competition?part=Models+compared": "All models under the same tasks",
    "fusion": "Gains in percentage points",
    "playground": "to see its id",
    "lab": "Losses: cross-entropy",
    "lab?lab=Minimal+model": "This is the paper's thought model",
    "lab?lab=Train+a+run": "Train",
    "paper?panel=Fig.+1": "by eye",
    "paper?panel=Fig.+2": "How often TR and TL compete",
    "paper?panel=Fig.+6": "by eye",
    "paper?panel=Table+7": "is a multiple of one over",
}
"""Addresses with words of their body."""
PANELS = ("Fig.+3", "Fig.+4", "Fig.+5", "Tables+1,+2", "Table+3", "Paper+and+code")
SWEPT = PAGES | {f"paper?panel={panel}": "Which models stand for which" for panel in PANELS}
"""With those that are drawn like one of them."""
ALL_TABS = ("dynamics", "competition", "fusion", "playground", "lab")
"""Pages whose other tabs are opened one after the other."""
WIDTHS = (1440, 1024, 600, 390)
Looks = tuple[tuple[str, str, tuple[int, ...]], ...]
"""Themes with their ink and the widths of the window."""
LOOKS_OF: dict[str, Looks] = {
    "usual": (("dark", DARK.ink, (390,)), ("light", LIGHT.ink, (1440,))),
    "all": (("dark", DARK.ink, WIDTHS), ("light", LIGHT.ink, WIDTHS)),
}
LOOKS = (*((path, "usual") for path in PAGES), *(pytest.param(path, "all", marks=pytest.mark.sweep) for path in SWEPT))

_SETTLED = """() => {
  const app = document.querySelector('[data-testid="stApp"]');
  if (app.dataset.testScriptState !== 'notRunning') return false;
  if (document.querySelector('[data-testid="stSkeleton"], [data-stale="true"]')) return false;
  const moving = document.getAnimations().filter(each => each.effect.getComputedTiming().endTime < Infinity);
  if (moving.some(each => each.playState === 'running')) return false;
  return [...document.querySelectorAll('[data-testid="stVegaLiteChart"]')].every(chart => {
    const svg = chart.querySelector('svg');
    return svg && (chart.closest('.st-key-chart-tokens') || Math.abs(svg.clientWidth - chart.clientWidth) < 12);
  });
}"""
"""Whether the run has ended and every chart has taken the width that its place now has."""

_SEEN = """() => {
  const box = node => { const b = node.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; };
  const visible = node => { const b = node.getBoundingClientRect(); return b.width > 0 && b.height > 0; };
  const main = document.querySelector('[data-testid="stMain"]');
  const parse = text => { const n = (text.match(/[\\d.]+/g) || []).map(Number);
    return text.startsWith('color(srgb') ? [n[0] * 255, n[1] * 255, n[2] * 255, n[3] ?? 1]
      : [n[0], n[1], n[2], n[3] ?? 1]; };
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat([1]);
  const paper = (node, [x, y]) => { const layers = []; for (let n = node; n; n = n.parentElement) {
      const b = n.getBoundingClientRect(), behind = x >= b.left && x <= b.right && y >= b.top && y <= b.bottom;
      if (!behind && n.scrollHeight <= n.clientHeight && !n.querySelector('[data-testid="stMain"]')) continue;
      const c = parse(getComputedStyle(n).backgroundColor); if (c[3] > 0) layers.push(c); if (c[3] === 1) break; }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]); };
  const light = c => { const [r, g, b] = c.slice(0, 3).map(v => { v /= 255;
      return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05); };
  const faint = [];
  const walker = document.createTreeWalker(document.querySelector('[data-testid="stApp"]'), NodeFilter.SHOW_TEXT);
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    const node = text.parentElement;
    if (!text.textContent.trim() || !visible(node)) continue;
    if (node.closest('svg, [disabled], [aria-disabled="true"], .katex')) continue;
    const style = getComputedStyle(node);
    if (style.visibility === 'hidden' || node.closest('[data-testid="stIconMaterial"]')) continue;
    let opacity = 1; for (let n = node; n; n = n.parentElement) opacity *= +getComputedStyle(n).opacity;
    if (opacity === 0) continue;
    const range = document.createRange(); range.selectNodeContents(text);
    const at = range.getBoundingClientRect();
    const below = paper(node, [(at.left + at.right) / 2, (at.top + at.bottom) / 2]);
    const ink = parse(style.color); ink[3] *= opacity;
    const found = ratio(over(ink, below), below), large = parseFloat(style.fontSize) >= 24;
    if (found < (large ? 3 : 4.5)) faint.push(`${found.toFixed(2)} ${text.textContent.trim().slice(0, 40)}`);
  }
  const charts = [...document.querySelectorAll('[data-testid="stVegaLiteChart"]')].filter(visible).map(chart => {
    const svg = chart.querySelector('svg'), plot = svg.querySelector('path.background');
    const words = [...svg.querySelectorAll('text')]
      .filter(t => t.textContent.trim() && t.getAttribute('opacity') !== '0');
    const straight = words.filter(t => !(t.getAttribute('transform') || '').includes('rotate'));
    const covering = [];
    straight.forEach((one, i) => straight.slice(i + 1).forEach(other => { const a = box(one), b = box(other);
      const wide = Math.min(a[2], b[2]) - Math.max(a[0], b[0]), high = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
      if (wide > 1 && high > 4) covering.push(`${one.textContent} | ${other.textContent}`); }));
    const label = svg.getAttribute('aria-label') || chart.getAttribute('aria-label')
      || chart.querySelector('[aria-label]')?.getAttribute('aria-label') || '';
    return {name: label, plot: plot ? box(plot)[2] - box(plot)[0] : 0, covering,
      key: chart.closest('[class*="st-key-chart"]')?.className.match(/st-key-(chart-\\S+)/)?.[1] || ''};
  });
  const headings = [...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].filter(visible).map(h => +h.tagName[1]);
  return {page: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    main: main.scrollWidth - main.clientWidth, faint: [...new Set(faint)], charts, headings};
}"""


_FITS = """() => [document.documentElement, document.querySelector('[data-testid="stMain"]')]
  .every(node => node.scrollWidth <= node.clientWidth)"""
_INK = """ink => {
  const color = getComputedStyle(document.querySelector('[data-testid="stApp"]')).color.match(/\\d+/g);
  return '#' + color.slice(0, 3).map(n => (+n).toString(16).padStart(2, '0')).join('').toUpperCase() === ink;
}"""
"""Whether the page has the ink of a theme."""


_COVERED = """() => {
  const hit = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
  const controls = [...document.querySelectorAll('.stMain :is(button, input, [role="combobox"], [role="tab"], label)')]
    .filter(n => !n.closest('[data-testid="stElementToolbar"]') && n.getBoundingClientRect().width > 0);
  return [...document.querySelectorAll('.stMain [data-testid="stVegaLiteChart"]')].flatMap(chart => {
    const bar = chart.closest('[data-testid="stElementContainer"]').querySelector('[data-testid="stElementToolbar"]');
    return !bar ? [] : controls.filter(n => hit(bar.getBoundingClientRect(), n.getBoundingClientRect()))
      .map(n => n.getAttribute('aria-label') || n.textContent);
  });
}"""
"""Names of the controls that a chart's own toolbar lies over."""


@pytest.fixture
def heard(new_tab: Callable[[], Tab]) -> tuple[Tab, list[str]]:
    """A tab, and what its console and its responses complained of."""
    tab, said = new_tab(), []
    tab.page.on("console", lambda m: said.append(f"{m.type}: {m.text}") if m.type in ("warning", "error") else None)
    tab.page.on("pageerror", lambda error: said.append(str(error)))
    tab.page.on("response", lambda r: said.append(f"{r.status} {r.url}") if r.status >= 400 else None)
    return tab, said


@pytest.mark.parametrize(("path", "looks"), LOOKS)
def test_every_tab_of_a_page(path: str, looks: str, app: App, heard: tuple[Tab, list[str]]) -> None:
    tab, said = heard
    tab.open(f"{app.url}/{path}", SWEPT[path])
    _assert_legible(tab, LOOKS_OF[looks])
    own = path.replace(MADE_UP, "").rstrip("?") in ALL_TABS
    for each in tab.page.locator('[role="tablist"]:visible').last.get_by_role("tab").all()[1:] if own else ():
        each.click()
        expect(each).to_have_attribute("aria-selected", "true")
        _assert_legible(tab, LOOKS_OF[looks])
    _open_equations(tab)
    assert said == []


def _assert_legible(tab: Tab, looks: Looks) -> None:
    for theme, ink, widths in looks:
        tab.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        tab.page.wait_for_function(_INK, arg=ink)
        for width in widths:
            tab.page.set_viewport_size({"width": width, "height": 900})
            tab.page.wait_for_function(_SETTLED)
            with suppress(TimeoutError):  # a table takes its new width after the window has it
                tab.page.wait_for_function(_FITS, timeout=30_000)
            _assert_drawn(tab.page.evaluate(_SEEN), f"{tab.page.url} {theme} {width}")
    tab.page.set_viewport_size({"width": WIDTHS[0], "height": 900})
    tab.page.wait_for_function(_SETTLED)
    assert tab.page.evaluate(_COVERED) == [], tab.page.url
    found = Axe().run(tab.page).response["violations"]
    grave = [each for each in found if each["impact"] in ("serious", "critical")]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in grave] == [], tab.page.url


def _assert_drawn(seen: dict[str, Any], where: str) -> None:
    assert seen["page"] <= 0 and seen["main"] <= 0, f"{where}: the page can be scrolled sideways"
    for chart in seen["charts"]:
        assert chart["name"], f"{where}: {chart['key']} has no name"
        assert chart["plot"] >= 80, f"{where}: {chart}"
        assert chart["covering"] == [], f"{where}: {chart['key']}"
    assert seen["faint"] == [], where
    levels = seen["headings"]
    assert levels.count(1) == 1, levels
    left_out = [pair for pair in itertools.pairwise(levels) if pair[1] - pair[0] > 1]
    assert left_out == [], f"{where}: a level of headings is left out: {levels}"


def _open_equations(tab: Tab) -> None:
    """Opens what is said of the computation, in which equations are longer than a narrow window."""
    below = tab.page.locator('[data-testid="stExpander"]').filter(has_text="How this is computed")
    if not below.count():
        return
    below.first.locator("summary").click()
    expect(below.first.get_by_test_id("stMarkdownContainer").last).to_be_visible()
    assert tab.page.evaluate(_SEEN)["main"] <= 0, "an equation moves the page"
    for formula in below.first.locator(".katex-display").all():
        assert formula.evaluate("n => n.getBoundingClientRect().right <= innerWidth"), formula.inner_text()


def test_a_prompt_moves_under_its_own_bar(app: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    tab.page.set_viewport_size({"width": 390, "height": 900})
    tab.open(f"{app.url}/playground", "to see its id")
    tab.page.wait_for_function(_SETTLED)
    wider = "() => { const n = document.querySelector('.st-key-chart-tokens'); return n.scrollWidth > n.clientWidth; }"
    tab.page.wait_for_function(wider)


def test_the_address_of_the_server_is_said_behind_a_prefix_too(app: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    html = tab.page.request.get(f"{app.url}/dynamics").text()
    script = html.split("<script>")[1].split("</script>")[0]
    for path, base in (
        ("/evaluate", "/"),
        ("/", "/"),
        ("/user/x/proxy/8501/lab", "/user/x/proxy/8501/"),
        ("/a/", "/a/"),
    ):
        place = f"({{origin: 'http://h', pathname: '{path}'}})"
        found = tab.page.evaluate(f"(() => {{ const location = {place}, window = {{}}; {script} return window; }})()")
        assert found["__streamlit"]["BACKEND_BASE_URL"] == f"http://h{base}"


FILES = {
    f"competition?{MADE_UP}&part=Table+and+downloads": ("Accuracy", "Intensity", "R and ICL"),
    "lab?labpart=Table+and+downloads": ("K 512 · 3 seeds", "K 512, copy 1 · 3 seeds", "CIWL"),
    f"dynamics?{MADE_UP}&tab=Table+and+downloads": ("ICL", "TR", "TL", "chance 50.0 %"),
    "fusion?fusion_part=Table+and+downloads": ("adaptive", "TR alone", "equal"),
    "competition?part=Models+compared&comparison=Occurrence": ("How often TR and TL compete",),
}
"""Words of every chart that a page shows, which its file has to hold."""


@pytest.mark.parametrize("path", FILES)
def test_a_file_holds_the_charts_on_the_screen_light_and_their_words_as_shapes(
    path: str, app: App, new_tab: Callable[[], Tab]
) -> None:
    tab = new_tab()
    tab.page.emulate_media(color_scheme="dark")
    tab.page.goto(f"{app.url}/{path}")
    button = tab.page.get_by_role("button", name="SVG")
    expect(button).to_be_enabled()
    with tab.page.expect_download() as waited:
        button.click()
    svg = waited.value.path().read_text()
    for words in FILES[path]:
        assert re.search(rf'aria-label="{re.escape(words)}', svg), words
    assert "<text" not in svg, "words are shapes"
    assert DARK.ink not in svg and DARK.tr not in svg and "#FFFFFF" in svg.upper()
