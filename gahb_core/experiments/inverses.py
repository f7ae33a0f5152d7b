"""Samples of the prior that a denoiser holds, given linear measurements of an image."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from gahb_core.checks import check_count, check_finite, check_images
from gahb_core.denoisers.contract import Denoiser
from gahb_core.metrics.pairs import psnr
from gahb_core.sampling.measurements import Measurement, sample_constrained


class Inverse(NamedTuple):
    """Solutions of one linear inverse problem.

    Attributes:
        x: (num, C, H, W) samples.
        mean: (C, H, W) their mean.
        spread: (C, H, W) their deviation per pixel, what the measurements leave open; zeros of one.
        residual: (num,) ‖Mᵀx − measured‖ / ‖measured‖.
        psnr: (num,) of each against `truth`, in dB; None without it.
        psnr_mean: of the mean of the samples; None without `truth`.
    """

    x: Tensor
    mean: Tensor
    spread: Tensor
    residual: Tensor
    psnr: Tensor | None
    psnr_mean: float | None


def inverse(
    denoiser: Denoiser,
    measurement: Measurement,
    measured: Tensor,
    shape: tuple[int, int, int],
    *,
    num: int = 4,
    truth: Tensor | None = None,
    **options: Any,
) -> Inverse:
    """Return `num` samples of the prior with Mᵀx = `measured` (1, …), images of `shape` (C, H, W).

    Args:
        denoiser: f(y, sigma) → x̂.
        measurement: M, of `sampling.measure_block_means`, `measure_pixels`, …
        measured: Mᵀx of one image.
        shape: of that image.
        num: samples wanted, each with its own noise.
        truth: (1, C, H, W) the image, where it is known.
        **options: of `sampling.sample_constrained` (seed, beta, h, sigma_0, sigma_m, …).

    Raises:
        ValueError: where the measurements are not of one image, or an option is out of range.
        DivergedError: where a noise level grows past `sigma_max`.
    """
    num = check_count(num, "num")
    if len(check_finite(measured, "measured")) != 1:
        raise ValueError(f"measured must be of one image, (1, …), not {tuple(measured.shape)}")
    if truth is not None and check_images(truth, "truth").shape != (1, *shape):
        raise ValueError(f"truth must be of shape {(1, *shape)}, not {tuple(truth.shape)}")
    rows = measured.expand(num, *measured.shape[1:]).contiguous()
    x = sample_constrained(denoiser, measurement, rows, shape, **options).x
    gap = (measurement.analyze(x) - rows).flatten(1).norm(dim=1)
    mean = x.mean(0)
    return Inverse(
        x,
        mean,
        x.std(0) if num > 1 else torch.zeros_like(mean),
        gap / rows.flatten(1).norm(dim=1).clamp(min=torch.finfo(x.dtype).tiny),
        None if truth is None else psnr(x, truth.to(x).expand_as(x)),
        None if truth is None else float(psnr(mean[None], truth.to(x))),
    )
