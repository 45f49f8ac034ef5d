"""The tabs of the fusion page: tasks, cost, selection, queries, mixed parameters, downloads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import streamlit as st

from icl_core.analysis.fusion.comparison import EntryKind, EntryScore, Gain
from icl_core.errors import ObservatoryError, StudyError
from icl_core.evaluation import jobs as table
from icl_core.evaluation.fusion_data import mixing_study
from icl_core.evaluation.study import n_cells, validate_study
from pages.fusion import chart, computed, sentences, vega
from pages.fusion.computed import Asked, Comparison
from pages.fusion.controls import TasksDrawn
from pages.ui.controls import analysis
from pages.ui.controls.pickers import one_of
from pages.ui.data import cached
from pages.ui.files.facts import Facts
from pages.ui.panels import blocks, frame, jobs
from pages.ui.panels.tabs import Tab
from pages.ui.words.written import checkpoint_name, count, in_percent, in_points, legible, plain, task_title

__all__ = ["TABS", "Screen"]

MOST_QUERIES = 200
MOST_WEIGHTS = 21
PERCENT = st.column_config.NumberColumn(format="%.1f %%")
POINTS = st.column_config.NumberColumn(format="%+.1f")
BALANCED = {
    f"balanced {name}": st.column_config.NumberColumn(f"bal. {name}", format="%+.1f") for name in ("gain", "from", "to")
}
P = st.column_config.NumberColumn(format="%.2g")
BASELINES: tuple[EntryKind, ...] = ("best gold", "control", "gold", "member", "parameter fusion", "other model")
"""What a fusion may be compared with; the best single checkpoint comes first."""


@dataclass(frozen=True, slots=True)
class Screen:
    """What every tab is drawn from: the question, its answer, and the values of the controls above the chart."""

    asked: Asked
    found: Comparison
    view: TasksDrawn
    weight: float | None

    @property
    def fusion(self) -> EntryScore:
        """The fusion that is the page's result."""
        return self.found.main

    def facts(self, **further: str | float) -> Facts:
        """What decides the numbers of a table: the facts of the page, and what the tab adds."""
        of = chart.facts_of(self.asked, self.found)
        return Facts(of.study, {**of.settings, **further})

    @property
    def baselines(self) -> list[EntryScore]:
        """Everything that the fusion may be compared with; other fusions come last."""
        lines = sorted(self.found.of_kind(*BASELINES), key=lambda line: BASELINES.index(line.entry.kind))
        return [*lines, *(line for line in self.found.of_kind("fusion") if line is not self.fusion)]


def _baseline(screen: Screen, key: str) -> EntryScore:
    lines = {line.entry.title: line for line in screen.baselines}
    return lines[one_of("Against", list(lines), format_func=legible, key=key)]


# Tasks


def tasks(screen: Screen) -> None:
    """Gain on every task against one baseline, with both p-values."""
    baseline = _baseline(screen, "against")
    ours, theirs = screen.fusion.entry, baseline.entry
    found = computed.gains(screen.asked, ours, theirs)
    blocks.grid(
        gain_rows(screen, found),
        name="gains",
        of=screen.facts(baseline=theirs.title, **({} if screen.weight is None else {"at_w": screen.weight})),
        alt=f"Gain of {ours.title} over {theirs.title} by task",
        column_config={
            **dict.fromkeys(("fused", "baseline", "at w"), PERCENT),
            **dict.fromkeys(("gain", "from", "to"), POINTS),
            **BALANCED,
            **dict.fromkeys(("p seeds", "p queries"), P),
            "w": st.column_config.NumberColumn(format="%.2f"),
        },
    )
    st.caption(sentences.compared_gains(ours.title, theirs.title))


def gain_rows(screen: Screen, gains: dict[str, Gain]) -> list[dict[str, Any]]:
    """One row for the mean and one for each task."""
    asked = screen.asked
    main = gains[asked.measure]
    other = gains["balanced_accuracy" if asked.measure != "balanced_accuracy" else "accuracy"]
    name = "balanced" if asked.measure != "balanced_accuracy" else "accuracy"
    rows = []
    for row, second in zip((main.mean, *main.tasks), (other.mean, *other.tasks), strict=True):
        rows.append(
            {
                "task": "mean" if row.task is None else task_title(row.task),
                **_along_w(screen, row.task),
                "fused": in_percent(row.value),
                "baseline": in_percent(row.baseline),
                "gain": in_points(row.gain),
                "from": in_points(row.low),
                "to": in_points(row.high),
                "p seeds": row.p_seeds,
                "p queries": row.p_examples,
                f"{name} gain": in_points(second.gain),
                f"{name} from": in_points(second.low),
                f"{name} to": in_points(second.high),
                "seeds": row.n_seeds,
                "queries": row.n_examples,
            }
        )
    return rows


