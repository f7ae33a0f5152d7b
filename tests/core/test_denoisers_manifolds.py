"""The exact denoisers of disks, rays and sinusoids, and the image sets they belong to."""

import math

import pytest
import torch

from gahb_core import data, denoisers, images
from gahb_core.denoisers.posterior import window_rule
from gahb_core.noise import add_noise, make_generator, sample_normal

SIZE = 12  # small disks: radius 3 to 4.5
DISKS = denoisers.disk_denoiser(SIZE, keep=128)
SINUSOIDS = denoisers.sinusoid_denoiser(8)
PICTURE = images.make_disks(1, size=10, seed=3)[0].double()
RAY = denoisers.ray_denoiser(PICTURE)
KINDS = {
    "disks": (DISKS, lambda num, seed: images.make_disks(num, SIZE, seed)),
    "sinusoids": (SINUSOIDS, lambda num, seed: images.make_sinusoids(num, 8, seed)),
    "ray": (RAY, lambda num, seed: images.make_ray(PICTURE, num, seed)),
}
every = pytest.mark.parametrize("kind", KINDS)


def noisy(kind, num, sigma, seed=0):
    x = KINDS[kind][1](num, seed).double()
    return x, add_noise(x, sigma, seed + 100)


def uniform(*shape):
    return torch.rand(shape, generator=make_generator(0, "prior"), dtype=torch.float64)


def draw_prior(kind, num):
    """Return many draws of x (num, D), written anew from the words of the prior."""
    if kind == "ray":
        return uniform(num, 1) * PICTURE.flatten()
    if kind == "sinusoids":
        phase, a = uniform(2, num, 1)
        angle = 2 * math.pi * ((torch.arange(8, dtype=torch.float64) + 0.5) / 8 - phase)
        return (0.5 + a * angle.cos() / 2).repeat(1, 8)
    u = uniform(5, num)
    radius = 3 + u[0] * ((SIZE - 3) / 2 - 3)
    cy, cx = radius + u[1] * (SIZE - 2 * radius), radius + u[2] * (SIZE - 2 * radius)
    return images.draw_disks(torch.stack([cy, cx, radius, u[3], u[4]], 1), SIZE).flatten(1)


def brute_force(kind, y, sigma, num):
    """Return posterior mean and trace of covariance of one image, by weighted draws, and 1/Σw²."""
    x, y = draw_prior(kind, num), y.flatten()
    w = (-(x - y).square().sum(1) / (2 * sigma**2)).softmax(0)
    mean = w @ x
    return mean, float(w @ (x - mean).square().sum(1)), float(1 / w.square().sum())


# --- against independent answers ------------------------------------------------------------


@every
def test_brute_force_gives_the_same_mean_and_covariance(kind):
    sigma = {"disks": 1.0, "sinusoids": 0.6, "ray": 0.6}[kind]
    _, y = noisy(kind, 2, sigma)
    f = KINDS[kind][0]
    mean, mse = f(y, sigma).flatten(1), f.posterior_mse(y, sigma)
    for i in range(len(y)):
        wanted, trace, draws = brute_force(kind, y[i], sigma, 30_000)
        assert draws > 500
        # an average of n draws misses by MSE/n, on average over them, summed over pixels
        assert (mean[i] - wanted).square().sum() < 6 * trace / draws
        assert float(mse[i]) == pytest.approx(trace, rel=5 / draws**0.5)


@every
def test_without_noise_to_speak_of_the_error_is_the_dimension(kind):
    """As σ → 0 the optimum projects on the tangent plane: MSE = σ² a dimension."""
    dimension = {"disks": 5, "sinusoids": 2, "ray": 1}[kind]
    x = {
        "disks": images.draw_disks(torch.tensor([[6.2, 5.7, 3.7, 0.8, 0.2]]).double(), SIZE),
        "sinusoids": images.draw_sinusoids(torch.tensor([[1.0, 0.7]]).double(), 8),
        "ray": images.draw_ray(torch.tensor([[0.6]]).double(), PICTURE),
    }[kind]
    f, sigma = KINDS[kind][0], 1e-3
    y = add_noise(x, sigma, 4)
    found = float(f.posterior_mse(y, sigma)) / sigma**2
    assert found == pytest.approx(dimension, rel=0.02)
    lam = f.posterior_spectrum(y, sigma, num=8).lam[0]
    torch.testing.assert_close(lam[:dimension], torch.ones(dimension).double(), rtol=0.02, atol=0)
    assert float(lam[dimension:].sum()) < 0.01


