"""The constrained sampler against exact posteriors: the table of chapter 11.

    nice python tests/benchmarks/inverse_exact.py [prior ...]

Four priors whose posterior given the measurements is known, each with its exact denoiser and with
a network trained on the same images:

    gaussian   mean and covariance of garments at 8×8, 16 pixels kept, no noise
    mixture    four Gaussians fitted to the same garments, 10 pixels kept, no noise
    finite     the 100 garments of split A, 16 of 1024 pixels kept, σ_m = 0.5
    disks      disks of 32×32, a tenth of the pixels kept, σ_m = 0.05; exact by quadrature

The exact denoiser is told σ and follows its law. So are the networks of `gaussian` and `mixture`,
three dense layers of 512, trained here for three minutes each and kept in _build. (On 64 pixels a
blind network reads σ badly, and small bias-free UNets learned these images hardly or not at all.)
Those of `finite` and `disks` are shipped, and blind. `denoising_excess` is the share by which the
squared error of a network that is told σ exceeds the exact denoiser's.

gap_db = 10 log10(1 + Σ‖x̄ − E[x|m]‖² / Σ tr Cov[x|m]) over the problems: the MMSE gap
10 log10(E‖x̄ − x‖²/E‖E[x|m] − x‖²) with the mean over x | m taken exactly. ‖x̄ − E[x|m]‖² is that
of endlessly many samples: what S of them add by chance, tr Cov/S, is subtracted.

coverage = the share of true images that lie in the 90% highest-density set of the samples (for
finite and disks, whose posteriors have no density: the ball about E[x|m]): with S = 19, at least 2
samples are less probable than the true image, with S = 9 at least 1: 0.9 for a perfect sampler,
exactly. `coverage_error` is its binomial standard error.

What is in book/measured/inverse_exact.json is not measured again.
"""

import sys
import time
from collections.abc import Callable
from itertools import chain, pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from measured import read, write
from torch import Tensor, nn

from gahb_core.checkpoints import load_denoiser
from gahb_core.denoisers import (
    Denoiser,
    Disks,
    gaussian_denoiser,
    memory_denoiser,
    mixture_denoiser,
)
from gahb_core.images import load_images, make_disks
from gahb_core.noise import make_generator, sample_normal
from gahb_core.sampling import Measurement, measure_pixels, sample_constrained

ROOT = Path(__file__).parents[2]
OUT, KEPT = ROOT / "book" / "measured" / "inverse_exact.json", ROOT / "_build" / "inverse_exact"
BETAS = dict.fromkeys(("exact", "network"), (1.0, 0.3, 0.1, 0.03, 0.01))
BLIND = ("finite", "disks")  # priors whose network is not told σ
FLOOR = 0.03  # least deviation of the Gaussians: a mode below σ_end would end without variance


class Problems(NamedTuple):
    """Measured images of one prior, and what is known of x given the measurements.

    `network` loads or trains its network. `x` (P, C, H, W), `mean` of the same shape, `trace` (P,)
    of the covariance, `log_density` of images (B, …) given their measurements but for a constant,
    or None.
    """

    exact: Denoiser
    network: Callable[[], Denoiser]
    x: Tensor
    measured: Tensor
    measurement: Measurement
    sigma_m: float
    mean: Tensor
    trace: Tensor
    log_density: Callable[[Tensor], Tensor] | None
    num_samples: int
    options: dict
    betas: dict[str, tuple[float, ...]]


# --- networks of the Gaussian and the mixture -----------------------------------------------------


class Dense(nn.Module):
    """Images and σ to estimates: three hidden layers, scaled as in Karras et al. (2022).

    `centre` and `spread` are those of all pixels of the clean images; `features` gets and gives
    numbers of variance 1 at every σ.
    """

    def __init__(self, x: Tensor, width: int = 512) -> None:
        super().__init__()
        self.centre, self.spread = float(x.mean()), float(x.std())
        widths = [x[0].numel() + 1, width, width, width]
        layers = [(nn.Linear(*pair), nn.SiLU()) for pair in pairwise(widths)]
        self.features = nn.Sequential(*chain(*layers), nn.Linear(width, x[0].numel()))

    def forward(self, y: Tensor, sigma: Tensor) -> Tensor:
        """Return the estimates of y (B, C, H, W) at σ (B,)."""
        away, sigma = y.flatten(1) - self.centre, sigma[:, None]
        total = (self.spread**2 + sigma**2).sqrt()
        found = self.features(torch.cat([away / total, sigma.log() / 4], 1))
        linear = away * (self.spread / total) ** 2
        return (self.centre + linear + found * sigma * self.spread / total).reshape(y.shape)


def train_dense(name: str, draw: Callable[[int, int], Tensor], steps: int = 20_000) -> Denoiser:
    """Return a network told σ, trained on fresh draws, and kept in _build."""
    path = KEPT / f"{name}_dense.pt"
    torch.manual_seed(0)
    net = Dense(draw(10_000, 0).float())
    if path.is_file():
        net.load_state_dict(torch.load(path, weights_only=True))
        return net.requires_grad_(False)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        generator = make_generator(0, "train", step)
        x = draw(128, step + 1).float()
        sigma = 0.003 * 400 ** torch.rand(len(x), generator=generator)
        y = x + sigma.reshape(-1, 1, 1, 1) * torch.randn(x.shape, generator=generator)
        weight = 1 / sigma**2 + 1 / net.spread**2  # the target of `features` has variance 1
        loss = (weight * (net(y, sigma) - x).square().flatten(1).mean(1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), path)
    return net.requires_grad_(False)


