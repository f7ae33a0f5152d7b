"""The summary: every published figure beside ours, with a verdict by one rule.

`book/published.yml` says in words what each published figure is of, how near counts, and why ours
may differ. The figures themselves are those that the pages recorded. `claims` gathers them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from os.path import commonprefix
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from gahb_book.record import mark_published, show
from gahb_book.report.results import Result
from gahb_book.run.listing import expand_braces

VERDICTS = ("reproduced", "partly", "not")
Seeds = Mapping[str, Mapping[str, Sequence[Any]]]  # page → figure → its values by seed
PARTLY = 3.0  # how many times the tolerance is still "partly"
RULE = (
    "*Reproduced*: within the tolerance of what was published, which is 0.5 dB for figures in "
    "decibels and a tenth of the published figure for others, unless `book/published.yml` states "
    "another. *Partly*: within three times that. *Not*: beyond. If a range was published, its "
    "nearer end counts; if we have several figures under one name, the furthest counts."
)
KEYS = {"figures", "pages", "what", "key", "unit", "within", "as", "published", "kind", "why"}
KEYS |= {"control"}


class Control(NamedTuple):
    """A cheap stand-in that must not pass: a tolerance that lets it pass is refused.

    Attributes:
        what: the stand-in in words ("the mean training image").
        value: its figure, or the name of the page's figure that is; {} stands for what the star
            of the published name stands for.
        of: patterns of the names that it is a control of.
    """

    what: str
    value: float | str
    of: tuple[str, ...] = ("*",)


class Published(NamedTuple):
    """What the published figures of some names are of.

    Attributes:
        figures: patterns of recorded names; pages: patterns of the pages that record them.
        what: the figure in words; unit: "dB" or "".
        key: which figure counts, where several are recorded under the name.
        within: the tolerance, absolute, or a share of the published figure, as "50%"; None: that
            of the rule.
        low, high: the published figure in numbers, where it is a text; or other figures' names.
        published, kind: where the page records none.
        why: why ours may differ.
        control: what must not pass.
    """

    figures: tuple[str, ...]
    what: str
    pages: tuple[str, ...] = ("*",)
    unit: str = ""
    key: str | None = None
    within: float | str | None = None
    low: float | str | None = None
    high: float | str | None = None
    published: Any = None
    kind: str | None = None
    why: str = ""
    control: Control | None = None


class Row(NamedTuple):
    """A published figure beside ours: `off` is their distance, in units of the tolerance."""

    result: Result
    entry: Published
    difference: float
    off: float
    verdict: str


def _make_entry(entry: Any, path: Path) -> Published:
    """Return an entry of the file under `published`."""
    if not isinstance(entry, dict) or not {"figures", "what"} <= set(entry) <= KEYS:
        raise ValueError(
            f"entries under published in {path} must have figures and what, of {sorted(KEYS)}: "
            f"{entry}"
        )
    low, high = entry.get("as", (None, None))
    known = {k: entry[k] for k in KEYS - {"figures", "pages", "as", "control"} if k in entry}
    control = entry.get("control") and Control(**entry["control"])
    figures = tuple(expand_braces(entry["figures"]))
    pages = tuple(entry.get("pages", "*"))
    return Published(figures, low=low, high=high, pages=pages, control=control, **known)


def load_published(path: Path) -> list[Published]:
    """Return what `book/published.yml`, at `path`, says of published figures.

    Raises:
        ValueError: for an entry without words or with keys that are unknown.
    """
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))["published"]
    return [_make_entry(entry, path) for entry in entries]


def load_news(path: Path) -> list[tuple[str, str, str]]:
    """Return page, name and words of the figures of `book/published.yml` that are new here."""
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))["new"]
    return [(page, name, what) for page, name, what in entries]


def pick_numbers(value: Any, key: str | None = None) -> list[float]:
    """Return the numbers of a recorded value: that of `key`, or the median, or all."""
    if isinstance(value, dict):
        key = "median" if key is None and "median" in value else key
        value = list(value.values()) if key is None else value[key]
    return (
        [n for v in value for n in pick_numbers(v)] if isinstance(value, list) else [float(value)]
    )


def _bounds(published: Any, entry: Published, beside: Mapping[str, Any]) -> tuple[float, float]:
    """Return the published figure as a range."""
    if entry.low is not None or entry.high is not None:
        low = -math.inf if entry.low is None else entry.low
        high = math.inf if entry.high is None else entry.high
        low, high = (beside[v] if isinstance(v, str) else v for v in (low, high))
        return low, high
    if isinstance(published, str):
        raise ValueError(f"{entry.what}: the published {published!r} must be said in numbers: as")
    found = pick_numbers(published)
    return min(found), max(found)


def _judge(
    found: Sequence[float], bounds: tuple[float, float], entry: Published
) -> tuple[float, float]:
    """Return the largest difference from a published range, and how many tolerances it is."""
    low, high = bounds
    difference = max((v - low if v < low else max(v - high, 0.0) for v in found), key=abs)
    near, within = low if difference < 0 else high, entry.within
    if isinstance(within, str):
        within = abs(near) * float(within.removesuffix("%")) / 100
    within = within or (0.5 if entry.unit == "dB" else abs(near) / 10)
    if not difference:
        return 0.0, 0.0
    return difference, abs(difference) / within if within else math.inf


def _refuse_control(
    name: str, bounds: tuple[float, float], entry: Published, beside: Mapping[str, Any]
) -> None:
    """Raise where the entry's control would pass as reproduced."""
    control = entry.control
    if control is None or not any(fnmatchcase(name, pattern) for pattern in control.of):
        return
    value = control.value
    if isinstance(value, str):
        figure = value.replace("{}", _starred(name, entry))
        if figure not in beside:
            raise ValueError(f"{name}: the page must record its control, {figure}")
        value = beside[figure]
    if _judge(pick_numbers(value), bounds, entry)[1] <= 1:
        raise ValueError(
            f"{name}: the tolerance must be narrower, or the figure is no test: "
            f"{control.what} ({show(value)}) would count as reproduced"
        )


