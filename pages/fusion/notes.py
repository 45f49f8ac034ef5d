"""What the fusion page says around its chart: the finding, what the marks are, what is missing, how it is computed."""

from __future__ import annotations

import streamlit as st

from icl_core.errors import StudyError
from pages.fusion import computed, sentences
from pages.fusion.computed import Asked, Comparison
from pages.ui.panels import blocks
from pages.ui.words.written import count, percent, plain, task_title

__all__ = ["below_chart", "finding", "how_computed", "missing"]


def finding(asked: Asked, found: Comparison) -> None:
    """The page's sentence."""
    against = {
        line.entry.kind: computed.gains(asked, found.main.entry, line.entry)
        for line in found.of_kind("best gold", "control")
    }
    blocks.finding(sentences.finding(asked, found, against))


def below_chart(found: Comparison) -> None:
    """What the marks are, what the bands are, and where no member earned a weight."""
    if found.curve is None:
        st.caption(
            f"{len(found.members)} members, their probabilities weighed and added; whiskers: 95 %, bootstrap over "
            f"{count(found.n_seeds, 'seed')} and {found.n_examples:,} queries; chance is {percent(found.chance)}. "
            "Mixed parameters and the tables of selection are of the first two members."
        )
        _equal_for_want(found)
        return
    adaptive = "; adaptive weights differ by task, so it need not lie on the curve" if found.has_dev else ""
    st.caption(
        f"Diamonds: fusions of the predictions at their mean weight{adaptive}. Hollow: oracle, chosen on the test set, "
        "so it is an upper bound, not a result. Circle and square: the members alone. Triangles: mixed parameters. "
        "Dashed: single checkpoints under true labels, and the equal ensemble of the two that are best on dev, the "
        "control for plain ensembling. "
        f"Bands: 95 %, bootstrap over {count(found.n_seeds, 'seed')} and {found.n_examples:,} queries; chance is "
        f"{percent(found.chance)}."
    )
    _equal_for_want(found)


def _equal_for_want(found: Comparison) -> None:
    if found.equal_for_want:
        st.caption(
            "No member is above chance on the development set of "
            f"{plain(', '.join(task_title(task) for task in found.equal_for_want))}: all weigh "
            f"1/{len(found.members)} there."
        )


def missing(error: StudyError) -> None:
    """The state in which results do not line up."""
    st.info(plain(str(error)))
    st.page_link("pages/evaluate/page.py", label="Evaluate what is missing")


def how_computed(asked: Asked, found: Comparison) -> None:
    """The equations behind the page."""
    with st.expander("How this is computed"):
        st.latex(r"\hat y = \arg\max_y\; w\,P_{TR}^{\mathrm{random}}(y|x) + (1-w)\,P_{TL}^{\mathrm{abstract}}(y|x)")
        st.latex(
            r"w = \frac{[\mathrm{Acc}_{TR} - b]_+}{[\mathrm{Acc}_{TR} - b]_+ + [\mathrm{Acc}_{TL} - b]_+}, \quad b ="
            r" 1/|\mathcal{Y}|"
        )
        st.markdown(
            "Equations 5 and 6 of arXiv 2406.14022; with further members the same sums run over all of them. "
            "Probabilities are the softmax over the candidates' scores; a symbol's probability belongs to the label "
            "that it stands for. Accuracies in the weights are those of the development set, per task (adaptive) or "
            "averaged first (pooled); an accuracy below chance counts as no excess. Checkpoints are chosen on the "
            "development set, ties go to the earlier one. The **equal ensemble** averages the two checkpoints that "
            "are best under true labels: what plain ensembling gives for "
            f"the same cost. {count(found.n_seeds, 'seed')}, {found.n_examples:,} queries; label score: "
            f"{asked.normalisation}."
        )
