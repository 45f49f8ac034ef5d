"""Every page with an empty, a partly filled and a full store, in Streamlit's own test runner."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from streamlit.testing.v1 import AppTest

from icl_core.analysis import competition
from icl_core.evaluation.exclusions import note_identities
from icl_core.evaluation.jobs import list_jobs
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study, study_cells
from icl_core.records import CheckpointIdentity
from icl_core.settings import project_path
from pages.ui.charts.curves import ability_chart
from tests.support.made_up import fill, made_up_study, refs_of
from tests.support.own_folders import lay_run

PAGES = ("home", "evaluate", "dynamics", "competition")


def words(app: AppTest) -> str:
    """Everything that the page says in sentences."""
    said = [*app.markdown, *app.caption, *app.info, *app.warning, *app.error, *app.title, *app.header]
    return "\n".join(str(item.value) for item in said)


def charts(app: AppTest) -> int:
    return len(app.get("vega_lite_chart"))


def assert_whole(app: AppTest, title: str) -> None:
    """No exception, the page's own title, and the frame with the study's five lines around it."""
    assert not app.exception, [item.value for item in app.exception]
    assert app.title[0].value == title
    labels = " ".join(item.label for item in app.sidebar.expander)
    for line in ("Models", "Checkpoints", "Tasks", "Settings", "Results"):
        assert line in labels


TITLES = {"home": "ICL Observatory"} | {name: name.capitalize() for name in PAGES[1:]}


@pytest.mark.parametrize("name", PAGES)
def test_page_with_an_empty_store(name: str, open_page: Callable[..., AppTest]) -> None:
    app = open_page(name, model="pythia-410m")
    assert_whole(app, TITLES[name])
    if name in ("dynamics", "competition"):
        assert "Nothing of this study is computed yet" in words(app)
        assert charts(app) == 0


@pytest.mark.parametrize("name", PAGES)
def test_page_with_a_full_store(name: str, open_page: Callable[..., AppTest], fill_store: Callable[..., Study]) -> None:
    fill_store()
    app = open_page(name, model="someone-model")
    assert_whole(app, TITLES[name])
    assert charts(app) >= 1
    app.run()
    assert_whole(app, TITLES[name])


@pytest.mark.parametrize("name", PAGES)
def test_page_with_a_partly_filled_store(
    name: str, open_page: Callable[..., AppTest], fill_store: Callable[..., Study]
) -> None:
    fill_store(only=4)
    app = open_page(name, model="someone-model")
    assert_whole(app, TITLES[name])
    assert charts(app) >= 1


def test_dynamics_says_what_happened_in_numbers_of_the_store(
    open_page: Callable[..., AppTest], fill_store: Callable[..., Study]
) -> None:
    fill_store()
    said = words(open_page("dynamics", model="someone-model"))
    assert "At step 990" in said
    assert "TR rises from" in said and "by step 440" in said
    assert "TL jumps from" in said and "between step 550 and step 660" in said
    assert "TR falls from" in said and "by step 990" in said


def drawn(app: AppTest, at: int = 0) -> list[dict[str, Any]]:
    """The rows of all layers of a chart, as they are sent to the browser."""
    sent = app.get("vega_lite_chart")[at].proto.datasets
    return [row for part in sent for row in pyarrow.ipc.open_stream(part.data.data).read_all().to_pylist()]


def test_excluded_checkpoints_are_hollow_with_their_reason(
    open_page: Callable[..., AppTest], fill_store: Callable[..., Study], store_folder: Path
) -> None:
    study = fill_store()
    same = CheckpointIdentity("0" * 40, (("model.safetensors", "a" * 64),), "t", 2048)
    store = Store.open(store_folder)
    note_identities(store, dict.fromkeys(study.checkpoints[4:6], same))
    store.close()
    app = open_page("dynamics", model="someone-model")
    assert not app.exception
    hollow = [row for row in drawn(app) if row.get("left_out")]
    assert {row["checkpoint"] for row in hollow} == {"step 440", "step 550"}
    assert {row["ability"] for row in hollow} == {"ICL", "TR", "TL"}
    assert all("model.safetensors is the same file as in" in row["left_out"] for row in hollow)
    assert "2 checkpoints left out" in [box.label for box in app.expander]
    task = open_page("dynamics", model="someone-model", on="sst2")
    assert {row["checkpoint"] for row in drawn(task) if row.get("left_out")} == {"step 440", "step 550"}


def test_phases_of_a_member_of_the_suite_are_drawn(open_page: Callable[..., AppTest], store_folder: Path) -> None:
    steps = (0, 550, 1100, 2200, 3300)
    study = dataclasses.replace(made_up_study(), checkpoints=refs_of("tiny-permuted-lists-seed-2", steps))
    store = Store.open(store_folder)
    fill(store, study)
    store.close()
    for page in ("dynamics", "competition"):
        app = open_page(page, model="tiny-permuted-lists-seed-2")
        assert not app.exception
        named = {row["name"]: (row["x"], row["x2"]) for row in drawn(app) if row.get("name")}
        assert named == {"knowledge first": (0, 1100), "lists": (1100, 3300)}, page


def test_competition_sentence_follows_epsilon(
    open_page: Callable[..., AppTest], fill_store: Callable[..., Study]
) -> None:
    fill_store()
    app = open_page("competition", model="someone-model")
    assert "of 9 intervals** at epsilon 0.01" in words(app)
    assert "noise alone gives" in words(app)
    app.slider(key="eps").set_value(0.1).run()
    assert "epsilon 0.1" in words(app)
    app.button(key="preset-0.0001").click().run()
    assert app.slider(key="eps").value == pytest.approx(0.0001)
    assert "This epsilon is inside noise" in words(app)


def test_competition_shades_as_clear_what_the_measure_calls_clear(
    open_page: Callable[..., AppTest], fill_store: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[set[float]] = []
    draw = ability_chart

    def note(*args: Any, phases: Any = (), **look: Any) -> Any:
        drawn.append({phase["strength"] for phase in phases})
        return draw(*args, phases=phases, **look)

    monkeypatch.setattr("pages.competition.chart.ability_chart", note)
    fill_store()
    for least, strength in ((0.0, 0.85), (1.01, 0.35)):
        monkeypatch.setattr(competition, "CLEAR_CERTAINTY", least)
        drawn.clear()
        open_page("competition", model="someone-model")
        assert drawn and set().union(*drawn) == {strength}


def test_competition_without_an_interval_says_so(
    open_page: Callable[..., AppTest], fill_store: Callable[..., Study]
) -> None:
    fill_store(only=1)
    app = open_page("competition", model="someone-model")
    assert not app.exception
    assert "needs at least two" in words(app)


@pytest.mark.parametrize("place", [("dynamics", "tab", "Predicted labels"), ("competition", "part", "What changed")])
def test_labels_are_shown_under_the_label_score_that_is_chosen(
    place: tuple[str, str, str], open_page: Callable[..., AppTest], fill_store: Callable[..., Study]
) -> None:
    fill_store()
    page, key, tab = place
    app = open_page(page, **{"model": "someone-model", key: tab, "norm": "Mean per token"})
    assert_whole(app, page.capitalize())
    assert app.session_state["norm"] == "per_token"


@pytest.mark.parametrize("tab", ["Tasks", "Predicted labels", "One checkpoint", "Table and downloads"])
def test_tabs_of_dynamics(tab: str, open_page: Callable[..., AppTest], fill_store: Callable[..., Study]) -> None:
    fill_store()
    app = open_page("dynamics", model="someone-model", tab=tab)
    assert_whole(app, "Dynamics")
    assert charts(app) + len(app.dataframe) >= 2


@pytest.mark.parametrize(("n_models", "n_small"), [(3, 6), (4, 2)])
def test_small_charts_of_more_than_three_models_are_of_one_at_a_time(
    n_models: int, n_small: int, open_page: Callable[..., AppTest], store_folder: Path
) -> None:
    names = [f"model-{at}" for at in range(n_models)]
    store = Store.open(store_folder)
    for name in names:
        fill(store, dataclasses.replace(made_up_study(n_test=40), checkpoints=refs_of(name, (0, 110))))
    store.close()
    app = open_page("dynamics", model=names)
    small = [chart.proto.alt for chart in app.get("vega_lite_chart") if " on " in chart.proto.alt]
    assert len(small) == n_small
    if n_models > 3:
        app.selectbox(key="who").set_value("model-2").run()
        small = [chart.proto.alt for chart in app.get("vega_lite_chart") if " on " in chart.proto.alt]
        assert len(small) == n_small and all("model-2" in words for words in small)


@pytest.mark.parametrize("tab", ["Changes", "Epsilon", "Tasks", "What changed", "Table and downloads"])
def test_tabs_of_competition(
    tab: str, open_page: Callable[..., AppTest], fill_store: Callable[..., Study], store_folder: Path
) -> None:
    study = fill_store()
    app = open_page("competition", model="someone-model", part=tab)
    assert_whole(app, "Competition")
    assert charts(app) + len(app.dataframe) >= 4
    if tab == "What changed":
        counted = changed_answers(study, store_folder)
        table = app.dataframe[0].value
        found = {(row.task, row.ability): (row.gained, row.lost, row.changed) for row in table.itertuples()}
        assert found == counted
        n = sum(changed for _, _, changed in counted.values())
        assert f"{n} answers changed from step 550 to step 660." in words(app)


def changed_answers(study: Study, folder: Path) -> dict[tuple[str, str], tuple[int, int, int]]:
    """Gained, lost and changed answers from step 550 to 660, where TL jumps, counted from the records."""
    store = Store.open(folder)
    answers: dict[Any, Any] = {}
    for spec in study_cells(study):
        if spec.checkpoint.step in (550, 660) and spec.label_setting != "gold":
            record = store.find(spec)
            assert record is not None
            of = (spec.task, {"random": "TR", "abstract": "TL"}[spec.label_setting])
            labels = record.loglikelihoods.argmax(axis=1)
            answers.setdefault(of, {})[spec.checkpoint.step, spec.demo_seed] = (labels, record.gold)
    store.close()
    counted = {}
    for of, found in answers.items():
        before, after = ([found[step, seed][0] for seed in study.demo_seeds] for step in (550, 660))
        gold = [found[550, seed][1] for seed in study.demo_seeds]
        one, other, true = (np.concatenate(each) for each in (before, after, gold))
        changed = one != other
        counted[of] = (int((changed & (other == true)).sum()), int((changed & (one == true)).sum()), int(changed.sum()))
    return {of: counts for of, counts in counted.items() if counts[2]}


def test_evaluate_counts_the_missing_cells_and_starts_a_job(
    open_page: Callable[..., AppTest],
    fill_store: Callable[..., Study],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Study] = []
    fill_store(only=4)
    monkeypatch.setattr("icl_core.evaluation.jobs.submit", lambda study, **_: asked.append(study) or 1)
    app = open_page("evaluate", model="someone-model", seeds="13, 21, 42")
    assert "**24** to compute, 48 stored already" in words(app)
    app.button(key="start").click().run()
    assert len(asked) == 1 and asked[0].demo_seeds == (13, 21, 42)


def test_evaluate_tells_what_it_skips_and_asks_for_an_order(open_page: Callable[..., AppTest], tmp_path: Path) -> None:
    run = lay_run(tmp_path / "run", ("step-1", "step-2", "final"))
    (run / "step-3").mkdir()
    app = open_page("evaluate", model="", local=str(run), task="sst2")
    assert "final tells no step" in words(app) and "Order on the page" in words(app)
    app.text_input(key="page_order").set_value("step-1,step-2,final").run()
    app.text_input(key="page_name").set_value("mine").run()
    assert not app.exception and "final tells no step" not in words(app)
    assert "step\\-3 is left out" in words(app) and "3 checkpoints chosen" in words(app)
    app.text_input(key="page_name").set_value("pythia-410m").run()
    assert "The name pythia" in words(app) and not app.exception


def test_evaluate_shows_a_wrong_seed_as_a_sentence(
    open_page: Callable[..., AppTest], fill_store: Callable[..., Study]
) -> None:
    fill_store()
    app = open_page("evaluate", model="someone-model", seeds="13, x")
    assert not app.exception
    assert "is not a demonstration seed" in words(app)
    assert not [button for button in app.button if button.key == "start"]


def test_unknown_values_of_a_url_do_no_harm(
    open_page: Callable[..., AppTest], fill_store: Callable[..., Study]
) -> None:
    fill_store()
    app = open_page(
        "dynamics", model=["someone-model", "<script>"], task="none", shots="9999", measure="x", checkpoints="zzz"
    )
    assert not app.exception
    assert "zzz" in words(app)
    assert "<script>" not in words(app)


def test_no_job_appears_by_opening_pages(open_page: Callable[..., AppTest], store_folder: Path) -> None:
    for name in PAGES:
        open_page(name)
    assert list_jobs(store_path=store_folder) == ()


def test_page_switch_keeps_the_study(open_page: Callable[..., AppTest], fill_store: Callable[..., Study]) -> None:
    fill_store()
    app = open_page("dynamics", model="someone-model")
    app.number_input(key="examples").set_value(77).run()
    app.switch_page("pages/competition/page.py").run()
    assert app.session_state["examples"] == 77
    assert app.session_state["model"] == ["someone-model"]


def test_entry_files_are_the_declared_pages() -> None:
    folder = project_path() / "pages"
    entries = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    declared = {path.parent.name for path in folder.glob("*/page.py")} - {"home"}
    source = (project_path() / "app.py").read_text()
    assert entries == declared
    assert all(f'"{name}"' in source for name in declared)
    for name in entries:
        lines = (folder / f"{name}.py").read_text().splitlines()
        assert lines[-2:] == ["", "main()"] or lines[-1] == "main()"
        assert len([line for line in lines if line and not line.startswith('"""')]) == 2


