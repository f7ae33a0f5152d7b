"""The contract f(y, σ) → x_hat, of every denoiser: `EXAMPLES` is the table of them."""

import inspect
import typing
from typing import NamedTuple

import pytest
import torch

from gahb_core import bases, denoisers, images, multiscale, networks
from gahb_core.noise import make_generator


def rand(*shape, key="x"):
    return torch.rand(shape, generator=make_generator(0, key), dtype=torch.float64)


def square(y, sigma=None, condition=None):
    """A blind denoiser that is not linear."""
    return y - 0.1 * y**2


class Example(NamedTuple):
    """A denoiser as its maker makes it, and what it takes.

    Attributes:
        maker: the public function, and its arguments.
        shape: of one y.
        blind: it ignores σ.
        alone: it denoises one image of a batch as it does the batch (not one that knows them).
        net: it is a network's, and takes the dtype of its weights alone.
        any_size: it takes images of any size.
        condition: shape of the clean low band that is its third argument, if it has one.
    """

    maker: typing.Callable
    args: typing.Callable[[], tuple]
    shape: tuple[int, ...]
    blind: bool = False
    alone: bool = True
    net: bool = False
    any_size: bool = False
    condition: tuple[int, ...] | None = None


D, M = denoisers, multiscale
GREY = (1, 8, 8)
PARTS = images.make_c_alpha_parts(60, 2.0, 8)
REGIONS = D.fit_regions(PARTS)
FOUR = torch.full((2,), 0.5, dtype=torch.float64)


def wavelet():
    return bases.make_wavelet(8, "haar", 2)


def network(channels_in=1):
    net = networks.UNet(1, channels=(2, 4), channels_in=channels_in, channels_out=1)
    return (networks.initialize(net, 0).double(),)


def mixture(*shape):
    size = int(torch.tensor(shape).prod())
    return FOUR, rand(2, *shape), torch.stack([torch.eye(size).double()] * 2)


# a denoiser is registered by one line
EXAMPLES = {
    "gaussian": Example(D.gaussian_denoiser, lambda: (rand(3), torch.eye(3).double()), (3,)),
    "mixture": Example(D.mixture_denoiser, lambda: mixture(1, 2, 2), (1, 2, 2)),
    "blind": Example(
        D.blind_denoiser, lambda: (D.empirical_denoiser(rand(9, *GREY)), (0.3, 0.5), (0.8, 1.25)),
        GREY, blind=True,
    ),
    "memory": Example(D.empirical_denoiser, lambda: (rand(9, *GREY), 4), GREY),
    "disks": Example(D.disk_denoiser, lambda: (10, 16), (1, 10, 10)),
    "disks, refined": Example(
        D.refine_disks, lambda: (images.make_disks(1, 10).double(), 0.5, 9.0, 8), (1, 10, 10)
    ),
    "ray": Example(D.ray_denoiser, lambda: (rand(*GREY),), GREY),
    "sinusoids": Example(D.sinusoid_denoiser, lambda: (8,), GREY),
    "regions": Example(D.region_denoiser, lambda: (PARTS.mask[0].double(), REGIONS), GREY),
    "contour": Example(D.contour_denoiser, lambda: (PARTS, 0, REGIONS), GREY),
    "local": Example(D.local_denoiser, lambda: (rand(7, *GREY), 3), GREY),
    "equivariant": Example(D.equivariant_denoiser, lambda: (rand(7, *GREY), 3), GREY),
    "circular": Example(D.equivariant_denoiser, lambda: (rand(7, *GREY), 3, True), GREY),
    "crops": Example(D.crop_denoiser, lambda: (rand(7, *GREY), 3), GREY),
    "shrinkage": Example(D.shrinkage_denoiser, lambda: (wavelet(), lambda c, s: c / (1 + s)), GREY),
    "wiener": Example(D.wiener_denoiser, lambda: (bases.make_fourier(8), rand(6, *GREY)), GREY),
    "hard": Example(D.threshold_denoiser, lambda: (wavelet(), 3.0), GREY),
    "soft": Example(D.threshold_denoiser, lambda: (wavelet(), "universal", "soft"), GREY),
    "sure": Example(D.sure_denoiser, lambda: (wavelet(),), GREY),
    "oracle": Example(D.oracle_denoiser, lambda: (wavelet(), rand(4, *GREY)), GREY, alone=False),
    "cycle-spin": Example(
        D.cycle_spin_denoiser, lambda: (D.threshold_denoiser(wavelet(), 3.0), 4), GREY
    ),
    "residual": Example(D.residual_denoiser, network, GREY, blind=True, net=True),
    "told": Example(
        D.noise_conditional_denoiser, lambda: network(2), GREY, net=True, any_size=True
    ),
    "conditional": Example(
        M.conditional_denoiser, lambda: (networks.BFCNN(3, 4, 4, 3).double(),), (3, 8, 8),
        blind=True, alone=False, net=True, condition=GREY,
    ),
    "multiscale": Example(
        M.multiscale_denoiser, lambda: (square, [lambda y, s, g: y / 2]), GREY, blind=True
    ),
}  # fmt: skip
EVERY = pytest.mark.parametrize("name", EXAMPLES)


def make(name):
    """Return the denoiser of an example, and four y of its own shape."""
    example = EXAMPLES[name]
    f, y = example.maker(*example.args()), rand(4, *example.shape, key="y")
    if example.condition:
        low = rand(4, *example.condition, key="low")
        return lambda y, sigma=None: f(y, sigma, low), y
    return f, y


def same(a, b, tol=1e-9):
    torch.testing.assert_close(a, b, rtol=tol, atol=tol)


