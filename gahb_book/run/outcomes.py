"""What became of a page, and what it took: time, processor time and memory."""

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gahb_book.places import Places
from gahb_book.run.spec import Page
from gahb_core.files import write_safely

USUAL = 10.0  # processor seconds of a page whose kept values are current


class Outcome(NamedTuple):
    """What became of a page.

    Attributes:
        page: its name.
        status: "ok", "unchanged", "failed" or "not run".
        seconds: that its last run took.
        detail: why it failed or was not run.
        processor_seconds: of the page's process and its kernel, all cores together.
        peak_mb: most memory of the kernel (MB of 10⁶ bytes).
    """

    page: str
    status: str
    seconds: float = 0.0
    detail: str = ""
    processor_seconds: float = 0.0
    peak_mb: float = 0.0


def _measure() -> tuple[float, float]:
    """Return processor seconds of this process and its ended children, and their peak in MB."""
    if sys.platform == "win32":  # it has no such account
        return 0.0, 0.0
    import resource

    usages = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    unit = 1 if sys.platform == "darwin" else 1024
    return sum(u.ru_utime + u.ru_stime for u in usages), usages[1].ru_maxrss * unit / 1e6


def read_outcome(name: str, places: Places) -> Outcome | None:
    """Return what became of a page at its last run, or None where that is not known."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Outcome(**json.loads(places.outcome(name).read_text(encoding="utf-8")))
    return None


def write_outcome(outcome: Outcome, places: Places) -> None:
    """Keep what became of a page."""
    content = json.dumps(outcome._asdict(), ensure_ascii=False) + "\n"
    write_safely(places.outcome(outcome.page), content, sync=False)


@contextlib.contextmanager
def outcome_written(page: Page, places: Places) -> Iterator[list[str]]:
    """Write the outcome of a page when the block ends: "failed", where the list yielded says why.

    Nothing is written where the block raises and the list is empty.
    """
    reasons: list[str] = []
    began, (spent, _) = time.monotonic(), _measure()
    done = False
    try:
        yield reasons
        done = True
    finally:
        if done or reasons:
            now, peak = _measure()
            status, detail = ("failed", reasons[0]) if reasons else ("ok", "")
            seconds, processor = round(time.monotonic() - began, 1), round(now - spent, 1)
            outcome = Outcome(page.name, status, seconds, detail, processor, round(peak, 1))
            write_outcome(outcome, places)


def write_run(pages: list[Page], places: Places) -> Path:
    """Return the file run.json, written: of every page that has run, its last outcome."""
    found = [read_outcome(page.name, places) for page in pages]
    table = {o.page: {k: v for k, v in o._asdict().items() if k != "page"} for o in found if o}
    write_safely(places.run, json.dumps(table, indent=1, ensure_ascii=False) + "\n", sync=False)
    return places.run


def longest_first(pages: list[Page], places: Places) -> list[Page]:
    """Return `pages` by the time of their last run, the longest (and the unknown) first."""
    found = {page.name: read_outcome(page.name, places) for page in pages}
    seconds = {name: o.seconds if o else float("inf") for name, o in found.items()}
    return sorted(pages, key=lambda page: -seconds[page.name])


def forecast(pages: list[Page], places: Places, num_jobs: int) -> str:
    """Return two lines: how long pages will take, what is kept, and what to read meanwhile.

    A page that has run here counts as it did then, another one as `USUAL` processor seconds.
    """
    known = [read_outcome(page.name, places) for page in pages]
    spent = [o.processor_seconds for o in known if o and o.processor_seconds]
    new = len(pages) - len(spent)
    minutes = (sum(spent) + USUAL * new) / max(1, min(num_jobs, len(pages))) / 60
    about = f"about {minutes:.0f} minutes" if minutes >= 1.5 else f"about {60 * minutes:.0f} s"
    kept = len(list((places.root / "book" / "kept").glob("[!.]*.json")))
    told = f"{new} of them for the first time here" if new else "as the last time"
    index = places.html / "index.html"
    read = f"{index} (as it was built last)" if index.is_file() else f"{places.executed('*')}"
    return (
        f"  {about} ({told}), {num_jobs} at once; {kept} values that take long are kept in "
        f"book/kept, and what of them is stale is computed\n  to read meanwhile: {read}"
    )


def format_report(outcomes: list[Outcome], places: Places) -> str:
    """Return a table of the outcomes, and for what failed or was not run, what to do."""
    width = max([len(o.page) for o in outcomes], default=4)
    lines = [f"{'page':{width}}  {'status':9}  {'seconds':>7}  {'processor':>9}  {'peak':>7}"]
    for o in outcomes:
        lines.append(
            f"{o.page:{width}}  {o.status:9}  {o.seconds:5.0f} s  {o.processor_seconds:7.0f} s  "
            f"{o.peak_mb:4.0f} MB"
        )
    for o in outcomes:
        if o.status == "not run":
            lines.append(f"{o.page} was not run: {o.detail}")
        elif o.status == "failed":
            where = places.failed(o.page)
            seen = f"see {where}, mend it, then " if where.is_file() else ""
            lines.append(f"{o.page} failed: {o.detail}; {seen}`gahb run {o.page}`")
    kinds = ("ok", "unchanged", "not run", "failed")
    counts = [f"{sum(o.status == kind for o in outcomes)} {kind}" for kind in kinds]
    return "\n".join([*lines, "pages: " + ", ".join(counts)])
