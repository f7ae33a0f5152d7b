"""The summary: every published figure beside ours, with a verdict by one rule.

`book/published.yml` says in words what each published figure is of, how near counts, and why ours
may differ. The figures themselves are those that the pages recorded.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from gahb_core.pages.listing import expand_braces
from gahb_core.pages.records import mark_published, show
from gahb_core.pages.results import Result

VERDICTS = ("reproduced", "partly", "not")
PARTLY = 3.0  # how many times the tolerance is still "partly"
RULE = (
    "*Reproduced*: within the tolerance of what was published, which is 0.5 dB for figures in "
    "decibels and a tenth of the published figure for others, unless the table says another. "
    "*Partly*: within three times that. *Not*: beyond. Of a published range the nearer end "
    "counts, of several figures of ours under one name the furthest."
)
KEYS = {"figures", "pages", "what", "key", "unit", "within", "as", "published", "kind", "why"}


class Claim(NamedTuple):
    """What the published figures of some names are of.

    Attributes:
        figures: patterns of recorded names; pages: patterns of the pages that record them.
        what: the figure in words; unit: "dB" or "".
        key: which figure counts, where several are recorded under the name.
        within: the tolerance, absolute; None: that of the rule.
        low, high: the published figure in numbers, where it is a text; or other figures' names.
        published, kind: where the page records none.
        why: why ours may differ.
    """

    figures: tuple[str, ...]
    what: str
    pages: tuple[str, ...] = ("*",)
    unit: str = ""
    key: str | None = None
    within: float | None = None
    low: float | str | None = None
    high: float | str | None = None
    published: Any = None
    kind: str | None = None
    why: str = ""


class Row(NamedTuple):
    """A published figure beside ours: `off` is their distance, in units of the tolerance."""

    result: Result
    claim: Claim
    difference: float
    off: float
    verdict: str


def _make_claim(entry: Any, path: Path) -> Claim:
    """Return the claim of an entry of the file."""
    if not isinstance(entry, dict) or not {"figures", "what"} <= set(entry) <= KEYS:
        raise ValueError(f"claims in {path} must have figures and what, of {sorted(KEYS)}: {entry}")
    low, high = entry.get("as", (None, None))
    known = {k: entry[k] for k in KEYS - {"figures", "pages", "as"} if k in entry}
    figures = tuple(expand_braces(entry["figures"]))
    return Claim(figures, low=low, high=high, pages=tuple(entry.get("pages", "*")), **known)


def load_claims(path: Path) -> list[Claim]:
    """Return the claims of `book/published.yml`, at `path`.

    Raises:
        ValueError: for an entry without words or with keys that are unknown.
    """
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))["claims"]
    return [_make_claim(entry, path) for entry in entries]


def load_news(path: Path) -> list[tuple[str, str, str]]:
    """Return page, name and words of the figures of `book/published.yml` that are new here."""
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))["new"]
    return [(page, name, what) for page, name, what in entries]


def _numbers(value: Any, key: str | None = None) -> list[float]:
    """Return the numbers of a recorded value: that of `key`, or the median, or all."""
    if isinstance(value, dict):
        key = "median" if key is None and "median" in value else key
        value = list(value.values()) if key is None else value[key]
    return [n for v in value for n in _numbers(v)] if isinstance(value, list) else [float(value)]


def _bounds(published: Any, claim: Claim, beside: Mapping[str, Any]) -> tuple[float, float]:
    """Return the published figure as a range."""
    if claim.low is not None or claim.high is not None:
        low = -math.inf if claim.low is None else claim.low
        high = math.inf if claim.high is None else claim.high
        low, high = (beside[v] if isinstance(v, str) else v for v in (low, high))
        return low, high
    if isinstance(published, str):
        raise ValueError(f"{claim.what}: the published {published!r} must be said in numbers: as")
    found = _numbers(published)
    return min(found), max(found)


def compare(result: Result, claim: Claim, beside: Mapping[str, Any] | None = None) -> Row:
    """Return a recorded figure beside what was published, with the verdict of `RULE`.

    Args:
        result: the figure.
        claim: what it is of.
        beside: the values of the page's other figures, by name.

    Raises:
        ValueError: for a published text that the claim does not give in numbers.
    """
    published, kind = result.published, result.kind
    if published is None:
        published, kind = claim.published, claim.kind
    low, high = _bounds(published, claim, beside or {})
    found = _numbers(result.value, claim.key)
    gaps = [v - low if v < low else max(v - high, 0.0) for v in found]
    difference = max(gaps, key=abs)
    near = low if difference < 0 else high
    within = claim.within or (0.5 if claim.unit == "dB" else abs(near) / 10)
    off = abs(difference) / within if difference else 0.0
    verdict = VERDICTS[(off > 1) + (off > PARTLY)]
    shown = result._replace(value=[min(found), max(found)], published=published, kind=kind)
    return Row(shown, claim, difference, off, verdict)


def find_claim(result: Result, claims: Sequence[Claim]) -> Claim | None:
    """Return the first claim that a recorded figure belongs to, or None."""
    for claim in claims:
        if any(fnmatchcase(result.page, page) for page in claim.pages) and any(
            fnmatchcase(result.name, figure) for figure in claim.figures
        ):
            return claim
    return None


def summarize(results: Sequence[Result], claims: Sequence[Claim]) -> Iterator[Row]:
    """Yield a row for every recorded figure of which something was published.

    Raises:
        ValueError: for a published figure that no claim says in words.
    """
    for result in results:
        claim = find_claim(result, claims)
        if claim is None and result.published is not None:
            raise ValueError(
                f"{result.name} of page {result.page} is published and must be in "
                "book/published.yml: what it is, and why ours may differ"
            )
        if claim and (result.published is not None or claim.kind):
            yield compare(
                result, claim, {r.name: r.value for r in results if r.page == result.page}
            )


def describe(row: Row) -> str:
    """Return the figure of a row in words: those of the claim, and what its star stands for."""
    name, claim = row.result.name, row.claim
    figure = next(f for f in claim.figures if fnmatchcase(name, f))
    varied = name[figure.index("*") :] if "*" in figure else ""
    return claim.what.replace("{}", varied.replace(".", ", "))


def _format_row(row: Row) -> str:
    r, unit = row.result, f" {row.claim.unit}".rstrip()
    ours = " to ".join(dict.fromkeys(show(v) for v in r.value))
    gap = f"{row.difference:+.2g}".replace("-", "−") if row.difference else "0"
    published = mark_published(r.published, r.kind)
    return f"| {describe(row)} | {ours}{unit} | {published} | {gap} | {row.verdict} |"


def format_rows(rows: Sequence[Row]) -> str:
    """Return a Markdown table for each page: figure, ours, published, difference, verdict."""
    head = "| figure | here | published | difference | verdict |\n|---|---|---|---|---|"
    pages: dict[str, list[str]] = {}
    for row in rows:
        pages.setdefault(row.result.page, []).append(_format_row(row))
    tables = ("\n".join([f"{{doc}}`{p}`\n\n{head}", *lines]) for p, lines in pages.items())
    return "\n\n".join(tables)


def format_reasons(rows: Sequence[Row]) -> str:
    """Return a Markdown list: why ours differ, of what was reproduced in part or not."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row.verdict != "reproduced" and row.claim.why:
            reasons.setdefault(row.claim.why, []).append(describe(row))
    lines = []
    for why, what in reasons.items():
        shown = dict.fromkeys(what)
        more = f", and {len(shown) - 2} more" if len(shown) > 2 else ""
        lines.append(f"- *{'; '.join(list(shown)[:2])}{more}.* {why}")
    return "\n".join(lines)


def count_verdicts(rows: Sequence[Row]) -> dict[str, int]:
    """Return how many rows there are, and how many of each verdict."""
    found = [row.verdict for row in rows]
    return {"rows": len(found), **{v: found.count(v) for v in VERDICTS}}
