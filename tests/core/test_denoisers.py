import pytest
import torch
from test_denoisers_contract import check_contract
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gahb_core import bases, denoisers
from gahb_core.noise import broadcast_sigma, make_generator


def draw(*shape, seed=0):
    return torch.randn(shape, generator=make_generator(seed, "test"), dtype=torch.float64)


def same(a, b, tol=1e-10):
    torch.testing.assert_close(a, b, rtol=tol, atol=tol)


def make_covariance(num, seed):
    root = draw(num, num, seed=seed)
    return root @ root.T / num + 0.1 * torch.eye(num, dtype=torch.float64)


def make_mixture(shape=(2,), num=3):
    size = int(torch.tensor(shape).prod()) if shape else 1
    weights = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)[:num]
    covs = torch.stack([make_covariance(size, k) for k in range(num)])
    return denoisers.mixture_denoiser(weights, 2 * draw(num, *shape, seed=7), covs)


def make_gaussian(shape=(1, 2, 3)):
    size = int(torch.tensor(shape).prod())
    return denoisers.gaussian_denoiser(draw(*shape, seed=5), make_covariance(size, 3))


def make_fourier(size=4):
    basis = bases.make_fourier(size)
    variances = 1 / (1 + basis.frequency.to(torch.float64)) ** 2
    return denoisers.gaussian_denoiser(draw(1, size, size), variances, basis)


EXACT = [
    pytest.param(make_gaussian(), (1, 2, 3), id="gaussian"),
    pytest.param(make_fourier(), (1, 4, 4), id="fourier"),
    pytest.param(make_mixture((2,)), (2,), id="mixture 2-d"),
    pytest.param(make_mixture((1,)), (1,), id="mixture 1-d"),
    pytest.param(make_mixture(()), (), id="mixture of numbers"),
    pytest.param(make_mixture((1, 2, 2)), (1, 2, 2), id="mixture of images"),
]
EVERY = [
    *EXACT,
    pytest.param(denoisers.empirical_denoiser(draw(9, 1, 2, 3), block=4), (1, 2, 3), id="memory"),
]


def jacobian(f, y, sigma):
    """Return ∇f of each image, (B, D, D), one image and one row at a time."""
    rows = [torch.autograd.functional.jacobian(lambda u: f(u[None], sigma)[0], v) for v in y]
    size = y[0].numel()
    return torch.stack(rows).reshape(len(y), size, size)


# --- the contract --------------------------------------------------------------------------------


