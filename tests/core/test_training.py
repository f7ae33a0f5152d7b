import random
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from itertools import product

import pytest
import torch

from gahb_core.data import open_images
from gahb_core.networks.models import num_parameters, receptive_field
from gahb_core.networks.norm import BiasFreeNorm
from gahb_core.noise import SigmaLaw
from gahb_core.training import (
    RECIPES,
    GramMuon,
    Recipe,
    as_in_papers,
    batch_indices,
    estimate_norms,
    find_recipe,
    fingerprint,
    fit,
    learning_rate,
    loop,
    make_batch,
    make_network,
    make_optimizer,
    orthogonalize,
    to_json,
)
from gahb_core.training.state import read_state

SMALL = Recipe(
    "small",
    "fashion",
    num=64,
    channels=(4, 8),
    batch_size=8,
    num_steps=60,
    ema=0.9,
    freeze_norm=0.7,
)

DETAILS = replace(
    SMALL, architecture="bfcnn", channels=(6,), num_layers=5, level=2, bands="details"
)

# A process that trains SMALL and saves after every step: killed anywhere, it must go on unharmed.
PROGRAM = """
import os, signal, sys, torch
from pathlib import Path
from tests.core.test_training import SMALL
from gahb_core.training import fit, loop
state, result, left, when = sys.argv[1], sys.argv[2], [int(sys.argv[3])], sys.argv[4]
save = loop._State.save
def die(now):
    if left[0] == 0 and now == when:
        os.kill(os.getpid(), signal.SIGKILL)
def save_or_die(self, path):
    left[0] -= 1
    die("before")
    save(self, path)
    die("after")
loop._State.save = save_or_die
for progress in fit(SMALL, Path(state), save_seconds=0):
    pass
torch.save(progress.net.state_dict(), result)
"""


def _drain(recipe, path=None):
    *_, last = fit(recipe, path)
    return last


def test_killed_while_it_trains_it_ends_bit_identical(tmp_path):
    unbroken = _drain(SMALL).net.state_dict()
    state, result = tmp_path / "state", tmp_path / "net.pt"
    for saves, when in ((5, "after"), (1, "before"), (13, "before"), (1, "after")):
        command = [sys.executable, "-c", PROGRAM, str(state), str(result), str(saves), when]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
        assert not result.exists()
    command[-2:] = ["0", "never"]
    subprocess.run(command, check=True)
    resumed = torch.load(result, weights_only=True)
    assert resumed.keys() == unbroken.keys()
    assert all(torch.equal(resumed[k], unbroken[k]) for k in unbroken)


