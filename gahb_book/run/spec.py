"""What a page is."""

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
