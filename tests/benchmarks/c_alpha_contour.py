"""What the reference that must find the contour reaches on C^α images: a matrix for each image.

    python tests/benchmarks/c_alpha_contour.py

Curves: PSNR-out of the first 16 test images of chapter 6, at each of PSNR_IN, with its noise.
Slopes, by its expected errors: for both recipes, and where contour and regions differ in α. What is
in the file is not measured again. Chapter 6 shows both, and computes some of each anew.
"""

import numpy as np
import torch
from measured import FOLDER, measure_missing

from gahb_core import denoisers, metrics
from gahb_core.images import make_c_alpha_parts
from gahb_core.noise import sigma_from_psnr

OUT = FOLDER / "c_alpha_contour.json"
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


def measure_slope(variant: tuple[int, int, dict]) -> float:
    """Return the slope over FITTED of the expected PSNR-out, for an α, how many images, options."""
    alpha, num, options = variant
    regions = denoisers.fit_regions(make_c_alpha_parts(NUM_MOMENTS // 2, alpha, SIZE, **options))
    made = make_c_alpha_parts(num, alpha, SIZE, seed=2, **options)
    s2 = torch.from_numpy(10 ** (-np.array(FITTED) / 10))[:, None]
    found = []
    for i in range(num):
        covariance = denoisers.contour_covariance(made, i, regions)
        variances = torch.linalg.eigvalsh(covariance).clamp(min=0)
        error = (s2 * variances / (variances + s2)).sum(1) / SIZE**2
        found.append(-10 * torch.log10(error))
    return round(float(metrics.fit_slope(list(FITTED), torch.stack(found)).slope), 5)


def main() -> None:
    """Measure what is missing and write."""
    torch.set_num_threads(1)
    alphas, sides = (1, 2, 3, 4, 5), (1, 2, 4)
    curves = {str(alpha): alpha for alpha in alphas}
    measure_missing(OUT, "curves", curves, measure_curves, psnr_in=PSNR_IN)
    recipes = {f"{a},{s}": (a, 4, {"spectrum": s}) for a in alphas for s in ("paper", "holder")}
    mixed = {f"{a},{b}": (a, 3, {"background_alpha": b}) for a in sides for b in sides}
    measure_missing(SLOPES_OUT, "slopes", recipes | mixed, measure_slope, psnr_in=FITTED)


if __name__ == "__main__":
    main()
