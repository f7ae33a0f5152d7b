"""Pictures for a page: small palette PNGs inside an `<img>` that says what it shows."""

import base64
import html
import io
import math
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from gahb_book.widgets.page import figure_html

MAX_HEIGHT = 480  # CSS pixels of an enlarged image that is as wide as the text
SMALLEST_LABEL = 9  # CSS pixels: a figure on a narrow screen scrolls rather than shrink below it
PADDING = 8  # of the white card around a picture
BAND = 4  # pixels of white that a cropped figure keeps above and below
COLOURED = 16  # of 255: apart by more than this, a pixel's red, green and blue are a colour


def _without_bands(picture: Image.Image, margin: int) -> Image.Image:
    """Return the picture without the white bands above and below, but for a margin."""
    rows = np.flatnonzero((np.asarray(picture) < 255).any((1, 2)))
    if not len(rows):
        return picture
    top, bottom = max(0, rows[0] - margin), min(picture.height, rows[-1] + 1 + margin)
    return picture.crop((0, int(top), picture.width, int(bottom)))


def _rgb_of_figure(figure: Figure, scale: float, cropped: bool = False) -> Image.Image:
    """Return the drawn figure, and take it out of pyplot, which would show it a second time."""
    own, dpi = plt.rcParams["savefig.dpi"], figure.dpi
    canvas = FigureCanvasAgg(figure)  # what `savefig` draws, laid out and drawn once
    figure.set_facecolor("white")
    figure.set_dpi(scale * (dpi if own == "figure" else own))
    canvas.draw()
    picture = Image.fromarray(np.array(canvas.buffer_rgba())).convert("RGB")
    figure.set_dpi(dpi)
    plt.close(figure)
    return _without_bands(picture, round(BAND * scale)) if cropped else picture


def png_bytes(
    image: Any, levels: int = 64, scale: float = 1, *, cropped: bool = False
) -> tuple[bytes, tuple[int, int]]:
    """Return (the bytes of a small palette PNG, its width and height in pixels).

    Args:
        image: uint8 array (H, W) or (H, W, 3), a matplotlib Figure, or the bytes of a PNG (kept).
        levels: greys, evenly spaced (2–256). A picture with colours has as many of these beside
            them, and at least 32.
        scale: pixels of a Figure for each pixel at its own resolution; 2 for crisp print.
        cropped: whether a Figure loses the white bands above and below what is drawn.

    Raises:
        ValueError: when `image` is something else, or `levels` is out of range.
    """
    if not 2 <= levels <= 256:
        raise ValueError(f"levels must be from 2 to 256, not {levels}")
    if isinstance(image, bytes):
        return image, Image.open(io.BytesIO(image)).size
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 2:
        picture = _grey_palette(image, levels)
    elif isinstance(image, Figure):
        picture = _reduce(_rgb_of_figure(image, scale, cropped), levels)
    elif isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.shape[2:] == (3,):
        picture = _reduce(Image.fromarray(image), levels)
    else:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image)
        raise ValueError(
            f"image must be uint8 (H, W) or (H, W, 3), a Figure, or PNG bytes, not {got}"
        )
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue(), picture.size


def _grey_palette(image: np.ndarray, levels: int) -> Image.Image:
    indices = np.rint(image * ((levels - 1) / 255)).astype(np.uint8)
    picture = Image.fromarray(indices).convert("L")
    picture = Image.frombytes("P", picture.size, picture.tobytes())
    greys = np.rint(np.linspace(0, 255, levels)).astype(int)
    picture.putpalette([int(grey) for grey in greys for _ in range(3)])
    return picture


def _colours_of(pixels: np.ndarray, num: int) -> np.ndarray:
    """Return at most `num` colours (M, 3) for coloured `pixels` (N, 3): all, where they are few.

    Each colour counts by the square root of its pixels, so that a small mark keeps its own.
    """
    codes = pixels.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    found, counts = np.unique(codes, return_counts=True)
    colours = (found[:, None] >> np.array([16, 8, 0]) & 255).astype(np.uint8)
    if len(colours) <= num:
        return colours
    weighed = np.repeat(colours, np.ceil(counts**0.5).astype(int), axis=0)
    cut = Image.fromarray(weighed[None]).quantize(num)
    return np.array(cut.getpalette(), np.uint8).reshape(-1, 3)


