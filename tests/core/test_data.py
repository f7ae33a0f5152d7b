import hashlib
import io
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from gahb_core import data, images
from gahb_core.data import faces, fashion, files, registry
from gahb_core.images.c_alpha import coverage


def test_c_alpha_is_its_parts_put_together():
    parts = images.make_c_alpha_parts(8, alpha=3, size=32, seed=1)
    assert torch.equal(parts.x, parts.mask * parts.below + (1 - parts.mask) * parts.above)
    ends = torch.stack([parts.below.amax((1, 2, 3)), parts.above.amax((1, 2, 3))])
    assert torch.allclose(ends.amax(0), torch.ones(8))  # one background reaches 1
    starts = torch.stack([parts.below.amin((1, 2, 3)), parts.above.amin((1, 2, 3))])
    assert torch.allclose(starts.amin(0), torch.zeros(8), atol=1e-6)  # and the other 0


def test_spectrum_of_contours_falls_with_the_power_asked_for():
    # E|FFT(C)|² at k cycles an image falls as k^(−2α); white u has a flat one
    for spectrum, decay in (("paper", 2.0), ("holder", 2.5)):
        contour = images.make_c_alpha_parts(600, 2, 64, spectrum=spectrum).contour
        power = torch.fft.rfft(contour - contour.mean(0)).abs().square().mean(0)
        k = torch.arange(2, 24, dtype=torch.float32)
        slope = np.polyfit(k.log().numpy(), power[2:24].log().numpy(), 1)[0]
        assert slope == pytest.approx(-2 * decay, abs=0.15)


def test_a_contour_outside_the_image_does_not_wrap_round():
    mask = coverage(torch.tensor([[-3.0, 40.0, 2.25]]), 8)[0, 0]
    assert torch.equal(mask[:, 0], torch.ones(8))
    assert torch.equal(mask[:, 1], torch.zeros(8))
    assert mask[:4, 2].tolist() == [0, 0, 0.25, 1]


def test_coverage_moves_with_the_contour_by_less_than_a_pixel():
    total = [float(coverage(torch.full((1, 1), c), 16).sum()) for c in (5.0, 5.3, 5.5)]
    assert total == pytest.approx([10.5, 10.2, 10.0], abs=1e-5)


def deviation_of_contours(size, **options):
    contour = images.make_c_alpha_parts(1000, 2, size, **options).contour / size
    return float((contour - 0.5).square().mean().sqrt())


def test_contours_are_the_same_part_of_the_side_at_every_size():
    fixed = {size: deviation_of_contours(size) for size in (32, 64, 128)}
    assert fixed[32] == pytest.approx(fixed[64], rel=0.08)
    assert fixed[128] == pytest.approx(fixed[64], rel=0.08)
    papers = {s: deviation_of_contours(s, amplitude="paper") for s in (64, 128)}
    assert papers[64] == pytest.approx(fixed[64], rel=1e-6)  # the same images
    assert papers[128] == pytest.approx(papers[64] / 2**0.5, rel=0.08)


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        ({"alpha": -1}, "at least 0, not -1"),
        ({"alpha": float("nan")}, "at least 0, not nan"),
        ({"background_alpha": float("nan")}, "at least 0, not nan"),
        ({"background_alpha": -1.0}, "at least 0, not -1"),
        ({"size": 3}, "at least 4, not 3"),
        ({"size": 8.0}, "a whole number at least 4, not 8.0"),
        ({"spectrum": "flat"}, "one of .'paper', 'holder'., not 'flat'"),
        ({"amplitude": "large"}, "one of .'fixed', 'paper'., not 'large'"),
        ({"num": -1}, "at least 0, not -1"),
        ({"start": -1}, "at least 0, not -1"),
        ({"seed": 0.5}, "a whole number, not 0.5"),
    ],
)
def test_wrong_c_alpha_arguments_are_refused(bad, rule):
    with pytest.raises(ValueError, match=f"{next(iter(bad))} must be {rule}"):
        images.make_c_alpha(**{"num": 1, "alpha": 2.0} | bad)


def test_disk_has_the_area_and_greys_of_its_parameters():
    p = torch.tensor([[15.3, 16.8, 7.4, 0.9, 0.2]], dtype=torch.float64)
    x = images.draw_disks(p, 32)
    area = float(((x - 0.2) / 0.7).sum())
    assert area == pytest.approx(np.pi * 7.4**2, rel=0.002)
    assert float(x.max()) == pytest.approx(0.9)
    assert float(x.min()) == pytest.approx(0.2)


def test_disks_stay_inside_and_fill_their_laws():
    p = images.make_disk_parameters(4000, 32)
    cy, cx, r = p[:, 0], p[:, 1], p[:, 2]
    assert bool(((cy >= r) & (cy <= 32 - r) & (cx >= r) & (cx <= 32 - r)).all())
    assert float(r.min()) == pytest.approx(3, abs=0.02)
    assert float(r.max()) == pytest.approx(14.5, abs=0.02)
    assert p[:, 3:].mean(0).tolist() == pytest.approx([0.5, 0.5], abs=0.02)


