"""A miniature project, to run and to break."""

import json
from pathlib import Path

from gahb_book.run import load_pages

ROOT = Path(__file__).resolve().parents[1]


def make_notebook(*cells, parameters=None):
    """Return a notebook's JSON: code cells, or Markdown for those that begin with #."""
    made = []
    for i, source in enumerate(cells):
        kind = "markdown" if source.startswith("#") else "code"
        cell = {"cell_type": kind, "id": f"c{i}", "metadata": {}, "source": source}
        made.append(cell | ({"outputs": [], "execution_count": None} if kind == "code" else {}))
    if parameters:
        cell = {"cell_type": "code", "id": "p", "metadata": {"tags": ["parameters"]},
                "source": parameters, "outputs": [], "execution_count": None}  # fmt: skip
        made.insert(1, cell)
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return json.dumps({"cells": made, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})


def make_project(folder):
    """Return a folder made a miniature project.

    Two pages of one notebook, and a prose page.
    """
    (folder / "book").mkdir()
    (folder / "book" / "index.md").write_text("# Contents\n\nA book.\n")
    (folder / "book" / "a.ipynb").write_text(
        make_notebook(
            "# A page",
            "from gahb_book.record import record\n"
            "record('a.twice', 2 * num, published=3, kind='paper')",
            parameters="num = 1\nprofile = 'laptop'",
        )
    )
    (folder / "book" / "pages.yml").write_text(
        "pages:\n"
        "  - {name: a_one, notebook: a.ipynb, records: [a.twice]}\n"
        "  - {name: a_five, notebook: a.ipynb, title: With five, parameters: {num: 5}}\n"
    )
    (folder / "_config.yml").write_text("title: Small\nexecute: {execute_notebooks: 'off'}\n")
    (folder / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nchapters:\n- file: book/a_one\n- file: book/a_five\n"
    )
    return folder


def add_page(project, name, *cells, records=(), parameters=None):
    """Add a notebook and its page to the miniature project."""
    (project / "book" / f"{name}.ipynb").write_text(make_notebook(*cells, parameters=parameters))
    line = f"  - {{name: {name}, notebook: {name}.ipynb, records: {json.dumps(list(records))}}}\n"
    with (project / "book" / "pages.yml").open("a") as file:
        file.write(line)
    return next(page for page in load_pages(project) if page.name == name)


def page_of(item):
    """Return the page that a test is about (the parameter `page`, or `path` in the built book)."""
    given = item.callspec.params if hasattr(item, "callspec") else {}
    path = str(given.get("path", ""))
    named = Path(path).stem if path.startswith("book/") else None
    return given.get("page", named)


def asked_pages(items):
    """Return the pages that the tests `items` are about; none, which stands for all, if one of
    them is about the whole book, or the run of everything."""
    names = [page_of(item) for item in items if "executed_pages" in item.fixturenames]
    known = {page.name for page in load_pages(ROOT)}
    return [] if None in names else [name for name in dict.fromkeys(names) if name in known]
