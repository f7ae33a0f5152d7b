"""Running the pages: what is done and unchanged is skipped, and no failure stops the others."""

import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from gahb_core.pages.execute import execute_page
from gahb_core.pages.files import write_if_changed
from gahb_core.pages.jobs import run_processes, share_cores, submit_jobs
from gahb_core.pages.missing import find_missing, make_note_page
from gahb_core.pages.spec import Page, Places, fingerprint, load_pages, select_pages

HEARTBEAT = 10.0  # seconds between two lines about a page that is running


class Outcome(NamedTuple):
    """What became of a page: `status` is "ok", "unchanged", "failed" or "not run"; `detail` why."""

    page: str
    status: str
    seconds: float = 0.0
    detail: str = ""


def is_current(page: Page, places: Places) -> bool:
    """Return whether the page was executed from exactly what is there now."""
    stamp = places.stamp(page.name)
    if not (stamp.is_file() and places.executed(page.name).is_file()):
        return False
    return stamp.read_text(encoding="utf-8").strip() == fingerprint(page, places)


def default_jobs() -> int:
    """Return how many pages to run at once: 2, or 1 on a single core."""
    return max(1, min(2, os.cpu_count() or 1))


def _run_here(
    pages: list[Page], places: Places, num_jobs: int, say: Callable[[str], None]
) -> Iterable[Outcome]:
    """Yield the outcome of each page, executed in processes of its own."""
    command = [sys.executable, "-m", "gahb_core.pages.execute", "--root", str(places.root)]
    command += ["--profile", places.profile]
    began: dict[str, float] = {}
    spoke: dict[str, float] = {}
    last: dict[str, str] = {}
    commands = {page.name: [*command, page.name] for page in pages}
    for event in run_processes(commands, num_jobs, share_cores(num_jobs)):
        now = time.monotonic()
        if event.kind == "start":
            began[event.name] = spoke[event.name] = now
            say(f"  {event.name}: started")
        elif event.kind == "line":
            last[event.name] = event.text
            if now - spoke[event.name] > HEARTBEAT:
                spoke[event.name] = now
                say(f"  {event.name}: {event.text}")
        else:
            status, detail = ("ok", "") if event.code == 0 else ("failed", last.get(event.name, ""))
            yield Outcome(event.name, status, now - began[event.name], detail)


def _run_cluster(
    pages: list[Page], places: Places, cluster: str, options: dict
) -> Iterable[Outcome]:
    """Yield the outcome of each page, executed as one job of an array."""
    arguments = [(page, places) for page in pages]
    jobs = submit_jobs(execute_page, arguments, places.build / "jobs", cluster, **options)
    for page, job in zip(pages, jobs, strict=True):
        began, error = time.monotonic(), job.exception()
        status, detail = ("ok", "") if error is None else ("failed", str(error).splitlines()[-1])
        yield Outcome(page.name, status, time.monotonic() - began, detail)


def _sort_out(pages: list[Page], places: Places, force: bool) -> tuple[list[Outcome], list[Page]]:
    """Return the outcomes already known, and the pages to execute."""
    known, todo = [], []
    for page in pages:
        if not force and is_current(page, places):
            known.append(Outcome(page.name, "unchanged"))
        elif missing := find_missing(page, places):
            places.stamp(page.name).unlink(missing_ok=True)
            places.results(page.name).unlink(missing_ok=True)
            write_if_changed(places.executed(page.name), make_note_page(page.notebook, missing))
            known.append(Outcome(page.name, "not run", detail=missing))
        else:
            todo.append(page)
    return known, todo


def run_pages(
    places: Places,
    names: list[str],
    num_jobs: int | None = None,
    force: bool = False,
    executor: str = "local",
    say: Callable[[str], None] = print,
    **options: Any,
) -> list[Outcome]:
    """Return the outcome of every page called `names` (all when empty), in the order of the book.

    Pages that read the figures of others run after them. A page whose data or checkpoint is
    missing is kept unexecuted, with a note that says what brings it.

    Args:
        places: the project and the profile.
        names: names or unique beginnings of names.
        num_jobs: how many at once; None: 2, or 1 on a single core.
        force: run what is unchanged as well.
        executor: "local", or "slurm" for a job array (submitit's "debug" in tests).
        say: called with each line of progress.
        options: of the cluster's jobs, see `submit_jobs`.
    """
    pages = select_pages(load_pages(places.root), names)
    outcomes: dict[str, Outcome] = {}
    for group in ([p for p in pages if not p.results], [p for p in pages if p.results]):
        known, todo = _sort_out(group, places, force)
        outcomes.update((o.page, o) for o in known)
        if not todo:
            continue
        say(f"running {len(todo)} pages: {', '.join(p.name for p in todo)}")
        if executor == "local":
            done = _run_here(todo, places, num_jobs or default_jobs(), say)
        else:
            done = _run_cluster(todo, places, executor, options)
        for outcome in done:
            outcomes[outcome.page] = outcome
            say(f"  {outcome.page}: {outcome.status} ({outcome.seconds:.0f} s) {outcome.detail}")
    return [outcomes[page.name] for page in pages]


def format_report(outcomes: list[Outcome], places: Places) -> str:
    """Return a table of the outcomes, and for what failed or was not run, what to do."""
    width = max([len(o.page) for o in outcomes], default=4)
    lines = [f"{o.page:{width}}  {o.status:9}  {o.seconds:5.0f} s" for o in outcomes]
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
