"""The exact denoiser of a ray: one image at an unknown intensity."""

from torch import Tensor

from gahb_core.checks import check_finite, check_points
from gahb_core.denoisers.contract import require_sigma
from gahb_core.denoisers.posterior import Posterior, window_rule


class Ray(Posterior):
    """E[x | y] for x = a · image, a ~ U[0, 1]: the mean of a Gaussian truncated to [0, 1].

    The intensity is seen at a = ⟨y, image⟩/‖image‖² with deviation σ/‖image‖. For σ ≪ ‖image‖
    the mean squared error is σ² summed over pixels, so PSNR-out = PSNR-in + 10 log₁₀ D.

    Attributes:
        image: (C, H, W).
    """

    def __init__(self, image: Tensor) -> None:
        self.image = image.double()

    def _read(self, y: Tensor, sigma: float | Tensor | None) -> tuple[Tensor, Tensor]:
        """Return E[a | y] and its variance, (B,) each, float64."""
        check_points(y, self.image.shape)
        s = require_sigma(sigma, y).reshape(-1, 1).double()
        image = self.image.to(y.device).flatten()
        power = image.square().sum()
        seen = (y.double().flatten(1) @ image / power)[:, None]
        std = (s / power.sqrt()).expand_as(seen)
        a, log_weight = (v[:, 0] for v in window_rule(seen.detach(), std, 32))
        w = (log_weight - ((a - seen) / std).square() / 2).softmax(1)
        mean = (w * a).sum(1)
        return mean, (w * (a - mean[:, None]).square()).sum(1)

    def __call__(self, y: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return the posterior mean, of the shape of `y`."""
        mean, _ = self._read(y, sigma)
        return (mean[:, None] * self.image.to(y.device).flatten()).reshape(y.shape).to(y)

    def posterior_factors(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        """Return F (B, 1, D), float64, with Cov[x | y] = FᵀF."""
        _, variance = self._read(y, sigma)
        return variance.sqrt()[:, None, None] * self.image.to(y.device).flatten()


def ray_denoiser(image: Tensor) -> Ray:
    """Return the exact denoiser of x = a · image, a ~ U[0, 1].

    Args:
        image: one image (C, H, W).

    Raises:
        ValueError: where it is black, not finite or not of three dimensions.
    """
    if check_finite(image, "image").ndim != 3 or not bool(image.abs().sum() > 0):
        raise ValueError(
            f"image must be one image (C, H, W) that is not black, not {tuple(image.shape)} "
            f"of norm {float(image.norm()):.3g}"
        )
    return Ray(image)
