"""Listing and identity, through the real Hub clients against a server on loopback, and from the cache alone."""

from __future__ import annotations

import re
from typing import Any

import pytest

from icl_core.errors import CheckpointError
from icl_core.models.files import choose_weight_files
from icl_core.models.identity import duplicate_weights
from icl_core.records import CheckpointIdentity, CheckpointRef
from icl_core.registry.families import MODELS, checkpoint_ref
from tests.support.hub_server import HubServer

EARLY = "0,1,2,1000,2000,3000,4000,143000,main"


@pytest.fixture(scope="module")
def online(hub_server: HubServer, ask_hub: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One client process online, then one offline with the server unreachable; both on the same cache."""
    environment = hub_server.environment(tmp_path_factory.mktemp("home"))
    calls = {
        "names": ["names", "pythia-14m", False],
        "alias names": ["names", "amber-7b", False],
        "size before": ["size", "pythia-14m", "step1000", False],
        "duplicates": ["duplicates", "pythia-14m", EARLY, False],
        "shard duplicates": ["duplicates", "amber-7b", "all", False],
        "shared shards": ["shared", "amber-7b", "all", False],
        "no weights": ["identify", "pythia-14m", "step5000", False],
        "no revision": ["identify_revision", "pythia-14m", "step999", False],
        "no repository": ["names", "nobody/nothing", False],
        "identity": ["identify", "pythia-14m", "step1000", False],
        "alias identity": ["identify", "amber-7b", "ckpt_001", False],
        "load": ["load", "pythia-14m", "step1000,step3000,main", False],
        "alias load": ["load", "amber-7b", "ckpt_001", False],
        "size after": ["size", "pythia-14m", "step1000", False],
        "dataset": ["dataset", "example/reviews", "validation", False],
    }
    answers = dict(zip(calls, ask_hub(environment, *calls.values()), strict=True))
    offline = {
        "names": ["names", "pythia-14m", True],
        "alias names": ["names", "amber-7b", True],
        "identity": ["identify", "pythia-14m", "step1000", True],
        "alias identity": ["identify", "amber-7b", "ckpt_001", True],
        "load": ["load", "pythia-14m", "step1000,step3000,main", True],
        "alias load": ["load", "amber-7b", "ckpt_001", True],
        "not cached": ["identify_revision", "pythia-14m", "step2000", True],
        "never seen": ["names", "nobody/nothing", True],
        "down": ["names", "pythia-14m", False],
        "down, cached": ["identify_revision", "pythia-14m", "step1000", False],
    }
    before = len(hub_server.requests)
    unreachable = environment | {"HF_ENDPOINT": "http://127.0.0.1:9"}
    answers["offline"] = dict(zip(offline, ask_hub(unreachable, *offline.values()), strict=True))
    assert len(hub_server.requests) == before
    return answers


def test_lists_what_the_repository_has_by_step(online):
    assert [name for name, _, _ in online["names"]] == [
        *("step0", "step1", "step2", "step1000", "step2000", "step3000", "step4000", "step5000", "step143000", "main")
    ]
    assert online["names"][-1][1] is None
    assert [step for _, step, _ in online["alias names"]] == [0, 1, 2, 359]


def test_identity_tells_commit_and_content(online, hub_server):
    repository = hub_server.repositories["model", "EleutherAI/pythia-14m"]
    identity = online["identity"]["step1000"]
    stored = repository.commits[identity["commit"]]
    assert identity["commit"] == repository.refs["step1000"]
    assert identity["weight_files"] == [["model.safetensors", stored["model.safetensors"].sha256]]
    assert identity["context_length"] == 2048
    amber = online["alias identity"]["ckpt_001"]
    assert amber["commit"] == hub_server.repositories["model", "IFM/Amber"].refs["ckpt_001"]
    assert [name for name, _ in amber["weight_files"]] == [
        "pytorch_model-00001-of-00002.bin",
        "pytorch_model-00002-of-00002.bin",
        "pytorch_model.bin.index.json",
    ]
    assert amber["tokenizer_sha256"] == identity["tokenizer_sha256"]  # same files, though on main only


def test_weights_are_not_downloaded_to_identify(online, hub_server):
    stored = hub_server.repositories["model", "EleutherAI/pythia-14m"].commits[online["identity"]["step1000"]["commit"]]
    assert online["size before"] == [sum(len(stored[name].data) for name in ("config.json", "model.safetensors"))]
    assert online["size after"] == [0]


def test_equal_weights_are_flagged_and_one_equal_shard_is_said(online):
    assert online["duplicates"] == {
        "step2000": "step2000: model.safetensors is the same file as in step4000",
        "step4000": "step4000: model.safetensors is the same file as in step2000",
        "main": "main: model.safetensors is the same file as in step143000",
    }
    assert online["shard duplicates"] == {}
    assert online["shared shards"] == [
        "pytorch_model-00001-of-00002.bin is the same in ckpt_001, ckpt_002 of amber-7b: weights that training leaves "
        "alone, or a wrong upload."
    ]


def test_one_clear_sentence_for_what_is_not_there(online):
    assert online["no weights"]["error"] == "CheckpointError"
    assert "step5000 holds no weights" in online["no weights"]["message"]
    assert online["no revision"]["error"] == "UnknownNameError"
    assert "nearest are step1, step2, step1000" in online["no revision"]["message"]
    assert online["no repository"]["message"] == "nobody/nothing does not exist on the Hub (or is private)."


def test_loads_in_the_dtype_asked_for(online):
    loaded = online["load"]
    assert {entry["dtype"] for entry in (*loaded.values(), *online["alias load"].values())} == {"torch.float32"}
    assert loaded["step1000"]["ids"] == online["alias load"]["ckpt_001"]["ids"]
    assert abs(loaded["step1000"]["sum"] - loaded["step3000"]["sum"]) > 0.1


def test_works_from_the_cache_alone(online):
    offline = online["offline"]
    assert [name for name, _, _ in offline["names"]] == ["step1000", "step3000", "main"]
    assert [name for name, _, _ in offline["alias names"]] == ["ckpt_001"]
    for what in ("identity", "alias identity", "load", "alias load"):
        assert offline[what] == online[what], what
    assert offline["down, cached"] == online["identity"]["step1000"]
    assert "step2000 is not completely in the local cache" in offline["not cached"]["message"]
    assert "nobody/nothing is not in the local cache" in offline["never seen"]["message"]
    assert "the Hub does not answer for EleutherAI/pythia-14m" in offline["down"]["message"]


def test_one_weight_format_is_downloaded(online, hub_server):
    repository = hub_server.repositories["model", "EleutherAI/pythia-14m"]
    main = repository.commits[repository.refs["main"]]
    fetched = [path for method, path in hub_server.requests if method == "GET"]
    assert f"/lfs/{main['model.safetensors'].sha256}" in fetched
    assert f"/lfs/{main['pytorch_model.bin'].sha256}" not in fetched


def test_dataset_in_the_convert_branch_layout(online):
    assert [row["idx"] for row in online["dataset"]] == list(range(12))
    assert online["dataset"][0]["sentence"] == "dull and long number 0"


def _identities(model: str, weights: dict[str, str]) -> dict[CheckpointRef, CheckpointIdentity]:
    return {
        checkpoint_ref(MODELS[model], name): CheckpointIdentity("c" + name, (("model.safetensors", sha),), "t", 2048)
        for name, sha in weights.items()
    }


def test_a_repository_with_final_weights_in_early_branches():
    identities = _identities(
        "pythia-2.8b", {"step0": "A", "step1": "A", "step1000": "A", "step66000": "u", "step143000": "B", "main": "A"}
    )
    identities |= _identities("pythia-2.8b", {"step54000": "B"})
    flagged = {ref.revision for ref in duplicate_weights(identities)}
    assert flagged == {"step0", "step1", "step1000", "step54000"}


def test_expected_equalities_are_not_flagged():
    assert not duplicate_weights(_identities("pythia-14m", {"step0": "z", "step1": "z", "step2": "z"}))
    assert not duplicate_weights({})
    two_models = _identities("pythia-14m", {"step1000": "x"}) | _identities("pythia-31m", {"step1000": "x"})
    assert not duplicate_weights(two_models)


def test_main_is_the_last_step_again_and_leaves_it_in_the_trajectory():
    flagged = duplicate_weights(_identities("pythia-14m", {"step143000": "f", "main": "f"}))
    assert {ref.revision: reason for ref, reason in flagged.items()} == {
        "main": "main: model.safetensors is the same file as in step143000"
    }


def test_shared_index_and_configuration_are_no_duplicates():
    refs = [checkpoint_ref(MODELS["amber-7b"], f"ckpt_00{n}") for n in (4, 5)]
    identities = {
        ref: CheckpointIdentity(
            "", (("config.json", "c"), ("model.safetensors.index.json", "i"), ("s", str(n))), "t", 1
        )
        for n, ref in enumerate(refs)
    }
    assert not duplicate_weights(identities)


def test_a_model_with_two_weight_files_of_one_name_is_not_its_own_duplicate():
    ref = CheckpointRef("local", "run", "step-1", "folder", "/x", 1)
    identity = CheckpointIdentity("", (("a.bin", "same"), ("b.bin", "same")), "t", 8)
    assert not duplicate_weights({ref: identity})


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["model.safetensors", "pytorch_model.bin"], ("model.safetensors",)),
        (["pytorch_model.bin", "config.json"], ("pytorch_model.bin",)),
        (
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"],
            ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"),
        ),
    ],
)
def test_one_complete_format_is_chosen(names, chosen):
    assert choose_weight_files(names, where="x") == chosen


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (["config.json"], "holds no weights"),
        (["model-00001-of-00002.safetensors", "model.safetensors.index.json"], "model-00002-of-00002.safetensors is"),
        (["pytorch_model-00001-of-00001.bin"], "pytorch_model.bin.index.json is missing"),
        (["model.safetensors.index.json", "pytorch_model.bin"], "every shard is missing"),
    ],
)
def test_incomplete_sets_are_refused(names, missing):
    with pytest.raises(CheckpointError, match=re.escape(missing)):
        choose_weight_files(names, where="x")
