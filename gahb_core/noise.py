"""Noise: y = x + σ z, grids and laws of σ, and one generator an image.

σ is always the standard deviation per pixel in image units (images live in [0, 1]).
"""

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gahb_core.checks import (
    check_choice,
    check_count,
    check_floating,
    check_number,
    check_shape,
    check_tensor,
    check_whole,
)


def make_generator(seed: int, *keys: int | str) -> torch.Generator:
    """Return the CPU generator that belongs to `seed` and `keys` (an image index, a purpose).

    Neighbouring seeds give unrelated streams (SHA-256 of all of them), and a stream does not
    depend on what else is drawn: image 17 is the same alone or in any batch, on any device.

    Raises:
        ValueError: where `seed` is no whole number.
    """
    digest = hashlib.sha256(repr((check_whole(seed, "seed"), *keys)).encode()).digest()
    return torch.Generator(device="cpu").manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def sample_normal(shape: Sequence[int], seed: int, start: int = 0, key: str = "z") -> Tensor:
    """Return standard normal noise (B, ...) on the CPU, image i from its own stream `start + i`.

    Raises:
        ValueError: where a number of `shape`, or `start`, is not whole or is negative.
    """
    num, *size = check_shape(shape)
    first = check_count(start, "start", 0)
    rows = torch.empty(num, *size, dtype=torch.float32, device="cpu")
    for i in range(num):  # of that dtype: by another default other numbers would be drawn
        generator = make_generator(seed, key, first + i)
        rows[i] = torch.randn(size, generator=generator, dtype=torch.float32, device="cpu")
    return rows


def sample_uniform(shape: Sequence[int], seed: int, start: int = 0, *, key: str) -> Tensor:
    """Return numbers uniform on [0, 1) (B, ...) on the CPU, row i from its own stream `start + i`.

    Raises:
        ValueError: as `sample_normal` does.
    """
    num, *size = check_shape(shape)
    first = check_count(start, "start", 0)
    rows = torch.empty(num, *size, dtype=torch.float32, device="cpu")
    for i in range(num):
        generator = make_generator(seed, key, first + i)
        torch.rand(size, generator=generator, out=rows[i], dtype=torch.float32, device="cpu")
    return rows


def broadcast_sigma(sigma: float | Tensor, y: Tensor) -> Tensor:
    """Return `sigma` (a number or (B,)) as (B or 1, 1, ..., 1), of the device and dtype of `y`.

    Raises:
        ValueError: where `sigma` is no number, negative, not finite, or of another length than
            `y`, or where `y` is not floating point.
    """
    check_floating(y, "y")
    try:
        s = torch.as_tensor(sigma, dtype=y.dtype, device=y.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"sigma must be a number or a tensor of them, not {sigma!r}") from error
    if s.ndim > 1 or (s.ndim == 1 and len(s) not in (1, len(y))):
        raise ValueError(f"sigma must be a number or of shape ({len(y)},), not {tuple(s.shape)}")
    if not bool(torch.isfinite(s).all()) or bool((s < 0).any()):
        raise ValueError(f"sigma must be finite and not negative, not {sigma}")
    return s.reshape(-1, *[1] * (y.ndim - 1))


def flatten_images(x: Tensor) -> Tensor:
    """Return points or images (B, ...) as rows (B, D), where B is 0 too."""
    if check_tensor(x).ndim < 1:
        raise ValueError("x must be of shape (B, ...), not ()")
    return x.reshape(len(x), math.prod(x.shape[1:]))


def add_noise(x: Tensor, sigma: float | Tensor, seed: int, start: int = 0) -> Tensor:
    """Return y = x + σ z for images `x` (B, C, H, W), z from each image's own stream.

    The z of an image depends on `seed` and its index alone: the same for every σ and every
    network compared (common random numbers).

    Raises:
        ValueError: where `x` is not floating point (σ would be rounded to whole grey values, and
            sums wrap round), and as `broadcast_sigma` and `sample_normal` do.
    """
    check_floating(x, "x")
    z = sample_normal(x.shape, seed, start).to(x)
    return x + broadcast_sigma(sigma, x) * z


def psnr_from_sigma(sigma: float) -> float:
    """Return PSNR-in = −20 log10 σ, in decibels, of a positive σ."""
    return -20 * math.log10(check_number(sigma, "sigma", above=0))


def sigma_from_psnr(psnr: float) -> float:
    """Return the σ of a PSNR-in, in image units.

    >>> round(sigma_from_psnr(20.0), 6)
    0.1

    Raises:
        ValueError: for one that is not finite, or beyond ±6000 dB, where σ leaves the floats.
    """
    return 10 ** (-check_number(psnr, "psnr", -6000, 6000) / 20)


class SigmaLaw(NamedTuple):
    """The law of σ in training, on [low, high].

    `kind` "power": σ = u^power, u uniform (power 2 is the law of the papers' code, power 1 the
    uniform law of paper (a)); "log": log σ uniform.
    """

    kind: str = "power"
    low: float = 0.0
    high: float = 1.0
    power: float = 2.0

    def sample(self, num: int, generator: torch.Generator) -> Tensor:
        """Return `num` values of σ, shape (num,).

        Raises:
            ValueError: for an unknown `kind`, a range that is not 0 ≤ low < high < ∞, or a power
                that is not positive.
        """
        check_choice(self.kind, "law.kind", ("power", "log"))
        high = check_number(self.high, "law.high", above=0)
        low = check_number(self.low, "law.low", below=high)
        if low < 0 or (self.kind == "log" and low == 0):
            raise ValueError(f"law needs 0 ≤ low < high (0 < low for 'log'), not {self}")
        num = check_count(num, "num", 0)
        u = torch.rand(num, generator=generator, dtype=torch.float32, device="cpu")
        if self.kind == "log":
            return low * (high / low) ** u
        power = check_number(self.power, "law.power", above=0)
        low, high = low ** (1 / power), high ** (1 / power)
        return (low + (high - low) * u) ** power
