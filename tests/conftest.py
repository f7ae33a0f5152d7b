"""What several tests share: a miniature project, and the real pages, run and built once."""

import gc
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import hypothesis
import pytest
from browser import FLAGS, browsers, find_chromium, find_elsewhere, serve

from gahb_book.run import load_pages

ROOT = Path(__file__).resolve().parents[1]
GIVEN = dict(os.environ)  # what the pages run in
AXE = "axe-core@4.14.1"
MAX_FINDING = 1200.0  # seconds until every page is found good or not; two minutes are usual
# an example is not wrong because the machine is busy
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")


def pytest_configure():
    """Give torch one thread, here and in what tests start; it has not been imported yet.

    The cores are taken by the pages that run meanwhile: threads that wait for each other take
    several times the processor time of one, on the small arrays of tests.
    """
    os.environ["OMP_NUM_THREADS"] = "1"


def pytest_collection_modifyitems(items):
    """What needs no page first, in the browser too, for the pages run meanwhile; then the pages,
    the built book, and what browsers of their own find in it."""
    stages = ("executed_pages", "built_book", "found")  # each needs the one before
    items.sort(key=lambda item: (sum(name in item.fixturenames for name in stages),
                                 item.get_closest_marker("browser") is not None))  # fmt: skip


def run_gahb(request, *words):
    """Return the exit code of `gahb *words`, its progress shown while it runs."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\n== gahb {' '.join(words)} ==", flush=True)
        command = [sys.executable, "-m", "gahb_book.cli", "--root", str(ROOT), *words]
        return subprocess.run(command, check=False, env=GIVEN).returncode


def page_of(item):
    """Return the page that a test is about (the parameter `page`, or `path` in the built book)."""
    given = item.callspec.params if hasattr(item, "callspec") else {}
    path = str(given.get("path", ""))
    named = Path(path).stem if path.startswith("book/") else None
    return given.get("page", named)


def asked_pages(items):
    """Return the pages that the tests `items` are about; none, which stands for all, if one of
    them is about the whole book, or the run of everything."""
    names = [page_of(item) for item in items if "executed_pages" in item.fixturenames]
    known = {page.name for page in load_pages(ROOT)}
    return [] if None in names else [name for name in dict.fromkeys(names) if name in known]


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
def found(request, chromium, built_book, axe_or_none):
    """A function of (path, theme): what browsers of their own found in a page of the book.

    They begin with all pages that the session's tests ask for, in the order of these tests.
    """
    items = [item for item in request.session.items if "found" in item.fixturenames]
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


def make_notebook(*cells, parameters=None):
    """Return a notebook's JSON: code cells, or Markdown for those that begin with #."""
    made = []
    for i, source in enumerate(cells):
        kind = "markdown" if source.startswith("#") else "code"
        cell = {"cell_type": kind, "id": f"c{i}", "metadata": {}, "source": source}
        made.append(cell | ({"outputs": [], "execution_count": None} if kind == "code" else {}))
    if parameters:
        cell = {"cell_type": "code", "id": "p", "metadata": {"tags": ["parameters"]},
                "source": parameters, "outputs": [], "execution_count": None}  # fmt: skip
        made.insert(1, cell)
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return json.dumps({"cells": made, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})


def make_project(folder):
    """Return a folder made a miniature project.

    Two pages of one notebook, and a prose page.
    """
    (folder / "book").mkdir()
    (folder / "book" / "index.md").write_text("# Contents\n\nA book.\n")
    (folder / "book" / "a.ipynb").write_text(
        make_notebook(
            "# A page",
            "from gahb_book.record import record\n"
            "record('a.twice', 2 * num, published=3, kind='paper')",
            parameters="num = 1\nprofile = 'laptop'",
        )
    )
    (folder / "book" / "pages.yml").write_text(
        "pages:\n"
        "  - {name: a_one, notebook: a.ipynb, records: [a.twice]}\n"
        "  - {name: a_five, notebook: a.ipynb, title: With five, parameters: {num: 5}}\n"
    )
    (folder / "_config.yml").write_text("title: Small\nexecute: {execute_notebooks: 'off'}\n")
    (folder / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nchapters:\n- file: book/a_one\n- file: book/a_five\n"
    )
    return folder


def add_page(project, name, *cells, records=(), parameters=None):
    """Add a notebook and its page to the miniature project."""
    (project / "book" / f"{name}.ipynb").write_text(make_notebook(*cells, parameters=parameters))
    line = f"  - {{name: {name}, notebook: {name}.ipynb, records: {json.dumps(list(records))}}}\n"
    with (project / "book" / "pages.yml").open("a") as file:
        file.write(line)
    return next(page for page in load_pages(project) if page.name == name)


@pytest.fixture
def project(tmp_path):
    """A miniature project: see `make_project`."""
    yield make_project(tmp_path)
    # asyncio tells the traceback of a task that a dead kernel left when the task is collected, and
    # does so by `ast.parse`, which Python 3.11 cannot do within another: collected here, not there
    gc.collect()
