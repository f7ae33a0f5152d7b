"""One page, executed by papermill in this process: `python -m gahb_book.run NAME`.

`gahb run` starts one such process a page, because papermill changes the working folder, which
belongs to a whole process.
"""

import argparse
import contextlib
import json
import logging
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from gahb_book.inputs import newest_input
from gahb_book.kept.uses import Use, read_uses
from gahb_book.places import Places
from gahb_book.run.jobs import term_as_interrupt
from gahb_book.run.kernel import INPUTS, USES, kernel_folder, make_engine, set_environment
from gahb_book.run.listing import load_pages
from gahb_book.run.notebooks import choose_parameters, read_notebook
from gahb_book.run.outcomes import outcome_written
from gahb_book.run.spec import Page, select_pages
from gahb_book.run.stamp import is_current, page_fingerprint, write_stamp
from gahb_book.run.variants import make_variant
from gahb_core.files import Locked, lock, make_part, remove_orphans, write_safely

# at the beginning of a line: what is within a function or a condition may not come to pass
SHOWS = re.compile(r"^(plt\.show|show_figure)\(", re.MULTILINE)
BUSY = 75  # exit code: another process makes the page; sysexits.h calls it EX_TEMPFAIL


class PageError(RuntimeError):
    """A page that failed; the message is its reason in one line."""


class PageTimeout(KeyboardInterrupt):
    """A page that took too long; like Ctrl-C, for nothing may swallow it."""


@contextlib.contextmanager
def _time_limit(seconds: float | None) -> Iterator[None]:
    """Raise PageTimeout in the block when it takes longer."""
    if seconds is None:
        yield
        return
    if not hasattr(signal, "setitimer"):
        raise ValueError("--timeout needs a system with timers of processes, as Linux and macOS")

    def stop(*_: object) -> None:
        raise PageTimeout(f"more than {seconds:g} s (--timeout)")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _say(error: BaseException, at: list[int], target: Path) -> str:
    """Return "cell N: Type: first line" of what ended a page, in plain characters."""
    from papermill.exceptions import PapermillExecutionError

    kind, text = type(error).__name__, str(error)
    if isinstance(error, PapermillExecutionError):
        kind, text = error.ename, error.evalue
    elif isinstance(error, PageError):
        return text
    elif isinstance(error, OSError) and error.filename is None and error.errno:
        text = f"{error.strerror}: {target}"
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if kind == "DeadKernelError":
        first = "the kernel died (killed, or out of memory)"
    return ": ".join([*(f"cell {n}" for n in at), kind, *([first] if first else [])])


def _execute(
    page: Page, places: Places, part: Path, results: Path, at: list[int]
) -> tuple[list[str], list[Use]]:
    """Execute `page` into `part` and `results`; `at` tells the cell that ran last.

    Returns what its kernel loaded and opened, see `inputs`, and the kept values that it used.
    """
    import papermill
    from papermill.engines import papermill_engines

    # it warns of parameters that its own parser cannot read; ours has checked them
    logging.getLogger("papermill.translators").setLevel(logging.ERROR)
    parameters = choose_parameters(page, places.profile)
    with kernel_folder() as folder:
        set_environment(folder, results, page.name)
        papermill_engines.register("gahb", make_engine(folder, part, at))
        papermill.execute_notebook(
            page.notebook, part, parameters=parameters,
            engine_name="gahb", kernel_name="python3", language="python",
            cwd=page.notebook.parent, progress_bar=False, request_save_on_cell_execute=False,
        )  # fmt: skip
        noted = folder / INPUTS
        used = json.loads(noted.read_text(encoding="utf-8")) if noted.is_file() else []
        kept = read_uses(folder / USES)
    _check_executed(page, part, results)
    if not used:
        raise PageError("its kernel did not note what it loaded")
    return used, kept


def _check_executed(page: Page, part: Path, results: Path) -> None:
    """Refuse a page that ended early, or did not record what it promises."""
    cells = read_notebook(part)["cells"]
    for number, cell in enumerate(cells, 1):
        if any(output["output_type"] == "error" for output in cell.get("outputs", ())):
            raise PageError(f"cell {number}: it ended the page")  # as exit() does
    _check_pictures(cells)
    missing = sorted(set(page.records) - set(json.loads(results.read_text(encoding="utf-8"))))
    if missing:
        some = ", ".join(missing[:3]) + (", …" if missing[3:] else "")
        raise PageError(f"it did not record {len(missing)} of its figures: {some}")


