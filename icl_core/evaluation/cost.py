"""What a study costs before it runs: cells, tokens, operations, bytes and time, and what each number rests on.

It loads no weights and needs no torch. Tokens are counted with the checkpoint's tokenizer on a sample of the real
prompts where both are on this machine; time follows from cells measured here before. Operations for one prompt are
counted as in arXiv 2406.14022, Table 1.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Any, TypeVar

import numpy as np

from icl_core.data.datasets import TaskData, load_task_data
from icl_core.data.prompts import build_cell_prompts
from icl_core.errors import CheckpointError, ObservatoryError, ScoringError, ends_process, in_words
from icl_core.evaluation.cell_work import cell_demonstrations, cell_queries
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
from icl_core.evaluation.study import Study, study_cells, validate_study
from icl_core.evaluation.told import current_status, row_sentences
from icl_core.models.files import NO_CONTEXT_LIMIT, context_length_of, read_json
from icl_core.models.gguf_file import gguf_config, read_gguf_header
from icl_core.models.hub import (
    conversion_of,
    download_size,
    identify_checkpoint,
    is_known,
    resolve_checkpoint,
    tokenizer_folder,
)
from icl_core.models.tokenizing import count_tokens
from icl_core.records import CellSpec, CheckpointRef, LabelSetting
from icl_core.registry.families import MODELS
from icl_core.registry.tasks import FILE_PREFIX, get_task

__all__ = ["Estimate", "estimate", "flops_of_prompts"]

DTYPE_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
CHARACTERS_PER_TOKEN = 4.0
"""English text under the tokenizers of the registry has 3 to 5 characters a token."""
DEFAULT_QUERY_CHARACTERS = 120.0
N_SAMPLED_QUERIES = 64
PROGRAM_BYTES = 600 * 2**20
"""Python with torch and transformers, and a batch of the engine, beside weights and the prefix."""
MEASURED_ENOUGH = 3
_CPU_SHARE = 0.6
_GPU_FLOPS = {"float32": 15e12, "float64": 5e12}
_GPU_HALF_FLOPS = 60e12

T = TypeVar("T")

CountTokens = Callable[[Sequence[str]], list[float]]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the missing cells of a study will take.

    Attributes:
        n_cells, n_stored, n_new: cells of the study, of them stored, of them to compute.
        n_prompts: queries of the cells to compute, each counted once for all its labels.
        tokens: tokens that will pass through models, shared demonstrations counted once a cell.
        tokens_per_prompt: mean tokens of one whole prompt.
        flops: floating-point operations of the cells to compute.
        flops_per_prompt: of one whole prompt computed alone, mean over cells.
        download_bytes: still to download; None where the Hub was not asked or did not answer.
        disk_bytes: of new results.
        memory_bytes: of weights (on the device), prefix and program, for the largest checkpoint.
        seconds: expected wall time of the run, without starting Python.
        is_calibrated: whether the time rests on cells of the same models measured on this machine.
        basis: sentences that say what the numbers rest on.
        rows: sentences on what becomes of the tasks' rows, as far as they were read.
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
    seconds: float
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
    study: Study, store: Store, *, device: str = "auto", offline: bool = True, data_offline: bool = True
) -> Estimate:
    """Counts what the missing cells of a study will take.

    Args:
        study: what would be run; it is validated first.
        store: tells what is there already, and how long cells took on this machine.
        device: as for the run.
        offline: False asks the Hub how much there is to download.
        data_offline: False downloads missing datasets to count their tokens.

    Raises:
        ObservatoryError: the study is not valid.
    """
    validate_study(study)
    cells = study_cells(study)
    status = current_status(store, cells)
    new = [spec for spec in cells if status[spec] == "missing"]
    counted = _Counting(study, store, device=_device_kind(device), offline=data_offline)
    works = [counted.work(spec) for spec in new]
    shapes = [counted.shape(spec.checkpoint) for spec in new]
    seconds, is_calibrated = counted.seconds(new, works, shapes)
    n_new = max(len(new), 1)
    return Estimate(
        n_cells=len(cells),
        n_stored=len(cells) - len(new),
        n_new=len(new),
        n_prompts=sum(work.n_queries for work in works),
        tokens=sum(work.unique_tokens for work in works),
        tokens_per_prompt=sum(work.mean_prompt_tokens for work in works) / n_new,
        flops=sum(map(work_flops, shapes, works)),
        flops_per_prompt=sum(prompt_flops(s, w.mean_prompt_tokens) for s, w in zip(shapes, works, strict=True)) / n_new,
        download_bytes=None if offline else counted.download(new),
        disk_bytes=sum(_record_bytes(spec, work) for spec, work in zip(new, works, strict=True)),
        memory_bytes=max((counted.memory(s, w) for s, w in zip(shapes, works, strict=True)), default=0),
        seconds=seconds,
        is_calibrated=is_calibrated,
        basis=tuple(counted.basis),
        rows=counted.rows(),
    )


def flops_of_prompts(study: Study, store: Store, *, checkpoints: Sequence[CheckpointRef]) -> dict[str, float]:
    """Operations of one whole prompt by model name, mean over the study's tasks; 0 where a model's shape is not known.

    Args:
        study: tasks, shots and template; its first demonstration seed stands for the others.
        store: tells how many characters a token has where a tokenizer is not on this machine.
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


