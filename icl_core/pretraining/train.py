"""The training loop of the tiny suite: documents in, ordinary ``save_pretrained`` checkpoint folders out.

It takes documents from ``language.py`` and knobs from ``members.py``; it evaluates nothing. On one thread, one machine
and one library version, a run is a function of member and seed to the last bit.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from icl_core.errors import StudyError
from icl_core.pretraining.language import DOCUMENT_KINDS, make_document, vocabulary
from icl_core.pretraining.members import SuiteMember, TrainingPhase
from icl_core.pretraining.provenance import git_revision, one_thread
from icl_core.pretraining.tokenizer import make_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM

__all__ = ["MANIFEST_NAME", "build_model", "save_checkpoint", "train_member", "training_batches"]

IntArray = npt.NDArray[np.int64]
OnProgress = Callable[[int, int, float], None]
MANIFEST_NAME = "manifest.json"
_INIT_STREAM, _DATA_STREAM = 0, 1
_LIMITS = (
    "The language is synthetic: words mean nothing outside it, and label words are names only.",
    "Accuracies are of models of 0.03 to 0.2 M parameters; nothing here is a claim about large models.",
)
_PRIOR_LIMIT = (
    "Layer 0's query and key biases start with a positional prior put in by hand (head j looks about j tokens back); "
    "it makes copying, and with it task learning, appear several times earlier than from a plain start."
)


def _document_order(n_documents: int, n_draws: int, seed: tuple[int, ...]) -> IntArray:
    """(n_draws,) indices of documents: complete passes, each in its own order."""
    rng = np.random.Generator(np.random.PCG64(seed))
    passes = [rng.permutation(n_documents) for _ in range(-(-n_draws // n_documents))]
    return np.concatenate(passes)[:n_draws]


def _document(member: SuiteMember, phase: TrainingPhase, seed: tuple[int, ...]) -> IntArray:
    rng = np.random.Generator(np.random.PCG64(seed))
    shares = [getattr(phase.mixture, kind) for kind in DOCUMENT_KINDS]
    return make_document(
        rng,
        DOCUMENT_KINDS[int(rng.choice(len(shares), p=shares))],
        length=member.context_length,
        label_noise=phase.label_noise,
        p_label_words=member.p_label_words,
    )


def training_batches(member: SuiteMember, *, seed: int) -> Iterator[IntArray]:
    """All batches of a run in order, one per step.

    Each document is a function of (seed, phase, document index) alone, so two members with the same mixture read the
    same documents.

    Yields:
        (batch_size, context_length) token ids.
    """
    start = 0
    for index, phase in enumerate(member.phases):
        n_draws = (phase.end_step - start) * member.batch_size
        n_documents = member.n_documents or n_draws
        order = _document_order(n_documents, n_draws, (seed, _DATA_STREAM, index))
        kept: dict[int, IntArray] = {}
        for draws in order.reshape(-1, member.batch_size):
            for draw in draws:
                if int(draw) not in kept:
                    kept[int(draw)] = _document(member, phase, (seed, _DATA_STREAM, index, int(draw)))
            batch = np.stack([kept[int(draw)] for draw in draws])
            if member.n_documents is None:
                kept.clear()
            yield batch
        start = phase.end_step


def _set_previous_token_prior(model: LlamaForCausalLM, strength: float) -> None:
    """Set layer 0's query and key biases so that head j (from 1) scores offset j highest.

    With q = k rotated back by j positions, the score of offset t is strength^2 * sum_f cos(w_f (t - j)) before scaling:
    largest at t = j.
    """
    import torch

    config = model.config
    head_size = config.hidden_size // config.num_attention_heads
    frequencies = 1.0 / (config.rope_parameters["rope_theta"] ** (torch.arange(0, head_size, 2) / head_size))
    attention = model.model.layers[0].self_attn
    for head in range(config.num_attention_heads):
        rows = slice(head * head_size, (head + 1) * head_size)
        angle = (head + 1) * frequencies
        attention.q_proj.bias[rows] = strength * torch.cat([torch.ones_like(angle), torch.zeros_like(angle)])
        attention.k_proj.bias[rows] = strength * torch.cat([angle.cos(), angle.sin()])


def build_model(member: SuiteMember, *, seed: int) -> LlamaForCausalLM:
    """The untrained model of a member: an ordinary LlamaForCausalLM in float32.

    Every parameter is set here from the seed: ones for norms, normal with ``init_std`` for matrices,
    ``attention_bias_std`` for query and key biases, zero for other biases; then the
    positional prior, if the member has one.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        architectures=["LlamaForCausalLM"],
        vocab_size=len(vocabulary()),
        hidden_size=member.width,
        intermediate_size=2 * member.width,
        num_hidden_layers=member.n_layers,
        num_attention_heads=member.n_heads,
        num_key_value_heads=member.n_heads,
        max_position_embeddings=member.context_length,
        rope_parameters={"rope_type": "default", "rope_theta": member.rope_theta},
        initializer_range=member.init_std,
        tie_word_embeddings=True,
        attention_bias=True,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=1,
    )
    with torch.random.fork_rng(devices=[]):
        model = LlamaForCausalLM(config)
    generator = torch.Generator().manual_seed(int(np.random.PCG64([seed, _INIT_STREAM]).random_raw() >> 1))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2:
                parameter.normal_(0.0, member.init_std, generator=generator)
            elif name.endswith(("q_proj.bias", "k_proj.bias")):
                parameter.normal_(0.0, member.attention_bias_std, generator=generator)
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
        if member.previous_token_prior:
            _set_previous_token_prior(model, member.previous_token_prior)
    return model


