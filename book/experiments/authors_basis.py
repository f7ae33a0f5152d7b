"""The whole basis of the authors' 40×40 network: all 1,600 factors, and overlap against K.

    python book/experiments/authors_basis.py

Forms and decomposes the Jacobian of `multi_scale__RF_40x40_low.pt` at σ = .15, for the three test
faces of chapter 5's second page and for the first of them under other noise: about a minute of a
core each. Chapter 5 shows it.
"""

import json
from pathlib import Path

import torch
from torch import Tensor

from gahb_core import bases, data, denoisers, jacobian, noise
from gahb_core.files import write_safely
from gahb_core.networks.models import fold_norm
from gahb_core.training import authors

OUT = Path(__file__).parents[2] / "book" / "measured" / "authors_basis.json"
NETWORK, SIZE, ITEMS, SIGMA = "multi_scale__RF_40x40_low.pt", 40, (30, 7, 8), 0.15
SEEDS = {"0": 0, "1": 0, "2": 0, "other noise": 1}  # of the noise; which item: its number, or 0
NUM_TOLD = 250  # factors written
KS = (5, 10, 20, 30, 50, 75, 100, 150, 200, 250)
SHOWN = (1, 10, 30, 64, 100, 150, 200, 250)  # eigenvectors drawn


def form(name: str) -> Tensor:
    """Return J (1600, 1600) for one of SEEDS."""
    f = denoisers.residual_denoiser(fold_norm(authors.load_authors(NETWORK)))
    f.net.requires_grad_(False)
    test = data.load_images("faces", "test", max(ITEMS) + 1, SIZE)
    item = ITEMS[0 if name == "other noise" else int(name)]
    # the page adds noise to its items together: image i has stream i
    start = 0 if name == "other noise" else int(name)
    y = noise.add_noise(test[item : item + 1], SIGMA, SEEDS[name], start)
    return jacobian.jacobian_matrix(f, y, block=100)


def describe(J: Tensor, spectrum: jacobian.Spectrum) -> dict:
    """Return factors, and what is said of J as a whole."""
    lam, kept = spectrum.lam, spectrum.atoms[spectrum.lam > 0.5].flatten(1)
    s = torch.linalg.svdvals(J)
    return {
        "lam": [round(float(v), 4) for v in lam[:NUM_TOLD]],
        "singular": [round(float(v), 4) for v in s[:NUM_TOLD]],
        "least": float(lam[-1]),
        "num_negative": int((lam < 0).sum()),
        "sum_negative": float(lam[lam < 0].sum()),
        "trace": float(lam.sum()),
        "num_above_half": int((lam > 0.5).sum()),
        "num_singular_above_half": int((s > 0.5).sum()),
        "mean_uv": jacobian.left_right_alignment(J),
        "asymmetry": jacobian.asymmetry(J),
        "asymmetry_kept": jacobian.asymmetry(kept @ J @ kept.T),
    }


def compare(found: dict[str, Tensor]) -> dict:
    """Return the overlap of first K eigenvectors, by what is compared, for each of KS."""
    cosine = bases.make_dct(SIZE)
    waves = bases.atoms(cosine, cosine.frequency.flatten().argsort()[: max(KS)])
    faces = [found[n] for n in ("0", "1", "2")]
    pairs = [(faces[i], faces[j]) for i in range(3) for j in range(i)]
    groups = {
        "same face, other noise": [(found["0"], found["other noise"])],
        "two faces": pairs,
        "a face and the K lowest cosines": [(e, waves) for e in faces],
    }
    return {
        name: [[jacobian.subspace_overlap(a[:k], b[:k]) for a, b in group] for k in KS]
        for name, group in groups.items()
    }


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    table, found = {}, {}
    for name in SEEDS:
        J = form(name)
        spectrum = jacobian.eigendecompose(J, (1, SIZE, SIZE))
        table[name], found[name] = describe(J, spectrum), spectrum.atoms[: max(KS)]
        print(name, {k: v for k, v in table[name].items() if k not in ("lam", "singular")})
    drawn = found["0"][[k - 1 for k in SHOWN], 0]
    grey = (drawn / drawn.abs().amax((1, 2), keepdim=True) * 127).round().int()
    content = {
        "sigma": SIGMA,
        "items": ITEMS,
        "images": table,
        "ks": KS,
        "overlap": compare(found),
        "shown": SHOWN,
        "atoms": grey.flatten(1).tolist(),  # each divided by its largest value, times 127
    }
    write_safely(OUT, (json.dumps(content) + "\n").encode())


if __name__ == "__main__":
    main()