@pytest.mark.parametrize("sigma", [0.05, 0.002])
def test_disks_move_along_their_tangent_plane(sigma):
    """x_hat is the projection of y on the tangent plane at the disk, to second order in σ."""
    place = torch.tensor([[6.1, 5.8, 3.6, 0.9, 0.1]]).double()
    tangents = images.tangent_vectors(lambda p: images.draw_disks(p, SIZE), place)[0].flatten(1)
    basis = torch.linalg.qr(tangents.T).Q
    x = images.draw_disks(place, SIZE)
    y = add_noise(x, sigma, 2)
    moved = (DISKS(y, sigma) - x).flatten()
    wanted = basis @ (basis.T @ (y - x).flatten())
    assert (moved - wanted).norm() < (6 * sigma + 0.05) * wanted.norm()


@every
@pytest.mark.parametrize("sigma", [0.3, 0.03])
def test_the_derivative_is_the_posterior_covariance(kind, sigma):
    """Tweedie to second order: σ² ∇f = Cov[x | y], by two ways that share no derivative."""
    f = KINDS[kind][0]
    _, y = noisy(kind, 1, sigma, seed=1)
    covariance = f.posterior_covariance(y, sigma)[0]
    v = add_noise(torch.zeros_like(y), 1.0, 5)
    _, push = torch.func.jvp(lambda u: f(u, sigma), (y,), (v,))
    pull = torch.func.vjp(lambda u: f(u, sigma), y)[1](v)[0]
    wanted = covariance @ v.flatten() / sigma**2
    for found in (push.flatten(), pull.flatten()):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5 * float(wanted.norm()))


@pytest.mark.parametrize("sigma", [0.3, 0.03])
def test_the_score_is_the_gradient_of_the_density(sigma):
    _, y = noisy("disks", 1, sigma, seed=2)
    y.requires_grad_()
    (gradient,) = torch.autograd.grad(DISKS.log_density(y, sigma).sum(), y)
    score = denoisers.score(DISKS, y.detach(), sigma)
    torch.testing.assert_close(gradient, score, rtol=1e-4, atol=1e-5 * float(score.norm()))


def test_the_density_of_disks_is_that_of_many_draws():
    _, y = noisy("disks", 1, 0.7)
    x = draw_prior("disks", 20_000)
    log = -(x - y.flatten()).square().sum(1) / (2 * 0.49) - 72 * math.log(2 * math.pi * 0.49)
    wanted = float(log.logsumexp(0)) - math.log(20_000)
    chance = float(log.softmax(0).square().sum()) ** 0.5  # of the mean of that many weights
    assert chance < 0.05
    assert float(DISKS.log_density(y, 0.7)) == pytest.approx(wanted, abs=4 * chance)


@every
def test_the_posterior_knows_its_own_error(kind):
    """The mean of tr Cov and the mean of ‖x − x_hat‖², over draws of the prior, agree."""
    num, f = (12 if kind == "disks" else 200), KINDS[kind][0]
    x = KINDS[kind][1](num, 6)
    got = denoisers.estimate_mmse(f, x, 0.2, seed=7)
    spread = (2 / num) ** 0.5 * got.mmse + got.standard_error
    assert abs(got.squared_error - got.mmse) < 3 * spread
    assert got.mmse < 0.5 * float(x.flatten(1).var(0).sum())


def test_a_ray_gains_ten_log_d():
    """PSNR-out = PSNR-in + 10 log₁₀ D, D pixels, for intensities away from 0 and 1."""
    x = images.draw_ray(torch.linspace(0.2, 0.8, 400).double()[:, None], PICTURE)
    sigma = 0.01
    mse = (RAY(add_noise(x, sigma, 1), sigma) - x).square().mean()
    gain = float(-10 * torch.log10(mse)) + 20 * math.log10(sigma)
    assert gain == pytest.approx(10 * math.log10(100), abs=0.4)


def test_a_ray_is_the_mean_of_a_truncated_gaussian():
    """By the textbook formula, the peak inside [0, 1] or as far as 6 deviations outside."""
    power = float(PICTURE.square().sum())
    normal = torch.distributions.Normal(*torch.tensor([0.0, 1.0]).double())
    for sigma, seen in [(0.1, 0.4), (1.0, 0.9), (10.0, 0.3), (0.1, 1.02), (0.5, 1.5), (1.0, -0.8)]:
        std = sigma / power**0.5
        low, high = (torch.tensor((e - seen) / std).double() for e in (0, 1))
        ratio = (normal.log_prob(low).exp() - normal.log_prob(high).exp()) / (
            normal.cdf(high) - normal.cdf(low)
        )
        found = RAY(seen * PICTURE[None], sigma)[0]
        torch.testing.assert_close(found, (seen + std * ratio) * PICTURE, rtol=1e-5, atol=1e-6)