def _reduce(picture: Image.Image, levels: int) -> Image.Image:
    """Return an RGB picture with some palette entries for its greys and others for its colours.

    One median cut over all pixels spends a small palette on the greys, which are many, and leaves
    a coloured curve or mark grey.
    """
    rgb = np.asarray(picture)
    coloured = np.ptp(rgb, 2) > COLOURED
    if not coloured.any():
        return picture.quantize(levels)
    colours = _colours_of(rgb[coloured], min(max(levels, 32), 128))
    num = min(levels, 128)
    chosen = Image.new("P", (1, 1))
    chosen.putpalette(colours.ravel().tolist())
    indices = np.array(picture.quantize(palette=chosen, dither=Image.Dither.NONE))
    greys = np.rint(rgb.mean(2) * ((num - 1) / 255)).astype(np.uint8) + len(colours)
    reduced = Image.fromarray(np.where(coloured, indices, greys).astype(np.uint8)).convert("L")
    reduced = Image.frombytes("P", reduced.size, reduced.tobytes())
    steps = np.rint(np.linspace(0, 255, num)).astype(np.uint8)
    reduced.putpalette([*colours.ravel().tolist(), *steps.repeat(3).tolist()])
    return reduced


def check_alt(alt: str) -> None:
    """Raise ValueError when `alt` says nothing."""
    if not alt.strip():
        raise ValueError(f"alt must say what the picture shows, not {alt!r}")


def _least_width(figure: Figure, width: float) -> int:
    """Return the CSS width below which the smallest label of a drawn figure is hard to read."""
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    points = min((float(t.get_fontsize()) for t in texts), default=SMALLEST_LABEL)
    label = points / 72 / figure.get_figwidth() * width  # CSS pixels of its text at that width
    return math.ceil(min(width, width * SMALLEST_LABEL / label))


def picture_html(
    image: Any,
    alt: str,
    *,
    width: int | None = None,
    levels: int = 64,
    scale: float = 1,
    cropped: bool = False,
) -> str:
    """Return an `<img>` element with its picture inside, its `alt` text, and its width on the page.

    Args:
        image: as for `png_bytes`.
        alt: what the picture shows, in words.
        width: in CSS pixels, at most that of the text; by default a figure keeps its size, and an
            image is as wide as the text, or 480 pixels high, its pixels kept square.
        levels: as for `png_bytes`.
        scale: as for `png_bytes`.
        cropped: as for `png_bytes`.
    """
    check_alt(alt)
    drawn = isinstance(image, Figure)
    data, (columns, rows) = png_bytes(image, levels, scale if drawn else 1, cropped=cropped)
    if width is None:
        width = round(columns / scale) if drawn else round(columns * max(1, MAX_HEIGHT / rows))
        width = columns if isinstance(image, bytes) else width
    kind = "gahb-picture" if drawn else "gahb-picture gahb-pixels"
    # the style is repeated inline for JupyterLab, which does not load the book's style sheet
    style = f"width:{width + 2 * PADDING}px;max-width:100%;padding:{PADDING}px;background:#fff"
    style += ";height:auto;box-sizing:border-box;border-radius:6px"
    style += (
        f";min-width:{_least_width(image, width) + 2 * PADDING}px"
        if drawn
        else ";image-rendering:pixelated"
    )
    source = base64.b64encode(data).decode()
    return (
        f'<img class="{kind}" alt="{html.escape(alt)}" style="{style}" width="{columns}" '
        f'height="{rows}" decoding="sync" src="data:image/png;base64,{source}">'
    )


def show_figure(
    figure: Any,
    alt: str,
    width: int | None = None,
    *,
    levels: int = 64,
    caption: str | None = None,
) -> HTML:
    """Return a static picture in a `<figure>`, with its `alt` text and its caption.

    Args:
        figure: as for `png_bytes`.
        alt: what the picture shows, in words.
        width: as for `picture_html`.
        levels: as for `png_bytes`.
        caption: a sentence below, which may hold $formulas$; in the book, the paragraph that
            begins with "Figure." and follows becomes part of it.
    """
    picture = picture_html(figure, alt, width=width, levels=levels, scale=2, cropped=True)
    return HTML(figure_html(f'<div class="gahb-frames">{picture}</div>', caption))
