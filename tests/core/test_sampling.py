import math

import pytest
import torch

from gahb_core.denoisers import estimate_sigma
from gahb_core.noise import make_generator, sample_normal
from gahb_core.sampling.ascent import (
    DivergedError,
    ascend,
    finish,
    sample,
    sigma_schedule,
    step_size,
)
from gahb_core.sampling.measurements import (
    constrain,
    measure_block_means,
    measure_blur,
    measure_low_frequencies,
    measure_pixels,
    measure_random,
    measurement_from_functions,
    sample_constrained,
)

VARIANCES = torch.tensor([1.0, 0.1, 0.01, 1e-3], dtype=torch.float64)
MEAN = torch.tensor([0.5, 0.2, 0.7, 0.4], dtype=torch.float64)


def gaussian(y, sigma=None):
    """E[x | y] for x ~ N(MEAN, diag VARIANCES), images (B, 1, 2, 2)."""
    if sigma is None:
        raise ValueError("sigma is needed")
    noise = torch.as_tensor(sigma).reshape(-1, 1, 1, 1) ** 2
    c = VARIANCES.reshape(1, 1, 2, 2)
    return MEAN.reshape(1, 1, 2, 2) + (y - MEAN.reshape(1, 1, 2, 2)) * c / (c + noise)


def halve(y, sigma=None):
    return y / 2


def shrink(y, sigma=None):
    """A blind denoiser of x = 0.5: it removes all but 2% of the noise."""
    return 0.5 + 0.02 * (y - 0.5)


# the schedule


@pytest.mark.parametrize(
    ("beta", "sigma_end", "ramp", "published"),
    [
        (0.1, 0.05, False, 2994),
        (0.1, 0.05, True, 97),
        (0.1, 0.01, False, 4603),
        (0.1, 0.01, True, 127),
        (1.0, 0.05, False, 298),
        (1.0, 0.05, True, 25),
    ],
)
def test_iteration_counts(beta, sigma_end, ramp, published):
    """Counted to the first level below sigma_end; two published ones stop a step earlier."""
    levels = sigma_schedule(1.0, sigma_end, ramp=ramp, beta=beta)
    assert len(levels) - 1 - published in ((0,) if ramp or published == 4603 else (1,))
    assert levels[-1] < sigma_end <= levels[-2]


def test_schedule_without_ramp_is_a_power():
    levels = sigma_schedule(2.0, 0.5, h=0.1, ramp=False, beta=0.3)
    power = 2.0 * 0.97 ** torch.arange(len(levels), dtype=torch.float64)
    torch.testing.assert_close(levels, power, rtol=1e-13, atol=0)


def test_ramp():
    # 1/h_t − 1 = (1/h_1 − 1)/t: the noise-to-step ratio falls as 1/t
    for t in (1, 2, 50, 1000):
        assert 1 / step_size(t, 0.02) - 1 == pytest.approx(49 / t, rel=1e-12)


# the ascent of a Gaussian prior: everything is linear, so everything is known


def recursion(y0, levels, noise, h, ramp, beta):
    """The ascent written as y_t = A_t y_{t−1} + (1 − A_t) mean + γ_t z_t, mode by mode."""
    y = y0.flatten(1)
    for t, sigma in enumerate(levels[:-1].tolist(), 1):
        size = step_size(t, h, ramp)
        keep = 1 - size * sigma**2 / (VARIANCES + sigma**2)
        gain = sigma * math.sqrt((1 - beta * size) ** 2 - (1 - size) ** 2)
        y = keep * y + (1 - keep) * MEAN + gain * noise[:, t - 1]
    return y


