"""Small networks whose layers come in other orders than those of the book."""

import torch
from torch import nn

from gahb_core.networks import ADD, CAT, POOL, PUSH, RELU, SUBTRACT, BiasFreeNorm, Layered


def conv(a, b, k=3):
    return nn.Conv2d(a, b, k, padding=k // 2, bias=False)


def up(a, b):
    return nn.ConvTranspose2d(a, b, 2, 2, bias=False)


class Toy(Layered):
    """A network of a list of layers, and nothing else."""

    def __init__(self, *layers):
        super().__init__()
        self.all = layers
        self.modules_of = nn.ModuleList(m for m in layers if isinstance(m, nn.Module))

    def layers(self):
        modules = iter(self.modules_of)
        for layer in self.all:
            yield next(modules) if isinstance(layer, nn.Module) else layer


TOYS = {
    "pooled first, up again twice": lambda: Toy(
        POOL, PUSH, conv(1, 5), RELU, POOL, BiasFreeNorm(5), conv(5, 6), RELU, up(6, 4), CAT,
        conv(5, 4, 1), BiasFreeNorm(4), RELU, up(4, 3), RELU, conv(3, 1)),
    "skips within skips": lambda: Toy(
        conv(1, 4), RELU, PUSH, conv(4, 4), BiasFreeNorm(4), RELU, PUSH, conv(4, 4), ADD, RELU,
        conv(4, 4, 1), ADD, PUSH, PUSH, POOL, conv(4, 4), up(4, 4), RELU, CAT, conv(8, 4), CAT,
        conv(8, 1)),
    "a norm first, a sum of all": lambda: Toy(
        BiasFreeNorm(1), PUSH, conv(1, 6), BiasFreeNorm(6), BiasFreeNorm(6), RELU, RELU,
        conv(6, 1), ADD, RELU, conv(1, 1)),
    "what is left": lambda: Toy(
        PUSH, conv(1, 3), RELU, PUSH, conv(3, 3), BiasFreeNorm(3), ADD, BiasFreeNorm(3), RELU,
        conv(3, 1), SUBTRACT),
    "a UNet with a ReLU more": lambda: Toy(
        conv(1, 3), RELU, PUSH, POOL, RELU, conv(3, 3), up(3, 2), CAT, conv(5, 1)),
    "wide kernels": lambda: Toy(conv(1, 4, 5), RELU, conv(4, 1, 7)),
}  # fmt: skip

NOT_LIVE = {"wide kernels"}  # of layers that the engine of a page does not run


def make_toy(name):
    """A toy none of whose numbers is at its starting value; all positive, so that all is seen."""
    net, generator = TOYS[name]().double(), torch.Generator().manual_seed(1)
    for key, value in net.state_dict().items():
        drawn = torch.rand(value.shape, generator=generator, dtype=torch.float64)
        near_one = "gammas" in key or "running_sd" in key
        value.copy_(0.8 + 0.4 * drawn if near_one else (drawn - 0.4) / value[0].numel() ** 0.5)
    return net.eval()
