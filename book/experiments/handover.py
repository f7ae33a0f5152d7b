"""Hand-over: an exact denoiser of the training set down to a noise level, the network below it.

    python book/experiments/handover.py

Ascents that follow the memorizer of the network's own N training images from σ = START down to a
level, and the network's estimate from there on, blind; and the other order. How near do they end
to a training image? Published (arXiv 2506.03719, other images): as new as the network alone if the
hand-over is early (σ = 2 and above, in units of this book), a training image if it is late (σ =
0.75 and below). What is in the file is not measured again; some minutes of a core.

What was expected before the run stands in PREDICTED, and goes into the file with what was found.
"""

import torch
from torch import Tensor

from gahb_book.measured import FOLDER, measure_missing
from gahb_core import data, denoisers, metrics, noise
from gahb_core.sampling import Samples, ascend, finish
from gahb_core.training import load_denoiser

OUT = FOLDER / "handover.json"
NETWORK, TRAIN, NUM = "fashion/N=10000/A", 10_000, 16
START, END = 4.0, 0.02
LEVELS = (2.0, 1.5, 1.0, 0.75, 0.5, 0.35, 0.25, 0.15, 0.1, 0.05)
PREDICTED = {
    "early": "handed over at σ = 2 the correlation with the closest training image is the "
    "network's own within two standard errors",
    "late": "handed over at σ = 0.1 and below it is above 0.98 for every sample: a copy",
    "knee": "the correlation crosses the middle of its rise between σ = 2 and 0.75, as published",
    "reverse": "the network down to σ = 0.75, the memorizer below: a copy, as the network's images "
    "at that noise have one close relative among 10,000",
}


def follow(f: denoisers.Denoiser, y: Tensor, sigma_0: float, end: float) -> Samples:
    """Return an ascent of the schedule from `sigma_0` to `end`, told σ."""
    return finish(ascend(f, y, sigma_0=sigma_0, sigma_end=end, sigma_max=2 * START, seed=1))


def climb(f: denoisers.Denoiser, y: Tensor) -> Tensor:
    """Return where the blind ascent of `f` ends."""
    return finish(ascend(f, y, sigma_end=END, sigma_max=2 * START, seed=2)).x


def describe(x: Tensor, train: Tensor) -> list[float]:
    """Return the correlation of each image with its closest training image."""
    return [round(float(v), 4) for v in metrics.nearest_images(x, train).similarity]


def measure(name: str) -> list[float]:
    """Return `describe` of NUM images, made as `name` says."""
    train = data.load_images("fashion", "A", TRAIN)
    f, exact = load_denoiser(NETWORK), denoisers.empirical_denoiser(train)
    z = noise.sample_normal((NUM, 1, 32, 32), 0, key="start")
    how, level = name.split(" ")
    if how == "network":
        return describe(climb(f, train.mean(0) + z), train)
    if how == "test":
        return describe(data.load_images("fashion", "test", 256), train)
    if how == "memorizer-then-network":
        y = follow(exact, train.mean(0) + START * z, START, float(level)).y_end
        return describe(climb(f, y), train)
    y = finish(ascend(f, train.mean(0) + z, sigma_end=float(level), seed=1)).y_end
    return describe(follow(exact, y, float(level), END).x, train)


def main() -> None:
    """Measure what is missing and write."""
    torch.set_num_threads(1)
    names = ["network alone", "test images"]
    names += [f"memorizer-then-network {v:g}" for v in LEVELS]
    names += [f"network-then-memorizer {v:g}" for v in LEVELS if v < 1]
    beside = {"predicted": PREDICTED, "network": NETWORK, "num": NUM, "levels": LEVELS}
    measure_missing(OUT, "correlation", {name: name for name in names}, measure, **beside)


if __name__ == "__main__":
    main()
