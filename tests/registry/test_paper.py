"""The paper's figures as data: they point at registered models and are consistent with themselves."""

from __future__ import annotations

import pytest

from icl_core.analysis.fusion.grids import TABLE_3_RULES
from icl_core.registry.families import MODELS
from icl_core.registry.paper import (
    CODE_DIFFERENCES,
    FIGURES,
    INTENSITY_ICL_R,
    PAPER_MODELS,
    TABLE_1,
    TABLE_3,
    TABLE_3_COLUMNS,
    TABLE_7,
    Reported,
)


def everything() -> list[Reported]:
    found = [INTENSITY_ICL_R, *(cell for row in TABLE_3.values() for cell in row)]
    found += [cell for table in TABLE_7.values() for row in table.rows.values() for cell in row]
    for entry in TABLE_1:
        found += [cell for cell in (entry.accuracy, entry.fixed, entry.adaptive) if cell is not None]
    return found


def test_every_model_is_registered() -> None:
    named = {name for figure in FIGURES.values() for group in figure.groups for name in group.models}
    named |= {name for pair in TABLE_3_COLUMNS for name in pair} | {n for t in TABLE_7.values() for n in t.rows}
    named |= {name for entry in TABLE_1 for name in (entry.tr, entry.tl)} - {"several", ""}
    assert named <= set(PAPER_MODELS) <= set(MODELS)
    assert len(PAPER_MODELS) == 12


def test_a_number_is_there_or_says_why_not() -> None:
    for cell in everything():
        assert (cell.value is None) == (cell.mark in ("not legible", "not reported"))
        assert cell.value is None or -1 <= cell.value <= 1
        assert bool(cell.note) == bool(cell.mark)


def test_rows_and_columns_fit() -> None:
    assert all(len(row) == len(TABLE_3_COLUMNS) for row in TABLE_3.values())
    assert tuple(TABLE_3) == TABLE_3_RULES
    assert all(len(row) == len(table.columns) for table in TABLE_7.values() for row in table.rows.values())


def test_the_adaptive_fusion_is_the_same_number_in_both_tables() -> None:
    best = dict(zip(TABLE_3_COLUMNS, TABLE_3["TR-best", "TL-best"], strict=True))
    adaptive = {(e.tr, e.tl): e.adaptive for e in TABLE_1 if e.kind == "fusion" and e.tr != "several"}
    assert {pair: cell.value for pair, cell in best.items()} == {p: c and c.value for p, c in adaptive.items()}


@pytest.mark.parametrize("name", TABLE_7)
def test_ratios_are_whole_intervals_or_marked(name: str) -> None:
    table = TABLE_7[name]
    for row in table.rows.values():
        for column, cell in zip(table.columns, row, strict=True):
            n = column if table.option == "checkpoints" else 16
            assert cell.value is not None
            is_whole = abs(cell.value * int(n) - round(cell.value * int(n))) < 0.01
            assert is_whole or cell.mark == "uncertain"


def test_differences_concern_known_items() -> None:
    known = {*FIGURES, *TABLE_7, "Tables 1, 2", "Table 3"}
    assert {item for difference in CODE_DIFFERENCES for item in difference.items} <= known
