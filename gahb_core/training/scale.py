"""Recipes of the papers' size, trained as theirs, or as this book does for an hour of a GPU."""

from dataclasses import replace
from functools import cache
from typing import Any

import torch

from gahb_core.networks.models import SPATIAL_LAYERS
from gahb_core.noise import SigmaLaw
from gahb_core.training.recipes import (
    DETAIL_WIDTHS,
    LAPTOP,
    Recipe,
    as_in_papers,
    for_dataset_sizes,
    make_empty,
)

# the papers' widths by the side of the images: 1 to 4 blocks
WIDTHS = {20: (64, 128), 40: (64, 128, 256), 80: (64, 128, 256, 512)}
WIDTHS[160] = (*WIDTHS[80], 1024)
GPU_RATE = 8e13  # FLOP/s of training, as measured on an H200 (book/measured/gpu.json)


# what of a recipe decides the operations of its network
_FORM = ("architecture", "channels", "num_layers", "spatial_layers", "bands", "level", "size")


def count_flop(recipe: Recipe) -> int:
    """Return the operations of one image through a network, two a product; norms do not count."""
    form = {name: getattr(recipe, name) for name in (*_FORM, "told_sigma")}
    return _count_flop(Recipe("", "", **form))


@cache
def _count_flop(recipe: Recipe) -> int:
    with torch.device("meta"):
        return make_empty(recipe).count_operations(recipe.size >> recipe.level)


def _at_scale(recipe: Recipe) -> Recipe:
    """Return the recipe at the papers' size; fashion, faces stay at the largest that they have."""
    local = recipe.name.startswith("local/")
    family = recipe.dataset.removeprefix("shuffled/").partition("/")[0]
    largest = {"fashion": 32, "ray": 32, "faces": 64}.get(family, 160 if local else 80)
    named = "/size=" in recipe.name
    if recipe.architecture == "bfcnn":
        return replace(recipe, channels=(64,), size=largest)
    if recipe.architecture == "transformer":  # DiT-S
        return replace(recipe, channels=(384,), num_layers=12, size=largest)
    return replace(recipe, channels=WIDTHS[80], size=recipe.size if named else largest)


def _paper(recipe: Recipe) -> Recipe:
    """Return a recipe of the papers' size trained as theirs; energies and bands keep their law."""
    large = replace(recipe, batch_size=512)
    if recipe.architecture == "energy":
        return replace(large, batch_size=64, num_steps=100_000)
    law = recipe.law if recipe.bands == "details" else SigmaLaw("power", 0.0, 1.0, 2.0)
    return replace(as_in_papers(large, num_steps=488_000), law=law)


def _gpu(recipe: Recipe) -> Recipe:
    """Return a recipe of the papers' size trained as this book does, for an hour of one GPU.

    Backward costs twice forward. A network too small to keep a GPU busy stops at 100,000 steps. In
    float32, as bfloat16 gains 6% while threads make the images: 4,300 against 4,100 a second.
    """
    batch = 16 if recipe.architecture == "energy" else 128
    passes = 9 if recipe.architecture == "energy" else 3  # an energy's score is itself a gradient
    steps = int(GPU_RATE * 3600 / (passes * count_flop(recipe) * batch)) // 1000 * 1000
    steps = max(1000, min(steps, 100_000))
    return replace(recipe, batch_size=batch, num_steps=steps)


@cache
def _scaled() -> list[Recipe]:
    """Return what the chapters need, and CelebA and LSUN, at the papers' size."""
    table = [_at_scale(r) for r in LAPTOP.values()]
    for dataset in ("celeba", "lsun"):
        large = Recipe("", dataset, size=80, channels=WIDTHS[80])
        table += for_dataset_sizes(large, dataset, (100_000, 1, 10, 100, 1_000, 10_000))
    photos = Recipe("", "celeba", num=100_000)
    for side, widths in WIDTHS.items():  # "how many": of each size
        for num in (1, 10, 100, 1_000, 10_000, 100_000) if side != 80 else ():
            name = f"celeba/size={side}/N={num}/A"
            table.append(replace(photos, name=name, num=num, size=side, channels=widths))
    stack = replace(photos, architecture="bfcnn", channels=(64,), size=40)
    table += for_dataset_sizes(stack, "bfcnn/celeba", (100_000, 10))
    for side, levels, images in ((160, 2, photos), (320, 3, Recipe("", "c_alpha/alpha=2"))):
        family = images.dataset.partition("/")[0]
        table += _large(f"local/{family}/size={side}", replace(images, size=side), levels)
    return table


def _large(prefix: str, images: Recipe, levels: int) -> list[Recipe]:
    """Return the networks of images of 160×160 and more: x_J, and details of J levels by field."""
    low = replace(images, level=levels, channels=WIDTHS[40])
    table = [replace(low, name=f"{prefix}/low")]
    for level in range(1, levels + 1):
        law = SigmaLaw("power", 0.005 / 2**level, 1.0, 2.0)
        bands: dict[str, Any] = {"level": level, "bands": "details", "residual": True, "law": law}
        for side in DETAIL_WIDTHS:
            fields: dict[str, Any] = {"channels": (64,), "spatial_layers": SPATIAL_LAYERS[side]}
            name = f"{prefix}/details={level}/RF={side}"
            made = replace(images, name=name, architecture="bfcnn", freeze_norm=0.1)
            table.append(replace(made, **fields, **bands))
    return table


@cache
def make_paper_recipes() -> dict[str, Recipe]:
    """Return the recipes of the papers' size, trained as theirs, by name."""
    return {r.name: _paper(r) for r in _scaled()}


@cache
def make_gpu_recipes() -> dict[str, Recipe]:
    """Return the recipes of the papers' size, trained for an hour of one GPU, by name."""
    return {r.name: _gpu(r) for r in _scaled()}
