"""Local folders, the embedded suite and GGUF files: found, identified, refused where incomplete, loaded."""

from __future__ import annotations

import json
import shutil
import threading
import time

import pytest
import torch

from icl_core.errors import CheckpointError, UnknownNameError
from icl_core.models import files, listing, resolving
from icl_core.models.building import model_from_state_dict
from icl_core.models.checkpoints import load_checkpoint, load_tokenizer, release
from icl_core.models.files import file_hashes
from icl_core.models.identity import identify_checkpoint
from icl_core.models.listing import list_checkpoints, local_checkpoints
from icl_core.models.weights import read_state_dict
from icl_core.registry.families import choose_checkpoints


def test_lists_a_folder_of_checkpoint_folders_by_step(tiny_run):
    (tiny_run / "logs").mkdir()
    refs = list_checkpoints(str(tiny_run))
    assert [(ref.revision, ref.step) for ref in refs] == [
        ("step-1000", 1000),
        ("step2000", 2000),
        ("checkpoint-3000", 3000),
    ]
    assert {(ref.family, ref.model, ref.source) for ref in refs} == {("local", "run", "folder")}
    assert [ref.step for ref in choose_checkpoints(refs, "1000,checkpoint-3000")] == [1000, 3000]


def test_lists_one_checkpoint_folder(tiny_run):
    (ref,) = local_checkpoints(tiny_run / "step2000")
    assert ref == list_checkpoints(str(tiny_run))[1]


def test_refuses_places_without_checkpoints(tmp_path):
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        list_checkpoints(str(tmp_path))
    with pytest.raises(UnknownNameError, match="pythia-14m"):
        list_checkpoints("pythia14m")


def test_identity_is_content_not_place(tiny_run, tmp_path):
    before = identify_checkpoint(local_checkpoints(tiny_run)[0])
    moved = tmp_path / "elsewhere"
    shutil.copytree(tiny_run / "step-1000", moved)
    assert identify_checkpoint(local_checkpoints(moved)[0]) == before
    assert before.context_length == 128
    assert before.n_parameters == sum(
        tensor.numel() for tensor in read_state_dict([moved / "model.safetensors"]).values()
    )
    assert [name for name, _ in before.weight_files] == ["config.json", "model.safetensors"]
    config = json.loads((moved / "config.json").read_text()) | {"rms_norm_eps": 0.5}
    (moved / "config.json").write_text(json.dumps(config))
    assert identify_checkpoint(local_checkpoints(moved)[0]).weight_files != before.weight_files


def test_hash_cache_reads_a_file_once_per_version(tmp_path, monkeypatch):
    file, cache = tmp_path / "weights", tmp_path / "cache" / "hashes.json"
    file.write_bytes(b"one")
    monkeypatch.setattr(files, "CLOCK_GRAIN_NS", 0)  # else a file that was written just now is read again
    first = file_hashes([file], hash_cache=cache)
    with monkeypatch.context() as patch:
        patch.setattr("hashlib.file_digest", lambda *_: pytest.fail("read again"))
        assert file_hashes([file], hash_cache=cache) == first
    file.write_bytes(b"another")
    assert file_hashes([file], hash_cache=cache) != first
    cache.write_text("damaged")
    assert file_hashes([file], hash_cache=cache) == file_hashes([file])


def test_refuses_incomplete_folders_in_one_sentence(tiny_run):
    folder = tiny_run / "step2000"
    ref = local_checkpoints(folder)[0]
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    for cut in (whole[:-1], whole[:100], whole[:4], b""):
        weights.write_bytes(cut)
        with pytest.raises(CheckpointError, match=r"model\.safetensors is incomplete"):
            identify_checkpoint(ref)
    weights.unlink()
    with pytest.raises(CheckpointError, match="holds no weights"):
        identify_checkpoint(ref)
    weights.write_bytes(whole)
    for name in ("tokenizer.json", "config.json"):
        (folder / name).unlink()
        with pytest.raises(CheckpointError, match=f"has no tokenizer|{name} is missing"):
            identify_checkpoint(ref)


def test_refuses_missing_shards(tiny_run):
    folder = tiny_run / "step2000"
    ref = local_checkpoints(folder)[0]
    state = read_state_dict([folder / "model.safetensors"])
    (folder / "model.safetensors").unlink()
    shards = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]
    names = list(state)
    torch.save({name: state[name] for name in names[:5]}, folder / shards[0])
    index = {"metadata": {}, "weight_map": {name: shards[i >= 5] for i, name in enumerate(names)}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=f"{shards[1]} is missing"):
        identify_checkpoint(ref)
    torch.save({name: state[name] for name in names[5:]}, folder / shards[1])
    loaded = load_checkpoint(ref, dtype="float32")
    assert torch.equal(loaded.model.lm_head.weight, state["lm_head.weight"].float())
    whole = (folder / shards[1]).read_bytes()
    (folder / shards[1]).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="incomplete"):
        load_checkpoint(ref, dtype="float32")


