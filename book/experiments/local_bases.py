"""Jacobians of networks and of local theories at the same noisy images: factors, spans, matrices.

    python book/experiments/local_bases.py [--sets fashion fashion_16 …] [--images 8]

For each set of `local_theories.py`, at σ = .1, .2 and .4: the Jacobians of the network, of the one
of the other split, of the transformer and of the second trainings where these are here, and those
of local and equivariant local posteriors, of the memorizer and of the best linear denoiser. Kept
are the factors, the share of the symmetric part, and how much the span of the first K eigenvectors
and the whole matrix have in common with the network's and with the transformer's. K = tr J of
these two is the number of directions that they keep. The patch size is the one of
`local_theories.json`, which must be there. Where there is a transformer: what it gains over the two
UNets, on its training images and on test images. Written after every image; what is there is not
measured again. Chapter 12 and its page on the transformer show it. Minutes of a core for a set.
"""

import argparse
from collections.abc import Iterator
from itertools import chain, product

import torch
from local_theories import OUT as THEORIES
from local_theories import SETS, Machines, named, nearest_size
from torch import Tensor

from gahb_book.measured import FOLDER, read, write
from gahb_core import bases, jacobian, metrics, noise
from gahb_core.data import MissingData, load_images
from gahb_core.training import checkpoint_status, load_denoiser

OUT = FOLDER / "local_bases.json"
SIGMAS, FEW, ATOMS = (0.1, 0.2, 0.4), 12, 8
COUNTS = (1, 2, 4, 8, 12, 20, 30, 60, 90, 120, 180, 240, 360, 480)
REFERENCES = ("network", "transformer")
PSNR_IN, NUM_ERRORS = (10, 20, 30), 128
PAIRS = (("transformer", "network"), ("transformer", "other_network"), ("network", "other_network"))


class Looked:
    """The networks and posteriors of a set, and its noisy test images."""

    def __init__(self, name: str, num_images: int, k: dict) -> None:
        self.machines = Machines(SETS[name])
        of = SETS[name]
        self.test = load_images(of.dataset, "test", num_images, of.size)
        self.shape, self.k = self.test.shape[1:], k
        self.blind = {"network": self.machines.network, **self.machines.beside}
        self.told = {"linear": self.machines.linear}
        if of.size < 32:  # its Jacobian costs most of all, and is zero at most images of 32×32
            self.told["ideal"] = self.machines.ideal
        self.known: dict[tuple, Tensor] = {}

    @property
    def kinds(self) -> list[str]:
        """What is compared, the references first."""
        return [
            *self.blind,
            "els",
            *(["ls"] if "ideal" in self.told else []),
            *self.told,
            "other_image",
        ]

    def jacobian(self, kind: str, sigma: float, image: int) -> Tensor:
        """Return J (D, D) of one kind at one noisy image."""
        if kind == "other_image":
            return self.jacobian("network", sigma, (image + 1) % len(self.test))
        y = noise.add_noise(self.test[image : image + 1], sigma, 0, image)
        if kind in ("els", "ls"):
            return getattr(self.machines, kind)(self.k[sigma]).rows(y, sigma)[0]
        if kind in self.told:
            return jacobian.jacobian_matrix(self.told[kind], y, sigma)
        if kind != "network":
            return jacobian.jacobian_matrix(self.blind[kind], y)
        if (sigma, image) not in self.known:
            self.known[sigma, image] = jacobian.jacobian_matrix(self.blind[kind], y)
        return self.known[sigma, image]


def roughness(atoms: Tensor) -> list[float]:
    """Return ‖∇e‖² of each unit atom (K, 1, H, W): 0 if flat, 8 for a chequerboard."""
    steps = (atoms.diff(dim=-1), atoms.diff(dim=-2))
    return [round(v, 4) for v in sum(s.square().sum((1, 2, 3)) for s in steps).tolist()]


def seams(atoms: Tensor, patch: int = 4) -> float:
    """Return the share of all steps (squared) between neighbours that lie between two patches."""
    total = between = 0.0
    for dim in (-1, -2):
        steps = atoms.diff(dim=dim).square().movedim(dim, -1)
        total, between = total + steps.sum(), between + steps[..., patch - 1 :: patch].sum()
    return float(between / total)


def waves(atoms: Tensor) -> float:
    """Return how many cosines of the image's size make an atom: 1 / Σ p², their median."""
    energy = bases.make_dct(atoms.shape[-1]).analyze(atoms.double()).square()
    return float((1 / energy.square().sum(1)).median())


def shared(a: Tensor, b: Tensor, counts: list[int]) -> list[float]:
    """Return, for each K, the share of the span of the first K atoms of `a` in that of `b`."""
    squares = (a.flatten(1).double() @ b.flatten(1).double().mT).square().cumsum(0).cumsum(1)
    return [round(float(squares[k - 1, k - 1] / k), 5) for k in counts]


