"""What a function's value depends on beside its arguments: its source, and modules of the library.

Both are found from the text, without running it. Names that a function reaches, in it and in the
kept functions that it calls, lead to the modules that define them; their imports, wherever in a
file they stand, to the rest. That counts a module too many rather than one too few: nothing in the
library is imported by a name that is made while it runs. To watch a run instead would see what one
set of arguments came by, slow every kept function down, and know nothing before the first run.

A file counts by its syntax tree without docstrings, as among the inputs of a page.
"""

import ast
import builtins
import dis
import hashlib
import importlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

import torch

from gahb_book.inputs import PACKAGES, dump_code, hash_source

# what a kept function would read, show or draw from beside its arguments
FORBIDDEN = {
    open.__module__: ("open",),
    "pathlib": ("Path",),
    "numpy": ("load", "fromfile", "loadtxt"),
    "torch.serialization": ("load",),
    "builtins": ("open", "eval", "exec", "input", "print", "globals", "locals", "__import__"),
    "gahb_book.places": ("book_path", "find_root"),
    "gahb_book.record": ("record",),
    "gahb_core.training.load": ("load", "load_denoiser", "load_energy", "load_multiscale"),
    "gahb_core.training.authors": ("load_authors",),
}


class Code(NamedTuple):
    """What a function's value depends on beside its arguments.

    Attributes:
        functions: of the notebook: the function itself, and the kept ones that it calls.
        modules: of the library, by name.
        digest: SHA-256 of all that they say, in hex, and of the version of torch.
    """

    functions: tuple[str, ...]
    modules: tuple[str, ...]
    digest: str


def is_of_library(module: str | None) -> bool:
    """Return whether a module of this name is of `gahb_core` or `gahb_book`."""
    return bool(module) and str(module).split(".")[0] in PACKAGES


def _parse(source: str) -> ast.FunctionDef:
    """Return the tree of a function's source, without its decorators."""
    (function,) = ast.parse(textwrap.dedent(source)).body
    if not isinstance(function, ast.FunctionDef):
        raise ValueError(f"a kept function must be a def, not {ast.unparse(function)!r}")
    function.decorator_list = []
    return function


