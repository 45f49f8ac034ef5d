"""Models compared: members of the tiny suite with several training seeds, by factor, on made-up results."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from icl_core.evaluation.store import Store
from icl_core.evaluation.study import study_cells
from icl_core.models.listing import embedded_members, list_checkpoints
from icl_core.pretraining.members import MEMBERS
from icl_core.records import CellRecord
from pages.ui.charts import several
from pages.ui.charts.axes import x_axis
from pages.ui.charts.several import accumulation_chart
from pages.ui.charts.theme import LIGHT
from pages.ui.data import compared, suite
from tests.support.made_up import CURVES, made_up_record, made_up_study, refs_of

STEPS = (0, 660, 1100, 1540, 2200, 3300)
RUNS = [f"{member}{seed}" for member in MEMBERS for seed in ("", "-seed-2", "-seed-3")]


@pytest.fixture(scope="module", autouse=True)
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Manifests as the suite ships them, of two of the members that differ in size."""
    suite_folder = tmp_path_factory.mktemp("shipped") / "suite"
    for name, size in (("tiny-base", 99_136), ("tiny-narrow", 29_000)):
        folder = suite_folder / name
        folder.mkdir(parents=True)
        phases = [{"name": n, "start_step": a, "end_step": b} for n, a, b in (("one", 0, 500), ("two", 500, 3300))]
        kept = [{"folder": f"step-{step}", "step": step, "tokens_seen": step * 1664} for step in STEPS]
        facts = {"n_parameters": size, "phases": phases, "checkpoints": kept}
        (folder / "manifest.json").write_text(json.dumps(facts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("icl_core.models.listing.suite_path", lambda: suite_folder)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, shipped: None) -> Path:
    """A store with three training seeds of every member, with equal checkpoints and unequal curves."""
    study = made_up_study(tasks=("sst2",), n_test=60)
    folder = tmp_path_factory.mktemp("made") / "store"
    store = Store.open(folder)

    def records() -> Iterator[CellRecord]:
        for index, run in enumerate(RUNS):
            refs = list_checkpoints(run) if run in embedded_members() else refs_of(run, STEPS)
            noise = np.random.default_rng(index).normal(0, 0.06, (3, len(refs)))
            for spec in study_cells(dataclasses.replace(study, checkpoints=refs)):
                at = refs.index(spec.checkpoint)
                wanted = CURVES[spec.label_setting][2 * at % 10] + noise[len(spec.label_setting) % 3, at]
                yield made_up_record(spec, wanted=float(np.clip(wanted, 0.05, 0.95)))

    store.put_many(records())
    store.close()
    return folder


@pytest.fixture
def filled(store_folder: Path, made: Path) -> None:
    """The results of ``made`` in the store."""
    shutil.copytree(made, store_folder)


def words(app: AppTest) -> str:
    return "\n".join(str(item.value) for item in [*app.markdown, *app.caption, *app.info])


@pytest.fixture
def charts(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[dict[str, Any]]]:
    """The rows of all layers of each chart of the last run, by the chart's key."""
    kept: dict[str, list[dict[str, Any]]] = {}

    def keep(figure: dict[str, Any], *, key: str, **_: object) -> None:
        alt.Chart.from_dict(figure, validate=True)
        kept[key] = [row for rows in figure["datasets"].values() for row in rows]

    monkeypatch.setattr("pages.ui.panels.blocks.chart", keep)
    return kept


@pytest.fixture
def app(filled: None, charts: object, open_page: Callable[..., AppTest]) -> AppTest:
    return open_page("competition", model="tiny-base", part="Models compared")


def shows(app: AppTest, comparison: str) -> None:
    app.segmented_control(key="comparison").set_value(comparison).run()
    assert not app.exception, [item.value for item in app.exception]


def test_a_member_is_one_model_and_its_seeds_are_its_spread(app: AppTest, charts: dict[str, Any]) -> None:
    assert len(app.multiselect(key="compare").value) == len(RUNS)
    points = charts["scatter"]
    assert {row["model"] for row in points if row["run"] == ""} == {f"{name} (n = 3)" for name in MEMBERS}
    assert {row["model"] for row in points if row["run"]} == set(RUNS)
    assert f"over n = {len(MEMBERS)} models" in words(app)
    assert "tiny-wide: n = 3" in words(app).replace("\\", "")
    shows(app, "Occurrence")
    bars = charts["occurrence"]
    runs = {row["text"]: row for row in bars if row["text"] in RUNS}
    assert set(runs) == set(RUNS) and {row["family"] for row in bars} == set(MEMBERS)
    bar = next(row for row in bars if row["family"] == "tiny-wide" and row["text"] not in RUNS)
    seeds = [row["ratio"] for name, row in runs.items() if name.startswith("tiny-wide")]
    assert bar["ratio"] == pytest.approx(np.mean(seeds)) and len(seeds) == 3
    assert "3 training runs" in bar["text"]
    shows(app, "R and ICL")
    assert {key for key in charts if key.startswith("r-")} == {f"r-{name}" for name in MEMBERS}
    thin = {row["run"] for row in charts["r-tiny-base"] if row.get("thin")}
    assert {f"ICL, tiny-base{seed}" for seed in ("", "-seed-2", "-seed-3")} <= thin


LEVELS = {
    "size": ["29k", "99.1k"],
    "documents": ["1,000", "8,000", "always new"],
    "curriculum": ["knowledge first, then lists", "noisy labels first, then clean", "one mixture throughout"],
    "permuted": ["none", "a fifth"],
    "symbols": ["about a third to a half", "none"],
}


def test_panels_by_factor(app: AppTest, charts: dict[str, Any]) -> None:
    shows(app, "By factor")
    for factor, levels in LEVELS.items():
        charts.clear()
        app.segmented_control(key="factor").set_value(factor).run()
        assert not app.exception, [item.value for item in app.exception]
        rows = charts["level-Tiny suite-Competition ratio"]
        assert list(dict.fromkeys(row["level"] for row in rows)) == [f"{level}|n = 3" for level in levels]
        for level in dict.fromkeys(row["level"] for row in rows):
            mean, *seeds = sorted((row for row in rows if row["level"] == level), key=lambda row: row["run"])
            assert len(seeds) == 3 and mean["value"] == pytest.approx(np.mean([row["value"] for row in seeds]))
        r = charts["factor-Tiny suite"]
        assert {row["thin"] for row in r if "thin" in row} == {False, True}
        assert {row["name"] for row in r if row.get("name")} == {"one", "two"}  # the base's
    app.multiselect(key="compare").set_value(["tiny-base"]).run()
    assert "at least two of the compared models must differ" in words(app)


def test_the_papers_factors_are_drawn_over_the_suite_too(
    filled: None, charts: dict[str, Any], open_page: Callable[..., AppTest]
) -> None:
    app = open_page("paper", model="tiny-base", panel="Fig. 4")
    for panel, factor in (("Fig. 4", "size"), ("Fig. 5", "documents"), ("Fig. 6", "curriculum")):
        charts.clear()
        app.segmented_control(key="panel").set_value(panel).run()
        assert not app.exception, [item.value for item in app.exception]
        rows = charts["level-Tiny suite-Mean intensity"]
        assert list(dict.fromkeys(row["level"] for row in rows)) == [f"{level}|n = 3" for level in LEVELS[factor]]
        assert "not the paper's models" in words(app)


def test_test_rows_are_those_that_all_models_have() -> None:
    assert compared._n_test(100, (50, 100), {50, 100}) == 100
    assert compared._n_test(100, (50, 100), {50}) == 50, "another model has 50 alone"
    assert compared._n_test(100, (30,), set()) == 30, "nothing in common: its own"
    assert compared._n_test(100, (), set()) == 100


def test_facts_of_models() -> None:
    assert suite.group_of("tiny-wide-seed-3") == "tiny-wide" and suite.group_of("pythia-1b") == "pythia-1b"
    assert suite.training_seed_of("tiny-wide") == 1 and suite.training_seed_of("pythia-1b") is None
    assert suite.n_parameters_of("tiny-narrow-seed-2") == 29_000 and suite.n_parameters_of("someone") is None
    assert [phase.name for phase in suite.phases_of("tiny-base-seed-2")] == ["one", "two"]  # the manifest's
    assert [phase.name for phase in suite.phases_of("tiny-wide")] == ["knowledge first", "lists"]  # no weights shipped
    assert suite.phases_of("tiny-one-phase") == () and suite.phases_of("someone") == ()
    known = ("tiny-wide", "tiny-narrow", "tiny-base", "pythia-1b", "pythia-410m", "amber-7b", "someone")
    found = suite.lines_of(suite.FACTORS["size"], {name: name for name in known})
    assert found == {
        "Tiny suite": [("29k", "tiny-narrow"), ("99.1k", "tiny-base")],  # tiny-wide's size is not known here
        "Pythia": [("405.3 M", "pythia-410m"), ("1 B", "pythia-1b")],
    }


def test_charts_of_models_compared_are_valid() -> None:
    level = [{"level": "a|n = 1", "value": 0.2, "run": run, "model": "m"} for run in (False, True)]
    point = {"model": "m", "run": "", "mean_intensity": 0.2, "final_icl": 0.5, "text": "."}
    bar = {"family": "f", "ratio": 0.5, "text": "1 model"}
    curve = [
        {"model": "m", "run": str(thin), "thin": thin, "x": x, "value": x, "text": "."} for thin in (False, True)
        for x in (0.0, 1.0)
    ]  # fmt: skip
    axis = x_axis([0.0, 1.0], quantity="share", scale="linear")
    for figure in (
        several.level_chart(level, LIGHT, title="Ratio", percent=True),
        several.scatter_chart([point, {**point, "run": "m"}], LIGHT),
        several.occurrence_chart([bar], LIGHT, runs=[bar]),
        several.accumulated_chart(curve, axis, LIGHT),
        accumulation_chart(curve, curve, axis, palette=LIGHT),
    ):
        alt.Chart.from_dict(figure, validate=True)
