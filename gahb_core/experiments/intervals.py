"""Intervals: of a fraction, and of a mean over independent things."""

import math
from statistics import NormalDist
from typing import NamedTuple

import torch
from torch import Tensor

from gahb_core.checks import check_count, check_finite, check_number
from gahb_core.noise import make_generator


class Interval(NamedTuple):
    """A value, the ends of its interval, and over how many independent things it was taken."""

    value: float
    low: float
    high: float
    num: int

    def __str__(self) -> str:
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g}, n = {self.num})"


def wilson(count: int, num: int, level: float = 0.95) -> Interval:
    """Return the fraction `count` of `num` and its score interval (Wilson 1927).

    >>> print(wilson(0, 20))
    0 (0 to 0.161, n = 20)

    Raises:
        ValueError: where `count` is not in 0 … `num`, or `level` not between 0 and 1.
    """
    num = check_count(num, "num")
    count = check_count(count, "count", 0, num)
    level = check_number(level, "level", above=0, below=1)
    z2, share = NormalDist().inv_cdf((1 + level) / 2) ** 2, count / num
    centre = (share + z2 / (2 * num)) / (1 + z2 / num)
    half = math.sqrt(z2 * (share * (1 - share) / num + z2 / (4 * num**2))) / (1 + z2 / num)
    low = 0.0 if count == 0 else centre - half  # exact, where rounding would leave a trace
    return Interval(share, low, 1.0 if count == num else centre + half, num)


def bootstrap_mean(
    values: Tensor, *, level: float = 0.95, num_bootstrap: int = 2000, seed: int = 0
) -> Interval:
    """Return the mean of `values` (N,) and its percentile interval over resampled sets of N.

    Raises:
        ValueError: where `values` is not a row of finite numbers, or an option out of range.
    """
    values = check_finite(values, "values").detach().cpu().double()
    if values.ndim != 1 or not len(values):
        raise ValueError(f"values must be of shape (N,), N ≥ 1, not {tuple(values.shape)}")
    level = check_number(level, "level", above=0, below=1)
    shape = (check_count(num_bootstrap, "num_bootstrap", 2), len(values))
    generator = make_generator(seed, "bootstrap")
    means = values[torch.randint(len(values), shape, generator=generator, device="cpu")].mean(1)
    ends = means.new_tensor([(1 - level) / 2, (1 + level) / 2])
    low, high = means.quantile(ends).tolist()
    return Interval(float(values.mean()), low, high, len(values))
