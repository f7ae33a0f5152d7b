import math

import pytest
import scipy.linalg
import torch
from torch.utils.flop_counter import FlopCounterMode

from gahb_core import metrics
from gahb_core.noise import make_generator, sample_normal


def draw(*shape, seed=0):
    return torch.randn(shape, generator=make_generator(seed, "test"), dtype=torch.float64)


def same(a, b, tol=1e-12):
    torch.testing.assert_close(a, b, rtol=tol, atol=tol)


# --- pairs ---------------------------------------------------------------------------------------


def test_psnr_is_per_image_and_follows_the_error():
    x = draw(3, 1, 4, 5)
    step = torch.tensor([0.1, 0.01, 0.5], dtype=torch.float64)
    same(metrics.psnr(x + step.reshape(3, 1, 1, 1), x), -20 * step.log10(), 1e-9)
    same(metrics.mse(x + step.reshape(3, 1, 1, 1), x), step**2, 1e-9)
    assert metrics.psnr(x, x).tolist() == [math.inf] * 3


def test_mean_psnr_is_above_the_psnr_of_the_mean_error():
    x, x_hat = draw(20, 1, 4, 4), draw(20, 1, 4, 4, seed=1)
    of_mean = -10 * metrics.mse(x_hat, x).mean().log10()
    assert metrics.psnr(x_hat, x).mean() > of_mean


def test_similarities_against_numpy_by_hand():
    a, b = draw(6, 2, 3, 4), draw(6, 2, 3, 4, seed=1)
    rows = [
        torch.corrcoef(torch.stack([u.flatten(), v.flatten()]))[0, 1]
        for u, v in zip(a, b, strict=True)
    ]
    same(metrics.correlation(a, b), torch.stack(rows))
    same(metrics.cosine_similarity(a, b), torch.cosine_similarity(a.flatten(1), b.flatten(1)))


