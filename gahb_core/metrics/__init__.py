"""Metrics: how close two images are, how a denoiser performs, how far a density is."""

from gahb_core.metrics.curves import (
    Difference,
    Slope,
    estimate_sure,
    fit_slope,
    kl_bound,
    paired_difference,
    psnr_curve,
)
from gahb_core.metrics.frechet import (
    PCA,
    estimate_frechet_floor,
    fit_pca,
    frechet_distance,
    frechet_pca,
)
from gahb_core.metrics.pairs import (
    Nearest,
    correlation,
    cosine_similarity,
    mse,
    nearest_images,
    nearest_other,
    psnr,
    shifted_correlation,
)
