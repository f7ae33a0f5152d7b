"""The book: executed pages and prose side by side, made into HTML, and served on this machine."""

import ast
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gahb_book.places import Places
from gahb_book.report import format_page, load_published, load_seeds
from gahb_book.run.listing import load_pages
from gahb_book.run.missing import make_note_page
from gahb_book.run.notebooks import parse_notebook
from gahb_book.run.spec import Page
from gahb_book.run.stamp import is_whole, read_stamp
from gahb_core.files import hash_files, write_if_changed, write_safely

TOP = ("_config.yml", "_toc.yml", "CHANGELOG.md", "README.md")
BUILDER = "from jupyter_book.cli.main import main; main()"  # it has no `python -m`
RECORDED = re.compile(r"^[a-z0-9_]+(?:\.[a-z0-9_]+)+ = .*\n?", re.MULTILINE)  # by `record`
KEPT_MARK = b"<!-- kept values -->"  # in prose: a table of them stands there
NOT_STAGED = ("checkpoints", "experiments", "kept", ".ipynb_checkpoints")


def _drop_records(cell: dict[str, Any]) -> None:
    """Take the lines that `record` printed out of a cell's outputs: they are for JupyterLab."""
    for output in cell.get("outputs", []):
        if output.get("name") == "stdout":
            output["text"] = RECORDED.sub("", "".join(output["text"]))
    kept = [o for o in cell.get("outputs", []) if o.get("name") != "stdout" or o["text"].strip()]
    if cell.get("outputs"):
        cell["outputs"] = kept
        if not kept:  # nothing is left to fold away
            tags = [tag for tag in cell["metadata"].get("tags", []) if tag != "hide-output"]
            cell["metadata"]["tags"] = tags


def _tidy_notebook(content: dict[str, Any], page: Page) -> dict[str, Any]:
    """Return `content` for readers: no run times, paths or records, injected parameters hidden."""
    content["metadata"].pop("papermill", None)
    for cell in content["cells"]:
        _drop_records(cell)
        for key in ("papermill", "execution"):
            cell["metadata"].pop(key, None)
        tags = cell["metadata"].get("tags", [])
        if "injected-parameters" in tags:  # they stand in the page's own cell, see below
            tags.append("remove-cell")
        elif "parameters" in tags:
            cell["source"] = _fill_parameters("".join(cell["source"]), page.parameters)
    if page.title and content["cells"] and content["cells"][0]["cell_type"] == "markdown":
        source = "".join(content["cells"][0]["source"]).split("\n")
        content["cells"][0]["source"] = "\n".join([f"# {page.title}", *source[1:]])
    return content


def _fill_parameters(source: str, values: dict[str, Any]) -> str:
    r"""Return the parameters cell `source` as the page was run: its defaults replaced by `values`.

    >>> _fill_parameters('nums = [1, 10]  # N\nseed = 0\n', {"nums": [10, 100]})
    'nums = [10, 100]  # N\nseed = 0\n'
    """
    lines = source.splitlines(keepends=True)
    for node in reversed(ast.parse(source).body):
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        name, value = getattr(target, "id", None), getattr(node, "value", None)
        if name in values and value is not None:
            first, last = value.lineno - 1, value.end_lineno - 1
            before = lines[first].encode()[: value.col_offset].decode()
            after = lines[last].encode()[value.end_col_offset :].decode()
            lines[first : last + 1] = [f"{before}{values[name]!r}{after}"]
    return "".join(lines)


def _own_labels(content: dict[str, Any], page: Page) -> dict[str, Any]:
    """Return `content` with the page's name before each label, if its notebook is another page too.

    Labels are unique in a book, and one notebook may stand for several pages.
    """
    if page.name == page.notebook.stem:
        return content
    text = json.dumps(content, ensure_ascii=False)
    for label in set(re.findall(r":label: ([\w-]+)", text)):
        text = re.sub(rf"(?<![\w-]){label}(?![\w-])", f"{page.name}-{label}", text)
    return json.loads(text)


def _add_foot(content: dict[str, Any], page: Page, places: Places) -> dict[str, Any]:
    """Return `content` with a last line that says how its figures were made."""
    code = "\n".join("".join(c["source"]) for c in content["cells"] if c["cell_type"] == "code")
    seeds = re.findall(r"^seed *= *(\d+)", code, re.MULTILINE)  # the injected one comes last
    python = content["metadata"].get("language_info", {}).get("version", "")
    made = [f"profile {places.profile}", *(f"seed {seed}" for seed in seeds[-1:])]
    made += [f"Python {python}", *(f"{name} {version(name)}" for name in ("torch", "numpy"))]
    made.append(f"{platform.system()} on {platform.machine()}, {os.cpu_count()} cores")
    if stamp := read_stamp(page, places):  # what the figures depend on
        made.append(f"inputs `{stamp['from'][:12]}`")
    change = f"To change them: `.venv/bin/jupyter lab book/{page.notebook.name}` in a clone."
    source = "```{div} gahb-made\nHow these figures were made: " + ", ".join(made)
    source += f". {change}\n```"
    text = {"over-seeds": _over_seeds(page, places), "how-made": source}
    cells = [
        {"cell_type": "markdown", "id": name, "metadata": {}, "source": source}
        for name, source in text.items()
        if source
    ]
    return {**content, "cells": [*content["cells"], *cells]}


