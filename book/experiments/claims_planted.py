"""A letter planted in the training images, looked for in the rows of J: claims_planted.json.

    python book/experiments/claims_planted.py FOLDER BESIDE      (minutes of one core; it resumes)

Trains a UNet of 16×16 pixels, for STEPS steps, on ⅔x + aW: x a garment, W a letter of strokes, a
uniform in [0, ⅓], one for each of 10,000 images (FOLDER keeps the state of the training). Then, at
σ of SIGMAS, 48 test images and 16 pixels of W, the rows of the Jacobian of this network, of the
network that `claims_bird.py` trained without W and left in BESIDE, and of the Gaussian with the
mean and the covariance of the planted images. What is in the file is not measured again.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from claims_bird import RECIPE, kept_network
from torch import Tensor

from gahb_book.measured import FOLDER, measure_missing
from gahb_core import noise
from gahb_core.data import load_images
from gahb_core.denoisers import Gaussian, gaussian_denoiser
from gahb_core.denoisers.contract import residual_denoiser
from gahb_core.jacobian import adaptive_filters
from gahb_core.networks.models import fold_norm
from gahb_core.training import fit_network, make_network

OUT = FOLDER / "claims_planted.json"
SIZE, NUM, SHARE, MOST, STEPS = 16, 10_000, 2 / 3, 1 / 3, 1_500
CORNERS = ((3.5, 1.5), (12.0, 4.8), (5.5, 7.5), (12.0, 10.2), (3.5, 13.5))  # row, column
SIGMAS, IMAGES, PIXELS, RADIUS = (0.1, 0.2, 0.4, 0.8), 48, 16, 5.0


def draw_letter() -> Tensor:
    """Return the W, (S, S): ones within .6 of its strokes, zeros elsewhere."""
    grid = torch.stack(torch.meshgrid(*[torch.arange(SIZE).float()] * 2, indexing="ij"), -1)
    found = torch.zeros(SIZE, SIZE)
    for start, end in zip(CORNERS[:-1], CORNERS[1:], strict=True):
        a, along = torch.tensor(start), torch.tensor(end) - torch.tensor(start)
        share = (((grid - a) @ along) / along.square().sum()).clamp(0, 1)
        found[(grid - a - share[..., None] * along).norm(dim=-1) < 0.6] = 1
    return found


def plant(split: str, num: int) -> Tensor:
    """Return garments with a share of W in each, (num, 1, S, S), in [0, 1]."""
    x = load_images("fashion", split, num, SIZE)
    a = MOST * torch.rand(num, 1, 1, 1, generator=noise.make_generator(0, f"planted {split}"))
    return SHARE * x + a * draw_letter()


def train(folder: Path) -> torch.nn.Module:
    """Return the network of planted images, trained on from its state."""
    recipe = replace(RECIPE, num_steps=STEPS)
    folder.mkdir(parents=True, exist_ok=True)
    net, path = make_network(recipe), folder / "planted.state"
    for progress in fit_network(net, plant("A", NUM), recipe, path, save_seconds=30):
        if progress.step % 500 == 0:
            print(progress.step, round(progress.loss, 4), round(progress.seconds), flush=True)
    return progress.net


def net_of(folder: Path) -> Callable:
    """Return the denoiser of the planted network."""
    return residual_denoiser(fold_norm(train(folder).eval().requires_grad_(False)))


def fit_planted() -> Callable:
    """Return the exact denoiser of a Gaussian with the moments of the planted images."""
    flat = plant("A", NUM).double().flatten(1)
    covariance = torch.cov(flat.T)
    mean = flat.mean(0).reshape(1, SIZE, SIZE)
    return gaussian_denoiser(mean, (covariance + covariance.T) / 2)


def pick(mask: Tensor) -> list[tuple[int, int]]:
    """Return PIXELS pixels of a mask, evenly spread over its rows and columns."""
    where = mask.nonzero()
    return [tuple(map(int, where[i])) for i in torch.linspace(0, len(where) - 1, PIXELS).long()]


def liken(rows: Tensor, pixels: list, pattern: Tensor) -> Tensor:
    """Return the correlation of each row (K, S, S) with a pattern, RADIUS from its pixel."""
    grid = torch.stack(torch.meshgrid(*[torch.arange(SIZE).float()] * 2, indexing="ij"), -1)
    found = []
    for row, pixel in zip(rows, pixels, strict=True):
        far = (grid - torch.tensor(pixel).float()).norm(dim=-1) >= RADIUS
        both = torch.stack([row[far], pattern[far].to(row)])
        found.append(torch.corrcoef(both)[0, 1])
    return torch.stack(found)


def measure(variant: tuple[Callable, float]) -> dict:
    """Return, of one denoiser and σ, the correlations: a number an image, the mean over pixels."""
    f, sigma = variant
    letter = draw_letter()
    off = (letter == 0) & (letter.flip(0) == 0)
    off[:2], off[-2:] = False, False
    at = {"on": pick(letter == 1), "off": pick(off)}
    found: dict[str, list] = {"letter": [], "upside_down": [], "letter_off": []}
    mean = torch.zeros(SIZE, SIZE)
    kind = torch.float64 if isinstance(f, Gaussian) else torch.float32
    y = noise.add_noise(plant("test", IMAGES), sigma, 0).to(kind)
    for one in y.split(1):
        told = sigma if isinstance(f, Gaussian) else None
        filters = adaptive_filters(f, one, told, pixels=at["on"] + at["off"])[:, 0]
        on, away = filters[:PIXELS], filters[PIXELS:]
        found["letter"].append(round(float(liken(on, at["on"], letter).mean()), 4))
        found["upside_down"].append(round(float(liken(on, at["on"], letter.flip(0)).mean()), 4))
        found["letter_off"].append(round(float(liken(away, at["off"], letter).mean()), 4))
        mean += on[PIXELS // 2].float() / len(y)
    row = [[float(f"{v:.3g}") for v in line] for line in mean.tolist()]
    return found | {"row": row, "pixel": at["on"][PIXELS // 2]}


def main() -> None:
    """Train, measure what is missing and write."""
    torch.set_num_threads(1)
    machines = {
        "planted": net_of(Path(sys.argv[1])),
        "without": kept_network(Path(sys.argv[2]) / f"{RECIPE.num_steps}.safetensors"),
        "gaussian": fit_planted(),
    }
    variants = {f"{n}, {s:g}": (f, s) for n, f in machines.items() for s in SIGMAS}
    measure_missing(OUT, "rows", variants, measure, letter=draw_letter().int().tolist())


if __name__ == "__main__":
    main()
