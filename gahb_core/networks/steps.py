"""The layers of a network at rest as steps, each of which knows all that is asked of a layer.

A step is linear, or a ReLU. It knows its product with vectors and the transpose of that, what comes
out of a shape, what it costs, and how far back a window reaches. A norm at rest is a part of the
convolution before it, and so is what is added to that convolution alone (PUSH, convolution, ADD).
A new kind of layer is a class here, and a line in `KINDS`; what a page runs of it is in
`gahb_book/browser`.
"""

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, conv_transpose2d, interpolate, pad

from gahb_core.networks.layers import Add, Cat, Layer, Push, Subtract
from gahb_core.networks.norm import BiasFreeNorm

Shape = tuple[int, int, int]  # channels, height, width
Window = tuple[int, int]  # first and last row


def _layout(weight: Tensor) -> Tensor:
    """Return a kernel with its channels last: up to 1.7 times faster, 1.2 at base 64."""
    return weight.contiguous(memory_format=torch.channels_last)


class Step:
    """A step; this one changes nothing. `kept` holds what waits to be taken up again.

    Attributes:
        name, sizes: as in the header of a live figure's network.
        linear: False of what is neither linear nor a ReLU.
        fresh: whether `push` and `pull` return memory that nobody else has.
        takes: whether it takes up what was kept.
    """

    name, linear, fresh, takes = "", True, False, False

    def __init__(self, layer: Layer) -> None:
        """Take the layer's weights, and refuse one of another form."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Return what says its weights' shape."""
        return ()

    def push(self, v: Tensor, kept: list[Tensor]) -> Tensor:
        """Return the step of vectors `v` (K, C, H, W)."""
        return v

    def pull(self, u: Tensor, kept: list[Tensor]) -> Tensor:
        """Return the transpose of `push` at `u`; `kept` is filled from the network's end."""
        return u

    def shape(self, shape: Shape, kept: list[Shape]) -> Shape:
        """Return the shape of what comes out."""
        return shape

    def products(self, shape: Shape) -> int:
        """Return the products that one input of a shape takes."""
        return 0

    def reach(self, window: Window, kept: list[Window]) -> Window:
        """Return the rows in that reach rows out, from the network's end as `pull`."""
        return window


