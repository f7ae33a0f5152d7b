"""The table of contents, made from the list of pages: `_toc.yml`, as jupyter-book reads it."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from gahb_book.run.listing import load_pages, load_prose
from gahb_book.run.spec import Page
from gahb_core.files import write_if_changed

HEAD = "# Written by `gahb toc` from book/pages.yml: change that.\n"


def chapter_number(name: str) -> int | None:
    """Return the number that a page's name begins with, or None.

    >>> chapter_number("03_transition_faces"), chapter_number("training")
    (3, None)
    """
    found = re.match(r"(\d\d)_", name)
    return int(found[1]) if found else None


def page_heading(page: Page) -> str:
    """Return the heading of a page: its title, or else the first heading of its notebook.

    Raises:
        ValueError: for a notebook without a heading.
    """
    if page.title:
        return page.title
    for cell in json.loads(page.notebook.read_text(encoding="utf-8"))["cells"]:
        found = re.search(r"^# (.+)$", "".join(cell["source"]), re.MULTILINE)
        if cell["cell_type"] == "markdown" and found:
            return found[1]
    raise ValueError(f"notebook {page.notebook} must begin with a heading, and has none")


def _nest(pages: list[Page]) -> list[dict]:
    """Return the chapters of a part: pages of one number stand under the first of them."""
    chapters: list[dict] = []
    for page in pages:
        entry, number = {"file": f"book/{page.name}"}, chapter_number(page.name)
        last = Path(chapters[-1]["file"]).name if chapters else ""
        if number is not None and chapter_number(last) == number:
            chapters[-1].setdefault("sections", []).append(entry)
        else:
            chapters.append(entry)
    return chapters


def make_contents(pages: list[Page], prose: tuple[str, ...] = ()) -> str:
    """Return the text of `_toc.yml`: parts in their order, chapters numbered as in their names.

    Raises:
        ValueError: where the first page begins no part.
    """
    if not pages or not pages[0].part:
        raise ValueError("the first page of book/pages.yml must have a part, and has none")
    parts: list[list[Page]] = []
    for page in pages:
        if page.part:
            parts.append([])
        parts[-1].append(page)
    made: list[dict[str, Any]] = []
    for part in parts:
        # chapter 0 and what has no number in its name are not counted
        numbered = {"numbered": 1} if chapter_number(part[0].name) else {}
        made.append({"caption": part[0].part, **numbered, "chapters": _nest(part)})
    made[-1]["chapters"] += [{"file": f"book/{name}"} for name in prose]
    contents = {"format": "jb-book", "root": "book/index", "parts": made}
    return HEAD + yaml.safe_dump(contents, sort_keys=False, allow_unicode=True, width=100)


def write_contents(root: Path) -> Path:
    """Write `_toc.yml` where it is not as `make_contents` has it, and return its path.

    Raises:
        ValueError: see `load_pages` and `make_contents`.
    """
    path = root / "_toc.yml"
    write_if_changed(path, make_contents(load_pages(root), load_prose(root)).encode())
    return path
