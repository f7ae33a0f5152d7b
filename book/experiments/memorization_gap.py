"""When a network knows its images: A's less B's PSNR on the images of A, along two trainings.

    python book/experiments/memorization_gap.py      (15 minutes of one core)

The networks, images, order and noise are those of `memorization_time.py`, trained again as far as
32 steps per image or 4,096 steps. At each kept step both networks denoise the training images of A
and those of B, from the same noise: what each is better at on its own images than the other is
there cannot be due to the images. Writes book/measured/memorization_gap.json after each n; an n
that stands there is not measured again.
"""

from dataclasses import replace

import torch
from memorization_time import BASE, KEPT, NUMS, SIGMAS, SIZE, Training, averaged

from gahb_book.measured import FOLDER, measure_missing
from gahb_core.data import load_images
from gahb_core.denoisers.contract import residual_denoiser
from gahb_core.metrics.curves import paired_difference

OUT = FOLDER / "memorization_gap.json"
MOST_STEPS, PER_IMAGE, MOST_IMAGES = 4096, 32, 256


def measure(num: int) -> dict:
    """Return, for each kept step, the differences (dB) on A's and on B's images at each of SIGMAS.

    Each with its standard error over images; positive where a network is ahead on its own.
    """
    pair, images, rows = {}, {}, {}
    for seed, split in enumerate("AB"):
        name = f"fashion/size={SIZE}/N={num}/{split}"
        pair[split] = Training(replace(BASE, name=name, num=num, split=split, seed=seed))
        images[split] = load_images("fashion", split, min(num, MOST_IMAGES), SIZE)
    for kept in [k for k in KEPT if k <= min(PER_IMAGE * num, MOST_STEPS)]:
        for training in pair.values():
            while training.step < kept:
                training.take_step()
        f = {split: residual_denoiser(averaged(t)) for split, t in pair.items()}
        rows[str(kept)] = {}
        for own, other in ("AB", "BA"):
            gap = paired_difference(f[own], f[other], images[own], SIGMAS, seed=5)
            parts = {"mean": gap.mean, "error": gap.error}
            rows[str(kept)][own] = {k: [round(float(v), 4) for v in p] for k, p in parts.items()}
    return rows


def main() -> None:
    """Measure what is missing and write."""
    torch.set_num_threads(1)
    variants = {str(num): num for num in NUMS}
    measure_missing(OUT, "rows", variants, measure, size=SIZE, sigmas=SIGMAS)


if __name__ == "__main__":
    main()
