"""Top eigenvectors of the symmetric part of J without forming J: block Lanczos, thick restarts."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gahb_core.checks import check_count, check_finite, check_number
from gahb_core.denoisers.contract import Denoiser
from gahb_core.jacobian.products import linearize
from gahb_core.jacobian.spectrum import SingularValues, Spectrum
from gahb_core.noise import make_generator


class NotConvergedError(RuntimeError):
    """The residuals asked for were not reached within the products allowed."""


class Ritz(NamedTuple):
    """The best approximations within the space spanned so far.

    Attributes:
        lam: (K,) Ritz values, largest first.
        vectors: (K, D) Ritz vectors, orthonormal rows.
        images: (K, D) S applied to them.
        residuals: (K,) ‖S e − λ e‖.
    """

    lam: Tensor
    vectors: Tensor
    images: Tensor
    residuals: Tensor


def _rayleigh_ritz(Q: Tensor, SQ: Tensor, num: int) -> Ritz:
    """Return the `num` largest Ritz pairs of the space spanned by the rows of `Q` (M, D)."""
    T = (Q @ SQ.mT).cpu().double()  # (M, M); Apple's GPU has no double precision
    lam, W = torch.linalg.eigh((T + T.mT) / 2)
    lam, W = lam.flip(0)[:num].to(Q), W.flip(1)[:, :num].mT.to(Q)  # (K,), (K, M)
    vectors, images = W @ Q, W @ SQ  # both (K, D)
    return Ritz(lam, vectors, images, (images - lam[:, None] * vectors).norm(dim=1))


def _orthonormalize(rows: Tensor, Q: Tensor, generator: torch.Generator) -> Tensor:
    """Return orthonormal rows that span what `rows` (b, D) add to `Q` (M, D).

    A row that adds nothing (an invariant space was found) is replaced by a random direction, so
    that eigenvectors outside that space are found too. Twice is enough.
    """
    scale = rows.norm(dim=1, keepdim=True)
    rows = rows - (rows @ Q.mT) @ Q
    triangle = torch.linalg.qr(rows.mT.cpu()).R.to(rows)  # (b, b); few GPUs decompose
    lost = triangle.diagonal().abs()[:, None] <= torch.finfo(rows.dtype).eps ** 0.75 * scale
    fresh = torch.randn(rows.shape, generator=generator, dtype=torch.float64, device="cpu").to(rows)
    rows = torch.where(lost, fresh, rows)
    for _ in range(3):
        rows = rows - (rows @ Q.mT) @ Q
        rows = torch.linalg.qr(rows.mT.cpu()).Q.mT.to(rows)
    return rows


def iterate_eigenpairs(
    apply: Callable[[Tensor], Tensor], start: Tensor, num: int, max_basis: int, *, seed: int = 0
) -> Iterator[Ritz]:
    """Yield the `num` largest Ritz pairs of a symmetric map after each block of products.

    Block Lanczos with full reorthogonalisation: the next block is what S times the last block adds
    to the space; when the space is full it restarts from its best Ritz vectors
    (Wu & Simon 2000, thick restart). Ends when the space is the whole space.

    Args:
        apply: rows (b, D) → S times each.
        start: (b, D) the first block.
        num: pairs wanted.
        max_basis: rows kept at most, above num + 2b.
        seed: of the directions that replace lost ones.
    """
    generator = make_generator(seed, "krylov")
    Q = SQ = start.new_empty(0, start.shape[1])  # (M, D), M ≤ max_basis
    new = _orthonormalize(start, Q, generator)
    while len(new):
        Q, SQ = torch.cat([Q, new]), torch.cat([SQ, apply(new)])
        yield _rayleigh_ritz(Q, SQ, num)
        room = min(len(start), Q.shape[1] - len(Q))
        new = _orthonormalize(SQ[len(SQ) - len(new) :][:room], Q, generator)  # (room, D)
        if len(Q) + len(new) > max_basis:
            best = _rayleigh_ritz(Q, SQ, num + len(start))
            Q, SQ = best.vectors, best.images


def symmetric_eigenpairs(
    apply: Callable[[Tensor], Tensor],
    start: Tensor,
    num: int,
    *,
    tol: float = 1e-3,
    max_products: int = 4000,
    seed: int = 0,
) -> tuple[Ritz, int]:
    """Return the `num` largest eigenpairs of a symmetric map and how many products it took.

    Small residuals alone do not show that an eigenvalue repeated more often than the block is wide
    was found each time, so the values must also hold still for one more block.

    Raises:
        ValueError: for a `num` above the dimension, `tol` or `max_products` not positive, a `start`
            that is not finite.
        NotConvergedError: where a residual is above `tol` after `max_products`.
    """
    if check_finite(start, "start").ndim != 2 or not len(start):
        raise ValueError(f"start must be of shape (b, D), b ≥ 1, not {tuple(start.shape)}")
    num = check_count(num, "num", 1, start.shape[1])
    tol = check_number(tol, "tol", above=0)
    max_products = check_count(max_products, "max_products")
    max_basis = max(6 * num, num + 8 * len(start))
    count, before, worst = 0, None, float("inf")
    for ritz in iterate_eigenpairs(apply, start, num, max_basis, seed=seed):
        count += len(start)
        if len(ritz.lam) == num:
            worst = ritz.residuals.max().item()
            if worst <= tol and before is not None and (ritz.lam - before).abs().max() <= tol:
                return ritz, count
            before = ritz.lam
        if count >= max_products:
            break
    if worst <= tol:
        return ritz, count
    raise NotConvergedError(f"residual {worst:.2g} is above tol = {tol:.2g} after {count} products")


def top_eigenpairs(
    denoiser: Denoiser,
    y: Tensor,
    sigma: float | None = None,
    *,
    num: int = 20,
    tol: float = 1e-3,
    block: int = 8,
    max_products: int = 4000,
    seed: int = 0,
    store: str | torch.device | None = None,
) -> Spectrum:
    """Return the `num` largest eigenpairs of (J + Jᵀ)/2 at each image of `y` (B, C, H, W).

    J is never formed: each step multiplies `block` vectors by J and by Jᵀ at once, and memory is
    that of a few hundred images, on the device of `store`.

    Args:
        denoiser: any denoiser f(y, sigma).
        y: one noisy image; or several, one after another, each as if it were alone. Every field of
            the `Spectrum` but the number of products then has B rows, and that is their sum.
        sigma: handed to the denoiser.
        num: eigenpairs wanted.
        tol: largest ‖S e_k − λ_k e_k‖ accepted, in the units of λ (near 1 for a denoiser).
        block: vectors multiplied at once.
        max_products: products allowed at each image.
        seed: of the random first block.
        store: where the vectors are kept and decomposed, such as "cpu" for images too large for
            a GPU to hold hundreds of; None: where `y` is. What comes back is where `y` is.

    Raises:
        ValueError: where `y` is not finite images, or the denoiser does not keep its contract.
        NotConvergedError: where the tolerance is not reached within `max_products`.
    """
    options: dict[str, Any] = {"tol": tol, "max_products": max_products, "seed": seed}

    def find(one: Tensor) -> Spectrum:
        products = linearize(denoiser, one, sigma, block=block)
        ritz, count = _top_pairs(
            lambda v: (products.push(v) + products.pull(v)) / 2, one, num, block, store, **options
        )
        atoms = ritz.vectors.to(y.device).unflatten(1, one.shape[1:])
        return Spectrum(ritz.lam.to(y.device), atoms, ritz.residuals.to(y.device), count)

    if not isinstance(y, Tensor) or y.ndim != 4 or len(y) < 2:
        return find(y)
    found = [find(one) for one in y.split(1)]
    return Spectrum(
        torch.stack([part.lam for part in found]),
        torch.stack([part.atoms for part in found]),
        torch.stack([part.residuals for part in found]),
        sum(part.num_products for part in found),
    )


def _top_pairs(
    apply: Callable[[Tensor], Tensor],
    y: Tensor,
    num: int,
    block: int,
    store: str | torch.device | None = None,
    **options: Any,
) -> tuple[Ritz, int]:
    """Return `symmetric_eigenpairs` of a map of images (b, C, H, W), from a random first block."""
    shape, where = y.shape[1:], _check_store(store, y)
    generator = make_generator(options["seed"], "krylov start")
    size = (min(block, y.numel()), y.numel())
    start = torch.randn(size, generator=generator, dtype=torch.float64, device="cpu")
    return symmetric_eigenpairs(
        lambda rows: apply(rows.to(y).unflatten(1, shape)).flatten(1).to(where),
        start.to(where, y.dtype), num, **options,
    )  # fmt: skip


def _check_store(store: str | torch.device | None, y: Tensor) -> torch.device:
    """Return the device of the vectors; that of `y` where none is said."""
    if store is None:
        return y.device
    try:
        return torch.empty(0, device=store).device
    except (RuntimeError, AssertionError, TypeError) as error:
        first = str(error).splitlines()[0]
        raise ValueError(f"store must be a device that is here, not {store!r}: {first}") from error


def top_singular_values(
    denoiser: Denoiser,
    y: Tensor,
    sigma: float | None = None,
    *,
    num: int = 20,
    tol: float = 1e-3,
    block: int = 8,
    max_products: int = 4000,
    seed: int = 0,
    store: str | torch.device | None = None,
) -> SingularValues:
    """Return the `num` largest singular values of J at one image, with u_k and v_k.

    As `top_eigenpairs`, for the symmetric map JᵀJ, whose residuals ‖JᵀJ v_k − s_k² v_k‖ are at most
    `tol`; u_k = J v_k / s_k. One image; `store` as there.

    Raises:
        NotConvergedError: where the tolerance is not reached within `max_products`.
    """
    products = linearize(denoiser, y, sigma, block=block)
    ritz, _ = _top_pairs(
        lambda v: products.pull(products.push(v)),
        y, num, block, tol=tol, max_products=max_products, seed=seed, store=store,
    )  # fmt: skip
    v = ritz.vectors.to(y.device).unflatten(1, y.shape[1:])
    s = ritz.lam.to(y.device).clamp(min=0).sqrt()
    u = products.push(v) / s.clamp(min=torch.finfo(s.dtype).tiny)[:, None, None, None]
    return SingularValues(u, s, v)
