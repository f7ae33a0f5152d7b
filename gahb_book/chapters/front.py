"""The figure of the front page, and the pictures that it starts from."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gahb_book.browser.figure import explore_network
from gahb_book.plots import to_uint8
from gahb_core.data import load_images
from gahb_core.jacobian.krylov import top_eigenpairs
from gahb_core.metrics.pairs import psnr
from gahb_core.noise import add_noise
from gahb_core.training import load_denoiser

NETWORKS = {
    "fashion/N=10000/A": "garments",
    "c_alpha/alpha=2": "contours",
    "faces/N=6000/A": "faces",
    "disks": "disks",
}
_EXAMPLES = {
    "fashion": {3: "a jumper", 7: "a bag", 30: "a boot", 37: "a sandal"},
    "c_alpha/alpha=2": {1: "a ridge", 21: "a hill", 22: "a valley"},
    "disks": {0: "a disk"},
}
SIGMAS = (0.02, 0.05, 0.08, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)
NEGATIVE, POSITIVE = (0, 84, 147), (188, 70, 0)
CAPTION = (
    "Draw on the first picture. Noise of deviation σ is added, and a network that learned from "
    "10,000 garments estimates what you drew. Below: the twelve harmonics that it keeps most of, "
    "and by which factor λ. They are those of <em>your</em> picture: move the noise, or draw, and "
    "they follow. Point at the estimate to see the filter that makes a pixel; hold a harmonic to "
    "see the estimate move along it."
)
NOTE = (
    "The network, its Jacobian and these eigenvectors are computed in your browser as you draw; "
    "nothing you draw or open leaves this machine."
)


def signed_colours(x: Tensor) -> np.ndarray:
    """Return a signed image (H, W) in blue (negative), white (0) and red, uint8 (H, W, 3).

    Full colour is the size that 98 of 100 pixels stay below; as host.js paints.
    """
    most = x.detach().abs().flatten().sort().values[int(0.98 * (x.numel() - 1))]
    t = (x.detach() / most.clamp(min=1e-12)).clamp(-1, 1).numpy()[..., None]
    ends = np.where(t < 0, NEGATIVE, POSITIVE)
    return np.rint(255 + (ends - 255) * np.abs(t)).astype(np.uint8)


def small_png(picture: np.ndarray) -> bytes:
    """Return a picture (H, W, 3) of greys, blues and reds as a PNG of 36 colours."""
    t = np.linspace(0, 1, 11)[1:, None]
    palette = np.repeat(np.linspace(0, 255, 16)[:, None], 3, 1)
    palette = np.concatenate(
        [palette, *(255 + (np.array(c) - 255) * t for c in (NEGATIVE, POSITIVE))]
    )
    gaps = picture.reshape(-1, 1, 3).astype(float) - palette
    nearest = (gaps**2).sum(2).argmin(1).astype(np.uint8).reshape(picture.shape[:2])
    image = Image.frombytes("P", nearest.shape[::-1], nearest.tobytes())
    image.putpalette(np.rint(palette).astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _tile(picture: Tensor | np.ndarray, side: int) -> np.ndarray:
    """Return a grey image (…, H, W) in [0, 1], or colours (H, W, 3), as `side` × `side` colours."""
    if isinstance(picture, Tensor):
        picture = to_uint8(picture.detach().reshape(picture.shape[-2:]))[..., None].repeat(3, 2)
    rows, columns = (np.arange(side) * n // side for n in picture.shape[:2])
    return picture[rows][:, columns]


def picture_of_tiles(
    panels: Sequence[Tensor | np.ndarray], atoms: Sequence[Tensor | np.ndarray] = ()
) -> bytes:
    """Return one picture, where the scripts cut: panels of 96×96, four a row, 4 pixels apart.

    Below them, eigenvectors of 64×64, six a row, 2 pixels apart.
    """
    below = 100 * -(-len(panels) // 4)
    picture = np.full(
        (below + 66 * -(-len(atoms) // 6) - 2 * (1 + (not atoms)), 396, 3), 255, np.uint8
    )
    for i, panel in enumerate(panels):
        top, left = 100 * (i // 4), 100 * (i % 4)
        picture[top : top + 96, left : left + 96] = _tile(panel, 96)
    for k, atom in enumerate(atoms):
        top, left = below + 66 * (k // 6), 66 * (k % 6)
        picture[top : top + 64, left : left + 64] = _tile(atom, 64)
    return small_png(picture)


def key_picture(x: Tensor, y: Tensor, x_hat: Tensor, atoms: Tensor) -> bytes:
    """Return the first state of the front page: x, y, f(y), y − f(y), and twelve eigenvectors."""
    rest = signed_colours((y - x_hat)[0, 0])
    return picture_of_tiles([x, y, x_hat, rest], [signed_colours(atom[0]) for atom in atoms])


def encode_pictures(x: Tensor, names: Sequence[str]) -> dict[str, Any]:
    """Return images (N, 1, S, S), a byte a pixel, and their names, as the scripts read them."""
    encoded = base64.b64encode(to_uint8(x).tobytes()).decode()
    return {"size": x.shape[-1], "examples": encoded, "names": list(names)}


def load_examples() -> tuple[Tensor, list[str]]:
    """Return the eight pictures (8, 1, 32, 32) that a reader may start from, and their names."""
    chosen = [
        (load_images(dataset, "test", max(items) + 1, 32)[list(items)], items.values())
        for dataset, items in _EXAMPLES.items()
    ]
    names = [name for _, items in chosen for name in items]
    return torch.cat([images for images, _ in chosen]), names


def explore_front(sigma: float = 0.3) -> Any:
    """Return the figure of the front page: draw, denoise, and see the eigenvectors, live."""
    examples, names = load_examples()
    f, x = load_denoiser(next(iter(NETWORKS))), examples[:1]
    y = add_noise(x, sigma, 0)
    x_hat, spectrum = f(y).detach(), top_eigenpairs(f, y, num=12, tol=5e-3)
    data = encode_pictures(examples, names) | {
        "first": 0,
        "sigma": sigma,
        "sigmas": SIGMAS,
        "lam": [round(v, 3) for v in spectrum.lam.tolist()],
        "psnr": [round(psnr(im, x).item(), 2) for im in (y, x_hat)],
        "pace": 40,
    }
    alt = (
        "A jumper of 32 by 32 pixels; the same under heavy noise; the network's estimate, again a "
        "jumper; what it took away, which looks like noise. Below, twelve eigenvectors of the "
        "network's Jacobian: most follow the outline of the jumper, its sleeves and its hem."
    )
    picture = key_picture(x, y, x_hat, spectrum.atoms)
    return explore_network(
        "front",
        list(NETWORKS),
        picture,
        alt=alt,
        caption=CAPTION,
        data=data,
        note=NOTE,
        labels=NETWORKS,
    )
