"""Pages that are killed, broken off, run twice at once, or end badly: nothing is lost."""

import json
import os
import re
import signal
import subprocess
import sys
import threading

import nbformat
import psutil
import pytest
from patience import wait_for
from projects import add_page

from gahb_book import cli
from gahb_book.places import Places
from gahb_book.report import load_results
from gahb_book.run import load_pages, run_pages
from gahb_book.run.execute import PageError, execute_page
from gahb_book.run.kernel import _choose_base, kernel_folder
from gahb_book.run.outcomes import longest_first, read_outcome
from gahb_book.run.stamp import is_current
from gahb_book.site import build_book

RECORD = "from gahb_book.record import record\n"


def gahb(project, *words, module="gahb_book.cli"):
    """Return a running `gahb` of the project."""
    command = [sys.executable, "-m", module, "--root", str(project), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def execute(project, name):
    """Return a running process of one page."""
    return gahb(project, "--force", name, module="gahb_book.run")


def descendants(process):
    """Return what a running process started."""
    return psutil.Process(process.pid).children(recursive=True)


def parts_in(project):
    return [p for p in (project / "_build").rglob("*") if ".part" in p.name]


# two figures, between which the test is waited for
SLOW = [
    "# Slow",
    RECORD + "record('a.first', 1)\nimport pathlib, time\npathlib.Path('started').touch()",
    "while not pathlib.Path('go').exists():\n    time.sleep(0.05)",
    "record('a.second', 2)",
]


@pytest.fixture
def slow(project):
    """A page that waits for the file `go`, once run whole, and running again."""
    page = add_page(project, "slow", *SLOW, records=["a.first", "a.second"])
    go, started = project / "book" / "go", project / "book" / "started"
    go.touch()
    execute_page(page, Places(project))
    go.unlink()
    started.unlink()
    return page, go, started


@pytest.mark.verify
def test_of_two_processes_of_a_page_one_is_killed_and_nothing_is_lost(project, slow):
    page, go, started = slow
    places = Places(project)
    with execute(project, "slow") as first:
        wait_for(started.exists, "the page")
        with execute(project, "slow") as second:
            said = second.communicate(timeout=60)[0]
        assert second.returncode == 75
        assert f"page slow is being made by process {first.pid} on " in said
        kernels = descendants(first)
        first.kill()
    assert is_current(page, places)  # what was there before stays
    _, alive = psutil.wait_procs(kernels, timeout=20)
    assert alive == []
    assert len(parts_in(project)) == 1  # the figures of the dead
    go.touch()
    with execute(project, "slow") as third:
        assert third.wait(timeout=60) == 0
    assert is_current(page, places)
    assert set(load_results("slow", root=project)) == {"a.first", "a.second"}
    assert parts_in(project) == []


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.verify
def test_ending_the_run_ends_its_pages_and_loses_nothing(project, slow, which):
    page, _, started = slow
    with gahb(project, "run", "slow", "--force") as run:
        wait_for(started.exists, "the page")
        below = descendants(run)
        assert len(below) >= 2  # the page and its kernel
        run.send_signal(which)
        _, alive = psutil.wait_procs(below, timeout=30)
        assert alive == []
        run.wait(timeout=30)
    assert run.returncode == (130 if which == signal.SIGTERM else -signal.SIGKILL)
    assert is_current(page, Places(project))
    assert parts_in(project) == []


@pytest.mark.verify
def test_a_page_made_by_another_run_fails_and_says_so(project, slow):
    _, go, started = slow
    with gahb(project, "run", "slow", "--force") as first:
        wait_for(started.exists, "the page")
        with gahb(project, "run", "slow", "--force") as second:
            said = second.communicate(timeout=60)[0]
        go.touch()
        assert first.wait(timeout=60) == 0
    assert second.returncode == 1
    assert "slow failed: page slow is being made by process" in said


# --- what a stamp covers --------------------------------------------------------------------


@pytest.mark.parametrize("spoil", ["unlink", "cut"])
@pytest.mark.parametrize("what", ["results", "executed"])
def test_a_page_whose_files_are_gone_or_cut_is_run_again(project, what, spoil):
    page, places = load_pages(project)[0], Places(project)
    execute_page(page, places)
    path = getattr(places, what)("a_one")
    content = path.read_bytes()
    path.unlink()
    if spoil == "cut":
        path.write_bytes(content[:-40])
        if what == "executed":
            match = "a_one.ipynb must be .*`gahb run --force a_one` makes it anew"
            with pytest.raises(ValueError, match=match):
                build_book(places)
        else:
            with pytest.raises(ValueError, match="is damaged .*`gahb run --force a_one`"):
                load_results("a_one", root=project)
    assert not is_current(page, places)
    execute_page(page, places, force=False)
    assert is_current(page, places)
    before = path.stat().st_mtime_ns
    execute_page(page, places, force=False)  # it is current by now
    assert path.stat().st_mtime_ns == before


def test_a_changed_notebook_that_still_reads_is_not_built(project):
    page, places = load_pages(project)[0], Places(project)
    execute_page(page, places)
    path = places.executed("a_one")
    path.write_text(path.read_text().replace("a.twice = 2", "a.twice = 3"))
    with pytest.raises(ValueError, match=r"must be as `gahb run` left it.*run --force a_one"):
        build_book(places)


# --- how pages fail -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "reason", "kept"),
    [
        (["raise KeyError('a\\nb')"], "cell 3: KeyError: 'a\\nb'", "KeyError"),
        (["print(1)\nraise ValueError('\\n first\\nsecond')"], "cell 3: ValueError: first", "1\\n"),
        (["assert num == 2"], "cell 3: AssertionError", "AssertionError"),
        (["print('so far')\nimport os, time\nos.kill(os.getpid(), 9)\ntime.sleep(9)"],
         "cell 3: DeadKernelError: the kernel died (killed, or out of memory)", "import os"),
        (["print('so far')", "import time\ntime.sleep(60)"],
         "cell 4: PageTimeout: more than 20 s (--timeout)", "so far"),
        (["exit()"], "it did not record 1 of its figures: a.b", "exit"),
        (["print('so far')"], "it did not record 1 of its figures: a.b", "so far"),
    ],
)  # fmt: skip
def test_a_failure_is_one_line_and_keeps_the_notebook_so_far(project, cells, reason, kept):
    code = ["# Bad", *cells]
    page = add_page(project, "bad", *code, records=["a.b"], parameters="num = 1")
    places = Places(project)
    with pytest.raises(PageError) as error:
        execute_page(page, places, timeout=20 if "60" in cells[-1] else None)
    assert str(error.value) == reason
    assert kept in places.failed("bad").read_text()
    nbformat.validate(nbformat.read(places.failed("bad"), 4))
    assert not places.executed("bad").exists()
    assert not places.results("bad").exists()
    assert not is_current(page, places)
    assert read_outcome("bad", places).detail == reason
    assert parts_in(project) == []


