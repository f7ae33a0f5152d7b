"""Local theories beside the networks: patch sizes, samples, Jacobians, perplexity.

    python tests/benchmarks/local_theories.py [--sets fashion_16 faces …] [--seeds 100]

For each set of images and its network: the patch size k(σ) whose equivariant machine has the
score most like the network's along the network's own way down; samples of network and theories
from the same noise (`--seeds` of them); spectra and eigenvectors of their Jacobians at the same
noisy images; how many patches share an answer. Beside the UNet of garments stands a transformer.
What is in the file is not measured again, and it is written after every part, so that it can be
stopped at any time; more seeds are added to those there. `--again` measures the sets named anew.
Chapter 12 shows it. One thread; minutes of a core for sets of 16×16 pixels, half an hour for 32×32;
`--seeds 0` leaves the samples away; `--alone` draws those of networks and memorizer only.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from typing import NamedTuple

import torch
from measured import FOLDER, read, write
from torch import Tensor

from gahb_core import bases, denoisers, jacobian, metrics, noise, sampling
from gahb_core.checkpoints import find_status, load_denoiser
from gahb_core.images import MissingData, load_images

OUT = FOLDER / "local_theories.json"
STEPS, SIGMA_END = 20, 0.01
SIZES = (3, 5, 7, 9, 11, 13, 15, 17)
BATCH = 10
ATOMS, BASIS_SIGMAS, BASIS_IMAGES = 12, (0.1, 0.2, 0.4), 4


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


class Machines:
    """The machines of one set, made when first asked for."""

    def __init__(self, of: Set) -> None:
        self.of = of
        self.train = load_images(of.dataset, "A", of.num, of.size)
        self.test = load_images(of.dataset, "test", BASIS_IMAGES, of.size)
        self.network = load_denoiser(of.network)
        names = {"other_network": of.other, "transformer": of.transformer}
        self.beside = {kind: load_denoiser(name) for kind, name in names.items() if name}
        self.ideal = denoisers.memory_denoiser(self.train)
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


def compare(machines: Machines, patch: dict | None, start: int) -> tuple[dict, dict]:
    """Return the correlations of a batch of samples of theory and network, and the samples of five.

    Those with the sample of a transformer are named "transformer/els" and so on.
    """
    rules = {
        kind: machines.by_level(kind, patch["sigmas"], patch["best"])
        for kind in (("els", "ls") if patch else ())
    }
    rules |= {"network": machines.network, "ideal": machines.ideal, **machines.beside}
    found = {
        name: sampling.drain(draw(machines, f, machines.batch, start)).x
        for name, f in rules.items()
    }
    network = found["network"]
    r = {n: metrics.correlation(x, network).tolist() for n, x in found.items() if n != "network"}
    if "transformer" in found:
        own = found["transformer"]
        r |= {
            f"transformer/{n}": metrics.correlation(x, own).tolist()
            for n, x in found.items()
            if n not in ("network", "transformer")
        }
    shown = {n: (255 * x[:5, 0].clamp(0, 1)).round().int().tolist() for n, x in found.items()}
    return r, shown


def differentiate(machines: Machines, sigma: float, image: int, k: int) -> dict[str, Tensor]:
    """Return the Jacobians (D, D) of network and theories at one noisy image."""
    y = noise.add_noise(machines.test[image : image + 1], sigma, 0, image)
    found = {"network": jacobian.dense(machines.network, y)}
    found |= {n: jacobian.dense(f, y) for n, f in machines.beside.items()}
    found["els"] = machines.els(k).rows(y, sigma)[0]
    found["ls"] = machines.ls(k).rows(y, sigma)[0]
    ideal = jacobian.dense(machines.ideal, y, sigma)
    decided = float(ideal.norm()) < 1e-3  # on one training image: J is zero and has no basis
    return found if decided else found | {"ideal": ideal}


def roughness(atoms: Tensor) -> list[float]:
    """Return ‖∇e‖² of each unit atom (K, 1, H, W): 0 if flat, 8 for a chequerboard."""
    steps = (atoms.diff(dim=-1), atoms.diff(dim=-2))
    return sum(s.square().sum((1, 2, 3)) for s in steps).tolist()


def seams(atoms: Tensor, patch: int = 4) -> float:
    """Return the share of all steps (squared) between neighbours that lie between two patches."""
    total = between = 0.0
    for dim in (-1, -2):
        steps = atoms.diff(dim=dim).square().movedim(dim, -1)
        total, between = total + steps.sum(), between + steps[..., patch - 1 :: patch].sum()
    return float(between / total)


def waves(atoms: Tensor) -> list[float]:
    """Return how many cosines of the image's size make each atom: 1 / Σ p², p the energies."""
    energy = bases.make_dct(atoms.shape[-1]).analyze(atoms.double()).square()
    return (1 / energy.square().sum(1)).tolist()


