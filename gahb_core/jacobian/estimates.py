"""Traces and norms of J from random probes: no matrix, a standard error with every value."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gahb_core.checks import check_count
from gahb_core.denoisers.contract import Denoiser
from gahb_core.jacobian.products import Linearization, linearize
from gahb_core.noise import make_generator


class Estimate(NamedTuple):
    """A random estimate.

    Attributes:
        value: mean over the probes.
        standard_error: standard deviation of that mean.
    """

    value: float
    standard_error: float


class Estimates(NamedTuple):
    """What the same random vectors say of J.

    Attributes:
        trace: tr J.
        squared_norm: Σ_ij J_ij².
        asymmetry: ‖J − Jᵀ‖ / ‖J‖.
    """

    trace: Estimate
    squared_norm: Estimate
    asymmetry: Estimate


def _summarize(draws: Tensor) -> Estimate:
    return Estimate(draws.mean().item(), (draws.std() / math.sqrt(len(draws))).item())


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).cpu().double().sum(1)


def _setup(
    denoiser: Denoiser, y: Tensor, sigma: float | None, num: int, seed: int, block: int
) -> tuple[Linearization, Tensor]:
    """Return J at `y`, and `num` vectors of independent signs ±1 (num, C, H, W); E z zᵀ = I."""
    products, num = linearize(denoiser, y, sigma, block=block), check_count(num, "num", 2)
    generator = make_generator(seed, "probes")
    bits = torch.randint(2, (num, *y.shape[1:]), generator=generator, device="cpu")
    return products, (2 * bits - 1).to(y)


def estimate_trace(
    denoiser: Denoiser,
    y: Tensor,
    sigma: float | None = None,
    *,
    num: int = 64,
    seed: int = 0,
    block: int = 64,
) -> Estimate:
    """Return tr J at one image, by Hutchinson: the mean of zᵀ J z over `num` sign vectors."""
    products, z = _setup(denoiser, y, sigma, num, seed, block)
    return _summarize(_inner(z, products.push(z)))


def estimate_squared_norm(
    denoiser: Denoiser,
    y: Tensor,
    sigma: float | None = None,
    *,
    num: int = 64,
    seed: int = 0,
    block: int = 64,
) -> Estimate:
    """Return Σ_ij J_ij² = Σ_k s_k² at one image: the mean of ‖J z‖² over `num` sign vectors."""
    products, z = _setup(denoiser, y, sigma, num, seed, block)
    Jz = products.push(z)
    return _summarize(_inner(Jz, Jz))


def estimate_asymmetry(
    denoiser: Denoiser,
    y: Tensor,
    sigma: float | None = None,
    *,
    num: int = 64,
    seed: int = 0,
    block: int = 64,
) -> Estimate:
    """Return ‖J − Jᵀ‖ / ‖J‖ at one image, from ‖(J − Jᵀ) z‖² and ‖J z‖² over the same probes.

    The standard error is that of the ratio to first order (delta method).

    Raises:
        ValueError: where J is zero.
    """
    products, z = _setup(denoiser, y, sigma, num, seed, block)
    return _compare(products.push(z), products.pull(z))


def _compare(Jz: Tensor, Jtz: Tensor) -> Estimate:
    """Return the asymmetry, from what J and Jᵀ make of the same sign vectors (num, C, H, W)."""
    gap = Jz - Jtz
    top, bottom = _inner(gap, gap), _inner(Jz, Jz)
    if not bottom.mean() > 0:
        raise ValueError("J must not be zero: the asymmetry is relative to its norm")
    ratio = (top.mean() / bottom.mean()).sqrt()
    spread = (top - ratio.square() * bottom).std() / (2 * ratio.clamp(min=1e-12) * bottom.mean())
    return Estimate(ratio.item(), (spread / math.sqrt(len(Jz))).item())


def estimate_all(
    denoiser: Denoiser,
    y: Tensor,
    sigma: float | None = None,
    *,
    num: int = 64,
    seed: int = 0,
    block: int = 64,
) -> Estimates:
    """Return trace, squared norm and asymmetry at one image, as the three above give them.

    J and Jᵀ multiply each of the `num` sign vectors once: half the products of three calls.

    Raises:
        ValueError: where J is zero.
    """
    products, z = _setup(denoiser, y, sigma, num, seed, block)
    Jz = products.push(z)
    return Estimates(
        _summarize(_inner(z, Jz)), _summarize(_inner(Jz, Jz)), _compare(Jz, products.pull(z))
    )
