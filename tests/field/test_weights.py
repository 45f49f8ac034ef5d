"""The weights in memory are the weights of the file: every tensor and every setting counts, or a sentence says no."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from icl_core.errors import CheckpointError, ObservatoryError
from icl_core.evaluation.cost import estimate
from icl_core.evaluation.run import run_study
from icl_core.evaluation.store import Store
from icl_core.evaluation.study import Study
from icl_core.models import checkpoints, resolving
from icl_core.models.checkpoints import load_checkpoint, load_tokenizer
from icl_core.models.files import NO_CONTEXT_LIMIT
from icl_core.models.identity import identify_checkpoint
from icl_core.models.listing import listing_of, local_checkpoints
from icl_core.models.parameter_fusion import fused_checkpoint
from icl_core.models.remaps import get_remap
from tests.support.sentences import assert_one_sentence
from tests.support.tiny_gguf import write_gguf, write_sentencepiece
from tests.support.tiny_models import save_checkpoint, save_task_file, save_trajectory, tiny_model, tiny_tokenizer

ROOT = Path(__file__).resolve().parents[2]
IDS = torch.tensor([[5, 90, 17, 300, 42, 8, 201, 11]])

Weights = dict[str, torch.Tensor]


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICL_OBSERVATORY_STORE", str(tmp_path / "store"))


def load(path: Path, **options: Any) -> Any:
    return load_checkpoint(local_checkpoints(path)[0], dtype="float32", **options).model


def refusal(path: Path, *words: str) -> str:
    """The sentence that refuses to load a checkpoint; it holds these words."""
    with pytest.raises(ObservatoryError) as error:
        load(path)
    message = str(error.value)
    assert_one_sentence(message)
    assert [word for word in words if word not in message] == [], message
    return message


def change_weights(folder: Path, change: Callable[[Weights], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def change_config(folder: Path, **entries: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def as_pickle(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def as_shards(folder: Path, *names: str) -> None:
    """Splits the single file into shards of any names, with their index."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    places = {name: names[i % len(names)] for i, name in enumerate(sorted(weights))}
    for file in names:
        save_file({n: w for n, w in weights.items() if places[n] == file}, folder / file, metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


FORMATS = [lambda folder: None, as_pickle, lambda folder: as_shards(folder, "a.safetensors", "b.safetensors")]
each_format = pytest.mark.parametrize("form", FORMATS, ids=["safetensors", "bin", "shards"])


# Tensors missing or unused


@each_format
@pytest.mark.stands_for("transformers#32266", "one tensor of the file was dropped: off by .75 nats")
def test_a_missing_tensor_is_named(tmp_path: Path, form: Callable[[Path], None]) -> None:
    folder = save_checkpoint(tmp_path / "m")
    change_weights(folder, lambda weights: weights.pop("model.layers.1.mlp.up_proj.weight"))
    form(folder)
    refusal(folder, "1 tensor that the model needs is missing", "model.layers.1.mlp.up_proj.weight")


@each_format
@pytest.mark.stands_for("hiyouga/LLaMA-Factory#3721", "2 of 4 layers were scored: -31.75 for -27.95")
def test_further_layers_of_the_file_are_named(tmp_path: Path, form: Callable[[Path], None]) -> None:
    folder = save_checkpoint(tmp_path / "m")
    form(folder)
    change_config(folder, num_hidden_layers=1)
    refusal(folder, "9 tensors in the weights are not used", "model.layers.1.", "and 6 more")


@each_format
@pytest.mark.stands_for("hiyouga/LLaMA-Factory#3721", "biases that the config denies were dropped: -9.30 for -6.54")
def test_biases_that_the_configuration_denies_are_named(tmp_path: Path, form: Callable[[Path], None]) -> None:
    folder = save_checkpoint(tmp_path / "m")
    change_weights(folder, lambda weights: weights.update({"model.layers.0.self_attn.q_proj.bias": torch.ones(32)}))
    form(folder)
    refusal(folder, "1 tensor in the weights is not used", "model.layers.0.self_attn.q_proj.bias", "config.json")


@pytest.mark.stands_for("hiyouga/LLaMA-Factory#3721", "LoRA matrices inside the base weights were passed over")
def test_lora_tensors_among_the_weights_are_named(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "m")
    name = "model.layers.0.self_attn.q_proj.lora_A.weight"
    change_weights(folder, lambda weights: weights.update({name: torch.ones(4, 32)}))
    refusal(folder, name, "merge the adapter")


@pytest.mark.stands_for("transformers, ignore_mismatched_sizes", "a head of another size was started at random")
def test_another_shape_is_named(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "m")
    change_config(folder, num_key_value_heads=1)
    refusal(folder, "another shape", "model.layers.0.self_attn.k_proj.weight is (16, 32), not (8, 32)")


@pytest.mark.stands_for("transformers, GPT2PreTrainedModel", "attn.bias is passed over, and so is attn.c_attn.bias")
def test_patterns_of_transformers_hide_no_real_weights(tmp_path: Path) -> None:
    folder, config = tmp_path / "m", transformers.GPT2Config(vocab_size=400, n_embd=32, n_layer=2, n_head=4)
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    left = "transformer.h.1.attn.c_attn.bias"
    change_weights(folder, lambda weights: [weights.pop(n) for n in list(weights) if ".h.1." in n and n != left])
    change_config(folder, n_layer=1)
    refusal(folder, "1 tensor in the weights is not used", left)


@pytest.mark.stands_for(
    "transformers, GPTNeoXPreTrainedModel", "masks and rotary tables in each layer, embed_out as the head"
)
def test_old_files_of_the_families_still_load(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "m", "neox")
    model = load(folder)
    expected, table = model(IDS).logits, model.gpt_neox.rotary_emb.inv_freq

    def make_old(weights: Weights) -> None:
        weights["embed_out.weight"] = weights.pop("lm_head.weight", weights.get("embed_out.weight"))
        for layer in ("gpt_neox.layers.0.attention.", "gpt_neox.layers.1.attention."):
            weights[f"{layer}rotary_emb.inv_freq"] = table.half()
            weights[f"{layer}bias"] = torch.ones(1, 1, 512, 512).tril().bool()
            weights[f"{layer}masked_bias"] = torch.tensor(-1e9)

    change_weights(folder, make_old)
    as_pickle(folder)
    torch.testing.assert_close(load(folder)(IDS).logits, expected)


@pytest.mark.stands_for("transformers, GPT2PreTrainedModel", "no prefix before the names, masks, and no output layer")
def test_old_gpt2_files_still_load(tmp_path: Path) -> None:
    folder, config = tmp_path / "m", transformers.GPT2Config(vocab_size=400, n_embd=32, n_layer=2, n_head=4)
    model = transformers.GPT2LMHeadModel(config).eval()
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    old = {name.removeprefix("transformer."): tensor for name, tensor in model.transformer.state_dict().items()}
    masks = {f"h.{n}.attn.bias": torch.ones(1, 1, 1024, 1024).tril().to(torch.uint8) for n in (0, 1)}
    scalars = {f"h.{n}.attn.masked_bias": torch.tensor(-1e4) for n in (0, 1)}
    (folder / "model.safetensors").unlink()
    torch.save(old | masks | scalars, folder / "pytorch_model.bin")
    assert torch.equal(load(folder)(IDS).logits, model(IDS).logits)


@pytest.mark.stands_for(
    "transformers, _adjust_missing_and_unexpected_keys", "a config without its rope_theta: other positions, no word"
)
def test_a_rotary_table_that_the_configuration_does_not_give_is_named(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "m")
    tables = {f"model.layers.{n}.self_attn.rotary_emb.inv_freq": 1 / 5e5 ** (torch.arange(0, 8, 2) / 8) for n in (0, 1)}
    change_weights(folder, lambda weights: weights.update(tables))
    refusal(folder, "2 tensors in the weights are not used", "rotary_emb.inv_freq")
    change_config(folder, rope_parameters={"rope_type": "default", "rope_theta": 5e5})
    load(folder)


@pytest.mark.stands_for("transformers, PreTrainedModel.tie_weights", "a trained head next to tie_word_embeddings=true")
def test_an_output_layer_that_differs_from_the_tied_embeddings_is_refused(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "m")
    change_config(folder, tie_word_embeddings=True)
    refusal(folder, "lm_head.weight differs from model.embed_tokens.weight", "tie_word_embeddings to false")
    change_weights(folder, lambda weights: weights.update({"lm_head.weight": weights["model.embed_tokens.weight"] + 0}))
    load(folder)
    change_weights(folder, lambda weights: weights.pop("lm_head.weight"))
    load(folder)
    change_config(folder, tie_word_embeddings=False)
    refusal(folder, "lm_head.weight", "missing")


@pytest.mark.stands_for("transformers, WeightRenaming of gpt_neox", "embed_out and lm_head in one file: one is taken")
def test_one_parameter_under_two_names_is_refused(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "m", "neox")

    def twice(weights: Weights) -> None:
        weights["lm_head.weight"] = weights.pop("embed_out.weight", weights.get("lm_head.weight"))
        weights["embed_out.weight"] = weights["lm_head.weight"] * 2

    change_weights(folder, twice)
    refusal(folder, "embed_out.weight and lm_head.weight are the same parameter under two names")


@pytest.mark.stands_for("bitsandbytes, load_in_8bit", "int8 codes were read as the weights themselves")
def test_quantised_weights_are_refused(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "m")
    name = "model.layers.0.mlp.up_proj.weight"
    change_weights(folder, lambda weights: weights.update({name: (weights[name] * 100).to(torch.int8)}))
    refusal(folder, "1 tensor holds whole numbers", name)
    change_config(folder, quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True})
    refusal(folder, "quantization_config", "bfloat16")


