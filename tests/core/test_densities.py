"""Densities: energies against closed forms, their two errors, and their normalisation."""

import math

import pytest
import torch

from gahb_core.denoisers.contract import residual_denoiser
from gahb_core.denoisers.empirical import empirical_denoiser
from gahb_core.denoisers.gaussian import gaussian_denoiser
from gahb_core.denoisers.mixture import mixture_denoiser
from gahb_core.densities.energies import (
    bits_per_dim,
    dual_score_losses,
    energy_denoiser,
    estimate_log_z,
    exact_energy,
    log_p_decibels,
    time_score,
)
from gahb_core.densities.errors import denoising_errors, log_p_from_errors
from gahb_core.densities.learned import EnergyNet, RadialEnergy
from gahb_core.networks.weights import initialize
from gahb_core.noise import flatten_images, make_generator, sample_normal

DOUBLE = torch.float64


def _normal(*shape, seed=0):
    return torch.randn(shape, generator=make_generator(seed, "x"), dtype=DOUBLE)


def _priors():
    a = _normal(4, 4, seed=1)
    gaussian = gaussian_denoiser(_normal(4, seed=2), a @ a.T)
    mixture = mixture_denoiser(
        torch.tensor([0.3, 0.7], dtype=DOUBLE), 3 * _normal(2, 4, seed=3),
        torch.tensor([0.5, 2.0], dtype=DOUBLE),
    )  # fmt: skip
    return {
        "gaussian": gaussian,
        "mixture": mixture,
        "finite set": empirical_denoiser(_normal(5, 4)),
    }


PRIORS = _priors()