@pytest.mark.parametrize(("h", "ramp", "beta"), [(0.01, True, 0.1), (0.1, False, 0.5)])
def test_ascent_is_the_linear_recursion(h, ramp, beta):
    levels = sigma_schedule(h=h, ramp=ramp, beta=beta)
    y0 = 0.5 + sample_normal((3, 1, 2, 2), seed=4).double()
    steps = list(ascend(gaussian, y0, h=h, ramp=ramp, beta=beta, sigma_0=1.0, seed=9, start=5))
    assert len(steps) == len(levels)
    noise = torch.empty(3, len(levels), 4, dtype=torch.float64)
    for i in range(3):
        stream = make_generator(9, "ascent", 5 + i)
        for t in range(len(levels) - 1):
            noise[i, t] = torch.randn(1, 2, 2, generator=stream).double().flatten()
    expected = recursion(y0, levels, noise, h, ramp, beta)
    torch.testing.assert_close(steps[-1].y.flatten(1), expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(
        torch.stack([s.sigma_hat[1] for s in steps]), levels, rtol=1e-10, atol=0
    )


def missing_variance(h, beta):
    """1 − (v − σ²)/c at the end, by the exact recursion of v − c − σ² in the room's docstring."""
    e = -VARIANCES
    for sigma in sigma_schedule(h=h, ramp=False, beta=beta)[:-1].tolist():
        rho = sigma**2 / (VARIANCES + sigma**2)
        e = (1 - h * rho) ** 2 * e - h**2 * VARIANCES * rho
    return -e / VARIANCES


def test_samples_have_the_mean_and_covariance_of_the_prior():
    """beta = 0.5, h = 0.05 fixed: 1500 samples agree within four standard errors.

    beta decides how much of the start is forgotten: (c / (c + 1))^(1/beta) of each variance is
    missing (a quarter for c = 1 here), and h takes h/2 = 2.5% more, whatever beta.
    """
    num, h, beta = 1500, 0.05, 0.5
    start = torch.full((1, 1, 2, 2), 0.5, dtype=torch.float64)
    drawn = sample(
        gaussian, num, (1, 2, 2), mean=start, blind=False, h=h, ramp=False, beta=beta, seed=3
    )
    y = drawn.y_end.flatten(1)
    covariance = torch.cov(y.T)
    variances = VARIANCES * (1 - missing_variance(h, beta)) + drawn.sigma_hat[0] ** 2
    error = (variances[:, None] * variances / num).sqrt() * (1 + torch.eye(4) * (2**0.5 - 1))
    assert ((covariance - variances.diag()).abs() < 4 * error).all()
    levels = sigma_schedule(h=h, ramp=False, beta=beta)[:-1, None]
    kept = (1 - h * levels**2 / (VARIANCES + levels**2)).prod(0)
    mean = MEAN + kept * (0.5 - MEAN)
    assert ((y.mean(0) - mean).abs() < 4 * (variances / num).sqrt()).all()
    assert ((mean - MEAN).abs() < 0.3 * VARIANCES).all()


@pytest.mark.parametrize("beta", [1.0, 0.5, 0.1])
def test_closed_form_of_the_variance(beta):
    """1 − h/2 − (1 − h/2) (c/(c + σ_0²))^(1/β) of c, to first order in h."""
    h = 0.005
    gone = ((VARIANCES + 1e-4) / (VARIANCES + 1)) ** (1 / beta)
    expected = h / 2 + (1 - h / 2) * gone
    assert ((missing_variance(h, beta) - expected).abs() < 0.01).all()
    if beta == 0.1:  # the start is forgotten: what is missing is h/2
        torch.testing.assert_close(
            missing_variance(h, beta)[1:], torch.full((3,), h / 2).double(), rtol=0.02, atol=0
        )


# the blind ascent


@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_blind_level_follows_the_law(beta):
    """A denoiser that knows x leaves only z, so σ̂ follows the law up to the sampling of ‖z‖."""

    def know(y, sigma=None):
        return torch.full_like(y, 0.5)

    y0 = 0.5 + sample_normal((2, 1, 128, 128), seed=1).double()
    steps = list(ascend(know, y0, beta=beta, sigma_end=0.05))
    levels = torch.stack([s.sigma_hat for s in steps])
    law = sigma_schedule(1.0, 0.05, beta=beta)
    num = min(len(law), len(levels))
    assert abs(len(law) - len(levels)) <= 1
    error = levels[:num] / law[:num, None] - 1
    # relative deviation of a root mean square of D normals, 1/√(2D), grown by at most √10 here
    assert error.abs().max() < 4 * math.sqrt(10 / (2 * 128**2))
    assert torch.equal(levels[0], estimate_sigma(y0, torch.full_like(y0, 0.5)))


def test_a_perfect_blind_denoiser_cools_faster_than_the_law():
    """By d ln σ/dt = −h [β + (1 − β) MSE/σ²], σ read off pixels of known value, in closed form.

    Half of the pixels have variance c and the others none, so that y tells σ: the exact posterior
    mean is blind, and MSE/σ² = c / (2 (c + σ²)) is near a half at small σ.
    """
    half, c, h, beta = 64 * 32, 0.25, 0.02, 0.1

    def exact(y, sigma=None):
        noise = y[..., 32:].square().mean((1, 2, 3), keepdim=True)
        return torch.cat([y[..., :32] * c / (c + noise), torch.zeros_like(y[..., 32:])], dim=3)

    x = torch.zeros(1, 1, 64, 64, dtype=torch.float64)
    x[..., :32] = c**0.5 * sample_normal((1, 1, 64, 32), seed=0)
    y0 = x + sample_normal((1, 1, 64, 64), seed=1)
    steps = list(ascend(exact, y0, h=h, ramp=False, beta=beta, sigma_end=0.02))
    noise = torch.stack([s.y[..., 32:].square().mean() for s in steps])
    live = torch.stack([s.y[..., :32].square().mean() for s in steps])
    share = c / (2 * (c + noise))
    rate = noise.log().diff() / (2 * h)
    expected = -(beta + (1 - beta) * share[:-1])
    # a step of the noise's mean square is random by 2 γ σ/√half; averaged over forty steps
    smooth = torch.ones(1, 1, 40, dtype=torch.float64) / 40
    measured, wanted = (
        torch.nn.functional.conv1d(v[None, None], smooth).flatten() for v in (rate, expected)
    )
    assert (measured - wanted).abs().max() < 4 * math.sqrt(2 / (h * 40 * half))
    assert (live / (c + noise) - 1).abs().max() < 0.1  # y keeps the density p_σ
    law = len(sigma_schedule(1.0, 0.02, h=h, ramp=False, beta=beta))
    assert len(steps) < 0.4 * law


def test_blind_sigma_is_the_root_mean_square_of_the_residual():
    y = torch.tensor([[[[3.0, 4.0]]], [[[0.0, 0.0]]]])
    torch.testing.assert_close(estimate_sigma(y, y - y), torch.tensor([math.sqrt(12.5), 0.0]))


def test_without_noise_one_image_ends_where_the_deterministic_ascent_does():
    y0 = torch.full((1, 1, 2, 2), 1.0, dtype=torch.float64)
    ends = [finish(ascend(halve, y0, beta=1.0, h=0.5, ramp=False, seed=s)) for s in (0, 1)]
    assert torch.equal(ends[0].x, ends[1].x)
    t = int(ends[0].iterations)
    assert ends[0].y_end[0, 0, 0, 0] == pytest.approx(0.75**t, rel=1e-12)
    assert t == math.ceil(math.log(0.02) / math.log(0.75))


def test_finished_images_are_frozen_and_not_computed():
    sizes = []

    def counted(y, sigma=None):
        sizes.append(len(y))
        return shrink(y)

    y0 = 0.5 + torch.tensor([1.0, 0.1, 0.001]).reshape(3, 1, 1, 1) * torch.randn(
        3, 1, 8, 8, generator=make_generator(0)
    )
    keep = y0.clone()
    steps = list(ascend(counted, y0))
    assert torch.equal(y0, keep)
    assert sizes == [3] * 3 + [int(s.active.sum()) for s in steps[:-1]]  # two to see what it does
    assert steps[0].active.tolist() == [True, True, False]
    assert set(sizes) == {1, 2, 3}
    assert torch.equal(steps[-1].y[2], y0[2])
    for before, after in zip(steps[:-1], steps[1:], strict=True):
        still = ~before.active
        assert torch.equal(before.y[still], after.y[still])
        assert torch.equal(before.x_hat[still], after.x_hat[still])
        assert torch.equal(before.sigma_hat[still], after.sigma_hat[still])
        assert not torch.equal(before.y[before.active], after.y[before.active])
    end = finish(ascend(counted, y0))
    expected = torch.stack([s.active for s in steps]).sum(0)
    assert torch.equal(end.iterations, expected)
    assert end.finished.all()


def test_an_image_does_not_depend_on_its_batch():
    together = sample(shrink, 4, (1, 4, 4), seed=2)
    alone = sample(shrink, 1, (1, 4, 4), seed=2, start=3)
    for a, b in zip(together, alone, strict=True):
        assert torch.equal(a[3:], b)
    assert not torch.equal(together.x[2], together.x[3])
    assert not torch.equal(together.x, sample(shrink, 4, (1, 4, 4), seed=3).x)


def test_a_network_does_not_depend_on_its_batch():
    net = torch.nn.Conv2d(1, 1, 3, padding=1, bias=False)
    with torch.no_grad():
        net.weight.copy_(0.1 * torch.randn(net.weight.shape, generator=make_generator(5)))

    def denoiser(y, sigma=None):
        return net(y)

    together = sample(denoiser, 4, (1, 8, 8), seed=2)
    alone = sample(denoiser, 1, (1, 8, 8), seed=2, start=3)
    torch.testing.assert_close(together.x[3:], alone.x, rtol=0, atol=1e-6)
    assert not together.x.requires_grad
    assert net.weight.requires_grad
    assert torch.is_grad_enabled()


def test_grad_mode_is_the_readers_between_steps():
    steps = ascend(shrink, torch.ones(1, 1, 2, 2))
    next(steps)
    assert torch.is_grad_enabled()


def test_maximum_number_of_iterations():
    steps = list(ascend(shrink, torch.ones(1, 1, 4, 4), max_iterations=5))
    assert [s.iteration for s in steps] == list(range(6))
    end = sample(shrink, 2, (1, 4, 4), max_iterations=5)
    assert end.iterations.tolist() == [5, 5]
    assert not end.finished.any()


def test_samples_take_the_dtype_of_the_mean():
    assert sample(shrink, 1, (1, 2, 2)).x.dtype == torch.float32
    mean = torch.tensor(0.5, dtype=torch.float64)
    assert sample(shrink, 1, (1, 2, 2), mean=mean).x.dtype == torch.float64


# guards


def test_divergence_names_the_image_and_the_step():
    def grow(y, sigma=None):
        return y * torch.tensor([0.9, 1.5])[: len(y)].reshape(-1, 1, 1, 1)

    with pytest.raises(DivergedError, match=r"image 1 is 2\.\d+ at step [1-9]\d*, above sigma_max"):
        finish(ascend(grow, torch.ones(2, 1, 2, 2), h=0.5, ramp=False))
    with pytest.raises(DivergedError, match="image 0 is nan at step 0"):
        finish(ascend(lambda y, sigma: y * math.nan, torch.ones(1, 1, 2, 2)))


def test_an_exact_denoiser_needs_the_schedule():
    with pytest.raises(ValueError, match="sigma is needed"):
        finish(ascend(gaussian, torch.ones(1, 1, 2, 2).double()))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"h": 0.0}, "h must be above 0 and at most 1, not 0"),
        ({"beta": 1.5}, "beta must be above 0 and at most 1, not 1.5"),
        ({"sigma_end": -1.0}, "sigma_end must be above 0, not -1"),
        ({"max_iterations": 0}, "max_iterations must be at least 1, not 0"),
        ({"condition": torch.ones(3)}, r"condition must have one row an image \(2\), not 3"),
    ],
)
def test_bad_arguments_are_named_at_once(options, match):
    with pytest.raises(ValueError, match=match):
        ascend(shrink, torch.ones(2, 1, 2, 2), **options)