@pytest.mark.parametrize(
    ("recipe", "optimizer"), [(SMALL, "muon"), (SMALL, "adam"), (SMALL, "sgd"), (DETAILS, "muon")]
)
def test_stopped_after_every_hundred_steps_it_ends_bit_identical(tmp_path, recipe, optimizer):
    recipe = replace(recipe, num_steps=230, optimizer=optimizer)
    for _ in range(3):
        progress = next(fit(recipe, tmp_path / "state", save_seconds=0))
    assert not progress.done
    resumed, unbroken = _drain(recipe, tmp_path / "state"), _drain(recipe)
    pairs = zip(resumed.net.state_dict().values(), unbroken.net.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert [c[:2] for c in resumed.curve] == [c[:2] for c in unbroken.curve]


def test_progress_after_further_steps_changes_nothing(tmp_path):
    recipe, seen = replace(SMALL, num_steps=110), []
    for progress in fit(recipe, also=(1, 3, 100)):
        seen.append(progress.step)
    assert seen == [1, 3, 100, 110]
    plain = _drain(recipe)
    assert [c[:2] for c in progress.curve] == [c[:2] for c in plain.curve]
    assert progress.done
    pairs = zip(progress.net.state_dict().values(), plain.net.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_state_of_another_recipe_is_refused(tmp_path):
    _drain(replace(SMALL, num_steps=2), tmp_path / "state")
    with pytest.raises(ValueError, match="of another recipe than 'small'"):
        _drain(SMALL, tmp_path / "state")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The bytes of a state, as saved after three steps of sixty; threads change the last bits."""
    path = tmp_path_factory.mktemp("state") / "state"
    state = loop._State(make_network(SMALL), SMALL, "cpu")
    images = open_images("fashion", "A", 64)
    for _ in range(3):
        loop._take_step(state, make_batch(SMALL, images, state.step))
        state.update_mean()
        state.step += 1
    state.save(path)
    return path.read_bytes()


def _damage(kind, content):
    """Yield damaged copies of a file, with what was done."""
    draws = random.Random(0)
    if kind == "flipped bits":
        for _ in range(40):
            at, bit = draws.randrange(len(content)), draws.randrange(8)
            flipped = bytes([content[at] ^ (1 << bit)])
            yield f"bit {bit} of byte {at}", content[:at] + flipped + content[at + 1 :]
    elif kind == "zeroed spans":
        for _ in range(10):
            at = draws.randrange(len(content) - 64)
            if any(content[at : at + 64]):
                yield f"zeros from {at}", content[:at] + bytes(64) + content[at + 64 :]
    else:
        for share in (0, 0.001, 0.3, 0.9, 0.999):
            yield f"{share} of it", content[: int(share * len(content))]


@pytest.mark.parametrize("kind", ["flipped bits", "zeroed spans", "cuts"])
def test_a_damaged_state_is_refused(tmp_path, saved, kind):
    path = tmp_path / "state"
    for what, content in _damage(kind, saved):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is cut, changed or foreign; delete it"):
            pytest.fail(f"taken in spite of {what}: {read_state(path, SMALL)['step']}")


@pytest.mark.parametrize("kind", ["flipped bits", "zeroed spans", "cuts"])
def test_a_damaged_state_of_before_is_refused_or_read_right(tmp_path, saved, kind):
    """States from before there was a checksum are archives, whose entries have one of their own."""
    before = saved[saved.index(b"\n") + 1 :]
    path = tmp_path / "state"
    path.write_bytes(before)
    right = read_state(path, SMALL)
    assert right["step"] == 3
    for _, content in _damage(kind, before):
        path.write_bytes(content)
        try:
            found = read_state(path, SMALL)
        except ValueError:
            continue
        assert found["step"] == right["step"]  # what was changed lies between the entries
        assert all(torch.equal(found["mean"][k], v) for k, v in right["mean"].items())
        assert all(torch.equal(found["net"][k], v) for k, v in right["net"].items())


def test_a_state_of_before_is_gone_on_from_to_the_same_bits(tmp_path, saved):
    path, unbroken = tmp_path / "state", _drain(SMALL).net.state_dict().values()
    for content in (saved, saved[saved.index(b"\n") + 1 :]):
        path.write_bytes(content)
        resumed = _drain(SMALL, path).net.state_dict().values()
        pairs = zip(resumed, unbroken, strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"step": 61}, "step must be from 0 to 60, not 61; delete it to start anew"),
        ({"step": -1}, "step must be from 0 to 60, not -1"),
        ({"step": None}, "step must be from 0 to 60, not None"),
        ({"losses": torch.zeros(3)}, "losses must be a tensor of the last hundred"),
        ({"recipe": None}, "is of another recipe than 'small'"),
        ({"net": {}}, "must fit the network of 'small'; delete it to start anew"),
        ({"optimizer": {}}, "must fit the network of 'small'; delete it to start anew"),
        ({"curve": ...}, "it must hold step, seconds, curve"),
        ("foreign", "is foreign; delete it|it must hold step"),
    ],
)
def test_a_whole_state_of_something_else_is_refused(tmp_path, saved, change, match):
    path = tmp_path / "state"
    path.write_bytes(saved)
    data = read_state(path, SMALL) if change != "foreign" else torch.zeros(3)
    if change != "foreign":
        data |= change
        data = {key: value for key, value in data.items() if value is not ...}
    torch.save(data, path)
    with pytest.raises(ValueError, match=match):
        _drain(SMALL, path)


def test_the_loss_of_a_short_training_is_the_mean_of_its_steps(monkeypatch):
    losses = [torch.tensor(float(k)) for k in range(1, 61)]
    monkeypatch.setattr(loop, "_take_step", lambda state, *_: losses[state.step])
    assert _drain(SMALL).loss == pytest.approx(30.5)


def test_every_image_comes_once_an_epoch_and_the_order_changes():
    seen = torch.cat([batch_indices(step, 8, 20, seed=0) for step in range(5)])  # two epochs
    assert sorted(seen[:20].tolist()) == list(range(20))
    assert sorted(seen[20:].tolist()) == list(range(20))
    assert seen[:20].tolist() != seen[20:].tolist()
    assert batch_indices(3, 4, None, seed=0).tolist() == [12, 13, 14, 15]
    assert batch_indices(0, 5, 1, seed=0).tolist() == [0] * 5


def test_a_batch_is_images_plus_the_noise_it_tells():
    images = open_images("fashion", "A", 64)
    y, noise, sigma = make_batch(SMALL, images, step=3)
    x = images.take(batch_indices(3, 8, 64, 0))
    torch.testing.assert_close(y - noise, x, atol=1e-6, rtol=0)
    spread = noise.flatten(1).std(1) / sigma
    torch.testing.assert_close(spread, torch.ones(8), atol=0.1, rtol=0)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_batches_are_the_same_made_ahead_or_not(device):
    images = open_images("fashion", "A", 64)
    made = list(loop._batches(SMALL, images, 3, device))
    assert len(made) == SMALL.num_steps - 3
    for step, batch in enumerate(made, start=3):
        for got, wanted in zip(batch, make_batch(SMALL, images, step), strict=True):
            assert torch.equal(got, wanted)


def test_batches_made_ahead_may_be_left():
    ahead = loop._batches(SMALL, open_images("fashion", "A", 64), 0, "cuda")
    next(ahead)
    before = threading.active_count()
    ahead.close()
    assert threading.active_count() < before


def test_a_batch_of_details_has_a_clean_low_band_and_three_noisy_bands():
    images = open_images("fashion", "A", 64)
    y, noise, sigma = make_batch(DETAILS, images, step=3)
    x = images.take(batch_indices(3, 8, 64, 0))
    low, a = torch.nn.functional.avg_pool2d(x, 4), torch.nn.functional.avg_pool2d(x, 2)
    top, bottom = a[:, :, ::2], a[:, :, 1::2]
    horizontal = (top - bottom)[..., ::2] + (top - bottom)[..., 1::2]
    vertical = (top + bottom)[..., ::2] - (top + bottom)[..., 1::2]
    diagonal = (top - bottom)[..., ::2] - (top - bottom)[..., 1::2]
    bands = torch.cat([horizontal, vertical, diagonal], 1) / 4
    torch.testing.assert_close(y[:, :1], low, atol=1e-6, rtol=0)
    torch.testing.assert_close(y[:, 1:] - noise, bands, atol=1e-6, rtol=0)
    spread = noise.flatten(1).std(1) / sigma
    torch.testing.assert_close(spread, torch.ones(8), atol=0.25, rtol=0)


def test_a_batch_of_a_low_band_is_the_block_mean_and_its_noise():
    images = open_images("fashion", "A", 64)
    y, noise, _ = make_batch(replace(SMALL, level=1), images, step=3)
    x = images.take(batch_indices(3, 8, 64, 0))
    torch.testing.assert_close(y - noise, torch.nn.functional.avg_pool2d(x, 2), atol=1e-6, rtol=0)
    assert y.shape == (8, 1, 16, 16)


def test_learning_rate_warms_up_and_falls_to_zero():
    recipe = replace(SMALL, num_steps=1000, learning_rate=1.0)
    rates = [learning_rate(recipe, s) for s in range(1000)]
    assert rates[0] == pytest.approx(0.05)
    assert max(rates) == pytest.approx(1.0, abs=0.01)
    assert rates[-1] < 1e-4
    halving = as_in_papers(recipe)
    assert learning_rate(halving, 0) == 1e-3
    assert learning_rate(halving, 999) == pytest.approx(1e-3 / 2**9)


@pytest.mark.parametrize(("recipe", "share"), [(SMALL, 0.5), (DETAILS, 0.6)])
def test_training_teaches(recipe, share):
    progress = _drain(replace(recipe, num_steps=400, ema=0.0))
    first, last = progress.curve[0][1], progress.curve[-1][1]
    assert last < share * first


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_muon_moves_a_convolution_along_an_orthogonal_matrix(layout):
    net = make_network(SMALL).to(memory_format=layout)
    optimizer = make_optimizer(replace(SMALL, optimizer="muon", learning_rate=0.01), net)
    weights = net.mid_block[0].weight
    before, gammas = weights.detach().clone(), net.mid_block[1].gammas.detach().clone()
    grad = torch.randn(weights.shape, generator=torch.Generator().manual_seed(0))
    weights.grad = grad.clone(memory_format=torch.contiguous_format)
    optimizer.step()
    step = (before - weights.detach()).flatten(1)
    u, _, v = torch.linalg.svd(grad.flatten(1), full_matrices=False)
    # torch's iteration brings the singular values near one, not to one
    along = (u @ v * step).sum() / step.norm() / (u @ v).norm()
    assert float(along) > 0.95
    size = step.square().mean().sqrt() / 0.01
    assert 0.1 < float(size) < 0.3  # 0.2 times the rate, as Adam's
    assert torch.equal(net.mid_block[1].gammas, gammas)  # had no gradient


def test_sgd_moves_every_parameter_by_the_rate_times_a_sum_of_gradients():
    """In a direction of gradient g the step is lr·g, then lr·(.9g + g): nothing is divided out."""
    net = make_network(SMALL)
    optimizer = make_optimizer(replace(SMALL, optimizer="sgd", learning_rate=0.5), net)
    before = [p.detach().clone() for p in net.parameters()]
    generator = torch.Generator().manual_seed(0)
    grads = [torch.randn(p.shape, generator=generator) * 1e-3 for p in before]
    for _ in range(2):
        for p, grad in zip(net.parameters(), grads, strict=True):
            p.grad = grad.clone()
        optimizer.step()
    for p, old, grad in zip(net.parameters(), before, grads, strict=True):
        torch.testing.assert_close(old - p.detach(), 0.5 * (1 + 1.9) * grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "decades", "bound"),
    [((16, 144), 2, 2e-4), ((144, 32), 2, 2e-4), ((64, 576), 4, 2e-3), ((128, 576), 4, 0.08)],
)
def test_orthogonalize_is_the_polynomial_of_the_singular_values(shape, decades, bound):
    generator = torch.Generator().manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(shape, generator=generator).double(), False)
    lam = torch.logspace(0, -decades, min(shape), dtype=torch.float64)
    found = orthogonalize((u * lam @ v).float()).double()
    lam = lam / lam.norm()
    for _ in range(5):
        lam = 3.4445 * lam - 4.7750 * lam**3 + 2.0315 * lam**5
    expected = u * lam @ v
    assert float((found - expected).norm() / expected.norm()) < bound


def test_a_state_of_torchs_muon_goes_on_as_there():
    grads = [torch.randn(128, 576, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    ends = []
    for late in (torch.optim.Muon, GramMuon):
        weight = torch.nn.Parameter(torch.zeros(128, 576))
        options = {"lr": 0.1, "weight_decay": 0.0, "adjust_lr_fn": "match_rms_adamw"}
        early = torch.optim.Muon([weight], **options)
        optimizer = late([weight], **options)
        for i, grad in enumerate(grads):
            if i == 2:
                optimizer.load_state_dict(early.state_dict())
            weight.grad = grad
            (early if i < 2 else optimizer).step()
        ends.append(weight.detach())
    assert float((ends[1] - ends[0]).norm() / ends[0].norm()) < 0.03


def test_estimated_norms_are_those_of_the_data():
    images = open_images("fashion", "A", 64)
    net = make_network(SMALL)
    estimate_norms(net, SMALL, images, num_batches=1)
    norm = next(m for m in net.modules() if isinstance(m, BiasFreeNorm))
    y, _, _ = make_batch(SMALL, images, SMALL.num_steps)
    block = net.encoder[0]
    with torch.no_grad():
        inside = block[2](torch.relu(block[0](y)))
    expected = (inside.var(dim=(0, 2, 3), unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(norm.running_sd.ravel(), expected)
    assert norm.momentum == 0.1
    assert not net.training


def test_a_diverging_loss_is_reported():
    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        _drain(replace(SMALL, learning_rate=1e30, num_steps=100))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": "lion"}, "optimizer must be 'muon', 'adam' or 'sgd', not 'lion'"),
        ({"schedule": "linear"}, "schedule must be"),
        ({"architecture": "vit"}, "architecture must be one of .*'transformer'.*, not 'vit'"),
        ({"bands": "high"}, "bands must be 'low', or 'details' of a level from 1, not 'high'"),
        ({"bands": "details"}, "not 'details' of level 0"),
        ({"bands": "details", "level": 1}, "architecture must be 'bfcnn' for details"),
        ({"skip": True}, "skip must be False for a 'unet', not True"),
        ({"residual": True}, "residual must be False for a 'unet', not True"),
        ({"told_sigma": True, "architecture": "bfcnn"}, "told_sigma must be False for a 'bfcnn'"),
    ],
)
def test_wrong_recipes_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        _drain(replace(SMALL, **change))


def test_recipes_are_found_by_name_and_told_apart():
    recipe = find_recipe("fashion/N=10000/A")
    assert recipe == RECIPES["laptop"]["fashion/N=10000/A"]
    other = replace(recipe, law=SigmaLaw("log", 0.01, 1.0))
    assert fingerprint(recipe) != fingerprint(other)
    assert fingerprint(recipe) == fingerprint(replace(recipe, expected={"psnr_out.20": 30.0}))
    with pytest.raises(ValueError, match="name must be a recipe of 'laptop'"):
        find_recipe("cats")
    with pytest.raises(ValueError, match="profile must be one of"):
        find_recipe("cats", "desktop")


def test_bands_count_only_where_they_are_not_the_images():
    """Cards written before there were bands stay those of their recipes."""
    assert not {"level", "bands", "skip", "residual", "told_sigma"} & to_json(SMALL).keys()
    assert to_json(replace(DETAILS, skip=True))["skip"] is True
    assert to_json(replace(DETAILS, residual=True))["residual"] is True
    low = replace(SMALL, level=2)
    assert to_json(low)["level"] == 2
    assert to_json(DETAILS)["bands"] == "details"
    assert len({fingerprint(r) for r in (SMALL, low, replace(SMALL, level=1), DETAILS)}) == 4


def test_a_network_told_sigma_gets_it_as_a_channel_and_is_another_recipe():
    told = replace(SMALL, told_sigma=True)
    assert fingerprint(told) != fingerprint(SMALL)
    images = open_images("fashion", "A", 64, 32)
    y, noise, sigma = make_batch(told, images, 3)
    blind, same_noise, same_sigma = make_batch(SMALL, images, 3)
    assert y.shape == (8, 2, 32, 32)
    assert torch.equal(y[:, :1], blind)
    assert torch.equal(noise, same_noise)
    assert torch.equal(y[:, 1], same_sigma[:, None, None].expand(8, 32, 32))
    shapes = [{k: v.shape for k, v in make_network(r).state_dict().items()} for r in (told, SMALL)]
    changed = [k for k in shapes[0] if shapes[0][k] != shapes[1][k]]
    assert changed == ["encoder.0.0.weight"]
    named = find_recipe("told/fashion/N=10000/A")
    blind = find_recipe("fashion/N=10000/A")
    assert named == replace(blind, name=named.name, told_sigma=True)


def test_the_transformer_is_trained_as_the_unet_is():
    """Same images, law of σ, weight, batch, optimizer and rate; steps and precision are its own."""
    named, unet = find_recipe("transformer/fashion/N=10000/A"), find_recipe("fashion/N=10000/A")
    own = ("name", "architecture", "channels", "num_layers", "num_steps", "precision")
    assert named == replace(unet, **{key: getattr(named, key) for key in own})
    optimizer = make_optimizer(named, make_network(named))
    assert [len(m) for m in optimizer.matrices] == [384, 128, 512, 128] * named.num_layers


def test_local_recipes_differ_in_their_field_alone():
    local = {n: r for n, r in RECIPES["laptop"].items() if "/RF=" in n}
    assert len(local) == 2 * 3 * 5
    nets = {name: make_network(recipe) for name, recipe in local.items()}
    for name, net in nets.items():
        assert receptive_field(net) == int(name.partition("/RF=")[2])
        assert net.conv_layers[0].weight.shape[1] == (4 if "details" in name else 1)
    for images, part in product(("faces", "c_alpha"), ("pixel", "details=1", "details=2")):
        same = [r for n, r in local.items() if n.startswith(f"local/{images}/{part}/")]
        assert len(same) == 5
        alike = {replace(r, name="", channels=(), spatial_layers=None) for r in same}
        assert len(alike) == 1
        counts = {r.name: num_parameters(nets[r.name]) for r in same}
        if (images, part) in (("c_alpha", "details=1"), ("c_alpha", "details=2")):
            # one field needs the channels of a narrower one, and so more parameters
            del counts[f"local/{images}/{part}/RF=43"]
            wide, narrow = (local[f"local/{images}/{part}/RF={f}"] for f in (43, 13))
            assert wide.channels == narrow.channels
        assert max(counts.values()) < 1.25 * min(counts.values())


def test_a_and_b_share_weights_and_no_image():
    a, b = (find_recipe(f"fashion/N=10000/{s}") for s in "AB")
    assert a == replace(b, name=a.name, split="A")
