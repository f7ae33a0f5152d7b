"""How a basis is born: the Jacobian's eigenvectors against the number of training images.

    python book/experiments/born.py CACHE [KEPT]      (about half an hour of one core; it resumes)

Writes book/measured/born.json. CACHE takes eigenvectors, KEPT is the folder of `kept_states.py`.
For the networks A and B of each N, which share no training image, the whole Jacobian is formed and
the symmetric part decomposed: at NUM test images under noise σ (`bases`), on the ascents of A
(`ascent`), and of one network while it trains (`learning`). Every figure is a list over images, so
that the page can say an interval. Training images of A are looked at by `born_copies.py`.

K, the number of vectors compared, is the mean trace of A's and B's Jacobian. The nulls: random
spaces, K/D; the basis of B at another image; the same overlap at a fixed K.

Predicted before the first run, from a trial on three garments (factors above ½ at σ = 0.1: 1, 2,
20, 120, 120; overlap of A and B 0.3, 0.35, 0.45, 0.80, 0.84):
(1) The overlap of A and B is below 0.5 up to N = 100 and above 0.7 from N = 1,000 on, for garments
    and for faces. It crosses half of its rise at N = 200 to 450.
(2) The correlation of pairs of samples crosses half of its rise at an N whose interval over pairs
    meets the overlap's interval over images, for garments and for faces. The N of `03_how_many`,
    at which a network knows its own images by half a decibel, is three or more times larger.
(3) The rise is not that of K: at fixed K = 20 and K = 150 the overlap rises between the same two
    N, and less another image's (null) by at least 0.2.
(4) Below the change, A and B are hardly more alike at one image than at two: overlap at N = 10 less
    the null of another image is below 0.2.
(5) At their own training images networks of N ≤ 100 keep fewer directions than at test images (the
    local dimension of a copy is small); from N = 1,000 on the two counts agree within a fifth.
    (Judged by the trace, which `born_copies.py` measures there at more images.)
(6) What comes first is of low frequency: in every image the eigenvectors of the largest N that a
    smaller N already holds have the lower frequencies (rank correlation below -0.3).
(7) The basis of N lies in that of 10 N by more than at another image; for 1,000 in 10,000 above
    0.8.
(8) Two trainings on the *same* images agree no better than A and B do at the largest N, within
    0.03.
(9) While one network trains on 10,000 garments the count above ½ first falls from many (an
    untrained residual network keeps everything), then rises; the overlap with the final basis
    passes ½ before step 512.
"""

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import safetensors.torch
import torch
from scipy.ndimage import binary_dilation
from scipy.stats import spearmanr
from skimage.feature import canny
from torch import Tensor, cov

from gahb_book.measured import FOLDER, read, write
from gahb_core import bases, jacobian
from gahb_core.data import load_images
from gahb_core.denoisers.contract import Denoiser, residual_denoiser
from gahb_core.denoisers.gaussian import gaussian_denoiser
from gahb_core.metrics.pairs import cosine_similarity, psnr
from gahb_core.networks.models import fold_norm
from gahb_core.networks.weights import load_weights
from gahb_core.noise import add_noise, sample_normal
from gahb_core.sampling.ascent import ascend
from gahb_core.training import find_recipe, load_denoiser, make_network

OUT = FOLDER / "born.json"
NETWORKS = {  # family → (data set, names, N)
    "garments": ("fashion", "fashion/N={}/{}", (1, 10, 100, 1_000, 10_000)),
    "faces": ("faces", "faces/N={}/{}", (1, 10, 100, 1_000, 6_000)),
    "contours": ("c_alpha/alpha=2", "c_alpha/alpha=2/N={}/{}", (10, 100_000)),
}
AGAIN = {  # a second training on A's images, from other weights; with endless images for contours
    "garments": "seed=1/fashion/N=10000/A",
    "faces": "seed=1/faces/N=6000/A",
    "contours": "c_alpha/alpha=2",
}
SIGMAS, SIZE, NUM, NUM_LEARNING, NUM_STARTS = (0.1, 0.2), 32, 8, 4, 2
MOST, FIXED, BINS = 320, (20, 150), 15  # vectors held; K compared at every N; groups of 10 vectors
LEVELS = (0.5, 0.1)  # of the ascents


class Found:
    """Factors and eigenvectors of one network at points y (B, 1, S, S)."""

    def __init__(self, f: Denoiser, y: Tensor) -> None:
        self.x_hat, self.above, self.trace, self.asymmetry = f(y), [], [], []
        atoms = []
        for one in y.split(1):
            J = jacobian.jacobian_matrix(f, one, block=256)
            spectrum = jacobian.eigendecompose(J, one.shape[1:])
            self.above.append(int((spectrum.lam > 0.5).sum()))
            self.trace.append(float(spectrum.lam.sum()))
            self.asymmetry.append(jacobian.asymmetry(J))
            atoms.append(spectrum.atoms[:MOST])
        self.atoms = torch.stack(atoms).flatten(2)  # (B, MOST, D)

    def figures(self) -> dict[str, list[float]]:
        """Return what is said of it, a number an image."""
        return {
            "above_half": self.above,
            "trace": short(self.trace),
            "asymmetry": short(self.asymmetry),
        }


