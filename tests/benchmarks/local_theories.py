"""Local theories beside the networks: patch sizes, samples, Jacobians, perplexity, fields.

    python tests/benchmarks/local_theories.py [--sets fashion_16 faces …] [--seeds 100]

For each set of images and its network: the patch size k(σ) whose equivariant machine has the
score most like the network's along the network's own way down; samples of network and theories
from the same noise (`--seeds` of them); spectra and eigenvectors of their Jacobians at the same
noisy images; how many patches share an answer. Last, the BF-CNNs of known receptive field. What is
in the file is not measured again, and it is written after every part, so that it can be stopped at
any time; more seeds are added to those there. `--again` measures the sets named anew. Chapter 12
shows it. One thread; minutes of a core for sets of 16×16 pixels, an hour for one of 32×32.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from typing import NamedTuple

import torch
from measured import FOLDER, read, write
from torch import Tensor

from gahb_core import denoisers, jacobian, metrics, noise, sampling
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


SETS = {
    "fashion_16": Set(
        "fashion", 16, 10_000, "bfcnn/fashion/N=10000/A", "bfcnn/fashion/N=10000/B", 1_000, 4_000
    ),
    "faces_16": Set("faces", 16, 6_000, "faces/size=16/N=6000/A", None, 1_000, 4_000),
    "fashion": Set("fashion", 32, 10_000, "fashion/N=10000/A", "fashion/N=10000/B", 250, 1_000),
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
FIELDS = {r: f"local/faces/pixel/RF={r}" for r in (5, 9, 13, 23, 43)}


class Machines:
    """The machines of one set, made when first asked for."""

    def __init__(self, of: Set) -> None:
        self.of = of
        self.train = load_images(of.dataset, "A", of.num, of.size)
        self.test = load_images(of.dataset, "test", BASIS_IMAGES, of.size)
        self.network = load_denoiser(of.network)
        self.ideal = denoisers.posterior_mean(self.train)
        self.els = cache(lambda k: denoisers.equivariant_denoiser(self.train[: of.num_pool], k))
        self.ls = cache(lambda k: denoisers.local_denoiser(self.train[: of.num_local], k))
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
    """Return, at every second level, the median cosine of the scores for each patch size."""
    levels, found = [], []
    for step in draw(machines, machines.network, 6, start=10_000):
        if step.iteration % 2:
            continue
        sigma = float(step.sigma_hat[0])
        score = step.x_hat - step.y
        row = []
        for k in machines.sizes:
            theory = machines.els(k)(step.y, sigma) - step.y
            row.append(float(metrics.cosine_similarity(theory, score).median()))
        levels.append(sigma)
        found.append(row)
        print(f"σ = {sigma:.3f}:", [round(v, 4) for v in row], flush=True)
    best = [machines.sizes[max(range(len(row)), key=row.__getitem__)] for row in found]
    return {"sigmas": levels, "sizes": machines.sizes, "cosine": found, "best": best}


def compare(machines: Machines, patch: dict, start: int) -> tuple[dict, dict]:
    """Return the correlations of BATCH samples of theory and network, and the samples of five."""
    rules = {
        kind: machines.by_level(kind, patch["sigmas"], patch["best"]) for kind in ("els", "ls")
    }
    rules |= {"network": machines.network, "ideal": machines.ideal}
    if machines.of.other:
        rules["other_network"] = load_denoiser(machines.of.other)
    found = {name: sampling.drain(draw(machines, f, BATCH, start)).x for name, f in rules.items()}
    network = found["network"]
    r = {n: metrics.correlation(x, network).tolist() for n, x in found.items() if n != "network"}
    shown = {n: (255 * x[:5, 0].clamp(0, 1)).round().int().tolist() for n, x in found.items()}
    return r, shown


def differentiate(machines: Machines, sigma: float, image: int, k: int) -> dict[str, Tensor]:
    """Return the Jacobians (D, D) of network and theories at one noisy image."""
    y = noise.add_noise(machines.test[image : image + 1], sigma, 0, image)
    found = {"network": jacobian.dense(machines.network, y)}
    if machines.of.other:
        found["other_network"] = jacobian.dense(load_denoiser(machines.of.other), y)
    found["els"] = machines.els(k).rows(y, sigma)[0]
    found["ls"] = machines.ls(k).rows(y, sigma)[0]
    found["ideal"] = jacobian.dense(machines.ideal, y, sigma)
    return found


def roughness(atoms: Tensor) -> list[float]:
    """Return ‖∇e‖² of each unit atom (K, 1, H, W): 0 if flat, 8 for a chequerboard."""
    steps = (atoms.diff(dim=-1), atoms.diff(dim=-2))
    return sum(s.square().sum((1, 2, 3)) for s in steps).tolist()


def describe(machines: Machines, sigma: float, image: int, k: int) -> dict:
    """Return spectra, roughness, asymmetry, and overlaps of the first ATOMS with the network's."""
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
            "overlap": jacobian.overlap(s.atoms[:ATOMS], top),
        }
        for n, s in spectra.items()
    }
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
    while (start := len(r.get("els", []))) < seeds:
        new, shown = compare(machines, found["patch"], start)
        for kind, values in new.items():
            r[kind] = r.get(kind, []) + [round(v, 4) for v in values]
        found.setdefault("samples", shown)
        medians = {n: round(float(torch.tensor(v).median()), 3) for n, v in r.items()}
        print(start, medians, flush=True)
        yield


