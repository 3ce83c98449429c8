"""A key for the code behind a result, so that a cached one is used only while it still holds."""

import ast
import hashlib
from functools import cache
from pathlib import Path

# Modules that results pass through but that cannot change a number.
PLUMBING = {
    "lmmoe",
    "lmmoe.detectors",
    "lmmoe.detectors.saving",
    "lmmoe.errors",
    "lmmoe.paths",
    "lmmoe.progress",
}


def key(*modules: str) -> str:
    """Ten hexadecimal digits that change with the meaning of modules or of what they import.

    Only modules of lmmoe are followed; comments, docstrings and layout do not count.
    """
    digest = hashlib.sha256()
    for name in sorted(set().union(*map(_closure, modules))):
        digest.update(f"{name}\n{_meaning(name)}\n".encode())
    return digest.hexdigest()[:10]


def _closure(module: str) -> set[str]:
    found, todo = set(), [module]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += [other for other in _imports(name) if other not in PLUMBING]
    return found


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_file(module).read_text(encoding="utf-8"))


def _file(module: str) -> Path | None:
    """Source file of a module of lmmoe; None where there is no such module."""
    stem = Path(__file__).parent.joinpath(*module.split(".")[1:])
    files = (stem.with_suffix(".py"), stem / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def _imports(module: str) -> set[str]:
    """Modules of lmmoe that a module imports, at any depth of its code."""
    names = set()
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "lmmoe":
            # "from lmmoe import training" names a module, "from lmmoe.mmoe import MMoE" does not,
            # and lmmoe.metrics has a function "vus" beside its module "vus": so both count.
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name for name in inner if _file(name)} | {node.module}
    return names


@cache
def _meaning(module: str) -> str:
    tree = _tree(module)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