class Shrink(nn.Module):
    """A network that estimates 0.25 y, and nothing like it in training mode."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.constant_(self.conv.weight, 0.25)
        self.drop = nn.Dropout(0.9)

    def forward(self, y):
        return self.drop(self.conv(y))


def test_residual_runs_in_evaluation_mode_and_gives_every_mode_back():
    net = Shrink().double().train()
    net.conv.eval()  # one module differs
    f = denoisers.residual_denoiser(net)
    y = draw(3, 1, 4, 4)
    same(f(y), 0.75 * y)
    same(f(y, 0.3), 0.75 * y)
    assert [m.training for m in net.modules()] == [True, False, True]
    assert f.net is net
    assert isinstance(f, denoisers.Denoiser)


def test_residual_gives_the_mode_back_after_an_error():
    net = Shrink().double().train()
    with pytest.raises(RuntimeError, match="channels"):
        denoisers.residual_denoiser(net)(draw(3, 2, 4, 4))
    assert all(m.training for m in net.modules())


def test_residual_works_under_func_transforms():
    f = denoisers.residual_denoiser(Shrink().double())
    y, v = draw(3, 1, 4, 4), draw(3, 1, 4, 4, seed=1)
    same(torch.func.jvp(f, (y,), (v,))[1], 0.75 * v)
    same(torch.func.vjp(f, y)[1](v)[0], 0.75 * v)
    same(torch.func.vmap(lambda u: f(u[None])[0])(y), 0.75 * y)


def test_score_and_blind_sigma_by_hand():
    f = denoisers.residual_denoiser(Shrink().double())
    y = draw(3, 1, 4, 4)
    same(denoisers.score(f, y, 0.5), -y)
    same(
        denoisers.score(f, y, torch.tensor([0.5, 1.0, 0.25]))[1:],
        -y[1:] * torch.tensor([0.25, 4.0]).reshape(2, 1, 1, 1),
    )
    same(denoisers.blind_sigma(f, y), 0.25 * y.square().mean((1, 2, 3)).sqrt())


def test_blind_sigma_sits_below_sigma_by_the_error():
    # E‖y − f*‖² = σ²D − MSE, exactly, for a Gaussian whose f* is made blind
    prior = denoisers.gaussian_denoiser(torch.zeros(50).double(), make_covariance(50, 1))
    sigma = 0.3
    y = prior.sample_prior(4000, 0) + sigma * draw(4000, 50, seed=1)
    got = denoisers.blind_sigma(lambda u: prior(u, sigma), y).square().mean()
    assert float(got) == pytest.approx(sigma**2 - prior.mmse(sigma) / 50, rel=0.01)


@pytest.mark.parametrize(("f", "shape"), EVERY)
def test_exact_denoisers_keep_the_contract_for_points_of_any_shape(f, shape):
    check_contract(f, draw(4, *shape))
    with pytest.raises(ValueError, match="y must"):
        f(draw(2, 5, 5), 1)


@pytest.mark.parametrize(("f", "shape"), EVERY)
def test_derivatives_are_those_of_autograd_row_by_row(f, shape):
    y, v = draw(4, *shape), draw(4, *shape, seed=1)
    J = jacobian(f, y, 0.7)
    want = torch.einsum("bij,bj->bi", J, v.reshape(4, -1)).reshape(y.shape)
    same(torch.func.jvp(lambda u: f(u, 0.7), (y,), (v,))[1], want, 1e-9)
    back = torch.einsum("bij,bi->bj", J, v.reshape(4, -1)).reshape(y.shape)
    same(torch.func.vjp(lambda u: f(u, 0.7), y)[1](v)[0], back, 1e-9)


# --- Tweedie -------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.05, 0.5, 5.0])
@pytest.mark.parametrize(("f", "shape"), EXACT)
def test_tweedie_first_order(f, shape, sigma):
    y = (3 * draw(6, *shape)).requires_grad_()
    (gradient,) = torch.autograd.grad(f.log_density(y, sigma).sum(), y)
    same(f(y.detach(), sigma), y.detach() + sigma**2 * gradient, 1e-9)
    same(denoisers.score(f, y.detach(), sigma), gradient, 1e-6)


@pytest.mark.parametrize("sigma", [0.2, 1.0, 4.0])
@pytest.mark.parametrize("shape", [(), (1,), (2,), (1, 2, 2)])
def test_tweedie_second_order(shape, sigma):
    f = make_mixture(shape)
    y = 2 * draw(5, *shape)
    cov = f.posterior_covariance(y, sigma)
    same(cov / sigma**2, jacobian(f, y, sigma), 1e-9)
    same(cov, cov.mT)
    assert float(torch.linalg.eigvalsh(cov).min()) > 0


def test_log_density_integrates_to_one_and_its_posterior_mean_is_that_of_quadrature():
    f = make_mixture((1,))
    x = torch.linspace(-30, 30, 60_001, dtype=torch.float64)[:, None]
    prior = f.log_density(x, 1e-9).exp()
    assert float(torch.trapezoid(f.log_density(x, 0.7).exp(), x[:, 0])) == pytest.approx(1)
    for point in (-2.0, 0.3, 4.0):
        weight = prior * torch.exp(-((x[:, 0] - point) ** 2) / (2 * 0.7**2))
        mean = (weight * x[:, 0]).sum() / weight.sum()
        y = torch.tensor([[point]], dtype=torch.float64)
        same(f(y, 0.7)[0, 0], mean, 1e-8)
        spread = (weight * (x[:, 0] - mean) ** 2).sum() / weight.sum()
        same(f.posterior_covariance(y, 0.7)[0, 0, 0], spread, 1e-8)


# --- Gaussian ------------------------------------------------------------------------------------


def test_gaussian_against_the_matrix_formula():
    cov, mean, y = make_covariance(6, 3), draw(1, 2, 3, seed=5), draw(4, 1, 2, 3)
    gain = cov @ torch.linalg.inv(cov + 0.49 * torch.eye(6, dtype=torch.float64))
    want = mean + ((y - mean).flatten(1) @ gain.T).reshape(y.shape)
    f = make_gaussian()
    same(f(y, 0.7), want)
    normal = torch.distributions.MultivariateNormal(
        mean.flatten(), cov + 0.49 * torch.eye(6).double()
    )
    same(f.log_density(y, 0.7), normal.log_prob(y.flatten(1)))
    same(f.mmse(0.7), float(0.49 * gain.trace()))


def test_gaussian_in_a_basis_equals_the_dense_matrix():
    f = make_fourier()
    eye = torch.eye(16, dtype=torch.float64)
    vectors = f.basis.synthesize(eye).flatten(1)  # rows
    dense = denoisers.gaussian_denoiser(f.mean, vectors.T @ torch.diag(f.variances) @ vectors)
    y = draw(3, 1, 4, 4)
    same(f(y, 0.4), dense(y, 0.4))
    same(f.log_density(y, 0.4), dense.log_density(y, 0.4))


def test_gaussian_is_a_mixture_of_one():
    mean, cov, y = draw(3), make_covariance(3, 2), draw(4, 3, seed=1)
    one = denoisers.mixture_denoiser(torch.ones(1).double(), mean[None], cov[None])
    f = denoisers.gaussian_denoiser(mean, cov)
    same(one(y, 0.6), f(y, 0.6))
    same(one.log_density(y, 0.6), f.log_density(y, 0.6))


def test_mmse_is_the_error_measured():
    f = make_gaussian()
    x = f.sample_prior(10_000, 0)
    y = x + 0.5 * draw(10_000, 1, 2, 3, seed=1)
    error = (f(y, 0.5) - x).flatten(1).square().sum(1)
    assert abs(float(error.mean()) - f.mmse(0.5)) < 4 * float(error.std()) / 100


@pytest.mark.parametrize("f", [make_gaussian((3,)), make_mixture((3,))])
def test_prior_draws_have_the_prior_mean_and_covariance(f):
    x = f.sample_prior(10_000, 0)
    assert torch.equal(x[:10], f.sample_prior(10_000, 0)[:10])
    # at a large σ the posterior is the prior
    far = 1e4
    y = torch.zeros(1, 3, dtype=torch.float64)
    assert float((x.mean(0) - f(y, far)[0]).abs().max()) < 0.1
    cov = jacobian(f, y, far)[0] * far**2
    assert float((torch.cov(x.T) - cov).abs().max()) < 0.25


@pytest.mark.parametrize(("f", "shape"), EXACT)
def test_limits_of_sigma(f, shape):
    y = draw(3, *shape)
    same(f(y, 1e-6), y, 1e-9)
    prior_mean = f(torch.zeros(1, *shape, dtype=torch.float64), 1e6)
    same(f(y, 1e6), prior_mean.expand_as(y), 1e-8)


def test_gaussian_refuses_bad_covariances():
    mean = torch.zeros(2)
    with pytest.raises(ValueError, match=r"covariance must have shape \(2, 2\), not \(3, 3\)"):
        denoisers.gaussian_denoiser(mean, torch.eye(3))
    with pytest.raises(ValueError, match="covariance must be symmetric"):
        denoisers.gaussian_denoiser(mean, torch.tensor([[1.0, 0.5], [0.0, 1.0]]))
    with pytest.raises(ValueError, match="covariance must have no negative variance, not -1"):
        denoisers.gaussian_denoiser(mean, torch.diag(torch.tensor([1.0, -1.0])))
    with pytest.raises(ValueError, match=r"covariance must have shape \(16,\), not \(3,\)"):
        denoisers.gaussian_denoiser(torch.zeros(1, 4, 4), torch.ones(3), bases.make_fourier(4))


@pytest.mark.parametrize(("num", "size"), [(50, 16), (200, 16), (30, 8)])
def test_covariances_of_few_float32_images_are_taken_for_what_they_are(num, size):
    """Null eigenvalues of fewer images than pixels come out at −7e-07: rounding, not a mistake."""
    x = torch.rand(num, 1, size, size, generator=make_generator(0))
    covariance = torch.cov(x.flatten(1).T)
    assert float(torch.linalg.eigvalsh(covariance).min()) < 0
    f = denoisers.gaussian_denoiser(x.mean(0), covariance)
    exact = denoisers.gaussian_denoiser(x.mean(0).double(), torch.cov(x.double().flatten(1).T))
    y = x[:3] + 0.1 * torch.randn(3, 1, size, size, generator=make_generator(1))
    same(f(y, 0.1).double(), exact(y.double(), 0.1), 1e-4)
    wrong = covariance - 1e-4 * covariance.trace() * torch.eye(size**2)
    with pytest.raises(ValueError, match="covariance must have no negative variance"):
        denoisers.gaussian_denoiser(x.mean(0), wrong)


# --- mixture -------------------------------------------------------------------------------------


def test_round_components_equal_dense_ones():
    weights, means, y = torch.ones(2).double(), draw(2, 3), draw(4, 3, seed=1)
    variances = torch.tensor([0.5, 2.0], dtype=torch.float64)
    dense = variances[:, None, None] * torch.eye(3, dtype=torch.float64)
    a = denoisers.mixture_denoiser(weights, means, variances)
    b = denoisers.mixture_denoiser(3 * weights, means, dense)
    same(a(y, 0.5), b(y, 0.5))
    same(a.log_density(y, 0.5), b.log_density(y, 0.5))
    same(a.posterior_covariance(y, 0.5), b.posterior_covariance(y, 0.5))


def test_mixture_far_from_every_component_stays_finite():
    f = make_mixture((2,))
    y = torch.full((1, 2), 1e4, dtype=torch.float64)
    assert bool(torch.isfinite(f(y, 0.01)).all())
    assert bool(torch.isfinite(f.log_density(y, 0.01)).all())


def test_mixture_refuses_bad_input():
    means = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="weights must be 2 positive numbers"):
        denoisers.mixture_denoiser(torch.ones(3), means, torch.ones(2))
    with pytest.raises(ValueError, match="weights must be 2 positive numbers"):
        denoisers.mixture_denoiser(torch.tensor([1.0, -1.0]), means, torch.ones(2))
    with pytest.raises(ValueError, match=r"shape \(2,\) or \(2, 3, 3\), not \(3,\)"):
        denoisers.mixture_denoiser(torch.ones(2), means, torch.ones(3))
    with pytest.raises(ValueError, match="covariances must have no negative variance, not -1"):
        denoisers.mixture_denoiser(torch.ones(2), means, torch.tensor([1.0, -1.0]))


# --- memory --------------------------------------------------------------------------------------


def test_memory_is_a_mixture_of_delta_functions():
    train, y = draw(20, 1, 2, 3), draw(5, 1, 2, 3, seed=1)
    delta = denoisers.mixture_denoiser(torch.ones(20).double(), train, torch.zeros(20).double())
    for sigma in (0.05, 0.4, 2.0):
        same(denoisers.empirical_denoiser(train)(y, sigma), delta(y, sigma), 1e-9)


@pytest.mark.parametrize("block", [1, 3, 7, 20])
@pytest.mark.parametrize("sigma", [1e-3, 0.3, 10.0])
def test_memory_does_not_depend_on_its_block(block, sigma):
    train, y = draw(20, 1, 2, 3), draw(5, 1, 2, 3, seed=1)
    by_hand = torch.softmax(-(torch.cdist(y.flatten(1), train.flatten(1)) ** 2) / (2 * sigma**2), 1)
    want = (by_hand @ train.flatten(1)).reshape(y.shape)
    same(denoisers.empirical_denoiser(train, block)(y, sigma), want, 1e-7)


def test_memory_goes_from_the_nearest_image_to_the_mean():
    train, y = draw(50, 1, 3, 3), draw(6, 1, 3, 3, seed=1)
    f = denoisers.empirical_denoiser(train, 16)
    closest = torch.cdist(y.flatten(1), train.flatten(1)).argmin(1)
    same(f(y, 1e-4), train[closest])
    same(f(y, 1e6), train.mean(0).expand_as(y), 1e-9)
    single = f(y.float(), 1e-4)
    same(single, train[closest].float(), 1e-5)


def test_memory_jacobian_is_the_posterior_covariance():
    train, y, sigma = draw(12, 4), draw(3, 4, seed=1), 0.8
    J = jacobian(denoisers.empirical_denoiser(train, 5), y, sigma)
    weights = torch.softmax(-(torch.cdist(y, train) ** 2) / (2 * sigma**2), 1)
    for r, got in zip(weights, J, strict=True):
        same(got * sigma**2, torch.cov(train.T, correction=0, aweights=r), 1e-8)


def test_memory_of_a_training_set_fits_and_takes_per_image_sigma():
    train = torch.rand(10_000, 1, 32, 32, generator=make_generator(0))
    f = denoisers.empirical_denoiser(train)
    sigma = torch.linspace(0.01, 0.3, 64)
    noise = torch.randn(64, 1, 32, 32, generator=make_generator(1))
    with FlopCounterMode(display=False) as counter:
        x_hat = f(train[:64] + broadcast_sigma(sigma, noise) * noise, sigma)
    products = 2 * 64 * 10_000 * 1024  # the distances, and the mean
    assert counter.get_total_flops() <= 2 * products
    torch.testing.assert_close(x_hat[:40], train[:40], rtol=0, atol=1e-5)


def test_memory_refuses_bad_input():
    with pytest.raises(ValueError, match="train must hold an image, not 0"):
        denoisers.empirical_denoiser(torch.zeros(0, 3))
    with pytest.raises(ValueError, match="block must be at least 1, not 0"):
        denoisers.empirical_denoiser(torch.zeros(2, 3), 0)
    with pytest.raises(ValueError, match=r"y must be of shape \(B, 3\), not \(1, 4\)"):
        denoisers.empirical_denoiser(torch.zeros(2, 3))(torch.zeros(1, 4), 1)


NAN = float("nan")
EYE = torch.eye(3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: denoisers.gaussian_denoiser(NAN * EYE[0], EYE), "mean must be finite"),
        (lambda: denoisers.gaussian_denoiser(EYE[0], NAN * EYE), "covariance must be finite"),
        (lambda: denoisers.gaussian_denoiser(EYE[0], EYE.long()), "covariance must be floating"),
        (lambda: denoisers.gaussian_denoiser(EYE[0], EYE).mmse(-1), "sigma must be above 0"),
        (
            lambda: denoisers.gaussian_denoiser(EYE[0], EYE).sample_prior(-1, 0),
            "shape must be at least 0, not -1",
        ),
        (lambda: denoisers.mixture_denoiser(EYE[0] + 1, EYE, NAN * EYE[0]), "covariances must be"),
        (lambda: denoisers.mixture_denoiser(EYE[0] / 0, EYE, EYE[0]), "weights must be finite"),
        (
            lambda: denoisers.mixture_denoiser(EYE[0, :1], EYE[:1], EYE.triu().cumsum(1)[None]),
            "covariances must be symmetric",
        ),
        (lambda: denoisers.mixture_denoiser(EYE[0, :0], EYE[:0], EYE[:0]), "number of means must"),
        (lambda: denoisers.empirical_denoiser(NAN * EYE), "train must be finite"),
        (lambda: denoisers.empirical_denoiser(EYE.long()), "train must be floating point"),
        (lambda: denoisers.empirical_denoiser(EYE, 2.5), "block must be a whole number"),
        (lambda: denoisers.estimate_sigma(EYE, EYE[:2]), r"x_hat must be of shape \(3, 3\)"),
        (lambda: denoisers.ray_denoiser(NAN * EYE[None]), "image must be finite"),
        (lambda: denoisers.disk_denoiser(12, keep=8.5), "keep must be a whole number"),
        (lambda: denoisers.sinusoid_denoiser(8.0), "size must be a whole number"),
        (lambda: denoisers.refine_disks(torch.ones(1, 1, 12, 13), 0.3), "y must be of shape"),
        (
            lambda: denoisers.refine_disks(torch.ones(1, 1, 12, 12), 0.3, keep=0),
            "keep must be at least 8, not 0",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
