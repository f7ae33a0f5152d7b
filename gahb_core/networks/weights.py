"""Weights of a network: drawn to begin with, or filled in from a file."""

import math

import torch
from torch import Generator, Tensor, nn

from gahb_core.checks import check_number
from gahb_core.networks.models import BFCNN, UNet
from gahb_core.networks.transformer import Transformer
from gahb_core.noise import make_generator


def _draw(shape: torch.Size, generator: Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")


def _initialize_transformer(net: Transformer, generator: Generator, gain: float) -> Transformer:
    """Draw the matrices by LeCun's law; those that end a step of a block, and the last, are zero.

    A block so begins as the identity. The places start at a deviation of .02, as in DiT.
    """
    with torch.no_grad():
        for linear in (m for m in net.modules() if isinstance(m, nn.Linear)):
            w = linear.weight
            drawn = _draw(w.shape, generator)
            w.copy_(drawn * gain / math.sqrt(w.shape[1]))
        net.places.copy_(0.02 * _draw(net.places.shape, generator))
        for block in net.blocks:
            block.mix.weight.zero_()
            block.narrow.weight.zero_()
        net.restore.weight.zero_()
    return net


def initialize(
    net: UNet | BFCNN | Transformer, seed: int, gain: float = 1.0
) -> UNet | BFCNN | Transformer:
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
    if isinstance(net, Transformer):
        return _initialize_transformer(net, generator, gain)
    last = net.decoder[0][-1] if isinstance(net, UNet) else net.conv_layers[-1]
    with torch.no_grad():
        for conv in net.modules():
            if not isinstance(conv, nn.Conv2d | nn.ConvTranspose2d):
                continue
            w = conv.weight
            # a transposed convolution (in, out, 2, 2) with stride 2 sums `in` terms a pixel
            fan_in = w.shape[0] if isinstance(conv, nn.ConvTranspose2d) else math.prod(w.shape[1:])
            z = _draw(w.shape, generator)
            w.copy_(z * gain * math.sqrt(2 / fan_in))
        for conv in net.conv_layers[1:-1] if isinstance(net, BFCNN) else ():
            size = conv.kernel_size[0]
            centre = conv.weight[..., size // 2, size // 2] * size  # as if the fan-in were 1×1
            conv.weight.zero_()[..., size // 2, size // 2] = centre
        if getattr(net, "residual", False):
            _start_residual(net)
        last.weight.zero_()
    return net


def _start_residual(net: BFCNN) -> None:
    first = net.conv_layers[0].weight
    half, kept = len(first) // 2, min(len(first) // 2, first.shape[1])
    first[:kept] = 0
    first[:kept, :kept, 1, 1].fill_diagonal_(1)
    first[half : 2 * half] = -first[:half]
    for norm in net.BN_layers:
        norm.gammas.fill_(0.1)


def load_weights(net: nn.Module, weights: dict[str, Tensor], origin: object) -> nn.Module:
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
