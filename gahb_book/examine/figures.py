"""The figures of an examination: each draws what was measured, and says how to read it."""

from collections.abc import Callable
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Plot

from gahb_book import plots
from gahb_book.examine.measure import Examination

SIZE = (5.2, 3.2)


class Figure(NamedTuple):
    """A figure of the report.

    Attributes:
        name: of its file and anchor.
        title: its question.
        text: how to read it.
        needs: the arrays without which it is left out.
        draw: an examination → the plot.
    """

    name: str
    title: str
    text: str
    needs: tuple[str, ...]
    draw: Callable[[Examination], Plot]


def _grey(x: np.ndarray) -> np.ndarray:
    return plots.to_array(plots.to_grey(torch.from_numpy(x.astype(np.float32))))


def _sheet(x: np.ndarray, columns: int) -> Plot:
    rows, aspect = -(-len(x) // columns), x.shape[-2] / x.shape[-1]
    fig, ax = plt.subplots(figsize=(SIZE[0], SIZE[0] / columns * rows * aspect + 0.1))
    plots.plot_images(x, ax, columns=columns)
    return fig


def _draw_denoised(ex: Examination) -> Plot:
    shown = np.stack([ex.arrays[n] for n in ("x", "y", "x_hat")])
    fig, ax = plt.subplots(figsize=(SIZE[0], SIZE[0] / 3 + 0.3))
    titles = ["x", f"y, σ = {ex.numbers['sigma']:g}", "f(y)"]
    plots.plot_images(shown, ax, titles)
    return fig


def _draw_curve(ex: Examination) -> Plot:
    levels = ex.arrays["sigmas"]
    psnr_in, out = -20 * np.log10(levels), ex.arrays["psnr"]
    fig, ax = plt.subplots(figsize=SIZE)
    spread = 2 * out.std(0, ddof=min(1, len(out) - 1)) / len(out) ** 0.5
    ax.fill_between(psnr_in, out.mean(0) - spread, out.mean(0) + spread, alpha=0.2, linewidth=0)
    plots.plot_psnr(psnr_in, {"f(y)": out.mean(0)}, ax)
    return fig


def _name_levels(ax: Axes, levels: np.ndarray) -> None:
    """Write the levels themselves on the axis, and no powers of ten between them."""
    ax.set_xticks(levels, [f"{s:g}" for s in levels.round(4)], rotation=45)
    ax.minorticks_off()


def _draw_level(ex: Examination) -> Plot:
    levels = ex.arrays["sigmas"]
    fig, ax = plt.subplots(figsize=SIZE)
    known = np.sqrt(np.clip(levels**2 - ex.arrays["mse"].mean(0), 1e-9, None))
    ax.plot(levels, ex.arrays["sigma_hat"].mean(0) / levels, marker="o", label="‖y − f(y)‖ / √D")
    ax.plot(levels, known / levels, "--", color=plots.GREY, label="√(σ² − MSE)")
    ax.axhline(1, color="black", linewidth=0.6)
    ax.set(xscale="log", xlabel="σ", ylabel="share of σ", ylim=(0, None))
    _name_levels(ax, levels)
    ax.legend()
    return fig


def _draw_sure(ex: Examination) -> Plot:
    levels = ex.arrays["sigmas"]
    fig, ax = plt.subplots(figsize=SIZE)
    for key, label in (("mse", "error"), ("sure", "SURE, from y alone")):
        mean = np.clip(ex.arrays[key].mean(0), 1e-9, None)
        ax.plot(levels, mean, marker="o", label=label, linestyle="-" if key == "mse" else "--")
    ax.set(xscale="log", yscale="log", xlabel="σ", ylabel="squared error per pixel")
    _name_levels(ax, levels)
    ax.legend()
    return fig


def _draw_factors(ex: Examination) -> Plot:
    fig, ax = plt.subplots(figsize=SIZE)
    k = np.arange(1, len(ex.arrays["lam"]) + 1)
    ax.plot(k, ex.arrays["lam"], marker="o", label="eigenvalue of (J + Jᵀ)/2")
    ax.plot(k, ex.arrays["s"], marker=".", linestyle="--", label="singular value of J")
    ax.axhline(1, color="black", linewidth=0.6)
    ax.set(xlabel="k", ylabel="factor", ylim=(min(0, float(ex.arrays["lam"].min())), None))
    ax.legend()
    return fig


def _draw_svd(ex: Examination) -> Plot:
    num = len(ex.arrays["u"])
    parts = [ex.arrays["atoms"][:num], ex.arrays["u"], ex.arrays["v"]]
    signs = [np.sign((p * ex.arrays["v"]).sum((1, 2, 3)))[:, None, None, None] for p in parts]
    rows = np.concatenate(
        [_grey(p * np.where(s == 0, 1, s)) for p, s in zip(parts, signs, strict=True)]
    )
    fig, ax = plt.subplots(figsize=(SIZE[0], SIZE[0] / (num + 1) * 3 + 0.3))
    cosines = [f"{c:.2f}" for c in ex.arrays["alignment"][:num]]
    plots.plot_images(rows, ax, [*cosines, *[""] * 2 * num], columns=num)
    step = 0.06 + rows.shape[-2] / rows.shape[-1]
    for i, name in enumerate(("e", "u", "v")):
        ax.text(-0.1, 0.22 + step * (i + 0.5), name, ha="right", va="center")
    return fig


def _draw_copies(ex: Examination) -> Plot:
    fig, ax = plt.subplots(figsize=SIZE)
    ax.ecdf(ex.arrays["similarity"], label="samples")
    if "null" in ex.arrays:
        ax.ecdf(ex.arrays["null"], color=plots.GREY, linestyle="--", label="held-out images")
        ax.axvline(ex.numbers["memorization"]["threshold"], color="black", linewidth=0.6)
    ax.set(xlabel="correlation with the nearest training image", ylabel="share of all")
    ax.legend()
    return fig


def _draw_nearest(ex: Examination) -> Plot:
    few = min(8, len(ex.arrays["samples"]), len(ex.arrays["nearest"]))
    both = np.concatenate([ex.arrays["samples"][:few], ex.arrays["nearest"][:few]])
    return _sheet(both, few)


FIGURES = (
    Figure(
        "denoised", "What does it do to one image?",
        "A clean image, with noise, and the estimate. What follows at one image is of this one.",
        ("x", "y", "x_hat"), _draw_denoised,
    ),
    Figure(
        "curve", "How well does it denoise?",
        "PSNR of the estimate against PSNR of the noisy image, mean over images and two standard "
        "errors. Below the dotted line it does harm. A memorizer is far above on what it was "
        "trained on, and below on these.",
        ("psnr",), _draw_curve,
    ),
    Figure(
        "level", "Does it know the noise?",
        "The part of y that it removes, as a share of σ. A denoiser that knows the level follows "
        "the dashed line, just below 1. Far off at every level: wrong units of σ or of images. Off "
        "at one end: it was not trained there.",
        ("sigma_hat",), _draw_level,
    ),
    Figure(
        "sure", "Is its derivative its own?",
        "Stein's estimate of the error uses the trace of J in place of the clean image. Where the "
        "two part, the derivative is not that of f, or σ is not what it is said to be.",
        ("sure",), _draw_sure,
    ),
    Figure(
        "basis", "In which basis does it shrink?",
        "Eigenvectors of the symmetric part of J, largest factor first, each on its own grey "
        "scale. Harmonics along contours and in regions: it has adapted to this image. The same "
        "for every image: a fixed basis, such as a linear filter's.",
        ("atoms",), lambda ex: _sheet(_grey(ex.arrays["atoms"]), 5),
    ),
    Figure(
        "factors", "How much does it keep of each?",
        "Shrinkage factors. An exact posterior mean has none below 0, and both curves are one.",
        ("lam", "s"), _draw_factors,
    ),
    Figure(
        "svd", "Is J symmetric where it counts?",
        "Eigenvectors e of the symmetric part, left (u) and right (v) singular vectors; above, "
        "|⟨u, v⟩|: 1 where what is read is what is written.",
        ("u", "v", "atoms"), _draw_svd,
    ),
    Figure(
        "filters", "What does one pixel look at?",
        "Rows of J: the weights with which eight pixels of the estimate see the noisy image.",
        ("filters",), lambda ex: _sheet(_grey(ex.arrays["filters"]), 4),
    ),
    Figure(
        "samples", "What does it hold for an image?",
        "Samples: coarse-to-fine ascent with this denoiser, uncurated, or those that were given.",
        ("samples",), lambda ex: _sheet(ex.arrays["samples"], 8),
    ),
    Figure(
        "copies", "Are they copies?",
        "Similarity of samples to the nearest training image, beside the same of images that it "
        "never saw. Only what lies to the right of the dashed curve speaks of copies.",
        ("similarity",), _draw_copies,
    ),
    Figure(
        "nearest", "Which images are they nearest to?",
        "Above: samples. Below: the nearest training image of each.",
        ("samples", "nearest"), _draw_nearest,
    ),
)  # fmt: skip
