"""`check_denoiser`: honest denoisers pass, and each fault is found, with its cure."""

from functools import partial

import pytest
import torch
from test_probes import LIES, Attention, batch_norm, dropout
from torch import nn

from gahb_core import adapters, denoisers
from gahb_core.adapters import adapt, check_denoiser
from gahb_core.networks.models import UNet
from gahb_core.networks.weights import initialize
from gahb_core.noise import add_noise, make_generator


def rand(*shape, key="x", dtype=torch.float64):
    return torch.rand(shape, generator=make_generator(0, key), dtype=torch.float64).to(dtype)


SIZE = 8
GRID = torch.stack(torch.meshgrid(*[torch.arange(SIZE).double()] * 2, indexing="ij"), -1)
PLACES = GRID.reshape(-1, 2)
# smooth images, as images are
COVARIANCE = (
    0.06 * torch.exp(-(torch.cdist(PLACES, PLACES) ** 2) / 18) + 1e-4 * torch.eye(64).double()
)
MEAN = torch.full((1, SIZE, SIZE), 0.4, dtype=torch.float64)
EXACT = denoisers.gaussian_denoiser(MEAN, COVARIANCE)
X = MEAN.flatten() + 12**0.5 * rand(2, 64, key="z").sub(0.5) @ torch.linalg.cholesky(COVARIANCE).mT
X = X.reshape(2, 1, SIZE, SIZE)
Y = add_noise(X, 0.1, 0)


def names(report):
    return {f.name for f in report.faults}


@pytest.mark.parametrize("sigma", [0.05, 0.1, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_exact_denoiser_has_no_fault(sigma, dtype):
    y = add_noise(X, sigma, 0).to(dtype)
    f = denoisers.gaussian_denoiser(MEAN.to(dtype), COVARIANCE.to(dtype))
    report = check_denoiser(f, y, sigma)
    assert report.ok, str(report)
    report.require()
    assert report.values["adjoint"] < 1e-5
    assert report.values["derivative"] < 1e-3
    J = torch.func.jacrev(lambda z: EXACT(z[None], sigma)[0].flatten())(y[0].double())
    J = J.reshape(64, 64)
    bias = EXACT(y[:1].double(), sigma).flatten() - J @ y[0].double().flatten()
    wanted = float(bias.norm() / EXACT(y[:1].double(), sigma).norm())
    assert report.values["linearity"] == pytest.approx(wanted, rel=1e-2)
    assert str(report).startswith("a denoiser\nok ")


@pytest.mark.parametrize("lie", LIES)
def test_a_derivative_that_lies_is_a_fault(lie):
    report = check_denoiser(LIES[lie], rand(1, 1, 8, 8, key="y"), 0.1)
    assert "derivative" in names(report)
    with pytest.raises(ValueError, match="derivative: denoiser must (have|be differentiable)"):
        report.require()


def in_batch(net):
    return lambda y, sigma=None: net(y)


def no_statistics():
    return nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4, track_running_stats=False),
                         nn.Conv2d(4, 1, 1)).double()  # fmt: skip


