"""Live figures in closed form, without a network: chapter 1 on the line, and the plane."""

from typing import Any

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from gahb_book.browser.figure import explore_network
from gahb_book.plots import use_style
from gahb_core.denoisers.empirical import empirical_denoiser
from gahb_core.sampling.ascent import ascend

_LINE = {"weights": [0.4, 0.35, 0.25], "means": [0.2, 0.5, 0.85], "deviations": [0.03, 0.08, 0.04]}
_BLUE, _ORANGE, _GREEN = "#0072B2", "#D55E00", "#009E73"


def mixture_posterior(
    y: float, sigma: float, weights: list, means: list, deviations: list
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return weights, means and deviations of x given y = x + σz, for a mixture on the line."""
    w, m, v = np.array(weights), np.array(means), np.array(deviations) ** 2
    raw = w * _normal(y, m, v + sigma**2)
    return (
        raw / raw.sum(),
        (v * y + sigma**2 * m) / (v + sigma**2),
        np.sqrt(v * sigma**2 / (v + sigma**2)),
    )


def _normal(x: Any, mean: Any, variance: Any) -> Any:
    return np.exp(-((x - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)


def _density(x: np.ndarray, weights: Any, means: Any, deviations: Any) -> np.ndarray:
    return sum(w * _normal(x, m, s**2) for w, m, s in zip(weights, means, deviations, strict=True))


def _line(
    alt: str, caption: str, prior: dict[str, list], y: float, sigma: float, **more: Any
) -> Any:
    """Return the figure of a mixture on the line, with what `more` tells the script."""
    use_style()
    after, (low, high) = mixture_posterior(y, sigma, **prior), more["range"]
    x, mean = np.linspace(low, high, 400), float(after[0] @ after[1])
    fig, ax = plt.subplots(figsize=(6.4, 3.4))
    ax.plot(x, _density(x, *prior.values()), "--", color="0.5", label="p(x)")
    wide = [np.hypot(s, sigma) for s in prior["deviations"]]
    ax.plot(x, _density(x, prior["weights"], prior["means"], wide), color=_BLUE, label="p(y)")
    ax.plot(x, _density(x, *after), color=_ORANGE, label="p(x | y)")
    foot = 0.05 * more["high"]
    ax.annotate("", (mean, foot), (y, foot), arrowprops={"arrowstyle": "->", "color": _GREEN})
    ax.plot(y, foot, "o", color=_BLUE)
    ax.set(xlabel="x, y", ylabel="density", ylim=(0, more["high"]))
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    data = prior | {"y": y, "sigma": sigma} | more
    return explore_network(
        "line", [], fig, alt=alt, caption=caption, data=data, note="In closed form, as you drag."
    )


def explore_line(y: float = 0.05, sigma: float = 0.15) -> Any:
    """Return the figure of chapter 1: drag y, and see the posterior, its mean and the score."""
    caption = (
        "Drag y along the line. Dashed: the density of x; blue: that of y; orange: that of x once "
        "y is seen. The mean of the orange curve is f*(y), the end of the green arrow: as long as "
        "σ² times the slope of the logarithm of the blue curve at y."
    )
    alt = "Three densities on a line: of x, of y, and of x given y; an arrow goes from y to f*(y)."
    more = {"range": [-0.3, 1.3], "high": 6, "ticks": [0, 2, 4, 6]}
    more["sigmas"] = [0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5]
    return _line(alt, caption, _LINE, y, sigma, **more)


def explore_peaks(distance: float = 3.0, sigma: float = 0.7, y: float = 0.4) -> Any:
    """Return the figure of two equal peaks, whose distance a reader chooses as well."""
    prior = {
        "weights": [0.5, 0.5],
        "means": [-distance / 2, distance / 2],
        "deviations": [0.3, 0.3],
    }
    caption = (
        "Two equal peaks. With little noise the posterior is at one of them, and f* jumps between "
        "them as y crosses the middle; with much noise it has both peaks, and f*(y) is a value "
        "that x hardly ever has."
    )
    alt = "Two equal peaks, their blurred density, the posterior with both; an arrow to f*(y)."
    more = {"range": [-4, 4], "high": 1.6, "ticks": [0, 0.5, 1, 1.5]}
    more["sigmas"] = [0.05, 0.12, 0.2, 0.3, 0.45, 0.7, 1.0, 1.5, 2.2, 3.2]
    more["distances"] = [0.5, 1.0, 2.0, 3.0, 4.0, 6.0]
    return _line(alt, caption, prior, y, sigma, **more)


def _draw_way(points: torch.Tensor, start: list[float], ax: Axes) -> None:
    way: dict[str, Any] = {"h": 0.05, "beta": 0.3, "sigma_end": 0.05, "sigma_0": 1.0, "ramp": False}
    steps = ascend(empirical_denoiser(points), torch.tensor([start]), seed=1, **way)
    track = np.array([step.y[0].numpy() for step in steps])
    ax.plot(*points.T, "o" if len(points) < 10 else "-", color=_ORANGE)
    ax.plot(*track.T, color=_BLUE, linewidth=0.8)
    ax.plot(*track[-1], "o", color=_GREEN)
    ax.set(xlim=(-2, 2), ylim=(-2, 2), aspect="equal")


def explore_plane(start: tuple[float, float] = (0.4, -1.4)) -> Any:
    """Return the figure of the plane: a point ascends to one of eight points, or to their ring."""
    use_style()
    fig, axes = plt.subplots(1, 2, figsize=(6.4, 3.3))
    for num, name, ax in zip((8, 512), ("eight points", "the ring"), axes, strict=True):
        angle = 2 * torch.pi * torch.arange(num + (num > 8)) / num
        _draw_way(torch.stack([angle.cos(), angle.sin()], 1), list(start), ax)
        ax.set_title(name)
    data = {
        "radius": 1, "start": list(start), "beta": 0.3, "h": 0.05, "sigmaEnd": 0.05,
        "betas": [0.05, 0.1, 0.3, 0.5, 1.0], "hs": [0.01, 0.02, 0.05, 0.1, 0.3],
        "ends": [0.02, 0.05, 0.1, 0.2],
    }  # fmt: skip
    caption = (
        "Drop a point. From it two ascents start with the same noise: left by the exact denoiser "
        "of eight points, which ends at one of them; right by that of the ring they lie on, which "
        "ends anywhere on it: memorizing, and a continuous model, in two dimensions."
    )
    alt = "A point ascends by a noisy way to one of eight points; beside it, another to a ring."
    return explore_network(
        "plane", [], fig, alt=alt, caption=caption, data=data, note="In closed form, as you look."
    )
