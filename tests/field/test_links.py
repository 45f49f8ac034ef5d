"""Links to pages: whatever an address holds, the page is there, and what cannot be honoured is said in a sentence."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from icl_core.errors import ObservatoryError
from icl_core.evaluation import job_table
from icl_core.evaluation.store import Store
from icl_core.registry.tasks import get_task
from pages.evaluate import task_file
from pages.ui.controls import links
from pages.ui.server import guard
from pages.ui.words.written import legible
from tests.support.hostile import ACTING, FORMULAS, MARKED_UP, MODEL, SCRIPTS, hostile_study
from tests.support.links import PAGES, VIEWS, assert_answers, keys_of, open_link, run_script, said, streamlit, texts_in
from tests.support.made_up import fill, made_up_study
from tests.support.sentences import assert_one_sentence

NO_NUMBERS = ("inf", "-inf", "nan", "1e400", "1" + "0" * 400, "-1", "[1, 2]", "0x10", "9" * 5000, "1e-400", "²", "")
VALUES = st.one_of(
    st.sampled_from(
        [*NO_NUMBERS, *SCRIPTS, *FORMULAS, *MARKED_UP, "file:/etc/passwd", "someone-model", "mrpc", "true"]
    ),
    st.sampled_from([text for text in ACTING if text.isascii() or "\ud800" not in text]),
    st.sampled_from([value for _, query in VIEWS for value in query.values()]),
    st.integers(-(10**20), 10**20).map(str),
    st.floats().map(str),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    st.just("x" * 100_000),
)
FUZZED = settings(
    derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Path]]:
    """A store with made-up results, and one whose names are hostile; pages only read them."""
    folder = tmp_path_factory.mktemp("stores")
    for name, study in (("full", made_up_study()), ("hostile", hostile_study(folder / "tasks"))):
        store = Store.open(folder / name)
        fill(store, study)
        store.close()
    yield {name: folder / name for name in ("full", "hostile")}
    streamlit.cache_data.clear()
    streamlit.cache_resource.clear()


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Path], Path]:
    """Makes a store that of the app, without the shipped results."""

    def used(store: Path) -> Path:
        monkeypatch.setenv("ICL_OBSERVATORY_STORE", str(store))
        monkeypatch.setattr("icl_core.evaluation.bundle.embedded_results_path", lambda: tmp_path / "none")
        return store

    return used


@pytest.fixture
def full_store(stores: Mapping[str, Path], use: Callable[[Path], Path]) -> Path:
    return use(stores["full"])


def queries(page: str) -> st.SearchStrategy[dict[str, str | list[str]]]:
    """Some of the page's parameters with values of all kinds; paths have cases of their own."""
    keys = st.sampled_from([key for key in keys_of(page) if key not in ("local", "data")])
    return st.dictionaries(keys, st.one_of(VALUES, st.lists(VALUES, max_size=3)), min_size=1, max_size=7)


@pytest.mark.stands_for("streamlit/streamlit#15799", "a number in a link that is none stopped the page")
@pytest.mark.parametrize("page", PAGES)
def test_any_link_opens_its_page(page: str, full_store: Path) -> None:

    @settings(FUZZED, max_examples=5)
    @given(query=queries(page))
    def opens(query: dict[str, str | list[str]]) -> None:
        assert_answers(open_link(page, {"model": "someone-model", **query}), page)

    opens()


@pytest.mark.slow
@pytest.mark.stands_for("streamlit/streamlit#15799", "a number in a link that is none stopped the page")
@pytest.mark.parametrize("page", PAGES)
def test_very_many_links_open_their_page(page: str, full_store: Path) -> None:

    @settings(FUZZED, max_examples=200)
    @given(query=queries(page))
    def opens(query: dict[str, str | list[str]]) -> None:
        assert_answers(open_link(page, {"model": "someone-model", **query}), page)

    opens()


