"""The recipes of every profile, by name."""

from collections.abc import Callable, Iterator, Mapping

from gahb_core.training.recipes import LAPTOP, SMOKE, Recipe
from gahb_core.training.scale import make_gpu_recipes, make_paper_recipes


class _Profiles(Mapping[str, dict[str, Recipe]]):
    """The tables by profile. Those at scale are made when asked for: counting takes seconds."""

    _makers: dict[str, Callable[[], dict[str, Recipe]]] = {
        "laptop": lambda: LAPTOP,
        "paper": make_paper_recipes,
        "gpu": make_gpu_recipes,
        "smoke": lambda: SMOKE,
    }

    def __getitem__(self, profile: str) -> dict[str, Recipe]:
        return self._makers[profile]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


RECIPES = _Profiles()


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
