"""The shape of the project, held by its source text: who imports whom, what is public, what is never used."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.sources import ALL_FILES, CORE_FILES, PAGE_FILES, ROOT, file_of, imports_of, module_of, tree_of

LAYERS = (
    ("errors", "owners", "plain", "records", "sequences", "settings", "threads", "units"),
    ("registry",),
    ("data", "models", "analysis"),
    ("scoring", "pretraining"),
    ("evaluation",),
    ("cli",),
    ("__main__",),
)
"""A part of icl_core imports from itself and from earlier layers."""
NEVER = {("pretraining", "analysis"), ("evaluation", "pretraining")}
"""(who, whom) that the order of the layers would allow."""
BASE_ORDER = ("errors", "owners", "plain", "sequences", "threads", "units", "records", "settings")

PAGE_SIDE = (
    *(
        "errors",
        "owners",
        "plain",
        "records",
        "sequences",
        "settings",
        "units",
        "data.prompts",
        "data.label_settings",
        "models.hub",
        "models.identity",
        "models.listing",
        "models.resolving",
    ),
    *(
        f"evaluation.{name}"
        for name in (
            "study",
            "cells",
            "index",
            "rows",
            "catalogue",
            "segments",
            "reservations",
            "notes",
            "store",
            "bundle",
            "upkeep",
            "job_table",
            "job_processes",
            "jobs",
            "job_worker",
        )
    ),
    *(f"evaluation.{name}" for name in ("cost", "choice", "coverage", "exclusions")),
    *(f"pretraining.lab.{name}" for name in ("config", "runs", "minimal", "claims")),
    *(
        f"{part}.{p.stem}"
        for part in ("registry", "analysis")
        for p in sorted((ROOT / "icl_core" / part).glob("[a-z]*.py"))
    ),
    *(f"analysis.fusion.{p.stem}" for p in sorted((ROOT / "icl_core" / "analysis" / "fusion").glob("[a-z]*.py"))),
)
"""Modules of icl_core that load without torch, transformers and streamlit."""

for_each_core_file = pytest.mark.parametrize("path", CORE_FILES, ids=lambda p: str(p.relative_to(ROOT)))
for_each_file = pytest.mark.parametrize("path", ALL_FILES, ids=lambda p: str(p.relative_to(ROOT)))


def part_of(module: str) -> str:
    """The part of icl_core that a module belongs to: ``evaluation`` of ``icl_core.evaluation.store``."""
    return module.split(".")[1]


def core_imports_of(path: Path) -> list[tuple[str, str | None]]:
    return [(m, name) for m, name in imports_of(tree_of(path)) if m.startswith("icl_core.")]


def exported_by(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return list(ast.literal_eval(node.value))
    return None


def bound_by(tree: ast.Module) -> set[str]:
    """Names that the top level of a module binds, imports included."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        else:
            names |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return names


