"""A reader's picture: righted, made grey and square, or refused, whatever the file."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from gahb_core import data


def make_grey(height=40, width=40):
    """Return grey values in 20 … 220 that tell every way up apart: bright at the bottom right."""
    rows, columns = np.mgrid[0:height, 0:width]
    return (20 + 120 * rows / height + 80 * columns / width).round().astype(np.uint8)


def save(picture, path, **options):
    picture.save(path, **options)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_stands_as_its_camera_noted(orientation, tmp_path):
    upright = Image.fromarray(make_grey())
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(turns[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    x = data.load_picture(save(stored, tmp_path / "photo.png", exif=exif))
    assert np.array_equal((x[0, 0].numpy() * 255).round(), make_grey())


GREY = make_grey().astype(np.float64) / 255
KINDS = {
    "grey": (Image.fromarray(make_grey()), "a.png", 1e-6),
    "colour": (Image.merge("RGB", [Image.fromarray(make_grey())] * 3), "a.png", 0.003),
    "jpeg": (Image.fromarray(make_grey()).convert("RGB"), "a.jpg", 0.02),
    "palette": (Image.fromarray(make_grey()).convert("P"), "a.png", 0.003),
    "opaque": (Image.fromarray(make_grey()).convert("RGBA"), "a.png", 0.003),
    "cmyk": (Image.fromarray(make_grey()).convert("RGB").convert("CMYK"), "a.tif", 0.003),
    "16 bits": (Image.fromarray((GREY * 65535).round().astype(np.uint16)), "a.png", 1e-4),
    "16 bits tiff": (Image.fromarray((GREY * 65535).round().astype(np.uint16)), "a.tif", 1e-4),
    "float": (Image.fromarray(GREY.astype(np.float32)), "a.tif", 1e-6),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_gives_the_same_picture(kind, tmp_path):
    picture, name, tolerance = KINDS[kind]
    x = data.load_picture(save(picture, tmp_path / name))
    assert (x.shape, x.dtype) == ((1, 1, 40, 40), torch.float32)
    np.testing.assert_allclose(x[0, 0].numpy(), GREY, rtol=0, atol=tolerance)


def test_the_transparent_is_white_and_an_array_is_a_picture_too(tmp_path):
    alpha = np.zeros((40, 40), np.uint8)
    alpha[:20] = 255
    picture = Image.merge("LA", [Image.fromarray(make_grey()), Image.fromarray(alpha)])
    x = data.load_picture(save(picture, tmp_path / "a.png"))[0, 0]
    np.testing.assert_allclose(x[:20].numpy(), GREY[:20], rtol=0, atol=0.003)
    assert bool((x[20:] == 1).all())
    assert torch.equal(data.load_picture(make_grey())[0, 0].double() * 255, images_of(make_grey()))


def images_of(grey):
    return torch.from_numpy(grey.astype(np.float32) / 255).double() * 255


def test_the_centre_square_is_averaged_down_and_never_up():
    x = data.load_picture(make_grey(30, 60), most=15)
    wanted = make_grey(30, 60)[:, 15:45].reshape(15, 2, 15, 2).mean((1, 3)) / 255
    np.testing.assert_allclose(x[0, 0].numpy(), wanted, rtol=0, atol=1e-6)
    assert data.load_picture(make_grey(30, 60), most=99).shape == (1, 1, 30, 30)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((40, 40), np.uint8), "must have contrast: its square is 0 all over"),
        (np.full((40, 40), 0.5, np.float32), "must have contrast: its square is 0.5 all over"),
        (np.full((40, 40), np.nan, np.float32), r"values in 0 … 1 \(mode F\), not nan … nan"),
        (255 * GREY.astype(np.float32), r"must have values in 0 … 1 \(mode F\), not 20 … 215"),
        (GREY.astype(np.float32) - 1, r"must have values in 0 … 1 \(mode F\), not -0.9"),
        (np.full((40, 40), 70_000, np.int32), r"must have values in 0 … 65535 \(mode I\)"),
        (make_grey(11, 40), "must be at least 32 pixels high and wide, not 11"),
        (make_grey()[None, None], "must be a whole picture"),
        (GREY.astype(complex), "must be a whole picture"),
    ],
)
def test_what_cannot_be_shown_is_refused(array, message):
    with pytest.raises(ValueError, match=message) as error:
        data.load_picture(array, least=32)
    assert str(error.value).startswith(f"array {array.dtype} {array.shape}")


def test_files_that_are_no_whole_picture_are_named(tmp_path):
    content = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (80, 80), dtype=np.uint8)
    Image.fromarray(noise).save(content, "PNG")
    whole = content.getvalue()
    rng = np.random.default_rng(1)
    damaged = [whole[:k] for k in (0, 1, 8, 20, 33, 40, 100, len(whole) // 2, len(whole) - 20)]
    damaged += [b"no picture", b"\x00" * 500, rng.bytes(500), whole[50:]]
    for k, content in enumerate(damaged):
        path = tmp_path / f"cut{k}.png"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"cut{k}.png must be a whole picture"):
            data.load_picture(path)
    with pytest.raises(FileNotFoundError, match="none.png"):
        data.load_picture(tmp_path / "none.png")
    with pytest.raises(ValueError, match="most must be at least 32, not 16"):
        data.load_picture(tmp_path / "none.png", most=16, least=32)
