"""Near the memorizer on the shells, far from it where samplers go? claims_selective.json.

    python book/experiments/claims_selective.py [FOLDER]      (minutes of one core; it resumes)

e = ‖f(y) − memorizer(y)‖²/D, the memorizer that of the N garments a network learned, at NUM points
each: on shells of its training images, y = x_i + σz; on its own deterministic ascents at the same
σ; on those of one network (B of 10,000), the same points for every network (`common`). Beside them
the network's and the memorizer's error on the shells, and the network's on shells of held-out
images. For the networks of each N; and along the training whose networks `claims_bird.py` left in
FOLDER, 16×16 pixels, where the common points are those of the last of them.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from claims_bird import STEPS, kept_network
from torch import Tensor

from gahb_book.measured import FOLDER, measure_missing, read
from gahb_core import denoisers, noise, sampling
from gahb_core.data import load_images
from gahb_core.training import load_denoiser

OUT = FOLDER / "claims_selective.json"
SIGMAS, NUM, NUMS = (0.1, 0.2, 0.4), 64, (10, 100, 1_000, 10_000)
STEP = 1 - 0.5 ** (1 / 3)  # three steps halve σ, from .8 on


def short(values: Tensor) -> list[float]:
    """Return numbers as they are written."""
    return [float(f"{float(v):.4g}") for v in values]


def find_points(f: Callable, size: int) -> dict[float, Tensor]:
    """Return where NUM deterministic ascents of `f` stand at each of SIGMAS."""
    mean = load_images("fashion", "A", 10_000, size).mean(0)
    y0 = mean + 0.8 * noise.sample_normal((NUM, 1, size, size), 0, key="start")
    options = {"beta": 1.0, "ramp": False, "h": STEP, "sigma_0": 0.8, "sigma_end": 0.09}
    found = {}
    with torch.no_grad():
        for step in sampling.ascend(f, y0, **options):
            for sigma in SIGMAS:
                if abs(float(step.sigma_hat[0]) / sigma - 1) < 1e-3:
                    found[sigma] = step.y
    if set(found) != set(SIGMAS):
        raise ValueError(f"STEP must lead the ascents past {SIGMAS}, not {tuple(found)}")
    return found


class Variant(NamedTuple):
    """A network, how many images it learned, of which size, and whose ascents are common."""

    make: Callable[[], Callable]
    num: int
    size: int
    common: Callable[[], Callable]


@torch.no_grad()
def measure(variant: Variant) -> dict:
    """Return the figures of one network by σ, a list over points."""
    f, size = variant.make(), variant.size
    train = load_images("fashion", "A", variant.num, size)
    ideal, unseen = denoisers.empirical_denoiser(train), load_images("fashion", "test", NUM, size)
    x = train[torch.arange(NUM) % len(train)]  # few images: each several times, other noise
    own, common, found = find_points(f, size), find_points(variant.common(), size), {}
    for sigma in SIGMAS:
        y, new = noise.add_noise(x, sigma, 0), noise.add_noise(unseen, sigma, 0)
        apart = {
            "shell": f(y) - ideal(y, sigma),
            "ascent": f(own[sigma]) - ideal(own[sigma], sigma),
            "common": f(common[sigma]) - ideal(common[sigma], sigma),
            "error": f(y) - x,
            "error_memorizer": ideal(y, sigma) - x,
            "error_unseen": f(new) - unseen,
        }
        found[f"{sigma:g}"] = {k: short(v.square().flatten(1).mean(1)) for k, v in apart.items()}
    return found


def main() -> None:
    """Measure what is missing and write."""
    torch.set_num_threads(1)
    beside = {k: v for k, v in read(OUT).items() if k != "nums"}
    other = partial(load_denoiser, "fashion/N=10000/B")
    variants = {
        str(n): Variant(partial(load_denoiser, f"fashion/N={n}/A"), n, 32, other) for n in NUMS
    }
    measure_missing(OUT, "nums", variants, measure, **beside)
    if len(sys.argv) > 1:
        paths = [Path(sys.argv[1]) / f"{step}.safetensors" for step in STEPS]
        last = partial(kept_network, paths[-1])
        variants = {p.stem: Variant(partial(kept_network, p), 10_000, 16, last) for p in paths}
        measure_missing(OUT, "steps", variants, measure, nums=read(OUT)["nums"])


if __name__ == "__main__":
    main()
