"""gahb_core: denoisers, their Jacobians, and what they sample; exact ones, and networks to train.

The science beneath the book *How diffusion models generalize*, and nothing of the book. A room
imports only from the rooms before it in `ROOMS`; `tests/test_house.py` enforces the order. Of every
room the names that one needs first are here, loaded when they are asked for:

>>> import gahb_core as gahb
>>> x = gahb.load_images("fashion", "test", 1)
>>> y = gahb.add_noise(x, 0.1, 0)
>>> gahb.wiener_denoiser
<function wiener_denoiser at ...>
"""

from importlib import import_module
from typing import Any

ROOMS = (
    "checks", "files", "noise", "probes", "images", "metrics", "bases", "denoisers", "networks",
"foreign", "densities", "jacobian", "adapters", "sampling", "multiscale", "data", "training",
    "experiments",
)  # fmt: skip
__version__ = "0.1.0"

# name → its room
_FRONT = {
    "add_noise": "noise", "make_generator": "noise", "sigma_from_psnr": "noise",
    "nearest_images": "metrics", "paired_difference": "metrics", "psnr": "metrics",
    "psnr_curve": "metrics",
    "Denoiser": "denoisers", "gaussian_denoiser": "denoisers", "empirical_denoiser": "denoisers",
    "residual_denoiser": "denoisers", "score": "denoisers", "wiener_denoiser": "denoisers",
    "BFCNN": "networks", "Transformer": "networks", "UNet": "networks",
    "estimate_trace": "jacobian", "adaptive_filters": "jacobian", "linearize": "jacobian",
    "top_eigenpairs": "jacobian",
    "adapt": "adapters", "adapt_ddpm_pytorch": "adapters", "adapt_deepinv": "adapters",
    "adapt_diffusers": "adapters", "adapt_edm": "adapters", "adapt_kdiffusion": "adapters",
    "check_denoiser": "adapters",
    "sample": "sampling", "sample_constrained": "sampling",
    "load_images": "data", "open_images": "data", "register_images": "data",
    "Recipe": "training", "fit": "training", "fit_network": "training",
    "load": "training", "load_denoiser": "training", "train": "training",
    "basis": "experiments", "denoising": "experiments", "generalization": "experiments",
    "inverse": "experiments", "memorization": "experiments", "transition": "experiments",
}  # fmt: skip
__all__ = ["ROOMS", "__version__", *_FRONT]


def __getattr__(name: str) -> Any:
    """Return a name of the front door, or a room, loaded now."""
    if name in _FRONT:
        return getattr(import_module(f"gahb_core.{_FRONT[name]}"), name)
    if name in ROOMS:
        return import_module(f"gahb_core.{name}")
    raise AttributeError(f"gahb_core has no {name!r}: its rooms are {', '.join(ROOMS)}")


def __dir__() -> list[str]:
    return sorted([*__all__, *ROOMS])
