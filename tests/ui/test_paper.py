"""The paper page and the comparison of models, in Streamlit's own test runner."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from icl_core.evaluation.fusion_data import fusion_study, mixing_study
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study, study_cells
from icl_core.registry.families import choose_checkpoints, get_model, known_checkpoints
from icl_core.registry.paper import FIGURES, PAPER_MODELS, TABLE_1, TABLE_7
from icl_core.registry.tasks import TASKS
from tests.support.made_up import CURVES, fill, made_up_study, refs_of

PANELS = (
    "Fig. 1",
    "Fig. 2",
    "Fig. 3",
    "Fig. 4",
    "Fig. 5",
    "Fig. 6",
    "Tables 1, 2",
    "Table 3",
    "Table 7",
    "Paper and code",
)


def words(app: AppTest) -> str:
    said = [*app.markdown, *app.caption, *app.info, *app.warning, *app.error, *app.header]
    return "\n".join(str(item.value) for item in said)


def charts(app: AppTest) -> int:
    return len(app.get("vega_lite_chart"))


@pytest.fixture(scope="module")
def several_made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Study]:
    """A store with one of the paper's models on its grid, and three made-up models with other curves."""
    folder = tmp_path_factory.mktemp("several") / "store"
    store = Store.open(folder)
    study = made_up_study(n_test=100)
    grid = choose_checkpoints(known_checkpoints(get_model("pythia-1b")), "paper")
    own = dataclasses.replace(study, checkpoints=grid[:10])
    fill(store, own)
    for index in range(3):
        curves = {
            "gold": [value - 0.1 * index for value in CURVES["gold"]],
            "random": CURVES["random"],
            "abstract": [value - (0.04 * index if at % 2 else 0) for at, value in enumerate(CURVES["abstract"])],
        }
        fill(store, dataclasses.replace(study, checkpoints=refs_of(f"made-{index}")), curves=curves)
    store.close()
    return folder, own


@pytest.fixture
def several(store_folder: Path, several_made: tuple[Path, Study]) -> Study:
    """The models of ``several_made`` in the store; gives the study of the paper's."""
    shutil.copytree(several_made[0], store_folder)
    return several_made[1]


@pytest.mark.parametrize("panel", PANELS)
def test_panels_with_an_empty_store(panel: str, open_page: Callable[..., AppTest]) -> None:
    app = open_page("paper", model="pythia-410m", panel=panel)
    assert not app.exception
    assert f"**0 of the paper's {len(PAPER_MODELS)} models**" in words(app)
    assert charts(app) == 0, "nothing of the paper's is drawn"


@pytest.mark.parametrize("panel", PANELS)
def test_panels_with_some_models(panel: str, open_page: Callable[..., AppTest], several: Study) -> None:
    app = open_page("paper", model="pythia-1b", panel=panel)
    assert not app.exception
    assert "**1 of the paper's 12 models**" in words(app)
    assert "r = −0.714" in words(app)
    if panel in ("Fig. 2", "Fig. 3", "Fig. 4"):
        assert charts(app) >= 1
    app.run()
    assert not app.exception


def test_correlation_is_over_the_models_shown(open_page: Callable[..., AppTest], several: Study) -> None:
    app = open_page("paper", model="pythia-1b")
    assert "over n = 4 models" in words(app)
    app.multiselect(key="further").set_value(["made-0", "made-1"]).run()
    assert "over n = 3 models" in words(app)
    app.multiselect(key="further").set_value([]).run()
    assert "no correlation can be given over 1 model" in words(app)


def test_a_stand_in_is_named_as_one(open_page: Callable[..., AppTest], several: Study) -> None:
    app = open_page("paper", model="pythia-1b", panel="Fig. 4", **{"as_pythia-12b": "made-0"})
    assert "another model stands in for 1 more" in words(app)
    assert "made\\-0 \\(as Pythia\\-12B\\)" in words(app)
    missing = [item.label for item in app.expander if item.label.startswith("Missing")]
    assert missing == ["Missing: Pythia-410M, Pythia-1.4B, Pythia-2.8B, Pythia-6.9B (4 models)"]


def test_table_7_sets_ours_beside_theirs(open_page: Callable[..., AppTest], several: Study) -> None:
    app = open_page("paper", model="pythia-1b", panel="Table 7", **{"as_olmo-7b": "made-0"})
    by_part = dict(zip(TABLE_7, (item.value.set_index("") for item in app.dataframe), strict=True))
    shots = by_part["Table 7b"]
    assert shots.loc["OLMo-7B, 16", "reported by the paper"] == "37.50 %"
    assert shots.loc["OLMo-7B, 16", "this store"].endswith(" %")
    assert shots.loc["OLMo-7B, 4", "this store"] == "not in this store"
    assert "misprint" in shots.loc["OLMo-7B, 4", "note"]
    assert shots.loc["Pythia-6.9B, 16", "difference"] == ""
    checkpoints = by_part["Table 7a"]
    assert checkpoints.loc["OLMo-7B, 8", "this store"].endswith(" %")
    assert checkpoints.loc["OLMo-7B, 16", "this store"] == "needs 17 checkpoints, has 10"


