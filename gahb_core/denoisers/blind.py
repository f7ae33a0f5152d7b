"""The exact denoiser where σ is not known: the posterior mean over images and noise levels."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gahb_core.checks import check_floating, check_series
from gahb_core.denoisers.contract import DensityDenoiser

LEAST = 1e-4  # of a level or a contrast; beyond, single precision loses y


class BlindMean:
    """E[x | y] for y = a x₀ + σz, with x₀ of a known prior, σ and the contrast a unknown.

    f(y) = Σ_j w_j(y) a_j f₀(y/a_j, σ_j/a_j), the weights w_j ∝ π_j p_j(y) those of the pairs
    (a_j, σ_j) given y. With p = Σ_j π_j p_j and s(y) = E[σ² | y],

        f(y) = y + s ∇log p + ∇s,

    so that the antisymmetric part of its Jacobian is ½ (∇log p ∇sᵀ − ∇s ∇log pᵀ), of rank two. At
    one known σ, s is a constant, and the Jacobian is symmetric.

    Attributes:
        denoiser: f₀, exact at a known σ.
        sigmas, contrasts, log_prior: (J,) each: σ_j, a_j and log π_j.
    """

    def __init__(
        self, denoiser: DensityDenoiser, sigmas: Tensor, contrasts: Tensor, log_prior: Tensor
    ) -> None:
        self.denoiser, self.sigmas = denoiser, sigmas
        self.contrasts, self.log_prior = contrasts, log_prior

    def _pairs(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return y/a_j (B·J, ...), σ_j/a_j (B·J,), and the a_j (J, 1, ...)."""
        check_floating(y, "y")
        a = self.contrasts.to(y).reshape(-1, *[1] * (y.ndim - 1))
        return (
            (y[:, None] / a).flatten(0, 1),
            (self.sigmas / self.contrasts).to(y).repeat(len(y)),
            a,
        )

    def _log_joint(self, scaled: Tensor, sigma: Tensor) -> Tensor:
        """Return log π_j p_j(y), (B, J)."""
        log_p = self.denoiser.log_density(scaled, sigma).reshape(-1, len(self.sigmas))
        size = scaled.shape[1:].numel()
        return log_p + (self.log_prior - size * self.contrasts.log()).to(scaled)

    def __call__(self, y: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return the posterior mean, of the shape of `y`; `sigma` is ignored."""
        scaled, level, a = self._pairs(y)
        w = self._log_joint(scaled, level).softmax(1)  # (B, J)
        x_hat = self.denoiser(scaled, level).reshape(len(y), len(a), *y.shape[1:]) * a
        return torch.einsum("bj,bjd->bd", w, x_hat.flatten(2)).reshape(y.shape)

    def log_density(self, y: Tensor) -> Tensor:
        """Return log p(y), shape (B,), whatever σ and a were."""
        return self._log_joint(*self._pairs(y)[:2]).logsumexp(1)

    def noise_variance(self, y: Tensor) -> Tensor:
        """Return s(y) = E[σ² | y], shape (B,)."""
        w = self._log_joint(*self._pairs(y)[:2]).softmax(1)
        return w @ self.sigmas.to(y).square()


def blind_denoiser(
    denoiser: DensityDenoiser,
    sigmas: Sequence[float] | Tensor,
    contrasts: Sequence[float] | Tensor = (1.0,),
) -> BlindMean:
    """Return the exact denoiser of images whose noise level, and contrast, are not known.

    Each pair of a level and a contrast is equally likely. Where they are spaced evenly in their
    logarithms, closely and widely, what is returned is nearly homogeneous, as a bias-free network
    is: f(ty) = t f(y).

    Args:
        denoiser: exact at a known σ, with its `log_density`.
        sigmas: the levels, positive.
        contrasts: what the images are multiplied by, positive.

    Raises:
        ValueError: where there are none, or one is not between 1e-4 and 1e4.
    """
    grids = []
    for name, values in (("sigmas", sigmas), ("contrasts", contrasts)):
        grid = check_series(values, name)
        if not len(grid) or not bool(((grid >= LEAST) & (grid <= 1 / LEAST)).all()):
            raise ValueError(
                f"{name} must be one or more numbers from {LEAST:g} to {1 / LEAST:g}, "
                f"not {grid.tolist()}"
            )
        grids.append(grid)
    s, a = (v.flatten() for v in torch.meshgrid(*grids, indexing="ij"))
    return BlindMean(denoiser, s, a, -torch.log(torch.full_like(s, len(s))))