def describe(machines: Machines, sigma: float, image: int, k: int) -> dict:
    """Return spectra, roughness, asymmetry, and overlaps of the first ATOMS with the network's.

    Where there is a transformer, with that one's, too.
    """
    matrices = differentiate(machines, sigma, image, k)
    shape = machines.test.shape[1:]
    spectra = {n: jacobian.decompose(J, shape) for n, J in matrices.items()}
    top = spectra["network"].atoms[:ATOMS]
    random = torch.linalg.qr(torch.randn(top[0].numel(), ATOMS, generator=noise.make_generator(0)))[
        0
    ]
    found = {
        n: {
            "lam": [round(float(v), 5) for v in s.lam[:128]],
            "trace": float(matrices[n].trace()),
            "sum_sq": float(matrices[n].square().sum()),
            "asymmetry": jacobian.asymmetry(matrices[n]),
            "roughness": roughness(s.atoms[:ATOMS]),
            "seams": seams(s.atoms[:ATOMS]),
            "waves": waves(s.atoms[:ATOMS]),
            "overlap": jacobian.overlap(s.atoms[:ATOMS], top),
        }
        for n, s in spectra.items()
    }
    if "transformer" in spectra:
        own = spectra["transformer"].atoms[:ATOMS]
        for n, s in spectra.items():
            found[n]["overlap_transformer"] = jacobian.overlap(s.atoms[:ATOMS], own)
    found["random"] = {"overlap": jacobian.overlap(random.T.reshape(ATOMS, *shape), top)}
    elsewhere = (image + 1) % BASIS_IMAGES
    y = noise.add_noise(machines.test[elsewhere : elsewhere + 1], sigma, 0, elsewhere)
    apart = jacobian.decompose(jacobian.dense(machines.network, y), shape).atoms[:ATOMS]
    found["other_image"] = {"overlap": jacobian.overlap(apart, top)}
    keep = {n: s.atoms[:ATOMS, 0].mul(1000).round().int().tolist() for n, s in spectra.items()}
    return {"k": k, "of": found} | ({"atoms": keep} if image == 0 else {})


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
    """Add correlations of samples until there are `seeds`, and yield after every batch."""
    r = found.setdefault("r", {})
    while (start := len(r.get("ideal", []))) < seeds:
        new, shown = compare(machines, found.get("patch"), start)
        for kind, values in new.items():
            r[kind] = r.get(kind, []) + [round(v, 4) for v in values]
        found.setdefault("samples", shown)
        medians = {n: round(float(torch.tensor(v).median()), 3) for n, v in r.items()}
        print(start, medians, flush=True)
        yield


def measure(name: str, found: dict, seeds: int, alone: bool) -> Iterator[None]:
    """Fill `found` with what is missing of a set, and yield after every part."""
    machines = Machines(SETS[name])
    if alone:
        yield from sample_more(machines, found, seeds)
        return
    if "patch" not in found:
        found["patch"] = calibrate(machines)
        yield
    basis = found.setdefault("basis", {})
    for image, sigma in product(range(BASIS_IMAGES), BASIS_SIGMAS):
        if f"{sigma}/{image}" not in basis:
            k = nearest_size(found["patch"], sigma)
            basis[f"{sigma}/{image}"] = describe(machines, sigma, image, k)
            of = basis[f"{sigma}/{image}"]["of"]
            print(sigma, image, {n: round(v["overlap"], 3) for n, v in of.items()}, flush=True)
            yield
    yield from sample_more(machines, found, min(seeds, BATCH))
    if "perplexity" not in found:
        found["perplexity"] = share(machines)
        yield
    yield from sample_more(machines, found, seeds)


def main() -> None:
    """Measure what is missing and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--alone", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = read(OUT)
    for name in options.sets:
        if find_status(SETS[name].network) != "trained":
            print(f"{name}: no network {SETS[name].network}")
            continue
        key = f"{name}_networks" if options.alone else name
        found[key] = {} if options.again else found.get(key, {})
        try:
            for _ in measure(name, found[key], options.seeds, options.alone):
                write(OUT, read(OUT) | {key: found[key]}, indent=None)
        except MissingData as missing:
            print(f"{name}: {missing}")


if __name__ == "__main__":
    main()
