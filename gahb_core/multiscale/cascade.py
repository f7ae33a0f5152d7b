"""Cascades: draw x_J, then level by level the details that go with it; or keep the x_J of an image.

Large images from small networks: the low band alone is drawn by a network that sees all of it; the
details by local ones, at any size. Source: paper (b) and its code.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

from gahb_core.checks import check_count, check_finite, check_images, check_number
from gahb_core.multiscale.denoising import MultiScale
from gahb_core.multiscale.haar import haar_merge
from gahb_core.noise import make_generator
from gahb_core.sampling.ascent import Samples, sample


class Ascent(NamedTuple):
    """How one band is drawn, by `sampling.sample`.

    The defaults suit details. `blind` False tells the denoiser the level σ_t, as exact ones need.
    Paper (b): for details sigma_0 = 1, sigma_end = 0.01, ramp, beta from 0.1 to 1; for the low
    band beta = 0.01 and fixed h.
    """

    h: float = 0.01
    ramp: bool = True
    beta: float = 0.5
    sigma_0: float = 1.0
    sigma_end: float = 0.01
    mean: float = 0.0
    blind: bool = True
    max_iterations: int = 10_000
    sigma_max: float = 2.0


# mean 0.5: images lie in [0, 1]; what is drawn hardly depends on it where beta is small
LOW = Ascent(beta=0.1, mean=0.5)
DETAILS = Ascent()


class Scale(NamedTuple):
    """Where a cascade stands: it has reached `x` = x_j.

    Attributes:
        j: the level; 0 is the finished image.
        x: (B, C, H/2^j, W/2^j).
        drawn: how the band that was added was drawn (x_J itself, or the details of level j + 1):
            its noise levels and steps. None where x_J was given.
    """

    j: int
    x: Tensor
    drawn: Samples | None


def _level_seed(seed: int, j: int) -> int:
    """Return a seed of level j's own: levels of one image must not share their noise."""
    return make_generator(seed, "level", j).initial_seed()


def rescale_range(x: Tensor, low: float, high: float) -> Tensor:
    """Return each image of `x` scaled and shifted so that its least and greatest value are these.

    Raises:
        ValueError: where an image has no contrast or is not finite, or `low` is not below `high`.
    """
    if not check_number(low, "low") < check_number(high, "high"):
        raise ValueError(f"low must be below high, not low = {low}, high = {high}")
    check_finite(check_images(x, "x"), "x")
    least, most = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
    if bool((most <= least).any()):
        raise ValueError("x must have contrast in every image: one is constant")
    return low + (high - low) * (x - least) / (most - least)


def _low_shape(size: int | tuple[int, int], J: int, channels: int) -> tuple[int, int, int]:
    pair = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(pair) != 2:
        raise ValueError(f"size must be one number or (height, width), not {size!r}")
    height, width = (check_count(n, "size", 0) for n in pair)
    if min(height, width) < 1 or height % 2**J or width % 2**J:
        raise ValueError(f"size must be positive multiples of 2^J = {2**J}, not {(height, width)}")
    return check_count(channels, "channels"), height // 2**J, width // 2**J


def sample_cascade(
    denoiser: MultiScale,
    num: int,
    size: int | tuple[int, int],
    *,
    seed: int = 0,
    start: int = 0,
    low: Ascent = LOW,
    details: Ascent | Sequence[Ascent] = DETAILS,
    low_range: tuple[float, float] | None = None,
    channels: int = 1,
    like: Tensor | None = None,
) -> Iterator[Scale]:
    """Yield the `Scale`s x_J, …, x_1, x_0 of `num` images drawn from p(x_J) ∏ p(x̄_j | x_j).

    Each image and each level has its own noise streams, so that image i is the same alone or in
    any batch. `*_, last = sample_cascade(...)` keeps the images, `last.x`, alone.

    Args:
        denoiser: the denoisers of x_J and of the details.
        num: how many images.
        size: H = W or (H, W) of the images, multiples of 2^J.
        seed: of all noise.
        start: index of the first image.
        low: how x_J is drawn.
        details: how the details are; one `Ascent`, or J, finest first.
        low_range: None, or the least and greatest value to which x_J is stretched. A bias-free
            network trained with images of every brightness has no scale of its own: the authors'
            code uses (0, 0.8).
        channels: C of the images.
        like: a tensor of the device and dtype wanted; None: float32 on the CPU.

    Raises:
        ValueError: for a size or an argument of `sampling.ascend` outside its range.
        sampling.DivergedError: where a noise level grows past `sigma_max`.
    """
    num, shape = check_count(num, "num"), _low_shape(size, denoiser.J, channels)
    _per_level(details, denoiser.J)
    options = low._asdict() | {"like": like}
    return _synthesize(denoiser, num, shape, options, seed, start, details, low_range)


def _synthesize(
    denoiser: MultiScale,
    num: int,
    shape: tuple[int, int, int],
    options: dict,
    seed: int,
    start: int,
    details: Ascent | Sequence[Ascent],
    low_range: tuple[float, float] | None,
) -> Iterator[Scale]:
    drawn = sample(
        denoiser.low, num, shape, seed=_level_seed(seed, denoiser.J + 1), start=start, **options
    )
    x = drawn.x if low_range is None else rescale_range(drawn.x, *low_range)
    yield Scale(denoiser.J, x, drawn)
    for scale in super_resolve(denoiser, x, seed=seed, start=start, details=details):
        if scale.drawn is not None:
            yield scale


def super_resolve(
    denoiser: MultiScale,
    x_J: Tensor,
    *,
    seed: int = 0,
    start: int = 0,
    details: Ascent | Sequence[Ascent] = DETAILS,
) -> Iterator[Scale]:
    """Yield the `Scale`s of x_J as given, then x_{J−1}, …, x_0 with details drawn given it.

    The block means of each x_j are x_{j+1}: x_J is kept exactly. That of a test image is
    `haar_decompose(x, J).low`; for several solutions repeat its row, each has its own noise.

    Args:
        denoiser: whose `details` are used, all J levels of them.
        x_J: (B, C, H, W), of any size.
        seed: of all noise; that of a `sample_cascade` with the same seed.
        start: index of the first image.
        details: how the details are drawn; one `Ascent`, or J, finest first.

    Raises:
        ValueError: for a wrong number of `details`, or one outside its range.
        sampling.DivergedError: where a noise level grows past `sigma_max`.
    """
    check_count(len(check_finite(check_images(x_J, "x_J"), "x_J")), "the number of images of x_J")
    return _super_resolve(denoiser, x_J, seed, start, _per_level(details, denoiser.J))


def _super_resolve(
    denoiser: MultiScale, x: Tensor, seed: int, start: int, ascents: tuple[Ascent, ...]
) -> Iterator[Scale]:
    yield Scale(denoiser.J, x, None)
    for j in range(denoiser.J, 0, -1):
        batch, channels, *size = x.shape
        options = ascents[j - 1]._asdict() | {"like": x}
        drawn = sample(
            denoiser.details[j - 1],
            batch,
            (3 * channels, *size),
            seed=_level_seed(seed, j),
            start=start,
            condition=x,
            **options,
        )
        x = haar_merge(x, drawn.x)
        yield Scale(j - 1, x, drawn)


def _per_level(details: Ascent | Sequence[Ascent], J: int) -> tuple[Ascent, ...]:
    ascents = (details,) * J if isinstance(details, Ascent) else tuple(details)
    if len(ascents) != J:
        raise ValueError(f"details must be one Ascent, or J = {J} of them, not {len(ascents)}")
    return ascents