def compare(result: Result, entry: Published, beside: Mapping[str, Any] | None = None) -> Row:
    """Return a recorded figure beside what was published, with the verdict of `RULE`.

    Args:
        result: the figure.
        entry: what it is of.
        beside: the values of the page's other figures, by name.

    Raises:
        ValueError: for a published text that the entry does not give in numbers, and for a
            tolerance within which the entry's control would pass.
    """
    published, kind = result.published, result.kind
    if published is None:
        published, kind = entry.published, entry.kind
    bounds = _bounds(published, entry, beside or {})
    found = pick_numbers(result.value, entry.key)
    difference, off = _judge(found, bounds, entry)
    _refuse_control(result.name, bounds, entry, beside or {})
    verdict = VERDICTS[(off > 1) + (off > PARTLY)]
    shown = result._replace(value=[min(found), max(found)], published=published, kind=kind)
    return Row(shown, entry, difference, off, verdict)


def find_published(result: Result, published: Sequence[Published]) -> Published | None:
    """Return the first entry that a recorded figure belongs to, or None."""
    for entry in published:
        if any(fnmatchcase(result.page, page) for page in entry.pages) and any(
            fnmatchcase(result.name, figure) for figure in entry.figures
        ):
            return entry
    return None


def summarize(results: Sequence[Result], published: Sequence[Published]) -> Iterator[Row]:
    """Yield a row for every recorded figure of which something was published.

    Raises:
        ValueError: for a published figure that no entry says in words.
    """
    for result in results:
        entry = find_published(result, published)
        if entry is None and result.published is not None:
            raise ValueError(
                f"{result.name} of page {result.page} is published and must be in "
                "book/published.yml: what it is, and why ours may differ"
            )
        if entry and (result.published is not None or entry.kind):
            yield compare(
                result, entry, {r.name: r.value for r in results if r.page == result.page}
            )


def _starred(name: str, entry: Published) -> str:
    """Return what the star of an entry stands for in a name, or what its braces do."""
    figure = next(f for f in entry.figures if fnmatchcase(name, f))
    head, star, tail = figure.partition("*")
    if not star:
        shared = commonprefix(entry.figures) if len(entry.figures) > 1 else name
        return name[shared.rfind(".") + 1 :] if shared != name else ""
    return name[len(head) :] if "*" in tail else name[len(head) : len(name) - len(tail)]


def describe(name: str, entry: Published) -> str:
    """Return a figure in words: those of its entry, and what the star or the braces stand for.

    >>> describe("a.psnr.10", Published(("a.psnr.*",), "PSNR at {} dB"))
    'PSNR at 10 dB'
    """
    varied = _starred(name, entry).replace(".", ", ").replace("_", " ")
    return entry.what.replace("{}", varied)


def show_span(numbers: Sequence[float]) -> str:
    """Return numbers as their least and greatest, or as one where they look the same."""
    return " to ".join(dict.fromkeys((show(min(numbers)), show(max(numbers)))))


def format_ours(row: Row) -> str:
    """Return our figure as a table shows it: a number or a range, and its unit."""
    return show_span(row.result.value) + (f" {row.entry.unit}" if row.entry.unit else "")


def _format_row(row: Row, seeds: Seeds) -> str:
    gap = f"{row.difference:+.2g}".replace("-", "−") if row.difference else "0"
    published = mark_published(row.result.published, row.result.kind)
    words = describe(row.result.name, row.entry)
    drawn = seeds.get(row.result.page, {}).get(row.result.name, [])
    over = show_span([n for v in drawn for n in pick_numbers(v, row.entry.key)]) if drawn else ""
    return f"| {words} | {format_ours(row)} | {over} | {published} | {gap} | {row.verdict} |"


def format_rows(rows: Sequence[Row], seeds: Seeds | None = None) -> str:
    """Return a Markdown table for each page: figure, ours, published, difference, verdict.

    Args:
        rows: the figures.
        seeds: page → figure → its values by seed, for a column of their ranges.
    """
    head = "| figure | here | over seeds | published | difference | verdict |"
    head += "\n|---|---|---|---|---|---|"
    pages: dict[str, list[str]] = {}
    for row in rows:
        pages.setdefault(row.result.page, []).append(_format_row(row, seeds or {}))
    tables = ("\n".join([f"{{doc}}`{p}`\n\n{head}", *lines]) for p, lines in pages.items())
    return "\n\n".join(tables)


def format_reasons(rows: Sequence[Row]) -> str:
    """Return a Markdown list: why ours differ, of what was reproduced in part or not."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row.verdict != "reproduced" and row.entry.why:
            reasons.setdefault(row.entry.why, []).append(describe(row.result.name, row.entry))
    lines = []
    for why, what in reasons.items():
        shown = dict.fromkeys(what)
        more = f", and {len(shown) - 2} more" if len(shown) > 2 else ""
        lines.append(f"- *{'; '.join(list(shown)[:2])}{more}.* {why}")
    return "\n".join(lines)
