"""Adapters: one exact denoiser, written in every convention, comes back as itself."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from gahb_core import adapters, denoisers
from gahb_core.adapters import adapt
from gahb_core.noise import make_generator

SHAPE = (3, 4, 4)  # in colour
D = 48


def rand(*shape, key="x", dtype=torch.float64):
    return torch.rand(shape, generator=make_generator(0, key), dtype=torch.float64).to(dtype)


ROOT = rand(D, D, key="C") / D
MEAN, COVARIANCE = rand(*SHAPE, key="m"), ROOT @ ROOT.T + 0.01 * torch.eye(D).double()
Y = rand(3, *SHAPE, key="y")
SIGMAS = torch.tensor([0.1, 0.4, 2.0], dtype=torch.float64)
EXACT = denoisers.gaussian_denoiser(MEAN, COVARIANCE)
ALPHA = {"ve": lambda s: s**0, "vp": lambda s: (1 + s**2) ** -0.5, "flow": lambda s: 1 / (1 + s)}


def answer(output, x_t, x, s, alpha):
    """What a network of an output gives, from its definition: x_t = α (x + s ε)."""
    noise = (x_t / alpha - x) / s
    b = s / (1 + s**2) ** 0.5
    return {
        "x": x, "noise": noise, "residual": x_t - alpha * x, "score": -noise / (alpha * s),
        "v": b / s * noise - b * x, "flow": noise - x,
    }[output]  # fmt: skip


class Network(nn.Module):
    """The exact posterior mean, in a range, scaling and output; told s, a channel or a time."""

    def __init__(self, output="x", told="value", span=(0, 1), scaling="ve"):
        super().__init__()
        self.output, self.told, self.scaling = output, told, scaling
        low, high = span
        wide = high - low
        self.inner = denoisers.gaussian_denoiser(low + wide * MEAN, wide**2 * COVARIANCE)
        self.weight = nn.Parameter(torch.ones((), dtype=torch.float64))
        self.blocks = nn.Dropout(0.5)  # its mode counts

    def forward(self, x_t, level=None):
        if self.told == "channel":
            x_t, level = x_t[:, :3], x_t[:, 3, 0, 0]
        s = (level.exp() if callable(self.told) else level).reshape(-1, 1, 1, 1)
        alpha = ALPHA[self.scaling](s)
        x = self.inner(x_t / alpha, s.flatten())
        assert not self.training
        return self.weight * self.blocks(answer(self.output, x_t, x, s, alpha))


TOLD = {"value": "value", "channel": "channel", "log": torch.log}


@pytest.mark.parametrize("told", TOLD)
@pytest.mark.parametrize("span", [(0, 1), (-1, 1), (0, 255)])
@pytest.mark.parametrize("output", ["x", "noise", "residual", "score", "v", "flow"])
@pytest.mark.parametrize("scaling", ALPHA)
def test_the_exact_denoiser_comes_back_from_every_convention(output, scaling, span, told):
    net = Network(output, TOLD[told], span, scaling).train()
    f = adapt(net, output, TOLD[told], span, scaling=scaling)
    for sigma in (0.2, SIGMAS):
        torch.testing.assert_close(f(Y, sigma), EXACT(Y, sigma), rtol=1e-9, atol=1e-9)
    assert net.training, "left as it was"


def test_another_convention_is_another_denoiser():
    """The test above can fail: each of the three, wrong, is seen."""
    net = Network("noise", "value", (-1, 1), "vp")
    for wrong in (("x", "value", (-1, 1), "vp"), ("noise", "value", (0, 1), "vp"),
                  ("noise", "value", (-1, 1), "ve")):  # fmt: skip
        f = adapt(net, *wrong[:3], scaling=wrong[3])
        assert not torch.allclose(f(Y, 0.2), EXACT(Y, 0.2), atol=1e-2)


def test_what_is_told_nothing_is_blind():
    for output, net in (("x", lambda z: z / 2), ("residual", lambda z: z / 2)):
        f = adapt(net, output)
        assert f.blind
        assert torch.equal(f(Y), Y / 2)
        assert torch.equal(f(Y), f(Y, 0.3))
    f = adapt(lambda z: 0 * z, "noise")
    assert not f.blind, "ε is in units of σ"
    with pytest.raises(ValueError, match="sigma must be given: this denoiser is not blind"):
        f(Y)


def test_a_class_is_fixed_and_given_to_each_image():
    seen = []

    def net(z, label, scale):
        seen.append((label, scale))
        return z

    f = adapt(net, label=torch.tensor(7), scale=2.5)
    f(Y)
    assert seen[0][0].tolist() == [7, 7, 7]
    assert seen[0][1] == 2.5
    assert "range=(0.0, 1.0)" in repr(f), "it says its convention"


# --- libraries, by what they have -----------------------------------------------------------------

ALPHAS = torch.linspace(1, 0.01, 400, dtype=torch.float64)[1:] ** 2  # T = 399
LEVELS = ((1 - ALPHAS) / ALPHAS).sqrt()


def at_time(t):
    """s of a time between the whole ones: log s is straight there."""
    low = t.floor().long().clamp(max=len(LEVELS) - 2)
    return (LEVELS[low].log().lerp(LEVELS[low + 1].log(), t - low)).exp()


class Timed(nn.Module):
    """A UNet of diffusers: (sample, timestep) → an object with `sample`."""

    def __init__(self, output, learned=False, bare=False):
        super().__init__()
        self.net = Network(output, "value", (-1, 1), "vp")
        self.learned, self.bare, self.seen = learned, bare, []
        self.config = SimpleNamespace(in_channels=3)

    def forward(self, sample, timestep, class_labels=None, classes=None):
        self.seen += [c for c in (class_labels, classes) if c is not None]
        out = self.net(sample, at_time(timestep))
        out = torch.cat([out, 0 * out], 1) if self.learned else out
        return out if self.bare else SimpleNamespace(sample=out)


def scheduler(prediction, alphas=ALPHAS, **more):
    config = SimpleNamespace(prediction_type=prediction, clip_sample=True, **more)
    return SimpleNamespace(alphas_cumprod=alphas, config=config)


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_a_unet_of_diffusers_at_whole_times_and_between(kind, learned):
    unet = Timed({"epsilon": "noise", "sample": "x", "v_prediction": "v"}[kind], learned)
    more = {"variance_type": "learned_range"} if learned else {}
    f = adapters.adapt_diffusers(unet, scheduler(kind, **more), label=4)
    for sigma in (float(LEVELS[20]) / 2, 0.123, SIGMAS):
        torch.testing.assert_close(f(Y, sigma), EXACT(Y, sigma), rtol=1e-9, atol=1e-9)
    assert unet.seen[0].tolist() == [4, 4, 4]
    z_t = ALPHAS[20].sqrt() * (2 * Y - 1)
    out = unet.eval()(z_t, torch.full((3,), 20.0, dtype=torch.float64)).sample[:, :3]
    if kind == "epsilon":  # what its scheduler would give
        x = (z_t - (1 - ALPHAS[20]).sqrt() * out) / ALPHAS[20].sqrt()
        sigma = float(LEVELS[20]) / 2
        torch.testing.assert_close(2 * f(Y, sigma) - 1, x, rtol=1e-9, atol=1e-9)


def test_times_end_where_the_schedule_does():
    time = adapters.libraries.time_of(torch.cat([ALPHAS, torch.zeros(1)]))  # ends in noise alone
    ends = time(torch.tensor([1e-9, 1e9], dtype=torch.float64))
    assert ends.tolist() == [0, 398]
    assert torch.equal(time(LEVELS).round(decimals=9), torch.arange(399).double())


@pytest.mark.parametrize(
    ("objective", "output"), [("pred_noise", "noise"), ("pred_x0", "x"), ("pred_v", "v")]
)
def test_denoising_diffusion_pytorch(objective, output):
    for black, normalize in ((-1, lambda x: 2 * x - 1), (0, lambda x: x)):
        model = Timed(output, bare=True)
        model.net = Network(output, "value", (black, 1), "vp")
        thing = SimpleNamespace(
            model=model, alphas_cumprod=ALPHAS, objective=objective, normalize=normalize, channels=3
        )
        f = adapters.adapt_ddpm_pytorch(thing, label=2)
        torch.testing.assert_close(f(Y, SIGMAS), EXACT(Y, SIGMAS), rtol=1e-9, atol=1e-9)
        assert model.seen[0].tolist() == [2, 2, 2]


class Preconditioned(Network):
    """As EDM's: told σ, and a class as one of ten."""

    label_dim, img_channels, use_fp16 = 10, 3, True

    def forward(self, x, sigma, class_labels=None, force_fp32=False):
        assert force_fp32
        assert class_labels is None or class_labels.argmax(1).tolist() == [3] * len(x)
        return super().forward(x, sigma)


