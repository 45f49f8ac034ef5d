"""Every chart of the app with rows like those of the pages, in which marks crowd and names are long."""

from __future__ import annotations

import functools
import itertools
from typing import Any

from pages.competition import vega as competition_vega
from pages.dynamics import vega as dynamics_vega
from pages.dynamics.vega import confusion_chart, label_share_chart
from pages.evaluate import vega as evaluate_vega
from pages.evaluate.vega import TIMELINE_STATES, timeline_chart
from pages.fusion import vega as fusion_vega
from pages.home import vega as home_vega
from pages.home.vega import grid_chart
from pages.lab import vega as lab_vega
from pages.lab.vega import Look
from pages.playground import vega as playground_vega
from pages.ui.charts import curves, several
from pages.ui.charts.axes import x_axis
from pages.ui.charts.curves import ability_chart
from pages.ui.charts.several import accumulation_chart
from pages.ui.charts.theme import ABILITIES, Figure, Palette

__all__ = ["LABELS", "MODULES", "STEPS", "catalogue"]

MODULES = (
    curves,
    several,
    *(competition_vega, dynamics_vega, evaluate_vega, fusion_vega, home_vega, lab_vega, playground_vega),
)
STEPS = (0, 220, 440, 660, 880, 990, 1100, 1210, 1320, 1430, 1540, 1760, 1980, 2200, 2530, 2860, 3300)
LAB_STEPS = (0, 4, 16, 60, 220, 532, 1000, 1500, 2500, 3750, 4375, 5000)
LABELS = ("red", "green", "blue", "yellow", "black", "white")
MODELS = ("tiny-base", "tiny-noisy-first", "tiny-one-phase", "tiny-permuted-lists")
LEVELS = ("knowledge first, then lists", "noisy labels first, then clean", "one mixture throughout")
TOKENS = 1664


def _wave(index: int, place: float) -> float:
    """A share that moves, the same whenever it is asked for."""
    return 0.45 + 0.12 * index + 0.25 * place * (-1) ** index + 0.07 * ((index * 7 + round(place * 97)) % 5 - 2)


def _abilities(models: tuple[str, ...] = ("tiny-base",), *, scale: float = 1) -> list[dict[str, Any]]:
    rows = []
    for at, (model, ability, step) in enumerate(itertools.product(models, ABILITIES, STEPS)):
        value = min(1.0, max(0.0, _wave(ABILITIES.index(ability), step / 3300) + 0.02 * models.index(model)))
        row = {"model": model, "ability": ability, "x": step * scale, "checkpoint": f"step {step:,}", "revision": "r"}
        rows.append(
            row | {"value": value, "low": value - 0.03, "high": value + 0.031234567, "left_out": "" if at else "."}
        )
    return rows


def _intervals() -> list[dict[str, Any]]:
    return [
        {"interval": at, "x": a, "x2": b, "text": f"step {a:,} to step {b:,}", "short": f"{a}–{b}", "task": task}
        | {"delta_tr": 0.13 * (-1) ** at / (1 + at % 4), "delta_tl": -0.12 * (-1) ** at / (1 + at % 3)}
        | {"competes": at % 3 != 1, "intensity": 1 / (1 + at), "certainty": 1 / (1 + at)}
        for task in ("tiny_colour", "tiny_permuted")
        for at, (a, b) in enumerate(itertools.pairwise(STEPS))
    ]


def _curve(quantity: float = 1) -> list[dict[str, Any]]:
    return [
        {"model": model, "run": f"{model}{seed}", "thin": seed > 0, "x": step * quantity, "text": "R"}
        | {"value": min(1.0, step / 3000)}
        for model in MODELS
        for seed in range(3)
        for step in STEPS
    ]  # fmt: skip


def _lab(*, high: float = 1) -> list[dict[str, Any]]:
    titles = ("Train", "ICL", "ICL novel", "CIWL", "Flip", "IWL")
    return [
        {"run": "K 512", "series": title, "x": step, "value": v, "low": v * 0.9, "high": v * 1.1, "n": 3}
        for index, title in enumerate(titles)
        for step in LAB_STEPS
        for v in [high * min(0.9, max(0.02, 0.5 + (index - 2) * 0.1 * step / 3000))]
    ]


