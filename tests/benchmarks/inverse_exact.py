"""The constrained sampler against exact posteriors: the table of chapter 11.

    nice python tests/benchmarks/inverse_exact.py [prior ...]

Four priors whose posterior given the measurements is known, each with its exact denoiser and with
a network trained on the same images:

    gaussian   mean and covariance of garments at 8×8, 16 pixels kept, no noise
    mixture    four Gaussians fitted to the same garments, 10 pixels kept, no noise
    finite     the 100 garments of split A, 16 of 1024 pixels kept, σ_m = 0.5
    disks      disks of 32×32, a tenth of the pixels kept, σ_m = 0.05; exact by quadrature

The exact denoiser is told σ and follows its law. The networks are blind, as they are used: run by
the law, whatever y has become, some of their ascents leave for infinity. Networks: shipped for
`finite` and `disks`; for the others a UNet of one block is trained here for a minute and kept in
_build. They are measured on the first 40 problems.

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
from pathlib import Path
from typing import NamedTuple

import torch
from measured import read, write
from torch import Tensor

from gahb_core.checkpoints import load_denoiser
from gahb_core.denoisers import (
    Denoiser,
    Disks,
    gaussian_denoiser,
    memory_denoiser,
    mixture_denoiser,
    residual_denoiser,
)
from gahb_core.images import load_images, make_disks
from gahb_core.networks import UNet, fold_norm, initialize
from gahb_core.noise import make_generator, sample_normal
from gahb_core.sampling import Measurement, measure_pixels, sample_constrained

ROOT = Path(__file__).parents[2]
OUT, KEPT = ROOT / "book" / "measured" / "inverse_exact.json", ROOT / "_build" / "inverse_exact"
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


def train_small(name: str, draw: Callable[[int, int], Tensor], steps: int = 3000) -> Denoiser:
    """Return a blind UNet of one block trained on fresh draws, kept in _build."""
    path = KEPT / f"{name}.pt"
    net = initialize(UNet(1, base=16), seed=0)
    if path.is_file():
        net.load_state_dict(torch.load(path, weights_only=True))
        return residual_denoiser(fold_norm(net).requires_grad_(False))
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        generator = make_generator(0, "train", step)
        x = draw(128, step + 1).float()
        sigma = 0.004 * 250 ** torch.rand(len(x), 1, 1, 1, generator=generator)
        noise = sigma * torch.randn(x.shape, generator=generator)
        loss = ((net(x + noise) - noise) / sigma).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), path)
    return residual_denoiser(fold_norm(net).requires_grad_(False))


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
        exact, lambda: train_small(name, prior.sample_prior), x, m.analyze(x), m, 0.0,
        mean.reshape(x.shape), trace, lambda v: prior.log_density(v, 1e-4), 19,
        {"h": 0.05, "ramp": False, "sigma_end": 0.004}, dict.fromkeys(
            ("exact", "network"), (1.0, 0.3, 0.1, 0.03, 0.01)
        ),
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
        {"exact": (1.0, 0.3, 0.1, 0.03, 0.01), "network": (1.0, 0.3, 0.1)},
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
        None, 9, {}, {"exact": (1.0, 0.3, 0.1), "network": (1.0, 0.3, 0.1)},
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


def as_double(f: Denoiser) -> Denoiser:
    """Return the network `f`, of float32, for images of any type."""
    return lambda y, sigma=None: f(y.float()).to(y)


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
        few = problems._replace(
            x=problems.x[:40], measured=problems.measured[:40], mean=problems.mean[:40],
            trace=problems.trace[:40],
        )  # fmt: skip
        for kind, p in (("network", few), ("exact", problems)):
            f = problems.exact if kind == "exact" else as_double(problems.network())
            for beta in problems.betas[kind]:
                key = f"{name}.{kind}.{beta:g}"
                if key in read(OUT):
                    continue
                row = measure(p, f, beta, blind=kind == "network")
                print(key, row, flush=True)
                found = read(OUT) | {key: row}  # anew, for runs side by side
                write(OUT, found, sort_keys=True)


if __name__ == "__main__":
    main()
