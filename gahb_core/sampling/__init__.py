"""Sampling: coarse-to-fine stochastic gradient ascent, free or constrained by measurements."""

from gahb_core.denoisers.contract import estimate_sigma
from gahb_core.sampling.ascent import (
    DivergedError,
    Samples,
    Step,
    ascend,
    drain,
    sample,
    sigma_schedule,
    step_size,
)
from gahb_core.sampling.measurements import (
    Blur,
    Measurement,
    constrain,
    measure_blocks,
    measure_blur,
    measure_low_frequencies,
    measure_pair,
    measure_pixels,
    measure_random,
    sample_constrained,
)

__all__ = [
    "Blur",
    "DivergedError",
    "Measurement",
    "Samples",
    "Step",
    "ascend",
    "constrain",
    "drain",
    "estimate_sigma",
    "measure_blocks",
    "measure_blur",
    "measure_low_frequencies",
    "measure_pair",
    "measure_pixels",
    "measure_random",
    "sample",
    "sample_constrained",
    "sigma_schedule",
    "step_size",
]
