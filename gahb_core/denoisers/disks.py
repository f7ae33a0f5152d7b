"""The exact denoiser of disks, by quadrature that gathers where the posterior is."""

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from gahb_core.checks import check_count, check_images, check_number, check_points
from gahb_core.denoisers.contract import require_sigma
from gahb_core.denoisers.posterior import Posterior, window_rule
from gahb_core.images import cover_disks

ORDER = 16  # nodes for each grey value
MOST_NODES = 7168  # boxes that the sum is over, for one image
BLOCK = 128  # places whose coverage is drawn at once: it stays in the processor's cache
LOOSE = 1e-6  # precision of a grey value that nothing tells, for its nodes only
LEAST = 37.0  # nats below the heaviest box, at which a box no longer shows in double precision


class Greys(NamedTuple):
    """Moments of foreground and background given y, at each of K places (K,).

    Attributes:
        log_mass: log of posterior mass, but for a constant.
        b, d: means of background and of contrast d = foreground − background.
        bb, bd, dd: their second moments.
    """

    log_mass: Tensor
    b: Tensor
    d: Tensor
    bb: Tensor
    bd: Tensor
    dd: Tensor


class Cells(NamedTuple):
    """Boxes of the unit cube of places: centre and sides (K, 3), and log of posterior mass (K,)."""

    centre: Tensor
    side: Tensor
    log_mass: Tensor


