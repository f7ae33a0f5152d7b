"""What a page depends on: in the real book, a change makes those pages stale that use it."""

import re
import shutil

import pytest
from conftest import ROOT, make_notebook

from gahb_core.pages import Places, load_pages, page_fingerprint
from gahb_core.pages.notebooks import code_of, read_notebook
from gahb_core.pages.sources import find_used, hash_used


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """A copy of the library and the notebooks, to be changed."""
    root = tmp_path_factory.mktemp("book")
    shutil.copytree(ROOT / "gahb_core", root / "gahb_core")
    skip = shutil.ignore_patterns("checkpoints", "_static")
    shutil.copytree(ROOT / "book", root / "book", ignore=skip)
    return root


@pytest.fixture(scope="module")
def change(book):
    """Return a function that changes a file of the copy and tells the pages that this makes stale.

    The file is put back.
    """

    def stamps():
        return {page.name: page_fingerprint(page, Places(book)) for page in load_pages(book)}

    before = stamps()

    def stale(name, old, new):
        path = book / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        after = stamps()
        path.write_text(text)
        return {page for page in before if before[page] != after[page]}

    return stale


def test_comments_and_docstrings_make_no_page_stale(change):
    name = "gahb_core/authors.py"
    assert (
        change(name, "import hashlib\n", "# a comment\n\n\nimport hashlib  # and another\n")
        == set()
    )
    docstring = '"""Return the path of a published network.'
    assert change(name, docstring, '"""Return where a published network is, rewritten.') == set()


def test_code_makes_exactly_the_pages_stale_that_use_it(book, change):
    pages = {page.name: code_of(read_notebook(page.notebook)) for page in load_pages(book)}

    def importing(room):
        """Return the pages whose text imports a room, by what the text says."""
        found = rf"^from gahb_core\.{room}\b|^from gahb_core import .*\b{room}\b"
        return {name for name, code in pages.items() if re.search(found, code, re.M)}

    stale = change("gahb_core/sampling/ascent.py", "import math\n", "import math\nextra = 1\n")
    # live figures climb too: those made in files that import the sampler, or what uses it
    files = [path.read_text() for path in (book / "gahb_core" / "live").glob("*.py")]
    climbing = [text for text in files if re.search(r"gahb_core\.sampling|super_resolve", text)]
    makers = re.findall(r"^def (explore_\w+)", "\n".join(climbing), re.M)
    called = re.compile(r"\b(" + "|".join(makers) + r")\(")
    assert stale == importing("sampling") | {n for n, code in pages.items() if called.search(code)}
    assert "07_manifolds" not in stale  # its live figures do not
    assert {"02_sampling", "10_synthesis"} <= stale < set(pages)
    # all pages but three load networks, and the authors' are among those
    stale = change("gahb_core/authors.py", "import io\n", "import io\nextra = 1\n")
    assert stale == set(pages) - {"00_curse", "scale", "16_reproduced"}
    assert change("gahb_core/pages/run.py", "import sys\n", "import sys\nextra = 1\n") == set()
    assert change("gahb_core/cli/__init__.py", "import os\n", "import os\nextra = 1\n") == set()


def test_measured_files_count_for_the_pages_that_read_them(change):
    stale = change("book/measured/disks_training.json", "{", "{ ")
    assert stale == {"07_manifolds"}


@pytest.fixture
def library(tmp_path):
    """A small library: a room of two files, one of which reads a style; and a room beside it."""
    files = {
        "__init__.py": "",
        "alone.py": "from gahb_core.room.one import f\n",
        "room/__init__.py": "from gahb_core.room.one import f\nfrom gahb_core.room.two import g\n",
        "room/one.py": "def f(): pass\n",
        "room/two.py": "import gahb_core\nSTYLE = 'style'\ndef g(): pass\n",
        "room/kernel.js": "1",
        "style/a.mplstyle": "x: 1",
        "other.py": "",
    }
    for name, text in files.items():
        path = tmp_path / "gahb_core" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


ONE, TWO = {"room/one.py", "room/kernel.js"}, {"room/two.py", "room/kernel.js", "style/a.mplstyle"}


@pytest.mark.parametrize(
    ("code", "used"),
    [
        ("import numpy", set()),
        ("from gahb_core.room import f", ONE),
        ("from gahb_core.room import f as h", ONE),
        ("from gahb_core import room\nroom.f()", ONE),
        ("from gahb_core import alone", {"alone.py"} | ONE),
        ("def f():\n    from gahb_core.room.two import g", {"__init__.py"} | TWO),
        ("from gahb_core import room\nroom.g(room.f)", {"__init__.py"} | ONE | TWO),
        ("from gahb_core import room\nuse(room)", {"__init__.py", "room/__init__.py"} | ONE | TWO),
        ("import gahb_core.room", {"__init__.py", "room/__init__.py"} | ONE | TWO),
        ("from gahb_core.room import *", {"__init__.py", "room/__init__.py"} | ONE | TWO),
    ],
)
def test_imports_are_followed_to_the_names_that_are_used(library, code, used):
    found = find_used(code, library)
    assert {p.relative_to(library / "gahb_core").as_posix() for p in found} == used


def test_a_notebook_that_is_no_python_uses_all(library):
    notebook = library / "n.ipynb"
    notebook.write_text(make_notebook("%matplotlib inline\n!ls\nx = 1", "this is no Python"))
    before = hash_used(notebook, library)
    (library / "gahb_core" / "other.py").write_text("x = 1")
    assert hash_used(notebook, library) != before
