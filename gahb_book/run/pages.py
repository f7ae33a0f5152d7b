"""Running the pages: what is done and unchanged is skipped, and no failure stops the others."""

import contextlib
import json
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from gahb_book.cluster.jobs import run_on_cluster
from gahb_book.places import Places
from gahb_book.run.execute import BUSY, execute_page
from gahb_book.run.jobs import count_cores, run_processes, share_cores
from gahb_book.run.listing import load_pages
from gahb_book.run.missing import find_missing, make_note_page
from gahb_book.run.outcomes import (
    Outcome,
    forecast,
    longest_first,
    read_outcome,
    write_outcome,
    write_run,
)
from gahb_book.run.spec import Page, select_pages
from gahb_book.run.stamp import is_current
from gahb_book.run.variants import base_name, make_variant
from gahb_core.files import Locked, lock, remove_orphans, write_if_changed

HEARTBEAT = 10.0  # seconds between two lines about a page that is running


def default_jobs() -> int:
    """Return how many pages to run at once: 2, or 1 on a single core."""
    return min(2, count_cores())


def _find_outcome(name: str, places: Places, since: float, code: int, said: str) -> Outcome:
    """Return what became of a page whose process ended with `code`, its last line being `said`."""
    path, seconds = places.outcome(name), time.time() - since
    outcome = read_outcome(name, places)
    if code == 0:  # where not fresh, another process made it meanwhile
        return outcome or Outcome(name, "ok", seconds)
    if code == BUSY:
        return Outcome(name, "failed", seconds, said)
    fresh = outcome is not None and path.stat().st_mtime >= since - 1
    if fresh and outcome and outcome.status == "failed":
        return outcome
    ended = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return Outcome(name, "failed", seconds, f"its process ended by {ended}, after: {said}")


def _describe(page: Page) -> list[str]:
    """Return the words that tell the page's own process which it is."""
    words = ["--variant", json.dumps(page.variant)] if page.variant else []
    return [*words, base_name(page.name)]


def _run_here(
    pages: list[Page], places: Places, num_jobs: int, options: list[str], say: Callable
) -> Iterable[Outcome]:
    """Yield the outcome of each page, executed in processes of its own."""
    command = [sys.executable, "-m", "gahb_book.run", "--root", str(places.root)]
    command += ["--profile", places.profile, *options]
    began: dict[str, float] = {}
    spoke: dict[str, float] = {}
    last: dict[str, str] = {}
    commands = {page.name: [*command, *_describe(page)] for page in pages}
    for event in run_processes(commands, num_jobs, share_cores(num_jobs)):
        name, now = event.name, time.time()
        if event.kind == "start":
            began[name] = spoke[name] = now
            say(f"  {name}: started")
        elif event.kind == "line":
            last[name] = event.text
            if now - spoke[name] > HEARTBEAT:
                spoke[name] = now
                say(f"  {name}: {event.text}")
        else:
            yield _find_outcome(name, places, began[name], event.code, last.get(name, "nothing"))


def _run_cluster(
    pages: list[Page],
    places: Places,
    cluster: str,
    timeout: float | None,
    options: dict,
    say: Callable,
) -> Iterable[Outcome]:
    """Yield the outcome of each page, executed as one job of an array."""
    arguments = {page.name: (page, places) for page in pages}
    execute = partial(execute_page, timeout=timeout)
    began, folder = time.time(), places.build / "jobs" / "pages"
    for name, end in run_on_cluster(execute, arguments, folder, cluster, say, **options):
        outcome = _find_outcome(name, places, began, int(end.kind == "failed"), end.detail)
        if end.kind == "failed" and outcome.detail.startswith("its process ended"):
            outcome = outcome._replace(detail=end.detail, seconds=end.seconds)
        yield outcome


def _note_missing(page: Page, places: Places, missing: str) -> Outcome:
    """Put a note in the place of a page that cannot run here, unless another process makes it."""
    outcome = Outcome(page.name, "not run", detail=missing)
    with contextlib.suppress(Locked), lock(places.lock(page.name), f"page {page.name}", patience=0):
        places.stamp(page.name).unlink(missing_ok=True)
        places.results(page.name).unlink(missing_ok=True)
        write_if_changed(places.executed(page.name), make_note_page(page.notebook, missing))
        write_outcome(outcome, places)
    return outcome


def _sort_out(pages: list[Page], places: Places, force: bool) -> tuple[list[Outcome], list[Page]]:
    """Return the outcomes already known, and the pages to execute."""
    known, todo = [], []
    for page in pages:
        try:
            if not force and is_current(page, places):
                last = read_outcome(page.name, places) or Outcome(page.name, "ok")
                known.append(last._replace(status="unchanged", detail=""))
            elif missing := find_missing(page, places):
                known.append(_note_missing(page, places, missing))
            else:
                todo.append(page)
        except ValueError as error:  # a damaged notebook
            known.append(Outcome(page.name, "failed", detail=str(error)))
    return known, todo


def run_pages(
    places: Places,
    names: list[str],
    *,
    num_jobs: int | None = None,
    force: bool = False,
    executor: str = "local",
    say: Callable[[str], None] = print,
    timeout: float | None = None,
    variants: Sequence[dict[str, Any]] = (),
    **options: Any,
) -> list[Outcome]:
    """Return the outcome of every page called `names` (all when empty), in the order of the book.

    Pages that read the figures of others run after them, and of the rest first those that took
    longest the last time. A page whose data or checkpoint is missing is kept unexecuted, with a
    note that says what brings it. `run.json` of the results has what became of all.

    Args:
        places: the project and the profile.
        names: names or beginnings of names.
        num_jobs: how many at once; None: 2, or 1 on a single core.
        force: run what is unchanged as well.
        executor: "local", or "slurm" for a job array (submitit's "debug" in tests).
        say: called with each line of progress.
        timeout: seconds that a page may take; None: any.
        variants: parameters; each page is run with each of them, and not as the book shows it.
        options: of the cluster's jobs, see `submit_jobs`.
    """
    every = load_pages(places.root)
    pages = select_pages(every, names)
    if variants:
        pages = [make_variant(page, v, every) for page in pages for v in variants]
    outcomes: dict[str, Outcome] = {}
    for folder in ("executed", "results"):
        (places.build / folder).mkdir(parents=True, exist_ok=True)  # or says here that it cannot
        remove_orphans(places.build / folder)
    more = ["--force"] * force + ([] if timeout is None else ["--timeout", str(timeout)])
    for group in ([p for p in pages if not p.results], [p for p in pages if p.results]):
        known, todo = _sort_out(group, places, force)
        outcomes.update((o.page, o) for o in known)
        if not todo:
            continue
        todo = longest_first(todo, places)
        say(f"running {len(todo)} pages: {', '.join(p.name for p in todo)}")
        say(forecast(todo, places, num_jobs or default_jobs()))
        if executor == "local":
            done = _run_here(todo, places, num_jobs or default_jobs(), more, say)
        else:
            done = _run_cluster(todo, places, executor, timeout, options, say)
        for outcome in done:
            outcomes[outcome.page] = outcome
            say(f"  {outcome.page}: {outcome.status} ({outcome.seconds:.0f} s) {outcome.detail}")
            write_run(every, places)
    return [outcomes[page.name] for page in pages]
