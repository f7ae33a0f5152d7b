"""Trained networks, and the denoisers that they are, by name."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from gahb_core.data.published import fetch_published
from gahb_core.densities.learned import EnergyNet
from gahb_core.multiscale.denoising import Conditional, MultiScale
from gahb_core.networks.models import BFCNN, UNet, fold_norm
from gahb_core.networks.transformer import Transformer
from gahb_core.networks.weights import load_weights
from gahb_core.training.authors import SHA256, SHA256_2021, load_authors
from gahb_core.training.card import NetworkDenoiser, as_denoiser
from gahb_core.training.profiles import find_recipe
from gahb_core.training.recipes import Recipe, make_network
from gahb_core.training.save import train_missing
from gahb_core.training.store import folder, is_there, parse_weights, paths, read_card


class Checkpoint(NamedTuple):
    """A trained network and what is known of it.

    Attributes:
        net: in evaluation mode, float32; maps y to the estimated noise.
        card: recipe, data, training curve, figures, hash, versions.
    """

    net: UNet | BFCNN | Transformer | EnergyNet
    card: dict


def load(name: str, profile: str = "laptop", recipe: Recipe | None = None) -> Checkpoint:
    """Return the trained network of a name; recipes of the profile "smoke" are trained if missing.

    Args:
        name: of a recipe, such as "fashion/N=10000/A".
        profile: table of recipes.
        recipe: in place of the one in the table.

    Raises:
        ValueError: for an unknown name, and for a file that is cut, foreign or of another recipe.
        FileNotFoundError: where it was never trained, with the command that trains it; a release
            fetches what the book has, see `data.published`.
    """
    recipe = recipe or find_recipe(name, profile)
    weights, card_path, _ = paths(name, profile)
    if not is_there(recipe, profile):
        for path in (weights, card_path):
            fetch_published(f"checkpoints/{path.relative_to(folder()).as_posix()}", path)
    if not is_there(recipe, profile):
        if profile != "smoke":
            raise FileNotFoundError(
                f"no checkpoint {name!r} of profile {profile!r} at {weights}; "
                f"'gahb train {name} --profile {profile}' trains it, or set GAHB_CHECKPOINTS to "
                "the folder that holds it, such as book/checkpoints of a clone"
            )
        train_missing(recipe, profile)
    card = read_card(card_path, recipe)
    state = parse_weights(weights.read_bytes(), card["sha256"], weights)
    net = load_weights(make_network(recipe), state, weights)
    return Checkpoint(net.eval().requires_grad_(False), card)


def load_denoiser(name: str, profile: str = "laptop", device: str = "cpu") -> NetworkDenoiser:
    """Return the blind denoiser f(y, sigma=None) of a name, its norms folded, on `device`.

    One that is told σ is f(y, sigma), a `denoisers.NoiseConditional`, and not blind.
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
    # channels last: 1.2 to 1.7 times faster on a CPU, from base 16 to base 64
    folded = fold_norm(net).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return as_denoiser(folded)


def load_energy(name: str, profile: str = "laptop", device: str = "cpu") -> EnergyNet:
    """Return the energy U(y, sigma) of a name, its norms folded, on `device`.

    Raises:
        ValueError: as `load` does, and where the network is no energy.
        FileNotFoundError: where it was never trained.
    """
    net = load(name, profile).net
    if not isinstance(net, EnergyNet):
        raise ValueError(f"name must be of an energy, and {name!r} is a {type(net).__name__}")
    return fold_norm(net).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


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
    conditional = [f for f in loaded[1:] if isinstance(f, Conditional)]
    if isinstance(loaded[0], Conditional) or len(conditional) < len(details):
        found = ["details" if isinstance(f, Conditional) else "low" for f in loaded]
        raise ValueError(
            "low must be the network of a low band, details those of details, "
            f"not of {', '.join(found)}"
        )
    return MultiScale(loaded[0], conditional)
