"""The constrained sampler against exact posteriors: the tables of chapter 11.

    nice python book/experiments/inverse_exact.py [prior ...]

Three priors whose posterior given the measurements is known, each with its exact denoiser and with
a network trained on the same images:

    gaussian   mean and covariance of garments at 8×8, 16 pixels kept, no noise
    mixture    four Gaussians fitted to the same garments, 10 pixels kept, no noise
    finite     the 100 garments of split A, 16 of 1024 pixels kept, σ_m = 0.5

Two samplers: `ramp`, which the pages use (the step grows from 0.01, σ ends at 0.01), and `fixed`
(h = 0.05 throughout, σ ends at 0.004). The finite set has the ramp alone, the networks of the
other two the fixed step alone. σ follows its schedule in all of them. The networks of `gaussian`
and `mixture` are conditioned on it: three dense layers of 512, trained here for three minutes each
and kept in _build. (On 64 pixels a blind network reads σ badly, and small bias-free UNets learned
these images hardly or not at all.) That of `finite` is shipped, and blind. `denoising_excess` is
the share by which the squared error of a network that is conditioned on σ exceeds the exact
denoiser's.

For `finite` there is a third denoiser, `conditional`: E[x | y, m], which knows the measurements m
with their noise at every level. Nothing is imposed then, and what imposing costs is the difference.

Sums are over the problems, S samples of each, x̄ their mean:

gap_db = 10 log10(1 + Σ (‖x̄ − E[x|m]‖² − s²/S) / Σ tr Cov[x|m]), s² the sum of the samples'
variances over the pixels: s²/S is what S samples add by chance. It is the MMSE gap
10 log10(E‖x̄ − x‖²/E‖E[x|m] − x‖²) of endlessly many samples, with the mean over x | m taken
exactly. variance_share = Σ s² / Σ tr Cov[x|m].

coverage = the share of true images that lie in the 90% highest-density set of the samples (for
finite, whose posterior has no density: the ball about E[x|m]): with S = 19, at least 2
samples are less probable than the true image, with S = 9 at least 1: 0.9 for a perfect sampler,
exactly. Errors are standard errors, from 1,000 bootstraps over the problems. Rows without them (of
networks, and the slowest of exact denoisers) are of the same samples, from before errors were kept;
their coverage_error is binomial.

What is in book/measured/inverse_exact.json is not measured again. Twenty minutes of one core.
"""

import sys
import time
from collections.abc import Callable
from itertools import chain, pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gahb_book.measured import read, write
from gahb_core.data import load_images
from gahb_core.denoisers.contract import Denoiser
from gahb_core.denoisers.empirical import empirical_denoiser
from gahb_core.denoisers.gaussian import gaussian_denoiser
from gahb_core.denoisers.mixture import mixture_denoiser
from gahb_core.noise import make_generator, sample_normal
from gahb_core.sampling.ascent import sample
from gahb_core.sampling.measurements import Measurement, measure_pixels, sample_constrained
from gahb_core.training import load_denoiser

ROOT = Path(__file__).parents[2]
OUT, KEPT = ROOT / "book" / "measured" / "inverse_exact.json", ROOT / "_build" / "inverse_exact"
BETAS = (1.0, 0.3, 0.1, 0.03, 0.01)
SAMPLERS = {  # of garments at 8×8
    "ramp": {},
    "fixed": {"h": 0.05, "ramp": False, "sigma_end": 0.004},
}
FEW = {("finite", "network", "ramp"): 20}  # problems of what costs most; the others have all
FIGURES = ("gap_db", "variance_share", "coverage")
FLOOR = 0.03  # least deviation of the Gaussians: a mode below σ_end would end without variance


