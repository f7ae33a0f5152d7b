"""How a denoiser performs: PSNR over σ, its slope, Stein's estimate of its error, the KL bound."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gahb_core.checks import check_count, check_floating, check_number, check_series
from gahb_core.metrics.pairs import psnr
from gahb_core.noise import broadcast_sigma, flatten_images, make_generator, sample_normal
from gahb_core.probes import check_pure, estimate


def psnr_curve(
    denoiser: Callable[..., Tensor],
    x: Tensor,
    sigmas: Sequence[float] | Tensor,
    seed: int = 0,
    *,
    start: int = 0,
    batch: int = 64,
) -> Tensor:
    """Return the PSNR-out of each image at each σ, shape (N, K), in decibels.

    Image i meets one z, that of stream `start + i`, at every σ and for every denoiser (common
    random numbers). Average over dimension 0 for the curve of the papers.

    Args:
        denoiser: f(y, sigma) → x_hat.
        x: clean images (N, ...).
        sigmas: the K values of σ, in image units.
        seed: of the noise.
        start: the noise stream of the first image.
        batch: images denoised at once.

    Raises:
        ValueError: where `x` is not floating point, or a σ is negative, not finite, or missing.
    """
    check_floating(x, "x")
    if not isinstance(sigmas, Sequence | Tensor):
        raise ValueError(f"sigmas must be a list or a tensor of numbers, not {sigmas!r}")
    sigmas = [check_number(s, "sigmas", low=0) for s in sigmas]
    rows = [x.new_empty(0, check_count(len(sigmas), "the number of sigmas"))]
    batch, start = check_count(batch, "batch"), check_count(start, "start", 0)
    with torch.no_grad():
        for i in range(0, len(x), batch):
            part = x[i : i + batch]
            z = sample_normal(part.shape, seed, start + i).to(part)
            calls = [estimate] * len(sigmas)
            calls[0] = check_pure if i == 0 else estimate
            outs = [
                psnr(call(denoiser, part + s * z, s), part)
                for s, call in zip(sigmas, calls, strict=True)
            ]
            rows.append(torch.stack(outs, 1))
    return torch.cat(rows)


class Difference(NamedTuple):
    """A difference at each σ, `mean` (K,) over images, and its standard error, `error` (K,)."""

    mean: Tensor
    error: Tensor


def paired_difference(
    denoiser_a: Callable[..., Tensor],
    denoiser_b: Callable[..., Tensor],
    x: Tensor,
    sigmas: Sequence[float] | Tensor,
    *,
    seed: int = 0,
    start: int = 0,
    batch: int = 64,
) -> Difference:
    """Return PSNR-out of `denoiser_a` less that of `denoiser_b`, on the same images and noise.

    With `x` from the training set of A and not of B this is what A remembers of it. The PSNR on
    training images less that on test images is not: two sets of images differ by how hard they
    are, here by ten times what is remembered.

    Args:
        denoiser_a: f(y, sigma) → x_hat.
        denoiser_b: another.
        x: clean images (N, ...), N ≥ 2.
        sigmas: the K values of σ, in image units.
        seed: of the noise.
        start: the noise stream of the first image.
        batch: images denoised at once.

    Returns:
        Mean and standard error over the N images, in decibels, (K,) each, in float64.

    Raises:
        ValueError: as `psnr_curve` does, and for fewer than two images.
    """
    check_floating(x, "x")
    check_count(len(x), "the number of images of x", 2)
    given = {"seed": seed, "start": start, "batch": batch}
    a, b = (psnr_curve(f, x, sigmas, **given) for f in (denoiser_a, denoiser_b))
    gap = (a - b).cpu().double()
    return Difference(gap.mean(0), gap.std(0) / math.sqrt(len(x)))


class Slope(NamedTuple):
    """A line fitted to PSNR-out against PSNR-in, and the confidence interval of its slope."""

    slope: float
    intercept: float
    ci_low: float
    ci_high: float


def fit_slope(
    psnr_in: Sequence[float] | Tensor,
    psnr_out: Tensor,
    seed: int = 0,
    *,
    num_bootstrap: int = 1000,
    level: float = 0.95,
) -> Slope:
    """Return the least-squares line of the mean of `psnr_out` over images, against `psnr_in`.

    The interval is the bootstrap's percentile interval over images: it says how far the slope
    would move with other test images, not with another training run.

    Args:
        psnr_in: (K,), in decibels.
        psnr_out: (N, K), as `psnr_curve` returns it.
        seed: of the resampling.
        num_bootstrap: resampled sets of N images.
        level: of the interval.

    Raises:
        ValueError: where the shapes do not fit, PSNR-in does not vary, a value is not finite,
            `level` is not between 0 and 1, or `num_bootstrap` below 2.
    """
    level = check_number(level, "level", above=0, below=1)
    num_bootstrap = check_count(num_bootstrap, "num_bootstrap", 2)
    x = check_series(psnr_in, "psnr_in")
    check_floating(psnr_out, "psnr_out")
    out = psnr_out.detach().to("cpu", torch.float64)
    if out.ndim != 2 or x.shape != out.shape[1:] or len(out) == 0 or not x.var() > 0:
        raise ValueError(
            f"psnr_out must be (N, {len(x)}), one column for each of psnr_in, which must vary, "
            f"not {tuple(out.shape)}"
        )
    if not bool(torch.isfinite(out).all()):
        raise ValueError("psnr_out must be finite (an exact copy of an image has an infinite PSNR)")
    weights = (x - x.mean()) / (x - x.mean()).square().sum()
    slopes = out @ weights  # of each image: the slope of the mean is their mean
    generator = make_generator(seed, "bootstrap")
    num = len(slopes)
    picks = torch.randint(num, (num_bootstrap, num), generator=generator, device="cpu")
    ends = slopes.new_tensor([(1 - level) / 2, (1 + level) / 2])
    low, high = slopes[picks].mean(1).quantile(ends).tolist()
    slope = float(slopes.mean())
    return Slope(slope, float(out.mean() - slope * x.mean()), low, high)


def estimate_sure(
    denoiser: Callable[..., Tensor],
    y: Tensor,
    sigma: float | Tensor,
    seed: int = 0,
    *,
    num_probes: int = 1,
) -> Tensor:
    """Return Stein's estimate of the squared error per pixel of each image, (B,), without x.

    MSE = E[2σ² tr ∇f(y) + ‖y − f(y)‖² − σ²D] / D. The trace is estimated by probes of random
    signs v, E vᵀ ∇f v, one Jacobian-vector product each; the estimate is unbiased for any number
    of them. It takes each x_hat to depend on its own y only.

    Args:
        denoiser: f(y, sigma) → x_hat, differentiable by torch.
        y: noisy images (B, ...).
        sigma: the true σ of the noise, a number or (B,).
        seed: of the probes.
        num_probes: probes averaged.

    Raises:
        ValueError: where `num_probes` < 1, `y` is not floating point, or `sigma` not a deviation.
    """
    num_probes, variance = (
        check_count(num_probes, "num_probes"),
        broadcast_sigma(sigma, y).flatten() ** 2,
    )
    num_pixels = check_count(math.prod(y.shape[1:]), "the number of pixels of y")
    trace = torch.zeros(len(y), dtype=y.dtype, device=y.device)
    with torch.no_grad():
        for k in range(num_probes):
            v = torch.sign(sample_normal(y.shape, seed, key=f"probe {k}").to(y))
            x_hat, jv = torch.func.jvp(lambda u: estimate(denoiser, u, sigma), (y,), (v,))[:2]
            trace = trace + flatten_images(v * jv).sum(1) / num_probes
    squared = flatten_images(y - x_hat).square().sum(1)
    return (2 * variance * trace + squared) / num_pixels - variance


def kl_bound(mse_gap: Sequence[float] | Tensor, sigmas: Sequence[float] | Tensor) -> float:
    """Return ∫ (MSE(f) − MSE(f*)) σ⁻³ dσ, in nats: how far the density of `f` can be from p.

    D_KL(p ‖ p_θ) is at most this (paper (a), section 2.1), and equal to it where f is the exact
    denoiser of some density. The MSE here is summed over pixels, E‖f(y) − x‖²: D times what
    `mse` returns. The trapezoid rule in log σ; the part outside the grid is left out, so the grid
    must reach where the integrand gap σ⁻² (per unit of log σ) has died at both ends.

    Args:
        mse_gap: (K,) MSE(f) − MSE(f*) at each σ.
        sigmas: (K,) increasing, positive.

    Raises:
        ValueError: where the lengths differ, a value is not finite, or `sigmas` is not positive and
            increasing.
    """
    s, gap = check_series(sigmas, "sigmas"), check_series(mse_gap, "mse_gap")
    if s.ndim != 1 or len(s) < 2 or not bool((s > 0).all()) or not bool((s.diff() > 0).all()):
        raise ValueError(f"sigmas must be two or more, positive and increasing, not {s.tolist()}")
    if gap.shape != s.shape:
        raise ValueError(f"mse_gap must have shape {tuple(s.shape)}, not {tuple(gap.shape)}")
    return float(torch.trapezoid(gap / s**2, s.log()))
