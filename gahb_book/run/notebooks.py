"""Notebooks, read strictly: what is damaged is refused in one line that names the file."""

import ast
import json
from pathlib import Path
from typing import Any

from gahb_book.run.spec import Page


def parse_notebook(content: bytes, origin: object) -> dict[str, Any]:
    """Return a notebook of format 4.

    Raises:
        ValueError: where it is no whole one, naming `origin`.
    """
    if content.startswith(b"\xef\xbb\xbf"):
        raise ValueError(f"{origin} must be UTF-8 without a byte-order mark, and begins with one")
    try:
        notebook = json.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        marks = b"<<<<<<< " in content and b">>>>>>> " in content
        why = "it has conflict markers" if marks else error
        raise ValueError(f"{origin} must be a notebook, and is damaged: {why}") from error
    found = notebook.get("nbformat") if isinstance(notebook, dict) else None
    if found != 4:
        raise ValueError(f"{origin} must be a notebook of format 4, not {found}")
    _check_cells(notebook, origin)
    return notebook


def _check_cells(notebook: dict[str, Any], origin: object) -> None:
    """Refuse a notebook, or a cell, without what every one has."""
    kinds = {"metadata": dict, "cells": list}
    for key, kind in kinds.items():
        if not isinstance(notebook.get(key), kind):
            raise ValueError(f"{origin} must be a notebook with {key}")
    for number, cell in enumerate(notebook["cells"], 1):
        needed: dict[str, Any] = {"cell_type": str, "metadata": dict, "source": str | list}
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            needed["outputs"] = list
        for key, kind in needed.items():
            if not (isinstance(cell, dict) and isinstance(cell.get(key), kind)):
                raise ValueError(f"{origin}: cell {number} must have {key}")


def read_notebook(path: Path) -> dict[str, Any]:
    """Return the notebook of a file.

    Raises:
        ValueError: where it is no whole one of format 4, naming the file.
    """
    return parse_notebook(path.read_bytes(), path)


def source_of(cell: dict[str, Any]) -> str:
    """Return the text of a cell."""
    return "".join(cell["source"])


def code_of(notebook: dict[str, Any]) -> str:
    """Return the Python of a notebook, without the lines that are for IPython."""
    cells = [source_of(cell) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    lines = "\n".join(cells).split("\n")
    return "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in lines)


def _name_of(statement: ast.stmt) -> str | None:
    """Return the name that a statement `name = value` or `name: type = value` sets, else None."""
    if not isinstance(statement, ast.AnnAssign | ast.Assign) or statement.value is None:
        return None
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return targets[0].id if len(targets) == 1 and isinstance(targets[0], ast.Name) else None


def _names_of(page: Page, number: int, source: str) -> list[str]:
    """Return the names that the cell of the parameters sets, in its order."""
    where = f"page {page.name}, cell {number} of {page.notebook.name} (tagged parameters)"
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise ValueError(f"{where} must be Python: line {error.lineno}: {error.msg}") from error
    names = []
    for statement in statements:
        name = _name_of(statement)
        if name is None:
            raise ValueError(
                f"{where} must hold lines `name = value` alone, not {ast.unparse(statement)!r}"
            )
        names.append(name)
    return names


def list_parameters(page: Page) -> list[str]:
    """Return the parameters that a page's notebook takes: what papermill's cell of them sets.

    Papermill sets its own after the first cell tagged "parameters", or in place of a cell tagged
    "injected-parameters": so there may be one of the former and none of the latter.

    Raises:
        ValueError: for other cells so tagged, and for a parameter that papermill would not see
            being set: a tuple's, or of another statement; with page and cell.
    """
    tags = [cell["metadata"].get("tags", []) for cell in read_notebook(page.notebook)["cells"]]
    injected = [i for i, tag in enumerate(tags, 1) if "injected-parameters" in tag]
    if injected:
        raise ValueError(
            f"page {page.name}: {page.notebook.name} must be without injected parameters, "
            f"and cell {injected[0]} is tagged so: delete it"
        )
    tagged = [i for i, tag in enumerate(tags, 1) if "parameters" in tag]
    if len(tagged) > 1:
        raise ValueError(
            f"page {page.name}: {page.notebook.name} must have one cell tagged parameters, "
            f"not cells {tagged}: the later ones would undo what is set"
        )
    if not tagged:
        return []
    cell = read_notebook(page.notebook)["cells"][tagged[0] - 1]
    return _names_of(page, tagged[0], source_of(cell))


def choose_parameters(page: Page, profile: str) -> dict[str, Any]:
    """Return the page's parameters, and the profile where the notebook takes one.

    Raises:
        ValueError: for a parameter that the notebook does not take; see `list_parameters`.
    """
    takes = list_parameters(page)
    unknown = sorted(set(page.parameters) - set(takes))
    if unknown:
        raise ValueError(
            f"parameters of page {page.name} must be of {sorted(takes)}, not {unknown}"
        )
    return {**({"profile": profile} if "profile" in takes else {}), **page.parameters}