@pytest.mark.stands_for("deepseek-ai/DeepSeek-V3, README_WEIGHTS", "float8 blocks need scales that a plain cast drops")
def test_float8_blocks_with_scales_are_refused(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "m")
    name = "model.layers.0.mlp.up_proj.weight"
    scaled = {name: torch.ones(64, 32).to(torch.float8_e4m3fn), f"{name}_scale_inv": torch.ones(1, 1)}
    change_weights(folder, lambda weights: weights.update(scaled))
    refusal(folder, f"{name}_scale_inv", "not used")


@pytest.mark.stands_for("hiyouga/LLaMA-Factory#3721", "mixed parameters with tensors that nobody reads")
def test_mixed_parameters_are_accounted_for_too(tmp_path: Path) -> None:
    refs = local_checkpoints(save_trajectory(tmp_path / "run", (0, 1)))
    mixed = fused_checkpoint(*refs, weight=0.25)
    first, second = (load(tmp_path / "run" / ref.revision).state_dict() for ref in refs)
    name = "model.layers.0.mlp.up_proj.weight"
    loaded = load_checkpoint(mixed, dtype="float32").model.state_dict()[name]
    torch.testing.assert_close(loaded, 0.25 * first[name] + 0.75 * second[name])
    for ref in refs:
        change_weights(tmp_path / "run" / ref.revision, lambda weights: weights.update({"extra": torch.ones(2)}))
    with pytest.raises(CheckpointError, match=r"1 tensor in the weights is not used .*: extra"):
        load_checkpoint(mixed, dtype="float32")


