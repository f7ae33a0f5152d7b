"""The reference of the library: signatures and docstrings of its public names, as Markdown."""

import ast
import re
from pathlib import Path

from gahb_core import ROOMS

Definition = ast.FunctionDef | ast.ClassDef


def _public(tree: ast.Module) -> list[Definition]:
    """Return the definitions of a module whose names do not begin with _, in their order."""
    found = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    return [n for n in found if not n.name.startswith("_")]


def _exported(init: ast.Module) -> set[str]:
    """Return the names in the `__all__` of a room that is a folder."""
    for node in init.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def list_definitions(room: str, root: Path) -> tuple[str, list[Definition]]:
    """Return a room's docstring, and its public definitions.

    Of a room that is a file these are all that do not begin with _; of a folder those that it
    hands on.
    """
    library = root / "gahb_core"
    one = library / f"{room}.py"
    if one.is_file():
        tree = ast.parse(one.read_text(encoding="utf-8"))
        return ast.get_docstring(tree) or "", _public(tree)
    init = ast.parse((library / room / "__init__.py").read_text(encoding="utf-8"))
    names, found = _exported(init), []
    for path in sorted((library / room).glob("[!_]*.py")):
        found += [
            n for n in _public(ast.parse(path.read_text(encoding="utf-8"))) if n.name in names
        ]
    return ast.get_docstring(init) or "", found


def _sign(node: Definition) -> str:
    """Return a definition as a call."""
    if isinstance(node, ast.ClassDef):
        fields = [n for n in node.body if isinstance(n, ast.AnnAssign)]
        return f"{node.name}({', '.join(ast.unparse(field) for field in fields)})"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}({ast.unparse(node.args)}){returns}"


def _escape(line: str) -> str:
    r"""Return a line as Markdown that shows it as it is, but for its `code`.

    >>> print(_escape("Return `a_b` of shape (B, *shape)."))
    Return `a_b` of shape (B, \*shape).
    """
    parts = line.split("`")
    return "`".join(p if i % 2 else re.sub(r"([*_$<{\[])", r"\\\1", p) for i, p in enumerate(parts))


def _format(node: Definition, room: str) -> str:
    """Return a definition: its name, its call, what its docstring says first, and the rest."""
    first, _, rest = (ast.get_docstring(node) or "").partition("\n")
    text = f"### {room}.{node.name}\n\n{_escape(first)}\n\n"
    body = f"{_sign(node)}\n\n{rest.strip()}".rstrip()
    return f"{text}`````{{code-block}} text\n{body}\n`````\n"


def format_reference(root: Path) -> str:
    """Return the whole reference: a section a room, in their order, a name after the other."""
    parts = []
    for room in ROOMS:
        about, found = list_definitions(room, root)
        parts.append(f"## {room}\n\n`````{{code-block}} text\n{about}\n`````\n")
        parts += [_format(node, room) for node in {n.name: n for n in found}.values()]
    return "\n".join(parts)
