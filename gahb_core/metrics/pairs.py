"""Similarity of pairs of images, and the closest image of a set."""

from typing import NamedTuple

import torch
from torch import Tensor


def _check_pair(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape:
        raise ValueError(f"both images must have one shape, not {tuple(a.shape)}, {tuple(b.shape)}")


def mse(x_hat: Tensor, x: Tensor) -> Tensor:
    """Return the mean squared error per pixel of each image, shape (B,).

    Raises:
        ValueError: where the shapes (B, ...) differ.
    """
    _check_pair(x_hat, x)
    return (x_hat - x).reshape(len(x), -1).square().mean(1)


def psnr(x_hat: Tensor, x: Tensor) -> Tensor:
    """Return −10 log10(MSE) of each image, shape (B,), in decibels; the peak is 1.

    The mean of this over images is the PSNR-out of the papers. It is not the PSNR of the mean
    MSE, which is lower. An exact copy gives infinity.
    """
    return -10 * torch.log10(mse(x_hat, x))


def _unit(images: Tensor, centre: bool) -> Tensor:
    """Return `images` flat, (B, D), at norm 1; those of no contrast become zero, not noise."""
    flat = images.reshape(len(images), -1)
    size = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    if centre:
        flat = flat - flat.mean(1, keepdim=True)
    norm = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    # what is left of a constant image is rounding: a few eps of its own size
    empty = norm <= 16 * torch.finfo(flat.dtype).eps * size
    return torch.where(empty, 0, flat / torch.where(empty, 1, norm))


def cosine_similarity(a: Tensor, b: Tensor) -> Tensor:
    """Return ⟨a, b⟩ / (‖a‖ ‖b‖) of each pair of images, shape (B,); 0 where one is zero."""
    _check_pair(a, b)
    return (_unit(a, False) * _unit(b, False)).sum(1)


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Return the cosine similarity after each image lost its mean, shape (B,).

    It is 0 where one image is constant. Faces share most of their mean and so have a high cosine
    similarity whatever they show; the correlation leaves that out.
    """
    _check_pair(a, b)
    return (_unit(a, True) * _unit(b, True)).sum(1)


def shifted_correlation(a: Tensor, b: Tensor, max_shift: int | None = None) -> Tensor:
    """Return the largest correlation of `a` (B, C, H, W) with circular shifts of `b`, shape (B,).

    Args:
        a: images.
        b: images of the same shape.
        max_shift: the largest shift, in pixels, along each axis; None allows all of them.

    Raises:
        ValueError: where the shapes differ or `max_shift` is negative.
    """
    _check_pair(a, b)
    if max_shift is not None and max_shift < 0:
        raise ValueError(f"max_shift must not be negative, not {max_shift}")
    fa, fb = (torch.fft.fft2(_unit(v, True).reshape(v.shape)) for v in (a, b))
    by_shift = torch.fft.ifft2(fa * fb.conj()).real.sum(1)
    for axis in (1, 2) if max_shift is not None else ():
        size = by_shift.shape[axis]
        near = [s for s in range(size) if min(s, size - s) <= max_shift]
        by_shift = by_shift.index_select(axis, torch.tensor(near, device=a.device))
    return by_shift.amax((1, 2))


class Nearest(NamedTuple):
    """The closest reference of each query: its `index` (B,) and its `similarity` (B,)."""

    index: Tensor
    similarity: Tensor


def nearest(
    queries: Tensor,
    references: Tensor,
    measure: str = "correlation",
    block: int = 1024,
    max_shift: int = 0,
) -> Nearest:
    """Return the most similar of `references` (N, ...) for each of `queries` (B, ...).

    The references are read `block` at a time, so that memory does not grow with N. Of equal
    ones the first counts.

    Args:
        queries: B images.
        references: N images of the same size.
        measure: "correlation" (mean removed) or "cosine".
        block: references compared at once.
        max_shift: let the queries (B, C, H, W) move by up to so many pixels along each axis, as
            circular shifts, and count the best: an image moved by a pixel is no new image, though
            it correlates little with itself where it has fine detail.

    Raises:
        ValueError: for another measure, unequal image sizes, no reference, block < 1 or
            max_shift < 0.
    """
    if measure not in ("correlation", "cosine"):
        raise ValueError(f"measure must be 'correlation' or 'cosine', not {measure!r}")
    if queries.shape[1:] != references.shape[1:] or len(references) == 0 or block < 1:
        raise ValueError(
            f"references must be one or more images of shape {tuple(queries.shape[1:])} and "
            f"block ≥ 1, not {tuple(references.shape)} and {block}"
        )
    if max_shift < 0:
        raise ValueError(f"max_shift must not be negative, not {max_shift}")
    unit = _unit(queries, measure == "correlation")
    if max_shift:
        unit = _shift_all(unit.reshape(queries.shape), max_shift).flatten(1)
    found = []
    for start in range(0, len(references), block):
        part = _unit(references[start : start + block].to(unit), measure == "correlation")
        similarity, index = (unit @ part.T).max(1)
        found.append((similarity, index + start))
    similarity, which = torch.stack([s for s, _ in found]).max(0)
    index = torch.stack([i for _, i in found]).gather(0, which[None])[0]
    similarity, shift = similarity.reshape(-1, len(queries)).max(0)
    return Nearest(index.reshape(-1, len(queries)).gather(0, shift[None])[0], similarity)


def _shift_all(x: Tensor, most: int) -> Tensor:
    """Return all shifts of `x` (B, C, H, W) by up to `most`, (shifts · B, C, H, W), none first."""
    steps = sorted(range(-most, most + 1), key=abs)
    return torch.cat([torch.roll(x, (i, j), (-2, -1)) for i in steps for j in steps])
