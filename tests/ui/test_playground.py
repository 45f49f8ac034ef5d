"""The playground page: bars, prompts, odd inputs, a crashed worker, a file of sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.dataframe_util import convert_arrow_bytes_to_pandas_df
from streamlit.testing.v1 import AppTest

from icl_core.errors import DataError
from icl_core.evaluation import playground
from icl_core.evaluation.playground import Question, Reply, ask
from icl_core.models.worker import WorkerEnded
from icl_core.pretraining.tokenizer import make_tokenizer
from icl_core.records import CheckpointRef
from icl_core.registry.tasks import embedded_tasks, get_task
from pages.playground.file_of_sentences import read_texts, rows_of
from pages.playground.vega import COLUMNS, token_rows
from tests.support.tiny_models import save_checkpoint


def words(app: AppTest) -> str:
    said = [*app.markdown, *app.caption, *app.info, *app.warning, *app.error]
    return "\n".join(str(item.value) for item in said).replace("\\", "")


def bars(app: AppTest) -> list[list[float]]:
    """The probabilities that each chart of bars shows, by label."""
    charts = app.get("vega_lite_chart")[:3]
    return [convert_arrow_bytes_to_pandas_df(c.proto.datasets[0].data.data)["probability"].tolist() for c in charts]


class Thread:
    """A worker without a process; it dies on as many questions as it is told to."""

    broken = 0
    asked = 0

    def ask(self, question: Question, **_: object) -> Reply:
        type(self).asked += 1
        if type(self).broken:
            type(self).broken -= 1
            raise WorkerEnded("died")
        return ask(question)

    def end(self) -> None:
        pass


@pytest.fixture
def page(
    store_folder: Path, tmp_path: Path, open_page: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., AppTest]]:
    """Opens the page with a random model of two checkpoints in the place of the shipped suite."""
    refs = []
    for step in (0, 10):
        save_checkpoint(tmp_path / "run" / f"step-{step}", seed=step)
        refs.append(CheckpointRef("local", "run", f"step-{step}", "folder", str(tmp_path / "run"), step))
    Thread.broken = Thread.asked = 0
    monkeypatch.setattr(playground, "start_workers", Thread)
    monkeypatch.setattr("pages.playground.controls._models", lambda: ["run"])
    monkeypatch.setattr("pages.ui.data.cached.checkpoints_of", lambda model: tuple(refs) if model == "run" else ())

    def opened(**query: str) -> AppTest:
        app = open_page("playground", demos="None", **query)
        if not app.exception:
            app.text_area(key="play_labels").set_value("negative\npositive")
            app.text_area(key="say").set_value("the film is a quiet joy").run()
        assert not app.exception, [item.value for item in app.exception]
        return app

    yield opened
    playground._WARM.clear()


def test_bars_of_tr_tl_and_fused(page: Callable[..., AppTest]) -> None:
    app = page()
    tr, tl, fused = bars(app)
    assert fused == pytest.approx([(a + b) / 2 for a, b in zip(tr, tl, strict=True)])
    assert sum(tr) == pytest.approx(1) and sum(tl) == pytest.approx(1) and tr != tl
    titles = ("**TR, random labels**", "**TL, symbols**", "**Fused with w = 0.50**")
    assert all(title in words(app) for title in titles)
    assert "Scored in" in words(app)


def test_moving_w_asks_no_model_and_ends_at_the_members(
    page: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = page()
    monkeypatch.setattr(Thread, "ask", None)
    drawn = [(chart.proto.spec, chart.proto.alt) for chart in app.get("vega_lite_chart")]
    for w, role in ((1.0, 0), (0.0, 1)):
        app.slider(key="play_w").set_value(w).run()
        assert not app.exception
        kept = [(chart.proto.spec, chart.proto.alt) for chart in app.get("vega_lite_chart")]
        assert kept == drawn, "the browser moves the rows of the charts that are there"
        assert bars(app)[2] == pytest.approx(bars(app)[role])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "There is no text to ask about"),
        ("x" * 10_001, "10,001 characters; at most 10,000"),
        ("<b>joy</b> <script>alert(1)</script> **so** 🎬", "Scored in"),
        ("joy " * 2_500, "did not fit the context"),
        ("one\ntwo", "Scored in"),
    ],
)
def test_texts(text: str, said: str, page: Callable[..., AppTest]) -> None:
    app = page()
    app.text_area(key="say").set_value(text).run()
    assert not app.exception and said in words(app)
    assert "<script>" not in words(app)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("only one", "The number of labels is 1; give 2 to 8"),
        ("same\nsame", "'same' is given twice"),
        ("\n".join("abcdefghi"), "The number of labels is 9"),
        ("", "The number of labels is 0"),
        ("x" * 101 + "\ny", "101 characters"),
        ("😀\n🙁", "Scored in"),
        ("<b>good</b>\n&lt;", "Scored in"),
        ("  good  \n\n bad ", "Scored in"),
    ],
)
def test_labels(labels: str, said: str, page: Callable[..., AppTest]) -> None:
    app = page()
    app.text_area(key="play_labels").set_value(labels).run()
    assert not app.exception and said in words(app)


def test_one_s_own_demonstrations_are_in_the_prompt(page: Callable[..., AppTest]) -> None:
    task = next(iter(embedded_tasks()))
    app = page(task=task)
    app.session_state["demos"] = "My own"
    app.run()
    assert "has the label" in words(app)
    app.text_area(key="play_labels").set_value("\n".join(get_task(task).words())).run()
    assert not app.exception and "Scored in" in words(app)
    for text, _ in playground.task_demonstrations(task, n_shots=2, demo_seed=13):
        assert text in app.code[-1].value


def test_a_crashed_worker_is_started_again_and_says_so(page: Callable[..., AppTest]) -> None:
    app = page()
    before = Thread.asked
    Thread.broken = 1
    app.text_area(key="say").set_value("another").run()
    assert "was started again" in words(app) and "Scored in" in words(app)
    assert Thread.asked == before + 2
    Thread.broken = 2
    app.text_area(key="say").set_value("a third").run()
    assert "stopped twice" in words(app) and not app.exception
    app.text_area(key="say").set_value("a fourth").run()
    assert "Scored in" in words(app) and "was started again" not in words(app)


def test_prompt_and_tokens(page: Callable[..., AppTest]) -> None:
    app = page()
    assert app.code[-1].value.endswith("the film is a quiet joy")
    assert "tokens. The first" in words(app)


def test_tokens_stand_in_lines_and_lose_nothing() -> None:
    pieces = ["a", " b", "\n", "", "x" * 50, "y" * 50, "\n\n\n", "  "]
    rows = token_rows(pieces, range(8), n_shared=3, most=100)
    assert [(row["line"], row["column"]) for row in rows] == [(0, 0), (0, 1), (0, 3), (1, 0), (2, 0), (2, 50), (3, 0)]
    assert all(row["end"] <= COLUMNS for row in rows)
    assert rows[2]["ids"] == "2, 3" and rows[2]["text"] == "↵" and (rows[1]["text"], rows[1]["start"]) == ("b", 2)
    assert rows[-1]["text"] == "··"
    assert [row["part"] for row in rows].count("demonstrations") == 3
    assert [row["place"] for row in token_rows(pieces, range(8), n_shared=3, most=2)] == [7, 8]


def test_a_file_of_sentences() -> None:
    for content, name, texts, notes in (
        (b"id,Text\n1,good one\n2,\n3,bad", "a.csv", ("good one", "bad"), ["1 row without a text, left out: line 3"]),
        (b'first\n"with, comma"\n\nplain, comma', "a.txt", ("first", '"with, comma"', "plain, comma"), []),
        ("text\tid\nfirst\t1".encode("utf-16"), "a.TSV", ("first",), ["was read as UTF-16"]),
        (b"id;TEXT \n1;one, two", "a.csv", ("one, two",), ["are separated by semicolons"]),
        (b"text\nshort\n" + b"a" * 20_001, "a.csv", ("short",), ["1 row with more than 20,000 characters"]),
        (b'{"text": "\\ud800"}\n{"text": "whole"}', "a.jsonl", ("whole",), ["half a surrogate pair"]),
    ):
        found = read_texts(content, name)
        assert found.texts == texts
        assert len(found.notes) == len(notes)
        for note, said in zip(found.notes, notes, strict=True):
            assert name in note and said in note
    for content, name, said in (
        (b"", "a.csv", "lacks the column text"),
        (b"text\n\n", "a.csv", "has no text"),
        (b"id;sentence\n1;good", "a.csv", "lacks the column text .present: 'id', 'sentence'"),
        (b"\xff\xfe\x00", "a.csv", "not UTF-16"),
        (b"x\n" * 501, "a.txt", "at most 500"),
        (b"x", "a", "not one of .csv"),
    ):
        with pytest.raises(DataError, match=f"^{name} .*{said}"):
            read_texts(content, name)


def test_rows_of_a_batch_hold_every_probability(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "run" / "step-1")
    ref = CheckpointRef("local", "run", "step-1", "folder", str(tmp_path / "run"), 1)
    question = Question(ref, ref, ("a", "b", "c"), ("no", "yes"), (("x", "no"),))
    rows = rows_of(question, [playground.ask(question)], weight=0.25, normalisation="sum")
    assert [row["text"] for row in rows] == ["a", "b", "c"]
    for row in rows:
        for label in question.labels:
            mixed = 0.25 * row[f"P TR {label}"] + 0.75 * row[f"P TL {label}"]
            assert row[f"P fused {label}"] == pytest.approx(mixed)
        assert row["TR"] == max(question.labels, key=lambda label: row[f"P TR {label}"])
    playground._WARM.clear()


def test_a_batch_counts_the_unknown_words_of_each_sentence(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "run" / "step-1")
    tokenizer = make_tokenizer(512)
    tokenizer.save_pretrained(tmp_path / "run" / "step-1")
    one, two = [word for word in tokenizer.get_vocab() if word.isalpha()][:2]
    ref = CheckpointRef("local", "run", "step-1", "folder", str(tmp_path / "run"), 1)
    question = Question(ref, ref, (one, f"zq {two} qz"), (one, two), ((one, two),))
    rows = rows_of(question, [playground.ask(question)], weight=0.25, normalisation="sum")
    assert [row["unknown words TR"] for row in rows] == [row["unknown words TL"] for row in rows] == [0, 2]
    playground._WARM.clear()


# Words that a tokenizer does not know


def test_unknown_words_are_struck_out_and_named_and_many_of_them_are_warned_of(
    page: Callable[..., AppTest], tmp_path: Path
) -> None:
    tokenizer = make_tokenizer(512)
    for step in (0, 10):
        tokenizer.save_pretrained(tmp_path / "run" / f"step-{step}")
    known = [word for word in tokenizer.get_vocab() if word.isalpha()][:4]
    app = page()
    app.text_area(key="play_labels").set_value(f"{known[0]}\nnegative").run()
    warned = [str(item.value).replace("\\", "") for item in app.main.warning]
    assert warned == [
        "5 of 6 words are unknown to the tokenizer of run, which reads all unknown words as the same token. The "
        "answer rests on the words it knows, the demonstrations and the label words alone.",
        "The tokenizer of run does not know these label words, or parts of them: negative.",
    ]
    app.text_area(key="play_labels").set_value("\n".join(known[:2]))
    app.text_area(key="say").set_value(f"{' '.join(known)} <b>*wow*</b>").run()
    assert not app.exception and not app.main.warning, "one unknown word of five is no reason for a warning"
    (echo,) = [str(item.value) for item in app.markdown if "struck out" in str(item.value)]
    assert echo.endswith(rf"{' '.join(known)} ~~\<b\>\*wow\*\</b\>~~"), "a word of the user is never markup"
    assert "1 of 5 words is unknown" in echo


def test_a_tokenizer_that_knows_every_word_has_nothing_said_of_it(page: Callable[..., AppTest]) -> None:
    app = page()
    app.text_area(key="say").set_value("zqzq Жж 日本 😀").run()
    assert not app.exception and "Scored in" in words(app) and "unknown" not in words(app)
