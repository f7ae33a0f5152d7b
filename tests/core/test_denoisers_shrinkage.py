"""Shrinkage in fixed bases: its factors, thresholds and risks against independent answers."""

import math

import numpy as np
import pytest
import pywt
import torch

from gahb_core import bases, jacobian
from gahb_core.denoisers import shrinkage

SIZE = 16
WAVELET = bases.make_wavelet(SIZE, "db2", 2)


def images(num=6, seed=0, channels=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(num, channels, SIZE, SIZE, generator=generator, dtype=torch.float64)


ALL = {
    "wiener": shrinkage.wiener_denoiser(bases.make_fourier(SIZE), images()),
    "hard": shrinkage.threshold_denoiser(WAVELET, 3.0),
    "soft": shrinkage.threshold_denoiser(WAVELET, "universal", "soft"),
    "sure": shrinkage.sure_denoiser(WAVELET),
    "oracle": shrinkage.oracle_denoiser(WAVELET, images(2, 7)),
    "cyclespin": shrinkage.cycle_spin_denoiser(shrinkage.threshold_denoiser(WAVELET, 3.0), 4),
}


@pytest.mark.parametrize("name", ["wiener", "hard", "soft", "sure", "cyclespin"])
def test_jacobian_under_vmap_is_that_of_autograd(name):
    f, y = ALL[name], images(1, 1)
    J = torch.autograd.functional.jacobian(lambda v: f(v, 0.2), y).reshape(SIZE**2, SIZE**2)
    torch.testing.assert_close(jacobian.jacobian_matrix(f, y, 0.2), J, rtol=0, atol=1e-12)


def test_wiener_is_the_best_of_all_factors_on_its_training_images():
    x, basis, sigma = images(40), bases.make_dct(SIZE), 0.3
    f = shrinkage.wiener_denoiser(basis, x)
    zero = basis.analyze(f(torch.zeros(1, 1, SIZE, SIZE).double(), sigma))
    factors = basis.analyze(f(basis.synthesize(torch.eye(SIZE**2).double()), sigma)) - zero
    power = basis.analyze(x - x.mean(0)).square().mean(0)
    expected = torch.diag(power / (power + sigma**2))
    torch.testing.assert_close(factors, expected, rtol=0, atol=1e-10)
    # the risk of any λ is Σ (1 − λ)² power + λ² σ²: its slope at Wiener's is zero
    slope = -2 * (1 - expected.diagonal()) * power + 2 * expected.diagonal() * sigma**2
    torch.testing.assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-12)


def test_uncentred_wiener_scales_with_y():
    f = shrinkage.wiener_denoiser(WAVELET, images(), centred=False)
    y = images(2, 3)
    torch.testing.assert_close(f(3 * y, 0.2), 3 * f(y, 0.2), rtol=0, atol=1e-12)


def test_oracle_has_the_risk_of_theory():
    """E‖x̂ − x‖² = Σ c²σ²/(c² + σ²), averaged over noise."""
    x, sigma, basis = images(1, 4), 0.2, WAVELET
    energy = basis.analyze(x).square()
    f = shrinkage.oracle_denoiser(basis, x.expand(4000, -1, -1, -1))
    noise = torch.randn(4000, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(5)).double()
    errors = (f(x + sigma * noise, sigma) - x).square().flatten(1).sum(1)
    expected = (energy * sigma**2 / (energy + sigma**2)).sum().item()
    standard_error = (errors.std() / math.sqrt(4000)).item()
    assert errors.mean().item() == pytest.approx(expected, abs=4 * standard_error)


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_thresholding_is_that_of_pywavelets(kind):
    y, sigma = images(1, 6), 0.1
    coefficients = pywt.wavedec2(y[0, 0].numpy(), "db2", "periodization", 2)
    details = [tuple(pywt.threshold(d, 0.25, kind) for d in level) for level in coefficients[1:]]
    expected = pywt.waverec2([coefficients[0], *details], "db2", "periodization")
    x_hat = shrinkage.threshold_denoiser(WAVELET, 2.5, kind)(y, sigma)
    np.testing.assert_allclose(x_hat[0, 0].numpy(), expected, rtol=0, atol=1e-10)


def test_universal_threshold_removes_noise_alone():
    f = shrinkage.threshold_denoiser(WAVELET, "universal")
    z = torch.randn(200, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(8)).double()
    c = WAVELET.analyze(f(z, 1.0))
    details = c[:, WAVELET.frequency > 0]
    assert (details.abs() > 1e-9).any(1).double().mean() < 0.35
    torch.testing.assert_close(
        c[:, WAVELET.frequency == 0], WAVELET.analyze(z)[:, WAVELET.frequency == 0]
    )


