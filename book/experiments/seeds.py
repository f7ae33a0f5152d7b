"""Every recorded figure of the book over seeds: book/measured/seeds.json.

    python book/experiments/seeds.py
    python book/experiments/seeds.py --widen

Runs each page with seeds 0 … NUM − 1 as variants (a minute or two each) and keeps all of its
figures, to five digits. What a page took is in the file at once; a page that is in it is not run
again. Pages show the ranges at their foot, and "Running at scale" sums them up. `--widen` runs
nothing: it widens those ranges of book/pages.yml that a figure of a seed lies outside of, so that
all seeds lie in them with a tenth of their spread to spare.
"""

import argparse
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from gahb_book.measured import FOLDER, read
from gahb_book.places import Places, find_root
from gahb_book.report import load_results
from gahb_book.report.batches import flatten
from gahb_book.run import load_pages, run_pages
from gahb_book.run.listing import expand_braces
from gahb_core.files import write_safely

OUT = FOLDER / "seeds.json"
NUM = 3
WITHOUT = ("16_reproduced", "scale", "training")  # they read what others drew


def shorten(value: Any) -> Any:
    """Return a recorded value with five digits a number.

    >>> shorten({"a": [0.123456789, 3]})
    {'a': [0.12346, 3]}
    """
    if isinstance(value, dict):
        return {key: shorten(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [shorten(entry) for entry in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def measure(page: str, num: int) -> dict[str, list[Any]]:
    """Return the figures of a page for seeds 0 … num − 1."""
    places = Places(find_root())
    seeds = [{"seed": seed} for seed in range(num)]
    outcomes = run_pages(places, [page], num_jobs=1, variants=seeds)
    failed = [o for o in outcomes if o.status not in ("ok", "unchanged")]
    if failed:
        raise RuntimeError(f"{failed[0].page}: {failed[0].detail}")
    runs = [load_results(o.page, places.profile, places.root) for o in outcomes]
    return {name: [shorten(run[name].value) for run in runs] for name in runs[0]}


def widen(low: float, high: float, numbers: list[float]) -> tuple[float, float]:
    """Return a range that holds all numbers; one that does already is returned as it is.

    >>> widen(1, 2, [1.2, 1.9]), widen(1, 2, [1.5, 2.53]), widen(-0.1, 0, [-0.234])
    ((1, 2), (1, 2.7), (-0.26, 0))
    """
    least, most = min(numbers), max(numbers)
    spare = 0.1 * (max(high, most) - min(low, least))

    def outward(value: float, way: int) -> float:
        step = 10.0 ** (math.floor(math.log10(abs(value))) - 1) if value else 1.0
        return float(f"{way * math.ceil(way * value / step) * step:.2g}")

    if least < low:
        low = 0 if low >= 0 > least - spare and least >= 0 else outward(least - spare, -1)
    return low, outward(most + spare, 1) if most > high else high


def widen_listing(text: str, seeds: Mapping[str, Mapping[str, list[Any]]]) -> str:
    """Return the text of pages.yml with ranges that hold the figures of all seeds."""
    page, lines = "", []
    for line in text.splitlines(keepends=True):
        if begun := re.match(r"  - name: (\S+)", line):
            page = begun[1]
        found = re.match(r"(\s+- (\S+): \[)([^,\]]+), ([^,\]]+)(\].*)", line, re.DOTALL)
        if found and page in seeds:
            values = [seeds[page][n] for n in expand_braces(found[2]) if n in seeds[page]]
            numbers = [n for _, n in flatten("", values)]
            ends = float(found[3]), float(found[4])
            new = widen(*ends, numbers) if numbers else ends
            if new != ends:
                line = f"{found[1]}{new[0]:g}, {new[1]:g}{found[5]}"
        lines.append(line)
    return "".join(lines)


def main() -> None:
    """Measure what is missing and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="*", help="(default: all that draw)")
    parser.add_argument("--num", type=int, default=NUM, help=f"seeds of a page (default: {NUM})")
    parser.add_argument("--widen", action="store_true", help="widen ranges that a seed leaves")
    args = parser.parse_args()
    if args.widen:
        listing = find_root() / "book" / "pages.yml"
        text = widen_listing(listing.read_text(encoding="utf-8"), read(OUT)["values"])
        write_safely(listing, text)
        return
    drawn = [p.name for p in load_pages(find_root()) if p.name not in WITHOUT]
    found = read(OUT).get("values", {})
    for page in args.pages or drawn:
        if page not in found:
            found[page] = measure(page, args.num)
            lines = [f" {json.dumps(p)}: {json.dumps(found[p])}" for p in sorted(found)]
            write_safely(OUT, '{"values": {\n' + ",\n".join(lines) + "\n}}\n")  # a line a page


if __name__ == "__main__":
    main()
