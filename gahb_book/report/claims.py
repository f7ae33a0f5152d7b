"""Claims: the published figures gathered, one row a claim, by where ours come from.

A claim of `book/published.yml` is a sentence of a paper, or of theory, with the place where it
stands. Its figures are those whose names it lists; it is judged by the furthest of them.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from gahb_book.record import mark_published
from gahb_book.report.summary import VERDICTS, Row, describe, format_ours
from gahb_book.run.listing import expand_braces

SOURCES = {
    "ours": "our networks, on the kind of images that was published",
    "other": "our networks, on other images than those published",
    "authors": "the networks and files that the authors published",
    "theory": "what theory says, measured by nobody",
}
CLAIM_RULE = (
    "A claim is as good as its worst figure: it counts as reproduced if all of its figures are, "
    "and otherwise by the one that is furthest off."
)
KEYS = {"says", "figures", "source", "where"}


class Claim(NamedTuple):
    """What was claimed, where, and which figures test it here.

    Attributes:
        name: of the claim, in the file.
        says: the claim in words.
        figures: patterns of recorded names.
        sources: pairs (pattern of pages, one of `SOURCES`): where our figures come from.
        where: the place of the published figures: paper, figure or table or section, data,
            quantity.
    """

    name: str
    says: str
    figures: tuple[str, ...]
    sources: tuple[tuple[str, str], ...]
    where: str


class Judged(NamedTuple):
    """A claim with its figures from one source, the furthest of them, and the verdict."""

    claim: Claim
    source: str
    rows: tuple[Row, ...]
    worst: Row
    verdict: str


def _make_claim(name: str, entry: Any, path: Path) -> Claim:
    """Return a claim of the file."""
    if not isinstance(entry, dict) or set(entry) != KEYS:
        raise ValueError(f"claim {name} in {path} must have {sorted(KEYS)}, and has {entry}")
    source = entry["source"]
    sources = tuple(source.items()) if isinstance(source, dict) else (("*", source),)
    unknown = {s for _, s in sources} - SOURCES.keys()
    if unknown:
        raise ValueError(f"source of {name} must be one of {', '.join(SOURCES)}, not {unknown}")
    figures = tuple(expand_braces(entry["figures"]))
    return Claim(name, entry["says"], figures, sources, entry["where"])


def load_claims(path: Path) -> list[Claim]:
    """Return the claims of `book/published.yml`, at `path`.

    Raises:
        ValueError: for a claim that lacks a key, or has an unknown one or an unknown source.
    """
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))["claims"]
    return [_make_claim(name, entry, path) for name, entry in entries.items()]


def find_claim(figure: str, claims: Sequence[Claim]) -> Claim:
    """Return the claim that a figure tests.

    Raises:
        ValueError: where none lists the figure, or more than one.
    """
    found = [c for c in claims if any(fnmatchcase(figure, pattern) for pattern in c.figures)]
    if len(found) != 1:
        raise ValueError(
            f"{figure} must be a figure of one claim in book/published.yml, and is one of "
            f"{[c.name for c in found]}"
        )
    return found[0]


def _source_of(row: Row, claim: Claim) -> str:
    """Return where a figure of a claim comes from.

    Raises:
        ValueError: where the page has no source, or theory is mixed with what was measured.
    """
    page = row.result.page
    source = next((s for pattern, s in claim.sources if fnmatchcase(page, pattern)), None)
    if source is None:
        raise ValueError(f"source of {claim.name} must say where page {page} has its figures from")
    if (source == "theory") != (row.result.kind == "theory"):
        raise ValueError(
            f"source of {claim.name} must be theory where the kind of {row.result.name} is, and "
            f"is {source} for {row.result.kind}"
        )
    return source


def judge_claims(rows: Sequence[Row], claims: Sequence[Claim]) -> list[Judged]:
    """Return each claim with its figures, once for each source, by `CLAIM_RULE`.

    Args:
        rows: the figures, of `summarize`.
        claims: of `load_claims`; the result is in their order, and by source in that of `SOURCES`.

    Raises:
        ValueError: for a figure that is of no claim or of two, and for theory that is mixed with
            what was measured.
    """
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        claim = find_claim(row.result.name, claims)
        found.setdefault((_source_of(row, claim), claim.name), []).append(row)
    judged = []
    for source in SOURCES:
        for claim in claims:
            own = found.get((source, claim.name), [])
            if own:
                worst = max(own, key=lambda row: row.off)
                judged.append(Judged(claim, source, tuple(own), worst, worst.verdict))
    return judged


def format_claims(judged: Sequence[Judged]) -> str:
    """Return a Markdown table, one row a claim: its verdict, and its furthest figure."""
    lines = ["| claim | verdict | within | furthest figure | here | published |"]
    lines.append("|---|---|---|---|---|---|")
    for j in judged:
        good = sum(row.verdict == "reproduced" for row in j.rows)
        result = j.worst.result
        lines.append(
            f"| {j.claim.says} | {j.verdict} | {good} of {len(j.rows)} "
            f"| {describe(result.name, j.worst.entry)} | {format_ours(j.worst)} "
            f"| {mark_published(result.published, result.kind)} |"
        )
    return "\n".join(lines)


def format_places(judged: Sequence[Judged]) -> str:
    """Return a Markdown list: where each claim was published, and which chapters test it."""
    lines = []
    for j in judged:
        chapters = ", ".join(f"{{doc}}`{p}`" for p in dict.fromkeys(r.result.page for r in j.rows))
        lines.append(f"- *{j.claim.says}.* {j.claim.where}. Here: {chapters}.")
    return "\n".join(lines)


def count_claims(judged: Sequence[Judged]) -> dict[str, dict[str, int]]:
    """Return, for each source, how many claims there are, and how many of each verdict."""
    counts = {}
    for source in SOURCES:
        verdicts = [j.verdict for j in judged if j.source == source]
        counts[source] = {"claims": len(verdicts), **{v: verdicts.count(v) for v in VERDICTS}}
    return counts
