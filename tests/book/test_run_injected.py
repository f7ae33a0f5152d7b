"""Runs killed at random moments, full disks, a checkout that is read-only: nothing is half made.

`tests/benchmarks/faults.py` counts them into book/measured/faults.json.
"""

import contextlib
import ctypes
import os
import random
import resource
import stat
import subprocess
import sys
import time

import psutil
import pytest

from gahb_book.places import Places
from gahb_book.report import load_results
from gahb_book.run import load_pages
from gahb_book.run.execute import PageError, execute_page
from gahb_book.run.notebooks import read_notebook
from gahb_book.run.stamp import is_current

CAPBSET_DROP, DAC_OVERRIDE = 24, 1  # of prctl: root heeds the permissions of files from its exec on


def start(project, *words, **options):
    command = [sys.executable, "-m", "gahb_book.cli", "--root", str(project), *words]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )


def look(page, places, said):
    """Return what became of a page: "whole", "refused in words", or "half", which must not be."""
    if is_current(page, places):
        return (
            "whole" if load_results(page.name, root=places.root)["a.twice"].value == 2 else "half"
        )
    for path, read in (
        (places.executed(page.name), read_notebook),
        (places.results(page.name), lambda _: load_results(page.name, root=places.root)),
    ):
        if path.exists():
            read(path)  # older than the stamp that went, but not half of a file
    return "refused in words" if f"{page.name} failed: " in said else "half"


def kill_runs(project, num, rng):
    """Yield which was killed, a run, its page's process or its kernel, and what became of both."""
    page, places = load_pages(project)[0], Places(project)
    began = time.monotonic()
    with start(project, "run", page.name) as run:
        run.communicate(timeout=300)
    took = time.monotonic() - began
    for _ in range(num):
        depth = rng.randrange(3)
        with start(project, "run", page.name, "--force") as run:
            family = [psutil.Process(run.pid)]
            with contextlib.suppress(psutil.Error):
                while len(family) <= depth and run.poll() is None:
                    time.sleep(0.01)
                    family[1:] = family[0].children(recursive=True)
                time.sleep(rng.uniform(0.0, took / (1 + depth)))
                family[1:] = family[0].children(recursive=True)
                family[min(depth, len(family) - 1)].kill()
            psutil.wait_procs(family[1:], timeout=60)
            said = run.communicate(timeout=120)[0]
        # a runner that was killed says no more
        found = look(page, places, said if depth else f"{page.name} failed: ")
        yield ("runner", "page", "kernel")[depth], found
        if found != "whole":
            execute_page(page, places)
    execute_page(page, places)
    yield "none", look(page, places, "")


def fill_disk(project, num, rng):
    """Yield what became of a page while no file can grow beyond some bytes."""
    page, places = load_pages(project)[0], Places(project)
    for _ in range(num):
        limit = int(10 ** rng.uniform(0, 4))
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            with contextlib.suppress(BaseException):
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
                try:
                    execute_page(page, places)
                except (PageError, OSError) as error:
                    os.write(writer, f"{page.name} failed: {error}".encode()[:4000])
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            said = pipe.read()
        os.waitpid(pid, 0)
        assert "\n" not in said
        yield limit, look(page, places, said)
    execute_page(page, places)
    yield None, look(page, places, "")


@pytest.mark.verify
def test_runs_killed_at_random_moments_leave_no_half_of_a_page(project):
    ends = list(kill_runs(project, 4, random.Random(1)))
    assert "half" not in [end for _, end in ends]
    assert ends[-1] == ("none", "whole")
    assert not [p for p in (project / "_build").rglob("*") if ".part" in p.name]


@pytest.mark.verify
def test_a_full_disk_leaves_no_half_of_a_page(project):
    ends = list(fill_disk(project, 5, random.Random(0)))
    assert "half" not in [end for _, end in ends]
    assert "refused in words" in [end for _, end in ends]
    assert ends[-1] == (None, "whole")


def heed_permissions():
    ctypes.CDLL(None).prctl(CAPBSET_DROP, DAC_OVERRIDE)


@pytest.mark.skipif(sys.platform != "linux", reason="root heeds permissions on Linux alone")
@pytest.mark.parametrize(("words", "made"), [("run", False), ("run", True), ("build", False)])
def test_a_read_only_checkout_is_named(project, words, made):
    if made:
        for name in ("executed", "results"):
            (project / "_build" / name).mkdir(parents=True)
    folders = [project, *(p for p in project.rglob("*") if p.is_dir())]
    before = sorted(project.rglob("*"))
    try:
        for folder in folders:
            folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
        with start(project, words, preexec_fn=heed_permissions) as process:
            said = process.communicate(timeout=300)[0]
    finally:
        for folder in folders:
            folder.chmod(stat.S_IRWXU)
    assert process.returncode == 2, said
    assert "Traceback" not in said
    last = said.splitlines()[-1]
    assert last.startswith("gahb: "), said
    assert "Permission denied" in last
    assert str(project) in last
    assert made or said.count("\n") == 1
    assert sorted(project.rglob("*")) == before
