"""The exact denoiser of a finite training set: the memorizer."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from gahb_core.checks import check_count, check_finite, check_points
from gahb_core.denoisers.contract import require_sigma
from gahb_core.noise import flatten_images


class Empirical:
    """E[x | y] where p is the training set itself, a collection of N delta functions.

    f(y) = Σ_n w_n x_n with w = softmax(−‖y − x_n‖² / 2σ²): the best denoiser for the training
    set, which a network trained to perfection on it would become. As σ → 0 it returns the nearest
    training image, as σ → ∞ their mean. Sampling with it gives back training images.

    Attributes:
        train: (N, ...) the training set.
        block: training images compared at once; memory does not grow with N.
    """

    def __init__(self, train: Tensor, block: int) -> None:
        self.train, self.block = train, block

    def __call__(self, y: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return the posterior mean, of the shape of `y` (B, ...)."""
        mean, origin, _ = self._read(y, sigma)
        return (mean + origin).reshape(y.shape)

    def log_density(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        """Return log p_σ(y), shape (B,): the mean over the set of N(y; x_n, σ²)."""
        _, origin, log_weight = self._read(y, sigma)
        variance = require_sigma(sigma, y).reshape(-1) ** 2
        flat = flatten_images(y) - origin
        scale = math.log(len(self.train)) + flat.shape[1] / 2 * torch.log(2 * math.pi * variance)
        return log_weight[:, 0] - flat.square().sum(1) / (2 * variance) - scale

    def _read(self, y: Tensor, sigma: float | Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return the mean (B, D) from an origin (D,), and log Σ_n exp(...) of all weights (B, 1).

        The weights are without exp(−‖y − origin‖²/2σ²), which they share.
        """
        check_points(y, self.train.shape[1:])
        variance = require_sigma(sigma, y).reshape(-1, 1) ** 2
        # distances from a nearby origin: ‖y − x‖² loses fewer digits, and the softmax is unmoved
        origin = self.train[: self.block].to(y).mean(0).flatten()
        flat = flatten_images(y) - origin
        blocks = self._blocks(flat, origin, variance)
        mean, log_weight = next(blocks)
        for mean_here, log_here in blocks:
            share = torch.sigmoid(log_here - log_weight)  # of this block, in all weight so far
            mean = mean + share * (mean_here - mean)
            log_weight = torch.logaddexp(log_weight, log_here)
        return mean, origin, log_weight

    def _blocks(
        self, flat: Tensor, origin: Tensor, variance: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each block's weighted mean (B, D) and the log of its total weight (B, 1)."""
        for start in range(0, len(self.train), self.block):
            part = self.train[start : start + self.block].to(flat)
            part = part.reshape(len(part), -1) - origin
            # −‖y − x‖²/2σ² but for ‖y‖², which all weights share
            logits = (flat @ part.T - part.square().sum(1) / 2) / variance
            yield logits.softmax(1) @ part, logits.logsumexp(1, keepdim=True)


def empirical_denoiser(train: Tensor, block: int = 1024) -> Empirical:
    """Return the exact denoiser of the training set `train` (N, ...).

    Args:
        train: the training images.
        block: how many are compared at once; the result does not depend on it.

    Raises:
        ValueError: where `train` is empty or not finite, or `block` < 1.
    """
    block = check_count(block, "block")
    if len(check_finite(train, "train")) == 0:
        raise ValueError("train must hold an image, not 0")
    return Empirical(train, block)
