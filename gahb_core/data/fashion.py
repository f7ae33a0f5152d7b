"""Fashion: 22,000 images of Fashion-MNIST (Xiao, Rasul & Vollgraf 2017, MIT licence), embedded.

`python -m gahb_core.data FOLDER` makes the embedded file anew from the two image files
of the data set (Debian's package dataset-fashion-mnist has them in
/usr/share/datasets/fashion-mnist, the official download is named in the file's licence).
"""

import gzip
import hashlib
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gahb_core.data.files import read_images, without_near_duplicates
from gahb_core.files import atomic_write
from gahb_core.images.family import Family
from gahb_core.images.resize import resize_area

EMBEDDED = Path(__file__).parent / "fashion.npz"
SHA256 = "0d2cfc68f2ada015970868171e2edb0ed468c51224e09344bf106c822891dc1e"
# SHA-256 of the unpacked files (the packed ones differ between the official copy and Debian's)
TRAIN_SHA256 = "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
TEST_SHA256 = "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
# first image, and how many, of each split
RANGES = {"A": (0, 10_000), "B": (10_000, 10_000), "test": (20_000, 2_000)}
SOURCES = {"train-images-idx3-ubyte.gz": TRAIN_SHA256, "t10k-images-idx3-ubyte.gz": TEST_SHA256}


def _read_idx(path: Path, sha256: str) -> np.ndarray:
    raw = gzip.decompress(path.read_bytes())
    if hashlib.sha256(raw).hexdigest() != sha256:
        raise ValueError(f"{path} must unpack to SHA-256 {sha256}: a cut or foreign file")
    return np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28)


def make_embedded(folder: Path, target: Path = EMBEDDED) -> np.ndarray:
    """Return the 22,000 images (N, 28, 28), uint8, and write them to `target`.

    All 70,000 are shuffled with a fixed permutation; of images that correlate above .95 (mean
    removed) only the first is kept; the first 22,000 left are A, B and test.
    """
    images = np.concatenate([_read_idx(folder / name, sha) for name, sha in SOURCES.items()])
    images = images[np.random.default_rng(2024).permutation(len(images))]
    images = images[without_near_duplicates(images, most=22_000)]
    with atomic_write(target) as part:
        np.savez_compressed(part, images=images)
    return images


@cache
def load_embedded() -> np.ndarray:
    """Return the embedded images, uint8 (22000, 28, 28), checked against their SHA-256."""
    return read_images(EMBEDDED, SHA256, "get this file of the book's repository again")


def load_fashion(split: str, size: int = 32) -> Tensor:
    """Return the images (N, 1, S, S) of a split, in [0, 1]: 28×28 with a margin of 2, or smaller.

    Raises:
        ValueError: where `size` is above 32.
    """
    if size > 32:
        raise ValueError(f"size of 'fashion' must be at most 32 (28 and a margin of 2), not {size}")
    first, num = RANGES[split]
    x = torch.from_numpy(load_embedded()[first : first + num]).float() / 255
    return resize_area(torch.nn.functional.pad(x, (2, 2, 2, 2))[:, None], size)


FAMILY = Family("fashion", "garments, 32 and smaller", load=load_fashion, locate=lambda: EMBEDDED)