def test_the_reason_reaches_the_report(project, capfd):
    add_page(project, "bad", "# Bad", "import time\ntime.sleep(60)")
    (project / "book" / "broken.ipynb").write_text("{")
    with (project / "book" / "pages.yml").open("a") as file:
        file.write("  - {name: broken, notebook: broken.ipynb}\n")
    assert cli.main(["--root", str(project), "run", "b", "--timeout", "5"]) == 1
    printed = capfd.readouterr().out
    reason = r"bad failed: (cell 2: )?PageTimeout: more than 5 s \(--timeout\)"  # in it or before
    assert re.search(reason, printed)
    assert "broken failed: " in printed
    assert "broken.ipynb must be a notebook, and is damaged" in printed
    assert json.loads(Places(project).run.read_text())["bad"]["status"] == "failed"


# --- what pages take ------------------------------------------------------------------------


def test_processor_time_and_memory_are_told_and_order_the_next_run(project, capfd):
    work = "import time\nx = bytearray(300_000_000)\nend = time.process_time() + 3\n"
    work += "while time.process_time() < end:\n    pass"
    add_page(project, "work", "# Work", work)
    places = Places(project)
    run_pages(places, ["a_one", "work"], num_jobs=1, say=lambda _: None)
    table = json.loads(places.run.read_text())
    assert set(table) == {"a_one", "work"}
    assert 3 < table["work"]["processor_seconds"] < 20
    assert 0.2 < table["a_one"]["processor_seconds"] < 20
    assert 300 < table["work"]["peak_mb"] < 1000
    assert table["a_one"]["peak_mb"] < 290
    pages = load_pages(project)
    outcomes = [read_outcome(name, places) for name in ("a_one", "work")]
    slower = max(outcomes, key=lambda o: o.seconds).page
    order = [page.name for page in longest_first(pages, places)]
    assert order[0] == "a_five"  # never run: it may be the longest
    assert order[1] == slower
    capfd.readouterr()
    assert cli.main(["--root", str(project), "run", "work"]) == 0
    row = next(r for r in capfd.readouterr().out.splitlines() if r.startswith("work "))
    assert f"{table['work']['processor_seconds']:.0f} s" in row
    assert f"{table['work']['peak_mb']:.0f} MB" in row


# --- where the kernel's files go ------------------------------------------------------------


def test_a_long_folder_for_temporary_files_is_not_used_for_sockets(project, tmp_path, monkeypatch):
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with kernel_folder() as folder:
        assert len(os.fsencode(folder / "k-ipc-1")) <= 103
        assert folder.is_dir()
    assert not folder.exists()
    monkeypatch.setattr("os.access", lambda path, _: "x" in path.name)
    match = r"TMPDIR must be a writable folder whose path has at most \d+ bytes.*xxx"
    with pytest.raises(ValueError, match=match):
        _choose_base()


def test_the_time_limit_leaves_no_alarm(project):
    execute_page(load_pages(project)[0], Places(project), timeout=60)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert threading.active_count() < 20
