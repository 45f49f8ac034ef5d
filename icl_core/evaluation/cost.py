"""The cost of a study before it runs: cells, tokens, operations, bytes and time, and the basis of each number.

It loads no weights and needs no torch. Tokens are counted with the checkpoint's tokenizer on a sample of the real
prompts, if both are on this machine. The time is estimated from cells that were measured on this machine with models of
about this size; without such cells no time is given. Operations for one prompt are counted as in arXiv 2406.14022,
Table 1.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from statistics import fmean, median
from typing import Any, Literal, TypeVar

import numpy as np

from icl_core.data.datasets import TaskData, load_task_data
from icl_core.data.prompts import build_cell_prompts
from icl_core.errors import (
    CheckpointError,
    ObservatoryError,
    ScoringError,
    StoppedError,
    ends_process,
    in_words,
)
from icl_core.evaluation.cell_work import cell_demonstrations, cell_queries
from icl_core.evaluation.job_worker import JobContext, Outcome
from icl_core.evaluation.rates import (
    MeasuredLoad,
    Pacing,
    encode_seconds_per_query,
    fit_pacing,
    read_cells,
    read_loads,
)
from icl_core.evaluation.shapes import ModelShape, WorkCount, prompt_flops, shape_of_config, work_flops
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study, n_cells, study_cells, study_from_json, validate_study
from icl_core.evaluation.told import current_status, row_sentences
from icl_core.models.files import NO_CONTEXT_LIMIT, context_length_of, read_json
from icl_core.models.gguf_file import gguf_config, read_gguf_header
from icl_core.models.identity import identify_checkpoint
from icl_core.models.resolving import conversion_of, download_size, is_known, resolve_checkpoint, tokenizer_folder
from icl_core.models.tokenizing import count_tokens
from icl_core.plain import from_plain
from icl_core.records import CellSpec, CheckpointRef, LabelSetting
from icl_core.registry.families import MODELS
from icl_core.registry.tasks import FILE_PREFIX, get_task
from icl_core.sequences import n_common_of_all

__all__ = ["Estimate", "estimate", "estimate_from_plain", "estimate_job", "flops_of_prompts", "takes_long"]

DTYPE_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
CHARACTERS_PER_TOKEN = 4.0
"""English text has 3 to 5 characters per token with the tokenizers of the registry."""
DEFAULT_QUERY_CHARACTERS = 120.0
N_SAMPLED_QUERIES = 64
PROGRAM_BYTES = 600 * 2**20
"""Bytes for Python with torch and transformers, and for a batch of the engine, besides weights and prefix."""
MEASURED_ENOUGH = 3
MOST_TIMES_THE_SIZE = 30
"""A rate is used for models with up to this many times more or fewer parameters."""
_MANY_CELLS, _MUCH_TO_READ = 10_000, 2**30
_FILE_BYTES = 10_000
"""Bytes for each checkpoint's file: 7,800 for columns and metadata, and half a page of the index that stays empty."""
_CELL_BYTES = 650
"""Bytes for each cell besides its numbers: 165 in its file, 160 in the index, 325 in the notes on measured rates."""
_ROW_BYTES = 3.5
"""Bytes for each example: its row id, once for each test set in a file."""
_VALUE_BYTES = 3.2
"""Bytes for each log-likelihood: 2.94 to 3.19 in the results of the tiny suite, 3.2 for values without a pattern."""
_CPU_SHARE = 0.6
_GPU_FLOPS = {"float32": 15e12, "float64": 5e12}
_GPU_HALF_FLOPS = 60e12

T = TypeVar("T")

CountTokens = Callable[[Sequence[str]], list[float]]
TimeBasis = Literal["measured", "scaled", "assumed", "refused"]
_RESTS: Mapping[TimeBasis, str] = {
    "measured": "from cells of the same models measured on this machine",
    "scaled": "a rough guess from cells of models of another size measured on this machine",
    "assumed": "a rough guess: no cell with these options has been measured on this machine yet",
}


