"""The derivative of a denoiser of any kind at one image, and whether it is its derivative.

`torch.func` differentiates forwards and backwards, many vectors at once. What it cannot take
(attention has no forward rule, a denoiser may call autograd itself) is differentiated backwards:
the image is repeated, so that row i depends on row i alone; Jᵀ u is one gradient, and J v the
gradient of ⟨Jᵀ u, v⟩ by u.

Autograd follows what it is shown. A denoiser that hides a part of its work (`no_grad`, `.data`,
`.detach()`, NumPy) has a derivative that is none: zero, or of y alone, without an error. So the
products are held against differences of f, and against each other.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from gahb_core.denoisers.contract import Denoiser
from gahb_core.noise import make_generator
from gahb_core.probes import ask_of, check_pure, estimate, remembered

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

STEPS = (1e-3, 1e-4, 1e-2, 1e-5)  # of a difference, in root mean squares of y
FLAT = 1e-3  # a derivative below this share of v is held against a wide step alone: it may be steps
NEAR = 0.03  # ReLUs that close within a step are a few parts in a thousand
ADJOINT = 1e-3


class Linearization(NamedTuple):
    """The linear map J at one noisy image.

    Attributes:
        x_hat: the estimate f(y) there, (C, H, W).
        push: vectors (K, C, H, W) → J v (K, C, H, W).
        pull: vectors (K, C, H, W) → Jᵀ u (K, C, H, W).
        way: how they are made: "masks" (a network of the book), "torch.func", or "gradients"
            (backwards alone, where a part of the denoiser has no forward rule).
    """

    x_hat: Tensor
    push: Callable[[Tensor], Tensor]
    pull: Callable[[Tensor], Tensor]
    way: str = "masks"

    def operator(self) -> "LinearOperator":
        """Return J, (D, D), as a linear operator of SciPy; its vectors are NumPy's, on the CPU."""
        from scipy.sparse.linalg import LinearOperator  # here: few need it, and it takes long

        shape, like = self.x_hat.shape, self.x_hat

        def apply(product: Callable[[Tensor], Tensor]) -> Callable[[np.ndarray], np.ndarray]:
            def columns(v: np.ndarray) -> np.ndarray:
                rows = torch.as_tensor(np.ascontiguousarray(v.reshape(like.numel(), -1).T))
                out = product(rows.to(like).unflatten(1, shape)).flatten(1)
                return out.cpu().numpy().T.reshape(v.shape)

            return columns

        push, pull, size = apply(self.push), apply(self.pull), like.numel()
        kind = torch.empty(0, dtype=like.dtype).numpy().dtype
        return LinearOperator(
            (size, size), matvec=push, rmatvec=pull, matmat=push, rmatmat=pull, dtype=kind
        )


def differentiate(denoiser: Denoiser, image: Tensor, sigma: float | None) -> Linearization:
    """Return f and its products at `image` (C, H, W), by `torch.func` or else by gradients alone.

    The derivative is tried once for each denoiser, size of images, dtype and device; after that f
    is called for x̂ and for the products alone.

    Raises:
        ValueError: where f draws or changes what it keeps (`probes.check_pure`), is not finite,
            cannot be differentiated, or has a derivative that is not that of its differences.
    """
    known, question = remembered(denoiser), ("derivative", ask_of(image[None], sigma))
    if question in known:
        with torch.no_grad():
            x_hat = _check_values(estimate(denoiser, image[None], sigma)[0])
        return WAYS[known[question]](denoiser, image, sigma, x_hat)
    x_hat = _check_values(check_pure(denoiser, image[None], sigma)[0])
    u, v = (signs_like(image, key) for key in "uv")
    failed = {}
    for way in WAYS:
        try:
            products = WAYS[way](denoiser, image, sigma, x_hat)
            with torch.no_grad():
                Jv, Jtu = products.push(v[None])[0], products.pull(u[None])[0]
            break
        except RuntimeError as error:  # NotImplementedError, too
            failed[way] = (str(error).strip() or type(error).__name__).splitlines()[0]
    else:
        reasons = "; ".join(f"{way}: {reason}" for way, reason in failed.items())
        raise ValueError(f"denoiser must be differentiable in y by torch, and is not: {reasons}")
    difference_error(denoiser, image, sigma, v, Jv)
    adjoint_error(u, v, Jv, Jtu)
    known[question] = way
    return products


def _check_values(x_hat: Tensor) -> Tensor:
    if not bool(torch.isfinite(x_hat).all()):
        raise ValueError("denoiser must give finite values, and gives inf or nan at a finite y")
    return x_hat


