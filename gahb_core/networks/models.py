"""The bias-free UNet and BF-CNN, what they see, and their norms folded away."""

from collections.abc import Sequence
from copy import deepcopy
from typing import TypeVar

import torch
from torch import Tensor, nn

from gahb_core.checks import check_count
from gahb_core.networks.norm import BiasFreeNorm

Network = TypeVar("Network", bound=nn.Module)


def _conv(channels_in: int, channels_out: int, kernel: int = 3) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, bias=False)


def _conv_block(
    widths: Sequence[int], norm_first: bool = True, last_plain: bool = False, smooth: bool = False
) -> nn.ModuleList:
    """Return the list conv, norm, ReLU, conv, norm, ReLU with the exceptions of the UNet's ends.

    Smooth: GELU in place of ReLU.
    """
    layers: list[nn.Module] = []
    pairs = list(zip(widths[:-1], widths[1:], strict=True))
    for i, (a, b) in enumerate(pairs):
        layers.append(_conv(a, b))
        if last_plain and i == len(pairs) - 1:
            break
        if norm_first or i > 0:
            layers.append(BiasFreeNorm(b))
        layers.append(nn.GELU() if smooth else nn.ReLU(inplace=True))
    return nn.ModuleList(layers)


def _fold_weight(conv: nn.Conv2d, norm: BiasFreeNorm) -> Tensor:
    return conv.weight * (norm.gammas / norm.running_sd).reshape(-1, 1, 1, 1)


def _conv_norm(conv: nn.Conv2d, norm: nn.Module, x: Tensor) -> Tensor:
    """Return norm(conv(x)); a norm at rest scales whichever is fewer, the weights or the pixels."""
    few = conv.weight[0].numel() < x.numel() // x.shape[1]  # a channel's weights, and its pixels
    if isinstance(norm, BiasFreeNorm) and not norm.training and few:
        return nn.functional.conv2d(x, _fold_weight(conv, norm), padding=conv.padding)
    return norm(conv(x))


def check_input(y: Tensor, weight: Tensor) -> None:
    """Refuse what the first convolution would, in words."""
    channels, shape = weight.shape[1], tuple(y.shape)
    if len(shape) != 4 or shape[1] != channels or 0 in shape[2:] or y.dtype != weight.dtype:
        raise ValueError(
            f"y must be (B, {channels}, H, W), {weight.dtype} like the network, "
            f"not {shape}, {y.dtype}"
        )
    if y.device != weight.device:
        raise ValueError(f"y must be on {weight.device} like the network, not on {y.device}")


def _run(layers: nn.ModuleList, x: Tensor) -> Tensor:
    """Return the layers of a `_conv_block` after each other; its ReLUs overwrite what they take."""
    left = list(layers)
    while left:
        conv = left.pop(0)
        bare = not left or isinstance(left[0], nn.ReLU | nn.GELU)
        norm = nn.Identity() if bare else left.pop(0)
        x = _conv_norm(conv, norm, x)
        x = left.pop(0)(x) if left else x
    return x


