"""Own images: read from a folder, and registered as an image set."""

import numpy as np
import pytest
import torch
from PIL import Image

from gahb_core.data import load_images, read_folder, register_images
from gahb_core.noise import make_generator


def draw(num, channels=3, size=8):
    generator = make_generator(0, "own")
    return torch.randint(0, 256, (num, channels, size, size), generator=generator).byte()


def write(folder, images):
    for i, x in enumerate(images):
        path = folder / f"{i % 2}" / f"{i:03}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(x.permute(1, 2, 0).numpy().squeeze()).save(path)


def test_a_folder_is_read_whole_in_colour_and_in_grey(tmp_path):
    x = draw(6)
    write(tmp_path, x)
    (tmp_path / "notes.txt").write_text("passed over")
    order = [0, 2, 4, 1, 3, 5]  # by folder, then by name
    assert torch.equal(read_folder(tmp_path, 8, 3), x[order])
    grey = read_folder(tmp_path, 8)
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    wanted = (x[order].float() * weights).sum(1, keepdim=True)
    assert float((grey.float() - wanted).abs().max()) <= 1
    half = read_folder(tmp_path, 4, 3, num=2)
    mean = torch.nn.functional.avg_pool2d(x[order][:2].float(), 2)
    assert float((half.float() - mean).abs().max()) <= 0.51
    wide = Image.fromarray(np.zeros((8, 20), np.uint8))
    wide.save(tmp_path / "0" / "wide.png")
    assert read_folder(tmp_path, 8).shape == (7, 1, 8, 8)


def test_a_folder_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="images must be a folder, and .*nowhere is none"):
        read_folder(tmp_path / "nowhere", 8)
    with pytest.raises(ValueError, match="images must be a folder of pictures .* holds none"):
        read_folder(tmp_path, 8)
    write(tmp_path, draw(3))
    for given, rule in (
        ({"channels": 2}, "channels must be 1 or 3, not 2"),
        ({"num": 4}, "num must be at most 3, the pictures of .*, not 4"),
        ({"size": 9}, r"000.png must be at least 9 pixels high and wide, not 8"),
    ):
        with pytest.raises(ValueError, match=rule):
            read_folder(**{"folder": tmp_path, "size": 8, **given})
    monkeypatch.setattr("gahb_core.data.own.MOST_BYTES", 100)
    with pytest.raises(ValueError, match="images must fit .* give num, or a smaller size"):
        read_folder(tmp_path, 8)
    monkeypatch.undo()
    (tmp_path / "cut.png").write_bytes(b"\x89PNG")
    with pytest.raises(ValueError, match="cut.png must be a whole picture"):
        read_folder(tmp_path, 8)


@pytest.mark.parametrize("halves", [False, True])
def test_splits_share_no_image_and_leave_none_out(halves):
    x = draw(25)
    for images in (x, x.float() / 255):
        dataset = register_images(images, "mine", halves)
        names = ["A", "B", "test"] if halves else ["A", "test"]
        parts = [load_images(dataset, split) for split in names]
        found = {tuple((255 * p).round().byte().flatten().tolist()) for part in parts for p in part}
        assert found == {tuple(p.flatten().tolist()) for p in x}
        assert [len(p) for p in parts] == ([12, 11, 2] if halves else [23, 2])
    assert dataset != register_images(255 - x, "mine", halves), "the name says which images"
    with pytest.raises(ValueError, match="size must be 8 for 'mine_.*', not 16"):
        load_images(dataset, "A", size=16)
    if not halves:
        with pytest.raises(ValueError, match="split must be one of .*not 'B'"):
            load_images(dataset, "B")


@pytest.mark.parametrize(
    ("images", "options", "rule"),
    [
        (2 * torch.rand(9, 1, 8, 8) - 1, {}, r"must lie in \[0, 1\], .*\(x \+ 1\)/2"),
        (255 * torch.rand(9, 1, 8, 8), {}, r"images must lie in \[0, 1\], not \[.*, 25\d\]"),
        (torch.rand(9, 8, 8), {}, r"images must be of shape \(B, C, H, W\), not \(9, 8, 8\)"),
        (torch.rand(9, 1, 8, 4), {}, "images must be square"),
        (torch.rand(1, 1, 8, 8), {}, "images must be at least 2, one a split, not 1"),
        (torch.rand(2, 1, 8, 8), {"halves": True}, "images must be at least 3"),
        (torch.rand(9, 1, 8, 8) / 0, {}, "images must be finite"),
        (
            torch.rand(9, 1, 8, 8),
            {"name": "a/b"},
            "name must be of letters, digits and _, not 'a/b",
        ),
    ],
)
def test_images_that_are_no_set_are_refused(images, options, rule):
    with pytest.raises(ValueError, match=rule):
        register_images(images, **options)
