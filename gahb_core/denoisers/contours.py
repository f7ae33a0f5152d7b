"""Denoisers of C^α images that are told the contour: what a geometric basis can reach.

Given its contour, x = M B₁ + (1 − M) B₂ is linear in the backgrounds, which are stationary on the
torus: their covariances are diagonal in Fourier. So the best linear denoiser, and the basis it
shrinks in (harmonics of the two regions), are those of a known covariance matrix.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from gahb_core.checks import check_count, check_finite
from gahb_core.denoisers.gaussian import Gaussian, gaussian_denoiser
from gahb_core.images import CAlpha


class Regions(NamedTuple):
    """The second moments of contours and backgrounds, over images whatever their contour.

    Attributes:
        mean: of a background, a number.
        auto: E B₁(u) B₁(v) − mean², (D, D).
        cross: E B₁(u) B₂(v) − mean², (D, D).
        row: mean row of the contour.
        contour: covariance of the contour's rows at two columns, (S, S).
    """

    mean: float
    auto: Tensor
    cross: Tensor
    row: float
    contour: Tensor


def _circulant(kernel: Tensor) -> Tensor:
    """Return K[u, v] = kernel(u − v) over an (S, S) torus, as a matrix (S², S²)."""
    size = kernel.shape[-1]
    i = torch.arange(size, device=kernel.device)
    away = (i[:, None] - i) % size
    rows = kernel[away[:, None, :, None], away[None, :, None, :]]
    return rows.reshape(size * size, size * size)


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean over images of the cyclic correlation of `a` and `b`, (S, S), symmetric."""
    product = torch.fft.fft2(a) * torch.fft.fft2(b).conj()
    return torch.fft.ifft2(product.real.mean((0, 1))).real / a[0].numel()


def fit_regions(parts: CAlpha) -> Regions:
    """Return the moments of the contours and backgrounds of images `parts`, in float64.

    The backgrounds are taken as stationary, and alike on both sides (a coin decides which is the
    bright one); both are true of the images' law, and make few images enough.

    Raises:
        ValueError: where there is no image.
    """
    check_count(len(parts.x), "the number of images of parts")
    below, above, contour = (v.double() for v in (parts.below, parts.above, parts.contour))
    mean = (below.mean() + above.mean()) / 2
    below, above, row = below - mean, above - mean, contour.mean()
    auto = (_kernel(below, below) + _kernel(above, above)) / 2
    lines = torch.fft.fft(contour - row).abs().square().mean(0)
    i = torch.arange(contour.shape[1], device=contour.device)
    along = torch.fft.ifft(lines).real / contour.shape[1]
    return Regions(
        float(mean),
        _circulant(auto),
        _circulant(_kernel(below, above)),
        float(row),
        along[(i[:, None] - i) % len(i)],
    )


def region_covariance(mask: Tensor, regions: Regions) -> Tensor:
    """Return the covariance (D, D) of x = M B₁ + (1 − M) B₂ given the mask M (1, S, S).

    Raises:
        ValueError: where the mask is not finite, or not of the size of the regions.
    """
    if check_finite(mask, "mask").ndim != 3 or mask.numel() != len(regions.auto):
        size = len(regions.contour)
        raise ValueError(f"mask must be of shape (1, {size}, {size}), not {tuple(mask.shape)}")
    m = mask.flatten().to(regions.auto)
    a, b = m, 1 - m
    same = torch.outer(a, a) + torch.outer(b, b)
    return same * regions.auto + (torch.outer(a, b) + torch.outer(b, a)) * regions.cross


def contour_tangents(mask: Tensor, below: Tensor, above: Tensor) -> Tensor:
    """Return ∂x/∂C (S, D): how the image moves with the row C of its contour in each column.

    Only the pixels that the contour crosses move, each by the jump of the backgrounds there.

    Raises:
        ValueError: where one is not finite, or they are not of one shape (1, S, S).
    """
    for name, v in (("mask", mask), ("below", below), ("above", above)):
        if check_finite(v, name).ndim != 3 or v.shape != mask.shape or not v.numel():
            wanted = "(1, S, S)" if v is mask else tuple(mask.shape)
            raise ValueError(f"{name} must be of shape {wanted}, not {tuple(v.shape)}")
    crossed = (mask > 0) & (mask < 1)
    moves = torch.where(crossed, above - below, torch.zeros_like(below))[0].double()
    return torch.diag_embed(moves).transpose(0, 1).reshape(moves.shape[1], -1)


def region_denoiser(mask: Tensor, regions: Regions) -> Gaussian:
    """Return the best affine denoiser of C^α images whose mask M (1, S, S) is known.

    It is told where the contour is and nothing of the backgrounds; its basis is the harmonics of
    the two regions. No denoiser that has to find the contour can do better, as far as the
    backgrounds are Gaussian (they are, but for their rescaling to a range).
    """
    covariance = region_covariance(mask, regions)
    return gaussian_denoiser(torch.full_like(mask, regions.mean, dtype=torch.float64), covariance)


def contour_covariance(parts: CAlpha, index: int, regions: Regions) -> Tensor:
    """Return the covariance (D, D) of image `index` of `parts` whose contour is to be found too.

    That of `region_covariance` and, with the tangents G of the contour, Gᵀ Cov[C] G. Where only
    eigenvalues are wanted, `torch.linalg.eigvalsh` of it takes less than half the time of the
    denoiser, which has the eigenvectors.

    Raises:
        ValueError: where `index` is none of the images'.
    """
    index = check_count(index, "index", 0, len(parts.x) - 1)
    mask = parts.mask[index]
    G = contour_tangents(mask, parts.below[index], parts.above[index])
    return region_covariance(mask, regions) + G.T @ regions.contour @ G


def contour_denoiser(parts: CAlpha, index: int, regions: Regions) -> Gaussian:
    """Return the denoiser of image `index` of `parts` that must also find its contour, linearised.

    x is taken as linear in the contour about the true one: C^α images of a tangent space. Beside
    the harmonics of the regions, its basis has harmonics along the contour, and it pays for each of
    them. It is told where to linearise, which is right where the contour is known to a fraction of
    a pixel, and flatters at large noise.

    Raises:
        ValueError: where `index` is none of the images'.
    """
    covariance = contour_covariance(parts, index, regions)
    mask = parts.mask[index]
    G = contour_tangents(mask, parts.below[index], parts.above[index])
    off = regions.row - parts.contour[index].double()
    return gaussian_denoiser((regions.mean + off @ G).reshape(mask.shape), covariance)