@pytest.mark.stands_for("Thireus/GGUF-Tool-Suite#80", "shards of other names than model-00001-of-00002 were not found")
def test_the_index_names_the_shards(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "m")
    expected = load(folder)(IDS).logits
    as_shards(folder, "first.safetensors", "part_two.safetensors")
    assert torch.equal(load(folder)(IDS).logits, expected)
    names = [name for name, _ in identify_checkpoint(local_checkpoints(folder)[0]).weight_files]
    assert {"first.safetensors", "part_two.safetensors", "model.safetensors.index.json"} < set(names)
    (folder / "part_two.safetensors").unlink()
    refusal(folder, "part_two.safetensors is missing")


@pytest.mark.parametrize("outside", ["../other/model.safetensors", "/etc/hostname", "sub\\x.safetensors", ".."])
@pytest.mark.stands_for("CWE-22, path traversal", "an index that names files elsewhere")
def test_an_index_stays_in_its_folder(tmp_path: Path, outside: str) -> None:
    folder = save_checkpoint(tmp_path / "m")
    shutil.copytree(folder, tmp_path / "other")
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"model.norm.weight": outside}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refusal(folder, "not a file of the checkpoint's own folder")


@pytest.mark.stands_for("transformers, save_pretrained", "model.safetensors of one save beside the shards of another")
def test_two_sets_of_weights_in_one_folder_are_a_question(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "m")
    whole = (folder / "model.safetensors").read_bytes()
    as_shards(folder, "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    shutil.copy(folder / "model-00001-of-00002.safetensors", folder / "model-00001-of-00003.safetensors")
    load(folder)  # a shard that the index does not name is none of this checkpoint
    (folder / "model.safetensors").write_bytes(whole)
    refusal(folder, "both model.safetensors and model.safetensors.index.json")


@pytest.mark.stands_for("baichuan-inc/Baichuan2#114", "the tensors of the 7B model, but ALiBi for positions")
def test_a_remap_refuses_what_it_does_not_translate(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "m")
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "baichuan", "model_max_length": 4096}
    del config["max_position_embeddings"]
    (folder / "config.json").write_text(json.dumps(config | {"n_positions": 512}))
    refusal(folder, "ALiBi")
    wide = {"hidden_size": 5120, "vocab_size": 125696, "max_position_embeddings": 4096}
    with pytest.raises(CheckpointError, match="ALiBi"):
        get_remap("baichuan2_to_llama").config(wide)
    with pytest.raises(CheckpointError, match="alibi is True"):
        get_remap("olmo_to_native").config({"alibi": True, "d_model": 8})


