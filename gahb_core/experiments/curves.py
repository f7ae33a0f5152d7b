"""How well denoisers do over the noise, what they know of it, and what one remembers of images."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gahb_core.checks import check_count, check_images, check_number
from gahb_core.denoisers.contract import Denoiser, estimate_sigma
from gahb_core.experiments.intervals import Interval, bootstrap_mean
from gahb_core.jacobian.products import linearize
from gahb_core.metrics.curves import psnr_curve
from gahb_core.metrics.pairs import mse
from gahb_core.noise import add_noise, sample_normal
from gahb_core.probes import estimate


class Denoising(NamedTuple):
    """A denoiser over the noise: N images at K levels, every level with the same noise.

    Attributes:
        sigmas: the K levels of the noise.
        psnr: (N, K) −10 log₁₀ of the mean squared error, in dB.
        mse: (N, K) the mean squared error per pixel.
        sigma_hat: (N, K) ‖y − f(y)‖/√D, the level that the denoiser acts as if it saw. A denoiser
            that knows the level has √(σ² − MSE), just below σ.
        sure: (N, K) Stein's estimate of the mean squared error, from y alone.
        trace: (N, K) tr J, from `num_probes` random vectors.
        uses_sigma: (K,) how far f(y, 1.5 σ) is from f(y, σ), relative to ‖y − f(y, σ)‖: 0 for a
            blind denoiser.
    """

    sigmas: list[float]
    psnr: Tensor
    mse: Tensor
    sigma_hat: Tensor
    sure: Tensor
    trace: Tensor
    uses_sigma: Tensor


def denoising(
    denoiser: Denoiser,
    images: Tensor,
    sigmas: Sequence[float],
    *,
    num_probes: int = 2,
    seed: int = 0,
    batch: int = 16,
) -> Denoising:
    """Return how a denoiser does on clean `images` (N, C, H, W) at each of `sigmas`.

    SURE is (2σ² tr J + ‖y − f(y)‖² − σ²D)/D: where it leaves the mean squared error, the denoiser
    was given another σ than it believes, its images are not in [0, 1], or its derivative lies.

    Args:
        denoiser: f(y, sigma) → x̂.
        images: clean, in [0, 1].
        sigmas: in image units, above 0.
        num_probes: random vectors of each trace.
        seed: of noise and probes.
        batch: images denoised at once.

    Raises:
        ValueError: where an argument is out of its range, or the denoiser does not keep its
            contract (its derivative is checked at the first image).
    """
    check_images(images, "images")
    check_count(len(images), "the number of images")
    levels = [check_number(s, "sigmas", above=0) for s in sigmas]
    check_count(len(levels), "the number of sigmas")
    num_probes, batch = check_count(num_probes, "num_probes"), check_count(batch, "batch")
    linearize(denoiser, add_noise(images[:1], levels[0], seed), levels[0], block=1)
    columns = [_at_level(denoiser, images, s, num_probes, seed, batch) for s in levels]
    found = [torch.stack(parts, 1) for parts in zip(*(c[:-1] for c in columns), strict=True)]
    error, sigma_hat, sure, trace = found
    uses = error.new_tensor([c[-1] for c in columns])
    return Denoising(levels, -10 * error.log10(), error, sigma_hat, sure, trace, uses)


def _at_level(
    denoiser: Denoiser, images: Tensor, sigma: float, num_probes: int, seed: int, batch: int
) -> tuple:
    rows, num_pixels = [], images[0].numel()
    for i in range(0, len(images), batch):
        x = images[i : i + batch]
        y = add_noise(x, sigma, seed, i)
        probes = [
            sample_normal(x.shape, seed, i, key=f"probe {k}").sign().to(x)
            for k in range(num_probes)
        ]
        x_hat, trace = _divergence(denoiser, y, sigma, probes)
        sigma_hat = estimate_sigma(y, x_hat)
        sure = 2 * sigma**2 * trace / num_pixels + sigma_hat**2 - sigma**2
        rows.append((mse(x_hat, x), sigma_hat, sure, trace))
    y = add_noise(images[:batch], sigma, seed)
    with torch.no_grad():
        here, there = (estimate(denoiser, y, s) for s in (sigma, 1.5 * sigma))
    uses = float((there - here).norm() / (y - here).norm().clamp(min=1e-30))
    return *(torch.cat(column).cpu() for column in zip(*rows, strict=True)), uses


@torch.enable_grad()
def _divergence(
    denoiser: Callable[..., Tensor], y: Tensor, sigma: float, probes: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """Return x̂ and tr J of each image of a batch: the mean of ⟨v, Jᵀv⟩ over random signs v.

    Gradients alone: attention has no forward rule.
    """
    y = y.detach().clone().requires_grad_()
    x_hat = estimate(denoiser, y, sigma)
    total = y.new_zeros(len(y))
    for k, v in enumerate(probes):
        last = k == len(probes) - 1
        (back,) = torch.autograd.grad(x_hat, y, v, retain_graph=not last)
        total += (v * back).flatten(1).sum(1) / len(probes)
    return x_hat.detach(), total.detach()


class Generalization(NamedTuple):
    """What A does better than B, on the same images and the same noise.

    Attributes:
        sigmas: the K levels of the noise.
        psnr_a: (N, K) in dB.
        psnr_b: (N, K) in dB.
        gap: A minus B at each level, the mean over images and its 95% interval.
    """

    sigmas: list[float]
    psnr_a: Tensor
    psnr_b: Tensor
    gap: list[Interval]


def generalization(
    f_a: Denoiser,
    f_b: Denoiser,
    images: Tensor,
    sigmas: Sequence[float] = (0.05, 0.1, 0.2, 0.5),
    *,
    seed: int = 0,
    batch: int = 64,
) -> Generalization:
    """Return PSNR of `f_a` less that of `f_b` on `images` (N, C, H, W), image by image.

    With images from the training set of A that B never saw, this is what A remembers of them; on
    images that neither saw, which of the two is the better denoiser. PSNR on training images less
    that on other images is neither: two sets of images differ by how hard they are.

    Raises:
        ValueError: for fewer than two images, or as `metrics.psnr_curve` does.
    """
    check_images(images, "images")
    check_count(len(images), "the number of images", 2)
    a, b = (
        psnr_curve(f, images, list(sigmas), seed, batch=batch).cpu().double() for f in (f_a, f_b)
    )
    gap = [bootstrap_mean(column, seed=seed) for column in (a - b).T]
    return Generalization([float(s) for s in sigmas], a, b, gap)
