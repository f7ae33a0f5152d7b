"""Similarity of pairs of images, and the closest image of a set."""

from typing import NamedTuple

import torch
from torch import Tensor

from gahb_core.checks import (
    check_choice,
    check_count,
    check_finite,
    check_floating,
    check_images,
)
from gahb_core.noise import flatten_images


def _check_pair(a: Tensor, b: Tensor, names: tuple[str, str] = ("a", "b")) -> None:
    for v, name in zip((a, b), names, strict=True):
        check_floating(v, name)
    if a.ndim < 1 or 0 in a.shape[1:]:
        raise ValueError(f"{names[0]} must be images (B, ...), not of shape {tuple(a.shape)}")
    if a.shape != b.shape:
        both = f"{tuple(a.shape)}, {tuple(b.shape)}"
        raise ValueError(f"{' and '.join(names)} must have one shape, not {both}")


def mse(x_hat: Tensor, x: Tensor) -> Tensor:
    """Return the mean squared error per pixel of each image, shape (B,).

    Raises:
        ValueError: where the shapes (B, ...) differ, or one is not floating point.
    """
    _check_pair(x_hat, x, ("x_hat", "x"))
    return flatten_images(x_hat - x).square().mean(1)


def psnr(x_hat: Tensor, x: Tensor) -> Tensor:
    """Return −10 log10(MSE) of each image, shape (B,), in decibels; the peak is 1.

    The mean of this over images is the PSNR-out of the papers. It is not the PSNR of the mean
    MSE, which is lower. An exact copy gives infinity.
    """
    return -10 * torch.log10(mse(x_hat, x))


def _unit(images: Tensor, centre: bool) -> Tensor:
    """Return `images` flat, (B, D), at norm 1; those of no contrast become zero, not noise."""
    flat = flatten_images(images)
    size = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    if centre:
        flat = flat - flat.mean(1, keepdim=True)
    norm = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    # what is left of a constant image is rounding: a few eps of its own size
    empty = (norm <= 16 * torch.finfo(flat.dtype).eps * size) & torch.isfinite(size)
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
        ValueError: where they are not images of one shape, or `max_shift` is negative.
    """
    check_images(a, "a")
    _check_pair(a, b)
    if max_shift is not None:
        check_count(max_shift, "max_shift", 0)
    if len(a) == 0:
        return a.new_empty(0)
    fa, fb = (torch.fft.fft2(_unit(v, True).reshape(v.shape)) for v in (a, b))
    by_shift = torch.fft.ifft2(fa * fb.conj()).real.sum(1)
    for axis in (1, 2) if max_shift is not None else ():
        size = by_shift.shape[axis]
        near = [s for s in range(size) if min(s, size - s) <= max_shift]
        by_shift = by_shift.index_select(axis, torch.tensor(near, device=a.device))
    return by_shift.amax((1, 2))


class Nearest(NamedTuple):
    """The closest reference of each query: its `index` (B,) and its `similarity` (B,)."""

    index: Tensor  # type: ignore[assignment]  # hides that of tuple
    similarity: Tensor


def nearest_images(
    queries: Tensor,
    references: Tensor,
    measure: str = "correlation",
    *,
    block: int = 1024,
    max_shift: int = 0,
) -> Nearest:
    """Return the most similar of `references` (N, ...) for each of `queries` (B, ...).

    The references are read `block` at a time, and the queries 4 `block` (their shifts counted), so
    that memory grows with neither. Of equal ones the first counts.

    Args:
        queries: B images.
        references: N images of the same size.
        measure: "correlation" (mean removed) or "cosine".
        block: references compared at once.
        max_shift: let the queries (B, C, H, W) move by up to so many pixels along each axis, as
            circular shifts, and count the best: an image moved by a pixel is no new image, though
            it correlates little with itself where it has fine detail.

    Raises:
        ValueError: for another measure, unequal image sizes, no reference, values that are not
            finite, block < 1 or max_shift < 0.
    """
    check_choice(measure, "measure", ("correlation", "cosine"))
    block, max_shift = check_count(block, "block"), check_count(max_shift, "max_shift", 0)
    check_finite(queries, "queries")
    check_floating(references, "references")
    if queries.shape[1:] != references.shape[1:] or len(references) == 0:
        raise ValueError(
            f"references must be one or more images of shape {tuple(queries.shape[1:])}, "
            f"not {tuple(references.shape)}"
        )
    if max_shift:
        check_images(queries, "queries")
    moves, room = (2 * max_shift + 1) ** 2, 4 * block
    if len(queries) * moves > room and len(queries) > 1:  # products (room, block) are kept at most
        parts = queries.split(max(1, room // moves))
        found = [
            nearest_images(p, references, measure, block=block, max_shift=max_shift) for p in parts
        ]
        return Nearest(*(torch.cat(column) for column in zip(*found, strict=True)))
    unit = _unit(queries, measure == "correlation")
    if max_shift:
        unit = _shift_all(unit.reshape(queries.shape), max_shift).flatten(1)
    best = unit.new_full((len(unit),), -torch.inf)
    index = torch.zeros(len(unit), dtype=torch.long, device=unit.device)
    for start in range(0, len(references), block):
        part = check_finite(references[start : start + block].to(unit), "references")
        part = _unit(part, measure == "correlation")
        similarity, which = (unit @ part.T).max(1)
        better = similarity > best
        best, index = similarity.where(better, best), (which + start).where(better, index)
    shape = (moves, len(queries))
    similarity, shift = best.reshape(shape).max(0)
    return Nearest(index.reshape(shape).gather(0, shift[None])[0], similarity)


def nearest_other(images: Tensor, measure: str = "correlation", *, block: int = 1024) -> Tensor:
    """Return the similarity of each of `images` (B, ...) to the nearest other one, shape (B,).

    Images of no contrast are 0 to all. A single image has no other: −1, which no other is below.

    Args:
        images: B images.
        measure: "correlation" (mean removed) or "cosine".
        block: images compared with all at once.

    Raises:
        ValueError: for another measure, values that are not finite, or block < 1.
    """
    check_choice(measure, "measure", ("correlation", "cosine"))
    block = check_count(block, "block")
    if check_finite(images, "images").ndim < 1 or 0 in images.shape[1:]:
        raise ValueError(f"images must be images (B, ...), not of shape {tuple(images.shape)}")
    unit = _unit(images, measure == "correlation")
    found = unit.new_full((len(unit),), -1.0)
    for start in range(0, len(unit), block):
        products = unit[start : start + block] @ unit.T
        own = torch.arange(len(products), device=unit.device)
        products[own, start + own] = -1
        found[start : start + block] = products.amax(1)
    return found


def _shift_all(x: Tensor, most: int) -> Tensor:
    """Return all shifts of `x` (B, C, H, W) by up to `most`, (shifts · B, C, H, W), none first."""
    steps = sorted(range(-most, most + 1), key=abs)
    return torch.cat([torch.roll(x, (i, j), (-2, -1)) for i in steps for j in steps])