def _fusion(palette: Palette) -> dict[str, Figure]:
    curve = [{"w": w / 100, "value": 0.62 + w / 2000, "low": 0.58, "high": 0.69} for w in range(101)]
    named = (("TR alone", "TR", 1.0), ("TL alone", "TL", 0.0), ("fixed", "fusion", 0.5), ("pooled", "fusion", 0.517))
    named += (("adaptive", "fusion", 0.523), ("oracle (upper bound)", "upper bound", 0.58))
    marks = [
        {"w": w, "value": 0.65 + w / 100, "low": 0.62, "high": 0.712345, "kind": kind, "name": name, "label": name}
        for name, kind, w in named
    ]
    marks.append({**marks[0], "w": 0.3, "kind": "parameter fusion", "label": ""})
    levels = [
        {"value": value, "name": label, "label": label, "strong": strong}
        for value, label, strong in (
            (0.731, "best single\n(dev), gold", True),
            (0.742, "equal\nensemble, gold", True),
            (0.63, "step 2,860, gold", False),
        )
    ]
    tasks = [{"w": w / 20, "value": 0.6 + w / 200, "task": "tiny_colour"} for w in range(21)]
    kinds = ("fusion", "upper bound", "TR", "TL", "single, gold", "equal ensemble")
    values = [
        {"name": f"fusion of {kind} and a long name", "kind": kind, "value": 0.6, "low": 0.512345, "high": 0.7}
        | {"tflops": 1.9e-5 * (1 + at % 3), "label": kind}
        for at, kind in enumerate(kinds)
    ]
    pairs = [
        {"tr": f"step {a:,}", "tl": f"step {b:,}", "value": (a + b) / 7000, "chosen": a == b == 990}
        for a in STEPS
        for b in STEPS
    ]
    return {
        "weight_chart": fusion_vega.weight_chart(curve, marks, levels, palette=palette, tasks=tasks),
        "value_chart": fusion_vega.value_chart(values, palette),
        "cost_chart": fusion_vega.cost_chart(values, palette),
        "pair_chart": fusion_vega.pair_chart(pairs, palette, title="Accuracy"),
    }


def _compared(palette: Palette) -> dict[str, Figure]:
    bars = [{"family": m, "ratio": 0.353 - 0.03 * i, "text": "3 training runs"} for i, m in enumerate(MODELS)]
    dots = [{"family": m, "ratio": 0.1 * i + 0.0625, "text": m} for m in MODELS for i in range(3)]
    levels = [
        {"level": f"{level}|n = 3", "value": 0.2718281828 * (1 + at), "run": run, "model": "m"}
        for at, level in enumerate(LEVELS)
        for run in (False, True)
    ]  # fmt: skip
    points = [
        {"model": f"{model} (n = 3)", "run": "", "mean_intensity": 0.25 + 0.013 * i, "final_icl": 0.74 - 0.01 * i}
        | {"text": "."}
        for i, model in enumerate(MODELS)
    ]  # fmt: skip
    runs = [{**p, "run": "x", "mean_intensity": p["mean_intensity"] * (0.5 + k)} for p in points for k in range(2)]
    phases = [
        {"x": a, "x2": b, "name": name, "text": name, "strength": 0.2}
        for a, b, name in ((0, 1100, "knowledge first"), (1100, 3300, "lists"))
    ]
    return {
        "occurrence_chart": several.occurrence_chart(bars, palette, runs=dots),
        "level_chart": several.level_chart(levels, palette, title="Competition ratio", percent=True),
        "level_chart of numbers": several.level_chart(levels, palette, title="Mean intensity", percent=False),
        "scatter_chart": several.scatter_chart([*points, *runs], palette),
        "accumulated_chart": several.accumulated_chart(_curve(), x_axis(STEPS), palette, phases=phases),
        "accumulated_chart over tokens": several.accumulated_chart(
            _curve(TOKENS), x_axis([s * TOKENS for s in STEPS], quantity="tokens"), palette
        ),
    }


