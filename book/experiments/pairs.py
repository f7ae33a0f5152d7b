"""How alike pairs and closest images are, over seeds of the noise: book/measured/pairs.json.

    python book/experiments/pairs.py

For garments and faces at their largest N, with β = 1 and β = 0.1, and for each of three seeds of
the starts and of the noise on the way: the correlation of A's and B's sample from the same noise,
and of either with the closest image of its own training set; then of a test image with the closest
image of A. Seed 0 is what chapter 3 shows. About three minutes a seed and data set; what is in the
file is not drawn again. Faces need `gahb fetch faces`.
"""

from torch import Tensor, cat, cov, linspace

from gahb_book.measured import FOLDER, measure_missing
from gahb_core.data import load_images
from gahb_core.denoisers.gaussian import gaussian_denoiser
from gahb_core.metrics.pairs import correlation, nearest_images
from gahb_core.noise import sample_normal
from gahb_core.sampling.ascent import ascend, finish
from gahb_core.training import load_denoiser

OUT = FOLDER / "pairs.json"
LARGEST = {"fashion": 10_000, "faces": 6_000}
BETAS = (1.0, 0.1)
NUM, SEEDS, PART = 64, (0, 1, 2), 32  # samples of a network; images that a pass takes at once


def summarize(values: Tensor) -> dict[str, float | list[float]]:
    """Return the mean, and the quantiles 0, 1/32, … 1: the median is the one in the middle."""
    quantiles = values.double().quantile(linspace(0, 1, 33).double())
    return {
        "mean": round(float(values.mean()), 5),
        "quantiles": [round(v, 5) for v in quantiles.tolist()],
    }


def draw_starts(x: Tensor, seed: int) -> Tensor:
    """Return NUM starts: a draw of the Gaussian fitted to `x` (N, 1, H, W), and noise of 1."""
    fit = gaussian_denoiser(x.double().mean(0), cov(x.double().flatten(1).T))
    blurs = fit.sample_prior(NUM, seed).float()
    return blurs + sample_normal(blurs.shape, seed, key="start")


def measure(variant: tuple[str, int]) -> dict[str, dict]:
    """Return the correlations of a data set with one seed."""
    dataset, seed = variant
    n = LARGEST[dataset]
    sets = {s: load_images(dataset, s, n) for s in "AB"}
    nets = {s: load_denoiser(f"{dataset}/N={n}/{s}") for s in "AB"}
    y0, found = draw_starts(sets["A"], seed), {}
    for beta in BETAS:
        drawn = {}
        for s, f in nets.items():
            parts = [
                finish(ascend(f, y0[i : i + PART], seed=seed, beta=beta, start=i)).x
                for i in range(0, NUM, PART)
            ]
            drawn[s] = cat(parts)
        near = [nearest_images(x, sets[s]).similarity for s, x in drawn.items()]
        pair = correlation(drawn["A"], drawn["B"])
        found[f"{beta:g}"] = {"pair": summarize(pair), "closest": summarize(cat(near))}
    test = load_images(dataset, "test", 1000)
    found["test"] = summarize(nearest_images(test, sets["A"]).similarity)
    return found


def main() -> None:
    """Measure what is missing and write."""
    variants = {f"{name}.{seed}": (name, seed) for seed in SEEDS for name in LARGEST}
    measure_missing(OUT, "pairs", variants, measure, num=NUM, largest=LARGEST)


if __name__ == "__main__":
    main()
