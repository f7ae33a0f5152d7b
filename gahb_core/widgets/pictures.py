"""Pictures for a page: small palette PNGs inside an `<img>` that says what it shows."""

import base64
import html
import io
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML
from matplotlib.figure import Figure
from PIL import Image

PICTURE_WIDTH = 480


def _rgb_of_figure(figure: Figure) -> Image.Image:
    """Return the drawn figure, and take it out of pyplot, which would show it a second time."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor="white")
    plt.close(figure)
    return Image.open(buffer).convert("RGB")


def png_bytes(image: Any, levels: int = 64) -> tuple[bytes, int]:
    """Return (the bytes of a small palette PNG, its width in pixels).

    Args:
        image: uint8 array (H, W) or (H, W, 3), a matplotlib Figure, or the bytes of a PNG (kept).
        levels: greys of a grey image, evenly spaced (2–256); colours of any other (at most these).

    Raises:
        ValueError: when `image` is something else, or `levels` is out of range.
    """
    if not 2 <= levels <= 256:
        raise ValueError(f"levels must be from 2 to 256, not {levels}")
    if isinstance(image, bytes):
        return image, Image.open(io.BytesIO(image)).width
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 2:
        picture = _grey_palette(image, levels)
    elif isinstance(image, Figure):
        picture = _rgb_of_figure(image).quantize(levels)
    elif isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.shape[2:] == (3,):
        picture = Image.fromarray(image).quantize(levels)
    else:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image)
        raise ValueError(
            f"image must be uint8 (H, W) or (H, W, 3), a Figure, or PNG bytes, not {got}"
        )
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue(), picture.width


def _grey_palette(image: np.ndarray, levels: int) -> Image.Image:
    indices = np.rint(image * ((levels - 1) / 255)).astype(np.uint8)
    picture = Image.fromarray(indices).convert("L")
    picture = Image.frombytes("P", picture.size, picture.tobytes())
    greys = np.rint(np.linspace(0, 255, levels)).astype(int)
    picture.putpalette([int(grey) for grey in greys for _ in range(3)])
    return picture


def check_alt(alt: str) -> None:
    """Raise ValueError when `alt` says nothing."""
    if not alt.strip():
        raise ValueError(f"alt must say what the picture shows, not {alt!r}")


def picture_html(image: Any, alt: str, width: int | None = None, levels: int = 64) -> str:
    """Return an `<img>` element with its picture inside, its `alt` text, and its width on the page.

    Args:
        image: as for `png_bytes`.
        alt: what the picture shows, in words.
        width: in CSS pixels; by default a figure keeps its size and an image is enlarged by the
            largest whole factor that stays within 480, its pixels kept square.
        levels: as for `png_bytes`.
    """
    check_alt(alt)
    data, pixels = png_bytes(image, levels)
    if width is None:
        enlarge = isinstance(image, np.ndarray)
        width = pixels * max(1, PICTURE_WIDTH // pixels) if enlarge else pixels
    kind = "gahb-picture" if isinstance(image, Figure) else "gahb-picture gahb-pixels"
    # the style is repeated inline for JupyterLab, which does not load the book's style sheet
    style = f"width:{width + 16}px;max-width:100%;padding:8px;background:#fff;border-radius:6px"
    if not isinstance(image, Figure):
        style += ";image-rendering:pixelated"
    source = base64.b64encode(data).decode()
    return (
        f'<img class="{kind}" alt="{html.escape(alt)}" style="{style}" '
        f'src="data:image/png;base64,{source}">'
    )


def show_figure(figure: Any, alt: str, width: int | None = None, levels: int = 64) -> HTML:
    """Return a static picture for the page, with its `alt` text; as for `picture_html`."""
    return HTML(picture_html(figure, alt, width, levels))
