"""Training below the recipes: any network, any images; and own images to a checkpoint."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from gahb_core import training
from gahb_core.data import load_images, register_images
from gahb_core.networks.models import BFCNN, UNet
from gahb_core.networks.weights import initialize
from gahb_core.noise import make_generator
from gahb_core.training import RECIPES, Recipe, fit, fit_network, make_network

SETTINGS = Recipe("own", "own", num_steps=3, batch_size=4)


def images(num=12, channels=3, size=8):
    generator = make_generator(0, "own")
    return torch.rand(num, channels, size, size, generator=generator)


def foreign():
    """A network of a kind that the book has none of: biases, and a norm over the batch."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.SiLU(),
                         nn.Conv2d(6, 3, 3, padding=1))  # fmt: skip


def test_a_recipe_is_trained_by_the_same_loop():
    recipe = replace(RECIPES["smoke"]["fashion/N=10/A"], num_steps=2)
    (wanted,) = fit(recipe)
    x = load_images(recipe.dataset, recipe.split, recipe.num, recipe.size)
    (found,) = fit_network(make_network(recipe), x, recipe)
    for key, value in wanted.net.state_dict().items():
        assert torch.equal(found.net.state_dict()[key], value), key


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("optimizer", ["muon", "adam"])
def test_a_foreign_network_learns_and_goes_on_from_its_state(tmp_path, optimizer, ema):
    settings = replace(SETTINGS, num_steps=4, optimizer=optimizer, ema=ema)
    (whole,) = fit_network(foreign(), images(), settings)
    assert not torch.equal(whole.net[0].weight, foreign()[0].weight)
    state = tmp_path / "own.state"
    broken = fit_network(foreign(), images(), settings, state, save_seconds=0, also=[2])
    assert next(broken).step == 2
    broken.close()
    (done,) = fit_network(foreign(), images(), settings, state)
    assert (done.step, done.done) == (4, True)
    for key, value in whole.net.state_dict().items():
        torch.testing.assert_close(done.net.state_dict()[key], value)
    for other in (images() * 0.5, images(11)):
        with pytest.raises(ValueError, match="state .* is of another recipe"):
            next(fit_network(foreign(), other, settings, state))
    with pytest.raises(ValueError, match="state .* must fit the network"):
        next(fit_network(BFCNN(3, 4, 3, 3), images(), settings, state))


def test_a_network_told_sigma_is_trained_as_one():
    net = initialize(BFCNN(3, 4, 4, 3), 0)
    (done,) = fit_network(net, images(), replace(SETTINGS, told_sigma=True))
    assert done.net is net


@pytest.mark.parametrize(
    ("net", "x", "rule"),
    [
        (foreign(), images(0), "images must be one or more, not none"),
        (foreign(), 2 * images() - 1, r"images must lie in \[0, 1\].*\(x \+ 1\)/2"),
        (foreign(), (255 * images()).byte(), "images must be floating point, not torch.uint8"),
        (foreign(), images(channels=1), r"net must take images \(1, 1, 8, 8\): .*channels"),
        (nn.Conv2d(3, 1, 1), images(), r"net must give the noise of .* not of shape \(1, 1, 8, 8"),
        (UNet(3, 4, channels_in=3), images(size=6), "divisible by 8"),
    ],
)
def test_what_cannot_be_trained_is_refused(net, x, rule):
    with pytest.raises(ValueError, match=rule):
        next(fit_network(net, x, SETTINGS))


@pytest.mark.parametrize("network", ["unet", "bfcnn"])
def test_own_images_in_colour_become_a_checkpoint(network, monkeypatch, tmp_path):
    monkeypatch.setenv("GAHB_CHECKPOINTS", str(tmp_path))
    dataset = register_images(images(20), "colour")
    recipe = training.own_recipe(
        dataset, network, num_steps=2, batch_size=4, channels=(4, 4) if network == "unet" else (4,)
    )
    assert (recipe.colors, recipe.size, recipe.num) == (3, 8, 18)
    *_, done = training.train(recipe.name, "smoke", recipe=recipe)
    f = training.load_own(recipe.name, "smoke")
    y = images(2)
    torch.testing.assert_close(f(y), y - done.net(y), rtol=0, atol=2e-3)  # kept in half precision
    card = tmp_path / "smoke" / f"{recipe.name}.card.json"
    card.write_text("{}")
    with pytest.raises(ValueError, match="card.json must be a checkpoint's card"):
        training.load_own(recipe.name, "smoke")
    with pytest.raises(FileNotFoundError, match="'gahb train --images FOLDER' trains one"):
        training.load_own("own/none/unet/A", "smoke")


def test_a_recipe_of_own_images_that_is_none_is_refused():
    dataset = register_images(images(20, size=6), "colour")
    assert len(training.own_recipe(dataset).channels) == 2, "one block: 6 is halved once"
    with pytest.raises(ValueError, match="network must be one of .* not 'resnet'"):
        training.own_recipe(dataset, "resnet")
    with pytest.raises(ValueError, match="num_steps must be at least 1, not 0"):
        training.own_recipe(dataset, num_steps=0)
    with pytest.raises(ValueError, match="size must be even for a 'unet', not 7"):
        training.own_recipe(register_images(images(20, size=7), "odd"))
    with pytest.raises(ValueError, match="colors must be 1 but for a 'unet' or 'bfcnn'"):
        make_network(training.own_recipe(dataset, "transformer"))
