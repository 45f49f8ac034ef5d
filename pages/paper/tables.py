"""The panels of the paper's tables: theirs, ours, the difference and what is missing, row by row."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from icl_core.analysis.comparison import ModelTrajectory
from icl_core.analysis.fusion.weights import WeightKind
from icl_core.errors import ObservatoryError, StudyError
from icl_core.registry.paper import (
    CODE_DIFFERENCES,
    PAPER_MODELS,
    TABLE_1,
    TABLE_3,
    TABLE_3_COLUMNS,
    TABLE_7,
    Reported,
    Table1Entry,
    Table7,
)
from pages.fusion import computed as fusion
from pages.paper import computed, sentences
from pages.paper.computed import PaperView
from pages.paper.missing import Gap, offer
from pages.paper.notes import differences_of
from pages.ui.controls.selection import Choice
from pages.ui.files.facts import Facts, of_view, points_of
from pages.ui.panels import blocks
from pages.ui.words.written import joined, legible, percent, plain

__all__ = ["ablation", "accuracies", "code_differences", "row", "sensitivity"]

ABSENT = "not in this store"


def row(name: str, reported: Reported, ours: float | None, *, said: str = "", why: str = ABSENT) -> dict[str, Any]:
    """One line: reported and ours as text, so that a number of the paper never looks like a result.

    Args:
        name: of the line.
        reported: by the paper, a fraction.
        ours: a fraction, None if there is none.
        said: ours in words, "" for the plain percentage.
        why: what stands in its place if there is none.
    """
    return {
        "": name,
        "reported by the paper": sentences.number(reported, as_percent=True),
        "this store": said or (percent(ours) if ours is not None else why),
        "difference": sentences.difference_words(reported, ours),
    }


def _facts(seen: PaperView) -> Facts:
    """What decides this store's numbers in the tables."""
    roles_played = "; ".join(f"{role}: {legible(model)}" for role, model in seen.stand_ins.items())
    rows: dict[str, str | int | float] = {"test_rows": seen.choice.examples, "demo_seeds": seen.choice.seeds}
    return Facts(None, {**of_view(seen.view), **points_of(seen.epsilon), **rows, "stand_ins": roles_played})


def _table(lines: Sequence[dict[str, Any]], seen: PaperView, *, name: str, alt: str) -> None:
    config: Any = {"": st.column_config.TextColumn(width="medium")}
    blocks.grid(lines, name=name, of=_facts(seen), column_config=config, height=min(560, 38 + 35 * len(lines)), alt=alt)


# Table 7


def sensitivity(seen: PaperView) -> None:
    """Table 7: the competition ratio with fewer checkpoints, other shots, other symbols."""
    st.caption("Competition ratios. Each of the paper's is a multiple of one over its number of intervals.")
    gaps: dict[Choice, list[str]] = {}
    for name, table in TABLE_7.items():
        for choice, absent in _table_7_part(name, table, seen).items():
            gaps[choice] = list(dict.fromkeys([*gaps.get(choice, []), *absent]))
    offer([_gap(choice, absent, seen) for choice, absent in gaps.items()])
    differences_of("Table 7a")


def _table_7_part(name: str, table: Table7, seen: PaperView) -> dict[Choice, list[str]]:
    """Draws one part; gives the models that are missing by the options under which they would be evaluated."""
    st.header(f"{name}: {table.title}", anchor=False)
    gaps: dict[Choice, list[str]] = {}
    columns = computed.table_7_choices(table, seen.choice)
    here = {column: computed.trajectories_under(seen, choice, tuple(table.rows)) for column, choice in columns.items()}
    lines = []
    for role, cells in table.rows.items():
        for cell, (column, choice) in zip(cells, columns.items(), strict=True):
            ours, why = _ratio_or_why(here[column].get(role), table, column, epsilon=seen.epsilon)
            lines.append({**row(f"{PAPER_MODELS[role]}, {column}", cell, ours, why=why), "note": cell.note})
            if ours is None:
                gaps.setdefault(choice, []).append(role)
    alt = f"{name}: competition ratio, reported and here"
    _table(lines, seen, name=name.lower().replace(" ", "-"), alt=alt)
    return gaps


def _ratio_or_why(
    trajectory: ModelTrajectory | None, table: Table7, column: str, *, epsilon: float
) -> tuple[float | None, str]:
    if trajectory is None:
        return None, ABSENT
    try:
        return computed.ratio_of(trajectory, table, column, epsilon=epsilon), ""
    except StudyError:
        return None, sentences.too_few(int(column) + 1, len(trajectory.checkpoints))


def _gap(choice: Choice, absent: Sequence[str], seen: PaperView) -> Gap:
    """What is missing of Table 7 under one choice of options."""
    models = tuple(seen.stand_ins.get(role, role) for role in absent)
    wanted = computed.wanted_choice(dataclasses.replace(seen, choice=choice), models)
    name = f"table-7-{choice.checkpoints}-{choice.shots}-{choice.alphabet}"
    return Gap(name, sentences.missing_options(absent, wanted), wanted)


# Tables 1 to 3: fusion


