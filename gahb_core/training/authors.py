"""The authors' networks: those they published, fetched and checked, and any state dict of theirs.

Sixteen BF-CNNs trained on grey 160×160 CelebA faces: of pixels ("flat__RF_9x9"), of the low band
("multi_scale__RF_40x40_low") and of the details of two levels, 0 the finest
("multi_scale__RF_13x13_scale_0"). They are `<folder of the data>/authors_celeba160/<name>.pt`.
Source: github.com/LabForComputationalVision/local-probability-models-of-images, folder denoisers;
MIT licence, Copyright (c) 2023 LCV (Kadkhodaie, Guth, Mallat & Simoncelli, ICLR 2023).

Two blind BF-CNNs of 2021, trained on σ from 0 to 100/255: "BSD400_gray", of photographs, and
"mnist_gray", of digits. They are `<folder of the data>/authors_bfcnn_2021/<name>.pt`. Source:
github.com/LabForComputationalVision/universal_inverse_problem (Kadkhodaie & Simoncelli, NeurIPS
2021), without a licence file: nothing brings or ships them but a reader's own hand.
"""

import hashlib
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from gahb_core.data import MissingData, data_folder, download
from gahb_core.files import write_safely
from gahb_core.networks.models import BFCNN, UNet
from gahb_core.networks.weights import load_weights

FOLDER = "authors_celeba160"
SOURCE = "https://github.com/LabForComputationalVision/local-probability-models-of-images/raw"
_COMMITS = {
    "flat": "9e283a455f21291420a4f5cf3c9faa85b1012c4d",
    "multi_scale": "9c5210e2c225d296ca54f32e40f18c83f585f9e3",
}
_SHA256 = {
    "flat": {
        "RF_5x5": "6c6cff6a4ecbf827ff41cba5d7326056b48669cd5d756a8f32f721f0cbd032b3",
        "RF_9x9": "0a0a85098fba8f842ed5bc1aab9fe0f54f745c525d6efd1ff155de0fd8aa48c7",
        "RF_13x13": "2510ac57ef3156448cb3515efe631335c393a71c0c73747c718d1ce23b2f8022",
        "RF_23x23": "4c0c2fbb02d4ac30ab76e5c81d0d7a4fd00cd307a7c60226f9f9b40fb55c5aa3",
        "RF_43x43": "1ab38b3e3ef3237547491964574386604971cddbe76b281f51003324a51a0f68",
    },
    "multi_scale": {
        "RF_40x40_low": "117575245c85ab00ee0edf1476a002f8428ee82e97dcab0e17c8127378da1c52",
        "RF_5x5_scale_0": "8b5650f2f341fec7c7b49c05bf157fb1f3e2def0531fb07f35d607f1c9322aed",
        "RF_5x5_scale_1": "7eadf0246885fcf5785c7c3a4acac0115f84ac81d5c448b38d40819e0eaa5952",
        "RF_9x9_scale_0": "7beb243de17468fde72748689b59c5579560615c56fa3d73dfdbd015c4da2dd1",
        "RF_9x9_scale_1": "9a4024e444de1da90a019eb1b3d048d3c62a3114b1d512721f9c20eda57e1973",
        "RF_13x13_scale_0": "439edfd64862060bc9d27de797bf322d872b93315b46ea46b01b4651c6bfb9b0",
        "RF_13x13_scale_1": "92486634be09ff100f0a63ff38d40b7ae6f656852194cdf3477c44d9fe67ffe1",
        "RF_23x23_scale_0": "07a71e3fee312037357107cde4ae79fe8fbed61010ad537302c483eef4f4c016",
        "RF_23x23_scale_1": "716f4c165732160e2c60ca32a3db1b4879c143c969ac6000e6a190770f4ecf53",
        "RF_43x43_scale_0": "610857c58eb50253f05a730cfb42b7745836bdb120a191899369625ec6b4fc44",
        "RF_43x43_scale_1": "019754d6dea55d08493c8b5fd744ad4231e0c42961e52f9086f553ae3b55e351",
    },
}
SHA256 = {f"{kind}__{field}": s for kind, sums in _SHA256.items() for field, s in sums.items()}

