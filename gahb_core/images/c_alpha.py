"""C^α images: two smooth backgrounds on either side of a smooth contour (paper (a), appendix D)."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gahb_core.checks import check_choice, check_count, check_floating, check_number
from gahb_core.images.family import Family
from gahb_core.noise import sample_uniform

# how much steeper than |ω|^−α a spectrum must fall to be C^α exactly: (contour, background)
EXTRA_DECAY = {"paper": (0.0, 0.0), "holder": (0.5, 1.0)}
# side at which the contours of amplitude "fixed" are those of the papers' recipe
REFERENCE_SIZE = 64
BLOCK = 8  # images made at once


class CAlpha(NamedTuple):
    """C^α images and what they were made of.

    Attributes:
        x: the images (N, 1, S, S) in [0, 1].
        contour: row of the contour in each column (pixel centres at whole rows), (N, S).
        mask: coverage of each pixel by the region below the contour, (N, 1, S, S) in [0, 1].
        below: background seen where the mask is one, (N, 1, S, S).
        above: background seen where it is zero, (N, 1, S, S).
    """

    x: Tensor
    contour: Tensor
    mask: Tensor
    below: Tensor
    above: Tensor


def _gain(frequency: Tensor, decay: float) -> Tensor:
    """Return |ω|^−decay, ω in cycles an image, with the constant's gain that of one cycle."""
    return frequency.clamp(min=1.0) ** -decay


def _smooth_lines(u: Tensor, decay: float) -> Tensor:
    size = u.shape[-1]
    frequency = torch.fft.rfftfreq(size, 1 / size, dtype=u.dtype, device=u.device)
    return torch.fft.irfft(torch.fft.rfft(u) * _gain(frequency, decay), n=size)


def _smooth_planes(b: Tensor, decay: float) -> Tensor:
    size = b.shape[-1]
    rows = torch.fft.fftfreq(size, 1 / size, dtype=b.dtype, device=b.device)
    columns = torch.fft.rfftfreq(size, 1 / size, dtype=b.dtype, device=b.device)
    gain = _gain(torch.hypot(rows[:, None], columns), decay)
    return torch.fft.irfft2(torch.fft.rfft2(b) * gain, s=b.shape[-2:])


def _rescale(b: Tensor, low: Tensor, high: Tensor) -> Tensor:
    low, high = low[:, None, None], high[:, None, None]
    least, most = b.amin((-2, -1), keepdim=True), b.amax((-2, -1), keepdim=True)
    # in place, as the planes are ours and memory is what takes time here
    return b.sub_(least).mul_(high - low).div_(most - least).add_(low)


def coverage(contour: Tensor, size: int) -> Tensor:
    """Return the part of each pixel below the contour, clip(row + ½ − C, 0, 1), (N, 1, S, S).

    Sub-pixel: nothing is rounded to rows, and a contour outside the image cannot wrap round.
    """
    if check_floating(contour, "contour").ndim != 2:
        raise ValueError(f"contour must be of shape (N, S), not {tuple(contour.shape)}")
    size = check_count(size, "size")
    rows = torch.arange(size, dtype=contour.dtype, device=contour.device)[:, None]
    return (rows + 0.5 - contour[:, None, :]).clamp_(0, 1)[:, None]


def make_c_alpha_parts(
    num: int,
    alpha: float,
    size: int = 32,
    seed: int = 0,
    *,
    start: int = 0,
    background_alpha: float | None = None,
    spectrum: str = "paper",
    amplitude: str = "fixed",
) -> CAlpha:
    """Return `num` C^α images and their contours, masks and backgrounds.

    Contour C = S (½ + a IFFT(|ω|^−α FFT(u))), backgrounds IFFT2(|ω|^−α FFT2(b)), u and b uniform
    on [−1, 1], ω in cycles an image; one background is rescaled to [U, 1], the other to [0, U′], a
    coin tells which; x = M B₁ + (1 − M) B₂. Image i depends on `seed` and start + i alone.

    An IFFT of S independent draws has an amplitude ∝ S^−½: with a = 1, as in paper (a), larger
    images have flatter contours. By default a = √(S/64), which makes the law of the curve, in
    units of the side, that of the papers' recipe at 64 pixels whatever the size.

    Args:
        num: how many.
        alpha: regularity of the contour, and of the backgrounds unless told otherwise.
        size: side S in pixels.
        seed: which endless set.
        start: index of the first image within it.
        background_alpha: regularity of the backgrounds.
        spectrum: "paper": fall-off |ω|^−α for both. "holder": the fall-off at which the fields
            are C^α and no smoother, |ω|^−(α+½) for contours and |ω|^−(α+1) for backgrounds.
        amplitude: of the contour: "fixed", the same part of the side at every size, or "paper",
            ∝ S^−½.

    Raises:
        ValueError: for an `alpha` that is negative or not finite, `size` below 4, an unknown
            `spectrum` or `amplitude`, and as `noise.sample_uniform` does.
    """
    alpha = check_number(alpha, "alpha", low=0)
    smooth = alpha if background_alpha is None else background_alpha
    smooth = check_number(smooth, "background_alpha", low=0)
    size = check_count(size, "size", 4)
    check_choice(spectrum, "spectrum", tuple(EXTRA_DECAY))
    check_choice(amplitude, "amplitude", ("fixed", "paper"))
    area = size * size
    wanted, num = num, max(check_count(num, "num", 0), 1)  # no transform is made of no image
    draws = sample_uniform((num, 3 + size + 2 * area), seed, start, key="c_alpha")
    ends, u, b = draws.split([3, size, 2 * area], dim=1)
    contour_extra, background_extra = EXTRA_DECAY[spectrum]
    gain = math.sqrt(size / REFERENCE_SIZE) if amplitude == "fixed" else 1.0
    contour = size * (0.5 + gain * _smooth_lines(2 * u - 1, alpha + contour_extra))
    planes = _smooth_planes(
        b.mul_(2).sub_(1).reshape(num, 2, size, size), smooth + background_extra
    )
    bright = _rescale(planes[:, 0], ends[:, 0], ends.new_ones(num))
    dark = _rescale(planes[:, 1], ends.new_zeros(num), ends[:, 1])
    coin = (ends[:, 2] < 0.5)[:, None, None]
    below, above = (
        torch.where(coin, bright, dark)[:, None],
        torch.where(coin, dark, bright)[:, None],
    )
    mask = coverage(contour, size)
    x = mask * below + (1 - mask) * above
    return CAlpha(*(part[:wanted] for part in (x, contour, mask, below, above)))


def make_c_alpha(
    num: int,
    alpha: float,
    size: int = 32,
    seed: int = 0,
    *,
    start: int = 0,
    **options: Any,
) -> Tensor:
    """Return `num` C^α images (num, 1, size, size) in [0, 1]; see `make_c_alpha_parts`.

    They are made a few at a time, which stay in the processor's cache: memory is that of the
    images returned.
    """
    if not isinstance(num, int) or num <= BLOCK:
        return make_c_alpha_parts(num, alpha, size, seed, start=start, **options).x
    x = torch.empty(num, 1, size, size, dtype=torch.float32, device="cpu")
    for first in range(0, num, BLOCK):
        some = min(BLOCK, num - first)
        parts = make_c_alpha_parts(some, alpha, size, seed, start=start + first, **options)
        x[first : first + some] = parts.x
    return x


FAMILY = Family(
    "c_alpha",
    "with its regularity, as in 'c_alpha/alpha=2'",
    options={"alpha": float, "background_alpha": float, "spectrum": str, "amplitude": str},
    needed=("alpha",),
    make=make_c_alpha,
)
