"""CelebA and LSUN, too many to hold: made once into a file of bytes, read from the disk after.

Pictures are taken in the order of one fixed permutation, made grey and square, and kept if they
are no near-duplicate of one before, until there are enough. `<set>_<size>.npy` has the images,
`<set>_<size>.json` what they were made from and their SHA-256; what is unfinished is a
`<set>_<size>.<hash>.part`, from which an interrupted preparation goes on.
"""

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from gahb_core.data.celeba_lsun import NAMES, open_source
from gahb_core.data.files import BLOCK, Distinct, MissingData, check_pixels, data_folder
from gahb_core.data.pictures import centre_square
from gahb_core.files import atomic_write, lock, remove_orphans, write_safely
from gahb_core.images.family import Family
from gahb_core.images.resize import resize_area

DEFAULT_SIZE = 80
MOST_A, LEAST_TEST = 100_000, 1_000
# what Pillow and the archive raise of a cut or foreign picture
UNREADABLE = (OSError, SyntaxError, zipfile.BadZipFile, zlib.error)
SETTINGS: dict[str, Any] = {
    "order": 2024,
    "limit": 0.95,
    "thumbnail": 20,
}  # the latter two: paper (a)


def grey_square(picture: Image.Image, *sizes: int) -> list[np.ndarray]:
    """Return the centre square of a picture, grey, as an area average of each size, uint8.

    Raises:
        ValueError: where the picture is smaller than a size.
    """
    cut = centre_square(np.asarray(picture.convert("L")))
    square = torch.from_numpy(cut.astype(np.float32))
    return [resize_area(square, s).round().to(torch.uint8).numpy() for s in sizes]


def split_ranges(num: int) -> dict[str, tuple[int, int]]:
    """Return first image and number of A, B and test of `num` images: 100,000 each, or as many.

    Raises:
        ValueError: where `num` leaves nothing for A and B beside 1,000 test images.
    """
    half = min(MOST_A, (num - LEAST_TEST) // 2)
    if half < 1:
        raise ValueError(f"num must be at least {LEAST_TEST + 2} distinct images, not {num}")
    test = min(2 * LEAST_TEST, num - 2 * half)
    return {"A": (0, half), "B": (half, half), "test": (2 * half, test)}


def _path(name: str, size: int) -> Path:
    return data_folder() / f"{name}_{size}.npy"


def _is_there(path: Path) -> bool:
    return path.is_file() and path.with_suffix(".json").is_file()


def locate_prepared(name: str, size: int = DEFAULT_SIZE) -> Path:
    """Return the path of the prepared images.

    Raises:
        MissingData: where they are not there, with the command that makes them.
    """
    path = _path(name, size)
    if _is_there(path):
        return path
    option = "" if size == DEFAULT_SIZE else f" --size {size}"
    raise MissingData(
        f"the {size}×{size} images of {name} were looked for at {path} (folder: GAHB_DATA or the "
        f"cache) and are not there: 'gahb fetch {name}{option}' makes them"
    )


@cache
def _load(path: Path, name: str, size: int) -> np.ndarray:
    wanted = {"dataset": name, "size": size, **SETTINGS}
    try:
        card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        pixels = np.load(path, mmap_mode="r", allow_pickle=False)
        found = {key: card[key] for key in wanted}
        if found != wanted or (pixels.dtype, *pixels.shape) != (np.uint8, card["kept"], size, size):
            raise ValueError(f"made with {found}, {pixels.dtype} {pixels.shape}, not {wanted}")
        return check_pixels(pixels, card["sha256"], str(path))
    except (ValueError, EOFError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} or its .json is cut or foreign ({error!r}): delete both and run "
            f"'gahb fetch {name}' again"
        ) from error


def load_prepared(name: str, split: str, size: int = DEFAULT_SIZE) -> np.ndarray:
    """Return the images (N, size, size) of a split, uint8, mapped from the disk, not read.

    Raises:
        MissingData: where they are not on this machine.
        ValueError: where the file is cut or foreign.
    """
    pixels = _load(locate_prepared(name, size), name, size)
    first, num = split_ranges(len(pixels))[split]
    return pixels[first : first + num]


def _record(size: int) -> np.dtype:
    """Return what is stored of a kept picture: its place in the order, thumbnail and pixels."""
    side = SETTINGS["thumbnail"]
    thumbnail = ("thumbnail", "u1", (side, side))
    return np.dtype([("position", "<u4"), thumbnail, ("pixels", "u1", (size, size))])


def _read_part(path: Path, record: np.dtype) -> np.ndarray:
    """Return the records of an unfinished preparation, mapped; one that was cut is dropped."""
    whole = path.stat().st_size // record.itemsize if path.is_file() else 0
    if not whole:
        path.unlink(missing_ok=True)
        return np.empty(0, record)
    os.truncate(path, whole * record.itemsize)
    rows = np.memmap(path, record, "r")
    if not (np.diff(rows["position"].astype(np.int64)) > 0).all():
        raise ValueError(
            f"{path} must hold pictures in their order: it is cut, or two processes wrote to it; "
            "delete it to start anew"
        )
    return rows


