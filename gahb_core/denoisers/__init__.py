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

__all__ = [
    "Denoiser",
    "Gaussian",
    "Memory",
    "Mixture",
    "Residual",
    "blind_sigma",
    "gaussian_denoiser",
    "mixture_denoiser",
    "needed_sigma",
    "posterior_mean",
    "residual_denoiser",
    "score",
]