class _Conv(Step):
    """A convolution with zeros around the image, its norm within.

    Attributes:
        weight: (out, in, k, k), without the norm.
        scale: (out,) of the norm behind it, or None.
        plus_input: what comes in is added to what goes out.
    """

    name, fresh = "conv", True

    def __init__(self, conv: nn.Conv2d) -> None:
        wanted: dict[str, object] = {
            "bias": None,
            "groups": 1,
            "dilation": (1, 1),
            "padding_mode": "zeros",
        }
        wanted |= {"stride": (1, 1), "padding": tuple(n // 2 for n in conv.kernel_size)}
        square = len(set(conv.kernel_size)) == 1 and conv.kernel_size[0] % 2
        if not square or any(getattr(conv, name) != v for name, v in wanted.items()):
            raise ValueError(f"layers must be square convolutions of one size, no bias, not {conv}")
        self.weight, self.scale, self.plus_input = conv.weight, None, False

    @property
    def sizes(self) -> tuple[int, ...]:
        """Return channels in, channels out and the kernel's side."""
        return self.weight.shape[1], *self.weight.shape[::2]

    @cached_property
    def kernel(self) -> Tensor:
        """The kernels that the step applies: the norm, and what is added, within."""
        kernel = self.weight
        if self.scale is not None:
            kernel = kernel * self.scale.reshape(-1, 1, 1, 1)
        if self.plus_input:  # one more at the centre of each channel's own kernel
            kernel = kernel.clone()
            middle = kernel.shape[-1] // 2
            kernel[:, :, middle, middle].diagonal().add_(1)
        return kernel

    @cached_property
    def _kernels(self) -> tuple[Tensor, Tensor]:
        return _layout(self.kernel), _layout(self.kernel.flip(2, 3).transpose(0, 1))

    def push(self, v: Tensor, kept: list[Tensor]) -> Tensor:
        return conv2d(v, self._kernels[0], padding=self.weight.shape[-1] // 2)

    def pull(self, u: Tensor, kept: list[Tensor]) -> Tensor:
        return conv2d(u, self._kernels[1], padding=self.weight.shape[-1] // 2)

    def shape(self, shape: Shape, kept: list[Shape]) -> Shape:
        _check_channels(self, self.weight.shape[1], shape)
        return len(self.weight), *shape[1:]

    def products(self, shape: Shape) -> int:
        return self.weight.numel() * shape[1] * shape[2]

    def reach(self, window: Window, kept: list[Window]) -> Window:
        far = self.weight.shape[-1] // 2
        return window[0] - far, window[1] + far


class _Up(Step):
    """A transposed convolution of 2×2 and stride 2: one pixel becomes four."""

    name, fresh = "up", True

    def __init__(self, conv: nn.ConvTranspose2d) -> None:
        wanted = {"bias": None, "groups": 1, "dilation": (1, 1), "stride": (2, 2)}
        wanted |= {"kernel_size": (2, 2), "padding": (0, 0), "output_padding": (0, 0)}
        if any(getattr(conv, name) != v for name, v in wanted.items()):
            raise ValueError(f"layers must go up by 2×2 of stride 2, bias-free, not by {conv}")
        self.weight = conv.weight

    @property
    def sizes(self) -> tuple[int, ...]:
        """Return channels in and out."""
        return tuple(self.weight.shape[:2])

    @cached_property
    def _kernel(self) -> Tensor:
        return _layout(self.weight)

    def push(self, v: Tensor, kept: list[Tensor]) -> Tensor:
        return conv_transpose2d(v, self._kernel, stride=2)

    def pull(self, u: Tensor, kept: list[Tensor]) -> Tensor:
        return conv2d(u, self._kernel, stride=2)

    def shape(self, shape: Shape, kept: list[Shape]) -> Shape:
        _check_channels(self, len(self.weight), shape)
        return self.weight.shape[1], 2 * shape[1], 2 * shape[2]

    def products(self, shape: Shape) -> int:
        return self.weight.numel() * shape[1] * shape[2]

    def reach(self, window: Window, kept: list[Window]) -> Window:
        return window[0] // 2, window[1] // 2


class _Scale(Step):
    """A norm at rest that no convolution comes before: a factor (C,) a channel."""

    name = "scale"

    def __init__(self, norm: BiasFreeNorm) -> None:
        self.scale = (norm.gammas / norm.running_sd).flatten()

    @property
    def sizes(self) -> tuple[int, ...]:
        """Return the channels."""
        return (len(self.scale),)

    def push(self, v: Tensor, kept: list[Tensor]) -> Tensor:
        return v * self.scale.reshape(-1, 1, 1)

    pull = push

    def shape(self, shape: Shape, kept: list[Shape]) -> Shape:
        return _check_channels(self, len(self.scale), shape)


class _ReLU(Step):
    """A ReLU: where it was open at a point is recorded by who runs the steps there."""

    name = "relu"


class _GELU(Step):
    """A GELU: no linear map in any place."""

    name, linear = "gelu", False


class _Pool(Step):
    """A mean over 2×2 pixels."""

    name, fresh = "pool", True

    def __init__(self, pool: nn.AvgPool2d) -> None:
        pair = [n if isinstance(n, tuple) else (n, n) for n in (pool.kernel_size, pool.stride)]
        if pair != [(2, 2)] * 2 or pool.padding not in (0, (0, 0)):
            raise ValueError(f"layers must pool by 2×2, not by {pool}")

    def push(self, v: Tensor, kept: list[Tensor]) -> Tensor:
        return avg_pool2d(v, 2)

    def pull(self, u: Tensor, kept: list[Tensor]) -> Tensor:
        return interpolate(u, scale_factor=2) / 4

    def shape(self, shape: Shape, kept: list[Shape]) -> Shape:
        return shape[0], shape[1] // 2, shape[2] // 2

    def reach(self, window: Window, kept: list[Window]) -> Window:
        return 2 * window[0], 2 * window[1] + 1


class _Push(Step):
    """PUSH: what comes by is kept."""

    name = "push"

    def push(self, v: Tensor, kept: list[Tensor]) -> Tensor:
        kept.append(v)
        return v

    def pull(self, u: Tensor, kept: list[Tensor]) -> Tensor:
        return u + kept.pop()

    def shape(self, shape: Shape, kept: list[Shape]) -> Shape:
        kept.append(shape)
        return shape

    def reach(self, window: Window, kept: list[Window]) -> Window:
        other = kept.pop()
        return min(window[0], other[0]), max(window[1], other[1])


class _TakeUp(Step):
    """What takes up again what was kept last."""

    takes = True

    def reach(self, window: Window, kept: list[Window]) -> Window:
        kept.append(window)
        return window


class _Cat(_TakeUp):
    """CAT: what was kept is put behind what comes by.

    Attributes:
        channels: of what comes by; known once `shape` was asked.
    """

    name, channels = "cat", 0

    def push(self, v: Tensor, kept: list[Tensor]) -> Tensor:
        return torch.cat([v, kept.pop()], 1)

    def pull(self, u: Tensor, kept: list[Tensor]) -> Tensor:
        kept.append(u[:, self.channels :])
        return u[:, : self.channels]

    def shape(self, shape: Shape, kept: list[Shape]) -> Shape:
        self.channels, other = shape[0], kept.pop()
        return shape[0] + _check_sides(self, other, shape)[0], *shape[1:]


class _Add(_TakeUp):
    """ADD: what was kept is added to what comes by."""

    name = "add"

    def push(self, v: Tensor, kept: list[Tensor]) -> Tensor:
        return v + kept.pop()

    def pull(self, u: Tensor, kept: list[Tensor]) -> Tensor:
        kept.append(u)
        return u

    def shape(self, shape: Shape, kept: list[Shape]) -> Shape:
        other = _check_sides(self, kept.pop(), shape)
        return _check_channels(self, other[0], shape)


class _Subtract(_TakeUp):
    """SUBTRACT: what comes by is subtracted from the last channels of what was kept.

    Attributes:
        before: channels of what was kept before those; known once `shape` was asked.
    """

    name, before = "subtract", 0

    def push(self, v: Tensor, kept: list[Tensor]) -> Tensor:
        return kept.pop()[:, self.before :] - v

    def pull(self, u: Tensor, kept: list[Tensor]) -> Tensor:
        kept.append(pad(u, (0, 0, 0, 0, self.before, 0)))
        return -u

    def shape(self, shape: Shape, kept: list[Shape]) -> Shape:
        self.before = _check_sides(self, kept.pop(), shape)[0] - shape[0]
        if self.before < 0:
            raise ValueError(f"layers must subtract channels that were kept, not {shape[0]}")
        return shape


def _check_channels(step: Step, channels: int, shape: Shape) -> Shape:
    if shape[0] != channels:
        raise ValueError(
            f"layers must fit together: {step.name} takes {channels} channels, not {shape[0]}"
        )
    return shape


def _check_sides(step: Step, kept: Shape, shape: Shape) -> Shape:
    if kept[1:] != shape[1:]:
        raise ValueError(
            f"layers must fit together: {step.name} takes what was kept at {kept[1:]}, "
            f"not at {shape[1:]}"
        )
    return kept


# what a layer is at rest: by its very type, as a subclass may do anything
KINDS: dict[type, Callable[[Any], Step]] = {
    nn.Conv2d: _Conv, nn.ConvTranspose2d: _Up, nn.AvgPool2d: _Pool, BiasFreeNorm: _Scale,
    nn.ReLU: _ReLU, nn.GELU: _GELU, Push: _Push, Cat: _Cat, Add: _Add, Subtract: _Subtract,
}  # fmt: skip


def read(layers: Iterable[Layer]) -> list[Step]:
    """Return the layers at rest as steps.

    Raises:
        ValueError: for a layer of another kind or form.
    """
    steps: list[Step] = []
    for layer in layers:
        if type(layer) is nn.Identity:
            continue
        if type(layer) not in KINDS:
            raise ValueError(f"layers must be of a kind in networks.steps.KINDS, not {layer}")
        step = KINDS[type(layer)](layer)
        if not (steps and _take_in(steps, step)):
            steps.append(step)
    return steps


def _take_in(steps: list[Step], step: Step) -> bool:
    """Make a norm, or the sum with what a convolution alone was given, a part of it, if it is."""
    conv = steps[-1]
    if not isinstance(conv, _Conv) or conv.plus_input:
        return False
    if isinstance(step, _Scale) and conv.scale is None:
        conv.scale = step.scale
        return True
    if isinstance(step, _Add) and len(steps) > 1 and isinstance(steps[-2], _Push):
        conv.plus_input = len(conv.weight) == conv.weight.shape[1]
        if conv.plus_input:
            del steps[-2]
        return conv.plus_input
    return False
