"""Every family of images, by the table of them."""

import pytest
import torch
from extras import needs_book

from gahb_core import data, denoisers, images
from gahb_core.data import FAMILIES, MissingData

EXAMPLES = {float: 2, str: None}  # a value of a needed option
MADE = [name for name, family in FAMILIES.items() if family.make]
LOADED = [name for name, family in FAMILIES.items() if family.load]
DRAWN = [name for name, family in FAMILIES.items() if family.draw]


def dataset_of(name):
    """Return the name of a data set of a family: with the options that it needs."""
    family = FAMILIES[name]
    return "/".join([name, *(f"{key}={EXAMPLES[family.options[key]]}" for key in family.needed)])


def load(*call):
    try:
        return data.load_images(*call)
    except MissingData as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_made_or_loaded(name):
    family = FAMILIES[name]
    assert family.name == name
    assert (family.make is None) != (family.load is None)
    assert set(family.needed) <= set(family.options)
    assert (family.draw is None) == (family.sample_parameters is None)
    assert family.denoiser is None or callable(getattr(denoisers, family.denoiser))
    assert f'"{name}" (default {family.size}' in data.load_images.__doc__
    assert family.load or data.locate(dataset_of(name)) == "made"


@pytest.mark.parametrize("name", FAMILIES)
def test_images_of_a_family_are_grey_and_its_splits_differ(name):
    x, other = (load(dataset_of(name), split, 4) for split in "AB")
    size = FAMILIES[name].size
    assert x.shape == (4, 1, size, size)
    assert x.dtype == torch.float32
    assert 0 <= float(x.min()) <= float(x.max()) <= 1
    assert not torch.equal(other, x)
    assert not torch.equal(x[0], x[1])
    opened = data.open_images(dataset_of(name), "A")
    assert (opened.num is None) == (name in MADE)
    torch.testing.assert_close(opened.take(torch.tensor([3, 1])), x[[3, 1]], rtol=0, atol=1e-6)
    assert opened.take(torch.tensor([], dtype=torch.long)).shape == (0, 1, size, size)
    mixed = data.load_images(f"shuffled/{dataset_of(name)}", "A", 4)
    assert torch.equal(mixed, images.shuffle_pixels(x))


@pytest.mark.parametrize("name", MADE)
def test_made_image_17_is_the_same_alone_or_in_a_batch(name):
    make, given = FAMILIES[name].make, data.registry.parse_name(dataset_of(name))[1]
    batch = make(num=20, size=24, seed=5, **given)
    alone = make(num=3, size=24, seed=5, start=17, **given)
    torch.testing.assert_close(batch[17:], alone, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="num must be given"):
        data.load_images(dataset_of(name), "A")


@pytest.mark.parametrize("name", DRAWN)
def test_parameters_drawn_are_the_images_made(name):
    family = FAMILIES[name]
    parameters = family.sample_parameters(num=3, size=12, seed=1, start=2)
    made = family.make(3, size=12, seed=1, start=2)
    torch.testing.assert_close(family.draw(parameters, 12), made)