def _record_bytes(spec: CellSpec, work: WorkCount) -> int:
    """A stored cell, in its file and in the index: base64 of scores and token counts, row ids, key and spec."""
    try:
        n_labels = get_task(spec.task).n_labels
    except ObservatoryError:
        n_labels = 2
    return 2 * round(4000 + work.n_queries * (30 + (8 + 12 * n_labels) * 4 / 3))


class _Counting:
    """Counts for one study, each shape, tokenizer and task read once; collects what the numbers rest on."""

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

    def _say(self, sentence: str) -> None:
        if sentence not in self.basis:
            self.basis.append(sentence)

    # Models

    def shape(self, ref: CheckpointRef) -> ModelShape:
        """The shape of a model, read from its first readable checkpoint; the registry's size where none is here."""
        if ref.model not in self._shapes and ref not in self._unreadable:
            try:
                self._read_shape(ref, _config(ref, self._converted(ref)))
            except ObservatoryError:  # this checkpoint alone fails, when it is loaded, with its own sentence
                self._unreadable.add(ref)
        return self._shapes.get(ref.model) or self._rough_shape(ref)

    def _read_shape(self, ref: CheckpointRef, config: Mapping[str, Any]) -> None:
        self._shapes[ref.model] = shape_of_config(config)
        self._contexts[ref.model] = context_length_of(config) or 0
        if self._contexts[ref.model] == NO_CONTEXT_LIMIT:
            self._say(f"Context of {ref.model}: without limit, no text is cut for it.")

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
        """Weights, two copies of the prefix's keys and values, and the program."""
        width = DTYPE_BYTES[self._study.dtype]
        return PROGRAM_BYTES + round(width * (shape.n_parameters + 2 * shape.key_value_bytes * work.prefix_tokens))

    def download(self, cells: Sequence[CellSpec]) -> int | None:
        """Bytes of checkpoints that are not on this machine yet; None if the Hub does not tell."""
        refs = dict.fromkeys(spec.checkpoint for spec in cells if spec.checkpoint.source == "hub")
        try:
            return sum(download_size(ref) for ref in refs)
        except ObservatoryError as error:
            self._say(f"Download size is not known: {error}")
            return None

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
        """The work of a cell; a tokenizer that fails is told of, and characters are counted in its place."""
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
        shared = _shared_characters((*prompts.contexts, prompts.content_free_context))
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
        """What becomes of the rows of files of one's own, and of other tasks that were read for counting."""
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
        """The checkpoint's own tokenizer; a stranger's is asked in a process of its own."""
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
            self._say(f"Tokens of {model}: characters a token as in its finished cells (within 10 %).")
            return sum(cell.characters for cell in cells) / sum(cell.tokens for cell in cells)
        self._say(f"Tokens of {model}: {CHARACTERS_PER_TOKEN:.0f} characters a token (within 25 %).")
        return CHARACTERS_PER_TOKEN

    # Time

    def seconds(
        self, cells: Sequence[CellSpec], works: Sequence[WorkCount], shapes: Sequence[ModelShape]
    ) -> tuple[float, bool]:
        """Expected wall time of cells and loading, and whether it rests on measurements of the same models."""
        models = {spec.checkpoint.model: shape for spec, shape in zip(cells, shapes, strict=True)}
        pacings = {model: self._pacing(model, shape) for model, shape in models.items()}
        total = sum(
            pacings[spec.checkpoint.model][0].seconds(n_queries=work.n_queries, flops=work_flops(shape, work))
            for spec, work, shape in zip(cells, works, shapes, strict=True)
        )
        total += self._encode_seconds(cells, works) + self._load_seconds(cells, models)
        return total, all(measured for _, measured in pacings.values())

    def _encode_seconds(self, cells: Sequence[CellSpec], works: Sequence[WorkCount]) -> float:
        """Each prompt is encoded once, for the first checkpoint of its model."""
        prompts = {
            (spec.checkpoint.model, spec.task, spec.split, spec.label_setting, spec.demo_seed): work.n_queries
            for spec, work in zip(cells, works, strict=True)
        }
        per_query = {
            model: encode_seconds_per_query([c for c in self._cells if c.model == model] or self._cells)
            for model in {place[0] for place in prompts}
        }
        return sum(n_queries * per_query[model] for (model, *_), n_queries in prompts.items())

    def _pacing(self, model: str, shape: ModelShape) -> tuple[Pacing, bool]:
        same = [cell for cell in self._cells if cell.model == model]
        where = f"{self._study.dtype} on this machine's {self._device}"
        if len(same) >= MEASURED_ENOUGH:
            self._say(f"Time of {model}: {len(same)} finished cells in {where}.")
            return fit_pacing(same), True
        sizes = Counter(cell.n_non_embedding for cell in self._cells)
        sizes = Counter({size: n for size, n in sizes.items() if n >= MEASURED_ENOUGH and size})
        if sizes and shape.n_non_embedding:
            nearest = min(sizes, key=lambda size: abs(np.log(size / shape.n_non_embedding)))
            other = [cell for cell in self._cells if cell.n_non_embedding == nearest]
            factor = max(nearest, shape.n_non_embedding) / min(nearest, shape.n_non_embedding)
            self._say(
                f"Time of {model}: rate of {len(other)} finished cells of {other[-1].model} in {where}, a model "
                f"{factor:.1f} times {'larger' if nearest > shape.n_non_embedding else 'smaller'}; calibrated by its "
                "own first cells."
            )
            return fit_pacing(other), False
        return self._default_pacing(model), False

    def _default_pacing(self, model: str) -> Pacing:
        if self._device == "cuda":
            rate = _GPU_FLOPS.get(self._study.dtype, _GPU_HALF_FLOPS)
            self._say(f"Time of {model}: an assumed {rate / 1e12:.0f} TFLOP/s, nothing was measured on this GPU yet.")
            return Pacing(0.05, 1e-4, 1 / rate)
        rate = _CPU_SHARE * _matmul_flops()
        self._say(
            f"Time of {model}: {_CPU_SHARE:.0%} of this machine's matrix product just measured ({rate / 1e9:.0f} "
            "GFLOP/s), since no cell was measured yet; good to a factor of 2, calibrated by the first cells."
        )
        return Pacing(0.03, 3e-4, 1 / rate)

    def _load_seconds(self, cells: Sequence[CellSpec], models: Mapping[str, ModelShape]) -> float:
        """The first checkpoint also pays for importing; later ones go by the median of earlier loads."""
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
    rate = median([load.n_bytes / load.seconds for load in alike]) if alike else 5e8
    return 4 * shape.n_parameters / rate + 3 * is_first


