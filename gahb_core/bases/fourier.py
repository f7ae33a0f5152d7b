"""Bases of single pixels, of cosines, and of plane waves."""

import math

import torch
from torch import Tensor

from gahb_core.bases.basis import Basis, check_size, make_basis, separable
from gahb_core.checks import check_count


def make_pixels(size: int | tuple[int, int]) -> Basis:
    """Return the basis of single pixels: coefficients are intensities, every frequency is 1."""
    size = check_size(size)
    return make_basis("pixels", size, lambda x: x, lambda c: c, torch.ones(size, device="cpu"))


def dct_matrix(num: int) -> Tensor:
    """Return the orthonormal DCT-II matrix (num, num), float64: row k is √(2/n) cos(πk(i+½)/n)."""
    num = check_count(num, "num")
    i = torch.arange(num, dtype=torch.float64, device="cpu")
    k = i[:, None]
    rows = math.sqrt(2 / num) * torch.cos(math.pi * k * (i + 0.5) / num)
    return torch.where(k == 0, rows / math.sqrt(2), rows)


def make_dct(size: int | tuple[int, int]) -> Basis:
    """Return the two-dimensional cosine basis (DCT-II, even boundaries): products of cosines."""
    size = check_size(size)
    a, b = dct_matrix(size[0]), dct_matrix(size[1])
    row = torch.arange(size[0], dtype=torch.float64, device="cpu") / 2
    column = torch.arange(size[1], dtype=torch.float64, device="cpu") / 2
    return make_basis(
        "cosine",
        size,
        lambda x: separable(a, x, b),
        lambda c: separable(a.mT, c, b.mT),
        torch.hypot(row[:, None], column),
    )


def _hartley(x: Tensor) -> Tensor:
    """Return Re X − Im X of the unitary transform X of `x`: real, orthonormal, its own inverse."""
    if x.numel() == 0:
        return x  # no transform is made of no image
    spectrum = torch.fft.fft2(x, norm="ortho")
    return spectrum.real - spectrum.imag


def make_fourier(size: int | tuple[int, int]) -> Basis:
    """Return the real Fourier basis of periodic images, one plane wave for each frequency.

    e_ω(u) = √2 cos(ω·u − π/4) / √D, with ω over all integer frequencies: the Hartley form, which
    holds cosine and sine of each ±ω pair in two real coefficients.
    """
    size = check_size(size)
    row, column = (torch.fft.fftfreq(n, 1 / n, dtype=torch.float64, device="cpu") for n in size)
    return make_basis("Fourier", size, _hartley, _hartley, torch.hypot(row[:, None], column))