@pytest.mark.parametrize("name", DRAWN)
def test_tangent_vectors_are_differences(name):
    family = FAMILIES[name]
    parameters = family.sample_parameters(num=2, size=32, seed=0, start=0).double()

    def draw(p):
        return family.draw(p, 32)

    tangents, step = images.tangent_vectors(draw, parameters), 1e-6
    for k in range(parameters.shape[1]):
        move = step * torch.eye(parameters.shape[1]).double()[k]
        wanted = (draw(parameters + move) - draw(parameters - move)) / (2 * step)
        torch.testing.assert_close(tangents[:, k], wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", LOADED)
def test_what_is_missing_says_what_brings_it(name, monkeypatch, tmp_path):
    monkeypatch.setenv("GAHB_DATA", str(tmp_path))
    if FAMILIES[name].fetch is None:
        assert data.locate(name) == data.fetch(name)
        return
    with pytest.raises(MissingData, match=f"'gahb fetch {name}'"):
        data.locate(name)


@needs_book
def test_the_command_line_fetches_every_set_that_can_be_fetched():
    from gahb_book import cli

    assert {name for name in LOADED if FAMILIES[name].fetch} < set(cli.FETCHED)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_wrong_option_is_refused(name):
    with pytest.raises(ValueError, match=f"options of '{name}' must be of .*, not 'colour=1'"):
        data.open_images(f"{name}/colour=1", "A")
    for key in FAMILIES[name].needed:
        with pytest.raises(ValueError, match=f"dataset '{name}' needs {key}"):
            data.open_images(name, "A")


# --- ellipses -------------------------------------------------------------------------------


def parameters_of(num, size=32):
    return FAMILIES["ellipses"].sample_parameters(num, size, 0, 0).double()


def test_a_round_ellipse_is_a_disk():
    disks = images.make_disk_parameters(20).double()
    turned = torch.rand(20, 1, dtype=torch.float64)
    same = torch.cat([disks[:, :3], disks[:, 2:3], turned, disks[:, 3:]], 1)
    found = FAMILIES["ellipses"].draw(same, 32)
    torch.testing.assert_close(found, images.draw_disks(disks, 32), rtol=0, atol=1e-5)


def test_an_ellipse_has_its_area_and_moments():
    p = parameters_of(40, 64)
    p[:, 5], p[:, 6] = 1, 0
    mask = FAMILIES["ellipses"].draw(p, 64)[:, 0]
    cy, cx, a, b, angle = p[:, :5].unbind(1)
    area = mask.sum((1, 2))
    torch.testing.assert_close(area, torch.pi * a * b, rtol=0.015, atol=0)
    grid = torch.arange(64).double() + 0.5
    down, right = grid[:, None] - cy[:, None, None], grid - cx[:, None, None]
    for first, second, wanted in (
        (down, down, a**2 * angle.sin() ** 2 + b**2 * angle.cos() ** 2),
        (right, right, a**2 * angle.cos() ** 2 + b**2 * angle.sin() ** 2),
        (down, right, (b**2 - a**2) * angle.sin() * angle.cos()),
    ):
        found = (mask * first * second).sum((1, 2)) / area  # ∫ over an ellipse: (half-width)²/4
        torch.testing.assert_close(found, wanted / 4, rtol=0.03, atol=0.2)


def test_ellipses_stay_inside_and_fill_their_laws():
    p = parameters_of(4000)
    cy, cx, a, b, angle, front, back = p.unbind(1)
    h = (a**2 * angle.sin() ** 2 + b**2 * angle.cos() ** 2).sqrt()
    w = (a**2 * angle.cos() ** 2 + b**2 * angle.sin() ** 2).sqrt()
    uniform = [(a - 3) / 11.5, (b - 3) / 11.5, angle / torch.pi, front, back]
    uniform += [(cy - h) / (32 - 2 * h), (cx - w) / (32 - 2 * w)]
    for u in uniform:  # Kolmogorov–Smirnov at 1e-3, and all of [0, 1)
        steps = torch.arange(1, 4001).double() / 4000
        assert float((u.sort().values - steps).abs().max()) < 1.95 / 4000**0.5
        assert 0 <= float(u.min()) <= float(u.max()) < 1 + 1e-6
    together = torch.corrcoef(torch.stack(uniform)) - torch.eye(7)
    assert float(together.abs().max()) < 0.06


def test_ellipses_refuse_what_they_cannot_draw():
    with pytest.raises(ValueError, match="size must be at least 10, not 9"):
        data.open_images("ellipses", "A", size=9)
    with pytest.raises(ValueError, match=r"parameters must be of shape \(B, 7\)"):
        FAMILIES["ellipses"].draw(torch.ones(2, 5), 32)