class Problems(NamedTuple):
    """Measured images of one prior, and what is known of x given the measurements.

    `denoisers` load or train them, by kind; the conditional one is f(y, σ, measurements). `x`
    (P, C, H, W), `mean` of the same shape, `trace` (P,) of the covariance, `log_density` of images
    (B, …) given their measurements but for a constant, or None. `samplers` are options of
    `sample_constrained`, by name.
    """

    denoisers: dict[str, Callable[[], Denoiser]]
    x: Tensor
    measured: Tensor
    measurement: Measurement
    sigma_m: float
    mean: Tensor
    trace: Tensor
    log_density: Callable[[Tensor], Tensor] | None
    num_samples: int
    samplers: dict[str, dict]

    def first(self, num: int) -> "Problems":
        """Return the first `num` problems."""
        cut = {k: getattr(self, k)[:num] for k in ("x", "measured", "mean", "trace")}
        return self._replace(**cut)


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
    """Return a network conditioned on σ, trained on fresh draws, and kept in _build."""
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


# --- the three priors -----------------------------------------------------------------------------


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
    network = lambda: as_double(train_dense(name, prior.sample_prior), blind=False)  # noqa: E731
    return Problems(
        {"exact": lambda: exact, "network": network}, x, m.analyze(x), m, 0.0,
        mean.reshape(x.shape), trace, lambda v: prior.log_density(v, 1e-4), 19, SAMPLERS,
    )  # fmt: skip


def know_measurements(x: Tensor, clean: Tensor, sigma_m: float) -> Denoiser:
    """Return f(y, σ, m) = E[x | y, m] of a finite set x whose clean measurements are `clean`."""
    flat = x.flatten(1)

    def f(y: Tensor, sigma: Tensor, measured: Tensor) -> Tensor:
        seen = torch.cdist(measured, clean).square() / (2 * sigma_m**2)
        near = torch.cdist(y.flatten(1), flat).square() / (2 * sigma[:, None] ** 2)
        return ((-seen - near).softmax(1) @ flat).reshape(y.shape)

    return f


def make_finite(num: int = 100) -> Problems:
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
    denoisers = {
        "exact": lambda: empirical_denoiser(train),
        "conditional": lambda: know_measurements(train, clean, sigma_m),
        "network": lambda: as_double(load_denoiser("fashion/N=100/A"), blind=True),
    }
    return Problems(
        denoisers, train[pick], measured, m, sigma_m, mean.reshape(-1, 1, 32, 32), trace, None, 9,
        {"ramp": {"sigma_0": 3.0, "sigma_max": 10.0}},
    )  # fmt: skip


PRIORS = {
    "gaussian": lambda: make_gaussians("gaussian", 1, 16),
    "mixture": lambda: make_gaussians("mixture", 4, 10),
    "finite": make_finite,
}


# --- measuring ------------------------------------------------------------------------------------


def draw(p: Problems, f: Denoiser, kind: str, **options: float) -> tuple[Tensor, int]:
    """Return samples (P·S, C, H, W), those of a problem together, and the most steps taken.

    Without noise in the measurements all chains are the channels of one image, so that one stream
    draws their noise.
    """
    measured = p.measured.repeat_interleave(p.num_samples, 0)
    num, shape = len(measured), p.x.shape[1:]
    options |= {"seed": 1, "blind": False, "max_iterations": 100_000}
    if kind == "conditional":
        found = sample(f, num, shape, condition=measured, **options)
        return found.x, int(found.iterations.max())
    if p.sigma_m:
        options |= {"sigma_m": p.sigma_m}
        found = sample_constrained(f, p.measurement, measured, shape, **options)
        return found.x, int(found.iterations.max())

    def packed(y: Tensor, sigma: Tensor) -> Tensor:
        return f(y.reshape(num, *shape).to(p.x), sigma.to(p.x)).reshape(y.shape).to(y)

    m = Measurement(
        lambda y: p.measurement.analyze(y.reshape(num, *shape))[None],
        lambda c: p.measurement.synthesize(c[0]).reshape(1, -1, *shape[1:]),
        num * p.measurement.num,
    )
    together = (num * shape[0], *shape[1:])
    found = sample_constrained(packed, m, measured[None], together, **options)
    return found.x.reshape(num, *shape), int(found.iterations)


def as_double(f: Denoiser, blind: bool) -> Denoiser:
    """Return the network `f`, of float32, for images of any type."""
    if blind:
        return lambda y, sigma=None: f(y.float()).to(y)
    return lambda y, sigma: f(y.float(), sigma.float().expand(len(y))).to(y)


