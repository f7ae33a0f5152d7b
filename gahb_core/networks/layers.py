"""What a convolutional network is made of: its layers, said once, from which all is read.

A network is a list of layers that run one after the other. Most are modules of torch, and change
what comes by; four more keep it and take it up again, last in, first out: `PUSH` keeps it, `CAT`
puts what was kept behind what came by, `ADD` adds it, `SUBTRACT` subtracts from its last channels.
So a network with branches is a list too, and whoever reads the list (`networks.steps`) knows it.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from gahb_core.networks.norm import BiasFreeNorm


class Push:
    """Keep what comes by, and let it pass."""

    def __call__(self, x: Tensor, kept: list[Tensor]) -> Tensor:
        """Return `x`."""
        kept.append(x)
        return x


class Cat:
    """Put what was kept last behind what comes by."""

    def __call__(self, x: Tensor, kept: list[Tensor]) -> Tensor:
        """Return [x, kept], along the channels."""
        return torch.cat([x, kept.pop()], 1)


class Add:
    """Add what was kept last to what comes by."""

    def __call__(self, x: Tensor, kept: list[Tensor]) -> Tensor:
        """Return x + kept."""
        return x + kept.pop()


class Subtract:
    """Subtract what comes by from the last channels of what was kept last."""

    def __call__(self, x: Tensor, kept: list[Tensor]) -> Tensor:
        """Return kept − x, in the channels of `x`."""
        return kept.pop()[:, -x.shape[1] :] - x


PUSH, CAT, ADD, SUBTRACT = Push(), Cat(), Add(), Subtract()
POOL, RELU = nn.AvgPool2d(2), nn.ReLU(inplace=True)
Layer = nn.Module | Push | Cat | Add | Subtract
# what these make nobody else has, and no gradient needs
_FRESH = {nn.Conv2d, nn.ConvTranspose2d, nn.AvgPool2d, BiasFreeNorm, Cat, Add, Subtract}


def fold_weight(conv: nn.Conv2d, norm: BiasFreeNorm) -> Tensor:
    """Return the kernels of norm(conv(·)), (out, in, k, k), of a norm at rest."""
    return conv.weight * (norm.gammas / norm.running_sd).reshape(-1, 1, 1, 1)


def _conv_norm(conv: nn.Conv2d, norm: BiasFreeNorm, x: Tensor) -> Tensor:
    """Return norm(conv(x)); a norm at rest scales whichever is fewer, the weights or the pixels."""
    few = conv.weight[0].numel() < x.numel() // x.shape[1]  # a channel's weights, and its pixels
    if few and not norm.training and conv.bias is None:
        return conv._conv_forward(x, fold_weight(conv, norm), None)
    return norm(conv(x))


def run(layers: Iterable[Layer], x: Tensor) -> Tensor:
    """Return what the layers make of `x` (B, C, H, W), one after the other; `x` is left as it is.

    A ReLU overwrites what the layer before it made, and nothing else.
    """
    kept: list[Tensor] = []
    own, waiting = False, list(layers)[::-1]
    while waiting:
        layer = waiting.pop()
        if type(layer) is nn.Conv2d and waiting and isinstance(waiting[-1], BiasFreeNorm):
            x = _conv_norm(layer, waiting.pop(), x)
        elif isinstance(layer, nn.Module):
            shared = getattr(layer, "inplace", False) and not own
            x = layer(x.clone() if shared else x)
        else:
            x = layer(x, kept)
        own = own if isinstance(layer, nn.Identity) else type(layer) in _FRESH
    return x


def check_input(y: Tensor, channels: int, weight: Tensor) -> None:
    """Refuse images of other channels than `channels`, or unlike `weight`, in words."""
    shape = tuple(y.shape)
    if len(shape) != 4 or shape[1] != channels or 0 in shape[2:] or y.dtype != weight.dtype:
        raise ValueError(
            f"y must be (B, {channels}, H, W), {weight.dtype} like the network, "
            f"not {shape}, {y.dtype}"
        )
    if y.device != weight.device:
        raise ValueError(f"y must be on {weight.device} like the network, not on {y.device}")


def channels_of(layers: list[Layer]) -> int:
    """Return how many channels the first layer that has weights takes."""
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            return layer.in_channels
        if isinstance(layer, BiasFreeNorm):
            return layer.gammas.shape[1]
    raise ValueError("layers must have weights, and none of them has")


def depth_of(layers: list[Layer]) -> int:
    """Return how many poolings lie between the full and the coarsest resolution."""
    depths = [0]
    for layer in layers:
        zoom = isinstance(layer, nn.AvgPool2d) - isinstance(layer, nn.ConvTranspose2d)
        depths.append(depths[-1] + zoom)
    return max(depths)
