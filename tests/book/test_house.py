"""The rules of the house: order of the rooms, sizes, docstrings, what must not be committed."""

import ast
import json
from pathlib import Path

import pytest

import gahb_book
import gahb_core

ROOT = Path(__file__).resolve().parents[2]
# package → its rooms, in order: that of the book comes after that of the science
ROOMS = {"gahb_core": gahb_core.ROOMS, "gahb_book": gahb_book.ROOMS}
ORDER = [(package, room) for package, rooms in ROOMS.items() for room in rooms]
SOURCES = sorted(
    p for package in ROOMS for p in (ROOT / package).rglob("*.py") if "__pycache__" not in p.parts
)
NOTEBOOKS = sorted((ROOT / "book").glob("*.ipynb"))
NOTEBOOKS.append(ROOT / "book" / "_templates" / "chapter.ipynb")
MAX_BODY, MAX_LINES = 40, 400  # where two read better; about 30 and 300 are the habit


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def room_of(path):
    """Return the package and the room a file belongs to; a room may be a folder."""
    package, room, *_ = path.relative_to(ROOT).parts
    return package, room.removesuffix(".py")


def imported_rooms(path):
    """Return the rooms a file imports from, anywhere in it, with the line."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno} imports by a relative name"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        parts = [name.split(".") for name in names]
        found += [((p[0], p[1]), node.lineno) for p in parts if len(p) > 1]
    return [(room, line) for room, line in found if room in ORDER]


def definitions(tree):
    """Return the functions and classes of a module and of its public classes."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found = [node for node in tree.body if isinstance(node, kinds)]
    for node in list(found):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            found += definitions(node)
    return found


def body_lines(node):
    """Return how many lines the body of a function has, its docstring not counted."""
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def code_of(notebook):
    """Return the Python of a notebook, without the lines that are for IPython."""
    cells = json.loads(notebook.read_text())["cells"]
    lines = [
        line
        for cell in cells
        if cell["cell_type"] == "code"
        for line in [*"".join(cell["source"]).split("\n")]
    ]
    return "\n".join("pass" if line.startswith(("%", "!")) else line for line in lines)


def written_files():
    """Return the text files that are ours: not built, not vendored, not data."""
    folders = ["book", *ROOMS, "tests", ".ci", ".github"]
    files = [p for folder in folders for p in (ROOT / folder).rglob("*")]
    files += [p for p in ROOT.iterdir() if p.name != ".git"]
    skip = {"vendor", "checkpoints", "__pycache__", "data", ".ipynb_checkpoints"}
    kinds = {
        ".py",
        ".md",
        ".ipynb",
        ".yml",
        ".toml",
        ".txt",
        ".bib",
        ".css",
        ".js",
        ".cff",
        ".json",
        "",
    }
    return [p for p in files if p.is_file() and not skip & set(p.parts) and p.suffix in kinds]


# --- the rooms ------------------------------------------------------------------------------


def test_every_file_is_in_a_room():
    rooms = {room_of(path) for path in SOURCES} - {(package, "__init__") for package in ROOMS}
    assert rooms == set(ORDER)
    assert "utils" not in {path.stem for path in SOURCES}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_room_imports_only_from_rooms_before_it(path):
    own = ORDER.index(room_of(path)) if room_of(path) in ORDER else -1
    later = [(line, room) for room, line in imported_rooms(path) if ORDER.index(room) > own]
    wrong = [f"line {line}: {'.'.join(room)}" for line, room in later]
    assert not wrong, f"{name_of(path)} imports from later rooms: {wrong}"


def test_the_order_would_be_noticed(tmp_path, monkeypatch):
    """The test above can fail: an import within a function, of a later room, is found."""
    path = tmp_path / "noise.py"
    path.write_text(
        "def f():\n    from gahb_book.cli import main\n    import gahb_core.data.registry\n"
    )
    assert imported_rooms(path) == [(("gahb_book", "cli"), 2), (("gahb_core", "data"), 3)]


def test_a_file_of_tests_is_named_after_its_room():
    """tests/core/test_<room>.py, or test_<room>_<idea>.py; the rest is about all of them."""
    about = {
        "gahb_core": ("core", {"arguments", "devices", "wheel"}),
        "gahb_book": ("book", {"house", "book"}),
    }
    stray = []
    for package, (folder, whole) in about.items():
        known = whole | set(ROOMS[package])
        paths = (ROOT / "tests" / folder).glob("test_*.py")
        stray += [p.name for p in paths if p.stem.split("_")[1] not in known]
    assert not stray, f"name these after the room that they test: {stray}"


def test_tests_of_the_science_need_nothing_of_the_book():
    """They run where the wheel alone is installed; what asks the command line is marked."""
    for path in (ROOT / "tests" / "core").glob("*.py"):
        heads = [n for n in ast.parse(path.read_text()).body if isinstance(n, ast.ImportFrom)]
        assert not [n.module for n in heads if n.module.startswith("gahb_book")], path.name


# --- sizes and docstrings -------------------------------------------------------------------


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_files_and_functions_are_short(path):
    text = path.read_text()
    assert len(text.splitlines()) < MAX_LINES
    nodes = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef)]
    long = [f"{n.name} ({body_lines(n)})" for n in nodes if body_lines(n) > MAX_BODY]
    assert not long, f"more than {MAX_BODY} lines: {long}"


def test_options_are_given_by_name():
    """A fifth argument by position tells a reader nothing."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                arguments = [a.arg for a in node.args.args if a.arg not in ("self", "cls")]
                few = len(arguments) < 5 or not node.args.defaults
                assert few, f"{path.name}: {node.name}({', '.join(arguments)})"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_every_public_name_is_documented(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), f"{name_of(path)} does not say what it is for"
    public = [n for n in definitions(tree) if not n.name.startswith("_")]
    bare = [n.name for n in public if not ast.get_docstring(n)]
    assert not bare, f"without a docstring: {bare}"


# --- the notebooks --------------------------------------------------------------------------


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_notebooks_are_committed_without_outputs(path):
    content = json.loads(path.read_text())
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    full = [i for i, cell in enumerate(code, 1) if cell["outputs"] or cell["execution_count"]]
    assert not full, f"code cells {full} have outputs: nbstripout --keep-id {name_of(path)}"
    assert "widgets" not in content["metadata"]


def test_no_helper_is_defined_in_two_chapters():
    places = {}
    for path in NOTEBOOKS:
        for node in definitions(ast.parse(code_of(path))):
            places.setdefault(node.name, set()).add(path.name)
    twice = {name: sorted(files) for name, files in places.items() if len(files) > 1}
    assert not twice, f"put these in a room of gahb_core: {twice}"


# --- what must not be committed -------------------------------------------------------------


def test_no_file_names_a_machine_or_a_registry():
    # in pieces, so that this file does not hold them
    paths = ["/" + folder + "/" for folder in ("work", "tmp", "root", "home")]
    hosts = [
        "pypi" + ".org",
        "python" + "hosted.org",
        "npm" + "js.org",
        "download.py" + "torch.org",
    ]
    found = {}
    for path in written_files():
        text = path.read_text(encoding="utf-8", errors="replace")
        if words := [word for word in paths + hosts if word in text]:
            found[name_of(path)] = words
    assert not found
