"""The foreign networks that the book trained by their own recipes, with their weights."""

import json

from torch import nn

from gahb_core.checks import check_choice
from gahb_core.foreign import DiffusersUNet, DnCNN
from gahb_core.training.store import folder, parse_weights

NAMES = ("unet", "dncnn")
_KINDS = {"DiffusersUNet": DiffusersUNet, "DnCNN": DnCNN}


def load_foreign(name: str) -> nn.Module:
    """Return "unet" (ε of DDPM, with attention) or "dncnn", trained on 10,000 garments.

    Weights are stored in half precision, and come back in single; the network is in evaluation
    mode, its gradients off. `book/experiments/foreign_networks.py` trains them.

    Raises:
        ValueError: for another name, or a file that is not its card's.
        FileNotFoundError: where there is no such file.
    """
    check_choice(name, "name", NAMES)
    path = folder() / "foreign" / f"{name}.safetensors"
    card = json.loads(path.with_suffix("").with_suffix(".card.json").read_text(encoding="utf-8"))
    weights = parse_weights(path.read_bytes(), card["weights_sha256"], path)
    recipe = card["recipe"]
    net = _KINDS[recipe["network"]](**recipe["options"])
    # the count of batches of a norm is no weight
    found = net.load_state_dict({k: v.float() for k, v in weights.items()}, strict=False)
    if found.unexpected_keys or any("num_batches" not in k for k in found.missing_keys):
        raise ValueError(f"{path} must fit {recipe['network']}: {found}")
    return net.eval().requires_grad_(False)
