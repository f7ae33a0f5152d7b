"""Recorded figures, read back: for tests, for other pages and for the summary."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from gahb_book.places import Places, find_root
from gahb_book.record import mark_published, show
from gahb_book.run.listing import load_pages


class Result(NamedTuple):
    """One recorded figure: its page and name, measured here, as published (or None), and `kind`.

    The kind, one of `KINDS`, says how the published figure is known.
    """

    page: str
    name: str
    value: Any
    published: Any = None
    kind: str | None = None


def load_results(page: str, profile: str = "laptop", root: Path | None = None) -> dict[str, Result]:
    """Return the figures that `page` recorded, by name.

    Raises:
        FileNotFoundError: when the page has not been run; the message says how.
        ValueError: when its file is damaged.
    """
    path = Places(root or find_root(), profile).results(page)
    if not path.is_file():
        raise FileNotFoundError(f"no results of page {page}: run it with `gahb run {page}`")
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return {
            name: Result(page, name, entry["value"], entry.get("published"), entry.get("kind"))
            for name, entry in table.items()
        }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path} must hold recorded figures, and is damaged ({error!r}): "
            f"`gahb run --force {page}` makes it anew"
        ) from error


def collect_results(profile: str = "laptop", root: Path | None = None) -> list[Result]:
    """Return the recorded figures of all pages that have run, in the order of the book."""
    root = root or find_root()
    rows: list[Result] = []
    for page in load_pages(root):
        if Places(root, profile).results(page.name).is_file():
            rows += load_results(page.name, profile, root).values()
    return rows


def format_results(rows: list[Result]) -> str:
    """Return a Markdown table of `rows`: measured beside published, with the mark of its kind.

    >>> print(format_results([Result("06_c_alpha", "c_alpha.slope", 0.62, 0.61, "paper")]))
    | page | figure | measured here | published |
    |---|---|---|---|
    | 06_c_alpha | c_alpha.slope | 0.62 | 0.61 [P] |
    """
    lines = ["| page | figure | measured here | published |", "|---|---|---|---|"]
    for row in rows:
        published = "" if row.published is None else mark_published(row.published, row.kind)
        lines.append(f"| {row.page} | {row.name} | {show(row.value)} | {published} |")
    return "\n".join(lines)
