"""Where data files are looked for, and what is said when they are missing."""

import hashlib
import http.client
import os
import urllib.error
import urllib.request
import zipfile
import zlib
from pathlib import Path

import numpy as np

from gahb_core.files import cache_folder

BLOCK = 500  # images compared at once


class MissingData(FileNotFoundError):
    """Data that are not on this machine: says where they were looked for and what brings them."""


def download(url: str, by_hand: str) -> bytes:
    """Return the content of an address.

    Args:
        url: the address.
        by_hand: what else the reader can do, for the error.

    Raises:
        MissingData: where it cannot be had whole: no such file, nobody there, cut on the way.
    """
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.read()
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the connection
        raise MissingData(f"{url} could not be downloaded ({error}): {by_hand}") from error


def data_folder() -> Path:
    """Return the folder of the data: the environment's GAHB_DATA, else the user's cache folder."""
    if folder := os.environ.get("GAHB_DATA"):
        return Path(folder).expanduser()
    return cache_folder()


def check_pixels(images: np.ndarray, sha256: str, origin: str) -> np.ndarray:
    """Return `images` (uint8) if the SHA-256 of their bytes is the expected one.

    Raises:
        ValueError: where it is not, naming `origin`.
    """
    found = hashlib.sha256(np.ascontiguousarray(images).reshape(-1).data).hexdigest()  # no copy
    if found != sha256:
        raise ValueError(
            f"{origin}: the pixels' SHA-256 must be {sha256}, not {found}; "
            "the file is cut, changed or another one: delete it and fetch it again"
        )
    return images


def read_images(path: Path, sha256: str, cure: str) -> np.ndarray:
    """Return the checked uint8 images of an .npz file.

    Raises:
        ValueError: where the file is cut, changed or another one, naming it and the `cure`.
    """
    try:
        # opened here: of a cut file, np.load forgets to close what it opened
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return check_pixels(file["images"], sha256, str(path))
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    except (ValueError, OSError, TypeError, AttributeError) as error:  # a foreign file, no archive
        if isinstance(error, OSError) and error.errno:
            raise  # it cannot be read at all
        reason = "no archive of images" if "allow_pickle" in str(error) else str(error)
    raise ValueError(f"{path} is cut, changed or foreign ({reason}): {cure}")


class Distinct:
    """Images kept one by one, of which no two have a mean-removed correlation above `limit`.

    Memory: the kept images as rows of float32, and products of 500 × 500.
    """

    def __init__(self, limit: float = 0.95) -> None:
        self.limit = limit
        self._kept: list[np.ndarray] = []

    @staticmethod
    def _normalize(images: np.ndarray) -> np.ndarray:
        rows = images.reshape(len(images), -1).astype(np.float32)
        rows -= rows.mean(1, keepdims=True)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True) + 1e-9
        return rows

    def remember(self, images: np.ndarray) -> None:
        """Keep `images` (N, ...) without a comparison: they are known to be distinct."""
        rows = self._normalize(images)
        self._kept += [rows[i : i + BLOCK] for i in range(0, len(rows), BLOCK)]

    def add(self, images: np.ndarray, most: int | None = None) -> np.ndarray:
        """Keep those of a block (N, ...) that are far from all kept so far; return their indices.

        Greedy, in order; `most`: how many to keep at the most.
        """
        block = self._normalize(images)
        free = np.ones(len(block), bool)
        for rows in self._kept:  # small products: as fast as one, in constant memory
            free &= (rows @ block.T).max(0) <= self.limit
        close = block @ block.T > self.limit
        new: list[int] = []
        for j in np.flatnonzero(free):
            if not close[j, new].any():
                new.append(int(j))
        kept = np.array(new[:most], dtype=int)
        if len(kept):
            self._kept.append(block[kept])
        return kept


def without_near_duplicates(images: np.ndarray, most: int, limit: float = 0.95) -> np.ndarray:
    """Return the indices of the first `most` images of which no two correlate above `limit`.

    Greedy, in order: an image is kept if its mean-removed correlation with every image kept so
    far is at most `limit` (see `Distinct`).

    Args:
        images: (N, ...) of any type; shuffle first if their order means something.
        most: how many to keep at the most.
        limit: the largest correlation allowed.
    """
    distinct, kept = Distinct(limit), np.empty(0, int)
    for start in range(0, len(images), BLOCK):
        new = distinct.add(images[start : start + BLOCK], most - len(kept))
        kept = np.append(kept, start + new)
        if len(kept) >= most:
            break
    return kept