def short(values: list[float] | Tensor) -> list[float]:
    """Return numbers as they are written."""
    return [round(float(v), 4) for v in values]


def held(a: Tensor, b: Tensor) -> Tensor:
    """Return how much of each row of `a` (K, D) lies in the span of `b` (M, D): (K,)."""
    return (a.float() @ b.float().T).square().sum(1)


def shared(a: Tensor, b: Tensor, num: int) -> float:
    """Return the overlap of the first `num` rows."""
    return float(held(a[:num], b[:num]).mean())


def count(trace: float) -> int:
    """Return K of a trace."""
    return min(MOST, max(1, round(trace)))


def compare(a: Found, b: Found) -> dict[str, list]:
    """Return the overlaps of A and B at the same points, and their nulls, a number an image."""
    ks = [count((s + t) / 2) for s, t in zip(a.trace, b.trace, strict=True)]
    num = len(ks)
    near = [1 + n for n in range(min(3, num - 1))]  # three other images of each
    found = {
        "k": ks,
        "overlap": short([shared(a.atoms[i], b.atoms[i], k) for i, k in enumerate(ks)]),
        "other_image": short(
            sum(shared(a.atoms[i], b.atoms[(i + n) % num], k) for n in near) / len(near)
            for i, k in enumerate(ks)
        ),
    }
    for k in FIXED:
        found[f"overlap_{k}"] = short([shared(a.atoms[i], b.atoms[i], k) for i in range(num)])
        found[f"other_image_{k}"] = short(
            sum(shared(a.atoms[i], b.atoms[(i + n) % num], k) for n in near) / len(near)
            for i in range(num)
        )
    return found


def first_come(atoms: Tensor, of_largest: Tensor, k: int, x: Tensor) -> dict:
    """Return which vectors of the largest N lie in the first `k` of these, at one image.

    By groups of ten of the largest's first 150, and the rank correlation of that share with the
    mean frequency and with the energy near contours of the clean image.
    """
    first = of_largest[: 10 * BINS].float()
    share = held(first, atoms[:k])
    cosines = bases.make_dct(SIZE)
    energy = cosines.analyze(first.double().reshape(-1, 1, SIZE, SIZE)).flatten(1).square()
    pace = energy @ cosines.frequency.flatten().double()
    near = torch.from_numpy(binary_dilation(canny(x[0].double().numpy(), sigma=1.0)))
    contour = first.square()[:, near.flatten()].sum(1)
    return {
        "share": short(share.reshape(BINS, -1).mean(1)),
        "pace": short(pace.reshape(BINS, -1).mean(1)),
        "with_frequency": round(float(spearmanr(share, pace).statistic), 4),
        "with_contours": round(float(spearmanr(share, contour).statistic), 4),
    }


def at_test_images(family: str, sigma: float, num: int, folder: Path) -> dict:
    """Return the figures of the networks of one N at test images, largest N first."""
    dataset, names, nums = NETWORKS[family]
    x = load_images(dataset, "test", NUM, SIZE)
    y = add_noise(x, sigma, 0)
    nets = {s: Found(load_denoiser(names.format(num, s)), y) for s in "AB"}
    a, b = nets["A"], nets["B"]
    found = {s: v.figures() | {"psnr": short(psnr(v.x_hat, x))} for s, v in nets.items()}
    found |= compare(a, b)
    found["errors_agree"] = short(cosine_similarity(a.x_hat - x, b.x_hat - x))
    torch.save(a.atoms.half(), folder / f"{family}.{sigma:g}.{num}.pt")
    ks = [count(t) for t in a.trace]
    if num == nums[-1]:
        again = Found(load_denoiser(AGAIN[family]), y)
        found["again"] = compare(a, again) | again.figures()
        return found
    above = nums[nums.index(num) + 1]
    more, most = (torch.load(folder / f"{family}.{sigma:g}.{n}.pt") for n in (above, nums[-1]))
    wide = [count(t) for t in read(OUT)["bases"][f"{family}.{sigma:g}.{above}"]["A"]["trace"]]
    inside = {
        name: short(
            held(a.atoms[i][: ks[i]], more[j := (i + n) % NUM][: wide[j]]).mean()
            for i in range(NUM)
        )
        for name, n in (("own", 0), ("other_image", 1))
    }
    inside["random"] = short(w / SIZE**2 for w in wide)
    first = [first_come(a.atoms[i], most[i], ks[i], x[i]) for i in range(NUM)]
    return found | {"nested": inside, "first": {k: [v[k] for v in first] for k in first[0]}}


