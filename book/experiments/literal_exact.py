"""How literally "shrinkage" may be taken, where everything is exact: `literal.py` of known priors.

    python book/experiments/literal_exact.py

For exact denoisers at a known σ, at an unknown one, and at an unknown σ and contrast (which is what
a bias-free network is made for: f(ty) = t f(y)), at NUM images drawn from the prior: PSNR of f(y),
of S y and of J y, and the asymmetry of J at the first of them. In float64; what is in the file is
not measured again; a few minutes of a core. Chapter 5 shows it.

What was expected before the run stands in PREDICTED, and goes into the file with what was found.
"""

import torch
from torch import Tensor

from gahb_book.measured import FOLDER, measure_missing
from gahb_core import data, denoisers, jacobian, metrics, noise

OUT = FOLDER / "literal_exact.json"
PSNR_IN, NUM, SIZE, SHAPE = (10, 20, 30), 8, 16, (1, 16, 16)
NUM_DENSE = 2  # images whose whole J is formed, at 20 dB
SIGMAS = torch.logspace(-2, 0.2, 120, dtype=torch.float64)  # likely alike, where σ is unknown
CONTRASTS = torch.logspace(-0.7, 0.7, 49, dtype=torch.float64)
PREDICTED = {
    "known": "J is symmetric, S y = J y, and both miss f(y) by 3 dB or more; but not for a "
    "Gaussian around zero, for which they are f(y)",
    "blind": "the asymmetry is not zero, below 0.2, and of rank two",
    "homogeneous": "with contrast unknown too J y = f(y) to 0.05 dB, and S y is 1 dB or more worse "
    "at 30 dB",
}


def fitted(around_zero: bool = False) -> denoisers.Gaussian:
    """Return the exact denoiser of the Gaussian of garments."""
    flat = data.load_images("fashion", "A", 10_000, SIZE).double().flatten(1)
    mean = flat.mean(0) * (not around_zero)
    covariance = (flat - mean).T @ (flat - mean) / len(flat)
    return denoisers.gaussian_denoiser(mean.reshape(SHAPE), covariance)


def blurred() -> denoisers.Mixture:
    """Return the exact denoiser of ten garments, each a round Gaussian."""
    x = data.load_images("fashion", "A", 10, SIZE).double()
    spread = torch.full((len(x),), 0.05**2, dtype=torch.float64)
    return denoisers.mixture_denoiser(torch.ones_like(spread), x, spread)


def choose(name: str) -> tuple[denoisers.Denoiser, Tensor, bool]:
    """Return a denoiser, images of its prior, and whether σ is known to it."""
    prior, knows = name.split(", ")
    made = blurred() if prior == "mixture" else fitted("zero" in prior)
    x = made.sample_prior(NUM, 0)
    if knows == "known":
        return made, x, True
    contrasts = CONTRASTS if knows == "blind to both" else (1.0,)
    return denoisers.blind_denoiser(made, SIGMAS, contrasts), x, False


def level(estimate: Tensor, x: Tensor) -> float:
    """Return the PSNR of one image, at most 99 dB."""
    return round(min(99.0, float(metrics.psnr(estimate[None], x))), 3)


def measure(name: str) -> dict:
    """Return PSNR by reading, PSNR-in and image; what J is like at the first images."""
    f, x, known = choose(name)
    found: dict[str, list] = {"network": [], "symmetric": [], "product": []}
    more: dict[str, list] = {"asymmetry": [], "third_singular": [], "missed": []}
    for psnr_in in PSNR_IN:
        sigma = noise.sigma_from_psnr(psnr_in)
        given, rows = sigma if known else None, {key: [] for key in found}
        for i, y in enumerate(noise.add_noise(x, sigma, 0).split(1)):
            one = x[i : i + 1]
            p = jacobian.linearize(f, y, given, block=1)
            push, pull = p.push(y)[0], p.pull(y)[0]
            read = (p.x_hat, (push + pull) / 2, push)
            for key, value in zip(rows, read, strict=True):
                rows[key].append(level(value, one))
            more["missed"].append(float(f"{float((p.x_hat - push).norm() / p.x_hat.norm()):.2e}"))
            if psnr_in == 20 and i < NUM_DENSE and "both" not in name:
                J = jacobian.jacobian_matrix(f, y, given, block=16)
                s = torch.linalg.svdvals(J - J.T)
                more["asymmetry"].append(float(f"{jacobian.asymmetry(J):.3g}"))
                more["third_singular"].append(float(f"{float(s[2] / (s[0] + 1e-300)):.1e}"))
        for key, values in rows.items():
            found[key].append(values)
    return found | more


def main() -> None:
    """Measure what is missing and write."""
    torch.set_num_threads(1)
    names = [
        "gaussian, known", "gaussian, blind", "gaussian, blind to both",
        "gaussian around zero, known", "gaussian around zero, blind",
        "mixture, known", "mixture, blind",
    ]  # fmt: skip
    beside = {"predicted": PREDICTED, "psnr_in": PSNR_IN, "num": NUM}
    measure_missing(OUT, "denoisers", {name: name for name in names}, measure, **beside)


if __name__ == "__main__":
    main()
