"""Weights of a network: drawn to begin with, or filled in from a file."""

import math
from typing import Protocol, TypeVar

import torch
from torch import Generator, Tensor, nn

from gahb_core.checks import check_number
from gahb_core.noise import make_generator


def draw_normal(shape: torch.Size, generator: Generator) -> Tensor:
    """Return float32 normals of a shape, drawn on the CPU."""
    return torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")


def draw_convolutions(net: nn.Module, generator: Generator, gain: float) -> None:
    """Draw all convolutions of `net`, in place, by He's law: deviation gain √(2 / fan-in)."""
    for conv in net.modules():
        if not isinstance(conv, nn.Conv2d | nn.ConvTranspose2d):
            continue
        w = conv.weight
        # a transposed convolution (in, out, 2, 2) with stride 2 sums `in` terms a pixel
        fan_in = w.shape[0] if isinstance(conv, nn.ConvTranspose2d) else math.prod(w.shape[1:])
        w.copy_(draw_normal(w.shape, generator) * gain * math.sqrt(2 / fan_in))


class Drawn(Protocol):
    """A network that draws its weights: all the networks of this room do."""

    def draw(self, generator: Generator, gain: float) -> None:
        """Draw the weights anew, in place."""
        ...


Net = TypeVar("Net", bound=Drawn)


def initialize(net: Net, seed: int, gain: float = 1.0) -> Net:
    """Fill the convolutions (or matrices) of `net` (in place) from `seed` and return it.

    He's normal law, deviation gain √(2 / fan-in); the last convolution starts at zero, so that the
    first estimate is x̂ = y (0 with a skip). γ and the running deviations stay at one. The hidden
    convolutions of a BF-CNN start with their centre tap alone, as 1×1: a deep stack of random 3×3
    blurs what it is given (Xiao et al., ICML 2018), and a garment at σ = 1 is at 14.5 dB after 300
    steps so, at 12.4 dB otherwise. A residual BF-CNN starts with γ = .1, and its first convolution
    with pairs of opposite kernels, the first of them the inputs themselves: through the ReLUs all
    of y reaches the last layer.
    """
    gain, generator = check_number(gain, "gain", above=0), make_generator(seed, "weights")
    with torch.no_grad():
        net.draw(generator, gain)
    return net


def load_weights(net: Net, weights: dict[str, Tensor], origin: object) -> Net:
    """Fill `net` (in place) with `weights`, key by key and shape by shape, and return it.

    Raises:
        ValueError: naming the keys that are missing, not known, of another shape or type, not
            finite, or (of running deviations) not positive.
    """
    expected = net.state_dict()
    missing, unknown = expected.keys() - weights.keys(), weights.keys() - expected.keys()
    if missing or unknown:
        known = f"keys missing {sorted(missing)[:5]}, keys not known {sorted(unknown)[:5]}"
        raise ValueError(f"{origin}: {known}")
    for key, value in weights.items():
        if value.shape != expected[key].shape:
            raise ValueError(
                f"{origin}: {key} must have shape {tuple(expected[key].shape)}, "
                f"not {tuple(value.shape)}"
            )
        if not value.is_floating_point():
            raise ValueError(f"{origin}: {key} must be floating point, not {value.dtype}")
        if not bool(torch.isfinite(value).all()):
            raise ValueError(f"{origin}: {key} must be finite, and holds inf or nan")
        if key.endswith("running_sd") and not bool((value > 0).all()):
            raise ValueError(f"{origin}: {key} must be positive, not {float(value.min()):.3g}")
    net.load_state_dict({k: v.float() for k, v in weights.items()})
    return net
