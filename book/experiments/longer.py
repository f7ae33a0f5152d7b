"""What twice the training is worth to the networks of 6,000 faces, on other faces and on their own.

    python book/experiments/longer.py

Trains the recipes of NAMES for STEPS in place of 6,000, and measures them as their cards are. Those
in the file come from a GPU, in five minutes; of one core it is half an hour each. What is in the
file is not trained again. The page on training shows it.
"""

from dataclasses import replace

import torch

from gahb_book.measured import FOLDER, measure_missing
from gahb_core.training import Recipe, find_recipe, fit
from gahb_core.training.card import CARD_PSNR_IN, measure

OUT = FOLDER / "longer.json"
NAMES = ("faces/N=6000/A", "faces/N=6000/B", "faces/size=16/N=6000/A")
STEPS = 13_000


def train_and_measure(recipe: Recipe) -> dict:
    """Return mean PSNR-out on test and on training images at each of CARD_PSNR_IN."""
    *_, last = fit(recipe)
    found = measure(last.net, recipe)
    return {split: found[split] for split in ("test", "train")}


def main() -> None:
    """Measure what is missing and write."""
    torch.set_num_threads(1)
    variants = {name: replace(find_recipe(name), num_steps=STEPS) for name in NAMES}
    images = STEPS * find_recipe(NAMES[0]).batch_size
    measure_missing(
        OUT, "psnr_out", variants, train_and_measure, psnr_in=CARD_PSNR_IN, images=images
    )


if __name__ == "__main__":
    main()
