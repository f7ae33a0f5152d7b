"""Ellipses: a seven-dimensional manifold of images, the disks stretched and turned."""

import math

import torch
from torch import Tensor

from gahb_core.checks import check_count, check_points
from gahb_core.images.family import Family
from gahb_core.noise import sample_uniform

THINNEST = 1e-3  # semi-axis in pixels


def make_ellipse_parameters(num: int, size: int = 32, seed: int = 0, start: int = 0) -> Tensor:
    """Return (num, 7): vertical and horizontal centre, semi-axes a and b (pixels), angle, greys.

    a, b ~ U[3, (S − 3)/2) and θ ~ U[0, π), independent; given these, the centre is uniform where
    the ellipse is inside the image: cy ~ U[h, S − h), h² = a² sin²θ + b² cos²θ, and
    cx ~ U[w, S − w), w² = a² cos²θ + b² sin²θ. Foreground and background ~ U[0, 1]. θ is the angle
    of the axis a to the horizontal, and a pixel (i, j) has its centre at (i + ½, j + ½), as for
    disks. (a, b, θ) and (b, a, θ ± π/2) are the same ellipse; where a = b it is a disk, and θ moves
    nothing: the manifold has seven dimensions but there.

    Raises:
        ValueError: where `size` leaves no room for a semi-axis of 3, and as `noise.sample_uniform`.
    """
    size = check_count(size, "size", 10)
    u = sample_uniform((check_count(num, "num", 0), 7), seed, start, key="ellipses")
    axes = 3 + u[:, 2:4] * ((size - 3) / 2 - 3)  # (num, 2)
    angle = math.pi * u[:, 4:5]  # (num, 1)
    sides = torch.cat([angle.sin(), angle.cos()], 1)
    half = (axes[:, :1] ** 2 * sides**2 + axes[:, 1:] ** 2 * sides.flip(1) ** 2).sqrt()  # (h, w)
    centre = half + u[:, :2] * (size - 2 * half)
    return torch.cat([centre, axes, angle, u[:, 5:]], 1)


def cover_ellipses(place: Tensor, size: int = 32) -> Tensor:
    """Return the part of each pixel that an ellipse covers, (N, size, size).

    clip(½ − d, 0, 1) for places (cy, cx, a, b, θ) (N, 5), with d = (f − 1) f / g the distance to
    the contour at first order: f² = (u/a)² + (v/b)², g² = u²/a⁴ + v²/b⁴, and (u, v) the pixel's
    place along the two axes. Where a = b it is the exact distance, and the disk of `cover_disks`.
    Semi-axes below .001 count as .001.
    """
    check_points(place, (5,), "place")
    size = check_count(size, "size")
    cy, cx, a, b, angle = (p[:, None, None] for p in place.unbind(1))  # (N, 1, 1)
    grid = torch.arange(size, dtype=place.dtype, device=place.device) + 0.5
    down, right = grid[:, None] - cy, grid - cx  # (N, S, 1) and (N, 1, S)
    a, b = a.clamp(min=THINNEST), b.clamp(min=THINNEST)
    u, v = right * angle.cos() - down * angle.sin(), right * angle.sin() + down * angle.cos()
    f = ((u / a) ** 2 + (v / b) ** 2 + 1e-12).sqrt()  # (N, S, S)
    g = ((u / a**2) ** 2 + (v / b**2) ** 2 + 1e-12).sqrt()
    return (0.5 - (f - 1) * f / g).clamp(0, 1)


def draw_ellipses(parameters: Tensor, size: int = 32) -> Tensor:
    """Return the ellipses (N, 1, size, size) of `parameters` (N, 7), anti-aliased."""
    check_points(parameters, (7,), "parameters")
    front, back = (p[:, None, None] for p in parameters[:, 5:].unbind(1))
    mask = cover_ellipses(parameters[:, :5], size)
    return (mask * front + (1 - mask) * back)[:, None]


def make_ellipses(num: int, size: int = 32, seed: int = 0, start: int = 0) -> Tensor:
    """Return `num` random ellipses (num, 1, size, size) in [0, 1], each from its own stream."""
    return draw_ellipses(make_ellipse_parameters(num, size, seed, start), size)


FAMILY = Family(
    "ellipses",
    make=make_ellipses,
    sample_parameters=make_ellipse_parameters,
    draw=draw_ellipses,
)
