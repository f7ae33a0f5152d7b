"""Sampling: coarse-to-fine stochastic gradient ascent, free or constrained by measurements."""

from gahb_core.denoisers.contract import estimate_sigma
from gahb_core.sampling.ascent import (
    DivergedError,
    Samples,
    Step,
    ascend,
    finish,
    sample,
    sigma_schedule,
    step_size,
)
from gahb_core.sampling.measurements import (
    Blur,
    Measurement,
    constrain,
    measure_block_means,
    measure_blur,
    measure_low_frequencies,
    measure_pixels,
    measure_random,
    measurement_from_functions,
    sample_constrained,
)
