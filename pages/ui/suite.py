"""What is known of a model beside its results: its member and training seed in the shipped suite, size, phases.

A member of the suite is known by its manifest; a run of another training seed, whose weights are not shipped, by its
name ``<member>-seed-<n>``. Everything is read without torch; nothing is computed.
"""

from __future__ import annotations

from icl_core.models.hub import embedded_manifest
from icl_core.pretraining.members import MEMBERS, Member, member_and_seed
from icl_core.registry.families import MODELS, Phase

__all__ = ["group_of", "member_of", "n_parameters_of", "phases_of", "training_seed_of"]


def member_of(model: str) -> Member | None:
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


def n_parameters_of(model: str) -> int | None:
    """Parameters of a model; runs of one member have one size."""
    if model in MODELS:
        return MODELS[model].n_parameters
    size = embedded_manifest(group_of(model)).get("n_parameters")
    return int(size) if size else None


def phases_of(model: str) -> tuple[Phase, ...]:
    """The curriculum of a model; one phase throughout is none."""
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