@pytest.mark.parametrize("name", PRIORS)
def test_the_gradient_of_an_exact_energy_is_its_denoiser(name):
    f, y = PRIORS[name], 2 * _normal(6, 4, seed=4)
    for sigma in (0.3, torch.linspace(0.2, 3, 6, dtype=DOUBLE)):
        got = energy_denoiser(exact_energy(f))(y, sigma)
        torch.testing.assert_close(got, f(y, sigma), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", PRIORS)
def test_the_time_score_of_an_exact_energy_is_the_noise_that_is_left(name):
    f, y, sigma = PRIORS[name], _normal(3, 4, seed=5), 0.7
    jacobians = torch.func.vmap(torch.func.jacrev(lambda v: f(v[None], sigma)[0]))(y)
    trace = jacobians.diagonal(dim1=1, dim2=2).sum(1)
    # E‖y − x‖² given y: the squared residual, and the posterior's variance σ² tr J
    left = (y - f(y, sigma)).square().sum(1) / sigma**2 + trace
    got = time_score(exact_energy(f), y, sigma)
    torch.testing.assert_close(got, 0.5 * (1 - left / 4), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("block", [1, 2, 1024])
def test_the_density_of_a_finite_set_is_a_mean_of_normals(block):
    train, y, sigma = _normal(5, 1, 2, 2), _normal(3, 1, 2, 2, seed=7), 0.4
    away = (y[:, None] - train).square().sum((2, 3, 4)) / (2 * sigma**2)
    want = (-away).exp().mean(1).log() - 2 * math.log(2 * math.pi * sigma**2)
    torch.testing.assert_close(empirical_denoiser(train, block).log_density(y, sigma), want)


@pytest.mark.parametrize("name", PRIORS)
def test_both_errors_are_least_at_the_exact_energy(name):
    f = PRIORS[name]
    x = f.train[torch.arange(4000) % 5] if name == "finite set" else f.sample_prior(4000, 1)
    noise, exact = 0.8 * _normal(4000, 4, seed=8), exact_energy(f)
    best = dual_score_losses(exact, x, noise, 0.8)
    bent = dual_score_losses(lambda y, s: exact(y, s) + 0.2 * y.square().sum(1), x, noise, 0.8)
    fast = dual_score_losses(lambda y, s: exact(y, s) + 0.5 * torch.log(s), x, noise, 0.8)
    assert best.score.mean() < 0.95 * bent.score.mean()
    assert best.time.mean() < 0.99 * fast.time.mean()
    torch.testing.assert_close(fast.score, best.score)  # the score does not see the time
    residual = (f(x + noise, 0.8) - x).square().mean(1) / 0.8**2
    torch.testing.assert_close(best.score, residual)


def test_a_constant_is_found_again():
    f = PRIORS["mixture"]
    x = f.sample_prior(20_000, 3)
    shifted = lambda y, s: exact_energy(f)(y, s) + 12.5  # noqa: E731
    # the mixture blurred by σ = 30 is a Gaussian, but for .01 nats
    assert estimate_log_z(shifted, x, 30.0, seed=1) == pytest.approx(-12.5, abs=0.06)


def test_a_radial_energy_holds_a_mixture_of_round_gaussians():
    net = RadialEnergy(3).double()
    with torch.no_grad():
        net.layers[-1].weight.zero_()
        # at t = 0: a_k = 1/(2 s_k²) and b_k = 3 log s_k − log ½, for s = 1 and 4; it begins at 1, 2
        s = torch.tensor([1.0, 4.0], dtype=DOUBLE)
        bend = (s / torch.tensor([1.0, 2.0], dtype=DOUBLE)).log()
        net.layers[-1].bias.copy_(torch.cat([-2 * bend, bend - math.log(0.5) / 3]))
    y = _normal(5, 3, seed=9)
    got = -net(y, 0.0) - 1.5 * math.log(2 * math.pi)
    prior = mixture_denoiser(torch.full((2,), 0.5, dtype=DOUBLE), torch.zeros(2, 3).double(), s**2)
    torch.testing.assert_close(got, prior.log_density(y, 1e-9))


def test_an_energy_on_a_unet_obeys_the_contract():
    net = EnergyNet((4, 8)).double()
    initialize(net.net, 0)
    with torch.no_grad():
        net.net.decoder[0][-1].weight.normal_(generator=make_generator(0, "last"))
    net.eval()
    y, sigma = _normal(3, 1, 8, 8), torch.tensor([0.1, 0.5, 2.0], dtype=DOUBLE)
    whole = net(y, sigma)
    assert whole.shape == (3,)
    assert whole.dtype == DOUBLE
    torch.testing.assert_close(whole[1:2], net(y[1:2], 0.5))
    step, h = _normal(3, 1, 8, 8, seed=3), 1e-6
    slope = ((energy_denoiser(net)(y, sigma) - y) * step).sum((1, 2, 3)) / -(sigma**2)
    numeric = (net(y + h * step, sigma) - net(y - h * step, sigma)) / (2 * h)
    torch.testing.assert_close(slope, numeric, rtol=1e-4, atol=1e-4)
    dual_score_losses(net, y, 0.5 * step, 0.5).time.mean().backward()
    assert net.net.encoder[0][0].weight.grad.abs().sum() > 0


def test_denoising_errors_add_up_to_the_density():
    f = PRIORS["mixture"]
    x, sigmas = f.sample_prior(6, 4), torch.logspace(2, -0.5, 60, dtype=DOUBLE)
    z = _normal(20_000, 4, seed=11)
    errors, want = torch.zeros(6, 60, dtype=DOUBLE), torch.zeros(6, dtype=DOUBLE)
    for i in range(6):
        for k, s in enumerate(sigmas.tolist()):
            y = x[i] + s * z
            errors[i, k] = (f(y, s) - x[i]).square().sum(1).mean()
        want[i] = f.log_density(y, s).mean()
    got = log_p_from_errors(errors, sigmas, 4)[:, -1]
    # 20,000 draws of z leave .03 of the one mean, and about as much a level of the other
    torch.testing.assert_close(got, want, rtol=0, atol=0.12)


def test_denoising_errors_are_those_of_the_draws():
    f, x = PRIORS["mixture"], _normal(3, 4, seed=20)
    sigmas = torch.tensor([2.0, 0.5], dtype=DOUBLE)
    got = denoising_errors(f, x, sigmas, num_draws=2, seed=3)
    assert got.shape == (2, 3, 2)
    for draw, image, level in ((0, 0, 0), (1, 2, 1)):
        z = torch.randn(4, generator=make_generator(3, f"draw {draw}, level {level}", image))
        sigma = float(sigmas[level])
        off = f((x[image] + sigma * z.double())[None], sigma)[0] - x[image]
        torch.testing.assert_close(got[draw, image, level], off.square().sum())
    torch.testing.assert_close(got[:1], denoising_errors(f, x, sigmas, seed=3))
    alike = denoising_errors(f, x[:1].expand(3, 4), sigmas, num_draws=2, seed=3, common=True)
    torch.testing.assert_close(alike, got[:, :1].expand(2, 3, 2))
    added = log_p_from_errors(got, sigmas, 4)
    torch.testing.assert_close(added[1], log_p_from_errors(got[1], sigmas, 4))


def test_a_draw_of_its_own_for_each_level_makes_the_sum_less_noisy():
    """Of a point the denoiser's errors are σ²‖Sz‖²: independent over levels, or all alike."""
    f, levels = gaussian_denoiser(torch.zeros(40, dtype=DOUBLE), torch.eye(40, dtype=DOUBLE)), 20
    sigmas, x = torch.logspace(0.5, -0.5, levels, dtype=DOUBLE), torch.zeros(60, 40, dtype=DOUBLE)
    own = denoising_errors(f, x, sigmas, seed=1)
    z = flatten_images(sample_normal((60, 40), 1)).double()
    same = torch.stack([(f(s * z, s) - x).square().sum(1) for s in sigmas.tolist()], 1)
    deviation = [log_p_from_errors(e, sigmas, 40)[:, -1].std() for e in (own[0], same)]
    assert 2.5 < float(deviation[1] / deviation[0]) < levels**0.5


def test_the_density_of_one_point_costs_nothing_but_its_start():
    sigmas = torch.tensor([10.0, 1.0, 0.1], dtype=DOUBLE)
    got = log_p_from_errors(torch.zeros(1, 3, dtype=DOUBLE), sigmas, 7)
    torch.testing.assert_close(got[0], -3.5 * torch.log(2 * math.pi * math.e * sigmas**2))


def test_decibels_and_bits_of_a_dimension():
    log_p = torch.tensor([-0.5 * math.log(2 * math.pi * math.e) * 100])  # a unit normal's mean
    assert float(log_p_decibels(log_p, 100)) == pytest.approx(-6.162, abs=1e-3)
    # uniform grey values: log p = 0, eight bits a pixel
    assert float(bits_per_dim(torch.zeros(1), 100)) == 8.0


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: exact_energy(residual_denoiser(None)), "denoiser must have a log_density, and a"),
        (
            lambda: dual_score_losses(None, torch.zeros(2, 3), torch.zeros(2, 4), 1.0),
            "noise must be of",
        ),
        (lambda: time_score(None, torch.zeros(2, 3), 0.0), "sigma must be positive, not 0"),
        (lambda: estimate_log_z(None, torch.zeros(1, 3), 1.0, 0), "images of x must be at least 2"),
        (lambda: estimate_log_z(None, torch.zeros(3, 3), -1.0, 0), "sigma must be .*-1"),
        (lambda: log_p_from_errors(torch.zeros(2, 2), torch.tensor([0.1, 1.0]), 3), "that fall"),
        (lambda: log_p_from_errors(torch.zeros(2, 3), torch.tensor([1.0, 0.1]), 3), r"\(B, 2\)"),
        (lambda: denoising_errors(abs, torch.zeros(2, 3), torch.zeros(1, 2)), r"shape \(K,\), not"),
        (lambda: denoising_errors(abs, torch.zeros(2, 3), torch.tensor([-0.1])), "sigmas must"),
        (lambda: denoising_errors(abs, torch.zeros(2, 3).long(), torch.ones(1)), "x must be"),
        (
            lambda: denoising_errors(abs, torch.zeros(2, 3), torch.ones(1), num_draws=0),
            "num_draws must be at least 1, not 0",
        ),
        (lambda: log_p_decibels(torch.zeros(1), 0), "size must be at least 1, not 0"),
        (lambda: bits_per_dim(torch.zeros(1), 0), "size must be at least 1, not 0"),
        (lambda: RadialEnergy(0), "size must be at least 1, not 0"),
        (lambda: EnergyNet((4, 8))(torch.zeros(2, 1, 8, 8).long(), 1.0), "y must be"),
    ],
)
def test_bad_input_is_named(call, match):
    with pytest.raises(ValueError, match=match):
        call()
