"""What is measured of a denoiser, and of the book's network of garments, kept in the package."""

import io
import json
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gahb_core import experiments, jacobian, sampling
from gahb_core.adapters import check_denoiser
from gahb_core.checks import check_count, check_finite, check_images, check_number
from gahb_core.denoisers.contract import Denoiser
from gahb_core.files import write_safely
from gahb_core.noise import add_noise

SIGMAS = (0.5, 0.25, 0.1, 0.05, 0.025, 0.0125)
NUM_CURVE = 16  # images of the curve
NUM_UV = 6
FATAL = {"call", "independence", "derivative", "adjoint"}  # faults after which no figure is one
ASCENT = {"h": 0.05, "beta": 0.5}
GARMENTS = Path(__file__).with_name("garments.npz")


class Examination(NamedTuple):
    """All that was found of a denoiser: `numbers` for JSON, and `arrays` for figures."""

    numbers: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def to_bytes(self) -> bytes:
        """Return it as the content of one .npz file, arrays in half precision."""
        half: dict[str, Any] = {
            k: v.astype(np.float16) if v.dtype.kind == "f" and k not in ("sigmas", "mse", "sure")
            else v
            for k, v in self.arrays.items()
        }  # fmt: skip
        file = io.BytesIO()
        np.savez_compressed(file, numbers=np.array(json.dumps(self.numbers)), **half)
        return file.getvalue()

    @staticmethod
    def from_bytes(content: bytes) -> "Examination":
        """Return what `to_bytes` wrote."""
        with np.load(io.BytesIO(content), allow_pickle=False) as found:
            arrays = {
                k: v.astype(np.float32) if v.dtype.kind == "f" else v for k, v in found.items()
            }
        return Examination(json.loads(str(arrays.pop("numbers"))), arrays)


def check_inputs(
    images: Tensor, sigma: float, samples: Tensor | None = None, train: Tensor | None = None
) -> float:
    """Return σ, once images are in [0, 1], all of one size, and σ in their units.

    Raises:
        ValueError: for images of bytes or in [−1, 1], a σ in 8-bit units, other sizes or channels.
    """
    for name, x in (("images", images), ("samples", samples), ("train", train)):
        if x is None:
            continue
        if isinstance(x, Tensor) and x.dtype == torch.uint8:
            raise ValueError(f"{name} must be floating point in [0, 1], not bytes: x.float() / 255")
        check_count(len(check_finite(check_images(x, name), name)), f"the number of {name}")
        low, high = float(x.min()), float(x.max())
        if name != "samples" and (low < -0.01 or high > 1.01):
            cure = "x / 255" if high > 2 else "(x + 1) / 2"
            raise ValueError(
                f"{name} must have values in [0, 1], not {low:.3g} … {high:.3g}: take {cure}"
            )
        if x.shape[1:] != images.shape[1:]:
            raise ValueError(
                f"{name} must hold images of {tuple(images.shape[1:])} as images does, not "
                f"{tuple(x.shape[1:])}"
            )
    sigma = check_number(sigma, "sigma", above=0)
    if sigma > 2:
        raise ValueError(
            f"sigma must be in the units of images in [0, 1], at most 2, not {sigma:g}: as "
            f"{sigma:g} grey values of 255 it is {sigma / 255:.3g}"
        )
    return sigma


