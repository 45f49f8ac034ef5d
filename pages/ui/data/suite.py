"""What is known of a model apart from its results: its member and training seed in the shipped suite, size, phases.

The manifest describes a member of the suite. A run of another training seed, whose weights are not shipped, goes by its
name ``<member>-seed-<n>``. Everything is read without torch; nothing is computed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from icl_core.models.listing import embedded_manifest
from icl_core.pretraining.members import MEMBERS, SuiteMember, member_and_seed
from icl_core.registry.families import FAMILIES, MODELS, Phase
from pages.ui.words.written import short_number

__all__ = [
    "FACTORS",
    "Factor",
    "group_of",
    "level_of",
    "lines_of",
    "member_of",
    "n_parameters_of",
    "phases_of",
    "training_seed_of",
    "varies",
]


def member_of(model: str) -> SuiteMember | None:
    """The member of the suite that a model is a training run of; None for any other model."""
    found = member_and_seed(model)
    return MEMBERS[found[0]] if found else None


def group_of(model: str) -> str:
    """What training runs that differ in their seed alone share: the member's name, else the model's own."""
    found = member_and_seed(model)
    return found[0] if found else model


def training_seed_of(model: str) -> int | None:
    """The training seed of a run of the suite; None for any other model."""
    found = member_and_seed(model)
    return found[1] if found else None


def varies(model: str) -> bool:
    """Whether a model differs from the suite's base member, which is drawn first."""
    member = member_of(model)
    return member is None or member.factor != ""


def n_parameters_of(model: str) -> int | None:
    """Parameters of a model; runs of one member have one size."""
    if model in MODELS:
        return MODELS[model].n_parameters
    size = embedded_manifest(group_of(model)).get("n_parameters")
    return int(size) if size else None


def phases_of(model: str) -> tuple[Phase, ...]:
    """The curriculum of a model; empty if it has only one phase."""
    if model in MODELS:
        return MODELS[model].phases
    member = member_of(model)
    listed = embedded_manifest(group_of(model)).get("phases")
    if listed:
        phases = tuple(Phase(each["name"], each["start_step"], each["end_step"]) for each in listed)
    elif member is not None:
        starts = (0, *(phase.end_step for phase in member.phases))
        phases = tuple(Phase(p.name, start, p.end_step) for p, start in zip(member.phases, starts, strict=False))
    else:
        phases = ()
    return phases if len(phases) > 1 else ()


@dataclass(frozen=True, slots=True)
class Factor:
    """One thing in which models differ while everything else is held.

    Attributes:
        title: of the choice, with the paper's figure that looks at it.
        axis: what its levels are.
        members: ``SuiteMember.factor`` of the members that vary.
        base: how the base member is called among them; "" if its level is a number.
        said: what a reader should know.
    """

    title: str
    axis: str
    members: tuple[str, ...]
    base: str = ""
    said: str = ""


FACTORS: Mapping[str, Factor] = MappingProxyType(
    {
        "size": Factor("Size (Fig. 4)", "Parameters", ("size",)),
        "documents": Factor(
            "Documents (Fig. 5)",
            "Unique documents per phase",
            ("documents",),
            said="All runs see equally many tokens: the fewer the documents, the more often each is read.",
        ),
        "curriculum": Factor(
            "Curriculum (Fig. 6)", "Curriculum", ("quality", "order"), base="knowledge first, then lists"
        ),
        "permuted": Factor("Permuted lists", "Lists with permuted labels", ("permuted",), base="none"),
        "symbols": Factor(
            "Symbol lists",
            "Lists with arbitrary names",
            ("null",),
            base="about a third to a half",
            said="Without such lists nothing teaches task learning, so what competes there is TR with noise.",
        ),
    }
)
"""The factors of the suite by the name under which they are picked."""

FRESH = "always new"
_TITLES = MappingProxyType({"permuted": "a fifth", "null": "none"})


def level_of(factor: Factor, model: str) -> tuple[float, str] | None:
    """The level of a model on a factor, as a number to sort by and in words; None if the model does not vary it."""
    member = member_of(model)
    size = n_parameters_of(model)
    if "size" in factor.members and (member is None or member.factor in ("", "size")):
        return (float(size), short_number(size)) if size else None
    if member is None or member.factor not in ("", *factor.members):
        return None
    if "documents" in factor.members:
        n = member.n_documents
        return (math.inf, FRESH) if n is None else (float(n), f"{n:,}")
    order = float(list(MEMBERS).index(member.name))
    if not member.factor:
        return order, factor.base
    return order, _TITLES.get(member.factor, member.title.split(": ", 1)[-1])


def lines_of(factor: Factor, groups: Mapping[str, str]) -> dict[str, list[tuple[str, str]]]:
    """The comparisons that these models allow: by title, the groups with their level, in the order of levels.

    Args:
        factor: what varies.
        groups: a model of each group, by the group's name.
    """
    found: dict[str, list[tuple[float, str, str]]] = {}
    for group, model in groups.items():
        level = level_of(factor, model)
        if level is not None:
            title = "Tiny suite" if member_of(model) else FAMILIES[MODELS[model].family].title
            found.setdefault(title, []).append((*level, group))
    ordered = {title: sorted(levels) for title, levels in found.items() if len({level for _, level, _ in levels}) > 1}
    return {title: [(level, group) for _, level, group in levels] for title, levels in ordered.items()}
