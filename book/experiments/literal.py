"""How literally "shrinkage" may be taken: the symmetric part of a network's J, applied to y.

    python book/experiments/literal.py

If J were symmetric, f(y) = Σ λ_k ⟨y, e_k⟩ e_k. It is not, and the book takes the eigenvectors of
S = (J + Jᵀ)/2. So: how well does S y denoise, beside f(y) = J y; is the singular value
decomposition, which reads with v_k and writes with u_k, exact; and along which directions δ does
S δ tell how f changes? At NUM test images, for every network named below, and for two trainings of
four of them. What is in the file is not measured again; ten minutes of a core. `literal_exact.py`
does the same of exact denoisers. Chapter 5 shows both, and computes one image anew.

What was expected before the run stands in PREDICTED, and goes into the file with what was found.
"""

import torch
from torch import Tensor

from gahb_book.measured import FOLDER, measure_missing, read
from gahb_core import data, denoisers, jacobian, metrics, noise
from gahb_core.densities import EnergyDenoiser
from gahb_core.sampling import DivergedError, sample
from gahb_core.training import find_recipe, load_denoiser

OUT = FOLDER / "literal.json"
PSNR_IN, NUM = (10, 15, 20, 25, 30), 32
NUM_FIRST, NUM_WHOLE = 8, 4  # images whose whole J is formed: of the first network, of others
AT = 20  # PSNR-in at which directions are compared, and whole Jacobians
KS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # singular pairs added up
PLUGGED = "told/fashion/N=10000/A, σ̂"  # σ̂ that of the blind network at the same y
PREDICTED = {
    "table": "S y is worse than f by 3 to 8 dB for garments and faces and by 3 to 22 for C^α and "
    "disks, at every level and in every training; worse than y itself at 30 dB",
    "trainings": "the loss f − S y of two trainings differs by less than 1.5 dB",
    "told": "at a fixed σ the network that is told it has S y = J y within 1.5 dB, and J y is "
    "worse than f by 3 dB or more, for f = J y + σ ∂f/∂σ",
    "plugged": "with the blind network's σ̂ put in for σ, J y = f again, and S y falls 3 dB or more "
    "below f: blindness alone brings the loss",
    "energy": "a symmetric network has S y = J y to rounding; J y is 3 dB or more worse than f",
    "few": "networks of 1 and 10 images lose no less than those of 10,000",
    "svd": "the sum over singular pairs is f(y) to 0.01 dB",
    "local": "‖A δ‖/‖J δ‖ is below 0.25 for δ towards another image or a shift of the picture, "
    "and above 0.5 for y itself",
    "plane": "of ‖A‖², A = (J − Jᵀ)/2, less than 10% lies in the plane of y and A y",
    "samples": "sampling with S y in place of f ends in no garment: correlation with the network's "
    "own sample from the same noise below 0.5",
}  # fmt: skip
TINY = 1e-9  # in place of nothing at all, where J is symmetric
FASHION, TOLD = "fashion/N=10000/A", "told/fashion/N=10000/A"
NETWORKS = (
    FASHION, "faces/N=6000/A", "c_alpha/alpha=2", "c_alpha/alpha=4", "disks", TOLD, PLUGGED,
    f"seed=1/{FASHION}", "seed=1/faces/N=6000/A", "seed=1/c_alpha/alpha=2",
    "seed=1/c_alpha/alpha=4", f"bfcnn/{FASHION}", "bfcnn/fashion/N=10000/B",
    "multi_scale__RF_40x40_low", "fashion/N=1/A", "fashion/N=10/A", "fashion/N=100/A",
    "fashion/N=1000/A", f"energy/{FASHION}", f"transformer/{FASHION}",
)  # fmt: skip
SLOW = ("energy", "transformer")  # half of the images
WHOLE = (FASHION, "faces/N=6000/A", "c_alpha/alpha=2", TOLD)
LOCAL = (FASHION, "faces/N=6000/A", "c_alpha/alpha=2", "c_alpha/alpha=4", "disks", TOLD)


