"""Patch posteriors: what a local denoiser of the training images would compute, exactly.

One formula, several machines. With the window Ω(p) of pixel p and a dictionary of patches u,

    x̂(p) = Σ_u w(u) u_centre,    w(u) ∝ exp(−‖y_Ω(p) − u‖² / 2σ²).

Three parts make a machine: the *window* (which pixels of y count), the *dictionary* (which patches
it is compared with) and the *response* (which pixels of the patches are the estimate).

Sources: Kamb & Ganguli, ICML 2025 (local and equivariant local machines); Niedoba et al., ICML
2025 (crops that answer for all their pixels). Both are for N images of C channels here.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from gahb_core.checks import check_count, check_finite, check_images
from gahb_core.denoisers.contract import require_sigma
from gahb_core.denoisers.layouts import (
    Group,
    Layout,
    Windows,
    crop_layout,
    equivariant_layout,
    local_layout,
)
from gahb_core.denoisers.streaming import Block, Pool, Respond, Running, stream

MOST = 2**22  # numbers held at once in a block
QUERIES = 1024


class _Apply(torch.autograd.Function):
    """The machine's mean, with its derivative in closed form: rows Cov_w(response, u)/σ²."""

    @staticmethod
    def forward(y: Tensor, variance: Tensor, machine: "Patches") -> Tensor:
        return machine._mean(y, variance)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:  # noqa: ANN001
        y, variance, ctx.machine = inputs
        ctx.save_for_backward(y, variance)
        ctx.save_for_forward(y, variance)
        ctx.rows = None

    @staticmethod
    def vmap(info, in_dims: tuple, y: Tensor, variance: Tensor, machine: "Patches") -> tuple:  # noqa: ANN001
        y = y.movedim(in_dims[0], 0) if in_dims[0] is not None else y[None]
        v = variance.movedim(in_dims[1], 0) if in_dims[1] is not None else variance[None]
        v = v.expand(info.batch_size, *v.shape[1:]).flatten(0, 1)
        y = y.expand(info.batch_size, *y.shape[1:])
        return _Apply.apply(y.flatten(0, 1), v, machine).reshape(y.shape), 0

    @staticmethod
    def _rows(ctx) -> list[Tensor]:  # noqa: ANN001
        if ctx.rows is None:
            y, variance = ctx.saved_tensors
            with torch.no_grad():
                ctx.rows = ctx.machine._rows(y.detach(), variance.detach())
        return ctx.rows

    @staticmethod
    def backward(ctx, u: Tensor) -> tuple:  # noqa: ANN001
        return ctx.machine._pull(_Apply._rows(ctx), u), None, None

    @staticmethod
    def jvp(ctx, v: Tensor, *_: None) -> Tensor:  # noqa: ANN001
        return ctx.machine._push(_Apply._rows(ctx), v)


