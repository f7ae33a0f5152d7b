"""Checkpoints: trained weights (safetensors) and their card, by name.

`<folder>/<profile>/<name>.safetensors` and `<name>.card.json` stand side by side; an unfinished
training keeps `<name>.state` there. A file whose hash, shapes or recipe do not fit is refused.
"""

import hashlib
import json
import os
import platform
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

import gahb_core
from gahb_core import training
from gahb_core.authors import SHA256, SHA256_2021, load_authors
from gahb_core.denoisers import Residual, residual_denoiser
from gahb_core.images import load_images
from gahb_core.metrics import psnr_curve
from gahb_core.multiscale import Conditional, MultiScale, conditional_denoiser
from gahb_core.networks import BFCNN, UNet, fill, fold_norm, num_parameters
from gahb_core.noise import sigma_from_psnr
from gahb_core.recipes import Recipe, find_recipe, fingerprint, make_network, to_json
from gahb_core.training import Progress, clean_bands

CARD_PSNR_IN = (0, 5, 10, 15, 20, 25, 30, 40)
HALF_COSTS_DB = 0.01
_Blind = Residual | Conditional


class Checkpoint(NamedTuple):
    """A trained network and what is known of it.

    Attributes:
        net: in evaluation mode, float32; maps y to the estimated noise.
        card: recipe, data, training curve, figures, hash, versions.
    """

    net: UNet | BFCNN
    card: dict


def folder() -> Path:
    """Return where checkpoints live: GAHB_CHECKPOINTS, else book/checkpoints beside the library."""
    if path := os.environ.get("GAHB_CHECKPOINTS"):
        return Path(path).expanduser()
    return Path(gahb_core.__file__).parents[1] / "book" / "checkpoints"


def paths(name: str, profile: str = "laptop") -> tuple[Path, Path, Path]:
    """Return the paths of a checkpoint's weights, card and (unfinished) state."""
    stem = folder() / profile / name
    return tuple(
        stem.with_name(stem.name + end) for end in (".safetensors", ".card.json", ".state")
    )


def find_status(name: str, profile: str = "laptop") -> str:
    """Return "trained", "unfinished" or "missing"."""
    weights, card, state = paths(name, profile)
    if weights.exists() and card.exists():
        return "trained"
    return "unfinished" if state.exists() else "missing"


def _parse(content: bytes, sha256: str, origin: Path) -> dict[str, Tensor]:
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ValueError(
            f"{origin}: SHA-256 must be its card's, {sha256}, not {found}: cut or foreign"
        )
    try:
        return safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{origin} must be a safetensors file: {error}") from error


def _read_card(path: Path, recipe: Recipe) -> dict:
    try:
        card = json.loads(path.read_text())
        same = card["fingerprint"] == fingerprint(recipe)
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} must be a checkpoint's card: {error!r}") from error
    if not same:
        raise ValueError(
            f"{path} is of another recipe than {recipe.name!r} of this version "
            f"(fingerprint {card['fingerprint']}, not {fingerprint(recipe)}); train it again"
        )
    return card


def load(name: str, profile: str = "laptop", recipe: Recipe | None = None) -> Checkpoint:
    """Return the trained network of a name; recipes of the profile "smoke" are trained if missing.

    Args:
        name: of a recipe, such as "fashion/N=10000/A".
        profile: table of recipes.
        recipe: in place of the one in the table.

    Raises:
        ValueError: for an unknown name, and for a file that is cut, foreign or of another recipe.
        FileNotFoundError: where it was never trained, with the command that trains it.
    """
    recipe = recipe or find_recipe(name, profile)
    weights, card_path, _ = paths(name, profile)
    if find_status(name, profile) != "trained":
        if profile != "smoke":
            raise FileNotFoundError(
                f"no checkpoint {name!r} of profile {profile!r} at {weights}; "
                f"'gahb train {name} --profile {profile}' trains it"
            )
        for _ in train(name, profile, recipe=recipe):
            continue
    card = _read_card(card_path, recipe)
    net = fill(make_network(recipe), _parse(weights.read_bytes(), card["sha256"], weights), weights)
    return Checkpoint(net.eval().requires_grad_(False), card)


def _denoiser(net: UNet | BFCNN) -> _Blind:
    if isinstance(net, UNet):
        return residual_denoiser(net)
    # only networks of details take more bands than they give: the low band that they are told
    told = net.conv_layers[0].in_channels > net.conv_layers[-1].out_channels
    return conditional_denoiser(net) if told else residual_denoiser(net)


def load_denoiser(name: str, profile: str = "laptop", device: str = "cpu") -> _Blind:
    """Return the blind denoiser f(y, sigma=None) of a name, its norms folded, on `device`.

    A network of details, told the low band, is f(y, sigma=None, given), a `multiscale.Conditional`.

    Args:
        name: of a recipe, or of a published network, such as "flat__RF_9x9".
        profile: table of recipes; published networks are of none.
        device: of the network.

    Raises:
        ValueError: as `load` does, and `load_authors` for a published one.
        FileNotFoundError: where it was never trained, or not downloaded.
    """
    published = name in SHA256 or name in SHA256_2021
    net = load_authors(name) if published else load(name, profile).net
    return _denoiser(fold_norm(net).to(device))


