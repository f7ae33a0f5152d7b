"""Networks: bias-free UNet and BF-CNN, which map a noisy image to its estimated noise.

No layer adds a constant, and all are homogeneous of degree one in evaluation mode: net(a y) =
a net(y) for a > 0, and net(y) is linear in y given the signs of its ReLUs. Source: Mohan,
Kadkhodaie, Simoncelli & Fernandez-Granda, ICLR 2020.
"""

import math
from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from gahb_core.noise import make_generator

EPS = 1e-5


class BiasFreeNorm(nn.Module):
    """Batch normalisation without additive constants: divide by a deviation, multiply by γ.

    sd = √(var over (B, H, W) + 1e-5): the mean enters the variance and is never subtracted.
    Training divides by the batch's sd and updates running_sd ← 0.9 running_sd + 0.1 sd;
    evaluation divides by running_sd. Source: Mohan et al. 2020, and the authors' code (whose 2024
    version starts γ at a deviation of 0.0035, an evident typo of 0.059).
    """

    def __init__(self, num_channels: int, gain: float = 1.0) -> None:
        super().__init__()
        self.gammas = nn.Parameter(torch.full((1, num_channels, 1, 1), gain))
        self.register_buffer("running_sd", torch.ones(1, num_channels, 1, 1))
        self.momentum = 0.1

    def forward(self, x: Tensor) -> Tensor:
        """Return x γ / sd, of the shape of `x` (B, C, H, W)."""
        if not self.training:
            return x * (self.gammas / self.running_sd)
        y, sd = _DivideByDeviation.apply(x, self.gammas)
        with torch.no_grad():
            self.running_sd.lerp_(sd, self.momentum)
        return y


