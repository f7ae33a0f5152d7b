"""Harmonics of a known shape: the Laplacian's eigenvectors on each of its regions."""

import torch
from torch import Tensor

from gahb_core.bases.basis import Basis, make_matrix_basis


def graph_laplacian(labels: Tensor) -> Tensor:
    """Return the Laplacian (D, D) of the pixel grid of `labels` (H, W), cut between labels.

    Neighbours (4-connected) are joined where they carry the same label; no flux crosses a contour
    or the border of the image (Neumann conditions).

    Raises:
        ValueError: where `labels` is not two-dimensional, or neither whole numbers nor booleans.
    """
    if labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"labels must be whole numbers or booleans, not {labels.dtype}")
    if labels.ndim != 2 or not labels.numel():
        raise ValueError(f"labels must be of shape (H, W), not {tuple(labels.shape)}")
    num, device = labels.numel(), labels.device
    index = torch.arange(num, device=device).reshape(labels.shape)
    adjacency = torch.zeros(num, num, dtype=torch.float64, device=device)
    for axis, size in enumerate(labels.shape):
        near, far = (torch.narrow(labels, axis, start, size - 1) for start in (0, 1))
        a, b = (torch.narrow(index, axis, start, size - 1) for start in (0, 1))
        adjacency[a[near == far], b[near == far]] = 1.0
    adjacency = adjacency + adjacency.mT
    return torch.diag(adjacency.sum(1)) - adjacency


def make_shape_harmonics(labels: Tensor) -> Basis:
    """Return the harmonics of a known shape: on each region, the Laplacian's eigenvectors.

    Each atom oscillates within one region of `labels` and is zero on the others; atoms are sorted
    by frequency, so the first are the constants of the regions. The geometry is given here, which
    makes it the basis an oracle would choose.

    Args:
        labels: (H, W) integers or booleans, one value a region.

    Raises:
        ValueError: as `graph_laplacian` does.
    """
    laplacian, flat = graph_laplacian(labels), labels.flatten()
    rows, values = [], []
    for label in flat.unique():
        inside = (flat == label).nonzero().flatten()
        lam, vectors = torch.linalg.eigh(laplacian[inside][:, inside])
        block = vectors.new_zeros(len(inside), len(flat))
        block[:, inside] = vectors.mT
        rows.append(block)
        values.append(lam.clamp(min=0).sqrt())
    frequency, order = torch.cat(values).sort(stable=True)
    frequency = torch.where(frequency < 1e-6, 0.0, frequency)
    size = (labels.shape[0], labels.shape[1])
    return make_matrix_basis("shape harmonics", torch.cat(rows)[order], size, frequency)