# GGUF


def gguf_model(path: Path, **options: Any) -> tuple[Path, Any]:
    model = tiny_model(context_length=512)
    return write_gguf(path / "m.gguf", model, **options), model


@pytest.mark.stands_for("llama.cpp, gguf-split", "the second shard was missing: a random layer, another each time")
def test_one_part_of_a_split_gguf_is_refused(tmp_path: Path) -> None:
    keys = {"split.count": 2, "split.no": 0, "split.tensors.count": 21}
    path, _ = gguf_model(tmp_path, keys=keys, without=["blk.1.ffn_up.weight"])
    refusal(path, "one of 2 parts", "llama-gguf-split --merge")


@pytest.mark.stands_for("transformers#32266", "a tensor that the GGUF file lacks was started at random")
def test_a_tensor_missing_from_gguf_is_named(tmp_path: Path) -> None:
    path, _ = gguf_model(tmp_path, without=["blk.1.ffn_up.weight"])
    refusal(path, "model.layers.1.mlp.up_proj.weight", "missing")


@pytest.mark.parametrize("name", ["blk.0.attn_q.bias", "blk.2.ffn_up.weight", "blk.0.attn_sinks.weight"])
@pytest.mark.stands_for("hiyouga/LLaMA-Factory#3721", "biases and further layers of a GGUF file were dropped")
def test_a_tensor_of_gguf_that_the_model_has_no_place_for_is_named(tmp_path: Path, name: str) -> None:
    path, _ = gguf_model(tmp_path, tensors={name: np.ones(32, dtype=np.float32)})
    refusal(path, name, "no place")


LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def scaled(rope: Mapping[str, Any]) -> Any:
    """The tiny Llama of these cases with other rotary positions."""
    plain = tiny_model(context_length=512)
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**plain.config.to_dict() | {"rope_parameters": rope})
    )
    model.load_state_dict(plain.state_dict())
    return model.eval()


@pytest.mark.stands_for("vllm-project/vllm#7268", "rope_freqs of Llama 3.1 was dropped: -11.7 for -7.5")
def test_rotary_factors_of_gguf_are_llama_3s(tmp_path: Path) -> None:
    expected = scaled(LLAMA3)
    plain = 1 / 10000 ** (torch.arange(0, 8, 2) / 8)
    factors = (plain / expected.model.rotary_emb.inv_freq).numpy().astype(np.float32)
    assert factors.max() == 8 and factors.min() == 1 and 1 < np.sort(factors)[1] < 8
    path, plain_model = gguf_model(tmp_path, tensors={"rope_freqs.weight": factors})
    loaded = load(path)
    ids = torch.randint(0, 400, (1, 300), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(loaded(ids).logits, expected(ids).logits, atol=1e-4, rtol=1e-4)
    assert (plain_model.eval()(ids).logits - expected(ids).logits).abs().max() > 0.01
    assert identify_checkpoint(local_checkpoints(path)[0]).n_parameters == sum(p.numel() for p in expected.parameters())


@pytest.mark.parametrize(
    ("keys", "rope"),
    [
        ({"type": "linear", "factor": 4.0}, {"rope_type": "linear", "factor": 4.0}),
        ({"factor": 4.0}, {"rope_type": "linear", "factor": 4.0}),
        (
            {"type": "yarn", "factor": 4.0, "original_context_length": 128, "finetuned": True},
            {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128},
        ),
        ({"type": "none"}, {"rope_type": "default"}),
    ],
    ids=["linear", "linear without a name", "yarn", "none"],
)
@pytest.mark.stands_for("vllm-project/vllm#7268", "rope.scaling keys were passed over")
def test_rotary_scaling_of_gguf_is_carried_over(tmp_path: Path, keys: dict[str, Any], rope: dict[str, Any]) -> None:
    path, _ = gguf_model(tmp_path, keys={f"rope.scaling.{key}": value for key, value in keys.items()})
    expected = scaled(rope | {"rope_theta": 10000.0})
    torch.testing.assert_close(load(path)(IDS).logits, expected(IDS).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rope.scaling.type", "longrope"),
        ("rope.scaling.attn_factor", 1.2),
        ("rope.scale_linear", 4.0),
        ("attention.sliding_window", 64),
        ("attention.scale", 0.3),
        ("attention.clamp_kqv", 8.0),
        ("attention.causal", False),
        ("attention.key_length", 16),
        ("attn_logit_softcapping", 50.0),
        ("final_logit_softcapping", 30.0),
        ("logit_scale", 0.0625),
        ("embedding_scale", 12.0),
        ("residual_scale", 0.22),
        ("expert_count", 8),
        ("expert_used_count", 2),
        ("use_parallel_residual", True),
        ("some.new_setting", 1),
        ("tokenizer.ggml.normalizer.lowercase", True),
    ],
)
@pytest.mark.stands_for(
    "vllm-project/vllm#7268", "a setting that only llama.cpp reads changes the numbers without a word"
)
def test_a_setting_of_gguf_that_is_not_carried_over_is_named(tmp_path: Path, key: str, value: Any) -> None:
    path, _ = gguf_model(tmp_path, keys={key: value})
    refusal(path, "longrope" if value == "longrope" else key.removeprefix("rope.scaling."))


