"""A network is its list of layers: what is read off it holds for other orders than the book's."""

import re
from copy import deepcopy
from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from toys import TOYS, Toy, conv, make_toy, up

from gahb_core import jacobian
from gahb_core.denoisers import residual_denoiser
from gahb_core.jacobian.masks import find_network
from gahb_core.multiscale import conditional_denoiser
from gahb_core.networks import (
    ADD,
    BFCNN,
    CAT,
    POOL,
    PUSH,
    RELU,
    SUBTRACT,
    BiasFreeNorm,
    Layered,
    Transformer,
    UNet,
    fold_norm,
    initialize,
    receptive_field,
)

rand = partial(torch.randn, dtype=torch.float64)


def by_hand(net, x):
    """The layers one after the other, by their modules and plain arithmetic."""
    kept = []
    for layer in net.layers():
        if layer is PUSH:
            kept.append(x)
        elif layer is CAT:
            x = torch.cat([x, kept.pop()], 1)
        elif layer is ADD:
            x = x + kept.pop()
        elif layer is SUBTRACT:
            x = kept.pop() - x
        else:
            x = x.clamp(min=0) if isinstance(layer, nn.ReLU) else layer(x)
    return x


@pytest.fixture(params=TOYS)
def toy(request):
    return make_toy(request.param)


def test_it_runs(toy):
    y = rand(2, 1, 12, 8)
    kept = y.clone()
    torch.testing.assert_close(toy(y), by_hand(toy, y), rtol=1e-12, atol=1e-12)
    assert torch.equal(y, kept)  # no ReLU wrote over what is the caller's
    toy.train()(y).square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in toy.parameters())


def test_its_jacobian_is_read_off(toy):
    f, y, v = residual_denoiser(toy), rand(1, 1, 12, 8), rand(5, 1, 12, 8)
    assert find_network(f) is not None
    ours = jacobian.linearize(f, y)
    other = jacobian.linearize(lambda z, sigma=None: f(z), y)
    given = v.clone()
    for a, b in zip((ours.x_hat, ours.push(v), ours.pull(v)),
                    (other.x_hat, other.push(v), other.pull(v)), strict=True):  # fmt: skip
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12 * float(b.abs().max()))
    assert torch.equal(v, given)


def test_its_norms_fold(toy):
    y, state = rand(2, 1, 8, 8), {k: v.clone() for k, v in toy.state_dict().items()}
    folded = fold_norm(toy)
    torch.testing.assert_close(folded(y), toy(y), rtol=1e-10, atol=1e-10)
    left = [m for m in folded.modules() if isinstance(m, BiasFreeNorm)]
    layers = list(toy.layers())
    alone = [b for a, b in zip([None, *layers], layers, strict=False)
             if isinstance(b, BiasFreeNorm) and not isinstance(a, nn.Conv2d)]  # fmt: skip
    assert len(left) == len(alone)
    assert all(torch.equal(v, state[k]) for k, v in toy.state_dict().items())


def test_its_receptive_field_is_what_gradients_reach(toy):
    """Positive weights close no ReLU and cancel nothing."""
    for p in toy.parameters():
        p.data.fill_(0.3)
    widest, size = 0, 80
    with torch.no_grad():
        positive = not any(layer is SUBTRACT for layer in toy.layers())
    for phase in range(4):
        y = torch.rand(1, 1, size, size, dtype=torch.float64).requires_grad_()
        toy(y)[0, 0, 40 + phase, 40 + phase].backward()
        rows = y.grad[0, 0].abs().sum(1).nonzero().ravel()
        widest = max(widest, int(rows.max() - rows.min() + 1))
    assert positive or widest > 1
    assert widest == receptive_field(toy)


def test_its_operations_are_those_that_torch_counts(toy):
    meta = fold_norm(toy).to("meta")
    with FlopCounterMode(display=False) as counter:
        meta(torch.empty(1, 1, 32, 32, device="meta", dtype=torch.float64))
    assert toy.count_operations(32) == counter.get_total_flops()


def test_initial_weights_give_no_noise(toy):
    if not {ADD, SUBTRACT} & set(toy.all):
        assert not initialize(toy, 0)(rand(1, 1, 8, 8)).any()
    first, second = (deepcopy(initialize(toy, 3).state_dict()) for _ in "ab")
    assert all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize("make", [UNet, BFCNN], ids=lambda c: c.__name__)