@pytest.mark.stands_for("streamlit/streamlit#15799", "an infinite number was taken for the default without a word")
@pytest.mark.parametrize("value", ["inf", "nan", "1" + "0" * 400, "-1", "[1, 2]"])
def test_a_number_that_is_none_is_left_out_and_named(value: str, full_store: Path) -> None:
    app = open_link("competition", {"model": "someone-model", "shots": value, "eps": value})
    assert_answers(app, "competition")
    notice = next(words for words in said(app) if words.startswith("This link asks for"))
    assert f"shots = {value[:20]}" in notice
    assert app.session_state["shots"] == 16
    assert 0 <= app.session_state["eps"] <= 0.1 and ("eps = " in notice) == (app.session_state["eps"] != _number(value))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


@pytest.mark.stands_for("streamlit/streamlit#13917", "an unknown option in a link gave another view than it promised")
def test_names_that_nobody_knows_are_named(full_store: Path) -> None:
    app = open_link(
        "dynamics",
        {"model": ["someone-model", "no-model"], "task": ["sst2", "no-task"], "setting": ["gold (ICL)", "no-setting"],
         "measure": "no-measure", "x": "No axis", "dtype": "float8", "tab": "No tab"},
    )  # fmt: skip
    assert_answers(app, "dynamics")
    notice = said(app)[0]
    for part in ("model = no-model", "task = no-task", "setting = no-setting", "measure = no-measure", "x = No axis",
                 "dtype = float8", "tab = No tab"):  # fmt: skip
        assert part in notice, notice


@pytest.mark.stands_for("none", "a notice about a link that is honoured would teach readers to pass over it")
def test_an_honoured_link_is_not_spoken_of(full_store: Path) -> None:
    query = {"model": "someone-model", "task": "mrpc", "setting": ["random (TR)", "abstract (TL)"], "seeds": "13, 21",
             "shots": "16", "examples": "200", "x": "Tokens", "scale": "linear", "measure": "Macro F1",
             "norm": "Mean per token", "bands": "false", "tab": "Predicted labels", "on": "mrpc"}  # fmt: skip
    app = open_link("dynamics", query)
    assert_answers(app, "dynamics")
    assert not [words for words in said(app) if "link" in words]
    app.text_input(key="seeds").set_value("13").run()
    assert not [words for words in said(app) if "link" in words]


@pytest.mark.stands_for("none", "a sentence about a link that stays when its control was used is no longer true")
def test_the_notice_goes_when_its_control_is_used(full_store: Path) -> None:
    app = open_link("competition", {"model": "someone-model", "eps": "nan", "shots": "inf"})
    assert "eps = nan" in said(app)[0] and "shots = inf" in said(app)[0]
    app.slider(key="eps").set_value(0.02).run()
    assert "eps" not in said(app)[0] and "shots = inf" in said(app)[0]


NUMBER_VIEWS = (("competition", {}), ("playground", {}), *(view for view in VIEWS if view[0] == "lab" and view[1]))


@pytest.mark.stands_for("streamlit/streamlit#15799", "which names of a link hold numbers has to be known beforehand")
@pytest.mark.parametrize(("page", "query"), NUMBER_VIEWS)
def test_every_bound_control_of_numbers_is_checked(
    page: str,
    query: dict[str, str],
    full_store: Path,
) -> None:
    app = open_link(page, {"model": "someone-model", **query})
    keys = {item.key for item in (*app.number_input, *app.slider) if item.proto.HasField("query_param_key")}
    assert keys and all(links._NUMBERS.fullmatch(key) for key in keys), keys


# Names


PLAIN_TEXT = re.compile(
    r"vega_lite_chart\.|\.(id|alt|form_id|placeholder|raw_values?|key|query_param_key|user_key|javascript)$"
    r"|(multiselect|selectbox|select_slider)\.(options|default|value|formatted_options)$|(text_area|text_input)\.|^code\.|^text\."
    r"|arrow_data_frame\.|dataframe\.|download_button\.url"
)
"""Fields that Streamlit shows letter by letter."""
ACTS = re.compile(
    r"(?<!\\)\*\*loud|(?<!\\)\$[xyz]|(?<!\\)<(img|script|/script|b>)|(?<!\\)\[link\](?!\\)|[\u202a-\u202e\u2066\u2067]"
)


