"""Tangent vectors of a manifold of images, by automatic differentiation."""

from collections.abc import Callable

import torch
from torch import Tensor

from gahb_core.checks import check_floating


def tangent_vectors(draw: Callable[[Tensor], Tensor], parameters: Tensor) -> Tensor:
    """Return ∂x/∂parameter, (N, P, C, H, W), of the images draw(parameters).

    The tangent plane at an image is the span of its P vectors; they are neither of unit length
    nor orthogonal: `torch.linalg.qr` makes a basis of them.

    Args:
        draw: parameters (N, P) → images (N, C, H, W), differentiable; such as `draw_disks`.
        parameters: where, (N, P).

    Raises:
        ValueError: where `parameters` is not floating point of two dimensions, or none.
    """
    if check_floating(parameters, "parameters").ndim != 2 or not len(parameters):
        raise ValueError(f"parameters must be (N, P), N ≥ 1, not {tuple(parameters.shape)}")
    jacobian = torch.func.jacfwd(lambda p: draw(p[None])[0])
    return torch.func.vmap(jacobian)(parameters).movedim(-1, 1)