def examine(
    denoiser: Denoiser,
    images: Tensor,
    sigma: float = 0.1,
    *,
    samples: Tensor | None = None,
    train: Tensor | None = None,
    name: str = "denoiser",
    num_pairs: int = 20,
    num_filters: int = 8,
    num_samples: int = 16,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> Examination:
    """Return what there is to see of a denoiser, measured in the order in which it is cheap.

    Args:
        denoiser: f(y, sigma) → x̂.
        images: (N, C, H, W) in [0, 1], that it was not trained on.
        sigma: of the noise at which its basis is read off.
        samples: images drawn by the network, by a sampler of its own; None: `num_samples` are
            drawn by the book's.
        train: images that it was trained on, for the search for copies.
        name: for the report.
        num_pairs: eigenpairs.
        num_filters: adaptive filters.
        num_samples: samples drawn; 0: none.
        seed: of all noise.
        say: is told what comes next.

    Raises:
        ValueError: for unfit images; for a denoiser without a derivative of its own, whose images
            are not independent, or that cannot be called, with all faults and their cures. Other
            faults are a part of the report.
    """
    sigma, began = check_inputs(images, sigma, samples, train), (time.time(), time.process_time())
    say("checks")
    y = add_noise(images[:1], sigma, seed)
    report = check_denoiser(denoiser, add_noise(images[:2], sigma, seed), sigma)
    if FATAL & {f.name for f in report.faults}:
        report.require()
    say("denoising over the noise")
    curve = experiments.denoising(
        denoiser, images[:NUM_CURVE], sorted({*SIGMAS, sigma}, reverse=True), seed=seed
    )
    say("the basis at one image")
    found = _read_basis(denoiser, y, sigma, num_pairs, num_filters, seed)
    drawn, trouble = samples, None
    if samples is None and num_samples:
        say("samples")
        blind = max(curve.uses_sigma.tolist()) == 0
        drawn, trouble = _draw(denoiser, images, num_samples, blind, seed)
    memory = None
    if drawn is not None and train is not None:
        say("copies")
        held_out = images if len(images) >= 40 else None
        memory = experiments.memorization(drawn.to(train), train, held_out, seed=seed)
    numbers = {
        "name": name,
        "shape": list(images.shape[1:]),
        "sigma": sigma,
        "num_images": len(images),
        "checks": [f._asdict() for f in report.findings],
        "trouble": trouble,
        **summarize(curve, found, sigma),
        "memorization": _describe(memory),
        "seconds": round(time.time() - began[0], 1),
        "cpu_seconds": round(time.process_time() - began[1], 1),
    }
    arrays = _collect(images, y, curve, found, drawn, train, memory)
    return Examination(numbers, {k: _as_array(v) for k, v in arrays.items() if v is not None})


def _read_basis(
    denoiser: Denoiser, y: Tensor, sigma: float, num: int, num_filters: int, seed: int
) -> experiments.Basis:
    """Return the basis of as many pairs as an image has, at the coarser tolerance if need be."""
    options: dict[str, Any] = {"num": min(num, y.numel()), "num_filters": num_filters, "seed": seed}
    try:
        return experiments.basis(denoiser, y, sigma, tol=3e-3, **options)
    except jacobian.NotConvergedError:
        return experiments.basis(denoiser, y, sigma, tol=3e-2, **options)


def _draw(
    denoiser: Denoiser, images: Tensor, num: int, blind: bool, seed: int
) -> tuple[Tensor | None, str | None]:
    """Return samples of the book's ascent, or why there are none."""
    shape = tuple(images.shape[1:])
    mean = images.mean()
    try:
        options: dict[str, Any] = {"blind": blind, "mean": mean, "seed": seed} | ASCENT
        return sampling.sample(denoiser, num, shape, max_iterations=400, **options).x, None
    except sampling.DivergedError as error:
        return None, f"the ascent diverged: {error}"


def summarize(curve: experiments.Denoising, found: experiments.Basis, sigma: float) -> dict:
    """Return the headline numbers; intervals are over images."""
    at = curve.sigmas.index(sigma)
    columns = {
        "psnr": curve.psnr,
        "sigma_hat": curve.sigma_hat,
        "trace": curve.trace,
        "mse": curve.mse,
        "sure": curve.sure,
    }
    by_sigma = {
        key: {
            f"{s:g}": list(experiments.bootstrap_mean(column[:, k]))
            for k, s in enumerate(curve.sigmas)
        }
        for key, column in columns.items()
    }
    return {
        "over_images": by_sigma,
        "psnr": by_sigma["psnr"][f"{sigma:g}"],
        "trace": by_sigma["trace"][f"{sigma:g}"],
        "uses_sigma": float(curve.uses_sigma[at]),
        "first_image": {
            "trace": list(found.trace),
            "asymmetry": list(found.asymmetry),
            "largest_factor": float(found.lam[0]),
            "least_alignment": float(found.alignment.min()),
            "num_above_half": found.num_above_half,
            "all_above_half": not found.complete and found.num_above_half == len(found.lam),
            "gap_to_jy": found.gap_to_jy,
            "adjoint_error": found.adjoint_error,
        },
    }


def _describe(memory: experiments.Memorization | None) -> dict | None:
    if memory is None:
        return None
    spans = {n: getattr(memory, n) for n in ("copies", "spurious", "null_rate", "gap")}
    found = {n: None if v is None else list(v) for n, v in spans.items()}
    return found | {"verdict": memory.verdict, "threshold": memory.threshold, "rate": memory.rate}


def _collect(
    images: Tensor,
    y: Tensor,
    curve: experiments.Denoising,
    found: experiments.Basis,
    drawn: Tensor | None,
    train: Tensor | None,
    memory: experiments.Memorization | None,
) -> dict[str, Tensor | None]:
    few = min(NUM_UV, len(found.s))
    arrays = {
        "x": images[0], "y": y[0], "x_hat": found.x_hat, "sigmas": torch.tensor(curve.sigmas),
        "psnr": curve.psnr, "sigma_hat": curve.sigma_hat, "trace": curve.trace,
        "mse": curve.mse, "sure": curve.sure,
        "lam": found.lam, "s": found.s, "alignment": found.alignment, "atoms": found.atoms[:20],
        "u": found.u[:few], "v": found.v[:few], "filters": found.filters,
        "pixels": torch.tensor(found.pixels), "samples": None if drawn is None else drawn[:16],
    }  # fmt: skip
    if memory is not None and train is not None:
        arrays["similarity"] = memory.similarity
        arrays["null"] = memory.null
        arrays["nearest"] = train[memory.index[:16].to(train.device)]
    return arrays


def _as_array(x: Tensor) -> np.ndarray:
    x = x.detach().cpu()
    return x.float().numpy() if x.is_floating_point() else x.numpy()


@cache
def load_garments() -> Examination:
    """Return what `examine` gave of the book's network of 10,000 garments."""
    return Examination.from_bytes(GARMENTS.read_bytes())


def make_garments(num: int = 64) -> Examination:
    """Measure the book's network of garments anew, and write it to the package.

    `python -c "from gahb_book.examine.measure import make_garments; make_garments()"`
    """
    from gahb_core.data import load_images
    from gahb_core.training import load_denoiser

    f = load_denoiser("fashion/N=10000/A")
    train, test = load_images("fashion", "A", 10_000), load_images("fashion", "test", num)
    found = examine(f, test, train=train, name="10,000 garments, bias-free UNet (chapter 5)")
    write_safely(GARMENTS, found.to_bytes())
    return found
