"""Fréchet distance of two sets of images, as Gaussians in the PCA space of the training set."""

from typing import NamedTuple

import scipy.linalg
import torch
from torch import Tensor

from gahb_core.checks import check_count, check_finite
from gahb_core.noise import flatten_images, make_generator


class PCA(NamedTuple):
    """Principal axes: `mean` (D,), orthonormal `axes` (D, dim), `variances` (dim,), falling."""

    mean: Tensor
    axes: Tensor
    variances: Tensor


def _flat(images: Tensor, name: str) -> Tensor:
    return flatten_images(check_finite(images, name).detach()).to("cpu", torch.float64)


def fit_pca(train: Tensor, dim: int = 64) -> PCA:
    """Return the `dim` principal axes of images `train` (N, ...), in float64.

    Raises:
        ValueError: where `dim` is not in 1 … min(N − 1, D), or `train` not finite.
    """
    flat = _flat(train, "train")
    num, size = flat.shape
    dim = check_count(dim, "dim", 1, min(num - 1, size))
    mean = flat.mean(0)
    cov = torch.cov(flat.T).reshape(size, size)
    lam, axes = scipy.linalg.eigh(cov.numpy(), subset_by_index=[size - dim, size - 1])
    return PCA(mean, torch.from_numpy(axes).flip(1), torch.from_numpy(lam).flip(0))


def _sqrt(cov: Tensor) -> Tensor:
    """Return the symmetric root of a positive semi-definite matrix."""
    lam, vectors = torch.linalg.eigh(cov)
    return (vectors * lam.clamp(min=0).sqrt()) @ vectors.T


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Return ‖m_a − m_b‖² + tr(C_a + C_b − 2 (C_a^½ C_b C_a^½)^½) of two sets of points (N, d).

    It is the squared Wasserstein-2 distance of the Gaussians with the means and covariances of
    the sets, in the units of the points, squared.

    Raises:
        ValueError: where a set is not two or more finite points, or their dimensions differ.
    """
    for name, v in (("a", a), ("b", b)):
        if check_finite(v, name).ndim != 2 or len(v) < 2 or v.shape[1] != a.shape[1]:
            wanted = "(N, d)" if name == "a" else f"(N, {a.shape[1]})"
            raise ValueError(f"{name} must be points {wanted}, N ≥ 2, not {tuple(v.shape)}")
    a, b = a.double(), b.double()
    cov_a, cov_b = (torch.cov(v.T).reshape(v.shape[1], -1) for v in (a, b))
    root = _sqrt(cov_a)
    lam = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0)
    shift = (a.mean(0) - b.mean(0)).square().sum()
    # at equal sets rounding can leave less than 0
    return max(0.0, float(shift + cov_a.trace() + cov_b.trace() - 2 * lam.sqrt().sum()))


def frechet_pca(samples: Tensor, reference: Tensor, train: Tensor | PCA, dim: int = 64) -> float:
    """Return the Fréchet distance of `samples` and `reference` in the PCA space of `train`.

    An FID without a network: it sees only the mean and the covariance of the first `dim`
    components. Few samples raise it; read it beside `estimate_frechet_floor`.

    Args:
        samples: images (N, ...), about 2 `dim` of them or more.
        reference: images (N, ...) to compare with, unseen in training.
        train: images whose principal axes are used, or their `PCA`, fitted once.
        dim: number of axes.

    Raises:
        ValueError: where `dim` is more than there are axes, or the images are not of one size,
            finite, and two or more.
    """
    pca = train if isinstance(train, PCA) else fit_pca(train, dim)
    dim = check_count(dim, "dim", 1, pca.axes.shape[1])
    rows = [_flat(v, n) for v, n in ((samples, "samples"), (reference, "reference"))]
    for v, name in zip(rows, ("samples", "reference"), strict=True):
        if v.shape[1] != len(pca.mean) or len(v) < 2:
            raise ValueError(
                f"{name} must be 2 or more images of {len(pca.mean)} pixels as train, "
                f"not {len(v)} of {v.shape[1]}"
            )
    a, b = ((v - pca.mean) @ pca.axes[:, :dim] for v in rows)
    return frechet_distance(a, b)


def estimate_frechet_floor(
    reference: Tensor,
    train: Tensor | PCA,
    num: int,
    dim: int = 64,
    *,
    num_repeats: int = 8,
    seed: int = 0,
) -> Tensor:
    """Return the distances a perfect sampler of `num` images would get, shape (num_repeats,).

    Each repeat takes `num` of the reference images at random as the samples, and the others as
    the reference.

    Raises:
        ValueError: where `num` is not in 2 … N − 2.
    """
    num = check_count(num, "num", 2, len(check_finite(reference, "reference")) - 2)
    num_repeats = check_count(num_repeats, "num_repeats")
    pca = train if isinstance(train, PCA) else fit_pca(train, dim)
    distances = []
    for k in range(num_repeats):
        generator = make_generator(seed, "floor", k)
        order = torch.randperm(len(reference), generator=generator, device="cpu")
        order = order.to(reference.device)
        distances.append(frechet_pca(reference[order[:num]], reference[order[num:]], pca, dim))
    return torch.tensor(distances, dtype=torch.float64, device="cpu")
