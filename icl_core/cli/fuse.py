"""``fuse``: combines a TR and a TL checkpoint from stored results, and compares the fusion with its baselines.

It computes cells only for mixed parameters, if ``--mix`` names their weights. The tables are those of arXiv 2406.14022:
Table 1 (accuracy and operations of a prompt) and Table 3 (how the members are chosen).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from icl_core.analysis.fusion.comparison import (
    GAIN_MEASURES,
    Entry,
    EntryAnswers,
    Gain,
    Table1Row,
    fusion_entries,
    gains_over,
    main_fusion,
    table_1,
)
from icl_core.analysis.fusion.grids import AblationRow, PairGrid, ablation_grid, pair_grid
from icl_core.analysis.fusion.members import ROLE_BY_SETTING, FusionMember, MemberResults, ModelSplits
from icl_core.analysis.fusion.selection import choose_member, choose_members
from icl_core.analysis.fusion.weights import FusionWeights
from icl_core.analysis.predictions import NORMALISATIONS
from icl_core.analysis.statistics import MEASURES
from icl_core.cli.listing import open_store
from icl_core.cli.output import complain, emit, table
from icl_core.errors import StudyError
from icl_core.evaluation.cost import flops_of_prompts
from icl_core.evaluation.fusion_data import FusionResults, collect_results, mixing_study, stored_study
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study
from icl_core.records import CheckpointRef, LabelSetting
from icl_core.registry.families import choose_checkpoints, counted_in
from icl_core.registry.tasks import split_task_names, stored_task_names

__all__ = ["add_commands"]


def add_commands(add: Any) -> None:
    """Adds the command; ``add(name, run, help)`` gives its parser."""
    fuse = add("fuse", _fuse, "fuse a TR and a TL checkpoint, and compare with the baselines")
    fuse.add_argument("--tr", required=True, metavar="MODEL", help="model of the TR member, with results in the store")
    fuse.add_argument("--tl", metavar="MODEL", help="model of the TL member (default: that of --tr)")
    fuse.add_argument(
        "--tr-checkpoint", default="best", help="number (such as its step) or name; best: chosen on the development set"
    )
    fuse.add_argument("--tl-checkpoint", default="best", help="the same for the TL member")
    fuse.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="ROLE:MODEL[@CHECKPOINT]",
        help="a further member in the role TR, TL or ICL, such as TR:pythia-1b or TL:pythia-1b@3000; may be repeated",
    )
    fuse.add_argument("--tasks", help="names separated by commas (default: all stored tasks)")
    fuse.add_argument("--seeds", help="demonstration seeds separated by commas")
    fuse.add_argument("--n-shots", type=int)
    fuse.add_argument("--n-test", type=int)
    fuse.add_argument("--measure", default="accuracy", choices=MEASURES, help="of the gains and of Table 3")
    fuse.add_argument("--normalisation", default="sum", choices=NORMALISATIONS)
    fuse.add_argument("--by-task", action="store_true", help="also list the gain on each task")
    fuse.add_argument("--ablation", action="store_true", help="also choose the members in other ways (Table 3)")
    fuse.add_argument("--pairs", action="store_true", help="also fuse every pair of checkpoints")
    fuse.add_argument(
        "--mix", metavar="W,W", help="also evaluate mixed parameters with these weights of TR, in this process"
    )
    fuse.add_argument("--device", default="auto")
    fuse.add_argument("--offline", action="store_true", help="use only what is on this machine")


def _task_names(text: str | None, store: Store) -> list[str]:
    """The named tasks among the stored ones; [] for all."""
    stored = [summary.task for summary in store.summaries()] if text else []
    return stored_task_names(split_task_names(text or "", known=stored), stored)


def _fuse(options: argparse.Namespace) -> int:
    store = open_store(options)
    further = [_further(text) for text in options.also]
    models = list(dict.fromkeys((options.tr, options.tl or options.tr)))
    study = stored_study(
        store,
        list(dict.fromkeys([*models, *(each.model for each in further)])),
        tasks=_task_names(options.tasks, store),
        demo_seeds=[_seed(word) for word in _words(options.seeds)],
        n_shots=options.n_shots,
        n_test=options.n_test,
    )
    results = collect_results(study, store, normalisation=options.normalisation)
    pair = _members(results, models, options)
    if options.mix:
        _mix(study, store, pair, options=options)
        results = collect_results(study, store, normalisation=options.normalisation)
        pair = _members(results, models, options)
    members = (*pair, *(_further_member(results, each, options) for each in further))
    entries = fusion_entries(
        members,
        normalisation=options.normalisation,
        others=tuple(results.others.values()),
        mixed=results.mixed_of(pair[0].checkpoint, pair[1].checkpoint),
    )
    refs = {ref.model: ref for each in entries for ref in each.entry.checkpoints}
    flops = flops_of_prompts(study, store, checkpoints=tuple(refs.values()))
    left_out = _left_out(results)
    for sentence in left_out:
        complain(sentence)
    _show(options, entries, table_1(entries, flops), members=members, left_out=left_out)
    return 0


@dataclass(frozen=True, slots=True)
class _AskedMember:
    """A further member as given on the command line; the checkpoint is ``best``, a number or a name."""

    label_setting: LabelSetting
    model: str
    checkpoint: str


def _further(text: str) -> _AskedMember:
    role, _, rest = text.partition(":")
    setting = next((setting for setting, name in ROLE_BY_SETTING.items() if name == role.strip().upper()), None)
    model, _, checkpoint = rest.strip().partition("@")
    if setting is None or not model:
        raise StudyError(f"{text!r} is not a member; write it as TR:model, TL:model@checkpoint or ICL:model.")
    return _AskedMember(setting, model, checkpoint or "best")


def _further_member(results: FusionResults, asked: _AskedMember, options: argparse.Namespace) -> MemberResults:
    model = _splits(results, asked.model)
    checkpoint = _checkpoint(model.test.checkpoints, asked.checkpoint)
    return choose_member(model, asked.label_setting, checkpoint=checkpoint, normalisation=options.normalisation)


def _left_out(results: FusionResults) -> list[str]:
    """Checkpoints that are left out of curves, and models whose results cannot share a table."""
    splits = [*results.models.values(), *results.others.values()]
    reasons = {f"{each.test.model}, {reason}": None for each in splits for reason in each.test.excluded.values()}
    return [f"{reason} (left out)." for reason in reasons] + list(results.problems.values())


def _splits(results: FusionResults, model: str) -> ModelSplits:
    if model not in results.models:
        raise StudyError(results.problems.get(model) or f"{model} has no test results in the store; evaluate it.")
    return results.models[model]


def _members(
    results: FusionResults, models: Sequence[str], options: argparse.Namespace
) -> tuple[MemberResults, MemberResults]:
    tr, tl = _splits(results, models[0]), _splits(results, models[-1])
    return choose_members(
        tr,
        tl,
        tr=_checkpoint(tr.test.checkpoints, options.tr_checkpoint),
        tl=_checkpoint(tl.test.checkpoints, options.tl_checkpoint),
        normalisation=options.normalisation,
    )


def _checkpoint(refs: Sequence[CheckpointRef], name: str) -> CheckpointRef | None:
    return None if name == "best" else choose_checkpoints(refs, f"{name},")[0]


def _words(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def _seed(word: str) -> int:
    if not word.isdecimal():
        raise StudyError(f"{word!r} is not a seed; give whole numbers separated by commas.")
    return int(word)


def _weights(text: str) -> list[float]:
    weights = []
    for word in _words(text):
        try:
            weights.append(float(word))
        except ValueError:
            raise StudyError(f"{word!r} is not a weight; give numbers from 0 to 1 separated by commas.") from None
    return weights


def _mix(study: Study, store: Store, pair: tuple[MemberResults, MemberResults], *, options: argparse.Namespace) -> None:
    from icl_core.evaluation.run import run_study

    asked = mixing_study(study, pair[0].checkpoint, pair[1].checkpoint, weights=_weights(options.mix))
    report = run_study(asked, store, device=options.device, offline=options.offline)
    complain(f"Mixed parameters: {report.message}")
    if report.n_failed == report.n_cells:
        raise StudyError(f"The parameters could not be mixed: {report.failures[0].message}")


# Output


def _show(
    options: argparse.Namespace,
    entries: Sequence[EntryAnswers],
    rows: Sequence[Table1Row],
    *,
    members: Sequence[MemberResults],
    left_out: Sequence[str],
) -> None:
    main = main_fusion([each.entry for each in entries])
    ours = next(each for each in entries if each.entry == main)
    baselines = [each for each in entries if each is not ours and each.entry.kind != "upper bound"]
    gains = gains_over(ours, baselines, measures=tuple(dict.fromkeys((options.measure, *GAIN_MEASURES))))
    data: dict[str, Any] = {
        "tr": _member_facts(members[0].member),
        "tl": _member_facts(members[1].member),
        "members": [_member_facts(each.member) for each in members],
        "left_out": list(left_out),
        "fusion": main.title,
        "weight_kind": main.weight_kind,
        "weights": {name: w.tolist() for name, w in ours.weights.by_task.items()} if ours.weights is not None else {},
        "equal_for_want_of_excess": list(ours.weights.equal_for_want_of_excess) if ours.weights is not None else [],
        "table_1": [_table_1_facts(row) for row in rows],
        "gains": [_gain_facts(gain) for gain in gains],
    }
    text = [
        _table_1_words(rows),
        "",
        f"Gain of {main.title} in percentage points:",
        _gain_words(gains, options.by_task),
    ]
    if ours.weights is not None and len(members) > 2:
        text += ["", "Weights of the members:", _weight_words(ours.weights, members)]
    models = members[0].model, members[1].model
    if options.ablation:
        found = ablation_grid(*models, measure=options.measure, normalisation=options.normalisation)
        data["table_3"] = [
            {"tr": row.tr_rule, "tl": row.tl_rule, "value": row.scores.mean, "spread": row.scores.spread,
             "n_draws": row.n_draws, "members": [each.title for each in row.members],
             "roles": [each.role for each in row.members]}
            for row in found
        ]  # fmt: skip
        text += ["", _table_3_words(found)]
    if options.pairs:
        grid = pair_grid(*models, measure=options.measure, normalisation=options.normalisation)
        data["pairs"] = _pair_facts(grid)
        text += ["", _pair_words(grid)]
    emit(options, data, "\n".join(text))


def _member_facts(member: FusionMember) -> dict[str, Any]:
    ref = member.checkpoint
    return {
        "role": member.role,
        "model": ref.model,
        "revision": ref.weight_file or ref.revision,
        "step": ref.step,
        "step_unit": counted_in(ref),
        "label_setting": member.label_setting,
    }


def _entry_facts(entry: Entry) -> dict[str, Any]:
    """The fields that identify an entry, besides its title."""
    return {
        "kind": entry.kind,
        "weight_kind": entry.weight_kind,
        "mixed_weight": entry.mixed_weight,
        "roles": list(entry.roles),
    }


def _table_1_facts(row: Table1Row) -> dict[str, Any]:
    return {"name": row.entry.title, **_entry_facts(row.entry), **_without_entry(row, "entry")}


def _gain_facts(gain: Gain) -> dict[str, Any]:
    return {"baseline": gain.baseline.title, **_entry_facts(gain.baseline), **_without_entry(gain, "baseline")}


def _without_entry(record: Table1Row | Gain, entry: str) -> dict[str, Any]:
    return {name: value for name, value in asdict(record).items() if name != entry}


def _table_1_words(rows: Sequence[Table1Row]) -> str:
    header = ("model", "what", "TFLOPs", "accuracy", "+-", "balanced")
    lines = [
        (
            row.entry.title,
            row.entry.kind,
            "" if row.tflops is None else f"{row.tflops:.3g}",
            f"{100 * row.accuracy:.2f}",
            "" if row.accuracy_spread is None else f"{100 * row.accuracy_spread:.2f}",
            f"{100 * row.balanced_accuracy:.2f}",
        )
        for row in rows
    ]
    return table(header, lines)


def _weight_words(weights: FusionWeights, members: Sequence[MemberResults]) -> str:
    header = ("task", *(each.title for each in members))
    return table(header, [(task, *(f"{w:.2f}" for w in each)) for task, each in weights.by_task.items()])


def _gain_words(gains: Sequence[Gain], by_task: bool) -> str:
    header = ("against", "measure", "task", "gain", "from", "to", "p seeds", "p queries", "seeds", "queries")
    lines = [
        (
            gain.baseline.title,
            gain.measure,
            row.task or "mean",
            f"{100 * row.gain:+.2f}",
            f"{100 * row.low:+.2f}",
            f"{100 * row.high:+.2f}",
            "" if row.p_seeds is None else f"{row.p_seeds:.2g}",
            "" if row.p_examples is None else f"{row.p_examples:.2g}",
            row.n_seeds,
            row.n_examples,
        )
        for gain in gains
        for row in (gain.mean, *(gain.tasks if by_task else ()))
    ]
    return table(header, lines)


def _table_3_words(rows: Sequence[AblationRow]) -> str:
    lines = [
        (
            row.tr_rule,
            row.tl_rule,
            f"{100 * row.scores.mean:.2f}",
            "" if row.scores.spread is None else f"{100 * row.scores.spread:.2f}",
            row.n_draws,
        )
        for row in rows
    ]
    return table(("TR member", "TL member", "adaptive fusion", "+-", "draws"), lines)


def _pair_facts(grid: PairGrid) -> dict[str, Any]:
    def gold(values: Any) -> list[float | None]:
        return [None if math.isnan(value) else value for value in values.tolist()]

    return {
        "tr": [ref.revision for ref in grid.tr],
        "tl": [ref.revision for ref in grid.tl],
        "value": grid.value.tolist(),
        "tr_gold": gold(grid.tr_gold),
        "tl_gold": gold(grid.tl_gold),
    }


def _pair_words(grid: PairGrid) -> str:
    header = ("TR member / TL member", *(ref.revision for ref in grid.tl))
    lines = [
        (ref.revision, *(f"{100 * value:.1f}" for value in row)) for ref, row in zip(grid.tr, grid.value, strict=True)
    ]
    return table(header, lines)
