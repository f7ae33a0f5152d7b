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
from gahb_core.networks.layered import Layered
from gahb_core.training import load

FORMAT = 1
RUNS = ("conv", "scale", "relu", "pool", "up", "push", "cat", "add")  # engine.js
Entry = tuple[list[Any], Tensor | None, Tensor | None]  # layer, weight, scale of its norm


def script_name(name: str, profile: str = "laptop") -> str:
    """Return the file name, without folder, of a network's script.

    >>> script_name("fashion/N=10000/A")
    'fashion_N-10000_A.js'
    """
    stem = name if profile == "laptop" else f"{profile}/{name}"
    return re.sub(r"[^\w.-]", "_", stem.replace("=", "-")) + ".js"


def _entry(step: Any, channels: int, relu: bool) -> Entry:
    """Return the (layer, weight, scale of its norm) of a `Step` that takes `channels`."""
    if step.name == "conv" and step.plus_input:
        return ["conv", *step.sizes, int(relu)], step.kernel, None
    if step.name == "conv":
        return ["conv", *step.sizes, int(relu)], step.weight, step.scale
    if step.name in ("relu", "scale"):  # alone: a convolution of 1×1 that changes nothing else
        plain = torch.eye(channels)[:, :, None, None]
        return ["conv", channels, channels, 1, int(relu)], plain, getattr(step, "scale", None)
    return [step.name, *step.sizes], getattr(step, "weight", None), None


def _entries(net: Layered, name: str) -> tuple[list[Entry], bool]:
    """Return the entries of a network in their order, and whether it gives kept − what they give.

    Raises:
        ValueError: for layers that the engine does not run.
    """
    traced = net.trace()
    names = [step.name for step, *_ in traced]
    direct = (names[0], names[-1]) == ("push", "subtract")
    traced, names = (traced[1:-1], names[1:-1]) if direct else (traced, names)
    if "subtract" in names:
        raise ValueError(f"net must subtract from its input at its end alone, unlike {name!r}")
    entries = []
    for i, (step, before, _) in enumerate(traced):
        if step.name not in RUNS:
            raise ValueError(f"net must have steps of {RUNS}, and {name!r} has a {step.name!r}")
        if step.name == "conv" and step.sizes[2] > 3:
            raise ValueError(f"net must have kernels of 1×1 and 3×3, unlike {name!r}")
        weighted = step.name in ("conv", "scale")
        if step.name == "relu" and i and names[i - 1] in ("conv", "scale"):
            continue
        relu = step.name == "relu" or (weighted and names[i + 1 : i + 2] == ["relu"])
        entries.append(_entry(step, before[0], relu))
    return entries, direct


def _store(weight: Tensor, scale: Tensor | None, whole: bool = False) -> tuple[list, bytes]:
    """Return how a weight is stored, and its bytes.

    As halves where these are exact, as they are for most checkpoints; else in 2^16 steps of the
    largest of each first index, eight times finer than halves; in full where it is small, or
    `whole`. The scale of the norm behind it, one a channel, is stored in full.
    """
    w, s = weight.float().numpy(), None if scale is None else scale.detach().float().numpy()
    exact = np.array_equal(w.astype("<f2").astype(np.float32), w)
    if exact or whole or w.size < 1_000:
        data = w.astype("<f2" if exact else "<f4").tobytes()
        tail = b"" if s is None else s.astype("<f4").tobytes()
        return ["half" if exact else "float", int(s is not None)], data + tail
    step = np.maximum(np.abs(w).reshape(len(w), -1).max(1), 1e-30) / 32_767
    steps = np.rint(w / step.reshape(-1, 1, 1, 1)).astype("<i2")
    scaled = (step if s is None else step * s).astype("<f4")
    return ["steps", 1], steps.tobytes() + scaled.tobytes()


def pack_network(net: nn.Module, name: str) -> tuple[dict, bytes]:
    """Return (header, bytes) of a network in evaluation mode, its norms folded by the engine.

    Raises:
        ValueError: for a network that is told σ, a smooth one or a transformer, or one with layers
            which the engine does not run.
    """
    if not isinstance(net, Layered):
        raise ValueError(f"net must be convolutional, and {name!r} is a {type(net).__name__}")
    if net.is_told() and net.told == "sigma":
        raise ValueError(f"net must be blind, or told a low band, and {name!r} is told σ")
    entries, direct = _entries(net, name)
    steps = net.trace()
    # what is added is in a convolution's kernels: steps of its size are too coarse for the rest
    whole = any(getattr(step, "plus_input", False) for step, *_ in steps)
    stored = [_store(w.detach(), s, whole) for _, w, s in entries if w is not None]
    content = b"".join(data for _, data in stored)
    header = {
        "format": FORMAT,
        "name": name,
        "channels": {"in": steps[0][1][0], "out": steps[-1][2][0]},
        "estimate": "direct" if direct else "residual",
        "layers": [layer for layer, *_ in entries],
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