def test_loads_half_precision_files_in_the_dtype_asked_for_and_releases(tiny_run):
    ref = local_checkpoints(tiny_run)[0]
    stored = read_state_dict([tiny_run / "step-1000" / "model.safetensors"])
    assert stored["lm_head.weight"].dtype is torch.float16
    loaded = load_checkpoint(ref, dtype="float32")
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}
    assert torch.equal(loaded.model.lm_head.weight, stored["lm_head.weight"].float())
    assert not loaded.model.training and loaded.model.config._attn_implementation == "sdpa"
    assert loaded.tokenizer("a fine film")["input_ids"] == load_tokenizer(ref)("a fine film")["input_ids"]
    assert loaded.identity == identify_checkpoint(ref)
    release(loaded)
    assert {parameter.device.type for parameter in loaded.model.parameters()} == {"meta"}
    with pytest.raises(UnknownNameError, match="float32"):
        load_checkpoint(ref, dtype="int7")
    with pytest.raises(UnknownNameError, match="use cpu"):
        load_checkpoint(ref, dtype="float32", device="abacus")
    if not torch.cuda.is_available():
        with pytest.raises(CheckpointError, match="No CUDA device"):
            load_checkpoint(ref, dtype="float32", device="cuda")


def test_threads_build_one_model_at_a_time(tiny_run, monkeypatch):
    """Two at once would take each other's ``tie_weights`` and default dtype for the process's own, and leave them."""
    from transformers import LlamaForCausalLM, PreTrainedModel

    build, at_once, most = LlamaForCausalLM.__init__, 0, 0

    def slow(*args, **kwargs):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        time.sleep(0.05)
        build(*args, **kwargs)
        at_once -= 1

    tie_weights = PreTrainedModel.tie_weights
    monkeypatch.setattr(PreTrainedModel, "tie_weights", tie_weights)  # to be put back, whatever happens
    monkeypatch.setattr(LlamaForCausalLM, "__init__", slow)
    refs = local_checkpoints(tiny_run)
    threads = [threading.Thread(target=load_checkpoint, args=(ref,), kwargs={"dtype": "float32"}) for ref in refs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refs) == 3 and most == 1
    assert PreTrainedModel.tie_weights is tie_weights and torch.get_default_dtype() == torch.float32


def test_a_weight_that_is_missing_is_an_error_not_a_random_start(tiny_run):
    from safetensors.torch import save_file

    folder = tiny_run / "step-1000"
    state = read_state_dict([folder / "model.safetensors"])
    del state["model.layers.1.mlp.up_proj.weight"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        CheckpointError, match=r"1 tensor .* is missing from the weights: model\.layers\.1\.mlp\.up_proj\.weight;"
    ):
        load_checkpoint(local_checkpoints(folder)[0], dtype="float32")


def test_pickles_that_hold_code_are_refused(tiny_run, tmp_path):
    class Evil:
        def __reduce__(self):
            return ((tmp_path / "evil").touch, ())

    folder = tiny_run / "step-1000"
    (folder / "model.safetensors").unlink()
    torch.save({"model.norm.weight": Evil()}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="not a plain file of tensors"):
        load_checkpoint(local_checkpoints(folder)[0], dtype="float32")
    assert not (tmp_path / "evil").exists()