# --- the quadrature -------------------------------------------------------------------------


@pytest.mark.parametrize("std", [0.01, 0.1, 0.3, 3.0])
def test_a_window_holds_all_of_a_truncated_gaussian(std):
    """Sixteen nodes against a midpoint rule of 200,000, the peak inside [0, 1] or outside."""
    u = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    for peak in (-5 * std, -std, 0.0, 0.3, 0.99, 1 + 2 * std):
        nodes, log_weight = window_rule(*torch.tensor([[peak], [std]]).double(), 16)
        log_mass = log_weight[0] - ((nodes[0] - peak) / std).square() / 2
        dense = -((u - peak) / std).square() / 2
        mass = float(dense.logsumexp(0)) - math.log(200_000)
        mean, wanted = (log_mass.softmax(0) @ nodes[0], dense.softmax(0) @ u)
        variance = log_mass.softmax(0) @ (nodes[0] - mean).square()
        spread = float(dense.softmax(0) @ (u - wanted).square())
        assert float(log_mass.logsumexp(0)) == pytest.approx(mass, abs=1e-5)
        assert float(mean) == pytest.approx(float(wanted), abs=1e-5 * std)
        assert float(variance) == pytest.approx(spread, rel=1e-4)


def test_disks_of_32_pixels_have_five_factors_near_one_and_no_tail():
    """At σ = .04, the noise of the published spectrum of a network."""
    x = images.draw_disks(torch.tensor([[15.3, 17.1, 8.2, 0.8, 0.25]]).double(), 32)
    f = denoisers.disk_denoiser(32, keep=128)
    lam = f.posterior_spectrum(add_noise(x, 0.04, 1), 0.04, num=12).lam[0]
    assert 0.85 < float(lam[4]) <= float(lam[0]) < 1.25
    assert float(lam[5]) < 0.03


@pytest.mark.parametrize("sigma", [1.0, 0.1, 0.01])
def test_the_error_of_the_quadrature_is_below_a_hundredth(sigma):
    _, y = noisy("disks", 1, sigma, seed=3)
    assert float(DISKS.error(y, sigma).max()) < 0.01


def test_refining_stops_when_it_is_exact_enough():
    _, y = noisy("disks", 1, 0.3)
    f = denoisers.refine_disks(y, 0.3, tolerance=0.5, keep=32)
    assert f.keep == 32
    with pytest.raises(ValueError, match="tolerance must be above the error reached"):
        denoisers.refine_disks(y, 0.3, tolerance=0.0, keep=512)


def test_noise_alone_and_clean_images_have_finite_answers():
    wild = torch.cat([torch.full((1, 1, SIZE, SIZE), 5.0), torch.zeros(1, 1, SIZE, SIZE)])
    for sigma in (0.01, 1.0):
        x_hat = DISKS(wild.double(), sigma)
        assert bool(((x_hat > -1e-9) & (x_hat < 1 + 1e-9)).all())


# --- the contract ---------------------------------------------------------------------------


@every
def test_the_spectrum_is_that_of_the_covariance(kind):
    f = KINDS[kind][0]
    _, y = noisy(kind, 1, 0.2)
    lam, atoms = f.posterior_spectrum(y, 0.2, num=6)
    covariance = f.posterior_covariance(y, 0.2)[0] / 0.04
    wanted = torch.linalg.eigvalsh(covariance).flip(0)[:6]
    torch.testing.assert_close(lam[0], wanted, rtol=1e-6, atol=1e-8)
    flat = atoms[0].flatten(1)
    torch.testing.assert_close(flat @ flat.T, torch.eye(6).double())
    torch.testing.assert_close(covariance @ flat.T, flat.T * lam[0], rtol=1e-6, atol=1e-6)


@every
def test_errors_name_what_is_wrong(kind):
    f = KINDS[kind][0]
    _, y = noisy(kind, 1, 0.3)
    with pytest.raises(ValueError, match="y must be of shape"):
        f(y[..., 1:], 0.3)
    with pytest.raises(ValueError, match="num must lie in 1 … .*, not 0"):
        f.posterior_spectrum(y, 0.3, num=0)
    with pytest.raises(ValueError, match="x must hold at least 2 images, not 1"):
        denoisers.estimate_mmse(f, y, 0.3)


