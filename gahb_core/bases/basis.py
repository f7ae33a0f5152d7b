"""What a basis is: a pair of maps analyze ⇄ synthesize that keep inner products."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gahb_core.checks import check_count, check_finite, check_floating


class Basis(NamedTuple):
    """An orthonormal basis (e_k) of images of one size.

    Attributes:
        name: what a legend calls it.
        analyze: images (B, C, H, W) → coefficients ⟨x, e_k⟩ (B, C·H·W), channel by channel.
        synthesize: coefficients (B, C·H·W) → images Σ_k c_k e_k (B, C, H, W).
        frequency: (H·W,) coarse to fine. Fourier and DCT: cycles per image; wavelets: blocks of
            the level per image; harmonics of a shape: √ of the Laplacian's eigenvalue. 0 marks the
            coarsest part (the mean, the low-pass band), which thresholding leaves alone.
    """

    name: str
    analyze: Callable[[Tensor], Tensor]
    synthesize: Callable[[Tensor], Tensor]
    frequency: Tensor


def atoms(basis: Basis, index: Sequence[int] | Tensor) -> Tensor:
    """Return the basis images e_k for each k of `index`, (K, 1, H, W), float64.

    Raises:
        ValueError: where `index` is not whole numbers (K,) below the number of atoms.
    """
    num = len(basis.frequency)
    try:
        index = torch.as_tensor(index, device=getattr(index, "device", "cpu"))
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"index must be whole numbers in 0 … {num - 1}, not {index!r}") from error
    if index.numel() == 0:
        index = index.long()
    whole = not (index.is_floating_point() or index.is_complex() or index.dtype == torch.bool)
    if index.ndim != 1 or not whole or bool(((index < 0) | (index >= num)).any()):
        raise ValueError(f"index must be whole numbers in 0 … {num - 1}, not {index.tolist()}")
    return basis.synthesize(torch.nn.functional.one_hot(index.long(), num).double())


def separable(a: Tensor, x: Tensor, b: Tensor) -> Tensor:
    """Return a x bᵀ on the last two axes, in the dtype and on the device of `x`."""
    return a.to(x) @ x @ b.to(x).mT


def check_size(size: int | tuple[int, int], step: int = 1) -> tuple[int, int]:
    """Return (height, width), checked to be positive and divisible by `step`."""
    pair = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(pair) != 2:
        raise ValueError(f"size must be one number or (height, width), not {size!r}")
    height, width = (check_count(n, "size", 0) for n in pair)
    if min(height, width) < 1 or height % step or width % step:
        raise ValueError(f"size must be positive and divisible by {step}, not {(height, width)}")
    return height, width


def make_basis(
    name: str, size: tuple[int, int], forward: Callable, backward: Callable, frequency: Tensor
) -> Basis:
    """Return the basis of two maps between (B, C, H, W) arrays, its coefficients flattened."""

    def analyze(x: Tensor) -> Tensor:
        if check_floating(x, "x").ndim != 4 or tuple(x.shape[-2:]) != size:
            raise ValueError(
                f"x must be of shape (B, C, {size[0]}, {size[1]}), not {tuple(x.shape)}"
            )
        return forward(x).flatten(1)

    def synthesize(c: Tensor) -> Tensor:
        if check_floating(c, "c").ndim != 2 or c.shape[1] % (size[0] * size[1]):
            raise ValueError(f"c must be of shape (B, C·{size[0] * size[1]}), not {tuple(c.shape)}")
        return backward(c.unflatten(1, (-1, *size)))

    return Basis(name, analyze, synthesize, frequency.flatten())


def make_matrix_basis(name: str, matrix: Tensor, size: tuple[int, int], frequency: Tensor) -> Basis:
    """Return the basis whose atoms are the rows of an orthogonal `matrix` (D, D), D = H·W.

    Raises:
        ValueError: where `matrix` is not square of side H·W, finite, and orthogonal to 1e-4, or
            there is not one finite frequency a row.
    """
    size = check_size(size)
    num = size[0] * size[1]
    if check_finite(frequency, "frequency").numel() != num:
        raise ValueError(f"frequency must have {num} values, not {frequency.numel()}")
    check_finite(matrix, "matrix")
    if matrix.shape != (num, num):
        raise ValueError(f"matrix must be of shape {(num, num)}, not {tuple(matrix.shape)}")
    eye = torch.eye(num, dtype=matrix.dtype, device=matrix.device)
    gap = (matrix @ matrix.mT - eye).abs().max().item()
    if gap > 1e-4:
        raise ValueError(f"matrix must be orthogonal, but M Mᵀ − I reaches {gap:.2g}")
    return make_basis(
        name,
        size,
        lambda x: (x.flatten(2) @ matrix.to(x).mT).unflatten(-1, size),
        lambda c: (c.flatten(2) @ matrix.to(c)).unflatten(-1, size),
        frequency,
    )