def _along_w(screen: Screen, task: str | None) -> dict[str, float | None]:
    """The fusion's own w, and the measure at the chosen w; empty with more than two members."""
    weights, curve = screen.fusion.weights, screen.found.curve
    if screen.weight is None or curve is None or weights is None:
        return {}
    own = weights.mean_w if task is None else float(weights.by_task[task][0])
    return {"w": own, "at w": in_percent(curve.at(screen.weight, task=task))}


# Cost


def cost(screen: Screen) -> None:
    """Table 1: accuracy and the operations of one prompt, and the gain over every baseline."""
    asked, found = screen.asked, screen.found
    costs = computed.costs(asked, [line.entry for line in found.lines])
    rows = [_cost_row(line, costs[line.entry]) for line in found.lines]
    drawn = [
        {**row, "kind": sentences.group_of(line), "label": row["name"]}
        for row, line in zip(rows, found.lines, strict=True)
        if row["tflops"]
    ]
    if drawn:
        figure = vega.cost_chart(drawn, frame.palette(), title=analysis.MEASURE_TITLES[asked.measure])
        blocks.chart(figure, key="cost", alt="Accuracy against TFLOPs of one prompt")
    else:
        st.info("The cost of a prompt is not known: no configuration of these models is on this machine.")
    blocks.grid(
        [{**row, **{key: in_percent(row[key]) for key in ("value", "low", "high")}} for row in rows],
        name="cost",
        of=screen.facts(),
        height=320,
        column_config={
            **dict.fromkeys(("value", "low", "high"), PERCENT),
            "tflops": st.column_config.NumberColumn("TFLOPs", format="%.3g"),
        },
        alt="Accuracy and cost of every fusion and baseline, as Table 1 of the paper",
    )
    st.caption(
        "TFLOPs: operations of one whole prompt, computed alone and summed over all members, as in Table 1 of the "
        "paper. The value stands with its 95 % interval."
    )
    if st.toggle("Test the gain over every baseline", key="all_gains", bind="query-params"):
        blocks.grid(all_gain_rows(screen), name="every-gain", of=screen.facts(), alt="Gain over every baseline",
                     column_config={**dict.fromkeys(("gain", "from", "to"), POINTS),
                                    **dict.fromkeys(("p seeds", "p queries"), P)})  # fmt: skip


def _cost_row(line: EntryScore, tflops: float | None) -> dict[str, Any]:
    entry = line.entry
    numbers = {"value": line.value, "low": line.low, "high": line.high}
    return {"name": entry.title, "kind": entry.kind, "tflops": tflops, **numbers}


def all_gain_rows(screen: Screen) -> list[dict[str, Any]]:
    """The mean gain over every baseline under both measures."""
    rows = []
    for line in screen.baselines:
        for measure, gain in computed.gains(screen.asked, screen.fusion.entry, line.entry).items():
            row = gain.mean
            rows.append(
                {
                    "baseline": line.entry.title,
                    "measure": measure.replace("_", " "),
                    "gain": in_points(row.gain),
                    "from": in_points(row.low),
                    "to": in_points(row.high),
                    "p seeds": row.p_seeds,
                    "p queries": row.p_examples,
                }
            )
    return rows


# Selection


def chosen(screen: Screen) -> None:
    """Table 3, and every pair of checkpoints."""
    asked = screen.asked
    if not screen.found.has_dev:
        st.info("Ways of choosing the members are compared on the development set, which is not evaluated yet.")
        return
    left, right = st.columns([2, 3])
    with left:
        blocks.grid(
            [
                {
                    "TR member": row.tr_rule,
                    "TL member": row.tl_rule,
                    "value": in_percent(row.scores.mean),
                    "± seeds": None if row.scores.spread is None else in_percent(row.scores.spread),
                    "draws": row.n_draws,
                }
                for row in computed.ablation(asked)
            ],
            name="selection",
            of=Facts(
                screen.facts().study,
                {
                    "TR model": asked.tr_model,
                    "TL model": asked.tl_model,
                    "measure": asked.measure,
                    "label_score": asked.normalisation,
                },
            ),
            height=360,
            column_config={"value": PERCENT, "± seeds": st.column_config.NumberColumn(format="%.1f")},
            alt="Adaptive fusion for each way of choosing the members, as Table 3 of the paper",
        )
        st.caption(
            "Adaptive fusion. Members are chosen on the development set in several ways, as in Table 3 of the paper."
        )
    with right:
        found = computed.grid(asked)
        rows = [
            {
                "tr": checkpoint_name(tr),
                "tl": checkpoint_name(tl),
                "value": float(found.value[i, j]),
                "chosen": tr == screen.found.tr and tl == screen.found.tl,
            }
            for i, tr in enumerate(found.tr)
            for j, tl in enumerate(found.tl)
        ]
        title = analysis.MEASURE_TITLES[asked.measure]
        blocks.chart(
            vega.pair_chart(rows, frame.palette(), title=title),
            key="pairs",
            alt=f"{title} of the adaptive fusion for every pair of checkpoints",
        )
        st.caption(sentences.all_pairs(len(rows)))


# Queries


