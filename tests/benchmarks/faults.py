"""Faults injected at random, and what became of each: book/measured/faults.json.

    python tests/benchmarks/faults.py

Files of every kind are cut, emptied, flipped by a bit or replaced; trainings are killed and go on;
runs, their pages and kernels are killed; the disk is full while a page is made. A part that is in
the file is not measured again.
"""

import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch

from gahb_book.measured import FOLDER, read, write

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "book"))
from projects import make_project
from test_run_damaged import inject, kill_and_go_on
from test_run_injected import fill_disk, kill_runs

TARGET = FOLDER / "faults.json"
SEEDS = 3
NUM_PAGES = 20


def harm_files() -> dict:
    """Return how many files of each kind were harmed in which way, and refused or used."""
    files = Counter()
    for seed in range(SEEDS):
        with tempfile.TemporaryDirectory() as folder:
            for name, kind, found in inject(Path(folder), 40, random.Random(seed)):
                files[f"{name}.{kind}.{found}"] += 1
    return dict(sorted(files.items()))


def kill_trainings() -> dict:
    """Return how many trainings were killed how often, and ended with the bits of an unbroken."""
    kills, same = 0, 0
    for seed in range(SEEDS):
        with tempfile.TemporaryDirectory() as folder:
            for killed, equal in kill_and_go_on(Path(folder), 10, random.Random(seed)):
                kills, same = kills + killed, same + equal
    return {"killed": kills, "with_the_bits_of_an_unbroken_one": same, "trainings": 10 * SEEDS}


def count_pages(harm: Callable) -> dict:
    """Return what became of pages that were harmed, and how many there were of each."""
    with tempfile.TemporaryDirectory() as folder:
        *ends, last = harm(make_project(Path(folder)), NUM_PAGES, random.Random(0))
        if last[1] != "whole":
            raise RuntimeError(f"the page is {last[1]} at the end")
        return dict(sorted(Counter(end for _, end in ends).items()))


PARTS = {
    "files": harm_files,
    "trainings": kill_trainings,
    "pages_whose_run_or_kernel_was_killed": lambda: count_pages(kill_runs),
    "pages_on_a_full_disk": lambda: count_pages(fill_disk),
}


def main() -> None:
    """Inject what is missing, count and write."""
    torch.set_num_threads(1)
    table = read(TARGET)
    for name, measure in PARTS.items():
        if name not in table:
            table[name] = measure()
            table["injected"] = table["trainings"]["killed"] if "trainings" in table else 0
            counted = [table.get(n, {}) for n in PARTS if n != "trainings"]
            table["injected"] += sum(sum(part.values()) for part in counted)
            write(TARGET, table)
            print(name, table[name], flush=True)


if __name__ == "__main__":
    main()
