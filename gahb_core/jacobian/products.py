"""Products of J with batches of vectors, and J itself, at one noisy image."""

from collections.abc import Callable, Sequence
from numbers import Integral

import torch
from torch import Tensor

from gahb_core.checks import check_count, check_finite, check_floating, check_number
from gahb_core.denoisers.contract import Denoiser
from gahb_core.jacobian.derivatives import Linearization, differentiate
from gahb_core.jacobian.masks import find_network, fix_masks
from gahb_core.noise import broadcast_sigma
from gahb_core.probes import LOOSE, estimate


def _check_image(y: Tensor) -> None:
    if check_floating(y, "y").ndim != 4 or len(y) != 1 or not y.numel():
        raise ValueError(f"y must be one noisy image (1, C, H, W), not {tuple(y.shape)}")
    check_finite(y, "y")  # backward products through closed ReLUs would not show it


def _by_blocks(apply: Callable[[Tensor], Tensor], image: Tensor, block: int) -> Callable:
    """Return `apply` for vectors like `image`, checked, `block` at a time, with no graph kept."""
    shape, dtype = image.shape, image.dtype

    def product(v: Tensor) -> Tensor:
        if check_floating(v, "v").ndim != 4 or v.shape[1:] != shape:
            raise ValueError(
                f"v must be of shape (K, {', '.join(map(str, shape))}), not {tuple(v.shape)}"
            )
        if v.dtype != dtype:
            raise ValueError(f"v must be {dtype} like y, not {v.dtype}")
        with torch.no_grad():
            return torch.cat([apply(part) for part in v.split(block)]) if len(v) else v.clone()

    return product


def linearize(
    denoiser: Denoiser, y: Tensor, sigma: float | None = None, *, block: int = 64
) -> Linearization:
    """Return f(y) with the maps v → J v and u → Jᵀ u at one image `y` (1, C, H, W).

    Both run over a batch of vectors at once, `block` at a time. A network of the book is run once
    at `y`, and its masks kept (`jacobian.masks`), where that gives what the denoiser gives; any
    other denoiser is differentiated (`jacobian.derivatives`). Memory grows with `block`, not
    with D².

    Raises:
        ValueError: where `y` is not one finite image, or the vectors are not like it; where the
            denoiser draws, changes what it keeps, or has no derivative that is its own.
    """
    _check_image(y)
    block, image = check_count(block, "block"), y[0].detach()
    if sigma is not None:
        broadcast_sigma(sigma, y)  # a blind denoiser would not look at it
    found = _by_masks(denoiser, image, sigma) or differentiate(denoiser, image, sigma)
    push, pull = (_by_blocks(product, image, block) for product in (found.push, found.pull))
    return Linearization(found.x_hat, push, pull, found.way)


def _by_masks(denoiser: Denoiser, image: Tensor, sigma: float | None) -> Linearization | None:
    """Return f and its products where it is a network of the book and nothing else; else None."""
    if not (found := find_network(denoiser)):
        return None
    net, network_input = found
    with torch.no_grad():
        x_hat = estimate(denoiser, image[None], sigma)[0]
    part = fix_masks(net, *network_input(image[None], sigma), len(image))
    near = LOOSE * torch.finfo(image.dtype).eps * float(x_hat.norm() + image.norm())
    if not float((part.out[0] - x_hat).norm()) <= near:  # a denoiser that does more than its net
        return None
    return Linearization(x_hat, part.push, part.pull)


def _unit_images(index: Tensor, image: Tensor) -> Tensor:
    """Return images (K, C, H, W) that are 1 at one flat index each."""
    return torch.nn.functional.one_hot(index, image.numel()).to(image).unflatten(1, image.shape)


def jacobian_matrix(
    denoiser: Denoiser, y: Tensor, sigma: float | None = None, *, block: int = 64
) -> Tensor:
    """Return J (D, D) at one image `y`, J[i, j] = ∂x̂_i/∂y_j, D = C·H·W; `block` rows at a time."""
    pull = linearize(denoiser, y, sigma, block=block).pull
    J = torch.empty(y.numel(), y.numel(), dtype=y.dtype, device=y.device)
    for rows in torch.arange(y.numel(), device=y.device).split(int(block)):
        J[rows] = pull(_unit_images(rows, y[0])).flatten(1)
    return J


