"""The authors' networks of every field, in pixels and in wavelets, on six photographs.

    python book/experiments/authors_by_field.py

PSNR-out by domain and field, photograph and PSNR-in, with the noise of chapter 9's page of
published networks: half a minute. What is in the file is not measured again. That page shows it,
and computes one value of each network anew.
"""

import torch
from authors_at_sigma import CROPS, FIELDS, crop

from gahb_book.measured import FOLDER, measure_missing
from gahb_core import metrics
from gahb_core.noise import sigma_from_psnr
from gahb_core.training import load_denoiser, load_multiscale

OUT = FOLDER / "authors_by_field.json"
PSNR_IN = (-8, 0, 7, 14, 22, 30)
LOW = "multi_scale__RF_40x40_low"


def measure(variant: tuple[str, int]) -> list[list[float]]:
    """Return PSNR-out by photograph and PSNR_IN, in dB, of a domain and a field."""
    domain, field = variant
    name = f"RF_{field}x{field}"
    if domain == "pixel":
        f = load_denoiser(f"flat__{name}")
    else:
        f = load_multiscale(LOW, [f"multi_scale__{name}_scale_{i}" for i in (0, 1)])
    x = torch.stack([crop(photograph) for photograph in CROPS])
    with torch.no_grad():
        curve = metrics.psnr_curve(f, x, [sigma_from_psnr(p) for p in PSNR_IN], 0, batch=1)
    return [[round(float(v), 4) for v in row] for row in curve]


def main() -> None:
    """Measure what is missing and write."""
    torch.set_num_threads(1)
    variants = {f"{domain} {r}": (domain, r) for domain in ("pixel", "wavelet") for r in FIELDS}
    measure_missing(OUT, "psnr_out", variants, measure, psnr_in=PSNR_IN, photographs=list(CROPS))


if __name__ == "__main__":
    main()
