"""What the library takes against the straightforward way of doing the same, in one run.

    python tests/benchmarks/speed.py [group ...]

Processor seconds on one thread, medians; the networks have the shape of the shipped ones (two
blocks of base 16), or of the papers' (base 64), with weights drawn at random. Results land in
book/measured/speed.json, group by group; without words, all are measured again (large80 takes two
minutes). Multiplying two matrices of 1024 × 1024 gives the rate that the machine has in that run;
`of_the_rate` is the share of it that the convolutions' operations reach, padding counted as if it
were image.
"""

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import pywt
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from torch import Tensor, nn

from gahb_book.measured import FOLDER, read, write
from gahb_core import jacobian
from gahb_core.denoisers.contract import residual_denoiser
from gahb_core.denoisers.empirical import empirical_denoiser
from gahb_core.images import draw_disks, make_c_alpha, make_disk_parameters
from gahb_core.metrics.pairs import nearest_images
from gahb_core.networks.models import UNet, fold_norm
from gahb_core.networks.norm import BiasFreeNorm
from gahb_core.networks.weights import initialize
from gahb_core.noise import add_noise
from gahb_core.sampling.ascent import sample
from gahb_core.training import Recipe
from gahb_core.training.authors import load_authors
from gahb_core.training.optimizers import make_optimizer

TARGET = FOLDER / "speed.json"
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


def make_net(blocks: int = 2, base: int = 16) -> UNet:
    """Return a UNet that is not zero anywhere."""
    net = initialize(UNet(blocks, base), 0)
    with torch.no_grad():
        net.decoder[0][-1].weight.normal_(std=0.05, generator=torch.Generator().manual_seed(0))
    return net.eval().requires_grad_(False)


def count_operations(net: UNet, side: int = SIDE) -> float:
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
    net(torch.randn(1, 1, side, side))
    return total


def matrix_rate() -> float:
    """Return operations a second of a product of matrices, the best of many."""
    a = torch.randn(1024, 1024)
    return 2 * 1024**3 / min(seconds(lambda: a @ a, 1) for _ in range(40))


def row_by_row(net: UNet, y: Tensor, num: int = CHUNK) -> float:
    """Return the seconds of all rows of J, one backward pass each, from the first `num`."""
    y = y.clone().requires_grad_()
    pixels = (y - net(y)).flatten()[:num]
    took = seconds(lambda: [torch.autograd.grad(p, y, retain_graph=True) for p in pixels])
    return took * y.numel() / num


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
    J = jacobian.jacobian_matrix(f, y)
    rows, svd = row_by_row(net, y), seconds(lambda: torch.linalg.svd(J))
    dense, eigen = (
        seconds(work)
        for work in (
            lambda: jacobian.jacobian_matrix(f, y),
            lambda: jacobian.eigendecompose(J, shape),
        )
    )
    top = seconds(lambda: jacobian.top_eigenpairs(f, y, num=20, tol=1e-3 * float(J.norm(p=2))))
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
    """Return what images, the nearest of 10,000 and the memorizer of 10,000 take."""
    draw = torch.Generator().manual_seed(2)
    train, y = (
        torch.rand(10_000, 1, SIDE, SIDE, generator=draw),
        torch.rand(CHUNK, 1, SIDE, SIDE, generator=draw),
    )
    many, memory = train[:2000], empirical_denoiser(train)

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
            "ours": seconds(lambda: nearest_images(many, train), 1) / len(many),
        },
        "memorizer of 10,000, an image": {
            "slow": seconds(weigh, 1) / CHUNK,
            "ours": seconds(lambda: memory(many, 1.0), 1) / len(many),
        },
    }


def of_disks() -> dict:
    """Return what a disk of 80 × 80 takes, by matplotlib and by an array formula without edges."""
    places = make_disk_parameters(64, 80)
    rows, columns = np.mgrid[:80, :80] + 0.5

    def by_matplotlib() -> None:
        for cy, cx, r, front, back in places.tolist():
            fig = Figure((0.8, 0.8), dpi=100, facecolor=str(back))
            canvas = FigureCanvasAgg(fig)
            fig.add_artist(Circle((cx / 80, 1 - cy / 80), r / 80, color=str(front)))
            canvas.draw()
            np.asarray(canvas.buffer_rgba())[..., 0] / 255

    def by_formula() -> None:
        for cy, cx, r, front, back in places.tolist():
            np.where(np.hypot(rows - cy, columns - cx) < r, front, back)

    ours = seconds(lambda: draw_disks(places, 80), 7) / 64
    return {
        f"disk of 80 × 80, by {name}": {"slow": seconds(slow) / 64, "ours": ours}
        for name, slow in (("matplotlib", by_matplotlib), ("formula", by_formula))
    }


class PlainNorm(nn.Module):
    """The norm as it is usually written, left to autograd."""

    def __init__(self, norm: BiasFreeNorm) -> None:
        super().__init__()
        self.gammas = norm.gammas
        self.register_buffer("running_sd", norm.running_sd)

    def forward(self, x: Tensor) -> Tensor:
        """Return x γ / sd."""
        sd = torch.sqrt(x.var((0, 2, 3), keepdim=True, correction=0) + 1e-5)
        with torch.no_grad():
            self.running_sd.lerp_(sd, 0.1)
        return x / sd * self.gammas


