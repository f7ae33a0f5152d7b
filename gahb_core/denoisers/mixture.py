"""The exact denoiser of a mixture of Gaussians, with its density and posterior covariance."""

import math

import torch
from torch import Tensor

from gahb_core.checks import check_count, check_finite, check_points
from gahb_core.denoisers.contract import require_sigma
from gahb_core.denoisers.gaussian import clamp_variances
from gahb_core.noise import flatten_images, make_generator, sample_normal


class Mixture:
    """E[x | y] for x ~ Σ_k w_k N(m_k, C_k); exact, in closed form.

    With y = x + σz, component k has the posterior mean m_k + C_k (C_k + σ²)⁻¹ (y − m_k), and
    weighs r_k(y) ∝ w_k N(y; m_k, C_k + σ²). A component with C_k = 0 is a delta function.

    Attributes:
        weights: (K,), of sum 1.
        means: (K, ...).
        variances, axes: (K, D) and (K, D, D), the eigenvalues and eigenvectors (columns) of C_k.
    """

    def __init__(self, weights: Tensor, means: Tensor, variances: Tensor, axes: Tensor) -> None:
        self.weights, self.means, self.variances, self.axes = weights, means, variances, axes

    def _read(self, y: Tensor, sigma: float | Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return ⟨y − m_k, e_kd⟩ (B, K, D), their variances given k, and log w_k N(y; k) (B, K)."""
        check_points(y, self.means.shape[1:])
        variance = require_sigma(sigma, y).reshape(-1, 1, 1) ** 2
        away = flatten_images(y)[:, None] - self.means.to(y).reshape(len(self.means), -1)
        c = torch.einsum("bkd,kde->bke", away, self.axes.to(y))
        spread = self.variances.to(y) + variance
        log_normal = -0.5 * (c.square() / spread + torch.log(2 * math.pi * spread)).sum(2)
        return c, spread, self.weights.to(y).log() + log_normal

    def _components(self, y: Tensor, sigma: float | Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the responsibilities r_k(y) (B, K) and the posterior means given k (B, K, D)."""
        c, spread, log_joint = self._read(y, sigma)
        back = torch.einsum("bke,kde->bkd", c * self.variances.to(y) / spread, self.axes.to(y))
        means = self.means.to(y).reshape(len(self.means), -1) + back
        return log_joint.softmax(1), means

    def __call__(self, y: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return the posterior mean Σ_k r_k(y) E[x | y, k], of the shape of `y`."""
        r, means = self._components(y, sigma)
        return torch.einsum("bk,bkd->bd", r, means).reshape(y.shape)

    def log_density(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        """Return log p_σ(y), shape (B,): the mixture blurred by N(0, σ²)."""
        return self._read(y, sigma)[2].logsumexp(1)

    def posterior_covariance(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        """Return Cov[x | y], shape (B, D, D): within the components plus between their means.

        It equals σ² ∇f*(y), the second-order identity of Tweedie; here it is computed from the
        posterior itself, without a derivative.
        """
        _, spread, _ = self._read(y, sigma)
        r, means = self._components(y, sigma)
        variance = require_sigma(sigma, y).reshape(-1, 1, 1) ** 2
        axes = self.axes.to(y)
        shrunk = self.variances.to(y) * variance / spread
        within = torch.einsum("bk,bke,kde,kfe->bdf", r, shrunk, axes, axes)
        away = means - torch.einsum("bk,bkd->bd", r, means)[:, None]
        return within + torch.einsum("bk,bkd,bkf->bdf", r, away, away)

    def sample_prior(self, num: int, seed: int) -> Tensor:
        """Return `num` draws of x, (num, ...), of the dtype of `means`."""
        num, generator = check_count(num, "num", 0), make_generator(seed, "component")
        k = torch.zeros(0, dtype=torch.long, device="cpu")
        if num:
            k = torch.multinomial(self.weights.cpu(), num, replacement=True, generator=generator)
        k = k.to(self.means.device)
        z = sample_normal((num, self.axes.shape[1]), seed, key="prior").to(self.means)
        x = torch.einsum("be,bde->bd", z * self.variances[k].sqrt(), self.axes[k])
        return self.means[k] + x.reshape(num, *self.means.shape[1:])


def mixture_denoiser(weights: Tensor, means: Tensor, covariances: Tensor) -> Mixture:
    """Return the exact denoiser of x ~ Σ_k w_k N(m_k, C_k).

    Args:
        weights: (K,) positive; they are divided by their sum.
        means: (K, ...); y is then (B, ...).
        covariances: (K, D, D), or (K,) variances of round components. Zero makes delta functions.

    Raises:
        ValueError: where the shapes do not fit, a value is not finite, a weight is not positive, a
            variance negative, or a covariance not symmetric.
    """
    for name, v in (("weights", weights), ("means", means), ("covariances", covariances)):
        check_finite(v, name)
    num, size = check_count(len(means), "the number of means"), math.prod(means.shape[1:])
    check_count(size, "the number of elements of each of means")
    if tuple(weights.shape) != (num,) or not bool((weights > 0).all()):
        raise ValueError(
            f"weights must be {num} positive numbers, one for each mean, not {weights}"
        )
    if tuple(covariances.shape) not in ((num,), (num, size, size)):
        raise ValueError(
            f"covariances must have shape ({num},) or {(num, size, size)}, "
            f"not {tuple(covariances.shape)}"
        )
    if covariances.ndim == 1:
        variances = covariances[:, None].expand(num, size)
        axes = torch.diag(covariances.new_ones(size)).expand(num, size, size)
    elif not torch.allclose(covariances, covariances.mT):
        raise ValueError("covariances must be symmetric, but one differs from its transpose")
    else:
        variances, axes = torch.linalg.eigh(covariances)
    variances = clamp_variances(variances, "covariances")
    return Mixture(weights / weights.sum(), means, variances, axes)
