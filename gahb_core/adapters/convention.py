"""The conventions in which networks denoise, and `adapt`: any of them as f(y, σ) → x̂.

Let z = low + (high − low) y be the noisy image in the network's range, and s = (high − low) σ its
noise: z = x + s ε. A network is given α z, with α = 1 ("ve"), 1/√(1 + s²) ("vp") or 1/(1 + s)
("flow"), and what it gives back determines x̂.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gahb_core.checks import check_choice, check_images, check_number
from gahb_core.denoisers.contract import evaluating, require_sigma

SCALINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "ve": torch.ones_like,
    "vp": lambda s: (1 + s**2).rsqrt(),
    "flow": lambda s: 1 / (1 + s),
}
# output → x̂ of (what the network gives, z, s, α)
OUTPUTS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "x": lambda out, z, s, alpha: out,
    "residual": lambda out, z, s, alpha: z - out / alpha,
    "noise": lambda out, z, s, alpha: z - s * out,
    "score": lambda out, z, s, alpha: z + alpha * s**2 * out,
    "v": lambda out, z, s, alpha: (z - s * (1 + s**2).sqrt() * out) / (1 + s**2),
    "flow": lambda out, z, s, alpha: (z - s * out) / (1 + s),
}
HALVES = (torch.float16, torch.bfloat16)
Told = str | Callable[[Tensor], Any]


@dataclass(frozen=True, eq=False)
class Adapted:
    """The denoiser of a network of other conventions; `repr` says which.

    Attributes:
        net: what is called: a module, or a function of one.
        output, sigma, range, scaling, fixed: as `adapt` takes them.
        module: whose parameters, mode and device count; None for a plain function.
        channels: of the images it takes, where known.
    """

    net: Callable[..., Tensor] = field(repr=False)
    output: str = "x"
    sigma: Told = "none"
    range: tuple[float, float] = (0.0, 1.0)
    scaling: str = "ve"
    fixed: dict[str, Any] = field(default_factory=dict)
    module: nn.Module | None = field(default=None, repr=False)
    channels: int | None = None

    @property
    def blind(self) -> bool:
        """Whether x̂ follows from y alone."""
        return (self.output in ("x", "residual")) and (self.sigma, self.scaling) == ("none", "ve")

    def __call__(self, y: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return x̂ of images `y` (B, C, H, W) in [0, 1] with noise `sigma`, in the same units.

        Raises:
            ValueError: where `y` is not like the network, `sigma` is missing, or what the network
                gives is no image of y's shape.
        """
        self._check(y)
        low, high = self.range
        z = low + (high - low) * y
        s = y.new_ones(1, 1, 1, 1) if self.blind else (high - low) * require_sigma(sigma, y)
        alpha = SCALINGS[self.scaling](s)
        with nullcontext() if self.module is None else evaluating(self.module):
            out = self.net(*self._inputs(alpha * z, s), **self._fixed(y))
        x = OUTPUTS[self.output](_like(out, y), z, s, alpha)
        return (x - low) / (high - low)

    def _check(self, y: Tensor) -> None:
        check_images(y, "y", self.channels)
        weight = None if self.module is None else _first_weight(self.module)
        if weight is None:
            return
        if (y.dtype, y.device) != (weight.dtype, weight.device):
            raise ValueError(
                f"y must be {weight.dtype} on {weight.device} like the network, not {y.dtype} on "
                f"{y.device}"
            )

    def _inputs(self, x: Tensor, s: Tensor) -> tuple:
        if self.sigma == "none":
            return (x,)
        if self.sigma == "channel":
            return (torch.cat([x, s.expand(len(x), 1, *x.shape[2:])], 1),)
        values = s.flatten().expand(len(x))
        return x, (self.sigma(values) if callable(self.sigma) else values)

    def _fixed(self, y: Tensor) -> dict[str, Any]:
        """Return what else the network is called with: tensors once for each image."""
        return {
            key: value.to(y.device).expand(len(y), *value.shape) if isinstance(value, Tensor)
            else value
            for key, value in self.fixed.items()
        }  # fmt: skip


