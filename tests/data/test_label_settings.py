import string
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icl_core.data.label_settings import SYMBOLS, abstract_symbols, choose_demonstrations, random_label_indices
from icl_core.errors import StudyError

seeds = st.integers(min_value=0, max_value=2**63 - 1)
names = st.text(min_size=1, max_size=20)
ALPHABETS = {"symbols": set(SYMBOLS), "numbers": None, "letters": set(string.ascii_uppercase)}

DRAWS = """
from icl_core.data.label_settings import *
print(choose_demonstrations("sst2", [0, 1] * 5000, n_shots=4, demo_seed=13),
      choose_demonstrations("trec", [0, 1, 2] * 50, n_shots=4, demo_seed=21, sampling="balanced"),
      random_label_indices("sst2", n_labels=6, n_shots=8, demo_seed=13),
      abstract_symbols("sst2", n_labels=6, demo_seed=13),
      abstract_symbols("sst2", n_labels=6, alphabet="letters", demo_seed=13),
      abstract_symbols("sst2", n_labels=4, alphabet="numbers", demo_seed=42))
"""
PINNED = (
    "(2740, 4682, 7668, 7141) "
    "(26, 18, 40, 12) "
    "(3, 5, 4, 5, 5, 0, 5, 2) "
    "('^', '%', '{', '@', '}', '#') "
    "('A', 'V', 'I', 'M', 'R', 'H') "
    "('1', '0', '3', '2')"
)


@pytest.mark.parametrize("hash_seed", ["0", "1", "random"])
def test_draws_are_pinned_whatever_the_hash_seed(hash_seed: str):
    environment = {"PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", DRAWS], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == PINNED


def test_draws_of_this_process_are_the_pinned_ones(capsys: pytest.CaptureFixture[str]):
    exec(DRAWS, {})
    assert capsys.readouterr().out.strip() == PINNED


@given(name=names, seed=seeds, n_labels=st.integers(1, 8), alphabet=st.sampled_from(sorted(ALPHABETS)))
def test_abstract_symbols_are_distinct_symbols_of_the_alphabet(name, seed, n_labels, alphabet):
    symbols = abstract_symbols(name, n_labels=n_labels, alphabet=alphabet, demo_seed=seed)
    allowed = ALPHABETS[alphabet] or {str(i) for i in range(n_labels)}
    assert len(set(symbols)) == len(symbols) == n_labels
    assert set(symbols) <= allowed


@pytest.mark.parametrize(("alphabet", "n_symbols"), [("symbols", 8), ("letters", 26)])
def test_more_labels_than_symbols_names_alphabet_and_both_counts(alphabet, n_symbols):
    assert len(abstract_symbols("t", n_labels=n_symbols, alphabet=alphabet, demo_seed=0)) == n_symbols
    with pytest.raises(StudyError, match=rf"{n_symbols + 1} labels .* alphabet {alphabet} has {n_symbols} symbols"):
        abstract_symbols("t", n_labels=n_symbols + 1, alphabet=alphabet, demo_seed=0)
    with pytest.raises(StudyError, match=r"; choose the alphabet numbers or a task with fewer labels\.$"):
        abstract_symbols("t", n_labels=n_symbols + 1, alphabet=alphabet, demo_seed=0)
    assert len(abstract_symbols("t", n_labels=n_symbols + 1, alphabet="numbers", demo_seed=0)) == n_symbols + 1


@given(name=names, seed=seeds, n_pool=st.integers(1, 60), data=st.data())
def test_uniform_demonstrations_are_distinct_nested_and_blind_to_labels(name, seed, n_pool, data):
    n_shots = data.draw(st.integers(0, n_pool))
    chosen = choose_demonstrations(name, [0] * n_pool, n_shots=n_shots, demo_seed=seed)
    assert len(set(chosen)) == n_shots and set(chosen) <= set(range(n_pool))
    everything = choose_demonstrations(name, list(range(n_pool)), n_shots=n_pool, demo_seed=seed)
    assert everything[:n_shots] == chosen


@settings(max_examples=50)
@given(seed=seeds, counts=st.lists(st.integers(6, 12), min_size=2, max_size=6), n_shots=st.integers(0, 12))
def test_balanced_demonstrations_differ_by_at_most_one(seed, counts, n_shots):
    pool = [label for label, count in enumerate(counts) for _ in range(count)]
    chosen = choose_demonstrations("t", pool, n_shots=n_shots, demo_seed=seed, sampling="balanced")
    shares = Counter(pool[i] for i in chosen)
    assert len(set(chosen)) == n_shots
    assert max(shares[label] for label in range(len(counts))) - min(shares[i] for i in range(len(counts))) <= 1


def test_too_few_rows_for_the_shots():
    with pytest.raises(StudyError, match="3 rows for demonstrations, fewer than the 4 shots"):
        choose_demonstrations("t", [0, 1, 0], n_shots=4, demo_seed=0)
    with pytest.raises(StudyError, match=r"Task t has 1 rows of label 1 .* needs 2"):
        choose_demonstrations("t", [0, 0, 0, 0, 1], n_shots=4, demo_seed=0, sampling="balanced")
    for sampling in ("uniform", "balanced"):
        assert choose_demonstrations("t", [], n_shots=0, demo_seed=0, sampling=sampling) == ()


@given(name=names, seed=seeds, n_labels=st.integers(1, 30))
def test_random_labels_are_in_range_and_nested(name, seed, n_labels):
    many = random_label_indices(name, n_labels=n_labels, n_shots=40, demo_seed=seed)
    assert set(many) <= set(range(n_labels))
    assert random_label_indices(name, n_labels=n_labels, n_shots=16, demo_seed=seed) == many[:16]


def test_random_labels_are_uniform():
    counts = Counter(random_label_indices("t", n_labels=4, n_shots=40_000, demo_seed=7))
    chi_square = sum((count - 10_000) ** 2 / 10_000 for count in counts.values())
    assert chi_square < 16.3  # 99.9 % point of the chi-square distribution with 3 degrees of freedom


def test_streams_do_not_depend_on_each_other_or_on_order():
    def draw(kind: int) -> object:
        return (
            lambda: choose_demonstrations("t", [0, 1] * 20, n_shots=9, demo_seed=3),
            lambda: random_label_indices("t", n_labels=5, n_shots=9, demo_seed=3),
            lambda: abstract_symbols("t", n_labels=5, demo_seed=3),
        )[kind]()

    forwards = [draw(kind) for kind in (0, 1, 2)]
    backwards = [draw(kind) for kind in (2, 1, 0, 0)]
    assert forwards == backwards[2::-1] and backwards[3] == forwards[0]
    by_task_and_seed = {abstract_symbols(n, n_labels=8, demo_seed=s) for n in ("t", "u") for s in range(20)}
    assert len(by_task_and_seed) == 40
