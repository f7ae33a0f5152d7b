"""Where data files are looked for, and what is said when they are missing."""

import hashlib
import os
from pathlib import Path

import numpy as np


class MissingData(FileNotFoundError):
    """An image set that is not on this machine: says where it was looked for and what brings it."""


def data_folder() -> Path:
    """Return the folder of the data: the environment's GAHB_DATA, else the user's cache folder."""
    if folder := os.environ.get("GAHB_DATA"):
        return Path(folder).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "gahb"


def check_pixels(images: np.ndarray, sha256: str, origin: str) -> np.ndarray:
    """Return `images` (uint8) if the SHA-256 of their bytes is the expected one.

    Raises:
        ValueError: where it is not, naming `origin`.
    """
    found = hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()
    if found != sha256:
        raise ValueError(
            f"{origin}: the pixels' SHA-256 must be {sha256}, not {found}; "
            "the file is cut, changed or another one: delete it and fetch it again"
        )
    return images


def without_near_duplicates(images: np.ndarray, most: int, limit: float = 0.95) -> np.ndarray:
    """Return the indices of the first `most` images of which no two correlate above `limit`.

    Greedy, in order: an image is kept if its mean-removed correlation with every image kept so
    far is at most `limit`. Works in blocks of 500, memory (most + 500) rows.

    Args:
        images: (N, ...) of any type; shuffle first if their order means something.
        most: how many to keep at the most.
        limit: the largest correlation allowed.
    """
    rows = images.reshape(len(images), -1).astype(np.float32)
    rows -= rows.mean(1, keepdims=True)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True) + 1e-9
    kept: list[int] = []
    for start in range(0, len(rows), 500):
        block = rows[start : start + 500]
        free = (rows[kept] @ block.T).max(0) <= limit if kept else np.ones(len(block), bool)
        close = block @ block.T > limit
        new: list[int] = []
        for j in np.flatnonzero(free):
            if not close[j, new].any():
                new.append(int(j))
        kept += [start + j for j in new]
        if len(kept) >= most:
            break
    return np.array(kept[:most])