@dataclass(frozen=True, slots=True)
class Estimate:
    """The cost of the missing cells of a study.

    Attributes:
        n_cells, n_stored, n_new: cells of the study; stored ones; those to compute.
        n_prompts: queries of the cells to compute, each counted once for all its labels.
        tokens: tokens that go through models; shared demonstrations count once per cell.
        tokens_per_prompt: mean tokens of one whole prompt.
        flops: floating-point operations of the cells to compute.
        flops_per_prompt: the same for one whole prompt computed alone, mean over cells.
        download_bytes: bytes still to download; None if the Hub was not asked or did not answer.
        disk_bytes: growth of the store.
        memory_bytes: for weights (on the device), prefix and program of the largest checkpoint.
        seconds: expected wall time of the run, without starting Python; None if it cannot be estimated.
        time_words: a clause on the basis of the time; without a time, a sentence that says why.
        is_calibrated: whether the time is from cells of the same models measured on this machine.
        basis: sentences on the basis of the numbers.
        rows: sentences on how the tasks' rows are used, as far as they were read.
    """

    n_cells: int
    n_stored: int
    n_new: int
    n_prompts: int
    tokens: float
    tokens_per_prompt: float
    flops: float
    flops_per_prompt: float
    download_bytes: int | None
    disk_bytes: int
    memory_bytes: int
    seconds: float | None
    time_words: str
    is_calibrated: bool
    basis: tuple[str, ...]
    rows: tuple[str, ...] = ()

    @property
    def tflops(self) -> float:
        """Operations of the cells to compute, in units of 10^12."""
        return self.flops / 1e12

    @property
    def tflops_per_prompt(self) -> float:
        """Operations of one whole prompt, in units of 10^12."""
        return self.flops_per_prompt / 1e12


