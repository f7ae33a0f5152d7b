"""Decompositions of J: eigenvectors of its symmetric part, singular vectors, their gap."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gahb_core.checks import (
    check_count,
    check_finite,
    check_floating,
    check_images,
    check_shape,
)


class Spectrum(NamedTuple):
    """Shrinkage factors and the atoms they act on, largest first.

    Of several images (`top_eigenpairs`) all but the last have a row for each.

    Attributes:
        lam: (K,) eigenvalues of the symmetric part of J.
        atoms: (K, C, H, W) orthonormal eigenvectors, as images (their sign is arbitrary).
        residuals: (K,) ‖S e_k − λ_k e_k‖, S = (J + Jᵀ)/2.
        num_products: how many vectors were multiplied by S (D where it was formed).
    """

    lam: Tensor
    atoms: Tensor
    residuals: Tensor
    num_products: int


class SingularValues(NamedTuple):
    """J = Σ_k s_k u_k v_kᵀ, largest first.

    Attributes:
        u: (K, C, H, W) what is written.
        s: (K,) factors.
        v: (K, C, H, W) what is read.
    """

    u: Tensor
    s: Tensor
    v: Tensor


def _check_square(J: Tensor) -> None:
    if check_floating(J, "J").ndim != 2 or J.shape[0] != J.shape[1] or not J.numel():
        raise ValueError(f"J must be a square matrix, not of shape {tuple(J.shape)}")
    check_finite(J, "J")


def _check_shape(J: Tensor, shape: Sequence[int]) -> None:
    _check_square(J)
    if math.prod(check_shape(shape)) != len(J):
        raise ValueError(f"shape must have {len(J)} elements, not be {tuple(shape)}")


def symmetric_part(J: Tensor) -> Tensor:
    """Return (J + Jᵀ)/2, (D, D)."""
    _check_square(J)
    return (J + J.mT) / 2


def eigendecompose(J: Tensor, shape: Sequence[int]) -> Spectrum:
    """Return all D eigenvectors of the symmetric part of `J` (D, D) as images of `shape` (C, H, W).

    The eigenvectors of a trained denoiser's Jacobian are its geometry-adaptive harmonic basis
    (Kadkhodaie, Guth, Simoncelli & Mallat 2024, section 3).
    """
    _check_shape(J, shape)
    S = symmetric_part(J)
    lam, vectors = torch.linalg.eigh(S.cpu())  # not every GPU can
    lam, vectors = lam.flip(0).to(S), vectors.flip(1).to(S)
    residuals = (S @ vectors - vectors * lam).norm(dim=0)
    return Spectrum(lam, vectors.mT.reshape(-1, *shape), residuals, len(J))


def svd(J: Tensor, shape: Sequence[int]) -> SingularValues:
    """Return the singular values and vectors of `J` (D, D) as images of `shape` (C, H, W)."""
    _check_shape(J, shape)
    u, s, vh = (part.to(J) for part in torch.linalg.svd(J.cpu()))
    return SingularValues(u.mT.reshape(-1, *shape), s, vh.reshape(-1, *shape))


def asymmetry(J: Tensor) -> float:
    """Return ‖J − Jᵀ‖ / ‖J‖ (Frobenius): 0 if symmetric, as J of an exact posterior mean is.

    Raises:
        ValueError: where J is zero, or no square matrix of finite numbers.
    """
    _check_square(J)
    size = J.norm()
    if not size > 0:
        raise ValueError("J must not be zero: the asymmetry is relative to its norm")
    return ((J - J.mT).norm() / size).item()


def left_right_alignment(J: Tensor, num: int | None = None) -> float:
    """Return the mean of |⟨u_k, v_k⟩| over the `num` largest singular values (1 if symmetric).

    By default over the axes kept rather than removed, s_k > ½.

    Raises:
        ValueError: where no axis is meant.
    """
    _check_square(J)
    u, s, vh = torch.linalg.svd(J.cpu())
    num = check_count(int((s > 0.5).sum()) if num is None else num, "num", 1, len(s))
    return (u.mT * vh)[:num].sum(1).abs().mean().item()


def _check_orthonormal(images: Tensor, name: str) -> None:
    rows = check_finite(check_images(images, name), name).flatten(1).cpu().double()
    eye = torch.diag(rows.new_ones(len(rows)))
    gap = float((rows @ rows.mT - eye).abs().amax()) if len(rows) else 1.0
    if gap > 1e-3:
        raise ValueError(
            f"{name} must be orthonormal images, one or more, not {len(images)} off by {gap:.2g}"
        )


def subspace_overlap(a: Tensor, b: Tensor) -> float:
    """Return how much of the space of `a` lies in that of `b`: 1 if all, 0 if orthogonal.

    Both are orthonormal images (K, C, H, W): the mean over k of ‖projection of a_k on b‖².

    Raises:
        ValueError: where they are not orthonormal to 1e-3, of two shapes, or none.
    """
    for name, v in (("a", a), ("b", b)):
        _check_orthonormal(v, name)
    if a.shape[1:] != b.shape[1:]:
        raise ValueError(f"a and b must have one shape, not {tuple(a.shape)}, {tuple(b.shape)}")
    a, b = (v.flatten(1).cpu().double() for v in (a, b))
    return float((a @ b.mT).square().sum() / len(a))