class UNet(nn.Module):
    """Bias-free UNet of paper (a): images (B, 1, H, W) → estimated noise (B, 1, H, W).

    Each encoder block has two 3×3 convolutions and a 2×2 average pooling, each decoder block a
    2×2 transposed convolution, the skip connection, and two convolutions. H and W must be
    multiples of 2^num_blocks.

    Args:
        num_blocks: encoder blocks; the image sizes of the paper, 20, 40, 80, 160, use 1, 2, 3, 4.
        base: channels at full resolution, doubled at each block.
        channels: the widths of all num_blocks + 1 scales, in place of `base` and doubling.
        channels_in: 1, or 2 for one that is told σ, as a constant channel beside y.
        smooth: GELU in place of ReLU. Then it is no longer homogeneous, nor linear by pieces.
    """

    def __init__(
        self,
        num_blocks: int = 3,
        base: int = 64,
        channels: Sequence[int] | None = None,
        channels_in: int = 1,
        smooth: bool = False,
    ) -> None:
        super().__init__()
        self.smooth = smooth
        num_blocks, base = check_count(num_blocks, "num_blocks", 1, 16), check_count(base, "base")
        widths = [base * 2**b for b in range(num_blocks + 1)] if channels is None else channels
        widths = [check_count(width, "channels") for width in widths]
        if len(widths) != num_blocks + 1:
            raise ValueError(
                f"channels must have num_blocks + 1 = {num_blocks + 1} widths, not {widths}"
            )
        self.encoder = nn.ModuleList()
        self.upsample = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for b in range(num_blocks):
            first = [channels_in if b == 0 else widths[b - 1], widths[b], widths[b]]
            self.encoder.append(_conv_block(first, norm_first=b > 0, smooth=smooth))
        self.mid_block = _conv_block([widths[-2], widths[-1], widths[-1]], smooth=smooth)
        for b in range(num_blocks):  # by scale, as in the authors' state dicts; run in reverse
            self.upsample.append(nn.ConvTranspose2d(widths[b + 1], widths[b], 2, 2, bias=False))
            out = 1 if b == 0 else widths[b]
            pair = [2 * widths[b], widths[b], out]
            self.decoder.append(_conv_block(pair, last_plain=b == 0, smooth=smooth))

    def forward(self, y: Tensor) -> Tensor:
        """Return the estimated noise y − x̂."""
        check_input(y, self.encoder[0][0].weight)
        step = 2 ** len(self.encoder)
        if y.shape[-1] % step or y.shape[-2] % step:
            raise ValueError(
                f"y must have height and width divisible by {step}, not {tuple(y.shape)}"
            )
        skips = []
        for block in self.encoder:
            y = _run(block, y)
            skips.append(y)
            y = nn.functional.avg_pool2d(y, 2)
        y = _run(self.mid_block, y)
        for b in reversed(range(len(skips))):
            y = _run(self.decoder[b], torch.cat([self.upsample[b](y), skips[b]], dim=1))
        return y


