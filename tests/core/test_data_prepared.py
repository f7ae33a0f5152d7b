"""CelebA and LSUN: read from tiny files of their formats."""

import hashlib
import io
import json
import sys
import weakref
import zipfile

import numpy as np
import pytest
import torch
from extras import needs_book, needs_lmdb
from PIL import Image

from gahb_core import data, images
from gahb_core.data import celeba_lsun, files, prepared

NUM, DISTINCT = 60, 45  # pictures, the last 15 of them near-duplicates of the first 15


def make_pixels(index, height=44, width=36):
    """Return colour picture `index`: the noise of one grey, a little red."""
    grey = np.random.default_rng(index % DISTINCT).integers(0, 200, (height, width))
    fade = 0.8 if index >= DISTINCT else 1.0
    return np.stack([fade * grey + 10, fade * grey, fade * grey], -1).round().astype(np.uint8)


class Pictures:
    """A source that makes its pictures, counts them and knows how many are alive."""

    def __init__(self, num=NUM, stop=None):
        self.num, self.stop, self.made, self.alive, self.most_alive = num, stop, 0, 0, 0

    def __len__(self):
        return self.num

    def _gone(self):
        self.alive -= 1

    def __getitem__(self, index):
        if self.made == self.stop:
            raise KeyboardInterrupt
        picture = Image.fromarray(make_pixels(index))
        self.made += 1
        self.alive += 1
        self.most_alive = max(self.most_alive, self.alive)
        weakref.finalize(picture, self._gone)
        return picture


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The data folder, for sets of A and B of 16 images and at least 4 test images."""
    monkeypatch.setenv("GAHB_DATA", str(tmp_path))
    monkeypatch.setattr(prepared, "MOST_A", 16)
    monkeypatch.setattr(prepared, "LEAST_TEST", 4)
    for module in (prepared, files):
        monkeypatch.setattr(module, "BLOCK", 8)
    prepared._load.cache_clear()
    return tmp_path


@pytest.fixture
def source(folder, monkeypatch):
    """Sources made of `Pictures`: set its value to another one."""
    chosen = [Pictures()]
    monkeypatch.setattr(prepared, "open_source", lambda name: chosen[0])
    return chosen


def make_celeba(folder, monkeypatch, num=NUM):
    """Write a tiny archive of CelebA, its pictures in no order, and return its path."""
    monkeypatch.setattr(celeba_lsun, "CELEBA_NUM", NUM)
    path = folder / "celeba" / "img_align_celeba.zip"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as file:
        for i in np.random.default_rng(0).permutation(num):
            content = io.BytesIO()
            Image.fromarray(make_pixels(i)).save(content, "JPEG", quality=100)
            file.writestr(f"img_align_celeba/{i + 1:06}.jpg", content.getvalue())
        file.writestr("img_align_celeba/readme.txt", "no picture")
    return path


def make_lsun(folder):
    """Write a tiny database of LSUN bedrooms."""
    import lmdb

    path = folder / "lsun" / "bedroom_train_lmdb"
    path.mkdir(parents=True)
    with lmdb.open(str(path), map_size=2**24) as env, env.begin(write=True) as entries:
        for i in range(NUM):
            content = io.BytesIO()
            Image.fromarray(make_pixels(i, 40, 52)).save(content, "WEBP", lossless=True)
            entries.put(hashlib.sha1(bytes([i])).hexdigest().encode(), content.getvalue())


# --- the sources --------------------------------------------------------------------------------


def test_celeba_from_its_files_to_disjoint_splits(folder, monkeypatch):
    make_celeba(folder, monkeypatch)
    path = data.fetch("celeba", size=30, say=lambda line: None)
    assert path == str(folder / "celeba_30.npy")
    splits = {s: data.load_images("celeba", s, size=30) for s in ("A", "B", "test")}
    assert [len(x) for x in splits.values()] == [16, 16, 8]
    x = torch.cat(list(splits.values()))
    assert x.shape == (40, 1, 30, 30)
    assert x.dtype == torch.float32
    assert 0 <= float(x.min()) < 0.3 < 0.6 < float(x.max()) <= 1
    assert float((torch.corrcoef(x.flatten(1)) - torch.eye(40)).max()) < 0.9
    grey = [Image.fromarray(make_pixels(i)).convert("L").crop((0, 4, 36, 40)) for i in range(NUM)]
    square = torch.from_numpy(np.stack([np.asarray(g, np.float32) for g in grey])) / 255
    wanted = images.resize_area(square, 30).flatten(1)  # an image is one of these, but for JPEG's
    distance = torch.cdist(x.flatten(1), wanted).amin(1) / 30
    assert float(distance.max()) < 0.02


def test_celeba_is_the_same_from_its_folder(folder, monkeypatch):
    path = make_celeba(folder, monkeypatch)
    first = prepared.prepare("celeba", 30, say=lambda line: None).read_bytes()
    with zipfile.ZipFile(path) as file:
        file.extractall(path.parent)
    path.unlink()
    for made in folder.glob("celeba_30.*"):
        made.unlink()
    prepared._load.cache_clear()
    assert prepared.prepare("celeba", 30, say=lambda line: None).read_bytes() == first


@needs_lmdb
def test_lsun_from_its_database(folder):
    make_lsun(folder)
    data.fetch("lsun", size=24, say=lambda line: None)
    x = data.load_images("lsun", "B", 3, size=24)
    squares = torch.stack(
        [
            torch.from_numpy(prepared.grey_square(Image.fromarray(make_pixels(i, 40, 52)), 24)[0])
            for i in range(NUM)
        ]
    )
    same = (x[:, 0, None] * 255 == squares).flatten(2).all(-1)
    assert same.any(1).all()  # WEBP without loss: to the last bit


def test_celeba_is_downloaded_whole_or_not_at_all(folder, monkeypatch, tmp_path_factory):
    made = make_celeba(folder, monkeypatch)
    archive = tmp_path_factory.mktemp("there") / "drive.zip"
    monkeypatch.setattr(celeba_lsun, "CELEBA", archive.as_uri())
    by_hand = f"bring img_align_celeba.zip .* by hand to {made}"
    content = made.read_bytes()
    made.unlink()
    for served, reason in ((None, "No such file"), (b"<html>too many</html>", "its MD5 sum is")):
        if served is not None:
            archive.write_bytes(served)
        with pytest.raises(data.MissingData, match=f"downloaded .*{reason}.*: {by_hand}"):
            data.fetch("celeba")
        assert list(made.parent.iterdir()) == []
    archive.write_bytes(content)
    monkeypatch.setattr(celeba_lsun, "CELEBA_MD5", hashlib.md5(content).hexdigest())
    data.fetch("celeba", size=24, say=lambda line: None)
    assert [path.name for path in made.parent.iterdir()] == ["img_align_celeba.zip"]
    assert made.read_bytes() == content


def test_cut_and_incomplete_celeba(folder, monkeypatch):
    path = make_celeba(folder, monkeypatch, num=50)
    with pytest.raises(ValueError, match=r"must hold 60 pictures \(.jpg\), not 50"):
        data.fetch("celeba")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"img_align_celeba.zip is cut or foreign .*: delete it"):
        data.fetch("celeba")
    (path.parent / "img_align_celeba").mkdir()
    with pytest.raises(ValueError, match=r"img_align_celeba must hold 60 pictures .* not 0"):
        data.fetch("celeba")


def test_a_damaged_picture_of_the_archive_is_named(folder, monkeypatch):
    path = make_celeba(folder, monkeypatch)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as file:
        place = file.getinfo("img_align_celeba/000003.jpg").header_offset + 400
    content[place] ^= 255
    path.write_bytes(content)
    with pytest.raises(ValueError, match="picture 2 cannot be read: Bad CRC-32"):
        data.fetch("celeba", size=24, say=lambda line: None)


@needs_lmdb
def test_missing_and_foreign_lsun(folder):
    with pytest.raises(data.MissingData, match="download bedroom_train_lmdb.zip") as error:
        data.fetch("lsun")
    assert str(folder / "lsun") in str(error.value)
    path = folder / "lsun" / "bedroom_train_lmdb" / "data.mdb"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(ValueError, match="bedroom_train_lmdb is cut or foreign"):
        data.fetch("lsun")


@needs_lmdb
def test_a_missing_package_says_what_to_install(folder, monkeypatch):
    make_lsun(folder)
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(data.MissingData, match=r'lmdb, which is not installed: .*-e "\.\[paper'):
        celeba_lsun.open_source("lsun")


# --- preparing ----------------------------------------------------------------------------------


def test_near_duplicates_are_dropped_and_memory_is_one_picture(folder, source):
    prepared.prepare("celeba", 24, say=lambda line: None)
    card = json.loads((folder / "celeba_24.json").read_text())
    assert card["kept"] == 40  # 2 · 16 + 2 · 4, of 45 distinct ones
    assert 40 < card["examined"] < NUM
    assert source[0].made <= card["examined"] + 8 + 1  # it stops when there are enough
    assert source[0].most_alive <= 2
    pixels = np.load(folder / "celeba_24.npy")
    assert card["sha256"] == hashlib.sha256(pixels.tobytes()).hexdigest()
    order = np.random.default_rng(2024).permutation(NUM)
    first_seen = list(dict.fromkeys(i % DISTINCT for i in order))[:40]  # the first of each pair
    greys = [prepared.grey_square(Image.fromarray(make_pixels(i)), 24)[0] for i in first_seen]
    close = [np.corrcoef(p.ravel(), g.ravel())[0, 1] for p, g in zip(pixels, greys, strict=True)]
    assert min(close) > 0.99


@pytest.mark.parametrize("cut", [0, 100])
def test_an_interrupted_preparation_goes_on(folder, source, cut):
    whole = prepared.prepare("celeba", 24, say=lambda line: None).read_bytes()
    for path in folder.iterdir():
        path.unlink()
    source[0] = Pictures(stop=30)
    with pytest.raises(KeyboardInterrupt):
        prepared.prepare("celeba", 24, say=lambda line: None)
    with pytest.raises(data.MissingData, match="'gahb fetch celeba --size 24' makes them"):
        prepared.locate_prepared("celeba", 24)
    (part,) = folder.glob("*.part")
    if cut:
        part.write_bytes(part.read_bytes()[:-cut])
    source[0] = Pictures()
    path = prepared.prepare("celeba", 24, say=lambda line: None)
    assert path.read_bytes() == whole
    assert source[0].made < 45  # what was kept is not read again
    assert sorted(p.name for p in folder.glob("*.[!l]*")) == ["celeba_24.json", "celeba_24.npy"]


def test_what_is_prepared_is_not_made_again(folder, source):
    prepared.prepare("celeba", 24, say=lambda line: None)
    source[0] = None
    assert prepared.prepare("celeba", 24) == folder / "celeba_24.npy"


def test_a_part_that_two_processes_wrote_is_refused(folder, source):
    source[0] = Pictures(stop=30)
    with pytest.raises(KeyboardInterrupt):
        prepared.prepare("celeba", 24, say=lambda line: None)
    (part,) = folder.glob("*.part")
    part.write_bytes(part.read_bytes() * 2)
    source[0] = Pictures()
    with pytest.raises(ValueError, match="must hold pictures in their order"):
        prepared.prepare("celeba", 24, say=lambda line: None)


def test_progress_is_said(folder, source, monkeypatch):
    monkeypatch.setattr(prepared, "MOST_A", 40)  # more than there are: every picture is examined
    source[0], said = Pictures(100), []
    prepared.prepare("celeba", 24, say=said.append)
    kept = len({i % DISTINCT for i in np.random.default_rng(2024).permutation(100)[:80]})
    assert said == [f"celeba: 80 of 100 examined, {kept} of 88 kept"]


def test_too_few_pictures_are_refused(folder, source):
    source[0] = Pictures(5)
    with pytest.raises(ValueError, match="num must be at least 6 distinct images, not 5"):
        prepared.prepare("celeba", 24)
    source[0] = Pictures(0)
    with pytest.raises(ValueError, match="source must have pictures"):
        prepared.prepare("celeba", 24)
    source[0] = Pictures()
    with pytest.raises(ValueError, match="size must lie in 1"):
        prepared.prepare("celeba", 37)


def test_a_picture_that_cannot_be_read_is_named(folder, source, monkeypatch):
    class Cut(Pictures):
        def __getitem__(self, index):
            if index == 11:
                raise OSError("image file is truncated")
            return super().__getitem__(index)

    source[0] = Cut()
    with pytest.raises(ValueError, match="picture 11 cannot be read: image file is truncated"):
        prepared.prepare("celeba", 24)


# --- reading ------------------------------------------------------------------------------------


def test_images_stay_bytes_on_the_disk_until_they_are_taken(folder, source):
    prepared.prepare("lsun", 24, say=lambda line: None)
    pixels = prepared.load_prepared("lsun", "B", 24)
    assert isinstance(pixels, np.memmap)
    opened = data.open_images("lsun", "B", 5, 24)
    assert opened.num == 5
    x = opened.take(torch.tensor([4, 0]))
    assert torch.equal((x * 255).round().to(torch.uint8)[:, 0], torch.tensor(pixels[[4, 0]]))
    with pytest.raises(ValueError, match=r"indices must lie in 0 … 4, not 5 … 5"):
        opened.take(torch.tensor([5]))  # not one of the five
    with pytest.raises(ValueError, match="num must be at most 16 for 'lsun' B, not 17"):
        data.load_images("lsun", "B", 17, 24)
    shuffled = data.load_images("shuffled/lsun", "B", 5, 24)
    assert torch.equal(images.unshuffle_pixels(shuffled)[:1], x[1:])


def test_splits_are_as_large_as_the_paper_or_as_the_set():
    assert prepared.split_ranges(202_000)["B"] == (100_000, 100_000)
    assert prepared.split_ranges(202_000)["test"] == (200_000, 2_000)
    few = prepared.split_ranges(150_001)
    assert few == {"A": (0, 74_500), "B": (74_500, 74_500), "test": (149_000, 1_001)}
    with pytest.raises(ValueError, match="num must be at least 1002 distinct images, not 1001"):
        prepared.split_ranges(1_001)


def spoil(path, how):
    card = path.with_suffix(".json")
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "changed":
        path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    elif how == "other settings":
        card.write_text(card.read_text().replace('"limit": 0.95', '"limit": 0.5'))
    elif how == "card cut":
        card.write_text(card.read_text()[:50])
    else:
        np.save(path, np.zeros((40, 24, 24), np.float32))


@pytest.mark.parametrize(
    "how", ["cut", "empty", "changed", "other settings", "card cut", "foreign"]
)
def test_a_cut_or_foreign_file_is_refused(folder, source, how):
    path = prepared.prepare("celeba", 24, say=lambda line: None)
    spoil(path, how)
    for read in (
        lambda: data.load_images("celeba", "A", 1, 24),
        lambda: data.fetch("celeba", 24),
    ):
        with pytest.raises(ValueError, match=r"celeba_24.npy or its .json is cut or foreign"):
            read()


def test_missing_images_name_the_command(folder):
    with pytest.raises(data.MissingData, match="'gahb fetch lsun' makes them") as error:
        data.locate("lsun")
    assert str(folder / "lsun_80.npy") in str(error.value)


@needs_book
def test_fetch_of_the_command_line_takes_a_size(folder, source, capsys):
    from gahb_book import cli

    assert cli.main(["fetch", "celeba", "--size", "24"]) == 0
    assert f"celeba: {folder / 'celeba_24.npy'}" in capsys.readouterr().out
    assert cli.main(["fetch", "fashion", "--size", "24"]) == 2
    assert "size must not be given for 'fashion'" in capsys.readouterr().err
