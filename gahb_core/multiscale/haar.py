"""The Haar decomposition, scaled so that every low band is an image: the mean of its blocks.

From the four pixels a b / c d of a block come, for each channel,

    low        = (a + b + c + d) / 4        horizontal = (a + b − c − d) / 4
    vertical   = (a − b + c − d) / 4        diagonal   = (a − b − c + d) / 4

half of what the orthonormal transform gives (PyWavelets' `dwt2(x, "haar")`, whose order and signs
these are). So x_j stays in [0, 1], and white noise of deviation σ in x_0 is white noise of
deviation σ / 2^j in every band of level j. The horizontal band answers to horizontal edges.

Source: Kadkhodaie, Guth, Mallat & Simoncelli, ICLR 2023 (paper (b)), and its code.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from gahb_core.checks import check_count, check_floating, check_tensor

MOST_LEVELS = 10  # 1,024 pixels to a side of a coarse one


class Bands(NamedTuple):
    """One level: `low` (B, C, H/2, W/2) and `details` (B, 3C, H/2, W/2).

    The details are those of all channels in the order horizontal, vertical, diagonal.
    """

    low: Tensor
    details: Tensor


class Pyramid(NamedTuple):
    """J levels: `low` is x_J, `details` the bands x̄_1, …, x̄_J, finest first.

    x̄_j is (B, 3C, H/2^j, W/2^j); `details[j − 1]` holds it.
    """

    low: Tensor
    details: tuple[Tensor, ...]


def _check_image(x: Tensor, step: int) -> None:
    if check_floating(x, "x").ndim != 4 or x.shape[-1] % step or x.shape[-2] % step:
        raise ValueError(
            f"x must be of shape (B, C, H, W), H and W multiples of {step}, not {tuple(x.shape)}"
        )


def haar_split(x: Tensor) -> Bands:
    """Return the low band and the three detail bands of `x` (B, C, H, W).

    Raises:
        ValueError: where `x` is not such a batch, or H or W is odd.

    >>> bands = haar_split(torch.tensor([[[[4.0, 2.0], [0.0, 2.0]]]]))
    >>> bands.low.flatten().tolist(), bands.details.flatten().tolist()
    ([2.0], [1.0, 0.0, 1.0])
    """
    _check_image(x, 2)
    a, b, c, d = (x[..., i::2, j::2] for i in (0, 1) for j in (0, 1))  # (B, C, H/2, W/2) each
    details = [a + b - c - d, a - b + c - d, a - b - c + d]
    return Bands((a + b + c + d) / 4, torch.cat(details, 1) / 4)


def haar_merge(low: Tensor, details: Tensor) -> Tensor:
    """Return the image (B, C, 2H, 2W) that `haar_split` takes to these bands.

    Raises:
        ValueError: where `details` does not have three bands for each channel of `low`.
    """
    check_floating(details, "details")
    if check_floating(low, "low").ndim != 4 or details.shape != (
        len(low),
        3 * low.shape[1],
        *low.shape[2:],
    ):
        raise ValueError(
            f"details must be (B, 3C, H, W) for low (B, C, H, W) = {tuple(low.shape)}, "
            f"not {tuple(details.shape)}"
        )
    h, v, d = details.chunk(3, 1)
    pixels = [low + h + v + d, low + h - v - d, low - h + v - d, low - h - v + d]
    blocks = torch.stack(pixels, -1).unflatten(-1, (2, 2))  # (B, C, H, W, 2, 2)
    return blocks.transpose(-3, -2).flatten(-2).flatten(-3, -2)  # H, 2, W, 2 → 2H, 2W


def haar_decompose(x: Tensor, J: int) -> Pyramid:
    """Return the `Pyramid` of J levels of `x` (B, C, H, W): x_J and x̄_1 … x̄_J.

    Raises:
        ValueError: for a J not in 0 … 10, or where H or W is not a multiple of 2^J.
    """
    check_count(J, "J", 0, MOST_LEVELS)
    _check_image(x, 2**J)
    details = []
    for _ in range(J):
        x, band = haar_split(x)
        details.append(band)
    return Pyramid(x, tuple(details))


def haar_level(x: Tensor, j: int) -> Bands:
    """Return level j of `x` (B, C, H, W) alone: x_j and x̄_j (of no band, (B, 0, H, W), for j = 0).

    Raises:
        ValueError: for a j not in 0 … 10, or where H or W is not a multiple of 2^j.
    """
    pyramid = haar_decompose(x, check_count(j, "j", 0, MOST_LEVELS))
    return Bands(pyramid.low, pyramid.details[-1] if j else x[:, :0])


def haar_reconstruct(pyramid: Pyramid) -> Tensor:
    """Return the image of a `Pyramid`: the exact inverse of `haar_decompose`."""
    x = pyramid.low
    for band in reversed(pyramid.details):
        x = haar_merge(x, band)
    return x


def upsample_low(low: Tensor, J: int) -> Tensor:
    """Return the image of `low` = x_J alone, its details zero: each pixel repeated 2^J × 2^J.

    Raises:
        ValueError: for a J not in 0 … 10, or a `low` of fewer than two dimensions.
    """
    check_count(J, "J", 0, MOST_LEVELS)
    if check_tensor(low, "low").ndim < 2:
        raise ValueError(f"low must be images (..., H, W), not of shape {tuple(low.shape)}")
    return low.repeat_interleave(2**J, -1).repeat_interleave(2**J, -2)
