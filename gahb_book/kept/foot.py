"""The line at the foot of a figure that was drawn from kept values.

After each cell of a notebook, names that were made from a kept value are known by its text: what
is set from one of them is of them too. A cell that shows a figure and uses one ends with the line.
"""

import ast
import html
import re
from typing import Any

from gahb_book.kept.uses import running_page

SHOWS = re.compile(r"\b(plt\.show|show_figure|explore_\w+)\(")
_served: set[str] = set()  # functions whose last value was kept
_made: set[str] = set()  # names of the notebook that were made from kept values
_shells: set[int] = set()


def watch(function: str, kept: bool) -> None:
    """Note where a value of a function came from; the running notebook is watched from here on."""
    (_served.add if kept else _served.discard)(function)
    shell = _shell()
    if shell is not None and id(shell) not in _shells:
        _shells.add(id(shell))
        shell.events.register("post_run_cell", _after)


def _shell() -> Any:
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    return get_ipython()


def _after(result: Any) -> None:
    from IPython.display import HTML, display

    source = result.info.raw_cell
    try:
        used = follow(source, _served, _made)
    except SyntaxError:  # magics
        return
    if used and result.success and SHOWS.search(source):
        display(HTML(foot_html(running_page())))


def foot_html(page: str) -> str:
    """Return the line: that values were kept, and the command that computes them anew."""
    command = f"gahb run --fresh {page}".strip()
    return (
        '<p class="gahb-kept">Drawn from kept values; to compute them anew: '
        f"<code>{html.escape(command)}</code></p>"
    )


def _loads(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def _stores(statement: ast.AST) -> set[str]:
    """Return the names that a statement sets, or changes: x = …, x[i] = …, x.append(…)."""
    found = set()
    for node in ast.walk(statement):
        stored = isinstance(getattr(node, "ctx", None), ast.Store)
        called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if called and node.func.attr in ("append", "extend", "update", "add"):  # type: ignore[attr-defined]
            node, stored = node.func.value, True  # type: ignore[attr-defined]
        while isinstance(node, ast.Subscript | ast.Attribute):
            node = node.value
        if stored and isinstance(node, ast.Name):
            found.add(node.id)
    return found


def follow(source: str, served: set[str], made: set[str]) -> bool:
    """Return whether a cell uses kept values; `made` gains the names that it makes from them.

    Args:
        source: of the cell.
        served: names of functions whose values were kept.
        made: names that were made from kept values before; changed in place.

    Raises:
        SyntaxError: where the cell is no Python.
    """
    used = False
    for statement in ast.parse(source).body:
        loads, stores = _loads(statement), _stores(statement)
        defined = False
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            if any(ast.unparse(d).startswith("keep") for d in statement.decorator_list):
                continue
            defined, stores = True, {statement.name}
        of_kept = bool(loads & (served | made))
        if of_kept:
            made |= stores
        elif isinstance(statement, ast.Assign | ast.AnnAssign) or defined:
            made -= stores
        used |= of_kept and not defined
    return used
