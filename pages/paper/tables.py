"""The panels of the paper's tables: theirs, ours, the difference and what is missing, row by row."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import streamlit as st

from icl_core.analysis.comparison import ModelTrajectory, subsample, summarise
from icl_core.analysis.fusion.comparison import EntryScore, mixed_counterpart
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
from pages.paper.figures import study_choice, wanted_choice
from pages.paper.fill import Filling, fillings
from pages.paper.parts import PaperView, difference_words, differences_of, number, roles
from pages.ui.controls import selection
from pages.ui.data import compared
from pages.ui.files.facts import Facts, of_view, points_of
from pages.ui.panels import blocks
from pages.ui.words.written import count, interval, joined, legible, percent, plain

__all__ = ["PANELS", "ratio_of", "roles_under", "table_7_choices"]

ABSENT = "not in this store"


def _row(name: str, reported: Reported, ours: float | None, *, said: str = "", why: str = ABSENT) -> dict[str, Any]:
    """One line: reported and ours as text, so that a number of the paper never looks like a result."""
    return {
        "": name,
        "reported by the paper": number(reported, percent=True),
        "this store": said or (percent(ours) if ours is not None else why),
        "difference": difference_words(reported, ours),
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


def table_7_choices(table: Table7, choice: selection.Choice) -> dict[str, selection.Choice]:
    """For each column of a part of Table 7 the options under which its results are made."""
    if table.option == "alphabet":
        return {str(column): dataclasses.replace(choice, alphabet=str(column)) for column in table.columns}
    if table.option == "shots":
        return {str(column): dataclasses.replace(choice, shots=int(column)) for column in table.columns}
    wide = dataclasses.replace(choice, checkpoints=str(int(table.columns[-1]) + 1))
    return {str(column): wide if column == table.columns[-1] else choice for column in table.columns}


def ratio_of(trajectory: ModelTrajectory, table: Table7, column: str, *, epsilon: float) -> float:
    """The competition ratio of one field of Table 7.

    Raises:
        StudyError: the trajectory has too few checkpoints.
    """
    if table.option == "checkpoints":
        trajectory = subsample(trajectory, n_intervals=int(column))
    return summarise(trajectory, epsilon=epsilon).competition.ratio


def _table_7_part(name: str, table: Table7, seen: PaperView) -> dict[selection.Choice, list[str]]:
    """Draws one part; gives the models that are missing by the options under which they would be evaluated."""
    st.header(f"{name}: {table.title}", anchor=False)
    gaps: dict[selection.Choice, list[str]] = {}
    columns = table_7_choices(table, seen.choice)
    here = {column: roles_under(seen, choice, tuple(table.rows)) for column, choice in columns.items()}
    lines = []
    for role, cells in table.rows.items():
        for cell, (column, choice) in zip(cells, columns.items(), strict=True):
            ours, why = _ratio_or_why(here[column].get(role), table, column, epsilon=seen.epsilon)
            lines.append({**_row(f"{PAPER_MODELS[role]}, {column}", cell, ours, why=why), "note": cell.note})
            if ours is None:
                gaps.setdefault(choice, []).append(role)
    alt = f"{name}: competition ratio, reported and here"
    _table(lines, seen, name=name.lower().replace(" ", "-"), alt=alt)
    return gaps


def _filling(choice: selection.Choice, absent: Sequence[str], seen: PaperView) -> Filling:
    """What would fill one gap of Table 7, with words for the options in which it differs from the study's."""
    models = tuple(seen.stand_ins.get(role, role) for role in absent)
    wanted = wanted_choice(dataclasses.replace(seen, choice=choice), models)
    which = "the paper's" if wanted.checkpoints == "paper" else plain(wanted.checkpoints)
    options = f"{which} checkpoints, {wanted.shots} shots, {wanted.alphabet}"
    words = f"{joined([PAPER_MODELS[role] for role in absent])} with {options}"
    return Filling(f"table-7-{choice.checkpoints}-{choice.shots}-{choice.alphabet}", words, wanted)


def roles_under(seen: PaperView, choice: selection.Choice, wanted: tuple[str, ...]) -> dict[str, ModelTrajectory]:
    """The trajectories of the paper's models under other options, of those that have one."""
    played = {role: seen.stand_ins[role] for role in wanted if role in seen.stand_ins}
    study_of = partial(selection.study_of_model, choice)
    found = compared.compare(study_of, tuple(played.values()), view=seen.view).trajectories
    return {role: found[model] for role, model in played.items() if model in found}


def _ratio_or_why(
    trajectory: ModelTrajectory | None, table: Table7, column: str, *, epsilon: float
) -> tuple[float | None, str]:
    if trajectory is None:
        return None, ABSENT
    try:
        return ratio_of(trajectory, table, column, epsilon=epsilon), ""
    except StudyError:
        return None, f"needs {int(column) + 1} checkpoints, has {len(trajectory.checkpoints)}"


def sensitivity(seen: PaperView) -> None:
    """Table 7: the competition ratio with fewer checkpoints, other shots, other symbols."""
    st.caption("Competition ratio. The paper's are multiples of one over the number of intervals.")
    gaps: dict[selection.Choice, list[str]] = {}
    for name, table in TABLE_7.items():
        for choice, absent in _table_7_part(name, table, seen).items():
            gaps[choice] = list(dict.fromkeys([*gaps.get(choice, []), *absent]))
    fillings([_filling(choice, absent, seen) for choice, absent in gaps.items()])
    differences_of("Table 7a")


# Tables 1 to 3: fusion


