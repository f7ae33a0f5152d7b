"""Which kept values a page used, which it computed, and how those differ from what was kept."""

import contextlib
import json
import os
from pathlib import Path
from typing import NamedTuple

from gahb_core.files import write_safely

VARIABLE = "GAHB_KEPT"  # the file that a running page notes its uses in
PAGE = "GAHB_PAGE_NAME"  # of the page that this process runs
FRESH = "GAHB_FRESH"  # "all", or slots with commas between: what is computed, kept or not
_noted: list["Use"] = []


class Use(NamedTuple):
    """One kept value that a page used.

    Attributes:
        slot: function and arguments, see `store`.
        state: "kept", or "computed".
        seconds: of processor that it took when it was computed.
        differs: what of it differs beyond tolerance from what was kept for the same code.
    """

    slot: str
    state: str
    seconds: float
    differs: list[str]


def running_page() -> str:
    """Return the name of the page that this process runs; "" where it runs none."""
    return os.environ.get(PAGE, "")


def is_fresh(slot: str) -> bool:
    """Return whether a value is to be computed though it is kept."""
    asked = os.environ.get(FRESH, "")
    return asked == "all" or slot in asked.split(",")


def note(use: Use) -> None:
    """Note that a value was used, in memory, and in the file of a running page."""
    _noted[:] = [*(u for u in _noted if u.slot != use.slot), use]
    if path := os.environ.get(VARIABLE):
        write_safely(Path(path), json.dumps([u._asdict() for u in _noted]), sync=False)


def read_uses(path: Path) -> list[Use]:
    """Return what a page noted; nothing where it noted nothing."""
    with contextlib.suppress(FileNotFoundError):
        return [Use(**use) for use in json.loads(path.read_text(encoding="utf-8"))]
    return []