def test_tangent_vectors_of_a_disk_agree_with_finite_differences():
    p = torch.tensor([[15.31, 16.82, 7.43, 0.9, 0.2]], dtype=torch.float64)
    tangents = torch.autograd.functional.jacobian(lambda q: images.draw_disks(q, 32), p)[
        0, ..., 0, :
    ]
    for i in range(5):
        step = torch.zeros_like(p)
        step[0, i] = 1e-6
        difference = (images.draw_disks(p + step, 32) - images.draw_disks(p - step, 32)) / 2e-6
        assert torch.allclose(tangents[0, :, :, i], difference[0, 0], atol=1e-5)


def test_garments_are_22000_checked_and_disjoint():
    pixels = fashion.load_embedded()
    assert pixels.shape == (22_000, 28, 28)
    a, b, test = (data.load_images("fashion", s) for s in ("A", "B", "test"))
    assert (len(a), len(b), len(test)) == (10_000, 10_000, 2_000)
    assert a.shape[1:] == (1, 32, 32)
    assert float(a[:, :, :2].abs().max()) == 0  # the margin
    rows = torch.cat([a, b, test]).flatten(1)
    assert len(torch.unique(rows, dim=0)) == 22_000


def test_small_garments_are_block_means():
    small = data.load_images("fashion", "B", 5, size=16)
    large = data.load_images("fashion", "B", 5)
    torch.testing.assert_close(small, torch.nn.functional.avg_pool2d(large, 2))


def test_no_two_garments_correlate_above_the_limit():
    rows = torch.from_numpy(fashion.load_embedded()[:3000]).float().flatten(1)
    close = torch.corrcoef(rows) - torch.eye(3000)
    assert close.max() <= 0.95 + 1e-5


def test_near_duplicates_are_dropped_and_the_first_kept():
    rng = np.random.default_rng(0)
    distinct = rng.random((40, 8, 8))
    doubled = np.concatenate([distinct, distinct[:10] * 0.5 + 0.1])
    assert files.without_near_duplicates(doubled, most=50).tolist() == list(range(40))
    assert files.without_near_duplicates(doubled, most=7).tolist() == list(range(7))


def test_changed_pixels_are_refused():
    pixels = np.zeros((1, 2, 2), np.uint8)
    with pytest.raises(ValueError, match=r"here: the pixels' SHA-256 must be"):
        files.check_pixels(pixels, "0" * 64, "here")


def test_missing_faces_say_where_and_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("GAHB_DATA", str(tmp_path))
    with pytest.raises(data.MissingData, match="gahb fetch faces") as error:
        data.load_images("faces", "A")
    assert str(tmp_path) in str(error.value)


def test_a_foreign_face_file_is_refused(monkeypatch, tmp_path):
    np.savez(tmp_path / faces.FILE, images=np.zeros((3, 64, 64), np.uint8))
    monkeypatch.setenv("GAHB_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="SHA-256 must be"):
        data.load_images("faces", "A")


def _pickled(path):
    np.savez(path, images=np.array([{"a": 1}], dtype=object))


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("hello"),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-200]),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "flipped": lambda path: path.write_bytes(_flip(path.read_bytes())),
    "other names": lambda path: np.savez(path, pictures=np.zeros((3, 64, 64), np.uint8)),
    "other pixels": lambda path: np.savez(path, images=np.zeros((3, 64, 64), np.uint8)),
    "objects": _pickled,
    "one array": lambda path: path.write_bytes(_npy()),
    "a pickle": lambda path: path.write_bytes(b"\x80\x04K\x01."),
}


def _flip(content):
    return content[:300] + bytes([content[300] ^ 4]) + content[301:]


def _npy():
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_or_foreign_file_is_refused_with_its_cure(how, monkeypatch, tmp_path):
    monkeypatch.setenv("GAHB_DATA", str(tmp_path))
    monkeypatch.setattr(fashion, "EMBEDDED", tmp_path / "fashion.npz")
    fashion.load_embedded.cache_clear()
    rng = np.random.default_rng(0)
    for name, dataset, cure in (
        (faces.FILE, "faces", "delete it and run 'gahb fetch faces'"),
        ("fashion.npz", "fashion", "get this file of the book's repository again"),
    ):
        path = tmp_path / name
        np.savez_compressed(path, images=rng.integers(0, 255, (4, 64, 64), dtype=np.uint8))
        DAMAGES[how](path)
        with pytest.raises(ValueError, match=f"is cut, changed or foreign .*: {cure}") as error:
            data.load_images(dataset, "A")
        assert str(error.value).startswith(str(path))
    fashion.load_embedded.cache_clear()


def _jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=100)
    return buffer.getvalue()


def _archive() -> tuple[bytes, np.ndarray]:
    """Return a zip like the archive, of two crops, one of them twice, and the first by path."""
    rng = np.random.default_rng(1)
    first, second = (rng.integers(0, 255, (64, 64), dtype=np.uint8) for _ in range(2))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, pixels in (("b/2.jpg", first), ("a/1.jpg", second), ("c/3.jpg", first)):
            file.writestr(f"repo-main/SMILEs/{name}", _jpeg(pixels))
        file.writestr("repo-main/README.md", b"no image")
    return buffer.getvalue(), second


