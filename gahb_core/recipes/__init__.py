"""Recipes: everything that decides a trained network, by name and profile."""

from gahb_core.recipes.scale import GPU, GPU_RATE, PAPER, WIDTHS, count_flop
from gahb_core.recipes.table import (
    DETAIL_WIDTHS,
    LAPTOP,
    PIXEL_WIDTHS,
    SMOKE,
    TWICE,
    Recipe,
    as_in_papers,
    fingerprint,
    make_network,
    to_json,
)

__all__ = [
    "DETAIL_WIDTHS", "GPU_RATE", "LAPTOP", "PIXEL_WIDTHS", "RECIPES", "TWICE", "WIDTHS",
    "Recipe", "as_in_papers", "count_flop", "find_recipe", "fingerprint", "make_network", "to_json",
]  # fmt: skip

RECIPES: dict[str, dict[str, Recipe]] = {
    "laptop": LAPTOP,
    "paper": PAPER,
    "gpu": GPU,
    "smoke": SMOKE,
}


def find_recipe(name: str, profile: str = "laptop") -> Recipe:
    """Return the recipe of a name.

    Raises:
        ValueError: for an unknown profile or name, with those there are.
    """
    if profile not in RECIPES:
        raise ValueError(f"profile must be one of {list(RECIPES)}, not {profile!r}")
    if name not in RECIPES[profile]:
        raise ValueError(
            f"name must be a recipe of {profile!r} ({', '.join(RECIPES[profile])}), not {name!r}"
        )
    return RECIPES[profile][name]
