"""What a GPU does with this book: images/s in training, and the figures of its pages.

    python tests/benchmarks/gpu.py
    python tests/benchmarks/gpu.py CPU GPU    folders of results, of the same pages on both

UNet of base 64, C² images of 80×80, batches of 128, Muon and Adam, float32 and bfloat16: steps on
one batch that lies on the GPU (`alone`), and as `training.fit` does them, images made by threads
meanwhile (`fit`). The share is of the rate of an 8192×8192 product in bfloat16, three passes a
step. A minute on an H200. The second form counts the figures of pages that differ between two
devices by more than book/tolerances.yml allows. Both write to book/measured/gpu.json.
"""

import json
import sys
import time
from dataclasses import replace

import torch

from gahb_book.measured import FOLDER, read, write
from gahb_book.report import batches
from gahb_core import training
from gahb_core.training import Recipe, count_flop, find_recipe, make_network
from gahb_core.training.optimizers import make_optimizer

OUT = FOLDER / "gpu.json"
NAME, BATCH = "c_alpha/alpha=2", 128


def matrix_rate(side: int = 8192, num: int = 20) -> float:
    """Return operations a second of a product of two bfloat16 matrices."""
    a = torch.randn(side, side, device="cuda", dtype=torch.bfloat16)
    for _ in range(3):
        a @ a
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(num):
        a @ a
    torch.cuda.synchronize()
    return 2 * side**3 * num / (time.perf_counter() - began)


def alone(recipe: Recipe, num: int = 50) -> float:
    """Return images a second of steps on one batch."""
    half = recipe.precision == "bfloat16"
    layout = torch.channels_last if half else torch.contiguous_format
    net = make_network(recipe).to("cuda", memory_format=layout).train()
    optimizer = make_optimizer(recipe, net)
    y = torch.rand(BATCH, 1, recipe.size, recipe.size, device="cuda")
    for step in range(10 + num):
        if step == 10:
            torch.cuda.synchronize()
            began = time.perf_counter()
        with torch.autocast("cuda", torch.bfloat16, enabled=half):
            loss = net(y).float().square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    torch.cuda.synchronize()
    return BATCH * num / (time.perf_counter() - began)


def in_fit(recipe: Recipe) -> float:
    """Return images a second of `training.fit`, from its second hundred of steps on."""
    curve = []
    for progress in training.fit(replace(recipe, num_steps=300), None, "cuda"):
        torch.cuda.synchronize()
        curve.append((progress.images, progress.seconds))
    (images, seconds), (last_images, last_seconds) = curve[0], curve[2]
    return (last_images - images) / (last_seconds - seconds)


def compare_pages(cpu: str, gpu: str) -> dict:
    """Return how many figures of how many pages differ by more than allowed, and which."""
    sides = [batches.load_side(side, None) for side in (cpu, gpu)]
    rules = batches.load_tolerances(FOLDER.parent / "tolerances.yml", 0.01, 1e-6)
    rows = [r for r in batches.compare(*sides, rules) if "seconds" not in r.name]
    beyond = [[r.page, r.name, r.a, r.b] for r in rows if r.beyond]
    pages = sorted({r.page for r in rows})
    return {"pages": pages, "figures": len(rows), "beyond": beyond}


def measure_rates() -> dict:
    """Return the card, its rate of products, and images a second by precision and optimizer."""
    recipe = replace(find_recipe(NAME, "gpu"), batch_size=BATCH)
    found = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "matrix_rate": matrix_rate(),
        "flop_an_image": 3 * count_flop(recipe),
        "rates": {},
    }
    for precision in ("float32", "bfloat16"):
        for optimizer in ("adam", "muon"):
            one = replace(recipe, precision=precision, optimizer=optimizer)
            rates = {"alone": alone(one)}
            if optimizer == "muon":
                rates["fit"] = in_fit(one)
            found["rates"][f"{precision} {optimizer}"] = rates
            print(precision, optimizer, json.dumps(rates), flush=True)
    return found


def main() -> None:
    """Measure what is asked for, beside what the file has."""
    found = {"pages": compare_pages(*sys.argv[1:])} if sys.argv[1:] else measure_rates()
    write(OUT, read(OUT) | found)


if __name__ == "__main__":
    main()