def test_other_bad_arguments():
    with pytest.raises(ValueError, match="y0 must be floating point, not torch.int64"):
        ascend(shrink, torch.ones(2, 2, dtype=torch.long))
    with pytest.raises(ValueError, match="num must be at least 1, not 0"):
        sample(shrink, 0, (1, 2, 2))
    with pytest.raises(ValueError, match="sigma_0 must be above 0, not 0"):
        sigma_schedule(0.0)
    with pytest.raises(ValueError, match="mask must be boolean"):
        measure_pixels(torch.ones(1, 4, 4))
    with pytest.raises(ValueError, match="factor must divide size = 8, not 3"):
        measure_block_means(8, 3)
    with pytest.raises(ValueError, match=r"factor must divide size = \(8, 12\), not 8"):
        measure_block_means((8, 12), 8)
    with pytest.raises(ValueError, match="width must be positive and finite, not 0"):
        measure_blur(8, 0)
    with pytest.raises(ValueError, match=r"least must be in \(0, 1\], not 0"):
        measure_blur(8, 1, least=0)
    with pytest.raises(ValueError, match="sigma_m must be at least 0 and finite, not -0.1"):
        constrain(shrink, measure_block_means(8, 4), sigma_m=-0.1)
    with pytest.raises(ValueError, match="cutoff must be at least 0 and below size / 2 = 4.0"):
        measure_low_frequencies(8, 4)
    with pytest.raises(ValueError, match=r"num must be in 1 … 16, the pixels, not 17"):
        measure_random(17, (1, 4, 4), seed=0)


