"""What several tests share: a miniature project, and the real pages, run and built once."""

import gc
import os
import shutil
import subprocess
import sys
import tarfile
import time

import pytest
from browser import FLAGS, browsers, find_chromium, find_elsewhere, serve
from projects import ROOT, asked_pages, make_project

GIVEN = dict(os.environ)  # what the pages run in
AXE = "axe-core@4.14.1"
MAX_FINDING = 1200.0  # seconds until every page is found good or not; two minutes are usual


def pytest_collection_modifyitems(items):
    """What needs no page first, in the browser too, for the pages run meanwhile; then the pages,
    the built book, and what browsers of their own find in it."""
    stages = ("executed_pages", "built_book", "browsed")  # each needs the one before
    items.sort(key=lambda item: (sum(name in item.fixturenames for name in stages),
                                 item.get_closest_marker("browser") is not None))  # fmt: skip


def run_gahb(request, *words):
    """Return the exit code of `gahb *words`, its progress shown while it runs."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\n== gahb {' '.join(words)} ==", flush=True)
        command = [sys.executable, "-m", "gahb_book.cli", "--root", str(ROOT), *words]
        return subprocess.run(command, check=False, env=GIVEN).returncode


@pytest.fixture(scope="session", autouse=True)
def pages_under_way(request, tmp_path_factory):
    """The process of one `gahb run` and its output, begun before the quick tests; or None.

    It runs the pages asked for, unless they are done and unchanged. Beside the quick tests, which
    take one core, it saves their time.
    """
    if not any("executed_pages" in item.fixturenames for item in request.session.items):
        yield None
        return
    command = [sys.executable, "-m", "gahb_book.cli", "--root", str(ROOT), "run"]
    command += asked_pages(request.session.items)
    log = tmp_path_factory.mktemp("pages") / "log"
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=GIVEN)
        yield process, log
        process.terminate()
        process.wait()


@pytest.fixture(scope="session")
def executed_pages(request, pages_under_way):
    """The exit code of the pages' run, its progress shown from here on."""
    process, log = pages_under_way
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled(), log.open() as file:
        print(f"\n== {' '.join(process.args[2:])} ==", flush=True)
        ended = False
        while not ended:
            ended = process.poll() is not None
            print(file.read(), end="", flush=True)
            time.sleep(0.2)
    return process.returncode


@pytest.fixture(scope="session")
def built_book(request, executed_pages):
    """The folder of the HTML book, built from the executed pages."""
    code = run_gahb(request, "build")
    assert code == 0, "the book does not build: see the warnings above, mend them, `gahb build`"
    return ROOT / "_build" / "html"


@pytest.fixture(scope="session")
def chromium():
    """The path of a Chromium."""
    return find_chromium() or pytest.skip(
        "no Chromium on this machine: install one, or set GAHB_CHROMIUM"
    )


@pytest.fixture(scope="session")
def axe_or_none(tmp_path_factory):
    """The source of axe-core, which looks for what shuts readers out; None where it is not."""
    folder = tmp_path_factory.mktemp("axe")
    npm = shutil.which("npm")
    done = npm and subprocess.run([npm, "pack", "--silent", AXE], cwd=folder, check=False)
    if not done or done.returncode:
        return None
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        return archive.extractfile("package/axe.min.js").read().decode()


@pytest.fixture(scope="session")
def axe(axe_or_none):
    """The source of axe-core, for tests only."""
    return axe_or_none or pytest.skip(f"{AXE} cannot be had here: no npm, or no registry")


@pytest.fixture(scope="session")
def browsed(request, chromium, built_book, axe_or_none):
    """A function of (path, theme): what browsers of their own found in a page of the book.

    They begin with all pages that the session's tests ask for, in the order of these tests.
    """
    items = [item for item in request.session.items if "browsed" in item.fixturenames]
    asked = dict.fromkeys((i.callspec.params["path"], i.callspec.params["theme"]) for i in items)
    end = time.monotonic() + MAX_FINDING
    with serve(built_book) as origin, browsers() as pool:
        answers = {
            key: pool.apply_async(find_elsewhere, (chromium, origin, *key, axe_or_none))
            for key in asked
        }
        yield lambda *key: answers[key].get(max(0, end - time.monotonic()))


@pytest.fixture(scope="module")
def browser(chromium):
    """A headless Chromium, shared by the tests of a file."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def project(tmp_path):
    """A miniature project: see `make_project`."""
    yield make_project(tmp_path)
    # asyncio tells the traceback of a task that a dead kernel left when the task is collected, and
    # does so by `ast.parse`, which Python 3.11 cannot do within another: collected here, not there
    gc.collect()
