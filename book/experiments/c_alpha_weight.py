"""What the weight of the loss does to the slope on C^α images: short trainings at α = 4.

    python book/experiments/c_alpha_weight.py

Trains a small network of `c_alpha/alpha=4` on 48,000 images for each of WEIGHTS, and once with
CHANNELS wider (two and four minutes of one core), and measures the curve of each on the same new
images. All are of the papers' amplitude at 32 pixels. A variant that is in the file is not trained
again. Chapter 6 shows it.
"""

from dataclasses import replace

import torch

from gahb_book.measured import FOLDER, measure_missing
from gahb_core import metrics
from gahb_core.denoisers.contract import residual_denoiser
from gahb_core.images import make_c_alpha
from gahb_core.noise import sigma_from_psnr
from gahb_core.training import Recipe, find_recipe, fit

OUT = FOLDER / "c_alpha_weight.json"
PSNR_IN = (0, 5, 10, 15, 20, 25, 30, 35, 40)
WEIGHTS, CHANNELS, NUM, SEED = (1.0, 1.6, 2.1), 24, 256, 99
DATASET = "c_alpha/alpha=4/amplitude=paper"
SMALL = {"channels": (16, 32, 64, 128), "learning_rate": 6e-3, "num_steps": 6_000}
RECIPE = replace(find_recipe("c_alpha/alpha=4"), dataset=DATASET, **SMALL)
WIDE = replace(RECIPE, channels=tuple(CHANNELS * k for k in (1, 2, 4, 8)))


def measure(recipe: Recipe) -> list[float]:
    """Train, and return the mean PSNR-out at each of PSNR_IN, to hundredths."""
    *_, last = fit(recipe)
    x = make_c_alpha(NUM, 4, 32, seed=SEED, amplitude="paper")
    with torch.no_grad():
        curve = metrics.psnr_curve(
            residual_denoiser(last.net), x, [sigma_from_psnr(p) for p in PSNR_IN]
        )
    return [round(float(v), 2) for v in curve.mean(0)]


def main() -> None:
    """Measure what is missing and write."""
    torch.set_num_threads(1)
    variants = {f"loss/σ^{w:g}": replace(RECIPE, weight_power=w) for w in WEIGHTS}
    variants[f"loss/σ^{RECIPE.weight_power:g}, {CHANNELS} channels"] = WIDE
    images = RECIPE.num_steps * RECIPE.batch_size
    measure_missing(OUT, "psnr_out", variants, measure, images=images, psnr_in=PSNR_IN)


if __name__ == "__main__":
    main()
