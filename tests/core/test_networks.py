import re
import subprocess
import sys
from copy import deepcopy

import pytest
import torch
from torch import nn

from gahb_core.networks.models import (
    BFCNN,
    SPATIAL_LAYERS,
    UNet,
    fold_norm,
    num_parameters,
    receptive_field,
)
from gahb_core.networks.norm import BiasFreeNorm
from gahb_core.networks.transformer import Transformer
from gahb_core.networks.weights import initialize
from gahb_core.noise import make_generator

NETS = {
    "unet": lambda: UNet(2, base=4),
    "unet by widths": lambda: UNet(3, channels=(4, 6, 6, 8)),
    "bfcnn": lambda: BFCNN(6, 8),
    "bfcnn 9x9": lambda: BFCNN(21, 8, spatial_layers=SPATIAL_LAYERS[9]),
    "bfcnn skip": lambda: BFCNN(6, 8, skip=True),
    "transformer": lambda: Transformer(16, 64, 2),
    "bfcnn residual": lambda: BFCNN(7, 8, spatial_layers=(2, 3), residual=True),
}


def _trained_looking(make, dtype=torch.float64):
    """A network none of whose parts is at its starting value, in evaluation mode."""
    net = initialize(make(), seed=1).to(dtype)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, BiasFreeNorm):
                module.gammas.uniform_(0.5, 1.5, generator=generator)
                module.running_sd.uniform_(0.5, 1.5, generator=generator)
            if isinstance(module, nn.Conv2d) and not module.weight.all():
                module.weight.normal_(std=0.2, generator=generator)
            if isinstance(module, nn.Linear) and not module.weight.all():
                module.weight.normal_(std=0.1, generator=generator)
    return net.eval()


@pytest.mark.parametrize(
    ("net", "number"),
    [
        (lambda: UNet(1), 366_080),
        (lambda: UNet(2), 1_825_024),
        (lambda: UNet(3), 7_659_264),
        (lambda: UNet(4), 30_993_152),
        (lambda: BFCNN(21), 702_784),
        (lambda: BFCNN(20), 665_856),
        # 5 · (12 · 128² + norms), both ends, a place for each of 64 patches
        (lambda: Transformer(), 5 * (12 * 128**2 + 2 * 128 + 2 * 32) + 2 * 16 * 128 + 64 * 128),
        *[
            (
                lambda rf=rf: BFCNN(
                    21, channels_in=4, channels_out=3, spatial_layers=SPATIAL_LAYERS[rf]
                ),
                n,
            )
            for rf, n in ((5, 83_072), (9, 148_608), (13, 214_144), (23, 377_984), (43, 705_664))
        ],
    ],
)
def test_parameters_are_those_of_the_papers(net, number):
    assert num_parameters(net()) == number


@pytest.mark.parametrize("name", NETS)
def test_homogeneous_of_degree_one(name):
    net = _trained_looking(NETS[name])
    y = torch.randn(2, 1, 16, 16, dtype=torch.float64)
    for a in (0.3, 7.0):
        torch.testing.assert_close(net(a * y), a * net(y), rtol=1e-10, atol=1e-10)
    assert net(y).abs().max() > 1e-3  # nothing above was zero