def _cut(work: WorkCount, context_length: int) -> WorkCount:
    """The same with every prompt cut to the context."""
    share = min(1.0, context_length / max(work.mean_prompt_tokens, 1.0))
    return WorkCount(work.n_queries, work.prefix_tokens * share, work.query_tokens * share, work.read_positions)


def _exact_words(model: str) -> str:
    return f"Tokens of {model}: its tokenizer on up to {N_SAMPLED_QUERIES} prompts a cell (within 3 %)."


def _unless_it_fails(read: Callable[[], T]) -> T | None:
    """What is read, None where it is absent, damaged or cannot be used: the run will say why."""
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


def _shared_characters(contexts: Sequence[str]) -> int:
    low, high = min(contexts), max(contexts)
    return next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low)) if low != high else 0


def _count_here(path: Path) -> CountTokens:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    return lambda texts: [
        float(len(encoding.ids)) for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)
    ]


def _count_by_length(texts: Sequence[str], *, characters_per_token: float) -> list[float]:
    return [len(text) / characters_per_token for text in texts]


def _matmul_flops() -> float:
    """Operations a second of a float32 matrix product on this machine, best of a fifth of a second."""
    n = 512
    matrix = np.ones((n, n), dtype=np.float32)
    best, end = 0.0, time.perf_counter() + 0.2
    while time.perf_counter() < end:
        start = time.perf_counter()
        matrix @ matrix  # only the time is wanted
        best = max(best, 2.0 * n**3 / (time.perf_counter() - start))
    return best
