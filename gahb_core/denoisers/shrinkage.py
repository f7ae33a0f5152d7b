"""Shrinkage in a fixed basis: x̂ = Σ_k λ_k ⟨y, e_k⟩ e_k, the λ_k fixed, adaptive, or an oracle's.

All keep what lies in the coarsest part of a basis (`frequency` 0: the mean, the low-pass band),
except Wiener's and the oracle's, whose factors say themselves what to do with it.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gahb_core.bases.basis import Basis
from gahb_core.checks import (
    check_choice,
    check_count,
    check_finite,
    check_floating,
    check_number,
    check_whole,
)
from gahb_core.denoisers.contract import Denoiser, require_sigma
from gahb_core.denoisers.gaussian import Gaussian, gaussian_denoiser
from gahb_core.probes import estimate

Rule = Callable[[Tensor, Tensor], Tensor]


def shrinkage_denoiser(basis: Basis, rule: Rule, mean: Tensor | float = 0.0) -> Denoiser:
    """Return the denoiser x̂ = mean + Σ_k rule(⟨y − mean, e_k⟩, σ) e_k.

    Args:
        basis: the e_k.
        rule: coefficients (B, C·H·W) and σ (B or 1, 1) → the coefficients of the estimate.
        mean: what is taken off before and put back after, an image or a number.

    Raises:
        ValueError: where `mean` is not finite.
    """
    if isinstance(mean, Tensor):
        check_finite(mean, "mean")
    else:
        mean = check_number(mean, "mean")

    def denoiser(y: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        s = require_sigma(sigma, y).reshape(-1, 1)
        centre = torch.as_tensor(mean, dtype=y.dtype, device=y.device)
        return centre + basis.synthesize(rule(basis.analyze(y - centre), s))

    return denoiser


def wiener_factors(power: Tensor, sigma: float | Tensor) -> Tensor:
    """Return λ_k = E⟨x, e_k⟩² / (E⟨x, e_k⟩² + σ²), the best fixed factors in a basis.

    Raises:
        ValueError: where a power is negative or not finite, or σ not positive and finite.
    """
    if bool((check_finite(power, "power") < 0).any()):
        raise ValueError(f"power must not be negative, not {float(power.min()):.3g}")
    if isinstance(sigma, Tensor):
        s = check_finite(sigma, "sigma").to(power)
    else:
        s = torch.tensor(check_number(sigma, "sigma"), dtype=power.dtype, device=power.device)
    if not bool((s > 0).all()) or not bool((s.square() > 0).all()):
        raise ValueError(f"sigma must be positive, and its square in {s.dtype} too, not {sigma}")
    return power / (power + s**2)


def wiener_denoiser(basis: Basis, x: Tensor, centred: bool = True) -> Gaussian:
    """Return the Wiener filter in `basis`, its powers E⟨x, e_k⟩² averaged over images `x`.

    Fixed basis, fixed factors: affine in y, and the best of its kind for images of this power: the
    exact denoiser of a Gaussian with these variances in this basis.

    Args:
        basis: the e_k.
        x: training images (N, C, H, W).
        centred: take the mean training image off first (the better filter where images are
            aligned); without it the powers are those of the images themselves.

    Raises:
        ValueError: where `x` holds no image, or is not finite.
    """
    if len(check_finite(x, "x")) == 0:
        raise ValueError("x must hold at least one image")
    mean = x.mean(0) if centred else torch.zeros_like(x[0])
    return gaussian_denoiser(mean, basis.analyze(x - mean).square().mean(0), basis)


def oracle_denoiser(basis: Basis, x: Tensor) -> Denoiser:
    """Return the oracle that knows the clean images `x` (B, C, H, W) behind the y it is given.

    λ_k(x) = ⟨x, e_k⟩² / (⟨x, e_k⟩² + σ²): the best factors for each image, a bound on all
    shrinkage in this basis and no estimator. Image i of y must be a noisy image i of `x`, or all of
    them noisy images of the one that `x` holds.

    Raises:
        ValueError: where `x` is not finite; from the denoiser, for another number of images.
    """
    power = basis.analyze(check_finite(x, "x")).square()

    def rule(c: Tensor, s: Tensor) -> Tensor:
        if len(power) not in (1, len(c)) or power.shape[1] != c.shape[1]:
            raise ValueError(
                f"y must have {len(power)} images of as many channels as x, not {len(c)}"
            )
        return wiener_factors(power.to(c), s) * c

    return shrinkage_denoiser(basis, rule)


def hard(c: Tensor, threshold: Tensor) -> Tensor:
    """Return `c` where |c| > threshold and 0 elsewhere."""
    return torch.where(c.abs() > threshold, c, torch.zeros_like(c))


def soft(c: Tensor, threshold: Tensor) -> Tensor:
    """Return sign(c) max(|c| − threshold, 0)."""
    return torch.sign(c) * torch.relu(c.abs() - threshold)


RULES = {"hard": hard, "soft": soft}


def universal_factor(num: int) -> float:
    """Return a = √(2 ln D): the threshold aσ that D draws of noise alone hardly ever pass.

    Source: Donoho & Johnstone 1994.

    >>> round(universal_factor(1024), 3)
    3.723
    """
    return math.sqrt(2 * math.log(check_count(num, "num")))


def threshold_denoiser(
    basis: Basis, a: float | str = 3.0, kind: str = "hard", *, mean: Tensor | float = 0.0
) -> Denoiser:
    """Return the denoiser that thresholds coefficients at aσ: fixed basis, adaptive factors.

    Args:
        basis: the e_k; those of frequency 0 are kept as they are.
        a: threshold in units of σ, or "universal" for √(2 ln D).
        kind: "hard" (keep or kill) or "soft" (shrink by the threshold).
        mean: taken off before and put back after.

    Raises:
        ValueError: for an `a` that is negative or not finite, or an unknown `kind`.
    """
    check_choice(kind, "kind", sorted(RULES))
    if a == "universal":
        factor = universal_factor(len(basis.frequency))
    else:
        factor = check_number(a, "a, if not 'universal',", low=0)
    coarse = basis.frequency == 0

    def rule(c: Tensor, s: Tensor) -> Tensor:
        return torch.where(_spread(coarse, c), c, RULES[kind](c, factor * s))

    return shrinkage_denoiser(basis, rule, mean)


def _spread(mask: Tensor, c: Tensor) -> Tensor:
    """Return the mask of one channel (H·W,) for all coefficients (C·H·W,) of `c`."""
    return mask.to(c.device).repeat(c.shape[-1] // len(mask))


def sure_threshold(c: Tensor, sigma: Tensor) -> Tensor:
    """Return the soft threshold (B, 1) of least estimated risk for coefficients `c` (B, K).

    Stein's unbiased risk at t is σ²K − 2σ² #{|c| ≤ t} + Σ min(|c|, t)². Between two sorted |c| it
    only grows with t, so its minimum is at 0 or at one of them. Source: Donoho & Johnstone 1995.
    """
    if check_floating(c, "c").ndim != 2 or c.shape[1] == 0:
        raise ValueError(f"c must be of shape (B, K), K ≥ 1, not {tuple(c.shape)}")
    check_finite(sigma, "sigma")
    if sigma.ndim != 2 or sigma.shape[1] != 1 or len(sigma) not in (1, len(c)):
        raise ValueError(f"sigma must be of shape (1 or B, 1), not {tuple(sigma.shape)}")
    level = torch.cat([torch.zeros_like(c[:, :1]), c.abs()], dim=1).sort(dim=1).values
    below = torch.arange(level.shape[1], dtype=c.dtype, device=c.device)
    clipped = level.square().cumsum(1) + (c.shape[1] - below) * level.square()
    best = (clipped - 2 * sigma**2 * below).argmin(dim=1, keepdim=True)
    return level.gather(1, best)


def sure_denoiser(basis: Basis, mean: Tensor | float = 0.0) -> Denoiser:
    """Return soft thresholding whose threshold is chosen from y: one for each image and frequency.

    Coefficients of equal `frequency` (a wavelet's level; for other bases, octaves of frequency)
    share a threshold, the one of least estimated risk (SureShrink, Donoho & Johnstone 1995, without
    its rule for sparse levels). Frequency 0 is kept.
    """
    octave = basis.frequency.clamp(min=1e-12).log2().ceil()
    bands = [(octave == k).nonzero().flatten() for k in octave[basis.frequency > 0].unique()]
    rest = (basis.frequency == 0).nonzero().flatten()
    order = torch.cat([rest, *bands]).argsort()

    def rule(c: Tensor, s: Tensor) -> Tensor:
        channels = c.unflatten(1, (-1, len(order)))
        parts = [channels[..., rest]]
        for band in bands:
            group = channels[..., band].flatten(1)
            shrunk = soft(group, sure_threshold(group, s))
            parts.append(shrunk.unflatten(1, (channels.shape[1], -1)))
        return torch.cat(parts, dim=-1)[..., order].flatten(1)

    return shrinkage_denoiser(basis, rule, mean)


def grid_shifts(num: int, step: int = 1) -> list[tuple[int, int]]:
    """Return the num² shifts (row, column) of a square grid, multiples of `step` from 0.

    Raises:
        ValueError: where a number is below 1 or not whole.
    """
    num, step = check_count(num, "num"), check_count(step, "step")
    return [(step * i, step * j) for i in range(num) for j in range(num)]


def cycle_spin_denoiser(
    denoiser: Denoiser, shifts: int | Sequence[tuple[int, int]] = 8
) -> Denoiser:
    """Return the average over shifts of: shift y (cyclically), denoise, shift back.

    It takes away the dependence of a wavelet on where its grid lies; a transform of J levels is the
    same under shifts by 2^J, so `shifts` = 2^J covers all. Source: Coifman & Donoho 1995.

    Args:
        denoiser: any denoiser.
        shifts: the shifts (row, column), or a number n for the n² from (0, 0) to (n − 1, n − 1).

    Raises:
        ValueError: where there is no shift, or one is no pair of whole numbers.
    """
    listed = list(shifts) if isinstance(shifts, Sequence) else None
    pairs = grid_shifts(check_count(shifts, "shifts")) if listed is None else listed
    if not pairs or any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"shifts must hold at least one shift (row, column), not {shifts!r}")
    pairs = [(check_whole(r, "shifts"), check_whole(c, "shifts")) for r, c in pairs]

    def spun(y: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        total = torch.zeros_like(y)
        for r, c in pairs:
            moved = estimate(denoiser, torch.roll(y, (r, c), (-2, -1)), sigma)
            total = total + torch.roll(moved, (-r, -c), (-2, -1))
        return total / len(pairs)

    return spun
