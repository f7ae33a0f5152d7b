"""Denoisers: the contract f(y, sigma) → x_hat; exact ones, local ones, and those that shrink.

What returns one is called by what it is or does, and ends in `_denoiser`: `gaussian_denoiser`,
`empirical_denoiser`, `threshold_denoiser`; `make_` is for images, bases and networks.
"""

from gahb_core.denoisers.blind import BlindMean, blind_denoiser
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
    NoiseConditional,
    Residual,
    append_sigma,
    blind_sigma,
    estimate_sigma,
    noise_conditional_denoiser,
    require_sigma,
    residual_denoiser,
    score,
)
from gahb_core.denoisers.disks import Disks, disk_denoiser, refine_disks
from gahb_core.denoisers.empirical import Empirical, empirical_denoiser
from gahb_core.denoisers.gaussian import Gaussian, gaussian_denoiser
from gahb_core.denoisers.layouts import Group, Layout
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
    cycle_spin_denoiser,
    grid_shifts,
    oracle_denoiser,
    shrinkage_denoiser,
    sure_denoiser,
    sure_threshold,
    threshold_denoiser,
    universal_factor,
    wiener_denoiser,
    wiener_factors,
)
from gahb_core.denoisers.sinusoids import Sinusoids, sinusoid_denoiser