def _asked(seen: PaperView, pair: tuple[str, str]) -> fusion.Asked:
    """The fusion page's question for one pair of stand-ins; all pairs are read with one study."""
    models = tuple(dict.fromkeys(seen.stand_ins[role] for role in _fusion_roles() if role in seen.stand_ins))
    study = selection.study_of(study_choice(seen, models))
    tr, tl = pair
    return fusion.Asked(study, tr, tl, None, None, seen.view.measure, seen.view.normalisation)


def _fusion_roles() -> tuple[str, ...]:
    return tuple(dict.fromkeys(role for pair in TABLE_3_COLUMNS for role in pair))


def _pairs(seen: PaperView) -> Mapping[tuple[str, str], tuple[str, str]]:
    """Store models by the pair of roles that they play, of pairs whose both roles are played."""
    return {
        (tr, tl): (seen.stand_ins[tr], seen.stand_ins[tl])
        for tr, tl in TABLE_3_COLUMNS
        if tr in seen.stand_ins and tl in seen.stand_ins
    }


def _pair_title(tr: str, tl: str) -> str:
    return f"{PAPER_MODELS[tr]} TR + {PAPER_MODELS[tl]} TL"


def _fused(entry: Table1Entry, seen: PaperView, problems: dict[str, str]) -> list[dict[str, Any]]:
    """Two lines, fixed and adaptive weights."""
    title = entry.title or _pair_title(entry.tr, entry.tl)
    mixed = entry.kind == "parameter fusion"
    here = entry.tr in seen.stand_ins and entry.tl in seen.stand_ins
    found = None
    if here:
        asked = _asked(seen, (seen.stand_ins[entry.tr], seen.stand_ins[entry.tl]))
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
            line = _our_line(found, kind, mixed=mixed)
            row = _row(name, theirs, line.value if line else None, said=_said(line), why=why)
            out.append({**row, "TFLOPs reported": number(entry.tflops)})
    return out


def _our_line(found: fusion.Comparison | None, kind: WeightKind, *, mixed: bool) -> EntryScore | None:
    if found is None:
        return None
    return mixed_counterpart(found.lines, kind) if mixed else found.fusion(kind)


def _said(line: EntryScore | None) -> str:
    """The value with its interval, and w of mixed parameters."""
    if line is None:
        return ""
    w = line.entry.mixed_weight
    return f"{percent(line.value)} ({interval(line.low, line.high)}){'' if w is None else f', w = {w:.2f}'}"


def _gold(entry: Table1Entry, seen: PaperView) -> dict[str, Any]:
    summary = seen.side.summaries.get(seen.stand_ins.get(entry.tr, ""))
    assert entry.accuracy is not None  # gold lines have one
    line = _row(f"{PAPER_MODELS[entry.tr]} gold", entry.accuracy, summary.final_icl if summary else None)
    return {**line, "TFLOPs reported": number(entry.tflops)}


def accuracies(seen: PaperView) -> None:
    """Tables 1 and 2: accuracy of single models, of mixed parameters and of fused predictions."""
    st.header("Tables 1, 2: fusion and the models that it has to beat", anchor=False)
    problems: dict[str, str] = {}
    lines = []
    for entry in TABLE_1:
        lines += [_gold(entry, seen)] if entry.kind == "gold" else _fused(entry, seen, problems)
    _table(lines, seen, name="tables-1-and-2", alt="Tables 1 and 2, reported and here")
    st.caption(
        "Reported: mean over 16 datasets ± over five seeds; * t-test, p < 0.05. Ours: 95 % interval, bootstrap over "
        "seeds and queries; members chosen and weighed on the development set; mixed parameters are evaluated from the "
        "fusion page, which has both p-values and the cost plane too."
    )
    _fusion_gaps(seen, problems)
    differences_of("Tables 1, 2")


def _fusion_gaps(seen: PaperView, problems: Mapping[str, str]) -> None:
    for title, problem in problems.items():
        st.info(f"{plain(title)}: {plain(problem)}")
    _, absent = roles(seen, _fusion_roles())
    wanted = list(_fusion_roles()) if problems else absent
    if wanted:
        models = tuple(seen.stand_ins.get(role, role) for role in wanted)
        words = f"{joined([PAPER_MODELS[role] for role in wanted])}, test and development split"
        fillings([Filling("fusion", words, wanted_choice(seen, models), dev=True)])


def ablation(seen: PaperView) -> None:
    """Table 3: adaptive fusion by how its checkpoints are chosen."""
    st.header("Table 3: which checkpoints are fused", anchor=False)
    pairs = _pairs(seen)
    problems: dict[str, str] = {}
    lines = []
    for at, (tr, tl) in enumerate(TABLE_3_COLUMNS):
        title = _pair_title(tr, tl)
        ours: dict[tuple[str, str], float] = {}
        if (tr, tl) in pairs:
            try:
                rows = fusion.ablation(_asked(seen, pairs[tr, tl]))
                ours = {(row.tr_rule, row.tl_rule): row.scores.mean for row in rows}
            except ObservatoryError as error:
                problems[title] = str(error)
        for rules, cells in TABLE_3.items():
            why = "not computed" if (tr, tl) in pairs else ABSENT
            line = _row(f"{title}: {' / '.join(rules)}", cells[at], ours.get(rules), why=why)
            lines.append({**line, "note": cells[at].note})
    _table(lines, seen, name="table-3", alt="Table 3, reported and here")
    n_computed = len(pairs) - len(problems)
    st.caption(
        "Accuracy of the adaptive fusion; rows name the choice of the TR and of the TL checkpoint. "
        f"{n_computed} of {count(len(TABLE_3_COLUMNS), 'pair')} computed here; random choices are means of ten draws."
    )
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


PANELS: dict[str, Callable[[PaperView], None]] = {
    "Tables 1, 2": accuracies,
    "Table 3": ablation,
    "Table 7": sensitivity,
    "Paper and code": code_differences,
}
"""The tables by the name under which they are picked."""