def _first_weight(module: nn.Module) -> Tensor | None:
    return next((p for p in module.parameters() if p.is_floating_point()), None)


def _like(out: Any, y: Tensor) -> Tensor:
    """Return what a network gave, an image for each of `y`, or say the cure."""
    if not isinstance(out, Tensor):
        name = next((n for n in ("sample", "x", "mean") if hasattr(out, n)), "sample")
        raise ValueError(
            f"net must give a tensor, not of type {type(out).__name__}; adapt a function of it: "
            f"lambda *given: net(*given).{name}"
        )
    if out.shape == y.shape:
        return out
    cure = "it must be one image for each that it is given"
    if out.ndim == 4 and out.shape[1] == 2 * y.shape[1]:
        cure = "where the second half is a variance: lambda *given: net(*given).chunk(2, 1)[0]"
    raise ValueError(f"net must give the shape {tuple(y.shape)}, not {tuple(out.shape)}: {cure}")


def _check_net(net: Any, module: nn.Module | None) -> None:
    if not callable(net):
        raise ValueError(
            f"net must be a live module or a function, not of type {type(net).__name__}: a file is "
            "not loaded here, for a pickle can run anything"
        )
    weight = None if module is None else _first_weight(module)
    if weight is not None and weight.dtype in HALVES:
        raise ValueError(
            f"net must compute in float32 or float64, not {weight.dtype}, whose rounding drowns "
            "its derivative: give net.float(), or a copy of it"
        )


def _check_range(range: Any) -> tuple[float, float]:
    try:
        low, high = (check_number(n, "range") for n in range)
    except (TypeError, ValueError):
        low = high = 0.0
    if not low < high:
        raise ValueError(f"range must be two numbers, black below white, not {range!r}")
    return low, high


def adapt(
    net: Callable[..., Tensor],
    output: str = "x",
    sigma: Told = "none",
    range: tuple[float, float] = (0, 1),
    *,
    scaling: str = "ve",
    **fixed: Any,
) -> Adapted:
    """Return the denoiser f(y, σ) → x̂ of a network of any convention, y in [0, 1].

    A module is run in evaluation mode and left as it was; nothing of it is copied or loaded.
    Nothing is clipped: where x̂ is clipped J is 0.

    >>> f = adapt(lambda z: z / 2, range=(-1, 1))
    >>> f(torch.full((1, 1, 2, 2), 0.75)).unique()
    tensor([0.6250])

    Args:
        net: a live module, or a function; called as net(image), or net(image, what it is told).
        output: what it gives. "x": the image. "residual": the noise of its input, input − image.
            "noise": ε, of variance one. "score": ∇ log p of its input. "v": αε − √(1 − α²)x with
            α = 1/√(1 + s²). "flow": ε − x.
        sigma: what it is told. "none": nothing. "value": s, (B,). "channel": s, as one more
            channel of its input. A function: what that gives of s (B,), such as a time.
        range: of its images, black to white: s = (white − black)·σ.
        scaling: of its input. "ve": x + sε. "vp": that over √(1 + s²). "flow": over 1 + s.
        fixed: keywords that it is called with, such as a class; a tensor is that of one image.

    Raises:
        ValueError: for another option, a net that cannot be called, or one of half precision.
    """
    module = net if isinstance(net, nn.Module) else None
    return make_adapted(
        net, module, output=output, sigma=sigma, range=range, scaling=scaling, fixed=fixed
    )


def make_adapted(
    net: Callable[..., Tensor],
    module: nn.Module | None,
    *,
    output: str = "x",
    sigma: Told = "none",
    range: tuple[float, float] = (0, 1),
    scaling: str = "ve",
    fixed: dict[str, Any] | None = None,
    channels: int | None = None,
) -> Adapted:
    """Return `adapt(net, …)` where `net` is a function of `module`, which is run evaluating."""
    _check_net(net, module)
    check_choice(output, "output", list(OUTPUTS))
    check_choice(scaling, "scaling", list(SCALINGS))
    if not callable(sigma):
        check_choice(sigma, "sigma", ["none", "value", "channel"])
    return Adapted(net, output, sigma, _check_range(range), scaling, fixed or {}, module, channels)