def estimate(
    study: Study,
    store: Store,
    *,
    device: str = "auto",
    offline: bool = True,
    data_offline: bool = True,
    on_progress: Callable[[int, int, str], None] = lambda done, total, current: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Estimate:
    """Estimates the cost of the missing cells of a study.

    Args:
        study: what would be run; it is validated first.
        store: tells what is already stored, and how long cells took on this machine.
        device: as for the run.
        offline: False asks the Hub how much there is to download.
        data_offline: False downloads missing datasets to count their tokens.
        on_progress: called with counted checkpoints, all checkpoints and the next one's name.
        should_stop: asked before each checkpoint.

    Raises:
        StoppedError: it was told to stop.
        ObservatoryError: the study is not valid.
    """
    validate_study(study)
    cells = study_cells(study)
    by_checkpoint = _missing_by_checkpoint(store, cells)
    counted = _Counting(study, store, device=_device_kind(device), offline=data_offline)
    works: list[WorkCount] = []
    for done, (ref, specs) in enumerate(by_checkpoint.items()):
        if should_stop():
            raise StoppedError("Counting the cost was stopped before its end.")
        on_progress(done, len(by_checkpoint), f"{ref.model} {ref.revision}")
        works += [counted.work(spec) for spec in specs]
        if not offline:
            counted.ask_download(ref)
    on_progress(len(by_checkpoint), len(by_checkpoint), "")
    new = [spec for specs in by_checkpoint.values() for spec in specs]
    shapes = [counted.shape(spec.checkpoint) for spec in new]
    seconds, basis = counted.seconds(new, works, shapes)
    n_new = max(len(new), 1)
    return Estimate(
        n_cells=len(cells),
        n_stored=len(cells) - len(new),
        n_new=len(new),
        n_prompts=sum(work.n_queries for work in works),
        tokens=float(sum(work.unique_tokens for work in works)),
        tokens_per_prompt=sum(work.mean_prompt_tokens for work in works) / n_new,
        flops=float(sum(map(work_flops, shapes, works))),
        flops_per_prompt=sum(prompt_flops(s, w.mean_prompt_tokens) for s, w in zip(shapes, works, strict=True)) / n_new,
        download_bytes=None if offline else counted.download_bytes,
        disk_bytes=_result_bytes(new, works),
        memory_bytes=max((counted.memory(s, w) for s, w in zip(shapes, works, strict=True)), default=0),
        seconds=seconds,
        time_words=counted.no_time_words() if basis == "refused" else _RESTS[basis],
        is_calibrated=basis == "measured",
        basis=tuple(counted.basis),
        rows=counted.rows(),
    )


def _missing_by_checkpoint(store: Store, cells: Sequence[CellSpec]) -> dict[CheckpointRef, list[CellSpec]]:
    status = current_status(store, cells)
    missing: dict[CheckpointRef, list[CellSpec]] = {}
    for spec in cells:
        if status[spec] == "missing":
            missing.setdefault(spec.checkpoint, []).append(spec)
    return missing


def estimate_from_plain(data: Any) -> tuple[Estimate, int] | None:
    """The estimate from a job (``jobs.read_result``) and the store's generation at that time; None if it gave none."""
    try:
        return from_plain(Estimate, data["estimate"]), int(data["generation"])
    except (ValueError, TypeError, KeyError):
        return None


def estimate_job(payload: Mapping[str, object], context: JobContext) -> Outcome:
    """Does a job of the kind ``estimate``: ``{"study": ..., "device": ..., "offline": ...}``.

    Raises:
        ObservatoryError: as ``estimate``.
    """
    store = Store.open(context.store_path)
    try:
        generation = store.generation()
        found = estimate(
            study_from_json(json.dumps(payload["study"])),
            store,
            device=str(payload["device"]),
            offline=bool(payload["offline"]),
            on_progress=lambda done, total, current: context.report_alike(done, total, current=current),
            should_stop=context.should_stop,
        )
    finally:
        store.close()
    result = {"estimate": asdict(found), "generation": generation}
    return Outcome(f"The cost of {found.n_new:,} cells is counted.", result=result)


def takes_long(study: Study) -> bool:
    """Whether counting the cost will surely take longer than a page can wait: many cells, or large files."""
    paths = {Path(ref.location) for ref in study.checkpoints if ref.source == "gguf"}  # all is read for the hash
    return n_cells(study) > _MANY_CELLS or sum(p.stat().st_size for p in paths if p.is_file()) > _MUCH_TO_READ


def flops_of_prompts(study: Study, store: Store, *, checkpoints: Sequence[CheckpointRef]) -> dict[str, float]:
    """Operations of one whole prompt by model name, mean over the study's tasks; 0 if the model's shape is not known.

    Args:
        study: gives tasks, shots and template; its first demonstration seed stands for all.
        store: tells the characters per token if a tokenizer is not on this machine.
        checkpoints: one of each model is enough.
    """
    counted = _Counting(study, store, device=_device_kind("auto"), offline=True)
    found = {}
    for ref in {ref.model: ref for ref in checkpoints}.values():
        asked = replace(study, checkpoints=(ref,), label_settings=("gold",), splits=("test",))
        cells = study_cells(replace(asked, demo_seeds=study.demo_seeds[:1]))
        shape = counted.shape(ref)
        found[ref.model] = fmean(prompt_flops(shape, counted.work(spec).mean_prompt_tokens) for spec in cells)
    return found


def _device_kind(device: str) -> str:
    """``cuda`` or ``cpu``, without torch."""
    if device == "auto":
        return "cuda" if Path("/proc/driver/nvidia/gpus").is_dir() else "cpu"
    return device.split(":")[0]


def _result_bytes(cells: Sequence[CellSpec], works: Sequence[WorkCount]) -> int:
    """Bytes that results add to a store: one file per checkpoint, lines in the index, and measured rates."""
    n_values = sum(work.n_queries * _n_labels(spec.task) for spec, work in zip(cells, works, strict=True))
    test_sets = {
        (spec.checkpoint, spec.task, spec.split): work.n_queries for spec, work in zip(cells, works, strict=True)
    }
    n_files = len({spec.checkpoint for spec in cells})
    parts = (
        _FILE_BYTES * n_files,
        _CELL_BYTES * len(cells),
        _ROW_BYTES * sum(test_sets.values()),
        _VALUE_BYTES * n_values,
    )
    return round(sum(parts))


def _n_labels(task: str) -> int:
    try:
        return get_task(task).n_labels
    except ObservatoryError:
        return 2


class _Counting:
    """Counts for one study, reads each shape, tokenizer and task once, and collects the basis of the numbers."""

    def __init__(self, study: Study, store: Store, *, device: str, offline: bool) -> None:
        self.basis: list[str] = []
        self._study = study
        self._store = store
        self._device = device
        self._offline = offline
        self._cells = [c for c in read_cells(store.path) if (c.device, c.dtype) == (device, study.dtype)]
        self._tasks: dict[str, TaskData | None] = {}
        self._refused: dict[str, str] = {}
        self._tokenizers: dict[str, CountTokens] = {}
        self._shapes: dict[str, ModelShape] = {}
        self._contexts: dict[str, int] = {}
        self._unreadable: set[CheckpointRef] = set()
        self._works: dict[tuple[Any, ...], WorkCount] = {}
        self._untimed: dict[str, str] = {}
        self.download_bytes: int | None = 0

    def _say(self, sentence: str) -> None:
        if sentence not in self.basis:
            self.basis.append(sentence)

    # Models

    def shape(self, ref: CheckpointRef) -> ModelShape:
        """The shape of a model from its first readable checkpoint; if none is here, the size in the registry."""
        if ref.model not in self._shapes and ref not in self._unreadable:
            try:
                self._read_shape(ref, _config(ref, self._converted(ref)))
            except ObservatoryError:  # only this checkpoint fails, with its own sentence when it is loaded
                self._unreadable.add(ref)
        return self._shapes.get(ref.model) or self._rough_shape(ref)

    def _read_shape(self, ref: CheckpointRef, config: Mapping[str, Any]) -> None:
        self._shapes[ref.model] = shape_of_config(config)
        self._contexts[ref.model] = context_length_of(config) or 0
        if self._contexts[ref.model] == NO_CONTEXT_LIMIT:
            self._say(f"Context of {ref.model}: without limit, so no text is cut.")

    def _converted(self, ref: CheckpointRef) -> Path | None:
        """The folder with the converted form of a GGUF file, None before its first use and for other sources."""
        if ref.source != "gguf":
            return None
        hash_cache = self._store.path / "hashes.json"
        identity = _unless_it_fails(lambda: identify_checkpoint(ref, offline=True, hash_cache=hash_cache))
        if identity is None:
            return None
        return conversion_of(identity.weight_files[0][1], hash_cache=hash_cache)

    def _rough_shape(self, ref: CheckpointRef) -> ModelShape:
        model = MODELS.get(ref.model)
        n_parameters = (model and model.n_parameters) or 0
        if n_parameters:
            self._say(f"Operations of {ref.model}: 2 x all parameters, since its configuration is not here yet.")
        else:
            self._say(f"Operations, memory and time of {ref.model} are not known: its configuration is not here.")
        return ModelShape(n_parameters, n_parameters)

    def memory(self, shape: ModelShape, work: WorkCount) -> int:
        """Bytes for weights, two copies of the prefix's keys and values, and the program."""
        width = DTYPE_BYTES[self._study.dtype]
        return PROGRAM_BYTES + round(width * (shape.n_parameters + 2 * shape.key_value_bytes * work.prefix_tokens))

    def ask_download(self, ref: CheckpointRef) -> None:
        """Adds what is still to download for a checkpoint; the sum is None once the Hub does not answer."""
        if ref.source != "hub" or self.download_bytes is None:
            return
        try:
            self.download_bytes += download_size(ref)
        except ObservatoryError as error:
            self._say(f"Download size is not known: {error}")
            self.download_bytes = None

    # Tokens

    def work(self, spec: CellSpec) -> WorkCount:
        """Tokens of one cell; gold and random count alike."""
        setting: LabelSetting = "abstract" if spec.label_setting == "abstract" else "gold"
        place = (spec.checkpoint.model, spec.task, spec.split, setting, spec.demo_seed)
        if place not in self._works:
            self.shape(spec.checkpoint)
            work = self._work_of(replace(spec, label_setting=setting))
            most = self._contexts.get(spec.checkpoint.model) or 0
            self._works[place] = _cut(work, most) if most else work
        return self._works[place]

    def _work_of(self, spec: CellSpec) -> WorkCount:
        """The work of a cell; if its tokenizer fails, this is noted, and characters are counted instead."""
        try:
            return self._count(spec)
        except (CheckpointError, ScoringError) as error:
            model = spec.checkpoint.model
            self.basis = [sentence for sentence in self.basis if sentence != _exact_words(model)]
            self._say(str(error))
            self._tokenizers[model] = self._rough_tokenizer(model)
            return self._count(spec)

    def _count(self, spec: CellSpec) -> WorkCount:
        count = self._tokenizer(spec.checkpoint)
        data = self._task(spec.task)
        if data is None:
            self._say(f"Texts of {spec.task} are not here: taken as {DEFAULT_QUERY_CHARACTERS:.0f} characters each.")
            n_query = DEFAULT_QUERY_CHARACTERS / self._characters_per_token(spec.checkpoint.model)
            n_queries = spec.n_examples + 1
            return WorkCount(n_queries, spec.n_shots * (n_query + 3), n_queries * n_query, n_queries)
        queries = cell_queries(spec, data)
        step = max(1, len(queries) // N_SAMPLED_QUERIES)
        prompts = build_cell_prompts(
            data.task,
            cell_demonstrations(spec, data),
            queries[::step],
            label_setting=spec.label_setting,
            demo_seed=spec.demo_seed,
            label_word_set=spec.label_word_set,
            template=spec.template,
            alphabet=spec.alphabet,
        )
        shared = n_common_of_all((*prompts.contexts, prompts.content_free_context))
        (n_prefix,) = count([prompts.contexts[0][:shared]])
        n_tail = fmean(count([context[shared:] for context in prompts.contexts]))
        n_inner = sum(max(0.0, n - 1) for n in count(prompts.choices))
        n_queries = len(queries) + 1
        return WorkCount(n_queries, n_prefix, n_queries * (n_tail + n_inner), n_queries * (1 + n_inner))

    def _task(self, name: str) -> TaskData | None:
        if name not in self._tasks:
            data_dir = None if self._study.data_dir is None else Path(self._study.data_dir)
            try:
                self._tasks[name] = load_task_data(get_task(name), data_dir=data_dir, offline=self._offline)
            except BaseException as error:
                if ends_process(error):
                    raise
                self._tasks[name] = None
                self._refused[name] = str(error) if isinstance(error, ObservatoryError) else in_words(error)
        return self._tasks[name]

    def rows(self) -> tuple[str, ...]:
        """Sentences on the rows of local files, and of other tasks that were read for counting."""
        said: list[str] = []
        for name in self._study.tasks:
            if name.startswith(FILE_PREFIX) or name in self._tasks:
                data = self._task(name)
                if data is not None:
                    said += row_sentences(data, n_asked=self._study.n_test)
                elif name.startswith(FILE_PREFIX):
                    said.append(f"Cells of this task will fail: {self._refused[name]}")
        return tuple(said)

    def _tokenizer(self, ref: CheckpointRef) -> CountTokens:
        if ref.model not in self._tokenizers:
            self._tokenizers[ref.model] = self._exact_tokenizer(ref) or self._rough_tokenizer(ref.model)
        return self._tokenizers[ref.model]

    def _rough_tokenizer(self, model: str) -> CountTokens:
        return partial(_count_by_length, characters_per_token=self._characters_per_token(model))

    def _exact_tokenizer(self, ref: CheckpointRef) -> CountTokens | None:
        """The checkpoint's own tokenizer; a stranger's is used in a separate process."""
        folder = self._converted(ref) or _unless_it_fails(
            lambda: tokenizer_folder(resolve_checkpoint(ref, offline=True))
        )
        if folder is None or not (folder / "tokenizer.json").is_file():
            return None
        path = folder / "tokenizer.json"
        self._say(_exact_words(ref.model))
        return (
            _unless_it_fails(lambda: _count_here(path))
            if is_known(ref)
            else partial(count_tokens, path, where=ref.model)
        )

    def _characters_per_token(self, model: str) -> float:
        cells = [cell for cell in self._cells if cell.model == model and cell.tokens]
        if cells:
            self._say(f"Tokens of {model}: from characters per token in its finished cells (within 10 %).")
            return sum(cell.characters for cell in cells) / sum(cell.tokens for cell in cells)
        self._say(f"Tokens of {model}: from {CHARACTERS_PER_TOKEN:.0f} characters per token (within 25 %).")
        return CHARACTERS_PER_TOKEN

    # Time

    def seconds(
        self, cells: Sequence[CellSpec], works: Sequence[WorkCount], shapes: Sequence[ModelShape]
    ) -> tuple[float | None, TimeBasis]:
        """Expected wall time of cells and loading, None if it cannot be estimated; and its weakest basis."""
        models = {spec.checkpoint.model: shape for spec, shape in zip(cells, shapes, strict=True)}
        found = {model: self._pacing(model, shape) for model, shape in models.items()}
        pacings = {model: pacing for model, (pacing, _) in found.items() if pacing is not None}
        if len(pacings) < len(found):
            return None, "refused"
        total = sum(
            pacings[spec.checkpoint.model].seconds(n_queries=work.n_queries, flops=work_flops(shape, work))
            for spec, work, shape in zip(cells, works, shapes, strict=True)
        )
        total += self._encode_seconds(cells, works) + self._load_seconds(cells, models)
        order: tuple[TimeBasis, ...] = ("measured", "scaled", "assumed")
        return float(total), max((basis for _, basis in found.values()), key=order.index, default="measured")

    def no_time_words(self) -> str:
        """Why no time is given, in one sentence."""
        (model, reason), *others = self._untimed.items()
        names = f"{model} and {len(others)} more" if others else model
        return f"The time cannot be estimated for {names}: {reason}."

    def _encode_seconds(self, cells: Sequence[CellSpec], works: Sequence[WorkCount]) -> float:
        """Seconds of encoding: each prompt is encoded once, for the first checkpoint of its model."""
        prompts = {
            (spec.checkpoint.model, spec.task, spec.split, spec.label_setting, spec.demo_seed): work.n_queries
            for spec, work in zip(cells, works, strict=True)
        }
        per_query = {
            model: encode_seconds_per_query([c for c in self._cells if c.model == model] or self._cells)
            for model in {place[0] for place in prompts}
        }
        return sum(n_queries * per_query[model] for (model, *_), n_queries in prompts.items())

    def _pacing(self, model: str, shape: ModelShape) -> tuple[Pacing | None, TimeBasis]:
        same = [cell for cell in self._cells if cell.model == model]
        where = f"{self._study.dtype} on this machine's {self._device}"
        if len(same) >= MEASURED_ENOUGH:
            self._say(f"Time of {model}: from {len(same)} finished cells in {where}.")
            return fit_pacing(same), "measured"
        if not shape.n_non_embedding:
            self._untimed[model] = "its size is not known, since its configuration is not here"
            return None, "refused"
        sizes = Counter(cell.n_non_embedding for cell in self._cells)
        sizes = Counter({size: n for size, n in sizes.items() if n >= MEASURED_ENOUGH and size})
        if sizes:
            nearest = min(sizes, key=lambda size: abs(np.log(size / shape.n_non_embedding)))
            other = [cell for cell in self._cells if cell.n_non_embedding == nearest]
            factor = max(nearest, shape.n_non_embedding) / min(nearest, shape.n_non_embedding)
            compared = f"{factor:,.1f} times {'larger' if nearest > shape.n_non_embedding else 'smaller'}"
            if factor > MOST_TIMES_THE_SIZE:
                self._untimed[model] = (
                    f"the nearest model measured here is {compared}, but a rate is used for at most "
                    f"{MOST_TIMES_THE_SIZE} times as many parameters; the model's own first cells will show it"
                )
                return None, "refused"
            self._say(
                f"Time of {model}: from the rate of {len(other)} finished cells of {other[-1].model} in {where}, a "
                f"model {compared}; its own first cells will calibrate it."
            )
            return fit_pacing(other), "scaled"
        return self._default_pacing(model), "assumed"

    def _default_pacing(self, model: str) -> Pacing:
        if self._device == "cuda":
            rate = _GPU_FLOPS.get(self._study.dtype, _GPU_HALF_FLOPS)
            self._say(
                f"Time of {model}: from an assumed {rate / 1e12:.0f} TFLOP/s; nothing was measured on this GPU yet."
            )
            return Pacing(0.05, 1e-4, 1 / rate)
        rate = _CPU_SHARE * self._product_rate
        self._say(
            f"Time of {model}: from {_CPU_SHARE:.0%} of the speed of a matrix product, just measured ({rate / 1e9:.0f} "
            "GFLOP/s), since no cell was measured yet; accurate to a factor of 2 until the first cells calibrate it."
        )
        return Pacing(0.03, 3e-4, 1 / rate)

    @cached_property
    def _product_rate(self) -> float:
        return _matmul_flops()

    def _load_seconds(self, cells: Sequence[CellSpec], models: Mapping[str, ModelShape]) -> float:
        """Seconds of loading; the first load also imports libraries, others take the median of earlier loads."""
        refs = dict.fromkeys(spec.checkpoint for spec in cells)
        loads = [load for load in read_loads(self._store.path) if load.device == self._device]
        total = 0.0
        for index, ref in enumerate(refs):
            total += _load_time(ref, loads, models[ref.model], is_first=index == 0)
        return total


def _load_time(ref: CheckpointRef, loads: Sequence[MeasuredLoad], shape: ModelShape, *, is_first: bool) -> float:
    alike = [load for load in loads if load.is_first == is_first]
    same = [load.seconds for load in alike if load.model == ref.model]
    if same:
        return median(same[-20:])
    n_bytes = 4 * shape.n_parameters
    near = [load for load in alike if n_bytes <= MOST_TIMES_THE_SIZE * load.n_bytes <= MOST_TIMES_THE_SIZE**2 * n_bytes]
    rate = median([load.n_bytes / load.seconds for load in near]) if near else 5e8
    return n_bytes / rate + 3 * is_first


def _cut(work: WorkCount, context_length: int) -> WorkCount:
    """The same work with every prompt cut to the context."""
    share = min(1.0, context_length / max(work.mean_prompt_tokens, 1.0))
    return WorkCount(work.n_queries, work.prefix_tokens * share, work.query_tokens * share, work.read_positions)


def _exact_words(model: str) -> str:
    return f"Tokens of {model}: from its tokenizer on up to {N_SAMPLED_QUERIES} prompts per cell (within 3 %)."


def _unless_it_fails(read: Callable[[], T]) -> T | None:
    """What ``read`` gives; None if that is absent, damaged or cannot be used: the run will say why."""
    try:
        return read()
    except BaseException as error:
        if ends_process(error):
            raise
        return None


def _config(ref: CheckpointRef, converted: Path | None) -> Mapping[str, Any]:
    """The configuration of a checkpoint.

    Raises:
        ObservatoryError: it is not on this machine, or damaged.
    """
    if converted is not None:
        return read_json(converted / "config.json")
    if ref.source == "gguf":
        return gguf_config(read_gguf_header(Path(ref.location)))
    resolved = resolve_checkpoint(ref, offline=True)
    if not resolved.commit:
        return read_json(Path(resolved.location) / "config.json")
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(resolved.location, "config.json", revision=resolved.commit)
    return read_json(Path(str(path)))


def _count_here(path: Path) -> CountTokens:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    return lambda texts: [
        float(len(encoding.ids)) for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)
    ]


def _count_by_length(texts: Sequence[str], *, characters_per_token: float) -> list[float]:
    return [len(text) / characters_per_token for text in texts]


def _matmul_flops() -> float:
    """Operations per second of a float32 matrix product on this machine, the best within a fifth of a second."""
    n = 512
    matrix = np.ones((n, n), dtype=np.float32)
    best, end = 0.0, time.perf_counter() + 0.2
    while time.perf_counter() < end:
        start = time.perf_counter()
        matrix @ matrix  # only the time is wanted
        best = max(best, 2.0 * n**3 / (time.perf_counter() - start))
    return best
