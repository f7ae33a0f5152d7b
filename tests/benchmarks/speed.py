"""What the library takes against the straightforward way of doing the same, in one run.

Processor seconds on one thread, medians; the network has the shape of the shipped ones, with
weights drawn at random. Results land in book/measured/speed.json. Multiplying two matrices of
1024 × 1024 gives the rate that the machine has in that run; `of_the_rate` is the share of it that
the convolutions' operations reach, padding counted as if it were image.
"""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gahb_core import jacobian
from gahb_core.denoisers import posterior_mean, residual_denoiser
from gahb_core.images import make_c_alpha
from gahb_core.metrics import nearest
from gahb_core.networks import UNet, fold_norm, initialize
from gahb_core.sampling import sample

TARGET = Path(__file__).parents[2] / "book" / "measured" / "speed.json"
SIDE = 32
CHUNK = 20  # rows, images or queries that the slow way is timed on, then scaled


def seconds(work: Callable[[], object], times: int = 3) -> float:
    """Return the median processor seconds of `work`."""
    spent = []
    for _ in range(times):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return statistics.median(spent)


def make_net() -> UNet:
    """Return a UNet of two blocks and base 16 that is not zero anywhere."""
    net = initialize(UNet(2, 16), 0)
    with torch.no_grad():
        net.decoder[0][-1].weight.normal_(std=0.05, generator=torch.Generator().manual_seed(0))
    return net.eval().requires_grad_(False)


def count_operations(net: UNet) -> float:
    """Return the floating-point operations of one image, convolutions alone."""
    net, total = fold_norm(net), 0  # so that every convolution is a module's

    def count(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal total
        places = (inputs[0] if isinstance(module, nn.ConvTranspose2d) else output)[0, 0].numel()
        total += 2 * module.weight.numel() * places

    kinds = nn.Conv2d | nn.ConvTranspose2d
    for module in net.modules():
        if isinstance(module, kinds):
            module.register_forward_hook(count)
    net(torch.randn(1, 1, SIDE, SIDE))
    return total


def matrix_rate() -> float:
    """Return operations a second of a product of matrices, the best of many."""
    a = torch.randn(1024, 1024)
    return 2 * 1024**3 / min(seconds(lambda: a @ a, 1) for _ in range(40))


def row_by_row(net: UNet, y: Tensor) -> float:
    """Return the seconds of all rows of J, one backward pass each, from the first few."""
    y = y.clone().requires_grad_()
    pixels = (y - net(y)).flatten()[:CHUNK]
    took = seconds(lambda: [torch.autograd.grad(p, y, retain_graph=True) for p in pixels])
    return took * SIDE**2 / CHUNK


def c_alpha_by_loops(num: int, alpha: float, side: int) -> None:
    """Make C^α images one after the other, and each column by column."""
    draw = np.random.default_rng(0)
    k = np.fft.fftfreq(side, 1 / side)
    line, plane = (np.maximum(f, 1) ** -alpha for f in (abs(k), np.hypot(k[:, None], k)))
    for _ in range(num):
        u = draw.uniform(-1, 1, side)
        contour = side * (0.5 + np.fft.ifft(np.fft.fft(u) * line).real)
        sides = np.fft.ifft2(np.fft.fft2(draw.uniform(-1, 1, (2, side, side))) * plane).real
        low, high = (getattr(sides, f)((1, 2), keepdims=True) for f in ("min", "max"))
        sides, x = (sides - low) / (high - low), np.empty((side, side))
        for j in range(side):
            mask = np.clip(np.arange(side) + 0.5 - contour[j], 0, 1)
            x[:, j] = mask * sides[0, :, j] + (1 - mask) * sides[1, :, j]


def of_jacobian(net: UNet, rate: float) -> dict:
    """Return what J, its decomposition and its twenty largest pairs take."""
    y = torch.rand(1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    f, shape = residual_denoiser(fold_norm(net)), (1, SIDE, SIDE)
    J = jacobian.dense(f, y)
    rows, svd = row_by_row(net, y), seconds(lambda: torch.linalg.svd(J))
    dense, eigen = (
        seconds(work)
        for work in (lambda: jacobian.dense(f, y), lambda: jacobian.decompose(J, shape))
    )
    top = seconds(lambda: jacobian.top_eigenpairs(f, y, 20, tol=1e-3 * float(J.norm(p=2))))
    share = SIDE**2 * count_operations(net) / rate / dense
    return {
        "J and its decomposition": {"slow": rows + svd, "ours": dense + eigen},
        "J alone": {"slow": rows, "ours": dense, "of_the_rate": share},
        "20 largest pairs": {"slow": rows + svd, "ours": top},
    }


def of_sampler(net: UNet, rate: float) -> dict:
    """Return what a step of the sampler takes an image, 32 at a time and one at a time."""
    steps, shape = 10, (1, SIDE, SIDE)
    options = {"max_iterations": steps, "sigma_max": 1e9}
    fast = residual_denoiser(fold_norm(net).to(memory_format=torch.channels_last))
    alone = seconds(lambda: sample(residual_denoiser(net), 1, shape, **options))
    together = seconds(lambda: sample(fast, 32, shape, **options)) / 32
    share = (steps + 1) * count_operations(net) / rate / together
    return {"sampler, an image": {"slow": alone, "ours": together, "of_the_rate": share}}


def of_sets() -> dict:
    """Return what images, the nearest of 10,000 and the memoriser of 10,000 take."""
    draw = torch.Generator().manual_seed(2)
    train, y = (
        torch.rand(10_000, 1, SIDE, SIDE, generator=draw),
        torch.rand(CHUNK, 1, SIDE, SIDE, generator=draw),
    )
    many, memory = train[:2000], posterior_mean(train)

    def one_by_one() -> None:
        for q in y:
            (train - q).square().sum((1, 2, 3)).argmin()

    def weigh() -> None:
        for q in y:
            w = torch.softmax(-(train - q).square().sum((1, 2, 3)) / 2, 0)
            (w[:, None, None, None] * train).sum(0)

    return {
        "C^α image of 80 × 80": {
            "slow": seconds(lambda: c_alpha_by_loops(CHUNK, 2, 80)) / CHUNK,
            "ours": seconds(lambda: make_c_alpha(64, 2, 80)) / 64,
        },
        "nearest of 10,000, a query": {
            "slow": seconds(one_by_one, 1) / CHUNK,
            "ours": seconds(lambda: nearest(many, train), 1) / len(many),
        },
        "memoriser of 10,000, an image": {
            "slow": seconds(weigh, 1) / CHUNK,
            "ours": seconds(lambda: memory(many, 1.0), 1) / len(many),
        },
    }


def main() -> None:
    """Time everything and write the table."""
    torch.set_num_threads(1)
    net, rate = make_net(), matrix_rate()
    found = of_jacobian(net, rate) | of_sampler(net, rate) | of_sets()
    for name, row in found.items():
        row["ratio"] = row["slow"] / row["ours"]
        print(name, {k: float(f"{v:.3g}") for k, v in row.items()})
    rows = {n: {k: float(f"{v:.3g}") for k, v in row.items()} for n, row in found.items()}
    result = {"matrix_rate": float(f"{rate:.3g}"), "torch": torch.__version__, "work": rows}
    TARGET.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