def test_correlation_ignores_mean_and_contrast():
    a = draw(4, 1, 5, 5)
    same(metrics.correlation(a, 3 * a + 7), torch.ones(4, dtype=torch.float64))
    same(metrics.correlation(a, -a), -torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_constant_image_correlates_with_nothing(dtype):
    flat = torch.full((2, 1, 32, 32), 0.3, dtype=dtype)
    assert metrics.correlation(flat, draw(2, 1, 32, 32).to(dtype)).tolist() == [0, 0]
    assert metrics.cosine_similarity(torch.zeros_like(flat), flat).tolist() == [0, 0]


def test_shifted_correlation_finds_every_shift_within_reach():
    a = draw(2, 1, 8, 8)
    for shift in [(0, 0), (1, -2), (2, 2), (-2, 0)]:
        b = torch.roll(a, shift, (2, 3))
        same(metrics.shifted_correlation(a, b, 2), torch.ones(2, dtype=torch.float64), 1e-10)
    far = torch.roll(a, (4, 0), (2, 3))
    assert bool((metrics.shifted_correlation(a, far, 2) < 0.9).all())
    same(metrics.shifted_correlation(a, far), torch.ones(2, dtype=torch.float64), 1e-10)


def test_shifted_correlation_is_the_maximum_over_rolls():
    a, b = draw(3, 2, 5, 6), draw(3, 2, 5, 6, seed=1)
    rolls = [
        metrics.correlation(a, torch.roll(b, (i, j), (2, 3)))
        for i in range(-1, 2)
        for j in range(-1, 2)
    ]
    same(metrics.shifted_correlation(a, b, 1), torch.stack(rolls).amax(0), 1e-10)
    same(metrics.shifted_correlation(a, b, 0), metrics.correlation(a, b), 1e-10)


@pytest.mark.parametrize("measure", ["correlation", "cosine"])
@pytest.mark.parametrize("block", [1, 7, 50, 1000])
def test_nearest_equals_brute_force_for_every_block(measure, block):
    queries, references = draw(5, 1, 4, 4) + 1, draw(50, 1, 4, 4, seed=1) + 1
    pair = metrics.correlation if measure == "correlation" else metrics.cosine_similarity
    table = torch.stack([pair(queries, r.expand_as(queries)) for r in references])
    found = metrics.nearest_images(queries, references, measure, block=block)
    same(found.similarity, table.amax(0))
    assert found.index.tolist() == table.argmax(0).tolist()


def test_nearest_of_shifted_images_equals_brute_force():
    queries, references = draw(5, 1, 8, 8), draw(20, 1, 8, 8, seed=1)
    references[7] = queries[3].roll((1, -2), (-2, -1))
    table = torch.stack(
        [metrics.shifted_correlation(queries, r.expand_as(queries), 2) for r in references]
    )
    found = metrics.nearest_images(queries, references, block=6, max_shift=2)
    same(found.similarity, table.amax(0))
    assert found.index.tolist() == table.argmax(0).tolist()
    assert found.index[3] == 7
    assert found.similarity[3] > 0.999
    with pytest.raises(ValueError, match="max_shift must be at least 0, not -2"):
        metrics.nearest_images(queries, references, max_shift=-2)


def test_nearest_takes_one_product_of_matrices_for_a_training_set():
    references = torch.rand(10_000, 1, 32, 32, generator=make_generator(0))
    with FlopCounterMode(display=False) as counter:
        found = metrics.nearest_images(references[100:164], references)
    assert counter.get_total_flops() == 2 * 64 * 10_000 * 1024
    assert found.index.tolist() == list(range(100, 164))


@pytest.mark.parametrize("measure", ["correlation", "cosine"])
@pytest.mark.parametrize("block", [1, 4, 1000])
def test_the_nearest_other_equals_plain_pairs(measure, block):
    images = draw(9, 2, 4, 4) + 1
    images[5] = 3 * images[2]  # a copy, brighter; no image is its own other
    pair = metrics.correlation if measure == "correlation" else metrics.cosine_similarity
    table = torch.stack([pair(images, one.expand_as(images)) for one in images])
    table.fill_diagonal_(-2)
    found = metrics.nearest_other(images, measure, block=block)
    same(found, table.amax(1))
    assert (found > 1 - 1e-12).nonzero().flatten().tolist() == [2, 5]


def test_a_single_image_has_no_other_and_a_constant_one_is_like_none():
    images = draw(4, 1, 4, 4)
    assert metrics.nearest_other(images[:1]).tolist() == [-1]
    images[0] = 0.5
    assert metrics.nearest_other(images)[0] == 0
    with pytest.raises(ValueError, match="measure must be one of"):
        metrics.nearest_other(images, "euclid")
    with pytest.raises(ValueError, match="images must be finite, but 16 of 64"):
        metrics.nearest_other(torch.where(images == 0.5, torch.nan, images))


def test_no_image_has_no_measure():
    none = torch.zeros(0, 1, 4, 4)
    for pair in (metrics.mse, metrics.psnr, metrics.correlation, metrics.cosine_similarity):
        assert pair(none, none).shape == (0,)
    assert metrics.shifted_correlation(none, none, 1).shape == (0,)
    assert metrics.nearest_images(none, torch.rand(3, 1, 4, 4)).index.shape == (0,)
    assert metrics.nearest_other(none).shape == (0,)
    assert metrics.psnr_curve(lambda y, s: y, none, [0.1, 0.2]).shape == (0, 2)
    assert metrics.estimate_sure(lambda y, s: y, none, 0.1).shape == (0,)


NAN = float("nan")
ONES = torch.ones(2, 1, 4, 4)
BYTES = ONES.to(torch.uint8)
PCA = metrics.fit_pca(torch.rand(9, 1, 4, 4, generator=make_generator(0)), 3)


def identity(y, sigma):
    return y


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.mse(BYTES, ONES), "x_hat must be floating point, not torch.uint8"),
        (lambda: metrics.psnr(ONES, BYTES), "x must be floating point, not torch.uint8"),
        (lambda: metrics.correlation(BYTES, BYTES), "a must be floating point"),
        (lambda: metrics.nearest_images(ONES, BYTES), "references must be floating point"),
        (lambda: metrics.nearest_images(NAN * ONES, ONES), "queries must be finite, but 32 of 32"),
        (
            lambda: metrics.nearest_images(ONES, NAN * ONES),
            "references must be finite, but 32 of 32",
        ),
        (lambda: metrics.nearest_images(ONES, ONES, block=1.5), "block must be a whole number"),
        (lambda: metrics.shifted_correlation(ONES[0], ONES[0]), r"a must be of shape \(B, C, H"),
        (lambda: metrics.psnr_curve(identity, ONES, [-0.1]), "sigmas must be at least 0, not -0.1"),
        (lambda: metrics.psnr_curve(identity, ONES, [NAN]), "sigmas must be at least 0, not nan"),
        (lambda: metrics.psnr_curve(identity, ONES, []), "number of sigmas must be at least 1"),
        (lambda: metrics.psnr_curve(identity, BYTES, [0.1]), "x must be floating point"),
        (
            lambda: metrics.paired_difference(identity, identity, ONES[:1], [0.1]),
            "number of images of x must be at least 2, not 1",
        ),
        (lambda: metrics.psnr_curve(identity, ONES, [0.1], batch=0), "batch must be at least 1"),
        (lambda: metrics.fit_slope([0, 1.0], ONES[0, 0, :, :2], level=-1), "level must be above 0"),
        (
            lambda: metrics.fit_slope([0, 1.0], ONES[0, 0, :, :2], level=1),
            "level .* below 1, not 1",
        ),
        (lambda: metrics.fit_slope([0, NAN], ONES[0, 0, :, :2]), "psnr_in must be finite"),
        (
            lambda: metrics.fit_slope([0, 1.0], ONES[0, 0, :, :2], num_bootstrap=0),
            "num_bootstrap must be at least 2, not 0",
        ),
        (lambda: metrics.kl_bound([NAN, 1.0], [0.1, 0.2]), "mse_gap must be finite, but 1 of 2"),
        (lambda: metrics.kl_bound([1.0, 1.0], [0.1, math.inf]), "sigmas must be finite"),
        (lambda: metrics.estimate_sure(identity, BYTES, 0.1), "y must be floating point"),
        (lambda: metrics.estimate_sure(identity, ONES, NAN), "sigma must be finite"),
        (lambda: metrics.fit_pca(NAN * ONES, 1), "train must be finite"),
        (
            lambda: metrics.frechet_distance(ONES[:1, 0, 0], ONES[0, 0]),
            r"a must be points \(N, d\), N ≥ 2",
        ),
        (
            lambda: metrics.frechet_distance(ONES[0, 0], ONES[0, 0, :, :3]),
            r"b must be points \(N, 4\)",
        ),
        (lambda: metrics.frechet_pca(ONES, ONES, PCA, 4), "dim must lie in 1 … 3, not 4"),
        (
            lambda: metrics.frechet_pca(ONES[..., 1:], ONES, PCA, 3),
            "samples must be 2 or more images of 16 pixels",
        ),
        (
            lambda: metrics.estimate_frechet_floor(
                ONES.repeat(3, 1, 1, 1), PCA, 2, 3, num_repeats=0
            ),
            "num_repeats must be at least 1, not 0",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_pairs_refuse_bad_input():
    a, b = torch.zeros(2, 1, 4, 4), torch.zeros(3, 1, 4, 4)
    for pair in (
        metrics.mse,
        metrics.psnr,
        metrics.correlation,
        metrics.cosine_similarity,
        metrics.shifted_correlation,
    ):
        with pytest.raises(ValueError, match=r"one shape, not \(2, 1, 4, 4\), \(3, 1, 4, 4\)"):
            pair(a, b)
    with pytest.raises(ValueError, match="max_shift must be at least 0, not -1"):
        metrics.shifted_correlation(a, a, -1)
    with pytest.raises(ValueError, match="measure must be .* not 'euclid'"):
        metrics.nearest_images(a, b, "euclid")
    with pytest.raises(ValueError, match=r"references must be .* not \(3, 1, 2, 2\)"):
        metrics.nearest_images(a, torch.zeros(3, 1, 2, 2), block=5)
    with pytest.raises(ValueError, match="block must be at least 1, not 0"):
        metrics.nearest_images(a, b, block=0)
    with pytest.raises(ValueError, match="one or more images"):
        metrics.nearest_images(a, b[:0])


# --- curves --------------------------------------------------------------------------------------


def test_psnr_curve_of_the_identity_is_the_noise_and_uses_common_numbers():
    x = draw(5, 1, 6, 6)
    sigmas = [0.01, 0.1, 1.0]
    curve = metrics.psnr_curve(lambda y, sigma: y, x, sigmas, seed=3, start=2, batch=2)
    z = sample_normal(x.shape, 3, 2).to(x)
    own = -10 * z.square().mean((1, 2, 3)).log10()
    same(curve, own[:, None] - 20 * torch.tensor(sigmas, dtype=torch.float64).log10(), 1e-8)
    same(curve, metrics.psnr_curve(lambda y, sigma: y, x, torch.tensor(sigmas), 3, start=2), 1e-6)


def test_paired_difference_is_that_of_the_denoisers_and_not_of_the_images():
    x = draw(9, 1, 6, 6)
    z = sample_normal(x.shape, 3, 0).to(x)
    found = metrics.paired_difference(  # twice the error: 6.02 dB, for every image alike
        lambda y, s: y, lambda y, s: y + s * z, x, [0.1, 1.0], seed=3
    )
    same(found.mean, torch.full((2,), 20 * math.log10(2), dtype=torch.float64), 1e-9)
    assert float(found.error.max()) < 1e-9
    half, third = (lambda y, s: y / 2), (lambda y, s: y / 3)
    gap = metrics.psnr_curve(half, x, [0.5]) - metrics.psnr_curve(third, x, [0.5])
    found = metrics.paired_difference(half, third, x, [0.5])
    same(found.mean, gap.mean(0))
    same(found.error, gap.std(0) / 3)


def test_psnr_curve_hands_sigma_on_and_leaves_gradients_off():
    seen = []

    def denoiser(y, sigma):
        seen.append((sigma, torch.is_grad_enabled()))
        return y / 2

    metrics.psnr_curve(denoiser, draw(3, 1, 4, 4), [0.1, 0.2])
    assert seen == [(0.1, False)] * 2 + [(0.2, False)]  # the first is asked twice


def test_fit_slope_recovers_a_line_exactly():
    psnr_in = [0.0, 10.0, 20.0, 30.0]
    out = 0.75 * torch.tensor(psnr_in, dtype=torch.float64).expand(6, 4) + 3
    fit = metrics.fit_slope(psnr_in, out)
    assert list(fit) == pytest.approx([0.75, 3, 0.75, 0.75])


def test_fit_slope_interval_covers_the_truth_as_often_as_it_says():
    psnr_in = torch.arange(0.0, 40, 10)
    hits = 0
    for k in range(100):
        slopes = 0.6 + 0.1 * draw(60, 1, seed=k)
        fit = metrics.fit_slope(psnr_in, slopes * psnr_in + draw(60, 4, seed=k + 1000), seed=k)
        assert fit.ci_low < fit.slope < fit.ci_high
        hits += fit.ci_low < 0.6 < fit.ci_high
    assert 88 <= hits <= 100


def test_fit_slope_is_reproducible_and_agrees_with_lstsq():
    psnr_in, out = torch.linspace(0, 30, 7, dtype=torch.float64), draw(9, 7)
    fit = metrics.fit_slope(psnr_in, out, seed=4)
    assert fit == metrics.fit_slope(psnr_in, out, seed=4)
    assert fit != metrics.fit_slope(psnr_in, out, seed=5)
    design = torch.stack([psnr_in, torch.ones_like(psnr_in)], 1)
    want = torch.linalg.lstsq(design, out.mean(0)[:, None]).solution.flatten().tolist()
    assert [fit.slope, fit.intercept] == pytest.approx(want)


def test_fit_slope_refuses_bad_input():
    out = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"psnr_out must be \(N, 2\).* not \(2, 3\)"):
        metrics.fit_slope([0.0, 1.0], out)
    with pytest.raises(ValueError, match="which must vary"):
        metrics.fit_slope([1.0, 1.0, 1.0], out)
    with pytest.raises(ValueError, match="psnr_out must be finite"):
        metrics.fit_slope([0.0, 1.0, 2.0], out / 0)


