"""Periodic orthonormal wavelets of PyWavelets, as torch operations."""

import math

import numpy as np
import pywt
import torch
from torch import Tensor

from gahb_core.bases.basis import Basis, check_size, make_basis, separable
from gahb_core.checks import check_count


def wavelet_matrix(wavelet: str, num: int) -> Tensor:
    """Return one level of the periodic wavelet transform as a matrix (num, num), float64.

    The first num/2 rows give the low-pass coefficients, the others the details, as
    `pywt.dwt(..., mode="periodization")` does. Orthonormal for an orthogonal wavelet.

    Raises:
        ValueError: for an odd `num`, or a wavelet that is unknown or not orthogonal. "dmey" calls
            itself orthogonal, and is so to 2e-3 only.
    """
    if wavelet not in pywt.wavelist(kind="discrete") or not pywt.Wavelet(wavelet).orthogonal:
        raise ValueError(
            f"wavelet must be an orthogonal one that PyWavelets knows, not {wavelet!r}"
        )
    if check_count(num, "num", 2) % 2:
        raise ValueError(f"num must be even, not {num}")
    matrix = np.concatenate(pywt.dwt(np.eye(num), wavelet, mode="periodization", axis=0))
    gap = np.abs(matrix @ matrix.T - np.eye(num)).max()
    if gap > 1e-9:
        raise ValueError(
            f"wavelet must be orthogonal, but for {wavelet!r} W Wᵀ − I reaches {gap:.2g}"
        )
    return torch.from_numpy(matrix)


def max_levels(size: int | tuple[int, int]) -> int:
    """Return how often both sides can be halved."""
    return min((n & -n).bit_length() - 1 for n in check_size(size))


def _wavelet_forward(matrices: list[tuple[Tensor, Tensor]], x: Tensor) -> Tensor:
    """Return the Mallat pyramid of `x`: low-pass top left, each level's details round it."""
    if not matrices:
        return x
    (a, b), rest = matrices[0], matrices[1:]
    y, h, w = separable(a, x, b), len(a) // 2, len(b) // 2
    top = torch.cat([_wavelet_forward(rest, y[..., :h, :w]), y[..., :h, w:]], dim=-1)
    return torch.cat([top, y[..., h:, :]], dim=-2)


def _wavelet_backward(matrices: list[tuple[Tensor, Tensor]], c: Tensor) -> Tensor:
    """Return the image of a pyramid, by the adjoint of `_wavelet_forward`."""
    if not matrices:
        return c
    (a, b), rest = matrices[0], matrices[1:]
    h, w = len(a) // 2, len(b) // 2
    top = torch.cat([_wavelet_backward(rest, c[..., :h, :w]), c[..., :h, w:]], dim=-1)
    return separable(a.mT, torch.cat([top, c[..., h:, :]], dim=-2), b.mT)


def make_wavelet(
    size: int | tuple[int, int], wavelet: str = "db2", levels: int | None = None
) -> Basis:
    """Return a periodic orthonormal wavelet basis, its coefficients laid out as Mallat's pyramid.

    The numbers are those of `pywt.wavedec2(x, wavelet, "periodization", levels)`; the details of
    level j have frequency 2^(levels − j) times the coarsest, the low-pass band frequency 0.

    Args:
        size: height and width, divisible by 2^levels.
        wavelet: an orthogonal wavelet of PyWavelets ("haar", "db2", "sym4", "coif1", ...).
        levels: number of halvings; by default down to a low-pass band of at least 4×4.

    Raises:
        ValueError: for a size that cannot be halved so often, or a wavelet not orthogonal.
    """
    if levels is None:
        levels = max(1, min(max_levels(size), int(math.log2(min(check_size(size)) / 4))))
    size = check_size(size, 2 ** check_count(levels, "levels", 0, 30))
    sides = [(size[0] >> j, size[1] >> j) for j in range(levels)]
    matrices = [(wavelet_matrix(wavelet, h), wavelet_matrix(wavelet, w)) for h, w in sides]
    frequency = torch.zeros(size[0] >> levels, size[1] >> levels, dtype=torch.float64, device="cpu")
    for j in reversed(range(levels)):
        h, w = sides[j]
        pad = (0, w - frequency.shape[1], 0, h - frequency.shape[0])
        frequency = torch.nn.functional.pad(frequency, pad, value=min(size) / 2 ** (j + 1))
    return make_basis(
        f"wavelet {wavelet}",
        size,
        lambda x: _wavelet_forward(matrices, x),
        lambda c: _wavelet_backward(matrices, c),
        frequency,
    )