@pytest.mark.stands_for("llama.cpp, convert_hf_to_gguf.py", "harmless keys of real files are no reason to refuse")
def test_what_changes_no_number_is_let_through(tmp_path: Path) -> None:
    keys = {
        "general.type": "model",
        "general.license": "mit",
        "general.file_type": 0,
        "quantize.imatrix.file": "x",
        "attention.sliding_window": 512,
        "attention.key_length": 8,
        "rope.scaling.finetuned": False,
        "expert_count": 0,
        "tensor_data_layout": "Meta AI original pth",
        "logit_scale": 0.0,
        "tokenizer.ggml.eot_token_id": 0,
    }
    path, model = gguf_model(tmp_path, keys=keys)
    torch.testing.assert_close(load(path)(IDS).logits, model.eval()(IDS).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.stands_for("llama.cpp, llama-arch.cpp", "each architecture has its own names and orders")
def test_a_qwen2_gguf_equals_its_weights(tmp_path: Path) -> None:
    torch.manual_seed(3)
    shape = {"vocab_size": len(tiny_tokenizer()), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256}
    model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**shape, **heads, rms_norm_eps=1e-5)).eval()
    path = write_gguf(tmp_path / "q.gguf", model, architecture="qwen2", pre="qwen2")
    torch.testing.assert_close(load(path)(IDS).logits, model(IDS).logits, atol=1e-5, rtol=1e-5)


def words_of(path: Path, text: str) -> list[str]:
    backend = load_tokenizer(local_checkpoints(path)[0]).wrapped.backend_tokenizer
    normal = backend.normalizer.normalize_str(text) if backend.normalizer is not None else text
    return [word for word, _ in backend.pre_tokenizer.pre_tokenize_str(normal)]


@pytest.mark.parametrize(
    ("pre", "words"),
    [
        ("gpt-2", ["ĠĠ", "Ġ2008", "Ġisn", "'t", "Ġ12", ".", "5", "Ċ", "Ċ", "x"]),
        ("smollm", ["ĠĠĠ", "2", "0", "0", "8", "Ġisn", "'t", "Ġ", "1", "2", ".", "5", "Ċ", "Ċ", "x"]),
        ("llama-bpe", ["ĠĠ", "Ġ", "200", "8", "Ġisn", "'t", "Ġ", "12", ".", "5", "ĊĊ", "x"]),
        ("qwen2", ["ĠĠ", "Ġ", "2", "0", "0", "8", "Ġisn", "'t", "Ġ", "1", "2", ".", "5", "ĊĊ", "x"]),
        ("falcon", ["ĠĠ", "Ġ", "200", "8", "Ġisn", "'", "t", "Ġ12", ".", "5", "Ċ", "Ċ", "x"]),
    ],
)
@pytest.mark.stands_for("transformers#31630", "the file says how its tokenizer splits text; it split like GPT-2")
def test_text_is_split_as_gguf_says(tmp_path: Path, pre: str, words: list[str]) -> None:
    path, _ = gguf_model(tmp_path, pre=pre)
    assert words_of(path, "   2008 isn't 12.5\n\nx") == words


