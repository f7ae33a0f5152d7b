"""Tables of recorded figures: over the variants of a batch, and of two sides compared."""

import csv
import fnmatch
import io
import json
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from gahb_book.places import Places
from gahb_book.report.results import Result, load_results
from gahb_book.run.listing import load_pages
from gahb_book.run.notebooks import read_notebook
from gahb_book.run.spec import Page, select_pages
from gahb_book.run.stamp import is_current
from gahb_book.run.variants import make_variant

NOT_PAGES = ("run", "page_weights")


class Spread(NamedTuple):
    """A figure over the seeds of a batch, all other parameters the same.

    Attributes:
        page: of the book.
        variant: its parameters but the seed.
        name: of the figure; one number of a list or dict is `name[key]`.
        num: seeds.
        mean: over them.
        deviation: standard, with num − 1; None for one seed.
        low: of Student's 95% interval of the mean, mean ± t s / √num; None for one seed.
        high: of it.
    """

    page: str
    variant: str
    name: str
    num: int
    mean: float
    deviation: float | None
    low: float | None
    high: float | None


def flatten(name: str, value: Any) -> Iterator[tuple[str, float]]:
    """Yield (name, number) of a recorded value: itself, or each number in a list or dict.

    >>> list(flatten("a", {"x": 1, "y": [2, 3]}))
    [('a[x]', 1.0), ('a[y][0]', 2.0), ('a[y][1]', 3.0)]
    """
    if isinstance(value, dict | list):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        for key, entry in entries:
            yield from flatten(f"{name}[{key}]", entry)
    else:
        yield name, float(value)


def summarize(values: list[float]) -> tuple[float, float | None, float | None, float | None]:
    """Return mean, standard deviation and Student's 95% interval of the mean of independent values.

    >>> [round(v, 3) for v in summarize([1.0, 2.0, 3.0])]
    [2.0, 1.0, -0.484, 4.484]
    """
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return mean, None, None, None
    from scipy.stats import t  # here: it takes a second to load

    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))
    half = float(t.ppf(0.975, len(values) - 1)) * deviation / math.sqrt(len(values))
    return mean, deviation, mean - half, mean + half


def _read_variant(page: Page, label: str, places: Places, pages: list[Page]) -> Page:
    """Return the variant of a page whose figures lie under `label`, as its notebook was run."""
    executed = places.executed(f"{page.name}/{label}")
    ran = read_notebook(executed)["metadata"].get("papermill", {}).get("parameters", {})
    names = [n for n in re.findall(r"(?:^|,)([A-Za-z_]\w*)=", label) if n in ran]
    return make_variant(page, {name: ran[name] for name in names}, pages)


def find_variants(page: Page, places: Places, pages: list[Page]) -> Iterator[tuple[Page, bool]]:
    """Yield the variants of a page that have run, and whether each is what would be made now."""
    for path in sorted(places.results(page.name).with_suffix("").glob("[!.]*.json")):
        label = path.name.removesuffix(".json")
        try:
            made = _read_variant(page, label, places, pages)
        except (OSError, ValueError):
            yield page._replace(name=f"{page.name}/{label}"), False
        else:
            yield made, is_current(made, places)


def collect_spreads(places: Places, names: list[str]) -> tuple[list[Spread], list[str]]:
    """Return every figure of the variants of pages `names` (all when empty), over its seeds.

    Also the names of variants that are not counted: what they were made from has changed, or
    their files are damaged.
    """
    pages, stale = load_pages(places.root), []
    values: dict[tuple[str, str, str], list[float]] = {}
    for page in select_pages(pages, names):
        for made, current in find_variants(page, places, pages):
            if not current:
                stale.append(made.name)
                continue
            rest = {k: v for k, v in made.variant.items() if k != "seed"}
            shown = ", ".join(f"{k}={v}" for k, v in sorted(rest.items()))
            for figure in load_results(made.name, places.profile, places.root).values():
                for name, value in flatten(figure.name, figure.value):
                    values.setdefault((page.name, shown, name), []).append(value)
    rows = [(*key, len(v), *summarize(v)) for key, v in values.items()]
    return [Spread._make(row) for row in rows], stale