@pytest.mark.stands_for("streamlit/streamlit#8546", "a message lost its underscores, dollars and brackets to Markdown")
@pytest.mark.parametrize("page", PAGES)
def test_names_from_files_are_never_markdown(
    page: str, stores: Mapping[str, Path], use: Callable[[Path], Path]
) -> None:
    use(stores["hostile"])
    query = {"model": MODEL, "seeds": "13, 21", "examples": "100", "as_pythia-6.9b": MODEL}
    seen = 0
    for name, view in VIEWS:
        if name == page:
            app = open_link(page, {**query, **view})
            assert_answers(app, page)
            found = [(place, text) for place, text in texts_in(app) if not PLAIN_TEXT.search(place)]
            seen += sum("window" in text or "loud" in text for _, text in found)
            wrong = [(place, ascii(text[:200])) for place, text in found if ACTS.search(text)]
            assert not wrong, wrong
    assert seen or page == "lab", "no name was on the page"


@pytest.mark.stands_for("CWE-770", "a link of a megabyte was shown as it is")
def test_a_megabyte_in_a_link_is_said_in_a_line(full_store: Path) -> None:
    app = open_link("evaluate", {"model": "someone-model", "checkpoints": "9," * 100_000, "seeds": "x" * 1_000_000})
    assert_answers(app, "evaluate")
    assert all(len(text) < 5_000 for place, text in texts_in(app) if not PLAIN_TEXT.search(place))


# What is opened


