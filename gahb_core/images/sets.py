"""Image sets by name: one way to open any of them, with disjoint splits A, B and test."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gahb_core.checks import check_choice, check_count, check_number
from gahb_core.images import faces, garments, prepared, sources
from gahb_core.images.c_alpha import make_c_alpha
from gahb_core.images.disks import make_disks
from gahb_core.images.ray import make_ray
from gahb_core.images.resize import resize_area
from gahb_core.images.shuffled import shuffle_pixels
from gahb_core.images.sinusoids import make_sinusoids

SPLITS = ("A", "B", "test")
# first image, and how many, of each split of the loaded sets
_RANGES = {
    "fashion": {"A": (0, 10_000), "B": (10_000, 10_000), "test": (20_000, 2_000)},
    "faces": {"A": (0, 6_000), "B": (6_000, 6_000), "test": (12_000, 1_145)},
}
_SIZES = {"fashion": 32, "faces": 32} | dict.fromkeys(sources.NAMES, prepared.DEFAULT_SIZE)
_SHUFFLED = "shuffled/"


def _make_ray(num: int, size: int, image: str = "fashion", **stream: int) -> Tensor:
    """Return the ray of the first image of A of the loaded set named `image`."""
    return make_ray(_first_image(image, size), num, **stream)


@lru_cache(maxsize=8)
def _first_image(dataset: str, size: int) -> Tensor:
    return load_images(dataset, "A", 1, size)[0]


_MADE = {
    "c_alpha": make_c_alpha,
    "disks": make_disks,
    "ray": _make_ray,
    "sinusoids": make_sinusoids,
}
_OPTIONS = {
    "c_alpha": {"alpha": float, "background_alpha": float, "spectrum": str, "amplitude": str},
    "ray": {"image": str},
}


class ImageSet(NamedTuple):
    """One split of an image set.

    Attributes:
        take: indices (n,) → images (n, 1, S, S), float32 in [0, 1].
        num: how many images there are; None where they are made and never end.
    """

    take: Callable[[Tensor], Tensor]
    num: int | None


def parse_name(dataset: str) -> tuple[str, dict]:
    """Return family and options of a name such as "fashion" or "c_alpha/alpha=2".

    "shuffled/faces" is of the family of "faces".

    Raises:
        ValueError: for a family or an option that does not exist.
    """
    if not isinstance(dataset, str):
        raise ValueError(f"dataset must be the name of an image set, not {dataset!r}")
    family, *words = dataset.removeprefix(_SHUFFLED).split("/")
    known = _OPTIONS.get(family, {})
    if family not in _SIZES and family not in _MADE:
        raise ValueError(f"dataset must be of {[*_SIZES, *_MADE]}, not {dataset!r}")
    options = {}
    for word in words:
        key, _, value = word.partition("=")
        if key not in known or not value:
            raise ValueError(f"options of {family!r} must be of {list(known)}, not {word!r}")
        options[key] = _read_option(known[key], value, f"{key} of dataset {dataset!r}")
    if family == "c_alpha" and "alpha" not in options:
        raise ValueError(f"dataset 'c_alpha' needs alpha, as in 'c_alpha/alpha=2', not {dataset!r}")
    return family, options


def _read_option(kind: type, value: str, name: str) -> float | str:
    try:
        return check_number(float(value), name, low=0) if kind is float else value
    except ValueError as error:
        raise ValueError(f"{name} must be a number, at least 0, not {value!r}") from error


def _loaded(family: str, split: str, size: int) -> Tensor | np.ndarray:
    """Return the images of a split, ready; or, where they are too many, bytes on the disk."""
    if family in sources.NAMES:
        return prepared.load_prepared(family, split, size)
    first, num = _RANGES[family][split]
    if family == "fashion":
        if size > 32:
            raise ValueError(
                f"size of 'fashion' must be at most 32 (28 and a margin of 2), not {size}"
            )
        x = torch.from_numpy(garments.load_embedded()[first : first + num]).float() / 255
        return resize_area(torch.nn.functional.pad(x, (2, 2, 2, 2))[:, None], size)
    pixels = faces.load_faces(size)[first : first + num]
    return torch.from_numpy(pixels).float()[:, None] / 255


def _check_indices(indices: Tensor, num: int | None) -> None:
    whole = not (indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool)
    if indices.ndim != 1 or not whole:
        kind = f"{indices.dtype} {tuple(indices.shape)}"
        raise ValueError(f"indices must be whole numbers (n,), not {kind}")
    low, high = (int(indices.min()), int(indices.max())) if len(indices) else (0, 0)
    if len(indices) and (low < 0 or (num is not None and high >= num)):
        end = "…" if num is None else f"… {num - 1}"
        raise ValueError(f"indices must lie in 0 {end}, not {low} … {high}")


def _take(x: Tensor | np.ndarray, indices: Tensor) -> Tensor:
    _check_indices(indices, len(x))
    if isinstance(x, Tensor):
        return x[indices]
    return torch.from_numpy(np.asarray(x[indices.numpy()])).float()[:, None] / 255


def _open_made(family: str, options: dict, split: str, num: int | None, size: int) -> ImageSet:
    make, seed = _MADE[family], SPLITS.index(split)

    def take(indices: Tensor) -> Tensor:
        _check_indices(indices, num)
        runs = indices.tolist()
        if runs and runs == list(range(runs[0], runs[0] + len(runs))):
            return make(len(runs), size=size, seed=seed, start=runs[0], **options)
        rows = [make(1, size=size, seed=seed, start=i, **options) for i in runs]
        return torch.cat(rows) if rows else make(0, size=size, seed=seed, **options)

    make(0, size=size, seed=seed, **options)  # refuses here what it would refuse later
    return ImageSet(take, num)


def open_images(
    dataset: str, split: str, num: int | None = None, size: int | None = None
) -> ImageSet:
    """Return the first `num` images (None: all there are) of a split, to be taken by index.

    Raises:
        ValueError: for an unknown set, split or option, or more images than the split has.
        MissingData: where the files are not on this machine.
    """
    family, options = parse_name(dataset)
    if dataset.startswith(_SHUFFLED):
        kept = open_images(dataset.removeprefix(_SHUFFLED), split, num, size)
        return ImageSet(lambda indices: shuffle_pixels(kept.take(indices)), kept.num)
    check_choice(split, "split", SPLITS)
    if num is not None:
        check_count(num, "num")
    size = check_count(_SIZES.get(family, 32) if size is None else size, "size")
    if family in _MADE:
        return _open_made(family, options, split, num, size)
    x = _loaded(family, split, size)
    if num is not None and num > len(x):
        raise ValueError(f"num must be at most {len(x)} for {dataset!r} {split}, not {num}")
    x = x[:num]
    return ImageSet(lambda indices: _take(x, indices), len(x))


def load_images(
    dataset: str, split: str, num: int | None = None, size: int | None = None
) -> Tensor:
    """Return images (N, 1, S, S), float32 in [0, 1]: the first `num` of a split (None: all).

    Args:
        dataset: "fashion" (32 and smaller), "faces" (64 and smaller, default 32), "celeba" or
            "lsun" (bedrooms; default 80; prepared by `gahb fetch`, size by size),
            "c_alpha/alpha=2", "disks", "sinusoids", "ray" or "ray/image=faces" (any size,
            default 32, the ray's as its image allows; `num` is needed, for they never end);
            "shuffled/…" before any of them: pixels moved by one fixed permutation.
        split: "A", "B" or "test"; disjoint.
        num: how many.
        size: side in pixels.

    Raises:
        ValueError: see `open_images`.
        MissingData: where the files are not on this machine.
    """
    opened = open_images(dataset, split, num, size)
    if opened.num is None:
        raise ValueError(f"num must be given for {dataset!r}, whose images are made and never end")
    return opened.take(torch.arange(opened.num))


def locate(dataset: str) -> str:
    """Return where the files of an image set are ("made", for those that need none).

    Raises:
        MissingData: where they are not on this machine, with the command that brings them.
    """
    family, _ = parse_name(dataset)
    if family in sources.NAMES:
        return str(prepared.locate_prepared(family))
    if family == "faces":
        return str(faces.locate_faces())
    return str(garments.EMBEDDED) if family == "fashion" else "made"


def fetch(dataset: str, size: int | None = None, say: Callable[[str], None] = print) -> str:
    """Bring the files of an image set to the data folder and return where they are.

    Args:
        dataset: name of the set.
        size: of "celeba" and "lsun", whose images are prepared for one size: side in pixels.
        say: called with each line of progress.

    Raises:
        ValueError: for an unknown set, a size where none is needed, or a cut or foreign file.
        MissingData: where it cannot be brought, with what to do by hand.
    """
    family, _ = parse_name(dataset)
    if family in sources.NAMES:
        return str(prepared.prepare(family, _SIZES[family] if size is None else size, say))
    if size is not None:
        raise ValueError(f"size must not be given for {dataset!r}: its file has all sizes")
    return str(faces.fetch_faces()) if family == "faces" else locate(dataset)