def _log_joint(y: Tensor, mask: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return nodes f (K, n, 1) and b (K, 1, n), and their log posterior masses (K, n, n).

    For one image y (D,) and coverages m (K, D). Given m, x = f m + b (1 − m) is linear in the grey
    values: their posterior is a Gaussian of two variables, of precision G/σ² and mean G⁻¹h,
    truncated to the unit square; integrals over it are sums over the nodes of `window_rule`.
    """
    area, square = mask.sum(1), mask.square().sum(1)  # (K,), as all that follow
    ff, bb, fb = square, mask.shape[1] - 2 * area + square, area - square
    hf = mask @ y
    hb = y.sum() - hf
    # a disk between the pixels that are seen leaves f free: the nodes then fill the unit interval
    fs, bs = ff + LOOSE * sigma**2, bb + LOOSE * sigma**2
    det = fs * bs - fb.square()
    peaks = torch.stack([(bs * hf - fb * hb) / det, (fs * hb - fb * hf) / det], 1)  # (K, 2)
    stds = sigma * torch.stack([bs / det, fs / det], 1).sqrt()
    nodes, log_weight = window_rule(peaks.detach(), stds, ORDER)  # both (K, 2, n)
    f, b = nodes[:, 0, :, None], nodes[:, 1, None, :]  # (K, n, 1), (K, 1, n)
    ff, bb, fb, hf, hb = (v[:, None, None] / sigma**2 for v in (ff, bb, fb, hf, hb))
    fit_f = f * (hf - ff * f / 2) + log_weight[:, 0, :, None]
    fit_b = b * (hb - bb * b / 2) + log_weight[:, 1, None, :]
    return f, b, fit_f + fit_b - (fb * f) * b


def _greys(y: Tensor, mask: Tensor, sigma: Tensor) -> Greys:
    """Return the moments of the grey values, for one image y (D,) and coverages (K, D)."""
    f, b, joint = _log_joint(y, mask, sigma)
    log_mass = joint.logsumexp((1, 2))
    w, d = (joint - log_mass[:, None, None]).exp(), f - b  # both (K, n, n)
    moments = [(w * v).sum((1, 2)) for v in (b, d, b.square(), b * d, d.square())]
    return Greys(log_mass, *moments)


def coarse_boxes(size: int) -> int:
    """Return how many boxes each side of the cube starts with: of some 2 pixels, from 8 to 24."""
    return min(max(8, size // 2), 24)


def _count_shown(log_mass: Tensor) -> int:
    """Return how many boxes show beside the heaviest, at least."""
    try:
        return int((log_mass > log_mass.max() - LEAST).sum())
    except RuntimeError:  # under vmap no shape may depend on y: all of them
        return len(log_mass)


class Disks(Posterior):
    """E[x | y] for the disks of `images.make_disks`, at every σ.

    The places (cy, cx, r) are the image of a unit cube on which the prior is uniform; x_hat is a
    sum over boxes of the cube, each with its midpoint's posterior mass, and over grey values (see
    `_log_joint`). From coarse³ boxes on, the `keep` boxes of the largest mass are halved along
    their longest side, again and again, until boxes are as small as the posterior is at this σ.

    Boxes whose mass does not show in double precision are left out. Which boxes are used depends
    on y; derivatives are those of the sum with its nodes held still, so σ²∇f(y) is the covariance
    of the very same sum. Between two y, the nodes jump, and f with them, by the error of the sum:
    measure ∇f by autodiff, not by differences. It works in float64 inside; an image of 32×32 takes
    a tenth of a second of one core.

    Attributes:
        size: side S in pixels.
        coarse: boxes along each side of the cube, before any is halved.
        keep: boxes halved at each step. `error` says whether it is enough, `refine_disks` finds
            one that is.
        seen: (S·S,) the pixels of y that are looked at; the mean is of all pixels all the same.
    """

    def __init__(
        self, size: int, keep: int, coarse: int | None = None, seen: Tensor | None = None
    ) -> None:
        self.size, self.coarse, self.keep = size, coarse or coarse_boxes(size), keep
        every = torch.ones(size * size, dtype=torch.bool, device="cpu")
        self.seen = every if seen is None else seen.flatten()
        grid = (torch.arange(self.coarse, dtype=torch.float64, device="cpu") + 0.5) / self.coarse
        self._coarse = torch.cartesian_prod(grid, grid, grid)
        self._covers: Tensor | None = None  # of the coarse boxes, the same for every y

    def _places(self, cube: Tensor) -> Tensor:
        """Return (cy, cx, r) (K, 3) of points of the unit cube (K, 3)."""
        radius = 3 + cube[:, 2:] * ((self.size - 3) / 2 - 3)
        return torch.cat([radius + cube[:, :2] * (self.size - 2 * radius), radius], dim=1)

    def _cover(self, cube: Tensor) -> Tensor:
        return cover_disks(self._places(cube), self.size).flatten(1)

    def _num_steps(self, sigma: float) -> int:
        """Return how many halvings bring a coarse box to the posterior's size at contrast one.

        A contour of 2πr pixels fixes the radius to σ/√(2πr), each coordinate of the centre to √2
        of that.
        """
        room, radius = self.size - 6, self.size / 4
        box = room**2 * (room - 3) / 2 / self.coarse**3
        bulk = 2 * (sigma / math.sqrt(2 * math.pi * radius)) ** 3
        return max(6, math.ceil(math.log2(box / bulk)))

    def _halve(self, centre: Tensor, side: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two halves (2K, 3) of boxes (K, 3), cut across the side of most pixels."""
        radius = self._places(centre)[:, 2:]
        room = self.size - 2 * radius  # pixels that a side of the cube is long, (K, 1)
        unit = torch.full_like(radius, 2**0.5 * ((self.size - 3) / 2 - 3))
        longest = (side * torch.cat([room, room, unit], dim=1)).argmax(1, keepdim=True)
        # (K, 3): half of the longest side, nothing of the others
        half = torch.where(longest == torch.arange(3, device=side.device), side / 2, 0 * side)
        centres = torch.cat([centre - half / 2, centre + half / 2])
        return centres, (side - half).repeat(2, 1)

    def _cover_seen(self, cube: Tensor) -> Iterator[Tensor]:
        """Yield the coverage of the pixels looked at, (BLOCK, …), at points of the cube."""
        seen = self.seen.to(cube.device)
        return (self._cover(part)[:, seen] for part in cube.split(BLOCK))

    def _log_mass(self, y: Tensor, covers: Iterable[Tensor], sigma: Tensor) -> Tensor:
        """Return log ∫∫ exp(−‖y − x‖²/2σ²) over grey values at places of known coverage, (K,)."""
        y = y[self.seen.to(y.device)]
        return torch.cat([_log_joint(y, c, sigma)[2].logsumexp((1, 2)) for c in covers])

    def _coarse_covers(self, device: torch.device) -> tuple[Tensor, ...]:
        if self._covers is None or self._covers.device != device:
            self._covers = torch.cat(list(self._cover_seen(self._coarse.to(device))))
        return self._covers.split(BLOCK)

    def _search(self, y: Tensor, sigma: Tensor) -> Cells:
        """Return the boxes for one image y (D,), the ones of most mass: at most MOST_NODES."""
        centre = self._coarse.to(y.device)  # (coarse³, 3), then longer by 2·keep a step
        side = torch.full_like(centre, 1 / self.coarse)
        mass = self._log_mass(y, self._coarse_covers(y.device), sigma) + side.log().sum(1)
        steps = self._num_steps(float(sigma))
        for _ in range(steps):
            top = mass.topk(self.keep).indices  # (keep,)
            halves, sides = self._halve(centre[top], side[top])
            found = self._log_mass(y, self._cover_seen(halves), sigma)  # (2·keep,)
            found = found + sides.log().sum(1)
            # a box that is split keeps its row, without mass
            mass = torch.cat([mass.scatter(0, top, -math.inf), found])
            centre, side = torch.cat([centre, halves]), torch.cat([side, sides])
        most = min(MOST_NODES, len(mass) - steps * self.keep)
        best = mass.topk(min(most, _count_shown(mass))).indices
        return Cells(centre[best], side[best], mass[best])

    def _read(self, y: Tensor, sigma: Tensor) -> tuple[Cells, Greys, Tensor]:
        """Return boxes for one image y (D,), their grey moments, and the posterior mean (D,)."""
        cells = self._search(y.detach(), sigma)
        parts, means = [], []
        for centre, side in zip(cells.centre.split(BLOCK), cells.side.split(BLOCK), strict=True):
            mask = self._cover(centre)  # (BLOCK, D)
            g = _greys(y[self.seen.to(y.device)], mask[:, self.seen.to(y.device)], sigma)
            g = g._replace(log_mass=g.log_mass + side.log().sum(1))
            w = g.log_mass.softmax(0)  # (BLOCK,)
            parts.append(g)
            means.append((w * g.b).sum() + (w * g.d) @ mask)
        shares = torch.stack([g.log_mass.logsumexp(0) for g in parts]).softmax(0)  # (blocks,)
        greys = Greys(*(torch.cat(v) for v in zip(*parts, strict=True)))
        return cells, greys, shares @ torch.stack(means)

    def _rows(self, y: Tensor, sigma: float | Tensor | None) -> list[tuple[Tensor, Tensor]]:
        """Return each image (D,) and its σ, float64."""
        check_points(y, (1, self.size, self.size))
        s = require_sigma(sigma, y).flatten().double().expand(len(y))
        return list(zip(y.double().flatten(1).unbind(0), s.unbind(0), strict=True))

    def __call__(self, y: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return the posterior mean, of the shape of `y`."""
        means = [self._read(row, s)[2] for row, s in self._rows(y, sigma)]
        return torch.stack(means).reshape(y.shape).to(y) if means else torch.zeros_like(y)

    def log_density(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        """Return log p_σ(y), (B,)."""
        out = []
        for row, s in self._rows(y, sigma):
            constant = len(row) * torch.log(2 * math.pi * s**2) / 2
            power = row.square().sum() / (2 * s**2)
            out.append(self._read(row, s)[1].log_mass.logsumexp(0) - power - constant)
        return torch.stack(out).to(y) if out else y.new_empty(0)

    def posterior_factors(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        """Return F (B, K + 2, D), float64, with Cov[x | y] = FᵀF; K is the most places of an image.

        x − x_hat = d m + b 1 − x_hat has, at each place, second moments in (d, b, 1): the row of a
        place takes all that goes with d, and two rows the rest, which lies in span(1, x_hat).
        Images of fewer places have rows of zeros.
        """
        each = [self._factors(row, s) for row, s in self._rows(y, sigma)]
        return torch.nn.utils.rnn.pad_sequence(each, batch_first=True)

    def _factors(self, y: Tensor, sigma: Tensor) -> Tensor:
        cells, g, x_hat = self._read(y, sigma)
        w = g.log_mass.softmax(0)
        plane = torch.stack([torch.ones_like(y), -x_hat])
        root = (w * g.dd).sqrt()[:, None]
        share = torch.stack([g.bd, g.d], 1)  # E[d b], E[d]
        rows = root * (self._cover(cells.centre) + (share / g.dd[:, None]) @ plane)
        left = torch.stack([g.bb, g.b, g.b, torch.ones_like(g.b)], 1).reshape(-1, 2, 2)
        left = left - share[:, :, None] * share[:, None, :] / g.dd[:, None, None]
        lam, axes = torch.linalg.eigh((w[:, None, None] * left).sum(0))
        return torch.cat([rows, lam.clamp(min=0).sqrt()[:, None] * (axes.T @ plane)])

    def error(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        """Return an estimate of the error of the sum, (B,), as a part of the posterior's MSE.

        The larger of ‖x_hat − x_hat′‖² and |MSE − MSE′| over MSE, where the primes have a quarter
        of the boxes: the error of the coarser sum, so that of this one is smaller.
        """
        other = Disks(self.size, max(1, self.keep // 4), self.coarse, self.seen)
        mse = self.posterior_mse(y, sigma)
        moved = (self(y, sigma) - other(y, sigma)).square().flatten(1).sum(1)
        return torch.maximum(moved, (mse - other.posterior_mse(y, sigma)).abs()) / mse


def disk_denoiser(size: int = 32, keep: int = 256) -> Disks:
    """Return the exact denoiser of `images.make_disks` at this size.

    Args:
        size: side S in pixels.
        keep: boxes halved at each step of the quadrature: more is more exact and slower.

    Raises:
        ValueError: where `size` is below 10 or `keep` not from 8 to coarse³ (4096 at 32 pixels).
    """
    size = check_count(size, "size", 10)
    return Disks(size, check_count(keep, "keep", 8, coarse_boxes(size) ** 3))


def refine_disks(
    y: Tensor, sigma: float | Tensor, tolerance: float = 0.01, keep: int = 256
) -> Disks:
    """Return the first disk denoiser, `keep` doubled again and again, that is exact enough on `y`.

    Exact enough: its `error` is below `tolerance` on every image of `y` (B, 1, S, S).

    Raises:
        ValueError: where `keep` can be doubled no more.
    """
    check_images(y, "y", 1)
    check_points(y, (1, y.shape[-1], y.shape[-1]))
    check_count(len(y), "the number of images of y")
    check_number(tolerance, "tolerance", low=0)
    worst, keep = math.inf, check_count(keep, "keep", 8)
    while keep <= coarse_boxes(y.shape[-1]) ** 3:
        f = disk_denoiser(y.shape[-1], keep)
        worst = float(f.error(y, sigma).max())
        if worst < tolerance:
            return f
        keep *= 2
    raise ValueError(f"tolerance must be above the error reached, {worst:.3g}, not {tolerance}")
