"""Experiments on denoisers whose answers are known: Gaussian, memorizer, and samples of neither."""

import pytest
import torch

from gahb_core import denoisers, experiments, jacobian, metrics, noise, sampling
from gahb_core.data import load_images
from gahb_core.experiments import basis, denoising, generalization, inverse, memorization
from gahb_core.sampling import sample
from gahb_core.training import load_denoiser

SIZE, SIGMA = 6, 0.2


def gaussian(seed=0):
    """Return a Gaussian prior of images 6×6, its covariance, and images drawn of it."""
    g = noise.make_generator(seed, "covariance")
    root = torch.randn(SIZE**2, SIZE**2, generator=g, dtype=torch.float64) / SIZE
    covariance = 0.02 * root @ root.T + 1e-4 * torch.eye(SIZE**2, dtype=torch.float64)
    mean = torch.full((1, SIZE, SIZE), 0.5, dtype=torch.float64)
    f = denoisers.gaussian_denoiser(mean, covariance)
    return f, covariance, f.sample_prior(200, seed)


def exact_jacobian(covariance, sigma=SIGMA):
    eye = torch.eye(len(covariance), dtype=covariance.dtype)
    return covariance @ torch.linalg.inv(covariance + sigma**2 * eye)


# --- basis ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("num", [None, 5])
def test_the_basis_of_a_gaussian_is_that_of_its_covariance(num):
    f, covariance, x = gaussian()
    J = exact_jacobian(covariance)
    y = noise.add_noise(x[:1], SIGMA, 1)
    found = basis(f, y, SIGMA, num=num, num_filters=3, tol=1e-9, num_probes=400)
    lam, vectors = (part.flip(-1) for part in torch.linalg.eigh(J))
    k = len(found.lam)
    assert k == (num or SIZE**2)
    assert torch.allclose(found.lam, lam[:k], atol=1e-8)
    assert torch.allclose(found.s, lam[:k], atol=1e-7)
    assert torch.allclose(found.alignment, torch.ones_like(found.alignment), atol=1e-5)
    inner = (found.atoms[0].flatten() @ vectors[:, 0]).abs()
    assert inner == pytest.approx(1, abs=1e-6)
    error = 4 * found.trace.standard_error + 1e-8
    assert found.trace.value == pytest.approx(float(J.trace()), abs=error)
    assert found.asymmetry.value < 1e-8
    assert found.adjoint_error < 1e-12
    assert found.complete == (num is None)
    assert found.num_above_half == int((lam[:k] > 0.5).sum())
    rows = [r * SIZE + c for r, c in found.pixels]
    assert torch.allclose(found.filters.flatten(1), J[rows], atol=1e-10)
    # f(y) = J (y − mean) + mean: not J y
    gap = (found.x_hat.flatten() - J @ y.flatten()).norm() / found.x_hat.norm()
    assert found.gap_to_jy == pytest.approx(float(gap), rel=1e-6)
    assert gap > 0.01


def test_the_basis_sees_what_is_not_symmetric():
    A = torch.rand(16, 16, generator=noise.make_generator(0), dtype=torch.float64) / 8
    y = torch.rand(1, 1, 4, 4, generator=noise.make_generator(1), dtype=torch.float64)
    found = basis(lambda y, sigma=None: (y.flatten(1) @ A.T).reshape(y.shape), y, num=None)
    assert found.asymmetry.value == pytest.approx(jacobian.asymmetry(A))
    assert found.gap_to_jy < 1e-12
    assert float(found.alignment.min()) < 0.9


def test_the_basis_of_colour_images():
    y = torch.rand(1, 3, 4, 6, generator=noise.make_generator(1))
    found = basis(lambda y, sigma=None: 0.6 * y, y, num=3, num_filters=4)
    assert found.atoms.shape == (3, 3, 4, 6)
    assert found.filters.shape == (4, 3, 4, 6)
    assert found.num_above_half == 3


def test_the_basis_of_nothing_is_refused():
    y = torch.rand(1, 1, 4, 4, generator=noise.make_generator(1))
    with pytest.raises(ValueError, match=r"f\(y\) must not be zero"):
        basis(lambda y, sigma=None: 0 * y, y)


@pytest.mark.parametrize("size", [(32, 32), (6, 6), (8, 40), (1, 1)])
@pytest.mark.parametrize("num", [0, 1, 2, 8, 9])
def test_pixels_lie_within_the_image(size, num):
    found = experiments.spread_pixels(size, num)
    assert len(found) == num
    assert all(0 <= r < size[0] and 0 <= c < size[1] for r, c in found)


# --- denoising --------------------------------------------------------------------------------