def test_sure_threshold_is_the_minimum_over_a_fine_grid():
    generator = torch.Generator().manual_seed(9)
    c = torch.randn(3, 50, generator=generator).double() * torch.tensor([[0.5], [1.0], [3.0]])
    sigma = torch.tensor([[1.0], [0.7], [0.5]]).double()
    grid = torch.linspace(0, 10, 20001).double()[:, None]
    found = shrinkage.sure_threshold(c, sigma)

    def risk(row, s, t):
        return -2 * s**2 * (row.abs() <= t).sum(-1) + torch.minimum(row.abs(), t).square().sum(-1)

    for row, s, t in zip(c, sigma, found, strict=True):
        assert risk(row, s, t) <= risk(row, s, grid).min() + 1e-9


def test_sure_threshold_spares_strong_signals_and_removes_noise():
    noise = torch.randn(1, 4000, generator=torch.Generator().manual_seed(10)).double()
    one = torch.ones(1, 1).double()
    assert shrinkage.sure_threshold(noise, one).item() > 1.8
    assert shrinkage.sure_threshold(noise + 50, one).item() < 0.1


def test_cycle_spinning_by_all_shifts_commutes_with_shifts():
    f, y = ALL["cyclespin"], images(2, 11)
    moved = f(torch.roll(y, (3, 5), (-2, -1)), 0.2)
    torch.testing.assert_close(moved, torch.roll(f(y, 0.2), (3, 5), (-2, -1)), rtol=0, atol=1e-12)
    inner = ALL["hard"]
    plain = inner(torch.roll(y, (3, 5), (-2, -1)), 0.2)
    assert (plain - torch.roll(inner(y, 0.2), (3, 5), (-2, -1))).abs().max() > 1e-3


def test_shifts_may_be_given():
    y = images(1, 12)
    one = shrinkage.cycle_spin_denoiser(ALL["hard"], [(0, 0)])
    torch.testing.assert_close(one(y, 0.2), ALL["hard"](y, 0.2))
    assert shrinkage.grid_shifts(2, 4) == [(0, 0), (0, 4), (4, 0), (4, 4)]


@pytest.mark.parametrize("make", [shrinkage.threshold_denoiser, shrinkage.sure_denoiser])
def test_channels_are_thresholded_alike(make):
    y = images(2, 13, channels=1)
    f = make(WAVELET)
    both = f(torch.cat([y, y], dim=1), 0.2)
    torch.testing.assert_close(both[:, :1], both[:, 1:])
    torch.testing.assert_close(both[:, :1], f(y, 0.2), rtol=0, atol=1e-12)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"kind must be one of \['hard', 'soft'\], not 'firm'"):
        shrinkage.threshold_denoiser(WAVELET, 3, "firm")
    with pytest.raises(ValueError, match="a, if not 'universal', must be at least 0, not -1"):
        shrinkage.threshold_denoiser(WAVELET, -1)
    with pytest.raises(ValueError, match="a, if not 'universal', must be at least 0, not 'best'"):
        shrinkage.threshold_denoiser(WAVELET, "best")
    with pytest.raises(ValueError, match="x must hold at least one image"):
        shrinkage.wiener_denoiser(WAVELET, images(0))
    with pytest.raises(ValueError, match=r"shifts must hold at least one shift .*, not \[\]"):
        shrinkage.cycle_spin_denoiser(ALL["hard"], [])


NAN = float("nan")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shrinkage.threshold_denoiser(WAVELET, NAN), "must be at least 0, not nan"),
        (lambda: shrinkage.threshold_denoiser(WAVELET, True), "must be at least 0, not True"),
        (
            lambda: shrinkage.threshold_denoiser(WAVELET, mean=NAN),
            "mean must be a finite number, not nan",
        ),
        (lambda: shrinkage.wiener_factors(torch.tensor([-1.0]), 0.1), "power must not be negative"),
        (
            lambda: shrinkage.wiener_factors(torch.tensor([1.0]), 0.0),
            "sigma must be positive, and its square",
        ),
        (
            lambda: shrinkage.wiener_factors(torch.tensor([1.0]), NAN),
            "sigma must be a finite number, not nan",
        ),
        (lambda: shrinkage.wiener_denoiser(WAVELET, NAN * images()), "x must be finite"),
        (lambda: shrinkage.oracle_denoiser(WAVELET, NAN * images()), "x must be finite"),
        (lambda: ALL["oracle"](images(3), 0.1), "y must have 2 images .* not 3"),
        (lambda: shrinkage.grid_shifts(2, 0), "step must be at least 1, not 0"),
        (lambda: shrinkage.grid_shifts(0), "num must be at least 1, not 0"),
        (lambda: shrinkage.cycle_spin_denoiser(ALL["hard"], 2.5), "shifts must be a whole number"),
        (lambda: shrinkage.cycle_spin_denoiser(ALL["hard"], [(0, 0.5)]), "shifts must be a whole"),
        (lambda: shrinkage.universal_factor(0), "num must be at least 1, not 0"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
