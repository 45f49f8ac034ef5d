"""How the numbers of the lab page are computed: of trained runs, and of the minimal model."""

from __future__ import annotations

import streamlit as st

from icl_core.pretraining.lab.config import N_EVALUATION
from icl_core.pretraining.lab.minimal import MinimalRun
from pages.lab import sentences
from pages.lab.computed import ChosenRuns

__all__ = ["how_runs_are_computed", "how_the_minimal_model_is_computed"]


def how_runs_are_computed(shown: ChosenRuns) -> None:
    """Definitions, number of sequences and seeds behind the curves."""
    with st.expander("How this is computed"):
        st.markdown(
            "A sequence is pairs of an exemplar x and a label l, and a query: x₁ l₁ x₂ l₂ x_q. Class k has a Gaussian "
            "centre and exemplars around it; K classes share L labels "
            "([arXiv 2312.03002](https://arxiv.org/abs/2312.03002)): the larger K, the harder it is to look the label "
            "up in the weights. The loss is on the query's label."
        )
        st.latex(r"\mathrm{Acc} = \frac1n \sum_{i=1}^{n} [\arg\max_{l \in C_i} p(l \mid s_i) = y_i]")
        st.latex(r"\mathrm{transience} = (\mathrm{peak} - \mathrm{final}) / (\mathrm{peak} - \mathrm{chance})")
        st.markdown(
            f"C is the set of labels in the context (all L for IWL, TR and TL); n = {N_EVALUATION:,} fixed sequences "
            "of each kind, the same for all steps. The target y is the class's label (Train); the label redrawn for "
            "this context (ICL; ICL novel on unseen classes); the label that the weights hold for the query, shown on "
            "an item of another class (CIWL); the label that the swap gave to the query's class (Flip). Markers: the "
            "first step at which ICL is a fifth of the way from chance to 1; the highest Flip, if it is 3 standard "
            "deviations above chance; the first step after it with Flip below chance; the first step from which CIWL "
            "stays above ICL."
        )
        st.markdown(sentences.seeds_of(shown.groups))


def how_the_minimal_model_is_computed(run: MinimalRun) -> None:
    """The losses, the model's source, and how gradient descent is carried out."""
    st.latex(r"L_1 = \tfrac12\,\overline{(a^*\!\otimes b^*\!\otimes c^* - a\otimes b\otimes c)^2},\quad "
             r"L_2 = \tfrac12\,\overline{(d^*\!\otimes b^*\!\otimes c^* - d\otimes b\otimes c)^2},\quad "
             r"K = \tfrac12\,\overline{(a\otimes d)^2}")  # fmt: skip
    st.latex(r"L = (L_1 + \mu_1)(L_2 + \mu_2) + \alpha K")
    st.markdown(
        "The minimal model of [arXiv 2503.05631](https://arxiv.org/abs/2503.05631): targets (starred) and starts "
        "are drawn from N(0, 1), and a, b, c, d follow gradient descent on L. ICL needs a, b, c and CIWL d, b, c: "
        "they share b and c (cooperation), and a large α makes it costly to learn both a and d (competition)."
    )
    st.markdown(
        "The descent is exact, not an approximation. Every loss depends on the vectors only through "
        "u = ⟨v*, v⟩ and s = |v|², so each step is carried out on eight numbers per seed:"
    )
    st.latex(r"g = 1 - \eta q_v,\quad s \leftarrow g^2 s + 2 g\,\eta p_v u + \eta^2 p_v^2 |v^*|^2,\quad "
             r"u \leftarrow g u + \eta p_v |v^*|^2,")  # fmt: skip
    st.markdown(
        "with the p and q that the gradient gives. A test compares it with descent on the vectors: they differ by "
        f"less than 1e-9. {sentences.overflowed(run)} Draw i is the same whatever the other sliders say, apart from "
        "the dimensions."
    )