NAN = float("nan")
HERE = torch.ones(2, 1, 2, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sigma_schedule(beta=1e-12), "beta and h must reach sigma_end .* 1,000,000 steps"),
        (lambda: sigma_schedule(math.inf), "sigma_0 must be above 0, not inf"),
        (lambda: sigma_schedule(h=NAN), "h must be above 0 and at most 1, not nan"),
        (lambda: step_size(0), "t must be at least 1, not 0"),
        (lambda: step_size(1, 2.0), "h must be above 0 and at most 1, not 2"),
        (lambda: sample(shrink, 2, (1, 2, 2), sigma_0=0), "sigma_0 must be at least 0.01, not 0"),
        (lambda: sample(shrink, 2, (1, 2, 2), sigma_0=-1), "sigma_0 must be at least 0.01, not -1"),
        (
            lambda: sample(shrink, 2, (1, 2, 2), sigma_0=0.1, sigma_end=0.2),
            "sigma_0 must be at least 0.2, not 0.1",
        ),
        (lambda: sample(shrink, 2.5, (1, 2, 2)), "num must be a whole number"),
        (lambda: sample(shrink, 2, (1, 2, -2)), "shape must be at least 1, not -2"),
        (lambda: sample(shrink, 2, (1, 2, 2), mean=NAN), "mean must be a finite number, not nan"),
        (lambda: sample(shrink, 2, (1, 2, 2), mean=HERE.long()), "mean must be floating point"),
        (
            lambda: sample(shrink, 2, (1, 2, 2), mean=torch.zeros(2, 3, 2, 2)),
            r"mean must broadcast to \(2, 1, 2, 2\), not be of shape \(2, 3, 2, 2\)",
        ),
        (lambda: sample(shrink, 2, (1, 2, 2), start=-1), "start must be at least 0, not -1"),
        (lambda: ascend(shrink, NAN * HERE), "y0 must be finite, but 8 of 8"),
        (lambda: ascend(shrink, HERE[0, 0, 0]), r"y0 must be of shape \(B, ...\), not \(2,\)"),
        (lambda: ascend(shrink, HERE, sigma_0=0.0), "sigma_0 must be above 0, not 0.0"),
        (lambda: ascend(shrink, HERE, sigma_max=NAN), "sigma_max must be above 0, not nan"),
        (
            lambda: sample(lambda y, s: y[..., 1:], 2, (1, 2, 2)),
            r"denoiser must give the shape of y, \(2, 1, 2, 2\), not \(2, 1, 2, 1\)",
        ),
        (lambda: finish(iter(())), "steps must hold the steps of an ascent"),
    ],
)
def test_arguments_that_would_draw_nothing_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_no_image_ends_at_once():
    (step,) = ascend(shrink, torch.zeros(0, 1, 4, 4))
    assert step.x_hat.shape == (0, 1, 4, 4)
    assert finish(ascend(shrink, torch.zeros(0, 1, 4, 4))).iterations.shape == (0,)