class BFCNN(nn.Module):
    """Bias-free DnCNN: a linear convolution, then (conv, norm, ReLU) × (L − 2), then a convolution.

    With `num_layers` = 21 and 64 channels it has 702,784 parameters and a 43×43 receptive field.

    Args:
        num_layers: all convolutions, at least 2.
        num_channels: width of the hidden layers.
        channels_in, channels_out: 1 and 1 for images; 4 and 3 for the conditional network of
            details given the low band (paper (b)).
        spatial_layers: which hidden layers (1 … L−2) are 3×3; the others are 1×1. None: all.
        first_relu: a ReLU after the first convolution too, as in the authors' networks of 2021.
        skip: the convolutions give x̂, and the network y − x̂ (y: the last `channels_out` of the
            channels in). Details are small: at most levels of σ nearly all of y is noise, and a
            stack of layers that must copy y to its noise copies it badly.
        residual: a ReLU after the first convolution, and each hidden layer is ReLU(h + norm(conv
            h)). What reaches a layer is ≥ 0, so a norm at rest and h fold into the convolution
            (`fold_norm`): it computes what a plain BF-CNN can, and is trained more easily.
    """

    def __init__(
        self,
        num_layers: int = 21,
        num_channels: int = 64,
        channels_in: int = 1,
        channels_out: int = 1,
        spatial_layers: Sequence[int] | None = None,
        skip: bool = False,
        first_relu: bool = False,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.skip, self.first_relu, self.residual = skip, first_relu or residual, residual
        num_layers = check_count(num_layers, "num_layers", 2)
        ends = {"channels_in": channels_in, "channels_out": channels_out}
        for name, number in {"num_channels": num_channels, **ends}.items():
            check_count(number, name)
        hidden = range(1, num_layers - 1)
        spatial = set(hidden if spatial_layers is None else spatial_layers)
        if not spatial <= set(hidden):
            raise ValueError(
                f"spatial_layers must lie in 1 … num_layers − 2 (num_layers = {num_layers}), "
                f"not {sorted(spatial)}"
            )
        self.conv_layers = nn.ModuleList([_conv(channels_in, num_channels)])
        self.BN_layers = nn.ModuleList()
        for i in hidden:
            self.conv_layers.append(_conv(num_channels, num_channels, 3 if i in spatial else 1))
            self.BN_layers.append(BiasFreeNorm(num_channels))
        self.conv_layers.append(_conv(num_channels, channels_out))

    def forward(self, y: Tensor) -> Tensor:
        """Return the estimated noise, (B, channels_out, H, W)."""
        check_input(y, self.conv_layers[0].weight)
        h = self.conv_layers[0](y)
        h = h.relu_() if self.first_relu else h
        for conv, norm in zip(self.conv_layers[1:-1], self.BN_layers, strict=True):
            step = _conv_norm(conv, norm, h)
            h = (step + h if self.residual else step).relu_()
        h = self.conv_layers[-1](h)
        return y[:, -h.shape[1] :] - h if self.skip else h


# paper (b): which hidden layers of the 21 are 3×3 for each receptive field
_SPATIAL = {5: (), 9: (8, 16), 13: (4, 8, 12, 16), 23: range(2, 20, 2), 43: range(1, 20)}
SPATIAL_LAYERS: dict[int, tuple[int, ...]] = {r: tuple(which) for r, which in _SPATIAL.items()}


def num_parameters(net: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in net.parameters())


def receptive_field(net: UNet | BFCNN) -> int:
    """Return the side, in pixels, of the widest window of y that can reach one output pixel.

    Follows an interval of rows from the output back to the input, and takes the widest over the
    phases of the output pixel relative to the pooling grid: 18, 44, 100 and 204 for UNets of 1 to
    4 blocks (92 and 188 for 3 and 4 at the phases that see least, the figures of paper (a)'s
    architectures), 43 for the BF-CNN of 21 layers.
    """
    if isinstance(net, BFCNN):
        return 1 + sum(c.kernel_size[0] - 1 for c in net.conv_layers)
    num_blocks = len(net.encoder)
    widths = []
    for phase in range(2**num_blocks):
        low = high = phase
        for _ in range(num_blocks):  # decoder: two convolutions, then the coarse pixels they see
            low, high = (low - 2) // 2, (high + 2) // 2
        low, high = low - 2, high + 2
        for _ in range(num_blocks):  # encoder: both fine pixels of each, then two convolutions
            low, high = 2 * low - 2, 2 * high + 3
        widths.append(high - low + 1)
    return max(widths)


def _fold_pair(conv: nn.Conv2d, norm: BiasFreeNorm, residual: bool = False) -> nn.Conv2d:
    folded, weight = deepcopy(conv), _fold_weight(conv, norm).detach()
    if residual:  # h + conv h: one more at the centre of each channel's own kernel
        weight[:, :, weight.shape[2] // 2, weight.shape[3] // 2].diagonal().add_(1)
    folded.weight = nn.Parameter(weight)
    return folded


def fold_norm(net: Network) -> Network:
    """Return a copy of `net` in evaluation mode whose norms are folded into the convolutions.

    The copy computes the same function with fewer operations; it cannot be trained further
    (its norms are gone). A residual BF-CNN becomes a plain one. `net` is left as it was.
    """
    net = deepcopy(net).eval()
    if not any(isinstance(m, BiasFreeNorm) for m in net.modules()):
        return net  # a transformer: its norms follow their input and cannot be folded
    if isinstance(net, BFCNN):
        for i, norm in enumerate(net.BN_layers):
            net.conv_layers[i + 1] = _fold_pair(net.conv_layers[i + 1], norm, net.residual)
        net.BN_layers = nn.ModuleList(nn.Identity() for _ in net.BN_layers)
        net.residual = False
        return net
    for block in [*net.encoder, net.mid_block, *net.decoder]:
        for i, layer in enumerate(block):
            if isinstance(layer, BiasFreeNorm):
                block[i - 1] = _fold_pair(block[i - 1], layer)
                block[i] = nn.Identity()
    return net
