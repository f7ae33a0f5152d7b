"""Whether samples copy training images, beside a null; and two networks trained on two sets."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from gahb_core.checks import check_choice, check_count, check_finite, check_images, check_number
from gahb_core.denoisers.contract import Denoiser
from gahb_core.experiments.intervals import Interval, bootstrap_mean, wilson
from gahb_core.metrics.pairs import (
    Nearest,
    correlation,
    cosine_similarity,
    nearest_images,
    nearest_other,
)
from gahb_core.noise import make_generator
from gahb_core.sampling.ascent import sample

KINDS = ("new", "spurious", "copy")
NO_NULL = (
    "no null can be given without held-out images: similarities are listed, and how many of them "
    "are copies cannot be said"
)


class Memorization(NamedTuple):
    """How near samples are to training images, and how near images are that were never seen.

    Attributes:
        similarity: (B,) of each sample to the nearest training image.
        index: (B,) which it is.
        brightness: (B,) norm of the sample over that of its nearest image.
        null: (M,) the same similarity of held-out images; None without them, as all that follows.
        threshold: the similarity that the share `rate` of held-out images exceeds.
        rate: the false-positive rate asked for.
        null_rate: the rate met: half the held-out images set the threshold and the others are
            counted, then the other way round; 95% interval (Wilson).
        kind: (B,) index into `KINDS`: "copy" above `threshold`; else "spurious" where another
            sample is nearer than held-out images are to each other, at the same rate; else "new".
        copies: the fraction of copies; 95% interval, samples and held-out images resampled.
        spurious: the fraction of spurious samples, and its interval.
        gap: mean similarity of samples less that of held-out images, with its interval.
        verdict: all of it in a sentence.
    """

    similarity: Tensor
    index: Tensor
    brightness: Tensor
    null: Tensor | None
    threshold: float | None
    rate: float
    null_rate: Interval | None
    kind: Tensor | None
    copies: Interval | None
    spurious: Interval | None
    gap: Interval | None
    verdict: str


def memorization(
    samples: Tensor,
    train: Tensor,
    held_out: Tensor | None = None,
    *,
    rate: float = 0.05,
    measure: str = "correlation",
    max_shift: int = 0,
    seed: int = 0,
) -> Memorization:
    """Return whether `samples` (B, C, H, W) copy images of `train`, beside a null of `held_out`.

    "Near to a training image" means nothing by itself: among ten thousand garments every garment
    has a near relative. What is asked is whether samples are nearer than images that the network
    never saw. Held-out images must be as the training images are: of one source, and cleaned of
    near-duplicates alike.

    Args:
        samples: of a network, or of anything.
        train: (N, C, H, W) the images it was trained on.
        held_out: (M, C, H, W) images of the same kind that it was not; None: no null is given.
        rate: share of held-out images that the threshold lets pass for copies.
        measure: "correlation" (mean removed) or "cosine".
        max_shift: pixels by which samples may be moved (`metrics.nearest_images`).
        seed: of the resampling.

    Raises:
        ValueError: where shapes differ, a set is empty, values are not finite, fewer than
            2/rate images are held out, or an option is out of its range.
    """
    rate = check_number(rate, "rate", above=0, below=1)
    sets = {"samples": samples, "train": train} | (
        {} if held_out is None else {"held_out": held_out}
    )
    for name, images in sets.items():
        check_finite(check_images(images, name), name)
        check_count(len(images), f"the number of images of {name}")
        if images.shape[1:] != samples.shape[1:]:
            raise ValueError(
                f"{name} must hold images of {tuple(samples.shape[1:])} as samples does, not "
                f"{tuple(images.shape[1:])}: resize one of the two"
            )
    found = nearest_images(samples, train, measure, max_shift=max_shift)
    there = train[found.index.to(train.device)].to(samples)
    bright = _norms(samples) / _norms(there).clamp(min=torch.finfo(samples.dtype).tiny)
    seen = (found.similarity, found.index, bright)
    if held_out is None:
        return Memorization(*seen, None, None, rate, *[None] * 5, verdict=NO_NULL)
    if len(held_out) < 2 / rate:
        raise ValueError(
            f"held_out must hold at least 2/rate = {2 / rate:.0f} images for a rate of {rate:g}, "
            f"not {len(held_out)}"
        )
    null = nearest_images(held_out.to(samples), train, measure, max_shift=max_shift).similarity
    return _judge(samples, held_out.to(samples), found, bright, null, rate, measure, seed)


def _norms(x: Tensor) -> Tensor:
    return x.flatten(1).norm(dim=1)


def _judge(
    samples: Tensor,
    held_out: Tensor,
    found: Nearest,
    bright: Tensor,
    null: Tensor,
    rate: float,
    measure: str,
    seed: int,
) -> Memorization:
    threshold = float(null.quantile(1 - rate))
    copy = found.similarity > threshold
    num = min(len(samples), len(held_out))
    among = torch.zeros_like(found.similarity)
    if num > 1:  # as many of each: the nearest of more is nearer
        among[:num] = nearest_other(samples[:num], measure)
        limit = nearest_other(held_out[:num], measure).quantile(1 - rate)
        again = (among > limit) & ~copy
    else:
        again = torch.zeros_like(copy)
    kind = 2 * copy.long() + again.long()
    copies = _copies(found.similarity, null, rate, seed)
    gap = _difference(found.similarity, null, seed)
    met = _cross_rate(null, rate)
    return Memorization(
        found.similarity, found.index, bright, null, threshold, rate, met, kind, copies,
        wilson(int(again[:num].sum()), num), gap, _verdict(copies, gap, rate, met),
    )  # fmt: skip


def _cross_rate(null: Tensor, rate: float) -> Interval:
    even, odd = null[::2], null[1::2]
    passed = (even > odd.quantile(1 - rate)).sum() + (odd > even.quantile(1 - rate)).sum()
    return wilson(int(passed), len(null))


def _resample(values: Tensor, num: int, seed: int, key: str) -> Tensor:
    generator = make_generator(seed, "bootstrap", key)
    picks = torch.randint(len(values), (num, len(values)), generator=generator, device="cpu")
    return values.detach().cpu().double()[picks]


def _copies(similarity: Tensor, null: Tensor, rate: float, seed: int, num: int = 1000) -> Interval:
    """Return the share above the threshold; its interval is no shorter than that of a share."""
    limits = _resample(null, num, seed, "null").quantile(1 - rate, dim=1)
    shares = (_resample(similarity, num, seed, "samples") > limits[:, None]).double().mean(1)
    low, high = shares.quantile(shares.new_tensor([0.025, 0.975])).tolist()
    plain = wilson(int((similarity > null.quantile(1 - rate)).sum()), len(similarity))
    return Interval(plain.value, min(low, plain.low), max(high, plain.high), plain.num)


def _difference(similarity: Tensor, null: Tensor, seed: int, num: int = 1000) -> Interval:
    a, b = _resample(similarity, num, seed, "samples"), _resample(null, num, seed, "null")
    gaps = a.mean(1) - b.mean(1)
    low, high = gaps.quantile(gaps.new_tensor([0.025, 0.975])).tolist()
    value = float(similarity.double().mean() - null.double().mean())
    return Interval(value, low, high, len(similarity))


def _verdict(copies: Interval, gap: Interval, rate: float, met: Interval) -> str:
    if copies.low > rate:
        found = "samples copy"
    elif gap.low > 0:
        found = "samples do not copy more often than that, but lie nearer on average"
    else:
        found = "no sign of copies"
    return (
        f"{found}: {100 * copies.value:.0f}% ({100 * copies.low:.0f} to {100 * copies.high:.0f}%) "
        f"of {copies.num} samples are nearer to a training image than {100 * (1 - rate):.0f}% of "
        f"held-out images are (of which {100 * met.low:.0f} to {100 * met.high:.0f}% pass)"
    )


class Transition(NamedTuple):
    """Two networks, trained on disjoint sets A and B, that sample from the same noise.

    Attributes:
        a: (num, C, H, W) samples of the network of A.
        b: those of B, of the same noise.
        pair: (num,) similarity of the two samples of one noise.
        chance: (num,) of samples of different noise.
        memory_a: `Memorization` of A's samples among A.
        memory_b: of B's among B.
        unseen: (2 num,) similarity of samples to the nearest image of the *other* set.
        contrast: (num,) `pair` less the mean of the two samples' nearest training images: −1 to 0
            for copies, above 0 where the two are more alike than either is to any training image.
        means: of "pair", "chance", "closest", "unseen" and "contrast", with 95% intervals over
            noises.
    """

    a: Tensor
    b: Tensor
    pair: Tensor
    chance: Tensor
    memory_a: Memorization
    memory_b: Memorization
    unseen: Tensor
    contrast: Tensor
    means: dict[str, Interval]


def transition(
    f_a: Denoiser,
    f_b: Denoiser,
    train_a: Tensor,
    train_b: Tensor,
    *,
    held_out: Tensor | None = None,
    num: int = 64,
    measure: str = "correlation",
    seed: int = 0,
    **options: Any,
) -> Transition:
    """Return what two networks draw from the same noise, and how near it is to what they saw.

    Args:
        f_a: denoiser trained on `train_a`.
        f_b: denoiser trained on `train_b`, which has no image of it.
        train_a: (N, C, H, W).
        train_b: (N, C, H, W).
        held_out: images that neither saw, for the null of `memorization`.
        num: samples of each, at least 2.
        measure: "correlation" or "cosine".
        seed: of the noise.
        **options: of `sampling.sample` (mean, sigma_0, beta, h, blind, …).

    Raises:
        ValueError: as `sampling.sample` and `memorization` do.
        DivergedError: where a noise level grows.
    """
    num = check_count(num, "num", 2)
    shape = check_images(train_a, "train_a").shape[1:]
    draws = [sample(f, num, tuple(shape), seed=seed, **options).x for f in (f_a, f_b)]
    return compare_samples(*draws, train_a, train_b, held_out=held_out, measure=measure, seed=seed)


def compare_samples(
    a: Tensor,
    b: Tensor,
    train_a: Tensor,
    train_b: Tensor,
    *,
    held_out: Tensor | None = None,
    measure: str = "correlation",
    seed: int = 0,
) -> Transition:
    """Return the `Transition` of samples that are there: `a[i]` and `b[i]` of one noise.

    Raises:
        ValueError: as `memorization` does, and where there are not as many of `a` as of `b`.
    """
    check_choice(measure, "measure", ("correlation", "cosine"))
    if check_images(a, "a").shape != check_images(b, "b").shape:
        raise ValueError(f"b must be of the shape of a, {tuple(a.shape)}, not {tuple(b.shape)}")
    check_count(len(a), "the number of samples", 2)
    like = correlation if measure == "correlation" else cosine_similarity
    given = {"measure": measure, "seed": seed}
    memories = [memorization(x, own, held_out, **given) for x, own in ((a, train_a), (b, train_b))]
    unseen = [
        nearest_images(x, other, measure).similarity for x, other in ((a, train_b), (b, train_a))
    ]
    closest = (memories[0].similarity + memories[1].similarity) / 2
    rows = {"pair": like(a, b), "chance": like(a, b.roll(1, 0)), "closest": closest}
    rows |= {"unseen": sum(unseen) / 2, "contrast": rows["pair"] - closest}
    means = {name: bootstrap_mean(v, seed=seed) for name, v in rows.items()}
    return Transition(
        a, b, rows["pair"], rows["chance"], *memories, torch.cat(unseen), rows["contrast"], means
    )
