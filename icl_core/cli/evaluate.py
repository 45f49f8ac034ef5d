"""``evaluate``, ``jobs`` and ``run-job``: runs a study here or in the background, and manages background jobs."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from icl_core import settings
from icl_core.cli.listing import open_store
from icl_core.cli.output import ProgressLines, complain, emit, human_seconds, table, whole_number
from icl_core.errors import StudyError, UnknownNameError
from icl_core.evaluation import jobs
from icl_core.evaluation.choice import Chosen, choose
from icl_core.evaluation.cost import Estimate, estimate
from icl_core.evaluation.exclusions import current_checkpoints, excluded_checkpoints
from icl_core.evaluation.job_table import Job
from icl_core.evaluation.job_worker import work
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import ATTENTIONS, DTYPES, Study, validate_study
from icl_core.models.listing import Listing, embedded_members, listing_of
from icl_core.records import LABEL_SETTINGS, CheckpointRef
from icl_core.registry.families import MODELS, get_family, get_model, known_checkpoints
from icl_core.registry.names import label_of
from icl_core.registry.task_files import LabelReading
from icl_core.registry.tasks import TASK_GROUPS, TASKS, embedded_tasks, split_task_names, task_name
from icl_core.units import byte_count

__all__ = ["add_commands"]


def add_commands(add: Any) -> None:
    """Adds the three commands; ``add(name, run, help)`` gives the parser of a new one."""
    _add_evaluate(add("evaluate", _evaluate, "compute the missing cells of a study"))
    jobs_parser = add("jobs", _jobs, "background jobs: list, show, log, cancel, resume, wait")
    jobs_parser.add_argument(
        "action", nargs="?", default="list", choices=("list", "show", "log", "cancel", "resume", "wait")
    )
    jobs_parser.add_argument("id", nargs="?", type=whole_number(1, 2**63 - 1))
    jobs_parser.add_argument("--timeout", type=float, default=86_400.0, help="longest wait in seconds")
    run_job = add("run-job", _run_job, "do one job in this process")
    run_job.add_argument("id", type=whole_number(1, 2**63 - 1))


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("what is evaluated")
    what.add_argument("--family", help="model family, such as tiny, pythia or local")
    what.add_argument("--model", action="append", help="model, folder of checkpoints, GGUF file or Hub id (repeatable)")
    what.add_argument(
        "--checkpoints",
        default="all",
        help="all, paper, a count, log and a count, or numbers (such as steps) and names, separated by commas",
    )
    what.add_argument("--order", default="", metavar="NAME,NAME", help="checkpoints in the order of training, if "
    "their names do not show it; all others are left out")  # fmt: skip
    what.add_argument("--name", default="", help="name for a local model (default: taken from its path)")
    what.add_argument(
        "--tasks", help="names, groups or files (CSV, TSV, JSONL, JSON), separated by commas; all: the 16 public tasks"
    )
    labels = what.add_mutually_exclusive_group()
    for flag, meaning in (
        ("merge-labels", "join labels that differ only in case, composition or invisible characters; nan is no label"),
        ("keep-labels", "keep every label of a file as it is written"),
    ):
        labels.add_argument(f"--{flag}", action="store_const", const=flag, dest="labels", default="ask", help=meaning)
    what.add_argument(
        "--settings", default=",".join(LABEL_SETTINGS), help="some of gold, random, abstract, separated by commas"
    )
    what.add_argument("--seeds", default=",".join(map(str, settings.DEFAULT_DEMO_SEEDS)))
    what.add_argument("--splits", default="test", help="test, dev or test,dev")
    prompt = parser.add_argument_group("prompts")
    prompt.add_argument("--n-shots", type=int, default=settings.DEFAULT_N_SHOTS)
    prompt.add_argument("--n-test", type=int, default=settings.DEFAULT_N_TEST, help="test rows per task, at most")
    prompt.add_argument("--template", default="minimal")
    prompt.add_argument("--label-words", default="natural")
    prompt.add_argument("--alphabet", default="symbols", help="symbols, numbers or letters")
    prompt.add_argument("--sampling", default="uniform", help="uniform or balanced")
    how = parser.add_argument_group("how it is run")
    how.add_argument("--data-dir", type=Path, help="directory with datasets in Hub layout")
    how.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    how.add_argument("--dtype", default="auto", help=f"auto, {', '.join(DTYPES)}")
    how.add_argument("--attention", default="sdpa", help=", ".join(ATTENTIONS))
    how.add_argument("--offline", action="store_true", help="use only what is on this machine")
    how.add_argument("--dry-run", action="store_true", help="say what it would cost, and stop")
    how.add_argument("--background", action="store_true", help="run as a job and return at once")


# From options to a study


def _chosen(options: argparse.Namespace, store: Store) -> Chosen:
    listings = [_listing(name, options) for name in _model_names(options)]
    is_own = any(
        listing.base is not None or {ref.family for ref in listing.checkpoints} == {"hub"} for listing in listings
    )
    stored = {summary.spec.checkpoint for summary in store.summaries()} if is_own else set()
    return choose(
        listings,
        current_checkpoints(store, stored),
        choice=options.checkpoints,
        order=options.order,
        name=options.name,
    )


def _study(options: argparse.Namespace, checkpoints: tuple[CheckpointRef, ...]) -> Study:
    from icl_core.evaluation.run import resolve_device, resolve_dtype

    study = Study(
        checkpoints=checkpoints,
        tasks=_task_names(options.tasks, checkpoints, options.labels),
        label_settings=tuple(_words(options.settings)),  # type: ignore[arg-type]  # checked by validate_study
        demo_seeds=tuple(_whole_number(word, "seed") for word in _words(options.seeds)),
        n_shots=options.n_shots,
        n_test=options.n_test,
        splits=tuple(_words(options.splits)),  # type: ignore[arg-type]
        template=options.template,
        label_word_set=options.label_words,
        alphabet=options.alphabet,
        sampling=options.sampling,
        dtype=resolve_dtype(options.dtype, resolve_device(options.device)),
        attention=options.attention,
        data_dir=None if options.data_dir is None else str(options.data_dir.expanduser().resolve()),
    )
    validate_study(study)
    return study


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _whole_number(word: str, what: str) -> int:
    if not word.isdecimal():
        raise StudyError(f"{word!r} is not a {what}; give whole numbers separated by commas.")
    return int(word)


def _model_names(options: argparse.Namespace) -> list[str]:
    """The named models, or else the model of the family, if it has just one."""
    if options.model:
        for name in options.model if options.family not in (None, "local", "hub", "tiny") else ():
            if get_model(name).family != get_family(options.family).name:
                raise UnknownNameError(f"{name} belongs to the family {MODELS[name].family}, not to {options.family}.")
        return list(options.model)
    if options.family is None:
        raise StudyError("Nothing to evaluate is named; give --family or --model.")
    if options.family in MODELS or options.family in embedded_members() or Path(options.family).exists():
        return [options.family]
    family = get_family(options.family)
    if family.name == "lab":
        raise StudyError(
            "Runs of the lab read vectors, not text; `python -m icl_core train-lab` trains them and stores the results."
        )
    models = embedded_members() if family.name == "tiny" else family.models
    if not models and family.name == "tiny":
        raise StudyError("The tiny suite has no models here; `python -m icl_core train-suite` trains them.")
    if not models:
        raise StudyError(f"The family {family.name} needs --model with a path or Hub id.")
    if len(models) > 1 and family.name != "tiny":
        raise StudyError(
            f"The family {family.name} has {len(models)} models; name one with --model: {', '.join(models)}."
        )
    return list(models)


def _listing(name: str, options: argparse.Namespace) -> Listing:
    """The checkpoints of a model; documented ones need no listing of the repository."""
    model = MODELS.get(name)
    if model is not None and (model.complete or (options.checkpoints == "paper" and model.paper_steps)):
        return Listing(known_checkpoints(model))
    return listing_of(name, offline=options.offline)


def _task_names(text: str | None, checkpoints: Sequence[CheckpointRef], labels: LabelReading) -> tuple[str, ...]:
    """Names of tasks: groups are replaced by their tasks, paths of files by the tasks that they hold."""
    is_tiny = bool(checkpoints) and all(ref.family == "tiny" for ref in checkpoints)
    if text is None:
        return tuple(embedded_tasks()) if is_tiny else tuple(TASKS)
    groups = {"all": tuple(TASKS), "tiny": tuple(embedded_tasks())} | dict(TASK_GROUPS)
    names: dict[str, None] = {}
    for word in split_task_names(text, known=groups):
        names.update(dict.fromkeys(groups.get(word, (task_name(word, labels=labels),))))
    return tuple(names)


# evaluate


def _evaluate(options: argparse.Namespace) -> int:
    store = open_store(options)
    chosen = _chosen(options, store)
    study = _study(options, chosen.checkpoints)
    for each in chosen.left_out:
        complain(each.sentence)
    left_out = [asdict(each) for each in chosen.left_out]
    flagged = excluded_checkpoints(store, study.checkpoints)
    for reason in flagged.values():
        complain(f"left out of curves: {reason}.")
    if options.dry_run:
        found = estimate(study, store, device=options.device, offline=options.offline, data_offline=options.offline)
        data = asdict(found) | {"tflops": found.tflops, "tflops_per_prompt": found.tflops_per_prompt}
        data["left_out"] = left_out + _flagged(flagged)
        emit(options, data, _estimate_words(found))
        return 0
    if options.background:
        job_id = jobs.submit(study, device=options.device, offline=options.offline, store_path=store.path)
        words = f"Job {job_id} is {jobs.read_job(job_id, store_path=store.path).state}; see `python -m icl_core jobs`."
        emit(options, {"job": job_id, "left_out": left_out}, words)
        return 0
    return _evaluate_here(options, study, store, left_out=left_out, flagged=flagged)


def _evaluate_here(
    options: argparse.Namespace,
    study: Study,
    store: Store,
    *,
    left_out: Sequence[Mapping[str, str]],
    flagged: Mapping[CheckpointRef, str],
) -> int:
    """Runs the study in this process, says what it did, and gives the exit code."""
    from icl_core.evaluation.run import run_study
    from icl_core.evaluation.run_progress import ProgressInfo

    found = estimate(study, store, device=options.device)
    time = found.time_words if found.seconds is None else f"About {human_seconds(found.seconds)}, {found.time_words}."
    for sentence in found.rows:
        complain(sentence)
    complain(f"{found.n_new} of {found.n_cells} cells to compute.{f' {time}' if found.n_new else ''}")
    progress = ProgressLines()

    def show(done: int, total: int, info: ProgressInfo) -> None:
        eta = "" if info.eta_seconds is None else f", {human_seconds(info.eta_seconds)} left"
        progress.show(f"{done}/{total} cells{eta}: {info.current}")

    report = run_study(study, store, on_progress=show, device=options.device, offline=options.offline)
    progress.end(f"{report.n_computed + report.n_stored + report.n_failed}/{report.n_cells} cells")
    failed = [f"failed: {failure.what}: {failure.message}" for failure in report.failures]
    doubles = [f"left out of curves: {reason}." for ref, reason in report.duplicates.items() if ref not in flagged]
    for sentence in (*failed, *doubles, *(f"note: {sentence}" for sentence in report.shared), *report.cuts):
        complain(sentence)
    data = {
        "n_cells": report.n_cells,
        "n_stored": report.n_stored,
        "n_computed": report.n_computed,
        "n_failed": report.n_failed,
        "seconds": round(report.seconds, 3),
        "failures": [asdict(failure) for failure in report.failures],
        "duplicates": [
            {"model": ref.model, "revision": ref.revision, "reason": r} for ref, r in report.duplicates.items()
        ],
        "shared": list(report.shared),
        "left_out": [*left_out, *_flagged(excluded_checkpoints(store, study.checkpoints))],
        "rows": list(found.rows),
        "cuts": list(report.cuts),
        "store": str(store.path),
    }
    emit(options, data, f"{report.message} It took {human_seconds(report.seconds)}.")
    return 1 if report.n_failed else 0


def _flagged(excluded: Mapping[CheckpointRef, str]) -> list[dict[str, str]]:
    """Checkpoints that are evaluated but left out of curves."""
    return [{"name": label_of(ref), "reason": reason} for ref, reason in excluded.items()]


def _estimate_words(found: Estimate) -> str:
    download = "not asked" if found.download_bytes is None else byte_count(found.download_bytes)
    rows = [
        ("cells", f"{found.n_cells}: {found.n_stored} stored, {found.n_new} to compute"),
        ("prompts", f"{found.n_prompts:,}"),
        ("tokens", f"{found.tokens:,.0f} to compute; {found.tokens_per_prompt:,.0f} in a whole prompt"),
        ("operations", f"{found.tflops:.4g} TFLOP; {found.tflops_per_prompt:.3g} TFLOP for one prompt computed alone"),
        ("memory", byte_count(found.memory_bytes)),
        ("download", download),
        ("disk", byte_count(found.disk_bytes)),
        ("time", found.time_words if found.seconds is None else f"{human_seconds(found.seconds)}, {found.time_words}"),
    ]
    return "\n".join([table(("what", "how much"), rows), *found.basis, *found.rows])


# jobs


def _jobs(options: argparse.Namespace) -> int:
    store_path = settings.store_path()
    if options.action == "list":
        found = jobs.list_jobs(store_path=store_path)
        emit(options, [_job_facts(job) for job in found], _jobs_table(found) if found else "No jobs yet.")
        return 0
    if options.id is None:
        raise UnknownNameError(f"jobs {options.action} needs the number of a job; `jobs` lists them.")
    if options.action == "log":
        text = jobs.read_log(jobs.read_job(options.id, store_path=store_path).id, store_path=store_path)
        emit(options, {"log": text}, text.rstrip())
        return 0
    if options.action == "cancel":
        jobs.cancel(options.id, store_path=store_path)
        job = jobs.wait_for(options.id, timeout=min(options.timeout, 30.0), store_path=store_path)
    elif options.action == "resume":
        job = jobs.read_job(jobs.resume(options.id, store_path=store_path), store_path=store_path)
    elif options.action == "wait":
        job = jobs.wait_for(options.id, timeout=options.timeout, store_path=store_path)
    else:
        job = jobs.read_job(options.id, store_path=store_path)
    emit(options, _job_facts(job), _jobs_table([job]))
    return 0


def _job_facts(job: Job) -> dict[str, Any]:
    return {field.name: getattr(job, field.name) for field in dataclasses.fields(job) if field.name != "payload"}


def _jobs_table(found: Sequence[Job]) -> str:
    rows = [
        (
            job.id,
            job.state,
            f"{job.done}/{job.total}",
            "" if job.eta_seconds is None or not job.is_live else human_seconds(job.eta_seconds),
            datetime.fromtimestamp(job.created, UTC).astimezone().strftime("%Y-%m-%d %H:%M"),
            job.title,
            job.message,
        )
        for job in found
    ]
    return table(("id", "state", "cells", "left", "asked", "what", "message"), rows)


def _run_job(options: argparse.Namespace) -> int:
    from icl_core.cli.lab import train_job
    from icl_core.evaluation.cost import estimate_job
    from icl_core.evaluation.run import evaluate_job

    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    handlers = {"evaluate": evaluate_job, "train": train_job, "estimate": estimate_job}
    state = work(options.id, handlers, store_path=settings.store_path())
    return 0 if state in ("done", "cancelled") else 1