def test_pages_are_short() -> None:
    for page in (project_path() / "pages").glob("*/page.py"):
        assert len(page.read_text().splitlines()) <= 150, page


def test_the_pages_side_loads_without_torch() -> None:
    code = (
        "import sys; from pages.ui.server.early import import_pages; import_pages(); "
        "assert 'pages.ui.panels.blocks' in sys.modules and 'pages.playground.vega' in sys.modules; "
        "print([n for n in ('torch', 'transformers', 'datasets') if n in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=project_path(), capture_output=True, text=True, check=True, timeout=120
    )
    assert shown.stdout.strip().splitlines()[-1] == "[]"


def test_store_is_opened_once_and_never_written_by_looking(
    open_page: Callable[..., AppTest], fill_store: Callable[..., Study], store_folder: Path
) -> None:
    fill_store()
    store = Store.open(store_folder)
    before = store.generation()
    for name in PAGES:
        open_page(name, model="someone-model")
    assert store.generation() == before
    store.close()


def test_the_way_out_of_an_empty_page(open_page: Callable[..., AppTest]) -> None:
    app = open_page("dynamics", model="pythia-410m")
    app.button(key="evaluate-study").click().run()
    assert_whole(app, "Evaluate")
    assert app.session_state["model"] == ["pythia-410m"]


def test_without_the_export_packages_a_page_says_what_they_give(
    fill_store: Callable[..., Study], open_page: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = fill_store()
    query = {"model": study.checkpoints[0].model, "tab": "Table and downloads"}
    files = ("Chart as HTML", "SVG")
    assert {button.label for button in open_page("dynamics", **query).get("download_button")} >= {"CSV", *files}
    monkeypatch.setattr("pages.ui.files.exports.can_draw", lambda: False)
    app = open_page("dynamics", **query)
    labels = {button.label for button in app.get("download_button")}
    assert "Chart as JSON" in labels and not labels & set(files)
    assert "pip install 'icl-observatory[export]'" in words(app)