def test_edm_k_diffusion_and_deepinv():
    edm = Preconditioned(span=(-1, 1))
    fine = (
        adapters.adapt_edm(edm), adapters.adapt_edm(edm, label=3),
        adapters.adapt_kdiffusion(Network(span=(-1, 1))), adapters.adapt_deepinv(Network()),
    )  # fmt: skip
    for f in fine:
        torch.testing.assert_close(f(Y, SIGMAS), EXACT(Y, SIGMAS), rtol=1e-9, atol=1e-9)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"output": "mean"}, r"output must be one of \['x', 'residual', .*\], not 'mean'"),
        ({"sigma": 3}, r"sigma must be one of \['none', 'value', 'channel'\], not 3"),
        ({"scaling": "edm"}, "scaling must be one of .* not 'edm'"),
        ({"range": (1, 0)}, r"range must be two numbers, black below white, not \(1, 0\)"),
        ({"range": 255}, "range must be two numbers, black below white, not 255"),
        ({"net": "model.pkl"}, "net must be a live module or a function, not of type str: a file"),
        ({"net": nn.Conv2d(1, 1, 1).half()}, r"net must compute in .*torch.float16.*\.float\(\)"),
    ],
)  # fmt: skip
def test_a_convention_that_is_none_is_refused(given, rule):
    with pytest.raises(ValueError, match=rule):
        adapt(**({"net": lambda z: z} | given))


