"""The ray: one image at every intensity, a manifold of one dimension."""

import torch
from torch import Tensor

from gahb_core.noise import make_generator


def make_ray_parameters(num: int, seed: int = 0, start: int = 0) -> Tensor:
    """Return the intensities (num, 1), uniform on [0, 1], each from its own stream."""
    u = torch.empty(num, 1)
    for i in range(num):
        torch.rand(1, generator=make_generator(seed, "ray", start + i), out=u[i])
    return u


def draw_ray(parameters: Tensor, image: Tensor) -> Tensor:
    """Return x = a · image, (N, 1, S, S), for intensities a (N, 1) and one image (1, S, S).

    Raises:
        ValueError: where `image` is not one image (1, S, S).
    """
    if image.ndim != 3:
        raise ValueError(f"image must be one image (1, S, S), not of shape {tuple(image.shape)}")
    return parameters[:, :, None, None] * image.to(parameters)


def make_ray(image: Tensor, num: int, seed: int = 0, start: int = 0) -> Tensor:
    """Return `image` (1, S, S) at `num` random intensities, (num, 1, S, S)."""
    return draw_ray(make_ray_parameters(num, seed, start), image)