def save_checkpoint(model: LlamaForCausalLM, path: Path) -> None:
    """Write model (float16) and tokenizer as one folder that ``AutoModelForCausalLM`` and ``AutoTokenizer`` load.

    The files are those of ``save_pretrained``, written without progress bars; the output matrix is the embedding's.
    """
    import torch
    from safetensors.torch import save_file
    from transformers import LlamaConfig

    weights = {name: parameter.detach().to(torch.float16) for name, parameter in model.named_parameters()}
    path.mkdir(parents=True, exist_ok=True)
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    (path / "model.safetensors").chmod(0o644)
    LlamaConfig(**{**model.config.to_dict(), "dtype": "float16"}).save_pretrained(path)
    make_tokenizer(model.config.max_position_embeddings).save_pretrained(path)


def _optimizer(model: LlamaForCausalLM, member: SuiteMember) -> torch.optim.Optimizer:
    import torch

    return torch.optim.AdamW(
        model.parameters(),
        lr=member.learning_rate,
        betas=member.betas,
        weight_decay=member.weight_decay,
        fused=True,
    )


def _learning_rate(member: SuiteMember, step: int) -> float:
    """Linear warm-up, then constant, then linear down to a tenth over the decay steps at the end."""
    left = (member.n_steps - step) / member.n_decay_steps if member.n_decay_steps else 1.0
    return member.learning_rate * min(1.0, step / member.n_warmup_steps, 0.1 + 0.9 * left)


def _training_step(
    model: LlamaForCausalLM, optimizer: torch.optim.Optimizer, batch: IntArray, *, step: int, member: SuiteMember
) -> float:
    """One update on all next-token predictions of a batch; gives the mean loss before it, in nats per token."""
    import torch

    for group in optimizer.param_groups:
        group["lr"] = _learning_rate(member, step)
    tokens = torch.from_numpy(batch)
    logits = model(input_ids=tokens[:, :-1], use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), member.max_gradient_norm)
    optimizer.step()
    value = float(loss.detach())
    if not math.isfinite(value):
        raise StudyError(f"Training of {member.name} diverged at step {step}: the loss is {value}.")
    return value


def _manifest(member: SuiteMember, seed: int, model: LlamaForCausalLM) -> dict[str, Any]:
    import torch
    import transformers

    starts = [0, *(phase.end_step for phase in member.phases[:-1])]
    return {
        "member": member.name,
        "title": member.title,
        "factor": member.factor,
        "seed": seed,
        "knobs": asdict(member),
        "phases": [
            {"name": phase.name, "start_step": start, "end_step": phase.end_step}
            for start, phase in zip(starts, member.phases, strict=True)
        ],
        "architecture": "LlamaForCausalLM",
        "n_parameters": model.num_parameters(),
        "context_length": member.context_length,
        "weights_dtype": "float16 (trained in float32)",
        "git_revision": git_revision(),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "numpy": np.__version__},
        "limits": [*_LIMITS, *([_PRIOR_LIMIT] if member.previous_token_prior else [])],
    }


def train_member(
    member: SuiteMember,
    *,
    seed: int,
    out_path: Path,
    on_progress: OnProgress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Mapping[str, Any] | None:
    """Train one member from one seed and keep its checkpoints.

    Args:
        member: all knobs.
        seed: keys initialisation and documents, as two separate streams.
        out_path: folder that receives ``step-<n>/`` folders and, last, ``manifest.json``: a run with a manifest is
            complete.
        on_progress: called after each step with (step, n_steps, loss in nats per token).
        should_stop: asked before each step; True ends the run without a manifest.

    Returns:
        The manifest, or None when stopped.

    Raises:
        StudyError: the loss is no longer finite.
    """
    started = time.process_time()
    model = build_model(member, seed=seed)
    with one_thread():
        kept = _train(model, member, seed=seed, out_path=out_path, on_progress=on_progress, should_stop=should_stop)
    if kept is None:
        return None
    seconds = round(time.process_time() - started, 1)
    text = json.dumps({**_manifest(member, seed, model), "cpu_seconds": seconds, "checkpoints": kept}, indent=1)
    (out_path / MANIFEST_NAME).write_text(text + "\n", encoding="utf-8")
    manifest: dict[str, Any] = json.loads(text)
    return manifest


def _train(
    model: LlamaForCausalLM,
    member: SuiteMember,
    *,
    seed: int,
    out_path: Path,
    on_progress: OnProgress | None,
    should_stop: Callable[[], bool] | None,
) -> list[dict[str, Any]] | None:
    """Runs all steps; gives the facts on each kept checkpoint, or None if stopped."""
    optimizer = _optimizer(model, member)
    losses: list[float] = []
    kept = [_keep(model, member, step=0, losses=losses, out_path=out_path)]
    for step, batch in enumerate(training_batches(member, seed=seed), start=1):
        if should_stop is not None and should_stop():
            return None
        losses.append(_training_step(model, optimizer, batch, step=step, member=member))
        if on_progress is not None:
            on_progress(step, member.n_steps, losses[-1])
        if step in member.checkpoint_steps:
            kept.append(_keep(model, member, step=step, losses=losses, out_path=out_path))
            losses = []
    return kept


def _keep(
    model: LlamaForCausalLM, member: SuiteMember, *, step: int, losses: list[float], out_path: Path
) -> dict[str, Any]:
    """Save a checkpoint; gives its step, tokens and mean training loss since the previous checkpoint."""
    folder = f"step-{step}"
    save_checkpoint(model, out_path / folder)
    loss = round(float(np.mean(losses)), 4) if losses else None
    return {"step": step, "folder": folder, "tokens_seen": step * member.tokens_per_step, "train_loss": loss}
