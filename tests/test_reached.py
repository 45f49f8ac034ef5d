"""Whatever is defined is used by the app, the commands or the benchmarks: a name that tests alone reach is dead code.

Names are told apart by their text. A name of a module is used if its module reads it, another module imports it, or
reads it from the module. A method is used if an attribute of its name is read anywhere, a field also if its name stands
in a string. What is used by unused code alone is unused.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tests.support.sources import ALL_FILES, CORE_FILES, PAGE_FILES, module_of, tree_of

KEPT = {
    "icl_core.__main__.start": "the installed command",
    "icl_core.evaluation.cost.Estimate.is_calibrated": "printed with all of an estimate",
    "icl_core.evaluation.job_table.Job.resumed_from": "a column of the stored table",
    "icl_core.evaluation.store.Store.find": "how one record is read without the pages",
    "icl_core.scoring.behaviour.Behaviour.company": "asked together: whether any of the two holds",
    "icl_core.scoring.behaviour.Behaviour.length": "asked together: whether any of the two holds",
    "icl_core.scoring.prefix.KeptPrefixes.lengths": "the only way to see what is kept",
}
"""Names that only tests read, each with the reason why it stays."""

CALLED_ON_EACH = {"add_commands"}
"""Functions that are called on one module after another, whose names stand in a list."""
OWN_BASES = {"ABC", "Generic", "NamedTuple", "Protocol", "TypedDict", "object"}
"""Classes outside the project that call no method by its name."""

SOURCES = [*CORE_FILES, *PAGE_FILES]


class Definition(NamedTuple):
    """A name and the node that defines it; ``owner`` is the class of a method or field."""

    module: str
    owner: str
    name: str
    node: ast.AST
    is_field: bool = False

    @property
    def full_name(self) -> str:
        return ".".join(part for part in (self.module, self.owner, self.name) if part)


class Uses:
    """Where names are read: each place as the ids of the definitions that it stands in."""

    def __init__(self) -> None:
        self.of_modules: dict[tuple[str, str], list[frozenset[int]]] = defaultdict(list)
        self.of_attributes: dict[str, list[frozenset[int]]] = defaultdict(list)
        self.of_strings: dict[str, list[frozenset[int]]] = defaultdict(list)

    def read(self, module: str, tree: ast.Module, modules: frozenset[str]) -> None:
        """Adds the places of one module."""
        aliases = self._imported(tree, modules)
        for node in tree.body:
            if not (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"):
                self._visit(node, module, aliases, frozenset())

    def _imported(self, tree: ast.Module, modules: frozenset[str]) -> dict[str, str]:
        """The project's modules by the names that they have here; imported names are uses."""
        aliases = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                for name in node.names:
                    whole = f"{node.module}.{name.name}"
                    if whole in modules:
                        aliases[name.asname or name.name] = whole
                    else:
                        self.of_modules[str(node.module), name.name].append(frozenset())
        return aliases

    def _visit(self, node: ast.AST, module: str, aliases: dict[str, str], within: frozenset[int]) -> None:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            self.of_modules[module, node.id].append(within)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            of = aliases.get(node.value.id) if isinstance(node.value, ast.Name) else None
            (self.of_modules[of, node.attr] if of else self.of_attributes[node.attr]).append(within)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            self.of_strings[node.value].append(within)
            if node.value.startswith(":"):  # a function of this module by its name, for a process of its own
                self.of_modules[module, node.value[1:]].append(within)
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign):
            within |= {id(node)}
        for child in ast.iter_child_nodes(node):
            self._visit(child, module, aliases, within)

    def of(self, one: Definition) -> Iterable[frozenset[int]]:
        """Where a definition may be read."""
        if not one.owner:
            return self.of_modules[one.module, one.name]
        return [*self.of_attributes[one.name], *(self.of_strings[one.name] if one.is_field else ())]


def definitions(module: str, tree: ast.Module, foreign: set[str]) -> Iterator[Definition]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("__"):
            yield Definition(module, "", node.name, node)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            bound = [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]
            yield from (Definition(module, "", name, node) for name in bound if not name.startswith("__"))
        if isinstance(node, ast.ClassDef) and node.name not in foreign:
            yield from members(module, node)


def members(module: str, owner: ast.ClassDef) -> Iterator[Definition]:
    for node in owner.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield Definition(module, owner.name, node.target.id, node, is_field=True)
        if isinstance(node, ast.FunctionDef):
            if not node.name.startswith("__"):
                yield Definition(module, owner.name, node.name, node)
            for n in ast.walk(node):
                if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store) and ast.unparse(n.value) == "self":
                    yield Definition(module, owner.name, n.attr, n, is_field=True)


def foreign_classes() -> set[str]:
    """Classes whose base is another library's, which calls their methods by names of its own."""
    classes = [n for path in SOURCES for n in ast.walk(tree_of(path)) if isinstance(n, ast.ClassDef)]
    bases = {n.name: {ast.unparse(base).split("[")[0] for base in n.bases} for n in classes}
    found: set[str] = set()
    while new := {name for name, of in bases.items() if (of - bases.keys() - OWN_BASES or of & found)} - found:
        found |= new
    return found


def unreached() -> set[str]:
    modules, uses, foreign = frozenset(map(module_of, ALL_FILES)), Uses(), foreign_classes()
    for path in ALL_FILES:
        uses.read(module_of(path), tree_of(path), modules)
    defined = [one for path in SOURCES for one in definitions(module_of(path), tree_of(path), foreign)]
    defined = [one for one in defined if one.name not in CALLED_ON_EACH]
    dead: set[int] = set()
    while True:
        found = [one for one in defined if all(within & (dead | {id(one.node)}) for within in uses.of(one))]
        if len(now := {id(one.node) for one in found}) == len(dead):
            return {one.full_name for one in found}
        dead = now


def test_whatever_is_defined_is_used():
    assert unreached() == set(KEPT), "use the name, or delete it with its test"


def test_a_name_that_nothing_uses_is_found():
    text = """
class Kept:
    used: int
    unused: int

    def show(self):
        return self.used

    def hide(self):
        return helper(self.hide)

def helper(value):
    return only_by_the_unused(value)

def only_by_the_unused(value):
    return value

print(Kept(1, 2).show())
"""
    tree, uses = ast.parse(text), Uses()
    uses.read("m", tree, frozenset({"m"}))
    found = list(definitions("m", tree, set()))
    dead = {id(one.node) for one in found if one.name in ("hide", "helper")}
    alive = {one.name for one in found if any(not within & (dead | {id(one.node)}) for within in uses.of(one))}
    assert alive == {"Kept", "used", "show"}