class Patches:
    """E[centre | window] where windows are drawn from a dictionary of training patches.

    It follows the contract of `Denoiser`. Its derivative is exact and in closed form; a second
    derivative is not available.

    Attributes:
        train: (N, C, H, W).
        layout: window, dictionary and response.
        windows: of its images.
        origin: (C·d,) a mean window, from which all are counted.
        pools: for each group the merged dictionary, or None where it is formed as it is needed.
    """

    def __init__(self, train: Tensor, layout: Layout) -> None:
        self.train, self.windows = train, Windows(layout, train)
        self.layout = self.windows.layout
        # distances from it lose fewer digits, and the softmax is unmoved
        self.origin = self.windows.read(train[:256]).mean((0, 1))
        self.pools = [self._pool(g) for g in self.layout.groups]

    def _pool(self, group: Group) -> Pool | None:
        if len(group.places) > 1 or group.places.shape[1] == 1:
            return None
        parts = [self.windows.read(x, group.places[0]).flatten(0, 1) for x in self.train.split(256)]
        return Pool(torch.cat(parts).sub_(self.origin))

    def _blocks(self, group: Group, like: Tensor, width: int, rows: int) -> Iterator[Block]:
        """Yield the dictionaries of `group` (G, P, d), some training images at a time."""
        each = group.places.numel() * max(width, like.shape[-1]) + len(group.places) * rows
        for x in self.train.split(max(1, 4 * MOST // each)):
            patches = self.windows.read(x, group.places) - self.origin
            yield Block(patches.transpose(0, 1).flatten(1, 2).to(like))

    def _stream(
        self, y: Tensor, variance: Tensor, respond: Respond, width: int = 1
    ) -> Iterator[tuple[Tensor, Running, Tensor]]:
        """Yield each group's windows (g·m,), its softmax, and σ² of each query (Q, 1)."""
        read = self.windows.read(y) - self.origin.to(y)
        variance = variance.reshape(-1, 1).expand(len(y), 1)
        for group, pool in zip(self.layout.groups, self.pools, strict=True):
            queries = read[:, group.queries].transpose(0, 1).flatten(1, 2)
            each = variance.repeat_interleave(group.queries.shape[1], 0)
            if pool is None:
                num = group.places.shape[1] * each.shape[0]
                blocks = self._blocks(group, queries, width, num)
                found = stream(queries, each, blocks, respond)
            else:
                pool = pool.like(queries)
                pieces = zip(queries.split(QUERIES, 1), each.split(QUERIES), strict=True)
                parts = [pool.stream(q, v, respond) for q, v in pieces]
                found = Running(*(torch.cat(p, 1) for p in zip(*parts, strict=True)))
            yield group.queries.flatten(), found, each

    def _gather(self, parts: Iterator[tuple[Tensor, Tensor]], num: int) -> Tensor:
        """Return values of all windows (B, P, R), from (windows, (G, B·m, R)) of each group."""
        where, values = [], []
        for index, value in parts:
            groups, _, width = value.shape
            where.append(index)
            values.append(value.reshape(groups, num, -1, width).transpose(0, 1).flatten(1, 2))
        return torch.cat(values, 1)[:, torch.cat(where).argsort()]

    def _mean(self, y: Tensor, variance: Tensor) -> Tensor:
        answer = self.windows.answer

        def respond(weights: Tensor, patches: Tensor, _: Tensor) -> Tensor:
            return weights @ patches[..., answer]

        found = self._stream(y, variance, respond, len(answer))
        answers = self._gather(((i, r.mean) for i, r, _ in found), len(y))
        return self.windows.average(answers + self.origin[answer].to(y))

    def _rows(self, y: Tensor, variance: Tensor) -> Tensor:
        """Return Cov_w(response, u)/σ² of every window, (B, P, R, d)."""
        size, answer = self.origin.numel(), self.windows.answer

        def respond(weights: Tensor, patches: Tensor, _: Tensor) -> Tensor:
            both = patches[..., answer, None] * patches[..., None, :]
            return weights @ torch.cat([patches, both.flatten(-2)], -1)

        def covariance(found: Running, variance: Tensor) -> Tensor:
            mean, both = found.mean.split([size, size * len(answer)], -1)
            product = mean[..., answer, None] * mean[..., None, :]
            return (both - product.flatten(-2)) / variance

        width = size * (1 + len(answer))
        found = self._stream(y, variance, respond, width)
        rows = self._gather(((i, covariance(r, v)) for i, r, v in found), len(y))
        return rows.unflatten(2, (len(answer), size))

    def _push(self, rows: Tensor, v: Tensor) -> Tensor:
        return self.windows.average((rows @ self.windows.read(v)[..., None])[..., 0])

    def _pull(self, rows: Tensor, u: Tensor) -> Tensor:
        answers = self.windows.average_transposed(u)
        return self.windows.write((answers[:, :, None] @ rows)[:, :, 0])

    def _check(self, y: Tensor, sigma: float | Tensor | None) -> Tensor:
        if y.shape[1:] != self.train.shape[1:]:
            raise ValueError(
                f"y must have the image shape of the training set, "
                f"{tuple(self.train.shape[1:])}, not {tuple(y.shape[1:])}"
            )
        return require_sigma(sigma, y).flatten() ** 2

    def __call__(self, y: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return the posterior mean, of the shape of `y` (B, C, H, W)."""
        variance = self._check(y, sigma)
        return _Apply.apply(y, variance, self) if len(y) else y.clone()

    def rows(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        """Return J (B, D, D), whose row of pixel p is Cov_w(u_centre, u)/σ² on the window of p."""
        rows = self._rows(y.detach(), self._check(y, sigma))
        unit = torch.eye(y[0].numel(), dtype=y.dtype, device=y.device).unflatten(1, y.shape[1:])
        columns = [self._push(rows, v.expand_as(y)).flatten(1) for v in unit]
        return torch.stack(columns, 2)

    def perplexity(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        """Return exp(−Σ w ln w) of every window, (B, P): how many patches share the answer.

        Counted are the entries of the dictionary, equal ones each for itself.
        """

        def respond(weights: Tensor, _: Tensor, logits: Tensor) -> Tensor:
            return (weights * logits).sum(-1, keepdim=True)

        found = self._stream(y.detach(), self._check(y, sigma), respond)
        entropy = ((i, r.log_total - r.mean) for i, r, _ in found)
        return self._gather(entropy, len(y))[..., 0].exp()


def _check_machine(train: Tensor, size: int, odd: bool) -> tuple[int, int]:
    check_finite(check_images(train, "train"), "train")
    check_count(len(train), "the number of images of train")
    if check_count(size, "size") % 2 == 0 and odd:
        raise ValueError(f"size must be odd, not {size}")
    return train.shape[2], train.shape[3]


def local_denoiser(train: Tensor, size: int) -> Patches:
    """Return the local machine: windows of `size`², compared with training patches of their place.

    Over an edge the distance is that of the part inside. From `size` = 2S − 1 on every window
    sees the whole image, and it is the memorizer.

    Args:
        train: (N, C, H, W).
        size: k, odd.

    Raises:
        ValueError: where `train` is no batch of images, or `size` is even.
    """
    return Patches(train, local_layout(size, *_check_machine(train, size, True)))


def equivariant_denoiser(train: Tensor, size: int, circular: bool = False) -> Patches:
    """Return the equivariant local machine: patches of all places.

    With zero padding a window inside is compared with all patches inside; one over an edge with
    patches at the same distance from that edge, all along it; one over a corner, and all where
    `size` reaches the image's, with patches of the same place. Circular: y wraps round, and every
    window is compared with all patches inside.

    Args:
        train: (N, C, H, W).
        size: k, odd.
        circular: as in a network whose convolutions wrap round.

    Raises:
        ValueError: as `local_denoiser`; where a circular window exceeds the images.
    """
    height, width = _check_machine(train, size, True)
    if circular and size > min(height, width):
        raise ValueError(f"size must be at most {min(height, width)} where circular, not {size}")
    return Patches(train, equivariant_layout(size, height, width, circular))


def crop_denoiser(train: Tensor, size: int) -> Patches:
    """Return the machine of crops (PSPC): each crop of `size`² estimates all of its pixels.

    A crop is compared with the training crops of its place; overlapping estimates are averaged.
    With crops as large as the image there is one, and it is the memorizer (the ideal machine).

    Args:
        train: (N, C, H, W).
        size: k, from 1 to the smaller side.

    Raises:
        ValueError: as `local_denoiser`; where a crop exceeds the images.
    """
    height, width = _check_machine(train, size, False)
    if size > min(height, width):
        raise ValueError(f"size must be at most {min(height, width)}, not {size}")
    return Patches(train, crop_layout(size, height, width))
