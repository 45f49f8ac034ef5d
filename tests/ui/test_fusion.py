"""The fusion page: its states, its sentence, its live w, its tabs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from streamlit.dataframe_util import convert_arrow_bytes_to_pandas_df
from streamlit.testing.v1 import AppTest

from icl_core.analysis.trajectories import setting_values
from icl_core.evaluation.fusion_data import collect_results, fusion_study, mixing_study
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study, study_cells
from pages.fusion.vega import MOVABLE
from tests.support.made_up import fill, made_up_study, refs_of


def words(app: AppTest) -> str:
    said = [*app.markdown, *app.caption, *app.info, *app.warning, *app.error]
    return "\n".join(str(item.value) for item in said)


@pytest.fixture
def filled(store_folder: Path, lay_store: Callable[..., None]) -> Callable[..., Study]:
    def fill_both(*, dev: bool = True, also: tuple[Study, ...] = ()) -> Study:
        study = made_up_study(n_test=60)
        lay_store(store_folder, fusion_study(study) if dev else study, *also)
        return study

    return fill_both


@pytest.fixture
def page(open_page: Callable[..., AppTest]) -> Callable[..., AppTest]:
    def opened(**query: str) -> AppTest:
        app = open_page("fusion", model="someone-model", **query)
        assert not app.exception, [item.value for item in app.exception]
        return app

    return opened


def test_nothing_computed_yet(page: Callable[..., AppTest], store_folder: Path) -> None:
    app = page(task="sst2")
    assert "This study does not have both yet" in words(app)
    assert not app.get("vega_lite_chart")


def test_the_sentence_names_members_gain_interval_and_both_tests(
    page: Callable[..., AppTest], filled: Callable[..., Study]
) -> None:
    filled()
    said = words(page())
    assert "step 440 (TR)" in said and "step 990 (TL), fused with adaptive weights" in said
    assert "against the best single checkpoint under true labels" in said and "against the equal ensemble" in said
    assert "over 2 seeds" in said and "over 120 queries" in said
    assert "Under balanced accuracy" in said
    assert "Fusion is worse than the best single checkpoint here." in said


def test_w_is_live_and_the_ends_are_the_members(page: Callable[..., AppTest], filled: Callable[..., Study]) -> None:
    study = filled()
    app = page()
    store = Store.open()
    test = collect_results(study, store).models["someone-model"].test
    for w, setting, step in ((1.0, "random", 440), (0.0, "abstract", 990)):
        app.slider(key="w").set_value(w).run()
        values = setting_values(test, setting)
        at = [ref.step for ref in values.checkpoints].index(step)
        assert f"At **w = {w:.2f}**: **{100 * values.value[at]:.1f} %**" in words(app)


def test_moving_w_leaves_the_chart_in_place_for_the_browser(
    page: Callable[..., AppTest], filled: Callable[..., Study]
) -> None:
    filled()
    app = page()
    before = app.get("vega_lite_chart")[0].proto
    app.slider(key="w").set_value(0.8).run()
    after = app.get("vega_lite_chart")[0].proto
    assert (after.spec, after.alt) == (before.spec, before.alt)
    (chosen,) = [data for data in after.datasets if data.name == MOVABLE]
    assert convert_arrow_bytes_to_pandas_df(chosen.data.data)["w"].tolist() == [0.8]


def test_members_by_hand(page: Callable[..., AppTest], filled: Callable[..., Study]) -> None:
    filled()
    app = page(members="By hand", tr_at="step 220", tl_at="step 770")
    assert "step 220 (TR)" in words(app) and "step 770 (TL)" in words(app)


@pytest.mark.parametrize("tab", ["Tasks", "Cost", "Selection", "Queries", "Mixed parameters", "Table and downloads"])
def test_a_third_member(tab: str, page: Callable[..., AppTest], filled: Callable[..., Study]) -> None:
    filled()
    app = page(fusion_part=tab)
    app.multiselect(key="further_members").set_value(["someone-model (ICL)"]).run()
    assert not app.exception, [item.value for item in app.exception]
    said = words(app)
    assert (
        "step 440 (TR), someone\\-model step 990 (TL) and someone\\-model step 990 (ICL), fused with adaptive" in said
    )
    assert not [slider for slider in app.slider if slider.key == "w"] and "At **w" not in said
    weights = app.dataframe[0].value
    assert list(weights.columns)[1:] == [
        f"{role} someone-model step {step}" for role, step in (("TR", 440), ("TL", 990), ("ICL", 990))
    ]
    assert weights.iloc[:, 1:].sum(axis=1).tolist() == pytest.approx([1, 1])
    assert len(app.dataframe) >= 2 or tab == "Mixed parameters"


def test_members_by_hand_may_be_of_one_role_but_not_one_checkpoint(
    page: Callable[..., AppTest], filled: Callable[..., Study]
) -> None:
    filled()
    app = page(members="By hand", tr_at="step 220", tl_at="step 770")
    app.multiselect(key="further_members").set_value(["someone-model (TR)"]).run()
    app.selectbox(key="further_at_0").set_value("step 550").run()
    assert "step 550 (TR), fused with adaptive weights" in words(app)
    app.selectbox(key="further_at_0").set_value("step 220").run()
    assert "takes part twice" in words(app) and not app.exception


def test_without_the_development_set_it_says_what_to_do(
    page: Callable[..., AppTest], filled: Callable[..., Study]
) -> None:
    filled(dev=False)
    app = page()
    said = words(app)
    assert "the development set is not evaluated yet" in said
    assert "fused with equal weights" in said and "with adaptive weights" not in said
    assert [button for button in app.button if button.label == "Evaluate the development set"]


def test_missing_cells_are_worded(page: Callable[..., AppTest], store_folder: Path) -> None:
    study = made_up_study(n_test=60)
    store = Store.open(store_folder)
    fill(store, dataclasses.replace(study, demo_seeds=(13,)))
    fill(store, dataclasses.replace(study, demo_seeds=(21,), label_settings=("random", "gold")))
    store.close()
    app = page(seeds="13, 21")
    assert "Demo seeds differ" in words(app) or "This study does not have both yet" in words(app)


TABS = ("Tasks", "Cost", "Selection", "Queries", "Mixed parameters", "Table and downloads")


def agreement(study: Study, folder: Path) -> float:
    """On how many queries the two members name one label, in percent: mean over tasks of mean over seeds."""
    store = Store.open(folder)
    members = ((study.checkpoints[4], "random"), (study.checkpoints[9], "abstract"))
    answers = {
        (spec.task, spec.demo_seed, spec.label_setting): store.find(spec).loglikelihoods.argmax(axis=1)  # type: ignore[union-attr]
        for spec in study_cells(study)
        if (spec.checkpoint, spec.label_setting) in members and spec.split == "test"
    }
    store.close()
    same = [answers[task, seed, "random"] == answers[task, seed, "abstract"] for task, seed in
            {(task, seed) for task, seed, _ in answers}]  # fmt: skip
    return 100 * float(np.mean(same))  # as many seeds and queries in each task


@pytest.mark.parametrize("tab", TABS)
def test_tabs(tab: str, page: Callable[..., AppTest], filled: Callable[..., Study], store_folder: Path) -> None:
    study = made_up_study(n_test=60)
    tr, tl = study.checkpoints[4], study.checkpoints[9]
    bigger = dataclasses.replace(study, checkpoints=refs_of("pythia-1b", (990,)), label_settings=("gold",))
    filled(also=(mixing_study(study, tr, tl, weights=(0.5,)), bigger))
    app = page(fusion_part=tab)
    assert app.dataframe
    values = [frame.value for frame in app.dataframe]
    if tab == "Tasks":
        assert values[0]["task"][0] == "mean" and set(values[0]["task"]) == {"mean", "sst2", "mrpc"}
        assert {"p seeds", "p queries", "balanced gain", "queries", "at w"} <= set(values[0].columns)
    if tab == "Cost":
        kinds = set(values[0]["kind"])
        assert {"parameter fusion", "other model", "control", "upper bound"} <= kinds
        app.toggle(key="all_gains").set_value(True).run()
        assert set(app.dataframe[1].value["measure"]) == {"accuracy", "balanced accuracy"}
    if tab == "Selection":
        assert len(values[0]) == 9 and len(app.get("vega_lite_chart")) == 2
        assert "of 100 pairs of checkpoints" in words(app)
    if tab == "Queries":
        outcomes = list(values[0]["outcome"])
        assert set(outcomes) <= {"gained", "lost", "other"}
        told = f"**{outcomes.count('gained')}** gained, **{outcomes.count('lost')}** lost"
        assert told in words(app)
        assert f"agree on **{agreement(study, store_folder):.1f} %**" in words(app)
    if tab == "Mixed parameters":
        assert list(values[0]["w"]) == [0.5]


def test_mixing_starts_a_job_for_the_weights_asked(
    page: Callable[..., AppTest], filled: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Study] = []
    filled()
    monkeypatch.setattr("icl_core.evaluation.jobs.submit", lambda study, **_: asked.append(study) or 0)
    app = page(fusion_part="Mixed parameters")
    app.text_input(key="mix_weights").set_value("0.25, half").run()
    assert "'half' is no weight" in words(app).replace("\\", "")
    app.text_input(key="mix_weights").set_value("2").run()
    assert "not between 0 and 1" in words(app)
    app.text_input(key="mix_weights").set_value("0.25, 0.75").run()
    app.button(key="mix").click().run()
    assert [ref.revision for ref in asked[0].checkpoints] == ["w=0.25", "w=0.75"]
    assert asked[0].label_settings == ("gold",) and asked[0].splits == ("test",)


def test_values_of_a_url_do_no_harm(page: Callable[..., AppTest], filled: Callable[..., Study]) -> None:
    filled()
    app = page(w="7", members="x", tr_at="<b>", fusion_part="none", against="nobody", measure="?")
    assert "<b>" not in words(app) and "reach" in words(app)
