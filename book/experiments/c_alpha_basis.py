"""What the network of chapter 6 shrinks in at sixteen images with α = 4, and not at one.

    python book/experiments/c_alpha_basis.py

At σ = .1, how much of the network's first twenty eigenvectors lies in twenty of others: of the
reference at this contour, of the reference at the contour of the image before, and of the best
wavelets for the clean image; and the network's first singular values. About a minute of a core.
Chapter 6 shows it, and computes one image anew.
"""

import torch

from gahb_book.measured import FOLDER, write
from gahb_core import bases, denoisers, images, jacobian, noise
from gahb_core.training import load_denoiser

OUT = FOLDER / "c_alpha_basis.json"
ALPHA, SIZE, SIGMA, NUM, NUM_ATOMS, NUM_MOMENTS = 4, 32, 0.1, 16, 20, 1024


def largest(f: denoisers.Gaussian) -> torch.Tensor:
    """Return the NUM_ATOMS harmonics of largest variance of a Gaussian denoiser, as images."""
    return bases.atoms(f.basis, [SIZE * SIZE - 1 - k for k in range(NUM_ATOMS)])


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    f = load_denoiser(f"c_alpha/alpha={ALPHA}", "laptop", "cpu")
    f.net.requires_grad_(False)
    regions = denoisers.fit_regions(images.make_c_alpha_parts(NUM_MOMENTS, ALPHA, SIZE))
    test = images.make_c_alpha_parts(NUM, ALPHA, SIZE, seed=2)
    y = noise.add_noise(test.x, SIGMA, 0)
    ideal = [largest(denoisers.contour_denoiser(test, i, regions)) for i in range(NUM)]
    db2 = bases.make_wavelet(SIZE, "db2", 3)
    found = {"own contour": [], "another contour": [], "wavelets": [], "singular": [], "lam": []}
    for i in range(NUM):
        J = jacobian.jacobian_matrix(f, y[i : i + 1], block=128)
        spectrum = jacobian.eigendecompose(J, (1, SIZE, SIZE))
        atoms = spectrum.atoms[:NUM_ATOMS]
        best = db2.analyze(test.x[i : i + 1].double())[0].abs().topk(NUM_ATOMS).indices
        found["own contour"].append(round(jacobian.subspace_overlap(atoms, ideal[i]), 4))
        found["another contour"].append(round(jacobian.subspace_overlap(atoms, ideal[i - 1]), 4))
        found["wavelets"].append(round(jacobian.subspace_overlap(atoms, bases.atoms(db2, best)), 4))
        values = torch.linalg.svdvals(J)[:NUM_ATOMS]
        found["singular"].append([round(float(v), 4) for v in values])
        found["lam"].append([round(float(v), 4) for v in spectrum.lam[:NUM_ATOMS]])
        print(i, *(found[name][-1] for name in list(found)[:3]), flush=True)
    write(OUT, {"alpha": ALPHA, "sigma": SIGMA, "num": NUM_ATOMS} | found)


if __name__ == "__main__":
    main()
