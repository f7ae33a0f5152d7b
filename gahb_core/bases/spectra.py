"""How images fill a basis: M-term approximation and the exponent of the average spectrum."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gahb_core.bases.basis import Basis
from gahb_core.checks import check_count, check_finite, check_images
from gahb_core.noise import make_generator


def m_term_error(basis: Basis, x: Tensor) -> Tensor:
    """Return ‖x − x_M‖² / ‖x‖² for M = 0 … C·H·W, (B, C·H·W + 1): x_M keeps the M largest terms.

    By Parseval the error is the energy of the coefficients left out.

    Raises:
        ValueError: where `x` is not finite, or an image is zero.
    """
    check_finite(check_images(x), "x")
    if len(x) and bool((x.flatten(1).abs().amax(1) == 0).any()):
        raise ValueError("x must not be zero in any image: the error is relative to its energy")
    energy = basis.analyze(x).square().sort(dim=1).values.cumsum(1).flip(1)
    error = torch.cat([energy, torch.zeros_like(energy[:, :1])], dim=1)
    return error / error[:, :1]


class SpectrumFit(NamedTuple):
    """The power law E⟨x, e_k⟩² ≈ constant · frequency^−exponent.

    Attributes:
        exponent: the fitted exponent (2 where amplitudes fall as 1/frequency).
        ci_low: lower end of its 95% confidence interval (bootstrap over images).
        ci_high: upper end.
        intercept: log of the constant.
        frequency: (K,) centre of each ring of frequencies.
        power: (K,) mean power in each ring.
    """

    exponent: float
    ci_low: float
    ci_high: float
    intercept: float
    frequency: Tensor
    power: Tensor


def _ring_power(basis: Basis, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return ring centres (K,) and each image's mean power in them (B, K); rings one cycle wide."""
    frequency = basis.frequency.to(x.device)
    ring = frequency.round().long()
    inside = (ring >= 1) & (ring <= round(float(frequency.max()) / math.sqrt(2)))
    ring, centre = ring[inside] - 1, frequency[inside]
    count = torch.bincount(ring).to(x)
    power = basis.analyze(x).square()[:, inside]
    total = power.new_zeros(len(x), len(count)).index_add(1, ring, power)
    return torch.bincount(ring, centre) / count, total / count


def _fit_line(log_frequency: Tensor, log_power: Tensor) -> tuple[Tensor, Tensor]:
    """Return slope and intercept of least squares along the last axis of `log_power`."""
    u = log_frequency - log_frequency.mean()
    slope = (log_power * u).sum(-1) / u.square().sum()
    return slope, log_power.mean(-1) - slope * log_frequency.mean()


def fit_spectrum(basis: Basis, x: Tensor, seed: int = 0, num_bootstrap: int = 1000) -> SpectrumFit:
    """Return the exponent of the average power spectrum of images `x` (B, 1, H, W) in `basis`.

    Least squares of log power on log frequency, over rings one cycle per image wide, from 1 to the
    highest frequency of an axis. The interval resamples images.

    Raises:
        ValueError: for fewer than two images, values that are not finite, a basis without a scale
            of frequencies, or images without power at one.
    """
    if len(check_finite(check_images(x, channels=1), "x")) < 2:
        raise ValueError(f"x must hold at least 2 images to resample, not {len(x)}")
    num_bootstrap = check_count(num_bootstrap, "num_bootstrap", 2)
    frequency, power = _ring_power(basis, x.double())
    if not bool((power > 0).all()):
        raise ValueError("x must have power at every frequency in every image, for its logarithm")
    if len(frequency) < 3:
        raise ValueError(
            f"basis must have at least 3 frequencies, {basis.name!r} has {len(frequency)}"
        )
    generator = make_generator(seed, "bootstrap")
    draws = torch.randint(len(x), (num_bootstrap, len(x)), generator=generator, device="cpu")
    counts = torch.stack([torch.bincount(draw, minlength=len(x)) for draw in draws])
    slopes, _ = _fit_line(frequency.log(), (counts.to(power) @ power / len(x)).log())
    slope, intercept = _fit_line(frequency.log(), power.mean(0).log())
    low, high = torch.quantile(-slopes, slopes.new_tensor([0.025, 0.975])).tolist()
    return SpectrumFit(-slope.item(), low, high, intercept.item(), frequency, power.mean(0))