# measurements


def measurements():
    mask = torch.rand(1, 8, 8, generator=make_generator(1)) < 0.3
    return {
        "pixels": measure_pixels(mask),
        "blocks": measure_block_means(8, 4),
        "frequencies": measure_low_frequencies(8, 2),
        "random": measure_random(10, (1, 8, 8), seed=0),
        "blur": measure_blur(8, 1.0).measurement,
    }


@pytest.mark.parametrize("name", ["pixels", "blocks", "frequencies", "random", "blur"])
def test_measurements_are_orthonormal(name):
    m = measurements()[name]
    pixels = torch.eye(64, dtype=torch.float64).reshape(64, 1, 8, 8)
    analysis = m.analyze(pixels).flatten(1)  # (D, K): M itself, since its row i is Mᵀe_i
    assert analysis.shape == (64, m.num)
    torch.testing.assert_close(
        analysis.T @ analysis, torch.eye(m.num, dtype=torch.float64), rtol=0, atol=1e-12
    )
    like = m.analyze(pixels[:1])
    units = torch.eye(m.num, dtype=torch.float64).reshape(m.num, *like.shape[1:])
    torch.testing.assert_close(
        m.synthesize(units).flatten(1), analysis.T, rtol=0, atol=1e-12
    )  # the adjoint


