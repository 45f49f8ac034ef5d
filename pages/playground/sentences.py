"""The sentences of the playground: which words a tokenizer does not know, what was asked, and how it was answered."""

from __future__ import annotations

from collections.abc import Sequence

from icl_core.analysis.predictions import Normalisation
from icl_core.data.unknown import ReadWord, mostly_unknown
from icl_core.evaluation.playground import Question, Reply, Role, Scored, answer_of
from pages.ui.words.written import checkpoint_name, count, joined, legible, percent, plain

__all__ = [
    "answered",
    "prompt_tokens",
    "struck_out",
    "title_of",
    "unknown_in_file",
    "unknown_labels",
    "unknown_words",
    "words_unknown",
]

MOST_WORDS = 300
MOST_NAMED = 8
_TRUE_LABELS: tuple[Role, ...] = ("ICL of the TR checkpoint", "ICL of the TL checkpoint")
_LOADED = 0.05
"""Seconds of loading from which on it is said; less is what finding warm checkpoints takes."""


def title_of(scored: Scored) -> str:
    """A checkpoint with its model."""
    return f"{scored.checkpoint.model} {checkpoint_name(scored.checkpoint)}"


def words_unknown(words: Sequence[ReadWord]) -> list[str]:
    """The words that a tokenizer does not know."""
    return [word.word for word in words if word.unknown]


def unknown_words(words: Sequence[ReadWord], who: str) -> tuple[str, str]:
    """How many words of the sentence a tokenizer does not know, and what follows; "" if it knows them all.

    Args:
        words: of the sentence.
        who: models with this tokenizer, in Markdown.

    Returns:
        A warning, "" if less than half are unknown, and the line that names the unknown words.
    """
    unknown = words_unknown(words)
    if not unknown:
        return "", ""
    how_many = f"{len(unknown):,} of {count(len(words), 'word')} {'is' if len(unknown) == 1 else 'are'}"
    said = f"{how_many} unknown to the tokenizer of {who}, which reads all unknown words as the same token"
    warning = ""
    if mostly_unknown(words):
        known = "the words it knows, " if len(unknown) < len(words) else ""
        warning = f"{said}. The answer rests on {known}the demonstrations and the label words alone."
        said = "Unknown"
    named = plain(joined(list(dict.fromkeys(unknown)), most=MOST_NAMED))
    return warning, f":small[{said}: {named}. Your sentence with unknown words struck out:] {struck_out(words)}"


def struck_out(words: Sequence[ReadWord]) -> str:
    """The words as Markdown, each unknown one struck out."""
    more = " …" if len(words) > MOST_WORDS else ""
    return " ".join(f"~~{plain(w.word)}~~" if w.unknown else plain(w.word) for w in words[:MOST_WORDS]) + more


def unknown_labels(question: Question, scored: Scored, who: str) -> list[str]:
    """Which labels or symbols, and whether most words of the demonstrations, a tokenizer does not know."""
    names = question.labels if scored.role == "TR" else scored.choices
    unknown = [legible(name) for name, words in zip(names, scored.choice_words, strict=True) if words_unknown(words)]
    said = []
    if unknown:
        what = "label words" if scored.role == "TR" else "symbols"
        named = plain(", ".join(unknown))
        said.append(f"The tokenizer of {who} does not know these {what}, or parts of them: {named}.")
    if mostly_unknown(scored.demonstration_words):
        said.append(f"The tokenizer of {who} does not know most words of the demonstrations.")
    return said


def answered(question: Question, reply: Reply, normalisation: Normalisation) -> str:
    """What the checkpoints say under true labels, whether anything was cut, and how long it took."""
    parts = []
    for scored in reply.scored:
        if scored.role in _TRUE_LABELS and question.demonstrations:
            answer = answer_of(scored, normalisation=normalisation)
            best = int(answer.best[0])
            parts.append(f"{title_of(scored)} says {question.labels[best]} ({percent(float(answer.values[0, best]))})")
    said = f"Under true labels {' and '.join(parts)}. " if parts else ""
    cut = max(scored.n_shortened for scored in reply.scored)
    was_cut = f"{count(cut, 'text')} did not fit the context and {'was' if cut == 1 else 'were'} cut. " if cut else ""
    loaded = f", after {reply.load_seconds:.1f} s of loading" if reply.load_seconds > _LOADED else ""
    return plain(f"{said}{was_cut}Scored in {1000 * reply.score_seconds:.0f} ms{loaded}.")


def prompt_tokens(n: int, n_shared: int, *, most: int) -> str:
    """How many tokens a prompt has, and how many of them all queries share.

    Args:
        n: tokens of the prompt.
        n_shared: tokens of the demonstrations, at its beginning.
        most: tokens that are drawn, the last ones.
    """
    left_out = f" The first {n - most:,} tokens are not drawn." if n > most else ""
    return (
        f"{count(n, 'token')}. The first {n_shared:,} are the demonstrations (dimmed), which are computed once for all "
        f"queries. The label follows the last token. Point at a token to see its id.{left_out}"
    )


def unknown_in_file(scored: Sequence[Scored], role: Role) -> str:
    """In how many sentences of a file a tokenizer does not know most words; "" if in none.

    Args:
        scored: the answers in one role, in parts.
        role: it.
    """
    texts = [words for each in scored for words in each.words]
    lost = [words for words in texts if mostly_unknown(words)]
    if not lost:
        return ""
    return (
        f"In {len(lost):,} of {count(len(texts), 'sentence')} most words are unknown to the tokenizer of "
        f"{plain(scored[0].checkpoint.model)} ({role}). There the answer rests on the words it knows, the "
        "demonstrations and the label words alone."
    )
