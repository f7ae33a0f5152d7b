"""Numbers in the prose that differ from what their page recorded or printed.

    python tests/benchmarks/prose_numbers.py [--all] [page ...]

For each page that has been run (all, or those named by their beginnings): every decimal number in
its markdown cells is looked up among the figures that the page recorded, what was published beside
them, what its code cells printed, and the numbers in its code. A number is known if one of these
rounds to it, as it stands or in percent. It *differs* if none does but one is within a tenth: most
likely a figure that moved. The others stand nowhere else (quotations of papers, figures of other
pages, arithmetic); `--all` lists them, too. Whole numbers are left out. The last line counts.

A list to read, no test: a number may stand near another by chance.
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from gahb_book.places import Places, find_root
from gahb_book.report import load_results
from gahb_book.run import load_pages

NUMBER = re.compile(r"(?<![\w.,\-/^{_])[-−]?\d*\.\d+(?![\w.]*\d)(?:e[-−]?\d+)?")
# maths, code, roles and targets of links are no prose
NO_PROSE = re.compile(
    r"^(`{3,})\{(?:code|math)[^\n]*\n.*?^\1\s*$|\$\$.*?\$\$|\$[^$\n]+\$|\{[a-z:]+\}`[^`]*`"
    r"|`[^`\n]+`|\]\([^)]*\)",
    re.DOTALL | re.MULTILINE,
)


class Find(NamedTuple):
    """A number of the prose that is not known: where, and what is nearest."""

    page: str
    cell: str
    number: str
    near: float | None
    around: str


def numbers_of(text: str) -> list[tuple[str, int]]:
    """Return the decimal numbers of a text, and where each stands; not those in maths or code.

    >>> numbers_of("It is .93 (0.5 dB), $x = 0.1$, 32x32, 3.")
    [('.93', 6), ('0.5', 11)]
    """
    bare = NO_PROSE.sub(lambda m: " " * len(m[0]), text)
    return [(m[0], m.start()) for m in NUMBER.finditer(bare)]


def read_number(text: str) -> tuple[float, float]:
    """Return a number as it is written, and half of its last digit.

    >>> read_number("−.93")
    (-0.93, 0.005)
    """
    text = text.replace("−", "-")
    digits = text.partition("e")[0].partition(".")[2]
    power = 10.0 ** int(text.partition("e")[2] or 0)
    return float(text), 0.5 * 10.0 ** -len(digits) * power


def match(number: str, known: list[float]) -> tuple[bool, float | None]:
    """Return whether a known value rounds to `number`, and the nearest within a tenth if none does.

    Signs do not count, and a value counts in percent as well.

    >>> match("0.93", [0.9261, 4.0]), match("0.93", [0.9361]), match("0.93", [0.5])
    ((True, None), (False, 0.9361), (False, None))
    """
    value, half = read_number(number)
    value = abs(value)
    values = [abs(v) * scale for v in known for scale in (1, 100)]
    if any(abs(v - value) <= half * (1 + 1e-6) for v in values):
        return True, None
    nearest = min(values, key=lambda v: abs(v - value), default=None)
    close = nearest is not None and abs(nearest - value) <= 0.1 * value
    return False, nearest if close else None


def flatten(value: Any) -> list[float]:
    """Return every number of a recorded value or of a text.

    >>> flatten({"a": [1, "2.5 dB"]})
    [1.0, 2.5]
    """
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return [n for part in parts for n in flatten(part)]
    if isinstance(value, str):
        found = re.findall(r"[-−]?\d*\.?\d+(?:e[-+−]?\d+)?", value)
        return [float(n.replace("−", "-")) for n in found]
    return [float(value)] if isinstance(value, int | float) else []


def _printed(cell: dict) -> list[float]:
    """Return the numbers in the code of a cell, and in the text that it printed."""
    texts = ["".join(cell["source"])]
    for output in cell.get("outputs", ()):
        data = output.get("data", {})
        kinds = ("text/markdown", "text/plain")
        texts += ["".join(data[kind]) for kind in kinds if kind in data]
        texts.append("".join(output.get("text", "")))
    return flatten(texts)


def scan(page: str, cells: list[dict], recorded: list[float]) -> tuple[int, list[Find]]:
    """Return how many decimals the prose of a page has, and those that are not known."""
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    known = recorded + [n for cell in code for n in _printed(cell)]
    count, finds = 0, []
    for cell in cells:
        if cell["cell_type"] != "markdown":
            continue
        text = "".join(cell["source"])
        for number, at in numbers_of(text):
            count += 1
            good, near = match(number, known)
            if not good:
                around = text[max(0, at - 40) : at + 30].replace("\n", " ")
                finds.append(Find(page, cell.get("id", ""), number, near, around))
    return count, finds


def scan_page(root: Path, page: str) -> tuple[int, list[Find]]:
    """Return how many decimals the prose of an executed page has, and those not known."""
    cells = json.loads(Places(root).executed(page).read_text(encoding="utf-8"))["cells"]
    results = load_results(page, root=root).values()
    return scan(page, cells, flatten([[r.value, r.published] for r in results]))


def main() -> None:
    """Print what differs, page by page, and how much was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="*", help="beginnings of names (default: all that have run)")
    parser.add_argument("--all", action="store_true", help="also what stands nowhere else")
    args = parser.parse_args()
    root, total, differ, alone = find_root(), 0, 0, 0
    for page in (page.name for page in load_pages(root)):
        asked = not args.pages or page.startswith(tuple(args.pages))
        if not asked or not Places(root).results(page).is_file():
            continue
        count, finds = scan_page(root, page)
        total += count
        differ += sum(find.near is not None for find in finds)
        alone += sum(find.near is None for find in finds)
        for f in finds:
            if f.near is not None or args.all:
                near = "nowhere" if f.near is None else f"near {f.near:.5g}"
                print(f"{f.page} {f.cell}: {f.number} ({near}) … {f.around} …")
    print(f"{total} decimals in the prose; {differ} differ, {alone} stand nowhere else")


if __name__ == "__main__":
    main()
