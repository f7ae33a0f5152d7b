"""What a book needs for its live figures: scripts, and the networks that its pages ask for."""

import html
import os
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gahb_book.browser.figure import STATIC
from gahb_book.browser.weights import network_script, script_name
from gahb_book.chapters.front import explore_front

# figures of pages that are prose: a page includes _static/live/<name>.html
FRAGMENTS: dict[str, Callable[[], Any]] = {"front": explore_front}


def find_networks(text: str) -> list[tuple[str, str]]:
    """Return the (profile, name) of every network that the figures of a page ask for.

    The page is HTML, or a notebook, whose JSON puts a backslash before each quotation mark.

    >>> find_networks('<figure data-live-networks="laptop|disks laptop|ray">')
    [('laptop', 'disks'), ('laptop', 'ray')]
    """
    found = re.findall(r'data-live-networks=\\?"([^"\\]*)\\?"', text)
    asked = [item for part in found for item in html.unescape(part).split()]
    parts = (item.partition("|") for item in dict.fromkeys(asked))
    return [(profile, name) for profile, _, name in parts]


def read_fragment(name: str) -> str:
    """Return the HTML of a figure of FRAGMENTS, as in a page, whatever GAHB_PAGE says."""
    before = os.environ.get("GAHB_PAGE")
    os.environ["GAHB_PAGE"] = "1"
    try:
        return FRAGMENTS[name]().data
    finally:
        if before is None:
            del os.environ["GAHB_PAGE"]
        else:
            os.environ["GAHB_PAGE"] = before


def _lighten(source: str) -> str:
    """Return a script or style sheet without the comments and spaces that begin its lines."""
    lines = (
        line.strip()
        for line in re.sub(r"(?m)^\s*/\*.*?\*/\s*$", "", source, flags=re.S).split("\n")
    )
    return "\n".join(line for line in lines if line and not line.startswith("//")) + "\n"


def page_assets(pages: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Yield (path below _static, content) of all that the live figures of `pages` load.

    Raises:
        ValueError, FileNotFoundError: for a network that is unknown, or was never trained.
    """
    texts = list(pages)
    asked = sorted(
        {name for text in texts for name in re.findall(r"_static/live/(\w+)\.html", text)}
    )
    for name in asked:
        if name not in FRAGMENTS:
            raise ValueError(f"a page includes _static/live/{name}.html, not one of {[*FRAGMENTS]}")
        texts.append(read_fragment(name))
        yield f"live/{name}.html", texts[-1].encode()
    networks = sorted({item for text in texts for item in find_networks(text)})
    if any("gahb-live" in text for text in texts):
        for path in sorted(STATIC.iterdir()):
            yield f"live/{path.name}", _lighten(path.read_text(encoding="utf-8")).encode()
    for profile, name in networks:
        yield f"networks/{script_name(name, profile)}", network_script(name, profile).encode()
