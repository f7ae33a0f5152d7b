"""What other noise moves: the figures of a page run with several seeds.

`book/measured/seeds.json` holds, for each page and figure, the value with each seed, the book's own
first. Networks and test images are the same; every draw of noise differs.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from gahb_book.record import show
from gahb_book.report.batches import flatten
from gahb_book.report.results import Result
from gahb_book.report.summary import (
    Published,
    Seeds,
    describe,
    find_published,
    pick_numbers,
    show_span,
)


class Range(NamedTuple):
    """A figure over seeds: least, mean and greatest of one number."""

    name: str
    low: float
    mean: float
    high: float

    @property
    def width(self) -> float:
        """Return the range as a share of the mean's size; infinite for a mean of zero."""
        span = self.high - self.low
        return span / abs(self.mean) if self.mean else (float("inf") if span else 0.0)


def load_seeds(path: Path) -> Seeds:
    """Return page → figure → its values by seed, from the file at `path`; {} without one.

    Raises:
        ValueError: for a figure that has not as many values as the first.
    """
    if not path.is_file():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))["values"]
    counts = {len(values) for figures in found.values() for values in figures.values()}
    if len(counts) > 1:
        raise ValueError(f"{path} must hold as many seeds for every figure, and holds {counts}")
    return found


def find_ranges(figures: Mapping[str, Sequence[Any]]) -> Iterator[Range]:
    """Yield the range of every number of a page's figures; what rounding leaves (< 1e-6) is none.

    >>> [r.name for r in find_ranges({"a": [{"x": 1, "y": 2}, {"x": 2, "y": 2}]})]
    ['a[x]', 'a[y]']
    """
    for name, values in figures.items():
        by_seed = [dict(flatten(name, value)) for value in values]
        for key in by_seed[0]:
            numbers = [numbers[key] for numbers in by_seed if key in numbers]
            if max(map(abs, numbers)) > 1e-6:
                yield Range(key, min(numbers), sum(numbers) / len(numbers), max(numbers))


def format_page(
    page: str, figures: Mapping[str, Sequence[Any]], published: Sequence[Published]
) -> str:
    """Return a Markdown table of a page's figures that have words, here and over the seeds.

    Args:
        page: its name.
        figures: name → values by seed, the page's own first.
        published: entries that say figures in words.

    Returns:
        "" where no figure of the page has words.
    """
    lines = []
    for name, values in figures.items():
        entry = find_published(Result(page, name, values[0]), published)
        if entry is None:
            continue
        numbers = [pick_numbers(value, entry.key) for value in values]
        unit = f" {entry.unit}" if entry.unit else ""
        here, over = (show_span(n) for n in (numbers[0], [v for seed in numbers for v in seed]))
        lines.append(f"| {describe(name, entry)} | {here}{unit} | {over}{unit} |")
    head = "| figure | on this page | over all seeds |\n|---|--:|--:|\n"
    return head + "\n".join(lines) if lines else ""


def format_pages(seeds: Seeds) -> str:
    """Return a Markdown table: for each page, how far its figures range over the seeds."""
    lines = ["| page | figures | median range | over a tenth | widest |", "|---|--:|--:|--:|---|"]
    for page, figures in sorted(seeds.items()):
        ranges = [r for r in find_ranges(figures) if r.mean]
        widest = max(ranges, key=lambda r: r.width)
        lines.append(
            f"| {{doc}}`{page}` | {len(ranges)} | {median(r.width for r in ranges):.2%} "
            f"| {sum(r.width > 0.1 for r in ranges)} "
            f"| `{widest.name}`: {show(widest.low)} to {show(widest.high)} |"
        )
    return "\n".join(lines)
