"""Every recorded figure of the book over seeds: book/measured/seeds.json.

    python book/experiments/seeds.py

Runs each page with seeds 0 … NUM − 1 as variants (a minute or two each) and keeps all of its
figures, to five digits. What a page took is in the file at once; a page that is in it is not run
again. Pages show the ranges at their foot, and "Running at scale" sums them up.
"""

import argparse
import json
from typing import Any

from gahb_book.measured import FOLDER, read
from gahb_book.places import Places, find_root
from gahb_book.report import load_results
from gahb_book.run import load_pages, run_pages
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


def main() -> None:
    """Measure what is missing and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="*", help="(default: all that draw)")
    parser.add_argument("--num", type=int, default=NUM, help=f"seeds of a page (default: {NUM})")
    args = parser.parse_args()
    drawn = [p.name for p in load_pages(find_root()) if p.name not in WITHOUT]
    found = read(OUT).get("values", {})
    for page in args.pages or drawn:
        if page not in found:
            found[page] = measure(page, args.num)
            lines = [f" {json.dumps(p)}: {json.dumps(found[p])}" for p in sorted(found)]
            write_safely(OUT, '{"values": {\n' + ",\n".join(lines) + "\n}}\n")  # a line a page


if __name__ == "__main__":
    main()