def alone(J: Tensor, spectrum: jacobian.Spectrum) -> dict:
    """Return what one Jacobian is: its factors, its sums, how its eigenvectors look."""
    num = min(max(1, round(float(J.trace()))), len(J))
    kept = spectrum.atoms[:num]
    return {
        "lam": [round(float(v), 4) for v in spectrum.lam[:256]],
        "trace": float(J.trace()),
        "symmetric": float(jacobian.symmetric_part(J).square().sum() / J.square().sum()),
        "roughness": roughness(spectrum.atoms[:128]),
        "kept": {
            "roughness": sum(roughness(kept)) / num,
            "seams": seams(kept),
            "waves": waves(kept),
        },
    }


def beside(J: Tensor, atoms: Tensor, reference: tuple[Tensor, Tensor]) -> dict:
    """Return the overlaps of the spans with a reference's, and the cosine of the two matrices."""
    other, of = reference
    counts = [k for k in COUNTS if k <= len(J)] + [round(float(other.trace()))]
    cosine = metrics.cosine_similarity(J.flatten()[None], other.flatten()[None])
    return {"overlap": shared(atoms, of, counts), "cosine": float(cosine)}


def describe(looked: Looked, sigma: float, image: int, found: dict) -> None:
    """Fill in what is missing of one noisy image; `found` has the counts and each kind."""
    J = {n: looked.jacobian(n, sigma, image) for n in REFERENCES if n in looked.blind}
    spectra = {n: jacobian.eigendecompose(m, looked.shape) for n, m in J.items()}
    found["counts"] = [k for k in COUNTS if k <= len(J["network"])]
    for kind in looked.kinds:
        if kind in found["of"]:
            continue
        matrix = J[kind] if kind in J else looked.jacobian(kind, sigma, image)
        if float(matrix.norm()) < 1e-3:
            continue  # a memorizer that has decided: J is zero and has no basis
        own = spectra.get(kind) or jacobian.eigendecompose(matrix, looked.shape)
        found["of"][kind] = alone(matrix, own) | {
            n: beside(matrix, own.atoms, (J[n], spectra[n].atoms)) for n in J if n != kind
        }
        if image == 0 and sigma == 0.2:
            kept = own.atoms[:ATOMS, 0].mul(1000).round().int().tolist()
            found.setdefault("atoms", {})[kind] = kept


def missing(looked: Looked, cell: dict) -> list[str]:
    """Return what one noisy image lacks; a memorizer without a basis is not missed."""
    return [n for n in looked.kinds if n not in cell["of"] and (n != "ideal" or not cell["of"])]


def measure(name: str, found: dict, k: dict, num_images: int) -> Iterator[None]:
    """Fill `found` with the images of a set, and yield after each."""
    looked = Looked(name, num_images, k)
    found["k"] = {str(s): v for s, v in k.items()}
    for image, sigma in product(range(num_images), SIGMAS):
        cell = found.setdefault("at", {}).setdefault(f"{sigma}/{image}", {"of": {}})
        if missing(looked, cell):
            describe(looked, sigma, image, cell)
            seen = {n: v["network"] for n, v in cell["of"].items() if "network" in v}
            line = {n: (v["overlap"][-1], round(v["cosine"], 3)) for n, v in seen.items()}
            print(name, sigma, image, line, flush=True)
            yield


def compare_errors(name: str, found: dict) -> Iterator[None]:
    """Fill in the PSNR of one network less another's, on the same images and noise, (K,) each.

    "train" are images that the network and the transformer have seen and the other network has not.
    """
    of, sigmas = SETS[name], [noise.sigma_from_psnr(p) for p in PSNR_IN]
    nets = {n: load_denoiser(v) for n, v in named(of).items()}
    made = found.setdefault("errors", {"psnr_in": PSNR_IN, "num": NUM_ERRORS})
    for kind, (a, b) in product(("test", "train"), PAIRS):
        if f"{a} - {b}/{kind}" in made or a not in nets:
            continue
        start = 0 if kind == "test" else 1_000
        images = load_images(of.dataset, "test" if kind == "test" else "A", start + NUM_ERRORS)
        gap = metrics.paired_difference(nets[a], nets[b], images[start:], sigmas)
        made[f"{a} - {b}/{kind}"] = [[round(v, 4) for v in part.tolist()] for part in gap]
        print(a, b, kind, made[f"{a} - {b}/{kind}"], flush=True)
        yield


def main() -> None:
    """Measure what is missing and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--images", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    patches = read(THEORIES)
    for name in options.sets:
        if checkpoint_status(SETS[name].network) != "trained":
            print(f"{name}: no network {SETS[name].network}")
            continue
        k = {s: nearest_size(patches[name]["patch"], s) for s in SIGMAS}
        found = read(OUT).get(name, {})
        try:
            parts = [measure(name, found, k, options.images)]
            parts += [compare_errors(name, found)] if SETS[name].transformer else []
            for _ in chain(*parts):
                write(OUT, read(OUT) | {name: found}, indent=None)
        except MissingData as lacking:
            print(f"{name}: {lacking}")


if __name__ == "__main__":
    main()
