"""The exact denoiser where σ is unknown; why its Jacobian is not symmetric, and when it is."""

import math

import pytest
import torch

from gahb_core import denoisers, jacobian, networks
from gahb_core.noise import make_generator

SIZE = 6
SIGMAS = (0.5, 1.0, 2.0)


def draw(*shape, key="x"):
    return torch.randn(shape, generator=make_generator(0, key), dtype=torch.float64)


def same(a, b, tol=1e-10):
    torch.testing.assert_close(a, b, rtol=tol, atol=tol)


def covariance(size=SIZE, key="covariance"):
    root = draw(size, size, key=key)
    return root @ root.T / size


def gaussian(mean=0.0):
    return denoisers.gaussian_denoiser(
        torch.full((1, 1, SIZE), mean, dtype=torch.float64), covariance()
    )


def mixture():
    parts = torch.stack([covariance(key="a"), covariance(key="b")])
    return denoisers.mixture_denoiser(torch.tensor([0.3, 0.7]).double(), draw(2, 1, 1, SIZE), parts)


def memory():
    return denoisers.empirical_denoiser(draw(4, 1, 1, SIZE))


PRIORS = {"gaussian": lambda: gaussian(0.5), "mixture": mixture, "memory": memory}
EVERY = pytest.mark.parametrize("prior", PRIORS)
Y = draw(1, 1, 1, SIZE, key="y")


def at(f, y=Y, sigma=None):
    """Return f(y) and J, both flat."""
    return f(y, sigma).flatten(), jacobian.jacobian_matrix(f, y, sigma)


@EVERY
def test_of_one_level_it_is_the_denoiser_at_that_level(prior):
    f = PRIORS[prior]()
    blind = denoisers.blind_denoiser(f, [0.3])
    same(blind(Y), f(Y, 0.3))
    same(blind.log_density(Y), f.log_density(Y, 0.3))
    same(blind.noise_variance(Y), torch.tensor([0.09], dtype=torch.float64))