def measure(name: str, found: dict, seeds: int) -> Iterator[None]:
    """Fill `found` with what is missing of a set, and yield after every part."""
    machines = Machines(SETS[name])
    if "patch" not in found:
        found["patch"] = calibrate(machines)
        yield
    yield from sample_more(machines, found, min(seeds, 2 * BATCH))
    basis = found.setdefault("basis", {})
    for image, sigma in product(range(BASIS_IMAGES), BASIS_SIGMAS):
        if f"{sigma}/{image}" not in basis:
            k = nearest_size(found["patch"], sigma)
            basis[f"{sigma}/{image}"] = describe(machines, sigma, image, k)
            of = basis[f"{sigma}/{image}"]["of"]
            print(sigma, image, {n: round(v["overlap"], 3) for n, v in of.items()}, flush=True)
            yield
    if "perplexity" not in found:
        found["perplexity"] = share(machines)
        yield
    yield from sample_more(machines, found, seeds)


def measure_fields(num_train: int = 60) -> dict:
    """Return the cosine of the scores of each BF-CNN of faces and of the machine of each size."""
    train, test = (
        load_images("faces", split, n, 64) for split, n in (("A", num_train), ("test", 2))
    )
    sizes, sigmas = (3, 5, 7, 9, 13, 23), (0.1, 0.3)
    found = {"sizes": sizes, "sigmas": sigmas, "cosine": {r: [] for r in FIELDS}}
    nets = {r: load_denoiser(name) for r, name in FIELDS.items()}
    theories = [denoisers.equivariant_denoiser(train, k) for k in sizes]
    for s in sigmas:
        y = noise.add_noise(test, s, 0)
        scores = [f(y, s) - y for f in theories]
        for r, net in nets.items():
            with torch.no_grad():
                own = net(y) - y
            cosine = [float(metrics.cosine_similarity(v, own).mean()) for v in scores]
            found["cosine"][r].append(cosine)
    return found


def main() -> None:
    """Measure what is missing and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--again", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = read(OUT)
    for name in options.sets:
        if find_status(SETS[name].network) != "trained":
            print(f"{name}: no network {SETS[name].network}")
            continue
        found[name] = {} if options.again else found.get(name, {})
        try:
            for _ in measure(name, found[name], options.seeds):
                write(OUT, found, indent=None)
        except MissingData as missing:
            print(f"{name}: {missing}")
    if "fields" not in found and "faces" in options.sets:
        found["fields"] = measure_fields()
        write(OUT, found, indent=None)


if __name__ == "__main__":
    main()
