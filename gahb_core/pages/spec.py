"""What a page is, and where its files live."""

from pathlib import Path
from typing import Any, NamedTuple


class Page(NamedTuple):
    """A chapter with parameters, as `book/pages.yml` lists it.

    `data` (image sets), `files` (of the data folder) and `checkpoints` must be there before it can
    run; `results` names the pages whose recorded figures it reads (so it runs after them);
    `records` the figures it must record, and `ranges` what each of them (or of some) must lie in;
    `part` of the contents begins with this page. Of a page of a batch, `variant` holds the
    parameters that were asked for, and `also` the checkpoints that it may come to need (see
    `variants`).
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
    ranges: dict[str, tuple[float, float]] = {}
    part: str | None = None
    variant: dict[str, Any] = {}
    also: tuple[str, ...] = ()


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

    @property
    def run(self) -> Path:
        """What became of every page at its last run, and what that took."""
        return self.build / "results" / "run.json"

    def executed(self, name: str) -> Path:
        """The executed notebook of a page."""
        return self.build / "executed" / f"{name}.ipynb"

    def failed(self, name: str) -> Path:
        """The notebook as far as it went, when a page failed."""
        return self.build / "executed" / f"{name}.failed.ipynb"

    def stamp(self, name: str) -> Path:
        """The fingerprint of what the executed notebook was made from, and of what was made."""
        return self.build / "executed" / f"{name}.hash"

    def outcome(self, name: str) -> Path:
        """What became of a page at its last run, and what that took."""
        return self.build / "executed" / f"{name}.json"

    def lock(self, name: str) -> Path:
        """The lock of the process that makes a page."""
        return self.build / "locks" / f"{name}.lock"

    def results(self, name: str) -> Path:
        """The figures that a page recorded."""
        return self.build / "results" / f"{name}.json"


def find_root(start: Path | None = None) -> Path:
    """Return the folder of the project: at or above `start`, or (None) here, else the library's.

    Raises:
        ValueError: when no such folder holds book/pages.yml, or `start` is no folder.
    """
    here = Path(start or Path.cwd()).resolve()
    if not here.is_dir():
        raise ValueError(f"root must be a folder, and {start} is none")
    installed = () if start else (Path(__file__).resolve().parents[2],)
    for folder in (here, *here.parents, *installed):
        if (folder / "book" / "pages.yml").is_file():
            return folder
    raise ValueError(f"no book/pages.yml at or above {here}: run this inside a clone of the book")


def book_path(name: str) -> Path:
    """Return a file of book/ by its name there, such as "measured/seeds.json".

    In the working folder, where a page of the book runs; else in that of the project, so that a
    notebook finds its files from wherever papermill was started.
    """
    here = Path(name)
    return here if here.exists() else find_root() / "book" / name


def select_pages(pages: list[Page], names: list[str]) -> list[Page]:
    """Return the pages called `names`, or all when it is empty.

    A name that is no page's stands for all pages that begin with it.

    Raises:
        ValueError: for a name that no page begins with.
    """
    chosen = set()
    for name in names:
        found = [p.name for p in pages if p.name == name] or [
            p.name for p in pages if p.name.startswith(name)
        ]
        if not found:
            raise ValueError(f"page {name!r} must be one of: {', '.join(p.name for p in pages)}")
        chosen.update(found)
    return [page for page in pages if not names or page.name in chosen]