@pytest.mark.parametrize("pre", [None, "kimi-k2", "a-new-one"])
@pytest.mark.stands_for("ggml-org/llama.cpp#6920", "a missing or unknown pre-tokenizer silently became the default")
def test_an_unknown_way_of_splitting_is_refused(tmp_path: Path, pre: str | None) -> None:
    path, _ = gguf_model(tmp_path, pre=pre)
    refusal(path, "tokenizer.ggml.pre", repr(str(pre)), "smollm")


@pytest.mark.parametrize("adds_space", [True, False])
@pytest.mark.stands_for(
    "llama.cpp, tokenizer.ggml.add_space_prefix", "the leading space of SentencePiece was added where it should not be"
)
def test_a_sentencepiece_gguf_encodes_like_sentencepiece(tmp_path: Path, adds_space: bool) -> None:
    import sentencepiece

    text = "the a film is was fine dull long and funny cold positive negative number location what where 12 3"
    words = text.split()
    texts = [" ".join(words[i % 7 :: 1 + i % 3]) + ". " for i in range(300)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_prefix=str(tmp_path / "sp"),
        vocab_size=340,
        model_type="bpe",
        byte_fallback=True,
        add_dummy_prefix=adds_space,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        minloglevel=2,
    )

    def tokenizer(writer: Any) -> None:
        write_sentencepiece(writer, tmp_path / "sp.model")
        writer.add_add_space_prefix(adds_space)

    config = tiny_model().config
    config.vocab_size = 340
    path = write_gguf(tmp_path / "m.gguf", transformers.LlamaForCausalLM(config), tokenizer=tokenizer)
    loaded = load_tokenizer(local_checkpoints(path)[0])
    processor = sentencepiece.SentencePieceProcessor(str(tmp_path / "sp.model"))
    for text in ("the film was fine.\npositive\n\n\nwhat 123  é\t😀 is", " two  spaces", "\n\n\nnumber ", "a"):
        assert loaded(text)["input_ids"] == [processor.bos_id(), *processor.encode(text)]


@pytest.mark.stands_for("transformers#31630", "a conversion made by older code was used again under the same name")
def test_an_older_conversion_is_not_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = gguf_model(tmp_path, pre="smollm")
    older = resolving.CONVERTER_VERSION - 1
    for module in (resolving, checkpoints):
        monkeypatch.setattr(module, "CONVERTER_VERSION", older)
    load(path)
    (old,) = (tmp_path / "store" / "converted").iterdir()
    (old / "tokenizer.json").write_text("{}")
    monkeypatch.undo()
    monkeypatch.setenv("ICL_OBSERVATORY_STORE", str(tmp_path / "store"))
    assert words_of(path, "12") == ["1", "2"]


@pytest.mark.stands_for(
    "transformers, from_pretrained(gguf_file=)", "files that lie beside a GGUF file had a say in what it is"
)
def test_nothing_beside_a_gguf_file_has_a_say(tmp_path: Path) -> None:
    path, model = gguf_model(tmp_path, pre="smollm")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", "auto_map": {"AutoConfig": "c.C"}}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"add_bos_token": True, "bos_token": "x"}))
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "nowhere/none"}))
    torch.testing.assert_close(load(path)(IDS).logits, model.eval()(IDS).logits, atol=1e-5, rtol=1e-5)
    assert words_of(path, "12") == ["1", "2"]


# Adapters


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "beside base weights"])
@pytest.mark.stands_for("huggingface/transformers PR 36480", "base and adapter in one folder: scored as the base")
def test_an_adapter_is_refused_by_every_command(
    tmp_path: Path, cli: Callable[..., tuple[int, str, str]], alone: bool
) -> None:
    folder = tmp_path / "adapter"
    if not alone:
        save_checkpoint(folder)
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": "x/y"}))
    save_file({"base_model.model.lora_A.weight": torch.ones(2, 2)}, folder / "adapter_model.safetensors")
    refusal(folder, "merge the adapter", "merge_and_unload")
    requests = tmp_path / "in.jsonl"
    requests.write_text(json.dumps({"context": "a film\n", "choices": ["good", "bad"]}))
    task = f"file:{save_task_file(tmp_path / 'own.jsonl')}"
    for command in (
        ("score", "--model", folder, "--requests", requests, "--out", tmp_path / "out.jsonl"),
        ("evaluate", "--model", folder, "--tasks", task, "--n-shots", 2, "--n-test", 4),
    ):
        code, output, errors = cli(*command)
        assert code != 0 and "merge the adapter" in output + errors, (output, errors)