def _of_lab(palette: Palette) -> dict[str, Figure]:
    axis = x_axis(LAB_STEPS)
    path = [
        {"run": run, "step": step, "flip": 0.5 + sign * step / 11000, "ciwl": 0.5 + step / 12000}
        for run, sign in (("K 512", -1), ("K 512, copy 1", 1))
        for step in LAB_STEPS
    ]
    transience = [
        {"run": run, "series": s, "index": 0.1234567 * seed, "seed": seed} for run in ("K 512", "K 512, copy 1")
        for s in ("ICL", "Flip") for seed in (1, 2)
    ]  # fmt: skip
    sweep = [{"n_classes": k, "value": v, "flip": v, "low": 0.4, "high": 0.6123456, "n": 2, "text": "50 % (2)"}
             for k in (256, 512, 4096) for v in (0.0, 0.25, 1.0)]  # fmt: skip
    seeds = [{"seed": n, "outcome": "stuck", "x": x, "value": 0.5 + n / 9} for n in range(4) for x in (0, 4000, 8000)]
    median = [{"x": 0, "value": 0.5}, {"x": 8000, "value": 0.4, "text": "dashed: median"}]
    attention = [
        {"layer": layer, "head": head, "query": q, "key": k, "share": 1 / (q + 1), "name": "layer 1, head 1"}
        | {"query_name": f"t{q}", "key_name": f"t{k}"}
        for layer in range(2) for head in range(8) for q in range(5) for k in range(q + 1)
    ]  # fmt: skip
    thresholds = [{"value": 0.05, "text": "emerged"}, {"value": 0.15, "text": "faded"}]
    return {
        "series_chart": lab_vega.series_chart(
            _lab(), axis, palette,
            references=[{"value": 0.5, "text": "chance 50.0 %"}, {"value": 0.03125, "text": "IWL chance 3.1 %"}],
            markers=[{"x": 532.0, "text": "ICL > .6"}, {"x": 560.5, "text": "Flip peak"},
                     {"x": 4375, "text": "ICL > .6 (2 of 3)"}, {"x": 4, "text": "CIWL > ICL"}],
        ),
        "series_chart of losses": lab_vega.series_chart(
            _lab(high=9.87654321), axis, palette, look=Look(title="Loss (nats)", domain=None, unit="number", height=240)
        ),
        "attention_chart": lab_vega.attention_chart(attention, palette, n_layers=2, n_heads=8, n_tokens=5),
        "portrait_chart": lab_vega.portrait_chart(path, palette, chance={"flip": 0.5, "ciwl": 0.5}),
        "transience_chart": lab_vega.transience_chart(transience, palette),
        "sweep_chart": lab_vega.sweep_chart(sweep, palette, title="Copy probability"),
        "fan_chart": lab_vega.fan_chart(seeds, median, palette, n_steps=8000, title="L₁", thresholds=thresholds),
        "outcome_chart": lab_vega.outcome_chart(
            [{"outcome": o, "share": 1 / 3, "text": "2 of 6"} for o in lab_vega.OUTCOME_TITLES], palette
        ),
    }  # fmt: skip


def _of_competition(palette: Palette) -> dict[str, Figure]:
    axis = x_axis(STEPS)
    alone = [row for row in _curve() if not row["thin"] and row["model"] == MODELS[0]]
    epsilon = [
        {"epsilon": e / 800, "observed": 1 / (1 + e), "null_low": 0.1, "null_median": 0.2123456, "null_high": 0.3}
        for e in range(81)
    ]
    one_task = [row for row in _intervals() if row["task"] == "tiny_colour"]
    return {
        "intensity_chart": competition_vega.intensity_chart(one_task, axis, palette),
        "accumulation_chart": accumulation_chart(alone, alone, axis, palette=palette),
        "plane_chart": competition_vega.plane_chart(one_task, palette, epsilon=0.01),
        "heat_map": competition_vega.heat_map(_intervals(), palette),
        "epsilon_chart": competition_vega.epsilon_chart(epsilon, palette, epsilon=0.01, title="Ratio"),
    }


