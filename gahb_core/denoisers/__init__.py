"""Denoisers: the contract f(y, sigma) → x_hat; exact ones, local ones, and those that shrink.

What makes one is called by what it is (`gaussian_denoiser`, `posterior_mean`) or, in fixed bases,
by what it does there (`make_wiener`, `make_threshold`).
"""

from gahb_core.denoisers.contours import (
    Regions,
    contour_covariance,
    contour_denoiser,
    contour_tangents,
    fit_regions,
    region_covariance,
    region_denoiser,
)
from gahb_core.denoisers.contract import (
    Denoiser,
    Residual,
    Told,
    blind_sigma,
    estimate_sigma,
    needed_sigma,
    residual_denoiser,
    score,
    told_denoiser,
    with_sigma,
)
from gahb_core.denoisers.disks import Disks, disk_denoiser, refine_disks
from gahb_core.denoisers.gaussian import Gaussian, gaussian_denoiser
from gahb_core.denoisers.layouts import Group, Layout
from gahb_core.denoisers.memory import Memory, posterior_mean
from gahb_core.denoisers.mixture import Mixture, mixture_denoiser
from gahb_core.denoisers.patches import (
    Patches,
    crop_denoiser,
    equivariant_denoiser,
    local_denoiser,
)
from gahb_core.denoisers.posterior import Mmse, Posterior, PosteriorSpectrum, estimate_mmse
from gahb_core.denoisers.ray import Ray, ray_denoiser
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
from gahb_core.denoisers.sinusoids import Sinusoids, sinusoid_denoiser

__all__ = [
    "Denoiser",
    "Disks",
    "Gaussian",
    "Group",
    "Layout",
    "Memory",
    "Mixture",
    "Mmse",
    "Patches",
    "Posterior",
    "PosteriorSpectrum",
    "Ray",
    "Regions",
    "Residual",
    "Sinusoids",
    "Told",
    "blind_sigma",
    "contour_covariance",
    "contour_denoiser",
    "contour_tangents",
    "crop_denoiser",
    "disk_denoiser",
    "equivariant_denoiser",
    "estimate_mmse",
    "estimate_sigma",
    "fit_regions",
    "gaussian_denoiser",
    "grid_shifts",
    "local_denoiser",
    "make_cycle_spin",
    "make_oracle",
    "make_shrinkage",
    "make_sure_threshold",
    "make_threshold",
    "make_wiener",
    "mixture_denoiser",
    "needed_sigma",
    "posterior_mean",
    "ray_denoiser",
    "region_covariance",
    "region_denoiser",
    "refine_disks",
    "residual_denoiser",
    "score",
    "sinusoid_denoiser",
    "sure_threshold",
    "told_denoiser",
    "universal_factor",
    "wiener_factors",
    "with_sigma",
]