def test_block_means_and_frequencies_are_what_they_say():
    x = torch.rand(2, 1, 8, 8, generator=make_generator(2), dtype=torch.float64)
    means = torch.nn.functional.avg_pool2d(x, 4)
    torch.testing.assert_close(measure_block_means(8, 4).analyze(x) / 4, means, rtol=0, atol=1e-12)
    low = measure_low_frequencies(8, 2)
    k = torch.fft.fftfreq(8, 1 / 8).abs()
    keep = (k[:, None] <= 2) & (k <= 2)
    filtered = torch.fft.ifft2(torch.fft.fft2(x) * keep).real
    torch.testing.assert_close(low.synthesize(low.analyze(x)), filtered, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["pixels", "blocks", "frequencies", "random", "blur"])
def test_constrained_samples_meet_the_measurements(name):
    m = measurements()[name]
    x = torch.rand(3, 1, 8, 8, generator=make_generator(2), dtype=torch.float64)
    end = sample_constrained(shrink, m, m.analyze(x), (1, 8, 8), seed=1)
    torch.testing.assert_close(m.analyze(end.x), m.analyze(x), rtol=0, atol=1e-12)
    assert (end.y_end - end.x).abs().max() < 0.05  # the ascent was nearly there already
    # elsewhere it is the prior's: shrink knows only the image 0.5, less what was measured of it
    rest = end.x - m.impose(torch.full_like(x, 0.5), m.analyze(x))
    assert rest.abs().max() < 0.02


def test_direction_of_the_constrained_ascent():
    m = measurements()["random"]
    y, x = torch.rand(2, 3, 1, 8, 8, generator=make_generator(3), dtype=torch.float64)
    d = constrain(halve, m)(y, None, m.analyze(x)) - y
    basis = m.synthesize(torch.eye(m.num, dtype=torch.float64)).flatten(1).T
    free = (halve(y) - y).flatten(1)
    expected = free - free @ basis @ basis.T + (x - y).flatten(1) @ basis @ basis.T
    torch.testing.assert_close(d.flatten(1), expected, rtol=0, atol=1e-12)
    assert m.num == 10


def pair(y, sigma):
    """E[x | y] of two pixels of mean 0.5, variance 0.04 and covariance 0.03."""
    c = torch.tensor([[0.04, 0.03], [0.03, 0.04]], dtype=torch.float64)
    noise = torch.as_tensor(sigma, dtype=torch.float64).reshape(-1)[0] ** 2
    gain = c @ torch.linalg.inv(c + noise * torch.eye(2))
    return ((y.flatten(1) - 0.5) @ gain.T + 0.5).reshape(y.shape)


def constrained_moments(beta, h=0.05):
    """Mean and covariance of y at the end, pushed through each affine step, pixel 0 being 0.7."""
    f = constrain(pair, measure_pixels(torch.tensor([[[True, False]]])))
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).double().reshape(3, 1, 1, 2)
    mean = torch.tensor([0.7, 0.5], dtype=torch.float64)
    covariance = torch.eye(2, dtype=torch.float64)
    for sigma in sigma_schedule(h=h, ramp=False, beta=beta)[:-1].tolist():
        moved = f(corners, sigma, torch.full((3, 1), 0.7).double()).flatten(1)
        A = (1 - h) * torch.eye(2) + h * (moved[1:] - moved[0]).T
        mean = A @ mean + h * moved[0]
        gain2 = sigma**2 * ((1 - beta * h) ** 2 - (1 - h) ** 2)
        covariance = A @ covariance @ A.T + gain2 * torch.eye(2)
    return mean, covariance