def test_sure_is_exact_for_one_element_and_a_linear_denoiser():
    y = draw(4, 1)
    got = metrics.estimate_sure(lambda u, s: 0.3 * u, y, 0.2)
    same(got, 2 * 0.04 * 0.3 * torch.ones(4, dtype=torch.float64) + (0.7 * y[:, 0]) ** 2 - 0.04)


@pytest.mark.parametrize("num_probes", [1, 3])
def test_sure_is_unbiased(num_probes):
    # a denoiser neither linear nor symmetric, and one σ for each image
    mix = draw(6, 6, seed=9) / 3
    num = 20_000
    sigma = torch.full((num,), 0.5, dtype=torch.float64)
    sigma[::2] = 0.2
    x = draw(1, 6, seed=1).expand(num, 6)
    y = x + sigma[:, None] * draw(num, 6, seed=2)
    f = lambda u, s: torch.tanh(u @ mix)  # noqa: E731
    gap = metrics.estimate_sure(f, y, sigma, 5, num_probes=num_probes) - metrics.mse(f(y, sigma), x)
    for part in (gap[::2], gap[1::2]):
        assert abs(part.mean()) < 4 * part.std() / len(part) ** 0.5
        assert part.std() > 0


def test_sure_refuses_no_probe_and_keeps_its_input():
    y = draw(2, 3)
    before = y.clone()
    metrics.estimate_sure(lambda u, s: u / 2, y, 0.1)
    assert torch.equal(y, before)
    with pytest.raises(ValueError, match="num_probes must be at least 1, not 0"):
        metrics.estimate_sure(lambda u, s: u, y, 0.1, num_probes=0)


