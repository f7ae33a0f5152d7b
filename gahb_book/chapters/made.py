"""The live figures of chapters 6 and 7: images made of a few things that a reader drags."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gahb_book.browser.figure import explore_network
from gahb_book.chapters.front import SIGMAS, picture_of_tiles, signed_colours
from gahb_core.images import draw_disks, make_c_alpha, tangent_vectors
from gahb_core.jacobian.krylov import top_eigenpairs
from gahb_core.noise import add_noise
from gahb_core.training import load_denoiser

NOTE = "The image, the network and the eigenvectors of its Jacobian are computed in your browser."
NUM = 12


def _harmonics(
    maker: str,
    networks: Sequence[str],
    x: Tensor,
    words: dict[str, str],
    sigma: float,
    told: dict[str, Any],
    tiles: Sequence[Any] = (),
) -> Any:
    """Return the figure of `maker` in harmonics.js, first seen at x (1, 1, S, S) and σ."""
    f, y = load_denoiser(networks[0]), add_noise(x, sigma, 0)
    x_hat, spectrum = f(y).detach(), top_eigenpairs(f, y, num=NUM, tol=1e-2)
    atoms = [signed_colours(atom[0]) for atom in spectrum.atoms]
    picture = picture_of_tiles([x, y, x_hat, signed_colours((y - x_hat)[0, 0])], [*tiles, *atoms])
    data = told | {
        "maker": maker,
        "size": x.shape[-1],
        "num": NUM,
        "sigma": sigma,
        "sigmas": SIGMAS,
        "lam": [round(v, 3) for v in spectrum.lam.tolist()],
        "text": words["keys"],
    }
    alt, caption = words["alt"], words["caption"]
    return explore_network(
        "harmonics", networks, picture, alt=alt, caption=caption, data=data, note=NOTE
    )


def explore_disk(
    name: str = "disks",
    parameters: Sequence[float] = (14.0, 18.0, 7.0, 0.8, 0.2),
    sigma: float = 0.05,
    size: int = 32,
) -> Any:
    """Return the figure of chapter 7: drag a disk; its tangent vectors, and the eigenvectors.

    Args:
        name: of a checkpoint of disks.
        parameters: where it starts: row, column, radius, foreground, background.
        sigma: of `front.SIGMAS`.
        size: of the image.
    """
    p = torch.tensor([parameters])
    tangents = [signed_colours(t[0]) for t in tangent_vectors(lambda q: draw_disks(q, size), p)[0]]
    words = {
        "keys": "the disk: drag its middle, or its rim; arrow keys move it, + and − change its "
        "radius",
        "alt": "A disk, noisy, estimated, and the residual; its five tangent vectors; twelve "
        "eigenvectors of the network. The first resemble mixtures of the tangent vectors; the "
        "later ones oscillate along the rim.",
        "caption": "Drag the disk by its middle, or its rim to change the radius. First row below: "
        "its five tangent vectors, exact. Then the network’s twelve eigenvectors with their "
        "factors, and how much of each lies in the tangent plane. The optimum would keep five "
        "vectors, all tangent, and nothing else; what comes after them runs along the rim.",
    }
    blank = torch.ones(1, 1, size, size)
    told = {"parameters": list(parameters)}
    x = draw_disks(p, size)
    return _harmonics("disk", [name], x, words, sigma, told, [*tangents, blank])


def explore_contour(
    alphas: Sequence[int] = (1, 2, 3, 4, 5),
    alpha: int = 2,
    *,
    sigma: float = 0.1,
    size: int = 32,
    item: int = 9,
) -> Any:
    """Return the figure of chapter 6: pull a contour, or set its α; the eigenvectors follow.

    Args:
        alphas: regularities, each with a network `c_alpha/alpha=…`.
        alpha: where it starts.
        sigma: of `front.SIGMAS`.
        size: of the image.
        item: index of the test image on the picture made beforehand.
    """
    order = [f"c_alpha/alpha={a}" for a in alphas]
    first = [f"c_alpha/alpha={alpha}", *(name for name in order if name[-1] != str(alpha))]
    words = {
        "keys": "the image: pull the contour by its eight handles; arrow keys left and right "
        "choose one, up and down pull it",
        "alt": "A bright and a dark region with a smooth contour between them, noisy, estimated, "
        "and the residual; twelve eigenvectors, of which the first vary slowly within the regions "
        "and others oscillate along the contour.",
        "caption": "Pull the contour by its handles, or set the regularity α of contour and "
        "regions: each α has its own network. The eigenvectors follow: some live within a region "
        "and stop at the contour, some run along it. With a small α they are as rough as the "
        "regions, with a large one smooth.",
    }
    places = [first.index(name) for name in order]
    told = {"alphas": list(alphas), "alpha": alpha, "seed": 1, "order": places}
    x = make_c_alpha(1, float(alpha), size, seed=2, start=item)
    return _harmonics("contour", first, x, words, sigma, told)
