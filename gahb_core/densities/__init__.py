"""Densities: energies U(y, σ), whose gradient is a denoiser and whose value is −log p_σ(y)."""

from gahb_core.densities.energies import (
    DualErrors,
    Energy,
    EnergyDenoiser,
    ExactEnergy,
    bits,
    decibels,
    dual_errors,
    energy_denoiser,
    estimate_log_z,
    exact_energy,
    time_score,
)
from gahb_core.densities.errors import denoising_errors, log_p_from_errors
from gahb_core.densities.learned import EnergyNet, RadialEnergy

__all__ = [
    "DualErrors",
    "Energy",
    "EnergyDenoiser",
    "EnergyNet",
    "ExactEnergy",
    "RadialEnergy",
    "bits",
    "decibels",
    "denoising_errors",
    "dual_errors",
    "energy_denoiser",
    "estimate_log_z",
    "exact_energy",
    "log_p_from_errors",
    "time_score",
]
