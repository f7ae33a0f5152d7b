"""The authors' networks of pixels at the noise levels of their table, on six photographs.

    python book/experiments/authors_at_sigma.py

PSNR-out by field, σ and photograph, with the noise of chapter 9's page of published networks: some
fifteen seconds. What is in the file is not measured again. That page shows it, and computes one
photograph anew.
"""

import skimage.data
import torch

from gahb_book.measured import FOLDER, measure_missing
from gahb_core import metrics
from gahb_core.training import load_denoiser

OUT = FOLDER / "authors_at_sigma.json"
FIELDS, SIGMAS, SIZE = (5, 9, 13, 23, 43), (20, 60, 120, 180, 260), 160  # σ of 255
CROPS = {  # of the photographs of scikit-image: top, left
    "astronaut": (20, 140),
    "camera": (60, 150),
    "chelsea": (60, 110),
    "coffee": (80, 140),
    "rocket": (180, 250),
    "coins": (60, 60),
}


def crop(name: str) -> torch.Tensor:
    """Return a grey crop of a photograph, (1, SIZE, SIZE) in [0, 1]."""
    top, left = CROPS[name]
    photograph = getattr(skimage.data, name)() / 255
    grey = photograph.mean(-1) if photograph.ndim == 3 else photograph
    return torch.from_numpy(grey[top : top + SIZE, left : left + SIZE]).float()[None]


def measure(field: int) -> list[list[float]]:
    """Return PSNR-out by photograph and σ, in dB."""
    f = load_denoiser(f"flat__RF_{field}x{field}")
    f.net.requires_grad_(False)
    x = torch.stack([crop(name) for name in CROPS])
    curve = metrics.psnr_curve(f, x, [s / 255 for s in SIGMAS], 0, batch=1)
    return [[round(float(v), 4) for v in row] for row in curve]


def main() -> None:
    """Measure what is missing and write."""
    torch.set_num_threads(1)
    fields = {str(field): field for field in FIELDS}
    measure_missing(OUT, "psnr_out", fields, measure, sigmas=SIGMAS, photographs=list(CROPS))


if __name__ == "__main__":
    main()
