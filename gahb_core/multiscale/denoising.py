"""Denoising from coarse to fine: a small global prior of x_J, local ones of the details.

Source: paper (b): p(x_0) = p(x_J) ∏_j p(x̄_j | x_j).
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from gahb_core.checks import check_floating
from gahb_core.denoisers.contract import ConditionalDenoiser, Denoiser, residual_denoiser
from gahb_core.multiscale.haar import haar_decompose, haar_merge, upsample_low
from gahb_core.probes import estimate


class _Joint(nn.Module):
    """The noise of [low, details] whose low band has none: [0, net([low, details])]."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, joint: Tensor) -> Tensor:
        noise = self.net(joint)
        clean = torch.zeros_like(joint[:, noise.shape[1] :])
        return torch.cat([clean, noise], 1)


class Conditional:
    """The blind denoiser of details given their clean low band: y − net([condition, y]).

    A network trained on images of one channel takes four bands, [low, horizontal, vertical,
    diagonal], and gives the noise of the last three. It is run in evaluation mode, and left in the
    mode in which it was.

    Attributes:
        net: the network, as given.
    """

    def __init__(self, net: nn.Module) -> None:
        self.net = net
        self._joint = residual_denoiser(_Joint(net))

    def __call__(
        self, y: Tensor, sigma: float | Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        """Return the estimate of the details, of the shape of `y` (B, 3C, H, W).

        Args:
            y: noisy details.
            sigma: ignored.
            condition: the low band of the same level, (B, C, H, W), clean or as good as clean.

        Raises:
            ValueError: where `condition` is None or its shape does not go with that of `y`.
        """
        joint, start = self.network_input(y, sigma, condition)
        return self._joint(joint)[:, start:]

    def network_input(
        self, y: Tensor, sigma: float | Tensor | None = None, condition: Tensor | None = None
    ) -> tuple[Tensor, int]:
        """Return what the network is given, [condition, y], and the channel at which `y` begins."""
        condition = check_condition(y, condition)
        return torch.cat([condition, y], 1), condition.shape[1]


def check_condition(y: Tensor, condition: Tensor | None) -> Tensor:
    """Return `condition`, checked to be the low band that goes with details `y`."""
    if condition is None:
        raise ValueError(
            "condition must be the low band that the details belong to (condition is None)"
        )
    check_floating(y, "y")
    if check_floating(condition, "condition").dtype != y.dtype:
        raise ValueError(f"condition must be {y.dtype} like y, not {condition.dtype}")
    fits = y.ndim == condition.ndim == 4 and y.shape[1] == 3 * condition.shape[1]
    if not fits or (len(condition), *condition.shape[2:]) != (len(y), *y.shape[2:]):
        raise ValueError(
            f"condition must be (B, C, H, W) for details (B, 3C, H, W) = {tuple(y.shape)}, "
            f"not {tuple(condition.shape)}"
        )
    return condition


def conditional_denoiser(net: nn.Module) -> Conditional:
    """Return the blind denoiser f(y, sigma=None, condition) of details, its network at `f.net`.

    `sampling.ascend(f, y0, condition=low)` draws the details that go with `low`.
    """
    return Conditional(net)


class MultiScale:
    """A denoiser of images made of one for x_J and one for the details of each level.

    y is decomposed; x_J is denoised; then, for j = J … 1, the details x̄_j are denoised given the
    *denoised* x_j, and merged with it. The conditional denoisers are told that x_j is clean, so
    even exact ones give less than the posterior mean, except where the levels are independent.

    It obeys the contract f(y, sigma=None) → x̂ for images (B, C, H, W) with H and W multiples of
    2^J. A `sigma` is handed on as σ/2^J to the low band and σ/2^j to the details of level j.

    Attributes:
        low: denoiser of x_J, f(y, sigma=None).
        details: denoisers of x̄_1 … x̄_J, f(y, sigma, condition), finest first.
        J: the number of levels.
    """

    def __init__(self, low: Denoiser, details: Sequence[ConditionalDenoiser]) -> None:
        self.low, self.details = low, tuple(details)
        self.J = len(self.details)

    def coarse_to_fine(self, y: Tensor, sigma: float | Tensor | None = None) -> Iterator[Tensor]:
        """Yield the estimates x̂_J, x̂_{J−1}, …, x̂_0, each at its own size."""
        pyramid = haar_decompose(check_floating(y, "y"), self.J)
        x = estimate(self.low, pyramid.low, _at_level(sigma, self.J))
        yield x
        for j in range(self.J, 0, -1):
            noisy, sigma_j = pyramid.details[j - 1], _at_level(sigma, j)
            details = estimate(self.details[j - 1], noisy, sigma_j, x)
            x = haar_merge(x, details)
            yield x

    def __call__(self, y: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return x̂, of the shape of `y`."""
        *_, x_hat = self.coarse_to_fine(y, sigma)
        return x_hat

    def low_pass_only(self, y: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return x̂_J at full size, the details zero: a denoiser too, the curve beside paper (b)'s.

        It cannot do better than the mean of each block, whatever σ.
        """
        x = estimate(self.low, haar_decompose(y, self.J).low, _at_level(sigma, self.J))
        return upsample_low(x, self.J)


def _at_level(sigma: float | Tensor | None, j: int) -> float | Tensor | None:
    return None if sigma is None else sigma / 2**j


def multiscale_denoiser(low: Denoiser, details: Sequence[ConditionalDenoiser]) -> MultiScale:
    """Return the coarse-to-fine denoiser f(y, sigma=None) → x̂ with J = len(details) levels.

    Args:
        low: of x_J; a `residual_denoiser` of a network that sees the whole of it.
        details: of x̄_1 … x̄_J, finest first; a `conditional_denoiser` each. One that does not
            depend on the level may be repeated: [f] * J.
    """
    return MultiScale(low, details)