def test_constrained_gaussian_tends_to_the_conditional_gaussian():
    """As β → 0 the other pixel has its conditional mean 0.65 and variance 0.0175, less h/2."""
    expected = 0.5 + 0.2 * 0.75, 0.04 * (1 - 0.75**2)
    errors = []
    for beta in (1.0, 0.3, 0.05):
        mean, covariance = constrained_moments(beta)
        assert mean[0] == pytest.approx(0.7, abs=1e-6)
        errors.append((abs(mean[1] - expected[0]), abs(covariance[1, 1] - expected[1])))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2][0] < 0.012
    assert errors[2][1] < 0.05 * expected[1]


def test_constrained_samples_have_the_constrained_moments():
    m = measure_pixels(torch.tensor([[[True, False]]]))
    measured = torch.full((600, 1), 0.7, dtype=torch.float64)
    end = sample_constrained(
        pair, m, measured, (1, 1, 2), blind=False, h=0.05, ramp=False, beta=1.0
    )
    mean, covariance = constrained_moments(1.0)
    other = end.y_end[:, 0, 0, 1]
    error = (covariance[1, 1] / 600).sqrt()
    assert abs(other.mean() - mean[1]) < 4 * error
    assert abs(other.var() / covariance[1, 1] - 1) < 4 * math.sqrt(2 / 600)
    assert torch.equal(end.x[:, 0, 0, 0], measured[:, 0])


def test_blocks_of_an_oblong_picture():
    x = torch.rand(1, 1, 8, 12, generator=make_generator(2), dtype=torch.float64)
    m = measure_block_means((8, 12), 4)
    assert m.num == 6
    assert m.analyze(x).shape == (1, 1, 2, 3)
    assert m.analyze(x)[0, 0, 1, 2] / 4 == pytest.approx(float(x[..., 4:, 8:].mean()))


def test_a_blur_is_a_convolution_and_what_it_leaves_is_read_exactly():
    x = torch.rand(2, 1, 32, 24, generator=make_generator(2), dtype=torch.float64)
    blur = measure_blur((32, 24), 2.0)
    point = torch.zeros(1, 1, 32, 24, dtype=torch.float64)
    point[..., 0, 0] = 1
    kernel = blur.apply(point)
    by_fft = torch.fft.ifft2(torch.fft.fft2(x) * torch.fft.fft2(kernel)).real
    torch.testing.assert_close(blur.apply(x), by_fft, rtol=0, atol=1e-12)
    # the kernel is a Gaussian of deviation 2: e^(−1/2) two pixels away
    assert kernel[0, 0, 2, 0] / kernel[0, 0, 0, 0] == pytest.approx(math.exp(-0.5), rel=1e-6)
    assert kernel.sum() == pytest.approx(1)
    measured = blur.read(blur.apply(x))
    torch.testing.assert_close(measured, blur.measurement.analyze(x), rtol=0, atol=1e-12)
    assert 0 < blur.measurement.num < 32 * 24
    assert float(blur.transfer[blur.kept].min()) >= 0.05 > float(blur.transfer[~blur.kept].max())


def test_a_pair_of_functions_is_checked():
    def low(x):
        return x.mean((-2, -1)) * 4  # Q of the mean of 16 pixels

    def spread(c):
        return c[..., None, None].expand(-1, -1, 4, 4) / 4

    m = measurement_from_functions(low, spread, (1, 4, 4))
    assert m.num == 1
    x = torch.rand(2, 1, 4, 4, generator=make_generator(2), dtype=torch.float64)
    end = sample_constrained(shrink, m, m.analyze(x), (1, 4, 4))
    torch.testing.assert_close(end.x.mean((1, 2, 3)), x.mean((1, 2, 3)), rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match=r"synthesize must be the adjoint of analyze: .* relative"):
        measurement_from_functions(low, lambda c: spread(c).roll(1, 0), (1, 4, 4))
    with pytest.raises(ValueError, match=r"analyze\(synthesize\(c\)\) must be c \(orthonormal"):
        measurement_from_functions(lambda x: 2 * low(x), lambda c: 2 * spread(c), (1, 4, 4))
    with pytest.raises(
        ValueError, match=r"synthesize must return images \(4, 1, 4, 4\) .*\(4, 1\)"
    ):
        measurement_from_functions(low, lambda c: c, (1, 4, 4))


