"""The registry: worked examples from the model cards, consistency, and choosing checkpoints."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter

import pytest

from icl_core.errors import StudyError, UnknownNameError
from icl_core.registry.families import (
    FAMILIES,
    MODELS,
    checkpoint_faults,
    checkpoint_ref,
    choose_checkpoints,
    get_family,
    get_model,
    known_checkpoints,
    model_of_repository,
)


@pytest.mark.parametrize(
    ("model", "name", "step", "tokens"),
    [
        ("pythia-410m", "step82000", 82_000, 171_966_464_000),
        ("amber-7b", "ckpt_356", 356, 1_249_500_000_000),
        ("amber-7b", "main", 359, 1_260_000_000_000),
        ("k2-65b", "ckpt_360", 360, 1_404_000_000_000),
        ("crystalcoder-7b", "CrystalCoder_phase1_checkpoint_055500", 55_500, 240_058_368_000),
        ("crystalcoder-7b", "CrystalCoder_phase3_checkpoint_027728", 321_836, 1_392_061_710_336),
        ("crystalcoder-7b", "CrystalCoder_phase2_checkpoint_214387", 294_108, 294_108 * 4_325_376),
        ("crystalcoder-7b", "mdl_phase1_step_1500", None, None),
        ("baichuan2-7b", "train_01100B", 1100, 1_100_000_000_000),
        ("baichuan2-7b", "main", 2600, 2_600_000_000_000),
        ("olmo-7b", "step452000-tokens2000B", 452_000, 2_000_000_000_000),
        ("olmo2-1b", "stage1-step10000-tokens21B", 10_000, 21_000_000_000),
        ("olmo2-1b", "stage2-ingredient3-step23852-tokens51B", None, None),
        ("olmo3-7b", "stage1-step1413814", 1_413_814, 5_929_965_715_456),
        ("smollm2-135m", "step-240000", 240_000, 251_658_240_000),
        ("smollm3-3b", "stage3-step-4720000", 4_720_000, 11_135_877_120_000),
        ("tinyllama-1.1b", "step-480k-token-1007B", 1007, 1_007_000_000_000),
        ("minicpm-2b", "pytorch_model.260000", 260_000, 260_000 * 3_930_000),
        ("apertus-8b", "step2627139-tokens15T", 2_627_139, 15_000_000_000_000),
        ("lucie-7b", "step0050000", 50_000, None),
        ("bloom-560m", "global_step1000", 1000, None),
        ("pythia-410m", "main", None, None),
    ],
)
def test_names_tell_step_and_tokens_by_repository(model, name, step, tokens):
    ref = checkpoint_ref(get_model(model), name)
    assert (ref.step, ref.tokens_seen) == (step, tokens)


def test_pythia_has_154_checkpoints_and_the_papers_17():
    model = get_model("pythia-2.8b")
    refs = known_checkpoints(model)
    assert len(refs) == 154
    assert [ref.revision for ref in refs[:12]] == [f"step{n}" for n in (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)]
    grid = [ref.step for ref in choose_checkpoints(refs, "paper")]
    # every 26000 / 3 steps from half a gap on, floored to 1000
    assert grid == [int((k + 0.5) * 26_000 / 3) // 1000 * 1000 for k in range(17)]


def test_minicpm_checkpoints_are_files_on_main():
    refs = choose_checkpoints(known_checkpoints(get_model("minicpm-2b")), "paper")
    assert [ref.step for ref in refs] == list(range(30_000, 350_001, 20_000))
    assert len(refs) == 17
    assert {(ref.revision, ref.remap) for ref in refs} == {("main", "minicpm_to_granite")}
    assert refs[0].weight_file == "pytorch_model.30000"


def test_known_faults_of_pythia():
    refs = known_checkpoints(get_model("pythia-2.8b"))
    faulty = {ref.step for ref in refs if checkpoint_faults(ref)}
    assert len(faulty) == 76 + 10 - 1  # step143000 shares a file too, but holds what it should
    assert min(ref.step for ref in refs if ref.step not in faulty) == 66_000
    on_grid = [ref.step for ref in choose_checkpoints(refs, "paper") if checkpoint_faults(ref)]
    assert on_grid == [4000, 13_000, 21_000, 30_000, 39_000, 47_000, 56_000, 65_000]
    assert "issues/206" in (checkpoint_faults(checkpoint_ref(get_model("pythia-12b"), "step58000")) or "")
    assert checkpoint_faults(checkpoint_ref(get_model("pythia-410m"), "step58000")) is None
    assert "no weights" in (checkpoint_faults(checkpoint_ref(get_model("pythia-410m-seed9"), "step40000")) or "")


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_entries_are_consistent(model):
    refs = known_checkpoints(model)
    steps = [ref.step for ref in refs]
    assert None not in steps
    assert steps == sorted(set(steps))
    assert len({(ref.location, ref.revision, ref.weight_file) for ref in refs}) == len(refs)
    tokens = [ref.tokens_seen for ref in refs if ref.tokens_seen is not None]
    assert tokens == sorted(tokens)
    assert set(model.paper_steps) <= set(steps)
    assert all(set(fault.steps) <= set(steps) or not model.complete for fault in model.faults)
    assert model.url.startswith("https://")
    assert model.name in get_family(model.family).models
    bounds = [bound for phase in model.phases for bound in (phase.start_step, phase.end_step)]
    assert bounds == sorted(bounds)
    assert model.n_parameters is None or model.n_parameters > 10**7


def test_no_repository_or_name_occurs_twice():
    counts = Counter(place for model in MODELS.values() for place in (model.name, model.location, *model.aliases))
    assert [place for place, count in counts.items() if count > 1] == []
    assert model_of_repository("IFM/Amber") is get_model("amber-7b")
    assert model_of_repository("someone/else") is None


def test_families_of_the_paper():
    assert {name for name, family in FAMILIES.items() if family.in_paper} == {
        *("pythia", "minicpm", "amber", "crystalcoder", "olmo", "baichuan2")
    }
    assert all(family.url.startswith("https://") and family.licence for family in FAMILIES.values())
    assert {name for name, family in FAMILIES.items() if not family.models} == {"tiny", "lab", "local", "hub", "fused"}


def test_unknown_names_list_the_known():
    with pytest.raises(UnknownNameError, match="pythia, minicpm"):
        get_family("phytia")
    with pytest.raises(UnknownNameError, match=re.escape("pythia-410m")):
        get_model("pythia410m")


REFS = known_checkpoints(get_model("pythia-14m"))


def test_choose_all_and_by_count():
    assert choose_checkpoints(REFS, "all") == REFS
    chosen = choose_checkpoints(REFS, "5")
    assert [chosen[0].step, chosen[-1].step, len(chosen)] == [0, 143_000, 5]
    assert choose_checkpoints(REFS, "154") == REFS
    assert choose_checkpoints(REFS, "1") == REFS[-1:]
    assert [ref.step for ref in choose_checkpoints(REFS, "1000")] == [1000]


def test_choose_by_equal_ratios_keeps_both_ends():
    chosen = [ref.step for ref in choose_checkpoints(REFS, "log 9")]
    assert chosen == [0, 4, 16, 64, 512, 2000, 7000, 32_000, 143_000]
    assert len(choose_checkpoints(REFS, "log 30")) < 30
    assert choose_checkpoints(REFS, "log 1") == REFS[-1:]
    own = tuple(ref for ref in REFS if ref.step in (0, 1, 2, 4, 8, 16, 32, 64))
    assert [ref.step for ref in choose_checkpoints(own, "log 4")] == [0, 4, 16, 64]
    faulty = known_checkpoints(get_model("pythia-2.8b"))
    assert not any(checkpoint_faults(ref) for ref in choose_checkpoints(faulty, "log 17"))


def test_a_count_passes_over_known_faults():
    refs = known_checkpoints(get_model("pythia-2.8b"))
    chosen = choose_checkpoints(refs, "17")
    assert len(set(chosen)) == 17
    assert not any(checkpoint_faults(ref) for ref in chosen)


def test_choose_by_step_or_name_in_order():
    assert [ref.step for ref in choose_checkpoints(REFS, "step2000, 512,step1000 ,512")] == [512, 1000, 2000]
    minicpm = known_checkpoints(get_model("minicpm-2b"))
    assert [ref.step for ref in choose_checkpoints(minicpm, "pytorch_model.20000,10000")] == [10_000, 20_000]


def test_paper_choice_takes_the_nearest_of_what_is_listed():
    model = get_model("pythia-14m")
    assert choose_checkpoints(REFS, "paper") == choose_checkpoints(known_checkpoints(model), "paper")
    few = tuple(ref for ref in REFS if ref.step in (0, 3000, 100_000))
    assert [ref.step for ref in choose_checkpoints(few, "paper")] == [3000, 100_000]
    amber = known_checkpoints(get_model("amber-7b"))
    assert len(choose_checkpoints(amber, "paper")) == 17


@pytest.mark.parametrize(
    ("choice", "error", "words"),
    [
        ("4001,5000", UnknownNameError, "nearest are step3000, step4000, step5000"),
        ("step4001", UnknownNameError, "step4000"),
        ("mian", UnknownNameError, "nearest are"),
        ("0", StudyError, "at least 1"),
        ("155", StudyError, "154"),
        ("log 0", StudyError, "at least 1"),
        ("log x", UnknownNameError, "nearest are"),
        (",", StudyError, "No checkpoint is named"),
    ],
)
def test_choices_that_cannot_be_met(choice, error, words):
    with pytest.raises(error, match=words):
        choose_checkpoints(REFS, choice)


def test_nothing_to_choose_from():
    with pytest.raises(StudyError, match="no checkpoints"):
        choose_checkpoints((), "all")


def test_checkpoints_without_a_step_are_taken_by_name_only():
    main = checkpoint_ref(get_model("pythia-14m"), "main")
    refs = (*REFS, main)
    assert main not in choose_checkpoints(refs, "all")
    assert choose_checkpoints(refs, "main") == (main,)


def test_imports_nothing_heavy():
    code = (
        "import sys, icl_core.registry.families, icl_core.models.identity\n"
        "heavy = {'torch', 'transformers', 'huggingface_hub', 'gguf', 'httpx2'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
