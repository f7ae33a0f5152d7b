"""Memorizer first and network after, at every level between: claims_handover.json.

    python book/experiments/claims_handover.py      (minutes of one core; it resumes)

From pure noise, σ = 8, one machine leads a deterministic ascent down to a level and another from
there to the end. First may be the exact memorizer of the 10,000 garments of A, the Gaussian with
their mean and covariance, or network A; last network A, network B (which saw none of these
images), or the memorizer. Of NUM samples each: d₁/d₂, the distances to the two closest of the
10,000, up to brightness (a third and less: a copy, as in chapter 14); r with the closest; and r
with the training image that the memorizer alone ends at. Beside them the same of held-out images,
and the memorizer's largest weight along its own ascent. What was predicted of this and of the other
three claims stands in claims_predictions.json, committed before.
"""

from collections.abc import Callable
from functools import cache

import torch
from local_theories import fit_gaussian
from torch import Tensor

from gahb_book.measured import FOLDER, measure_missing, read, write
from gahb_core import denoisers, metrics, noise, sampling
from gahb_core.data import load_images
from gahb_core.training import load_denoiser

OUT = FOLDER / "claims_handover.json"
NUM, SHOWN, START, END, STEP = 48, 2, 8.0, 0.01, 0.2  # each step takes a fifth off σ
LEVELS = (4.0, 2.0, 1.4, 1.0, 0.75, 0.5, 0.35, 0.25, 0.18, 0.125, 0.09)
ORDERS = {  # who leads first, who leads last
    "memorizer, network": ("memorizer", "network"),
    "memorizer, other network": ("memorizer", "other"),
    "Gaussian, network": ("gaussian", "network"),
    "network, memorizer": ("network", "memorizer"),
}


@cache
def machines() -> tuple[Tensor, dict[str, Callable]]:
    """Return the training images (N, 1, S, S) and the four machines."""
    train = load_images("fashion", "A", 10_000)
    return train, {
        "memorizer": denoisers.empirical_denoiser(train),
        "gaussian": fit_gaussian(train),
        "network": load_denoiser("fashion/N=10000/A"),
        "other": load_denoiser("fashion/N=10000/B"),
    }


def lead(first: str, last: str, level: float) -> Tensor:
    """Return NUM samples: `first` leads above `level`, `last` from there on."""
    train, of = machines()

    def f(y: Tensor, sigma: Tensor) -> Tensor:
        leading = first if float(sigma.flatten()[0]) > level else last
        return of[leading](y, sigma).float()

    y0 = train.mean(0) + START * noise.sample_normal((NUM, 1, 32, 32), 0, key="start")
    options = {"beta": 1.0, "ramp": False, "h": STEP, "sigma_max": START}
    with torch.no_grad():
        return sampling.finish(sampling.ascend(f, y0, sigma_0=START, sigma_end=END, **options)).x


def closest(x: Tensor) -> tuple[list[float], list[float]]:
    """Return d₁/d₂ and r of each image with the training images."""
    train, _ = machines()
    unit = torch.nn.functional.normalize(train.flatten(1))
    flat = x.float().flatten(1)
    square = flat.square().sum(1)[:, None] - (flat @ unit.T) ** 2
    near = square.clamp(min=0).sqrt().topk(2, largest=False).values
    return short(near[:, 0] / near[:, 1]), short(metrics.nearest_images(x, train).similarity)


def short(values: Tensor) -> list[float]:
    """Return numbers as they are written."""
    return [round(float(v), 4) for v in values]


@cache
def targets() -> Tensor:
    """Return where the memorizer alone ends."""
    return lead("memorizer", "memorizer", 0.0)


def measure(variant: tuple[str, str, float]) -> dict:
    """Return the figures of one order and level."""
    x = lead(*variant)
    ratio, nearest = closest(x)
    found = {
        "ratio": ratio,
        "nearest": nearest,
        "target": short(metrics.correlation(x, targets())),
    }
    if variant[:2] == ORDERS["memorizer, network"]:
        found["pictures"] = (255 * x[:SHOWN, 0].clamp(0, 1)).round().int().tolist()
    return found


def weigh() -> dict:
    """Return the memorizer's largest weight at each level of its own ascent, a list over starts."""
    train, of = machines()
    y0 = train.mean(0) + START * noise.sample_normal((NUM, 1, 32, 32), 0, key="start")
    options = {"beta": 1.0, "ramp": False, "h": STEP, "sigma_max": START}
    sigmas, largest = [], []
    steps = sampling.ascend(of["memorizer"], y0, sigma_0=START, sigma_end=END, **options)
    flat = train.flatten(1)
    for step in steps:
        sigma = float(step.sigma_hat[0])
        products = step.y.flatten(1) @ flat.T - flat.square().sum(1) / 2
        sigmas.append(round(sigma, 4))
        largest.append(short((products / sigma**2).softmax(1).max(1).values))
    return {"sigmas": sigmas, "largest": largest}


def main() -> None:
    """Measure what is missing and write."""
    torch.set_num_threads(1)
    found = read(OUT)
    if "held_out" not in found:
        ratio, nearest = closest(load_images("fashion", "test", 1000))
        found["held_out"] = {"ratio": ratio, "nearest": nearest}
        found["weights"] = weigh()
        write(OUT, found, indent=None)
    beside = {k: found[k] for k in ("held_out", "weights")}
    variants = {
        f"{name}, {level:g}": (*pair, level) for name, pair in ORDERS.items() for level in LEVELS
    }
    measure_missing(OUT, "orders", variants, measure, **beside)


if __name__ == "__main__":
    main()
