"""Training: one resumable loop of least squares, a generator that yields its progress."""

from gahb_core.files import write_safely
from gahb_core.training.loop import (
    Progress,
    batch_indices,
    clean_bands,
    estimate_norms,
    fit,
    learning_rate,
    make_batch,
)
from gahb_core.training.optimizers import GramMuon, MuonAdam, make_optimizer, orthogonalize

__all__ = [
    "GramMuon",
    "MuonAdam",
    "Progress",
    "batch_indices",
    "clean_bands",
    "estimate_norms",
    "fit",
    "learning_rate",
    "make_batch",
    "make_optimizer",
    "orthogonalize",
    "write_safely",
]
