"""Linear measurements of an image, and the ascent that meets them.

Source: Kadkhodaie & Simoncelli, *Stochastic solutions for linear inverse problems using the prior
implicit in a denoiser*, NeurIPS 2021, algorithm 2.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from gahb_core.noise import sample_normal
from gahb_core.sampling.ascent import Denoiser, Samples, sample


class Measurement(NamedTuple):
    """K linear measurements x^c = Mᵀx, for M (D, K) with orthonormal columns.

    `analyze` maps images (B, C, H, W) to x^c (B, …), `synthesize` maps x^c to the image M x^c;
    analyze(synthesize(x^c)) = x^c, and synthesize ∘ analyze = M Mᵀ is a projection. `num` is K.
    """

    analyze: Callable[[Tensor], Tensor]
    synthesize: Callable[[Tensor], Tensor]
    num: int

    def impose(self, x: Tensor, measured: Tensor) -> Tensor:
        """Return (I − M Mᵀ) x + M x^c: the image nearest to `x` that has the measurements."""
        return x + self.synthesize(measured - self.analyze(x))


def measure_pixels(mask: Tensor) -> Measurement:
    """Return the measurement that keeps the pixels where the boolean `mask` (C, H, W) is true.

    A block of false pixels is inpainting, scattered ones are missing pixels; x^c is (B, K).
    """
    if mask.dtype != torch.bool or mask.ndim != 3:
        raise ValueError(f"mask must be boolean of shape (C, H, W), not {mask.dtype} {mask.shape}")

    def synthesize(c: Tensor) -> Tensor:
        return c.new_zeros(len(c), *mask.shape).masked_scatter(mask.to(c.device), c)

    return Measurement(lambda x: x[:, mask], synthesize, int(mask.sum()))


def measure_blocks(size: int, factor: int) -> Measurement:
    """Return the block means, times `factor` (which makes M orthonormal): super-resolution.

    x^c / factor is the low-resolution image, (B, C, size/factor, size/factor).
    """
    if factor < 1 or size % factor:
        raise ValueError(f"factor must divide size = {size}, not {factor}")
    rows = torch.eye(size // factor, dtype=torch.float64).repeat_interleave(factor, 1)
    return _separable(rows / math.sqrt(factor))


def measure_low_frequencies(size: int, cutoff: int) -> Measurement:
    """Return the Fourier coefficients of at most `cutoff` cycles an image in both directions.

    Real and orthonormal: 1, √2 cos and √2 sin along each side; x^c is (B, C, 2cutoff+1, 2cutoff+1).
    """
    if not 0 <= cutoff < size / 2:
        raise ValueError(f"cutoff must be at least 0 and below size / 2 = {size / 2}, not {cutoff}")
    k = torch.arange(1, cutoff + 1, dtype=torch.float64)[:, None]
    phase = 2 * math.pi * k * torch.arange(size, dtype=torch.float64) / size
    waves = [torch.ones(1, size, dtype=torch.float64), 2**0.5 * phase.cos(), 2**0.5 * phase.sin()]
    return _separable(torch.cat(waves) / math.sqrt(size))


def measure_random(num: int, shape: tuple[int, ...], seed: int) -> Measurement:
    """Return the coefficients on `num` random orthonormal images of `shape` (C, H, W).

    The span is uniform: it is that of `num` independent white noises. x^c is (B, num).
    """
    if not 1 <= num <= math.prod(shape):
        raise ValueError(f"num must be in 1 … {math.prod(shape)}, the pixels, not {num}")
    noise = sample_normal((num, math.prod(shape)), seed, key="basis").double()
    basis = torch.linalg.qr(noise.T).Q
    return Measurement(
        lambda x: x.flatten(1) @ basis.to(x),
        lambda c: (c @ basis.to(c).T).reshape(len(c), *shape),
        num,
    )


def _separable(rows: Tensor) -> Measurement:
    """Return the measurement x ↦ R x Rᵀ of images (B, C, H, W), R having orthonormal rows."""
    return Measurement(
        lambda x: rows.to(x) @ x @ rows.to(x).T,
        lambda c: rows.to(c).T @ c @ rows.to(c),
        len(rows) ** 2,
    )


def constrain(denoiser: Denoiser, measurement: Measurement) -> Denoiser:
    """Return f_c(y, sigma, x^c) = (I − M Mᵀ) f(y) + M x^c, whose ascent meets the measurements.

    Its direction f_c(y) − y is (I − M Mᵀ)(f(y) − y) + M (x^c − Mᵀy), that of Kadkhodaie &
    Simoncelli 2021, algorithm 2; hand x^c to `ascend` as `given`. Even with an exact denoiser the
    ends follow p(x | x^c) only as β → 0: at each level the unmeasured part settles given *noisy*
    measurements, and where β is large it has no time to follow as they become clean.
    """

    def constrained(y: Tensor, sigma: float | Tensor | None, measured: Tensor) -> Tensor:
        return measurement.impose(denoiser(y, sigma), measured)

    return constrained


def sample_constrained(
    denoiser: Denoiser,
    measurement: Measurement,
    measured: Tensor,
    shape: tuple[int, ...],
    *,
    mean: float = 0.5,
    **options: float,
) -> Samples:
    """Return `Samples` x of the prior, of image `shape` (C, H, W), with Mᵀx = `measured` (B, …).

    y0 ~ N((I − M Mᵀ) mean + M x^c, sigma_0²). For several solutions of one problem repeat its row
    of `measured`: each row has its own noise.

    Args:
        denoiser: f(y, sigma=None) → x̂.
        measurement: M, for all images.
        measured: x^c, one row an image.
        shape: of one image.
        mean: of the pixels where nothing was measured.
        **options: of `sample` (seed, start, sigma_0, schedule, h, ramp, beta, sigma_end, …).
    """
    grey = measured.new_full((len(measured), *shape), mean)
    centre = measurement.impose(grey, measured)
    limited = constrain(denoiser, measurement)
    return sample(limited, len(measured), shape, mean=centre, given=measured, **options)
