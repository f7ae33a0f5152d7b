"""Why the first garments of split A are the easiest: book/measured/splits.json.

    python book/experiments/splits.py FOLDER

FOLDER holds the two image files of Fashion-MNIST (`gahb_core.data.fashion` says where they come
from). The garments stand in an order drawn once, and each that resembles an *earlier* one was left
out. So the first were compared with few images, and the last with all: an image of which there are
many alike is kept where it comes first. For the first NUM of each thousand this writes the PSNR at
PSNR_IN by a network that never saw them (of B for A's images, of A for the rest). For ENDS
thousands at either end it also writes

- the share that resembles any other of all 70,000, before or after it,
- the PSNR of those that do not: left are the images that would have been kept at any place.

Half a minute of one core. The page on training shows it.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gahb_book.measured import FOLDER, write
from gahb_core.data import load_images
from gahb_core.data.fashion import SOURCES, _read_idx
from gahb_core.metrics.curves import psnr_curve
from gahb_core.noise import sigma_from_psnr
from gahb_core.training import load_denoiser

OUT = FOLDER / "splits.json"
NUM, ENDS, PSNR_IN, ALIKE = 500, 3, 20, 0.95


def centred(images: np.ndarray) -> Tensor:
    """Return images as rows with mean 0 and norm 1."""
    rows = torch.from_numpy(images.reshape(len(images), -1)).float()
    rows = rows - rows.mean(1, keepdim=True)
    return rows / rows.norm(dim=1, keepdim=True)


def has_relative(images: np.ndarray, every: Tensor) -> Tensor:
    """Return of each image whether one of the others of the whole set correlates above ALIKE."""
    rows = centred(images)
    found = torch.zeros(len(rows), dtype=torch.long)
    for part in every.split(5000):
        found += (rows @ part.T > ALIKE).sum(1)
    return found > 1  # one is the image itself


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    every = centred(np.concatenate([_read_idx(folder / n, sha) for n, sha in SOURCES.items()]))
    nets = {s: load_denoiser(f"fashion/N=10000/{s}", "laptop", "cpu") for s in "AB"}
    rows = []
    for split, other in (("A", "B"), ("B", "A"), ("test", "A")):
        x = load_images("fashion", split)
        for first in range(0, len(x), 1000):
            part = x[first : first + NUM]
            out = psnr_curve(nets[other], part, [sigma_from_psnr(PSNR_IN)], start=first)[:, 0]
            row = {"psnr": float(out.mean()), "error": float(out.std() / NUM**0.5)}
            if not ENDS <= len(rows) < 22 - ENDS:
                alike = has_relative(part[..., 2:-2, 2:-2].numpy(), every)  # without the margin
                alone = float(out[~alike].mean())
                row |= {"alike": float(alike.float().mean()), "psnr_alone": alone}
            rows.append({key: round(value, 4) for key, value in row.items()})
            print(rows[-1], flush=True)
    write(OUT, {"psnr_in": PSNR_IN, "alike": ALIKE, "thousands": rows})


if __name__ == "__main__":
    main()