# --- the four priors ------------------------------------------------------------------------------


def keep_pixels(size: int, num: int) -> Tensor:
    """Return a mask (1, S, S) of `num` pixels at random."""
    order = torch.randperm(size * size, generator=make_generator(0, "mask"))
    return torch.isin(torch.arange(size * size), order[:num]).reshape(1, size, size)


def condition(mean: Tensor, cov: Tensor, kept: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return E[x | c] (P, D), Cov[x | c] (D, D) and log p(c) (P,) of a Gaussian, by its blocks."""
    inner = cov[kept][:, kept]
    gain = cov[:, kept] @ torch.linalg.inv(inner)
    away = c - mean[kept]
    log_p = torch.distributions.MultivariateNormal(mean[kept], inner).log_prob(c)
    return mean + away @ gain.T, cov - gain @ cov[kept], log_p


def fit_gaussian(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and covariance, of deviation FLOOR at least."""
    return x.mean(0), torch.cov(x.T) + FLOOR**2 * torch.eye(x.shape[1])


def make_gaussians(name: str, num_components: int, num_kept: int, num: int = 100) -> Problems:
    """Return problems of a Gaussian, or of a mixture fitted by k-means."""
    flat = load_images("fashion", "A", 10_000, 8).double().flatten(1)
    label, centres = torch.zeros(len(flat)).long(), flat[:: len(flat) // num_components]
    for _ in range(20 if num_components > 1 else 0):
        label = torch.cdist(flat, centres[:num_components]).argmin(1)
        centres = torch.stack([flat[label == k].mean(0) for k in range(num_components)])
    weights = torch.bincount(label, minlength=num_components).double() / len(flat)
    fits = [fit_gaussian(flat[label == k]) for k in range(num_components)]
    means, covs = (torch.stack(part) for part in zip(*fits, strict=True))
    prior = mixture_denoiser(weights, means.reshape(-1, 1, 8, 8), covs)
    exact = prior if num_components > 1 else gaussian_denoiser(means[0].reshape(1, 8, 8), covs[0])
    x, mask = prior.sample_prior(num, seed=0), keep_pixels(8, num_kept)
    kept = mask.flatten()
    parts = [condition(m, c, kept, x.flatten(1)[:, kept]) for m, c in zip(means, covs, strict=True)]
    r = torch.stack([w.log() + p[2] for w, p in zip(weights, parts, strict=True)]).softmax(0)
    mean = sum(r[k][:, None] * p[0] for k, p in enumerate(parts))
    trace = sum(r[k] * (p[1].trace() + (p[0] - mean).square().sum(1)) for k, p in enumerate(parts))
    m = measure_pixels(mask)
    return Problems(
        exact, lambda: train_dense(name, prior.sample_prior), x, m.analyze(x), m, 0.0,
        mean.reshape(x.shape), trace, lambda v: prior.log_density(v, 1e-4), 19,
        {"h": 0.05, "ramp": False, "sigma_end": 0.004}, BETAS,
    )  # fmt: skip


def make_finite(num: int = 20) -> Problems:
    """Return problems of the training set of `fashion/N=100/A`."""
    train, sigma_m = load_images("fashion", "A", 100, 32), 0.5
    pick = torch.randint(len(train), (num,), generator=make_generator(0, "pick"))
    m = measure_pixels(keep_pixels(32, 16))
    clean = m.analyze(train)
    measured = clean[pick] + sigma_m * sample_normal((num, 16), 0, key="noise")
    w = (-torch.cdist(measured, clean).square() / (2 * sigma_m**2)).softmax(1)
    flat = train.flatten(1)
    mean = w @ flat
    trace = w @ flat.square().sum(1) - mean.square().sum(1)
    return Problems(
        memory_denoiser(train), lambda: load_denoiser("fashion/N=100/A"), train[pick], measured,
        m, sigma_m,
        mean.reshape(-1, 1, 32, 32), trace, None, 9,
        {"sigma_0": 3.0, "sigma_max": 10.0},
        BETAS,
    )  # fmt: skip


def make_disk_problems(num: int = 6) -> Problems:
    """Return problems of disks, their posterior by quadrature over the pixels that were seen."""
    x, sigma_m, mask = make_disks(num, 32, seed=5), 0.05, keep_pixels(32, 102)
    m = measure_pixels(mask)
    measured = m.analyze(x) + sigma_m * sample_normal((num, 102), 0, key="noise")
    seen = Disks(32, 512, seen=mask)
    y = m.synthesize(measured)
    mean, trace = seen(y, sigma_m), seen.posterior_mse(y, sigma_m)
    f = Disks(32, 32, coarse=8)
    return Problems(
        f, lambda: load_denoiser("disks"), x, measured, m, sigma_m, mean, trace,
        None, 9, {}, BETAS | {"exact": (1.0, 0.3, 0.1, 0.03)},  # at 0.01 half an hour
    )  # fmt: skip


PRIORS = {
    "gaussian": lambda: make_gaussians("gaussian", 1, 16),
    "mixture": lambda: make_gaussians("mixture", 4, 10),
    "finite": make_finite,
    "disks": make_disk_problems,
}


# --- measuring ------------------------------------------------------------------------------------


def draw(p: Problems, f: Denoiser, beta: float, blind: bool) -> tuple[Tensor, int]:
    """Return samples (P·S, C, H, W), those of a problem together, and the most steps taken.

    By the law, all chains are the channels of one image, so that one stream draws their noise.
    """
    measured = p.measured.repeat_interleave(p.num_samples, 0)
    num, shape = len(measured), p.x.shape[1:]
    options = {"sigma_m": p.sigma_m, "beta": beta, "seed": 1, "max_iterations": 100_000}
    if blind:
        found = sample_constrained(f, p.measurement, measured, shape, **options, **p.options)
        return found.x, int(found.iterations.max())

    def packed(y: Tensor, sigma: Tensor) -> Tensor:
        return f(y.reshape(num, *shape).to(p.x), sigma.to(p.x)).reshape(y.shape).to(y)

    m = Measurement(
        lambda y: p.measurement.analyze(y.reshape(num, *shape))[None],
        lambda c: p.measurement.synthesize(c[0]).reshape(1, -1, *shape[1:]),
        num * p.measurement.num,
    )
    together = (num * shape[0], *shape[1:])
    options |= {"schedule": True}
    found = sample_constrained(packed, m, measured[None], together, **options, **p.options)
    return found.x.reshape(num, *shape), int(found.iterations)


def as_double(f: Denoiser, blind: bool) -> Denoiser:
    """Return the network `f`, of float32, for images of any type."""
    if blind:
        return lambda y, sigma=None: f(y.float()).to(y)
    return lambda y, sigma: f(y.float(), sigma.float().expand(len(y))).to(y)


def compare_errors(p: Problems, f: Denoiser) -> dict[str, float]:
    """Return by how much the mean squared error of `f` exceeds the exact denoiser's, by σ."""
    found = {}
    for s in (1.0, 0.3, 0.1, 0.03, 0.01):
        y = p.x + s * sample_normal(tuple(p.x.shape), 2, key="excess").to(p.x)
        sigma = torch.full((len(y),), s).to(y)
        errors = [(g(y, sigma) - p.x).square().mean() for g in (f, p.exact)]
        found[f"{s:g}"] = round(float(errors[0] / errors[1]) - 1, 3)
    return found


def measure(p: Problems, f: Denoiser, beta: float, blind: bool) -> dict:
    """Return gap and coverage of one denoiser at one β."""
    begin, num = time.process_time(), p.num_samples
    found, steps = draw(p, f, beta, blind)
    samples = found.reshape(len(p.x), num, -1).double()
    away = samples.mean(1) - p.mean.flatten(1).double()
    excess = (away.square().sum(1) - samples.var(1).sum(1) / num).sum() / p.trace.sum()
    score, true = rate(p, found.to(p.x)), rate(p, p.x)
    below = (score.reshape(len(p.x), num) < true[:, None]).sum(1)
    covered = (below >= (num + 1) // 10).double().mean()
    return {
        "gap_db": round(float(10 * torch.log10(1 + excess)), 4),
        "coverage": round(float(covered), 4),
        "coverage_error": round(float((0.09 / len(p.x)) ** 0.5), 4),
        "variance_share": round(float(samples.var(1).sum() / p.trace.sum()), 4),
        "steps": steps,
        "seconds": round(time.process_time() - begin, 1),
    }


def rate(p: Problems, x: Tensor) -> Tensor:
    """Return the log density of images (B, …) given their measurements, or −‖x − E[x|m]‖²."""
    if p.log_density is not None:
        return p.log_density(x)
    centre = p.mean.to(x).repeat_interleave(len(x) // len(p.x), 0)
    return -(x - centre).square().flatten(1).sum(1)


def main() -> None:
    """Measure what is missing and write."""
    torch.set_num_threads(1)
    for name in sys.argv[1:] or PRIORS:
        problems = PRIORS[name]()
        for kind in ("network", "exact"):
            blind = kind == "network" and name in BLIND
            f = problems.exact if kind == "exact" else as_double(problems.network(), blind)
            if kind == "network" and not blind:
                row = {"denoising_excess": compare_errors(problems, f)}
                write(OUT, read(OUT) | {f"{name}.network": row}, sort_keys=True)
            for beta in problems.betas[kind]:
                key = f"{name}.{kind}.{beta:g}"
                if key in read(OUT):
                    continue
                row = measure(problems, f, beta, blind)
                print(key, row, flush=True)
                found = read(OUT) | {key: row}  # anew, for runs side by side
                write(OUT, found, sort_keys=True)


if __name__ == "__main__":
    main()
