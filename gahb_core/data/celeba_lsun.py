"""CelebA and LSUN bedrooms, each a sequence of pictures of which one is read at a time.

Liu, Luo, Wang & Tang 2015 (CelebA, non-commercial research); Yu, Seff, Zhang, Song, Funkhouser &
Xiao 2015 (LSUN). Neither is redistributed here.
"""

import hashlib
import http.client
import io
import shutil
import urllib.request
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from gahb_core.data.files import MissingData, data_folder
from gahb_core.files import atomic_write

# the data set's own place (Align&Cropped Images), the MD5 sum that it is known by, and its pictures
CELEBA = (
    "https://drive.usercontent.google.com/download?id=0B7EVK8r0v71pZjFTYXZWM3FlRnM"
    "&export=download&confirm=t"
)
CELEBA_MD5 = "00d2c5bc6d35e252742224ab0c1e8fcb"
CELEBA_NUM = 202_599


class Pictures(Sequence):
    """Pictures by their keys, in the order of the keys.

    Attributes:
        keys: a name each.
        read: key → the bytes of a picture's file.
    """

    def __init__(self, keys: Sequence, read: Callable[[Any], bytes]) -> None:
        self.keys, self.read = keys, read

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Image.Image:  # type: ignore[override]  # no slices
        return Image.open(io.BytesIO(self.read(self.keys[index])))


def _download_celeba(path: Path) -> None:
    """Bring the archive, by parts to the disk, whole and right or not at all."""
    by_hand = f"bring img_align_celeba.zip of the data set's page by hand to {path}"
    try:
        with atomic_write(path) as part:
            with urllib.request.urlopen(CELEBA, timeout=60) as answer, part.open("wb") as file:
                shutil.copyfileobj(answer, file)
            with part.open("rb") as file:
                found = hashlib.file_digest(file, "md5").hexdigest()
            if found != CELEBA_MD5:
                raise ValueError(f"its MD5 sum is {found}, not {CELEBA_MD5}: cut, or in demand")
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise MissingData(f"CelebA could not be downloaded ({error}): {by_hand}") from error


def _open_celeba(root: Path) -> Pictures:
    """Return CelebA's aligned faces, from their archive or the folder it was unpacked to."""
    folder, path = root / "celeba" / "img_align_celeba", root / "celeba" / "img_align_celeba.zip"
    if folder.is_dir():
        pictures, path = Pictures(sorted(folder.glob("*.jpg")), Path.read_bytes), folder
    else:
        if not path.is_file():
            _download_celeba(path)
        try:
            file = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise ValueError(f"{path} is cut or foreign ({error}): delete it") from error
        names = sorted(n for n in file.namelist() if n.endswith(".jpg"))
        pictures = Pictures(names, file.read)
    if len(pictures) != CELEBA_NUM:
        raise ValueError(f"{path} must hold {CELEBA_NUM} pictures (.jpg), not {len(pictures)}")
    return pictures


def _open_lsun(root: Path) -> Pictures:
    """Return LSUN's training bedrooms, from its database."""
    folder = root / "lsun" / "bedroom_train_lmdb"
    if not (folder / "data.mdb").is_file():
        raise MissingData(
            f"the LSUN bedrooms are not at {folder / 'data.mdb'}: "
            "download bedroom_train_lmdb.zip (43 GB) with download.py of github.com/fyu/lsun "
            f"('python3 download.py -c bedroom') and unzip it in {folder.parent}"
        )
    try:
        import lmdb
    except ModuleNotFoundError as error:
        raise MissingData(
            'LSUN is read by lmdb, which is not installed: pip install -e ".[paper]"'
        ) from error
    try:
        database = lmdb.open(str(folder), readonly=True, lock=False, readahead=False, max_readers=1)
        with database.begin() as entries:
            keys = list(entries.cursor().iternext(keys=True, values=False))
    except lmdb.Error as error:
        raise ValueError(f"{folder} is cut or foreign: {error}") from error

    def read(key: bytes) -> bytes:
        with database.begin() as entries:
            return entries.get(key, b"")

    return Pictures(keys, read)


_OPEN = {"celeba": _open_celeba, "lsun": _open_lsun}
NAMES = tuple(_OPEN)


def open_source(name: str) -> Pictures:
    """Return the pictures of "celeba" or "lsun" in the data folder, of any size and colour.

    Raises:
        MissingData: where they are not there and cannot be downloaded, or lmdb is missing, with
            what to do.
        ValueError: where an archive or a database is cut or foreign.
    """
    return _OPEN[name](data_folder().absolute())