def calls_in(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    """(dotted name, call) of every call of a plain or dotted name."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [(ast.unparse(c.func), c) for c in calls if isinstance(c.func, ast.Name | ast.Attribute)]


def keyword(call: ast.Call, name: str) -> object:
    return next((ast.literal_eval(k.value) for k in call.keywords if k.arg == name and is_literal(k.value)), None)


def is_literal(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant)


# Direction


def test_every_part_has_its_layer():
    parts = {part_of(module_of(p)) for p in CORE_FILES if module_of(p) != "icl_core"}
    assert parts <= {part for layer in LAYERS for part in layer}


@for_each_core_file
def test_imports_point_to_earlier_layers(path):
    layer_of = {part: index for index, layer in enumerate(LAYERS) for part in layer}
    if (who := module_of(path)) == "icl_core":
        return
    for module, _ in core_imports_of(path):
        source, target = part_of(who), part_of(module)
        assert (source, target) not in NEVER, f"{who} imports {module}"
        if source in BASE_ORDER and target in BASE_ORDER:
            assert BASE_ORDER.index(target) < BASE_ORDER.index(source), f"{who} imports {module}"
        elif source != target:
            assert layer_of[target] < layer_of[source], f"{who} imports {module}"


def test_no_two_classes_have_one_name():
    places: dict[str, list[str]] = {}
    for path in ALL_FILES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name.lstrip("_"), []).append(module_of(path))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


@for_each_core_file
def test_the_core_never_draws_and_never_imports_pages(path):
    roots = {module.split(".")[0] for module, _ in imports_of(tree_of(path))}
    assert not roots & {"streamlit", "altair", "pages", "app", "tests", "benchmarks"}


@pytest.mark.parametrize(
    "path", [p for p in CORE_FILES if part_of(f"{module_of(p)}.") == "analysis"], ids=lambda p: p.name
)
def test_analysis_knows_arrays_alone(path):
    roots = {module.split(".")[0] for module, _ in imports_of(tree_of(path))}
    assert not roots & {"torch", "transformers", "tokenizers", "datasets", "huggingface_hub", "diskcache"}


def test_pages_do_not_import_heavy_libraries_themselves():
    for path in PAGE_FILES:
        roots = {module.split(".")[0] for module, _ in imports_of(tree_of(path))}
        assert not roots & {"torch", "transformers", "datasets"}, path


ROOMS = ("words", "charts", "data", "files", "controls", "panels")
"""Of pages/ui; each may import those before it."""


def test_rooms_of_pages_import_in_one_direction():
    for path in PAGE_FILES:
        room = module_of(path).removeprefix("pages.ui.").split(".")[0]
        if module_of(path).startswith("pages.ui.") and room in ROOMS:
            found = {module.split(".")[2] for module, _ in imports_of(tree_of(path)) if module.startswith("pages.ui.")}
            assert found <= set(ROOMS[: ROOMS.index(room) + 1]), path


ROOMS_OF_PAGES = {"page", "controls", "sentences", "notes", "chart", "tabs", "vega"}
NOT_NEEDED = {"paper": {"chart", "vega"}, "home": {"tabs", "notes"}, "evaluate": {"tabs", "notes"}}
"""Rooms without which a page does: the paper's panels draw the charts that pages share; two pages have no tabs."""


@pytest.mark.parametrize("page", sorted(path.parent.name for path in PAGE_FILES if path.name == "page.py"))
def test_pages_have_the_same_rooms_and_their_sentences_draw_nothing(page):
    rooms = {path.stem: path for path in PAGE_FILES if path.parent == ROOT / "pages" / page}
    assert ROOMS_OF_PAGES - set(rooms) == NOT_NEEDED.get(page, set())
    assert "streamlit" not in {module.split(".")[0] for module, _ in imports_of(tree_of(rooms["sentences"]))}


# Light on the page side


def test_page_side_modules_exist():
    assert [name for name in PAGE_SIDE if file_of(f"icl_core.{name}") is None] == []


def test_whatever_pages_import_loads_without_torch_and_does_not_draw():
    wanted = {f"icl_core.{name}" for name in PAGE_SIDE}
    wanted |= {module for path in PAGE_FILES for module, _ in core_imports_of(path)}
    code = (
        "import importlib, sys\n"
        "heavy = {'torch', 'transformers', 'datasets', 'streamlit', 'altair'}\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    if found := heavy & set(sys.modules):\n"
        "        sys.exit(f'{name} loads {sorted(found)}')\n"
    )
    told = subprocess.run([sys.executable, "-c", code, *sorted(wanted)], cwd=ROOT, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr


# Requirements


@pytest.mark.parametrize(
    ("roots", "lists"),
    [
        (("icl_core", "pages", "app.py"), ("requirements.txt",)),
        (("benchmarks",), ("requirements.txt", "requirements-bench.txt")),
        (("tests",), ("requirements.txt", "requirements-dev.txt")),
    ],
    ids=lambda names: names[0],
)
def test_whatever_is_imported_is_pinned(roots, lists):
    """A library that comes only because another one needs it is gone when that one no longer does."""
    lines = [line for name in lists for line in (ROOT / name).read_text(encoding="utf-8").splitlines()]
    pinned = {plain_name(line.split("==")[0]) for line in lines if "==" in line}
    own = {"icl_core", "pages", "app", "tests", "benchmarks", *sys.stdlib_module_names}
    files = [path for root in roots for path in ([ROOT / root] if root == "app.py" else (ROOT / root).rglob("*.py"))]
    imported = {module.split(".")[0] for path in files for module, _ in imports_of(tree_of(path))} - own
    distributions = importlib.metadata.packages_distributions()
    missing = {name for name in imported if not {plain_name(d) for d in distributions.get(name, [name])} & pinned}
    assert missing == set()


def plain_name(distribution: str) -> str:
    """The name of a distribution as package indices compare it: ``lm-eval`` of ``lm_eval``."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


# Shape


LONGEST_FUNCTION, MOST_POSITIONAL = 60, 3
GIVEN_SIGNATURES = {
    "fetch": "diskcache.Disk, which calls it",
    "forward": "the models of transformers, which call it",
    "_packed_forward": "the attention functions of transformers, which call it",
}
"""Functions whose arguments another library hands over in their places."""


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in [*CORE_FILES, *PAGE_FILES]:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{module_of(path)}.{node.name}", node


def n_positional(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    names = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def test_functions_are_short_and_take_few_arguments_in_their_places():
    long = {name: n for name, node in functions() if (n := node.end_lineno - node.lineno + 1) > LONGEST_FUNCTION}
    assert long == {}
    many = {name for name, node in functions() if n_positional(node) > MOST_POSITIONAL}
    many = {name for name in many if name.rpartition(".")[2] not in GIVEN_SIGNATURES}
    assert many == set(), "let the others be keyword-only"


def test_no_two_classes_of_the_core_share_a_name():
    places: dict[str, list[str]] = {}
    for path in CORE_FILES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(module_of(path))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_no_module_imports_itself_by_a_detour():
    """Imports inside functions count too: they only hide a circle."""
    imported = {module_of(path): {name for name, _ in imports_of(tree_of(path))} for path in [*CORE_FILES, *PAGE_FILES]}
    left = {name: {each for each in of if each in imported and each != name} for name, of in imported.items()}
    while free := [name for name, of in left.items() if not of & left.keys()]:
        for name in free:
            del left[name]
    assert left == {}, "these modules import each other"


# Public names


@for_each_core_file
def test_all_is_what_is_public(path):
    if module_of(path) == "icl_core":  # its names are those of other modules: tests/test_public_names.py
        return
    exported, tree = exported_by(tree_of(path)), tree_of(path)
    if path.name in ("__init__.py", "__main__.py") and exported is None:
        return
    assert exported is not None, "the module has no __all__"
    assert exported == list(dict.fromkeys(exported))
    assert set(exported) <= bound_by(tree), "a name in __all__ is not there"
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert {name for name in defined if not name.startswith("_")} <= set(exported), "a public name is not in __all__"
    assert not [name for name in exported if name.startswith("_")]


@pytest.mark.parametrize("path", [*CORE_FILES, *PAGE_FILES], ids=lambda p: str(p.relative_to(ROOT)))
def test_only_public_names_are_imported(path):
    for module, name in core_imports_of(path):
        file = file_of(module)
        assert file is not None, f"{module} does not exist"
        if name is not None:
            assert name in (exported_by(tree_of(file)) or ()), f"{name} is not in __all__ of {module}"


# What is written once


def test_no_list_of_names_is_written_in_two_modules():
    """Lists of three names or more: options, fields, registries; a second one is forgotten when the first changes."""
    own = {frozenset(("", ".", "..")), frozenset(("value", "low", "high"))}  # no names of a path; a value with its band
    places: dict[frozenset[str], set[str]] = {}
    for path in [*CORE_FILES, *PAGE_FILES]:
        if path.name == "paper.py":  # quotes tables of the paper as they are printed
            continue
        exports = {id(part) for node in tree_of(path).body if is_export(node) for part in ast.walk(node)}
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Tuple | ast.List | ast.Set) and id(node) not in exports:
                names = [each.value for each in node.elts if isinstance(each, ast.Constant)]
                if len(names) == len(node.elts) > 2 and all(isinstance(name, str) for name in names):
                    places.setdefault(frozenset(map(str, names)), set()).add(module_of(path))
    assert {tuple(sorted(names)): found for names, found in places.items() if len(found) > 1 and names not in own} == {}


def test_no_table_of_words_is_written_in_two_modules():
    """Which word stands for which, such as titles of a measure: a second table can tell another story."""
    places: dict[str, set[str]] = {}
    for path in [*CORE_FILES, *PAGE_FILES]:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Dict) and len(node.keys) > 1:
                words = [each.value for each in (*node.keys, *node.values) if isinstance(each, ast.Constant)]
                if len(words) == 2 * len(node.keys) and all(isinstance(word, str) for word in words):
                    items = sorted(zip(words[: len(node.keys)], words[len(node.keys) :], strict=True))
                    places.setdefault(str(items), set()).add(module_of(path))
    assert {table: found for table, found in places.items() if len(found) > 1} == {}


def is_export(node: ast.AST) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"


def test_no_meaning_is_read_from_the_title_of_a_fusion():
    """Kind, roles and weights are fields; a title or a name is made of them and taken apart by nobody."""
    apart = {"endswith", "partition", "removeprefix", "removesuffix", "rpartition", "rsplit", "split", "startswith"}
    for path in [p for p in ALL_FILES if "fusion" in p.relative_to(ROOT).parts or p.name in ("fuse.py", "tables.py")]:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Subscript) or (isinstance(node, ast.Attribute) and node.attr in apart):
                read = node.value.attr if isinstance(node.value, ast.Attribute) else ""
                assert read not in ("title", "name"), f"{path}, line {node.lineno}"


# What is never used


@for_each_file
def test_only_open_cache_opens_a_cache(path):
    tree = tree_of(path)
    opener = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "open_cache"]
    allowed = {id(call) for node in opener for _, call in calls_in(node)} if path.name == "index.py" else set()
    kinds = {"Cache", "FanoutCache", "DjangoCache", "Deque", "Index", "JSONDisk"}
    opened = [
        name
        for name, call in calls_in(tree)
        if id(call) not in allowed and (name in kinds or name.removeprefix("diskcache.") in kinds)
    ]
    assert opened == []
    if any(module.split(".")[0] == "diskcache" for module, _ in imports_of(tree)):
        assert module_of(path) in ("icl_core.evaluation.index", "icl_core.evaluation.rows")


@for_each_file
def test_nothing_is_pickled(path):
    tree = tree_of(path)
    roots = {module.split(".")[0] for module, _ in imports_of(tree)}
    assert not roots & {"cloudpickle", "dill", "joblib", "shelve", "marshal"}
    assert not [name for module, name in imports_of(tree) if module == "pickle" and name is not None]
    used = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and ast.unparse(n.value) == "pickle"}
    assert used <= {"UnpicklingError"}, "pickle is imported for more than the error that torch.load raises"
    for name, call in calls_in(tree):
        assert name.split(".")[-1] not in ("read_pickle", "to_pickle") and name != "torch.save", f"line {call.lineno}"
        if name == "torch.load":
            assert keyword(call, "weights_only") is True, f"line {call.lineno}"
        assert keyword(call, "allow_pickle") is not True, f"line {call.lineno}"


@for_each_file
def test_remote_code_is_off_and_cannot_be_asked_for(path):
    tree = tree_of(path)
    for _, call in calls_in(tree):
        assert [k for k in call.keywords if k.arg == "allow_remote_code"] == [], f"line {call.lineno}"
        asked = [ast.unparse(k.value) for k in call.keywords if k.arg == "trust_remote_code"]
        assert asked in ([], ["False"]), f"line {call.lineno}"
    arguments = [node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)]
    assert not {"allow_remote_code", "trust_remote_code"} & set(arguments)


def test_only_the_index_and_the_job_table_open_databases() -> None:
    openers = {path.stem for path in ALL_FILES if "sqlite3.connect(" in path.read_text(encoding="utf-8")}
    assert "index" in openers and all("job" in name for name in openers - {"index"})
