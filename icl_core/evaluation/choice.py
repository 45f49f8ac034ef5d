"""Turns a user's choice into the checkpoints of a study: names, one order of training, and what is left out.

``models.listing`` lists checkpoints; nothing is computed here. A local model is known by its path. Its name is decided
here, before anything is stored under it; no other path and no published model may have the same name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from icl_core.errors import StudyError, UnknownNameError
from icl_core.models.listing import Listing, Skipped, path_name, published_names, renamed
from icl_core.records import CheckpointRef, text_fault
from icl_core.registry.families import choose_checkpoints, counted_in, nearest_checkpoints, way_of
from icl_core.registry.names import home_of, label_of, order_question, training_order

__all__ = ["Chosen", "choose", "refuse_doubtful_order"]

_PUBLISHED = ""
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Chosen:
    """The checkpoints of a study.

    Attributes:
        checkpoints: model by model, ascending by step.
        left_out: what is beside them and is not evaluated, with the reason.
    """

    checkpoints: tuple[CheckpointRef, ...]
    left_out: tuple[Skipped, ...]


def choose(
    listings: Sequence[Listing],
    stored: Collection[CheckpointRef],
    *,
    choice: str,
    order: str = "",
    name: str = "",
) -> Chosen:
    """The chosen checkpoints, in a certain order of training and under unique names.

    Args:
        listings: one for each model.
        stored: the checkpoints with results in the store, without those of an earlier order
            (``exclusions.current_checkpoints``).
        choice: of checkpoints, as for ``families.choose_checkpoints``.
        order: the checkpoints in the order of training, separated by commas, if their names do not tell it; others are
            left out. For one model only.
        name: of a single local model; "" takes its name from its path.

    Raises:
        StudyError: the order is not certain, a name is taken or not allowed, or the choice is impossible.
        UnknownNameError: a checkpoint does not exist.
    """
    if (order or name) and len(listings) != 1:
        raise StudyError("An order or a name can be given for one model only; choose the models one by one.")
    if any(not listing.checkpoints for listing in listings):
        raise StudyError("There are no checkpoints to choose from.")
    listings = _named(listings, stored, name)
    listings = [_ordered(listings[0], order)] if order else [_as_ordered_before(each, stored) for each in listings]
    chosen: list[CheckpointRef] = []
    left_out: list[Skipped] = []
    for listing in listings:
        refs = _choose_one(listing, choice)
        _refuse_another_order(refs, listing, stored, is_given=bool(order))
        chosen += refs
        left_out += [*listing.skipped, *_stepless(refs, listing, choice)]
    return Chosen(tuple(chosen), tuple(left_out))


def refuse_doubtful_order(refs: Iterable[CheckpointRef]) -> None:
    """Refuses a model whose checkpoints have no certain order of training.

    Raises:
        StudyError: says what is in doubt and how to settle it.
    """
    by_model: dict[tuple[str, str], list[CheckpointRef]] = {}
    for ref in refs:
        by_model.setdefault((ref.model, home_of(ref)), []).append(ref)
    for mine in by_model.values():
        if question := order_question(mine):
            raise StudyError(question)


# --- which ---------------------------------------------------------------------------------------------------------


def _choose_one(listing: Listing, choice: str) -> tuple[CheckpointRef, ...]:
    """Chooses checkpoints of one model; a choice of all or by number needs an order of all of them."""
    by_name = way_of(choice) == "names"
    if not by_name:
        _refuse_doubt(_in_question(listing), listing)
    for each in listing.skipped if by_name else ():
        if each.name in (part.strip() for part in choice.split(",")):
            raise UnknownNameError(f"{each.name} cannot be chosen: {each.reason}.")
    refs = choose_checkpoints(listing.checkpoints, choice)
    _refuse_doubt(refs, listing)
    return refs


def _in_question(listing: Listing) -> list[CheckpointRef]:
    """The checkpoints with a step, if any has one: on the Hub, branches without a step are usually something else."""
    refs = listing.checkpoints
    stepped = [ref for ref in refs if ref.step is not None]
    return stepped if stepped and listing.base is None else list(refs)


def _refuse_doubt(refs: Sequence[CheckpointRef], listing: Listing) -> None:
    doubts = dict(listing.doubts)
    doubted = next((ref for ref in refs if ref.revision in doubts), None)
    if doubted is not None and len(refs) > 1:
        raise StudyError(
            f"The step of {label_of(doubted)} of {doubted.model} is not certain: {doubts[doubted.revision]}; name "
            "those to use in the order of training (--order on the command line, Order on the page), or leave it out."
        )
    refuse_doubtful_order(refs)


def _stepless(chosen: Sequence[CheckpointRef], listing: Listing, choice: str) -> list[Skipped]:
    """What a choice of all or by number leaves out."""
    if listing.base is not None or way_of(choice) == "names":
        return []
    passed = [ref for ref in listing.checkpoints if ref.step is None and ref not in chosen]
    return [Skipped(label_of(ref), "its name tells no step; name it with --checkpoints to use it") for ref in passed]


# --- in which order ------------------------------------------------------------------------------------------------


def _ordered(listing: Listing, order: str) -> Listing:
    """The checkpoints that an order names, each with its place in the order, from 1, as its step."""
    if listing.checkpoints[0].family not in ("local", "hub"):
        raise StudyError(f"The order of the checkpoints of {listing.checkpoints[0].model} is known; leave --order out.")
    names = [part.strip() for part in order.split(",") if part.strip()]
    by_name = {ref.weight_file or ref.revision: ref for ref in listing.checkpoints}
    for name in names:
        if name not in by_name:
            reason = next((f": {each.reason}" for each in listing.skipped if each.name == name), "")
            near = nearest_checkpoints(listing.checkpoints, name)
            raise UnknownNameError(f"The order names {name!r}, which does not exist{reason}; there are {near}.")
    if len(set(names)) < len(names) or not names:
        raise StudyError("The order is empty or names a checkpoint twice; name each once, the earliest first.")
    refs = tuple(replace(by_name[name], step=place) for place, name in enumerate(names, start=1))
    others = [Skipped(label_of(by_name[name]), "the order does not name it") for name in by_name if name not in names]
    return replace(listing, checkpoints=refs, skipped=(*listing.skipped, *others), doubts=())


def _as_ordered_before(listing: Listing, stored: Iterable[CheckpointRef]) -> Listing:
    """The places in the order that was given when results were stored; it holds until another one is given."""
    model = listing.checkpoints[0].model
    given = {_place(ref): ref for ref in stored if ref.model == model and ref.step is not None and not counted_in(ref)}
    refs = []
    for ref in listing.checkpoints:
        before = given.get(_place(ref))
        is_new = ref.step is not None and counted_in(ref) is None and len(given) == 1  # training has gone on since
        refs.append(ref if before is None or is_new else replace(ref, step=before.step))
    doubts = tuple((revision, why) for revision, why in listing.doubts if all(p[1] != revision for p in given))
    return replace(listing, checkpoints=tuple(sorted(refs, key=training_order)), doubts=doubts)


def _refuse_another_order(
    chosen: Sequence[CheckpointRef], listing: Listing, stored: Iterable[CheckpointRef], *, is_given: bool
) -> None:
    """Refuses to store some checkpoints of a model in one order if others are stored in another order."""
    steps = {_place(ref): ref.step for ref in listing.checkpoints}
    again = {_place(ref) for ref in chosen}
    whose = {(ref.model, home_of(ref)) for ref in chosen}
    for ref in stored:
        if (ref.model, home_of(ref)) not in whose or ref.step is None or _place(ref) in again:
            continue
        if steps.get(_place(ref), None if is_given else ref.step) != ref.step:
            raise StudyError(
                f"{label_of(ref)} of {ref.model} is stored at {ref.step} of another order; choose it too, with one "
                "order for all (what is stored is not computed again), or give the model another name (--name)."
            )


def _place(ref: CheckpointRef) -> tuple[str, str, str | None]:
    return ref.location, ref.revision, ref.weight_file


# --- under which name ----------------------------------------------------------------------------------------------


def _named(listings: Sequence[Listing], stored: Collection[CheckpointRef], name: str) -> list[Listing]:
    """The listings; local models get a name that no other path and no published model has."""
    taken: dict[str, set[str]] = {published: {_PUBLISHED} for published in published_names()}
    for ref in stored:
        taken.setdefault(ref.model, set()).add(home_of(ref))
    own = [listing for listing in listings if listing.base is not None]
    if name:
        if not own:
            raise StudyError(f"{listings[0].checkpoints[0].model} has its name already; leave --name out.")
        _refuse_name(name, taken.get(name, set()) - {home_of(own[0].checkpoints[0])})
        names = [name]
    else:
        names = _free_names([(listing, _known_name(listing, stored)) for listing in own], taken)
    fresh = iter(names)
    return [listing if listing.base is None else renamed(listing, next(fresh)) for listing in listings]


def _refuse_name(name: str, others: Collection[str]) -> None:
    fault = f"it {why}" if (why := text_fault(name)) else None
    parts = name.split("/")
    if fault is None and (len(name) > _LONGEST_NAME or name != name.strip()):
        fault = f"it is longer than {_LONGEST_NAME} characters, or begins or ends with a space"
    if fault is None and ("\\" in name or any(part in ("", ".", "..") for part in parts)):
        fault = "it is neither a word nor words joined by single slashes"
    if fault is not None:
        raise StudyError(f"A model cannot be called {name[:80]!a}: {fault}; choose another name.")
    if others:
        whose = next(iter(sorted(others))) or "a published model"
        raise StudyError(f"The name {name} belongs to {whose}; choose another name.")


def _known_name(listing: Listing, stored: Iterable[CheckpointRef]) -> str | None:
    """The name under which the store has results of these checkpoints and no others; the path's own name first."""
    mine = {_place(ref) for ref in listing.checkpoints}
    places: dict[str, set[tuple[str, str, str | None]]] = {}
    for ref in stored:
        if ref.family == "local":
            places.setdefault(ref.model, set()).add(_place(ref))
    names = sorted((name for name, found in places.items() if found <= mine), key=lambda name: (len(name), name))
    path = str(listing.base)
    return next((name for name in names if path.endswith(f"/{name}")), names[0] if names else None)


def _free_names(listings: Sequence[tuple[Listing, str | None]], taken: Mapping[str, set[str]]) -> list[str]:
    """A name for each: the stored one, else as many last parts of the path as make it unique."""
    homes = [home_of(listing.checkpoints[0]) for listing, _ in listings]
    bases = [listing.base or Path() for listing, _ in listings]
    n_parts = [1] * len(listings)
    while True:
        names = [known or path_name(base, n) for (_, known), base, n in zip(listings, bases, n_parts, strict=True)]
        whose = {name: set(taken.get(name, ())) for name in names}
        for name, home in zip(names, homes, strict=True):
            whose[name].add(home)
        clashes = [index for index, (_, known) in enumerate(listings) if known is None and len(whose[names[index]]) > 1]
        if not clashes:
            break
        for index in clashes:
            n_parts[index] += 1
            if n_parts[index] > len(bases[index].parts):
                raise StudyError(f"{bases[index]} has no unique name in this store; give it one with --name.")
    for name in names:
        _refuse_name(name, ())
    return names
