"""Faces: 13,158 aligned 64×64 crops of Labeled Faces in the Wild, loaded, never redistributed.

Huang, Ramesh, Berg & Learned-Miller 2007; the crops are those of github.com/hromi/SMILEsmileD
(folder SMILEs), whose licence is not stated: research use.
"""

import io
import zipfile
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gahb_core.data.files import (
    MissingData,
    check_pixels,
    data_folder,
    download,
    read_images,
    without_near_duplicates,
)
from gahb_core.files import atomic_write
from gahb_core.images.family import Family
from gahb_core.images.resize import resize_area

ARCHIVE = "https://github.com/hromi/SMILEsmileD/archive/refs/heads/master.zip"
SHA256 = "fd514dad08f8b40dd5d73492f660bddcf13d020358086d5b893edfb0e6dac06e"
FILE = "faces_64.npz"
# first image, and how many, of each split
RANGES = {"A": (0, 6_000), "B": (6_000, 6_000), "test": (12_000, 1_145)}


def locate_faces() -> Path:
    """Return the path of the face file.

    Raises:
        MissingData: where it is not there, with the command that brings it.
    """
    path = data_folder() / FILE
    if path.is_file():
        return path
    raise MissingData(
        f"the face images were looked for at {path} (folder: GAHB_DATA or the cache) and are not "
        "there: 'gahb fetch faces' downloads them (29 MB), or set GAHB_DATA to the folder with them"
    )


def read_archive(archive: bytes) -> np.ndarray:
    """Return the distinct 64×64 grey crops (N, 64, 64) of a zip of the repository, by path.

    Raises:
        ValueError: where it is no whole zip, or has no crops.
    """
    crops: dict[bytes, np.ndarray] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as file:
            names = [n for n in file.namelist() if "/SMILEs/" in n and n.endswith(".jpg")]
            for name in sorted(names):
                pixels = np.asarray(Image.open(io.BytesIO(file.read(name))).convert("L"))
                crops.setdefault(pixels.tobytes(), pixels)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(f"archive must be a whole zip file: {error}") from error
    except OSError as error:  # Pillow's, of a cut or foreign picture
        raise ValueError(f"archive must hold pictures, and {name} is none: {error}") from error
    if not crops:
        raise ValueError("archive must hold SMILEs/**/*.jpg, and it holds none")
    return np.stack(list(crops.values()))


def fetch_faces(url: str = ARCHIVE) -> Path:
    """Download the public archive, check the pixels and return the path of the file made of it.

    Raises:
        MissingData: where it cannot be downloaded whole, with what to do by hand.
        ValueError: where it is not the archive whose pixels are known.
    """
    path = data_folder() / FILE
    archive = download(url, f"try again, or bring {FILE} by hand to {path}")
    images = check_pixels(read_archive(archive), SHA256, url)
    with atomic_write(path) as part:
        np.savez_compressed(part, images=images)
    return path


@cache
def _load(path: Path) -> np.ndarray:
    images = read_images(path, SHA256, "delete it and run 'gahb fetch faces'")
    images = images[np.random.default_rng(2024).permutation(len(images))]
    blocks = images.reshape(-1, 16, 4, 16, 4).mean((2, 4))
    return images[without_near_duplicates(blocks, most=len(images))]


def load_faces(size: int = 64) -> np.ndarray:
    """Return all faces, uint8 (64) or float32 in [0, 255], shuffled once, near-duplicates dropped.

    Near-duplicates: mean-removed correlation of 16×16 thumbnails above .95. Smaller sizes are
    area averages.
    """
    images = _load(locate_faces())
    if size == images.shape[-1]:
        return images
    return resize_area(torch.from_numpy(images).float(), size).numpy()


def load_split(split: str, size: int = 32) -> Tensor:
    """Return the faces (N, 1, S, S) of a split, in [0, 1]."""
    first, num = RANGES[split]
    return torch.from_numpy(load_faces(size)[first : first + num]).float()[:, None] / 255


FAMILY = Family(
    "faces",
    "64 and smaller",
    load=load_split,
    locate=locate_faces,
    fetch=lambda size, say: fetch_faces(),
)