def test_it_is_the_mean_over_images_and_levels_and_contrasts():
    train, contrasts = draw(4, 1, 1, SIZE), (0.5, 1.0, 2.0)
    log_w, x = [], []
    for image in train:
        for a in contrasts:
            for s in SIGMAS:
                away = (Y[0] - a * image).square().sum()
                log_w.append(-away / (2 * s**2) - SIZE * math.log(s))
                x.append(a * image)
    w = torch.stack(log_w).softmax(0)
    blind = denoisers.blind_denoiser(denoisers.empirical_denoiser(train), SIGMAS, contrasts)
    same(blind(Y)[0], torch.einsum("k,kchw->chw", w, torch.stack(x)))
    levels = torch.tensor(SIGMAS, dtype=torch.float64).square().repeat(len(w) // len(SIGMAS))
    same(blind.noise_variance(Y)[0], w @ levels)
    count = math.log(len(w)) + SIZE / 2 * math.log(2 * math.pi)
    same(blind.log_density(Y)[0], torch.stack(log_w).logsumexp(0) - count)


@EVERY
def test_at_a_known_level_the_jacobian_is_symmetric_and_is_not_the_map(prior):
    """S = J, and J y is Cov[x | y] y/σ², not E[x | y]: shrinkage of y is not the estimate."""
    x_hat, J = at(PRIORS[prior](), sigma=0.4)
    same(J, J.T)
    assert (J @ Y.flatten() - x_hat).norm() > 0.1 * x_hat.norm()


def test_at_a_known_level_it_is_the_map_for_a_gaussian_around_zero():
    x_hat, J = at(gaussian(), sigma=0.4)
    same(J @ Y.flatten(), x_hat)


@EVERY
def test_where_the_level_is_unknown_the_antisymmetric_part_has_rank_two(prior):
    f = denoisers.blind_denoiser(PRIORS[prior](), SIGMAS)
    x_hat, J = at(f)
    up = torch.func.grad(lambda y: f.log_density(y).sum())(Y).flatten()
    ds = torch.func.grad(lambda y: f.noise_variance(y).sum())(Y).flatten()
    same(x_hat, Y.flatten() + f.noise_variance(Y) * up + ds)
    A = (J - J.T) / 2
    same(A, (torch.outer(up, ds) - torch.outer(ds, up)) / 2)
    s = torch.linalg.svdvals(A)
    assert s[1] > 1e-3
    assert s[2] < 1e-10


def homogeneous(prior, low=1e-3, high=1e2, num=240):
    """Levels and contrasts spaced evenly in their logarithms: nearly f(ty) = t f(y)."""
    grid = torch.logspace(math.log10(low), math.log10(high), num, dtype=torch.float64)
    return denoisers.blind_denoiser(prior, grid, grid)


def strong(size=24):
    """Return a Gaussian of two strong directions and a y that shows both σ and contrast."""
    variances = torch.full((size,), 1e-4, dtype=torch.float64)
    variances[:4] = torch.tensor([4.0, 2.0, 1.0, 0.5])
    prior = denoisers.gaussian_denoiser(
        torch.zeros(1, 1, size, dtype=torch.float64), variances.diag()
    )
    return prior, prior.sample_prior(1, 0) + 0.1 * draw(1, 1, 1, size, key="z")


def test_a_homogeneous_one_is_its_jacobian_and_is_not_its_symmetric_part():
    prior, y = strong()
    f = homogeneous(prior)
    same(f(2 * y), 2 * f(y), 1e-3)
    x_hat, J = at(f, y)
    flat = y.flatten()
    assert (J @ flat - x_hat).norm() < 1e-3 * x_hat.norm()
    missed = (jacobian.symmetric_part(J) @ flat - x_hat).norm() / x_hat.norm()
    assert missed > 0.02


def test_a_homogeneous_one_may_be_symmetric():
    """One image whose contrast is unknown: f projects on it, as shrinkage in a basis, literally."""
    e = draw(1, 1, 1, 24)
    grid = torch.linspace(0.5, 1.5, 2000, dtype=torch.float64)
    f = denoisers.blind_denoiser(denoisers.empirical_denoiser(e), [0.05], grid)
    y = e + 0.05 * draw(1, 1, 1, 24, key="z")
    x_hat, J = at(f, y)
    unit = e.flatten() / e.norm()
    same(J, torch.outer(unit, unit), 1e-6)
    same(jacobian.symmetric_part(J) @ y.flatten(), x_hat, 1e-6)


def test_a_network_conditioned_on_the_level_lacks_its_slope_in_it():
    """Bias-free and told σ: f(ty, tσ) = t f(y, σ), hence f = J y + σ ∂f/∂σ (Euler)."""
    net = (
        networks.UNet(1, channels=(2, 4), channels_in=2, channels_out=1)
        .double()
        .requires_grad_(False)
    )
    for i, weights in enumerate(net.parameters()):
        weights.copy_(draw(*weights.shape, key=f"weights {i}"))
    f, y = denoisers.noise_conditional_denoiser(net), draw(1, 1, 8, 8)
    sigma = torch.tensor([0.3], dtype=torch.float64)
    _, slope = torch.func.jvp(lambda s: f(y, s), (sigma,), (torch.ones_like(sigma),))
    x_hat, J = at(f, y, 0.3)
    same(x_hat, J @ y.flatten() + 0.3 * slope.flatten())
    assert slope.norm() > 1e-3


@pytest.mark.parametrize("name", ["sigmas", "contrasts"])
@pytest.mark.parametrize("wrong", [[], [0.0], [-1.0, 2.0], [1e5]])
def test_levels_and_contrasts_are_positive_and_bounded(name, wrong):
    given = {"sigmas": [0.3], name: wrong}
    with pytest.raises(
        ValueError, match=f"{name} must be one or more numbers from 0.0001 to 10000, not"
    ):
        denoisers.blind_denoiser(gaussian(), **given)
