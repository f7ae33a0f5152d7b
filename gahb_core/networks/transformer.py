"""A small transformer on patches: no convolutions, and homogeneous of degree one as they are."""

import math

import torch
from torch import Generator, Tensor, nn

from gahb_core.checks import check_count
from gahb_core.networks.layers import check_input
from gahb_core.networks.weights import draw_normal

HEAD = 32  # numbers a token has in one head


class RootMeanSquare(nn.Module):
    """Divide each token by its root mean square, and multiply by γ: no mean, no constant."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gammas = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return x γ / √(mean over the last axis of x² + 1e-6), of the shape of `x`."""
        return x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * self.gammas.to(x.dtype)


class Block(nn.Module):
    """Attention among all tokens, then two layers for each of them; both added to what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_heads = max(1, width // HEAD)
        each = width // self.num_heads
        self.norms = nn.ModuleList([RootMeanSquare(width) for _ in range(2)])
        self.lengths = nn.ModuleList([RootMeanSquare(each) for _ in range(2)])
        self.queries_keys_values = nn.Linear(width, 3 * width, bias=False)
        self.mix = nn.Linear(width, width, bias=False)
        self.widen = nn.Linear(width, 4 * width, bias=False)
        self.narrow = nn.Linear(4 * width, width, bias=False)

    def attend(self, h: Tensor) -> Tensor:
        """Return the attention weights of tokens (B, T, width): (B, heads, T, T), rows of sum 1."""
        return self._weights(*self._split(h)[:2])

    def _split(self, h: Tensor) -> tuple[Tensor, ...]:
        parts = self.queries_keys_values(self.norms[0](h)).unflatten(2, (3, self.num_heads, -1))
        return parts.permute(2, 0, 3, 1, 4).unbind()

    def _weights(self, q: Tensor, k: Tensor) -> Tensor:
        q, k = self.lengths[0](q), self.lengths[1](k)
        return torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1)

    def forward(self, h: Tensor) -> Tensor:
        """Return the tokens (B, T, width) after both steps."""
        q, k, v = self._split(h)
        h = h + self.mix((self._weights(q, k) @ v).transpose(1, 2).flatten(2))
        return h + self.narrow(nn.functional.gelu(self.widen(self.norms[1](h))))


class Transformer(nn.Module):
    """Transformer on 4×4 patches: images (B, C, S, S) → estimated noise (B, C, S, S).

    y is divided by its own root mean square s, cut into patches, mapped to tokens, given a place
    (a learned vector for each), sent through `num_blocks` blocks of attention, mapped back to
    patches, and multiplied by s. No layer adds a constant but the places, and because of s the
    network is homogeneous of degree one all the same: net(a y) = a net(y) for a > 0. So x̂ = J y as
    for the bias-free convolutional networks, though this one is not piecewise linear.

    Nothing in it prefers near pixels to far ones, or treats places alike: it has to learn both.

    Args:
        size: S, a multiple of `patch`.
        width: numbers a token has, a multiple of 32 or less than 64.
        num_blocks: blocks.
        patch: side of the patches.
        channels: C.

    Source: Peebles & Xie, ICCV 2023 (whose DiT is told σ by scales and shifts of its norms);
    An et al., NeurIPS 2025, for the question.
    """

    def __init__(
        self,
        size: int = 32,
        width: int = 128,
        num_blocks: int = 5,
        patch: int = 4,
        channels: int = 1,
    ) -> None:
        super().__init__()
        self.channels = check_count(channels, "channels")
        size, patch = check_count(size, "size"), check_count(patch, "patch")
        width, num_blocks = check_count(width, "width"), check_count(num_blocks, "num_blocks")
        if size % patch:
            raise ValueError(f"size must be a multiple of patch = {patch}, not {size}")
        if width >= 2 * HEAD and width % HEAD:
            raise ValueError(f"width must be a multiple of {HEAD} or less than 64, not {width}")
        self.size, self.patch = size, patch
        self.embed = nn.Linear(channels * patch**2, width, bias=False)
        self.places = nn.Parameter(torch.zeros(1, (size // patch) ** 2, width))
        self.blocks = nn.ModuleList([Block(width) for _ in range(num_blocks)])
        self.restore = nn.Linear(width, channels * patch**2, bias=False)

    def draw(self, generator: Generator, gain: float) -> None:
        """Draw the matrices by LeCun's law, in place; those that end a step are zero.

        A block so begins as the identity. The places start at a deviation of .02, as in DiT.
        """
        for linear in (m for m in self.modules() if isinstance(m, nn.Linear)):
            w = linear.weight
            w.copy_(draw_normal(w.shape, generator) * gain / math.sqrt(w.shape[1]))
        self.places.copy_(0.02 * draw_normal(self.places.shape, generator))
        for block in self.blocks:
            block.mix.weight.zero_()
            block.narrow.weight.zero_()
        self.restore.weight.zero_()

    def count_operations(self, size: int) -> int:
        """Return the operations of one image of its `size`, two a product, without norms."""
        tokens, width = self.places.shape[1:]
        matrices = sum(m.weight.numel() for m in self.modules() if isinstance(m, nn.Linear))
        return 2 * tokens * (matrices + len(self.blocks) * 2 * tokens * width)

    def tokens(self, y: Tensor) -> Tensor:
        """Return the tokens (B, T, width) of images already divided by s, before the blocks."""
        cells = y.unflatten(3, (-1, self.patch)).unflatten(2, (-1, self.patch))
        patches = cells.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
        return self.embed(patches) + self.places

    def forward(self, y: Tensor) -> Tensor:
        """Return the estimated noise y − x̂."""
        check_input(y, self.channels, self.embed.weight)
        if y.shape[2:] != (self.size, self.size):
            raise ValueError(f"y must be {self.size}×{self.size} pixels, not {tuple(y.shape)}")
        power = y.square().mean((1, 2, 3), keepdim=True)
        scale = power.clamp(min=torch.finfo(y.dtype).tiny).sqrt()
        h = self.tokens(y / scale)
        for block in self.blocks:
            h = block(h)
        side = self.size // self.patch
        cells = self.restore(h).unflatten(2, (-1, self.patch, self.patch))
        cells = cells.unflatten(1, (side, side)).permute(0, 3, 1, 4, 2, 5)
        return scale * cells.reshape(y.shape)
