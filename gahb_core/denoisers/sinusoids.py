"""The exact denoiser of sinusoids of one cycle an image, of unknown phase and intensity."""

import math

import torch
from torch import Tensor

from gahb_core.checks import check_count, check_points
from gahb_core.denoisers.contract import require_sigma
from gahb_core.denoisers.posterior import Posterior, window_rule


class Sinusoids(Posterior):
    """E[x | y] for x = ½ + (a/2)(cos φ · c + sin φ · s), φ ~ U[0, 2π), a ~ U[0, 1].

    c and s are the two waves of one cycle, of squared norm D/2. With t = (⟨y − ½, c⟩, ⟨y − ½, s⟩)
    and z = a|t|/2σ², the integral over φ is a Bessel function, and what is left is one over a:

        p(a | y) ∝ I₀(z) exp(−a² D/16σ²),   x_hat = ½ + ½ E[a I₁(z)/I₀(z) | y] (t/|t|)·(c, s).

    The prior is that of `images.make_sinusoids`.

    Attributes:
        size: side S in pixels.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def _waves(self, y: Tensor) -> Tensor:
        """Return c and s, (2, D), float64."""
        columns = torch.arange(self.size, dtype=torch.float64, device=y.device) + 0.5
        angle = 2 * math.pi / self.size * columns
        return torch.stack([angle.cos(), angle.sin()]).repeat(1, self.size)

    def _read(self, y: Tensor, sigma: float | Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return E[a cos δ], the variances (B, 2) along t and across it, and t/|t| (B, 2).

        δ is the angle between the wave's phase and the phase of t.
        """
        check_points(y, (1, self.size, self.size))
        variance = require_sigma(sigma, y).reshape(-1, 1).double() ** 2
        t = (y.double().flatten(1) - 0.5) @ self._waves(y).T
        norm = (t.square().sum(1, keepdim=True) + 1e-30).sqrt()
        half = self.size**2 / 2
        peak, std = 2 * norm[:, 0].detach() / half, (2 * (variance / half).sqrt())[:, 0]
        a, log_weight = window_rule(peak, std.expand_as(peak), 48)
        z = a * norm / (2 * variance)
        bessel, ratio = torch.special.i0e(z), torch.special.i1e(z) / torch.special.i0e(z)
        w = (log_weight + bessel.log() + z - a.square() * half / (8 * variance)).softmax(1)
        along = (w * a * ratio).sum(1, keepdim=True)
        across = (w * a * ratio).sum(1) * 2 * variance[:, 0] / norm[:, 0]  # E[a² sin² δ]
        spread = (w * (a * ratio - along).square()).sum(1)
        spread = spread + (w * a.square() * (1 - ratio / z - ratio.square())).sum(1)
        return along, torch.stack([spread, across], dim=1) / 4, t / norm

    def __call__(self, y: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return the posterior mean, of the shape of `y`."""
        along, _, direction = self._read(y, sigma)
        return (0.5 + 0.5 * (along * direction) @ self._waves(y)).reshape(y.shape).to(y)

    def posterior_factors(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        """Return F (B, 2, D), float64, with Cov[x | y] = FᵀF: along intensity, along phase."""
        _, variance, direction = self._read(y, sigma)
        u, v = direction.unbind(1)
        axes = torch.stack([torch.stack([u, v], 1), torch.stack([-v, u], 1)], dim=1)
        return variance.clamp(min=0).sqrt()[..., None] * (axes @ self._waves(y))


def sinusoid_denoiser(size: int = 32) -> Sinusoids:
    """Return the exact denoiser of `images.make_sinusoids` at this size.

    Raises:
        ValueError: where `size` is below 3.
    """
    return Sinusoids(check_count(size, "size", 3))