def _check_pictures(cells: list) -> None:
    """Refuse a page on which a cell that shows a figure left none."""
    for number, cell in enumerate(cells, 1):
        source = "".join(cell["source"])
        if cell["cell_type"] != "code" or not SHOWS.search(source):
            continue
        made = [output.get("data", {}) for output in cell.get("outputs", ())]
        shown = any(
            kind.startswith("image/") or "<img" in "".join(content)
            for data in made
            for kind, content in data.items()
            if isinstance(content, str | list)
        )
        if not shown:
            raise PageError(
                f"cell {number}: it shows a figure and left no picture (which backend does "
                "Matplotlib have in it?)"
            )


def _keep_failed(page: Page, places: Places, part: Path, error: BaseException) -> None:
    """Keep the notebook as far as it went; what no longer holds goes, unless it was broken off."""
    if part.is_file() and not isinstance(error, OSError):  # of a full disk nothing is kept
        part.replace(places.failed(page.name))
    if isinstance(error, Exception):
        for stale in (places.executed, places.results, places.stamp):
            stale(page.name).unlink(missing_ok=True)


def _fingerprint_of_run(
    page: Page, places: Places, used: list[str], before: str, began: int
) -> str:
    """Return the fingerprint of what a page was made from, if nothing of it changed meanwhile."""
    same = page_fingerprint(page, places, []) == before
    if same and newest_input(used, places.root) < began:
        return page_fingerprint(page, places, used)
    return "changed while it ran"


def _make(page: Page, places: Places, timeout: float | None) -> None:
    executed, results = places.executed(page.name), places.results(page.name)
    part, part_results = make_part(executed), make_part(results)
    for folder in {part.parent, part_results.parent}:
        folder.mkdir(parents=True, exist_ok=True)
        remove_orphans(folder)
    places.failed(page.name).unlink(missing_ok=True)
    at: list[int] = []
    with outcome_written(page, places) as reasons:
        try:
            read_notebook(page.notebook)  # a damaged one is refused before anything is begun
            before, began = page_fingerprint(page, places, []), time.time_ns()
            write_safely(part_results, "{}\n")
            with _time_limit(timeout):
                used, kept = _execute(page, places, part, part_results, at)
            part_results.replace(results)
            part.replace(executed)
            made_from = _fingerprint_of_run(page, places, used, before, began)
            write_stamp(page, places, made_from, used, kept=kept)
        except BaseException as error:
            _keep_failed(page, places, part, error)
            if not isinstance(error, Exception | PageTimeout):
                raise
            reasons.append(_say(error, at, executed))
            raise PageError(reasons[0]) from error
        finally:
            for left in (part, part_results):
                left.unlink(missing_ok=True)


def execute_page(
    page: Page, places: Places, *, timeout: float | None = None, force: bool = True
) -> None:
    """Execute `page` and put its notebook, figures and stamp in place, or none of them.

    Where it is broken off (Ctrl-C, TERM, the time limit), what was there before stays.

    Args:
        page: what to execute.
        places: where its files go.
        timeout: seconds that it may take; None: any.
        force: also when it is current by the time that its lock is had.

    Raises:
        Busy: while another process makes the page.
        PageError: when it fails, "cell N: Type: first line"; the notebook as far as it went is
            then `places.failed(page.name)`.
    """
    with lock(places.lock(page.name), f"page {page.name}"):
        if force or not is_current(page, places):
            _make(page, places, timeout)


def main(argv: list[str] | None = None) -> int:
    """Execute the page named on the command line; return 0, or 1 after saying what failed."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("page")
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--timeout", type=float)
    parser.add_argument("--force", action="store_true")
    parser.add_argument("--variant", type=json.loads, default={}, help="parameters, as JSON")
    args = parser.parse_args(argv)
    try:
        with term_as_interrupt():
            (page,) = select_pages(pages := load_pages(args.root), [args.page])
            page = make_variant(page, args.variant, pages)
            execute_page(
                page, Places(args.root, args.profile), timeout=args.timeout, force=args.force
            )
    except (OSError, PageError, ValueError) as error:  # OSError: Busy, too
        print(error, flush=True)
        return BUSY if isinstance(error, Locked) else 1
    except KeyboardInterrupt:
        return 130
    return 0
