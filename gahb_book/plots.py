"""Figures: `plot_*(data, ax)` draws what it is given and returns the Axes; it computes nothing.

Every function takes data that is ready to be drawn and leaves it unchanged. Names of curves are the
keys of a mapping. Call `use_style()` once at the top of a chapter.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes

STYLE = Path(__file__).parent / "style" / "gahb.mplstyle"
TEXT_WIDTH = 6.4
GREY = "#808080"
LINES = ("-", "--", ":")  # of the first seven curves of a panel, of the next seven, and of the rest
Curves = Mapping[str, tuple[Any, Any]]


def use_style() -> None:
    """Make the book's style sheet the one of every later figure, and float32 whole on a GPU.

    A GPU would round the float32 of convolutions to ten bits, and identities that the chapters
    assert would hold to 1e-3 only. Training allows it, where it is only noise.
    """
    plt.style.use(STYLE)
    torch.backends.cudnn.allow_tf32 = False


def figure_size(columns: int = 1, aspect: float = 0.62, rows: int = 1) -> tuple[float, float]:
    """Return (width, height) in inches of a figure of rows × columns panels, as wide as the text.

    Args:
        columns: panels side by side.
        aspect: height over width of one panel.
        rows: rows of panels.
    """
    if columns < 1 or rows < 1:
        raise ValueError(f"columns and rows must be at least 1, not {columns} and {rows}")
    return TEXT_WIDTH, TEXT_WIDTH / columns * aspect * rows


def to_array(x: Any) -> np.ndarray:
    """Return `x` (a tensor on any device, an array, a sequence) as a NumPy array on the CPU."""
    return np.asarray(x.detach().cpu() if hasattr(x, "detach") else x)


def to_images(x: Any, name: str = "x") -> np.ndarray:
    """Return `x` as an array (N, H, W), or (N, H, W, 3) where it is in colour.

    Args:
        x: grey (N, 1, H, W), (N, H, W) or (H, W), or colour (N, 3, H, W).
        name: of the argument, for the message.

    Raises:
        ValueError: when the shape is none of these.
    """
    images = to_array(x)
    shape = images.shape
    if images.ndim == 4 and shape[1] == 3 and 0 not in shape:
        return images.transpose(0, 2, 3, 1)
    images = images[:, 0] if images.ndim == 4 and shape[1] == 1 else images
    images = images[None] if images.ndim == 2 else images
    if images.ndim != 3 or 0 in images.shape:
        raise ValueError(
            f"{name} must have shape (N, 1, H, W), (N, 3, H, W), (N, H, W) or (H, W), not {shape}"
        )
    return images


def to_grey(x: Any) -> Any:
    """Return images (..., C, H, W), each on its own scale: zero is ½, the largest 1% clipped."""
    size = abs(x).flatten(-3)
    most = size.sort(-1).values[..., int(0.99 * (size.shape[-1] - 1))].maximum(size.amax(-1) / 4)
    return (0.5 + 0.5 * x / most[..., None, None, None]).clip(0, 1)


def to_uint8(x: Any, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Return `x` as bytes, `low` black (0) and `high` white (255), clipped beyond; same shape."""
    if not high > low:
        raise ValueError(f"high must be above low, not {high} with low {low}")
    return np.rint(np.interp(to_array(x).astype(float), (low, high), (0, 255))).astype(np.uint8)


