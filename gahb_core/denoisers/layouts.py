"""Windows of images: which pixels they read, which they answer for, and what compares with what."""

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


class Windows:
    """Images (B, C, H, W) as windows, and back: `write` is the transpose of `read`.

    Attributes:
        layout: where the windows are.
        shape: (C, H, W).
        answer: (C·R,) the entries of a window, of C·d, that are estimates of their pixels.
        times: (1, C, H, W) how many windows estimate each pixel.
    """

    def __init__(self, layout: Layout, images: Tensor) -> None:
        device, self.shape = images.device, tuple(images.shape[1:])
        groups = tuple(Group(*(t.to(device) for t in g)) for g in layout.groups)
        self.layout = Layout(layout.window.to(device), layout.response.to(device), groups)
        entry = torch.arange(self.shape[0], device=device)[:, None] * layout.window.shape[1]
        self.answer = (entry + self.layout.response).flatten()
        num = len(layout.window), len(self.answer)
        self.times = self._write(images.new_ones(1, *num), self.answers)

    @property
    def answers(self) -> Tensor:
        """The pixels (P, R) that each window estimates."""
        return self.layout.window[:, self.layout.response]

    def _read(self, x: Tensor, table: Tensor) -> Tensor:
        flat = torch.nn.functional.pad(x.flatten(2), (0, 1))
        return flat[:, :, table].movedim(1, -2).flatten(-2)

    def _write(self, values: Tensor, table: Tensor) -> Tensor:
        values = values.unflatten(2, (self.shape[0], -1)).movedim(2, 1).flatten(2)
        num_pixels = self.shape[1] * self.shape[2]
        flat = torch.zeros_like(values[:, :, :1]).expand(-1, -1, num_pixels + 1)
        flat = flat.index_add(2, table.flatten(), values)[:, :, :num_pixels]
        return flat.reshape(len(values), *self.shape)

    def read(self, x: Tensor, which: Tensor | slice = slice(None)) -> Tensor:
        """Return windows (B, P, C·d) of images: all, or those meant."""
        return self._read(x, self.layout.window[which])

    def write(self, windows: Tensor) -> Tensor:
        """Return images, the sums of what is written by windows (B, P, C·d)."""
        return self._write(windows, self.layout.window)

    def average(self, answers: Tensor) -> Tensor:
        """Return images, in each pixel the mean of its estimates (B, P, C·R)."""
        return self._write(answers, self.answers) / self.times.to(answers)

    def average_transposed(self, u: Tensor) -> Tensor:
        """Return the transpose of `average` at images `u`, (B, P, C·R)."""
        return self._read(u / self.times.to(u), self.answers)


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