def load_multiscale(
    low: str, details: Sequence[str], profile: str = "laptop", device: str = "cpu"
) -> MultiScale:
    """Return the coarse-to-fine denoiser f(y, sigma=None), J = len(details), of trained networks.

    Args:
        low: name of x_J's, such as "faces/size=16/N=6000/A", or of a published network.
        details: names of those of x̄_1 … x̄_J, finest first; one may stand for several levels.
        profile: table of recipes.
        device: of the networks.

    Raises:
        ValueError: where `low` is of details, or `details` of something else; see also
            `load_denoiser`.
        FileNotFoundError: where one was never trained, or not downloaded.
    """
    loaded = [load_denoiser(name, profile, device) for name in (low, *details)]
    found = ["details" if isinstance(f, Conditional) else "low" for f in loaded]
    if found != ["low"] + ["details"] * len(details):
        raise ValueError(
            "low must be the network of a low band, details those of details, "
            f"not of {', '.join(found)}"
        )
    return MultiScale(loaded[0], loaded[1:])


def _figures(net: nn.Module, recipe: Recipe) -> dict:
    """Return mean PSNR-out, of what the network denoises, on 256 test and 256 training images."""
    sigmas = [sigma_from_psnr(p) for p in CARD_PSNR_IN]
    figures = {"psnr_in": list(CARD_PSNR_IN)}
    for split, num in (("test", 256), (recipe.split, min(256, recipe.num or 256))):
        given, x = clean_bands(recipe, load_images(recipe.dataset, split, num, recipe.size))
        f, batch = _denoiser(net), 64
        if recipe.bands == "details":  # in one batch: what is told goes with all of x
            f, batch = partial(f, given=given), len(x)
        curve = psnr_curve(f, x, sigmas, seed=1, batch=batch).mean(0)
        figures["test" if split == "test" else "train"] = [round(float(v), 3) for v in curve]
    return figures


def _half(net: nn.Module) -> dict[str, Tensor]:
    """Return the weights with convolutions in half precision, norms (few, of any size) in full."""
    state = net.state_dict()
    return {
        k: (v.half() if v.ndim == 4 and v.shape[0] > 1 else v).contiguous()
        for k, v in state.items()
    }


def save(net: nn.Module, recipe: Recipe, profile: str, spent: dict) -> dict:
    """Write weights and card, atomically and the card last, and return the card.

    Convolutions are stored in half precision where that costs less than .01 dB at every σ.
    """
    net = net.to("cpu", memory_format=torch.contiguous_format)
    full, half = _figures(net, recipe), _half(net)
    rounded = _figures(fill(make_network(recipe), half, "half").eval(), recipe)
    cost = max(np.subtract(full[k], rounded[k]).max() for k in ("test", "train"))
    light = cost < HALF_COSTS_DB
    weights = half if light else {k: v.contiguous() for k, v in net.state_dict().items()}
    content = safetensors.torch.save(weights)
    card = {
        "name": recipe.name,
        "recipe": to_json(recipe),
        "fingerprint": fingerprint(recipe),
        "data": _data_fingerprint(recipe),
        "training": spent,
        "psnr_out": rounded if light else full,
        "half_precision_costs_db": round(float(cost), 4),
        "parameters": num_parameters(net),
        "sha256": hashlib.sha256(content).hexdigest(),
        "versions": {
            "gahb_core": gahb_core.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }
    weights_path, card_path, _ = paths(recipe.name, profile)
    training.write_safely(weights_path, content)
    training.write_safely(
        card_path, (json.dumps(card, indent=1, ensure_ascii=False) + "\n").encode()
    )
    return card


def _data_fingerprint(recipe: Recipe) -> dict:
    """Return the SHA-256 of the first 64 training images' pixels, rounded to 8 bits."""
    x = load_images(recipe.dataset, recipe.split, min(64, recipe.num or 64), recipe.size)
    pixels = (x * 255).round().to(torch.uint8).numpy().tobytes()
    return {"dataset": recipe.dataset, "first_images_sha256": hashlib.sha256(pixels).hexdigest()}


def train(
    name: str, profile: str = "laptop", device: str = "cpu", recipe: Recipe | None = None
) -> Iterator[Progress]:
    """Train the recipe of a name, from where it was interrupted, and save weights and card.

    Yields the progress of `training.train`; the checkpoint is written before the last one.
    """
    recipe = recipe or find_recipe(name, profile)
    state = paths(name, profile)[2]
    for progress in training.train(recipe, state, device):
        if progress.done:
            spent = {
                "images": progress.images,
                "seconds": round(progress.seconds, 1),
                "device": device,
                "threads": torch.get_num_threads(),
                "curve": _thin(progress.curve),
            }
            save(progress.net, recipe, profile, spent)
            state.unlink(missing_ok=True)
        yield progress


def _thin(curve: list, most: int = 200) -> list:
    """Return at most `most` points (step, loss, seconds), each the mean of a group."""
    group = -(-len(curve) // most)
    rows = [np.array(curve[i : i + group]) for i in range(0, len(curve), group)] if curve else []
    return [[int(r[-1, 0]), round(float(r[:, 1].mean()), 5), float(r[-1, 2])] for r in rows]
