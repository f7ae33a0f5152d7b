"""Super-resolution of Set5 by the authors' network of 2021: the table of chapter 11.

    python book/experiments/set5.py [--crop SIDE] [--num SAMPLES] [scale beta ...]

Luminance (Y of YCbCr, from 16 to 235 of 255, as is usual), whole pictures or a square of SIDE
pixels from the middle of each, block means of 4×4 and
8×8, BF-CNN "BSD400_gray", the ramp, σ from 1 to .01; PSNR over all pixels of the minimum-norm
solution, of one sample (mean over those drawn) and of their mean. Both are means over the five
pictures. On the way the network runs in bfloat16, which is three to four times faster and changes
a denoised picture by .03 σ; the last estimate is made in float32.

Each sample is kept in _build/set5, each picture in book/measured/set5.json; what is there is not
done again, but for a picture of fewer samples than are asked for. An hour or two of one core.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.color import rgb2ycbcr
from torch import Tensor

from gahb_book.measured import read, write
from gahb_core.data import data_folder
from gahb_core.metrics.pairs import psnr
from gahb_core.sampling.ascent import ascend, finish
from gahb_core.sampling.measurements import (
    Measurement,
    constrain,
    measure_block_means,
    sample_constrained,
)
from gahb_core.training import load_denoiser

ROOT = Path(__file__).parents[2]
OUT, KEPT = ROOT / "book" / "measured" / "set5.json", ROOT / "_build" / "set5"
PICTURES = ("butterfly", "head", "woman", "bird", "baby")
NUM = 10
RUNS = [(4, 0.1), (8, 0.1), (4, 0.01), (8, 0.01)]  # factor, β


def load_luminance(name: str, crop: int | None) -> Tensor:
    """Return Y in [16/255, 235/255], (1, 1, H, W)."""
    rgb = np.asarray(Image.open(data_folder() / "set5" / f"{name}.png").convert("RGB"))
    y = rgb2ycbcr(rgb)[..., 0] / 255
    if crop:
        top, left = ((side - crop) // 2 for side in y.shape)
        y = y[top : top + crop, left : left + crop]
    return torch.from_numpy(y).float()[None, None]


class Half:
    """The denoiser f in bfloat16, channels last; float32 in and out."""

    def __init__(self) -> None:
        net = load_denoiser("BSD400_gray").net
        self.net = net.bfloat16().to(memory_format=torch.channels_last)

    def __call__(self, y: Tensor, sigma: float | None = None) -> Tensor:
        """Return x_hat."""
        half = y.bfloat16().contiguous(memory_format=torch.channels_last)
        return y - self.net(half).float()


def draw(x: Tensor, measurement: Measurement, beta: float, seed: int) -> tuple[Tensor, int]:
    """Return one solution (1, 1, H, W) and how many steps it took."""
    measured = measurement.analyze(x)
    way = sample_constrained(HALF, measurement, measured, x.shape[1:], beta=beta, seed=seed)
    last = ascend(constrain(FULL, measurement), way.y_end, condition=measured, sigma_end=1.0)
    return finish(last).x, int(way.iterations)


def measure(name: str, factor: int, beta: float, crop: int | None, num: int) -> dict:
    """Return the figures of one picture; samples that are kept are not drawn again."""
    x = load_luminance(name, crop)
    measurement = measure_block_means(x.shape[-2:], factor)
    samples, steps, seconds = [], [], []
    for seed in range(num):
        path = KEPT / f"{name}_x{factor}_beta{beta}_crop{crop}_{seed}.npz"
        if not path.is_file():
            begin = time.process_time()
            found, taken = draw(x, measurement, beta, seed)
            path.parent.mkdir(parents=True, exist_ok=True)
            spent = time.process_time() - begin
            np.savez(path, x=found.numpy(), steps=taken, seconds=spent)
        with np.load(path) as kept:
            samples.append(torch.from_numpy(kept["x"]))
            steps.append(int(kept["steps"]))
            seconds.append(float(kept["seconds"]))
    samples = torch.cat(samples)
    minnorm = measurement.synthesize(measurement.analyze(x))
    errors = measurement.analyze(samples) - measurement.analyze(x)
    one = psnr(samples, x.expand_as(samples))
    return {
        "num": num,
        "psnr_minnorm": round(float(psnr(minnorm, x)), 3),
        "psnr_sample": round(float(one.mean()), 3),
        "psnr_mean": round(float(psnr(samples.mean(0, keepdim=True), x)), 3),
        "measurement_error": float(errors.abs().max()) / factor,
        "steps": float(np.mean(steps)),
        "seconds": round(float(np.mean(seconds)), 1),
    }


def main() -> None:
    """Measure what is missing and write; the file is read anew each time, for runs side by side."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser()
    parser.add_argument("--crop", type=int)
    parser.add_argument("--num", type=int, default=NUM)
    parser.add_argument("runs", type=float, nargs="*")
    told = parser.parse_args()
    crop, num, given = told.crop, told.num, told.runs
    runs = [(int(f), b) for f, b in zip(given[::2], given[1::2], strict=True)] or RUNS
    for factor, beta in runs:
        key = f"x{factor} beta={beta} " + (f"crop={crop}" if crop else "whole")
        for name in PICTURES:
            known = read(OUT).get(key, {}).get(name)
            if known and known.get("num", NUM) >= num:
                continue
            row = measure(name, factor, beta, crop, num)
            print(key, name, row, flush=True)
            found = read(OUT)
            found.setdefault(key, {})[name] = row
            write(OUT, found)


if __name__ == "__main__":
    FULL, HALF = load_denoiser("BSD400_gray"), Half()
    main()
