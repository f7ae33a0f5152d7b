"""The basis of a denoiser at one noisy image: its factors, vectors and filters (chapter 5)."""

import math
from typing import Any, NamedTuple

from torch import Tensor

from gahb_core.checks import check_count, check_number
from gahb_core.denoisers.contract import Denoiser
from gahb_core.jacobian.derivatives import adjoint_error
from gahb_core.jacobian.estimates import Estimate, estimate_all
from gahb_core.jacobian.krylov import top_eigenpairs, top_singular_values
from gahb_core.jacobian.products import adaptive_filters, jacobian_matrix, linearize
from gahb_core.jacobian.spectrum import asymmetry, eigendecompose, svd
from gahb_core.noise import sample_normal


class Basis(NamedTuple):
    """What a denoiser does at one noisy image, where J = ∂x̂/∂y is its Jacobian there.

    Attributes:
        x_hat: (C, H, W) the estimate f(y).
        lam: (K,) largest eigenvalues of (J + Jᵀ)/2, the shrinkage factors.
        atoms: (K, C, H, W) its eigenvectors.
        s: (K,) largest singular values of J.
        u: (K, C, H, W) left singular vectors: what is written.
        v: (K, C, H, W) right singular vectors: what is read.
        alignment: (K,) |⟨u_k, v_k⟩|; 1 where J is symmetric and not negative.
        trace: tr J, and its standard error (0 where J was formed).
        sum_sq: ‖J‖² (Frobenius).
        asymmetry: ‖J − Jᵀ‖ / ‖J‖; 0 for an exact posterior mean, 1.41 for random numbers.
        num_above_half: factors above ½. Where `complete` is false and all K are, at least so many.
        complete: whether K is all D = C·H·W, J having been formed.
        gap_to_jy: ‖f(y) − J y‖ / ‖f(y)‖; 0 for networks without constants.
        adjoint_error: |⟨u, Jv⟩ − ⟨Jᵀu, v⟩| of random vectors, relative to the norms.
        pixels: (row, column) of each filter.
        filters: (P, C, H, W) rows of J: the weights that give x̂ at those pixels.
    """

    x_hat: Tensor
    lam: Tensor
    atoms: Tensor
    s: Tensor
    u: Tensor
    v: Tensor
    alignment: Tensor
    trace: Estimate
    sum_sq: Estimate
    asymmetry: Estimate
    num_above_half: int
    complete: bool
    gap_to_jy: float
    adjoint_error: float
    pixels: list[tuple[int, int]]
    filters: Tensor


def basis(
    denoiser: Denoiser,
    y: Tensor,
    sigma: float | None = None,
    *,
    num: int | None = 20,
    num_filters: int = 8,
    num_probes: int = 64,
    tol: float = 1e-3,
    block: int = 8,
    seed: int = 0,
) -> Basis:
    """Return the `Basis` of a denoiser at one noisy image `y` (1, C, H, W).

    Args:
        denoiser: f(y, sigma) → x̂, any differentiable one.
        y: one noisy image.
        sigma: handed to the denoiser.
        num: pairs wanted, by block Lanczos; None: all, from J itself (D² numbers, D products).
        num_filters: of as many pixels, spread over the image.
        num_probes: random vectors of trace, norm and asymmetry.
        tol: largest residual accepted of eigenpairs.
        block: vectors multiplied at once; memory grows with it.
        seed: of probes and of the first block.

    Raises:
        ValueError: where `y` is not one finite image, the denoiser does not keep its contract, or
            f(y) or J is zero.
        NotConvergedError: where the pairs do not reach `tol`.
    """
    num_filters = check_count(num_filters, "num_filters", 0)
    products = linearize(denoiser, y, sigma, block=block)
    if not products.x_hat.norm() > 0:
        raise ValueError("f(y) must not be zero: there is no basis to read off it")
    pixels = spread_pixels((y.shape[-2], y.shape[-1]), num_filters)
    rows = (
        adaptive_filters(denoiser, y, pixels=pixels, sigma=sigma, block=block) if pixels else y[:0]
    )
    found = (
        _from_matrix(denoiser, y, sigma, block)
        if num is None
        else _from_products(denoiser, y, sigma, num, num_probes, tol, block, seed)
    )
    gap = products.x_hat - products.push(y)[0]
    left, right = (sample_normal(y.shape, 0, key=f"adjoint {name}").to(y) for name in "uv")
    # reported here, however large: what is refused was refused by `linearize`
    error = adjoint_error(left, right, products.push(right), products.pull(left), limit=math.inf)
    return Basis(
        x_hat=products.x_hat,
        gap_to_jy=float(gap.norm() / products.x_hat.norm()),
        adjoint_error=error,
        pixels=pixels,
        filters=rows,
        **found,
    )


def _from_matrix(denoiser: Denoiser, y: Tensor, sigma: float | None, block: int) -> dict:
    J = jacobian_matrix(denoiser, y, sigma, block=block)
    spectrum, parts = eigendecompose(J, y.shape[1:]), svd(J, y.shape[1:])
    return {
        "trace": Estimate(float(J.trace()), 0.0),
        "sum_sq": Estimate(float(J.square().sum()), 0.0),
        "asymmetry": Estimate(asymmetry(J), 0.0),
        "complete": True,
        **_vectors(spectrum.lam, spectrum.atoms, parts.u, parts.s, parts.v),
    }


def _from_products(
    denoiser: Denoiser,
    y: Tensor,
    sigma: float | None,
    num: int,
    num_probes: int,
    tol: float,
    block: int,
    seed: int,
) -> dict:
    options = {"sigma": sigma, "tol": tol, "block": block, "seed": seed}
    spectrum = top_eigenpairs(denoiser, y, num=num, **options)
    parts = top_singular_values(denoiser, y, num=num, **options)
    probes: dict[str, Any] = {"num": num_probes, "seed": seed, "block": block}
    found = estimate_all(denoiser, y, sigma, **probes)
    return {
        "trace": found.trace,
        "sum_sq": found.squared_norm,
        "asymmetry": found.asymmetry,
        "complete": num == y.numel(),
        **_vectors(spectrum.lam, spectrum.atoms, parts.u, parts.s, parts.v),
    }


def _vectors(lam: Tensor, atoms: Tensor, u: Tensor, s: Tensor, v: Tensor) -> dict:
    alignment = (u * v).flatten(1).sum(1).abs()
    above = int((lam > 0.5).sum())
    return {
        "lam": lam, "atoms": atoms, "s": s, "u": u, "v": v,
        "alignment": alignment, "num_above_half": above,
    }  # fmt: skip


def spread_pixels(size: tuple[int, int], num: int) -> list[tuple[int, int]]:
    """Return `num` pixels (row, column) spread over an image of `size` (H, W), off its borders.

    >>> spread_pixels((32, 32), 2)
    [(16, 8), (16, 24)]
    """
    num = check_count(num, "num", 0)
    height, width = (int(check_number(n, "size", 1)) for n in size)
    rows = max(1, math.isqrt(num * height // max(width, 1) // 2)) if num else 1
    columns = -(-num // rows)
    places = [divmod(i, columns) for i in range(num)]
    return [(int(height * (r + 0.5) / rows), int(width * (c + 0.5) / columns)) for r, c in places]
