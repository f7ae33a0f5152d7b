"""What form and width do to a network of details: short trainings at level 2 of faces.

    python book/experiments/details_form.py

Trains the recipes `local/faces/details=2/RF=…` of FIELDS for STEPS in each of FORMS, that of the
widest field also with twice the channels (a minute of one core each), and all fields in the last
form also for four times as long. Those of WINDOWS get 64 channels and a long training (twenty
minutes each; that of 5×5 in the file is from a GPU). Each is measured on the same images of split
B. A variant that is in the file is not trained again. The page on training shows it.
"""

from dataclasses import replace
from functools import partial

import torch

from gahb_book.measured import FOLDER, measure_missing
from gahb_core.data import load_images
from gahb_core.metrics.curves import psnr_curve
from gahb_core.metrics.pairs import psnr
from gahb_core.multiscale.denoising import conditional_denoiser
from gahb_core.noise import sigma_from_psnr
from gahb_core.training import Recipe, clean_bands, find_recipe, fit

OUT = FOLDER / "details_form.json"
PSNR_IN = (0, 5, 10, 15, 20, 25, 30, 40)  # of the bands
FIELDS, NUM, STEPS = (9, 43), 256, 3_000
WINDOWS = (5, 9)  # with so many channels and images that they differ by their windows
LONG = {"channels": (64,), "batch_size": 32, "num_steps": 13_000}
FORMS = {
    "skip": {"skip": True, "residual": False},
    "no skip": {"skip": False, "residual": False},
    "residual": {"skip": False, "residual": True},
}


def list_variants() -> dict[str, Recipe]:
    """Return the recipes to compare, by what they are called on the page."""
    found = {}
    for field in FIELDS:
        recipe = find_recipe(f"local/faces/details=2/RF={field}")
        widths = (1, 2) if field == max(FIELDS) else (1,)
        for times in widths:
            width = times * recipe.channels[0]
            for form, switches in FORMS.items():
                name = f"{field}×{field}, {width} channels, {form}"
                found[name] = replace(recipe, channels=(width,), num_steps=STEPS, **switches)
        name = f"{field}×{field}, {recipe.channels[0]} channels, residual, 4 × the steps"
        found[name] = replace(recipe, num_steps=4 * STEPS)
    for field in WINDOWS:
        recipe = replace(find_recipe(f"local/faces/details=2/RF={field}"), **LONG)
        found[f"{field}×{field}, 64 channels, residual, 416,000 images"] = recipe
    return found


def measure(recipe: Recipe) -> list[float]:
    """Train, and return the mean PSNR-out of the details at each of PSNR_IN, to hundredths."""
    *_, last = fit(recipe)
    given, x = clean_bands(recipe, load_images(recipe.dataset, "B", NUM, recipe.size))
    f = partial(conditional_denoiser(last.net), condition=given)
    curve = psnr_curve(f, x, [sigma_from_psnr(p) for p in PSNR_IN], seed=1, batch=NUM)
    return [round(float(v), 2) for v in curve.mean(0)]


def main() -> None:
    """Measure what is missing and write."""
    torch.set_num_threads(1)
    variants = list_variants()
    recipe = next(iter(variants.values()))
    _, x = clean_bands(recipe, load_images(recipe.dataset, "B", NUM, recipe.size))
    zero = round(float(psnr(torch.zeros_like(x), x).mean()), 2)
    measure_missing(OUT, "psnr_out", variants, measure, psnr_in=PSNR_IN, zero=zero)


if __name__ == "__main__":
    main()
