"""The book's networks at one image: linear given their ReLUs, so J v and Jᵀ u are convolutions.

Where a bias-free network's ReLUs are open is recorded once, at y. Then J v is the network with
those masks in place of its ReLUs, and Jᵀ u the same chain backwards, each step of it transposed
(`networks.steps`): kernels flipped, their channels exchanged, a pooling that spreads a quarter.
Nothing is recorded for a gradient.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from gahb_core.denoisers.contract import Denoiser
from gahb_core.networks.layered import Layered
from gahb_core.networks.steps import Step


class Part(NamedTuple):
    """A part of a network as the linear map that it is at one input.

    Attributes:
        out: what it gives there, (1, C', H', W').
        push: vectors (K, C, H, W) → (K, C', H', W').
        pull: the transpose, (K, C', H', W') → (K, C, H, W).
    """

    out: Tensor
    push: Callable[[Tensor], Tensor]
    pull: Callable[[Tensor], Tensor]


def _mask(v: Tensor, mask: Tensor, before: Step | None) -> Tensor:
    """Return v · mask; over `v` where the step before made it anew."""
    return v.mul_(mask) if before is not None and before.fresh else v * mask


def _record(steps: list[Step], x: Tensor) -> tuple[Tensor, list[Tensor | None]]:
    """Return what the steps make of `x`, and the mask that each ReLU has there."""
    kept: list[Tensor] = []
    masks: list[Tensor | None] = []
    for step in steps:
        x = step.push(x, kept)
        masks.append((x > 0).to(x) if step.name == "relu" else None)
        x = x if masks[-1] is None else x * masks[-1]
    return x, masks


def _linear(steps: list[Step], x: Tensor) -> Part:
    """Return the steps as the linear map that they are, their ReLUs as at `x`."""
    out, masks = _record(steps, x)
    chain = list(zip(steps, masks, [None, *steps], strict=False))
    back = list(zip(steps[::-1], masks[::-1], [None, *steps[::-1]], strict=False))

    def push(v: Tensor) -> Tensor:
        kept: list[Tensor] = []
        for step, mask, before in chain:
            v = step.push(v, kept) if mask is None else _mask(v, mask, before)
        return v

    def pull(u: Tensor) -> Tensor:
        kept: list[Tensor] = []
        for step, mask, before in back:
            u = step.pull(u, kept) if mask is None else _mask(u, mask, before)
        return u

    return Part(out, push, pull)


def _is_plain(module: nn.Module) -> bool:
    """Return whether nothing is hung on a module: no hook, no forward of its own, no wrapper."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return "forward" not in vars(module) and not any(getattr(module, name) for name in hooks)


def _read(net: nn.Module) -> list[Step] | None:
    """Return the steps of a network that is just what its layers say, and linear given its ReLUs.

    A hook, a forward of its own, a parametrization, another activation, padding or bias: the map is
    another, which the masks would not show.
    """
    if not isinstance(net, Layered) or type(net).forward is not Layered.forward:
        return None
    everywhere = nn.modules.module
    hooked = everywhere._global_forward_hooks or everywhere._global_forward_pre_hooks
    if hooked or not all(map(_is_plain, net.modules())):
        return None
    try:
        steps = [step for step, *_ in net.trace()]
    except ValueError:
        return None
    return steps if all(step.linear for step in steps) else None


def find_network(
    denoiser: Denoiser,
) -> tuple[Layered, Callable[..., tuple[Tensor, int]]] | None:
    """Return the network of a denoiser y − net(input of y) and that input; None of any other.

    Known by what `Residual` has, `net` and `network_input`, also with keywords bound by `partial`;
    and only where the network is as its class made it. What the denoiser itself does with the
    network is not looked at: `linearize` compares what both give.
    """
    f, bound = denoiser, {}
    if isinstance(denoiser, partial) and not denoiser.args:
        f, bound = denoiser.func, denoiser.keywords
    if not hasattr(f, "network_input") or _read(getattr(f, "net", None)) is None:
        return None
    return f.net, partial(f.network_input, **bound)


@torch.no_grad()
def fix_masks(net: Layered, x: Tensor, start: int, num: int) -> Part:
    """Return y − net(x) at one input `x`, as a map of y, its `num` channels from `start` on."""
    own, around = slice(start, start + num), (0, 0, 0, 0, start, x.shape[1] - start - num)
    out, push, pull = _linear([step for step, *_ in net.trace()], x)
    return Part(x[:, own] - out, lambda v: v - push(pad(v, around)), lambda u: u - pull(u)[:, own])
