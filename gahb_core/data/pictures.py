"""Pictures from files: opened, righted, made grey and square, or refused."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from gahb_core.checks import check_count
from gahb_core.images.resize import resize_area


def centre_square(grey: np.ndarray) -> np.ndarray:
    """Return the centre square of a grey picture (H, W)."""
    side = min(grey.shape)
    top, left = ((n - side) // 2 for n in grey.shape)
    return grey[top : top + side, left : left + side]


def _open(source: str | Path | np.ndarray) -> Image.Image:
    """Return the first picture of a file, whole, the way up that its camera noted (EXIF)."""
    try:
        if isinstance(source, np.ndarray):
            return Image.fromarray(source)
        with Image.open(source) as picture:
            picture.verify()  # the sums of its parts; the picture itself is gone after it
        with Image.open(source) as picture:
            return ImageOps.exif_transpose(picture)
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except (OSError, ValueError, TypeError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{_name(source)} must be a whole picture: {error}") from error


def _name(source: str | Path | np.ndarray) -> str:
    return f"array {source.dtype} {source.shape}" if isinstance(source, np.ndarray) else f"{source}"


def _read_grey(picture: Image.Image, name: str) -> np.ndarray:
    """Return grey values (H, W), float32 in [0, 1]: sixteen bits are read as such."""
    if picture.mode == "F" or picture.mode.startswith("I"):
        grey = np.asarray(picture).astype(np.float64)
        grey = grey if picture.mode == "F" else grey / 65535
        if not (np.isfinite(grey).all() and grey.min() >= 0 and grey.max() <= 1):
            top = "1" if picture.mode == "F" else "65535"
            wide = np.asarray(picture)
            raise ValueError(
                f"{name} must have values in 0 … {top} (mode {picture.mode}), "
                f"not {wide.min():.4g} … {wide.max():.4g}"
            )
        return grey.astype(np.float32)
    if picture.has_transparency_data:  # what lies behind is white, as on a page
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return np.asarray(picture.convert("L"), np.float32) / 255


def open_square(source: str | Path, channels: int, least: int) -> Tensor:
    """Return the centre square of a picture, (C, S, S), float32 in [0, 1], C = 1 or 3.

    Raises:
        ValueError: where it is cut, no picture, or S would be below `least`.
    """
    picture, name = _open(source), _name(source)
    if channels == 1 or picture.mode == "F" or picture.mode.startswith("I"):
        planes = [_read_grey(picture, name)] * channels
    else:
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        planes = list(np.moveaxis(np.asarray(picture.convert("RGB"), np.float32) / 255, -1, 0))
    square = np.stack([centre_square(plane) for plane in planes])
    if square.shape[-1] < least:
        raise ValueError(
            f"{name} must be at least {least} pixels high and wide, not {square.shape[-1]}"
        )
    return torch.from_numpy(square)


def load_picture(
    source: str | Path | np.ndarray, *, most: int | None = None, least: int = 1
) -> Tensor:
    """Return a picture as one grey square image (1, 1, S, S), float32 in [0, 1].

    It stands the way up that its camera noted, colours become grey (ITU-R 601), what is
    transparent white; the centre square is kept, and averaged down to side `most` if it is larger.

    Args:
        source: a file that Pillow reads (JPEG, PNG, TIFF, ...), or an array of one picture.
        most: the largest side wanted; None: any.
        least: the smallest side of use.

    Raises:
        ValueError: where the file is cut or no picture, its values are not finite or, in floating
            point, not in [0, 1], its square is smaller than `least`, or of one grey all over.
        OSError: where there is no such file, or it may not be read.
    """
    least = check_count(least, "least")
    most = None if most is None else check_count(most, "most", least)
    name = _name(source)
    square = centre_square(_read_grey(_open(source), name))
    side = len(square)
    if side < least:
        raise ValueError(f"{name} must be at least {least} pixels high and wide, not {side}")
    if square.min() == square.max():
        raise ValueError(f"{name} must have contrast: its square is {square.min():.3g} all over")
    return resize_area(torch.from_numpy(square.copy())[None, None], min(most or side, side))
