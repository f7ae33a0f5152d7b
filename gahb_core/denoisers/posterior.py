"""What the exact denoisers of manifolds share: their posterior covariance, and quadrature on it."""

import math
from abc import ABC, abstractmethod
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gahb_core.checks import check_count, check_floating
from gahb_core.denoisers.contract import require_sigma
from gahb_core.noise import add_noise
from gahb_core.probes import estimate

REACH = 5.5  # half-width of a window of quadrature, in standard deviations


class PosteriorSpectrum(NamedTuple):
    """Eigenvalues and eigenvectors of Cov[x | y] / σ², the Jacobian of the exact denoiser.

    Attributes:
        lam: shrinkage factors (B, K), the largest first; those beyond the rank are 0.
        atoms: their eigenvectors (B, K, C, H, W), orthonormal.
    """

    lam: Tensor
    atoms: Tensor


class Mmse(NamedTuple):
    """The least mean squared error, summed over pixels, estimated over some images.

    Attributes:
        mmse: mean of E[‖x − x_hat‖² | y], which the posterior knows without x.
        standard_error: of that mean.
        squared_error: mean of ‖x − x_hat‖², the same with more noise; it differs by more than
            chance only if the posterior is wrong.
    """

    mmse: float
    standard_error: float
    squared_error: float


class Posterior(ABC):
    """What follows from rows F_r with Cov[x | y] = Σ_r F_r F_rᵀ, which subclasses give."""

    @abstractmethod
    def __call__(self, y: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return the posterior mean, of the shape of `y`."""

    @abstractmethod
    def posterior_factors(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        """Return the rows F (B, R, D), float64, with Cov[x | y] = FᵀF."""

    def posterior_mse(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        """Return E[‖x − x_hat‖² | y] = tr Cov[x | y], (B,): summed over pixels, no D × D matrix."""
        rows = [self.posterior_factors(one, s)[0] for one, s in _each(y, sigma)]
        return _stack([f.square().sum() for f in rows], y, ())

    def posterior_covariance(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        """Return Cov[x | y], (B, D, D): equal to σ² ∇f(y), but made without a derivative."""
        rows = [self.posterior_factors(one, s)[0] for one, s in _each(y, sigma)]
        return _stack([f.mT @ f for f in rows], y, (_size(y), _size(y)))

    def posterior_spectrum(
        self, y: Tensor, sigma: float | Tensor, num: int = 20
    ) -> PosteriorSpectrum:
        """Return the `num` first eigenvalues and eigenvectors of Cov[x | y] / σ².

        Rows of F that hold less than 1e-9 of the trace together are left out. If more are left
        than there are pixels, FᵀF is formed; if not, no D × D matrix is.

        Raises:
            ValueError: where `num` is not from 1 to D.
        """
        num = check_count(num, "num", 1, _size(y))
        pairs = [
            _eigenpairs(_without_small_rows(self.posterior_factors(one, s)[0]) / s, num)
            for one, s in _each(y, sigma)
        ]
        lam = _stack([lam for lam, _ in pairs], y, (num,))
        atoms = _stack([atoms for _, atoms in pairs], y, (num, _size(y)))
        return PosteriorSpectrum(lam, atoms.unflatten(2, y.shape[1:]))


def _size(y: Tensor) -> int:
    return math.prod(y.shape[1:])


def _stack(rows: list[Tensor], y: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return what belongs to each image (B, *shape), of the dtype of `y`, where B is 0 too."""
    return torch.stack(rows).to(y) if rows else y.new_empty(0, *shape)


def _each(y: Tensor, sigma: float | Tensor) -> list[tuple[Tensor, float]]:
    """Return each image (1, ...) with its σ."""
    every = require_sigma(sigma, y).flatten().tolist()
    every = every * len(y) if len(every) == 1 else every
    return [(y[i : i + 1], s) for i, s in enumerate(every)]


def _without_small_rows(factors: Tensor, rest: float = 1e-9) -> Tensor:
    energy, order = factors.square().sum(1).sort(descending=True)
    left = energy.sum() - energy.cumsum(0)
    return factors[order[: int((left > rest * energy.sum()).sum()) + 1]]


def _eigenpairs(factors: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """Return the `num` first eigenvalues (num,) and eigenvectors (num, D) of FᵀF."""
    rank, dim = factors.shape
    if rank >= dim:
        lam, vectors = torch.linalg.eigh(factors.T @ factors)
        return lam.flip(0)[:num].clamp(min=0), vectors.T.flip(0)[:num]
    # of FFᵀ, which is smaller; the basis of the rows is filled up by directions without variance
    lam, u = torch.linalg.eigh(factors @ factors.T)
    more = max(num - rank, 0)
    rows = torch.cat([u.T.flip(0)[:num] @ factors, factors.new_zeros(more, dim)])
    lam = torch.cat([lam.flip(0)[:num].clamp(min=0), lam.new_zeros(more)])
    return lam, torch.linalg.qr(rows.T).Q.T


def estimate_mmse(
    denoiser: Posterior, x: Tensor, sigma: float, *, seed: int = 0, start: int = 0
) -> Mmse:
    """Return the least mean squared error at `sigma`, over clean images `x` drawn from the prior.

    Args:
        denoiser: the exact denoiser of the law of `x`.
        x: (N, C, H, W); N of at least 2.
        sigma: standard deviation of the noise, in image units.
        seed: of the noise, one stream an image (see `noise.add_noise`).
        start: index of the first image.

    Raises:
        ValueError: for fewer than two images.
    """
    if len(check_floating(x, "x")) < 2:
        raise ValueError(f"x must hold at least 2 images, not {len(x)}")
    y = add_noise(x, sigma, seed, start)
    known = denoiser.posterior_mse(y, sigma).double()
    squared = (estimate(denoiser, y, sigma) - x).double().square().flatten(1).sum(1)
    error = float(known.std() / len(x) ** 0.5)
    return Mmse(float(known.mean()), error, float(squared.mean()))


@cache
def _gauss_legendre(num: int) -> tuple[list[float], list[float]]:
    nodes, weights = np.polynomial.legendre.leggauss(num)
    return nodes.tolist(), weights.tolist()


def window_rule(peak: Tensor, std: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """Return nodes and log weights (..., num) of an integral over [0, 1] of a peaked function.

    Gauss–Legendre on the part of [0, 1] in which exp(−(u − peak)²/2 std²) is not below e^−15 of
    its greatest value there; that part is narrower where the peak lies outside. For a truncated
    Gaussian whose peak is up to 6 std outside, 16 nodes give mass and mean (in std) to 2e−6 and
    the variance to 4e−5, at any `std`.

    Args:
        peak: (...), anywhere.
        std: of the shape of `peak`, positive.
        num: how many nodes.
    """
    nodes, weights = map(peak.new_tensor, _gauss_legendre(num))
    centre = peak.clamp(0, 1)
    outside, reach = (peak - centre).abs(), REACH * std
    reach = reach**2 / (torch.sqrt(outside**2 + reach**2) + outside)
    low, high = (centre - reach).clamp(min=0), (centre + reach).clamp(max=1)
    half = ((high - low) / 2)[..., None]
    return low[..., None] + half * (1 + nodes), (half * weights).log()
