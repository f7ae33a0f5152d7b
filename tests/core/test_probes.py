"""Probes: a denoiser that draws, changes what it keeps, or hides its derivative is refused."""

import gc
import weakref
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.utils import prune

from gahb_core import jacobian as jac
from gahb_core import metrics, sampling
from gahb_core.denoisers.contract import (
    Residual,
    noise_conditional_denoiser,
    residual_denoiser,
    score,
)
from gahb_core.jacobian.masks import find_network
from gahb_core.networks.models import BFCNN, UNet
from gahb_core.networks.transformer import Transformer
from gahb_core.networks.weights import initialize
from gahb_core.noise import make_generator
from gahb_core.probes import check_pure, estimate, remembered


def rand(*shape, key="y", dtype=torch.float64):
    return torch.rand(shape, generator=make_generator(0, key), dtype=torch.float64).to(dtype)


Y = rand(1, 1, 8, 8)


def make_net(kind="unet"):
    """A network of the book whose every layer counts, in double precision."""
    net = UNet(1, 4) if kind == "unet" else BFCNN(4, 5)
    net = initialize(net, 0).double()
    last = net.decoder[0][-1] if kind == "unet" else net.conv_layers[-1]
    with torch.no_grad():
        last.weight.copy_(0.2 * rand(*last.weight.shape, key="w") - 0.1)
    return net


# --- what a user may do to a network of the book: J is then another, and is found ---------------


class LowRank(nn.Conv2d):
    """A convolution with a low-rank addition, as LoRA makes it."""

    def forward(self, x):
        return super().forward(x) + 0.3 * x.mean(1, keepdim=True)


class Halved(Residual):
    def __call__(self, y, sigma=None):
        return super().__call__(y, sigma) / 2


class Masked(nn.Module):
    def forward(self, weight):
        return weight * (weight > 0)


def replace_convolution(net):
    old = net.mid_block[0]
    new = LowRank(old.in_channels, old.out_channels, 3, padding=1, bias=False).double()
    new.weight = old.weight
    net.mid_block[0] = new


def pad_otherwise(net):
    net.mid_block[0].padding_mode = "circular"
    net.mid_block[0]._reversed_padding_repeated_twice = [1, 1, 1, 1]


def add_bias(net):
    net.mid_block[0].bias = nn.Parameter(rand(net.mid_block[0].out_channels, key="bias"))


def bind_forward(net):
    layer = net.mid_block[0]
    layer.forward = lambda x: torch.tanh(nn.Conv2d.forward(layer, x))


def zero(module, given, out):
    return 0 * out


