"""Writes docs/ARCHITECTURES.md: what the engine does with each decoder architecture that transformers can build tiny.

Run ``python -m tests.scoring.write_architectures`` (five minutes of CPU). Random models of some ten thousand weights
are made by ``tests/support/architectures.py`` and scored by the engine and by the plain recompute.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
import transformers

from tests.support.architectures import SKIPPED, Swept, names, sweep

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "ARCHITECTURES.md"
HEAD = """# Architectures

What the scoring engine does with each class that transformers {version} maps to a causal language model, on a tiny
random model of it. Written by `python -m tests.scoring.write_architectures`, and checked by
`pytest -m slow tests/scoring/test_architectures.py`.

- **Method**: `packed` computes each token once; `cached` uses transformers' own cache; `plain` is a forward pass for
  each label. The engine takes the first that gives the plain numbers on the model in hand, compared in float32.
- **float32**: largest difference from plain, nats: six requests of 5 to 60 tokens with three labels each, all in one
  call, in another order, and each alone.
- **bfloat16**: largest distance from the float32 numbers, nats, of plain and of the engine. Where tokens are sent to
  experts, rounding may turn a choice between two experts, and moves single numbers in both.
- **Refused**: nothing is scored. Where a later token changes what is said of an earlier one, a label has no probability
  after a prompt; where the same question gets two answers, none of them counts.
"""


def main() -> None:
    """Sweeps all architectures and writes the document."""
    warnings.simplefilter("ignore")
    transformers.utils.logging.set_verbosity_error()
    torch.set_num_threads(1)
    lines, skipped = [], []
    for name in names():
        if name in SKIPPED:
            skipped.append(f"- `{name}`: {SKIPPED[name]}.")
            continue
        lines.append(_line(name, sweep(name)))
    table = [
        "| type | class | method | float32 | bfloat16: method | plain | engine |",
        "|---|---|---|---|---|---|---|",
        *lines,
    ]
    parts = [HEAD.format(version=transformers.__version__), "\n".join(table), "## Not in the list", "\n".join(skipped)]
    DOCUMENT.write_text("\n\n".join(part.strip("\n") for part in parts) + "\n", encoding="utf-8")


def _line(name: str, found: Swept) -> str:
    start = f"| {name} | {found.class_name} |"
    if found.refusal:
        return f"{start} refused: {_reason(found.refusal)} | | | | |"
    if found.low_method == "refused":
        return f"{start} {found.method} | {found.difference:.0e} | refused: it does not run | | |"
    far = f"{found.low_plain[0]:.3f} | {found.low_engine[0]:.3f}"
    return f"{start} {found.method} | {found.difference:.0e} | {found.low_method} | {far} |"


def _reason(refusal: str) -> str:
    """The refusal in a few words."""
    words = (
        "does not attend causally",
        "gives different numbers for the same input",
        "does not run on token ids alone",
    )
    return next((each for each in words if each in refusal), refusal)


if __name__ == "__main__":
    main()