def test_colours_come_out_as_they_came_in(make):
    net = initialize(make(2, 4, channels_in=3).double(), 0)
    f, y = residual_denoiser(net), rand(1, 3, 8, 8)
    assert torch.equal(f(y), y)  # as at first
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.3, generator=torch.Generator().manual_seed(len(p)))
    assert f(y).shape == y.shape
    v = rand(2, 3, 8, 8)
    assert find_network(f) is not None
    other = jacobian.linearize(lambda z, sigma=None: f(z), y)
    torch.testing.assert_close(jacobian.linearize(f, y).push(v), other.push(v))


def test_a_transformer_takes_colours_in_their_places():
    net = initialize(Transformer(8, 32, 1, channels=3).double(), 0)
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.1, generator=torch.Generator().manual_seed(len(p)))
    y = rand(1, 3, 8, 8)
    with torch.no_grad():
        net.embed.weight.copy_(torch.eye(48)[:32])  # tokens hold channels 0 and 1 of their patch
        net.restore.weight.copy_(torch.eye(48)[:, :32])
        net.places.zero_()
        for name in ("mix", "narrow"):
            getattr(net.blocks[0], name).weight.zero_()
    torch.testing.assert_close(net(y)[:, :2], y[:, :2])
    assert not net(y)[:, 2].any()


@pytest.mark.parametrize(
    ("net", "channels"),
    [
        (lambda: UNet(1, 4, channels_in=3, channels_out=1), 3),
        (lambda: BFCNN(3, 4, 1, 2), 1),
        (lambda: nn.Conv2d(3, 1, 3, padding=1), 3),
    ],
)
def test_noise_of_another_shape_is_refused_and_not_spread(net, channels):
    f, y = residual_denoiser(net()), torch.rand(2, channels, 8, 8)
    with pytest.raises(ValueError, match=r"net must give noise of the shape of y, .*, not \(2, "):
        f(y)


def test_networks_of_other_layers_are_differentiated_and_say_why_they_cannot_be_read():
    odd = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular", bias=False)
    for layers, message in [
        ((odd,), "layers must be square convolutions of one size"),
        ((nn.Conv2d(1, 1, 3, padding=1),), "layers must be square convolutions of one size"),
        ((conv(1, 1), nn.Tanh()), "layers must be of a kind in networks.steps.KINDS, not Tanh()"),
        ((nn.AvgPool2d(4), conv(1, 1), up(1, 1), up(1, 1)), "layers must pool by 2×2"),
        ((POOL, conv(1, 1), nn.ConvTranspose2d(1, 1, 4, 2, 1, bias=False)), "must go up by 2×2"),
    ]:
        net = Toy(*layers).double()
        f, y = residual_denoiser(net), rand(1, 1, 8, 8)
        with pytest.raises(ValueError, match=re.escape(message)):
            receptive_field(net)
        assert find_network(f) is None
        jacobian.linearize(f, y).push(rand(1, 1, 8, 8))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((PUSH, conv(1, 2), RELU, ADD, conv(2, 1)), "add takes 1 channels, not 2"),
        ((PUSH, POOL, conv(1, 1), CAT, conv(2, 1)), r"cat takes what was kept at \(2, 2\), not"),
        ((conv(1, 2), conv(1, 1)), "conv takes 1 channels, not 2"),
        ((PUSH, conv(1, 1)), "layers must take up again all that they keep, not leave 1"),
        ((PUSH, conv(1, 2), SUBTRACT, conv(2, 1)), "layers must subtract channels that were kept"),
        ((conv(1, 1), CAT), "layers must keep what cat takes up, and have kept nothing"),
        ((RELU,), "layers must have weights"),
    ],
)
def test_layers_that_do_not_fit_are_refused_in_words(layers, message):
    with pytest.raises(ValueError, match=message):
        Toy(*layers).trace(2)


def test_a_network_that_does_more_than_its_layers_is_not_read():
    class Louder(UNet):
        def forward(self, y):
            return 2 * super().forward(y)

    f = residual_denoiser(initialize(Louder(1, 4), 0))
    assert find_network(f) is None
    with pytest.raises(NotImplementedError, match="Layered must say its layers"):
        Layered().layers()


def test_details_of_two_channels_are_told_two_low_bands():
    net = initialize(BFCNN(4, 6, 8, 6, skip=True).double(), 0)
    f = conditional_denoiser(net)
    y, low = rand(1, 6, 8, 8), rand(1, 2, 8, 8)
    assert not f(y, condition=low).any()  # a skip: zero at first
