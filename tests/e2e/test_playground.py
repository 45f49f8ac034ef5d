"""The playground in a real browser: odd inputs, nothing rendered, a worker killed and started again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import expect

from icl_core.evaluation.run import run_study
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study
from icl_core.models.listing import local_checkpoints
from tests.e2e.conftest import App, Tab, running_app
from tests.support.tiny_models import save_task_file, save_trajectory

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory, shipped_store: Path) -> Iterator[App]:
    """A server whose store has results of two tiny checkpoints on disk."""
    folder = tmp_path_factory.mktemp("playground")
    store = Store.open(shutil.copytree(shipped_store, folder / "store"))
    refs = local_checkpoints(save_trajectory(folder / "run", (0, 1000)))
    task = f"file:{save_task_file(folder / 'films.jsonl')}"
    study = Study(refs, (task,), ("gold", "random", "abstract"), (13,), n_shots=4, n_test=8)
    run_study(study, store, device="cpu", offline=True)
    with running_app(folder / "store", folder / "server.log") as running:
        yield running


def say(tab: Tab, text: str) -> None:
    field = tab.page.locator(".st-key-say textarea")
    field.fill(text)
    field.press("Control+Enter")


def worker_of(app: App) -> psutil.Process:
    """The spawned process that has torch in its memory."""
    children = psutil.Process(app.process.pid).children()
    return max(children, key=lambda child: child.memory_info().rss)


def test_from_a_sentence_to_bars_odd_inputs_and_a_killed_worker(ground: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    tab.page.on("dialog", lambda dialog: pytest.fail("a script of the text ran"))
    tab.open(f"{ground.url}/playground?model=run&demos=None", "Playground")
    labels = tab.page.locator(".st-key-play_labels textarea")
    labels.fill("negative\npositive")
    labels.press("Control+Enter")
    say(tab, "the film is a quiet joy")
    tab.says("Scored in")
    expect(tab.page.locator(".st-key-chart-bars-fused svg.marks")).to_be_visible()

    tab.page.locator('.st-key-play_w input[type="range"]').press("ArrowRight")
    tab.says("Fused with w = 0.51")
    tab.address_holds("play_w=0.51")

    for text, said in (
        ("<img src=x onerror=alert(1)><b>bold</b> **stars** 🎬", "Scored in"),
        ("", "There is no text to ask about"),
        ("joy " * 2500, "did not fit the context"),
        ("x" * 10_001, "at most 10,000 are allowed"),
        ("back again", "Scored in"),
    ):
        say(tab, text)
        tab.says(said)
    expect(tab.page.get_by_test_id("stMain").locator("img[src='x']")).to_have_count(0)
    for wrong, said in (("one", "give 2 to 8"), ("same\nsame", "is given twice"), ("😀\n<b>x</b>", "Scored in")):
        labels.fill(wrong)
        labels.press("Control+Enter")
        tab.says(said)
    expect(tab.page.get_by_test_id("stMain").locator("b", has_text="x")).to_have_count(0)

    worker_of(ground).kill()
    say(tab, "after the crash")
    tab.says("was started again")
    tab.says("Scored in")
    expect(tab.page.get_by_test_id("stException")).to_have_count(0)
    assert tab.foreign == [] and not ground.loads_torch()


def test_a_file_of_sentences_comes_back_as_a_file(ground: App, new_tab: Callable[[], Tab]) -> None:
    tab = new_tab()
    address = f"{ground.url}/playground?model=run&demos=None&play_tab=A+file+of+sentences"
    tab.open(address, "at most 500 sentences")
    labels = tab.page.locator(".st-key-play_labels textarea")
    labels.fill("negative\npositive")
    labels.press("Control+Enter")
    say(tab, "any")
    tab.says("Scored in")
    content = b'id,text\n1,a quiet joy\n2,"<b>dull</b>, noisy"\n3,who wrote it ?\n'
    tab.page.locator('.st-key-play_file input[type="file"]').set_input_files(
        {"name": "mine.csv", "mimeType": "text/csv", "buffer": content}
    )
    tab.page.get_by_role("button", name="Ask all 3").click()
    with tab.page.expect_download() as waiting:
        tab.page.locator(".st-key-playground-csv button").click()
    lines = waiting.value.path().read_text().splitlines()
    assert len(lines) == 4 and lines[0].startswith("text,TR,TL,fused,P TR negative")
    assert lines[2].startswith('"<b>dull</b>, noisy",')
