"""The exact denoiser of a Gaussian prior: the Wiener filter, in any orthonormal basis."""

import math

import torch
from torch import Tensor

from gahb_core.bases.basis import Basis
from gahb_core.checks import check_finite, check_number, check_points
from gahb_core.denoisers.contract import require_sigma
from gahb_core.noise import flatten_images, sample_normal


class Gaussian:
    """E[x | y] for x ~ N(mean, C): mean + Σ_k λ_k/(λ_k + σ²) ⟨y − mean, e_k⟩ e_k.

    Attributes:
        mean: (...), the shape of one image.
        variances: (D,) the λ_k, eigenvalues of C.
        basis: the e_k, eigenvectors of C.
    """

    def __init__(self, mean: Tensor, variances: Tensor, basis: Basis) -> None:
        self.mean, self.variances, self.basis = mean, variances, basis

    def _read(self, y: Tensor, sigma: float | Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return ⟨y − mean, e_k⟩ (B, D), λ_k (D,), and σ² (B or 1, 1)."""
        check_points(y, self.mean.shape)
        variance = require_sigma(sigma, y).reshape(-1, 1) ** 2
        return self.basis.analyze(y - self.mean.to(y)), self.variances.to(y), variance

    def __call__(self, y: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return the posterior mean, of the shape of `y`."""
        c, lam, variance = self._read(y, sigma)
        return self.mean.to(y) + self.basis.synthesize(c * lam / (lam + variance)).reshape(y.shape)

    def log_density(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        """Return log p_σ(y), shape (B,): y ~ N(mean, C + σ²)."""
        c, lam, variance = self._read(y, sigma)
        spread = lam + variance
        return -0.5 * (c.square() / spread + torch.log(2 * math.pi * spread)).sum(1)

    def mmse(self, sigma: float) -> float:
        """Return E‖x − f*(y)‖² = Σ_k λ_k σ²/(λ_k + σ²), summed over pixels."""
        variance = check_number(sigma, "sigma", above=0) ** 2
        return float((self.variances * variance / (self.variances + variance)).sum())

    def sample_prior(self, num: int, seed: int) -> Tensor:
        """Return `num` draws of x, (num, ...), of the dtype of `mean`."""
        z = sample_normal((num, len(self.variances)), seed, key="prior").to(self.mean)
        x = self.basis.synthesize(z * self.variances.sqrt())
        return self.mean + x.reshape(num, *self.mean.shape)


def _eigenbasis(covariance: Tensor, shape: torch.Size) -> tuple[Tensor, Basis]:
    lam, vectors = torch.linalg.eigh(covariance)

    def analyze(x: Tensor) -> Tensor:
        return flatten_images(x) @ vectors.to(x)

    def synthesize(c: Tensor) -> Tensor:
        return (c @ vectors.T.to(c)).reshape(len(c), *shape)

    order = torch.arange(len(lam), device=lam.device)
    return lam, Basis("eigenvectors", analyze, synthesize, order)


def gaussian_denoiser(mean: Tensor, covariance: Tensor, basis: Basis | None = None) -> Gaussian:
    """Return the exact denoiser of x ~ N(mean, C).

    Args:
        mean: (...), the shape of one image or point.
        covariance: C as a matrix (D, D) over the flattened image; or, with `basis`, the variance
            of each coefficient (D,), the basis diagonalising C.
        basis: orthonormal; None when `covariance` is a matrix.

    Raises:
        ValueError: where the covariance has another shape, is not symmetric, or is negative by
            more than rounding (see `clamp_variances`), or a value is not finite.
    """
    check_finite(mean, "mean")
    check_finite(covariance, "covariance")
    size = mean.numel()
    wanted = (size, size) if basis is None else (size,)
    if tuple(covariance.shape) != wanted:
        raise ValueError(f"covariance must have shape {wanted}, not {tuple(covariance.shape)}")
    variances = covariance
    if basis is None:
        if not torch.allclose(covariance, covariance.T):
            raise ValueError("covariance must be symmetric, but differs from its transpose")
        variances, basis = _eigenbasis(covariance, mean.shape)
    return Gaussian(mean, clamp_variances(variances, "covariance"), basis)


def clamp_variances(variances: Tensor, name: str) -> Tensor:
    """Return variances (..., D) in which those that rounding pushed below 0 are 0.

    Rounding moves the eigenvalues of a D × D matrix by up to D ε of the largest, ε that of its
    dtype; the covariance of fewer float32 images than pixels has null ones that show it.

    Raises:
        ValueError: where one is below 0 by more than that, and by more than 1e-6 of the largest.
    """
    slack = max(1e-6, variances.shape[-1] * torch.finfo(variances.dtype).eps)
    low = float((variances + slack * variances.amax(-1, keepdim=True).clamp(min=0)).min())
    if low < 0:
        worst = float(variances.min())
        raise ValueError(f"{name} must have no negative variance, not {worst:.3g}")
    return variances.clamp(min=0)
