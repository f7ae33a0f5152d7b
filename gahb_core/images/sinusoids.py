"""Sinusoids of one cycle an image: a manifold of two dimensions."""

import math

import torch
from torch import Tensor

from gahb_core.checks import check_count, check_points
from gahb_core.images.family import Family
from gahb_core.noise import sample_uniform


def make_sinusoid_parameters(num: int, seed: int = 0, start: int = 0) -> Tensor:
    """Return (num, 2): phase ~ U[0, 2π) and intensity ~ U[0, 1], each from its own stream."""
    u = sample_uniform((check_count(num, "num", 0), 2), seed, start, key="sinusoids")
    return u * u.new_tensor([2 * math.pi, 1.0])


def draw_sinusoids(parameters: Tensor, size: int = 32) -> Tensor:
    """Return x(i, j) = ½ + (a/2) cos(2π (j + ½)/S − φ) for (φ, a) (N, 2): (N, 1, size, size).

    Upright waves, one cycle across the image; in [0, 1] for a in [0, 1].

    Raises:
        ValueError: where `size` is below 3: fewer columns do not hold both phases of a cycle.
    """
    check_points(parameters, (2,), "parameters")
    size = check_count(size, "size", 3)
    phase, intensity = (p[:, None, None, None] for p in parameters.unbind(1))
    columns = torch.arange(size, dtype=parameters.dtype, device=parameters.device) + 0.5
    wave = torch.cos(2 * math.pi / size * columns - phase)
    return (0.5 + 0.5 * intensity * wave).expand(-1, 1, size, size)


def make_sinusoids(num: int, size: int = 32, seed: int = 0, start: int = 0) -> Tensor:
    """Return `num` random sinusoids (num, 1, size, size) in [0, 1].

    Raises:
        ValueError: where `size` is below 3, and as `noise.sample_uniform` does.
    """
    return draw_sinusoids(make_sinusoid_parameters(num, seed, start), size).contiguous()


FAMILY = Family(
    "sinusoids",
    make=make_sinusoids,
    sample_parameters=lambda num, size, seed, start: make_sinusoid_parameters(num, seed, start),
    draw=draw_sinusoids,
    denoiser="sinusoid_denoiser",
)