def test_illegible_rows_stay_blank(open_page: Callable[..., AppTest], several: Study) -> None:
    app = open_page("paper", model="pythia-1b", panel="Tables 1, 2")
    table = app.dataframe[0].value.set_index("")
    blank = [entry for entry in TABLE_1 if entry.accuracy is not None and entry.accuracy.value is None]
    assert len(blank) == 5
    for entry in blank:
        assert table.loc[f"{PAPER_MODELS[entry.tr]} gold", "reported by the paper"] == "not legible"
        assert table.loc[f"{PAPER_MODELS[entry.tr]} gold", "difference"] == ""
    assert table.loc["Pythia-1B gold", "difference"].endswith("points")


def test_mixed_parameters_are_set_beside_the_papers(
    open_page: Callable[..., AppTest], several: Study, store_folder: Path
) -> None:
    """Members are chosen on dev; the mixture of fixed weight is stored, the one of adaptive weight is not."""
    store = Store.open(store_folder)
    fill(store, fusion_study(several))
    tr, tl = several.checkpoints[4], several.checkpoints[9]
    fill(store, mixing_study(several, tr, tl, weights=(0.5, 0.31)), curves={"gold": [0.7] * 10})
    store.close()
    app = open_page("paper", model="pythia-1b", panel="Tables 1, 2")
    assert not app.exception
    rows = {row[""]: row for row in app.dataframe[0].value.to_dict("records")}
    fixed = rows["Pythia-1B mixed parameters, fixed"]
    assert fixed["this store"].endswith("w = 0.50") and "(" in fixed["this store"]
    ours = float(fixed["this store"].split(" %")[0])
    assert fixed["difference"].startswith(f"{ours - 46.63:+.1f}".replace("-", "−"))
    assert rows["Pythia-1B mixed parameters, adaptive"]["this store"].startswith("not evaluated yet")
    assert rows["Pythia-2.8B mixed parameters, fixed"]["this store"] == "not in this store"


@pytest.mark.parametrize("panel", ["Tables 1, 2", "Table 3"])
def test_a_stand_in_without_results_under_these_options_is_said(
    panel: str, open_page: Callable[..., AppTest], several: Study, store_folder: Path
) -> None:
    store = Store.open(store_folder)
    elsewhere = dataclasses.replace(several, checkpoints=refs_of("elsewhere"), n_shots=several.n_shots // 2)
    fill(store, fusion_study(several))
    fill(store, elsewhere)
    store.close()
    app = open_page("paper", model="pythia-1b", panel=panel, **{"as_pythia-2.8b": "elsewhere"})
    assert not app.exception
    assert "elsewhere has no results in this study; evaluate it first" in words(app).replace("\\", "")
    by_row = app.dataframe[0].value.set_index("")["this store"]
    fused = {
        "Tables 1, 2": "Pythia-1B TR + Pythia-1B TL, adaptive",
        "Table 3": "Pythia-1B TR + Pythia-1B TL: TR-best / TL-best",
    }
    assert by_row[fused[panel]].split(" (")[0].endswith(" %"), "the other pairs are shown"


def test_the_button_takes_exactly_the_missing_study_to_evaluate(
    open_page: Callable[..., AppTest], several: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Study] = []
    monkeypatch.setattr("icl_core.evaluation.jobs.submit", lambda study, **_: asked.append(study) or 1)
    app = open_page("paper", model="pythia-1b", panel="Fig. 5", **{"as_minicpm-2b": "made-0", "as_olmo-7b": "made-1"})
    app.session_state["fill-Fig. 5"] = True
    app.run()
    assert "51 checkpoints, 16 tasks, 3 settings, 2 seeds, 16 shots, 1 split (test): 4,896 cells" in words(app)
    assert "of at most 100 test rows each" in words(app)
    assert "**4,896** of them to compute" in words(app)
    app.button(key="take-Fig. 5").click().run()
    assert app.title[0].value == "Evaluate"
    app.switch_page("pages/evaluate/page.py").run()  # the test runner itself stays on the page it knows
    app.button(key="start").click().run()
    wanted = ["pythia-2.8b", "pythia-6.9b", "amber-7b"]
    assert list(dict.fromkeys(ref.model for ref in asked[0].checkpoints)) == wanted
    assert len(asked[0].checkpoints) == 3 * 17
    assert asked[0].tasks == tuple(TASKS), "the paper's 16 tasks, though the study shown has two"
    assert (asked[0].demo_seeds, asked[0].n_test) == (several.demo_seeds, several.n_test)
    assert not {spec.digest for spec in study_cells(asked[0])} & {spec.digest for spec in study_cells(several)}


def test_every_figure_has_a_panel() -> None:
    assert {item.removesuffix(" left").removesuffix(" right") for item in FIGURES} <= set(PANELS)


@pytest.mark.parametrize("view", ["Intensity and ICL", "Occurrence", "R over training", "R and ICL"])
def test_models_compared_on_the_competition_page(view: str, open_page: Callable[..., AppTest], several: Study) -> None:
    app = open_page("competition", model="pythia-1b", part="Models compared", comparison=view)
    assert not app.exception
    assert len(app.multiselect(key="compare").value) == 4
    assert set(app.dataframe[-1].value["model"]) == {"pythia-1b", "made-0", "made-1", "made-2"}
    if view == "Intensity and ICL":
        assert "over n = 4 models" in words(app)


@pytest.mark.parametrize("door", ["door-explore", "door-evaluate"])
def test_doors_of_home_open_while_the_study_is_in_the_address(
    door: str, open_page: Callable[..., AppTest], several: Study
) -> None:
    app = open_page("home", model="pythia-1b", seeds="13")
    app.button(key=door).click().run()
    assert not app.exception