@pytest.mark.stands_for("CWE-22", "a path in a link was opened")
def test_no_file_that_a_link_names_is_opened(full_store: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret" / "rows.csv"
    secret.parent.mkdir()
    secret.write_text("text,label\na,x\nb,y\n")
    opened: list[str] = []
    watching = True

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event == "open" and str(secret.parent) in str(arguments[0]):
            opened.append(str(arguments[0]))

    sys.addaudithook(watch)
    names = ("task", "on", "play_task", "who", "model", "play_tr", "at", "labone", "view", "checkpoints")
    for page, name in (("evaluate", f"file:{secret}"), ("dynamics", str(secret)), ("playground", f"../..{secret}")):
        assert_answers(open_link(page, dict.fromkeys(names, name)), page)
    watching = False
    assert not opened


# A damaged job table


def damage(store: Path, how: str) -> None:
    """Spoils the table of jobs, or one of its two rows."""
    path = store / "jobs.sqlite"
    if how == "no table":
        path.write_bytes(b"SQLite format 3\x00" + b"\x07" * 3000)
        return
    if how == "another shape":
        with sqlite3.connect(path) as table:
            table.execute("CREATE TABLE jobs (id INTEGER, colour TEXT)")
            table.execute("INSERT INTO jobs VALUES (1, 'red')")
        return
    with job_table.job_table(store.resolve()) as table:
        columns = "kind, title, payload, device, state, created, done, total, message"
        good = ("evaluate", "a good job", "{}", "cpu", "done", 1.7e9, 1, 1, "Done.")
        spoilt = {
            "payload": ("evaluate", "b", "{", "cpu", "failed", 1.7e9, 0, 1, "No."),
            "dates": ("evaluate", "b", "{}", "cpu", "done", 1e300, 0, 1, "x"),
            "texts": ("evaluate", "b", "{}", "cpu", "done", "soon", "many", b"\xff", 7),
            "states": ("nothing", "b", "{}", "cpu", "asleep", 1.7e9, 0, 1, "x"),
        }[how]
        for row in (good, spoilt):
            table.execute(f"INSERT INTO jobs ({columns}) VALUES ({', '.join('?' * len(row))})", row)


@pytest.mark.stands_for("qutebrowser/qutebrowser#7402", "a damaged history table was an unhandled error of its page")
@pytest.mark.parametrize("how", ["no table", "another shape", "payload", "dates", "texts", "states"])
def test_a_damaged_job_table_leaves_the_pages(
    how: str, stores: Mapping[str, Path], use: Callable[[Path], Path], tmp_path: Path
) -> None:
    damage(use(shutil.copytree(stores["full"], tmp_path / "store")), how)
    for page in ("home", "evaluate"):
        app = open_link(page, {"model": "someone-model"})
        assert_answers(app, page)
        words = [words for words in said(app) if words.startswith("Jobs cannot be shown")]
        assert len(words) == (1 if how in ("no table", "another shape") else 0)
        if page == "evaluate":
            assert [button for button in app.button if button.key == "start"]
        elif not words:
            assert "a good job" in app.dataframe[-1].value["what"].tolist()


# Errors that nobody foresaw


@pytest.mark.stands_for("streamlit/streamlit#7726", "an unexpected error showed a traceback with paths of the server")
def test_an_unforeseen_error_is_one_sentence_and_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def script() -> None:
        from pages.ui.server.guard import unexpected

        try:
            open("/no/such/place")  # noqa: SIM115
        except OSError as error:
            assert unexpected(error) is True

    app = run_script(script)
    assert not app.exception
    (words,) = said(app)
    assert words == guard.UNEXPECTED.format(kind="FileNotFoundError")
    assert "/no/such/place" not in words and "/no/such/place" in caplog.text


# Uploads


def table(columns: list[str], rows: list[list[str]], separator: str) -> bytes:
    return "\n".join(separator.join(cells) for cells in [columns, *rows]).encode(errors="surrogatepass")


CELLS = st.one_of(
    st.text(max_size=12), st.sampled_from([*SCRIPTS, *FORMULAS, *ACTING, '"', '""', '"open', "a,b", "1.0"])
)
UPLOADS = st.one_of(
    st.binary(max_size=300),
    st.builds(
        table,
        st.permutations(["text", "label"]).map(list)
        | st.just(["Text", "LABEL ", "split"])
        | st.lists(CELLS, max_size=3),
        st.lists(st.lists(CELLS, min_size=1, max_size=3), max_size=8),
        st.sampled_from(",;\t"),
    ),
    st.lists(
        st.dictionaries(
            st.sampled_from(["text", "label", "split", "x"]), CELLS | st.none() | st.integers() | st.floats()
        ),
        max_size=6,
    ).map(lambda records: "\n".join(json.dumps(record) for record in records).encode()),
    st.sampled_from([b"\xff\xfe\x00", b"[" * 20_000, b'{"a":' * 4_000, b"PK\x03\x04"]),
)
FILE_NAMES = st.one_of(
    st.sampled_from(
        ["a.csv", "a.jsonl", "a.tsv", "a.json", "A.CSV", "../../etc/passwd.csv", "a", ".csv", "\u202ea.csv"]
    ),
    st.text(max_size=20).map(lambda name: f"{name}.csv"),
)


@pytest.mark.stands_for("CWE-22", "the name of an uploaded file decided where it was written")
@settings(FUZZED, max_examples=150)
@given(name=FILE_NAMES, content=UPLOADS)
def test_any_upload_is_a_task_or_a_sentence(
    name: str, content: bytes, use: Callable[[Path], Path], tmp_path: Path
) -> None:
    store = use(tmp_path / "store")
    assert_task_or_sentence(name, content)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(path.parent == store / "uploads" and path.name.isascii() for path in written)


LONG = b"a" * 200_000


@pytest.mark.stands_for("CWE-770", "one field over 131,072 characters ended the reader")
@pytest.mark.parametrize(
    "content", [b'text,label\n"' + b"a" * 200_000, b"text,label\n" + b"a" * 200_000 + b",x\nb,y\n"]
)
def test_a_very_long_field_of_an_upload_is_a_task_or_a_sentence(
    content: bytes, use: Callable[[Path], Path], tmp_path: Path
) -> None:
    use(tmp_path / "store")
    assert_task_or_sentence("long.csv", content)


def assert_task_or_sentence(name: str, content: bytes) -> None:
    try:
        task = task_file.save_upload(name, content)
    except ObservatoryError as error:
        assert_one_sentence(legible(str(error)))
    else:
        assert len(get_task(task).label_names) >= 2