def _show(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def format_rows(head: Iterable[str], rows: Iterable[Iterable[Any]], as_csv: bool = False) -> str:
    """Return a table: aligned, numbers with four digits, or as CSV with all of theirs."""
    rows = [list(row) for row in rows]
    if as_csv:
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerows([head, *rows])
        return file.getvalue().rstrip("\n")
    table = [list(head), *([_show(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ("  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) for r in table)
    return "\n".join(line.rstrip() for line in lines)


class Tolerance(NamedTuple):
    """How far figures whose "page/name" match `pattern` may differ: ``atol + rtol |a|``."""

    pattern: str
    rtol: float
    atol: float


class Difference(NamedTuple):
    """A figure on two sides: None where a side lacks it; `allowed` is the largest difference."""

    page: str
    name: str
    a: float | None
    b: float | None
    allowed: float

    @property
    def difference(self) -> float | None:
        """Of b from a."""
        return None if self.a is None or self.b is None else abs(self.b - self.a)

    @property
    def beyond(self) -> bool:
        """Whether it is larger than allowed, or a side lacks the figure."""
        return self.difference is None or not self.difference <= self.allowed


def load_tolerances(path: Path | None, rtol: float, atol: float) -> list[Tolerance]:
    """Return the tolerances of a YAML file {pattern: {rtol: …, atol: …}}, then the given ones.

    The first whose pattern matches counts.

    Raises:
        ValueError: for a file of another form.
    """
    found = [Tolerance("*", rtol, atol)]
    if path is None:
        return found
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
        made = []
        for pattern, entry in table.items():
            values = {key: float(value) for key, value in entry.items()}
            if not set(values) <= {"rtol", "atol"} or not all(v >= 0 for v in values.values()):
                raise ValueError(f"{pattern}: {entry}")
            made.append(Tolerance(str(pattern), values.get("rtol", 0.0), values.get("atol", 0.0)))
    except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        why = str(error).splitlines()[0]
        raise ValueError(
            f"{path} must be {{pattern: {{rtol, atol}}}}, and is not: {why}"
        ) from error
    return made + found


def load_side(side: str, places: Places) -> dict[tuple[str, str], float]:
    """Return (page, figure) → number of a folder of results, or of the variants with a label.

    Raises:
        ValueError: where neither is there.
    """
    if (folder := Path(side)).is_dir():
        files = {p.stem: p for p in sorted(folder.glob("[!.]*.json")) if p.stem not in NOT_PAGES}
    else:
        pages = [page.name for page in load_pages(places.root)]
        files = {name: places.results(f"{name}/{side}") for name in pages}
    files = {name: path for name, path in files.items() if path.is_file()}
    if not files:
        raise ValueError(
            f"{side!r} must be a folder of results or a variant that has run, such as device=cpu"
        )
    rows = (result for name, path in files.items() for result in read_results(path, name))
    return {(r.page, name): v for r in rows for name, v in flatten(r.name, r.value)}


def read_results(path: Path, page: str) -> list[Result]:
    """Return the figures of a file of results.

    Raises:
        ValueError: where it is damaged.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        rows = [Result(page, name, entry["value"]) for name, entry in table.items()]
        for row in rows:
            list(flatten(row.name, row.value))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} must hold recorded figures, and is damaged: {error!r}") from error
    return rows


def compare(
    a: dict[tuple[str, str], float], b: dict[tuple[str, str], float], tolerances: list[Tolerance]
) -> list[Difference]:
    """Return how each figure of pages that both sides have differs, in the order of `a`."""
    shared = {page for page, _ in a} & {page for page, _ in b}
    keys = [key for key in dict.fromkeys([*a, *b]) if key[0] in shared]
    rows = []
    for page, name in keys:
        rule = next(t for t in tolerances if fnmatch.fnmatchcase(f"{page}/{name}", t.pattern))
        one = a.get((page, name))
        allowed = rule.atol + rule.rtol * abs(one or 0.0)
        rows.append(Difference(page, name, one, b.get((page, name)), allowed))
    return rows