def step_of(
    base: int, batch: int, optimizer: str, plain: bool = False, blocks: int = 2
) -> Callable[[], None]:
    """Return one training step of a UNet; `plain`: as it is usually written."""
    net = make_net(blocks, base).train().requires_grad_(True)
    if plain:
        for stack in net.modules():
            for name, child in list(stack.named_children()):
                if isinstance(child, BiasFreeNorm):
                    setattr(stack, name, PlainNorm(child))
        moved = torch.optim.Adam(net.parameters(), lr=1e-4)
    else:
        layout = torch.channels_last if base < 64 else torch.contiguous_format
        net = net.to(memory_format=layout)
        moved = make_optimizer(Recipe("", "", optimizer=optimizer, learning_rate=1e-4), net)
    y, noise = torch.rand(batch, 1, SIDE, SIDE), torch.randn(batch, 1, SIDE, SIDE)

    def step() -> None:
        moved.zero_grad()
        (net(y) - noise).square().mean().backward()
        moved.step()

    step()  # the first makes the optimizer's state
    return step


def of_steps(rate: float) -> dict:
    """Return what a step of training takes: against plain code, and Muon's against Adam's."""
    found = {}
    for base, batch, times in ((16, 32, 9), (64, 16, 3)):
        works = [step_of(base, batch, "adam", plain) for plain in (True, False)]
        slow, ours = alternately(works, times)
        # backward: twice the operations, once for the weights and once for the images
        share = 3 * batch * count_operations(make_net(2, base).eval()) / rate / ours
        name = f"training step, Adam, base {base}, {batch} images"
        found[name] = {"slow": slow, "ours": ours, "of_the_rate": share}
    return found


def of_muon() -> dict:
    """Return the seconds of a step with Adam and with Muon, by network and images a step."""
    found = {}
    for blocks, base, batch, times in ((2, 16, 32, 9), (3, 64, 32, 3), (3, 64, 4, 3)):
        works = [step_of(base, batch, name, blocks=blocks) for name in ("adam", "muon")]
        adam, muon = alternately(works, times)
        found[f"{blocks} blocks of base {base}, {batch} images"] = {"adam": adam, "muon": muon}
    return found


def alternately(works: list[Callable[[], object]], times: int) -> list[float]:
    """Return the median processor seconds of each work, done in turns."""
    spent = [[seconds(work, 1) for work in works] for _ in range(times)]
    return [statistics.median(column) for column in zip(*spent, strict=True)]


def of_large(side: int, net: UNet, y: Tensor, num_rows: int) -> dict:
    """Return what the twenty largest pairs take at base 64, against rows and SVD from a slice."""
    f = residual_denoiser(fold_norm(net).to(memory_format=torch.channels_last))
    part = torch.randn(800, 800)
    svd = seconds(lambda: torch.linalg.svd(part)) * (side**2 / 800) ** 3
    slow = row_by_row(net, y, num_rows) + svd
    return {"slow": slow, "ours": seconds(lambda: jacobian.top_eigenpairs(f, y, num=20), 1)}


def of_random(side: int, blocks: int, num_rows: int) -> dict:
    """Return `of_large` for weights drawn at random, whose largest values lie close together."""
    y = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(1))
    row = of_large(side, make_net(blocks, 64), y, num_rows)
    return {f"20 largest pairs, {side} × {side}, base 64": row}


def of_published(side: int, num_rows: int) -> dict:
    """Return `of_large` for the authors' published network at a noisy photograph, σ = .15."""
    net = load_authors("multi_scale__RF_40x40_low.pt").eval().requires_grad_(False)
    photo = torch.from_numpy(pywt.data.camera() / 255).float()[16:496, 16:496]
    x = torch.nn.functional.avg_pool2d(photo[None, None], 480 // side)
    row = of_large(side, net, add_noise(x, 0.15, seed=1), num_rows)
    return {f"20 largest pairs, {side} × {side}, published network": row}


def rounded(table: dict) -> dict:
    """Return a table of rows, its numbers to three digits."""
    return {n: {k: float(f"{v:.3g}") for k, v in row.items()} for n, row in table.items()}


def main(names: list[str]) -> None:
    """Time everything, or the groups named, and write the table."""
    torch.set_num_threads(1)
    net, rate = make_net(), matrix_rate()
    groups = {
        "jacobian": lambda: of_jacobian(net, rate),
        "sampler": lambda: of_sampler(net, rate),
        "sets": of_sets,
        "disks": of_disks,
        "steps": lambda: of_steps(rate),
        "muon": of_muon,
        "large40": lambda: of_random(40, 2, 10),
        "large80": lambda: of_random(80, 3, 3),
        "published40": lambda: of_published(40, 10),
        "published80": lambda: of_published(80, 3),
    }
    result = read(TARGET) or {"work": {}}
    result |= {"matrix_rate": float(f"{rate:.3g}"), "torch": torch.__version__}
    for name in names or groups:
        found = groups[name]()
        if name == "muon":
            result["muon"] = rounded(found)
        else:
            for row in found.values():
                row["ratio"] = row["slow"] / row["ours"]
            result["work"] |= rounded(found)
        print(name, rounded(found), flush=True)
        write(TARGET, result)


if __name__ == "__main__":
    main(sys.argv[1:])
