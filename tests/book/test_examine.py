"""`gahb examine`: what it refuses, what it finds of a denoiser that is known, and its page."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from gahb_book import examine as room
from gahb_book import plots
from gahb_book.cli import main
from gahb_core import noise

SIZE = 8


def pictures(num=44, channels=3, seed=0):
    """Return smooth images (num, C, 8, 8) in [0, 1]."""
    x = torch.rand(num, channels, SIZE, SIZE, generator=noise.make_generator(seed, "pictures"))
    for _ in range(2):
        x = (x + x.roll(1, -1) + x.roll(1, -2) + x.roll((1, 1), (-1, -2))) / 4
    return (x - x.amin((1, 2, 3), True)) / (x.amax((1, 2, 3), True) - x.amin((1, 2, 3), True))


def smooth(y, sigma=None):
    """A linear denoiser, its kernel not symmetric."""
    return 0.5 * y + 0.3 * y.roll(1, -1) + 0.2 * y.roll(1, -2)


def save(folder, x):
    folder.mkdir(parents=True)
    for i, image in enumerate(plots.to_uint8(plots.to_images(x))):
        Image.fromarray(image).save(folder / f"{i:03}.png")


@pytest.fixture(scope="module")
def found():
    x = pictures()
    train = pictures(60, seed=1)
    return room.examine(
        smooth, x, 0.1, train=train, samples=train[:20], num_pairs=5, num_filters=4, name="smooth"
    )


def test_what_is_found_is_what_the_denoiser_is(found):
    first = found.numbers["first_image"]
    assert first["gap_to_jy"] < 1e-6
    assert first["largest_factor"] == pytest.approx(1, abs=1e-3)
    assert first["asymmetry"][0] == pytest.approx(0.83, abs=0.1)
    low, high = found.numbers["trace"][1:3]
    assert low < 0.5 * 3 * SIZE**2 < high
    assert found.numbers["uses_sigma"] == 0
    assert found.numbers["memorization"]["copies"][0] == 1
    assert found.numbers["memorization"]["verdict"].startswith("samples copy")
    assert found.arrays["filters"].shape == (4, 3, SIZE, SIZE)


def test_the_report_is_one_file_that_needs_nothing(found, tmp_path):
    html, numbers = room.write_report(found, tmp_path / "deep" / "out", room.load_garments())
    text = html.read_text()
    assert not re.findall(r"(?:src|href)=['\"](?!data:|#)", text)
    assert text.count("<img") == 2 * len(room.FIGURES)
    assert all(f"id='{figure.name}'" in text for figure in room.FIGURES)
    assert all("alt=''" not in line for line in text.split("<img")[1:])
    assert json.loads(numbers.read_text())["sigma"] == 0.1


def test_names_are_escaped(found, tmp_path):
    odd = room.Examination(found.numbers | {"name": "<script>x</script>"}, found.arrays)
    assert "<script>" not in room.write_report(odd, tmp_path)[0].read_text()


def test_an_examination_comes_back_from_its_file(found):
    again = room.Examination.from_bytes(found.to_bytes())
    assert again.numbers == json.loads(json.dumps(found.numbers))
    assert set(again.arrays) == set(found.arrays)
    assert np.allclose(again.arrays["lam"], found.arrays["lam"], atol=1e-2)


def test_the_garments_of_the_package_are_what_the_network_gives():
    """A part of what is kept is computed anew: the first image's factors and trace."""
    from gahb_core import experiments
    from gahb_core.data import load_images
    from gahb_core.training import load_denoiser

    kept = room.load_garments()
    y = noise.add_noise(load_images("fashion", "test", 1), 0.1, 0)
    f = load_denoiser("fashion/N=10000/A")
    anew = experiments.basis(f, y, 0.1, num=6, num_filters=0, tol=3e-3)
    assert np.allclose(anew.lam, kept.arrays["lam"][:6], atol=5e-3)
    assert anew.trace.value == pytest.approx(kept.numbers["first_image"]["trace"][0], rel=1e-3)


def test_without_training_images_nothing_is_said_of_copies():
    few = room.examine(smooth, pictures(3), 0.1, num_pairs=2, num_filters=0, num_samples=0)
    assert few.numbers["memorization"] is None
    assert "samples" not in few.arrays


def test_without_enough_held_out_images_no_null_is_given():
    train = pictures(9, seed=1)
    few = room.examine(
        smooth, pictures(3), 0.1, samples=train[:2], train=train, num_pairs=2, num_filters=0
    )
    assert "no null can be given" in few.numbers["memorization"]["verdict"]
    assert "null" not in few.arrays


