"""How a benchmark keeps its figures in book/measured, and goes on from those that are there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gahb_core.files import write_safely

FOLDER = Path(__file__).parents[1] / "book" / "measured"


def read(path: Path) -> dict:
    """Return what was measured so far; {} where nothing was."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write(path: Path, content: dict, **style: Any) -> None:
    """Write what was measured; broken off, the file stays as it was."""
    text = json.dumps(content, ensure_ascii=False, **{"indent": 1} | style)
    write_safely(path, text + "\n")


def measure_missing(
    path: Path, key: str, variants: dict[str, Any], measure: Callable[[Any], Any], **beside: Any
) -> None:
    """Measure the variants that are not yet under `key` of the file, writing it after each.

    Args:
        path: of the file.
        key: under which the figures of each variant stand.
        variants: what is handed to `measure`, by name.
        measure: variant → its figures.
        **beside: what else the file says.
    """
    found = read(path).get(key, {})
    for name, variant in variants.items():
        if name not in found:
            found[name] = measure(variant)
            print(name, found[name], flush=True)
            write(path, beside | {key: found})
