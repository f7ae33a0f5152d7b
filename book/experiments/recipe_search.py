"""Which σ law, weight, batch, rate, averaging and optimizer train best, at equal images seen.

    python book/experiments/recipe_search.py

Garments and C² images with a small UNet and Adam; then faces with the full one, where batches and
optimizers were tried. Every variant of a set trains the same network on the same images, and is
judged on 256 images of split B: the test images decide nothing. Results land in
book/measured/recipe_search.json one by one, and a variant that is there is not run again.
"""

import time
from dataclasses import replace

import torch

from gahb_book.measured import FOLDER, read, write
from gahb_core.data import load_images
from gahb_core.denoisers.contract import residual_denoiser
from gahb_core.metrics.curves import psnr_curve
from gahb_core.noise import SigmaLaw, sigma_from_psnr
from gahb_core.training import Recipe, fit

TARGET = FOLDER / "recipe_search.json"
PSNR_IN = (0, 5, 10, 15, 20, 25, 30, 40)
ADAM = {"optimizer": "adam", "learning_rate": 3e-3}
SMALL = Recipe("small", "", channels=(8, 16, 32, 48), batch_size=32, num_steps=1500, **ADAM)
FULL = Recipe("full", "", batch_size=16, num_steps=5000, **ADAM)  # 80,000 images
MUON = {"optimizer": "muon"}
LOG = SigmaLaw("log", 0.005, 1.0)
VARIANTS = {
    "σ = u², loss/σ": {},
    "σ = u², plain loss": {"weight_power": 0.0},
    "σ = u², loss/σ^1.5": {"weight_power": 1.5},
    "log σ uniform, loss/σ": {"law": LOG},
    "log σ uniform, plain loss": {"law": LOG, "weight_power": 0.0},
    "norms never frozen": {"freeze_norm": 1.0},
    "mean of weights": {"ema": 0.998},
    "batch of 16": {"batch_size": 16, "num_steps": 3000},
    "batch of 64": {"batch_size": 64, "num_steps": 750},
    "rate 1.5e-3": {"learning_rate": 1.5e-3},
    "rate 6e-3": {"learning_rate": 6e-3},
}
FULL_VARIANTS = {
    "Adam, batch of 16": {},
    "Adam, batch of 8": {"batch_size": 8, "num_steps": 10_000},
    "Adam, batch of 32": {"batch_size": 32, "num_steps": 2500},
    "Muon, batch of 16": MUON,
    "Muon, batch of 32": MUON | {"batch_size": 32, "num_steps": 2500},
    "Muon, batch of 16, rate 6e-3": MUON | {"learning_rate": 6e-3},
    "Muon, batch of 16, loss/σ^1.5": MUON | {"weight_power": 1.5},
}
SETS = {  # images: how many, the network, its variants
    "fashion": (10_000, SMALL, VARIANTS),
    "c_alpha/alpha=2": (None, SMALL, VARIANTS),
    "faces": (6_000, FULL, FULL_VARIANTS),
}


def measure(recipe: Recipe) -> dict:
    """Return validation PSNR-out (mean over images) and the processor's seconds of one training."""
    began = time.process_time()
    *_, last = fit(recipe)
    seconds = time.process_time() - began
    x = load_images(recipe.dataset, "B", 256)
    sigmas = [sigma_from_psnr(p) for p in PSNR_IN]
    curve = psnr_curve(residual_denoiser(last.net), x, sigmas, seed=7).mean(0)
    return {
        "psnr_in": PSNR_IN,
        "psnr_out": [round(float(v), 3) for v in curve],
        "images": last.images,
        "processor_seconds": round(seconds, 1),
        "loss": [[s, round(v, 5)] for s, v, _ in last.curve],
    }


def main() -> None:
    """Run what is missing and print a line a variant."""
    torch.set_num_threads(1)
    results = read(TARGET)
    for dataset, (num, base, variants) in SETS.items():
        for name, change in variants.items():
            row = results.setdefault(dataset, {})
            if name not in row:
                row[name] = measure(replace(base, dataset=dataset, num=num, **change))
                write(TARGET, results)
            print(f"{dataset:16} {name:28}", row[name]["psnr_out"], row[name]["processor_seconds"])


if __name__ == "__main__":
    main()