class Plugged:
    """f(y, σ̂(y)): a denoiser that is told σ, blind by the σ̂ of another."""

    def __init__(self, told: denoisers.Denoiser, blind: denoisers.Denoiser) -> None:
        self.told, self.blind = told, blind

    def __call__(self, y: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return x̂; `sigma` is ignored."""
        return self.told(y, denoisers.blind_sigma(self.blind, y))


def load(name: str) -> tuple[denoisers.Denoiser, Tensor, bool]:
    """Return a denoiser, its test images, and whether it must be told σ."""
    if "__" in name:
        x = data.load_images("faces", "test", NUM, 40)
    else:
        recipe = find_recipe(TOLD if name == PLUGGED else name)
        x = data.load_images(recipe.dataset, "test", NUM, recipe.size)
    if name == PLUGGED:
        f = Plugged(load_denoiser(TOLD), load_denoiser(FASHION))
        for part in (f.told, f.blind):
            part.net.requires_grad_(False)
        return f, x, False
    f = load_denoiser(name)
    (f.energy if isinstance(f, EnergyDenoiser) else f.net).requires_grad_(False)
    return f, x, name == TOLD or name.startswith("energy/")


def rounded(values: list[float], digits: int = 2) -> list[float]:
    """Return the values to so many digits after the point."""
    return [round(v, digits) for v in values]


def readings(f: denoisers.Denoiser, y: Tensor, x: Tensor, sigma: float | None) -> dict[str, float]:
    """Return the PSNR of f(y), S y and J y at one image, and of the best multiple of S y."""
    p = jacobian.linearize(f, y, sigma)
    push, pull = p.push(y)[0], p.pull(y)[0]
    S, A = (push + pull) / 2, (push - pull) / 2
    best = float((S * x).sum() / S.square().sum())
    found = {"network": p.x_hat, "symmetric": S, "product": push, "symmetric_scaled": best * S}
    found = {name: min(99.0, float(metrics.psnr(v[None], x))) for name, v in found.items()}
    residual = y[0] - p.x_hat
    found["lost_in_noise"] = float(A.norm() / (y - x).norm())
    found["lost_along_residual"] = float((A * residual).sum() / (A.norm() * residual.norm() + TINY))
    return found


def measure(name: str) -> dict[str, list[list[float]]]:
    """Return each of `readings` by PSNR-in and image."""
    f, x, told = load(name)
    x = x[: NUM // 2] if any(part in name for part in SLOW) else x
    rows: dict[str, list[list[float]]] = {}
    for level in PSNR_IN:
        sigma = noise.sigma_from_psnr(level)
        y = noise.add_noise(x, sigma, 0)
        each = [
            readings(f, y[i : i + 1], x[i : i + 1], sigma if told else None) for i in range(len(x))
        ]
        for key in each[0]:
            rows.setdefault(key, []).append(rounded([one[key] for one in each], 3))
    return rows


def whole(f: denoisers.Denoiser, y: Tensor, x: Tensor, sigma: float | None) -> dict:
    """Return what the whole J says at one image."""
    J = jacobian.jacobian_matrix(f, y, sigma, block=128)
    flat, x_hat, shape = y.flatten(), f(y, sigma).flatten(), x.shape[1:]
    pairs = jacobian.svd(J, shape)
    u, v = pairs.u.flatten(1), pairs.v.flatten(1)
    c = pairs.s * (v @ flat)
    spectrum = jacobian.eigendecompose(J, shape)
    kept = spectrum.atoms[spectrum.lam > 0.5].flatten(1)
    A = (J - J.T) / 2
    Ay, turned = A @ flat, A @ kept.T
    lost, in_plane = Ay.norm() + TINY, 2 * (Ay / flat.norm()).square().sum()
    read = {k: c[:k] @ u[:k] for k in KS if k < len(flat)} | {len(flat): c @ u}
    back = pairs.s * (u @ flat)  # ⟨u_k, y⟩, written with v_k
    half = {k: (c[:k] @ u[:k] - back[:k] @ v[:k]) / 2 for k in KS if k < len(flat)}

    def level(estimate: Tensor) -> float:
        return round(float(metrics.psnr(estimate.reshape(1, *shape), x)), 3)

    return {
        "svd_check": level(read[len(flat)]),
        "svd_error": float(f"{float((read[len(flat)] - x_hat).norm() / x_hat.norm()):.2e}"),
        "svd_first": [level(v) for v in read.values()],
        "lost_by_first": rounded([float((v - Ay).norm() / lost) for v in half.values()], 3),
        "kept_axes": level((kept @ flat * spectrum.lam[: len(kept)]) @ kept),
        "estimate_on_kept_axes": level((kept @ x_hat) @ kept),
        "num_kept": len(kept),
        "asymmetry": round(jacobian.asymmetry(J), 4),
        "asymmetry_kept": round(jacobian.asymmetry(kept @ J @ kept.T), 4),
        "plane_share": round(float(in_plane / (A.square().sum() + TINY)), 4),
        "lost_on_kept_axes": round(float(((kept @ Ay).norm() / lost) ** 2), 4),
        "turned_kept": round(float((turned.norm(dim=0) / (J @ kept.T).norm(dim=0)).mean()), 4),
        "singular": rounded(pairs.s[:20].tolist(), 3),
        "lam": rounded(spectrum.lam[:20].tolist(), 3),
        "uv": rounded((u * v).sum(1)[:20].abs().tolist(), 3),
    }  # fmt: skip


def measure_whole(name: str) -> list[dict]:
    """Return what the whole J says at each of the first images."""
    f, x, told = load(name)
    sigma = noise.sigma_from_psnr(AT)
    y, given = noise.add_noise(x, sigma, 0), sigma if told else None
    num = NUM_FIRST if name == FASHION else NUM_WHOLE
    return [whole(f, y[i : i + 1], x[i : i + 1], given) for i in range(num)]


def directions(x: Tensor, y: Tensor, x_hat: Tensor, i: int, sigma: float) -> dict[str, Tensor]:
    """Return moves δ of the i-th noisy image, (1, C, H, W) each, of natural size."""
    here, other = x[i : i + 1], x[(i + 1) % len(x)][None]
    padded = torch.nn.functional.pad(here, (1, 0, 0, 0), mode="replicate")[..., :-1]
    again = sigma * noise.sample_normal(here.shape, 1, i).to(here)
    return {
        "y": 0.1 * y,
        "contrast": 0.1 * here,
        "residual": 0.1 * (y - x_hat),
        "brightness": torch.full_like(here, 0.05),
        "another_image": 0.1 * (other - here),
        "shift": padded - here,
        "noise": again - (y - here),
    }


def measure_local(name: str) -> dict[str, dict[str, list[float]]]:
    """Return, by direction and image: ‖Aδ‖/‖Jδ‖, and what J δ and S δ miss of f(y+δ) − f(y)."""
    f, x, told = load(name)
    sigma = noise.sigma_from_psnr(AT)
    given, found = sigma if told else None, {}
    for i, y in enumerate(noise.add_noise(x, sigma, 0).split(1)):
        p = jacobian.linearize(f, y, given)
        moves = directions(x, y, p.x_hat[None], i, sigma)
        delta = torch.cat(list(moves.values()))
        push, pull = p.push(delta), p.pull(delta)
        S = (push + pull) / 2
        with torch.no_grad():
            moved = torch.cat([f(y + d[None], given) for d in delta]) - p.x_hat
        for k, key in enumerate(moves):
            row = found.setdefault(key, {"asymmetry": [], "missed_by_J": [], "missed_by_S": []})
            size = float(moved[k].norm())
            row["asymmetry"].append(round(float((push[k] - S[k]).norm() / push[k].norm()), 4))
            row["missed_by_J"].append(round(float((moved[k] - push[k]).norm()) / size, 4))
            row["missed_by_S"].append(round(float((moved[k] - S[k]).norm()) / size, 4))
    return found


class Symmetric:
    """½ (f(y) + Jᵀ y): the symmetric part of a blind bias-free network, applied to y."""

    def __init__(self, f: denoisers.Denoiser) -> None:
        self.f = f

    def __call__(self, y: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Return S y of each image."""
        x_hat, pull = torch.func.vjp(self.f, y)
        return (x_hat + pull(y)[0]) / 2


def measure_samples(blind: bool) -> dict:
    """Return how sampling with S y ends, beside sampling with f from the same noise."""
    f, _, _ = load(FASHION)
    mean = data.load_images("fashion", "A", 10_000).mean(0)
    given = {"num": 16, "shape": (1, 32, 32), "seed": 0, "mean": mean, "blind": blind}
    own = sample(f, **given)
    try:
        other = sample(Symmetric(f), **given, max_iterations=2000)
    except DivergedError as error:
        return {"diverged": str(error)}
    r = [metrics.correlation(a[None], b[None]) for a, b in zip(own.x, other.x, strict=True)]
    return {
        "correlation": rounded([float(v) for v in r], 3),
        "finished": int(other.finished.sum()),
        "iterations": [float(v.iterations.double().mean()) for v in (own, other)],
        "size": [round(float(v.x.square().mean().sqrt()), 3) for v in (own, other)],
    }


def main() -> None:
    """Measure what is missing and write."""
    torch.set_num_threads(1)
    parts = {
        "networks": (NETWORKS, measure),
        "local": (LOCAL, measure_local),
        "whole": (WHOLE, measure_whole),
    }
    for key, (names, work) in parts.items():
        beside = {k: v for k, v in read(OUT).items() if k != key}
        beside |= {"predicted": PREDICTED, "psnr_in": PSNR_IN, "num": NUM, "ks": KS}
        measure_missing(OUT, key, {name: name for name in names}, work, **beside)
    beside = {k: v for k, v in read(OUT).items() if k != "samples"}
    measure_missing(OUT, "samples", {"blind": True}, measure_samples, **beside)


if __name__ == "__main__":
    main()
