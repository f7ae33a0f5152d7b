"""What of the library a page uses: the files that its notebook imports, through their imports.

A file counts by its syntax tree without docstrings: comments and layout change no result.
"""

import ast
import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from gahb_core.pages.notebooks import code_of, read_notebook

LIBRARY = "gahb_core"


class _File(NamedTuple):
    """What is known of a Python file: its fingerprint, imports and the texts in it."""

    digest: str
    imports: tuple[tuple[str, str], ...]  # (module, name in it, or "" for all of it)
    binds: dict[str, tuple[str, str]]  # name → where it is imported from
    texts: frozenset[str]


def _drop_docstrings(tree: ast.AST) -> None:
    for node in ast.walk(tree):
        kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]


def _find_imports(tree: ast.AST) -> tuple[list[tuple[str, str]], dict[str, tuple[str, str]]]:
    """Return what a tree imports of the library, and the names that this binds in it.

    `from gahb_core import room` is narrowed to the names that are then taken from `room`, unless
    `room` itself is handed on.
    """
    found, binds = [], {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(a.name, "") for a in node.names if a.name.split(".")[0] == LIBRARY]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == LIBRARY:
            binds |= {a.asname or a.name: (node.module, a.name) for a in node.names}
    nodes = list(ast.walk(tree))
    taken = {id(n.value): n.attr for n in nodes if isinstance(n, ast.Attribute)}
    uses = [n for n in nodes if isinstance(n, ast.Name) and n.id in binds]
    for name, (module, what) in binds.items():
        attributes = [taken.get(id(n)) for n in uses if n.id == name]
        if module == LIBRARY and attributes and None not in attributes:
            found += [(f"{LIBRARY}.{what}", attribute) for attribute in attributes]
        else:
            found.append((module, what))
    return sorted(set(found)), binds


def _examine(code: str) -> _File:
    tree = ast.parse(code)
    _drop_docstrings(tree)
    imports, binds = _find_imports(tree)
    constants = (n.value for n in ast.walk(tree) if isinstance(n, ast.Constant))
    texts = frozenset(text for text in constants if isinstance(text, str))
    digest = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    return _File(digest, tuple(imports), binds, texts)


@lru_cache(maxsize=1000)
def _examine_file(path: Path, changed: int, size: int) -> _File:
    return _examine(path.read_text(encoding="utf-8"))


def _look(path: Path) -> _File:
    stat = path.stat()
    return _examine_file(path, stat.st_mtime_ns, stat.st_size)


def _locate(root: Path, module: str) -> Path | None:
    """Return the file of a module of the library, a package's being its __init__."""
    path = root.joinpath(*module.split("."))
    files = (path / "__init__.py", path.with_name(path.name + ".py"))
    return next((p for p in files if p.is_file()), None)


def _resolve(root: Path, module: str, name: str) -> list[Path]:
    """Return the files that `from module import name` is about ("" for all of the module)."""
    path = _locate(root, module)
    if path is None:
        return []
    if name and _locate(root, f"{module}.{name}"):
        return _resolve(root, f"{module}.{name}", "")
    if path.name != "__init__.py" or module == LIBRARY:
        return [path]
    if name in (known := _look(path).binds):
        return _resolve(root, *known[name])
    return sorted(path.parent.rglob("*.py"))  # all of the room


def find_used(code: str, root: Path) -> set[Path]:
    """Return the library's files that `code` imports, through their imports.

    Of its other files (styles, data, scripts) those of every folder that these are in, or name.

    Raises:
        SyntaxError: where `code` is no Python.
    """
    used: set[Path] = set()
    left = list(_examine(code).imports)
    while left:
        for path in _resolve(root, *left.pop()):
            if path not in used:
                used.add(path)
                left += _look(path).imports
    library = root / LIBRARY
    others = [p for p in library.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")]
    rooms = {p.relative_to(library).parts[0] for p in used}
    named = {text for p in used for text in _look(p).texts}
    return used | {p for p in others if p.relative_to(library).parts[0] in rooms | named}


def _hash_source(path: Path) -> str:
    if path.suffix == ".py":
        return _look(path).digest
    return hashlib.sha256(path.read_bytes()).hexdigest()


def hash_used(notebook: Path, root: Path) -> str:
    """Return the fingerprint of what of the library, of book/measured and of lists a notebook uses.

    A notebook that is not plain Python is held to use all of it.
    """
    code = code_of(read_notebook(notebook))
    measured = [p for p in (root / "book" / "measured").rglob("*") if p.is_file()]
    named = [p for p in measured if p.name in code]
    try:
        used = find_used(code, root)
    except SyntaxError:
        used = {p for p in (root / LIBRARY).rglob("*") if p.is_file() and p.suffix != ".pyc"}
    reads = named or (measured if re.search(r"\bmeasured/|Path\([\"']measured", code) else [])
    reads += [p for p in (root / "book").glob("*.yml") if p.name in code]
    lines = [f"{p.relative_to(root)} {_hash_source(p)}" for p in sorted([*used, *reads])]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