@pytest.mark.stands_for("ggml-org/llama.cpp, convert_lora_to_gguf.py", "an adapter as a GGUF file")
def test_an_adapter_as_gguf_is_refused(tmp_path: Path) -> None:
    path, _ = gguf_model(tmp_path, keys={"general.type": "adapter", "adapter.type": "lora"})
    refusal(path, "merge the adapter")


# Remote code

LOADERS = {"from_pretrained", "for_model", "from_config", "load_dataset", "pipeline"}
TRUSTS = {"from_pretrained", "pipeline", "from_config"}


def calls_that_load() -> list[tuple[str, ast.Call]]:
    files = [ROOT / "app.py", *(p for part in ("icl_core", "pages", "benchmarks") for p in (ROOT / part).rglob("*.py"))]
    calls = [(str(f), n) for f in files for n in ast.walk(ast.parse(f.read_text())) if isinstance(n, ast.Call)]
    names = [(where, call, getattr(call.func, "attr", getattr(call.func, "id", ""))) for where, call in calls]
    return [(f"{where}:{call.lineno} {name}", call) for where, call, name in names if name in LOADERS]


@pytest.mark.stands_for("huggingface/transformers, resolve_trust_remote_code", "left unset, it asks on stdin")
def test_every_call_that_loads_says_that_no_code_runs() -> None:
    found = calls_that_load()
    assert len(found) >= 6
    for where, call in found:
        trust = [k.value for k in call.keywords if k.arg == "trust_remote_code"]
        if where.rsplit(" ", 1)[-1] in TRUSTS:
            assert [ast.unparse(value) for value in trust] == ["False"], where
        assert all(ast.unparse(value) == "False" for value in trust), where


def with_code(folder: Path, *, kind: str) -> Path:
    """A folder whose own code would write ``ran`` beside it, if it ran."""
    code = f"open({str(folder.parent / 'ran')!r}, 'w').write('x')\nclass C: pass\n"
    (folder / "code.py").write_text(code)
    auto = {name: "code.C" for name in ("AutoConfig", "AutoModelForCausalLM", "AutoModel")}
    change_config(folder, auto_map=auto | {"AutoTokenizer": ["code.C", "code.C"]}, model_type=kind)
    (folder / "generation_config.json").write_text("{}")
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(code)
    path = folder / "tokenizer_config.json"
    own = {"auto_map": {"AutoTokenizer": ["code.C", "code.C"]}, "tokenizer_class": "C"}
    path.write_text(json.dumps(json.loads(path.read_text()) | own))
    return folder


@pytest.mark.parametrize("kind", ["llama", "someones_own"])
@pytest.mark.stands_for(
    "huggingface/transformers, resolve_trust_remote_code", "'y' on stdin executed the folder's code"
)
def test_no_code_of_a_checkpoint_runs_whatever_stdin_says(tmp_path: Path, kind: str) -> None:
    folder = with_code(save_checkpoint(tmp_path / "m"), kind=kind)
    requests = tmp_path / "in.jsonl"
    requests.write_text(json.dumps({"context": "a film\n", "choices": ["good", "bad"]}))
    told = subprocess.run(
        [sys.executable, "-m", "icl_core", "score", "--model", folder, "--requests", requests, "--out", tmp_path / "o"],
        input="y\n1\n" * 20,
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert not (tmp_path / "ran").exists()
    assert "[y/N]" not in told.stdout + told.stderr
    assert told.returncode == 2, told.stderr
    assert_one_sentence(told.stderr.strip().removeprefix("error: "))


# Words

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "tokenizer.json", "config.json", "m.gguf"])
@pytest.mark.stands_for("git-lfs, pointer files", "git-lfs pointers were taken for damaged files")
def test_a_git_lfs_pointer_is_called_one(tmp_path: Path, name: str) -> None:
    folder = save_checkpoint(tmp_path / "m")
    if name.endswith(".bin"):
        (folder / "model.safetensors").unlink()
    (folder / name).write_text(POINTER)
    refusal(folder / name if name.endswith(".gguf") else folder, name, "git lfs pull")


@pytest.mark.parametrize("content", [{"model": tiny_model().config}, [torch.ones(2)], {"state_dict": {"a": 1}}, "cut"])
@pytest.mark.stands_for("torch.load, weights_only", "the words for a foreign pickle told the user to disable the check")
def test_a_foreign_pickle_is_refused_without_bad_advice(tmp_path: Path, content: Any) -> None:
    folder = save_checkpoint(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    path = folder / "pytorch_model.bin"
    if content == "cut":
        path.write_bytes(b"\x80\x02}q\x00")
    else:
        torch.save(content, path)
    message = refusal(folder, "pytorch_model.bin")
    assert "weights_only" not in message and "trust" not in message


def save_t5(folder: Path) -> None:
    config = transformers.T5Config(
        vocab_size=400, d_model=32, d_ff=64, num_layers=1, num_heads=2, d_kv=16, n_positions=512
    )
    transformers.T5ForConditionalGeneration(config).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)


