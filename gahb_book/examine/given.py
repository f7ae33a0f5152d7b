"""What the command line names: a denoiser in somebody's module, and folders of images."""

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from gahb_core.checks import check_count

KINDS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
MODES = {"L": "L", "1": "L", "P": "RGB", "RGB": "RGB", "RGBA": "RGB", "CMYK": "RGB"}


def load_function(name: str) -> Callable[..., Any]:
    """Return the denoiser that "MODULE:NAME" names.

    MODULE is a module's name, sought in the folder of the command and where Python looks, or the
    path of a .py file. NAME is a denoiser f(y, sigma), or a function of no argument that returns
    one, for networks that take time to load.

    Raises:
        ValueError: where the module cannot be imported, with the reason; where it has no such
            name, or that is no function.
    """
    module_name, colon, attribute = name.rpartition(":")
    if not colon or not module_name or not attribute:
        raise ValueError(f"denoiser must be MODULE:FUNCTION, such as mine:denoiser, not {name!r}")
    module = _import(module_name)
    found = getattr(module, attribute, None)
    if not callable(found):
        here = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise ValueError(
            f"denoiser must be a function of {module.__file__}, and {attribute!r} is "
            f"{'none' if found is None else type(found).__name__}; there are {', '.join(here[:8])}"
        )
    if not _takes_images(found):
        found = found()
        if not callable(found):
            raise ValueError(
                f"denoiser must be f(y, sigma) or a function that returns one; {name} returned "
                f"{type(found).__name__}"
            )
    return found


def _takes_images(function: Callable) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of compiled code
        return True
    needed = [p for p in parameters if p.default is p.empty and p.kind != p.VAR_KEYWORD]
    return bool(needed)


def _import(name: str) -> Any:
    """Return the module of a name or of the path of a file, or say why it is none."""
    path, where = Path(name), ""
    sys.path[:0] = [os.getcwd()]
    try:
        if name.endswith(".py"):
            where = f" at {path.resolve()}"
            if not path.is_file():
                raise FileNotFoundError("there is no such file")
            sys.path[:0] = [str(path.resolve().parent)]
            name = path.stem
        else:
            where = f" in {os.getcwd()} and Python's path"
        return importlib.import_module(name)
    except Exception as error:  # whatever somebody's module raises
        kind = type(error).__name__
        raise ValueError(
            f"denoiser must be in a module that can be imported, and {name!r}{where} cannot: "
            f"{kind}: {error}"
        ) from error
    finally:
        sys.path.remove(os.getcwd())


def read_images(folder: Path, most: int = 2000, name: str = "images") -> Tensor:
    """Return the images of a folder, (N, C, H, W) in [0, 1]: grey where all are, else RGB.

    Files are taken by name; of more than `most`, every k-th.

    Args:
        folder: of PNG, JPEG and the like, all of one size, in it or in its folders.
        most: images read at most.
        name: of the argument, for messages.

    Raises:
        ValueError: where there is no folder, no image in it, a file is cut, images differ in size,
            or grey and colour are mixed.
    """
    most, folder = check_count(most, "most"), Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{name} must be a folder of images, and {folder} is none")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in KINDS and p.is_file())
    if not paths:
        raise ValueError(
            f"{name} must be a folder with images ({', '.join(KINDS)}), and {folder} holds none"
        )
    paths = paths[:: -(-len(paths) // most)]
    shown = [_read(path, name) for path in paths]
    _check_alike({(a.shape[1], a.shape[0]): p for a, p in zip(shown, paths, strict=True)}, name)
    _check_alike({a.shape[2]: p for a, p in zip(shown, paths, strict=True)}, name, "channels")
    return torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2).float().div(255).contiguous()


def _read(path: Path, name: str) -> np.ndarray:
    """Return a file as bytes (H, W, 1 or 3)."""
    try:
        with Image.open(path) as picture:
            mode = MODES.get(picture.mode)
            if mode is None:
                raise ValueError(f"{name} must be of 8 bits, grey or RGB, not {picture.mode}")
            pixels = np.asarray(picture.convert(mode))
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise ValueError(f"{name} must be whole images, and {path} is none: {error}") from error
    except ValueError as error:
        raise ValueError(f"{error}: {path}") from error
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _check_alike(found: dict, name: str, what: str = "size") -> None:
    if len(found) > 1:
        some = "; ".join(f"{key}: {path.name}" for key, path in list(found.items())[:4])
        raise ValueError(f"{name} must be all of one {what}, not mixed ({some})")