def gaussian_kl(mean_gap, cov_p, cov_q):
    """D_KL(N(0, cov_p) ‖ N(mean_gap, cov_q)) in nats, the textbook formula."""
    inverse = torch.linalg.inv(cov_q)
    quad = mean_gap @ inverse @ mean_gap
    logdet = torch.logdet(cov_q) - torch.logdet(cov_p)
    return 0.5 * ((inverse @ cov_p).trace() - len(cov_p) + quad + logdet)


def test_kl_bound_is_the_kl_of_two_gaussians():
    root_p, root_q = draw(4, 4, seed=1), draw(4, 4, seed=2)
    eye = torch.eye(4, dtype=torch.float64)
    cov_p, cov_q = root_p @ root_p.T + eye / 4, root_q @ root_q.T + eye / 4
    shift = draw(4, seed=3)
    sigmas = torch.logspace(-4, 4, 800, dtype=torch.float64)
    gaps = []
    for s in sigmas:  # E‖f − f*‖² over y ~ N(0, cov_p + σ²), in closed form
        gain_p = cov_p @ torch.linalg.inv(cov_p + s**2 * eye)
        gain_q = cov_q @ torch.linalg.inv(cov_q + s**2 * eye)
        gap = gain_q - gain_p
        offset = (eye - gain_q) @ shift
        gaps.append((gap @ (cov_p + s**2 * eye) @ gap.T).trace() + offset @ offset)
    want = float(gaussian_kl(shift, cov_p, cov_q))
    assert metrics.kl_bound(torch.stack(gaps), sigmas) == pytest.approx(want, rel=1e-6)


