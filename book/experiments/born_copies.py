"""Copies, spurious images and new ones, and how many directions a network keeps at each.

    python book/experiments/born_copies.py      (a quarter of an hour of one core; it resumes)

Writes book/measured/born_copies.json. For garments and faces and each N, NUM samples of A and
NUM_PAIRS of B are drawn from the same starts (β = 1, as chapter 3). Then

- a sample is a *copy* where its correlation with the closest training image exceeds what 99% of
  held-out images reach; *spurious* (2505.21777) where it is no copy, and its correlation with the
  closest other sample exceeds what 99% of as many held-out images reach among themselves; else
  *new*. Thresholds are set on one half of the held-out images and their rates read on the other;
  B's samples, which are as smooth and cannot be copies of A's images, are a second null.
- tr J at sample + 0.05 z, by 16 sign vectors, is the local dimension. Does it tell copies from
  other samples, and A's own images from test images? AUROC: the chance that it is smaller at a
  copy. Controls: the norm of the sample; the trace of B, which saw neither.

Predicted before the first run:
(1) Copies: above 0.9 of the samples at N = 1 and 10, 0.3 to 0.95 at 100, below 0.1 from 1,000 on,
    for garments and faces.
(2) The spurious share is largest at N = 100 or 1,000, and below 0.1 at the largest N.
(3) AUROC of tr J for A's own images against test images above 0.95 for N ≤ 100, 0.5 to 0.8 at
    1,000, 0.45 to 0.55 at the largest N; of B's trace 0.4 to 0.6 everywhere.
(4) AUROC for copies against other samples at N = 100 above 0.8, and above that of the norm.
"""

import torch
from born import NETWORKS, SIZE, draw_starts, short
from torch import Tensor

from gahb_book.measured import FOLDER, measure_missing
from gahb_core.data import load_images
from gahb_core.denoisers.contract import Denoiser
from gahb_core.jacobian import estimate_trace
from gahb_core.metrics.pairs import correlation, nearest_images, nearest_other
from gahb_core.noise import add_noise
from gahb_core.sampling.ascent import ascend, finish
from gahb_core.training import load_denoiser

OUT = FOLDER / "born_copies.json"
NUM, NUM_PAIRS, PART, RATE, SIGMA, NUM_IMAGES, NUM_PROBES = 48, 48, 24, 0.99, 0.05, 16, 16


def draw(f: Denoiser, starts: Tensor) -> Tensor:
    """Return where ascents from `starts` (B, 1, S, S) end, no noise put back."""
    parts = range(0, len(starts), PART)
    ends = [finish(ascend(f, starts[i : i + PART], seed=0, beta=1.0, start=i)).x for i in parts]
    return torch.cat(ends)


def classify(x: Tensor, others: Tensor, train: Tensor, test: Tensor) -> tuple[Tensor, dict]:
    """Return which samples `x` are copies, and the shares of all classes with their nulls."""
    here = nearest_images(test, train).similarity
    near = float(here[: len(here) // 2].quantile(RATE))
    alike = float(nearest_other(test[:NUM]).quantile(RATE))
    copies = nearest_images(x, train).similarity > near
    twins = nearest_other(x) > alike
    shares = {
        "copy": copies,
        "spurious": ~copies & twins,
        "new": ~copies & ~twins,
        "null_copy": here[len(here) // 2 :] > near,
        "null_spurious": nearest_other(test[NUM : 2 * NUM]) > alike,
        "copies_of_other_network": nearest_images(others, train).similarity > near,
    }
    found = {k: round(float(v.float().mean()), 4) for k, v in shares.items()}
    return copies, found | {"near": round(near, 4), "alike": round(alike, 4)}


def traces(f: Denoiser, x: Tensor) -> Tensor:
    """Return tr J at each image under little noise, (B,)."""
    y = add_noise(x, SIGMA, 2)
    return torch.tensor([estimate_trace(f, one, num=NUM_PROBES).value for one in y.split(1)])


def auroc(low: Tensor, high: Tensor) -> float:
    """Return the chance that one of `low` is below one of `high`; ties count a half."""
    gap = high[None] - low[:, None]
    return round(float(((gap > 0).double() + 0.5 * (gap == 0).double()).mean()), 4)


def measure(variant: tuple[str, int]) -> dict:
    """Return the figures of a family's networks of one N."""
    family, num = variant
    dataset, names, nums = NETWORKS[family]
    f = {s: load_denoiser(names.format(num, s)) for s in "AB"}
    train, test = load_images(dataset, "A", num, SIZE), load_images(dataset, "test", 1000, SIZE)
    starts = draw_starts(load_images(dataset, "A", nums[-1], SIZE), NUM, 0)
    a, b = draw(f["A"], starts), draw(f["B"], starts[:NUM_PAIRS])
    copies, classes = classify(a, b, train, test)
    dimension, norm = traces(f["A"], a), a.flatten(1).norm(dim=1)
    few = min(int(copies.sum()), int((~copies).sum()))
    own = train[torch.arange(NUM_IMAGES) % num]
    at = {s: [traces(net, x) for x in (own, test[:NUM_IMAGES])] for s, net in f.items()}
    return {
        "pair": short(correlation(a[:NUM_PAIRS], b)),
        "chance": short(correlation(a[:NUM_PAIRS], b.roll(1, 0))),
        "classes": classes,
        "fewest": few,
        "trace": {"copies": short(dimension[copies]), "others": short(dimension[~copies])},
        "auroc": auroc(dimension[copies], dimension[~copies]) if few else None,
        "auroc_norm": auroc(norm[copies], norm[~copies]) if few else None,
        "auroc_own": {s: auroc(*v) for s, v in at.items()},
        "trace_own": {s: [short(t) for t in v] for s, v in at.items()},
    }


def main() -> None:
    """Measure what is missing and write."""
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    large = [f for f in NETWORKS if f != "contours"]
    variants = {f"{f}.{n}": (f, n) for f in large for n in NETWORKS[f][2]}
    given = {"num": NUM, "rate": RATE, "sigma": SIGMA}
    measure_missing(OUT, "networks", variants, measure, **given)


if __name__ == "__main__":
    main()