def _examine(source: Sequence[Image.Image], order: np.ndarray, first: int, size: int) -> np.ndarray:
    """Return the records of the next block of pictures, near-duplicates not yet dropped."""
    block = np.empty(min(BLOCK, len(order) - first), _record(size))
    for k in range(len(block)):
        try:
            picture = source[int(order[first + k])]
            thumbnail, pixels = grey_square(picture, SETTINGS["thumbnail"], size)
        except UNREADABLE as error:
            raise ValueError(f"picture {order[first + k]} cannot be read: {error}") from error
        block[k] = (first + k, thumbnail, pixels)
    return block


def _collect(source: Sequence[Image.Image], part: Path, size: int, say: Callable) -> np.ndarray:
    """Return the records of enough distinct pictures, kept in the file `part` block by block."""
    order = np.random.default_rng(SETTINGS["order"]).permutation(len(source))
    rows, enough = _read_part(part, _record(size)), 2 * (MOST_A + LEAST_TEST)
    distinct = Distinct(SETTINGS["limit"])
    for start in range(0, len(rows), BLOCK):
        distinct.remember(rows["thumbnail"][start : start + BLOCK])
    num, begin = len(rows), int(rows["position"][-1]) + 1 if len(rows) else 0
    with part.open("ab") as file:
        for k, first in enumerate(range(begin, len(order), BLOCK)):
            if num >= enough:
                break
            block = _examine(source, order, first, size)
            kept = distinct.add(block["thumbnail"], enough - num)
            try:
                file.write(block[kept].tobytes())
                file.flush()
            except OSError as error:  # a full disk: what is whole of the part is gone on from
                raise OSError(error.errno, error.strerror, str(part)) from error
            num += len(kept)
            if k % 10 == 9:
                say(f"{first + len(block)} of {len(order)} examined, {num} of {enough} kept")
    split_ranges(num)  # refuses too few
    return _read_part(part, _record(size))


def _write(path: Path, rows: np.ndarray, made_from: dict) -> None:
    """Write the images and then their card, each whole or not at all."""
    shape = (len(rows), *rows.dtype["pixels"].shape)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    digest = hashlib.sha256()
    with (
        atomic_write(path) as part,
        part.open("wb") as file,
    ):  # no map: a full disk is an error, then
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(rows), BLOCK):
            block = rows["pixels"][start : start + BLOCK].tobytes()
            digest.update(block)
            file.write(block)
    examined = int(rows["position"][-1]) + 1
    card = made_from | {"examined": examined, "kept": len(rows), "sha256": digest.hexdigest()}
    write_safely(path.with_suffix(".json"), json.dumps(card, indent=1) + "\n")


def prepare(name: str, size: int = DEFAULT_SIZE, say: Callable = print) -> Path:
    """Make the file of a set's images, where it is not there, and return its path.

    Goes on where it was interrupted. Memory: thumbnails of what is kept (at most 202,000, 323 MB)
    and one block of pictures. Time: reading the pictures, and minutes for the comparison.

    Args:
        name: "celeba" or "lsun".
        size: side in pixels.
        say: called with a line of progress every ten blocks of 500.

    Raises:
        MissingData: where the pictures, or what reads them, are missing, with what to do.
        Busy: while another process makes them.
        ValueError: where a file is cut or foreign, or pictures are too few or smaller than `size`.
    """
    path = _path(name, size)
    if _is_there(path):
        _load(path, name, size)
        return path
    with lock(path.with_suffix(".lock"), f"the images of {name}"):
        remove_orphans(path.parent)
        if not _is_there(path):
            _prepare(path, name, size, say)
    return path


def _prepare(path: Path, name: str, size: int, say: Callable) -> None:
    source = open_source(name)
    made_from = {"dataset": name, "size": size, **SETTINGS}
    made_from |= {"pictures": len(source), "first_sha256": _hash_first(source)}
    digest = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:8]
    part = path.with_suffix(f".{digest}.part")
    rows = _collect(source, part, size, lambda line: say(f"{name}: {line}"))
    _write(path, rows, made_from)
    part.unlink()


def _hash_first(source: Sequence[Image.Image]) -> str:
    """Return the SHA-256 of the first picture's pixels, which tells one source from another."""
    if not len(source):
        raise ValueError("the source must have pictures, and it has none")
    return hashlib.sha256(source[0].convert("RGB").tobytes()).hexdigest()


FAMILIES = tuple(
    Family(
        name,
        "prepared by `gahb fetch`, size by size",
        size=DEFAULT_SIZE,
        load=partial(load_prepared, name),
        locate=partial(locate_prepared, name),
        fetch=partial(prepare, name),
        by_size=True,
    )
    for name in NAMES
)
