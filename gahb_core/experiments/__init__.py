"""Experiments: the book's questions, asked of any denoiser, each one function.

`basis` and `denoising` take a denoiser f(y, sigma) and noisy or clean images; `generalization` and
`transition` two denoisers, trained on different images; `memorization` samples and training images,
wherever they come from; `inverse` a denoiser and linear measurements. Each returns a documented
NamedTuple: its numbers come with an interval, and the interval says over what.
"""

from gahb_core.experiments.curves import Denoising, Generalization, denoising, generalization
from gahb_core.experiments.intervals import Interval, bootstrap_mean, wilson
from gahb_core.experiments.inverses import Inverse, inverse
from gahb_core.experiments.local_basis import Basis, basis, spread_pixels
from gahb_core.experiments.memory import (
    KINDS,
    Memorization,
    Transition,
    compare_samples,
    memorization,
    transition,
)