def queries(screen: Screen) -> None:
    """How differently the members answer, and which queries the fusion gained and lost."""
    asked = screen.asked
    pairs = computed.member_diversity(asked)
    for (one, two), found in pairs.items():
        st.markdown(sentences.agreement((one.title, two.title), found, is_only=len(pairs) == 1))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        baseline = _baseline(screen, "queries_against")
        task = screen.view.task or one_of("Task", list(screen.found.tasks), format_func=task_title, key="queries_task")
    words = computed.label_words(asked, task)
    texts = cached.texts(task, asked.study.data_dir, "test")
    listed = computed.differences(asked, screen.fusion.entry, baseline.entry, task=task)
    st.markdown(sentences.gained_and_lost(baseline.entry.title, listed))
    blocks.grid(
        [
            {
                "outcome": each.outcome,
                "text": texts.get(each.row_id, each.row_id),
                "gold": words[each.gold],
                "baseline": words[each.baseline],
                "fused": words[each.answer],
                "seed": each.demo_seed,
            }
            for each in listed[:MOST_QUERIES]
        ],
        name="queries",
        of=screen.facts(baseline=baseline.entry.title, task=task_title(task)),
        height=300,
        alt="Queries that fusion and baseline answer differently",
    )
    if said := sentences.first_listed(len(listed), most=MOST_QUERIES):
        st.caption(said)


# Mixed parameters


def mixed(screen: Screen) -> None:
    """Accuracy of mixed parameters so far, and the evaluation of further weights."""
    asked, found = screen.asked, screen.found
    done = sorted(found.of_kind("parameter fusion"), key=lambda line: line.entry.mixed_weight or 0.0)
    if done:
        blocks.grid(
            [
                {
                    "w": line.entry.mixed_weight,
                    "value": in_percent(line.value),
                    "low": in_percent(line.low),
                    "high": in_percent(line.high),
                }
                for line in done
            ],
            name="mixed-parameters",
            of=screen.facts(),
            column_config={**dict.fromkeys(("value", "low", "high"), PERCENT)},
            alt="Mixed parameters under true labels",
        )
    else:
        st.markdown("The parameters of these two checkpoints have not been mixed and evaluated yet.")
    pooled = found.fusion("pooled")
    adaptive = None if pooled is None or pooled.weights is None else pooled.weights.mean_w
    default = "0.5" if adaptive is None else f"0.5, {adaptive:.2f}"
    text = st.text_input("Weights of the TR parameters", default, max_chars=200, key="mix_weights",
                         help="Numbers from 0 to 1, separated by commas. 0.5 is the paper's fixed weight, the other "
                         "one its adaptive weight (Eq. 6, pooled over tasks).")  # fmt: skip
    try:
        weights = _weights(text)
        study = mixing_study(asked.study, found.tr, found.tl, weights=weights)
        validate_study(study)
    except ObservatoryError as error:
        st.error(plain(str(error)))
        return
    mine = [job for job in jobs.listed(quiet=True) if job.kind == "evaluate" and table.study_of_job(job) == study]
    running = mine[0] if mine and mine[0].is_live else None
    if jobs.button(f"Evaluate {count(len(weights), 'mixture')} ({count(n_cells(study), 'cell')})", running, key="mix"):
        jobs.start(partial(table.submit, study, offline=st.session_state.get("offline", False)))
    jobs.live(mine[:1], "Job")
    if mine and running is None:
        st.info(f"Job {mine[0].id} is {mine[0].state}. {plain(mine[0].message)}")
    st.caption(
        "θ = w θ(TR) + (1 − w) θ(TL), evaluated under true labels like any checkpoint, and stored under a key of its "
        "own. Only checkpoints of one architecture can be mixed."
    )


def _weights(text: str) -> list[float]:
    weights = []
    for part in [part.strip() for part in text.split(",") if part.strip()]:
        try:
            weights.append(float(part))
        except ValueError:
            raise StudyError(f"{part!r} is no weight; give numbers from 0 to 1, separated by commas.") from None
    if len(weights) > MOST_WEIGHTS:
        raise StudyError(f"{len(weights)} weights are too many at once; give {MOST_WEIGHTS} at most.")
    return list(dict.fromkeys(weights))


# Downloads


def downloads(screen: Screen) -> None:
    """The curve's rows and the chart."""
    task = screen.view.task
    blocks.table(
        chart.value_rows(screen.found, task) if screen.weight is None else chart.curve_rows(screen.found, task),
        name="fusion",
        of=screen.facts(shown="mean over tasks" if task is None else task_title(task)),
        draw=lambda palette: chart.drawn(
            screen.asked, screen.found, screen.view, weight=screen.weight, palette=palette
        ),
    )


TABS: tuple[Tab[Screen], ...] = (
    Tab("Tasks", tasks),
    Tab("Cost", cost),
    Tab("Selection", chosen),
    Tab("Queries", queries),
    Tab("Mixed parameters", mixed),
    Tab("Table and downloads", downloads),
)
"""In their order."""
