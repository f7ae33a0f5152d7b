"""Training a recipe to its checkpoint: weights and card, from where it was interrupted."""

import hashlib
import platform
from collections.abc import Iterator

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

import gahb_core
from gahb_core import files
from gahb_core.data import load_images
from gahb_core.networks.models import num_parameters
from gahb_core.networks.weights import load_weights
from gahb_core.training import loop
from gahb_core.training.card import measure
from gahb_core.training.loop import Progress
from gahb_core.training.profiles import find_recipe
from gahb_core.training.recipes import Recipe, fingerprint, make_network, to_json
from gahb_core.training.store import hash_card, is_there, lock_recipe, paths, write_card

HALF_COSTS_DB = 0.01


def _half(net: nn.Module) -> dict[str, Tensor]:
    """Return the weights with matrices in half precision, norms (few, of any size) in full."""
    state = net.state_dict()
    return {
        k: (v.half() if v.ndim in (2, 4) and v.shape[0] > 1 else v).contiguous()
        for k, v in state.items()
    }


def save(net: nn.Module, recipe: Recipe, profile: str, spent: dict) -> dict:
    """Write weights and card, atomically and the card last, and return the card.

    Convolutions are stored in half precision where that costs less than .01 dB at every σ.
    """
    net = net.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    full, half = measure(net, recipe), _half(net)
    rounded = measure(load_weights(make_network(recipe), half, "half").eval(), recipe)
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
    files.write_safely(weights_path, content)
    write_card(card_path, card)
    return hash_card(card)


def _data_fingerprint(recipe: Recipe) -> dict:
    """Return the SHA-256 of the first 64 training images' pixels, rounded to 8 bits."""
    x = load_images(recipe.dataset, recipe.split, min(64, recipe.num or 64), recipe.size)
    pixels = (x * 255).round().to(torch.uint8).numpy().tobytes()
    return {"dataset": recipe.dataset, "first_images_sha256": hashlib.sha256(pixels).hexdigest()}


def train(
    name: str, profile: str = "laptop", device: str = "cpu", recipe: Recipe | None = None
) -> Iterator[Progress]:
    """Train the recipe of a name, from where it was interrupted, and save weights and card.

    Yields the progress of `training.fit`; the checkpoint is written before the last one.

    Raises:
        Busy: while another process trains it, naming that process.
    """
    recipe = recipe or find_recipe(name, profile)
    with lock_recipe(name, profile):
        files.remove_orphans(paths(name, profile)[2].parent)
        yield from _train(recipe, profile, device)


def _train(recipe: Recipe, profile: str, device: str) -> Iterator[Progress]:
    state = paths(recipe.name, profile)[2]
    for progress in loop.fit(recipe, state, device):
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


def train_missing(recipe: Recipe, profile: str) -> None:
    """Train a recipe of seconds, unless another process is at it, which is waited for."""
    with lock_recipe(recipe.name, profile, patience=600):
        if not is_there(recipe, profile):
            for _ in _train(recipe, profile, "cpu"):
                continue


def _thin(curve: list, most: int = 200) -> list:
    """Return at most `most` points (step, loss, seconds), each the mean of a group."""
    group = -(-len(curve) // most)
    rows = [np.array(curve[i : i + group]) for i in range(0, len(curve), group)] if curve else []
    return [[int(r[-1, 0]), round(float(r[:, 1].mean()), 5), float(r[-1, 2])] for r in rows]
