"""Checkpoints of one's own: all found, in the order of training, each once, under a name of their own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from icl_core.analysis.competition import competition
from icl_core.errors import CheckpointError, ObservatoryError, StudyError, UnknownNameError
from icl_core.evaluation.choice import choose
from icl_core.evaluation.exclusions import excluded_checkpoints, note_identities
from icl_core.evaluation.store import Store
from icl_core.models.identity import duplicate_weights, shared_files
from icl_core.models.listing import Skipped, listing_of, local_checkpoints, local_listing
from icl_core.records import CheckpointIdentity, CheckpointRef
from icl_core.registry.families import Model, RevisionRule, checkpoint_ref
from icl_core.registry.names import order_question, read_name
from tests.support.own_folders import lay, lay_run, store_results
from tests.support.sentences import assert_one_sentence
from tests.support.tiny_models import save_checkpoint, save_task_file, save_trajectory

Cli = Callable[..., tuple[int, str, str]]
STEPS = ("0", "1000", "2000", "9000", "10000", "20000")


def stored_accuracies(path: Path, in_training: Sequence[str]) -> dict[str, np.ndarray]:
    """By label setting, in the true order of training."""
    found = {(each.revision, each.label_setting): each.accuracy for each in Store.open(path).summaries()}
    settings = ("gold", "random", "abstract")
    return {setting: np.array([found[name, setting] for name in in_training]) for setting in settings}


def chosen(path: Path, choice: str = "all", **options: str) -> tuple[CheckpointRef, ...]:
    return choose([local_listing(path)], [], choice=choice, **options).checkpoints


def question(path: Path) -> str:
    with pytest.raises(StudyError) as caught:
        chosen(path)
    assert_one_sentence(str(caught.value))
    return str(caught.value)


def evaluate(folder: Path, task: Path, *more: object) -> tuple[object, ...]:
    sizes = ("--n-shots", 2, "--n-test", 4, "--seeds", 13, "--device", "cpu", "--offline", "--settings", "gold")
    return ("evaluate", "--model", folder, "--tasks", task, *sizes, *more)


# Order


@pytest.mark.parametrize(
    "named",
    [
        "step-{}",
        "step{:0>6}",
        "{}",
        "{:0>7}",
        "step{}-tokens{}B",
        "iter_{:0>7}",
        "global_step{}",
        "checkpoint-{}-best",
        "ckpt-{}",
        "epoch_{}",
        "epoch=1-step={}.ckpt",
        "my-run_step_{}",
        "{}B-tokens",
    ],
)
@pytest.mark.stands_for("allenai/OLMo#454", "as text step10000 came before step2000: competition 1 of 5 for 3 of 5")
def test_competition_is_the_same_whatever_the_folders_are_called(cli: Cli, tmp_path: Path, named: str) -> None:
    place = {named.format(step, step): index for index, step in enumerate(STEPS)}
    refs = chosen(lay_run(tmp_path / "run", list(place)))
    assert [ref.revision for ref in refs] == list(place)
    store_results(tmp_path / "store", refs, place)
    (row,) = json.loads(cli("compete", "--json", "--replicates", 50)[1])
    accuracy = stored_accuracies(tmp_path / "store", list(place))
    plain = competition(accuracy["random"], accuracy["abstract"], epsilon=0.01)
    assert (row["competing"], row["ratio"]) == ("3 of 5", pytest.approx(plain.ratio))
    assert row["mean_intensity"] == pytest.approx(plain.mean_intensity)
    assert [row[name] for name in ("icl", "tr", "tl")] == [accuracy[s][-1] for s in ("gold", "random", "abstract")]


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (("epoch_1", "step500"), "epoch_1 counts epochs and step500 counts steps"),
        (("step1000", "step2000", "final"), "final tells no step"),
        (("1B", "2B", "7B"), "1B and 2B and 7B tell no step"),
        (("v1", "v10", "v2"), "tell no step"),
        (("checkpoint-1000", "step1000"), "are all at step 1,000 and differ"),
        (("runA-step1", "runB-step2"), "look like different runs"),
        (("stage1-step2000", "stage2-step1000"), "look like different runs"),
        (("step1000-tokens4B", "step2000-tokens2B"), "comes before step2000-tokens2B by step and after it by tokens"),
        (("step_1_000", "step_2_000"), "tell no step"),
        (("checkpoint-3-step-10", "checkpoint-1-step-20"), "tell no step"),
        (("20240131", "20240201"), "tell no step"),
    ],
)
@pytest.mark.stands_for("allenai/OLMo#454", "names that tell no order were ordered as text, silently")
def test_a_doubtful_order_is_asked_and_an_answer_holds(tmp_path: Path, names: Sequence[str], why: str) -> None:
    run = lay_run(tmp_path / "run", names)
    asked = question(run)
    assert why in asked and "--order" in asked
    answered = chosen(run, order=",".join(reversed(names)))
    assert [(ref.revision, ref.step) for ref in answered] == [(name, i) for i, name in enumerate(reversed(names), 1)]
    assert order_question(answered) is None
    assert len(chosen(run, f"{names[0]},")) == 1, "one alone needs no order"
    assert chosen(run, order=",".join(reversed(names)), choice="1") == answered[-1:]


@pytest.mark.stands_for("allenai/OLMo#454", "the order was known to the process that asked, and to no other")
def test_an_answer_holds_for_results_and_for_the_next_process(cli: Cli, tmp_path: Path) -> None:
    names = ("late", "early", "middle")
    for seed, name in enumerate(names):
        save_checkpoint(tmp_path / "run" / name, seed=seed)
    task = save_task_file(tmp_path / "own.jsonl")
    code, _, errors = cli(*evaluate(tmp_path / "run", task))
    assert code == 2 and "tell no step" in errors
    assert_one_sentence(errors.strip())
    code, output, _ = cli(*evaluate(tmp_path / "run", task, "--order", "early,middle,late", "--json"))
    assert code == 0 and json.loads(output)["n_computed"] == 3
    assert shown(cli) == ["early", "middle", "late"]
    code, output, _ = cli(*evaluate(tmp_path / "run", task, "--json"))
    assert code == 0 and json.loads(output)["n_stored"] == 3, "the order that was given holds"
    code, output, _ = cli(*evaluate(tmp_path / "run", task, "--order", "middle,early,late", "--json"))
    assert (json.loads(output)["n_computed"], code) == (0, 0)
    assert shown(cli)[:3] == ["middle", "early", "late"], "the order that was given last holds"
    code, _, errors = cli(*evaluate(tmp_path / "run", task, "--order", "late,early"))
    assert code == 2 and "middle of run is stored at 1 of another order; choose it too" in errors


def shown(cli: Cli) -> list[str]:
    return [row["revision"] for row in json.loads(cli("results", "--json")[1])["results"]]


@pytest.mark.stands_for("allenai/OLMo#454", "two results of one step stood in one curve")
def test_results_stored_in_no_certain_order_make_no_curve(cli: Cli, tmp_path: Path) -> None:
    run = lay_run(tmp_path / "run", ("final", "best"))
    store_results(tmp_path / "store", local_checkpoints(run), {"final": 1, "best": 0})
    _, output, errors = cli("compete", "--json")
    (row,) = json.loads(output)
    assert row["model"] == "run" and "tell no step" in row["left_out"][0] and "tell no step" in errors
    assert "tell no step" in cli("results")[1]


@pytest.mark.stands_for("allenai/OLMo#454", "branches step1000-tokens4B of a repository that no registry knows")
def test_branches_of_unknown_repositories_follow_the_same_names() -> None:
    model = Model("a/b", "hub", "a/b", RevisionRule(None), "https://huggingface.co/a/b")
    refs = [checkpoint_ref(model, name) for name in ("step10000-tokens42B", "step2000-tokens8B", "main")]
    assert [(ref.step, ref.tokens_seen) for ref in refs[:2]] == [(10_000, 42 * 10**9), (2000, 8 * 10**9)]
    assert refs[2].step is None and "main tells no step" in (order_question(refs) or "")
    assert order_question(refs[:2]) is None


@pytest.mark.stands_for("k2-fsa/icefall#668", "numbers that are no steps were read as steps")
def test_numbers_that_are_no_steps_are_not_read() -> None:
    for name in (
        "llama-7b",
        "gpt2",
        "seed1",
        "opt-125m",
        "rank_0",
        "step1e4",
        "step1.5",
        "9" * 300,
        "step" + "9" * 200,
    ):
        assert read_name(name) is None, name


@pytest.mark.stands_for("allenai/open-instruct#542", "a folder of GGUF files was no model at all")
def test_gguf_files_of_one_run_are_its_checkpoints(tmp_path: Path) -> None:
    for step in (10_000, 2_000):
        (tmp_path / f"tiny-step{step}.gguf").write_bytes(b"GGUF")
    refs = chosen(tmp_path)
    assert [(ref.step, ref.model, ref.source) for ref in refs] == [(2000, "tiny", "gguf"), (10_000, "tiny", "gguf")]
    assert local_checkpoints(tmp_path / "tiny-step2000.gguf") == refs[:1]
    (tmp_path / "other-step3000.gguf").write_bytes(b"GGUF")
    assert "look like different runs" in question(tmp_path)


# The trainer's folder


@pytest.mark.stands_for("transformers#19241", "of a trainer's folder only the model in its root was seen")
def test_a_final_model_in_the_root_is_one_of_the_checkpoints(tmp_path: Path) -> None:
    run = lay(lay_run(tmp_path / "run", ("checkpoint-500", "checkpoint-1000")), 7, step=1500)
    assert [(ref.revision, ref.step) for ref in chosen(run)] == [
        ("checkpoint-500", 500), ("checkpoint-1000", 1000), (".", 1500)
    ]  # fmt: skip
    (run / "trainer_state.json").unlink()
    assert "the folder itself tells no step" in question(run)
    assert [ref.step for ref in chosen(run, order="checkpoint-500,checkpoint-1000,.")] == [1, 2, 3]


@pytest.mark.stands_for("transformers#19241", "the root holds the last checkpoint again, or the best one")
def test_a_root_that_repeats_a_checkpoint_is_left_out_and_said(tmp_path: Path) -> None:
    run = lay(lay_run(tmp_path / "run", ("checkpoint-500", "checkpoint-1000")), 2)
    assert [ref.step for ref in chosen(run)] == [500, 1000]
    assert local_listing(run).skipped == (Skipped("the folder itself", "it holds the same weights as checkpoint-1000"),)
    lay(run, 1, step=1000, best="run/checkpoint-500")
    assert "as checkpoint-500" in local_listing(run).skipped[0].reason
    lay(run, 9, step=1500, best="run/checkpoint-700")
    assert "the last weights (step 1500) or the best ones (checkpoint-700)" in question(run)


@pytest.mark.stands_for("transformers#19241", "the trainer's own record contradicted the folder's name")
def test_a_name_that_the_trainers_state_contradicts_is_asked(tmp_path: Path) -> None:
    run = lay_run(tmp_path / "run", ("checkpoint-500", "checkpoint-1000"))
    lay(run / "checkpoint-500", 1, step=700)
    assert "its name says step 500 and its trainer_state.json says 700" in question(run)
    lay(run / "checkpoint-500", 1, step=500)
    assert [ref.step for ref in chosen(run)] == [500, 1000]


@pytest.mark.stands_for("hiyouga/LlamaFactory#1860", "tmp-checkpoint-500 stayed behind after a kill")
def test_folders_that_hold_no_whole_model_are_named(cli: Cli, tmp_path: Path) -> None:
    run = save_trajectory(tmp_path / "run", (1, 2))
    lay(run / "tmp-checkpoint-3")
    (lay(run / "checkpoint-4") / "model.safetensors").unlink()
    (run / "global_step5").mkdir()
    (run / "global_step5" / "mp_rank_00_model_states.pt").write_bytes(b"x")
    (lay(run / "step-6") / "config.json").write_text("{cut")
    shards = lay(run / "step-7")
    (shards / "model.safetensors").rename(shards / "model-00001-of-00002.safetensors")
    (run / "step-8").mkdir()
    (run / "step-8" / "adapter_model.safetensors").write_bytes(b"x")
    (run / "latest").symlink_to(run / "step-9")
    (run / "logs").mkdir()
    words = {
        "tmp-checkpoint-3": "half-written", "checkpoint-4": "holds no weights", "global_step5": "optimizer",
        "step-6": "damaged", "step-7": "is missing", "step-8": "an adapter", "latest": "a link to nothing",
    }  # fmt: skip
    task = save_task_file(tmp_path / "own.jsonl")
    for command in (evaluate(run, task, "--dry-run", "--json"), evaluate(run, task, "--json")):
        code, output, errors = cli(*command)
        told = {each["name"]: each["reason"] for each in json.loads(output)["left_out"]}
        assert code == 0 and told.keys() == words.keys()
        assert all(words[name] in told[name] and f"{name} is left out: " in errors for name in words)
    assert "checkpoint-4 is left out" in cli("families", "--family", run)[2]
    with pytest.raises(UnknownNameError, match="step-8 cannot be chosen: it holds an adapter"):
        chosen(run, "step-8,")


# Doubles


@pytest.mark.stands_for("transformers#19241", "best was checkpoint-1000 again and took both out of the curve")
def test_a_copy_leaves_the_one_with_the_step(tmp_path: Path) -> None:
    run = lay_run(tmp_path / "run", ("checkpoint-500", "checkpoint-1000"))
    shutil.copytree(run / "checkpoint-1000", run / "best")
    shutil.copytree(run / "checkpoint-1000", run / "checkpoint-1000-best")
    (run / "last").symlink_to(run / "checkpoint-1000")
    assert [ref.revision for ref in chosen(run)] == ["checkpoint-500", "checkpoint-1000"]
    skipped = local_listing(run).skipped
    assert {each.name for each in skipped} == {"best", "checkpoint-1000-best", "last"}
    assert {each.reason for each in skipped} == {"it holds the same weights as checkpoint-1000"}
    lay(run / "best", 9)
    assert "best tells no step" in question(run), "other weights by now"


def ref_at(name: str, step: int | None) -> CheckpointRef:
    return CheckpointRef("local", "run", name, "folder", "/somewhere/run", step)


def found(*shards: str) -> CheckpointIdentity:
    files = tuple((f"model-{i}.safetensors", shard) for i, shard in enumerate(shards))
    return CheckpointIdentity("", files, "t", 8)


@pytest.mark.stands_for("EleutherAI/pythia#206", "frozen embeddings in a shard of their own emptied the curve")
def test_one_equal_shard_is_said_and_all_equal_shards_are_a_double() -> None:
    one, two, copy = ref_at("step-1", 1), ref_at("step-2", 2), ref_at("best", None)
    frozen = {one: found("frozen", "a"), two: found("frozen", "b")}
    assert duplicate_weights(frozen) == {}
    (said,) = shared_files(frozen)
    assert said.startswith("model-0.safetensors is the same in step-1, step-2 of run")
    assert duplicate_weights(frozen | {copy: found("frozen", "b")}) == {
        copy: "best: every weight file is the same as in step-2"
    }
    wrong = {one: found("a"), two: found("a"), copy: found("a")}
    assert set(duplicate_weights(wrong)) == set(wrong), "whose they are cannot be told"


@pytest.mark.stands_for("EleutherAI/pythia#205", "compete left checkpoints out without a word")
def test_every_command_says_what_it_leaves_out(cli: Cli, tmp_path: Path) -> None:
    run = lay_run(tmp_path / "run", ("step-1", "step-2", "step-3", "step-4"))
    refs = chosen(run)
    store_results(tmp_path / "store", refs, {ref.revision: index for index, ref in enumerate(refs)})
    store = Store.open(tmp_path / "store")
    note_identities(store, {refs[0]: found("a"), refs[1]: found("b"), refs[2]: found("b"), refs[3]: found("c")})
    store.close()
    (row,) = json.loads(cli("compete", "--json", "--replicates", 20)[1])
    assert len(row["left_out"]) == 2 and row["competing"].endswith("of 1")
    for command in (("compete", "--replicates", 20), ("results",)):
        assert "step-2: model-0.safetensors is the same file as in step-3" in cli(*command)[1]
    code, output, errors = cli(
        "fuse", "--tr", "run", "--tr-checkpoint", "step-1", "--tl-checkpoint", "step-4", "--json"
    )
    assert code == 0, errors
    assert len(json.loads(output)["left_out"]) == 2 and "step-3: " in errors


# Names of models


@pytest.mark.stands_for(
    "huggingface/lighteval#1339", "alice/checkpoints and bob/checkpoints were one model, checkpoints"
)
def test_folders_of_one_name_are_told_apart_before_anything_is_computed(tmp_path: Path) -> None:
    paths = [lay_run(tmp_path / who / "checkpoints", ("step-1", "step-2")) for who in ("alice", "bob")]
    both = choose([local_listing(path) for path in paths], [], choice="all").checkpoints
    assert list(dict.fromkeys(ref.model for ref in both)) == ["alice/checkpoints", "bob/checkpoints"]
    runs = [lay_run(tmp_path / who / "run", ("step-1", "step-2")) for who in ("alice", "bob")]
    first = choose([local_listing(runs[0])], [], choice="all").checkpoints
    later = choose([local_listing(runs[1])], first, choice="all").checkpoints
    assert (first[0].model, later[0].model) == ("run", "bob/run")
    again = choose([local_listing(run) for run in runs], [*first, *later], choice="all").checkpoints
    assert {ref.model for ref in again} == {"run", "bob/run"}, "names once stored stay"
    with pytest.raises(StudyError, match="The name run belongs to"):
        choose([local_listing(runs[1])], first, choice="all", name="run")
    published = lay_run(tmp_path / "pythia-70m", ("step-1", "step-2"))
    assert chosen(published)[0].model.endswith("/pythia-70m")


@pytest.mark.stands_for("huggingface/lighteval#1339", "two models were both called snapshots")
def test_snapshots_of_the_hubs_cache_have_their_repositorys_name(tmp_path: Path) -> None:
    shas = "a" * 40, "b" * 40
    for repository, sha in zip(("models--x--one", "models--x--two"), shas, strict=True):
        lay(tmp_path / repository / "snapshots" / sha)
    names = [
        chosen(tmp_path / repository / "snapshots" / sha)[0].model
        for repository, sha in zip(("models--x--one", "models--x--two"), shas, strict=True)
    ]
    assert names == [f"models--x--one/snapshots/{shas[0]}", f"models--x--two/snapshots/{shas[1]}"]
    lay(tmp_path / "models" / "gpt2"), lay(tmp_path / "models" / "opt")
    assert [chosen(tmp_path / "models" / name)[0].model for name in ("gpt2", "opt")] == ["gpt2", "opt"]


@pytest.mark.stands_for("stanford-crfm/helm#1356", "a renamed folder lost its results, or was computed again")
def test_moved_and_renamed_models_keep_their_results(cli: Cli, tmp_path: Path) -> None:
    run = save_trajectory(tmp_path / "alice" / "run", (1, 2))
    task = save_task_file(tmp_path / "own.jsonl")
    assert json.loads(cli(*evaluate(run, task, "--json"))[1])["n_computed"] == 2
    shutil.copytree(run, tmp_path / "bob" / "run")
    moved = run.rename(tmp_path / "alice" / "run2")
    for more in ((moved,), (tmp_path / "bob" / "run",)):
        assert json.loads(cli(*evaluate(*more, task, "--json"))[1])["n_computed"] == 0
    assert json.loads(cli(*evaluate(moved, task, "--name", "mine", "--json"))[1])["n_computed"] == 0
    rows = json.loads(cli("results", "--json")[1])["results"]
    by_model = {name: [row["accuracy"] for row in rows if row["model"] == name] for name in dict.fromkeys(
        row["model"] for row in rows)}  # fmt: skip
    assert set(by_model) == {"run", "run2", "bob/run", "mine"}
    assert len({tuple(values) for values in by_model.values()}) == 1 and len(by_model["mine"]) == 2
    assert cli("results", "--model", "mine", "--json")[0] == 0


@pytest.mark.stands_for("huggingface/lighteval#1339", "results of two folders under one name locked each other out")
def test_results_of_two_folders_under_one_name_are_shown_apart(cli: Cli, tmp_path: Path) -> None:
    for who in ("alice", "bob"):
        refs = local_checkpoints(lay_run(tmp_path / who / "run", ("step-1", "step-2")))
        store_results(tmp_path / "store", refs, {"step-1": 0, "step-2": 1})
    rows = json.loads(cli("compete", "--json", "--replicates", 20)[1])
    assert {row["model"] for row in rows} == {f"run ({tmp_path / who / 'run'})" for who in ("alice", "bob")}
    assert len(json.loads(cli("results", "--json")[1])["results"]) == 12


@pytest.mark.parametrize("name", ["", "a" * 300, "run\n", "a//b", "../x", "x\\y", "a\u202eb", " x", "pythia-70m", "/x"])
@pytest.mark.stands_for("CVE-2021-42574", "a name turned the sentence around in which it stood")
def test_names_that_cannot_be_kept_or_are_taken_are_refused(tmp_path: Path, name: str) -> None:
    run = lay_run(tmp_path / "run", ("step-1", "step-2"))
    if not name:
        assert chosen(run, name=name)[0].model == "run"
        return
    with pytest.raises(StudyError) as caught:
        chosen(run, name=name)
    assert_one_sentence(str(caught.value))


@pytest.mark.parametrize("name", [b"run\xff", "run\u202egnp".encode(), b"run\x07", b"run\nx"])
@pytest.mark.stands_for("samschott/maestral#230", "a folder that is not UTF-8 was scored, then refused as a full disk")
def test_folders_whose_names_cannot_be_kept_are_refused_at_the_door(cli: Cli, tmp_path: Path, name: bytes) -> None:
    bad = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    lay_run(bad, ("step-1", "step-2"))
    code, output, errors = cli(*evaluate(bad, save_task_file(tmp_path / "own.jsonl")))
    assert (code, output) == (2, "") and "cannot be used" in errors
    assert_one_sentence(errors.strip())
    run = lay_run(tmp_path / "good", ("step-1", "step-2"))
    bad.rename(run / bad.name)
    lay(run / bad.name)
    assert len(chosen(run)) == 2 and "its name cannot be used" in local_listing(run).skipped[0].reason


@pytest.mark.parametrize("name", ["own\udcff.jsonl", "own\u202ecsv.jsonl", "own\0.jsonl"])
@pytest.mark.stands_for("samschott/maestral#230", "a task that is not UTF-8 was scored, then refused as a full disk")
def test_task_files_whose_names_cannot_be_kept_are_refused_at_the_door(cli: Cli, tmp_path: Path, name: str) -> None:
    run = lay_run(tmp_path / "run", ("step-1", "step-2"))
    code, output, errors = cli(*evaluate(run, tmp_path / name))
    assert (code, output) == (2, "") and ("cannot be used" in errors or "no name can hold" in errors)
    assert_one_sentence(errors.strip())


@pytest.mark.stands_for("samschott/maestral#230", "a NUL in a path ended in a bare exception")
def test_a_path_with_nul_is_refused_in_one_sentence(tmp_path: Path) -> None:
    for ask in (
        lambda: listing_of("a\0b"),
        lambda: local_listing(Path("a\0b")),
        lambda: local_listing(Path("~nouser")),
    ):
        with pytest.raises(ObservatoryError) as caught:
            ask()
        assert_one_sentence(str(caught.value))


@pytest.mark.stands_for("transformers#19241", "old results under no step stood beside the same under a step")
def test_a_checkpoint_stored_under_an_older_reading_gives_way(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    old, new = ref_at("epoch_10", None), ref_at("epoch_10", 10)
    assert set(excluded_checkpoints(store, [old, new])) == {old}
    assert excluded_checkpoints(store, [old]) == {}
    note_identities(store, {new: found("a")})
    assert "another place in the order" in excluded_checkpoints(store, [old])[old]
    store.close()


@pytest.mark.stands_for("transformers#19241", "a folder without a model was called no error")
def test_a_path_without_a_checkpoint_says_what_lies_there(tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoint-5").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="checkpoint-5 is left out: it is empty or half-written") as caught:
        local_listing(tmp_path / "run")
    assert "give a folder with config.json" in str(caught.value)
