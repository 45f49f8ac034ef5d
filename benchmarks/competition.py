"""How long the noise floor, the curves and an epsilon step take at the paper's size, and what memory they need.

17 checkpoints x 16 tasks x 5 seeds x 1,000 queries, 1,000 replicates. Run ``python -m benchmarks.competition
[--json]``; it fails when the noise floor takes more than 5 s or the process more than 1 GB.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable

import numpy as np

from icl_core.analysis.competition import (
    competition_against_epsilon,
    noise_floor,
    noise_floor_of,
    resample_changes,
    resample_correctness,
)

N_CHECKPOINTS, N_SEEDS, N_EXAMPLES, N_REPLICATES = 17, 5, 1000, 1000
N_LABELS = (2, 3, 4, 4, 6, 3, 3, 2, 2, 2, 2, 2, 3, 3, 2, 2)
"""Labels of the paper's 16 tasks."""
MOST_SECONDS, MOST_BYTES = 5.0, 1_000_000_000


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure() -> dict[str, float]:
    """Seconds of each step and the peak memory of the process, bytes."""
    rng = np.random.default_rng(0)
    shape = (N_CHECKPOINTS, N_SEEDS, N_EXAMPLES)
    gold = [rng.integers(0, n, N_EXAMPLES).astype(np.int16) for n in N_LABELS]
    tr, tl = ([rng.integers(0, n, shape).astype(np.int16) for n in N_LABELS] for _ in range(2))
    tr_correct = [predicted == labels for predicted, labels in zip(tr, gold, strict=True)]
    tl_correct = [predicted == labels for predicted, labels in zip(tl, gold, strict=True)]
    seconds = {
        "noise_floor_s": _seconds(lambda: noise_floor(tr_correct, tl_correct, epsilon=0.01)),
        "noise_floor_balanced_accuracy_s": _seconds(
            lambda: resample_changes(tr, tl, gold, measure="balanced_accuracy")
        ),
        "noise_floor_macro_f1_s": _seconds(lambda: resample_changes(tr, tl, gold, measure="macro_f1")),
    }
    replicates = resample_correctness(tr_correct, tl_correct)
    seconds["epsilon_step_s"] = _seconds(lambda: noise_floor_of(replicates, epsilon=0.01))
    grid = np.linspace(0, 0.05, 101)
    seconds["epsilon_curves_101_s"] = _seconds(lambda: competition_against_epsilon(replicates, grid))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {**seconds, "peak_bytes": float(peak)}


def main() -> int:
    """Prints the table (or JSON); exit status 1 when a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    as_json = parser.parse_args().json
    result = measure()
    if as_json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:34s} {value / 1e6:10.1f} MB" if name == "peak_bytes" else f"{name:34s} {value:10.4f} s")
    return int(result["noise_floor_s"] > MOST_SECONDS or result["peak_bytes"] > MOST_BYTES)


if __name__ == "__main__":
    sys.exit(main())
