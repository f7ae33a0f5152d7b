"""Where a live ascent begins: a draw of the Gaussian fitted to training images, plus noise of 1."""

import base64
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from gahb_book.plots import to_uint8
from gahb_core.checks import check_images
from gahb_core.metrics.frechet import fit_pca
from gahb_core.noise import sample_normal


class FittedStart(NamedTuple):
    """A Gaussian of images: `mean` (1, 1, S, S), and `patterns` (K, 1, S, S) that it varies along.

    A draw is the mean plus every pattern times a standard normal number: a principal axis, as long
    as its standard deviation.
    """

    mean: Tensor
    patterns: Tensor


def fit_start(x: Tensor, num: int = 64) -> FittedStart:
    """Return the Gaussian with the mean of `x` (N, 1, S, S) and its `num` widest principal axes.

    What lies beyond them varies little beside the noise of deviation 1 that a start adds: for ten
    thousand garments and 64 axes by less than a tenth of its variance along any axis.

    Raises:
        ValueError: where `x` are not images, or `num` not in 1 … min(N − 1, S²).
    """
    check_images(x, "x")
    pca = fit_pca(x, num)
    patterns = (pca.axes * pca.variances.clamp(min=0).sqrt()).T
    return FittedStart(
        pca.mean.reshape(1, *x.shape[1:]).float(), patterns.reshape(-1, *x.shape[1:]).float()
    )


def draw_blur(fit: FittedStart, seed: int = 0) -> Tensor:
    """Return a draw of the Gaussian, (1, 1, S, S), without the noise that a start adds."""
    weights = sample_normal((len(fit.patterns), 1, 1, 1), seed, key="blur").to(fit.mean)
    return fit.mean + (weights * fit.patterns).sum(0, keepdim=True)


def encode_start(fit: FittedStart) -> dict[str, Any]:
    """Return the Gaussian for the scripts: a byte a pixel, and the step of each pattern's bytes."""
    flat = fit.patterns.flatten(1).numpy()
    steps = np.maximum(np.abs(flat).max(1), 1e-12) / 127
    whole = np.rint(flat / steps[:, None]).astype(np.int8)
    return {
        "mean": base64.b64encode(to_uint8(fit.mean).tobytes()).decode(),
        "patterns": base64.b64encode(whole.tobytes()).decode(),
        "steps": [float(f"{step:.4g}") for step in steps],
    }
