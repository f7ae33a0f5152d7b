"""Linear measurements of an image, clean or noisy, and the ascent that meets them.

Source: Kadkhodaie & Simoncelli, *Stochastic solutions for linear inverse problems using the prior
implicit in a denoiser*, NeurIPS 2021, algorithm 2.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gahb_core.bases.fourier import make_fourier
from gahb_core.noise import sample_normal
from gahb_core.probes import estimate
from gahb_core.sampling.ascent import Denoiser, Samples, estimate_sigma, sample


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


def measure_block_means(size: int | Sequence[int], factor: int) -> Measurement:
    """Return the block means, times `factor` (which makes M orthonormal): super-resolution.

    x^c / factor is the low-resolution image, (B, 1, H/factor, W/factor), of images (B, 1, H, W).

    Args:
        size: the side of a square image, or (H, W).
        factor: side of a block.
    """
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or factor < 1 or any(side % factor for side in sides):
        raise ValueError(f"factor must divide size = {size}, not {factor}")
    return Measurement(
        lambda x: torch.nn.functional.avg_pool2d(x, factor) * factor,
        lambda c: c.repeat_interleave(factor, -2).repeat_interleave(factor, -1) / factor,
        math.prod(side // factor for side in sides),
    )


def measure_low_frequencies(size: int, cutoff: int) -> Measurement:
    """Return the Fourier coefficients of at most `cutoff` cycles an image in both directions.

    Real and orthonormal: 1, √2 cos and √2 sin along each side; x^c is (B, C, 2cutoff+1, 2cutoff+1).
    """
    if not 0 <= cutoff < size / 2:
        raise ValueError(f"cutoff must be at least 0 and below size / 2 = {size / 2}, not {cutoff}")
    i = torch.arange(size, dtype=torch.float64, device="cpu")
    k = torch.arange(1, cutoff + 1, dtype=torch.float64, device="cpu")[:, None]
    phase = 2 * math.pi * k * i / size
    waves = [phase.new_ones(1, size), 2**0.5 * phase.cos(), 2**0.5 * phase.sin()]
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


class Blur(NamedTuple):
    """A circular blur, and the measurement that knows what the blur has not destroyed.

    `transfer` (H·W,) is the factor of each coefficient of `bases.make_fourier`, `kept` (H·W,) which
    of them are measured. A blur is diagonal there: x^c is what is left of those coefficients
    divided by their factors, so that the measured part is the range of the blur's kept band.
    """

    size: tuple[int, int]
    transfer: Tensor
    kept: Tensor

    def apply(self, x: Tensor) -> Tensor:
        """Return the blurred images, of the shape of `x` (B, C, H, W)."""
        basis = make_fourier(self.size)
        c = basis.analyze(x).reshape(*x.shape[:2], -1) * self.transfer.to(x)
        return basis.synthesize(c.flatten(1)).reshape(x.shape)

    def read(self, blurred: Tensor) -> Tensor:
        """Return x^c (B, C, K) of the sharp images, from blurred ones (B, C, H, W)."""
        return self.measurement.analyze(blurred) / self.transfer[self.kept].to(blurred)

    @property
    def measurement(self) -> Measurement:
        """The kept coefficients of sharp images (B, C, H, W), as x^c (B, C, K)."""
        basis, kept = make_fourier(self.size), self.kept

        def synthesize(c: Tensor) -> Tensor:
            full = c.new_zeros(*c.shape[:2], len(kept))
            full[..., kept.to(c.device)] = c
            return basis.synthesize(full.flatten(1)).reshape(*c.shape[:2], *self.size)

        def analyze(x: Tensor) -> Tensor:
            return basis.analyze(x).reshape(*x.shape[:2], -1)[..., kept.to(x.device)]

        return Measurement(analyze, synthesize, int(kept.sum()))


def measure_blur(size: int | tuple[int, int], width: float, least: float = 0.05) -> Blur:
    """Return the Gaussian `Blur` exp(−2π² width² |ω|²), ω in cycles a pixel: deblurring.

    Args:
        size: the side of a square image, or (H, W).
        width: standard deviation of the blur, in pixels.
        least: coefficients that the blur multiplies by less count as destroyed.

    Raises:
        ValueError: where `width` is not positive or `least` not in (0, 1].
    """
    if not 0 < width < math.inf:
        raise ValueError(f"width must be positive and finite, not {width}")
    if not 0 < least <= 1:
        raise ValueError(f"least must be in (0, 1], not {least}")
    sides = (size, size) if isinstance(size, int) else size
    row, column = (torch.fft.fftfreq(n, dtype=torch.float64, device="cpu") for n in sides)
    square = row[:, None].square() + column.square()
    transfer = (-2 * math.pi**2 * width**2 * square).exp().flatten()
    return Blur(sides, transfer, transfer >= least)


def measurement_from_functions(
    analyze: Callable[[Tensor], Tensor],
    synthesize: Callable[[Tensor], Tensor],
    shape: tuple[int, ...],
    *,
    tolerance: float = 1e-4,
    seed: int = 0,
) -> Measurement:
    """Return the measurement of two functions, after a check that they are what they must be.

    On random images x and random c, in float32: ⟨analyze(x), c⟩ = ⟨x, synthesize(c)⟩, so that the
    second is the adjoint of the first, and analyze(synthesize(c)) = c, so that M has orthonormal
    columns. Rows of a matrix A that are not orthonormal become so by A = R Qᵀ: measure Qᵀx.

    Args:
        analyze: images (B, C, H, W) → x^c (B, …).
        synthesize: x^c (B, …) → images (B, C, H, W).
        shape: of one image, (C, H, W).
        tolerance: of the checks, relative to the norms.
        seed: of x and c.

    Raises:
        ValueError: where a shape does not come back, or a check fails, with the error found.
    """
    x = sample_normal((4, *shape), seed, key="pair")
    measured = analyze(x)
    c = sample_normal(tuple(measured.shape), seed, key="pair measured")
    back = synthesize(c)
    if back.shape != x.shape:
        raise ValueError(
            f"synthesize must return images {tuple(x.shape)} from measurements "
            f"{tuple(c.shape)}, not {tuple(back.shape)}"
        )
    scale = (x.flatten(1).norm(dim=1) * c.flatten(1).norm(dim=1)).clamp(min=1e-9)
    gap = (measured * c).flatten(1).sum(1) - (x * back).flatten(1).sum(1)
    _check_pair("synthesize must be the adjoint of analyze", gap / scale, tolerance)
    away = (analyze(back) - c).flatten(1).norm(dim=1) / c.flatten(1).norm(dim=1)
    _check_pair("analyze(synthesize(c)) must be c (orthonormal columns)", away, tolerance)
    return Measurement(analyze, synthesize, c[0].numel())


def _check_pair(rule: str, errors: Tensor, tolerance: float) -> None:
    worst = float(errors.abs().max())
    if not worst <= tolerance:
        raise ValueError(f"{rule}: on random vectors they differ by {worst:.3g}, relative")


def _separable(rows: Tensor) -> Measurement:
    """Return the measurement x ↦ R x Rᵀ of images (B, C, H, W), R having orthonormal rows."""
    return Measurement(
        lambda x: rows.to(x) @ x @ rows.to(x).T,
        lambda c: rows.to(c).T @ c @ rows.to(c),
        len(rows) ** 2,
    )


def constrain(
    denoiser: Denoiser, measurement: Measurement, sigma_m: float = 0.0
) -> Callable[..., Tensor]:
    """Return f_c(y, sigma, x^c) = (I − M Mᵀ) f(y) + M x^c, whose ascent meets the measurements.

    Its direction f_c(y) − y is (I − M Mᵀ)(f(y) − y) + M (x^c − Mᵀy), that of Kadkhodaie &
    Simoncelli 2021, algorithm 2; hand x^c to `ascend` as `condition`. Even an exact denoiser's
    ends follow p(x | x^c) only as β → 0: at each level the unmeasured part settles given *noisy*
    measurements, and where β is large it has no time to follow as they become clean.

    Noisy measurements x^c = Mᵀx + σ_m n are imposed down to σ = σ_m; below,

        f_c(y) = f(y) + M (x^c − Mᵀy) σ² / (σ_m² − σ²).

    That is y + σ² ∇log p(y | x^c), exactly, for σ < σ_m: let the noise of y be a part of the noise
    of x^c; then x^c = Mᵀy + √(σ_m² − σ²) n', n' independent of y. (Kawar, Vaksman & Elad, SNIPS,
    NeurIPS 2021.) So the directions are exact in the end, and, as β → 0, the ends follow
    p(x | x^c) and do not meet x^c. What comes before is not exact: a small β forgets it. Nor is the
    factor from σ_m down to σ_m/√2, where it would exceed 1 and is held there.

    Args:
        denoiser: f(y, sigma=None) → x̂; blind, σ is its residual's.
        measurement: M.
        sigma_m: σ_m, in image units; 0 for clean measurements.

    Raises:
        ValueError: where `sigma_m` is negative or not finite.
    """
    if not 0 <= sigma_m < math.inf:
        raise ValueError(f"sigma_m must be at least 0 and finite, not {sigma_m}")

    def constrained(y: Tensor, sigma: float | Tensor | None, measured: Tensor) -> Tensor:
        x_hat = estimate(denoiser, y, sigma)
        imposed = measurement.impose(x_hat, measured)
        if sigma_m == 0:
            return imposed
        level = (
            estimate_sigma(y, x_hat)
            if sigma is None
            else torch.as_tensor(sigma, dtype=y.dtype, device=y.device)
        )
        level = level.reshape(-1, *[1] * (y.ndim - 1))
        # at most 1: a larger share oversteps
        share = level**2 / (sigma_m**2 - level**2).clamp(min=sigma_m**2 / 2)
        pulled = x_hat + share * measurement.synthesize(measured - measurement.analyze(y))
        return torch.where(level < sigma_m, pulled, imposed)

    return constrained


def sample_constrained(
    denoiser: Denoiser,
    measurement: Measurement,
    measured: Tensor,
    shape: tuple[int, ...],
    *,
    mean: float = 0.5,
    sigma_m: float = 0.0,
    **options: Any,
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
        sigma_m: deviation of the noise in `measured`, which is then met only down to it. σ then
            follows its law (blind=False) unless told otherwise: the residual, which holds the
            pull of the measurements too, is no estimate of the level.
        **options: of `sample` (seed, start, sigma_0, blind, h, ramp, beta, sigma_end, …).
    """
    grey = measured.new_full((len(measured), *shape), mean)
    centre = measurement.impose(grey, measured)
    limited = constrain(denoiser, measurement, sigma_m)
    options = {"blind": sigma_m == 0, "condition": measured, **options}
    return sample(limited, len(measured), shape, mean=centre, **options)