def signs_like(image: Tensor, key: str) -> Tensor:
    """Return a vector of random signs, like `image`."""
    bits = torch.randint(2, image.shape, generator=make_generator(0, "probe", key), device="cpu")
    return (2 * bits - 1).to(image)


def difference_error(
    denoiser: Denoiser,
    image: Tensor,
    sigma: float | None,
    v: Tensor,
    Jv: Tensor,
    *,
    near: float = NEAR,
) -> float:
    """Return how far J v is from a difference of f along `v`, as a share of the larger.

    Steps are tried until one is as near as `near`, or all are: one that jumps may miss a few.

    Raises:
        ValueError: where none is within `NEAR`, or its rounding.
    """
    size, found = image.square().mean().sqrt().clamp(min=1e-3), []
    for share in STEPS if Jv.norm() > FLAT * v.norm() else (1e-2,):
        step = share * size
        with torch.no_grad():
            ends = [estimate(denoiser, (image + s * step * v)[None], sigma)[0] for s in (1, -1)]
        slope = (ends[0] - ends[1]) / (2 * step)
        rounding = 10 * torch.finfo(image.dtype).eps * (ends[0].norm() + image.norm()) / step
        gap, larger = float((slope - Jv).norm()), float(torch.maximum(slope.norm(), Jv.norm()))
        good = gap <= NEAR * larger + float(rounding)
        found.append((not good, gap / larger if larger > 0 else gap, float(slope.norm())))
        if gap <= near * larger + float(rounding):
            break
    bad, error, moved = min(found)
    if not bad:
        return error
    size_v = float(v.norm())
    raise ValueError(
        "denoiser must have the derivative that its values have: along one direction they move by "
        f"{moved / size_v:.2g}, and by its derivative by {float(Jv.norm()) / size_v:.2g}; "
        "no_grad, inference_mode, .data, .detach() or NumPy within it cut autograd off"
    )


def adjoint_error(
    u: Tensor, v: Tensor, Jv: Tensor, Jtu: Tensor, *, limit: float = ADJOINT
) -> float:
    """Return |⟨u, J v⟩ − ⟨Jᵀ u, v⟩| as a share of ‖u‖‖J v‖ + ‖Jᵀ u‖‖v‖.

    Raises:
        ValueError: where it is above `limit`, or not finite: one is not the transpose of the other.
    """
    there, back = (
        float((a.cpu().double() * b.cpu().double()).sum()) for a, b in ((u, Jv), (Jtu, v))
    )
    size = float(u.norm()) * float(Jv.norm()) + float(Jtu.norm()) * float(v.norm())
    error = abs(there - back) / size if size > 0 else 0.0
    if not error <= limit or not math.isfinite(size):
        raise ValueError(
            "denoiser must have one derivative forwards and backwards, and ⟨u, Jv⟩ = "
            f"{there:.3g} is not ⟨Jᵀu, v⟩ = {back:.3g}: no_grad, inference_mode, .data or "
            ".detach() within it cut autograd off"
        )
    return error


def _by_transforms(
    denoiser: Denoiser, image: Tensor, sigma: float | None, x_hat: Tensor
) -> Linearization:
    def f(image: Tensor) -> Tensor:
        return estimate(denoiser, image[None], sigma)[0]

    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        pull = torch.func.vjp(f, image)[1]

    def push(v: Tensor) -> Tensor:
        with sdpa_kernel(SDPBackend.MATH):
            return torch.vmap(lambda w: torch.func.jvp(f, (image,), (w,))[1])(v)

    return Linearization(x_hat, push, torch.vmap(lambda u: pull(u)[0]), "torch.func")


def _by_gradients(
    denoiser: Denoiser, image: Tensor, sigma: float | None, x_hat: Tensor
) -> Linearization:
    """Return products by gradients of f at the repeated image, which need no forward rule."""

    @torch.enable_grad()
    def run(num: int) -> tuple[Tensor, Tensor]:
        y = image.expand(num, *image.shape).clone().requires_grad_()
        with sdpa_kernel(SDPBackend.MATH):
            return y, denoiser(y, sigma)

    def pull(u: Tensor) -> Tensor:
        y, out = run(len(u))
        return torch.autograd.grad(out, y, u)[0]

    @torch.enable_grad()
    def push(v: Tensor) -> Tensor:
        y, out = run(len(v))
        u = torch.zeros_like(out, requires_grad=True)
        (back,) = torch.autograd.grad(out, y, u, create_graph=True)
        return torch.autograd.grad(back, u, v)[0]

    return Linearization(x_hat, push, pull, "gradients")


WAYS = {"torch.func": _by_transforms, "gradients": _by_gradients}
