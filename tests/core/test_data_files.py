"""Files of images that are cut, changed or foreign: one line that names the file and the cure."""

import io
import pickle
import zipfile

import numpy as np
import pytest

from gahb_core.data import faces, fashion
from gahb_core.data.files import read_images


def archive(**arrays):
    """Return the bytes of an .npz file."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


WHOLE = archive(images=np.arange(40_000, dtype=np.uint32).astype(np.uint8).reshape(-1, 10, 10))
OTHER = io.BytesIO()
with zipfile.ZipFile(OTHER, "w") as _file:
    _file.writestr("images.npy", b"no array")
PLAIN = io.BytesIO()
np.save(PLAIN, np.zeros(3, np.uint8))
SPOILED = {
    "empty": b"",
    "cut": WHOLE[:-30],
    "half": WHOLE[: len(WHOLE) // 2],
    "text": b"<html>404</html>",
    "pickle": pickle.dumps({"images": 1}),
    "objects": archive(images=np.array([{}], dtype=object)),
    "another key": archive(pictures=np.zeros((2, 3, 3), np.uint8)),
    "other pixels": archive(images=np.zeros((2, 3, 3), np.uint8)),
    "no array": OTHER.getvalue(),
    "plain array": PLAIN.getvalue(),
    "flipped": WHOLE[:200] + bytes([WHOLE[200] ^ 16]) + WHOLE[201:],
}


@pytest.mark.parametrize("kind", SPOILED)
def test_a_damaged_file_is_one_line_with_its_name_and_cure(tmp_path, kind):
    path = tmp_path / "faces_64.npz"
    path.write_bytes(SPOILED[kind])
    with pytest.raises(ValueError, match="fetch it again|delete it and run 'x'") as error:
        read_images(path, "0" * 64, "delete it and run 'x'")
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)
    assert "pickle" not in str(error.value)  # no advice to load one


def test_both_sets_read_their_file_so(tmp_path, monkeypatch):
    monkeypatch.setenv("GAHB_DATA", str(tmp_path))
    (tmp_path / "faces_64.npz").write_bytes(SPOILED["half"])
    with pytest.raises(ValueError, match="is cut, changed or foreign .*'gahb fetch faces'"):
        faces.load_faces()
    monkeypatch.setattr(fashion, "EMBEDDED", tmp_path / "faces_64.npz")
    with pytest.raises(ValueError, match="get this file of the book's repository again"):
        fashion.load_embedded.__wrapped__()


def test_a_damaged_picture_of_the_archive_is_named():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("a/SMILEs/positives/1.jpg", b"no picture")
    with pytest.raises(ValueError, match="archive must hold pictures, and a/SMILEs/positives/1"):
        faces.read_archive(content.getvalue())