def test_archive_is_read_by_path_as_grey_without_exact_duplicates():
    archive, first = _archive()
    found = faces.read_archive(archive)
    assert found.shape == (2, 64, 64)
    assert np.abs(found[0].astype(int) - first).mean() < 3


def test_faces_are_fetched_whole_or_not_at_all(monkeypatch, tmp_path):
    archive, file = _archive()[0], tmp_path / "master.zip"
    monkeypatch.setenv("GAHB_DATA", str(tmp_path / "data"))
    with pytest.raises(data.MissingData, match=r"master.zip could not .* by hand to .*64\.npz"):
        faces.fetch_faces(file.as_uri())
    for content, message in (
        (archive[:-40], "archive must be a whole zip file"),
        (archive, "master.zip: the pixels' SHA-256 must be"),
    ):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            faces.fetch_faces(file.as_uri())
    assert not (tmp_path / "data").exists()
    pixels = faces.read_archive(archive)
    monkeypatch.setattr(faces, "SHA256", hashlib.sha256(pixels.tobytes()).hexdigest())
    path = faces.fetch_faces(file.as_uri())
    np.testing.assert_array_equal(np.load(path)["images"], pixels)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.load_images("cats", "A"), "dataset must be of"),
        (lambda: data.load_images("c_alpha", "A", 2), "needs alpha"),
        (lambda: data.load_images("c_alpha/beta=2", "A", 2), "options of .* must be of"),
        (lambda: data.load_images("fashion", "C"), "split must be one of"),
        (lambda: data.load_images("fashion", "A", 10_001), "num must be at most 10000"),
        (
            lambda: data.load_images("fashion", "A", size=40),
            "size of 'fashion' must be at most 32",
        ),
        (lambda: data.load_images("disks", "A"), "num must be given"),
        (lambda: data.load_images("fashion", "A", 2, size=0), "size must be at least 1, not 0"),
        (lambda: data.load_images("disks", "A", 2, size=0), "size must be at least 1, not 0"),
        (lambda: data.load_images("fashion", "A", 2, size=2.5), "size .* whole number .* 2.5"),
        (lambda: data.load_images("fashion", "A", 2.5), "num .* whole number .* 2.5"),
        (lambda: data.load_images("fashion", "A", 0), "num must be at least 1, not 0"),
        (lambda: data.open_images("c_alpha/alpha=nan", "A"), "alpha of .* at least 0, not 'nan'"),
        (lambda: data.open_images("c_alpha/alpha=two", "A"), "alpha of .* a number.* not 'two'"),
        (lambda: data.open_images("disks", "A", size=8), "size must be at least 10, not 8"),
        (
            lambda: data.open_images("c_alpha/alpha=2/spectrum=flat", "A"),
            "spectrum must be one of",
        ),
        (
            lambda: data.open_images("fashion", "A", 5).take(torch.tensor([-1])),
            "indices must lie in 0 … 4, not -1",
        ),
        (
            lambda: data.open_images("disks", "A").take(torch.tensor([0.5])),
            r"indices must be whole numbers \(n,\), not torch.float32 \(1,\)",
        ),
        (lambda: images.make_disks(1, size=10.5), "size must be a whole number at least 10"),
        (lambda: images.draw_disks(torch.ones(2, 4)), r"parameters must be of shape \(B, 5\)"),
        (lambda: images.draw_disks(torch.ones(2, 5).long()), "must be floating point"),
        (lambda: images.pixel_permutation(-3), "num must be at least 0, not -3"),
        (lambda: images.shuffle_pixels(torch.ones(4)), r"x must be images \(..., H, W\)"),
        (
            lambda: images.tangent_vectors(images.draw_disks, torch.ones(0, 5)),
            r"parameters must be \(N, P\), N ≥ 1, not \(0, 5\)",
        ),
        (lambda: images.make_disks(1, size=8), "size must be at least 10"),
    ],
)
def test_wrong_names_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_splits_of_made_images_differ_and_indices_may_jump():
    a, b = (data.load_images("c_alpha/alpha=2", s, 3, size=16) for s in "AB")
    assert not torch.allclose(a, b)
    jumps = registry.open_images("c_alpha/alpha=2", "A", size=16).take(torch.tensor([2, 0]))
    assert torch.allclose(jumps, a[[2, 0]], atol=1e-6)


def test_area_average_of_whole_and_broken_ratios():
    x = torch.rand(3, 1, 12, 12, dtype=torch.float64)
    assert torch.allclose(images.resize_area(x, 4), torch.nn.functional.avg_pool2d(x, 3))
    small = images.resize_area(x, 5)
    assert torch.allclose(small.mean((2, 3)), x.mean((2, 3)))  # area is kept at any ratio
    assert torch.allclose(images.resize_area(torch.ones(1, 1, 12, 12), 7), torch.ones(1, 1, 7, 7))
    with pytest.raises(ValueError, match="size must lie in 1 … 12, not 13"):
        images.resize_area(x, 13)
    with pytest.raises(ValueError, match="x must be floating point, not torch.uint8"):
        images.resize_area((200 * x).to(torch.uint8), 4)