def cut_config(folder: Path) -> None:
    path = save_checkpoint(folder) / "config.json"
    path.write_text(path.read_text()[:100])


def deep_config(folder: Path) -> None:
    (save_checkpoint(folder) / "config.json").write_text('{"a":' * 100_000)


def countless_layers(folder: Path) -> None:
    change_config(save_checkpoint(folder), num_hidden_layers=1_000_000_000)


def only_an_adapter(folder: Path) -> None:
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")


def pointer(folder: Path) -> None:
    (save_checkpoint(folder) / "model.safetensors").write_text(POINTER)


@pytest.mark.parametrize("make", [save_t5, cut_config, deep_config, countless_layers, only_an_adapter, pointer])
@pytest.mark.stands_for(
    "transformers, T5 and damaged folders beside decoders", "one bad model of a list ended the run of all"
)
def test_one_bad_checkpoint_costs_itself(tmp_path: Path, make: Callable[[Path], None]) -> None:
    run = save_trajectory(tmp_path / "run", (1, 3))
    make(run / "step-2")
    listing = listing_of(str(run))
    refs = listing.checkpoints
    task = f"file:{save_task_file(tmp_path / 'own.jsonl')}"
    study, store = Study(refs, (task,), ("gold",), (13,), n_shots=2, n_test=4), Store.open()
    assert estimate(study, store, device="cpu").n_new == len(refs)
    report = run_study(study, store, device="cpu", offline=True)
    assert report.n_computed == 2 and {ref.step for ref in refs} >= {1, 3}
    said = [(each.name, each.sentence) for each in listing.skipped]  # seen when listing, or else when loading
    said += [(failure.what, failure.message) for failure in report.failures]
    ((what, message),) = said
    assert "step-2" in what
    assert_one_sentence(message)


@pytest.mark.parametrize("words", [{"max_seq_len": 77}, {"context_length": 77}, {"text_config": {"n_ctx": 77}}])
@pytest.mark.stands_for("mosaicml/llm-foundry, MPTConfig", "MPT's and RWKV's context length was not found")
def test_a_context_length_is_found_under_any_name(tmp_path: Path, words: dict[str, Any]) -> None:
    folder = save_checkpoint(tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    del config["max_position_embeddings"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="does not tell the context length"):
        identify_checkpoint(local_checkpoints(folder)[0])
    change_config(folder, **words)
    assert identify_checkpoint(local_checkpoints(folder)[0]).context_length == 77


@pytest.mark.stands_for("state-spaces/mamba", "a model without a longest text was refused for not telling one")
def test_a_model_without_limit_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "mamba"
    config = transformers.MambaConfig(vocab_size=400, hidden_size=16, num_hidden_layers=1, state_size=4)
    transformers.MambaForCausalLM(config).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    refs = local_checkpoints(folder)
    assert identify_checkpoint(refs[0]).context_length == NO_CONTEXT_LIMIT
    task = f"file:{save_task_file(tmp_path / 'own.jsonl')}"
    basis = estimate(Study(refs, (task,), ("gold",), (13,), n_shots=2, n_test=4), Store.open(), device="cpu").basis
    assert any("without limit" in sentence for sentence in basis)
    load(folder)


@pytest.mark.stands_for(
    "transformers, VOCAB_FILES_NAMES", "a folder with vocab.json and merges.txt alone had no tokenizer"
)
def test_a_vocabulary_alone_is_a_tokenizer(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    config = transformers.GPT2Config(vocab_size=400, n_embd=32, n_layer=1, n_head=2)
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    tiny_tokenizer().backend_tokenizer.model.save(str(folder))
    ref = local_checkpoints(folder)[0]
    text = "the film is a quiet joy .\n"
    assert load_tokenizer(ref)(text)["input_ids"] == tiny_tokenizer()(text)["input_ids"]
    before = identify_checkpoint(ref).tokenizer_sha256
    (folder / "merges.txt").write_text("#version: 0.2\nt h\n")
    assert identify_checkpoint(ref).tokenizer_sha256 != before
    (folder / "merges.txt").unlink()
    refusal(folder, "has no tokenizer")