def _of_curves(palette: Palette) -> dict[str, Figure]:
    phases = [
        {"x": a, "x2": b, "name": name, "text": name, "strength": 0.2}
        for a, b, name in ((0, 1100, "knowledge first"), (1100, 3300, "lists"))
    ]
    references = [{"value": 0.354, "text": "chance 35.4 %"}, {"value": 0.388, "text": "majority 38.8 %"}]
    notes = [
        {"x": 990, "value": 0.55, "text": "TR rises", "ability": "TR"},
        {"x": 1210, "value": 0.6, "text": "TL jumps", "ability": "TL"},
        {"x": 1540, "value": 0.5, "text": "TR falls", "ability": "TR"},
    ]
    shares = [
        {"checkpoint": c, "label": word, "share": 1 / 6, "order": o} for c in ("0", "220", "1.1k", "3.3k", "gold")
        for o, word in enumerate(LABELS)
    ]  # fmt: skip
    pairs = [{"gold": g, "predicted": p, "count": 1234, "share": 0.123456} for g in LABELS for p in LABELS]
    tasks = ("tiny_colour", "tiny_wind", "tiny_taste", "tiny_season", "tiny_polarity", "films.jsonl", "tiny_size")
    cells = [
        {"model": f"{model}-seed-3", "task": task, "state": "complete", "text": "51/51"}
        for model in MODELS
        for task in tasks
    ]
    points = [
        {"model": "tiny-base", "x": STEPS[i], "checkpoint": f"step {STEPS[i]:,}", "name": str(i), "state": state}
        | {"text": "."}
        for i, state in enumerate(TIMELINE_STATES)
    ]  # fmt: skip
    over = {
        "ability_chart": (_abilities(), x_axis(STEPS), {"phases": phases, "references": references, "notes": notes}),
        "ability_chart over tokens": (
            _abilities(scale=TOKENS), x_axis([s * TOKENS for s in STEPS], quantity="tokens"),
            {"references": references},
        ),
        "ability_chart over share": (
            _abilities(scale=1 / 3300), x_axis([s / 3300 for s in STEPS], quantity="share"), {"boundaries": []},
        ),
        "ability_chart, linear": (_abilities(), x_axis(STEPS, scale="linear"), {"boundaries": phases}),
        "ability_chart of several": (_abilities(MODELS[:2]), x_axis(STEPS), {}),
    }  # fmt: skip
    drawn = {name: ability_chart(rows, axis, palette, **more) for name, (rows, axis, more) in over.items()}  # type: ignore[arg-type]
    return drawn | {
        "label_share_chart": label_share_chart(shares, palette),
        "confusion_chart": confusion_chart(pairs, palette),
        "grid_chart": grid_chart(cells, palette),
        "timeline_chart": timeline_chart(points, x_axis([p["x"] for p in points]), palette),
    }


def _of_playground(palette: Palette) -> dict[str, Figure]:
    bars = [
        {"label": word, "probability": p, "winner": p > 0.5}
        for word, p in zip("abc", (0.607210572142, 0.3, 0.1), strict=True)
    ]
    tokens = playground_vega.token_rows(["a film", " of joy", "\n"], [1, 2, 1234], n_shared=1, most=9)
    return {
        "label_bars": playground_vega.label_bars(bars, palette, role="TR"),
        "token_chart": playground_vega.token_chart(tokens, palette),
    }


@functools.cache
def catalogue(palette: Palette) -> dict[str, Figure]:
    """All charts by the function that draws them, and what is special about them; drawn once, to be read alone."""
    parts = (_of_curves, _of_competition, _compared, _fusion, _of_lab, _of_playground)
    return {name: figure for part in parts for name, figure in part(palette).items()}
