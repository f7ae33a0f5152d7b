"""log p from denoising errors: what a denoiser gets wrong on the way down, added up."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gahb_core.checks import check_count, check_floating, check_number
from gahb_core.noise import flatten_images, sample_normal
from gahb_core.probes import estimate


def denoising_errors(
    denoiser: Callable[..., Tensor],
    x: Tensor,
    sigmas: Tensor,
    *,
    num_draws: int = 1,
    seed: int = 0,
    common: bool = False,
) -> Tensor:
    """Return ‖f(x + σz) − x‖², summed over pixels, of each draw, image and level, (R, B, K).

    Each draw and each level has a z of its own, so that the errors of the levels are independent:
    a sum over them is far less noisy than one that meets the same z at each. Image i meets the same
    z whatever the denoiser, so that two denoisers are compared on common noise.

    Args:
        denoiser: f(y, sigma) → x_hat, of the dtype and device of `x`.
        x: clean images (B, ...).
        sigmas: (K,).
        num_draws: R; a draw does not depend on how many there are.
        seed: of the noise.
        common: whether all images meet the z of image 0, as for images along one path.

    Returns:
        In float64, on the CPU.

    Raises:
        ValueError: where `x` is not floating point, `sigmas` are not (K,) or one is negative, or
            `num_draws` is below 1.
    """
    if check_floating(sigmas, "sigmas").ndim != 1:
        raise ValueError(f"sigmas must be of shape (K,), not {tuple(sigmas.shape)}")
    drawn = (1 if common else len(check_floating(x, "x")), *x.shape[1:])
    levels = [check_number(s, "sigmas", low=0) for s in sigmas.tolist()]
    size = check_count(num_draws, "num_draws"), len(x), len(levels)
    found = torch.zeros(size, dtype=torch.float64, device="cpu")
    with torch.no_grad():
        for draw in range(num_draws):
            for k, s in enumerate(levels):
                z = sample_normal(drawn, seed, key=f"draw {draw}, level {k}").to(x)
                off = flatten_images(estimate(denoiser, x + s * z, s) - x)
                found[draw, :, k] = off.square().sum(1).double().cpu()
    return found


def log_p_from_errors(errors: Tensor, sigmas: Tensor, size: int) -> Tensor:
    """Return the mean over z of log p_σ(x + σz) of each image x, (..., K), from denoising errors.

    E log p_σ(x + σz) = −½ D log(2πeσ²) − ∫_σ^∞ d_eff(x, s) d log s, d_eff(x, s) = E‖f(x + sz) −
    x‖² / s²: on the way down each factor e in σ costs as many nats as the image has dimensions at
    that σ. It is exact for the exact denoiser, of each image. Trapezoids in log s; beyond the first
    σ the errors are taken to be constant (p a point), so that d_eff falls as s⁻².

    Args:
        errors: ‖f(x + sz) − x‖², summed over pixels, (..., K), a row for each image.
        sigmas: (K,), falling, the first large beside the spread of the images.
        size: D.

    Raises:
        ValueError: where `sigmas` do not fall, or the shapes do not fit.

    Source: Guo, Shamai & Verdú 2005; for diffusion models Kong, Brekelmans & Ver Steeg 2023.
    """
    s = check_floating(sigmas, "sigmas")
    if s.ndim != 1 or len(s) < 2 or not bool((s > 0).all()) or not bool((s.diff() < 0).all()):
        raise ValueError("sigmas must be at least two positive numbers that fall")
    if check_floating(errors, "errors").ndim < 2 or errors.shape[-1] != len(s):
        raise ValueError(f"errors must be of shape (B, {len(s)}), not {tuple(errors.shape)}")
    dimension = errors / s**2
    steps = torch.cumulative_trapezoid(dimension, s.log().expand_as(dimension), dim=-1)
    lost = 0.5 * dimension[..., :1] - torch.nn.functional.pad(steps, (1, 0))
    return -0.5 * check_count(size, "size") * torch.log(2 * math.pi * math.e * s**2) - lost
