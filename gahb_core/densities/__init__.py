"""Densities: energies U(y, σ), whose gradient is a denoiser and whose value is −log p_σ(y)."""

from gahb_core.densities.energies import (
    DualScoreLosses,
    Energy,
    EnergyDenoiser,
    ExactEnergy,
    bits_per_dim,
    dual_score_losses,
    energy_denoiser,
    estimate_log_z,
    exact_energy,
    log_p_decibels,
    time_score,
)
from gahb_core.densities.errors import denoising_errors, log_p_from_errors
from gahb_core.densities.learned import EnergyNet, RadialEnergy
