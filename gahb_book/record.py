"""Recording: a chapter says its headline numbers, and the page that runs it keeps them."""

import json
import math
import os
import re
from pathlib import Path
from typing import Any

from gahb_core.files import write_safely

VARIABLE = "GAHB_RESULTS"  # the file that a running page records into

# how a published figure is known, and the mark that tables set after it
KINDS = {"paper": "P", "code": "K", "computed": "C", "figure": "F", "theory": "T"}
KEY = (
    "Published figures: P, read in a paper's text or tables; K, in its authors' code; C, computed "
    "by us from their published files or formulas; F, read by eye off a figure (±0.3 dB, or about "
    "2%); T, what theory says, measured by nobody."
)


def _check(value: Any, what: str) -> Any:
    """Return `value` in plain Python: a finite number, or a list or dict of them, else raise."""
    if hasattr(value, "tolist"):  # a tensor, an array or one of their scalars
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _check(v, f"{what}[{key!r}]") for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_check(v, f"{what}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{what} must be a number, or a list or dict of numbers, not {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{what} must be finite, not {value!r}")
    return value


def show(value: Any) -> str:
    """Return a recorded value as short text, numbers with four digits."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {show(v)}" for key, v in value.items())
    if isinstance(value, list):
        return "[" + ", ".join(map(show, value)) + "]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def mark_published(published: Any, kind: str | None) -> str:
    """Return a published figure as tables show it, with the mark of how it is known.

    Raises:
        ValueError: for a kind that is not one of `KINDS`.

    >>> mark_published("18.3 dB (faces 40×40)", "figure")
    '18.3 dB (faces 40×40) [F]'
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    return f"{show(published)} [{KINDS[kind]}]"


def record(name: str, value: Any, published: Any = None, kind: str | None = None) -> None:
    """Print a headline figure, and keep it in the page's results while `gahb run` runs the page.

    Args:
        name: "chapter.figure": lower-case letters, digits, _ and dots.
        value: a finite number, or a list or dict of them; tensors and arrays count as such.
        published: the paper's figure, of the same kinds, or a short text.
        kind: how it is known, one of `KINDS`; without `published` it is not looked at.

    Raises:
        ValueError: for another name, a value that is no number or not finite, or a published
            figure without a kind.
    """
    if not re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)*", name):
        raise ValueError(f"name must be lower-case words joined by dots, not {name!r}")
    value = _check(value, f"value of {name}")
    entry, beside = {"value": value}, ""
    if published is not None:
        text = isinstance(published, str)
        entry["published"] = published if text else _check(published, f"published of {name}")
        entry["kind"] = kind
        beside = f"  (published: {mark_published(entry['published'], kind)})"
    print(f"{name} = {show(value)}{beside}")
    if os.environ.get(VARIABLE):
        path = Path(os.environ[VARIABLE])
        known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        content = json.dumps({**known, name: entry}, indent=1, sort_keys=True) + "\n"
        write_safely(path, content, sync=False)
