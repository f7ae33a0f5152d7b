"""Recorded figures: the headline numbers of a chapter, kept for tests and the summary."""

import json
import math
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from gahb_core.pages.files import write_atomically
from gahb_core.pages.spec import Places, find_root, load_pages

VARIABLE = "GAHB_RESULTS"  # the file that a running page records into


class Result(NamedTuple):
    """One recorded figure: the page and its name, measured here, and as published (or None)."""

    page: str
    name: str
    value: Any
    published: Any = None


def _check(value: Any, what: str) -> Any:
    """Return `value` in plain Python: a finite number, or a list or dict of them, else raise."""
    if hasattr(value, "tolist"):  # a tensor, an array or one of their scalars
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _check(v, f"{what}[{key!r}]") for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_check(v, f"{what}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{what} must be a number, or a list or dict of numbers, not {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{what} must be finite, not {value!r}")
    return value


def _show(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_show(v)}" for key, v in value.items())
    if isinstance(value, list):
        return "[" + ", ".join(map(_show, value)) + "]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def record(name: str, value: Any, published: Any = None) -> None:
    """Print a headline figure, and keep it in the page's results while `gahb run` runs the page.

    Args:
        name: "chapter.figure": lower-case letters, digits, _ and dots.
        value: a finite number, or a list or dict of them; tensors and arrays count as such.
        published: the paper's figure, of the same kinds, or a short text.

    Raises:
        ValueError: for another name, or a value that is no number or not finite.
    """
    if not re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)*", name):
        raise ValueError(f"name must be lower-case words joined by dots, not {name!r}")
    value = _check(value, f"value of {name}")
    entry = {"value": value}
    if published is not None:
        text = isinstance(published, str)
        entry["published"] = published if text else _check(published, f"published of {name}")
    beside = f"  (published: {_show(entry['published'])})" if published is not None else ""
    print(f"{name} = {_show(value)}{beside}")
    if os.environ.get(VARIABLE):
        path = Path(os.environ[VARIABLE])
        known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        write_atomically(path, json.dumps({**known, name: entry}, indent=1, sort_keys=True) + "\n")


def load_results(page: str, profile: str = "laptop", root: Path | None = None) -> dict[str, Result]:
    """Return the figures that `page` recorded, by name.

    Raises:
        FileNotFoundError: when the page has not been run; the message says how.
    """
    path = Places(root or find_root(), profile).results(page)
    if not path.is_file():
        raise FileNotFoundError(f"no results of page {page}: run it with `gahb run {page}`")
    table = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: Result(page, name, entry["value"], entry.get("published"))
        for name, entry in table.items()
    }


def collect_results(profile: str = "laptop", root: Path | None = None) -> list[Result]:
    """Return the recorded figures of all pages that have run, in the order of the book."""
    root = root or find_root()
    rows: list[Result] = []
    for page in load_pages(root):
        if Places(root, profile).results(page.name).is_file():
            rows += load_results(page.name, profile, root).values()
    return rows


def format_results(rows: list[Result]) -> str:
    """Return a Markdown table of `rows`: measured beside published.

    >>> print(format_results([Result("06_c_alpha", "c_alpha.slope", 0.62, 0.61)]))
    | page | figure | measured here | published |
    |---|---|---|---|
    | 06_c_alpha | c_alpha.slope | 0.62 | 0.61 |
    """
    lines = ["| page | figure | measured here | published |", "|---|---|---|---|"]
    for row in rows:
        published = "" if row.published is None else _show(row.published)
        lines.append(f"| {row.page} | {row.name} | {_show(row.value)} | {published} |")
    return "\n".join(lines)