# what is wrong, a denoiser with it → the check that finds it, and what it says
FAULTS = {
    "training": (in_batch(batch_norm()), "call", r"net\.eval\(\)"),
    "dropout": (in_batch(dropout()), "call", r"one answer for one y.*net\.eval\(\)"),
    "in place": (lambda y, sigma=None: y.mul_(0.9), "call", r"y \* a in place of y\.mul_"),
    "a norm over the batch": (in_batch(no_statistics()), "independence", "net.eval"),
    "a mean over the batch": (lambda y, sigma=None: y - 0.1 * y.mean(0), "independence", "beside"),
    "another size": (in_batch(nn.Linear(7, 7).double()), "call", "RuntimeError.*another size"),
    "another channels": (in_batch(nn.Conv2d(3, 3, 1).double()), "call", "number of channels"),
    "half": (lambda y, sigma=None: y.half(), "call", r"return x_hat\.to\(y\)"),
    "nan": (lambda y, sigma=None: y / 0, "values", "must be finite"),
    "gives [-1, 1]": (lambda y, sigma: 2 * EXACT(y, sigma) - 1, "values", r"\(x_hat \+ 1\)/2"),
    "gives 8 bits": (lambda y, sigma: 255 * EXACT(y, sigma), "values", "/255 of 8 bits"),
    "one sigma": (
        lambda y, sigma: EXACT(y, float(torch.as_tensor(sigma).flatten()[0]) *
                               (1 + torch.as_tensor(sigma).ndim)), "sigma", r"as \(B,\) give two"),
    "sigma in 8 bits": (lambda y, sigma: EXACT(y, 255 * sigma), "unit of sigma", r"\[−1, 1\]"),
    "sigma over 255": (lambda y, sigma: EXACT(y, sigma / 255), "noise removed", "255 times"),
    "sigma times ten": (lambda y, sigma: EXACT(y, 10 * sigma), "unit of sigma", "told 0.25 σ"),
    "noise doubled": (lambda y, sigma: 2 * EXACT(y, sigma) - y, "noise removed", "it is twice"),
    "darkens": (lambda y, sigma: 0.4 * EXACT(y, sigma), "brightness", r"range=\(−1, 1\)"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_and_its_cure_is_said(fault):
    f, name, cure = FAULTS[fault]
    before, state = Y.clone(), torch.get_rng_state()
    report = check_denoiser(f, Y.clone() if fault == "in place" else Y, 0.1)
    assert name in names(report), str(report)
    with pytest.raises(ValueError, match=cure):
        report.require()
    assert str(report).startswith("not a denoiser yet")
    assert torch.equal(Y, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_range_that_is_forgotten_is_found():
    net = denoisers.gaussian_denoiser(2 * MEAN - 1.5, COVARIANCE / 4)  # dark, in [−1, 1]
    told = partial(adapt, lambda z, s: net(z, s), sigma="value")
    y = add_noise(MEAN + (X - MEAN) / 4 - 0.25, 0.3, 0)
    assert check_denoiser(told(range=(-1, 1)), y, 0.3).ok
    assert names(check_denoiser(told(range=(0, 1)), y, 0.3))


def test_what_is_worth_knowing_is_a_note():
    stuck = check_denoiser(lambda y, sigma=None: (3 * y - 1).clamp(0, 1), Y, 0.1)
    found = {f.name: f for f in stuck.findings}["values"]
    assert (found.verdict, found.value > 0.01) == ("note", True)
    assert "J is 0" in found.text


def test_a_network_with_attention_and_one_of_the_book():
    y = rand(1, 1, 8, 8, key="y")
    found = {f.name: f for f in check_denoiser(Attention(), y, 0.1).findings}
    assert found["derivative"].verdict == "ok"
    assert found["derivative"].text.endswith("by torch.func")
    f = denoisers.residual_denoiser(initialize(UNet(1, 4), 0).double())
    found = {g.name: g for g in check_denoiser(f, y, 0.1).findings}
    assert found["derivative"].text.endswith("by masks")
    assert found["linearity"].value < 1e-9
    assert "blind" in found["sigma"].text


@pytest.mark.parametrize(
    ("y", "sigma", "rule"),
    [
        ((255 * X).byte(), 0.1, "y must be floating point, not torch.uint8"),
        (255 * Y, 25.5, r"y must be images in \[0, 1\] .*divide those of 8 bits by 255, and their"),
        (255 * X, 0.1, r"y must be images in \[0, 1\] .*divide those of 8 bits by 255"),
        (Y, 25.5, "sigma must be the noise of y in the same units, not 25.5 .* divided by 255"),
        (2 * X - 1.5, 0.1, r"y must be images in \[0, 1\] .*take \(y \+ 1\)/2, and half"),
        (Y[0], 0.1, r"y must be of shape \(B, C, H, W\), not \(1, 8, 8\)"),
        (Y / 0, 0.1, "y must be finite"),
        (Y, 0, "sigma must be above 0, not 0"),
        (Y, None, "sigma must be above 0, not None"),
    ],
)
def test_images_that_no_denoiser_can_be_tried_on(y, sigma, rule):
    with pytest.raises(ValueError, match=rule):
        check_denoiser(EXACT, y, sigma)


def test_every_adapted_convention_passes():
    for low, high in ((0, 1), (-1, 1)):
        wide = high - low
        inner = denoisers.gaussian_denoiser(low + wide * MEAN, wide**2 * COVARIANCE)
        f = adapt(lambda z, s, g=inner: (z - g(z, s)) / s.reshape(-1, 1, 1, 1), "noise", "value",
                  (low, high))  # fmt: skip
        report = check_denoiser(f, Y, 0.1)
        assert report.ok, str(report)
        assert isinstance(f, adapters.Adapted)