@pytest.mark.parametrize(
    ("net", "y", "rule"),
    [
        (lambda z: SimpleNamespace(sample=z), Y, r"not of type SimpleNamespace; .*\.sample"),
        (lambda z: torch.cat([z, z], 1), Y, r"not \(3, 6, 4, 4\): where the second half is a var"),
        (lambda z: z[..., 1:], Y, r"net must give the shape \(3, 3, 4, 4\), not \(3, 3, 4, 3\)"),
        (nn.Conv2d(3, 3, 1), Y, "y must be torch.float32 on cpu like the network, not torch.float"),
        (lambda z: z, (255 * Y).byte(), "y must be floating point, not torch.uint8"),
        (lambda z: z, Y[0], r"y must be of shape \(B, C, H, W\), not \(3, 4, 4\)"),
    ],
)
def test_what_a_network_cannot_take_or_give_is_refused(net, y, rule):
    with pytest.raises(ValueError, match=rule):
        adapt(net)(y)


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: adapters.adapt_diffusers(Timed("x"), SimpleNamespace(config=1)),
         "scheduler must have alphas_cumprod, config, and a SimpleNamespace has no alphas_cumprod"),
        (lambda: adapters.adapt_diffusers(Timed("x"), scheduler("flow_prediction")),
         "prediction_type must be one of .* not 'flow_prediction'"),
        (lambda: adapters.adapt_diffusers(Timed("x"), scheduler("epsilon", ALPHAS.flip(0))),
         "alphas_cumprod must be .* fall from 1 towards 0"),
        (lambda: adapters.adapt_diffusers(Timed("noise"), scheduler("epsilon"))(Y[:, :1], 0.1),
         r"y must be of shape \(B, 3, H, W\), not \(3, 1, 4, 4\)"),
        (lambda: adapters.adapt_edm(Network(), label=1), "label must be None: .*label_dim is 0"),
        (lambda: adapters.adapt_edm(Preconditioned(), label=10), "label must lie in 0 … 9, not 10"),
        (lambda: adapters.adapt_deepinv(SimpleNamespace(clip_output=True)),
         "model.clip_output must be False, not True: where x̂ is clipped J is 0"),
        (lambda: adapters.adapt_ddpm_pytorch(Network()), "diffusion must have model, .* no model"),
    ],
)  # fmt: skip
def test_a_library_s_object_that_is_another_is_refused(make, rule):
    with pytest.raises(ValueError, match=rule):
        make()