def image_grid(
    x: Any,
    columns: int | None = None,
    *,
    scale: int = 1,
    low: float = 0.0,
    high: float = 1.0,
    gap: int = 1,
) -> np.ndarray:
    """Return the images side by side as one uint8 picture, with thin white lines between them.

    Args:
        x: images, as `to_images` takes them.
        columns: images in a row; by default all in one row.
        scale: each pixel becomes scale × scale pixels (a page does this by CSS instead).
        low: the value drawn black.
        high: the value drawn white.
        gap: width of the lines, in pixels of the images.
    """
    images = to_uint8(to_images(x), low, high)
    num, height, width = images.shape[:3]
    columns = num if columns is None else columns
    if columns < 1 or scale < 1:
        raise ValueError(f"columns and scale must be at least 1, not {columns} and {scale}")
    rows = -(-num // columns)
    shape = (rows * (height + gap) - gap, columns * (width + gap) - gap, *images.shape[3:])
    picture = np.full(shape, 255, np.uint8)
    for i, image in enumerate(images):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        picture[top : top + height, left : left + width] = image
    return picture.repeat(scale, axis=0).repeat(scale, axis=1)


def _bare(ax: Axes) -> Axes:
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set_visible(False)
    return ax


def _legend(ax: Axes) -> None:
    """Place the legend to the right of the axes, where it hides no data."""
    if ax.get_legend_handles_labels()[1]:
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _check_curves(curves: Mapping[str, Any], name: str = "curves") -> None:
    if not curves:
        raise ValueError(f"{name} must name at least one curve, not {curves!r}")


def _draw(ax: Axes, curves: Mapping[str, Any], x: Any = None, **style: Any) -> None:
    """Draw name → values against `x`, or name → (x, values); the eighth begins anew, dashed."""
    _check_curves(curves)
    for i, (name, values) in enumerate(curves.items()):
        both = values if x is None else (x, values)
        dash = LINES[min(i // len(plt.rcParams["axes.prop_cycle"]), len(LINES) - 1)]
        ax.plot(*map(to_array, both), linestyle=dash, label=name, **style)


def _row_tops(titles: Sequence[str], columns: int, height: float) -> tuple[list[float], float]:
    """Return the top of each row of pictures, with room above for titles, and the lower end."""
    tops, end = [], 0.0
    for i in range(0, len(titles), columns):
        tops.append(end + (0.22 if any(titles[i : i + columns]) else 0.0))
        end = tops[-1] + height + 0.06
    return tops, end


def plot_images(
    x: Any,
    ax: Axes,
    titles: Sequence[str] | None = None,
    *,
    columns: int | None = None,
    low: float = 0.0,
    high: float = 1.0,
) -> Axes:
    """Draw images in rows, each under its title, all on one grey scale from `low` to `high`.

    Args:
        x: images, as `to_images` takes them.
        ax: the Axes that holds them all.
        titles: one a picture, or None.
        columns: images in a row; by default all in one row.
        low: the value drawn black.
        high: the value drawn white.
    """
    images = to_images(x)
    num, height, width = images.shape[:3]
    images = images if images.ndim == 3 else to_uint8(images, low, high)
    if titles is not None and len(titles) != num:
        raise ValueError(f"titles must be one an image ({num}), not {len(titles)}")
    columns, titles = columns or num, titles or [""] * num
    tops, bottom = _row_tops(titles, columns, height / width)
    for i, image in enumerate(images):
        left, top = (i % columns) * 1.06, tops[i // columns]
        extent = (left, left + 1, top + height / width, top)
        ax.imshow(image, cmap="gray", vmin=low, vmax=high, extent=extent)
        if titles[i]:
            ax.text(left + 0.5, top - 0.03, titles[i], ha="center", va="bottom", fontsize="small")
    ax.set_xlim(-0.02, min(columns, num) * 1.06 - 0.04)
    ax.set_ylim(bottom, 0)
    ax.set_aspect("equal")
    return _bare(ax)


def plot_sheet(
    x: Any, ax: Axes, *, columns: int = 8, low: float = 0.0, high: float = 1.0, title: str = ""
) -> Axes:
    """Draw a contact sheet of many images, `columns` in a row."""
    ax.imshow(image_grid(x, columns, low=low, high=high), cmap="gray", vmin=0, vmax=255)
    ax.set_title(title)
    return _bare(ax)


def plot_psnr(
    psnr_in: Any, curves: Mapping[str, Any], ax: Axes, *, identity: bool = True, title: str = ""
) -> Axes:
    """Draw the PSNR of estimates against the PSNR of their noisy images, both in dB.

    Args:
        psnr_in: (K,) dB.
        curves: name → (K,) dB.
        ax: where to draw.
        identity: whether to draw the line of the estimate that returns the noisy image.
        title: of the panel.
    """
    psnr_in = to_array(psnr_in)
    _draw(ax, curves, psnr_in, marker="o")
    if identity:
        ax.plot(psnr_in, psnr_in, color=GREY, linestyle=":", label="no denoising")
    ax.set(xlabel="PSNR of y (dB)", ylabel="PSNR of the estimate (dB)", title=title)
    _legend(ax)
    return ax


def plot_density_1d(
    x: Any,
    curves: Mapping[str, Any],
    ax: Axes,
    *,
    xlabel: str = "y",
    ylabel: str = "density",
    points: Any | None = None,
) -> Axes:
    """Draw functions of one variable (densities, scores, estimates) against `x` (M,).

    Args:
        x: (M,).
        curves: name → (M,).
        ax: where to draw.
        xlabel: of the axis, with its unit.
        ylabel: of the axis, with its unit.
        points: samples (N,) marked along the foot of the panel, or None.
    """
    _draw(ax, curves, x)
    if points is not None:
        ax.plot(to_array(points), 0 * to_array(points), "k|", markersize=10, label="samples")
    ax.set(xlabel=xlabel, ylabel=ylabel)
    _legend(ax)
    return ax


def plot_score_field(
    grid: Any, density: Any, score: Any, ax: Axes, *, stride: int = 1, points: Any | None = None
) -> Axes:
    """Draw a score field as arrows over its density in the plane.

    Args:
        grid: (M,), the values of both coordinates.
        density: (M, M), rows along y₂ and columns along y₁.
        score: (M, M, 2), the components along y₁ and y₂; arrow lengths are as drawn by quiver.
        ax: where to draw.
        stride: draw every stride-th arrow in each direction.
        points: (N, 2) marked in the plane, or None.
    """
    grid, density, score = to_array(grid), to_array(density), to_array(score)
    if density.shape != (len(grid),) * 2 or score.shape != (*density.shape, 2):
        shapes = f"(M, M) and (M, M, 2), not {density.shape} and {score.shape}"
        raise ValueError(f"density and score must be {shapes}")
    ax.contourf(grid, grid, density, levels=12, cmap="Blues")
    at = slice(stride // 2, None, stride)
    ax.quiver(grid[at], grid[at], score[at, at, 0], score[at, at, 1], color="#303030", pivot="mid")
    if points is not None:
        ax.plot(*to_array(points).T, "o", color="#D55E00", label="data")
    ax.set(xlabel="$y_1$", ylabel="$y_2$", aspect="equal")
    ax.grid(False)
    _legend(ax)
    return ax


def plot_trajectory(curves: Mapping[str, Any], ax: Axes, title: str = "") -> Axes:
    """Draw the estimated noise level of the sampler, name → (T,), against the iteration."""
    _draw(ax, {name: (np.arange(len(v)), v) for name, v in curves.items()})
    ax.set(xlabel="iteration", ylabel=r"$\hat\sigma$ (image units)", yscale="log", title=title)
    _legend(ax)
    return ax


def plot_training(curves: Curves, ax: Axes, ylabel: str = "training loss") -> Axes:
    """Draw training curves, name → (images seen, loss), on logarithmic axes."""
    _draw(ax, curves)
    ax.set(xlabel="images seen", ylabel=ylabel, xscale="log", yscale="log")
    _legend(ax)
    return ax


def plot_spectrum(
    curves: Mapping[str, Any],
    ax: Axes,
    *,
    ylabel: str = r"shrinkage factor $\lambda_k$",
    log: bool = False,
    title: str = "",
) -> Axes:
    """Draw shrinkage factors or coefficients, name → (K,), against k = 1 … K.

    Args:
        curves: name → (K,); in the order given, not sorted here.
        ax: where to draw.
        ylabel: what the values are, for instance "|⟨x, e_k⟩|".
        log: whether both axes are logarithmic.
        title: of the panel.
    """
    _draw(ax, {name: (np.arange(1, len(v) + 1), v) for name, v in curves.items()})
    scale = "log" if log else "linear"
    ax.set(xlabel="$k$", ylabel=ylabel, xscale=scale, yscale=scale, title=title)
    _legend(ax)
    return ax


def plot_histograms(
    samples: Mapping[str, Any],
    ax: Axes,
    xlabel: str,
    *,
    bins: int | Sequence[float] = 30,
    title: str = "",
) -> Axes:
    """Draw the histograms of several sets of numbers, name → (N,), on common bins.

    Args:
        samples: name → (N,).
        ax: where to draw.
        xlabel: what is counted, with its unit.
        bins: how many, or their edges.
        title: of the panel.
    """
    _check_curves(samples, "samples")
    every = np.concatenate([to_array(v) for v in samples.values()])
    edges = np.histogram_bin_edges(every, bins).tolist()
    for i, (k, v) in enumerate(samples.items()):  # outlines: where sets overlap, all show
        ax.hist(to_array(v), edges, histtype="stepfilled", ec=f"C{i}", fc=(f"C{i}", 0.15), label=k)
    ax.set(xlabel=xlabel, ylabel="count", title=title)
    _legend(ax)
    return ax
