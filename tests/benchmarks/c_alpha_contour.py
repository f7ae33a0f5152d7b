"""What the references with a known contour reach on C^α images: a matrix for each image.

    python tests/benchmarks/c_alpha_contour.py

Curves: PSNR-out of the first 16 test images of chapter 6, at each of PSNR_IN, with its noise, where
the contour must be found. Told: PSNR-out expected where it is told, and the mean number of terms.
Slopes, by the expected errors of what must find it: for both recipes, and where contour and regions
differ in α. What is in a file is not measured again. Chapter 6 shows all, and computes some anew.
"""

from collections.abc import Sequence

import numpy as np
import torch
from measured import FOLDER, measure_missing

from gahb_core import denoisers, metrics
from gahb_core.images import make_c_alpha_parts
from gahb_core.noise import sigma_from_psnr

OUT = FOLDER / "c_alpha_contour.json"
TOLD_OUT = FOLDER / "c_alpha_told.json"
SLOPES_OUT = FOLDER / "c_alpha_slopes.json"
PSNR_IN = (0, 5, 10, 15, 20, 25, 30, 35, 40)
FITTED = (5, 10, 15, 20, 25, 30)
SIZE, NUM, NUM_MOMENTS = 32, 16, 1024


def measure_curves(alpha: int) -> list[list[float]]:
    """Return PSNR-out by image and PSNR_IN, in dB."""
    regions = denoisers.fit_regions(make_c_alpha_parts(NUM_MOMENTS, alpha, SIZE))
    test = make_c_alpha_parts(NUM, alpha, SIZE, seed=2)
    sigmas = [sigma_from_psnr(p) for p in PSNR_IN]
    found = []
    for i in range(NUM):
        f = denoisers.contour_denoiser(test, i, regions)
        curve = metrics.psnr_curve(f, test.x[i : i + 1], sigmas, 0, start=i)
        found.append([round(float(v), 5) for v in curve[0]])
    return found


def expect(covariance: torch.Tensor, psnr_in: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the PSNR-out and the number of terms that a linear denoiser expects."""
    variances = torch.linalg.eigvalsh(covariance).clamp(min=0)
    s2 = torch.from_numpy(10 ** (-np.array(psnr_in) / 10))[:, None]
    shrink = variances / (variances + s2)
    return -10 * torch.log10((s2 * shrink).sum(1) / SIZE**2), shrink.sum(1)


def measure_told(alpha: int) -> dict:
    """Return PSNR-out by image and PSNR_IN, and the mean number of terms at 0, 1, ..., 40 dB."""
    regions = denoisers.fit_regions(make_c_alpha_parts(NUM_MOMENTS, alpha, SIZE))
    test = make_c_alpha_parts(NUM, alpha, SIZE, seed=2)
    grid = list(range(41))
    found = [expect(denoisers.region_covariance(mask, regions), grid) for mask in test.mask]
    psnr = [[round(float(curve[p]), 5) for p in PSNR_IN] for curve, _ in found]
    terms = torch.stack([terms for _, terms in found]).mean(0)
    return {"psnr_out": psnr, "terms": [round(float(v), 3) for v in terms]}


def measure_slope(variant: tuple[int, int, dict]) -> float:
    """Return the slope over FITTED of the expected PSNR-out, for an α, how many images, options."""
    alpha, num, options = variant
    regions = denoisers.fit_regions(make_c_alpha_parts(NUM_MOMENTS // 2, alpha, SIZE, **options))
    made = make_c_alpha_parts(num, alpha, SIZE, seed=2, **options)
    found = [expect(denoisers.contour_covariance(made, i, regions), FITTED)[0] for i in range(num)]
    return round(float(metrics.fit_slope(list(FITTED), torch.stack(found)).slope), 5)


def main() -> None:
    """Measure what is missing and write."""
    torch.set_num_threads(1)
    alphas, sides = (1, 2, 3, 4, 5), (1, 2, 4)
    curves = {str(alpha): alpha for alpha in alphas}
    measure_missing(OUT, "curves", curves, measure_curves, psnr_in=PSNR_IN)
    measure_missing(TOLD_OUT, "told", curves, measure_told, psnr_in=PSNR_IN)
    recipes = {f"{a},{s}": (a, 4, {"spectrum": s}) for a in alphas for s in ("paper", "holder")}
    mixed = {f"{a},{b}": (a, 3, {"background_alpha": b}) for a in sides for b in sides}
    measure_missing(SLOPES_OUT, "slopes", recipes | mixed, measure_slope, psnr_in=FITTED)


if __name__ == "__main__":
    main()
