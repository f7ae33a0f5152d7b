"""Checkpoints: trained weights (safetensors) and their card, by name.

`<folder>/<profile>/<name>.safetensors` and `<name>.card.json` stand side by side; an unfinished
training keeps `<name>.state` there, and one that runs holds `<name>.lock`. A file whose hash,
shapes or recipe do not fit is refused; the card holds the weights' hash and its own.
"""

from gahb_core.checkpoints.figures import CARD_PSNR_IN
from gahb_core.checkpoints.load import Checkpoint, load, load_denoiser, load_energy, load_multiscale
from gahb_core.checkpoints.store import find_status, folder, paths, seal_card, write_card
from gahb_core.checkpoints.train import save, train

__all__ = [
    "CARD_PSNR_IN", "Checkpoint", "find_status", "folder", "load", "load_denoiser", "load_energy",
    "load_multiscale", "paths", "save", "seal_card", "train", "write_card",
]  # fmt: skip
