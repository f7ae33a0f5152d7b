"""CelebA and LSUN bedrooms as torchvision opens them: a sequence of pictures, one read at a time.

Liu, Luo, Wang & Tang 2015 (CelebA, non-commercial research); Yu, Seff, Zhang, Song, Funkhouser &
Xiao 2015 (LSUN). Neither is redistributed here.
"""

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from PIL import Image

from gahb_core.images.files import MissingData, data_folder

INSTALL = 'install them with: pip install -e ".[paper]"'


class _Pictures(Sequence):
    """The pictures of a torchvision data set, without their targets."""

    def __init__(self, pairs: Sequence) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Image.Image:
        return self.pairs[index][0]


def _import_datasets() -> ModuleType:
    """Return torchvision.datasets.

    Raises:
        MissingData: where it, or lmdb, is not installed, or torchvision is built for another torch.
    """
    try:
        import lmdb  # noqa: F401 - torchvision opens LSUN with it
        from torchvision import datasets
    except ModuleNotFoundError as error:
        raise MissingData(
            f"CelebA and LSUN are read by torchvision and lmdb, and {error.name} is not installed: "
            f"{INSTALL}"
        ) from error
    except (RuntimeError, ImportError) as error:  # what a build for another torch raises
        import torch

        raise MissingData(
            f"torchvision does not load beside torch {torch.__version__} ({error}): install the "
            "release that is built for it, from where torch came from"
        ) from error
    return datasets


def _open_celeba(root: Path) -> _Pictures:
    """Return CelebA's aligned faces; torchvision downloads them where they are not there."""
    datasets = _import_datasets()
    try:
        root.mkdir(parents=True, exist_ok=True)
        opened = datasets.CelebA(str(root), split="all", target_type=[], download=True)
    except Exception as error:  # its download fails in many ways, most of all by Drive's quota
        raise MissingData(
            f"CelebA could not be opened or downloaded to {root / 'celeba'} ({error}). By hand: "
            "unpack img_align_celeba.zip of the data set's page (Align&Cropped Images) there, to "
            "celeba/img_align_celeba/000001.jpg …, and put beside that folder its text files "
            "list_attr_celeba, list_eval_partition, list_bbox_celeba, list_landmarks_align_celeba "
            f"and identity_CelebA (.txt); a download needs gdown: {INSTALL}"
        ) from error
    return _Pictures(opened)


def _open_lsun(root: Path) -> _Pictures:
    """Return LSUN's training bedrooms, from its database."""
    folder = root / "lsun"
    if not (folder / "bedroom_train_lmdb" / "data.mdb").is_file():
        raise MissingData(
            f"the LSUN bedrooms are not at {folder / 'bedroom_train_lmdb' / 'data.mdb'}: "
            "download bedroom_train_lmdb.zip (43 GB) with download.py of github.com/fyu/lsun "
            f"('python3 download.py -c bedroom') and unzip it in {folder}"
        )
    datasets = _import_datasets()
    import lmdb

    # torchvision pickles the list of keys into the current folder, and believes one found there
    with tempfile.TemporaryDirectory() as empty, contextlib.chdir(empty):
        try:
            return _Pictures(datasets.LSUN(str(folder.resolve()), classes=["bedroom_train"]))
        except lmdb.Error as error:
            raise ValueError(f"{folder}/bedroom_train_lmdb is cut or foreign: {error}") from error


_OPEN = {"celeba": _open_celeba, "lsun": _open_lsun}
NAMES = tuple(_OPEN)


def open_source(name: str) -> Sequence[Image.Image]:
    """Return the pictures of "celeba" or "lsun" in the data folder, of any size and colour.

    Raises:
        MissingData: where they are not there and cannot be downloaded, or torchvision or lmdb is
            missing, with what to do.
        ValueError: where LSUN's database is cut or foreign.
    """
    return _OPEN[name](data_folder().absolute())
