"""The contract of every denoiser of the book, and what is read off any of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from gahb_core.checks import check_floating
from gahb_core.noise import broadcast_sigma, flatten_images
from gahb_core.probes import estimate


@runtime_checkable
class Denoiser(Protocol):
    """f(y, sigma) → x_hat: an estimate of x from y = x + σz.

    - `y` is (B, ...), floating point; x_hat has its shape, dtype and device. Networks take images
      (B, C, H, W) of the dtype of their weights; the exact denoisers take points of any shape.
    - `sigma` is the standard deviation of the noise per element, in image units: a number, or (B,)
      with one for each image. Blind denoisers ignore it. The others raise ValueError without it.
    - Image i of x_hat depends on image i of y only.
    - It is differentiable in y, and works under `torch.func` (jvp, vjp, vmap over y).
    - It draws nothing and changes nothing: the same y gives the same x_hat.
    """

    def __call__(self, y: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return x_hat, of the shape of `y`."""
        ...


class ConditionalDenoiser(Protocol):
    """f(y, sigma, condition) → x_hat, of details `y` given what is known of each (a low band)."""

    def __call__(
        self, y: Tensor, sigma: float | Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        """Return x_hat, of the shape of `y`; `condition` has one row an image."""
        ...


class DensityDenoiser(Denoiser, Protocol):
    """A denoiser that also holds the density p_σ of y, as the exact ones do."""

    def log_density(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        """Return log p_σ(y), (B,)."""
        ...


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Run a network in evaluation mode, and leave every module in the mode in which it was."""
    training = [module for module in net.modules() if module.training]
    try:
        net.eval()
        yield
    finally:
        for module in training:
            module.training = True


class Residual:
    """The blind denoiser of a network that estimates the noise: f(y) = y − net(y).

    The network is run in evaluation mode, and left in the mode in which it was.

    Attributes:
        net: the network, as given.
    """

    def __init__(self, net: nn.Module) -> None:
        self.net = net

    def __call__(self, y: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return y − net(y); `sigma` is ignored.

        Raises:
            ValueError: where the network's noise is not of the shape of `y`.
        """
        check_floating(y, "y")
        with evaluating(self.net):
            noise = self.net(self.network_input(y, sigma)[0])
        if noise.shape != y.shape:  # it would be spread over all channels
            raise ValueError(
                f"net must give noise of the shape of y, {tuple(y.shape)}, not {tuple(noise.shape)}"
            )
        return y - noise

    def network_input(self, y: Tensor, sigma: float | Tensor | None = None) -> tuple[Tensor, int]:
        """Return what the network is given, and the channel at which `y` begins there: y itself."""
        return y, 0


def append_sigma(y: Tensor, sigma: float | Tensor | None) -> Tensor:
    """Return `y` (B, C, H, W) and σ as one more, constant channel: (B, C + 1, H, W)."""
    level = require_sigma(sigma, y).expand(len(y), 1, *y.shape[2:])
    return torch.cat([y, level], 1)


class NoiseConditional(Residual):
    """The denoiser of a network that is told σ: f(y, σ) = y − net(y, σ); it is not blind.

    Without constants, net(a y, a σ) = a net(y, σ): at another brightness it needs another σ.
    """

    def network_input(self, y: Tensor, sigma: float | Tensor | None = None) -> tuple[Tensor, int]:
        """Return what the network is given: `y`, and σ as a channel after it."""
        return append_sigma(y, sigma), 0


def noise_conditional_denoiser(net: nn.Module) -> NoiseConditional:
    """Return the denoiser f(y, σ) = y − net(y, σ) of a network of a channel more than y has."""
    return NoiseConditional(net)


def residual_denoiser(net: nn.Module) -> Residual:
    """Return the blind denoiser f(y) = y − net(y), its network at `f.net`."""
    return Residual(net)


def require_sigma(sigma: float | Tensor | None, y: Tensor) -> Tensor:
    """Return `sigma` shaped to multiply `y`, for denoisers that cannot do without it.

    Raises:
        ValueError: where `sigma` is None, zero, negative, not finite, or of another length than y.
    """
    if sigma is None:
        raise ValueError("sigma must be given: this denoiser is not blind (sigma is None)")
    s = broadcast_sigma(sigma, y)
    if not bool((s > 0).all()):
        raise ValueError(f"sigma must be positive, not {sigma}")
    if not bool((s.square() > 0).all()):
        raise ValueError(f"sigma must have a positive square in {s.dtype}, not {sigma}")
    return s


def score(denoiser: Denoiser, y: Tensor, sigma: float | Tensor) -> Tensor:
    """Return (f(y) − y)/σ², of the shape of `y`: ∇log p_σ(y) where f is the posterior mean.

    Source: Miyasawa 1961, Tweedie in Robbins 1956; paper (a), section 2.1.
    """
    check_floating(y, "y")
    return (estimate(denoiser, y, sigma) - y) / require_sigma(sigma, y) ** 2


def blind_sigma(denoiser: Denoiser, y: Tensor) -> Tensor:
    """Return σ̂ = ‖y − f(y)‖ / √D of each image, shape (B,), for a blind denoiser.

    It is the σ that the denoiser acts as if it saw. It sits below the true one by what the
    denoiser leaves of the noise: E‖y − f*(y)‖² = σ²D − MSE summed over pixels.
    """
    return estimate_sigma(y, estimate(denoiser, check_floating(y, "y")))


def estimate_sigma(y: Tensor, x_hat: Tensor) -> Tensor:
    """Return the blind estimate σ̂ = ‖x̂ − y‖ / √D of each image, shape (B,), of y and f(y).

    Raises:
        ValueError: where they are not floating point of one shape.
    """
    if check_floating(y, "y").shape != check_floating(x_hat, "x_hat").shape:
        raise ValueError(f"x_hat must be of shape {tuple(y.shape)} as y, not {tuple(x_hat.shape)}")
    if 0 in y.shape[1:]:
        raise ValueError(f"y must have pixels, not be of shape {tuple(y.shape)}")
    return flatten_images(x_hat - y).pow(2).mean(1).sqrt()