@pytest.mark.parametrize("name", NETS)
def test_output_is_the_jacobian_times_the_input(name):
    net = _trained_looking(NETS[name])
    y = torch.randn(1, 1, 16, 16, dtype=torch.float64)
    value, product = torch.func.jvp(net, (y,), (y,))
    torch.testing.assert_close(product, value, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", NETS)
def test_folding_keeps_the_function_and_the_network(name):
    net = _trained_looking(NETS[name])
    before = {k: v.clone() for k, v in net.state_dict().items()}
    y = torch.randn(2, 1, 16, 16, dtype=torch.float64)
    folded = fold_norm(net)
    torch.testing.assert_close(folded(y), net(y), rtol=1e-10, atol=1e-10)
    assert not any(isinstance(m, BiasFreeNorm) for m in folded.modules())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


@pytest.mark.parametrize("training", [True, False])
def test_bfcnn_is_its_layers_one_after_the_other(training):
    """The network folds norms at rest on the fly; value and gradients are those of the modules."""
    net = _trained_looking(NETS["bfcnn"]).train(training)
    twin = deepcopy(net)
    y = torch.randn(3, 1, 12, 12, dtype=torch.float64)
    h = twin.conv_layers[0](y)
    for conv, norm in zip(twin.conv_layers[1:-1], twin.BN_layers, strict=True):
        h = norm(conv(h)).relu()
    by_hand, found = twin.conv_layers[-1](h), net(y)
    torch.testing.assert_close(found, by_hand, rtol=1e-10, atol=1e-10)
    by_hand.square().sum().backward()
    found.square().sum().backward()
    for (name, p), q in zip(net.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-9, atol=1e-10, msg=name)


def test_norm_follows_its_definition_in_both_modes():
    norm = BiasFreeNorm(3).double()
    norm.gammas.data = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64).reshape(1, 3, 1, 1)
    x = torch.randn(4, 3, 5, 5, dtype=torch.float64) + 7  # the mean is not removed
    sd = (x.var(dim=(0, 2, 3), unbiased=False) + 1e-5).sqrt().reshape(1, 3, 1, 1)
    torch.testing.assert_close(norm(x), x / sd * norm.gammas)
    torch.testing.assert_close(norm.running_sd, 0.9 + 0.1 * sd)
    norm.eval()
    torch.testing.assert_close(norm(x), x / norm.running_sd * norm.gammas)


def _reach(net, size, pixel):
    """Side of the smallest window of y that moves the output at row and column `pixel`."""
    y = torch.rand(1, 1, size, size, dtype=torch.float64, requires_grad=True)
    net(y)[0, 0, pixel, pixel].backward()
    rows = y.grad[0, 0].abs().sum(1).nonzero().ravel()
    return int(rows.max() - rows.min() + 1)


def _all_positive(make):
    """With positive weights and inputs no ReLU is off and nothing cancels."""
    net = make().double().eval()
    for p in net.parameters():
        p.data = torch.full_like(p, 0.3)
    return net