def test_a_posterior_mean_has_the_error_the_trace_and_the_level_of_theory():
    f, covariance, x = gaussian()
    found = denoising(f, x, [0.1, SIGMA], num_probes=8)
    for k, sigma in enumerate(found.sigmas):
        J, D = exact_jacobian(covariance, sigma), SIZE**2
        expected = sigma**2 * float(J.trace()) / D
        assert float(found.mse[:, k].mean()) == pytest.approx(expected, rel=0.05)
        assert float(found.sure[:, k].mean()) == pytest.approx(expected, rel=0.1)
        assert float(found.trace[:, k].mean()) == pytest.approx(float(J.trace()), rel=0.02)
        level = (sigma**2 - expected) ** 0.5
        assert float(found.sigma_hat[:, k].square().mean() ** 0.5) == pytest.approx(level, rel=0.03)
    assert torch.allclose(found.psnr, -10 * found.mse.log10())
    assert found.uses_sigma.min() > 0.01


def test_a_blind_denoiser_is_seen_to_be_blind():
    f, _, x = gaussian()
    found = denoising(lambda y, sigma=None: f(y, SIGMA), x[:4], [0.1])
    assert found.uses_sigma.tolist() == [0.0]


def test_the_traces_of_a_batch_are_those_of_its_images():
    f, covariance, x = gaussian()
    whole, parts = (denoising(f, x[:5], [SIGMA], batch=b) for b in (5, 2))
    assert torch.allclose(whole.trace, parts.trace)
    with pytest.raises(ValueError, match="sigmas must be above 0"):
        denoising(f, x[:5], [0.0])


def test_generalization_is_what_one_knows_of_the_images():
    _, _, x = gaussian()
    x = x.clamp(0, 1)
    memory, other = (denoisers.empirical_denoiser(part) for part in (x[:20], x[20:40]))
    own = generalization(memory, other, x[:20], [0.3, 0.5])
    assert all(interval.low > 1 for interval in own.gap)
    apart = generalization(memory, other, x[40:], [0.3, 0.5])
    assert all(abs(interval.value) < 0.5 for interval in apart.gap)
    assert own.psnr_a.shape == (20, 2)
    with pytest.raises(ValueError, match="number of images"):
        generalization(memory, other, x[:1])


# --- memorization -----------------------------------------------------------------------------


def test_copies_are_found_and_what_is_new_is_not():
    _, _, x = gaussian()
    train, held_out, new = x[:50], x[50:130], x[130:190]
    noisy = noise.add_noise(train[:30], 0.01, 0)
    copied = memorization(noisy, train, held_out)
    assert copied.verdict.startswith("samples copy: 100%")
    assert copied.index.tolist() == list(range(30))
    assert copied.copies.value == 1
    assert copied.copies.low > 0.85
    assert set(copied.kind.tolist()) == {2}
    assert torch.allclose(copied.brightness, torch.ones_like(copied.brightness), atol=0.05)
    fresh = memorization(new, train, held_out)
    assert fresh.copies.low <= fresh.rate <= fresh.copies.high
    assert fresh.gap.low < 0 < fresh.gap.high
    assert fresh.verdict.startswith("no sign of copies")


@pytest.mark.parametrize("seed", range(4))
def test_the_null_passes_as_often_as_it_was_asked(seed):
    f, _, _ = gaussian()
    x = f.sample_prior(700, 10 + seed)
    found = memorization(x[:200], x[200:300], x[300:], rate=0.1)
    assert found.null_rate.low <= 0.1 <= found.null_rate.high
    assert found.copies.low <= 0.1 <= found.copies.high


def test_samples_that_repeat_each_other_are_spurious():
    _, _, x = gaussian()
    again = noise.add_noise(x[150:151].expand(40, -1, -1, -1), 0.01, 0)
    found = memorization(again, x[:50], x[50:150])
    assert found.spurious.value == 1
    assert set(found.kind.tolist()) == {1}


def test_without_held_out_images_no_null_is_given():
    _, _, x = gaussian()
    found = memorization(x[:5], x[5:20])
    assert found.copies is None and found.threshold is None and found.kind is None  # noqa: PT018
    assert "no null can be given without held-out images" in found.verdict
    assert torch.equal(found.similarity, metrics.nearest_images(x[:5], x[5:20]).similarity)


def test_networks_of_few_garments_copy_and_that_of_many_does_not():
    """Those of chapter 3, from the same starts, and images that none of them saw."""
    train, unseen = load_images("fashion", "A", 10_000), load_images("fashion", "test", 400)
    flat = train.double().flatten(1)
    prior = denoisers.gaussian_denoiser(flat.mean(0).reshape(1, 32, 32), torch.cov(flat.T))
    starts = prior.sample_prior(8, 0).float()
    for num in (1, 10, 100, 10_000):
        f = load_denoiser(f"fashion/N={num}/A")
        samples = sample(f, 8, (1, 32, 32), mean=starts, beta=1.0).x
        found = memorization(samples, train[:num], unseen)
        assert found.null_rate.low < 0.05 < found.null_rate.high
        assert (found.copies.low > 0.5) if num <= 100 else (found.copies.value == 0)


