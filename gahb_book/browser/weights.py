"""A trained network as a script for a page: a header, and its weights in 16 bits, in base64.

From a file on disk a browser loads nothing but classic scripts, so that is what a network is:
`GAHB.receive(header, "…")`. The header names its layers in the order in which they run, as a stack
machine (`push` keeps what comes by, `cat` puts it behind what came up), how each weight is stored,
and the SHA-256 of the bytes: the engine refuses a file that does not fit.
"""

import base64
import hashlib
import json
import re
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gahb_book.plots import to_uint8
from gahb_core.data import load_images
from gahb_core.networks.models import BFCNN, UNet, fold_norm
from gahb_core.networks.norm import BiasFreeNorm
from gahb_core.training import load

FORMAT = 1
Layer = list[Any]


def script_name(name: str, profile: str = "laptop") -> str:
    """Return the file name, without folder, of a network's script.

    >>> script_name("fashion/N=10000/A")
    'fashion_N-10000_A.js'
    """
    stem = name if profile == "laptop" else f"{profile}/{name}"
    return re.sub(r"[^\w.-]", "_", stem.replace("=", "-")) + ".js"


def _conv_layer(conv: nn.Conv2d, relu: bool) -> Layer:
    return ["conv", conv.in_channels, conv.out_channels, conv.kernel_size[0], int(relu)]


def _scale(norm: BiasFreeNorm) -> Tensor:
    return (norm.gammas / norm.running_sd).detach().flatten()


def _block_layers(block: nn.ModuleList) -> list[tuple[Layer, Tensor, Tensor | None]]:
    """Return (layer, weight, scale of its norm) for each convolution of a UNet's block."""
    found = []
    for i, layer in enumerate(block):
        if isinstance(layer, nn.Conv2d):
            after = [m for m in block[i + 1 : i + 3] if not isinstance(m, nn.Conv2d)]
            norm = next((m for m in after if isinstance(m, BiasFreeNorm)), None)
            relu = any(isinstance(m, nn.ReLU) for m in after)
            scale = None if norm is None else _scale(norm)
            found.append((_conv_layer(layer, relu), layer.weight.detach(), scale))
    return found


def _unet_layers(net: UNet) -> list[tuple[Layer, Tensor | None, Tensor | None]]:
    layers: list = []
    for block in net.encoder:
        layers += [*_block_layers(block), (["push"], None, None), (["pool"], None, None)]
    layers += _block_layers(net.mid_block)
    for b in reversed(range(len(net.encoder))):
        up = net.upsample[b]
        layers.append((["up", up.in_channels, up.out_channels], up.weight.detach(), None))
        layers += [(["cat"], None, None), *_block_layers(net.decoder[b])]
    return layers


def _bfcnn_layers(net: BFCNN) -> list[tuple[Layer, Tensor | None, Tensor | None]]:
    net = fold_norm(net) if net.residual else net
    first, *hidden, last = net.conv_layers
    layers = [(_conv_layer(first, relu=net.first_relu), first.weight.detach(), None)]
    for conv, norm in zip(hidden, net.BN_layers, strict=True):
        scale = _scale(norm) if isinstance(norm, BiasFreeNorm) else None
        layers.append((_conv_layer(conv, relu=True), conv.weight.detach(), scale))
    return [*layers, (_conv_layer(last, relu=False), last.weight.detach(), None)]


def _store(weight: Tensor, scale: Tensor | None, whole: bool = False) -> tuple[list, bytes]:
    """Return how a weight is stored, and its bytes.

    As halves where these are exact, as they are for most checkpoints; else in 2^16 steps of the
    largest of each first index, eight times finer than halves; in full where it is small, or
    `whole`. The scale of the norm behind it, one a channel, is stored in full.
    """
    w, s = weight.float().numpy(), None if scale is None else scale.float().numpy()
    exact = np.array_equal(w.astype("<f2").astype(np.float32), w)
    if exact or whole or w.size < 1_000:
        data = w.astype("<f2" if exact else "<f4").tobytes()
        tail = b"" if s is None else s.astype("<f4").tobytes()
        return ["half" if exact else "float", int(s is not None)], data + tail
    step = np.maximum(np.abs(w).reshape(len(w), -1).max(1), 1e-30) / 32_767
    steps = np.rint(w / step.reshape(-1, 1, 1, 1)).astype("<i2")
    scaled = (step if s is None else step * s).astype("<f4")
    return ["steps", 1], steps.tobytes() + scaled.tobytes()


def pack_network(net: UNet | BFCNN, name: str) -> tuple[dict, bytes]:
    """Return (header, bytes) of a network in evaluation mode, its norms folded by the engine.

    Raises:
        ValueError: for a network that is told σ, a smooth one or a transformer, which the engine
            does not run.
    """
    if not isinstance(net, UNet | BFCNN):
        raise ValueError(f"net must be convolutional, and {name!r} is a {type(net).__name__}")
    if isinstance(net, UNet) and net.encoder[0][0].in_channels > 1:
        raise ValueError(f"net must be blind, or told a low band, and {name!r} is told σ")
    if isinstance(net, UNet) and net.smooth:
        raise ValueError(f"net must have ReLUs, and {name!r} is smooth")
    layers = _unet_layers(net) if isinstance(net, UNet) else _bfcnn_layers(net)
    # the identity is in a residual layer's kernels: steps of its size are too coarse for the rest
    whole = isinstance(net, BFCNN) and net.residual
    stored = [_store(w, s, whole) for _, w, s in layers if w is not None]
    content = b"".join(data for _, data in stored)
    convs = [layer for layer, *_ in layers if layer[0] == "conv"]
    header = {
        "format": FORMAT,
        "name": name,
        "channels": {"in": convs[0][1], "out": convs[-1][2]},
        "estimate": "direct" if getattr(net, "skip", False) else "residual",
        "layers": [layer for layer, *_ in layers],
        "stored": [kind for kind, _ in stored],
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return header, content


def network_file(name: str, profile: str = "laptop") -> tuple[dict, str]:
    """Return (header, weights in base64) of a trained network, for a page or a widget.

    Raises:
        ValueError, FileNotFoundError: as `checkpoints.load` does.
    """
    with torch.no_grad():
        header, content = pack_network(load(name, profile).net, name)
    return header, base64.b64encode(content).decode()


def image_set(name: str) -> tuple[dict, str]:
    """Return (header, bytes in base64) of a set "images:dataset:split:num:size", a byte a pixel.

    Raises:
        ValueError: where the name is not such a one, or the set has no such images.
    """
    parts = name.split(":")
    if len(parts) != 5 or not (parts[3].isdecimal() and parts[4].isdecimal()):
        raise ValueError(f"name must be images:dataset:split:num:size, not {name!r}")
    dataset, split, num, size = parts[1], parts[2], int(parts[3]), int(parts[4])
    images = to_uint8(load_images(dataset, split, num, size))
    header = {"format": FORMAT, "name": name, "pixels": size * size}
    return header, base64.b64encode(images.tobytes()).decode()


def read_file(name: str, profile: str = "laptop") -> tuple[dict, str]:
    """Return (header, base64) of what a figure asks for: a network, or a set of images."""
    return image_set(name) if name.startswith("images:") else network_file(name, profile)


def network_script(name: str, profile: str = "laptop") -> str:
    """Return the classic script that hands a trained network, or a set, to its page.

    Raises:
        ValueError, FileNotFoundError: as `checkpoints.load` and `image_set` do.
    """
    header, data = read_file(name, profile)
    return f'GAHB.receive({json.dumps(header, separators=(",", ":"))},\n"{data}");\n'
