"""The derivative of a denoiser of any kind at one image, and whether it is its derivative.

`torch.func` differentiates forwards and backwards, many vectors at once. What it cannot take
(attention has no forward rule, a denoiser may call autograd itself) is differentiated backwards:
the image is repeated, so that row i depends on row i alone; Jᵀ u is one gradient, and J v the
gradient of ⟨Jᵀ u, v⟩ by u.

Autograd follows what it is shown. A denoiser that hides a part of its work (`no_grad`, `.data`,
`.detach()`, NumPy) has a derivative that is none: zero, or of y alone, without an error. So the
products are held against differences of f, and against each other.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from gahb_core.denoisers.contract import Denoiser
from gahb_core.noise import make_generator
from gahb_core.probes import check_pure, estimate

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
    """

    x_hat: Tensor
    push: Callable[[Tensor], Tensor]
    pull: Callable[[Tensor], Tensor]


def differentiate(denoiser: Denoiser, image: Tensor, sigma: float | None) -> Linearization:
    """Return f and its products at `image` (C, H, W), by `torch.func` or else by gradients alone.

    Raises:
        ValueError: where f draws or changes what it keeps (`probes.check_pure`), where it cannot
            be differentiated, or where its derivative is not that of its differences.
    """
    x_hat = check_pure(denoiser, image[None], sigma)[0]
    u, v = (_probe(image, key) for key in "uv")
    failed = []
    for way in (_by_transforms, _by_gradients):
        try:
            products = way(denoiser, image, sigma, x_hat)
            with torch.no_grad():
                Jv, Jtu = products.push(v[None])[0], products.pull(u[None])[0]
            break
        except RuntimeError as error:  # NotImplementedError, too
            failed.append((str(error).strip() or type(error).__name__).splitlines()[0])
    else:
        raise ValueError(
            "denoiser must be differentiable in y by torch, and is not: "
            f"{failed[-1]} (torch.func: {failed[0]})"
        )
    _check_difference(denoiser, image, sigma, v, Jv)
    _check_adjoint(u, v, Jv, Jtu)
    return products


def _probe(image: Tensor, key: str) -> Tensor:
    """Return a vector of random signs, like `image`."""
    bits = torch.randint(2, image.shape, generator=make_generator(0, "probe", key), device="cpu")
    return (2 * bits - 1).to(image)


def _check_difference(
    denoiser: Denoiser, image: Tensor, sigma: float | None, v: Tensor, Jv: Tensor
) -> None:
    """Refuse J v where no difference of f along `v` is near it: one that jumps may miss a few."""
    size, gaps = image.square().mean().sqrt().clamp(min=1e-3), []
    for share in STEPS if Jv.norm() > FLAT * v.norm() else (1e-2,):
        step = share * size
        with torch.no_grad():
            ends = [estimate(denoiser, (image + s * step * v)[None], sigma)[0] for s in (1, -1)]
        slope = (ends[0] - ends[1]) / (2 * step)
        rounding = 10 * torch.finfo(image.dtype).eps * (ends[0].norm() + image.norm()) / step
        gap = float((slope - Jv).norm())
        if gap <= NEAR * float(torch.maximum(slope.norm(), Jv.norm())) + float(rounding):
            return
        gaps.append((gap, float(slope.norm())))
    size_v = float(v.norm())
    raise ValueError(
        "denoiser must have the derivative that its values have: along one direction they move by "
        f"{min(gaps)[1] / size_v:.2g}, and by its derivative by {float(Jv.norm()) / size_v:.2g}; "
        "no_grad, inference_mode, .data, .detach() or NumPy within it cut autograd off"
    )


def _check_adjoint(u: Tensor, v: Tensor, Jv: Tensor, Jtu: Tensor) -> None:
    """Refuse products of which one is not the transpose of the other: ⟨u, J v⟩ = ⟨Jᵀ u, v⟩."""
    there, back = (
        float((a.cpu().double() * b.cpu().double()).sum()) for a, b in ((u, Jv), (Jtu, v))
    )
    size = float(u.norm()) * float(Jv.norm()) + float(Jtu.norm()) * float(v.norm())
    if not abs(there - back) <= ADJOINT * size:
        raise ValueError(
            "denoiser must have one derivative forwards and backwards, and ⟨u, Jv⟩ = "
            f"{there:.3g} is not ⟨Jᵀu, v⟩ = {back:.3g}: no_grad, inference_mode, .data or "
            ".detach() within it cut autograd off"
        )


def _by_transforms(
    denoiser: Denoiser, image: Tensor, sigma: float | None, x_hat: Tensor
) -> Linearization:
    def f(image: Tensor) -> Tensor:
        return estimate(denoiser, image[None], sigma)[0]

    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        _, pull = torch.func.vjp(f, image)

    def push(v: Tensor) -> Tensor:
        with sdpa_kernel(SDPBackend.MATH):
            return torch.vmap(lambda w: torch.func.jvp(f, (image,), (w,))[1])(v)

    return Linearization(x_hat, push, torch.vmap(lambda u: pull(u)[0]))


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

    return Linearization(x_hat, push, pull)
