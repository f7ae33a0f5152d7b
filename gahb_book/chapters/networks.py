"""The live figures of chapters 2 to 5 and 11: ascents, pairs, shrinkage, the spectrum, holes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gahb_book.browser.figure import explore_network
from gahb_book.chapters.front import SIGMAS, encode_pictures, picture_of_tiles, signed_colours
from gahb_book.chapters.start import draw_blur, encode_start, fit_start
from gahb_book.plots import to_uint8
from gahb_core.bases.wavelets import make_wavelet
from gahb_core.data import load_images
from gahb_core.denoisers.empirical import empirical_denoiser
from gahb_core.jacobian.krylov import top_eigenpairs
from gahb_core.metrics.pairs import correlation
from gahb_core.noise import add_noise
from gahb_core.sampling.ascent import sample
from gahb_core.sampling.measurements import measure_pixels, sample_constrained
from gahb_core.training import load_denoiser

COMPUTED = "Computed in your browser, as you look."
FITTED = 10_000  # images of A to which the starts of ascents are fitted
ITEMS = {3: "jumper", 7: "bag", 30: "boot", 37: "sandal"}


def explore_basis(
    networks: dict[str, str],
    dataset: str = "fashion",
    items: dict[int, str] | None = None,
    *,
    sigma: float = 0.3,
    num: int = 24,
    set_num: int = 100,
) -> Any:
    """Return the figure of chapter 5: the spectrum of a picture, and what each factor does.

    Args:
        networks: name of a checkpoint of 32×32 images → its name for readers.
        dataset: of the pictures, and of the small set whose exact denoiser stands beside.
        items: index of a test image → its name.
        sigma: where it starts, one of `front.SIGMAS`.
        num: eigenvectors.
        set_num: images of split A in the small set.
    """
    items = items or ITEMS
    x = load_images(dataset, "test", max(items) + 1, 32)[list(items)]
    f, y = load_denoiser(next(iter(networks))), add_noise(x[:1], sigma, 0)
    spectrum = top_eigenpairs(f, y, num=num, tol=1e-2)
    kept = f"images:{dataset}:A:{set_num}:32"
    exact = empirical_denoiser(load_images(dataset, "A", set_num, 32))(y, sigma)
    data = encode_pictures(x, [*items.values()]) | {
        "num": num,
        "sigma": sigma,
        "sigmas": SIGMAS,
        "lam": [round(v, 3) for v in spectrum.lam.tolist()],
    }
    picture = picture_of_tiles([y, f(y), signed_colours(spectrum.atoms[0, 0]), exact])
    alt = (
        "A noisy picture, the network's estimate of it, the eigenvector with the largest factor, "
        f"and what the exact denoiser of {set_num} other images makes of the same: one of those."
    )
    caption = (
        "The factors λ of the picture above, largest first. Choose one: the estimate sways once "
        "along its eigenvector, and “along e” holds it there. Move σ: they fall as the noise "
        f"grows. On the right, the exact denoiser of {set_num} other images answers with a mixture "
        "of these, where the noise is small with one."
    )
    return explore_network(
        "basis", list(networks), picture, alt=alt, caption=caption,
        data=data, note=COMPUTED, labels=networks, sets=[kept],
    )  # fmt: skip


def explore_born(
    dataset: str = "fashion",
    nums: Sequence[int] = (1, 10, 100, 1_000, 10_000),
    items: dict[int, str] | None = None,
    *,
    sigma: float = 0.2,
) -> Any:
    """Return the figure of 05_born: one picture under networks that learned from more and more.

    Args:
        dataset: of the pictures, and of networks `dataset/N=…/A` and `/B` of 32×32 images.
        nums: training images of each.
        items: index of a test image → its name.
        sigma: where it starts, one of `front.SIGMAS`.
    """
    items, num = items or ITEMS, 5  # with the estimate, six tiles a row
    names = [[f"{dataset}/N={n}/{split}" for n in nums] for split in "AB"]
    x = load_images(dataset, "test", max(items) + 1, 32)[list(items)]
    y, lam = add_noise(x[:1], sigma, 0), []
    tiles: list[Any] = []
    for name in names[0]:
        f = load_denoiser(name)
        spectrum = top_eigenpairs(f, y, num=num, tol=1e-2)
        tiles += [f(y), *(signed_colours(atom[0]) for atom in spectrum.atoms)]
        lam.append([round(v, 3) for v in spectrum.lam.tolist()])
    data = encode_pictures(x, [*items.values()]) | {
        "nums": list(nums), "num": num, "of": names, "sigma": sigma, "sigmas": SIGMAS,
        "lam": lam, "most": 32,
    }  # fmt: skip
    alt = (
        "A picture and its noisy version; for each number of training images, from one to "
        f"{nums[-1]:,}, the network's estimate and its five first eigenvectors. With few they show "
        "the training images; with many they follow the contours of the picture."
    )
    caption = (
        "Draw. Each row is a network that learned from N images: its estimate of your picture, and "
        "the five eigenvectors with the largest factors. Find the N from which they follow your "
        "lines. Then switch from A to B, which shares no image with A: which rows stay as they are?"
    )
    picture = picture_of_tiles([x[:1], y], tiles)
    every = [name for of_split in names for name in of_split]
    return explore_network(
        "born", every, picture, alt=alt, caption=caption, data=data, note=COMPUTED
    )


def explore_climb(name: str = "fashion/N=10000/A", dataset: str = "fashion", num: int = 100) -> Any:
    """Return the figure of chapter 2: an ascent with the reader's h, β, σ_end, ramp and seed.

    Args:
        name: of a checkpoint of 32×32 images.
        dataset: of the memorizer's images.
        num: of its images, the first of split A.
    """
    kept, shape = f"images:{dataset}:A:{num}:32", (1, 32, 32)
    fit = fit_start(load_images(dataset, "A", FITTED, 32))
    memory = empirical_denoiser(load_images(dataset, "A", num, 32))
    given: dict[str, Any] = {"seed": 1, "sigma_end": 0.02, "mean": draw_blur(fit, 1)}
    ours = sample(load_denoiser(name), 1, shape, **given)
    theirs = sample(memory, 1, shape, blind=False, **given)
    data = {
        "start": encode_start(fit),
        "size": 32, "h": 0.01, "beta": 0.1, "sigmaEnd": 0.01, "count": num,
        "hs": [0.002, 0.005, 0.01, 0.02, 0.05, 0.1], "betas": [0.02, 0.05, 0.1, 0.2, 0.5, 1.0],
        "ends": [0.005, 0.01, 0.02, 0.05, 0.1],
    }  # fmt: skip
    alt = (
        "Where two ascents from the same start end: the network's, and its estimate; the "
        f"memorizer's of {num} garments, and its estimate, which is one of them."
    )
    caption = (
        "From one start, a blur plus noise, the network draws a garment of its own and the "
        f"memorizer of {num} garments draws one of them. Step, β and end are yours. Blue: the "
        "network’s σ̂, read off its residual; orange: the memorizer’s; dashed: the schedule "
        "σ ← (1 − βh) σ."
    )
    picture = picture_of_tiles([ours.y_end, ours.x, theirs.y_end, theirs.x])
    return explore_network(
        "climb", [name], picture, alt=alt, caption=caption, data=data, note=COMPUTED, sets=[kept]
    )


def explore_pairs(
    dataset: str = "fashion", nums: Sequence[int] = (1, 10, 100, 1_000, 10_000), kept: int = 100
) -> Any:
    """Return the figure of chapter 3: what A's and B's networks draw from the same noise.

    Args:
        dataset: of networks `dataset/N=…/A` and `/B` of 32×32 images.
        nums: training images of each.
        kept: up to this N the closest training image is shown.
    """
    networks = [f"{dataset}/N={n}/{split}" for n in nums for split in "AB"]
    sets = [f"images:{dataset}:{split}:{kept}:32" for split in "AB"]
    fit = fit_start(load_images(dataset, "A", FITTED, 32))
    given: dict[str, Any] = {"seed": 1, "mean": draw_blur(fit, 1), "beta": 1.0}
    drawn = [sample(load_denoiser(n), 1, (1, 32, 32), **given).x for n in networks[-2:]]
    blank = torch.ones(1, 1, 32, 32)
    data = {"size": 32, "dataset": dataset, "nums": list(nums), "betas": [1.0, 0.1], "kept": kept}
    alt = (
        f"Two images drawn from the same start by networks that saw disjoint sets of {nums[-1]:,} "
        f"images; they correlate {float(correlation(*drawn)):.2f}."
    )
    caption = (
        "With few training images each network gives back one of its own, and with many both draw "
        "nearly the same. “New noise” draws a new start, a blur plus noise. The histogram keeps "
        "count. Find the N at which its mass moves to 1, then put noise back on the way (β = 0.1)."
    )
    picture = picture_of_tiles([*drawn, blank, blank])
    data |= {"start": encode_start(fit)}
    return explore_network(
        "pair", networks, picture, alt=alt, caption=caption, data=data, note=COMPUTED, sets=sets
    )


def explore_shrink(
    name: str = "fashion/N=10000/A",
    dataset: str = "fashion",
    items: dict[int, str] | None = None,
    *,
    sigma: float = 0.2,
    num: int = 48,
) -> Any:
    """Return the figure of chapter 4: drag the threshold, in a fixed basis or the network's own.

    Args:
        name: of a checkpoint of 32×32 images.
        dataset: of the pictures.
        items: index of a test image → its name.
        sigma: where it starts, one of `front.SIGMAS`.
        num: eigenvectors of the network's own basis.
    """
    items = items or ITEMS
    x = load_images(dataset, "test", max(items) + 1, 32)[list(items)]
    y, wavelets = add_noise(x[:1], sigma, 0), make_wavelet(32, "haar", 3)
    c = wavelets.analyze(y)
    x_hat = wavelets.synthesize(c * (c.abs() > 3 * sigma))
    data = encode_pictures(x, [*items.values()]) | {
        "sigma": sigma,
        "sigmas": SIGMAS,
        "num": num,
        "a": 3.0,
    }
    error, away = (signed_colours(part[0, 0]) for part in (x_hat - x[:1], y - x_hat))
    alt = (
        "A noisy picture, its estimate from the wavelet coefficients above three σ, the error, "
        "which shows blocks at the outline, and what was dropped, which is mostly noise."
    )
    caption = (
        "Shrink it yourself: drag the threshold over the coefficients (blue: of y, largest first; "
        "orange: the same of x). In pixels noise and image are mixed at every size. Waves and "
        "wavelets bring the image to the front. The network’s own basis is made of the first "
        f"{num} eigenvectors of its Jacobian (of the symmetric part) at this y, and what is beyond "
        "them is dropped: it was chosen for this picture. The network itself is better still, for "
        "its Jacobian is not symmetric: it reads y with other vectors than those it writes with."
    )
    picture = picture_of_tiles([y, x_hat, error, away])
    return explore_network(
        "shrink", [name], picture, alt=alt, caption=caption, data=data, note=COMPUTED
    )


def explore_inpaint(
    name: str = "fashion/N=10000/A", dataset: str = "fashion", items: dict[int, str] | None = None
) -> Any:
    """Return the figure of chapter 11: paint over a picture; completions, mean and spread.

    Args:
        name: of a checkpoint of 32×32 images.
        dataset: of the pictures.
        items: index of a test image → its name.
    """
    items = items or {30: "boot", 7: "bag", 3: "jumper", 37: "sandal"}
    x = load_images(dataset, "test", max(items) + 1, 32)[list(items)]
    mask = torch.ones(1, 32, 32, dtype=torch.bool)
    mask[:, 10:22, 10:22] = False
    problem, shape = measure_pixels(mask), (1, 32, 32)
    given = problem.analyze(x[:1]).repeat(4, 1)
    found = sample_constrained(load_denoiser(name), problem, given, shape, seed=1).x
    mean, spread = found.mean(0), found.std(0)
    error = (mean - x[0]).abs()
    most = max(spread.max(), error.max())
    hidden = to_uint8(x[0, 0])[..., None].repeat(3, 2)
    hidden[~mask[0].numpy()] = (230, 159, 0)
    alt = (
        "A boot with a square in its middle unknown; four completions by the network, which differ "
        "within the square; their mean; their spread, and what the mean misses, both in the square."
    )
    caption = (
        "Paint over a part of the picture and let the network complete it: four ascents from four "
        "noises, in which the pixels that are known stay as they are. Their mean is blurred where "
        "they differ; spread and error (bright is large, on one scale) lie in the same places."
    )
    panels = [hidden, *found, mean, spread / most, error / most]
    data = encode_pictures(x, [*items.values()]) | {"brush": 3}
    picture = picture_of_tiles(panels)
    return explore_network(
        "inpaint", [name], picture, alt=alt, caption=caption, data=data, note=COMPUTED
    )


def explore_photo(
    networks: dict[str, str], photo: Tensor, sigma: float = 0.2, num: int = 24
) -> Any:
    """Return the figure of chapter 5 on a window of a photograph (1, 1, S, S), to be moved.

    Args:
        networks: as in `explore_basis`.
        photo: grey, in [0, 1]; its middle square is taken.
        sigma: where it starts, one of `front.SIGMAS`.
        num: eigenvectors.
    """
    side = min(photo.shape[-2:])
    top, left = ((n - side) // 2 for n in photo.shape[-2:])
    photo = photo[:1, :1, top : top + side, left : left + side].float()
    corner = [round(0.15 * (side - 32)), round(0.45 * (side - 32))]
    x = photo[..., corner[0] : corner[0] + 32, corner[1] : corner[1] + 32]
    f, y = load_denoiser(next(iter(networks))), add_noise(x, sigma, 0)
    spectrum = top_eigenpairs(f, y, num=num, tol=1e-2)
    data = encode_pictures(x, ["the window"]) | {
        "photo": encode_pictures(photo, [])["examples"],
        "side": side,
        "corner": corner,
        "num": num,
        "sigma": sigma,
        "sigmas": SIGMAS,
        "lam": [round(v, 3) for v in spectrum.lam.tolist()],
    }
    alt = "A window of a photograph under noise, the estimate, its first eigenvector, the window."
    caption = (
        "Move the window over the photograph. A network that never saw such images still makes "
        "vectors that follow their contours; the dark frame that it adds is what it knows of "
        "garments."
    )
    picture = picture_of_tiles([y, f(y), signed_colours(spectrum.atoms[0, 0]), x])
    return explore_network(
        "basis", list(networks), picture, alt=alt, caption=caption,
        data=data, note=COMPUTED, labels=networks,
    )  # fmt: skip
