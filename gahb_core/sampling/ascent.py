"""Sampling: coarse-to-fine stochastic gradient ascent on the prior that a denoiser holds.

One step moves part of the way to the estimate and puts part of the removed noise back:

    y ← y + h (x̂ − y) + γ z,    γ² = [(1 − βh)² − (1 − h)²] σ̂²,    x̂ = f(y)

If y = x + σ̂ z it still is, one step later, with σ̂ multiplied by 1 − βh. β = 1 puts no noise back.

What β and h do is exact for a Gaussian prior of variance c, whose f(y) = c y / (c + σ²). The
variance v of y should be c + σ²; each step takes h² σ² c / (c + σ²) from it and multiplies what is
missing by (1 − h σ² / (c + σ²))². From y0 of variance σ_0², for small fixed h, there ends up

    v − σ² = c [1 − h/2 − (1 − h/2) ((c + σ²) / (c + σ_0²))^(1/β)].

So a small β forgets where the ascent began, and h costs the share h/2 of every variance whatever
β: 0.5% at h = 0.01, but about a quarter where the ramp lets h grow to one half.

Blind, σ̂ is the residual, of mean square σ² − MSE for the best denoiser (MSE per pixel), and too
little noise is put back. For any prior and small h, y then keeps the density p_σ, but σ falls as

    d ln σ / dt = −h [β + (1 − β) MSE/σ²].

MSE/σ² = tr ∇f / D is the share of the noise that the denoiser leaves in: where it is not small
beside β, the ascent is faster than the law, however good the denoiser.

Sources: Kadkhodaie & Simoncelli, NeurIPS 2021, algorithms 1 and 2; Kadkhodaie, Guth, Simoncelli &
Mallat, ICLR 2024, appendix.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gahb_core.checks import check_count, check_finite, check_floating, check_number, check_shape
from gahb_core.denoisers.contract import Denoiser, estimate_sigma
from gahb_core.noise import make_generator, sample_normal
from gahb_core.probes import ask_of, check_pure, estimate, remembered

MOST_STEPS = 1_000_000  # of a schedule
SIGMA_MAX = 2.0  # of an ascent
SIGMA_END = 0.01


class Step(NamedTuple):
    """Where an ascent stands, before it takes step `iteration` + 1.

    `y` (B, C, H, W) are the points reached, `x_hat` the estimates there, `sigma_hat` (B,) the noise
    levels, `active` (B,) the images that will move on, `h` the size of the step they will take.
    The rows of finished images no longer change. x_hat is one full denoising of y, so a reader who
    wants the last denoising takes `x_hat` of the last step, one who does not takes `y`.
    """

    iteration: int
    y: Tensor
    x_hat: Tensor
    sigma_hat: Tensor
    active: Tensor
    h: float


class Samples(NamedTuple):
    """Where an ascent ended: `x` (B, C, H, W) = f(y_end), with one row an image.

    `sigma_hat` (B,) are the last noise levels, `iterations` (B,) the steps taken, `finished` (B,)
    whether the level fell below sigma_end (and not the number of steps ran out).
    """

    x: Tensor
    y_end: Tensor
    sigma_hat: Tensor
    iterations: Tensor
    finished: Tensor


class DivergedError(RuntimeError):
    """The noise level of an image grew past `sigma_max`, or is not a number."""


def step_size(t: int, h: float = 0.01, ramp: bool = True) -> float:
    """Return h_t of step t = 1, 2, …: `h` itself, or the ramp h t / (1 + h (t − 1)).

    >>> step_size(1), round(step_size(100), 3)
    (0.01, 0.503)

    Raises:
        ValueError: for a `t` below 1 or an `h` outside (0, 1].
    """
    t, h = check_count(t, "t"), check_number(h, "h", above=0, high=1)
    return h * t / (1 + h * (t - 1)) if ramp else h


def sigma_schedule(
    sigma_0: float = 1.0,
    sigma_end: float = SIGMA_END,
    *,
    h: float = 0.01,
    ramp: bool = True,
    beta: float = 0.1,
) -> Tensor:
    """Return the levels σ_0, σ_1, … , σ_n of the law σ_t = (1 − β h_t) σ_{t−1}, in float64.

    σ_n is the first below `sigma_end`, so an ascent that follows the law takes n steps.

    >>> len(sigma_schedule()) - 1, len(sigma_schedule(ramp=False)) - 1
    (127, 4603)

    Raises:
        ValueError: for an argument outside its range, and for more than a million steps.
    """
    _check(h, beta, sigma_end)
    levels = [check_number(sigma_0, "sigma_0", above=0)]
    fastest = beta * (1 if ramp else h)
    least = math.log(levels[0] / sigma_end) / max(-math.log1p(-min(fastest, 0.999)), 1e-300)
    while levels[-1] >= sigma_end:
        if least > MOST_STEPS or len(levels) > MOST_STEPS:
            raise ValueError(
                f"beta and h must reach sigma_end = {sigma_end} within {MOST_STEPS:,} steps, "
                f"not stand at {levels[-1]:.3g} by then (beta = {beta}, h = {h})"
            )
        levels.append(levels[-1] * (1 - beta * step_size(len(levels), h, ramp)))
    return torch.tensor(levels, dtype=torch.float64, device="cpu")


def ascend(
    denoiser: Denoiser,
    y0: Tensor,
    *,
    h: float = 0.01,
    ramp: bool = True,
    beta: float = 0.1,
    sigma_end: float = SIGMA_END,
    sigma_0: float | None = None,
    seed: int = 0,
    start: int = 0,
    condition: Tensor | None = None,
    max_iterations: int = 10_000,
    sigma_max: float = SIGMA_MAX,
) -> Iterator[Step]:
    """Yield the `Step`s of an ascent from `y0` (B, C, H, W) until every image is below sigma_end.

    Each image has its own σ̂, its own end and its own noise stream `start + i`: it does not depend
    on the others of the batch, and two denoisers run with one seed receive the same noise. The
    denoiser is called for the images still moving, and for no others.

    Where the noise level comes from:

    * `sigma_0` None (blind): σ̂ = ‖f(y) − y‖ / √D, read off the residual; f is called as f(y).
    * `sigma_0` a number: the level of y0 is known, and then follows σ_t = (1 − β h_t) σ_{t−1}, the
      law for which γ is chosen; f is called as f(y, σ_t). This is the form for exact denoisers,
      which must be told σ; blind ones can be run so as well.

    Args:
        denoiser: f(y, sigma=None) → x̂.
        y0: where to begin, noise included.
        h: step size, in (0, 1]; the first one, where `ramp` lets it grow as h t / (1 + h (t − 1)).
        ramp: whether the step grows.
        beta: share of the removed noise that stays removed, in (0, 1]; 1 puts none back.
        sigma_end: level below which an image is finished, in image units.
        sigma_0: level of y0, or None to estimate every level.
        seed: of the noise put back.
        start: index of the first image of `y0` in the whole run.
        condition: (B, …) what the denoiser is told of each image (measurements, a low band); it is
            then called as f(y, sigma, condition), with the rows of the images still moving.
        max_iterations: steps after which the ascent ends, finished or not.
        sigma_max: level above which it has diverged.

    Raises:
        ValueError: for an argument outside its range.
        DivergedError: from the iterator, naming the image, its level and the step.

    Source: paper (a), appendix; h = 0.01 fixed, beta = 0.1, sigma_end = 0.05 in the text, the ramp,
    beta = 0.01 and sigma_end = 0.01 in its code.
    """
    _check(h, beta, sigma_end)
    if check_finite(y0, "y0").ndim < 2:
        raise ValueError(f"y0 must be of shape (B, ...), not {tuple(y0.shape)}")
    check_number(sigma_max, "sigma_max", above=0)
    if sigma_0 is not None:
        _check_start(check_number(sigma_0, "sigma_0", above=0), sigma_max)
    if condition is not None and len(condition) != len(y0):
        raise ValueError(f"condition must have one row an image ({len(y0)}), not {len(condition)}")
    max_iterations = check_count(max_iterations, "max_iterations")
    start = check_count(start, "start", 0)
    sizes = (step_size(t, h, ramp) for t in range(1, max_iterations + 2))
    streams = [make_generator(seed, "ascent", start + i) for i in range(len(y0))]
    evaluate = _evaluator(denoiser, condition, sigma_0 is None)
    level = y0.new_full((len(y0),), math.nan if sigma_0 is None else sigma_0)
    known, question = remembered(denoiser), ("ascent", ask_of(y0, sigma_0, condition))
    if len(y0) and question not in known:  # once for each denoiser and kind of images
        check_pure(
            lambda *a: evaluate(*a)[0], y0.detach(), level, torch.arange(len(y0), device=y0.device)
        )
        known[question] = True
    return _ascend(evaluate, y0.detach().clone(), level, sizes, beta, sigma_end, sigma_max, streams)


def _check(h: float, beta: float, sigma_end: float) -> None:
    check_number(h, "h", above=0, high=1)
    check_number(beta, "beta", above=0, high=1)
    check_number(sigma_end, "sigma_end", above=0)


def _check_start(sigma_0: float, sigma_max: float) -> None:
    if sigma_0 > sigma_max:
        raise ValueError(
            f"sigma_max must be at least sigma_0 = {sigma_0:g}, the start, not {sigma_max:g}"
        )


def _evaluator(denoiser: Denoiser, condition: Tensor | None, blind: bool) -> Callable:
    @torch.no_grad()
    def evaluate(y: Tensor, sigma: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        more = () if condition is None else (condition[rows],)
        x_hat = estimate(denoiser, y, None if blind else sigma, *more)
        return x_hat, estimate_sigma(y, x_hat) if blind else sigma

    return evaluate


def _ascend(
    evaluate: Callable,
    y: Tensor,
    level: Tensor,
    sizes: Iterator[float],
    beta: float,
    sigma_end: float,
    sigma_max: float,
    streams: list[torch.Generator],
) -> Iterator[Step]:
    x_hat, rows = y, torch.arange(len(y), device=y.device)
    for t, h in enumerate(sizes):
        estimate, sigma = evaluate(y[rows], level[rows], rows)
        x_hat, level = x_hat.index_copy(0, rows, estimate), level.index_copy(0, rows, sigma)
        _guard(level, sigma_max, t)
        active = level >= sigma_end
        yield Step(t, y, x_hat, level, active, h)
        rows = active.nonzero()[:, 0]
        if not len(rows):
            return
        gain = math.sqrt((1 - beta * h) ** 2 - (1 - h) ** 2)
        z = _draw(y, rows, streams)
        here, there, sigma = y[rows], x_hat[rows], level[rows].reshape(-1, *[1] * (y.ndim - 1))
        y = y.index_copy(0, rows, here + h * (there - here) + gain * sigma * z)
        level = torch.where(active, level * (1 - beta * h), level)


def _draw(y: Tensor, rows: Tensor, streams: list[torch.Generator]) -> Tensor:
    shape, kind = y.shape[1:], torch.float32
    z = [torch.randn(shape, generator=streams[i], dtype=kind, device="cpu") for i in rows.tolist()]
    return torch.stack(z).to(y)


def _guard(level: Tensor, sigma_max: float, t: int) -> None:
    bad = ~(level <= sigma_max)
    if bool(bad.any()):
        i = int(bad.nonzero()[0, 0])
        raise DivergedError(
            f"the noise level of image {i} is {float(level[i]):.3g} at step {t}, above "
            f"sigma_max = {sigma_max}: the denoiser adds noise where it should remove it"
        )


def sample(
    denoiser: Denoiser,
    num: int,
    shape: tuple[int, ...],
    *,
    seed: int = 0,
    start: int = 0,
    mean: float | Tensor = 0.5,
    sigma_0: float = 1.0,
    blind: bool = True,
    like: Tensor | None = None,
    **options: Any,
) -> Samples:
    """Return `Samples` of the prior that `denoiser` holds, from y0 ~ N(mean, sigma_0²).

    Args:
        denoiser: f(y, sigma=None) → x̂.
        num: how many.
        shape: of one image, (C, H, W).
        seed: of the first noise and of the noise put back (different streams).
        start: index of the first; images 10…19 are the same drawn alone or among 0…99.
        mean: of y0; a number, or a tensor that broadcasts to (num, C, H, W).
        sigma_0: deviation of y0 per pixel, in image units.
        blind: True: σ̂ is read off the residual, f is called as f(y). False: σ_t follows its law
            from sigma_0, f is called as f(y, σ_t); denoisers that are not blind need that.
        like: a tensor of the device and dtype wanted; None: those of `mean`, where it is a tensor,
            else float32 on the CPU.
        **options: h, ramp, beta, sigma_end, condition, max_iterations, sigma_max of `ascend`.

    Raises:
        ValueError: for a `num` below 1, a `mean` that does not go with `shape`, a sigma_0 below
            sigma_end (nothing would be drawn), or an argument of `ascend` outside its range.
        DivergedError: where a noise level grows past sigma_max.
    """
    size = (check_count(num, "num"), *check_shape(shape, "shape", 1))
    sigma_end = check_number(options.get("sigma_end", SIGMA_END), "sigma_end", above=0)
    sigma_0 = check_number(sigma_0, "sigma_0", low=sigma_end)
    _check_start(sigma_0, options.get("sigma_max", SIGMA_MAX))
    mean = _check_mean(mean, size) if isinstance(mean, Tensor) else check_number(mean, "mean")
    kind = mean if like is None else check_floating(like, "like")
    z = sample_normal(size, seed, start, key="start")
    if isinstance(kind, Tensor):
        z = z.to(kind)
        mean = mean.to(kind) if isinstance(mean, Tensor) else mean
    known = None if blind else sigma_0
    steps = ascend(denoiser, mean + sigma_0 * z, sigma_0=known, seed=seed, start=start, **options)
    return finish(steps)


def _check_mean(mean: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return `mean`, checked to broadcast to `size` and no further."""
    check_finite(mean, "mean")
    axes = zip(reversed(mean.shape), reversed(size), strict=False)
    if mean.ndim > len(size) or any(n not in (1, wanted) for n, wanted in axes):
        raise ValueError(f"mean must broadcast to {size}, not be of shape {tuple(mean.shape)}")
    return mean


def finish(steps: Iterator[Step]) -> Samples:
    """Return the end of an ascent, without keeping the way there.

    Raises:
        ValueError: where there is no step.
    """
    moved = None
    for step in steps:
        # what a step says of `active` is taken by the next one: the last is where it all ended
        taken = torch.zeros_like(step.active, dtype=torch.long) if moved is None else moved
        moved = taken + step.active.long()
    if moved is None:
        raise ValueError("steps must hold the steps of an ascent, and hold none")
    return Samples(step.x_hat, step.y, step.sigma_hat, taken, ~step.active)
