"""The recipes of every profile, by name."""

from gahb_core.training.recipes import LAPTOP, SMOKE, Recipe
from gahb_core.training.scale import GPU, PAPER

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
