"""Image sets by name: one way to open any of them, with disjoint splits A, B and test."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gahb_core.checks import check_choice, check_count, check_number
from gahb_core.data import faces, fashion, prepared
from gahb_core.images import c_alpha, disks, ellipses, sinusoids
from gahb_core.images.family import Family
from gahb_core.images.ray import draw_ray, make_ray, make_ray_parameters
from gahb_core.images.shuffled import shuffle_pixels

SPLITS = ("A", "B", "test")
_SHUFFLED = "shuffled/"


@lru_cache(maxsize=8)
def _first_image(dataset: str, size: int) -> Tensor:
    return load_images(dataset, "A", 1, size)[0]


def _make_ray(num: int, size: int, image: str = "fashion", **stream: int) -> Tensor:
    """Return the ray of the first image of A of the loaded set named `image`."""
    return make_ray(_first_image(image, size), num, **stream)


RAY = Family(
    "ray",
    "or 'ray/image=faces', of the sizes of its image",
    options={"image": str},
    make=_make_ray,
    sample_parameters=lambda num, size, seed, start: make_ray_parameters(num, seed, start),
    draw=lambda parameters, size: draw_ray(parameters, _first_image("fashion", size)),
    denoiser="ray_denoiser",
)
MODULES = (fashion, faces, c_alpha, disks, ellipses, sinusoids)  # each has one FAMILY
FAMILIES = {f.name: f for f in (*(m.FAMILY for m in MODULES), RAY, *prepared.FAMILIES)}


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
    if family not in FAMILIES:
        raise ValueError(f"dataset must be of {list(FAMILIES)}, not {dataset!r}")
    known = FAMILIES[family].options
    options = {}
    for word in words:
        key, _, value = word.partition("=")
        if key not in known or not value:
            raise ValueError(f"options of {family!r} must be of {list(known)}, not {word!r}")
        options[key] = _read_option(known[key], value, f"{key} of dataset {dataset!r}")
    for key in FAMILIES[family].needed:
        if key not in options:
            raise ValueError(
                f"dataset {family!r} needs {key}, as in '{family}/{key}=2', not {dataset!r}"
            )
    return family, options


def _read_option(kind: type, value: str, name: str) -> float | str:
    try:
        return check_number(float(value), name, low=0) if kind is float else value
    except ValueError as error:
        raise ValueError(f"{name} must be a number, at least 0, not {value!r}") from error


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
        return x[indices].float() / 255 if x.dtype == torch.uint8 else x[indices]
    return torch.from_numpy(np.asarray(x[indices.numpy()])).float()[:, None] / 255


def _open_made(make: Callable, options: dict, split: str, num: int | None, size: int) -> ImageSet:
    seed = SPLITS.index(split)

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
    name, options = parse_name(dataset)
    if dataset.startswith(_SHUFFLED):
        kept = open_images(dataset.removeprefix(_SHUFFLED), split, num, size)
        return ImageSet(lambda indices: shuffle_pixels(kept.take(indices)), kept.num)
    check_choice(split, "split", SPLITS)
    if num is not None:
        check_count(num, "num")
    family = FAMILIES[name]
    size = check_count(family.size if size is None else size, "size")
    if family.make:
        return _open_made(family.make, options, split, num, size)
    x = family.load(split, size)
    if num is not None and num > len(x):
        raise ValueError(f"num must be at most {len(x)} for {dataset!r} {split}, not {num}")
    x = x[:num]
    return ImageSet(lambda indices: _take(x, indices), len(x))


def load_images(
    dataset: str, split: str, num: int | None = None, size: int | None = None
) -> Tensor:
    """Return images (N, 1, S, S), float32 in [0, 1]: the first `num` of a split (None: all).

    Args:
        dataset: a name that begins with its family's: {families}; or "shuffled/…" before any of
            them: pixels moved by one fixed permutation. `num` is needed where they are made, for
            those never end.
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
    return opened.take(torch.arange(opened.num, device="cpu"))


_LINES = [
    f'"{f.name}" (' + ", ".join([f"default {f.size}", *([f.about] if f.about else [])]) + ")"
    for f in FAMILIES.values()
]
load_images.__doc__ = str(load_images.__doc__).replace("{families}", ",\n            ".join(_LINES))


def locate(dataset: str) -> str:
    """Return where the files of an image set are ("made", for those that need none).

    Raises:
        MissingData: where they are not on this machine, with the command that brings them.
    """
    family = FAMILIES[parse_name(dataset)[0]]
    return str(family.locate()) if family.locate else "made"


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
    family = FAMILIES[parse_name(dataset)[0]]
    if size is not None and not family.by_size:
        raise ValueError(f"size must not be given for {dataset!r}: its file has all sizes")
    if family.fetch is None:
        return locate(dataset)
    return str(family.fetch(family.size if size is None else size, say))
