"""Networks of own images: their recipe, and the denoiser that is read back with it."""

import json
from typing import Any

import torch

from gahb_core.checks import check_choice, check_count
from gahb_core.data.registry import open_images
from gahb_core.networks.models import fold_norm
from gahb_core.noise import SigmaLaw
from gahb_core.training.card import NetworkDenoiser, as_denoiser
from gahb_core.training.load import load
from gahb_core.training.recipes import Recipe
from gahb_core.training.store import paths

WIDTHS = {"unet": (16, 32, 64, 128), "bfcnn": (32,), "transformer": (96,)}
LAYERS = {"transformer": 4}  # others as by default


def own_recipe(dataset: str, network: str = "unet", **settings: Any) -> Recipe:
    """Return the recipe of a network of registered images, named "own/<dataset>/<network>/<split>".

    A UNet has as many blocks, at most three, as the side of the images can be halved.

    Args:
        dataset: what `data.register_images` returned.
        network: "unet", "bfcnn" or "transformer".
        settings: other fields of the recipe, such as num_steps or channels.

    Raises:
        ValueError: for another network or set, or images that it cannot take.
    """
    check_choice(network, "network", list(WIDTHS))
    images = open_images(dataset, settings.get("split", "A"))
    _, colors, size, _ = images.take(torch.arange(1, device="cpu")).shape
    widths = WIDTHS[network]
    if network == "unet":
        halvings = next(b for b in (3, 2, 1, 0) if size % 2**b == 0)
        if not halvings:
            raise ValueError(f"size must be even for a 'unet', not {size}")
        widths = widths[: halvings + 1]
    form = {"channels": widths, "num_layers": LAYERS.get(network, Recipe.num_layers)}
    given = {
        "architecture": network,
        "size": size,
        "colors": colors,
        "num": images.num,
        **form,
        **settings,
    }
    recipe = Recipe(f"own/{dataset}/{network}/{given.get('split', 'A')}", dataset, **given)
    check_count(recipe.num_steps, "num_steps")
    return recipe


def load_own(name: str, profile: str = "laptop", device: str = "cpu") -> NetworkDenoiser:
    """Return the denoiser of a network of own images, whose recipe stands in its card.

    Args:
        name: "own/<dataset>/<network>/<split>", as `gahb train --images` says it.
        profile: of its recipe.
        device: of the network.

    Raises:
        FileNotFoundError: where it was never trained.
        ValueError: where its card is none, or its weights are not those of the card.
    """
    card = paths(name, profile)[1]
    if not card.is_file():
        raise FileNotFoundError(
            f"no checkpoint {name!r} of profile {profile!r} at {card}; "
            "'gahb train --images FOLDER' trains one"
        )
    try:
        data = json.loads(card.read_bytes().decode())["recipe"]
        data["law"] = SigmaLaw(**data["law"])
        for key in ("channels", "spatial_layers"):
            data[key] = None if data[key] is None else tuple(data[key])
        recipe = Recipe(**data)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{card} must be a checkpoint's card: {error!r}") from error
    net = fold_norm(load(name, profile, recipe).net)
    net = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return as_denoiser(net)
