"""What a page is made from: the modules that its kernel loaded, and the files that it opened.

The kernel of a running page notes them itself, so that nothing is guessed from its text. A Python
file counts by its syntax tree without docstrings: comments and layout change no result.
"""

import ast
import copy
import hashlib
import json
import os
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

VARIABLE = "GAHB_INPUTS"  # the file that a running page's kernel notes its inputs in
PACKAGES = ("gahb_core", "gahb_book")
APART = ("checkpoints", "kept")  # folders of the book that are no inputs
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
LIBRARY = Path(__file__).resolve().parents[1]
# run by IPython as a kernel starts; nothing of it is left among the page's names
STARTUP = "from gahb_book import inputs as _inputs\n_inputs.watch(get_ipython())\ndel _inputs\n"


def _modules() -> set[Path]:
    """Return the files of the library that are loaded."""
    loaded = [m for name, m in list(sys.modules.items()) if name.split(".")[0] in PACKAGES]
    files = [getattr(m, "__file__", None) for m in loaded]
    return {Path(file).resolve() for file in files if file}


def _name(path: Path, book: Path) -> str | None:
    """Return a file's name among inputs; None: it is none of them.

    Checkpoints are looked for by what `pages.yml` says that a page needs; kept values count by
    what they depend on (see `kept`).
    """
    if path.is_relative_to(book):
        inner = path.relative_to(book)
        apart = inner.parts[0] in APART or path.suffix == ".ipynb"
        return None if apart else f"book/{inner.as_posix()}"
    if any(path.is_relative_to(LIBRARY / package) for package in PACKAGES):
        kept = "__pycache__" not in path.parts
        return f"library/{path.relative_to(LIBRARY).as_posix()}" if kept else None
    return None


def _opened(found: set[Path], book: Path) -> Callable[[str, tuple], None]:
    """Return an audit hook that adds to `found` what is opened to be read, and folders listed."""

    def hook(event: str, args: tuple) -> None:
        if event == "open" and isinstance(args[0], str):
            if not args[2] & WRITES:
                found.add(Path(args[0]).absolute())
        elif event in ("os.scandir", "os.listdir") and isinstance(args[0], str):
            folder = Path(args[0]).absolute()
            # such as measured: a new file there is a change; an import also lists what is no folder
            if folder.parent == book and folder.is_dir():
                found.add(folder)

    return hook


def watch(shell: Any) -> None:
    """Note after every cell of a kernel what it has loaded and opened; without VARIABLE nothing.

    Args:
        shell: the kernel's IPython shell, whose working folder is the book's.
    """
    target, book = os.environ.get(VARIABLE), Path.cwd().resolve()
    if not target:
        return
    opened: set[Path] = set()
    noted: list[str] = []
    sys.addaudithook(_opened(opened, book))

    def note(*_: object) -> None:
        files = (path for path in _modules() | set(opened) if path.exists())
        found = [_name(path, book) for path in files]
        names = sorted({name for name in found if name})
        if names != noted:
            noted[:] = names
            Path(target).write_text(json.dumps(noted), encoding="utf-8")

    shell.events.register("post_run_cell", note)


def dump_code(tree: ast.AST) -> str:
    """Return a syntax tree as text, without docstrings; comments and layout are not in it."""
    tree = copy.deepcopy(tree)
    for node in ast.walk(tree):
        kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return ast.dump(tree)


@lru_cache(maxsize=2000)
def _hash(path: Path, changed: int, size: int) -> str:
    content = path.read_bytes()
    if path.suffix == ".py":
        content = dump_code(ast.parse(content.decode())).encode()
    return hashlib.sha256(content).hexdigest()


def hash_source(path: Path) -> str:
    """Return the SHA-256 of a file, in hex; of Python, that of its tree without docstrings."""
    stat = path.stat()
    return _hash(path, stat.st_mtime_ns, stat.st_size)


def _describe(path: Path) -> str:
    if path.is_dir():
        return " ".join(sorted(p.name for p in path.iterdir()))
    if not path.is_file():
        return "missing"
    return hash_source(path)


def _locate(name: str, root: Path) -> Path:
    base, _, inner = name.partition("/")
    return {"book": root / "book", "library": LIBRARY}[base] / inner


def newest_input(names: list[str], root: Path) -> int:
    """Return when the last of noted inputs changed, in nanoseconds."""
    paths = [_locate(name, root) for name in names]
    return max((path.stat().st_mtime_ns for path in paths if path.exists()), default=0)


def hash_inputs(names: list[str], root: Path) -> str:
    """Return the fingerprint of noted inputs, as they are now in the book of `root`.

    Raises:
        SyntaxError: where a module of the library is no Python.
    """
    lines = [f"{name} {_describe(_locate(name, root))}" for name in names]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
