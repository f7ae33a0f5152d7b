"""Faults injected at random, and what became of each: book/measured/faults.json.

Files of every kind are cut, emptied, flipped by a bit or replaced; trainings are killed and go on.
"""

import json
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from test_files_injected import inject, kill_and_go_on

TARGET = Path(__file__).parents[2] / "book" / "measured" / "faults.json"
SEEDS = 3


def main() -> None:
    """Inject, count and write."""
    torch.set_num_threads(1)
    files, kills, same = Counter(), 0, 0
    for seed in range(SEEDS):
        with tempfile.TemporaryDirectory() as folder:
            for name, kind, found in inject(Path(folder), 40, random.Random(seed)):
                files[f"{name}.{kind}.{found}"] += 1
        with tempfile.TemporaryDirectory() as folder:
            for killed, equal in kill_and_go_on(Path(folder), 10, random.Random(seed)):
                kills, same = kills + killed, same + equal
    table = {
        "injected": sum(files.values()) + kills,
        "files": dict(sorted(files.items())),
        "trainings_killed": kills,
        "trainings_with_the_bits_of_an_unbroken_one": same,
        "trainings": 10 * SEEDS,
    }
    TARGET.write_text(json.dumps(table, indent=1) + "\n")
    print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
