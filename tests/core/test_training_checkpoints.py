import hashlib
import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from gahb_core import training
from gahb_core.data import load_images
from gahb_core.files import Locked
from gahb_core.multiscale.haar import haar_level, haar_merge
from gahb_core.noise import add_noise, sigma_from_psnr
from gahb_core.training import find_recipe, fingerprint

NAME = "fashion/N=10000/A"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with one small checkpoint, trained for this."""
    folder = tmp_path_factory.mktemp("checkpoints")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAHB_CHECKPOINTS", str(folder))
        training.load(NAME, "smoke")
    return folder


@pytest.fixture
def shelf(trained, tmp_path, monkeypatch):
    """A copy of it that a test may spoil: (weights, card)."""
    monkeypatch.setenv("GAHB_CHECKPOINTS", str(tmp_path))
    for source in trained.rglob("*.*"):
        target = tmp_path / source.relative_to(trained)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    weights, card, state = training.paths(NAME, "smoke")
    assert not state.exists()
    return weights, card


def test_a_checkpoint_comes_back_with_its_card(shelf):
    net, card = training.load(NAME, "smoke")
    assert not net.training
    assert card["fingerprint"] == fingerprint(find_recipe(NAME, "smoke"))
    assert card["training"]["images"] == 40 * 8
    assert len(card["psnr_out"]["test"]) == len(card["psnr_out"]["psnr_in"]) == 8
    assert abs(card["half_precision_costs_db"]) < 1
    again = training.load(NAME, "smoke").net
    y = torch.rand(1, 1, 32, 32)
    assert torch.equal(net(y), again(y))
    assert training.checkpoint_status(NAME, "smoke") == "trained"


def test_the_denoiser_is_the_folded_network(shelf):
    f, net = training.load_denoiser(NAME, "smoke"), training.load(NAME, "smoke").net
    y = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(f(y), y - net(y), atol=1e-5, rtol=1e-4)


def test_a_network_told_sigma_is_not_blind(tmp_path, monkeypatch):
    monkeypatch.setenv("GAHB_CHECKPOINTS", str(tmp_path))
    f = training.load_denoiser("told/fashion/N=10000/A", "smoke")
    x = load_images("fashion", "test", 2)
    y = add_noise(x, 0.2, seed=0)
    net = training.load("told/fashion/N=10000/A", "smoke").net
    level = torch.tensor([0.1, 0.3])
    level_map = level[:, None, None, None].expand(2, 1, 32, 32)
    expected = y - net(torch.cat([y, level_map], 1))
    torch.testing.assert_close(f(y, level), expected, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(f(y, 0.1), f(y, 0.3), atol=1e-3)  # it listens
    torch.testing.assert_close(f(2 * y, 2 * level), 2 * f(y, level), atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="not blind"):
        f(y)


def test_a_transformer_comes_back_in_half_precision_and_blind(tmp_path, monkeypatch):
    monkeypatch.setenv("GAHB_CHECKPOINTS", str(tmp_path))
    name = "transformer/fashion/N=10000/A"
    f, (net, card) = training.load_denoiser(name, "smoke"), training.load(name, "smoke")
    y = add_noise(load_images("fashion", "test", 2), 0.2, seed=0)
    torch.testing.assert_close(f(y), y - net(y), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(f(3 * y), 3 * f(y), atol=1e-5, rtol=1e-4)
    assert card["parameters"] == sum(p.numel() for p in net.parameters())
    assert torch.equal(net.embed.weight, net.embed.weight.half().float())
    assert not net.training


LOW, FINE, COARSE = (f"local/c_alpha/{n}" for n in ("low", "details=1/RF=9", "details=2/RF=5"))


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A folder with a small low-pass network and two of details, trained for this."""
    folder = tmp_path_factory.mktemp("local")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAHB_CHECKPOINTS", str(folder))
        for name in (LOW, FINE, COARSE):
            training.load(name, "smoke")
    return folder


@pytest.fixture
def on_local(local, monkeypatch):
    monkeypatch.setenv("GAHB_CHECKPOINTS", str(local))


def test_the_card_of_details_tells_what_they_gain_given_the_clean_low_band(on_local):
    net, card = training.load(COARSE, "smoke")
    images = load_images("c_alpha/alpha=2", "test", 256, 64)
    low, details = torch.nn.functional.avg_pool2d(images, 4), haar_level(images, 2).details
    for psnr_in, told in zip(card["psnr_out"]["psnr_in"], card["psnr_out"]["test"], strict=True):
        y = add_noise(details, sigma_from_psnr(psnr_in), seed=1)
        with torch.no_grad():
            errors = y - net(torch.cat([low, y], 1)) - details
        found = -10 * errors.square().flatten(1).mean(1).log10().mean()
        assert float(found) == pytest.approx(told, abs=0.01)


def test_details_come_back_as_a_denoiser_told_the_low_band(on_local):
    f, net = training.load_denoiser(COARSE, "smoke"), training.load(COARSE, "smoke").net
    y, low = torch.rand(2, 3, 16, 16) - 0.5, torch.rand(2, 1, 16, 16)
    torch.testing.assert_close(
        f(y, condition=low), y - net(torch.cat([low, y], 1)), atol=1e-5, rtol=1e-4
    )


def test_a_whole_system_comes_back_by_names(on_local):
    f = training.load_multiscale(LOW, [FINE, COARSE], "smoke")
    parts = [training.load_denoiser(name, "smoke") for name in (LOW, COARSE, FINE)]
    y = torch.rand(2, 1, 64, 64)
    x = parts[0](torch.nn.functional.avg_pool2d(y, 4))
    x = haar_merge(x, parts[1](haar_level(y, 2).details, condition=x))
    x = haar_merge(x, parts[2](haar_level(y, 1).details, condition=x))
    torch.testing.assert_close(f(y), x)
    for low, details in ((FINE, [FINE]), (LOW, [LOW]), (LOW, [FINE, NAME])):
        with pytest.raises(ValueError, match="low must be the network of a low band, details"):
            training.load_multiscale(low, details, "smoke")


