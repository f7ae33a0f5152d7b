"""The four pictures of the front page's map, one a claim, drawn by the networks of the book.

    python tests/benchmarks/thumbnails.py

Writes book/_static/claim_1.png to claim_4.png, each of 2 × 2 images; half a minute of one core.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from gahb_book.plots import image_grid
from gahb_core.data import load_images
from gahb_core.jacobian.krylov import top_eigenpairs
from gahb_core.multiscale.cascade import Ascent, sample_cascade
from gahb_core.multiscale.denoising import multiscale_denoiser
from gahb_core.multiscale.haar import upsample_low
from gahb_core.noise import add_noise, sample_normal
from gahb_core.sampling.ascent import ascend, sample
from gahb_core.training import load_denoiser

OUT = Path(__file__).parents[2] / "book" / "_static"
SIDE = 264  # pixels of a picture, shown at half of them


def an_ascent() -> Tensor:
    """Return four moments of one ascent, from noise to a garment."""
    f = load_denoiser("fashion/N=10000/A")
    y0 = 0.5 + sample_normal((1, 1, 32, 32), 7, key="start")
    steps = list(ascend(f, y0, beta=0.1, seed=7))
    return torch.cat([steps[int(t * (len(steps) - 1))].y for t in (0, 0.4, 0.6, 1)])


def two_networks() -> Tensor:
    """Return what A (above) and B draw from one noise, knowing 10 images (left) and 10,000."""
    way = {"start": 1, "beta": 0.3, "mean": load_images("fashion", "A", 1000).mean(0)}
    found = [
        sample(load_denoiser(f"fashion/N={num}/{s}"), 1, (1, 32, 32), **way).x
        for s in "AB"
        for num in (10, 10_000)
    ]
    return torch.cat(found)


def a_basis() -> Tensor:
    """Return an image and three eigenvectors of a network's Jacobian there, ½ being zero.

    One oscillates within a region and stops at the contour, two oscillate along the contour.
    """
    x = load_images("c_alpha/alpha=4", "test", 23)[22:23]
    atoms = top_eigenpairs(load_denoiser("c_alpha/alpha=4"), add_noise(x, 0.1, 0), num=23).atoms
    chosen = atoms[[9, 15, 22]]
    most = chosen.abs().flatten(1).quantile(0.99, dim=1).reshape(-1, 1, 1, 1)
    return torch.cat([x, 0.5 + 0.5 * (chosen / most).clamp(-1, 1)])


def a_cascade() -> Tensor:
    """Return a face drawn coarse to fine, at 16, 32 and 64 pixels, all as large; and one in pixels.

    The last is what a network of pixels draws whose window is as small as those of the details.
    """
    details = [load_denoiser(f"local/faces/details={j}/RF=9") for j in (1, 2)]
    f = multiscale_denoiser(load_denoiser("faces/size=16/N=6000/A"), details)
    ways = {
        "low": Ascent(mean=0.5, beta=0.1, sigma_end=0.01),
        "details": Ascent(beta=0.5, sigma_0=0.3, sigma_end=0.005),
    }
    scales = list(sample_cascade(f, 2, 64, seed=5, **ways))
    x = torch.cat([upsample_low(scale.x[1:], scale.j) for scale in scales])
    x = ((x - x.mean()) / (5 * x.std()) + 0.5).clamp(0, 1)
    pixels = load_denoiser("local/faces/pixel/RF=9")
    drawn = sample(pixels, 2, (1, 64, 64), beta=0.1, mean=0.5, seed=5).x[1:]
    return torch.cat([x, ((drawn - drawn.mean()) / (5 * drawn.std()) + 0.5).clamp(0, 1)])


def draw() -> Iterator[tuple[str, Tensor]]:
    """Yield the name and the four images of each picture."""
    for number, make in enumerate((an_ascent, two_networks, a_basis, a_cascade), 1):
        yield f"claim_{number}.png", make()


@torch.no_grad()
def main() -> None:
    """Draw and write."""
    for name, images in draw():
        grid = Image.fromarray(image_grid(images, 2, gap=2 * images.shape[-1] // 32))
        grid.resize((SIDE, SIDE), Image.Resampling.NEAREST).save(OUT / name, optimize=True)
        print(name, (OUT / name).stat().st_size)


if __name__ == "__main__":
    main()
