"""Area averaging to any smaller size."""

import torch
from torch import Tensor

from gahb_core.checks import check_count, check_floating


def _overlaps(size_in: int, size_out: int) -> Tensor:
    edges = torch.arange(size_out + 1, dtype=torch.float64, device="cpu") * (size_in / size_out)
    pixels = torch.arange(size_in, dtype=torch.float64, device="cpu")
    low = torch.maximum(edges[:-1, None], pixels)
    high = torch.minimum(edges[1:, None], pixels + 1)
    return (high - low).clamp(min=0) * (size_out / size_in)


def resize_area(x: Tensor, size: int) -> Tensor:
    """Return square images (..., size, size): each new pixel the mean of the area it covers.

    Exact at any ratio: a partly covered pixel counts by the part covered. White noise of
    deviation σ becomes white noise of deviation σ size / S where S / size is whole.

    Raises:
        ValueError: where the images are not floating point, not square or smaller than `size`.
    """
    if check_floating(x).ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ValueError(f"x must be square images (..., S, S), not {tuple(x.shape)}")
    side = x.shape[-1]
    size = check_count(size, "size", 1, side)
    if size == side:
        return x.clone()
    w = _overlaps(side, size).to(x)
    return w @ x @ w.T