FOLDER_2021 = "authors_bfcnn_2021"
SOURCE_2021 = "github.com/LabForComputationalVision/universal_inverse_problem"
SHA256_2021 = {
    "BSD400_gray": "cb99c1acae801b4ecc361e113b510e11000fcb7e365e19be993c3ec3986e7bcf",
    "mnist_gray": "51003d84e7df61e6c4dcba5aaf3b205a82fe514f5d126e7a7e5b5b61db770dfb",
}


# --- the published files ------------------------------------------------------------------------


def find_address(name: str) -> str:
    """Return where a published network is downloaded from: its path in one commit."""
    kind, field = name.split("__")
    folder = f"denoisers/{kind}/celebA_160x160_gray/noise_range_0to255_{field}"
    return f"{SOURCE}/{_COMMITS[kind]}/{folder}/model.pt"


def _path(name: str) -> Path:
    folder = FOLDER_2021 if name in SHA256_2021 else FOLDER
    return data_folder() / folder / f"{name}.pt"


def locate_authors(name: str) -> Path:
    """Return the path of a published network.

    Args:
        name: such as "flat__RF_9x9" or "BSD400_gray", or its file's, "flat__RF_9x9.pt".

    Raises:
        ValueError: for a name that is none of theirs.
        MissingData: where the file is not there, with what brings it.
    """
    stem = name.removesuffix(".pt")
    if stem not in SHA256 | SHA256_2021:
        raise ValueError(f"name must be one of {', '.join(SHA256 | SHA256_2021)}, not {name!r}")
    path = _path(stem)
    if path.is_file():
        return path
    if stem in SHA256_2021:
        raise MissingData(
            f"the authors' network {stem} was looked for at {path} (folder: GAHB_DATA or the "
            f"cache) and is not there: bring its model.pt there from {SOURCE_2021}, folder "
            "denoisers/BF_CNN; it has no licence file, so that nothing fetches it for you"
        )
    raise MissingData(
        f"the authors' network {stem} was looked for at {path} (folder: GAHB_DATA or the cache) "
        f"and is not there: 'gahb fetch authors' downloads all {len(SHA256)} (21 MB), or set "
        f"GAHB_DATA to the folder that holds {FOLDER}"
    )


def _check(content: bytes, name: str, origin: object, cure: str) -> bytes:
    found, wanted = hashlib.sha256(content).hexdigest(), (SHA256 | SHA256_2021)[name]
    if found != wanted:
        raise ValueError(
            f"{origin}: the SHA-256 must be {wanted}, not {found}; the file is cut, changed "
            f"or another one: {cure}"
        )
    return content


def _read(path: Path) -> bytes:
    brings = f"bring it anew from {SOURCE_2021}"
    brings = brings if path.stem in SHA256_2021 else "run 'gahb fetch authors'"
    cure = f"delete it and {brings}"
    return _check(path.read_bytes(), path.stem, path, cure)


def _download(name: str) -> bytes:
    """Return the checked content of a published file."""
    url, by_hand = find_address(name), f"try again, or bring it by hand to {_path(name)}"
    return _check(download(url, by_hand), name, url, by_hand)


def fetch_authors(say: Callable[[str], None] = print) -> Path:
    """Download the published networks that are not there, and return the folder of all of them.

    Each file is written whole and right, or not at all; those that came stay.

    Args:
        say: called with a line for each file.

    Raises:
        ValueError: for a file, there or downloaded, that is cut or foreign, naming it.
        MissingData: where one cannot be downloaded, with what to do by hand.
    """
    missing = [name for name in SHA256 if not (_path(name).is_file() and _read(_path(name)))]
    for k, name in enumerate(missing, 1):
        write_safely(_path(name), _download(name))
        say(f"authors: {name}.pt, {k} of {len(missing)}")
    return data_folder() / FOLDER


def load_authors(name: str) -> UNet | BFCNN:
    """Return a published network, in evaluation mode; it maps y to the estimated noise.

    Args:
        name: such as "flat__RF_9x9" or "BSD400_gray", or its file's, "flat__RF_9x9.pt".

    Raises:
        ValueError: for an unknown name, and for a file that is cut or foreign.
        MissingData: where the file is not there, with the command that brings it.
    """
    path = locate_authors(name)
    return _make_network(_read(path), path)


# --- any state dict with the authors' names -----------------------------------------------------

_NAME_2021 = r"(gammas|running_sd)\.(\d+)"


