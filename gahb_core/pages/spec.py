"""What a page is: one line of `book/pages.yml`, where its files live, and what it depends on."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from gahb_core.pages.files import hash_files

KEYS = {"name", "notebook", "parameters", "title", "needs", "records"}
NEEDS = {"data", "files", "checkpoints", "results"}


class Page(NamedTuple):
    """A chapter with parameters, as `book/pages.yml` lists it.

    `data` (image sets), `files` (of the data folder) and `checkpoints` must be there before it can
    run; `results` names the pages whose recorded figures it reads (so it runs after them);
    `records` the figures it must record.
    """

    name: str
    notebook: Path
    parameters: dict[str, Any] = {}
    title: str | None = None
    data: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    records: tuple[str, ...] = ()


class Places(NamedTuple):
    """Where a profile's built files go: `_build` for laptop, `_build/<profile>` for the others."""

    root: Path
    profile: str = "laptop"

    @property
    def build(self) -> Path:
        """The folder of everything that is built."""
        base = self.root / "_build"
        return base if self.profile == "laptop" else base / self.profile

    @property
    def html(self) -> Path:
        """The folder of the HTML book (the builder insists on a parent called _build)."""
        base = self.build if self.profile == "laptop" else self.build / "_build"
        return base / "html"

    def executed(self, name: str) -> Path:
        """The executed notebook of a page."""
        return self.build / "executed" / f"{name}.ipynb"

    def failed(self, name: str) -> Path:
        """The notebook as far as it went, when a page failed."""
        return self.build / "executed" / f"{name}.failed.ipynb"

    def stamp(self, name: str) -> Path:
        """The fingerprint of what the executed notebook was made from."""
        return self.build / "executed" / f"{name}.hash"

    def results(self, name: str) -> Path:
        """The figures that a page recorded."""
        return self.build / "results" / f"{name}.json"


def find_root(start: Path | None = None) -> Path:
    """Return the folder of the project: at or above `start` (default: here), else the library's.

    Raises:
        ValueError: when no such folder holds book/pages.yml.
    """
    here = Path(start or Path.cwd()).resolve()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[2]):
        if (folder / "book" / "pages.yml").is_file():
            return folder
    raise ValueError(f"no book/pages.yml at or above {here}: run this inside a clone of the book")


def _check_keys(entry: Any, allowed: set[str], where: str) -> dict[str, Any]:
    if not isinstance(entry, dict) or not set(entry) <= allowed:
        keys = sorted(entry) if isinstance(entry, dict) else entry
        raise ValueError(f"{where} may have the keys {sorted(allowed)}, not {keys}")
    return entry


def expand_braces(text: str) -> list[str]:
    """Return the names that a text with lists in braces stands for.

    >>> expand_braces("psnr.{train,test}.{0,3}")
    ['psnr.train.0', 'psnr.train.3', 'psnr.test.0', 'psnr.test.3']

    Raises:
        ValueError: for a brace that is not closed.
    """
    head, brace, rest = text.partition("{")
    if not brace:
        return [text]
    options, closed, tail = rest.partition("}")
    if not closed:
        raise ValueError(f"braces in book/pages.yml must be closed, not {text!r}")
    return [head + option + end for option in options.split(",") for end in expand_braces(tail)]


def _expand(texts: list[str] | None) -> tuple[str, ...]:
    return tuple(name for text in texts or () for name in expand_braces(text))


def _make_page(entry: Any, root: Path) -> Page:
    entry = _check_keys(entry, KEYS, "a page of book/pages.yml")
    if not {"name", "notebook"} <= set(entry):
        raise ValueError(f"a page of book/pages.yml needs name and notebook, not {sorted(entry)}")
    needs = _check_keys(entry.get("needs") or {}, NEEDS, f"needs of page {entry['name']}")
    notebook = root / "book" / entry["notebook"]
    if not notebook.is_file():
        raise ValueError(f"page {entry['name']}: notebook {notebook} does not exist")
    lists = {key: _expand(needs.get(key)) for key in NEEDS}
    records = _expand(entry.get("records"))
    parameters = entry.get("parameters") or {}
    return Page(entry["name"], notebook, parameters, entry.get("title"), records=records, **lists)


def load_pages(root: Path) -> list[Page]:
    """Return the pages of `book/pages.yml`, in its order.

    Raises:
        ValueError: for an unknown key, a name used twice, a notebook or a result's page missing.
    """
    listing = yaml.safe_load((root / "book" / "pages.yml").read_text(encoding="utf-8"))
    pages = [_make_page(entry, root) for entry in (listing or {}).get("pages") or []]
    names = [page.name for page in pages]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"names in book/pages.yml must be unique, not repeated: {twice}")
    for page in pages:
        unknown = sorted(set(page.results) - set(names))
        if unknown:
            raise ValueError(f"page {page.name} needs the results of unknown pages {unknown}")
    return pages


def select_pages(pages: list[Page], names: list[str]) -> list[Page]:
    """Return the pages called `names` (a unique beginning is enough), or all when it is empty.

    Raises:
        ValueError: for a name that no page, or more than one, begins with.
    """
    chosen = set()
    for name in names:
        found = [p.name for p in pages if p.name == name] or [
            p.name for p in pages if p.name.startswith(name)
        ]
        if len(found) != 1:
            known = ", ".join(found or [p.name for p in pages])
            raise ValueError(f"page {name!r} must be one of: {known}")
        chosen.update(found)
    return [page for page in pages if not names or page.name in chosen]


def library_files(root: Path) -> list[Path]:
    """Return what a page can depend on unnamed: library, lock file, and book/measured."""
    skip = {"cli.py", "cli"}  # no page calls the command line
    files = [
        path
        for path in (root / "gahb_core").rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and path.relative_to(root / "gahb_core").parts[0] not in skip
    ]
    files += (path for path in (root / "book" / "measured").rglob("*") if path.is_file())
    lock = root / "requirements.txt"
    return files + [lock] if lock.is_file() else files


def checkpoint_files(name: str, places: Places) -> list[Path]:
    """Return the files of a checkpoint (weights and card), or an empty list if one is missing."""
    base = os.environ.get("GAHB_CHECKPOINTS") or places.root / "book" / "checkpoints"
    stem = Path(base).expanduser() / places.profile / name
    files = [stem.with_name(stem.name + end) for end in (".safetensors", ".card.json")]
    return files if all(path.is_file() for path in files) else []


def fingerprint(page: Page, places: Places) -> str:
    """Return the SHA-256 of all that a page is made from.

    That is: the notebook, its parameters and profile, the library's source, the lock file, what
    benchmarks left in book/measured, the checkpoints it needs and the figures that it reads.
    """
    files = [page.notebook, *library_files(places.root)]
    for name in page.checkpoints if places.profile != "smoke" else ():
        files += checkpoint_files(name, places)  # those of smoke follow from the library's source
    files += [p for p in map(places.results, page.results) if p.is_file()]
    settings = json.dumps([places.profile, page.parameters], sort_keys=True)
    return hashlib.sha256((settings + hash_files(files, places.root)).encode()).hexdigest()
