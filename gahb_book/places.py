"""Where the files of a book and of what is built from it are."""

from pathlib import Path
from typing import NamedTuple


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
    installed = () if start else (Path(__file__).resolve().parents[1],)
    for folder in (here, *here.parents, *installed):
        if (folder / "book" / "pages.yml").is_file():
            return folder
    raise ValueError(f"no book/pages.yml at or above {here}: run this inside a clone of the book")


def book_path(name: str) -> Path:
    """Return a file of book/ by its name there, such as "measured/seeds.json".

    In the working folder, where a page of the book runs; else in that of the project, so that a
    notebook finds its files from wherever papermill was started; else, by a release without its
    clone, in the user's cache folder, where it is fetched (`gahb_core.data.published`).

    Raises:
        ValueError: where there is no project, and no release that lists the file.
        MissingData: where it cannot be fetched.
    """
    here = Path(name)
    if here.exists():
        return here
    try:
        return find_root() / "book" / name
    except ValueError:
        from gahb_core.data.published import fetch_published  # here: it loads torch
        from gahb_core.files import cache_folder

        cached = cache_folder() / "book" / name
        if fetch_published(name, cached):
            return cached
        raise
