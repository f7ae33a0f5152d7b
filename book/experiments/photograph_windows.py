"""How much of the eigenvectors lies on contours, at six windows of the photograph and not at one.

    python book/experiments/photograph_windows.py

The eight leading eigenvectors of the published network of photographs at σ = .15, at windows of
64×64 pixels on a grid over the halved photograph: some ten seconds of a core each. What is in the
file is not measured again. The page on the basis of a photograph shows it, beside its own window.
"""

import pywt
import torch
from scipy.ndimage import binary_dilation
from skimage.feature import canny

from gahb_book.measured import FOLDER, measure_missing
from gahb_core import jacobian, noise
from gahb_core.training import load_denoiser

OUT = FOLDER / "photograph_windows.json"
SIDE, SIGMA, NUM, TOLERANCE = 64, 0.15, 8, 0.05
ROWS, COLUMNS = (0, 96, 192), (0, 96)


def measure_window(corner: tuple[int, int]) -> dict[str, list[float] | float]:
    """Return the factors, and each eigenvector's share of energy within a pixel of a contour."""
    f = load_denoiser("BSD400_gray", "laptop", "cpu")
    f.net.requires_grad_(False)
    photograph = torch.tensor(pywt.data.camera() / 255).float()[None, None]
    row, column = corner
    half = torch.nn.functional.avg_pool2d(photograph, 2)
    x = half[..., row : row + SIDE, column : column + SIDE]
    y = noise.add_noise(x, SIGMA, 0)
    spectrum = jacobian.top_eigenpairs(f, y, num=NUM, tol=TOLERANCE, block=16)
    contours = canny(x[0, 0].double().numpy(), sigma=1.5)
    near = torch.from_numpy(binary_dilation(contours))
    share = (spectrum.atoms[:, 0].square() * near).sum((1, 2))
    return {
        "area": round(float(near.float().mean()), 4),
        "share": [round(float(v), 4) for v in share],
        "lam": [round(float(v), 4) for v in spectrum.lam],
    }


def main() -> None:
    """Measure what is missing and write."""
    torch.set_num_threads(1)
    windows = {f"{row},{column}": (row, column) for row in ROWS for column in COLUMNS}
    measure_missing(OUT, "windows", windows, measure_window, sigma=SIGMA, side=SIDE)


if __name__ == "__main__":
    main()
