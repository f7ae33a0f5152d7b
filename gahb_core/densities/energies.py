"""The contract of energies, exact ones, the two errors that train one, and its normalisation.

With y = x + σz and t = σ², U(y, σ) = −log p_σ(y) + c, where c depends neither on y nor on σ. Then
y − t ∇_y U is the posterior mean (Tweedie), and t ∂_t U = ½ (D − E[‖y − x‖² | y] / t): the value
at any σ hangs on the one at a large σ, where p_σ is a Gaussian and the constant is read off.

Source: Guth, Kadkhodaie & Simoncelli 2025 (arXiv:2506.05310).
"""

import math
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from gahb_core.checks import check_count, check_floating, check_number
from gahb_core.denoisers.contract import DensityDenoiser, require_sigma
from gahb_core.noise import add_noise, broadcast_sigma, flatten_images


@runtime_checkable
class Energy(Protocol):
    """U(y, sigma) → (B,): −log p_σ(y) + c, in nats.

    `y` is (B, ...), floating point; `sigma` the noise's standard deviation, a positive number or
    (B,). U of image i depends on image i only; it is differentiable in both.
    """

    def __call__(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        """Return U, (B,)."""
        ...


class ExactEnergy:
    """U(y, σ) = −log p_σ(y) of a prior whose blurred density is known; its constant is 0."""

    def __init__(self, denoiser: DensityDenoiser) -> None:
        self.denoiser = denoiser

    def __call__(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        """Return −log p_σ(y), (B,)."""
        return -self.denoiser.log_density(y, sigma)


def exact_energy(denoiser: DensityDenoiser) -> ExactEnergy:
    """Return the energy −log p_σ of an exact denoiser: a Gaussian, a mixture, a finite set.

    Raises:
        ValueError: where the denoiser has no `log_density`.
    """
    if not callable(getattr(denoiser, "log_density", None)):
        raise ValueError(
            f"denoiser must have a log_density, and a {type(denoiser).__name__} has none"
        )
    return ExactEnergy(denoiser)


class EnergyDenoiser:
    """f(y, σ) = y − σ² ∇_y U(y, σ); its Jacobian 1 − σ² ∇²U is symmetric, as the exact one's is."""

    def __init__(self, energy: Energy) -> None:
        self.energy = energy

    def __call__(self, y: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return x̂, of the shape of `y`."""
        variance = require_sigma(sigma, check_floating(y, "y")) ** 2
        assert sigma is not None  # refused by require_sigma
        slope = torch.func.grad(lambda v: self.energy(v, sigma).sum())(y)
        return y - variance * slope


def energy_denoiser(energy: Energy) -> EnergyDenoiser:
    """Return the denoiser f(y, σ) = y − σ² ∇_y U(y, σ) of an energy."""
    return EnergyDenoiser(energy)


def time_score(energy: Energy, y: Tensor, sigma: float | Tensor) -> Tensor:
    """Return t ∂_t U / D, (B,), t = σ²: ½ (1 − E[‖y − x‖² | y] / (t D)) of an exact energy."""
    level = require_sigma(sigma, check_floating(y, "y")).reshape(-1).expand(len(y))
    slope = torch.func.grad(lambda s: energy(y, s).sum())(level.clone())
    return 0.5 * level * slope / y[0].numel()


class DualScoreLosses(NamedTuple):
    """The two errors of an energy at noisy images, of each image, (B,).

    Attributes:
        score: ‖y − t ∇_y U − x‖² / (t D), whose mean is least where ∇U is the score.
        time: (½ (1 − ‖y − x‖² / (t D)) − t ∂_t U / D)², least where ∂_t U is the time score.
    """

    score: Tensor
    time: Tensor


@torch.enable_grad()
def dual_score_losses(
    energy: Energy, x: Tensor, noise: Tensor, sigma: float | Tensor
) -> DualScoreLosses:
    """Return both errors of `energy` at y = x + noise, to be differentiated in its parameters.

    They are made of derivatives, and so are recorded where the caller records none, too.

    Args:
        energy: U.
        x: clean images (B, ...).
        noise: σz, of the shape of `x`.
        sigma: a positive number or (B,).

    Raises:
        ValueError: where the shapes differ or `sigma` is not positive; within inference mode.
    """
    if torch.is_inference_mode_enabled():
        raise ValueError(
            "dual_score_losses must be called outside torch.inference_mode: they are slopes"
        )
    if check_floating(noise, "noise").shape != check_floating(x, "x").shape:
        raise ValueError(f"noise must be of shape {tuple(x.shape)} as x, not {tuple(noise.shape)}")
    level = require_sigma(sigma, x).reshape(-1).expand(len(x)).clone().requires_grad_()
    y = (x + noise).requires_grad_()
    total = energy(y, level).sum()
    slope, slope_s = torch.autograd.grad(total, (y, level), create_graph=True)
    s, size = level.detach(), x[0].numel()
    miss = flatten_images(noise - broadcast_sigma(s, x) ** 2 * slope).square().mean(1) / s**2
    wanted = 0.5 * (1 - flatten_images(noise).square().mean(1) / s**2)
    return DualScoreLosses(miss, (wanted - 0.5 * s * slope_s / size).square())


def estimate_log_z(energy: Energy, x: Tensor, sigma: float, seed: int) -> float:
    """Return log Z with which e^{−U}/Z is normalised, from images `x` blurred by a large σ.

    log Z = H(p_σ) − E U(y, σ), and H ≤ ½ D log(2πe(σ² + v)), v the mean variance of a pixel of x;
    this bound is taken. Without v (as in the paper) H is below its true value by at most
    ½ D log(1 + v/σ²): .18 dB a dimension for the mixture of chapter 15, whose v is 8.5, at σ = 10.

    Args:
        energy: U.
        x: images (B, ...), several.
        sigma: the largest that U was made for.
        seed: of the noise.

    Raises:
        ValueError: where there are fewer than two images, or σ is not positive.
    """
    sigma = check_number(sigma, "sigma", above=0)
    check_count(len(check_floating(x, "x")), "the number of images of x", 2)
    size, v = x[0].numel(), float(flatten_images(x).var(0).mean())
    with torch.no_grad():
        mean = float(energy(add_noise(x, sigma, seed), sigma).double().mean())
    return 0.5 * size * math.log(2 * math.pi * math.e * (sigma**2 + v)) - mean


def log_p_decibels(log_p: Tensor, size: int) -> Tensor:
    """Return a log density (nats) of `size` pixels in decibels a dimension: 10 log_p/(D ln 10)."""
    return log_p * (10 / (check_count(size, "size") * math.log(10)))


def bits_per_dim(log_p: Tensor, size: int) -> Tensor:
    """Return bits a dimension of pixels in [0, 1] written in 256 levels: 8 − log_p/(D ln 2)."""
    return 8 - log_p / (check_count(size, "size") * math.log(2))