def _check_pixels(pixels: Sequence[tuple[int, int]], images: Tensor) -> None:
    size = tuple(images.shape[-2:])
    for pixel in pixels:
        whole = len(pixel) == 2 and all(isinstance(n, Integral) for n in pixel)
        if not whole or not all(0 <= n < side for n, side in zip(pixel, size, strict=True)):
            raise ValueError(
                f"pixels must be whole (row, column) within {size}, not {tuple(pixel)}"
            )


def adaptive_filters(
    denoiser: Denoiser,
    y: Tensor,
    sigma: float | None = None,
    *,
    pixels: Sequence[tuple[int, int]],
    block: int = 64,
) -> Tensor:
    """Return the adaptive filters (K, C, H, W) that give the estimate at each (row, column).

    They are rows of J: for a bias-free network x̂ at that pixel is exactly ⟨filter, y⟩
    (Mohan et al. 2020, section 5). The first channel's pixel is meant.

    Raises:
        ValueError: where a pixel lies outside the image.
    """
    _check_image(y)
    _check_pixels(pixels, y)
    width = y.shape[-1]
    index = torch.tensor([r * width + c for r, c in pixels], dtype=torch.long, device=y.device)
    return linearize(denoiser, y, sigma, block=block).pull(_unit_images(index, y[0]))


def filter_radius(weights: Tensor, pixels: Sequence[tuple[int, int]], share: float = 0.9) -> Tensor:
    """Return the radii (K,), in pixels, within which filters hold `share` of their squared weight.

    Args:
        weights: (K, C, H, W), as `adaptive_filters` returns them; all channels count.
        pixels: the (row, column) that each belongs to, the centre of its circle.
        share: above 0, at most 1.

    Raises:
        ValueError: where there is not one pixel a filter, it lies outside, a filter is zero or not
            finite, or `share` is out of range.
    """
    if check_floating(weights, "weights").ndim != 4 or len(weights) != len(pixels):
        raise ValueError(
            f"pixels must be one a filter of weights (K, C, H, W), not {len(pixels)} for "
            f"{tuple(weights.shape)}"
        )
    _check_pixels(pixels, check_finite(weights, "weights"))
    share = check_number(share, "share", above=0, high=1)
    if len(weights) and float(weights.abs().amax((1, 2, 3)).min()) == 0:
        raise ValueError("weights must not be zero: a filter without weight has no radius")
    rows, columns = (torch.arange(n, dtype=torch.float64, device="cpu") for n in weights.shape[-2:])
    radii = []
    # double precision on the CPU: Apple's GPU has none
    for weight, (r, c) in zip(weights.detach().cpu().double(), pixels, strict=True):
        distance, order = torch.hypot(rows[:, None] - r, columns - c).flatten().sort()
        held = weight.square().sum(0).flatten()[order].cumsum(0)
        # a shade less than all: the sum of many small squares is rounded
        radii.append(distance[int((held < share * (1 - 1e-9) * held[-1]).sum())])
    return (torch.stack(radii) if radii else rows.new_empty(0)).to(weights)


def linearity_error(denoiser: Denoiser, y: Tensor, sigma: float | None = None) -> float:
    """Return ‖f(y) − J y‖ / ‖f(y)‖ at one image: zero, to rounding, for a bias-free ReLU net.

    Such a net is linear in y given which of its ReLUs are open, so J is the map itself.

    Raises:
        ValueError: where f(y) is zero.
    """
    products = linearize(denoiser, y, sigma, block=1)
    gap, size = products.x_hat - products.push(y)[0], products.x_hat.norm()
    if not size > 0:
        raise ValueError(f"f(y) must not be zero, for the error is relative to it, not {size:.3g}")
    return (gap.norm() / size).item()
