"""Networks of other houses, rebuilt: the UNet with attention of diffusers, and DnCNN.

Neither is one of this library's: they have biases, group or batch norms, attention, a time in
place of σ. They are what `adapt` and the experiments are tried on where the packages that they
come from are not installed. Modules are named as there, so that weights go both ways.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, scaled_dot_product_attention, silu

from gahb_core.checks import check_count


class _ResnetBlock(nn.Module):
    """Two convolutions after norm and SiLU, the time added between them, and what came in."""

    def __init__(self, channels_in: int, channels: int, time_width: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels_in, eps=1e-5)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.time_emb_proj = nn.Linear(time_width, channels)
        self.norm2 = nn.GroupNorm(groups, channels, eps=1e-5)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        if channels_in != channels:
            self.conv_shortcut = nn.Conv2d(channels_in, channels, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.conv1(silu(self.norm1(x))) + self.time_emb_proj(silu(time))[:, :, None, None]
        h = self.conv2(silu(self.norm2(h)))
        return h + (self.conv_shortcut(x) if hasattr(self, "conv_shortcut") else x)


class _Attention(nn.Module):
    """Self-attention of the pixels, heads of `head_width` channels, and what came in."""

    def __init__(self, channels: int, head_width: int, groups: int) -> None:
        super().__init__()
        self.head_width = head_width
        self.group_norm = nn.GroupNorm(groups, channels, eps=1e-5)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.group_norm(x).flatten(2).mT  # (B, HW, C)
        heads = [
            part(tokens).unflatten(2, (-1, self.head_width)).transpose(1, 2)
            for part in (self.to_q, self.to_k, self.to_v)
        ]  # (B, heads, HW, head_width) each
        mixed = scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        return x + self.to_out[0](mixed).mT.reshape(x.shape)


class _Resample(nn.Module):
    """A convolution of stride 2, or one after each pixel was doubled."""

    def __init__(self, channels: int, up: bool) -> None:
        super().__init__()
        self.up = up
        self.conv = nn.Conv2d(channels, channels, 3, stride=1 if up else 2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(interpolate(x, scale_factor=2.0, mode="nearest") if self.up else x)


class _Block(nn.Module):
    """The layers of one scale: (resnet, attention) for each of `widths_in`, then a resampling."""

    def __init__(
        self,
        widths_in: Sequence[int],
        channels: int,
        time_width: int,
        groups: int,
        head_width: int | None,
        resample: str | None,
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            [_ResnetBlock(width, channels, time_width, groups) for width in widths_in]
        )
        if head_width:
            self.attentions = nn.ModuleList(
                [_Attention(channels, head_width, groups) for _ in widths_in]
            )
        if resample:
            layers = nn.ModuleList([_Resample(channels, resample == "upsamplers")])
            self.add_module(resample, layers)

    def layer(self, i: int, x: Tensor, time: Tensor) -> Tensor:
        x = self.resnets[i](x, time)
        return self.attentions[i](x) if hasattr(self, "attentions") else x


class _Middle(nn.Module):
    """Resnet, attention, resnet at the coarsest scale."""

    def __init__(self, channels: int, time_width: int, groups: int, head_width: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            [_ResnetBlock(channels, channels, time_width, groups) for _ in range(2)]
        )
        self.attentions = nn.ModuleList([_Attention(channels, head_width, groups)])

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return self.resnets[1](self.attentions[0](self.resnets[0](x, time)), time)


class _TimeEmbedding(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.linear_1 = nn.Linear(width, 4 * width)
        self.linear_2 = nn.Linear(4 * width, 4 * width)

    def forward(self, t: Tensor) -> Tensor:
        half = self.width // 2
        steps = torch.arange(half, dtype=torch.float32, device=t.device)
        angles = t[:, None].float() * torch.exp(-math.log(10_000) * steps / half)
        waves = torch.cat([angles.cos(), angles.sin()], 1).to(self.linear_1.weight)
        return self.linear_2(silu(self.linear_1(waves)))


class Prediction(NamedTuple):
    """What a UNet of diffusers gives: `sample` (B, C, H, W)."""

    sample: Tensor


class DiffusersUNet(nn.Module):
    """The UNet2DModel of diffusers: images (B, C, H, W) and times t → `sample`, ε of their shape.

    Residual blocks with group norm, SiLU and an embedding of t, self-attention where asked for and
    in the middle, skip connections, biases everywhere. Its state dict is that of
    `diffusers.UNet2DModel` with `down_block_types` of "DownBlock2D" and "AttnDownBlock2D".

    Args:
        channels: widths from full resolution down.
        num_layers: residual blocks a scale on the way down; one more on the way up.
        attention: at which scales (0: full resolution) there is attention.
        head_width: channels of one head.
        groups: of the group norms.
        image_channels: of the images; 1 grey, 3 colour.

    Source: Ho, Jain & Abbeel 2020, appendix B; diffusers, `models/unets/unet_2d.py`.
    """

    def __init__(
        self,
        channels: Sequence[int] = (32, 48, 64),
        num_layers: int = 1,
        attention: Sequence[int] = (2,),
        head_width: int = 8,
        groups: int = 8,
        image_channels: int = 1,
    ) -> None:
        super().__init__()
        channels = [check_count(width, "channels") for width in channels]
        for width in channels:
            if width % groups or width % head_width:
                raise ValueError(
                    "channels must be divisible by groups and head_width "
                    f"({groups}, {head_width}), not {width}"
                )
        last, time_width = len(channels) - 1, 4 * channels[0]
        self.conv_in = nn.Conv2d(image_channels, channels[0], 3, padding=1)
        self.time_embedding = _TimeEmbedding(channels[0])
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        for b, width in enumerate(channels):
            widths_in = [channels[max(b - 1, 0)], *[width] * (num_layers - 1)]
            head = head_width if b in attention else None
            down = "downsamplers" if b < last else None
            self.down_blocks.append(_Block(widths_in, width, time_width, groups, head, down))
        self.mid_block = _Middle(channels[-1], time_width, groups, head_width)
        for b in reversed(range(len(channels))):
            width, below = channels[b], channels[min(b + 1, last)]
            skips = [*[width] * num_layers, channels[max(b - 1, 0)]]
            widths_in = [a + s for a, s in zip([below, *[width] * num_layers], skips, strict=True)]
            head = head_width if b in attention else None
            up = "upsamplers" if b > 0 else None
            self.up_blocks.append(_Block(widths_in, width, time_width, groups, head, up))
        self.conv_norm_out = nn.GroupNorm(groups, channels[0], eps=1e-5)
        self.conv_out = nn.Conv2d(channels[0], image_channels, 3, padding=1)

    def forward(self, sample: Tensor, timestep: float | Tensor) -> Prediction:
        """Return what the network predicts of `sample`, at one time or one an image.

        Raises:
            ValueError: where the images do not halve evenly, or have other channels.
        """
        step, shape = 2 ** (len(self.down_blocks) - 1), tuple(sample.shape)
        if (
            len(shape) != 4
            or shape[1] != self.conv_in.in_channels
            or shape[2] % step
            or shape[3] % step
        ):
            raise ValueError(
                f"sample must be (B, {self.conv_in.in_channels}, H, W), H and W divisible by "
                f"{step}, not {shape}"
            )
        t = torch.as_tensor(timestep, device=sample.device).expand(len(sample))
        time = self.time_embedding(t)
        x = self.conv_in(sample)
        skips = [x]
        for block in self.down_blocks:
            for i in range(len(block.resnets)):
                x = block.layer(i, x, time)
                skips.append(x)
            if hasattr(block, "downsamplers"):
                x = block.downsamplers[0](x)
                skips.append(x)
        x = self.mid_block(x, time)
        for block in self.up_blocks:
            for i in range(len(block.resnets)):
                x = block.layer(i, torch.cat([x, skips.pop()], 1), time)
            if hasattr(block, "upsamplers"):
                x = block.upsamplers[0](x)
        return Prediction(self.conv_out(silu(self.conv_norm_out(x))))


class _Config(NamedTuple):
    prediction_type: str = "epsilon"


class LinearSchedule:
    """The schedule of DDPM, as `diffusers.DDPMScheduler` has it by default.

    z_t = √ᾱ(t) x + √(1 − ᾱ(t)) ε, so that z_t/√ᾱ(t) is x with noise of deviation √(1/ᾱ(t) − 1).

    Attributes:
        alphas_cumprod: (T,) ᾱ(t), t = 0 … T − 1.
        config: with `prediction_type`, "epsilon".

    Source: Ho, Jain & Abbeel 2020, section 4.
    """

    def __init__(self, num_steps: int = 1000, low: float = 1e-4, high: float = 0.02) -> None:
        num_steps = check_count(num_steps, "num_steps", 2)
        betas = torch.linspace(low, high, num_steps, dtype=torch.float64, device="cpu")
        self.alphas_cumprod = (1 - betas).cumprod(0).float()
        self.config = _Config()


class DnCNN(nn.Module):
    """DnCNN: images (B, C, H, W) → x̂, that is y less the noise that the layers find; blind.

    Convolution and ReLU, then convolution, batch norm and ReLU, then a convolution: with biases,
    in the ends and in the norms. Without `batch_norm`, and with biases throughout, it is the form
    that deepinv has.

    Args:
        depth: convolutions.
        width: channels of the hidden layers.
        image_channels: of the images.
        batch_norm: norms in the hidden layers.

    Source: Zhang, Zuo, Chen, Meng & Zhang 2017, figure 1.
    """

    def __init__(
        self, depth: int = 17, width: int = 64, image_channels: int = 1, batch_norm: bool = True
    ) -> None:
        super().__init__()
        depth, width = check_count(depth, "depth", 2), check_count(width, "width")
        layers = [nn.Conv2d(image_channels, width, 3, padding=1), nn.ReLU()]
        for _ in range(depth - 2):
            layers.append(nn.Conv2d(width, width, 3, padding=1, bias=not batch_norm))
            layers += [nn.BatchNorm2d(width)] if batch_norm else []
            layers.append(nn.ReLU())
        layers.append(nn.Conv2d(width, image_channels, 3, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, y: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return x̂ = y − layers(y); `sigma` is ignored."""
        return y - self.layers(y)