def test_details_of_another_level_are_refused(on_local):
    other = replace(find_recipe(COARSE, "smoke"), level=1)
    with pytest.raises(ValueError, match="is of another recipe"):
        training.load(COARSE, "smoke", recipe=other)


def test_a_cut_file_is_refused(shelf):
    shelf[0].write_bytes(shelf[0].read_bytes()[:-100])
    with pytest.raises(ValueError, match="SHA-256 must be its card's"):
        training.load(NAME, "smoke")


def test_a_pickle_in_place_of_weights_is_refused_unread(shelf):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(shelf[0].parent / "exploded"),))

    content = pickle.dumps(Bomb())
    shelf[0].write_bytes(content)
    with pytest.raises(ValueError, match="SHA-256 must be its card's"):
        training.load(NAME, "smoke")
    card = json.loads(shelf[1].read_text())
    card["sha256"] = hashlib.sha256(content).hexdigest()
    shelf[1].write_text(json.dumps(training.hash_card(card)))
    with pytest.raises(ValueError, match="must be a safetensors file"):
        training.load(NAME, "smoke")
    assert not (shelf[0].parent / "exploded").exists()


def test_a_card_of_another_recipe_is_refused(shelf):
    other = replace(find_recipe(NAME, "smoke"), num_steps=41)
    with pytest.raises(ValueError, match="is of another recipe"):
        training.load(NAME, "smoke", recipe=other)


def test_a_checkpoint_of_another_recipe_is_not_trained(shelf):
    card = json.loads(shelf[1].read_text())
    training.write_card(shelf[1], card | {"fingerprint": "0" * 16})
    assert training.checkpoint_status(NAME, "smoke") == "outdated"
    shelf[1].write_text("{")
    assert training.checkpoint_status(NAME, "smoke") == "outdated"


@pytest.mark.parametrize("key", ["sha256", "psnr_out", "fingerprint", "training"])
def test_a_card_that_lacks_a_key_is_refused(shelf, key):
    card = json.loads(shelf[1].read_text())
    del card[key]
    shelf[1].write_text(json.dumps(card))
    with pytest.raises(ValueError, match=f"must be a checkpoint's card: of its keys differ {key}"):
        training.load(NAME, "smoke")
    assert training.checkpoint_status(NAME, "smoke") == "outdated"


def test_a_card_whose_figures_were_changed_is_refused(shelf):
    card = json.loads(shelf[1].read_text())
    assert card == training.hash_card(card)
    card["psnr_out"]["test"][0] += 0.001
    shelf[1].write_text(json.dumps(card))
    with pytest.raises(ValueError, match="its card_sha256 is not that of its figures"):
        training.load(NAME, "smoke")
    del card["card_sha256"]  # as cards were before they had one
    shelf[1].write_text(json.dumps(card))
    assert training.load(NAME, "smoke").card == card


@pytest.mark.parametrize("at", range(5, 95, 10))
def test_a_flipped_bit_of_a_card_is_refused(shelf, at):
    content = bytearray(shelf[1].read_bytes())
    content[len(content) * at // 100] ^= 4
    shelf[1].write_bytes(content)
    with pytest.raises(ValueError, match="card"):
        training.load(NAME, "smoke")


def test_another_training_of_the_recipe_is_refused_and_names_its_process(shelf):
    code = (
        "import time; from gahb_core import training\n"
        f"for _ in training.train({NAME!r}, 'smoke'):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        with pytest.raises(Locked, match=f"is being made by process {holder.pid} on"):
            next(training.train(NAME, "smoke"))
        holder.kill()
    assert training.load(NAME, "smoke").card["name"] == NAME


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "x"}'])
def test_a_broken_card_is_refused(shelf, text):
    shelf[1].write_text(text)
    with pytest.raises(ValueError, match="must be a checkpoint's card"):
        training.load(NAME, "smoke")


def test_a_missing_checkpoint_says_how_to_train_it(shelf):
    with pytest.raises(FileNotFoundError, match=r"'gahb train c_alpha/alpha=2 --profile paper'"):
        training.load("c_alpha/alpha=2", "paper")
    assert training.checkpoint_status("c_alpha/alpha=2", "paper") == "missing"


def test_an_interrupted_training_goes_on_from_its_state(shelf, monkeypatch):
    for path in shelf:
        path.unlink()
    state = training.paths(NAME, "smoke")[2]
    state.write_bytes(b"cut short")
    assert training.checkpoint_status(NAME, "smoke") == "unfinished"
    with pytest.raises(ValueError, match="delete it to start anew"):
        training.load(NAME, "smoke")


def test_shipped_checkpoints_are_whole_and_light():
    cards = sorted(training.folder().glob("laptop/**/*.card.json"))
    assert cards
    total = 0
    for path in cards:
        card = json.loads(path.read_text())
        assert card == training.hash_card(card), (
            f"{path} is not sealed: write it anew with checkpoints.write_card"
        )
        assert training.load(card["name"]).card["name"] == card["name"]
        total += training.paths(card["name"])[0].stat().st_size
        for key, value in find_recipe(card["name"]).expected.items():
            psnr_in = int(key.removeprefix("psnr_out."))
            found = card["psnr_out"]["test"][card["psnr_out"]["psnr_in"].index(psnr_in)]
            assert found == pytest.approx(value, abs=0.3), (path.name, key)
    assert total < 80e6