def test_kl_bound_refuses_bad_grids():
    with pytest.raises(ValueError, match="sigmas must be .* increasing, not"):
        metrics.kl_bound([1.0, 1.0], [0.2, 0.1])
    with pytest.raises(ValueError, match="sigmas must be two or more, positive"):
        metrics.kl_bound([1.0, 1.0], [0.0, 0.1])
    with pytest.raises(ValueError, match=r"mse_gap must have shape \(2,\), not \(3,\)"):
        metrics.kl_bound([1.0, 1.0, 1.0], [0.1, 0.2])


# --- Fréchet -------------------------------------------------------------------------------------


def test_pca_axes_are_those_of_the_svd():
    train = draw(40, 1, 3, 4) * torch.arange(1, 13, dtype=torch.float64).reshape(1, 3, 4)
    pca = metrics.fit_pca(train, 5)
    flat = train.flatten(1) - train.flatten(1).mean(0)
    _, s, vt = torch.linalg.svd(flat, full_matrices=False)
    same(pca.variances, s[:5] ** 2 / 39, 1e-9)
    same((vt[:5] @ pca.axes).abs(), torch.eye(5, dtype=torch.float64), 1e-9)
    same(pca.mean, train.mean(0).flatten())


def test_frechet_against_sqrtm():
    a, b = draw(30, 4) @ draw(4, 4, seed=1) + 1, draw(50, 4, seed=2)
    cov_a, cov_b = torch.cov(a.T).numpy(), torch.cov(b.T).numpy()
    root = scipy.linalg.sqrtm(cov_a @ cov_b).real
    want = float((a.mean(0) - b.mean(0)).square().sum()) + (cov_a + cov_b - 2 * root).trace()
    assert metrics.frechet_distance(a, b) == pytest.approx(want, rel=1e-9)
    assert metrics.frechet_distance(a, a) == pytest.approx(0, abs=1e-12)


