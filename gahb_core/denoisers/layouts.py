"""What a patch posterior compares with what: windows, dictionaries, responses, as index tables."""

from typing import NamedTuple

import torch
from torch import Tensor


class Group(NamedTuple):
    """Windows that share a dictionary, G such groups side by side.

    Attributes:
        queries: (G, m) which windows of y.
        places: (G, n) the windows of each training image that they are compared with.
    """

    queries: Tensor
    places: Tensor


class Layout(NamedTuple):
    """A machine's parts for images of H·W pixels.

    Attributes:
        window: (P, d) the pixel that each entry of each window reads; H·W: outside, a zero.
        response: (R,) the entries of a patch that are estimates of their pixels.
        groups: who is compared with whom; each window is in one of them.
    """

    window: Tensor
    response: Tensor
    groups: tuple[Group, ...]


def _window_table(rows: Tensor, columns: Tensor, height: int, width: int, wrap: bool) -> Tensor:
    """Return flat pixels (P, d) of windows with the given rows (P, k) and columns (P, k)."""
    inside = ((rows >= 0) & (rows < height))[:, :, None]
    inside = inside & ((columns >= 0) & (columns < width))[:, None]
    flat = (rows % height)[:, :, None] * width + (columns % width)[:, None]
    return (flat if wrap else flat.where(inside, height * width)).flatten(1)


def _centred(size: int, height: int, width: int, wrap: bool) -> Tensor:
    """Return the window of side `size` about each pixel, (H·W, size²)."""
    offset = torch.arange(size, device="cpu") - size // 2
    pixel = torch.arange(height * width, device="cpu")[:, None]
    return _window_table(pixel // width + offset, pixel % width + offset, height, width, wrap)


def local_layout(size: int, height: int, width: int) -> Layout:
    """Return windows about each pixel, each compared with its own place."""
    every = torch.arange(height * width, device="cpu")[:, None]
    window = _centred(size, height, width, False)
    return Layout(window, torch.tensor([size**2 // 2], device="cpu"), (Group(every, every),))


def equivariant_layout(size: int, height: int, width: int, circular: bool) -> Layout:
    """Return windows about each pixel, compared with those at the same distance from the edges."""
    r = size // 2
    pixel = torch.arange(height * width, device="cpu").reshape(height, width)
    if min(height, width) <= 2 * r and not circular:
        return local_layout(size, height, width)
    inner = pixel[r : height - r, r : width - r]
    if circular:
        groups = [Group(pixel.reshape(1, -1), inner.reshape(1, -1))]
    else:
        outer = [*range(r), *range(height - r, height)], [*range(r), *range(width - r, width)]
        parts = (
            inner.reshape(1, -1),
            pixel[outer[0], r : width - r],  # over an upper or lower edge: sliding along it
            pixel[r : height - r, outer[1]].T,
            pixel[outer[0]][:, outer[1]].reshape(-1, 1),  # over a corner: the same place
        )
        groups = [Group(p, p) for p in parts if p.numel()]
    window = _centred(size, height, width, circular)
    return Layout(window, torch.tensor([size**2 // 2], device="cpu"), tuple(groups))


def crop_layout(size: int, height: int, width: int) -> Layout:
    """Return crops inside the image, each of which answers for all of its pixels."""
    top, left = torch.meshgrid(
        torch.arange(height - size + 1, device="cpu"),
        torch.arange(width - size + 1, device="cpu"),
        indexing="ij",
    )
    offset = torch.arange(size, device="cpu")
    rows, columns = top.reshape(-1, 1) + offset, left.reshape(-1, 1) + offset
    every = torch.arange(len(rows), device="cpu")[:, None]
    window = _window_table(rows, columns, height, width, False)
    return Layout(window, torch.arange(size**2, device="cpu"), (Group(every, every),))
