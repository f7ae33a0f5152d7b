"""Where width helps on C^α images: networks of α = 4 trained for the same processor time.

    python book/experiments/c_alpha_width.py

Trains each of VARIANTS (two and a half minutes of one core; the number of steps is what fits into
that) and measures all on the same new images. A variant that is in the file is not trained again.
Chapter 6 shows it.
"""

import time
from dataclasses import replace

import torch

from gahb_book.measured import FOLDER, measure_missing
from gahb_core import metrics
from gahb_core.denoisers.contract import residual_denoiser
from gahb_core.images import make_c_alpha
from gahb_core.noise import sigma_from_psnr
from gahb_core.training import Recipe, find_recipe, fit

OUT = FOLDER / "c_alpha_width.json"
PSNR_IN = (0, 5, 10, 15, 20, 25, 30, 35, 40)
NUM, SEED = 128, 99
RECIPE = replace(find_recipe("c_alpha/alpha=4"), learning_rate=6e-3)
VARIANTS = {
    "16-32-64-128": {"channels": (16, 32, 64, 128), "num_steps": 7000},
    "24-48-96-192": {"channels": (24, 48, 96, 192), "num_steps": 3800},
    "32-32-32-32": {"channels": (32, 32, 32, 32), "num_steps": 6500},
    "32-48-96-128": {"channels": (32, 48, 96, 128), "num_steps": 3600},
    "32-64-128": {"channels": (32, 64, 128), "num_steps": 4600},
    "48-48-48": {"channels": (48, 48, 48), "num_steps": 3600},
    "32-48-64-96": {"num_steps": 5000},
    "32-48-64-96, batches of 4": {"num_steps": 8000, "batch_size": 4},
    "32-48-64-96, rate × .58": {"num_steps": 5000, "learning_rate": 3.5e-3},
    "32-48-64-96, rate × 1.67": {"num_steps": 5000, "learning_rate": 1e-2},
}


def measure(recipe: Recipe) -> dict:
    """Train, and return images, processor seconds and the mean PSNR-out at each of PSNR_IN."""
    began = time.process_time()
    *_, last = fit(recipe)
    seconds = time.process_time() - began
    x = make_c_alpha(NUM, 4, 32, seed=SEED)
    with torch.no_grad():
        curve = metrics.psnr_curve(
            residual_denoiser(last.net), x, [sigma_from_psnr(p) for p in PSNR_IN]
        )
    found = [round(float(v), 2) for v in curve.mean(0)]
    return {"images": last.images, "seconds": round(seconds), "psnr_out": found}


def main() -> None:
    """Measure what is missing and write."""
    torch.set_num_threads(1)
    variants = {name: replace(RECIPE, **change) for name, change in VARIANTS.items()}
    measure_missing(OUT, "variants", variants, measure, alpha=4, psnr_in=PSNR_IN)


if __name__ == "__main__":
    main()