def draw_starts(x: Tensor, num: int, seed: int) -> Tensor:
    """Return `num` starts: draws of the Gaussian fitted to `x` (N, 1, H, W), and noise of 1."""
    fit = gaussian_denoiser(x.double().mean(0), cov(x.double().flatten(1).T))
    blurs = fit.sample_prior(num, seed).float()
    return blurs + sample_normal(blurs.shape, seed, key="start")


def on_ascents(family: str, num: int) -> dict:
    """Return the figures on ascents of A (β = 0.1), where the level first falls below each."""
    dataset, names, nums = NETWORKS[family]
    nets = {s: load_denoiser(names.format(num, s)) for s in "AB"}
    starts = draw_starts(load_images(dataset, "A", nums[-1], SIZE), NUM_STARTS, 0)
    points: dict[float, Tensor] = {v: torch.full_like(starts, torch.nan) for v in LEVELS}
    for step in ascend(nets["A"], starts, seed=0, beta=0.1, sigma_end=0.9 * LEVELS[-1]):
        for level, y in points.items():
            new = (step.sigma_hat < level) & y.isnan().flatten(1).any(1)
            y[new] = step.y[new]
    found = {}
    for level, y in points.items():
        at = {s: Found(f, y) for s, f in nets.items()}
        found[f"{level:g}"] = {s: v.figures() for s, v in at.items()} | compare(at["A"], at["B"])
    return found


def across_noise(family: str, num: int, folder: Path) -> dict:
    """Return how much of what A keeps (λ > ½) at more noise lies in what it keeps at less."""
    kept = [read(OUT)["bases"][f"{family}.{s:g}.{num}"]["A"]["above_half"] for s in SIGMAS]
    less, more = (torch.load(folder / f"{family}.{s:g}.{num}.pt") for s in SIGMAS)
    shares = {
        name: short(
            held(more[i][: kept[1][i]], less[j := (i + n) % NUM][: kept[0][j]]).mean()
            for i in range(NUM)
        )
        for name, n in (("own", 0), ("other_image", 1))
    }
    return shares | {"random": short(k / SIZE**2 for k in kept[0])}


@cache
def kept_network(folder: Path, step: int) -> tuple[Found, Tensor]:
    """Return a kept network's factors and eigenvectors at test images, and its PSNR there."""
    recipe = find_recipe(NETWORKS["garments"][1].format(10_000, "A"), "laptop")
    x = load_images("fashion", "test", NUM_LEARNING, SIZE)
    path = folder / f"{step}.safetensors"
    net = load_weights(make_network(recipe), safetensors.torch.load(path.read_bytes()), path).eval()
    f = residual_denoiser(fold_norm(net.requires_grad_(False)))
    found = Found(f, add_noise(x, SIGMAS[0], 0))
    return found, psnr(found.x_hat, x)


def while_learning(folder: Path, step: int, last: int) -> dict:
    """Return the figures of a kept network, and its overlap with the last one's basis."""
    (now, quality), (end, _) = kept_network(folder, step), kept_network(folder, last)
    shares = [shared(now.atoms[i], end.atoms[i], count(t)) for i, t in enumerate(end.trace)]
    return now.figures() | {"psnr": short(quality), "overlap_end": short(shares), "last": last}


def measure_missing(key: str, variants: dict[str, tuple], measure: Callable[..., dict]) -> None:
    """Measure the variants that are not under `key` yet, writing the file after each."""
    for name, variant in variants.items():
        content = read(OUT)
        if name not in content.setdefault(key, {}):
            content[key][name] = measure(*variant)
            print(key, name, flush=True)
            write(OUT, content, indent=None)


def main() -> None:
    """Measure what is missing and write."""
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    beside = {"sigmas": SIGMAS, "num": NUM, "levels": LEVELS, "fixed": FIXED, "size": SIZE}
    write(OUT, beside | read(OUT), indent=None)
    every = [(f, n) for f, (_, _, nums) in NETWORKS.items() for n in reversed(nums)]
    garments = [(f, n) for f, n in every if f == "garments"]
    for s in SIGMAS:
        points = {f"{f}.{s:g}.{n}": (f, s, n, folder) for f, n in every}
        measure_missing("bases", points, at_test_images)
    measure_missing("noise", {f"{f}.{n}": (f, n, folder) for f, n in every}, across_noise)
    measure_missing("ascent", {f"{f}.{n}": (f, n) for f, n in garments}, on_ascents)
    if len(sys.argv) > 2:
        kept = Path(sys.argv[2])
        steps = sorted(int(p.stem) for p in kept.glob("*.safetensors"))
        measure_missing("learning", {str(n): (kept, n, steps[-1]) for n in steps}, while_learning)


if __name__ == "__main__":
    main()