def check_contract(f, y, blind=False, alone=True, net=False):
    """Hold a denoiser against all that `denoisers.Denoiser` promises, on four images y, float64."""
    sigma = torch.tensor([0.1, 0.2, 0.3, 0.5], dtype=torch.float64)
    before, told, state = y.clone(), sigma.clone(), torch.get_rng_state()
    x_hat = f(y, sigma)
    assert isinstance(f, denoisers.Denoiser)
    assert (x_hat.shape, x_hat.dtype, x_hat.device) == (y.shape, y.dtype, y.device)
    assert torch.isfinite(x_hat).all()
    assert torch.equal(f(y, sigma), x_hat), "the same y gives the same x_hat"
    assert torch.equal(torch.get_rng_state(), state), "it draws nothing"
    assert torch.equal(y, before), "y is left alone"
    assert torch.equal(sigma, told), "sigma is left alone"
    check_precision(f, y, x_hat, sigma, net)
    check_independence(f, y, x_hat, sigma, alone)
    check_derivative(f, y, alone)
    check_refusals(f, y, blind)


def check_precision(f, y, x_hat, sigma, net):
    if net:
        with pytest.raises(
            ValueError,
            match="must be .*(torch.float64 like|torch.float32 like y, not torch.float64)",
        ):
            f(y.float(), sigma.float())
        return
    single = f(y.float(), sigma.float())
    assert single.dtype == torch.float32
    same(single.double(), x_hat, 1e-3)


def check_independence(f, y, x_hat, sigma, alone):
    moved = torch.cat([y[:1], y[1:] + 0.5])
    same(f(moved, sigma)[:1], x_hat[:1])
    assert not torch.equal(f(moved, sigma)[1:], x_hat[1:])
    if alone:
        same(torch.cat([f(y[i : i + 1], float(s)) for i, s in enumerate(sigma)]), x_hat)
        assert f(y[:0], 0.3).shape == (0, *y.shape[1:]), "an empty batch"


def check_derivative(f, y, alone):
    """Hold Jv against differences, and against Jᵀu: ⟨u, Jv⟩ = ⟨Jᵀu, v⟩."""
    v, u = rand(*y.shape, key="v") - 0.5, rand(*y.shape, key="u") - 0.5

    def g(z):
        return f(z, 0.3)

    x_hat, Jv = torch.func.jvp(g, (y,), (v,))
    same(x_hat, g(y))
    step = 1e-6
    same(Jv, (g(y + step * v) - g(y - step * v)) / (2 * step), 1e-5)
    (Jtu,) = torch.func.vjp(g, y)[1](u)
    same((u * Jv).sum(), (Jtu * v).sum())
    if alone:
        same(torch.func.vmap(lambda z: g(z[None])[0])(y), g(y))


def check_refusals(f, y, blind):
    with pytest.raises(ValueError, match="y must"):
        f((10 * y).long(), 0.3)
    if blind:
        assert torch.equal(f(y), f(y, 0.3)), "a blind denoiser ignores sigma"
        return
    for wrong, rule in (
        (None, r"sigma must be given: this denoiser is not blind \(sigma is None\)"),
        (0, "sigma must be positive, not 0"),
        (-1, "sigma must be finite and not negative, not -1"),
        (torch.ones(3), r"sigma must be a number or of shape \(4,\), not \(3,\)"),
    ):
        with pytest.raises(ValueError, match=rule):
            f(y, wrong)


@EVERY
def test_a_denoiser_keeps_the_contract(name):
    example = EXAMPLES[name]
    check_contract(*make(name), example.blind, example.alone, example.net)


@pytest.mark.parametrize("name", [n for n, e in EXAMPLES.items() if not (e.blind or e.any_size)])
def test_another_shape_is_refused(name):
    f, y = make(name)
    with pytest.raises(ValueError, match="must be|must have"):
        f(y[..., 1:], 0.3)


def test_a_broken_denoiser_is_noticed():
    """The checks above can fail: of each promise, one that breaks it."""
    y = rand(4, *GREY)
    broken = {
        "draws": lambda y, sigma=None: y + 1e-9 * torch.rand(()),
        "mixes": lambda y, sigma=None: y - y.mean(0),
        "changes": lambda y, sigma=None: y.mul_(0.9),
        "narrow": lambda y, sigma=None: y.float(),
        "cut off": lambda y, sigma=None: y.detach() + 0.0 * y,
        "one sigma": lambda y, sigma=None: y * float(torch.as_tensor(sigma).flatten()[0]),
        "takes none": lambda y, sigma=None: y / 2,
    }
    for name, f in broken.items():
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            check_contract(f, y.clone(), blind=name not in ("one sigma", "takes none"))


def makers_of(room):
    """Return the functions of a room that are annotated to return a denoiser."""

    def is_denoiser(made):
        call = getattr(made, "__call__", None) if inspect.isclass(made) else None  # noqa: B004
        words = list(inspect.signature(call).parameters) if inspect.isfunction(call) else []
        return words[:3] == ["self", "y", "sigma"]

    functions = [f for f in vars(room).values() if inspect.isfunction(f)]
    return [f for f in functions if is_denoiser(typing.get_type_hints(f).get("return"))]


@pytest.mark.parametrize("room", [denoisers, multiscale], ids=lambda room: room.__name__[10:])
def test_every_maker_of_a_denoiser_has_an_example(room):
    makers = makers_of(room)
    assert len(makers) > 0
    bare = {f.__name__ for f in makers} - {e.maker.__name__ for e in EXAMPLES.values()}
    assert not bare, f"add an example of each of {sorted(bare)} to EXAMPLES above"