def test_remote_code_does_not_run(tiny_run):
    folder = tiny_run / "step-1000"
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "secret", "auto_map": {"AutoConfig": "c.C", "AutoModelForCausalLM": "m.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "c.py").write_text("raise SystemExit('ran')")
    with pytest.raises(CheckpointError, match="no class for model type 'secret'"):
        load_checkpoint(local_checkpoints(folder)[0], dtype="float32")


def test_architectures_without_sdpa_fall_back_to_eager():
    from transformers import BloomConfig, BloomForCausalLM

    config = BloomConfig(vocab_size=64, hidden_size=16, n_layer=1, n_head=2)
    torch.manual_seed(0)
    model = BloomForCausalLM(config)
    rebuilt = model_from_state_dict(config, model.state_dict(), dtype="float32", attention="sdpa")
    assert rebuilt.config._attn_implementation == "eager"
    ids = torch.arange(5)[None]
    torch.testing.assert_close(rebuilt(ids).logits, model.eval()(ids).logits)


def test_remapped_local_folder_loads_without_its_own_code(tiny_run):
    """A MiniCPM folder is recognised by its configuration; Granite with neutral scales equals Llama."""
    folder = tiny_run / "step-1000"
    plain = load_checkpoint(local_checkpoints(folder)[0], dtype="float32").model
    config = json.loads((folder / "config.json").read_text())
    neutral = {"scale_emb": 1, "scale_depth": 2**0.5, "dim_model_base": 16, "tie_word_embeddings": False}
    (folder / "config.json").write_text(
        json.dumps(
            config | neutral | {"model_type": "minicpm", "auto_map": {"AutoConfig": "x.Y"}, "rope_scaling": None}
        )
    )
    ref = local_checkpoints(folder)[0]
    assert ref.remap == "minicpm_to_granite"
    ids = torch.arange(9)[None]
    torch.testing.assert_close(load_checkpoint(ref, dtype="float32").model(ids).logits, plain(ids).logits)


def test_embedded_members_are_listed_from_their_manifest(tiny_run, monkeypatch):
    for room in (listing, resolving):
        monkeypatch.setattr(room, "suite_path", lambda: tiny_run.parent)
    kept = [
        {"step": step, "folder": name, "tokens_seen": step * 7}
        for name, step in (("step2000", 2000), ("step-1000", 1000))
    ]
    (tiny_run / "manifest.json").write_text(json.dumps({"checkpoints": kept}))
    refs = list_checkpoints("run")
    assert [(ref.family, ref.source, ref.step, ref.tokens_seen) for ref in refs] == [
        ("tiny", "embedded", 1000, 7000),
        ("tiny", "embedded", 2000, 14000),
    ]
    assert identify_checkpoint(refs[0]) == identify_checkpoint(local_checkpoints(tiny_run)[0])
    assert load_checkpoint(refs[1], dtype="float32").identity == identify_checkpoint(refs[1])


def test_tokenizer_of_the_parent_folder(tiny_run):
    shutil.move(tiny_run / "step-1000" / "tokenizer.json", tiny_run)
    shutil.move(tiny_run / "step-1000" / "tokenizer_config.json", tiny_run)
    first, second = local_checkpoints(tiny_run)[:2]
    assert identify_checkpoint(first).tokenizer_sha256 == identify_checkpoint(second).tokenizer_sha256
    assert load_tokenizer(first)("dull")["input_ids"] == load_tokenizer(second)("dull")["input_ids"]


def test_gguf_is_converted_once_and_equals_its_weights(tiny_gguf, tmp_path, monkeypatch):
    path, original = tiny_gguf
    monkeypatch.setenv("ICL_OBSERVATORY_STORE", str(tmp_path / "store"))
    (ref,) = list_checkpoints(str(path))
    before = identify_checkpoint(ref)
    assert before.context_length == 256
    loaded = load_checkpoint(ref, dtype="float32")
    ids = torch.tensor([loaded.tokenizer("a fine and funny film.\npositive")["input_ids"]])
    assert ids.tolist() == [[65, 295, 271, 301, 296, 14, 199, 299]]
    torch.testing.assert_close(loaded.model(ids).logits, original(ids).logits, atol=1e-6, rtol=0)
    assert loaded.identity == identify_checkpoint(ref) == before
    (folder,) = (tmp_path / "store" / "converted").iterdir()
    assert folder.name == before.weight_files[0][1]
    monkeypatch.setattr("transformers.AutoTokenizer.save_pretrained", lambda *_: pytest.fail("again"), raising=False)
    renamed = path.rename(path.with_name("other.gguf"))
    again = load_checkpoint(local_checkpoints(renamed)[0], dtype="bfloat16")
    assert again.identity == before and again.model.dtype is torch.bfloat16


def test_damaged_gguf_is_refused(tiny_gguf, tmp_path, monkeypatch):
    path, _ = tiny_gguf
    monkeypatch.setenv("ICL_OBSERVATORY_STORE", str(tmp_path / "store"))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(CheckpointError, match="damaged or cut short"):
        identify_checkpoint(local_checkpoints(path)[0])
    with pytest.raises(CheckpointError, match="damaged or cut short"):
        load_checkpoint(local_checkpoints(path)[0], dtype="float32")
    assert list((tmp_path / "store" / "converted").glob("*")) == []
    path.write_bytes(b"text")
    with pytest.raises(CheckpointError, match="not a GGUF file"):
        identify_checkpoint(local_checkpoints(path)[0])


@pytest.mark.parametrize("dummy_prefix", [True, False])
def test_sentencepiece_vocabulary_of_a_remapped_checkpoint(tiny_run, dummy_prefix):
    """Token ids equal SentencePiece's own, whatever class the checkpoint names."""
    import sentencepiece

    folder = tiny_run / "step-1000"
    text = "the a film is was fine dull long and funny cold positive negative number location what where 12 3"
    words = text.split()
    texts = [" ".join(words[i % 7 :: 1 + i % 3]) + ". " for i in range(300)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=320,
        model_type="bpe",
        byte_fallback=True,
        add_dummy_prefix=dummy_prefix,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        minloglevel=2,
    )
    (folder / "tokenizer.json").unlink()
    own_class = {"tokenizer_class": "BaichuanTokenizer", "auto_map": {"AutoTokenizer": ["t.BaichuanTokenizer", None]}}
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**own_class, **tokens, "add_bos_token": False}))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "baichuan"}))

    tokenizer = load_tokenizer(local_checkpoints(folder)[0])
    expected = sentencepiece.SentencePieceProcessor(str(folder / "tokenizer.model"))
    for text in ("the film was fine.\npositive\n\n\nwhat 123  é\t😀 is", " two  spaces", "\n\n\nnumber ", "a"):
        encoded = tokenizer(text, return_offsets_mapping=True)
        assert encoded["input_ids"] == expected.encode(text)
        assert encoded["offset_mapping"][-1][1] == len(text)
