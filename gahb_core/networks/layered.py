"""Networks that are their layers: what all of them can do."""

from collections.abc import Iterator

from torch import Generator, Tensor, nn

from gahb_core.networks.layers import Layer, channels_of, check_input, depth_of, fold_weight, run
from gahb_core.networks.norm import BiasFreeNorm
from gahb_core.networks.steps import Shape, Step, Window, read
from gahb_core.networks.weights import draw_convolutions


class Layered(nn.Module):
    """A network that is its `layers()`, and nothing else: images (B, C, H, W) → (B, C', H, W).

    A class of it says its layers, and needs no more: it runs, and its folding, receptive field,
    operations, Jacobian and live figure are read off the list.

    Attributes:
        told: what channels in beyond those out hold: "sigma" (after y) or "low" (a band before it).
    """

    told = "sigma"

    def layers(self) -> Iterator[Layer]:
        """Yield the layers in the order in which they run."""
        raise NotImplementedError(f"{type(self).__name__} must say its layers()")

    def forward(self, y: Tensor) -> Tensor:
        """Return what the layers make of `y`: the estimated noise y − x̂.

        Raises:
            ValueError: for images of other channels, type or device than the network's, or whose
                sides the poolings cannot halve.
        """
        layers = list(self.layers())
        check_input(y, channels_of(layers), next(self.parameters()))
        step = 2 ** depth_of(layers)
        if y.shape[-1] % step or y.shape[-2] % step:
            raise ValueError(
                f"y must have height and width divisible by {step}, not {tuple(y.shape)}"
            )
        return run(layers, y)

    def draw(self, generator: Generator, gain: float) -> None:
        """Draw the weights anew, in place; the last convolution is zero."""
        draw_convolutions(self, generator, gain)
        [*_, last] = [m for m in self.layers() if isinstance(m, nn.Conv2d)]
        last.weight.zero_()

    def fold(self) -> None:
        """Fold the norms at rest into the convolutions before them, in place."""
        layers = list(self.layers())
        gone = set()
        for conv, norm in zip(layers, layers[1:], strict=False):
            once = type(conv) is nn.Conv2d and layers.count(conv) == 1
            if once and isinstance(norm, BiasFreeNorm):
                conv.weight = nn.Parameter(fold_weight(conv, norm).detach())
                gone.add(norm)
        for parent in list(self.modules()):
            for name, child in parent.named_children():
                if child in gone:
                    setattr(parent, name, nn.Identity())

    def trace(self, size: int = 0) -> list[tuple[Step, Shape, Shape]]:
        """Return the steps at rest, with the shapes that each takes and gives.

        Args:
            size: side of the images; 0: the smallest that the poolings can halve.

        Raises:
            ValueError: where a layer is of no known kind, or does not fit those before it.
        """
        layers = list(self.layers())
        size = size or 2 ** depth_of(layers)
        shape, found = (channels_of(layers), size, size), []
        kept: list = []
        for step in read(layers):
            if step.takes and not kept:
                raise ValueError(
                    f"layers must keep what {step.name} takes up, and have kept nothing"
                )
            before, shape = shape, step.shape(shape, kept)
            found.append((step, before, shape))
        if kept:
            raise ValueError(f"layers must take up again all that they keep, not leave {len(kept)}")
        return found

    def is_told(self) -> bool:
        """Return whether it takes more channels than it gives: something beside the image."""
        steps = self.trace()
        return steps[0][1][0] > steps[-1][2][0]

    def count_operations(self, size: int) -> int:
        """Return the operations of one image of `size` pixels a side, two a product, without norms.

        Raises:
            ValueError: as `trace` does.
        """
        return 2 * sum(step.products(before) for step, before, _ in self.trace(size))

    def windows(self) -> list[Window]:
        """Return the rows of y that reach an output row, for each phase within the coarsest pixel.

        Raises:
            ValueError: as `trace` does.
        """
        steps, block = [step for step, *_ in self.trace()], 2 ** depth_of(list(self.layers()))
        found = []
        for phase in range(block):
            kept: list = []
            window = (phase, phase)
            for step in reversed(steps):
                window = step.reach(window, kept)
            found.append(window)
        return found