# noisy measurements

SIGMA_M = 0.1


def noisy_moments(beta, h=0.05):
    """Mean and covariance at the end where pixel 0 was measured as 0.7, with noise SIGMA_M."""
    f = constrain(pair, measure_pixels(torch.tensor([[[True, False]]])), SIGMA_M)
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).double().reshape(3, 1, 1, 2)
    mean = torch.tensor([0.7, 0.5], dtype=torch.float64)
    covariance = torch.eye(2, dtype=torch.float64)
    for sigma in sigma_schedule(1.0, 0.005, h=h, ramp=False, beta=beta)[:-1].tolist():
        moved = f(corners, sigma, torch.full((3, 1), 0.7).double()).flatten(1)
        A = (1 - h) * torch.eye(2) + h * (moved[1:] - moved[0]).T
        mean = A @ mean + h * moved[0]
        gain2 = sigma**2 * ((1 - beta * h) ** 2 - (1 - h) ** 2)
        covariance = A @ covariance @ A.T + gain2 * torch.eye(2)
    return mean, covariance


def test_noisy_measurements_of_a_gaussian_tend_to_its_posterior():
    c = torch.tensor([[0.04, 0.03], [0.03, 0.04]], dtype=torch.float64)
    gain = c[:, :1] / (c[0, 0] + SIGMA_M**2)
    exact_mean = 0.5 + 0.2 * gain[:, 0]
    exact = c - gain @ c[:1]
    errors = []
    for beta in (1.0, 0.1, 0.02):
        mean, covariance = noisy_moments(beta)
        errors.append(
            (float((mean - exact_mean).abs().max()), float((covariance - exact).abs().max()))
        )
    assert errors[0][0] > errors[1][0] > errors[2][0]
    assert errors[2][0] < 0.004
    assert errors[2][1] < 0.04 * exact[1, 1]  # h/2 of it is the price of the step


def test_direction_of_noisy_measurements_is_the_posterior_score():
    """For σ < σ_m the noise of y is part of that of x^c: log p(y | x^c) by autodiff."""
    c = torch.tensor([[0.04, 0.03], [0.03, 0.04]], dtype=torch.float64)
    sigma, measured = 0.06, torch.tensor([[0.7]], dtype=torch.float64)
    y = torch.tensor([[0.62, 0.31]], dtype=torch.float64).requires_grad_()
    precision = torch.linalg.inv(c + sigma**2 * torch.eye(2))
    log_p = -0.5 * (y - 0.5) @ precision @ (y - 0.5).T
    log_p = log_p - 0.5 * (measured - y[:, :1]) ** 2 / (SIGMA_M**2 - sigma**2)
    (gradient,) = torch.autograd.grad(log_p.sum(), y)
    f = constrain(pair, measure_pixels(torch.tensor([[[True, False]]])), SIGMA_M)
    at = y.detach().reshape(1, 1, 1, 2)
    direction = (f(at, sigma, measured) - at).flatten(1)
    torch.testing.assert_close(direction, sigma**2 * gradient, rtol=0, atol=1e-8)


def test_noisy_samples_have_the_noisy_moments_and_do_not_meet_the_measurements():
    m = measure_pixels(torch.tensor([[[True, False]]]))
    measured = torch.full((600, 1), 0.7, dtype=torch.float64)
    options = {"blind": False, "h": 0.05, "ramp": False, "beta": 1.0, "sigma_end": 0.005}
    end = sample_constrained(pair, m, measured, (1, 1, 2), sigma_m=SIGMA_M, **options)
    mean, covariance = noisy_moments(1.0)
    error = (covariance.diagonal() / 600).sqrt()
    ends = end.y_end.flatten(1)
    assert ((ends.mean(0) - mean).abs() < 4 * error).all()
    assert ((ends.var(0) / covariance.diagonal() - 1).abs() < 4 * math.sqrt(2 / 600)).all()
    assert float((end.x[:, 0, 0, 0] - 0.7).abs().mean()) > 0.02