def test_makers_refuse_what_they_cannot_do():
    with pytest.raises(ValueError, match="size must be at least 10, not 9"):
        denoisers.disk_denoiser(9)
    with pytest.raises(ValueError, match="keep must lie in 8 … 512, not 5000"):
        denoisers.disk_denoiser(12, keep=5000)
    with pytest.raises(ValueError, match="size must be at least 3, not 2"):
        denoisers.sinusoid_denoiser(2)
    with pytest.raises(ValueError, match=r"image must be one image \(C, H, W\) that is not black"):
        denoisers.ray_denoiser(torch.zeros(1, 4, 4))


# --- the images -----------------------------------------------------------------------------


def test_a_ray_holds_one_image():
    x = data.load_images("ray", "test", 3)
    image = data.load_images("fashion", "A", 1)[0]
    a = images.make_ray_parameters(3, seed=2)
    torch.testing.assert_close(x, a[:, :, None, None] * image)
    assert torch.equal(data.load_images("ray/image=fashion", "test", 3), x)


def test_sinusoids_are_what_they_are_said_to_be():
    phase, a = images.make_sinusoid_parameters(5).unbind(1)
    x = images.make_sinusoids(5, size=16)
    mean, top = x.mean((1, 2, 3)), torch.fft.rfft(x[:, 0, 0])[:, 1]
    torch.testing.assert_close(mean, torch.full((5,), 0.5))
    torch.testing.assert_close(top.abs(), a * 4)
    wanted = torch.polar(a * 4, -phase + math.pi / 16)
    torch.testing.assert_close(top, wanted, rtol=1e-4, atol=1e-4)


def test_shuffled_pixels_are_the_same_pixels_elsewhere():
    x = data.load_images("fashion", "test", 4)
    mixed = data.load_images("shuffled/fashion", "test", 4)
    assert not torch.equal(mixed, x)
    assert torch.equal(mixed, images.shuffle_pixels(x))
    assert torch.equal(images.unshuffle_pixels(mixed), x)
    assert torch.equal(mixed.flatten(1).sort(1).values, x.flatten(1).sort(1).values)
    assert data.locate("shuffled/fashion") == data.locate("fashion")


def test_images_refuse_what_they_cannot_do():
    with pytest.raises(ValueError, match="image must be one image"):
        images.make_ray(torch.zeros(4, 4), 2)
    with pytest.raises(ValueError, match="size must be at least 3, not 2"):
        images.make_sinusoids(1, size=2)
    with pytest.raises(ValueError, match="dataset must be of"):
        data.load_images("shuffled/shuffled/disks", "A", 1)
    with pytest.raises(ValueError, match="options of .* must be of"):
        data.load_images("sinusoids/alpha=2", "A", 1)
    with pytest.raises(ValueError, match="num must be given"):
        data.load_images("shuffled/ray", "A")


@pytest.mark.parametrize("share", [0.2, 0.04])  # of 0.04, a disk may hide between the pixels
def test_disks_of_which_few_pixels_are_seen(share):
    """Against 60,000 disks of the prior, each with the weight of the pixels that are seen."""
    sigma, size = 0.3, 12
    seen = torch.rand(size, size, generator=make_generator(3)) < share
    y = (
        images.make_disks(1, size, seed=9).double()
        + sigma * sample_normal((1, 1, size, size), 1).double()
    )
    drawn = images.make_disks(60_000, size, seed=4).double()
    away = (drawn - y)[:, 0, seen].square().sum(1)
    w = (-away / (2 * sigma**2)).softmax(0)[:, None]
    flat = drawn.flatten(1)
    mean = (w * flat).sum(0)
    error = (w * (flat - mean)).square().sum(0).sqrt()
    f = denoisers.Disks(size, 256, seen=seen)
    assert ((f(y, sigma).flatten() - mean).abs() < 4.5 * error + 1e-3).all()
    blind = y.clone()
    blind[..., ~seen] = 7.0  # what is not seen is not looked at
    torch.testing.assert_close(f(blind, sigma), f(y, sigma), rtol=0, atol=1e-12)
    variance = (w * (flat - mean).square()).sum()
    assert float(f.posterior_mse(y, sigma)) == pytest.approx(float(variance), rel=0.05)