def test_memorization_refuses_what_cannot_be_compared():
    _, _, x = gaussian()
    with pytest.raises(ValueError, match=r"train must hold images of \(1, 6, 6\)"):
        memorization(x[:5], torch.rand(3, 1, 8, 8))
    with pytest.raises(ValueError, match="held_out must hold at least 2/rate = 40 images"):
        memorization(x[:5], x[5:9], x[9:20])
    with pytest.raises(ValueError, match="train must be 1|number of images of train"):
        memorization(x[:5], x[:0])
    with pytest.raises(ValueError, match="samples must be floating point"):
        memorization((255 * x[:5]).byte(), x)


def test_two_memorizers_share_nothing_and_two_equal_priors_everything():
    f, _, x = gaussian()
    options = {"sigma_0": 1.0, "blind": False, "beta": 0.5, "num": 40}
    a, b = (denoisers.empirical_denoiser(part) for part in (x[:20], x[20:40]))
    apart = experiments.transition(a, b, x[:20], x[20:40], held_out=x[40:140], **options)
    assert apart.memory_a.copies.value == 1
    assert apart.memory_b.copies.value == 1
    assert apart.means["contrast"].high < -0.2
    one = experiments.transition(f, f, x[:20], x[20:40], held_out=x[40:140], **options)
    assert float(one.pair.min()) == pytest.approx(1)
    assert one.means["contrast"].low > 0.1
    assert abs(one.means["chance"].value) < 0.2
    again = experiments.compare_samples(one.a, one.b, x[:20], x[20:40])
    assert torch.equal(again.contrast, one.contrast)
    assert again.memory_a.null is None
    with pytest.raises(ValueError, match="b must be of the shape of a"):
        experiments.compare_samples(one.a, one.b[:5], x[:20], x[20:40])


# --- inverse ----------------------------------------------------------------------------------


def test_solutions_meet_the_measurements_and_spread_as_the_posterior():
    f, covariance, x = gaussian()
    M = sampling.measure_block_means(SIZE, 2)
    found = inverse(
        f, M, M.analyze(x[:1]), (1, SIZE, SIZE), num=400, truth=x[:1], blind=False, beta=0.05
    )
    assert float(found.residual.max()) < 0.02
    rows = M.analyze(torch.eye(SIZE**2, dtype=torch.float64).reshape(-1, 1, SIZE, SIZE)).flatten(1)
    known = covariance @ rows @ torch.linalg.inv(rows.T @ covariance @ rows)
    left = covariance - known @ rows.T @ covariance
    assert torch.allclose(found.spread.flatten(), left.diagonal().sqrt(), rtol=0.3, atol=5e-3)
    expected = 0.5 + known @ (rows.T @ (x[0].flatten() - 0.5))
    assert float((found.mean.flatten() - expected).square().mean().sqrt()) < 0.02
    assert found.psnr_mean > float(found.psnr.mean())


def test_one_problem_at_a_time():
    f, _, x = gaussian()
    M = sampling.measure_block_means(SIZE, 2)
    with pytest.raises(ValueError, match="measured must be of one image"):
        inverse(f, M, M.analyze(x[:2]), (1, SIZE, SIZE))
    with pytest.raises(ValueError, match="truth must be of shape"):
        inverse(f, M, M.analyze(x[:1]), (1, SIZE, SIZE), truth=x[:2])


# --- intervals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "num", "low", "high"), [(0, 10, 0, 0.278), (5, 10, 0.237, 0.763)]
)
def test_the_interval_of_a_fraction_is_wilsons(count, num, low, high):
    found = experiments.wilson(count, num)
    assert found.low == pytest.approx(low, abs=1e-3)
    assert found.high == pytest.approx(high, abs=1e-3)


def test_the_interval_of_a_mean_is_as_wide_as_two_standard_errors():
    values = torch.randn(400, generator=noise.make_generator(0), dtype=torch.float64)
    found = experiments.bootstrap_mean(values)
    assert found.value == pytest.approx(float(values.mean()))
    assert found.high - found.low == pytest.approx(2 * 1.96 / 20, rel=0.1)
    assert str(experiments.Interval(0.5, 0.25, 1.0, 3)) == "0.5 (0.25 to 1, n = 3)"
    with pytest.raises(ValueError, match=r"values must be of shape \(N,\)"):
        experiments.bootstrap_mean(torch.zeros(2, 2))
    with pytest.raises(ValueError, match="count must lie in 0 … 3"):
        experiments.wilson(4, 3)