class _DivideByDeviation(torch.autograd.Function):
    """x γ / sd and sd, with the gradient by hand: three times faster on a CPU than autograd's."""

    @staticmethod
    def forward(ctx, x: Tensor, gammas: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN001
        # E[x²] − E[x]²: four times faster than var(), and the same to rounding
        mean, power = (t.mean(dim=(0, 2, 3), keepdim=True) for t in (x, x * x))
        sd = torch.sqrt(power - mean * mean + EPS)
        ctx.save_for_backward(x, gammas, mean, sd)
        ctx.mark_non_differentiable(sd)
        return x * (gammas / sd), sd

    @staticmethod
    def backward(ctx, grad: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN001
        x, gammas, mean, sd = ctx.saved_tensors
        scaled = (grad * x).sum(dim=(0, 2, 3), keepdim=True) / sd
        # through sd: d sd / dx = (x − mean) / (n sd)
        slope = -scaled * gammas * x.shape[1] / (sd * sd * x.numel())
        return torch.addcmul(-mean * slope, x, slope).addcmul_(grad, gammas / sd), scaled


def _conv(channels_in: int, channels_out: int, kernel: int = 3) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, bias=False)


def _conv_block(
    widths: Sequence[int], norm_first: bool = True, last_plain: bool = False
) -> nn.ModuleList:
    """Return the list conv, norm, ReLU, conv, norm, ReLU with the exceptions of the UNet's ends."""
    layers: list[nn.Module] = []
    pairs = list(zip(widths[:-1], widths[1:], strict=True))
    for i, (a, b) in enumerate(pairs):
        layers.append(_conv(a, b))
        if last_plain and i == len(pairs) - 1:
            break
        if norm_first or i > 0:
            layers.append(BiasFreeNorm(b))
        layers.append(nn.ReLU(inplace=True))
    return nn.ModuleList(layers)


def _fold_weight(conv: nn.Conv2d, norm: BiasFreeNorm) -> Tensor:
    return conv.weight * (norm.gammas / norm.running_sd).reshape(-1, 1, 1, 1)


def _conv_norm(conv: nn.Conv2d, norm: nn.Module, x: Tensor) -> Tensor:
    """Return norm(conv(x)); a norm at rest scales whichever is fewer, the weights or the pixels."""
    few = conv.weight[0].numel() < x.numel() // x.shape[1]  # a channel's weights, and its pixels
    if isinstance(norm, BiasFreeNorm) and not norm.training and few:
        return nn.functional.conv2d(x, _fold_weight(conv, norm), padding=conv.padding)
    return norm(conv(x))


def _run(layers: nn.ModuleList, x: Tensor) -> Tensor:
    """Return the layers of a `_conv_block` after each other; its ReLUs overwrite what they take."""
    left = list(layers)
    while left:
        conv = left.pop(0)
        norm = left.pop(0) if left and not isinstance(left[0], nn.ReLU) else nn.Identity()
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
    """

    def __init__(
        self, num_blocks: int = 3, base: int = 64, channels: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        if num_blocks < 1:
            raise ValueError(f"num_blocks must be at least 1, not {num_blocks}")
        widths = list(channels or [base * 2**b for b in range(num_blocks + 1)])
        if len(widths) != num_blocks + 1:
            raise ValueError(
                f"channels must have num_blocks + 1 = {num_blocks + 1} widths, not {widths}"
            )
        self.encoder = nn.ModuleList()
        self.upsample = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for b in range(num_blocks):
            first = [1 if b == 0 else widths[b - 1], widths[b], widths[b]]
            self.encoder.append(_conv_block(first, norm_first=b > 0))
        self.mid_block = _conv_block([widths[-2], widths[-1], widths[-1]])
        for b in range(num_blocks):  # by scale, as in the authors' state dicts; run in reverse
            self.upsample.append(nn.ConvTranspose2d(widths[b + 1], widths[b], 2, 2, bias=False))
            out = 1 if b == 0 else widths[b]
            self.decoder.append(_conv_block([2 * widths[b], widths[b], out], last_plain=b == 0))

    def forward(self, y: Tensor) -> Tensor:
        """Return the estimated noise y − x̂."""
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
        skip: the convolutions give x̂, and the network y − x̂ (y: the last `channels_out` of the
            channels in). Details are small: at most levels of σ nearly all of y is noise, and a
            stack of layers that must copy y to its noise copies it badly.
    """

    def __init__(
        self,
        num_layers: int = 21,
        num_channels: int = 64,
        channels_in: int = 1,
        channels_out: int = 1,
        spatial_layers: Sequence[int] | None = None,
        skip: bool = False,
    ) -> None:
        super().__init__()
        self.skip = skip
        hidden = range(1, num_layers - 1)
        spatial = set(hidden if spatial_layers is None else spatial_layers)
        if num_layers < 2 or not spatial <= set(hidden):
            raise ValueError(
                f"spatial_layers must lie in 1 … num_layers − 2 (num_layers = {num_layers} ≥ 2), "
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
        h = self.conv_layers[0](y)
        for conv, norm in zip(self.conv_layers[1:-1], self.BN_layers, strict=True):
            h = _conv_norm(conv, norm, h).relu_()
        h = self.conv_layers[-1](h)
        return y[:, -h.shape[1] :] - h if self.skip else h


# paper (b): which hidden layers of the 21 are 3×3 for each receptive field
SPATIAL_LAYERS: dict[int, tuple[int, ...]] = {
    5: (),
    9: (8, 16),
    13: (4, 8, 12, 16),
    23: tuple(range(2, 20, 2)),
    43: tuple(range(1, 20)),
}


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


def _fold_pair(conv: nn.Conv2d, norm: BiasFreeNorm) -> nn.Conv2d:
    folded = deepcopy(conv)
    folded.weight = nn.Parameter(_fold_weight(conv, norm).detach())
    return folded


def fold_norm(net: UNet | BFCNN) -> UNet | BFCNN:
    """Return a copy of `net` in evaluation mode whose norms are folded into the convolutions.

    The copy computes the same function with fewer operations; it cannot be trained further
    (its norms are gone). `net` is left as it was.
    """
    net = deepcopy(net).eval()
    if isinstance(net, BFCNN):
        for i, norm in enumerate(net.BN_layers):
            net.conv_layers[i + 1] = _fold_pair(net.conv_layers[i + 1], norm)
        net.BN_layers = nn.ModuleList(nn.Identity() for _ in net.BN_layers)
        return net
    for block in [*net.encoder, net.mid_block, *net.decoder]:
        for i, layer in enumerate(block):
            if isinstance(layer, BiasFreeNorm):
                block[i - 1] = _fold_pair(block[i - 1], layer)
                block[i] = nn.Identity()
    return net


def initialize(net: UNet | BFCNN, seed: int, gain: float = 1.0) -> UNet | BFCNN:
    """Fill the convolutions of `net` (in place) from `seed` and return it.

    He's normal law, deviation gain √(2 / fan-in); the last convolution starts at zero, so that the
    first estimate is x̂ = y (0 with a skip). γ and the running deviations stay at one. The hidden
    convolutions of a BF-CNN start with their centre tap alone, as 1×1: a deep stack of random 3×3
    blurs what it is given (Xiao et al., ICML 2018), and a garment at σ = 1 is at 14.5 dB after 300
    steps so, at 12.4 dB otherwise.
    """
    generator = make_generator(seed, "weights")
    last = net.decoder[0][-1] if isinstance(net, UNet) else net.conv_layers[-1]
    with torch.no_grad():
        for conv in net.modules():
            if not isinstance(conv, nn.Conv2d | nn.ConvTranspose2d):
                continue
            w = conv.weight
            # a transposed convolution (in, out, 2, 2) with stride 2 sums `in` terms a pixel
            fan_in = w.shape[0] if isinstance(conv, nn.ConvTranspose2d) else math.prod(w.shape[1:])
            w.copy_(torch.randn(w.shape, generator=generator) * gain * math.sqrt(2 / fan_in))
        for conv in net.conv_layers[1:-1] if isinstance(net, BFCNN) else ():
            size = conv.kernel_size[0]
            centre = conv.weight[..., size // 2, size // 2] * size  # as if the fan-in were 1×1
            conv.weight.zero_()[..., size // 2, size // 2] = centre
        last.weight.zero_()
    return net


def fill(net: nn.Module, weights: dict[str, Tensor], origin: object) -> nn.Module:
    """Fill `net` (in place) with `weights`, key by key and shape by shape, and return it.

    Raises:
        ValueError: naming the keys that are missing, not known, or of another shape.
    """
    expected = net.state_dict()
    missing = sorted(expected.keys() - weights.keys())
    unknown = sorted(weights.keys() - expected.keys())
    if missing or unknown:
        raise ValueError(f"{origin}: keys missing {missing[:5]}, keys not known {unknown[:5]}")
    for key, value in weights.items():
        if value.shape != expected[key].shape:
            raise ValueError(
                f"{origin}: {key} must have shape {tuple(expected[key].shape)}, "
                f"not {tuple(value.shape)}"
            )
        if not bool(torch.isfinite(value).all()):
            raise ValueError(f"{origin}: {key} must be finite, and holds inf or nan")
    net.load_state_dict({k: v.float() for k, v in weights.items()})
    return net