def _over_seeds(page: Page, places: Places) -> str:
    """Return a folded table of how far other noise moves the page's figures, or ""."""
    book = places.root / "book"
    figures = load_seeds(book / "measured/seeds.json").get(page.name)
    if not figures:
        return ""
    table = format_page(page.name, figures, load_published(book / "published.yml"))
    if not table:
        return ""
    num = len(next(iter(figures.values())))
    return (
        "````{admonition} How far other noise moves these figures\n:class: dropdown\n"
        f"The page was run with {num} seeds: the same networks and test images, other draws of "
        f"every noise. {{doc}}`scale` sums up all pages.\n\n{table}\n````"
    )


def _read_page(page: Page, places: Places) -> bytes:
    """Return the staged notebook of a page: the executed one, or a note that there is none.

    Raises:
        ValueError: where the executed notebook is damaged, with what makes it anew.
    """
    executed = places.executed(page.name)
    if executed.is_file():
        text, origin = executed.read_bytes(), executed
    else:
        text = make_note_page(page.notebook, f"It has no results yet: run `gahb run {page.name}`.")
        origin = page.notebook
    try:
        content = parse_notebook(text, origin)
        if not is_whole(page, places):
            raise ValueError(f"{executed} must be as `gahb run` left it, and was changed")
    except ValueError as error:
        raise ValueError(f"{error}; `gahb run --force {page.name}` makes it anew") from error
    if executed.is_file():
        content = _add_foot(content, page, places)
    content = _own_labels(_tidy_notebook(content, page), page)
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def _list_sources(root: Path) -> Iterator[Path]:
    """Yield every file of the book that is not a page."""
    yield from (root / name for name in TOP if (root / name).is_file())
    for path in (root / "book").rglob("*"):
        parts = path.relative_to(root / "book").parts
        if path.is_file() and path.suffix != ".ipynb" and parts[0] not in NOT_STAGED:
            yield path


def stage_book(places: Places) -> Path:
    """Return the folder `stage`, holding exactly the book's prose and its executed pages.

    Files that are as they should be are not touched; what no longer belongs there is removed.
    """
    stage = places.build / "stage"
    wanted = {
        stage / p.relative_to(places.root): p.read_bytes() for p in _list_sources(places.root)
    }
    for path, text in wanted.items():
        if KEPT_MARK in text:
            from gahb_book.report.kept import format_shipped  # here: torch takes seconds to load

            wanted[path] = text.replace(KEPT_MARK, format_shipped(places).encode())
    for page in load_pages(places.root):
        wanted[stage / "book" / f"{page.name}.ipynb"] = _read_page(page, places)
    wanted |= {stage / "book" / "_static" / path: text for path, text in _live_assets(wanted)}
    for target, content in wanted.items():
        write_if_changed(target, content)
    for path in stage.rglob("*"):
        if path.is_file() and path not in wanted:
            path.unlink()
    return stage


def library_files(root: Path) -> list[Path]:
    """Return the files of both packages: one is described in the book, the other makes it."""
    files = [p for package in ("gahb_core", "gahb_book") for p in (root / package).rglob("*")]
    return [p for p in files if p.is_file() and "__pycache__" not in p.parts]


def _live_assets(wanted: dict[Path, bytes]) -> list[tuple[str, bytes]]:
    """Return (path below _static, content) of what live figures load, if a page has one."""
    pages = [t.decode() for p, t in wanted.items() if p.suffix in (".md", ".ipynb")]
    if not any("gahb-live" in text or "_static/live/" in text for text in pages):
        return []
    from gahb_book.site.assets import page_assets  # here: torch takes seconds to load

    return list(page_assets(pages))


def _hash_inputs(places: Places) -> str:
    """Return the fingerprint of all that staging and building read, found without doing either.

    To stage loads torch, for the networks of live figures: an unchanged book is known before.
    """
    root, made = places.root, places.build / "executed"
    files = [*library_files(root), *(root / name for name in TOP)]
    files += (p for p in made.glob("[!.]*") if p.suffix in (".ipynb", ".hash"))
    for part in (root / "book").iterdir():
        if part.name not in ("experiments", ".ipynb_checkpoints"):
            files += part.rglob("*") if part.is_dir() else [part]
    return hash_files((p for p in files if p.is_file()), root)


def build_book(places: Places, force: bool = False) -> Path:
    """Return the first page of the HTML book, built from what has been executed.

    Warnings are errors, and all of them are reported. An unchanged book is not built again.

    Raises:
        RuntimeError: when the builder reports warnings or errors; what they are stands above.
    """
    html, stamp = places.html, places.build / "html.hash"
    index, made_from = html / "index.html", _hash_inputs(places)
    current = stamp.is_file() and stamp.read_text(encoding="utf-8").strip() == made_from
    if current and index.is_file() and not force:
        print("the HTML is up to date")
        return index
    stage = stage_book(places)
    stamp.unlink(missing_ok=True)
    shutil.rmtree(html, ignore_errors=True)  # else pages that were removed stay
    # --all: a build that goes on from the last one does not repeat its warnings
    command = [sys.executable, "-c", BUILDER, "build", "-W", "--keep-going", "-n", "--all"]
    command += ["--path-output", str(html.parents[1]), str(stage)]
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL)
    if done.returncode or not index.is_file():
        raise RuntimeError(
            "the book has warnings or errors, listed above: mend them and build again"
        )
    write_safely(stamp, made_from + "\n")
    return index