def import_authors(path: str | Path) -> UNet | BFCNN:
    """Return the network of a state dict with the authors' names, in evaluation mode.

    Names as in reference papers' code: BF-CNN `conv_layers.{i}.weight`, `BN_layers.{i}.gammas`
    and `.running_sd`, or, in 2021, `gammas.{i}` and `running_sd.{i}`: those networks have a ReLU
    after their first convolution too, without which they remove no noise. UNet
    `encoder.{b}.{i}.weight`, ...; a prefix `module.` is dropped. The architecture is read off the
    shapes. Any such file is taken; `load_authors` is for those
    that were published, whose hashes are known.

    Raises:
        ValueError: for a file that is not such a state dict, with the key and the shape.
    """
    return _make_network(Path(path).read_bytes(), path)


def _make_network(content: bytes, origin: object) -> UNet | BFCNN:
    state = _read_state_dict(content, origin)
    state = {k.removeprefix("module."): v for k, v in state.items()}
    of_2021 = any(re.fullmatch(_NAME_2021, k) for k in state)
    state = {re.sub(_NAME_2021, r"BN_layers.\2.\1", k): v for k, v in state.items()}
    if "conv_layers.0.weight" in state:
        net: UNet | BFCNN = _shape_bfcnn(state, origin, first_relu=of_2021)
    elif "encoder.0.0.weight" in state:
        net = _shape_unet(state, origin)
    else:
        raise ValueError(
            f"{origin} must have conv_layers.0.weight or encoder.0.0.weight: "
            f"it has {list(state)[:3]}"
        )
    return load_weights(net, state, origin).eval().requires_grad_(False)


def _read_state_dict(content: bytes, origin: object) -> dict[str, Tensor]:
    rule = f"{origin} must be a state dict of tensors and nothing else"
    try:
        _check_sums(content)
        state = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except Exception as error:  # a damaged pickle fails in any way, and torch's text gives advice
        raise ValueError(
            f"{rule}; it is cut, damaged or of another kind ({type(error).__name__})"
        ) from error
    if not isinstance(state, dict):
        raise ValueError(f"{rule}, not of type {type(state).__name__}")
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise ValueError(f"{rule}, but {key!r} names a {type(value).__name__}")
    return state


def _check_sums(content: bytes) -> None:
    """Refuse a damaged part: torch does not hold the parts of a zip file against their sums."""
    file = io.BytesIO(content)
    if not zipfile.is_zipfile(file):
        return  # of before torch 1.6, without sums
    with zipfile.ZipFile(file) as parts:
        if damaged := parts.testzip():
            raise ValueError(f"part {damaged} does not have its sum")


def _find_shapes(state: dict[str, Tensor], keys: list[str], origin: object) -> list[torch.Size]:
    missing = [key for key in keys if key not in state]
    if missing:
        raise ValueError(f"{origin}: keys missing {missing[:5]}")
    for key in keys:
        if state[key].ndim != 4:
            shape = tuple(state[key].shape)
            raise ValueError(f"{origin}: {key} must be of shape (out, in, k, k), not {shape}")
    return [state[key].shape for key in keys]


def _shape_unet(state: dict[str, Tensor], origin: object) -> UNet:
    num_blocks = sum(k.startswith("encoder.") and k.endswith(".0.weight") for k in state)
    keys = [*(f"encoder.{b}.0.weight" for b in range(num_blocks)), "mid_block.0.weight"]
    *shapes, last = _find_shapes(state, [*keys, "decoder.0.3.weight"], origin)
    widths = [s[0] for s in shapes]
    return UNet(num_blocks, channels=widths, channels_in=shapes[0][1], channels_out=last[0])


def _shape_bfcnn(state: dict[str, Tensor], origin: object, first_relu: bool) -> BFCNN:
    num_layers = max(2, sum(k.startswith("conv_layers.") for k in state))
    keys = [f"conv_layers.{i}.weight" for i in range(num_layers)]
    shapes = _find_shapes(state, keys, origin)
    spatial = [i for i in range(1, num_layers - 1) if shapes[i][-1] == 3]
    widths = (shapes[0][0], shapes[0][1], shapes[-1][0])
    return BFCNN(num_layers, *widths, spatial, first_relu=first_relu)
