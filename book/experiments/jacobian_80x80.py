"""How heavy is the Jacobian? Top eigenpairs without forming it, beside one backward pass a pixel.

    python book/experiments/jacobian_80x80.py [--threads 2] [--block 8]

The network is the three-block UNet of base 64 with random weights, its norms folded; the image is
80×80. Times are CPU seconds of this process, so that a busy machine changes them little. Each
measurement runs in a fresh process, so that its peak memory is its own. Chapter 5 shows them.
"""

import argparse
import json
import multiprocessing
import resource
import time
from pathlib import Path

import torch

from gahb_core import jacobian
from gahb_core.denoisers.contract import residual_denoiser
from gahb_core.networks.models import UNet, fold_norm

OUT = Path(__file__).parents[2] / "book" / "measured" / "jacobian_80x80.json"


def make_problem(size: int) -> tuple:
    """Return the denoiser and one noisy image (1, 1, size, size)."""
    torch.manual_seed(0)
    return residual_denoiser(fold_norm(UNet(3, 64))), torch.rand(1, 1, size, size)


def top_pairs(size: int, block: int) -> dict:
    """Return the 20 largest eigenvalues, their worst residual, and the products taken."""
    f, y = make_problem(size)
    top = jacobian.top_eigenpairs(f, y, num=20, tol=1e-3, block=block)
    worst = top.residuals.max().item()
    return {"lam": top.lam.tolist(), "worst residual": worst, "products": top.num_products}


def dense(size: int, block: int) -> dict:
    """Return the 20 largest eigenvalues of the symmetric part of the Jacobian, formed whole."""
    f, y = make_problem(size)
    J = jacobian.jacobian_matrix(f, y, block=block)
    return {
        "lam": torch.linalg.eigvalsh(jacobian.symmetric_part(J).double())[-20:].flip(0).tolist()
    }


def rows(size: int, num: int) -> dict:
    """Return nothing: `num` rows of the Jacobian, one backward pass each, as is often done."""
    f, y = make_problem(size)
    y.requires_grad_()
    x_hat = f(y).flatten()
    for i in range(num):
        torch.autograd.grad(x_hat[i], y, retain_graph=True)
    return {}


def _measured(queue: multiprocessing.Queue, threads: int, job: object, *args: int) -> None:
    torch.set_num_threads(threads)
    start = time.process_time()
    result = job(*args)
    result["CPU s"] = time.process_time() - start
    result["peak GB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    queue.put(result)


def measure(threads: int, job: object, *args: int) -> dict:
    """Return what `job` returns, with CPU seconds and peak memory of its own process."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_measured, args=(queue, threads, job, *args))
    process.start()
    result = queue.get()
    process.join()
    return result


def measure_all(threads: int, block: int, num_rows: int) -> dict:
    """Return every figure, in the order measured, printing each as it comes."""
    found: dict = {"threads": threads, "block": block}

    def keep(**figures: float) -> None:
        found.update(figures)
        print(", ".join(f"{name} {value:.3g}" for name, value in figures.items()), flush=True)

    empty = measure(threads, rows, 80, 0)
    top = measure(threads, top_pairs, 80, block)
    keep(top20_cpu_s=top["CPU s"], top20_peak_gb=top["peak GB"], loading_peak_gb=empty["peak GB"])
    keep(top20_products=top["products"], top20_worst_residual=top["worst residual"])
    few = measure(threads, rows, 80, num_rows)
    each = (few["CPU s"] - empty["CPU s"]) / num_rows
    keep(rows_measured=num_rows, row_cpu_s=each, all_6400_rows_cpu_s=6400 * each)
    small, full = measure(threads, top_pairs, 32, block), measure(threads, dense, 32, 64)
    gap = max(abs(a - b) for a, b in zip(small["lam"], full["lam"], strict=True))
    keep(at32_largest_gap_to_dense=gap, at32_cpu_s=small["CPU s"], at32_dense_cpu_s=full["CPU s"])
    return found


def main() -> None:
    """Measure, print, and keep the figures in book/measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--block", type=int, default=8)
    parser.add_argument("--rows", type=int, default=20)
    args = parser.parse_args()
    found = measure_all(args.threads, args.block, args.rows)
    OUT.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
