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
WITHOUT = {  # page → why there is nothing to run with other seeds
    "16_reproduced": "draws nothing: it is made from what the other pages recorded",
    "scale": "draws nothing: it counts operations, and reads what was measured elsewhere",
    "training": "its figures are of trainings and searches whose seeds are their recipes' own",
}
_TIME = "its figures are of seed 0 alone until this script has run it"
NOT_YET = {  # page → what is missing; `main` runs these as it runs the others
    "00_curse": f"five draws stand behind each of its points; {_TIME}",
    "03_transition_bfcnn": f"a variant of 03_transition, which is measured; {_TIME}",
    "03_transition_c_alpha": f"a variant of 03_transition, which is measured; {_TIME}",
    "03_how_many": f"its intervals are over images; {_TIME}",
    "05_adaptive_bases_authors": f"a variant of 05_adaptive_bases, which is measured; {_TIME}",
    "05_born": f"its bases and copies are read from files of one seed; {_TIME}",
    "05_photograph": f"other windows are measured, other noise is not; {_TIME}",
    "07_shuffled": f"its intervals are over faces; {_TIME}",
    "08_receptive_fields": f"its intervals are over samples; {_TIME}",
    "09_how_local": f"its intervals are over images; {_TIME}",
    "09_how_local_c_alpha": f"its intervals are over images; {_TIME}",
    "09_how_local_authors": f"its intervals are over images; {_TIME}",
    "10_synthesis_c_alpha": f"twelve samples, drawn once; {_TIME}",
    "10_synthesis_authors": f"the samples are drawn once; {_TIME}",
    "11_inverse": f"its intervals are over images; {_TIME}",
    "11_inverse_faces": f"its intervals are over images; {_TIME}",
    "11_inverse_photographs": f"two windows and three samples; {_TIME}",
    "12_local_theories": f"nearly all is read from files, over a hundred starting noises; {_TIME}",
    "12_transformer": f"nearly all is read from files, over eight images; {_TIME}",
    "14_time": f"its networks are read from a file, two trainings of each size; {_TIME}",
    "14_claims": f"its figures are read from files of one seed; {_TIME}",
    "15_densities": f"log p is over eight draws of the noise, read from a file; {_TIME}",
    "your_own_network": f"its intervals are over images and samples; {_TIME}",
    "samples_fashion": f"the range over draws stands on the page; {_TIME}",
    "samples_faces": f"the range over draws stands on the page; {_TIME}",
}
IN_PART = {  # page → which of its figures the file has
    "06_c_alpha": "slopes alone: the page takes minutes for each seed",
    "07_manifolds": "gap and factors alone: the page takes three minutes for each seed",
    "10_synthesis": "super-resolution and the deviation of details alone",
}


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
