"""Noise: y = x + σ z, grids and laws of σ, and one generator an image.

σ is always the standard deviation per pixel in image units (images live in [0, 1]).
"""

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


def make_generator(seed: int, *keys: int | str) -> torch.Generator:
    """Return the CPU generator that belongs to `seed` and `keys` (an image index, a purpose).

    Neighbouring seeds give unrelated streams (SHA-256 of all of them), and a stream does not
    depend on what else is drawn: image 17 is the same alone or in any batch, on any device.
    """
    digest = hashlib.sha256(repr((int(seed), *keys)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def sample_normal(shape: Sequence[int], seed: int, start: int = 0, key: str = "z") -> Tensor:
    """Return standard normal noise (B, ...) on the CPU, image i from its own stream `start + i`."""
    rows = [
        torch.randn(tuple(shape[1:]), generator=make_generator(seed, key, start + i))
        for i in range(shape[0])
    ]
    return torch.stack(rows) if rows else torch.empty(tuple(shape))


def per_image(sigma: float | Tensor, y: Tensor) -> Tensor:
    """Return `sigma` (a number or (B,)) as (B or 1, 1, ..., 1), of the device and dtype of `y`.

    Raises:
        ValueError: where `sigma` is negative, not finite, or of another length than `y`.
    """
    s = torch.as_tensor(sigma, dtype=y.dtype, device=y.device)
    if s.ndim > 1 or (s.ndim == 1 and len(s) not in (1, len(y))):
        raise ValueError(f"sigma must be a number or of shape ({len(y)},), not {tuple(s.shape)}")
    if not bool(torch.isfinite(s).all()) or bool((s < 0).any()):
        raise ValueError(f"sigma must be finite and not negative, not {sigma}")
    return s.reshape(-1, *[1] * (y.ndim - 1))


def add_noise(x: Tensor, sigma: float | Tensor, seed: int, start: int = 0) -> Tensor:
    """Return y = x + σ z for images `x` (B, C, H, W), z from each image's own stream.

    The z of an image depends on `seed` and its index alone: the same for every σ and every
    network compared (common random numbers).
    """
    z = sample_normal(x.shape, seed, start).to(x)
    return x + per_image(sigma, x) * z


def psnr_from_sigma(sigma: float) -> float:
    """Return PSNR-in = −20 log10 σ, in decibels."""
    return -20 * math.log10(sigma)


def sigma_from_psnr(psnr: float) -> float:
    """Return the σ of a PSNR-in, in image units.

    >>> round(sigma_from_psnr(20.0), 6)
    0.1
    """
    return 10 ** (-psnr / 20)


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
            ValueError: for an unknown `kind` or a range that is not 0 ≤ low < high.
        """
        u = torch.rand(num, generator=generator)
        if not 0 <= self.low < self.high or (self.kind == "log" and self.low == 0):
            raise ValueError(f"law needs 0 ≤ low < high (0 < low for 'log'), not {self}")
        if self.kind == "log":
            return self.low * (self.high / self.low) ** u
        if self.kind == "power":
            low, high = self.low ** (1 / self.power), self.high ** (1 / self.power)
            return (low + (high - low) * u) ** self.power
        raise ValueError(f"law.kind must be 'power' or 'log', not {self.kind!r}")
