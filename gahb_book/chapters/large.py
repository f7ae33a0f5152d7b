"""The live figures of chapters 9 and 10: filters of local networks, and details on a sketch."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from gahb_book.browser.figure import explore_network
from gahb_book.chapters.front import SIGMAS, encode_pictures, picture_of_tiles, signed_colours
from gahb_core.data import load_images
from gahb_core.jacobian.products import adaptive_filters
from gahb_core.multiscale.cascade import Ascent, super_resolve
from gahb_core.multiscale.denoising import multiscale_denoiser
from gahb_core.multiscale.haar import haar_decompose, upsample_low
from gahb_core.noise import add_noise
from gahb_core.training import load_denoiser, load_multiscale

NOTE = "Computed in your browser, as you look."


def _field(family: str, r: int) -> dict[str, Any]:
    """Return a receptive field's name and networks: in pixels, and of details, finest first."""
    details = [f"local/{family}/details={j}/RF={r}" for j in (1, 2)]
    return {"name": f"{r}×{r}", "flat": f"local/{family}/pixel/RF={r}", "details": details}


def explore_filters(
    family: str,
    low: str,
    x: Tensor,
    pixel: tuple[int, int],
    *,
    fields: Sequence[int] = (5, 9, 13, 23, 43),
    sigma: float = 0.2,
) -> Any:
    """Return the figure of chapter 9: filters under the pointer, in pixels and in wavelets.

    Args:
        family: of the local networks, "faces" or "c_alpha".
        low: name of the low band's network.
        x: the image (1, 1, S, S).
        pixel: where it starts, (row, column).
        fields: receptive fields, of which 9 comes first.
        sigma: where it starts, one of `front.SIGMAS`.
    """
    told, first, y = [_field(family, r) for r in fields], fields.index(9), add_noise(x, sigma, 0)
    systems = load_denoiser(told[first]["flat"]), load_multiscale(low, told[first]["details"])
    at = [(pixel[0], pixel[1])]
    found = [signed_colours(adaptive_filters(f, y, pixels=at)[0, 0]) for f in systems]
    data = encode_pictures(x, ["the image"]) | {
        "sigma": sigma,
        "sigmas": SIGMAS,
        "fields": told,
        "first": first,
        "low": low,
        "pixel": list(pixel)[::-1],
    }
    alt = (
        "A noisy image, the clean one, and the filters of one pixel: in pixels it fills a window "
        "of nine by nine; in wavelets it is coarse, in blocks, and wider than that."
    )
    caption = (
        "Point at a pixel of y or x, or move with the arrow keys: on the right are the filters "
        "that make it, zero in white. In pixels the filter ends where the receptive field does. In "
        "wavelets the same field reaches much further, for the low band is seen whole. Move σ, and "
        "the field."
    )
    names = [low, *(n for field in told for n in (field["flat"], *field["details"]))]
    picture = picture_of_tiles([y, x, *found])
    return explore_network(
        "filters", names, picture, alt=alt, caption=caption, data=data, note=NOTE
    )


def explore_cascade(
    details: Sequence[str],
    dataset: str,
    way: Mapping[str, Any] | None = None,
    *,
    items: Sequence[int] = (0, 1, 2),
    size: int = 64,
) -> Any:
    """Return the figure of chapter 10: details drawn on a sketch, level by level.

    Args:
        details: names of the networks of details, finest first.
        dataset: of the test images whose low bands one may start from.
        way: how details are drawn, of `multiscale.Ascent`: beta, sigma_0, sigma_end.
        items: indices of those images.
        size: of the finished image.
    """
    way = dict(way or {"beta": 0.1, "sigma_0": 0.5, "sigma_end": 0.005})
    levels = len(details)
    x = load_images(dataset, "test", max(items) + 1, size)[list(items)]
    low = haar_decompose(x, levels).low.clamp(0, 1)
    nets: list[Any] = [load_denoiser(name) for name in details]  # conditional ones
    model = multiscale_denoiser(lambda y, sigma=None: y, nets)
    start, *reached = super_resolve(model, low[:1], seed=1, details=Ascent(**way))
    final = reached[-1].x
    added = final - upsample_low(start.x, levels)
    keys = {"beta": "beta", "sigma_0": "sigma0", "sigma_end": "sigmaEnd"}
    data = encode_pictures(low, [f"sketch {i + 1}" for i in range(len(items))])
    data |= {"details": list(details)} | {keys[k]: v for k, v in way.items()}
    alt = (
        "A sketch of 16 by 16 pixels, the image of 32 by 32 and that of 64 by 64 that the networks "
        "made of it, and the details that they added, which lie along the contours."
    )
    caption = (
        "Draw on the sketch, or take the low band of a test image, and let the details be drawn: "
        "first those of level 2, then, on top of them, those of level 1. Each network sees a few "
        "pixels of its level and is told what is coarser. Draw them again: contours stay where the "
        "sketch has them, and their course within its pixels changes."
    )
    panels: list[Any] = [start.x, *(scale.x for scale in reached), signed_colours(added[0, 0])]
    picture = picture_of_tiles(panels)
    return explore_network(
        "cascade", list(details), picture, alt=alt, caption=caption, data=data, note=NOTE
    )
