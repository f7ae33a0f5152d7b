"""The bias-free UNet and BF-CNN, what they see, and their norms folded away."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import TypeVar

from torch import Generator, nn

from gahb_core.checks import check_count
from gahb_core.networks.layered import Layered
from gahb_core.networks.layers import ADD, CAT, POOL, PUSH, RELU, SUBTRACT, Layer
from gahb_core.networks.norm import BiasFreeNorm

Net = TypeVar("Net", bound=nn.Module)


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


def _check_ends(channels_in: int, channels_out: int | None) -> tuple[int, int]:
    channels_in = check_count(channels_in, "channels_in")
    return channels_in, channels_in if channels_out is None else check_count(
        channels_out, "channels_out"
    )


class UNet(Layered):
    """Bias-free UNet of paper (a): images (B, C, H, W) → estimated noise (B, C, H, W).

    Each encoder block has two 3×3 convolutions and a 2×2 average pooling, each decoder block a
    2×2 transposed convolution, the skip connection, and two convolutions. H and W must be
    multiples of 2^num_blocks.

    Args:
        num_blocks: encoder blocks; the image sizes of the paper, 20, 40, 80, 160, use 1, 2, 3, 4.
        base: channels at full resolution, doubled at each block.
        channels: the widths of all num_blocks + 1 scales, in place of `base` and doubling.
        channels_in: those of the images, 1 or 3, and one more for a network that is told σ, as a
            constant channel after y.
        channels_out: those of the images; None: as many as come in.
        smooth: GELU in place of ReLU. Then it is no longer homogeneous, nor linear by pieces.
    """

    def __init__(
        self,
        num_blocks: int = 3,
        base: int = 64,
        channels: Sequence[int] | None = None,
        channels_in: int = 1,
        channels_out: int | None = None,
        smooth: bool = False,
    ) -> None:
        super().__init__()
        num_blocks, base = check_count(num_blocks, "num_blocks", 1, 16), check_count(base, "base")
        channels_in, channels_out = _check_ends(channels_in, channels_out)
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
            out = widths[b] if b else channels_out
            pair = [2 * widths[b], widths[b], out]
            self.decoder.append(_conv_block(pair, last_plain=b == 0, smooth=smooth))

    def layers(self) -> Iterator[Layer]:
        """Yield the layers: down, keeping each scale's last, and up again beside them."""
        for block in self.encoder:
            yield from (*block, PUSH, POOL)
        yield from self.mid_block
        for b in reversed(range(len(self.encoder))):
            yield from (self.upsample[b], CAT, *self.decoder[b])


class BFCNN(Layered):
    """Bias-free DnCNN: a linear convolution, then (conv, norm, ReLU) × (L − 2), then a convolution.

    With `num_layers` = 21 and 64 channels it has 702,784 parameters and a 43×43 receptive field.

    Args:
        num_layers: all convolutions, at least 2.
        num_channels: width of the hidden layers.
        channels_in, channels_out: those of the images (None: as many as come in); 4 and 3 for the
            conditional network of details given the low band (paper (b)).
        spatial_layers: which hidden layers (1 … L−2) are 3×3; the others are 1×1. None: all.
        first_relu: a ReLU after the first convolution too, as in the authors' networks of 2021.
        skip: the convolutions give x̂, and the network y − x̂ (y: the last `channels_out` of the
            channels in). Details are small: at most levels of σ nearly all of y is noise, and a
            stack of layers that must copy y to its noise copies it badly.
        residual: a ReLU after the first convolution, and each hidden layer is ReLU(h + norm(conv
            h)). What reaches a layer is ≥ 0, so a norm at rest and h fold into the convolution
            (`fold_norm`): it computes what a plain BF-CNN can, and is trained more easily.
    """

    told = "low"

    def __init__(
        self,
        num_layers: int = 21,
        num_channels: int = 64,
        channels_in: int = 1,
        channels_out: int | None = None,
        spatial_layers: Sequence[int] | None = None,
        skip: bool = False,
        first_relu: bool = False,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.skip, self.first_relu, self.residual = skip, first_relu or residual, residual
        num_layers = check_count(num_layers, "num_layers", 2)
        num_channels = check_count(num_channels, "num_channels")
        channels_in, channels_out = _check_ends(channels_in, channels_out)
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

    def layers(self) -> Iterator[Layer]:
        """Yield the layers: a stack, around each or all of which its input may be led."""
        first, *hidden, last = self.conv_layers
        yield from (PUSH, first) if self.skip else (first,)
        yield from (RELU,) if self.first_relu else ()
        for conv, norm in zip(hidden, self.BN_layers, strict=True):
            yield from (PUSH, conv, norm, ADD, RELU) if self.residual else (conv, norm, RELU)
        yield from (last, SUBTRACT) if self.skip else (last,)

    def draw(self, generator: Generator, gain: float) -> None:
        """Draw the weights anew, in place: the hidden layers as 1×1, the residual as identities."""
        super().draw(generator, gain)
        for conv in self.conv_layers[1:-1]:
            size = conv.kernel_size[0]
            centre = conv.weight[..., size // 2, size // 2] * size  # as if the fan-in were 1×1
            conv.weight.zero_()[..., size // 2, size // 2] = centre
        if self.residual:
            self._start_residual()

    def _start_residual(self) -> None:
        first = self.conv_layers[0].weight
        half, kept = len(first) // 2, min(len(first) // 2, first.shape[1])
        first[:kept] = 0
        first[:kept, :kept, 1, 1].fill_diagonal_(1)
        first[half : 2 * half] = -first[:half]
        for norm in self.BN_layers:
            norm.gammas.fill_(0.1)

    def fold(self) -> None:
        """Fold the norms, and what a residual layer adds, into the convolutions, in place."""
        super().fold()
        for conv in self.conv_layers[1:-1] if self.residual else ():
            middle = conv.kernel_size[0] // 2  # one more at the centre of each channel's own kernel
            conv.weight.data[:, :, middle, middle].diagonal().add_(1)
        self.residual = False


# paper (b): which hidden layers of the 21 are 3×3 for each receptive field
_SPATIAL = {5: (), 9: (8, 16), 13: (4, 8, 12, 16), 23: range(2, 20, 2), 43: range(1, 20)}
SPATIAL_LAYERS: dict[int, tuple[int, ...]] = {r: tuple(which) for r, which in _SPATIAL.items()}


def num_parameters(net: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in net.parameters())


def receptive_field(net: Layered) -> int:
    """Return the side, in pixels, of the widest window of y that can reach one output pixel.

    Follows an interval of rows from the output back to the input, and takes the widest over the
    phases of the output pixel relative to the pooling grid: 18, 44, 100 and 204 for UNets of 1 to
    4 blocks (92 and 188 for 3 and 4 at the phases that see least, the figures of paper (a)'s
    architectures), 43 for the BF-CNN of 21 layers.

    Raises:
        ValueError: where the network is not made of layers.
    """
    if not isinstance(net, Layered):
        raise ValueError(f"net must be made of layers (networks.Layered), not {type(net).__name__}")
    return max(last - first + 1 for first, last in net.windows())


def fold_norm(net: Net) -> Net:
    """Return a copy of `net` in evaluation mode whose norms are folded into the convolutions.

    The copy computes the same function with fewer operations; it cannot be trained further
    (its norms are gone). A residual BF-CNN becomes a plain one. `net` is left as it was. The norms
    of a transformer follow their input and stay.
    """
    net = deepcopy(net).eval()
    for part in net.modules():
        if isinstance(part, Layered):
            part.fold()
    return net
