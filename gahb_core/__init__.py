"""gahb_core: the small library beneath the book *How diffusion models generalize*.

A room imports only from the rooms before it in `ROOMS`; `tests/test_house.py` enforces the order.
"""

ROOMS = (
    "checks", "files", "noise", "probes", "images", "metrics", "bases", "denoisers", "networks",
    "densities", "jacobian", "sampling", "multiscale", "recipes", "training", "authors",
    "checkpoints", "figures", "widgets", "live", "pages", "cli",
)  # fmt: skip
__version__ = "0.1.0"
