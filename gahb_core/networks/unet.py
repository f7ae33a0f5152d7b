"""The bias-free UNet, which sees all of a small image."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gahb_core.checks import check_count
from gahb_core.networks.layers import check_input, conv_block, run


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
    """

    def __init__(
        self,
        num_blocks: int = 3,
        base: int = 64,
        channels: Sequence[int] | None = None,
        channels_in: int = 1,
    ) -> None:
        super().__init__()
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
            self.encoder.append(conv_block(first, norm_first=b > 0))
        self.mid_block = conv_block([widths[-2], widths[-1], widths[-1]])
        for b in range(num_blocks):  # by scale, as in the authors' state dicts; run in reverse
            self.upsample.append(nn.ConvTranspose2d(widths[b + 1], widths[b], 2, 2, bias=False))
            out = 1 if b == 0 else widths[b]
            self.decoder.append(conv_block([2 * widths[b], widths[b], out], last_plain=b == 0))

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
            y = run(block, y)
            skips.append(y)
            y = nn.functional.avg_pool2d(y, 2)
        y = run(self.mid_block, y)
        for b in reversed(range(len(skips))):
            y = run(self.decoder[b], torch.cat([self.upsample[b](y), skips[b]], dim=1))
        return y