CHANGES = {
    "a hook": lambda net: net.mid_block[0].register_forward_hook(zero) and None,
    "a hook before": lambda net: (
        net.mid_block[0].register_forward_pre_hook(lambda m, i: (i[0] / 2,)) and None
    ),
    "a hook on all": lambda net: net.register_forward_hook(lambda m, i, o: o / 3) and None,
    "a low rank": replace_convolution,
    "a bias": add_bias,
    "another activation": lambda net: net.mid_block.__setitem__(2, nn.SiLU()),
    "a leak": lambda net: net.mid_block.__setitem__(2, nn.LeakyReLU(0.2)),
    "another padding": pad_otherwise,
    "another step": lambda net: (
        setattr(net.mid_block[0], "dilation", (2, 2))
        or setattr(net.mid_block[0], "padding", (2, 2))
    ),
    "a parametrization": lambda net: (
        nn.utils.parametrize.register_parametrization(net.mid_block[0], "weight", Masked()) and None
    ),
    "a pruned layer": lambda net: prune.l1_unstructured(net.mid_block[0], "weight", 0.5) and None,
    "another norm": lambda net: net.mid_block.__setitem__(1, nn.InstanceNorm2d(8).double()),
    "a forward of its own": bind_forward,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_network_that_was_changed_has_the_jacobian_of_what_it_computes(change):
    net = make_net()
    plain = residual_denoiser(net)(Y)
    CHANGES[change](net)
    f = residual_denoiser(net)
    assert not torch.equal(f(Y), plain), "the change counts"
    assert find_network(f) is None
    check_products(f)


def test_a_denoiser_that_bends_what_its_network_gives_is_found():
    for f in (Halved(make_net()), partial(Halved(make_net("bfcnn")))):
        assert find_network(f) is not None  # its network is as it was made
        check_products(f)


def test_a_hook_on_every_module_is_found():
    f = residual_denoiser(make_net())
    handle = nn.modules.module.register_module_forward_hook(
        lambda m, i, o: o / 2 if isinstance(m, nn.ConvTranspose2d) else None
    )
    try:
        assert find_network(f) is None
        check_products(f)
    finally:
        handle.remove()
    assert find_network(f) is not None


def check_products(f, sigma=None, tol=1e-5):
    """Hold J v against differences, Jᵀ u against J v, and x̂ against f(y)."""
    products = jac.linearize(f, Y, sigma)
    torch.testing.assert_close(products.x_hat, f(Y, sigma)[0], rtol=0, atol=1e-12)
    u, v = (rand(3, 1, 8, 8, key=key) - 0.5 for key in "uv")
    Jv, Jtu = products.push(v), products.pull(u)
    step = 1e-6
    slopes = torch.cat([(f(Y + step * w, sigma) - f(Y - step * w, sigma)) / (2 * step)
                        for w in v[:, None]])  # fmt: skip
    torch.testing.assert_close(Jv, slopes, rtol=tol, atol=tol)
    torch.testing.assert_close((u * Jv).sum(), (Jtu * v).sum(), rtol=1e-9, atol=1e-9)


# --- networks that torch.func cannot take -------------------------------------------------------


class Attention(nn.Module):
    """One layer of torch's own attention, which has no forward derivative, with biases."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 24).double()
        with torch.no_grad():
            self.layer.weight.copy_(rand(24, 8, key="w") - 0.5)
            self.layer.bias.copy_(rand(24, key="b") - 0.5)

    def forward(self, y, sigma=None):
        q, k, v = self.layer(y[:, 0]).chunk(3, -1)
        return scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])


def gradient_step(y, sigma=None):
    """x̂ = y − ∇g(y), the gradient taken within, as in plug-and-play methods."""
    with torch.enable_grad():
        y = y if y.requires_grad else y.clone().requires_grad_()
        energy = (y**4).sum() / 9 + (y[..., 1:] * y[..., :-1]).sum() / 5
        (slope,) = torch.autograd.grad(energy, y, create_graph=True)
    return y - slope


@pytest.mark.parametrize("f", [Attention(), gradient_step], ids=["attention", "a gradient within"])
def test_what_has_no_forward_rule_is_differentiated_all_the_same(f):
    check_products(f)
    top = jac.top_eigenpairs(f, Y, num=3, tol=1e-8)
    full = jac.eigendecompose(jac.jacobian_matrix(f, Y), (1, 8, 8))
    torch.testing.assert_close(top.lam, full.lam[:3], rtol=0, atol=1e-7)
    jac.estimate_trace(f, Y, num=4)


# --- derivatives that lie -----------------------------------------------------------------------

NET = make_net()


def cut(y, sigma=None):
    with torch.no_grad():
        return y - NET.eval()(y)


@torch.inference_mode()
def infer(y, sigma=None):
    return y - NET.eval()(y)


def through_numpy(y, sigma=None):
    return y - torch.from_numpy(np.tanh(y.detach().numpy()))


class Frozen(nn.Module):
    """Cuts one inner layer of the network off."""

    def forward(self, y, sigma=None):
        return y - torch.tanh(2 * y).detach() + 0.1 * y**2


class Straight(torch.autograd.Function):
    """A rounding that says it is the identity."""

    @staticmethod
    def forward(y):
        return torch.tanh(3 * y)

    @staticmethod
    def setup_context(ctx, inputs, output):
        return None

    @staticmethod
    def backward(ctx, grad):
        return grad


LIES = {
    "no_grad": cut,
    "inference_mode": infer,
    ".data": lambda y, sigma=None: y - NET.eval()(y.data),
    ".detach()": lambda y, sigma=None: NET.eval()(y.detach()) + 0 * y,
    "detach within": Frozen(),
    "numpy": through_numpy,
    "a list of numbers": lambda y, sigma=None: y * y.detach().square().mean(),
    "another backward": lambda y, sigma=None: Straight.apply(y),
    "rounded": lambda y, sigma=None: (y * 255).round() / 255,
    "bytes": lambda y, sigma=None: (y * 255).to(torch.uint8).to(y) / 255,
}


@pytest.mark.parametrize("lie", LIES)
def test_a_derivative_that_lies_is_refused(lie):
    for measure in (
        lambda f: jac.jacobian_matrix(f, Y),
        lambda f: jac.top_eigenpairs(f, Y, num=2),
        lambda f: jac.adaptive_filters(f, Y, pixels=[(3, 3)]),
        lambda f: jac.estimate_trace(f, Y, num=2),
    ):
        with pytest.raises(ValueError, match="denoiser must (have|be differentiable)"):
            measure(LIES[lie])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_honest_denoisers_are_not_refused(dtype):
    """Neither where it jumps (hard thresholds), clips, is constant, nor where y is 0."""
    fine = {
        "hard": lambda y, sigma=None: torch.where(y.abs() > 0.3, y, 0),
        "clips": lambda y, sigma=None: (2 * y - 0.5).clamp(0, 1),
        "constant": lambda y, sigma=None: 0 * y + 0.5,
        "steep": lambda y, sigma=None: torch.tanh(300 * (y - 0.5)),
        "transformer": residual_denoiser(initialize(Transformer(8, 16, 1), 0).to(dtype)),
        "told": noise_conditional_denoiser(
            initialize(UNet(1, 4, channels_in=2, channels_out=1), 0).to(dtype)
        ),
    }
    for y in (rand(1, 1, 8, 8, dtype=dtype), torch.zeros(1, 1, 8, 8, dtype=dtype)):
        for f in fine.values():
            jac.linearize(f, y, 0.1)


# --- denoisers that draw or change --------------------------------------------------------------


def batch_norm():
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))
    return net.double().train()


def dropout():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.Dropout(0.5), nn.Conv2d(4, 1, 1)
    ).double()


def calls_of(f):
    """Everything in the library that is handed a denoiser, called with `f`."""
    x, y = rand(3, 1, 8, 8, key="x"), rand(1, 1, 8, 8)
    return {
        "psnr_curve": lambda: metrics.psnr_curve(f, x, [0.1, 0.2]),
        "paired_difference": lambda: metrics.paired_difference(f, lambda y, s: y, x, [0.1]),
        "sample": lambda: sampling.sample(f, 2, (1, 8, 8), mean=rand(1, key="m"), beta=1.0, h=0.5),
        "linearize": lambda: jac.linearize(f, y, 0.1),
        "top_eigenpairs": lambda: jac.top_eigenpairs(f, y, num=2),
    }


@pytest.mark.parametrize("make", [batch_norm, dropout])
@pytest.mark.parametrize("call", calls_of(None))
def test_a_network_in_training_mode_is_refused_and_left_as_it_was(make, call):
    net = make()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    state = torch.get_rng_state()
    with pytest.raises(ValueError, match=r"net.eval\(\)"):
        calls_of(lambda y, sigma=None: net(y))[call]()
    assert torch.equal(torch.get_rng_state(), state), "the caller's random numbers"
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    net.eval()
    calls_of(lambda y, sigma=None: 0.9 * net(y) / 9)[call]()


def test_a_denoiser_that_writes_to_y_is_refused_wherever_it_is_called():
    for scale in (lambda y, sigma=None: y.mul_(0.9), lambda y, sigma=None: y.clamp_(0, 0.5) + 0):
        for call in calls_of(scale).values():
            with pytest.raises(ValueError, match="must not change y in place"):
                call()
        with pytest.raises(ValueError, match="must not change y in place"):
            score(scale, rand(2, 1, 8, 8), 0.1)
        with pytest.raises(ValueError, match="must not change y in place"):
            metrics.estimate_sure(scale, rand(2, 1, 8, 8), 0.1)


def test_one_that_remembers_or_draws_by_numpy_is_refused():
    seen = []

    def remembers(y, sigma=None):
        seen.append(1)
        return y / len(seen)

    generator = np.random.default_rng(0)
    for f in (remembers, lambda y, sigma=None: y * float(generator.random())):
        with pytest.raises(ValueError, match="must give one answer for one y"):
            check_pure(f, Y)


def test_scratch_and_caches_are_no_change():
    """It may write to what it made, and fill what it keeps once."""
    kept = {}

    def cached(y, sigma=None):
        if "mean" not in kept:
            kept["mean"] = torch.zeros(())
            kept["buffer"].copy_(y[0])
        out = torch.empty_like(y)
        out.copy_(y).mul_(0.5)
        out += torch.tensor([1.0], dtype=y.dtype).mul_(2)
        return out + torch.from_numpy(np.ones(1)).add_(1)

    kept["buffer"] = torch.zeros(1, 8, 8, dtype=torch.float64)
    check_pure(cached, Y)
    assert torch.equal(kept["buffer"], Y[0]), "what it filled stays"


# --- asked once -----------------------------------------------------------------------------------


class Counted:
    """A denoiser of a network in evaluation mode, and how many images it was called with."""

    def __init__(self):
        self.net, self.calls = batch_norm().eval(), 0

    def __call__(self, y, sigma=None):
        self.calls += len(y)
        return y - 0.1 * self.net(y)


def calls_during(f, run):
    before = f.calls
    run()
    return f.calls - before


def test_a_denoiser_is_tried_once_by_the_jacobian_and_once_by_the_sampler():
    f, z = Counted(), rand(1, 1, 8, 8, key="z")
    first = calls_during(f, lambda: jac.linearize(f, Y))
    assert first >= 6  # twice for one answer, differences, products
    assert calls_during(f, lambda: jac.linearize(f, z)) == 2  # x̂, and what products are made of
    assert calls_during(f, lambda: jac.linearize(f, z[..., :7])) == first  # another size
    assert calls_during(f, lambda: jac.linearize(f, Y, 0.1)) == first  # told σ

    def run(start=0):
        options = {"h": 0.5, "start": start, "max_iterations": 1, "like": Y}
        return sampling.sample(f, 2, (1, 8, 8), beta=1.0, **options)

    tried = calls_during(f, run)
    assert tried - calls_during(f, run) == 2 * 2  # two images, called twice
    assert calls_during(f, lambda: run(5)) == tried - 4


def test_what_was_found_is_forgotten_with_the_denoiser_and_when_a_network_changes_its_mode():
    f = Counted()
    jac.linearize(f, Y)
    assert remembered(f)
    held, net = weakref.ref(f), f.net
    net.train()
    assert not remembered(f)
    with pytest.raises(ValueError, match=r"net.eval\(\)"):
        jac.linearize(f, Y)
    del f
    gc.collect()
    assert held() is None

    def of_closure(y, sigma=None, share=0.1):
        return y - share * net(y)

    net.eval()
    for g in (of_closure, partial(of_closure, share=0.2), Attention().eval()):
        net = g if isinstance(g, nn.Module) else net
        jac.linearize(g, Y)
        assert remembered(g)
        net.train()
        assert not remembered(g)
        net.eval()
        assert remembered(g)


def test_of_a_denoiser_that_cannot_be_a_key_nothing_is_kept():
    class Listed(list):
        def __call__(self, y, sigma=None):
            return y / 2

    f = Listed()
    jac.linearize(f, Y)
    assert not remembered(f)


def test_values_that_are_not_finite_are_refused_each_time():
    for bad in (lambda y, sigma=None: y / 0, lambda y, sigma=None: (y - 2).log()):
        with pytest.raises(ValueError, match="denoiser must give finite values"):
            jac.linearize(bad, Y)
    divisor = 2.0

    def later(y, sigma=None):
        return y / divisor

    jac.linearize(later, Y)
    divisor = 0.0
    with pytest.raises(ValueError, match="denoiser must give finite values"):
        jac.linearize(later, Y)


# --- what a denoiser may give back --------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        (lambda y: SimpleNamespace(sample=y), r"SimpleNamespace; .*f\(y\)\.sample"),
        (lambda y: (y, None), "not of type tuple; wrap it"),
        (lambda y: y.numpy(), "not of type ndarray; return a tensor"),
        (lambda y: y.repeat(1, 2, 1, 1), r"not \(\d, 2, 8, 8\): one channel out for each"),
        (lambda y: y[..., 1:], r"must give the shape of y, .* not \(\d, 1, 8, 7\)"),
        (lambda y: y.mean(), r"must give the shape of y, .* not \(\)"),
        (
            lambda y: y.half(),
            r"must give torch.float64 .* not torch.float16 .*return x_hat.to\(y\)",
        ),
    ],
)
def test_another_kind_of_answer_is_refused_with_its_cure(answer, rule):
    def f(y, sigma=None):
        return answer(y)

    for call in calls_of(f).values():
        with pytest.raises(ValueError, match=rule):
            call()
    with pytest.raises(ValueError, match=rule):
        estimate(f, Y)


def test_a_start_above_the_largest_level_is_the_caller_s_fault():
    for blind in (True, False):
        with pytest.raises(ValueError, match="sigma_max must be at least sigma_0 = 80, .* not 2"):
            sampling.sample(lambda y, sigma=None: y / 2, 2, (3, 8, 8), sigma_0=80.0, blind=blind)
