"""Disks: a five-dimensional manifold of images (paper (a), section 3.2)."""

import torch
from torch import Tensor

from gahb_core.checks import check_count, check_points
from gahb_core.images.family import Family
from gahb_core.noise import sample_uniform


def make_disk_parameters(num: int, size: int = 32, seed: int = 0, start: int = 0) -> Tensor:
    """Return (num, 5): vertical and horizontal centre, radius (pixels), foreground, background.

    r ~ U[3, (S − 3)/2), centre ~ U[r, S − r), both grey values ~ U[0, 1]: all continuous. A pixel
    (i, j) has its centre at (i + ½, j + ½).

    Raises:
        ValueError: where `size` leaves no room for a radius of 3, and as `noise.sample_uniform`.
    """
    size = check_count(size, "size", 10)
    u = sample_uniform((check_count(num, "num", 0), 5), seed, start, key="disks")
    radius = 3 + u[:, 2] * ((size - 3) / 2 - 3)
    centre = radius[:, None] + u[:, :2] * (size - 2 * radius)[:, None]
    return torch.cat([centre, radius[:, None], u[:, 3:]], dim=1)


def cover_disks(place: Tensor, size: int = 32) -> Tensor:
    """Return the part of each pixel that a disk covers, (N, size, size).

    clip(r − distance + ½, 0, 1) for places (cy, cx, r) (N, 3): closed form, so that autodiff
    gives tangent vectors.
    """
    check_points(place, (3,), "place")
    size = check_count(size, "size")
    cy, cx, radius = (p[:, None, None] for p in place.unbind(1))
    grid = torch.arange(size, dtype=place.dtype, device=place.device) + 0.5
    distance = torch.sqrt((grid[:, None] - cy) ** 2 + (grid - cx) ** 2 + 1e-12)
    return (radius - distance + 0.5).clamp(0, 1)


def draw_disks(parameters: Tensor, size: int = 32) -> Tensor:
    """Return the disks (N, 1, size, size) of `parameters` (N, 5), anti-aliased."""
    check_points(parameters, (5,), "parameters")
    front, back = (p[:, None, None] for p in parameters[:, 3:].unbind(1))
    mask = cover_disks(parameters[:, :3], size)
    return (mask * front + (1 - mask) * back)[:, None]


def make_disks(num: int, size: int = 32, seed: int = 0, start: int = 0) -> Tensor:
    """Return `num` random disks (num, 1, size, size) in [0, 1], disk i from its own stream."""
    return draw_disks(make_disk_parameters(num, size, seed, start), size)


FAMILY = Family(
    "disks",
    make=make_disks,
    sample_parameters=make_disk_parameters,
    draw=draw_disks,
    denoiser="disk_denoiser",
)
