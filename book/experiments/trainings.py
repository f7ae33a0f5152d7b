"""What a second training moves: other weights, order and noise, the same images.

    python book/experiments/trainings.py

Compares each network of `recipes.TWICE` that was trained a second time with the first training, on
the same test images and noise: PSNR-out, and at NUM images the trace of J, the factors above ½, the
asymmetry, and how much of the span of the first K eigenvectors (K the trace of the first training)
both share. A network that is in the file is not measured again; a minute each. The page on training
shows it.
"""

import torch

from gahb_book.measured import FOLDER, measure_missing
from gahb_core import jacobian as jac
from gahb_core import metrics
from gahb_core.data import load_images
from gahb_core.noise import add_noise, sigma_from_psnr
from gahb_core.training import TWICE, checkpoint_status, find_recipe, load_denoiser

OUT = FOLDER / "trainings.json"
PSNR_IN = (0, 10, 20, 30)
SIGMAS = (0.1, 0.2)
NUM, NUM_PSNR = 8, 256


def compare_bases(a: torch.Tensor, b: torch.Tensor, shape: tuple[int, ...]) -> dict[str, float]:
    """Return what two Jacobians (D, D) at one noisy image say: of each, and of both."""
    first, second = (jac.eigendecompose(J, shape) for J in (a, b))
    num = max(1, round(float(a.trace())))
    inner = float((a * b).sum() / (a.norm() * b.norm()))
    return {
        "trace.0": float(a.trace()), "trace.1": float(b.trace()),
        "above_half.0": int((first.lam > 0.5).sum()), "above_half.1": int((second.lam > 0.5).sum()),
        "asymmetry.0": jac.asymmetry(a), "asymmetry.1": jac.asymmetry(b),
        "overlap": jac.subspace_overlap(first.atoms[:num], second.atoms[:num]), "cosine": inner,
    }  # fmt: skip


def measure(name: str) -> dict:
    """Return the means over images, with standard errors where they differ from image to image."""
    recipe = find_recipe(name)
    f, g = load_denoiser(name), load_denoiser(f"seed=1/{name}")
    x = load_images(recipe.dataset, "test", NUM_PSNR, recipe.size)
    gap = metrics.paired_difference(f, g, x, [sigma_from_psnr(p) for p in PSNR_IN])
    found = {
        "psnr_difference": [round(float(v), 3) for v in gap.mean],
        "psnr_error": [round(float(v), 3) for v in gap.error],
    }
    for sigma in SIGMAS:
        rows = []
        for i in range(NUM):
            y = add_noise(x[i : i + 1], sigma, 0, start=i)
            rows.append(
                compare_bases(jac.jacobian_matrix(f, y), jac.jacobian_matrix(g, y), x.shape[1:])
            )
        for key in rows[0]:
            values = torch.tensor([float(row[key]) for row in rows])
            error = values.std() / NUM**0.5
            found[f"{key}@{sigma}"] = [float(f"{v:.4g}") for v in (values.mean(), error)]
    return found


def main() -> None:
    """Measure what is missing and write."""
    torch.set_num_threads(1)
    there = {n: n for n in TWICE if checkpoint_status(f"seed=1/{n}") == "trained"}
    measure_missing(OUT, "networks", there, measure, psnr_in=PSNR_IN, num=NUM, num_psnr=NUM_PSNR)


if __name__ == "__main__":
    main()