def find_kept(source: str) -> dict[str, str]:
    """Return the functions of a notebook's code that are kept: name → what it says, see `walk`."""
    return {
        node.name: dump_code(_parse(ast.unparse(node)))
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef)
        and any(ast.unparse(d).partition("(")[0] == "keep" for d in node.decorator_list)
    }


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Yield a function's code, and that of all that is defined in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _names(function: FunctionType) -> dict[str, Any]:
    """Return the names that a function takes from around it, each with what it stands for."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    found = {name: cell.cell_contents for name, cell in cells}
    for code in _codes(function.__code__):
        for step in dis.get_instructions(code):
            if step.opname == "STORE_GLOBAL":
                raise _refusal(function, step.argval, "is set by it", "return it instead")
            if step.opname == "IMPORT_NAME":
                raise _refusal(function, step.argval, "is imported in it", "import it above")
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME") and step.argval not in found:
                if step.argval in function.__globals__:
                    found[step.argval] = function.__globals__[step.argval]
                elif hasattr(builtins, step.argval):
                    found[step.argval] = getattr(builtins, step.argval)
                else:
                    raise NameError(f"{function.__name__} uses {step.argval}, which is not defined")
    return found


def _refusal(function: FunctionType, name: str, what: str, cure: str) -> ValueError:
    return ValueError(
        f"{function.__name__} is kept, so it must use nothing of the notebook but its arguments, "
        f"modules and other kept functions, and {name} {what}: {cure}"
    )


def _follow(value: Any, rest: list[str]) -> tuple[Any, str | None]:
    """Return what `value.a.b` is, as far as modules lead, and the module that it was found in."""
    home = value.__name__ if isinstance(value, ModuleType) else None
    while rest and isinstance(value, ModuleType):
        home, value = value.__name__, getattr(value, rest.pop(0), None)
    return value, home


def _is_definition(value: Any) -> bool:
    """Return whether a value is a class, or a function that stands in a module by its name."""
    name = getattr(value, "__qualname__", None) or "<locals>"
    return (isinstance(value, type) or inspect.isroutine(value)) and "<locals>" not in name


def _owner(value: Any, home: str | None) -> str | None:
    """Return the name of the module that defines a value which was found in the module `home`."""
    if isinstance(value, ModuleType):
        return value.__name__
    return (getattr(value, "__module__", None) if _is_definition(value) else None) or home


def _chains(tree: ast.AST) -> Iterator[list[str]]:
    """Yield the dotted names of a text, `a.b.c` as a list; `a` and `a.b` come too."""
    for node in ast.walk(tree):
        words: list[str] = []
        while isinstance(node, ast.Attribute):
            words.insert(0, node.attr)
            node = node.value
        if isinstance(node, ast.Name):
            yield [node.id, *words]


def _longest(chains: Iterable[list[str]]) -> list[list[str]]:
    """Return the chains that are no beginning of a longer one: `noise` beside `noise.add_noise`."""
    every = sorted({tuple(chain) for chain in chains})
    heads = {chain[:n] for chain in every for n in range(1, len(chain))}
    return [list(chain) for chain in every if chain not in heads]


def _reach(function: FunctionType, tree: ast.AST) -> Iterator[tuple[str, Any, str | None]]:
    """Yield what a function reaches: its name there, the thing, and the module it was found in."""
    names = _names(function)
    for chain in _longest(_chains(tree)):
        if chain[0] in names:
            value, home = _follow(names[chain[0]], chain[1:])
            yield ".".join(chain), value, home


def _check(function: FunctionType, name: str, value: Any, home: str | None) -> None:
    """Refuse what is not of a library; the message names it and says what to do."""
    owner = _owner(value, home)
    if getattr(value, "__name__", None) in FORBIDDEN.get(owner or "", ()):
        cure = "pass what it gives as an argument, or return what it is to say"
        raise _refusal(function, name, "does more than compute", cure)
    if home is not None or isinstance(value, ModuleType):
        return
    if not _is_definition(value) and not inspect.isfunction(value):
        cure = "pass it as an argument, or use it as an attribute of its module"
        raise _refusal(function, name, f"is a variable (a {type(value).__name__})", cure)
    if not _is_definition(value):
        raise _refusal(function, name, "is a variable (a function)", "pass it as an argument")
    if owner == function.__module__:
        raise _refusal(function, name, "is defined in the notebook", "decorate it with @keep")


def walk(function: FunctionType) -> tuple[dict[str, str], set[str]]:
    """Return the sources of a function and of the kept ones it calls, and modules of the library.

    Raises:
        ValueError: for what it uses of the notebook, naming the variable and the cure.
    """
    sources: dict[str, str] = {}
    modules: set[str] = set()
    _walk(function, sources, modules)
    return sources, modules


def _walk(function: FunctionType, sources: dict[str, str], modules: set[str]) -> None:
    tree = _parse(inspect.getsource(function))
    sources[function.__name__] = dump_code(_parse(ast.unparse(tree)))
    for name, value, home in _reach(function, tree):
        called = getattr(value, "__kept__", None)
        if called is not None:
            if called.__name__ not in sources:
                _walk(called, sources, modules)
            continue
        _check(function, name, value, home)
        if is_of_library(owner := _owner(value, home)):
            modules.add(str(owner))


def _imported(tree: ast.AST) -> Iterator[str]:
    """Yield the modules that a text imports from, wherever it does: those that define the names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and is_of_library(node.module):
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                value = getattr(module, alias.name, None)
                if value is None:  # a module that nobody has imported yet
                    value = importlib.import_module(f"{node.module}.{alias.name}")
                owner = _owner(value, node.module)
                yield str(owner if is_of_library(owner) else node.module)


def file_of(module: str) -> Path:
    """Return the file of a module of the library."""
    found = sys.modules.get(module) or importlib.import_module(module)
    return Path(str(found.__file__))


@lru_cache(maxsize=1000)
def _imports_of(module: str) -> frozenset[str]:
    tree = ast.parse(file_of(module).read_text(encoding="utf-8"))
    return frozenset(name for name in _imported(tree) if is_of_library(name))


def close(modules: Iterable[str]) -> tuple[str, ...]:
    """Return modules of the library with all that they import, sorted."""
    found: set[str] = set()
    todo = set(modules)
    while todo:
        found |= todo
        todo = {name for module in todo for name in _imports_of(module)} - found
    return tuple(sorted(found))


def digest_of(sources: dict[str, str], modules: Iterable[str]) -> str:
    """Return the SHA-256, in hex, of sources of functions, of modules, and of torch's version."""
    lines = [f"torch {torch.__version__.partition('+')[0]}"]
    lines += [f"{name} {source}" for name, source in sorted(sources.items())]
    lines += [f"{module} {hash_source(file_of(module))}" for module in modules]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def find_code(function: Callable, also: Iterable[str] = ()) -> Code:
    """Return what a function's value depends on beside its arguments.

    Args:
        function: of a notebook, undecorated.
        also: modules of the library that its arguments are of.

    Raises:
        ValueError: for what it uses of the notebook.
    """
    sources, reached = walk(function)  # type: ignore[arg-type]
    modules = close({*reached, *also})
    return Code(tuple(sorted(sources)), modules, digest_of(sources, modules))
