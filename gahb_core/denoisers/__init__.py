"""Denoisers: the contract f(y, sigma) → x_hat, and the denoisers that are known exactly."""

from gahb_core.denoisers.contract import (
    Denoiser,
    Residual,
    blind_sigma,
    needed_sigma,
    residual_denoiser,
    score,
)
from gahb_core.denoisers.gaussian import Gaussian, gaussian_denoiser
from gahb_core.denoisers.memory import Memory, posterior_mean
from gahb_core.denoisers.mixture import Mixture, mixture_denoiser
from gahb_core.denoisers.shrinkage import (
    grid_shifts,
    make_cycle_spin,
    make_oracle,
    make_shrinkage,
    make_sure_threshold,
    make_threshold,
    make_wiener,
    sure_threshold,
    universal_factor,
    wiener_factors,
)

__all__ = [
    "Denoiser",
    "Gaussian",
    "Memory",
    "Mixture",
    "Residual",
    "blind_sigma",
    "gaussian_denoiser",
    "grid_shifts",
    "make_cycle_spin",
    "make_oracle",
    "make_shrinkage",
    "make_sure_threshold",
    "make_threshold",
    "make_wiener",
    "mixture_denoiser",
    "needed_sigma",
    "posterior_mean",
    "residual_denoiser",
    "score",
    "sure_threshold",
    "universal_factor",
    "wiener_factors",
]
