"""What the two denoisers with a known recipe reach on C^α images: a matrix for each image.

    python book/experiments/c_alpha_contour.py [images, 16]

Curves: PSNR-out of the first test images of chapter 6, at each of PSNR_IN, with its noise, where
the contour is to be estimated. It solves (C + σ²) u = y − mean, in two thirds of the time that the
library's eigenvectors take: half a second an image. Told: PSNR-out expected where the contour is
known, and the mean number of terms. Slopes, by the expected errors where it is to be estimated: for
both recipes, and where contour and regions differ in α. What is in a file is not measured again.
Chapter 6 shows all, takes as many images as there are, and computes some anew by the library.
"""

import sys
from collections.abc import Sequence

import numpy as np
import torch

from gahb_book.measured import FOLDER, measure_missing, read, write
from gahb_core import denoisers, metrics
from gahb_core.denoisers.contours import contour_tangents
from gahb_core.images import CAlpha, make_c_alpha_parts
from gahb_core.noise import sigma_from_psnr

OUT = FOLDER / "c_alpha_contour.json"
TOLD_OUT = FOLDER / "c_alpha_told.json"
SLOPES_OUT = FOLDER / "c_alpha_slopes.json"
PSNR_IN = (0, 5, 10, 15, 20, 25, 30, 35, 40)
FITTED = (5, 10, 15, 20, 25, 30)
ALPHAS, SIDES = (1, 2, 3, 4, 5), (1, 2, 4)
SIZE, NUM, NUM_MOMENTS = 32, 16, 1024
STEP = 16  # images of each α before the next α


def estimate(y: torch.Tensor, mean: torch.Tensor, C: torch.Tensor, sigma: float) -> torch.Tensor:
    """Return the posterior mean of x ~ N(mean, C) at one image y (1, 1, S, S)."""
    factor = torch.linalg.cholesky(C + sigma**2 * torch.eye(len(C), dtype=C.dtype))
    u = torch.cholesky_solve((y.flatten() - mean)[:, None], factor)
    return (mean + (C @ u)[:, 0]).reshape(y.shape)


def measure_curve(test: CAlpha, i: int, regions: denoisers.Regions) -> list[float]:
    """Return PSNR-out of image i at PSNR_IN, in dB, where its contour is to be estimated."""
    G = contour_tangents(test.mask[i], test.below[i], test.above[i])
    mean = regions.mean + (regions.row - test.contour[i].double()) @ G
    C = denoisers.contour_covariance(test, i, regions)
    x, sigmas = test.x[i : i + 1].double(), [sigma_from_psnr(p) for p in PSNR_IN]
    curve = metrics.psnr_curve(lambda y, s: estimate(y, mean, C, s), x, sigmas, 0, start=i)
    return [round(float(v), 4) for v in curve[0]]


def measure_curves(num: int) -> None:
    """Measure what the file lacks of `num` images, a few of each α in turn, and write."""
    curves = read(OUT).get("curves", {})
    for end in range(STEP, num + 1, STEP):
        for alpha in ALPHAS:
            known = curves.setdefault(str(alpha), [])
            if len(known) >= end:
                continue
            regions = denoisers.fit_regions(make_c_alpha_parts(NUM_MOMENTS, alpha, SIZE))
            test = make_c_alpha_parts(end, alpha, SIZE, seed=2)
            known += [measure_curve(test, i, regions) for i in range(len(known), end)]
            write(OUT, {"psnr_in": PSNR_IN, "curves": curves})
            print(alpha, len(known), flush=True)


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


def main(num: int) -> None:
    """Measure what is missing and write."""
    torch.set_num_threads(1)
    measure_curves(num)
    told = {str(alpha): alpha for alpha in ALPHAS}
    measure_missing(TOLD_OUT, "told", told, measure_told, psnr_in=PSNR_IN)
    recipes = {f"{a},{s}": (a, 4, {"spectrum": s}) for a in ALPHAS for s in ("paper", "holder")}
    mixed = {f"{a},{b}": (a, 3, {"background_alpha": b}) for a in SIDES for b in SIDES}
    measure_missing(SLOPES_OUT, "slopes", recipes | mixed, measure_slope, psnr_in=FITTED)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else NUM)
