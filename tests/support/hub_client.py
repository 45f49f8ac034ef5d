"""A client process for the loopback Hub: runs real clients with the environment it is given, prints JSON.

HF_ENDPOINT is read when huggingface_hub is imported, so a test cannot switch it in its own process.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from icl_core.errors import ObservatoryError
from icl_core.models.identity import duplicate_weights, identify_checkpoint, shared_files
from icl_core.models.listing import list_checkpoints
from icl_core.models.resolving import download_size
from icl_core.registry.families import choose_checkpoints


def names(model: str, offline: bool) -> list[list[object]]:
    return [[ref.revision, ref.step, ref.location] for ref in list_checkpoints(model, offline=offline)]


def identify(model: str, choice: str, offline: bool) -> dict[str, Any]:
    refs = choose_checkpoints(list_checkpoints(model, offline=offline), choice)
    return {ref.revision: asdict(identify_checkpoint(ref, offline=offline)) for ref in refs}


def duplicates(model: str, choice: str, offline: bool) -> dict[str, str]:
    refs = choose_checkpoints(list_checkpoints(model, offline=offline), choice)
    flagged = duplicate_weights({ref: identify_checkpoint(ref, offline=offline) for ref in refs})
    return {ref.revision: reason for ref, reason in flagged.items()}


def shared(model: str, choice: str, offline: bool) -> list[str]:
    refs = choose_checkpoints(list_checkpoints(model, offline=offline), choice)
    return list(shared_files({ref: identify_checkpoint(ref, offline=offline) for ref in refs}))


def size(model: str, choice: str, offline: bool) -> list[int]:
    refs = choose_checkpoints(list_checkpoints(model, offline=offline), choice)
    return [download_size(ref, offline=offline) for ref in refs]


def load(model: str, choice: str, offline: bool) -> dict[str, Any]:
    import torch

    from icl_core.models.checkpoints import load_checkpoint, release

    result = {}
    for ref in choose_checkpoints(list_checkpoints(model, offline=offline), choice):
        loaded = load_checkpoint(ref, dtype="float32", offline=offline)
        ids = loaded.tokenizer("a fine and funny film.\npositive")["input_ids"]
        with torch.no_grad():
            logits = loaded.model(torch.tensor([ids])).logits
        result[ref.revision] = {"ids": ids, "sum": logits.double().sum().item(), "dtype": str(logits.dtype)}
        release(loaded)
    return result


def identify_revision(model: str, revision: str, offline: bool) -> dict[str, Any]:
    from icl_core.registry.families import checkpoint_ref, get_model

    return asdict(identify_checkpoint(checkpoint_ref(get_model(model), revision), offline=offline))


def dataset(name: str, split: str, offline: bool) -> list[dict[str, Any]]:
    from datasets import load_dataset

    return list(load_dataset(name, revision="refs/convert/parquet", split=split))


def main() -> None:
    """Each argument is a JSON list: function name, then its arguments; answers go out as one JSON list."""
    answers = []
    for text in sys.argv[1:]:
        function, *arguments = json.loads(text)
        try:
            answers.append(globals()[function](*arguments))
        except ObservatoryError as error:
            answers.append({"error": type(error).__name__, "message": str(error)})
    sys.stdout.write("\n" + json.dumps(answers))


if __name__ == "__main__":
    main()
