"""The whole basis of the network of 10,000 garments at twelve test images, not at one.

    python book/experiments/garment_basis.py

Forms and decomposes the Jacobian at each image and noise level of chapter 5, and at σ = .15 under a
second noise: about three minutes of a core. The first six images and their noise are the page's.
Chapter 5 shows it, and computes the first image anew.
"""

import torch
from torch import Tensor

from gahb_book.measured import FOLDER, write
from gahb_core import bases, data, jacobian, noise
from gahb_core.training import load_denoiser

OUT = FOLDER / "garment_basis.json"
NETWORK, SIZE, SIGMAS, SHOWN = "fashion/N=10000/A", 32, (0.05, 0.1, 0.15, 0.3, 0.6), 0.15
ITEMS = (30, 7, 8, 16, 12, 0, 1, 2, 3, 4, 5, 6)
KS = (5, 10, 20, 30, 50, 75, 100, 150, 200, 250)
NUM_TOLD = 250  # singular values written


def describe(J: Tensor, spectrum: jacobian.Spectrum, x: Tensor) -> dict[str, float]:
    """Return what is said of one Jacobian as a whole."""
    lam = spectrum.lam
    kept = spectrum.atoms[lam > 0.5].flatten(1)
    dark = spectrum.atoms.flatten(1)[:, x.flatten() < 0.05].square().sum(1)
    found = {
        "num_above_half": int((lam > 0.5).sum()),
        "num_negative": int((lam < 0).sum()),
        "sum_negative": float(lam[lam < 0].sum()),
        "least": float(lam[-1]),
        "trace": float(lam.sum()),
        "asymmetry": jacobian.asymmetry(J),
        "asymmetry_kept": jacobian.asymmetry(kept @ J @ kept.T),
        "negative_on_background": float(dark[lam < 0].mean()),
        "all_on_background": float(dark.mean()),
    }
    return {name: round(v, 4) for name, v in found.items()}


def shares(a: Tensor, b: Tensor) -> list[float]:
    """Return the overlap of the first K of two orthonormal sets of images, for each of KS."""
    return [round(jacobian.subspace_overlap(a[:k], b[:k]), 4) for k in KS]


def compare(found: list[Tensor], again: list[Tensor]) -> dict[str, dict[str, list[float]]]:
    """Return the overlaps by what is compared and by the numbers of the images."""
    cosine = bases.make_dct(SIZE)
    waves = bases.atoms(cosine, cosine.frequency.flatten().argsort()[: max(KS)])
    pairs = [(i, j) for i in range(len(found)) for j in range(i)]
    return {
        "other noise": {f"{i}": shares(a, again[i]) for i, a in enumerate(found)},
        "two images": {f"{i},{j}": shares(found[i], found[j]) for i, j in pairs},
        "lowest cosines": {f"{i}": shares(a, waves) for i, a in enumerate(found)},
    }


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    f = load_denoiser(NETWORK, "laptop", "cpu")
    f.net.requires_grad_(False)
    x = data.load_images("fashion", "test", max(ITEMS) + 1, SIZE)[list(ITEMS)]
    table: dict[str, list[dict[str, float]]] = {f"{s:g}": [] for s in SIGMAS}
    atoms: dict[int, list[Tensor]] = {0: [], 1: []}
    singular = []
    for s, seed in [*((s, 0) for s in SIGMAS), (SHOWN, 1)]:
        for i, y in enumerate(noise.add_noise(x, s, seed).split(1)):
            J = jacobian.jacobian_matrix(f, y, block=128)
            spectrum = jacobian.eigendecompose(J, (1, SIZE, SIZE))
            if s == SHOWN:
                atoms[seed].append(spectrum.atoms[: max(KS)])
            if seed == 0:
                table[f"{s:g}"].append(describe(J, spectrum, x[i]))
                print(s, i, table[f"{s:g}"][-1], flush=True)
            if (s, seed) == (SHOWN, 0):
                values = torch.linalg.svdvals(J)[:NUM_TOLD]
                singular.append([round(float(v), 4) for v in values])
    content = {"network": NETWORK, "items": ITEMS, "ks": KS, "sigma": SHOWN, "by_sigma": table}
    overlap = compare(atoms[0], atoms[1])
    write(OUT, content | {"singular": singular, "overlap": overlap}, indent=None)


if __name__ == "__main__":
    main()
