"""A prior whose factorisation over scales is exact: the Gaussian.

For x_0 ~ N(m, C) every conditional p(x̄_j | x_j) is Gaussian, with a mean linear in x_j and one
covariance (the Schur complement). So all of paper (b)'s objects can be checked: the product of the
conditionals against p, the conditional denoisers, the cascade against draws from p.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gahb_core.checks import check_count, check_finite, check_number
from gahb_core.denoisers.gaussian import Gaussian, gaussian_denoiser
from gahb_core.multiscale.denoising import MultiScale, check_condition, multiscale_denoiser
from gahb_core.multiscale.haar import MOST_LEVELS, Bands, haar_split


class ConditionalGaussian:
    """The exact denoiser of details given their low band, for a Gaussian prior.

    x̄ | low ~ N(m + K (low − m_low), S), so E[x̄ | y, low] is the Wiener filter of S about that mean.

    Attributes:
        mean_low: m_low, (C, H, W).
        gain: K, (3D, D) over the flattened bands, D = C·H·W.
        around: the exact denoiser of N(m, S), of details (3C, H, W).
    """

    def __init__(self, mean_low: Tensor, gain: Tensor, around: Gaussian) -> None:
        self.mean_low, self.gain, self.around = mean_low, gain, around

    def shift(self, condition: Tensor) -> Tensor:
        """Return K (low − m_low), (B, 3C, H, W): what the low band tells of the details."""
        centred = (condition - self.mean_low.to(condition)).flatten(1)
        return (centred @ self.gain.to(condition).mT).reshape(
            len(condition), *self.around.mean.shape
        )

    def __call__(
        self, y: Tensor, sigma: float | Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        """Return E[x̄ | y, low], of the shape of `y`; sigma and condition are needed."""
        shift = self.shift(check_condition(y, condition))
        return shift + self.around(y - shift, sigma)

    def log_density(self, y: Tensor, sigma: float | Tensor, condition: Tensor) -> Tensor:
        """Return log p_σ(y | low), shape (B,), of y = x̄ + σz."""
        return self.around.log_density(y - self.shift(condition), sigma)


class Factorization(NamedTuple):
    """p(x_0) = p(x_J) ∏_j p(x̄_j | x_j) for a Gaussian prior.

    Attributes:
        low: exact denoiser and density of x_J.
        details: those of x̄_1 … x̄_J given x_1 … x_J, finest first.
    """

    low: Gaussian
    details: tuple[ConditionalGaussian, ...]

    def denoiser(self) -> MultiScale:
        """Return the coarse-to-fine denoiser, which needs sigma."""
        return multiscale_denoiser(self.low, self.details)

    def log_density(self, x: Tensor, sigma: float = 1e-6) -> Tensor:
        """Return log p(x_0) of images (B, C, H, W) as the sum over scales, shape (B,).

        Each level halves the coefficients of the orthonormal transform, a volume of 2^−n for n
        pixels; so log p(x_{j−1}) = log p(x_j) + log p(x̄_j | x_j) − n log 2. `sigma` is a small
        noise on x_0 that keeps a null variance from dividing by zero: σ/2^j at level j.
        """
        sigma = check_number(sigma, "sigma", above=0)
        total, J = x.new_zeros(len(x)), len(self.details)
        for j, conditional in enumerate(self.details, 1):
            total = total - x[0].numel() * math.log(2)
            x, details = haar_split(x)
            total = total + conditional.log_density(details, sigma / 2**j, x)
        return total + self.low.log_density(x, sigma / 2**J)


def _haar_matrices(shape: torch.Size) -> Bands:
    """Return the matrices (D/4, D) and (3D/4, D) of one level, for flattened images of `shape`."""
    units = torch.eye(math.prod(shape), dtype=torch.float64, device="cpu").reshape(-1, *shape)
    bands = haar_split(units)
    return Bands(bands.low.flatten(1).mT, bands.details.flatten(1).mT)


def _condition(mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor, ConditionalGaussian]:
    """Return mean and covariance of the low band, and the details given it, for one level."""
    low, high = (matrix.to(covariance) for matrix in _haar_matrices(mean.shape))
    bands = haar_split(mean[None])
    inner = low @ covariance @ low.mT
    gain = torch.linalg.lstsq(inner, low @ covariance @ high.mT, driver="gelsd").solution.mT
    rest = high @ covariance @ high.mT - gain @ inner @ gain.mT
    around = gaussian_denoiser(bands.details[0], (rest + rest.mT) / 2)
    return bands.low[0], inner, ConditionalGaussian(bands.low[0], gain, around)


def factorize_gaussian(mean: Tensor, covariance: Tensor, J: int) -> Factorization:
    """Return the exact factors of x_0 ~ N(mean, covariance) over J levels.

    Dense: D × D matrices, so for images of a few hundred pixels.

    Args:
        mean: (C, H, W), H and W multiples of 2^J; float64 advised.
        covariance: (D, D) over the flattened image.
        J: levels.

    Raises:
        ValueError: for a shape that does not fit, or what `gaussian_denoiser` refuses.
    """
    check_finite(covariance, "covariance")
    J = check_count(J, "J", 0, MOST_LEVELS)
    if check_finite(mean, "mean").ndim != 3 or any(n % 2**J for n in mean.shape[1:]):
        raise ValueError(
            f"mean must be (C, H, W), H and W multiples of 2^J = {2**J}, not {tuple(mean.shape)}"
        )
    if covariance.shape != (mean.numel(), mean.numel()):
        raise ValueError(
            f"covariance must be {(mean.numel(), mean.numel())}, not {tuple(covariance.shape)}"
        )
    details = []
    for _ in range(J):
        mean, covariance, conditional = _condition(mean, covariance)
        details.append(conditional)
    return Factorization(gaussian_denoiser(mean, (covariance + covariance.mT) / 2), tuple(details))
