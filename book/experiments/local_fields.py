"""Faces: BF-CNNs of known field beside the equivariant machine of each size; and faces shuffled.

    python book/experiments/local_fields.py

The five BF-CNNs of faces of 64×64, fields of 5 to 43 pixels, and the cosine of their scores and
those of the machine of 3 to 43 pixels, at the same noisy test faces. The machine reads the patches
of NUM_TRAIN faces. Then PSNR of machines and of the best linear filter on 32×32 faces, and on the
same faces with their pixels moved by one permutation. It writes book/measured/local_fields.json
after every size, and goes on from what is there. Chapter 12 shows it. One thread, some minutes.
"""

import torch

from gahb_book.measured import FOLDER, read, write
from gahb_core import denoisers, metrics, noise
from gahb_core.data import load_images
from gahb_core.images import shuffle_pixels
from gahb_core.training import load_denoiser

OUT = FOLDER / "local_fields.json"
FIELDS = {str(r): f"local/faces/pixel/RF={r}" for r in (5, 9, 13, 23, 43)}
SIZES, SIGMAS, NUM_TRAIN, NUM_TEST = (3, 5, 7, 9, 13, 23, 43), (0.1, 0.3), 60, 2


def denoise_shuffled(sigmas: tuple = (0.1, 0.3), sizes: tuple = (3, 5, 9)) -> dict:
    """Return PSNR by σ and rule of 8 test faces, straight and shuffled: machines of 250 faces."""
    straight = load_images("faces", "test", 8)
    found: dict = {"sigmas": sigmas, "sizes": sizes}
    for kind in ("faces", "shuffled/faces"):
        train, test = load_images(kind, "A", 6_000), load_images(kind, "test", 8)
        flat = train.flatten(1).double()
        mean, covariance = flat.mean(0).reshape(train.shape[1:]), torch.cov(flat.T)
        rules = {"linear": (denoisers.gaussian_denoiser(mean, covariance), torch.float64)}
        rules |= {
            f"els/{k}": (denoisers.equivariant_denoiser(train[:250], k), torch.float32)
            for k in sizes
        }
        shifted = [noise.add_noise(straight, s, 0) for s in sigmas]
        if kind != "faces":
            shifted = [shuffle_pixels(y) for y in shifted]  # the same noise on the same pixels
        found[kind] = {}
        for name, (f, dtype) in rules.items():
            noisy = [y.to(dtype) for y in shifted]
            out = [metrics.psnr(f(y, s).float(), test) for y, s in zip(noisy, sigmas, strict=True)]
            found[kind][name] = [round(float(v.mean()), 3) for v in out]
        print(kind, found[kind], flush=True)
    return found


def main() -> None:
    """Measure the sizes that are missing and write."""
    torch.set_num_threads(1)
    train, test = (
        load_images("faces", split, n, 64) for split, n in (("A", NUM_TRAIN), ("test", NUM_TEST))
    )
    found = read(OUT) or {
        "sizes": [],
        "sigmas": SIGMAS,
        "num_train": NUM_TRAIN,
        "cosine": {r: [[] for _ in SIGMAS] for r in FIELDS},
    }
    noisy = [noise.add_noise(test, s, 0) for s in SIGMAS]
    with torch.no_grad():
        nets = {r: load_denoiser(name) for r, name in FIELDS.items()}
        own = {r: [net(y) - y for y in noisy] for r, net in nets.items()}
    for k in SIZES[len(found["sizes"]) :]:
        theory = denoisers.equivariant_denoiser(train, k)
        for i, (s, y) in enumerate(zip(SIGMAS, noisy, strict=True)):
            score = theory(y, s) - y
            for r in FIELDS:
                cosine = float(metrics.cosine_similarity(score, own[r][i]).mean())
                found["cosine"][r][i].append(round(cosine, 5))
        found["sizes"].append(k)
        print(k, {r: [row[-1] for row in rows] for r, rows in found["cosine"].items()}, flush=True)
        write(OUT, found, indent=None)
    if "shuffled" not in found:
        found["shuffled"] = denoise_shuffled()
        write(OUT, found, indent=None)


if __name__ == "__main__":
    main()