X = pictures(2)
BAD = {
    "bytes": ({"images": (255 * X).byte()}, "images must be floating point in .0, 1., not bytes"),
    "signed": ({"images": 2 * X - 1}, r"images must have values in \[0, 1\].*take \(x \+ 1\) / 2"),
    "grey values": ({"images": 255 * X}, r"images must have values in \[0, 1\].*take x / 255"),
    "sigma": ({"sigma": 25}, r"sigma must be in the units of images.*as 25 grey values .* 0.098"),
    "no noise": ({"sigma": 0}, "sigma must be above 0"),
    "other size": ({"train": X[..., :4]}, r"train must hold images of \(3, 8, 8\) as images does"),
    "other channels": ({"samples": X[:, :1]}, r"samples must hold images of \(3, 8, 8\)"),
    "none": ({"images": X[:0]}, "the number of images must be at least 1"),
    "no images": ({"images": X[0]}, r"images must be of shape \(B, C, H, W\)"),
}


@pytest.mark.parametrize(("given", "message"), BAD.values(), ids=BAD)
def test_unfit_images_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        room.examine(smooth, **{"images": X, **given})


def test_a_derivative_that_lies_is_refused():
    with pytest.raises(ValueError, match="derivative"):
        room.examine(lambda y, sigma=None: 0.1 * y + smooth(y.data), X)


def test_a_network_of_another_size_is_refused_with_its_own_words():
    net = torch.nn.Conv2d(1, 1, 3, padding=1)
    with pytest.raises(ValueError, match=r"expected input.*to have 1 channels"):
        room.examine(lambda y, sigma=None: net(y), X)


# --- what the command line names ----------------------------------------------------------------


def write_module(folder, text, name="mine"):
    path = folder / f"{name}.py"
    path.write_text(text)
    return f"{path}:denoiser"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("denoiser", "denoiser must be MODULE:FUNCTION"),
        ("no_such_module_here:f", "'no_such_module_here' in .* cannot: ModuleNotFoundError"),
        ("nowhere/mine.py:f", "at .*nowhere/mine.py cannot: FileNotFoundError: there is no such"),
        ("math:nothing", "denoiser must be a function of"),
    ],
)
def test_a_module_that_cannot_be_imported_says_why(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if name == "math:nothing":
        name = write_module(tmp_path, "def other(y, sigma=None): return y", "some").replace(
            "denoiser", "nothing"
        )
    with pytest.raises(ValueError, match=message):
        room.load_function(name)


def test_a_module_that_breaks_says_where_and_why(tmp_path):
    name = write_module(tmp_path, "raise RuntimeError('no weights here')", "broken")
    with pytest.raises(ValueError, match=r"broken.py cannot: RuntimeError: no weights here"):
        room.load_function(name)


def test_a_denoiser_or_what_makes_it(tmp_path):
    text = "def denoiser(y, sigma=None):\n    return y / 2\ndef make():\n    return denoiser\n"
    name = write_module(tmp_path, text, "halves")
    y = torch.ones(1, 1, 2, 2)
    for one in (name, name.replace(":denoiser", ":make")):
        assert torch.equal(room.load_function(one)(y, 0.1), y / 2)
    write_module(tmp_path, "def denoiser():\n    return 3\n", "three")
    with pytest.raises(ValueError, match="a function that returns one; .* returned int"):
        room.load_function(f"{tmp_path / 'three.py'}:denoiser")


def test_folders_that_are_none_empty_mixed_or_cut(tmp_path):
    with pytest.raises(ValueError, match="images must be a folder of images"):
        room.read_images(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no image")
    with pytest.raises(ValueError, match="train must be a folder with images .* holds none"):
        room.read_images(tmp_path / "empty", name="train")
    save(tmp_path / "mixed", pictures(2))
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "mixed" / "other.png")
    with pytest.raises(ValueError, match=r"images must be all of one size, .*\(6, 4\): other.png"):
        room.read_images(tmp_path / "mixed")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "mixed" / "other.png")
    with pytest.raises(ValueError, match="images must be all of one channels"):
        room.read_images(tmp_path / "mixed")
    (tmp_path / "mixed" / "other.png").write_bytes(b"\x89PNG cut")
    with pytest.raises(ValueError, match="images must be whole images, and .*other.png is none"):
        room.read_images(tmp_path / "mixed")


def test_a_huge_folder_is_thinned_evenly(tmp_path):
    save(tmp_path / "many", pictures(20, 1))
    few = room.read_images(tmp_path / "many", most=5)
    assert few.shape == (5, 1, SIZE, SIZE)
    assert torch.equal(few, room.read_images(tmp_path / "many")[::4])


def test_the_command_writes_a_report_and_says_what_is_wrong(tmp_path, capsys):
    text = "def denoiser(y, sigma=None):\n    return 0.6 * y + 0.4 * y.roll(1, -1)\n"
    name = write_module(tmp_path, text, "command")
    save(tmp_path / "images", pictures(4))
    given = ["examine", name, "--images", str(tmp_path / "images"), "--device", "cpu"]
    given += ["--num-samples", "0"]
    assert main([*given, "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "report.html").exists()
    assert main([*given, "--sigma", "25"]) == 2
    assert "sigma must be in the units of images" in capsys.readouterr().err
    assert main(["examine", "nowhere.py:f", *given[2:]]) == 2
    assert "there is no such file" in capsys.readouterr().err
