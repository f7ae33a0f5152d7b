"""A family of images, as one entry of the table `images.FAMILIES`."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor


class Family(NamedTuple):
    """Images of one kind: made (they never end), or loaded from files.

    Attributes:
        name: "disks", as a data set's name begins.
        about: what is particular about its sizes and options, for the help.
        size: side in pixels where none is asked for.
        options: what may follow the name, as in "c_alpha/alpha=2", and its kind.
        needed: the options that must be given.
        make: made ones: (num, size=, seed=, start=, **options) → images (num, 1, S, S).
        sample_parameters: (num, size, seed, start) → draws (num, P) of the prior, if known.
        draw: (parameters (N, P), size) → images (N, 1, S, S), differentiable.
        denoiser: its exact posterior mean's maker in `denoisers`, where there is one.
        load: loaded ones: (split, size) → images (N, 1, S, S), or bytes (N, S, S) on the disk.
        locate: loaded ones: → where the files are; MissingData where they are not.
        fetch: (size, say) → where the files were brought to; None: they come with the book.
        by_size: files are made for one size; else `fetch` takes none.
    """

    name: str
    about: str = ""
    size: int = 32
    options: dict[str, type] = {}
    needed: tuple[str, ...] = ()
    make: Callable[..., Tensor] | None = None
    sample_parameters: Callable[..., Tensor] | None = None
    draw: Callable[[Tensor, int], Tensor] | None = None
    denoiser: str | None = None
    load: Callable[[str, int], Tensor | np.ndarray] | None = None
    locate: Callable[[], Path] | None = None
    fetch: Callable[[int, Callable[[str], None]], Path] | None = None
    by_size: bool = False
