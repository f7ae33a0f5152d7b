"""How much sooner the laptop recipe reaches the quality that the papers' recipe reaches later.

    python tests/benchmarks/speedup.py [seed ...]

Same network, images and thread, three seeds. Ours trains for a short budget (80 seconds or so);
what it holds at the end, as mean PSNR-out over PSNR-in 0, 5, … 30 on images of split B, is the
target. The papers' recipe (σ = u², plain sum of squares, Adam 1e-3 halved every tenth of the run)
may use five times our seconds, with its schedule stretched over them, and is stopped once it is as
good; the ratio is a lower bound where it never was. It is lent our batch size: with the papers'
512 it would make a few hundred steps in that time. Seconds are the processor's, without the
evaluations. Results land in book/measured/speedup.json one by one; what is there is not run again.
"""

import sys
import time
from dataclasses import replace

import torch

from gahb_book.measured import FOLDER, read, write
from gahb_core.data import load_images
from gahb_core.denoisers.contract import residual_denoiser
from gahb_core.metrics.curves import psnr_curve
from gahb_core.noise import sigma_from_psnr
from gahb_core.training import Recipe, as_in_papers, find_recipe, fit

TARGET = FOLDER / "speedup.json"
PSNR_IN = (0, 5, 10, 15, 20, 25, 30)
NAMES = {"faces": "faces/N=6000/A", "c_alpha": "c_alpha/alpha=2"}
NUM_IMAGES = 24_000  # of ours
FACTOR = 5
CHEAPER = 1.3  # steps of the papers' recipe in the time of one of ours, or a few more than that
NUM_EVALUATIONS = 10  # over our budget
SEEDS = (0, 1, 2)


def follow(recipe: Recipe, every: int, most_seconds: float, target: float) -> list[dict]:
    """Return seconds and held-out PSNR-out at every `every` steps, until done, late or there."""
    x = load_images(recipe.dataset, "B", 128, recipe.size)
    sigmas = [sigma_from_psnr(p) for p in PSNR_IN]
    rows, spent, began = [], 0.0, time.process_time()
    for progress in fit(recipe):
        if progress.step % every and not progress.done:
            continue
        spent += time.process_time() - began
        net = progress.net.eval()
        curve = psnr_curve(residual_denoiser(net), x, sigmas, seed=7).mean(0)
        row = {"seconds": round(spent, 1), "images": progress.images}
        rows.append(row | {"psnr_out": [round(float(v), 3) for v in curve]})
        if float(curve.mean()) >= target or spent >= most_seconds:
            break
        began = time.process_time()
    return rows


def compare(name: str, seed: int) -> dict:
    """Return both trainings and how many times longer the papers' took."""
    base = find_recipe(name)
    steps = NUM_IMAGES // base.batch_size
    every = 100 * max(1, steps // NUM_EVALUATIONS // 100)
    ours = follow(replace(base, num_steps=steps, seed=seed), every, float("inf"), float("inf"))
    seconds = ours[-1]["seconds"]
    target = sum(ours[-1]["psnr_out"]) / len(PSNR_IN)
    slow = as_in_papers(replace(base, seed=seed), int(CHEAPER * FACTOR * steps))
    papers = follow(slow, every, FACTOR * seconds, target)
    there = sum(papers[-1]["psnr_out"]) / len(PSNR_IN) >= target
    ratio = papers[-1]["seconds"] / seconds  # a lower bound where it did not get there
    return {"ours": ours, "papers": papers, "reached": there, "ratio": round(ratio, 2)}


def main(names: list[str]) -> None:
    """Run what is missing of `names` (all) and print a line a training."""
    torch.set_num_threads(1)
    for short in names or list(NAMES):
        for seed in SEEDS:
            found = read(TARGET) or {"psnr_in": PSNR_IN}
            key = f"{short}/{seed}"
            if key not in found:
                row = compare(NAMES[short], seed)
                # another process may have written the other images meanwhile
                found = read(TARGET) or found
                found[key] = row
                write(TARGET, found)
            print(key, found[key]["ratio"], found[key]["reached"], found[key]["ours"][-1])


if __name__ == "__main__":
    main(sys.argv[1:])
