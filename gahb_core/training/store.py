"""Where checkpoints lie, and what is refused: files that are cut, changed or of another recipe."""

import hashlib
import json
import os
from contextlib import AbstractContextManager
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

import gahb_core
from gahb_core import files
from gahb_core.training.profiles import find_recipe
from gahb_core.training.recipes import Recipe, fingerprint

# of a card; those of before it had a hash lack the last
CARD_KEYS = {
    "name", "recipe", "fingerprint", "data", "training", "psnr_out", "half_precision_costs_db",
    "parameters", "sha256", "versions", "card_sha256",
}  # fmt: skip


def folder() -> Path:
    """Return where checkpoints live: GAHB_CHECKPOINTS, else book/checkpoints of the clone.

    Where the library is installed without a clone they are in the user's cache folder: nothing is
    looked for, or trained, among the installed packages.
    """
    if path := os.environ.get("GAHB_CHECKPOINTS"):
        return Path(path).expanduser()
    book = Path(gahb_core.__file__).resolve().parents[1] / "book"
    clone = (book / "pages.yml").is_file()
    return book / "checkpoints" if clone else files.cache_folder() / "checkpoints"


def paths(name: str, profile: str = "laptop") -> tuple[Path, Path, Path]:
    """Return the paths of a checkpoint's weights, card and (unfinished) state."""
    stem = folder() / profile / name
    weights, card, state = (
        stem.with_name(stem.name + end) for end in (".safetensors", ".card.json", ".state")
    )
    return weights, card, state


def lock_recipe(
    name: str, profile: str, patience: float = files.PATIENCE
) -> AbstractContextManager:
    """Return the lock of a recipe, held by the process that trains it."""
    path = paths(name, profile)[2].with_suffix(".lock")
    return files.lock(path, f"checkpoint {name!r} of profile {profile!r}", patience)


def checkpoint_status(name: str, profile: str = "laptop") -> str:
    """Return "trained", "unfinished", "outdated" or "missing".

    "outdated": a checkpoint is there, of another recipe than that of the name, or broken.
    """
    weights, card, state = paths(name, profile)
    if not (weights.exists() and card.exists()):
        return "unfinished" if state.exists() else "missing"
    try:
        read_card(card, find_recipe(name, profile))
    except ValueError:
        return "unfinished" if state.exists() else "outdated"
    return "trained"


def is_there(recipe: Recipe, profile: str) -> bool:
    """Return whether weights and card of a recipe are there, whatever they hold."""
    weights, card, _ = paths(recipe.name, profile)
    return weights.exists() and card.exists()


def parse_weights(content: bytes, sha256: str, origin: Path) -> dict[str, Tensor]:
    """Return the weights of a file whose card says `sha256`, or refuse it, naming `origin`."""
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ValueError(
            f"{origin}: SHA-256 must be its card's, {sha256}, not {found}: cut or foreign"
        )
    try:
        return safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{origin} must be a safetensors file: {error}") from error


def hash_card(card: dict) -> dict:
    """Return a card with the hash of all else that is in it, "card_sha256"."""
    card = {key: value for key, value in card.items() if key != "card_sha256"}
    content = json.dumps(card, sort_keys=True, ensure_ascii=False).encode()
    return card | {"card_sha256": hashlib.sha256(content).hexdigest()}


def write_card(path: Path, card: dict) -> None:
    """Write a card, sealed, whole or not at all."""
    text = json.dumps(hash_card(card), indent=1, ensure_ascii=False)
    files.write_safely(path, text + "\n")


def read_card(path: Path, recipe: Recipe) -> dict:
    """Return the card of a recipe, whole and as it was written, or refuse it."""
    try:
        card = json.loads(path.read_bytes().decode())
        sealed = hash_card(card)
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} must be a checkpoint's card: {error!r}") from error
    if set(card) not in (CARD_KEYS, CARD_KEYS - {"card_sha256"}):
        wrong = ", ".join(sorted(set(card) ^ CARD_KEYS))
        raise ValueError(f"{path} must be a checkpoint's card: of its keys differ {wrong}")
    if card.get("card_sha256", sealed["card_sha256"]) != sealed["card_sha256"]:
        raise ValueError(
            f"{path} must be as it was written: its card_sha256 is not that of its figures"
        )
    if card["fingerprint"] != fingerprint(recipe):
        raise ValueError(
            f"{path} is of another recipe than {recipe.name!r} of this version "
            f"(fingerprint {card['fingerprint']}, not {fingerprint(recipe)}); train it again"
        )
    return card
