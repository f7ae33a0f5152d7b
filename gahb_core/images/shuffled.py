"""The shuffled control: the pixels of every image moved by one fixed permutation.

Intensities and pixel-to-pixel covariances stay as they were, but for their places; what is near
what is lost. Source: paper (a).
"""

import torch
from torch import Tensor

from gahb_core.checks import check_count, check_tensor
from gahb_core.noise import make_generator


def pixel_permutation(num: int, seed: int = 0) -> Tensor:
    """Return the fixed permutation of `num` pixels: new pixel i is old pixel permutation[i]."""
    num = check_count(num, "num", 0)
    return torch.randperm(num, generator=make_generator(seed, "pixels", num), device="cpu")


def _flatten(x: Tensor) -> Tensor:
    if check_tensor(x).ndim < 2:
        raise ValueError(f"x must be images (..., H, W), not of shape {tuple(x.shape)}")
    return x.flatten(-2)


def shuffle_pixels(x: Tensor, seed: int = 0) -> Tensor:
    """Return images (..., H, W) with their pixels moved by `pixel_permutation`."""
    flat = _flatten(x)
    return flat[..., pixel_permutation(flat.shape[-1], seed).to(x.device)].reshape(x.shape)


def unshuffle_pixels(x: Tensor, seed: int = 0) -> Tensor:
    """Return images (..., H, W) with their pixels moved back: the inverse of `shuffle_pixels`."""
    flat = _flatten(x)
    back = pixel_permutation(flat.shape[-1], seed).argsort()
    return flat[..., back.to(x.device)].reshape(x.shape)
