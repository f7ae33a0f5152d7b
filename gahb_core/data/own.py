"""Own images: a folder, or a tensor, as an image set of the splits A, B and test."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from gahb_core.checks import check_choice, check_count, check_finite, check_images
from gahb_core.data.pictures import open_square
from gahb_core.data.registry import FAMILIES
from gahb_core.images.family import Family
from gahb_core.images.resize import resize_area
from gahb_core.noise import make_generator

KINDS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
MOST_BYTES = 4 * 2**30  # held in memory, a byte a value


def read_folder(folder: str | Path, size: int, channels: int = 1, num: int | None = None) -> Tensor:
    """Return the images of a folder and its folders, (N, C, S, S), uint8, by the names of files.

    Each is its centre square, averaged down to `size`; colours become grey where one channel is
    wanted.

    Args:
        folder: of pictures (PNG, JPEG, TIFF, BMP, WebP); other files are passed over.
        size: S, side in pixels; none of them may be smaller.
        channels: C, 1 or 3.
        num: the first so many; None: all.

    Raises:
        ValueError: where it is no folder, holds no pictures, too few, more than memory should
            hold, a cut one or one that is too small.
    """
    folder, size = Path(folder).expanduser(), check_count(size, "size")
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, not {channels!r}")
    if not folder.is_dir():
        raise ValueError(f"images must be a folder, and {folder} is none")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in KINDS and p.is_file())
    if not paths:
        raise ValueError(f"images must be a folder of pictures {KINDS}, and {folder} holds none")
    if num is not None and check_count(num, "num") > len(paths):
        raise ValueError(f"num must be at most {len(paths)}, the pictures of {folder}, not {num}")
    paths = paths[:num]
    if (wanted := len(paths) * channels * size**2) > MOST_BYTES:
        raise ValueError(
            f"images must fit {MOST_BYTES / 2**30:.0f} GiB, and {len(paths)} of {folder} at size "
            f"{size} take {wanted / 2**30:.1f}: give num, or a smaller size"
        )
    images = torch.empty(len(paths), channels, size, size, dtype=torch.uint8, device="cpu")
    for i, path in enumerate(paths):
        square = open_square(path, channels, size)
        images[i] = (resize_area(square, size) * 255).round().to(torch.uint8)
    return images


def _as_bytes(images: Tensor) -> Tensor:
    if isinstance(images, Tensor) and images.dtype == torch.uint8 and images.ndim == 4:
        return images.cpu()
    check_finite(check_images(images, "images"), "images")
    low, high = (float(v) for v in images.aminmax()) if len(images) else (0.0, 0.0)
    if not 0 <= low <= high <= 1:
        raise ValueError(
            f"images must lie in [0, 1], not [{low:.3g}, {high:.3g}]: (x + 1)/2 of those in [−1, 1]"
        )
    return (images.detach().cpu() * 255).round().to(torch.uint8)


def register_images(images: Tensor, name: str = "own", halves: bool = False) -> str:
    """Make images an image set, and return its name: `name` and the first digits of their hash.

    Of their order, shuffled once, a tenth is "test". The rest is "A"; with `halves` it is cut in
    two, "A" and "B", for two networks that share no image.

    >>> register_images(torch.ones(20, 3, 8, 8), "mine")
    'mine_...'

    Args:
        images: (N, C, S, S), in [0, 1] or of 8 bits; they are kept in 8 bits.
        name: of letters, digits and _.
        halves: whether there is a "B".

    Raises:
        ValueError: for images of another shape or range, or fewer than there are splits.
    """
    if not isinstance(name, str) or not name.replace("_", "").isalnum():
        raise ValueError(f"name must be of letters, digits and _, not {name!r}")
    kept = _as_bytes(images)
    if kept.shape[-1] != kept.shape[-2]:
        raise ValueError(f"images must be square, not of shape {tuple(kept.shape)}")
    if len(kept) < 2 + halves:
        raise ValueError(f"images must be at least {2 + halves}, one a split, not {len(kept)}")
    digest = hashlib.sha256(repr((tuple(kept.shape), bool(halves))).encode())
    digest.update(kept.contiguous().numpy().data)
    full = f"{name}_{digest.hexdigest()[:12]}"
    FAMILIES[full] = Family(full, size=kept.shape[-1], load=_loader(kept, full, halves))
    return full


def _loader(kept: Tensor, name: str, halves: bool) -> Callable[[str, int], Tensor]:
    order = torch.randperm(len(kept), generator=make_generator(0, "own images"), device="cpu")
    test, rest = order.tensor_split([max(1, len(kept) // 10)])
    parts = {"A": rest, "test": test}
    if halves:
        parts["A"], parts["B"] = rest.tensor_split(2)

    def load(split: str, size: int) -> Tensor:
        check_choice(split, "split", list(parts))
        if size != kept.shape[-1]:
            raise ValueError(f"size must be {kept.shape[-1]} for {name!r}, not {size}")
        return kept[parts[split]]

    return load