def compare_errors(p: Problems, f: Denoiser) -> dict[str, float]:
    """Return by how much the mean squared error of `f` exceeds the exact denoiser's, by σ."""
    found, exact = {}, p.denoisers["exact"]()
    for s in (1.0, 0.3, 0.1, 0.03, 0.01):
        y = p.x + s * sample_normal(tuple(p.x.shape), 2, key="excess").to(p.x)
        sigma = torch.full((len(y),), s).to(y)
        errors = [(g(y, sigma) - p.x).square().mean() for g in (f, exact)]
        found[f"{s:g}"] = round(float(errors[0] / errors[1]) - 1, 3)
    return found


def summarize(parts: Tensor) -> Tensor:
    """Return gap in dB, variance share and coverage of problems (…, P, 4)."""
    excess, variance, trace, covered = parts.mean(-2).unbind(-1)
    return torch.stack([10 * torch.log10(1 + excess / trace), variance / trace, covered], -1)


def measure(p: Problems, f: Denoiser, kind: str, **options: float) -> dict:
    """Return gap, variance share and coverage of one denoiser, with their standard errors."""
    begin, num = time.process_time(), p.num_samples
    found, steps = draw(p, f, kind, **options)
    samples = found.reshape(len(p.x), num, -1).double()
    away = samples.mean(1) - p.mean.flatten(1).double()
    variance = samples.var(1).sum(1)
    score, true = rate(p, found.to(p.x)), rate(p, p.x)
    below = (score.reshape(len(p.x), num) < true[:, None]).sum(1)
    covered = (below >= (num + 1) // 10).double()
    parts = torch.stack(
        [away.square().sum(1) - variance / num, variance, p.trace.double(), covered], 1
    )
    again = torch.randint(len(parts), (1000, len(parts)), generator=make_generator(0, "bootstrap"))
    errors = summarize(parts[again]).std(0)
    row = {}
    for name, value, error in zip(FIGURES, summarize(parts).tolist(), errors.tolist(), strict=True):
        row |= {name: round(value, 4), f"{name}_error": round(error, 4)}
    seconds = round(time.process_time() - begin, 1)
    return row | {"problems": len(p.x), "steps": steps, "seconds": seconds}


def rate(p: Problems, x: Tensor) -> Tensor:
    """Return the log density of images (B, …) given their measurements, or −‖x − E[x|m]‖²."""
    if p.log_density is not None:
        return p.log_density(x)
    centre = p.mean.to(x).repeat_interleave(len(x) // len(p.x), 0)
    return -(x - centre).square().flatten(1).sum(1)


def measure_prior(name: str, kind: str) -> None:
    """Measure what is missing of one prior and one kind of denoiser, and write."""
    problems = PRIORS[name]()
    fixed_only = kind == "network" and "fixed" in problems.samplers
    cells = [
        (sampler, beta)
        for sampler in (("fixed",) if fixed_only else problems.samplers)
        for beta in BETAS
        if f"{name}.{kind}.{sampler}.{beta:g}" not in read(OUT)
    ]
    if kind not in problems.denoisers or not cells:
        return
    f = problems.denoisers[kind]()
    if kind == "network" and name != "finite" and f"{name}.network" not in read(OUT):
        row = {"denoising_excess": compare_errors(problems, f)}
        write(OUT, read(OUT) | {f"{name}.network": row}, sort_keys=True)
    for sampler, beta in cells:
        key = f"{name}.{kind}.{sampler}.{beta:g}"
        p = problems.first(FEW.get((name, kind, sampler), len(problems.x)))
        row = measure(p, f, kind, beta=beta, **problems.samplers[sampler])
        print(key, row, flush=True)
        write(OUT, read(OUT) | {key: row}, sort_keys=True)  # anew, for runs side by side


def main() -> None:
    """Measure what is missing and write."""
    torch.set_num_threads(1)
    for kind in ("exact", "conditional", "network"):
        for name in sys.argv[1:] or PRIORS:
            measure_prior(name, kind)


if __name__ == "__main__":
    main()