@pytest.mark.parametrize("num_blocks", [1, 2, 3])
def test_receptive_field_of_the_unet_by_perturbation(num_blocks):
    net = _all_positive(lambda: UNet(num_blocks, base=1))
    step, size = 2**num_blocks, 40 * 2**num_blocks
    found = max(_reach(net, size, size // 2 + phase) for phase in range(step))
    assert found == receptive_field(net)


@pytest.mark.parametrize("field", SPATIAL_LAYERS)
def test_receptive_field_of_the_bfcnn_by_perturbation(field):
    net = _all_positive(lambda: BFCNN(21, 1, spatial_layers=SPATIAL_LAYERS[field]))
    assert _reach(net, 64, 32) == receptive_field(net) == field


def test_receptive_fields_of_the_papers_that_every_phase_agrees_on():
    assert [receptive_field(UNet(b, base=1)) for b in (1, 2)] == [18, 44]
    assert receptive_field(BFCNN(20, 1)) == 41


def test_hidden_convolutions_of_the_bfcnn_start_as_1x1():
    net = initialize(BFCNN(5, 64, spatial_layers=(1, 3)), seed=0, gain=0.5)
    for conv in net.conv_layers[1:-1]:
        centre = conv.kernel_size[0] // 2
        taps = conv.weight.detach()[..., centre, centre]
        assert float(taps.std()) == pytest.approx(0.5 * (2 / 64) ** 0.5, rel=0.05)
        assert conv.weight.count_nonzero() == taps.count_nonzero() == 64 * 64
    assert net.conv_layers[0].weight.all()


def test_initial_weights_come_from_the_seed_and_start_at_no_noise():
    first, second, other = (initialize(UNet(2, base=4), seed=s) for s in (0, 0, 1))
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    )
    assert not torch.equal(first.encoder[0][0].weight, other.encoder[0][0].weight)
    assert not first.eval()(torch.rand(1, 1, 8, 8)).any()


def test_a_skip_gives_the_noisy_bands_minus_the_convolutions():
    plain = _trained_looking(lambda: BFCNN(5, 6, 4, 3))
    skip = BFCNN(5, 6, 4, 3, skip=True).double().eval()
    skip.load_state_dict(plain.state_dict())
    y = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(skip(y), y[:, 1:] - plain(y), rtol=0, atol=1e-12)
    assert torch.equal(initialize(skip, seed=0)(y), y[:, 1:])  # the first estimate is zero


def test_a_residual_network_adds_what_each_layer_is_given_and_folds_into_a_plain_one():
    net = _trained_looking(lambda: BFCNN(5, 6, 4, 3, spatial_layers=(1, 3), residual=True))
    y = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    h = net.conv_layers[0](y).clamp(min=0)
    for conv, norm in zip(net.conv_layers[1:-1], net.BN_layers, strict=True):
        h = (h + conv(h) * norm.gammas / norm.running_sd).clamp(min=0)
    torch.testing.assert_close(net(y), net.conv_layers[-1](h), rtol=0, atol=1e-12)
    plain = BFCNN(5, 6, 4, 3, spatial_layers=(1, 3), first_relu=True).double()
    plain.BN_layers = nn.ModuleList(nn.Identity() for _ in plain.BN_layers)
    plain.load_state_dict(fold_norm(net).state_dict())
    torch.testing.assert_close(plain(y), net(y), rtol=0, atol=1e-12)


def test_at_first_all_of_what_a_residual_network_is_given_reaches_its_last_layer():
    """Before training, some last layer gives y itself, whatever the depth."""
    net = initialize(BFCNN(21, 12, 4, 3, residual=True), seed=0).double()
    for norm in net.BN_layers:
        norm.gammas.data.zero_()  # no steps yet: only what is carried along
    y = torch.randn(1, 4, 6, 6, dtype=torch.float64)
    with torch.no_grad():
        for i in range(3):  # kernels i and i + 6 are opposite: the band's two signs
            net.conv_layers[-1].weight[i, [1 + i, 7 + i], 1, 1] = torch.tensor([1.0, -1.0]).double()
    torch.testing.assert_close(net(y), y[:, 1:], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: UNet(0), "num_blocks must lie in 1 … 16, not 0"),
        (lambda: UNet(2, channels=(4, 8)), "channels must have num_blocks"),
        (lambda: BFCNN(6, 8, spatial_layers=(5,)), "spatial_layers must lie in"),
        (lambda: UNet(2, base=2)(torch.zeros(1, 1, 10, 12)), "height and width divisible by 4"),
        (lambda: UNet(2.0), "num_blocks must be a whole number"),
        (lambda: UNet(2, base=0), "base must be at least 1, not 0"),
        (lambda: UNet(1, channels=(4, 8.5)), "channels must be a whole number"),
        (lambda: Transformer(10), "size must be a multiple of patch = 4, not 10"),
        (lambda: Transformer(8, 80), "width must be a multiple of 32 or less than 64, not 80"),
        (lambda: Transformer(8)(torch.zeros(1, 1, 8, 12)), "y must be 8×8 pixels, not"),
        (lambda: BFCNN(1, 8), "num_layers must be at least 2, not 1"),
        (lambda: BFCNN(4, 0), "num_channels must be at least 1, not 0"),
        (lambda: BFCNN(4, 8, channels_in=-1), "channels_in must be at least 1, not -1"),
        (lambda: initialize(BFCNN(4, 8), 0.5), "seed must be a whole number, not 0.5"),
        (lambda: initialize(BFCNN(4, 8), 0, gain=float("nan")), "gain must be above 0, not nan"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_norm_by_hand_has_the_gradient_of_its_formula():
    norm = BiasFreeNorm(3).double()
    generator = torch.Generator().manual_seed(0)
    torch.nn.init.uniform_(norm.gammas, 0.5, 1.5, generator=generator)
    x = 1 + torch.randn(4, 3, 5, 6, generator=generator, dtype=torch.float64)
    x.requires_grad_()

    def formula(x, gammas):
        sd = torch.sqrt(x.var(dim=(0, 2, 3), keepdim=True, unbiased=False) + 1e-5)
        return x * gammas / sd

    cotangent = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(norm(x), formula(x, norm.gammas))
    ours = torch.autograd.grad(norm(x), (x, norm.gammas), cotangent)
    wanted = torch.autograd.grad(formula(x, norm.gammas), (x, norm.gammas), cotangent)
    for a, b in zip(ours, wanted, strict=True):
        torch.testing.assert_close(a, b)
    assert torch.autograd.gradcheck(norm, x)


@pytest.mark.parametrize("size", [4, 32])  # few pixels: the norm scales them; many: the weights
def test_norms_at_rest_give_the_gradients_of_norms_after_convolutions(size):
    net = _trained_looking(NETS["unet"])
    y = torch.randn(2, 1, size, size, dtype=torch.float64)
    net(y).square().sum().backward()
    found = [p.grad for p in net.parameters()]
    plain = deepcopy(net)
    plain.zero_grad()
    skips, h = [], y
    for block in (*plain.encoder, plain.mid_block):
        for layer in block:
            h = torch.relu(h) if isinstance(layer, nn.ReLU) else layer(h)
        skips.append(h)
        h = nn.functional.avg_pool2d(h, 2) if block is not plain.mid_block else h
    for b in (1, 0):
        h = torch.cat([plain.upsample[b](h), skips[b]], 1)
        for layer in plain.decoder[b]:
            h = torch.relu(h) if isinstance(layer, nn.ReLU) else layer(h)
    h.square().sum().backward()
    for a, p in zip(found, plain.parameters(), strict=True):
        torch.testing.assert_close(a, p.grad, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("make", [lambda: UNet(1, base=2), lambda: BFCNN(4, 3)])
@pytest.mark.parametrize(
    "y",
    [
        torch.zeros(1, 3, 8, 8),
        torch.zeros(1, 8, 8),
        torch.zeros(8, 8),
        torch.zeros(1, 1, 8, 8, dtype=torch.float64),
        torch.zeros(1, 1, 8, 8, dtype=torch.float16),
        torch.zeros(1, 1, 8, 8, dtype=torch.uint8),
        torch.zeros(1, 1, 0, 8),
    ],
    ids=lambda y: f"{y.dtype} {tuple(y.shape)}",
)
def test_what_a_network_cannot_take_is_refused_in_words(make, y):
    wanted = r"y must be \(B, 1, H, W\), torch.float32 like the network, not"
    with pytest.raises(ValueError, match=f"{wanted} {re.escape(f'{tuple(y.shape)}, {y.dtype}')}"):
        make()(y)


@pytest.mark.parametrize("name", NETS)
def test_no_image_has_no_noise(name):
    net = _trained_looking(NETS[name], torch.float32)
    assert net(torch.zeros(0, 1, 16, 16)).shape == (0, 1, 16, 16)


def test_the_transformer_is_attention_by_hand():
    """One block of one head, written out in sums over tokens, places and all."""
    net = _trained_looking(lambda: Transformer(8, 32, 1))
    y, block = torch.randn(1, 1, 8, 8, dtype=torch.float64), net.blocks[0]
    scale = y.square().mean().sqrt()
    cells = torch.stack([y[0, 0, i : i + 4, j : j + 4].flatten() for i in (0, 4) for j in (0, 4)])
    h = cells / scale @ net.embed.weight.T + net.places[0]
    root = nn.RMSNorm(32, eps=1e-6, elementwise_affine=False).double()
    q, k, v = (root(h) @ block.queries_keys_values.weight.T).split(32, 1)
    logits = root(q) @ root(k).T / 32**0.5
    weights = logits.exp() / logits.exp().sum(1, keepdim=True)
    h = h + weights @ v @ block.mix.weight.T
    h = h + nn.functional.gelu(root(h) @ block.widen.weight.T) @ block.narrow.weight.T
    out = (scale * h @ net.restore.weight.T).reshape(4, 4, 4)
    by_hand = torch.cat([torch.cat([out[0], out[1]], 1), torch.cat([out[2], out[3]], 1)])
    torch.testing.assert_close(net(y)[0, 0], by_hand, rtol=1e-9, atol=1e-9)
    tokens = net.tokens(y / scale)
    torch.testing.assert_close(block.attend(tokens)[0, 0], weights, rtol=1e-9, atol=1e-9)


def test_the_transformer_sees_all_of_the_image_and_tells_places_apart():
    net = _trained_looking(NETS["transformer"])
    y = torch.randn(1, 1, 16, 16, dtype=torch.float64)
    corner = torch.zeros_like(y)
    corner[..., 0, 0] = 1
    moved = torch.func.jvp(net, (y,), (corner,))[1]
    assert moved.abs().min() > 0
    rolled = net(y.roll(4, -1)).roll(-4, -1)  # by a whole patch
    assert not torch.allclose(rolled, net(y), rtol=0.01)


def test_the_transformer_takes_a_black_image():
    """Its root mean square is zero: the estimate is, and so is no derivative nan."""
    net = initialize(Transformer(8, 32, 1), seed=0)
    nn.init.normal_(net.restore.weight)
    y = torch.zeros(1, 1, 8, 8, requires_grad=True)
    out = net(y)
    assert out.abs().max() < 1e-15
    (grad,) = torch.autograd.grad(out.sum(), y)
    assert torch.isfinite(grad).all()


def test_a_block_of_the_transformer_begins_as_the_identity():
    net = initialize(Transformer(8, 32, 2), seed=3)
    h = torch.randn(2, 4, 32)
    assert torch.equal(net.blocks[1](h), h)
    assert not net(torch.rand(1, 1, 8, 8)).any()
    assert torch.equal(net.places, initialize(Transformer(8, 32, 2), seed=3).places)
    assert not torch.equal(net.places, initialize(Transformer(8, 32, 2), seed=4).places)


def test_the_norm_has_a_second_derivative_through_its_deviation():
    norm = BiasFreeNorm(2).double().train()
    x = torch.randn(3, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda v: norm(v), (x,))


def test_a_norm_of_halves_takes_its_deviation_in_single_precision():
    x = 10 + 0.05 * torch.randn(8, 4, 32, 32, generator=make_generator(0))
    norm = BiasFreeNorm(4)
    y = norm(x.bfloat16())
    assert y.dtype == torch.bfloat16
    wanted = x.bfloat16().float().std(dim=(0, 2, 3))
    norm.momentum = 1.0
    norm(x.bfloat16())
    torch.testing.assert_close(norm.running_sd.flatten(), wanted, atol=0, rtol=0.01)


def test_importing_the_library_changes_nothing_of_torch():
    code = """
import torch
def state():
    return (torch.backends.cudnn.allow_tf32, torch.get_default_dtype(), torch.is_grad_enabled(),
            torch.get_num_threads(), torch.random.get_rng_state().tolist())
before = state()
import gahb_core
for room in gahb_core.ROOMS:
    getattr(gahb_core, room).__name__
assert state() == before
"""
    subprocess.run([sys.executable, "-c", code], check=True)