def accuracies(seen: PaperView) -> None:
    """Tables 1 and 2: accuracy of single models, of mixed parameters and of fused predictions."""
    st.header("Tables 1, 2: fusion and the models that it has to beat", anchor=False)
    problems: dict[str, str] = {}
    lines = []
    for entry in TABLE_1:
        lines += [_gold(entry, seen)] if entry.kind == "gold" else _fused(entry, seen, problems)
    _table(lines, seen, name="tables-1-and-2", alt="Tables 1 and 2, reported and here")
    st.caption(
        "Reported: mean over 16 datasets, ± the spread over five seeds; * marks p < 0.05 in a t-test. Ours: the value "
        "with its 95 % interval, bootstrap over seeds and queries. Members are chosen and weighted on the development "
        "set. Mixed parameters are evaluated from the fusion page, which also has both p-values and the costs."
    )
    _fusion_gaps(seen, problems)
    differences_of("Tables 1, 2")


def _gold(entry: Table1Entry, seen: PaperView) -> dict[str, Any]:
    summary = seen.side.summaries.get(seen.stand_ins.get(entry.tr, ""))
    assert entry.accuracy is not None  # gold lines have one
    line = row(f"{PAPER_MODELS[entry.tr]} gold", entry.accuracy, summary.final_icl if summary else None)
    return {**line, "TFLOPs reported": sentences.number(entry.tflops)}


def _fused(entry: Table1Entry, seen: PaperView, problems: dict[str, str]) -> list[dict[str, Any]]:
    """Two lines, fixed and adaptive weights; what keeps this store from having them goes into ``problems``."""
    title = entry.title or _pair_title(entry.tr, entry.tl)
    mixed = entry.kind == "parameter fusion"
    here = entry.tr in seen.stand_ins and entry.tl in seen.stand_ins
    found = None
    if here:
        asked = computed.fusion_asked(seen, (seen.stand_ins[entry.tr], seen.stand_ins[entry.tl]))
        try:
            found = None if mixed and not fusion.has_mixed(asked) else fusion.comparison(asked)
        except ObservatoryError as error:
            problems[title] = str(error)
    why = ABSENT if not here else "not evaluated yet: fusion page, Mixed parameters" if mixed else "not computed"
    reported: dict[WeightKind, Reported | None] = {"fixed": entry.fixed, "adaptive": entry.adaptive}
    out = []
    for kind, theirs in reported.items():
        if theirs is not None:
            name = f"{PAPER_MODELS[entry.tr]} mixed parameters, {kind}" if mixed else f"{title}, {kind}"
            line = computed.fused_line(found, kind, mixed=mixed)
            ours = row(name, theirs, line.value if line else None, said=sentences.value_words(line), why=why)
            out.append({**ours, "TFLOPs reported": sentences.number(entry.tflops)})
    return out


def _pair_title(tr: str, tl: str) -> str:
    return f"{PAPER_MODELS[tr]} TR + {PAPER_MODELS[tl]} TL"


def _fusion_gaps(seen: PaperView, problems: Mapping[str, str]) -> None:
    for title, problem in problems.items():
        st.info(f"{plain(title)}: {plain(problem)}")
    _, absent = computed.roles(seen, computed.FUSION_ROLES)
    wanted = list(computed.FUSION_ROLES) if problems else absent
    if wanted:
        models = tuple(seen.stand_ins.get(role, role) for role in wanted)
        choice = computed.wanted_choice(seen, models)
        offer([Gap("fusion", sentences.missing_splits(wanted), choice, dev=True)])


def ablation(seen: PaperView) -> None:
    """Table 3: adaptive fusion by how its checkpoints are chosen."""
    st.header("Table 3: which checkpoints are fused", anchor=False)
    pairs = computed.fusion_pairs(seen)
    problems: dict[str, str] = {}
    ours: dict[tuple[str, str], dict[tuple[str, str], float]] = {}
    lines = []
    for at, pair in enumerate(TABLE_3_COLUMNS):
        title = _pair_title(*pair)
        if pair in pairs:
            try:
                rows = fusion.ablation(computed.fusion_asked(seen, pairs[pair]))
                ours[pair] = {(each.tr_rule, each.tl_rule): each.scores.mean for each in rows}
            except ObservatoryError as error:
                problems[title] = str(error)
        for rules, cells in TABLE_3.items():
            why = "not computed" if pair in pairs else ABSENT
            line = row(f"{title}: {' / '.join(rules)}", cells[at], ours.get(pair, {}).get(rules), why=why)
            lines.append({**line, "note": cells[at].note})
    _table(lines, seen, name="table-3", alt="Table 3, reported and here")
    st.caption(sentences.pairs_computed(len(ours), len(TABLE_3_COLUMNS)))
    _fusion_gaps(seen, problems)
    differences_of("Table 3")


def code_differences(seen: PaperView) -> None:
    """Every point in which the paper and its code do not agree, and which of them is shown here."""
    st.header("Paper and code", anchor=False)
    blocks.grid(
        [
            {
                "topic": difference.topic,
                "the paper says": difference.paper,
                "its code does": difference.code,
                "shown here": difference.here,
                "concerns": joined(difference.items, most=20),
            }
            for difference in CODE_DIFFERENCES
        ],
        name="paper-and-code",
        of=Facts(),
        row_height=110,
        height=640,
        width="stretch",
        alt="Where the paper and its code differ",
    )