def test_frechet_of_scaled_and_shifted_sets():
    a = draw(100, 3)
    total = float(torch.cov(a.T).trace())
    assert metrics.frechet_distance(a, 3 * a - 2 * a.mean(0)) == pytest.approx(4 * total, rel=1e-9)
    assert metrics.frechet_distance(a, a + 2) == pytest.approx(12, rel=1e-9)


def test_frechet_pca_in_all_dimensions_is_frechet_and_fitted_once_is_the_same():
    train, a, b = draw(60, 1, 2, 3), draw(30, 1, 2, 3, seed=1) + 1, draw(40, 1, 2, 3, seed=2)
    want = metrics.frechet_distance(a.flatten(1), b.flatten(1))
    assert metrics.frechet_pca(a, b, train, 6) == pytest.approx(want, rel=1e-9)
    pca = metrics.fit_pca(train, 6)
    assert metrics.frechet_pca(a, b, pca, 2) == pytest.approx(metrics.frechet_pca(a, b, train, 2))


def test_frechet_floor_falls_with_the_number_of_samples_and_is_below_another_law():
    train, reference = draw(200, 1, 3, 3), draw(800, 1, 3, 3, seed=1)
    few = metrics.estimate_frechet_floor(reference, train, 20, 9)
    many = metrics.estimate_frechet_floor(reference, train, 400, 9)
    assert few.shape == (8,)
    assert float(few.mean()) > 3 * float(many.mean()) > 0
    other = metrics.frechet_pca(1.5 * draw(400, 1, 3, 3, seed=2), reference, train, 9)
    assert other > float(many.max())
    assert torch.equal(many, metrics.estimate_frechet_floor(reference, train, 400, 9))


def test_frechet_refuses_bad_sizes():
    train = draw(5, 1, 3, 3)
    with pytest.raises(ValueError, match="dim must lie in 1 … 4, not 5"):
        metrics.fit_pca(train, 5)
    with pytest.raises(ValueError, match="num must lie in 2 … 3, not 4"):
        metrics.estimate_frechet_floor(train, train, 4, 2)
