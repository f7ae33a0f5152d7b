"""Local theories beside the networks: patch sizes, samples, perplexity, size of the dictionary.

    python book/experiments/local_theories.py [--sets fashion_16 faces …] [--seeds 100]

For each set of images and its network: the patch size k(σ) whose equivariant posterior has the
score most like the network's along the network's own trajectory; samples of networks and theories
from the same noise (`--seeds` of them), beside them those of a Gaussian with the mean and the
covariance of the training images, the mean image alone, and the network's own from other noise;
how many patches share an answer; with `--dictionaries`, samples and errors of posteriors that read
more or fewer training images. Beside the UNet of garments stand a transformer and the second
trainings of both, where they are here.
What is in the file is not measured again, and it is written after every part, so that it can be
stopped at any time; more seeds are added to those there. `--again` measures the sets named anew.
Chapter 12 shows it; Jacobians are in `local_bases.py`. One thread; minutes of a core for sets of
16×16 pixels, half an hour for 32×32; `--seeds 0` leaves the samples away; `--alone` draws those
that read no patches only.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from gahb_book.measured import FOLDER, read, write
from gahb_core import denoisers, metrics, noise, sampling
from gahb_core.data import MissingData, load_images
from gahb_core.training import TWICE, checkpoint_status, load_denoiser

OUT = FOLDER / "local_theories.json"
STEPS, SIGMA_END = 20, 0.01
SIZES = (3, 5, 7, 9, 11, 13, 15, 17)
BATCH = 10
PATCHED = ("els", "ls")
DICTIONARIES = ("els/60", "els/250", "els/1000", "ls/250", "ls/1000", "ls/4000")
LEVELS, NUM_DENOISED = (0.1, 0.2, 0.4), 20


class Set(NamedTuple):
    """Images, their networks, and how many training images the theories read."""

    dataset: str
    size: int
    num: int
    network: str
    other: str | None
    num_pool: int
    num_local: int
    transformer: str | None = None


SETS = {
    "fashion_16": Set(
        "fashion", 16, 10_000, "bfcnn/fashion/N=10000/A", "bfcnn/fashion/N=10000/B", 1_000, 4_000
    ),
    "faces_16": Set("faces", 16, 6_000, "faces/size=16/N=6000/A", None, 1_000, 4_000),
    "fashion": Set(
        "fashion",
        32,
        10_000,
        "fashion/N=10000/A",
        "fashion/N=10000/B",
        250,
        1_000,
        "transformer/fashion/N=10000/A",
    ),
    "faces": Set("faces", 32, 6_000, "faces/N=6000/A", "faces/N=6000/B", 250, 1_000),
    "disks": Set("disks", 32, 10_000, "disks", None, 250, 1_000),
    "c_alpha": Set(
        "c_alpha/alpha=2",
        32,
        10_000,
        "c_alpha/alpha=2/N=100000/A",
        "c_alpha/alpha=2/N=100000/B",
        250,
        1_000,
    ),
}


def named(of: Set) -> dict[str, str]:
    """Return the networks of a set by kind: the second trainings, too, where they are here."""
    first = {"network": of.network, "other_network": of.other, "transformer": of.transformer}
    again = {f"second_{n}": f"seed=1/{v}" for n, v in first.items() if v in TWICE}
    again = {n: v for n, v in again.items() if checkpoint_status(v) == "trained"}
    return {n: v for n, v in first.items() if v} | again


def fit_gaussian(train: Tensor) -> denoisers.Gaussian:
    """Return the exact denoiser of a Gaussian with the mean and covariance of the images."""
    flat = train.double().flatten(1)
    covariance = torch.cov(flat.T)
    return denoisers.gaussian_denoiser(train.double().mean(0), (covariance + covariance.T) / 2)


class Machines:
    """The machines of one set, made when first asked for."""

    def __init__(self, of: Set) -> None:
        self.of = of
        self.train = load_images(of.dataset, "A", of.num, of.size)
        self.test = load_images(of.dataset, "test", NUM_DENOISED, of.size)
        self.beside = {kind: load_denoiser(name) for kind, name in named(of).items()}
        self.network = self.beside.pop("network")
        self.ideal = denoisers.empirical_denoiser(self.train)
        self.linear = fit_gaussian(self.train)
        self.els = cache(lambda k: denoisers.equivariant_denoiser(self.train[: of.num_pool], k))
        self.ls = cache(lambda k: denoisers.local_denoiser(self.train[: of.num_local], k))
        self.batch = BATCH if of.size < 32 else BATCH // 2
        self.sizes = [k for k in SIZES if k < of.size]

    def by_level(self, kind: str, levels: list, sizes: list) -> Callable:
        """Return the machine whose patch size is that of the nearest level (in log σ)."""

        def f(y: Tensor, sigma: Tensor) -> Tensor:
            gaps = (torch.tensor(levels).log() - torch.as_tensor(sigma).flatten()[0].log()).abs()
            return getattr(self, kind)(sizes[int(gaps.argmin())])(y, sigma)

        return f


def draw(machines: Machines, f: Callable, num: int, start: int = 0) -> Iterator[sampling.Step]:
    """Yield the deterministic ascent of STEPS estimates from σ = 1 about the mean image (DDIM)."""
    shape = (num, *machines.train.shape[1:])
    z = noise.sample_normal(shape, 0, start, key="start")
    y0 = machines.train.mean(0) + z
    options = {"beta": 1.0, "ramp": False, "h": 1 - SIGMA_END ** (1 / (STEPS - 1))}
    with torch.no_grad():
        yield from sampling.ascend(f, y0, sigma_0=1.0, sigma_end=1.001 * SIGMA_END, **options)


def calibrate(machines: Machines) -> dict:
    """Return, at every second level, the median cosine of the scores for each patch size.

    That of the transformer, too, if there is one, on the way of the network's samples.
    """
    levels, found, other = [], [], []
    num = 6 if machines.of.size < 32 else 3
    for step in draw(machines, machines.network, num, start=10_000):
        if step.iteration % 2:
            continue
        sigma = float(step.sigma_hat[0])
        theories = [machines.els(k)(step.y, sigma) - step.y for k in machines.sizes]
        levels.append(sigma)
        found.append(liken(theories, step.x_hat - step.y))
        if "transformer" in machines.beside:
            score = machines.beside["transformer"](step.y) - step.y
            other.append(liken(theories, score))
        print(f"σ = {sigma:.3f}:", [round(v, 4) for v in found[-1]], flush=True)
    best, patch = pick(machines.sizes, found), {"sigmas": levels, "sizes": machines.sizes}
    more = {"transformer": other, "transformer_best": pick(machines.sizes, other)} if other else {}
    return patch | {"cosine": found, "best": best} | more


def liken(theories: list[Tensor], score: Tensor) -> list[float]:
    """Return the median cosine of each theory's scores and a network's."""
    return [float(metrics.cosine_similarity(t, score).median()) for t in theories]


def pick(sizes: list[int], rows: list[list[float]]) -> list[int]:
    """Return the size of the largest value of each row."""
    return [sizes[max(range(len(row)), key=row.__getitem__)] for row in rows]


def list_rules(machines: Machines, patch: dict | None) -> dict[str, Callable]:
    """Return everything that draws beside the network, by name."""
    rules = {"ideal": machines.ideal, "gaussian": machines.linear, **machines.beside}
    patched = {
        kind: machines.by_level(kind, patch["sigmas"], patch["best"])
        for kind in (PATCHED if patch else ())
    }
    return patched | rules


def compare(machines: Machines, rules: dict, start: int) -> tuple[dict, dict]:
    """Return the correlations of a batch of samples with the network's, and five of the samples.

    The mean training image and the network's sample from other noise are among them. Those with
    the sample of a transformer are named "transformer/els" and so on.
    """
    rules = {"network": machines.network} | rules
    if "transformer" in machines.beside:
        rules |= {"transformer": machines.beside["transformer"]}
    found = {
        name: sampling.finish(draw(machines, f, machines.batch, start)).x.float()
        for name, f in rules.items()
    }
    r = {}
    for prefix, name in (("", "network"), ("transformer/", "transformer")):
        if (own := found.get(name)) is None:
            continue
        others = found | {
            "mean": machines.train.mean(0).expand_as(own),
            "other_noise": own.roll(1, 0),
        }
        r |= {
            f"{prefix}{n}": [round(v, 4) for v in metrics.correlation(x, own).tolist()]
            for n, x in others.items()
            if n not in ("network", name)
        }
    shown = {n: (255 * x[:5, 0].clamp(0, 1)).round().int().tolist() for n, x in found.items()}
    return r, shown


def share(machines: Machines) -> dict:
    """Return the median over pixels and images of the log perplexity, by σ and patch size."""
    sigmas, sizes = (0.05, 0.1, 0.2, 0.4, 0.8), machines.sizes
    found = {"sigmas": sigmas, "sizes": sizes, "entries": {}}
    inside = machines.of.size
    for kind in ("els", "ls"):
        found[kind] = []
        for s in sigmas:
            y = noise.add_noise(machines.test[:2], s, 0)
            logs = [getattr(machines, kind)(k).perplexity(y, s).log() for k in sizes]
            found[kind].append([round(float(v.median()), 3) for v in logs])
    found["entries"]["els"] = [machines.of.num_pool * (inside - k + 1) ** 2 for k in sizes]
    found["entries"]["ls"] = [machines.of.num_local for _ in sizes]
    return found


def nearest_size(patch: dict, sigma: float) -> int:
    """Return the patch size of the calibrated level nearest to `sigma`."""
    gaps = [abs(torch.tensor(s / sigma).log()) for s in patch["sigmas"]]
    return patch["best"][gaps.index(min(gaps))]


def sample_more(machines: Machines, found: dict, seeds: int) -> Iterator[None]:
    """Add correlations of samples until there are `seeds` of each, and yield after every batch."""
    r, rules = found.setdefault("r", {}), list_rules(machines, found.get("patch"))
    for start in range(0, seeds, machines.batch):
        lacking = {n: f for n, f in rules.items() if len(r.get(n, [])) <= start}
        if not lacking and len(r.get("other_noise", [])) > start:
            continue
        new, shown = compare(machines, lacking, start)
        for kind, values in new.items():
            if len(r.get(kind, [])) == start:
                r[kind] = r.get(kind, []) + values
        if start == 0:
            found["samples"] = found.get("samples", {}) | shown
        medians = {n: round(float(torch.tensor(v).median()), 3) for n, v in r.items()}
        print(start, medians, flush=True)
        yield


def vary(machines: Machines, found: dict, seeds: int) -> Iterator[None]:
    """Measure r and the error of posteriors of dictionaries of several sizes, one at a time.

    The error is beside that of the network and of the Gaussian, on the same images and noise.
    """
    patch, made = found["patch"], found.setdefault("dictionary", {})
    for key in (n for n in DICTIONARIES if n not in made):
        kind, _, num = key.partition("/")
        reader = Reader(machines, int(num))
        rule = {kind: reader.by_level(kind, patch["sigmas"], patch["best"])}
        r = []
        for start in range(0, seeds, machines.batch):
            r += compare(machines, rule, start)[0][kind]
        psnr = denoise(machines, rule[kind])
        made[key] = {"r": r, "psnr": psnr}
        print(key, float(torch.tensor(r).median()), psnr, flush=True)
        yield
    if "network" not in made:
        for name, f in (("network", machines.network), ("gaussian", machines.linear)):
            made[name] = {"psnr": denoise(machines, f)}
        yield


class Reader(Machines):
    """Posteriors of another number of training images; the networks are those of the set."""

    def __init__(self, machines: Machines, num: int) -> None:
        train = machines.train[:num]
        self.els = cache(lambda k: denoisers.equivariant_denoiser(train, k))
        self.ls = cache(lambda k: denoisers.local_denoiser(train, k))


def denoise(machines: Machines, f: Callable) -> list[list[float]]:
    """Return the PSNR-out (dB) of each test image at each of LEVELS."""
    rows = metrics.psnr_curve(f, machines.test, LEVELS, batch=machines.batch)
    return [[round(v, 3) for v in row] for row in rows.tolist()]


def measure(name: str, found: dict, options: argparse.Namespace) -> Iterator[None]:
    """Fill `found` with what is missing of a set, and yield after every part."""
    machines = Machines(SETS[name])
    if options.alone:
        yield from sample_more(machines, found, options.seeds)
        return
    if "patch" not in found:
        found["patch"] = calibrate(machines)
        yield
    if options.dictionaries:
        yield from vary(machines, found, options.seeds)
        return
    if "perplexity" not in found:
        found["perplexity"] = share(machines)
        yield
    yield from sample_more(machines, found, options.seeds)


def main() -> None:
    """Measure what is missing and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--dictionaries", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = read(OUT)
    for name in options.sets:
        if checkpoint_status(SETS[name].network) != "trained":
            print(f"{name}: no network {SETS[name].network}")
            continue
        key = f"{name}_networks" if options.alone else name
        found[key] = {} if options.again else found.get(key, {})
        try:
            for _ in measure(name, found[key], options):
                write(OUT, read(OUT) | {key: found[key]}, indent=None)
        except MissingData as missing:
            print(f"{name}: {missing}")


if __name__ == "__main__":
    main()
